//! Zenoh: a queryable and clients that `get` from it, over TCP, without scouting. Each run has processes of
//! its own: the library's runtime does not survive a second use.
#![forbid(unsafe_code)]

use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::{Result, anyhow, ensure};
use dvs_bench_common::{Op, PAYLOAD_BYTES, Peer, Reach, ready};
use zenoh::{Config, Session, Wait};

const PEERS: &[Peer] = &[Peer { name: "zenoh", reach: Reach::Net, serve, connect }];
const KEY: &str = "bench/echo";

/// Peers that know each other's address and look for no others.
fn session(listen: &[String], connect: &[String]) -> Result<Session> {
    let mut config = Config::default();
    let places = |all: &[String]| format!("{all:?}");
    for (key, value) in [
        ("mode", "\"peer\"".to_string()),
        ("scouting/multicast/enabled", "false".into()),
        ("scouting/gossip/enabled", "false".into()),
        ("listen/endpoints", places(listen)),
        ("connect/endpoints", places(connect)),
    ] {
        config.insert_json5(key, &value).map_err(|error| anyhow!("zenoh configuration {key}: {error}"))?;
    }
    zenoh::open(config).wait().map_err(|error| anyhow!("zenoh session: {error}"))
}

fn serve(ip: &str) -> Result<()> {
    let port = TcpListener::bind((ip, 0))?.local_addr()?.port();
    let place = format!("tcp/{ip}:{port}");
    let session = session(std::slice::from_ref(&place), &[])?;
    // Answered in the library's own thread: a queue to another one would cost a wake-up more.
    let _queryable = session
        .declare_queryable(KEY)
        .callback(|query| {
            if let Some(payload) = query.payload().cloned()
                && let Err(error) = query.reply(KEY, payload).wait()
            {
                eprintln!("reply: {error}");
            }
        })
        .wait()
        .map_err(|error| anyhow!("queryable: {error}"))?;
    ready(&place)?;
    loop {
        std::thread::park();
    }
}

fn connect(place: &str) -> Result<Op> {
    let session = session(&[], &[place.to_string()])?;
    Ok(Box::new(move || {
        let get = session.get(KEY).payload(vec![1_u8; PAYLOAD_BYTES]);
        let answers = get.wait().map_err(|error| anyhow!("get: {error}"))?;
        let answer = answers.recv().map_err(|error| anyhow!("no answer: {error}"))?;
        let sample = answer.result().map_err(|_| anyhow!("the server answered an error"))?;
        ensure!(sample.payload().len() == PAYLOAD_BYTES, "the server answered another size");
        Ok(())
    }))
}

fn main() -> ExitCode {
    dvs_bench_common::main(PEERS, &[])
}
