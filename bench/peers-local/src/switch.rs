//! Hand-over inside one process: a bare switch of stacks there and back, and tokio's channels.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result};
use corosensei::{Coroutine, CoroutineResult};
use dvs_bench_common::{Ask, PAYLOAD_BYTES, Place, time_batch};
use tokio::sync::{mpsc, oneshot};

type Payload = [u8; PAYLOAD_BYTES];

/// Switches in one op of the batch: the clock and the call through `dyn` must not show.
const SWITCHES: u32 = 1000;
/// Requests tokio may queue; as in the program one would write.
const QUEUE: usize = 16;

/// Microseconds from one coroutine to another and back, payload in hand.
pub fn coroutine(ask: &Ask) -> Result<f64> {
    Place::Same.take(false)?;
    let mut echo: Coroutine<Option<Payload>, Payload, ()> =
        Coroutine::new(|yielder, mut input: Option<Payload>| {
            while let Some(mut payload) = input {
                payload[0] = payload[0].wrapping_add(1);
                input = yielder.suspend(payload);
            }
        });
    let mut payload = [1; PAYLOAD_BYTES];
    let mean = time_batch(
        &mut || {
            for _ in 0..SWITCHES {
                match echo.resume(Some(payload)) {
                    CoroutineResult::Yield(answer) => payload = black_box(answer),
                    CoroutineResult::Return(()) => anyhow::bail!("the coroutine ended"),
                }
            }
            Ok(())
        },
        ask.window,
    );
    // Lets it return, so that its stack is free of live values when it is dropped.
    echo.resume(None);
    Ok(mean? / f64::from(SWITCHES))
}

/// Microseconds of a request through `mpsc` with its answer through `oneshot`, two tasks of one thread.
pub fn tokio_channels(ask: &Ask) -> Result<f64> {
    Place::Same.take(false)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let window = ask.window;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let (requests, mut inbox) = mpsc::channel::<(Payload, oneshot::Sender<Payload>)>(QUEUE);
        tokio::task::spawn_local(async move {
            while let Some((payload, answer)) = inbox.recv().await {
                // The client waits for every answer, so it is there to take it.
                let _ = answer.send(payload);
            }
        });
        let (mut calls, mut start, mut warm) = (0_u64, Instant::now(), true);
        loop {
            for _ in 0..SWITCHES {
                let (answer, receiver) = oneshot::channel();
                requests.send(([1; PAYLOAD_BYTES], answer)).await.ok().context("the server task ended")?;
                black_box(receiver.await?);
            }
            calls += u64::from(SWITCHES);
            if warm && start.elapsed() >= window / 6 {
                (calls, start, warm) = (0, Instant::now(), false);
            } else if !warm && start.elapsed() >= window {
                return Ok(start.elapsed().as_secs_f64() * 1e6 / calls as f64);
            }
        }
    })
}
