//! Ours, measured behind the same contract as the peers: one number a run, or exit code 3 with the reason.
//!
//! | words | options | the number |
//! |---|---|---|
//! | `local pingpong` | `--place P` | microseconds of a `sendrec` between two processes of a node |
//! | `local many` | `--clients N` | requests a second, one server, N client processes |
//! | `coro` | | microseconds of a `sendrec` between two coroutines of one process |
//! | `vcopy` | `--bytes N --of copy\|shared` | GB/s of a copy out of a grant; `shared`: from link memory |
//! | `idle` | `--endpoints N` | CPU, microseconds a second, of a server whose N endpoints wait, and its daemon |
//! | `memory` | `--of daemon\|endpoint\|count --endpoints N` | MiB of the daemon; KiB an endpoint; how many bound |
//! | `remote pingpong`, `remote-tls pingpong` | | as `local`, server on side B, client on side A |
//! | `remote many` | `--clients N` | as `local many`, clients on side A |
//! | `bulk` | `--tls on\|off --of in\|out` | GB/s of long copies from side A to side B, process to process |
//!
//! All take `--ms N`. Sides A and B are the network namespaces named in `DVS_BENCH_NS_A` and
//! `DVS_BENCH_NS_B`, else this machine; `DVS_BENCH_ADDR_A` and `DVS_BENCH_ADDR_B` are their addresses;
//! `DVS_BENCH_DIR` is a scratch folder.
#![forbid(unsafe_code)]

mod coro;
mod idle;
mod local;
mod node;
mod remote;
mod vcopy;

use std::process::ExitCode;

use dvs_bench_common::{Peer, Reach, Solo};

const PEERS: &[Peer] = &[
    Peer { name: "local", reach: Reach::Local, serve: local::serve, connect: local::connect },
    Peer { name: "remote", reach: Reach::Net, serve: remote::serve, connect: remote::connect },
    Peer { name: "remote-tls", reach: Reach::Net, serve: remote::serve_tls, connect: remote::connect },
];

const SOLOS: &[Solo] = &[
    Solo { name: "coro", run: coro::pingpong },
    Solo { name: "vcopy", run: vcopy::copy },
    Solo { name: "lender", run: vcopy::lender },
    Solo { name: "idle", run: idle::cpu },
    Solo { name: "memory", run: idle::memory },
    Solo { name: "holder", run: idle::holder },
    Solo { name: "waiter", run: idle::waiter },
    Solo { name: "bulk", run: remote::bulk },
    Solo { name: "bulk-in", run: remote::bulk_in },
    Solo { name: "bulk-out", run: remote::bulk_out },
    Solo { name: "bulk-lend", run: remote::bulk_lend },
    Solo { name: "bulk-take", run: remote::bulk_take },
    Solo { name: "daemon", run: node::daemon },
];

fn main() -> ExitCode {
    dvs_bench_common::main(PEERS, SOLOS)
}
