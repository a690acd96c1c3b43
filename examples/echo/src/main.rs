//! A server in 20 lines: answers every request with itself. Start it with `dvs run DC --endpoint 20 --
//! dvs-echo 20`.
#![forbid(unsafe_code)]

use dvs::{DcId, Endpoint, Message, Timeout};

fn main() -> Result<(), dvs::Error> {
    let slot = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(20);
    let process = dvs::attach("echo")?;
    let port = process.bind(DcId(0), Endpoint::new(0, slot))?;
    let mut m = Message::default();
    loop {
        port.receive(Endpoint::ANY, &mut m, Timeout::Forever)?;
        // A client that went away meanwhile is not the server's problem.
        let _ = port.reply(m.source(), &mut m, Timeout::Forever);
    }
}
