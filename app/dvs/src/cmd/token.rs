//! `dvs token`

use super::Context;
use crate::fail::{Done, Fail};
use crate::output::{self, Format, say};
use dvsd::admin::{AdminAnswer, AdminRequest};
use dvsd::cluster::join::TokenOrder;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  dvs token                  for one machine, within an hour
  dvs token --uses 4         for four
  dvs token --listen 192.0.2.1:7400

A node that listened nowhere listens from now on, at 0.0.0.0:7400 unless told otherwise. Whoever has \
the token can join: hand it over as you would a password.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Token {
    /// How many machines may join with it
    #[arg(long, default_value_t = 1, value_name = "N")]
    uses: u16,
    /// For how many hours
    #[arg(long, default_value_t = 1, value_name = "N")]
    hours: u32,
    /// Where this node is to listen, if it does not yet
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where the other nodes find this one, if not where it listens
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

impl Token {
    /// Makes a token and prints it.
    pub fn run(&self, context: &Context) -> Done {
        let order = TokenOrder {
            uses: self.uses,
            seconds: u64::from(self.hours) * 3600,
            listen: self.listen.clone(),
            address: self.address.clone(),
        };
        for part in context.node.ask(&AdminRequest::Token(order))? {
            match part {
                AdminAnswer::Token(token) if context.output == Format::Json => {
                    output::json(&serde_json::json!({ "token": token }))?;
                    return Ok(ExitCode::SUCCESS);
                }
                AdminAnswer::Token(token) => {
                    say(&token);
                    return Ok(ExitCode::SUCCESS);
                }
                AdminAnswer::Refused { code, why } => return Err(Fail::refused(code, why)),
                _ => {}
            }
        }
        Err(Fail::new("the daemon gave no token"))
    }
}
