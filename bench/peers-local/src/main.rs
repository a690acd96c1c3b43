//! Peers on one machine that need nothing but the kernel and small libraries. One number a run, see the
//! contract in `dvs_bench_common`.

mod bulk;
mod pipe;
mod seqpacket;
mod shared;
mod switch;

use std::process::ExitCode;

use dvs_bench_common::{Peer, Reach, Solo};

const PEERS: &[Peer] = &[
    Peer { name: "seqpacket", reach: Reach::Local, serve: seqpacket::serve_one, connect: seqpacket::connect },
    Peer {
        name: "seqpacket-epoll",
        reach: Reach::Local,
        serve: seqpacket::serve_all,
        connect: seqpacket::connect,
    },
    Peer { name: "pipe", reach: Reach::Local, serve: pipe::serve, connect: pipe::connect },
    Peer { name: "spin", reach: Reach::Local, serve: shared::serve_spin, connect: shared::connect_spin },
    Peer { name: "yield", reach: Reach::Local, serve: shared::serve_yield, connect: shared::connect_yield },
];

const SOLOS: &[Solo] = &[
    Solo { name: "coro", run: switch::coroutine },
    Solo { name: "tokio", run: switch::tokio_channels },
    Solo { name: "vm-read", run: bulk::vm_read },
    Solo { name: "vm-hold", run: bulk::vm_hold },
    Solo { name: "memcpy", run: bulk::memcpy },
];

fn main() -> ExitCode {
    dvs_bench_common::main(PEERS, SOLOS)
}
