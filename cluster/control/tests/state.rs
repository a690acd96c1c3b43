//! The replicated state under entries of every kind: by hand, and at random with all of its parts compared
//! after each.

use dvs_abi::{Code, DcId, Endpoint, NodeId};
use dvs_control::change::Change;
use dvs_control::command::{Command, Entry, Reply};
use dvs_control::container::DcConfig;
use dvs_control::epoch::Epoch;
use dvs_control::member::{NodeCard, Standing};
use dvs_control::service::{Kind, PartitionRule, Place, ServiceSpec};
use dvs_control::slots::{Ask, SlotChange, SlotRequest};
use dvs_control::state::{Answer, State};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const DC: DcId = DcId(0);
const SLOT: i32 = 5;
const TOKEN: [u8; 32] = [7; 32];
const HOUR: u64 = 3_600_000_000_000;

fn card(n: u16) -> NodeCard {
    NodeCard {
        name: format!("node{n}"),
        address: format!("10.0.0.{n}:7000"),
        key: [n as u8; 32],
        witness: false,
    }
}

fn container(nodes: u32) -> DcConfig {
    DcConfig {
        name: "shop".into(),
        tasks: 35,
        procs: 100,
        sysprocs: 64,
        warn: Endpoint::NONE.raw(),
        warn_type: 0,
        nodes,
        born: 0,
    }
}

fn service(kind: Kind) -> ServiceSpec {
    ServiceSpec { name: "store".into(), kind, nodes: 0b111, rule: PartitionRule::Stop }
}

/// The state, its log, and what its nodes know of themselves.
struct System {
    state: State,
    place: u64,
    at: u64,
    numbers: BTreeMap<NodeId, u64>,
    /// Every change there was.
    changes: Vec<Change>,
}

impl System {
    /// Nodes 0 to 2 that serve, and a container on all of them.
    fn new() -> Self {
        let state = State::found(card(0));
        let mut s = System { state, place: 0, at: 1, numbers: BTreeMap::new(), changes: Vec::new() };
        s.begin(0);
        s.say(0, Command::Invite { token: TOKEN, until: HOUR, uses: 2 }).unwrap();
        for n in [1, 2] {
            let admitted = s.say(0, Command::Admit { token: TOKEN, card: card(n) });
            assert_eq!(admitted, Ok(Reply::Node(NodeId(n))));
            s.begin(n);
        }
        assert_eq!(s.say(0, Command::Create { dc: None, spec: container(0b111) }), Ok(Reply::Dc(DC)));
        s
    }

    fn begin(&mut self, n: u16) -> Epoch {
        let last = self.state.member(NodeId(n)).map(|m| m.last_incarnation()).unwrap_or_default();
        let (address, nonce) = (card(n).address, self.place);
        let begun = self.put(n, last, 0, Command::Begin { address, nonce });
        self.numbers.insert(NodeId(n), 0);
        let Ok(Reply::Begun(epoch)) = begun else { panic!("{begun:?}") };
        epoch
    }

    fn incarnation(&self, n: u16) -> Epoch {
        self.state.member(NodeId(n)).and_then(|m| m.incarnation()).unwrap_or_default()
    }

    /// The next command of a node.
    fn say(&mut self, n: u16, command: Command) -> Answer {
        let number = self.numbers.entry(NodeId(n)).or_default();
        *number += 1;
        let number = *number;
        self.put(n, self.incarnation(n), number, command)
    }

    fn put(&mut self, n: u16, incarnation: Epoch, number: u64, command: Command) -> Answer {
        self.place += 1;
        let entry = Entry { from: NodeId(n), incarnation, number, at: self.at, command };
        let mut out = Vec::new();
        let answer = self.state.apply(Epoch(self.place), &entry, &mut out);
        self.state.validate().unwrap_or_else(|e| panic!("after {entry:?}: {e}"));
        self.changes.extend(out);
        answer
    }

    fn code(&mut self, n: u16, command: Command) -> i32 {
        self.say(n, command).unwrap_err().code
    }

    fn place_of(&self) -> Place {
        self.state.container(DC).unwrap().services[&SLOT].place
    }

    fn offer(&mut self, n: u16, in_step: bool) -> Answer {
        self.say(n, Command::Offer { dc: DC, slot: SLOT, in_step })
    }

    fn declare(&mut self, kind: Kind) {
        self.say(0, Command::Declare { dc: DC, slot: SLOT, spec: service(kind) }).unwrap();
    }
}

#[test]
fn a_token_lets_in_as_many_as_it_says_until_it_is_over() {
    let mut s = System::new();
    let admit = |n| Command::Admit { token: TOKEN, card: card(n) };
    assert_eq!(s.code(0, admit(3)), Code::PRIVILEGES as i32, "used up");
    s.say(0, Command::Invite { token: [8; 32], until: 10, uses: 5 }).unwrap();
    s.at = 10;
    let late = Command::Admit { token: [8; 32], card: card(3) };
    assert_eq!(s.code(0, late), Code::PRIVILEGES as i32, "over");
    s.say(0, Command::Invite { token: TOKEN, until: HOUR, uses: 2 }).unwrap();
    assert_eq!(s.say(0, admit(3)), Ok(Reply::Node(NodeId(3))));
    assert_eq!(s.say(0, admit(3)), Ok(Reply::Node(NodeId(3))), "its first answer was lost");
    assert_eq!(s.code(0, admit(1)), Code::EXIST as i32, "a node that serves joins no second time");
    let namesake = NodeCard { name: "node2".into(), ..card(9) };
    assert_eq!(s.code(0, Command::Admit { token: TOKEN, card: namesake }), Code::RSCBUSY as i32);
    assert_eq!(s.say(0, admit(4)), Ok(Reply::Node(NodeId(4))));
}

#[test]
fn an_incarnation_that_is_over_does_nothing_and_a_command_twice_is_done_once() {
    let mut s = System::new();
    let old = s.incarnation(1);
    s.say(0, Command::Lost { node: NodeId(1), incarnation: old }).unwrap();
    let drain = Command::Drain { node: NodeId(2), on: true };
    assert_eq!(s.put(1, old, 9, drain.clone()).unwrap_err().code, Code::STALE as i32);
    assert_eq!(s.state.member(NodeId(1)).unwrap().standing, Standing::Down(old));
    assert_eq!(s.code(0, Command::Lost { node: NodeId(1), incarnation: old }), Code::STALE as i32);
    let new = s.begin(1);
    assert!(new > old);
    assert_eq!(s.put(1, old, 9, drain.clone()).unwrap_err().code, Code::STALE as i32);
    let create = Command::Create { dc: None, spec: DcConfig { name: "other".into(), ..container(1) } };
    let first = s.put(1, new, 1, create.clone());
    assert_eq!(first, Ok(Reply::Dc(DcId(1))));
    let changes = s.changes.len();
    assert_eq!(s.put(1, new, 1, create), first, "the same answer");
    assert_eq!((s.changes.len(), s.state.containers().count()), (changes, 2), "and nothing done");
    s.put(1, new, 2, drain.clone()).unwrap();
    assert_eq!(s.put(1, new, 1, drain).unwrap_err().code, Code::STALE as i32, "too late to be answered");
}

#[test]
fn slots_of_a_lost_node_go_to_others() {
    let mut s = System::new();
    let ask =
        |number| Command::Slots { dc: DC, request: SlotRequest::Ask(Ask { number, slots: 8, urgent: true }) };
    s.say(1, ask(1)).unwrap();
    let had: Vec<i32> = s.state.container(DC).unwrap().pool.owned(NodeId(1)).collect();
    assert_eq!(had.len(), 8);
    s.begin(1);
    assert_eq!(s.state.container(DC).unwrap().pool.owned(NodeId(1)).count(), 0, "it began anew");
    s.say(0, Command::Allow { dc: DC, node: NodeId(2), on: false }).unwrap();
    assert_eq!(s.code(2, ask(1)), Code::NODCNODE as i32);
    let leased = |c: &&Change| matches!(c, Change::Slots { change: SlotChange::Leased { .. }, .. });
    assert_eq!(s.changes.iter().filter(leased).count(), 1);
}

#[test]
fn a_single_service_has_one_instance_and_moves_with_its_callers_waiting() {
    let mut s = System::new();
    s.declare(Kind::Single);
    assert_eq!(s.place_of(), Place::Vacant);
    s.offer(1, true).unwrap();
    assert_eq!(s.offer(2, true).unwrap_err().code, Code::SLOTUSED as i32);
    let to = NodeId(2);
    let begun = s.say(0, Command::Move { dc: DC, slot: SLOT, to, deadline: 100 });
    let Ok(Reply::Begun(number)) = begun else { panic!("{begun:?}") };
    assert_eq!(s.place_of(), Place::Moving { from: NodeId(1), to, number, deadline: 100 });
    assert_eq!(s.code(0, Command::Move { dc: DC, slot: SLOT, to, deadline: 100 }), Code::MIGRATE as i32);
    assert_eq!(s.offer(2, true).unwrap_err().code, Code::SLOTUSED as i32, "it may not know of the move");
    let arrive = Command::Arrive { dc: DC, slot: SLOT, number };
    assert_eq!(s.code(0, arrive.clone()), Code::STALE as i32, "it moves elsewhere");
    s.say(2, arrive.clone()).unwrap();
    assert_eq!(s.code(2, arrive), Code::STALE as i32, "once");
    assert_eq!(s.place_of(), Place::At(to));
    let instances: Vec<_> =
        s.state.container(DC).unwrap().services[&SLOT].instances.keys().copied().collect();
    assert_eq!(instances, [to], "the old one is over");
    assert_eq!(s.code(0, Command::Undo { dc: DC, slot: SLOT, number }), Code::STALE as i32);
    let epochs: Vec<_> = s.changes.iter().filter_map(epoch_of).collect();
    assert!(epochs.len() == 3 && epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
}

fn epoch_of(c: &Change) -> Option<Epoch> {
    match c {
        Change::Placed { epoch, .. } | Change::Held { epoch, .. } => Some(*epoch),
        _ => None,
    }
}

#[test]
fn who_has_all_of_a_move_arrives_also_when_its_source_is_gone_unless_another_one_serves() {
    for other in [false, true] {
        let mut s = System::new();
        s.declare(Kind::Single);
        s.offer(1, true).unwrap();
        let go = Command::Move { dc: DC, slot: SLOT, to: NodeId(2), deadline: 100 };
        let Ok(Reply::Begun(number)) = s.say(0, go) else { panic!("it begins") };
        let incarnation = s.incarnation(1);
        s.say(0, Command::Lost { node: NodeId(1), incarnation }).unwrap();
        assert_eq!(s.place_of(), Place::Vacant);
        if other {
            s.offer(0, true).unwrap();
        }
        let arrived = s.say(2, Command::Arrive { dc: DC, slot: SLOT, number });
        assert_eq!(arrived.is_ok(), !other, "{arrived:?}");
        assert_eq!(s.place_of(), Place::At(NodeId(if other { 0 } else { 2 })));
    }
}

#[test]
fn nobody_arrives_where_the_service_may_not_be_any_more() {
    let mut s = System::new();
    s.declare(Kind::Single);
    s.offer(1, true).unwrap();
    let go = Command::Move { dc: DC, slot: SLOT, to: NodeId(2), deadline: 100 };
    let Ok(Reply::Begun(number)) = s.say(0, go) else { panic!("it begins") };
    let incarnation = s.incarnation(1);
    s.say(0, Command::Lost { node: NodeId(1), incarnation }).unwrap();
    let spec = ServiceSpec { nodes: 0b011, ..service(Kind::Single) };
    s.say(0, Command::Declare { dc: DC, slot: SLOT, spec }).unwrap();
    let arrive = Command::Arrive { dc: DC, slot: SLOT, number };
    assert_eq!(s.code(2, arrive), Code::NODCNODE as i32);
}

#[test]
fn a_move_that_is_late_or_whose_target_is_lost_is_undone() {
    let mut s = System::new();
    s.declare(Kind::Single);
    s.offer(1, true).unwrap();
    let go = |deadline| Command::Move { dc: DC, slot: SLOT, to: NodeId(2), deadline };
    s.say(0, go(100)).unwrap();
    s.at = 100;
    s.say(0, Command::Drain { node: NodeId(0), on: false }).unwrap();
    assert_eq!(s.place_of(), Place::At(NodeId(1)), "late");
    assert_eq!(s.offer(2, true).unwrap_err().code, Code::SLOTUSED as i32, "too late to take over");
    s.say(0, go(200)).unwrap();
    let target = s.incarnation(2);
    s.say(0, Command::Lost { node: NodeId(2), incarnation: target }).unwrap();
    assert_eq!(s.place_of(), Place::At(NodeId(1)), "its target is lost");
    assert_eq!(s.code(0, go(200)), Code::NOTCONN as i32);
    assert_eq!(s.code(0, go(50)), Code::NOTCONN as i32);
}

#[test]
fn who_is_in_step_takes_over_and_nobody_else() {
    let mut s = System::new();
    s.declare(Kind::Passive);
    s.offer(0, true).unwrap();
    s.offer(1, false).unwrap();
    s.offer(2, true).unwrap();
    let first = s.incarnation(0);
    s.say(2, Command::Lost { node: NodeId(0), incarnation: first }).unwrap();
    assert_eq!(s.place_of(), Place::At(NodeId(2)));
    s.say(2, Command::Retire { dc: DC, slot: SLOT }).unwrap();
    assert_eq!(s.place_of(), Place::Vacant, "node 1 does not have it all");
    s.offer(1, true).unwrap();
    assert_eq!(s.place_of(), Place::At(NodeId(1)));
}

#[test]
fn a_passive_service_is_switched_to_whoever_is_in_step_and_to_nobody_else() {
    let mut s = System::new();
    s.declare(Kind::Passive);
    let switch = |to| Command::Switch { dc: DC, slot: SLOT, to: NodeId(to) };
    assert_eq!(s.code(0, switch(1)), Code::NONODE as i32, "it is nowhere");
    s.offer(0, true).unwrap();
    s.offer(1, false).unwrap();
    s.changes.clear();
    assert_eq!(s.code(2, switch(0)), Code::EXIST as i32, "it is there");
    assert_eq!(s.code(2, switch(1)), Code::PROCSTS as i32, "not in step");
    assert_eq!(s.code(2, switch(2)), Code::NONODE as i32, "no instance");
    assert_eq!(s.code(2, switch(3)), Code::BADNODEID as i32);
    s.offer(1, true).unwrap();
    s.say(0, Command::Drain { node: NodeId(1), on: true }).unwrap();
    assert_eq!(s.code(2, switch(1)), Code::NODEBUSY as i32, "drained");
    s.say(0, Command::Drain { node: NodeId(1), on: false }).unwrap();
    assert_eq!(s.place_of(), Place::At(NodeId(0)), "what is refused changes nothing");
    s.say(2, switch(1)).unwrap();
    assert_eq!(s.place_of(), Place::At(NodeId(1)));
    let instances = s.state.container(DC).unwrap().services[&SLOT].instances.clone();
    assert!(instances.values().all(|i| i.in_step) && instances.len() == 2, "both stay, in step");
    s.say(2, switch(0)).unwrap();
    let lost = Command::Lost { node: NodeId(1), incarnation: s.incarnation(1) };
    s.say(0, lost).unwrap();
    assert_eq!(s.code(0, switch(1)), Code::NOTCONN as i32, "its node is lost");
    let placed: Vec<_> = s.changes.iter().filter_map(epoch_of).collect();
    assert!(
        placed.len() == 2 && placed.is_sorted_by(|a, b| a < b),
        "each in an epoch of its own: {placed:?}"
    );
}

#[test]
fn nothing_but_a_passive_service_is_switched_and_only_to_where_it_may_be() {
    let switch = |to| Command::Switch { dc: DC, slot: SLOT, to: NodeId(to) };
    for kind in [Kind::Single, Kind::Active] {
        let mut s = System::new();
        s.declare(kind);
        s.offer(0, true).unwrap();
        if kind == Kind::Active {
            s.offer(1, true).unwrap();
        }
        assert_eq!(s.code(0, switch(1)), Code::PROCSTS as i32, "{kind:?}");
    }
    let mut s = System::new();
    assert_eq!(s.code(0, switch(1)), Code::BADPROC as i32, "no service");
    s.declare(Kind::Passive);
    s.offer(0, true).unwrap();
    s.offer(1, true).unwrap();
    let spec = ServiceSpec { nodes: 0b101, ..service(Kind::Passive) };
    s.say(0, Command::Declare { dc: DC, slot: SLOT, spec }).unwrap();
    assert_eq!(s.code(0, switch(1)), Code::NODCNODE as i32, "it is about to retire there");
    s.say(0, Command::Withdraw { dc: DC, slot: SLOT }).unwrap();
    assert_eq!(s.code(0, switch(1)), Code::BADPROC as i32, "withdrawn");
}

/// Entries are kept on disks: what a build before this one wrote is read as what it was.
#[test]
fn entries_keep_their_form() {
    let bytes = |c: &Command| postcard::to_stdvec(c).unwrap();
    let number = Epoch(9);
    assert_eq!(bytes(&Command::Undo { dc: DC, slot: SLOT, number })[0], 18, "the last one before Switch");
    assert_eq!(bytes(&Command::Switch { dc: DC, slot: SLOT, to: NodeId(1) })[0], 19);
    let old = [16, 0, 10, 2, 100];
    let read: Command = postcard::from_bytes(&old).unwrap();
    assert_eq!(read, Command::Move { dc: DC, slot: SLOT, to: NodeId(2), deadline: 100 });
}

#[test]
fn a_begin_that_comes_late_or_twice_ends_no_incarnation() {
    let mut s = System::new();
    let first = s.incarnation(1);
    s.say(1, Command::Slots { dc: DC, request: SlotRequest::Ask(Ask { number: 1, slots: 9, urgent: true }) })
        .unwrap();
    let owned = |s: &System| s.state.container(DC).unwrap().pool.owned(NodeId(1)).count();
    let had = owned(&s);
    assert!(had > 0);
    let nonce = s.state.member(NodeId(1)).unwrap().begun_by.unwrap();
    let begin = |nonce| Command::Begin { address: card(1).address, nonce };
    let before = s.changes.len();
    assert_eq!(s.put(1, Epoch::default(), 0, begin(nonce)), Ok(Reply::Begun(first)), "its answer was lost");
    // Sent by a daemon that died before this one began.
    assert_eq!(s.put(1, Epoch::default(), 0, begin(77)).unwrap_err().code, Code::STALE as i32);
    assert_eq!((s.incarnation(1), owned(&s), s.changes.len()), (first, had, before));
    s.say(0, Command::Lost { node: NodeId(1), incarnation: first }).unwrap();
    let late = s.put(1, Epoch::default(), 0, begin(nonce)).unwrap_err().code;
    assert_eq!(late, Code::STALE as i32, "it was taken for lost since, and does not rise again by that");
    assert_eq!(s.incarnation(1), Epoch::default());
    let Ok(Reply::Begun(second)) = s.put(1, first, 0, begin(78)) else { panic!("it may begin anew") };
    assert!(second > first);
}

#[test]
fn what_a_node_has_is_its_own_until_it_gives_it_also_when_it_may_have_no_more() {
    let mut s = System::new();
    s.declare(Kind::Single);
    s.offer(2, true).unwrap();
    let ask = |number| SlotRequest::Ask(Ask { number, slots: 8, urgent: true });
    let slots = |request| Command::Slots { dc: DC, request };
    s.say(2, slots(ask(1))).unwrap();
    let owned = |s: &System| s.state.container(DC).unwrap().pool.owned(NodeId(2)).collect::<Vec<_>>();
    let had = owned(&s);
    assert_eq!(had.len(), 8);
    s.say(0, Command::Allow { dc: DC, node: NodeId(2), on: false }).unwrap();
    assert_eq!(owned(&s), had, "its programs may still run");
    assert_eq!(s.place_of(), Place::At(NodeId(2)), "it still serves");
    assert_eq!(s.offer(1, true).unwrap_err().code, Code::SLOTUSED as i32);
    assert_eq!(s.code(2, slots(ask(2))), Code::NODCNODE as i32);
    s.say(2, slots(SlotRequest::Give { round: 0, slots: had })).unwrap();
    s.say(2, Command::Retire { dc: DC, slot: SLOT }).unwrap();
    assert_eq!((owned(&s), s.place_of()), (vec![], Place::Vacant));
    assert_eq!(s.offer(2, true).unwrap_err().code, Code::NODCNODE as i32, "services, too, are kept away");
    s.offer(1, true).unwrap();
}

#[test]
fn a_withdrawn_service_is_not_declared_anew_before_its_instance_has_ended() {
    let mut s = System::new();
    s.declare(Kind::Single);
    s.offer(1, true).unwrap();
    let again = Command::Declare { dc: DC, slot: SLOT, spec: service(Kind::Single) };
    s.say(0, Command::Withdraw { dc: DC, slot: SLOT }).unwrap();
    assert_eq!(s.code(0, again.clone()), Code::BUSY as i32);
    assert_eq!(s.offer(2, true).unwrap_err().code, Code::BADPROC as i32);
    assert_eq!(s.code(0, Command::Withdraw { dc: DC, slot: SLOT }), Code::BADPROC as i32);
    s.say(1, Command::Retire { dc: DC, slot: SLOT }).unwrap();
    s.say(0, again.clone()).unwrap();
    s.offer(2, true).unwrap();
    s.say(0, Command::Withdraw { dc: DC, slot: SLOT }).unwrap();
    let lost = Command::Lost { node: NodeId(2), incarnation: s.incarnation(2) };
    s.say(0, lost).unwrap();
    s.say(0, again).unwrap();
}

#[test]
fn a_service_declared_for_fewer_nodes_stays_where_it_is_until_it_is_retired_there() {
    let mut s = System::new();
    s.declare(Kind::Passive);
    s.offer(1, true).unwrap();
    s.offer(2, true).unwrap();
    let spec = ServiceSpec { nodes: 0b101, ..service(Kind::Passive) };
    s.say(0, Command::Declare { dc: DC, slot: SLOT, spec }).unwrap();
    assert_eq!(s.place_of(), Place::At(NodeId(1)));
    s.say(1, Command::Retire { dc: DC, slot: SLOT }).unwrap();
    assert_eq!(s.place_of(), Place::At(NodeId(2)));
    let only = |nodes| {
        let spec = ServiceSpec { nodes, ..service(Kind::Passive) };
        Command::Declare { dc: DC, slot: SLOT, spec }
    };
    s.offer(0, true).unwrap();
    s.say(0, only(0b100)).unwrap();
    s.say(2, Command::Retire { dc: DC, slot: SLOT }).unwrap();
    assert_eq!(s.place_of(), Place::Vacant, "it may not go to node 0");
    s.say(0, only(0b111)).unwrap();
    assert_eq!(s.place_of(), Place::At(NodeId(0)), "now it may");
}

#[test]
fn an_instance_that_comes_or_goes_is_told_also_when_callers_go_elsewhere() {
    let mut s = System::new();
    s.declare(Kind::Active);
    s.offer(0, true).unwrap();
    s.offer(1, false).unwrap();
    let since = s.state.container(DC).unwrap().services[&SLOT].instances[&NodeId(1)].since;
    assert_eq!(since, s.state.last());
    s.changes.clear();
    let offered = |in_step| Change::Offered { dc: DC, slot: SLOT, node: NodeId(1), in_step };
    let gone = |node| Change::Gone { dc: DC, slot: SLOT, node: NodeId(node) };
    s.offer(1, true).unwrap();
    assert_eq!(s.state.container(DC).unwrap().services[&SLOT].instances[&NodeId(1)].since, since);
    s.offer(1, true).unwrap();
    s.say(1, Command::Retire { dc: DC, slot: SLOT }).unwrap();
    assert_eq!(s.changes, [offered(true), gone(1)], "once each");
    s.offer(1, true).unwrap();
    assert!(s.state.container(DC).unwrap().services[&SLOT].instances[&NodeId(1)].since > since);
    let incarnation = s.incarnation(0);
    s.say(0, Command::Lost { node: NodeId(0), incarnation }).unwrap();
    assert!(s.changes.contains(&gone(0)), "{:?}", s.changes);
}

/// Any command, by any node, often one that makes sense.
fn command() -> impl Strategy<Value = (u16, Act)> {
    let node = || (0..4_u16).prop_map(NodeId);
    let kind = prop_oneof![Just(Kind::Single), Just(Kind::Passive), Just(Kind::Active)];
    let act = prop_oneof![
        2 => Just(Act::Begin),
        2 => node().prop_map(Act::Lost),
        1 => node().prop_map(|node| Act::Say(Command::Leave { node })),
        1 => (0..6_u16).prop_map(|n| Act::Say(Command::Admit { token: TOKEN, card: card(n) })),
        1 => Just(Act::Say(Command::Invite { token: TOKEN, until: HOUR, uses: 3 })),
        1 => (node(), any::<bool>()).prop_map(|(node, on)| Act::Say(Command::Drain { node, on })),
        1 => (node(), any::<bool>()).prop_map(|(node, on)| Act::Say(Command::Allow { dc: DC, node, on })),
        1 => Just(Act::Say(Command::Create { dc: None, spec: container(0b11) })),
        2 => (kind, prop_oneof![Just(0b111), 1..8_u32]).prop_map(|(kind, nodes)| {
            let spec = ServiceSpec { nodes, ..service(kind) };
            Act::Say(Command::Declare { dc: DC, slot: SLOT, spec })
        }),
        1 => Just(Act::Say(Command::Withdraw { dc: DC, slot: SLOT })),
        8 => any::<bool>().prop_map(|in_step| Act::Say(Command::Offer { dc: DC, slot: SLOT, in_step })),
        3 => Just(Act::Say(Command::Retire { dc: DC, slot: SLOT })),
        5 => node().prop_map(Act::Move),
        3 => Just(Act::Arrive),
        4 => node().prop_map(|to| Act::Say(Command::Switch { dc: DC, slot: SLOT, to })),
        1 => Just(Act::Later),
        8 => (1..300_u32, any::<bool>()).prop_map(|(slots, urgent)| Act::Ask(slots, urgent)),
        4 => (0..4_usize, 0..3_u64).prop_map(|(n, round)| Act::Give(n, round)),
        1 => Just(Act::Again),
    ];
    (0..4_u16, act)
}

#[derive(Clone, Debug)]
enum Act {
    Say(Command),
    Begin,
    Lost(NodeId),
    Move(NodeId),
    /// Of the move under way, if any.
    Arrive,
    Ask(u32, bool),
    Give(usize, u64),
    Later,
    /// The last command once more.
    Again,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_put_into_the_log_its_parts_agree_and_epochs_rise(
        acts in proptest::collection::vec(command(), 1..120)
    ) {
        let mut s = System::new();
        s.declare(Kind::Passive);
        let mut entries: Vec<(u16, Epoch, u64, Command)> = Vec::new();
        for (n, act) in acts {
            let from = NodeId(n);
            let command = match act {
                Act::Say(command) => command,
                Act::Begin => {
                    if s.state.member(from).is_some() {
                        s.begin(n);
                    }
                    continue;
                }
                Act::Lost(node) => Command::Lost { node, incarnation: s.incarnation(node.0) },
                Act::Move(to) => Command::Move { dc: DC, slot: SLOT, to, deadline: s.at + 5 },
                Act::Ask(slots, urgent) => {
                    let number = s.place;
                    Command::Slots { dc: DC, request: SlotRequest::Ask(Ask { number, slots, urgent }) }
                }
                Act::Give(n, round) => {
                    let slots = match s.state.container(DC) {
                        Some(c) => c.pool.owned(from).take(n).collect(),
                        None => vec![40],
                    };
                    Command::Slots { dc: DC, request: SlotRequest::Give { round, slots } }
                }
                Act::Arrive => {
                    let service = s.state.container(DC).and_then(|c| c.services.get(&SLOT));
                    let number = match service.map(|s| s.place) {
                        Some(Place::Moving { number, .. }) => number,
                        _ => Epoch(1),
                    };
                    Command::Arrive { dc: DC, slot: SLOT, number }
                }
                Act::Later => {
                    s.at += 3;
                    continue;
                }
                Act::Again => {
                    let Some((n, incarnation, number, command)) = entries.last().cloned() else { continue };
                    // Time passes with any entry, also with one that is refused: late moves are undone.
                    let _ = s.put(n, Epoch(u64::MAX), number, command.clone());
                    let before = s.state.clone();
                    let _ = s.put(n, incarnation, number, command);
                    if s.incarnation(n) == incarnation {
                        prop_assert_eq!(s.state.container(DC), before.container(DC));
                    }
                    continue;
                }
            };
            entries.push((n, s.incarnation(n), s.numbers.get(&from).map_or(1, |x| x + 1), command.clone()));
            let _ = s.say(n, command);
        }
        let mut last = BTreeMap::new();
        for c in &s.changes {
            if let Change::Placed { dc, slot, epoch, .. } | Change::Held { dc, slot, epoch } = c {
                let before = last.insert((*dc, *slot), *epoch);
                prop_assert!(before.is_none_or(|b| b < *epoch), "{:?} then {}", before, epoch);
            }
        }
        let places: BTreeSet<_> = s.changes.iter().filter_map(|c| match c {
            Change::Placed { dc, slot, node, epoch } => Some(((*dc, *slot, *epoch), *node)),
            _ => None,
        }).collect();
        let epochs: BTreeSet<_> = places.iter().map(|(e, _)| *e).collect();
        prop_assert_eq!(places.len(), epochs.len(), "one epoch in two places");
    }

    #[test]
    fn the_same_log_gives_the_same_state_also_from_a_snapshot_in_the_middle(
        acts in proptest::collection::vec(command(), 1..60), cut in 0..60_usize
    ) {
        let (mut a, mut b) = (System::new(), System::new());
        for (i, (n, act)) in acts.into_iter().enumerate() {
            let Act::Say(command) = act else { continue };
            if i == cut {
                b.state = postcard::from_bytes(&postcard::to_stdvec(&b.state).unwrap()).unwrap();
            }
            let (x, y) = (a.say(n, command.clone()), b.say(n, command));
            prop_assert_eq!(x, y);
        }
        prop_assert_eq!((a.state, a.changes), (b.state, b.changes));
    }
}
