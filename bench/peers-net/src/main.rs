//! Peers between machines that need little: TCP, TLS, and two programs of the system (iperf3, Erlang).
#![forbid(unsafe_code)]

mod erlang;
mod iperf;
mod tcp;
mod tls;

use std::process::ExitCode;

use dvs_bench_common::{Peer, Reach, Solo};

const PEERS: &[Peer] = &[
    Peer { name: "tcp", reach: Reach::Net, serve: tcp::serve, connect: tcp::connect },
    Peer { name: "tls", reach: Reach::Net, serve: tls::serve, connect: tls::connect },
];

const SOLOS: &[Solo] = &[
    Solo { name: "tls-stream", run: tls::stream },
    Solo { name: "tls-sink", run: tls::sink },
    Solo { name: "tls-source", run: tls::source },
    Solo { name: "iperf3", run: iperf::one_stream },
    Solo { name: "erlang", run: erlang::pingpong },
];

fn main() -> ExitCode {
    dvs_bench_common::main(PEERS, SOLOS)
}
