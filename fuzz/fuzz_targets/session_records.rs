//! What a session or a daemon may write on the control socket: never panics, and what decodes comes back.
//! What a session asks is then asked of a node with two sessions, which never panics either and forgets both
//! when they end.
#![no_main]

use dvs_abi::NodeId;
use dvs_ipc::control::{FromDaemon, Numbered, Request, decode, encode};
use dvs_kern::node::Node;
use dvs_kern::node::config::NodeConfig;
use dvs_kern::node::event::{Command, Event, Want};
use dvs_kern::slots::{SlotChange, SlotRequest};

fn same(bytes: &[u8]) {
    if let Ok(n) = decode::<Numbered>(bytes)
        && let Ok(again) = encode(&n)
    {
        assert_eq!(decode::<Numbered>(&again).expect("what encodes decodes"), n);
    }
    if let Ok(n) = decode::<FromDaemon>(bytes)
        && let Ok(again) = encode(&n)
    {
        assert_eq!(decode::<FromDaemon>(&again).expect("what encodes decodes"), n);
    }
}

fn feed(node: &mut Node, event: Event, now: u64) {
    for command in node.handle(event, now) {
        match command {
            Command::Reply { result: Ok(answer), .. } => drop(encode(&answer)),
            Command::Decide { ticket, want } => decide(node, ticket, want, now),
            _ => {}
        }
    }
}

/// Everything that is wanted is agreed on; slots are leased as long as there are some.
fn decide(node: &mut Node, ticket: u64, want: Want, now: u64) {
    let change = |dc: u16, ask: u64, slots: Vec<i32>| {
        let change = SlotChange::Leased { node: NodeId(0), ask, slots };
        Event::Slots { dc, change }
    };
    let told = match want {
        Want::Create { dc, mut config } => {
            config.born = now;
            Some(Event::Container { dc, value: Some(config) })
        }
        Want::End { dc } => Some(Event::Container { dc, value: None }),
        Want::Allow { dc, node: n, on } => {
            let config = node.containers().find(|(number, _)| *number == dc).map(|(_, c)| c.config.clone());
            config.map(|mut c| {
                c.nodes = if on { c.nodes | 1 << n } else { c.nodes & !(1 << n) };
                Event::Container { dc, value: Some(c) }
            })
        }
        Want::Slots { dc, request: SlotRequest::Ask(ask) } => {
            let free = node.containers().find(|(number, _)| *number == dc).map(|(_, c)| {
                let leased: Vec<i32> = c.leased().collect();
                let user = c.config.first_user()..c.config.procs;
                user.filter(|s| !leased.contains(s)).take(ask.slots as usize).collect()
            });
            free.map(|slots| change(dc, ask.number, slots))
        }
        Want::Declare { dc, slot, name, kind, .. } => {
            Some(Event::Service { dc, slot, name, kind: Some(kind) })
        }
        Want::Slots { dc, request: SlotRequest::Claim { slot } } => Some(change(dc, 0, vec![slot])),
        Want::Slots { request: SlotRequest::Give { .. } | SlotRequest::Keep { .. }, .. }
        | Want::Offer { .. }
        | Want::Retire { .. }
        | Want::Move { .. }
        | Want::Undo { .. }
        | Want::Arrive { .. } => None,
    };
    if let Some(event) = told {
        feed(node, event, now);
    }
    feed(node, Event::Decided { ticket, result: Ok(()) }, now);
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    same(bytes);
    let mut node = Node::new(NodeConfig::single(1));
    for session in [1, 2] {
        let pid = 100 + session;
        let operator = session % 2 == 0;
        feed(&mut node, Event::Connected { session, id: 1, pid, operator, name: "fuzz".into() }, 0);
    }
    let dc = Request::DcInit {
        dc: 1,
        name: "fuzz".into(),
        procs: 221,
        tasks: 35,
        sysprocs: 64,
        warn: 0x6ace,
        warn_type: 0,
        nodes: vec![],
    };
    feed(&mut node, Event::Request { session: 1, id: 2, request: dc }, 0);
    // One byte says how long the next record is and whose it is; time goes on with each.
    let (mut rest, mut now) = (bytes, 1);
    while let Some((head, tail)) = rest.split_first() {
        let length = usize::from(head >> 1).min(tail.len());
        let (record, after) = tail.split_at(length);
        rest = after;
        now += 1_000_000;
        if let Ok(Numbered { id, request }) = decode(record) {
            let session = 1 + u32::from(head & 1);
            feed(&mut node, Event::Request { session, id, request }, now);
            feed(&mut node, Event::Tick, now);
        }
    }
    for session in [1, 2] {
        feed(&mut node, Event::Died { session, code: None }, now);
    }
    assert_eq!(node.lane_counts(), (0, 0));
});
