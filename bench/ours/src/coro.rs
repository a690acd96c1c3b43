//! Two coroutines of one process.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use dvs::{DcId, Endpoint, Message, Scheduler, Timeout};
use dvs_bench_common::{Ask, Place, time_batch};

use crate::node::SERVER;

const DC: DcId = DcId(0);
/// Round trips in one op of the batch, as many as the bare switch makes.
const CALLS: u32 = 1000;
/// The message that ends the server.
const END: i32 = -1;

/// Microseconds of a round trip.
pub fn pingpong(ask: &Ask) -> Result<f64> {
    Place::Same.take(false)?;
    let process = dvs::alone();
    let scheduler = Scheduler::new(&process);
    let failed = Rc::new(RefCell::new(None));
    let (server_failed, client_failed) = (failed.clone(), failed.clone());
    let mean = Rc::new(RefCell::new(None));
    let (to, window) = (mean.clone(), ask.window);
    scheduler.spawn(move |co| {
        let serve = || -> dvs::Result<()> {
            let port = co.bind(DC, SERVER)?;
            let mut message = Message::default();
            while message.mtype() != END {
                port.receive(Endpoint::ANY, &mut message, Timeout::Forever)?;
                port.reply(message.source(), &mut message, Timeout::Forever)?;
            }
            Ok(())
        };
        if let Err(error) = serve() {
            *server_failed.borrow_mut() = Some(error.to_string());
        }
    })?;
    scheduler.spawn(move |co| {
        let call = || -> Result<f64> {
            let port = co.bind(DC, Endpoint::NONE)?;
            let mut message = Message::new(1);
            let mean = time_batch(
                &mut || {
                    for _ in 0..CALLS {
                        port.sendrec(SERVER, &mut message, Timeout::Forever)?;
                    }
                    Ok(())
                },
                window,
            )?;
            port.sendrec(SERVER, &mut Message::new(END), Timeout::Forever)?;
            Ok(mean / f64::from(CALLS))
        };
        match call() {
            Ok(number) => *to.borrow_mut() = Some(number),
            Err(error) => *client_failed.borrow_mut() = Some(format!("{error:#}")),
        }
    })?;
    let panics = scheduler.run();
    if let Some(why) = failed.take() {
        bail!("{why}");
    }
    mean.take().with_context(|| format!("{panics} coroutines ended by a panic"))
}
