//! What one run is asked for, read from the command line.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::Place;

/// The options of one run. Each has a default, so that a program can be tried by hand.
///
/// ```
/// use dvs_bench_common::{Ask, Place};
/// let ask = Ask::parse(&["--place".into(), "same".into(), "--clients".into(), "8".into()])?;
/// assert_eq!((ask.place, ask.clients), (Place::Same, 8));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ask {
    /// Where server and clients run.
    pub place: Place,
    /// How long the timed batch lasts.
    pub window: Duration,
    /// Client processes of a `many` run.
    pub clients: usize,
    /// Bytes of one copy.
    pub bytes: usize,
    /// Endpoints to be held (idle and memory runs of ours).
    pub endpoints: usize,
    /// TLS between the nodes (remote runs of ours).
    pub tls: bool,
    /// What is looked at, where a sub-command knows several things.
    pub of: String,
}

impl Default for Ask {
    fn default() -> Self {
        let window = Duration::from_millis(300);
        Ask {
            place: Place::Free,
            window,
            clients: 1,
            bytes: 65_536,
            endpoints: 1,
            tls: false,
            of: String::new(),
        }
    }
}

impl Ask {
    /// Reads `--place P --ms N --clients N --bytes N --endpoints N --tls on|off --of WORD`.
    ///
    /// # Errors
    /// An unknown option, a missing or a wrong value; the error names it.
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut ask = Ask::default();
        let mut words = words.iter();
        while let Some(option) = words.next() {
            let value = words.next().with_context(|| format!("{option} needs a value"))?;
            let number = || value.parse::<usize>().with_context(|| format!("{option} {value}: not a number"));
            match option.as_str() {
                "--place" => ask.place = value.parse()?,
                "--ms" => ask.window = Duration::from_millis(number()? as u64),
                "--clients" => ask.clients = number()?.clamp(1, 1024),
                "--bytes" => ask.bytes = number()?.clamp(1, 1 << 30),
                "--endpoints" => ask.endpoints = number()?,
                "--tls" if value == "on" || value == "off" => ask.tls = value == "on",
                "--of" => ask.of.clone_from(value),
                _ => bail!("unknown option {option} {value}"),
            }
        }
        Ok(ask)
    }

    /// The options a child needs to see the same run.
    pub fn to_words(&self) -> Vec<String> {
        let ms = self.window.as_millis().to_string();
        ["--place", self.place.name(), "--ms", &ms].map(String::from).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::Ask;

    #[test]
    fn wrong_words_are_named() {
        for words in [&["--clients"][..], &["--clients", "x"], &["--tls", "maybe"], &["--place", "left"]] {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            let error = Ask::parse(&words).unwrap_err().to_string();
            assert!(words.iter().any(|w| error.contains(w.as_str())), "{error}");
        }
    }
}
