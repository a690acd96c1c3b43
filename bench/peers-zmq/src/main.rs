//! ZeroMQ: one REP socket, REQ clients, over its `ipc` and `tcp` transports.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::{Result, bail};
use dvs_bench_common::{Op, PAYLOAD_BYTES, Peer, Reach, ready};

const PEERS: &[Peer] = &[
    Peer { name: "zmq-ipc", reach: Reach::Local, serve: |path| serve(&format!("ipc://{path}")), connect },
    Peer { name: "zmq-tcp", reach: Reach::Net, serve: |ip| serve(&format!("tcp://{ip}:*")), connect },
];

fn serve(place: &str) -> Result<()> {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::REP)?;
    socket.bind(place)?;
    let Ok(bound) = socket.get_last_endpoint()? else { bail!("the bound address is not UTF-8") };
    ready(&bound)?;
    let mut message = zmq::Message::new();
    loop {
        socket.recv(&mut message, 0)?;
        socket.send(&message[..], 0)?;
    }
}

fn connect(address: &str) -> Result<Op> {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::REQ)?;
    socket.connect(address)?;
    let mut buffer = [1_u8; PAYLOAD_BYTES];
    Ok(Box::new(move || {
        // The socket keeps its context alive.
        socket.send(&buffer[..], 0)?;
        match socket.recv_into(&mut buffer, 0)? {
            PAYLOAD_BYTES => Ok(()),
            bytes => bail!("the server answered {bytes} bytes"),
        }
    }))
}

fn main() -> ExitCode {
    dvs_bench_common::main(PEERS, &[])
}
