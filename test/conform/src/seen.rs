//! What an actor saw: how a call ended, and what came with it, as a value and as a line.
//!
//! ```text
//! ok src=11 type=7 bytes=68656c6c6f
//! err code=-109 fault=peer effect=no peer=30 cycle=
//! ```

use crate::act::split;
use crate::word::{Word, hex, unhex};
use dvs_abi::{Code, Effect, Endpoint, Error, Fault, Message};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The end of one act.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Seen {
    /// The error, if it failed.
    pub error: Option<Error>,
    /// What came with the success, by name.
    pub facts: BTreeMap<String, String>,
}

/// A message as the program sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Got {
    /// Who sent it.
    pub source: Endpoint,
    /// Type.
    pub mtype: i32,
    /// Inline bytes.
    pub bytes: Vec<u8>,
    /// Bits of a notification.
    pub value: u64,
    /// Whether a timestamp was set.
    pub stamped: bool,
}

const fn fault_word(fault: Fault) -> &'static str {
    match fault {
        Fault::Caller => "caller",
        Fault::Peer => "peer",
        Fault::System => "system",
        Fault::Nobody => "nobody",
    }
}

const fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::No => "no",
        Effect::Yes => "yes",
        Effect::Unknown => "unknown",
    }
}

impl Seen {
    /// Success without more.
    pub fn done() -> Self {
        Seen::default()
    }

    /// A failure.
    pub fn failed(error: Error) -> Self {
        Seen { error: Some(error), ..Seen::default() }
    }

    /// The same with one more fact.
    pub fn with<T: Word>(mut self, key: &str, value: T) -> Self {
        self.facts.insert(key.into(), value.put());
        self
    }

    /// Success that brought a message.
    pub fn message(m: &Message) -> Self {
        let mut seen = Seen::done()
            .with("src", m.source())
            .with("type", m.mtype())
            .with("value", m.value())
            .with("stamped", m.timestamp() != 0);
        seen.facts.insert("bytes".into(), hex(m.bytes()));
        seen
    }

    /// From a result without a value.
    pub fn from_result(result: dvs_abi::Result<()>) -> Self {
        result.map_or_else(Seen::failed, |()| Seen::done())
    }

    /// The fact `key`.
    ///
    /// # Panics
    /// When the act failed or brought no such fact: the script is wrong or the system is.
    #[track_caller]
    pub fn fact<T: Word>(&self, key: &str) -> T {
        match (&self.error, self.facts.get(key)) {
            (None, Some(word)) => T::take(word).unwrap_or_else(|| panic!("{key}={word}")),
            _ => panic!("no {key} in: {self}"),
        }
    }

    /// Asserts success.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.error.is_none(), "expected success, saw: {self}");
        self
    }

    /// The message of a success.
    ///
    /// # Panics
    /// When it failed or brought none.
    #[track_caller]
    pub fn got(&self) -> Got {
        Got {
            source: self.fact("src"),
            mtype: self.fact("type"),
            bytes: unhex(&self.fact::<String>("bytes")).unwrap_or_default(),
            value: self.fact("value"),
            stamped: self.fact("stamped"),
        }
    }

    /// Asserts that a message of `mtype` from `source` came.
    ///
    /// # Panics
    /// When another came or none.
    #[track_caller]
    pub fn from(&self, source: Endpoint, mtype: i32) -> Got {
        let got = self.got();
        assert_eq!((got.source, got.mtype), (source, mtype), "{self}");
        got
    }

    /// Asserts failure with `code`.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn err(&self, code: Code) -> &Error {
        self.err_in(&[code])
    }

    /// Asserts failure with one of `codes`.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn err_in(&self, codes: &[Code]) -> &Error {
        match &self.error {
            Some(e) if codes.contains(&e.code) => e,
            _ => panic!("expected {codes:?}, saw: {self}"),
        }
    }

    /// Asserts success or failure with one of `codes`: where both are right.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn ok_or(&self, codes: &[Code]) {
        if self.error.is_some() {
            self.err_in(codes);
        }
    }

    /// Asserts failure with `code` of a call that was not consumed. Only `near` can it be sure: what
    /// was shipped to another node may have been consumed there meanwhile.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn undone(&self, code: Code, near: bool) -> &Error {
        let e = self.err(code);
        assert!(e.effect == Effect::No || !near && e.effect == Effect::Unknown, "{self}");
        e
    }

    /// Asserts failure with `code`, caused by `fault`, with `effect`.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn err_of(&self, code: Code, fault: Fault, effect: Effect) -> &Error {
        let e = self.err(code);
        assert_eq!((e.fault, e.effect), (fault, effect), "{self}");
        e
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.error.is_some() { "err" } else { "ok" })?;
        if let Some(e) = &self.error {
            let (fault, effect) = (fault_word(e.fault), effect_word(e.effect));
            write!(f, " code={} fault={fault} effect={effect} peer={}", e.code as i32, e.peer.raw())?;
            let cycle: Vec<i32> = e.cycle.iter().flatten().map(|e| e.raw()).collect();
            write!(f, " cycle={}", cycle.put())?;
        }
        self.facts.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

impl FromStr for Seen {
    type Err = String;

    fn from_str(line: &str) -> Result<Seen, String> {
        let (word, mut fields) = split(line).ok_or_else(|| format!("not an answer: {line}"))?;
        let error = match word {
            "ok" => None,
            "err" => Some(error(&mut fields).ok_or_else(|| format!("not an error: {line}"))?),
            _ => return Err(format!("neither ok nor err: {line}")),
        };
        let facts = fields.into_iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Ok(Seen { error, facts })
    }
}

/// Takes the words of an error out of the fields.
fn error(fields: &mut BTreeMap<&str, &str>) -> Option<Error> {
    let mut e = Error::early(Code::from_i32(i32::take(fields.remove("code")?)?)?);
    e.fault = match fields.remove("fault")? {
        "caller" => Fault::Caller,
        "peer" => Fault::Peer,
        "system" => Fault::System,
        "nobody" => Fault::Nobody,
        _ => return None,
    };
    e.effect = match fields.remove("effect")? {
        "no" => Effect::No,
        "yes" => Effect::Yes,
        "unknown" => Effect::Unknown,
        _ => return None,
    };
    e.peer = Endpoint::take(fields.remove("peer")?)?;
    let cycle = Vec::<Endpoint>::take(fields.remove("cycle")?)?;
    e.cycle = (!cycle.is_empty()).then(|| cycle.into_boxed_slice());
    Some(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_from_its_line() {
        let seen = Seen::failed(Error::deadlock(vec![Endpoint::new(0, 1), Endpoint::new(1, 30)]));
        assert_eq!(seen.to_string().parse(), Ok(seen));
        let mut m = Message::new(7);
        m.set_bytes(b"hi").unwrap();
        let seen = Seen::message(&m);
        assert_eq!(seen.to_string().parse(), Ok(seen.clone()));
        assert_eq!(seen.got().bytes, b"hi");
        assert!("perhaps".parse::<Seen>().is_err());
        assert!("err code=-109".parse::<Seen>().is_err());
    }
}
