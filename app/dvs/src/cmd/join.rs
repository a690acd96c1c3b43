//! `dvs join`

use super::Context;
use super::up::Up;
use crate::fail::{Done, Fail};
use crate::node::Node;
use crate::output::{Format, say};
use crate::settings::Settings;
use dvsd::cluster::{Identity, join};

const EXAMPLES: &str = "\
Examples:
  dvs join dvs1-…                       the line that dvs token printed
  dvs join dvs1-… --node beta --listen 192.0.2.2:7400

The machine's key is made if there is none. It is a node of the system then, also after it was \
switched off; dvs leave ends that.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Join {
    /// What dvs token printed on a node of the system
    token: String,
    /// Only take part in decisions, run nothing: a small third machine beside two
    #[arg(long)]
    witness: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Join {
    /// Makes this machine a node of a system and starts it.
    pub fn run(&self, context: &Context) -> Done {
        let node = match (&context.named, context.by_folder, &self.settings.config) {
            (None, false, None) => Node::find(Some(&machine_name()), None),
            _ => context.node.clone(),
        };
        let (node, mut config) = self.settings.resolve(&node)?;
        config.witness |= self.witness;
        if let Some(identity) = Identity::load(&config.data()).map_err(Fail::new)? {
            let text = format!("this is node {} (n{}) of a system already", identity.name, identity.node);
            let next =
                format!("start it with: dvs up --node {0}; or first: dvs leave --node {0}", identity.name);
            return Err(Fail::new(text).next(next));
        }
        let identity = join::join(&config, &self.token).map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidInput => Fail::usage(e),
            std::io::ErrorKind::NotConnected => Fail::gone(e),
            std::io::ErrorKind::PermissionDenied => Fail::refused(dvs::Code::PERM as i32, e),
            _ => Fail::new(e),
        })?;
        if context.output == Format::Table {
            say(&format!("this machine is node {} (n{}) now", identity.name, identity.node));
        }
        Up::joined(&self.settings).run(&Context { node, ..context.clone() })
    }
}

/// What this machine is called, as far as a node can be called that.
fn machine_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let fine = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let name: String = host.trim().chars().filter(fine).take(dvs::limits::NAME_BYTES).collect();
    if name.is_empty() { "node".to_owned() } else { name }
}
