//! The server: plain code over a port, the same in a process, a thread or a coroutine.

use crate::protocol::{Answer, answer, decode};
use crate::store::Store;
use dvs::{Code, Endpoint, Kind, Message, Port, Timeout, Wait};

/// Serves until the port ends; why it did.
pub fn serve<W: Wait>(port: &Port<W>, store: &mut Store) -> dvs::Error {
    let mut m = Message::default();
    loop {
        match port.receive(Endpoint::ANY, &mut m, Timeout::Forever) {
            Ok(()) if m.kind() == Some(Kind::Request) => {
                let client = m.source();
                let request = m;
                let done = decode(&request).map_or(Answer::Bad, |r| store.serve(&r));
                answer(&mut m, &done);
                // A client that went away meanwhile is not the server's problem.
                let _ = port.reply(client, &mut m, Timeout::Forever);
            }
            Ok(()) => {}
            Err(e) if matches!(e.code, Code::WOKENUP | Code::INTR) => {}
            Err(e) => return e,
        }
    }
}
