//! Two processes of one node: `pair server`, then `pair client [ROUNDS]`. Needs a daemon; makes container 1.
use dvs::{Code, DcId, DcPlan, Endpoint, Message, Timeout};
use std::time::Instant;

const DC: DcId = DcId(1);
const SERVER: Endpoint = Endpoint::new(0, 3);

fn main() -> dvs::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let process = dvs::attach("pair")?;
    match process.system().dc_init(&DcPlan::new(DC, "pair")) {
        Err(e) if e.code != Code::RSCBUSY => return Err(e),
        _ => {}
    }
    match args.get(1).map(String::as_str) {
        Some("server") => serve(&process),
        _ => call(&process, args.get(2).and_then(|n| n.parse().ok()).unwrap_or(100_000)),
    }
}

fn serve(process: &dvs::Process) -> dvs::Result<()> {
    let port = process.bind(DC, SERVER)?;
    let mut m = Message::default();
    loop {
        port.receive(Endpoint::ANY, &mut m, Timeout::Forever)?;
        // A client that went away meanwhile is not the server's problem.
        let _ = port.reply(m.source(), &mut m, Timeout::Forever);
    }
}

fn call(process: &dvs::Process, rounds: i32) -> dvs::Result<()> {
    let port = process.bind(DC, Endpoint::NONE)?;
    println!("bound {}", port.endpoint());
    port.system().wait_bind(DC, SERVER, Timeout::Forever)?;
    for _ in 0..5 {
        let start = Instant::now();
        for i in 0..rounds {
            let mut m = Message::new(i);
            port.sendrec(SERVER, &mut m, Timeout::Forever)?;
            assert_eq!(m.mtype(), i);
        }
        println!("{:.3} us a round trip", start.elapsed().as_micros() as f64 / f64::from(rounds));
    }
    Ok(())
}
