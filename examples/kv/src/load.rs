//! The load generator: one request after another, and a histogram of how long they took. The histogram is
//! pure.
//!
//! Buckets grow by a sixteenth, so a percentile is exact to 6 % from nanoseconds to hours, in 8 KiB.

use crate::client::{Client, KvError};
use dvs::{Effect, Wait};
use serde::Serialize;
use std::collections::BTreeMap;

const SUB: u64 = 16;
const BUCKETS: usize = 61 * SUB as usize;

/// How long requests took.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

impl Histogram {
    /// One request took `ns`.
    pub fn add(&mut self, ns: u64) {
        self.counts[Self::bucket(ns)] += 1;
        self.total += 1;
        self.max = self.max.max(ns);
    }

    fn bucket(ns: u64) -> usize {
        if ns < SUB {
            return ns as usize;
        }
        let power = u64::from(ns.ilog2()) - 4;
        ((power + 1) * SUB + ((ns >> power) - SUB)) as usize
    }

    /// The largest time that falls into a bucket.
    fn top(bucket: usize) -> u64 {
        let b = bucket as u64;
        if b < SUB {
            return b;
        }
        let power = b / SUB - 1;
        (((b % SUB + SUB + 1) as u128) << power).saturating_sub(1).min(u64::MAX.into()) as u64
    }

    /// Time within which `share` (0 to 1) of the requests ended.
    ///
    /// ```
    /// let mut h = dvs_kv_example::load::Histogram::default();
    /// (1..=1000).for_each(|us| h.add(us * 1000));
    /// assert!((500_000..540_000).contains(&h.percentile(0.5)));
    /// assert_eq!(h.percentile(1.0), 1_000_000);
    /// ```
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (i, n) in self.counts.iter().enumerate() {
            seen += n;
            if seen >= wanted {
                return Self::top(i).min(self.max);
            }
        }
        self.max
    }

    /// Requests.
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// One kind of error, counted.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct ErrorCount {
    /// Name of the code.
    pub code: String,
    /// Whether the request was done: `no`, `yes` or `unknown`.
    pub effect: String,
    /// The whole sentence, of the first one.
    pub text: String,
    /// How often.
    pub count: u64,
    /// When the first one came, ms since 1970 (to be compared with when something was done to the server).
    pub first_unix_ms: u64,
}

/// What a run gave.
#[derive(Serialize, Clone, Debug)]
pub struct Summary {
    /// Requests that were answered.
    pub count: u64,
    /// Requests a second.
    pub per_second: f64,
    /// Round trips, ns.
    pub p50_ns: u64,
    /// 90 %.
    pub p90_ns: u64,
    /// 99 %.
    pub p99_ns: u64,
    /// 99.9 %.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Errors by code and effect.
    pub errors: Vec<ErrorCount>,
    /// Requests answered since the last error.
    pub since_error: u64,
    /// Values that were not what had been written: none, or something is wrong.
    pub wrong: u64,
}

/// Counts while it runs.
#[derive(Default)]
pub struct Load {
    histogram: Histogram,
    errors: BTreeMap<(String, &'static str), ErrorCount>,
    wrong: u64,
    since_error: u64,
    n: u64,
}

impl Load {
    /// One `set` or `get` of a key of this client's own; `unix_ms` tells the time of day.
    ///
    /// # Errors
    /// Of the call; it was counted.
    pub fn step<W: Wait>(&mut self, client: &Client<W>, unix_ms: impl Fn() -> u64) -> Result<(), KvError> {
        self.n += 1;
        let me = client.port().endpoint().raw();
        let key = format!("{me}-{}", self.n / 2 % 100);
        let value = (self.n / 2).to_le_bytes();
        let start = client.port().now();
        let done = match self.n % 2 {
            0 => client.set(key.as_bytes(), &value),
            _ => client.get(key.as_bytes()).map(|v| {
                // A server that was started again has forgotten all; it must not have anything else.
                let other = v.is_some_and(|v| v != value);
                self.wrong += u64::from(other);
            }),
        };
        match &done {
            Ok(()) => {
                self.histogram.add(client.port().now().saturating_sub(start));
                self.since_error += 1;
            }
            Err(e) => self.count_error(e, unix_ms()),
        }
        done
    }

    fn count_error(&mut self, e: &KvError, unix_ms: u64) {
        let (code, effect) = match e {
            KvError::Call(e) => (e.code.name().to_string(), effect_name(e.effect)),
            e => (format!("{e:?}"), "yes"),
        };
        let entry = self.errors.entry((code.clone(), effect)).or_insert_with(|| ErrorCount {
            code,
            effect: effect.to_string(),
            text: e.to_string(),
            count: 0,
            first_unix_ms: unix_ms,
        });
        entry.count += 1;
        self.since_error = 0;
    }

    /// What it gave in so many seconds.
    pub fn summary(&self, seconds: f64) -> Summary {
        let h = &self.histogram;
        Summary {
            count: h.total(),
            per_second: if seconds > 0.0 { h.total() as f64 / seconds } else { 0.0 },
            p50_ns: h.percentile(0.5),
            p90_ns: h.percentile(0.9),
            p99_ns: h.percentile(0.99),
            p999_ns: h.percentile(0.999),
            max_ns: h.percentile(1.0),
            errors: self.errors.values().cloned().collect(),
            since_error: self.since_error,
            wrong: self.wrong,
        }
    }
}

/// Whether it was done, as one word.
pub fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::No => "no",
        Effect::Yes => "yes",
        Effect::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn a_bucket_holds_its_times(ns in any::<u64>()) {
            let b = Histogram::bucket(ns);
            assert!(b < BUCKETS && Histogram::top(b) >= ns);
            assert!(b == 0 || Histogram::top(b - 1) < ns);
        }
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Histogram::default().percentile(0.99), 0);
    }
}
