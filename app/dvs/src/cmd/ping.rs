//! `dvs ping`

use super::Context;
use crate::fail::{Done, Fail};
use crate::node;
use crate::output::{self, Format, say};
use dvs::{DcId, Endpoint, Message, Timeout};
use dvsd::admin::AdminRequest;
use serde::Serialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  dvs ping n1               daemon to daemon
  dvs ping shop:3 -c 100    requests to endpoint 3 of container shop

To an endpoint it sends empty requests of type 0. A server that does not know that type answers with \
whatever it answers to unknown requests: the time counts.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Ping {
    /// A node, or CONTAINER:ENDPOINT
    target: String,
    /// How many
    #[arg(short, long, default_value_t = 5)]
    count: u32,
    /// How long one may take, ms
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    timeout: u64,
}

#[derive(Serialize)]
struct Summary {
    target: String,
    answered: usize,
    lost: usize,
    min_us: f64,
    median_us: f64,
    max_us: f64,
}

impl Ping {
    /// Times them.
    pub fn run(&self, context: &Context) -> Done {
        let mut times = match self.target.split_once(':') {
            Some((dc, endpoint)) => self.endpoint(context, dc, endpoint)?,
            None => self.node(context)?,
        };
        times.sort_by(f64::total_cmp);
        let at = |i: usize| times.get(i).copied().unwrap_or(0.0);
        let s = Summary {
            target: self.target.clone(),
            answered: times.len(),
            lost: self.count as usize - times.len(),
            min_us: at(0),
            median_us: at(times.len() / 2),
            max_us: at(times.len().saturating_sub(1)),
        };
        match context.output {
            Format::Json => output::json(&s)?,
            Format::Table => say(&format!(
                "{}: {} of {} answered; round trip min {:.1} us, median {:.1} us, max {:.1} us",
                s.target, s.answered, self.count, s.min_us, s.median_us, s.max_us
            )),
        }
        Ok(if s.answered > 0 { ExitCode::SUCCESS } else { ExitCode::from(6) })
    }

    fn node(&self, context: &Context) -> Done<Vec<f64>> {
        let node = context.node.node_id(&self.target)?;
        let mut client = context.node.connect()?;
        client.set_deadline(Duration::from_millis(self.timeout));
        let mut times = Vec::new();
        for _ in 0..self.count {
            let start = Instant::now();
            match client.all(&AdminRequest::Ping { node }) {
                Ok(_) => times.push(start.elapsed().as_secs_f64() * 1e6),
                Err(e) => {
                    eprintln!("dvs: {e}");
                    client = context.node.connect()?;
                    client.set_deadline(Duration::from_millis(self.timeout));
                }
            }
        }
        Ok(times)
    }

    fn endpoint(&self, context: &Context, dc: &str, endpoint: &str) -> Done<Vec<f64>> {
        let info = context.node.container(dc)?;
        let to = node::endpoint(endpoint).map_err(Fail::usage)?;
        let process = dvs::attach_to(&context.node.session_socket(), "dvs-ping")?;
        let port = process.bind(DcId(info.dc), Endpoint::NONE)?;
        let timeout = Timeout::After(Duration::from_millis(self.timeout));
        port.system().wait_bind(DcId(info.dc), to, timeout)?;
        let mut times = Vec::new();
        for _ in 0..self.count {
            let start = Instant::now();
            match port.sendrec(to, &mut Message::new(0), timeout) {
                Ok(()) => times.push(start.elapsed().as_secs_f64() * 1e6),
                Err(e) => eprintln!("dvs: {e}"),
            }
        }
        Ok(times)
    }
}
