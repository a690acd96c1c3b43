//! `dvs kv bench`: puts in a closed loop.

use super::Way;
use crate::cmd::Context;
use crate::fail::{Done, Fail};
use crate::output::{self, Format, say};
use dvs::{DcId, Process, ThreadWait};
use dvs_kv::Client;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two attempts to bind again.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(clap::Args, Debug)]
pub struct Bench {
    /// Clients, each a thread
    #[arg(long, default_value_t = 64, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients: u16,
    /// Bytes of a value
    #[arg(long, default_value_t = 256, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    bytes: u32,
    /// How long
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    seconds: u64,
    #[command(flatten)]
    way: Way,
}

#[derive(Serialize)]
struct Summary {
    puts: usize,
    failed: usize,
    /// What clients were told, and how often.
    errors: BTreeMap<String, usize>,
    seconds: f64,
    puts_per_second: f64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
    /// The longest call, answered or not.
    held_us: u64,
}

impl Bench {
    pub fn run(&self, context: &Context) -> Done<()> {
        let (process, dc) = self.way.process(context)?;
        let clients: Vec<Client<ThreadWait>> =
            (0..self.clients).map(|_| self.way.client_of(&process, dc)).collect::<Done<_>>()?;
        let value = vec![b'x'; self.bytes as usize];
        let began = Instant::now();
        let end = began + Duration::from_secs(self.seconds);
        let load = |client: Client<ThreadWait>| {
            let (mut times, mut errors, mut held) = (Vec::new(), Vec::new(), 0);
            let me = client.replicas().port().endpoint().raw();
            let (mut client, mut n) = (Some(client), 0_u64);
            while Instant::now() < end {
                let Some(with) = &client else {
                    client = self.again(&process, dc);
                    continue;
                };
                n += 1;
                let key = format!("bench/{me}/{}", n % 1000);
                let start = Instant::now();
                let put = with.put(key.as_bytes(), &value, None);
                let took = start.elapsed().as_micros() as u64;
                held = took.max(held);
                match put {
                    Ok(_) => times.push(took),
                    Err(e) => {
                        errors.push(e.to_string());
                        // Its endpoint may be over, as its node was taken for lost.
                        client = None;
                    }
                }
            }
            (times, errors, held)
        };
        let (mut times, mut errors, mut held) = (Vec::new(), BTreeMap::new(), 0);
        std::thread::scope(|s| {
            let threads: Vec<_> = clients.into_iter().map(|c| s.spawn(move || load(c))).collect();
            for thread in threads {
                let Ok((t, told, longest)) = thread.join() else { continue };
                times.extend(t);
                held = longest.max(held);
                told.into_iter().for_each(|text| *errors.entry(text).or_default() += 1);
            }
        });
        let seconds = began.elapsed().as_secs_f64();
        if times.is_empty() {
            return Err(Fail::new("no put was answered").next("see the replicas with: dvs kv status"));
        }
        self.show(context, times, errors, held, seconds)
    }

    /// Another client for one whose call failed; nothing while that cannot be.
    fn again(&self, process: &Process, dc: DcId) -> Option<Client<ThreadWait>> {
        let made = self.way.client_of(process, dc).ok();
        if made.is_none() {
            // tidy: nobody says when a daemon lets programs bind again
            std::thread::sleep(PAUSE);
        }
        made
    }

    fn show(
        &self,
        context: &Context,
        mut times: Vec<u64>,
        errors: BTreeMap<String, usize>,
        held_us: u64,
        seconds: f64,
    ) -> Done<()> {
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        let s = Summary {
            puts: times.len(),
            failed: errors.values().sum(),
            errors,
            seconds,
            puts_per_second: times.len() as f64 / seconds,
            p50_us: at(0.5),
            p99_us: at(0.99),
            max_us: at(1.0),
            held_us,
        };
        if context.output == Format::Json {
            return output::json(&s);
        }
        say(&format!(
            "{} puts of {} bytes in {:.1} s: {:.0}/s; p50 {} us, p99 {} us, longest {} us; {} failed",
            s.puts, self.bytes, s.seconds, s.puts_per_second, s.p50_us, s.p99_us, s.max_us, s.failed
        ));
        s.errors.iter().for_each(|(text, times)| say(&format!("  {times} times: {text}")));
        Ok(())
    }
}
