//! News that come while the state has an entry that was not told yet. Found by the simulator: the link to a
//! node that the log takes for lost ends as part of doing that entry.

use dvs_abi::{DcId, Endpoint, NodeId};
use dvs_control::command::{Command, Entry};
use dvs_control::container::DcConfig;
use dvs_control::epoch::Epoch;
use dvs_control::member::{Member, NodeCard};
use dvs_control::service::{Kind, PartitionRule, Place, ServiceSpec};
use dvs_control::state::State;
use dvs_radar::{Action, Event, Radar, Terms};

const TOKEN: [u8; 32] = [7; 32];
const DC: DcId = DcId(0);
const SLOT: i32 = 5;

fn card(n: u16) -> NodeCard {
    NodeCard { name: format!("n{n}"), address: format!("n{n}:1"), key: [n as u8; 32], witness: false }
}

fn enter(state: &mut State, from: u16, command: Command) -> Vec<dvs_control::change::Change> {
    let member = state.member(NodeId(from)).cloned();
    let last = member.as_ref().map(Member::last_incarnation).unwrap_or_default();
    let number = if matches!(command, Command::Begin { .. }) { 0 } else { member.map_or(0, |m| m.last) + 1 };
    let entry = Entry { from: NodeId(from), incarnation: last, number, at: 0, command };
    let mut changes = Vec::new();
    state.apply(Epoch(state.last().0 + 1), &entry, &mut changes).unwrap();
    changes
}

fn begin(state: &mut State, n: u16) {
    enter(state, n, Command::Begin { address: format!("n{n}:1"), nonce: n.into() });
}

#[test]
fn a_link_that_an_entry_ends_is_looked_at_together_with_the_entry() {
    let mut state = State::found(card(0));
    begin(&mut state, 0);
    enter(&mut state, 0, Command::Invite { token: TOKEN, until: u64::MAX, uses: 1 });
    enter(&mut state, 0, Command::Admit { token: TOKEN, card: card(1) });
    begin(&mut state, 1);
    let (warn, warn_type) = (Endpoint::NONE.raw(), 0);
    let name = "shop".into();
    let spec = DcConfig { name, tasks: 35, procs: 100, sysprocs: 64, warn, warn_type, nodes: 0b11, born: 0 };
    enter(&mut state, 0, Command::Create { dc: Some(DC), spec });
    let (name, kind, rule) = ("s".into(), Kind::Passive, PartitionRule::Stop);
    let spec = ServiceSpec { name, kind, nodes: 0b11, rule };
    enter(&mut state, 0, Command::Declare { dc: DC, slot: SLOT, spec });
    for n in [1, 0] {
        enter(&mut state, n, Command::Offer { dc: DC, slot: SLOT, in_step: true });
    }
    let incarnation = |s: &State, n| s.member(NodeId(n)).and_then(Member::incarnation).unwrap();
    let (mut radar, mut out, terms) = (Radar::new(NodeId(0), Terms::default()), Vec::new(), Terms::default());
    radar.event(&state, Event::Restored, 0, &mut out);
    radar.event(&state, Event::Began { incarnation: incarnation(&state, 0) }, 0, &mut out);
    radar.event(&state, Event::Link { node: NodeId(1), up: true }, 0, &mut out);
    let now = 2 * terms.wait_ns();
    radar.event(&state, Event::Granted { sent: now, upto: state.last() }, now, &mut out);
    assert!(out.iter().all(|c| c.action != Action::Continue), "the other one serves");

    let lost = Command::Lost { node: NodeId(1), incarnation: incarnation(&state, 1) };
    let changes = enter(&mut state, 0, lost);
    let service = state.container(DC).unwrap().services[&SLOT].clone();
    assert_eq!(service.place, Place::At(NodeId(0)));
    out.clear();
    radar.event(&state, Event::Link { node: NodeId(1), up: false }, now, &mut out);
    assert!(out.is_empty(), "{out:?}: the entry was not told yet");
    radar.event(&state, Event::Applied { place: state.last(), changes: &changes }, now, &mut out);
    let serves = out.iter().find(|c| c.action == Action::Continue).expect("its turn");
    assert_eq!(serves.epoch, service.epoch);
}
