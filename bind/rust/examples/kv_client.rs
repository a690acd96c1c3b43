//! Asks the key/value server: `kv_client key` or `kv_client key=value`.

use dvs::{Code, DcId, Endpoint, Error, Message, Timeout};
use std::time::Duration;

fn main() -> dvs::Result<()> {
    let question = std::env::args().nth(1).unwrap_or_default();
    let port = dvs::attach("kv-client")?.bind(DcId(0), Endpoint::NONE)?; // any free user slot
    let mut m = Message::new(0);
    m.set_bytes(question.as_bytes()).map_err(|_| Error::early(Code::TOOBIG))?;
    match port.sendrec(Endpoint::new(0, 1), &mut m, Timeout::After(Duration::from_secs(1))) {
        Ok(()) => println!("{}", String::from_utf8_lossy(m.bytes())),
        Err(e) if e.safe_to_retry() => {
            eprintln!("{e}\nThe request was not done. Try again when the server is up.")
        }
        Err(e) => eprintln!("{e}\nThe server had the request. Ask what came of it."),
    }
    Ok(())
}
