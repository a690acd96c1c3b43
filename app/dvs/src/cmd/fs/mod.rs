//! `dvs fs …`: the files of a container.

mod files;
mod serve;

use super::Context;
use crate::fail::{Done, Fail};
use crate::node;
use dvs::{DcId, Endpoint};
use dvs_api::Errno;
use dvs_fs::Client;
use std::process::ExitCode;

/// Where the file server is if nothing else is said.
pub const SERVICE: Endpoint = Endpoint::new(0, 1);

const SERVE: &str = "\
Examples:
  dvs fs serve --dc shop --image /srv/shop.img --size 20G   a new volume
  dvs fs serve --dc shop --image /srv/shop.img              that is there
  dvs fs serve --dc shop --memory 1G                        gone at its end

The image is sparse: it takes room for what is in it. What a program has synced is on it for good; after a \
crash it is as at the last sync of anybody, or a few seconds before. Ends with Ctrl-C.";
const LS: &str = "Examples:\n  dvs fs ls --dc shop\n  dvs fs ls /home --dc shop";
const CAT: &str = "Example:\n  dvs fs cat /etc/motd --dc shop";
const PUT: &str =
    "Examples:\n  dvs fs put photo.jpg /photos/ --dc shop\n  dvs fs put - /notes/today --dc shop";
const GET: &str =
    "Examples:\n  dvs fs get /photos/photo.jpg --dc shop\n  dvs fs get /notes/today copy --dc shop";
const STAT: &str = "Example:\n  dvs fs stat /photos --dc shop";
const DF: &str = "Example:\n  dvs fs df --dc shop";

#[derive(clap::Subcommand, Debug)]
pub enum Fs {
    /// Serve a volume, in the foreground
    #[command(after_help = SERVE)]
    Serve(serve::Serve),
    /// List a directory
    #[command(after_help = LS)]
    Ls(files::Ls),
    /// Print a file
    #[command(after_help = CAT)]
    Cat(files::Cat),
    /// Copy a file of this machine into the container
    #[command(after_help = PUT)]
    Put(files::Put),
    /// Copy a file out of the container
    #[command(after_help = GET)]
    Get(files::Get),
    /// What is known of a file
    #[command(after_help = STAT)]
    Stat(files::Stat),
    /// How much there is and how much is left
    #[command(after_help = DF)]
    Df(files::Df),
}

impl Fs {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match self {
            Fs::Serve(c) => c.run(context),
            Fs::Ls(c) => c.run(context),
            Fs::Cat(c) => c.run(context),
            Fs::Put(c) => c.run(context),
            Fs::Get(c) => c.run(context),
            Fs::Stat(c) => c.run(context),
            Fs::Df(c) => c.run(context),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

/// Where the files are.
#[derive(clap::Args, Debug)]
pub struct Place {
    /// Name or number of the container (default: the only one)
    #[arg(long, value_name = "NAME")]
    dc: Option<String>,
    /// The endpoint of the file server
    #[arg(long, value_parser = node::endpoint, default_value_t = SERVICE, allow_hyphen_values = true)]
    endpoint: Endpoint,
}

impl Place {
    fn client(&self, context: &Context) -> Done<Client> {
        let dc = DcId(context.container(self.dc.as_deref())?.dc);
        let process = dvs::attach_to(&context.node.session_socket(), "dvs-fs-client")?;
        let port = process.bind(dc, Endpoint::NONE)?;
        Client::new(port, self.endpoint, 0).map_err(|e| failed(e, "the file server"))
    }
}

/// An error of the file server, said of something.
pub fn failed(e: Errno, of: impl std::fmt::Display) -> Fail {
    let text = format!("{of}: {e}");
    match e {
        Errno::NXIO => Fail::gone(text).next("serve files with: dvs fs serve --help"),
        Errno::NOENT => Fail::missing(text),
        Errno::ACCES | Errno::PERM | Errno::BUSY | Errno::EXIST | Errno::ROFS => {
            Fail::refused(dvs::Code::PERM as i32, text)
        }
        Errno::TIMEDOUT => Fail::refused(dvs::Code::TIMEDOUT as i32, text),
        _ => Fail::new(text),
    }
}
