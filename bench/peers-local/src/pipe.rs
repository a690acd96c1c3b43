//! Two pipes, one each way. They carry names in the scratch folder (FIFOs), so that two processes find them;
//! the kernel's path is that of a nameless pipe.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};

use anyhow::Result;
use dvs_bench_common::{Op, PAYLOAD_BYTES, ready};
use rustix::fs::{CWD, FileType, Mode, mknodat};

fn names(address: &str) -> (String, String) {
    (format!("{address}.request"), format!("{address}.reply"))
}

/// Serves one client.
pub fn serve(address: &str) -> Result<()> {
    let (request, reply) = names(address);
    for name in [&request, &reply] {
        mknodat(CWD, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    }
    ready(address)?;
    // Opening waits for the other side, which opens in the same order.
    let mut input = File::open(&request)?;
    let mut output = OpenOptions::new().write(true).open(&reply)?;
    let mut buffer = [0_u8; PAYLOAD_BYTES];
    loop {
        match input.read_exact(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        output.write_all(&buffer)?;
    }
}

/// The client.
pub fn connect(address: &str) -> Result<Op> {
    let (request, reply) = names(address);
    let mut output = OpenOptions::new().write(true).open(&request)?;
    let mut input = File::open(&reply)?;
    let mut buffer = [1_u8; PAYLOAD_BYTES];
    Ok(Box::new(move || {
        output.write_all(&buffer)?;
        Ok(input.read_exact(&mut buffer)?)
    }))
}
