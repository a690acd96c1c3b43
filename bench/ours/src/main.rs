//! Ours, measured behind the same contract as the peers: one number a run, or exit code 3 with the reason.
//!
//! | sub-command | options | the number |
//! |---|---|---|
//! | `pingpong` | `--place P --ms N` | microseconds of a `sendrec` between two processes |
//! | `many` | `--clients N --ms N` | requests a second, one server, N client processes |
//! | `coro` | `--ms N` | microseconds of a `sendrec` between two coroutines of one process |
//! | `vcopy` | `--bytes N --of copy\|shared` | GB/s of one copy out of a grant; `shared`: from link memory |
//! | `idle` | `--endpoints N --ms N` | microseconds of CPU a second, server with N waiting endpoints, and its daemon |
//! | `memory` | `--of daemon\|endpoint\|count --endpoints N` | MiB of an idle daemon; KiB an endpoint; endpoints bound |
//! | `remote-pingpong` | `--tls on\|off` | as `pingpong`, nodes on sides A and B |
//! | `remote-many` | `--clients N --tls on\|off` | as `many`, clients on side A |
//! | `bulk` | `--tls on\|off` | GB/s of one long copy from side A to side B, process to process |
//!
//! Sides A and B are the network namespaces named in `DVS_BENCH_NS_A` and `DVS_BENCH_NS_B`, else this
//! machine; `DVS_BENCH_ADDR_A` and `DVS_BENCH_ADDR_B` are their addresses; `DVS_BENCH_DIR` is a scratch
//! folder.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::{Result, bail};
use dvs_bench_common::{Ask, Solo};

/// The messages between processes are not in the facade crate yet, so there is nothing to measure.
fn not_available(_: &Ask) -> Result<f64> {
    bail!("not available: the facade crate `dvs` does not offer this call yet")
}

const SOLOS: &[Solo] = &[
    Solo { name: "pingpong", run: not_available },
    Solo { name: "many", run: not_available },
    Solo { name: "coro", run: not_available },
    Solo { name: "vcopy", run: not_available },
    Solo { name: "idle", run: not_available },
    Solo { name: "memory", run: not_available },
    Solo { name: "remote-pingpong", run: not_available },
    Solo { name: "remote-many", run: not_available },
    Solo { name: "bulk", run: not_available },
];

fn main() -> ExitCode {
    dvs_bench_common::main(&[], SOLOS)
}
