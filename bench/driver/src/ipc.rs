//! The rows of `ipc`: one machine. Bars from the table "Speed" of the issue this bench came with.

use crate::row::Against::{Limit, Peer};
use crate::row::Better::{Less, More};
use crate::row::{Against, Better, Row};

const LOCAL: &str = "dvs-bench-local";
const ZMQ: &str = "dvs-bench-zmq";
const GRPC: &str = "dvs-bench-grpc";

const SEQPACKET: Against = Peer(LOCAL, "seqpacket pingpong");
const SEQPACKET_SAME: Against = Peer(LOCAL, "seqpacket pingpong --place same");
const SEQPACKET_APART: Against = Peer(LOCAL, "seqpacket pingpong --place apart");

/// CPU a waiting server may use before we call it measurable, in microseconds a second: a hundredth of a
/// percent, about one stray wake-up.
const IDLE_US: f64 = 100.0;

/// Every row of `ipc`.
pub const ROWS: &[Row] = &[
    // Both unpinned, as the bar says. A peer that blocks is fast or slow by where the scheduler happens to
    // put its two sides, and stays there: so this is the median over many fresh starts of both. The two rows
    // after it pin the peer and show between what it wavers.
    Row {
        rounds: 5,
        ..time("sendrec, unpinned", "unix seqpacket, unpinned", "local pingpong", SEQPACKET, 10.0)
    },
    Row {
        bar: None,
        ..time("sendrec, unpinned", "unix seqpacket on one core", "local pingpong", SEQPACKET_SAME, 10.0)
    },
    Row {
        bar: None,
        ..time("sendrec, unpinned", "unix seqpacket over two cores", "local pingpong", SEQPACKET_APART, 10.0)
    },
    // The yardstick gets a core a side: unpinned, its two spinners may share one and pass a time slice each
    // way.
    time(
        "sendrec, unpinned",
        "spinning hand-off",
        "local pingpong",
        Peer(LOCAL, "spin pingpong --place apart"),
        0.25,
    ),
    time(
        "sendrec, one core",
        "pipe",
        "local pingpong --place same",
        Peer(LOCAL, "pipe pingpong --place same"),
        1.0,
    ),
    Row {
        bar: None,
        ..time(
            "sendrec, one core",
            "sched_yield floor",
            "local pingpong --place same",
            Peer(LOCAL, "yield pingpong --place same"),
            1.0,
        )
    },
    rate(
        "1 client",
        "unix seqpacket+epoll",
        "local many --clients 1",
        Peer(LOCAL, "seqpacket-epoll many --clients 1"),
    ),
    rate("1 client", "ZeroMQ", "local many --clients 1", Peer(ZMQ, "zmq-ipc many --clients 1")),
    rate("1 client", "gRPC", "local many --clients 1", Peer(GRPC, "grpc many --clients 1")),
    rate(
        "8 clients",
        "unix seqpacket+epoll",
        "local many --clients 8",
        Peer(LOCAL, "seqpacket-epoll many --clients 8"),
    ),
    rate("8 clients", "ZeroMQ", "local many --clients 8", Peer(ZMQ, "zmq-ipc many --clients 8")),
    rate("8 clients", "gRPC", "local many --clients 8", Peer(GRPC, "grpc many --clients 8")),
    rate(
        "64 clients",
        "unix seqpacket+epoll",
        "local many --clients 64",
        Peer(LOCAL, "seqpacket-epoll many --clients 64"),
    ),
    rate("64 clients", "ZeroMQ", "local many --clients 64", Peer(ZMQ, "zmq-ipc many --clients 64")),
    rate("64 clients", "gRPC", "local many --clients 64", Peer(GRPC, "grpc many --clients 64")),
    time("two coroutines", "bare switch there and back", "coro", Peer(LOCAL, "coro"), 0.2),
    time("two coroutines", "tokio mpsc+oneshot", "coro", Peer(LOCAL, "tokio"), 3.0),
    copy("vcopy 64 KiB", "process_vm_readv", "vcopy --bytes 65536 --of copy", "vm-read --bytes 65536"),
    copy("vcopy 1 MiB", "process_vm_readv", "vcopy --bytes 1048576 --of copy", "vm-read --bytes 1048576"),
    copy("vcopy 64 KiB, link memory", "memcpy", "vcopy --bytes 65536 --of shared", "memcpy --bytes 65536"),
    copy("vcopy 1 MiB, link memory", "memcpy", "vcopy --bytes 1048576 --of shared", "memcpy --bytes 1048576"),
    limit("idle server, CPU", "us/s", "idle --endpoints 1", IDLE_US, Less),
    limit("10,000 endpoints waiting, CPU", "us/s", "idle --endpoints 10000", IDLE_US, Less),
    limit("dvsd idle, resident", "MiB", "memory --of daemon", 20.0, Less),
    limit("a bound endpoint", "KiB", "memory --of endpoint --endpoints 10000", 16.0, Less),
    limit("endpoints on a node", "", "memory --of count --endpoints 10000", 10_000.0, More),
];

const fn time(what: &'static str, peer: &'static str, ours: &'static str, against: Against, bar: f64) -> Row {
    Row { bench: "ipc", what, peer, ours, against, unit: "us", better: Less, bar: Some(bar), rounds: 1 }
}

const fn rate(what: &'static str, peer: &'static str, ours: &'static str, against: Against) -> Row {
    Row { bench: "ipc", what, peer, ours, against, unit: "req/s", better: More, bar: Some(1.0), rounds: 1 }
}

const fn copy(what: &'static str, peer: &'static str, ours: &'static str, words: &'static str) -> Row {
    let against = Peer(LOCAL, words);
    Row { bench: "ipc", what, peer, ours, against, unit: "GB/s", better: More, bar: Some(0.9), rounds: 1 }
}

const fn limit(
    what: &'static str,
    unit: &'static str,
    ours: &'static str,
    value: f64,
    better: Better,
) -> Row {
    Row {
        bench: "ipc",
        what,
        peer: "promise",
        ours,
        against: Limit(value),
        unit,
        better,
        bar: Some(1.0),
        rounds: 1,
    }
}
