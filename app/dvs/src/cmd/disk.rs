//! `dvs disk …`: images.

use super::Context;
use crate::fail::{Done, Fail};
use crate::output::{self, Format};
use dvs::Code;
use dvs_api::Errno;
use dvs_disk::Image;
use dvs_fs::Volume;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

const CREATE: &str = "\
Example:
  dvs disk create /srv/shop.img --size 20G

The image is sparse: it takes room for what is in it. dvs fs serve makes an image with a volume on it \
when it is given --size.";
const CHECK: &str = "\
Example:
  dvs disk check /srv/shop.img

Opens the volume on an image that nobody serves, as after a crash, and looks at all of it: exit code 1 \
and what is wrong if it is damaged.";

#[derive(clap::Subcommand, Debug)]
pub enum Disk {
    /// Make an image
    #[command(after_help = CREATE)]
    Create(Create),
    /// Whether the volume on an image is whole
    #[command(after_help = CHECK)]
    Check(Check),
}

#[derive(clap::Args, Debug)]
pub struct Create {
    /// The file
    image: PathBuf,
    /// Bytes (K, M, G, T)
    #[arg(long, value_parser = size)]
    size: u64,
}

#[derive(clap::Args, Debug)]
pub struct Check {
    /// The file
    image: PathBuf,
}

impl Disk {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match self {
            Disk::Create(c) => c.run(context),
            Disk::Check(c) => c.run(context),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

impl Create {
    fn run(&self, context: &Context) -> Done<()> {
        let shown = self.image.display();
        Image::create(&self.image, self.size).map_err(|e| Fail::new(e).of(&shown))?;
        output::done(context.output, &format!("{shown} has {} bytes", self.size))
    }
}

impl Check {
    fn run(&self, context: &Context) -> Done<()> {
        let shown = self.image.display();
        let disk = Image::open(&self.image).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Fail::missing(format!("{shown}: there is no such image")),
            std::io::ErrorKind::WouldBlock => {
                Fail::refused(Code::BUSY as i32, format!("{shown} is being served"))
            }
            _ => Fail::new(e).of(&shown),
        })?;
        let mut volume = Volume::open(Arc::new(disk)).map_err(|e| match e {
            Errno::NXIO => Fail::new(format!("{shown} is no volume")),
            e => super::fs::failed(e, &shown),
        })?;
        let found = volume.check().map_err(|e| super::fs::failed(e, &shown))?;
        if let Some(first) = found.wrong.first() {
            let more = found.wrong.len() - 1;
            return Err(Fail::new(format!("{shown} is damaged: {first}, and {more} more")));
        }
        if context.output == Format::Json {
            return output::json(&serde_json::json!({ "files": found.files, "bytes": found.bytes }));
        }
        output::done(
            context.output,
            &format!("{shown} is whole: {} files, {} bytes", found.files, found.bytes),
        )
    }
}

/// A number of bytes, as people write it.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, c)) if c.is_ascii_alphabetic() => (&text[..at], c.to_ascii_uppercase()),
        _ => (text, 'B'),
    };
    let shift = match unit {
        'B' => 0,
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return Err(format!("`{unit}` is no unit: K, M, G or T")),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is no number of bytes, as 20G"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is too much"))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!((size("20G"), size("512"), size("3k")), (Ok(20 << 30), Ok(512), Ok(3072)));
        assert!(size("G").is_err() && size("1X").is_err() && size("99999999T").is_err());
    }
}
