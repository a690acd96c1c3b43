//! The rows of `net`: two machines (network namespaces joined by a veth pair). Bars from the table "Speed" of
//! the issue this bench came with.

use crate::row::Against::{Ours, Peer};
use crate::row::Better::{Less, More};
use crate::row::{Against, Row};

const NET: &str = "dvs-bench-net";
const ZMQ: &str = "dvs-bench-zmq";
const NATS: &str = "dvs-bench-nats";
const ZENOH: &str = "dvs-bench-zenoh";

const PINGPONG: &str = "remote pingpong";
const MANY: &str = "remote many --clients 64";

/// Every row of `net`.
pub const ROWS: &[Row] = &[
    time("remote sendrec, TLS off", "blocking TCP", PINGPONG, Peer(NET, "tcp pingpong"), 1.0),
    time("remote sendrec, TLS off", "ZeroMQ", PINGPONG, Peer(ZMQ, "zmq-tcp pingpong"), 1.0),
    time("remote sendrec, TLS off", "NATS", PINGPONG, Peer(NATS, "nats pingpong"), 1.0),
    time("remote sendrec, TLS off", "Zenoh get", PINGPONG, Peer(ZENOH, "zenoh pingpong"), 1.0),
    time("remote sendrec, TLS off", "Erlang", PINGPONG, Peer(NET, "erlang"), 1.0),
    time("remote sendrec, TLS on", "ours, TLS off", "remote-tls pingpong", Ours(PINGPONG), 1.0 / 1.3),
    many("ZeroMQ", Peer(ZMQ, "zmq-tcp many --clients 64")),
    many("NATS", Peer(NATS, "nats many --clients 64")),
    bulk("bulk copied in, TLS off", "iperf3, one stream", "bulk --tls off --of in", "iperf3", 0.6),
    bulk("bulk copied out, TLS off", "iperf3, one stream", "bulk --tls off --of out", "iperf3", 0.6),
    bulk("bulk copied in, TLS on", "bare TLS stream", "bulk --tls on --of in", "tls-stream", 0.8),
    bulk("bulk copied out, TLS on", "bare TLS stream", "bulk --tls on --of out", "tls-stream", 0.8),
];

const fn time(what: &'static str, peer: &'static str, ours: &'static str, against: Against, bar: f64) -> Row {
    Row { bench: "net", what, peer, ours, against, unit: "us", better: Less, bar: Some(bar), rounds: 1 }
}

const fn many(peer: &'static str, against: Against) -> Row {
    let (what, bar) = ("64 remote clients", Some(5.0));
    Row { bench: "net", what, peer, ours: MANY, against, unit: "req/s", better: More, bar, rounds: 1 }
}

const fn bulk(
    what: &'static str,
    peer: &'static str,
    ours: &'static str,
    words: &'static str,
    bar: f64,
) -> Row {
    let against = Peer(NET, words);
    Row { bench: "net", what, peer, ours, against, unit: "GB/s", better: More, bar: Some(bar), rounds: 1 }
}
