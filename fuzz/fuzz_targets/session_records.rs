//! What a session or a daemon may write on the control socket: never panics, and what decodes comes back.
//! What a session asks is then asked of a node with two sessions, which never panics either and forgets both
//! when they end.
#![no_main]

use dvs_ipc::control::{FromDaemon, Numbered, Request, decode, encode};
use dvs_kern::node::Node;
use dvs_kern::node::config::NodeConfig;
use dvs_kern::node::event::{Command, Event};

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
        if let Command::Reply { result: Ok(answer), .. } = command {
            let _ = encode(&answer);
        }
    }
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
