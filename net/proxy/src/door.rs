//! Who may knock, and when: at most so many at a time, none too often, and slower after each failure.
//!
//! ```text
//!            come                     let in
//!  (nobody) ──────▶ inside ─────────────────────────▶ (nobody)   what went wrong before is forgotten
//!      │              │ refused
//!      │ Busy         └──────▶ its address waits 1 s, 2 s, 4 s, … 64 s
//! ```
//! A secret of 128 bits is not guessed at any rate; the pauses keep the guessing from costing much. All that
//! is known of an address is one moment, `due`: a knock moves it a quarter of a second ahead, a failure by
//! the pause, and who comes long before it has to wait. The table has a bound: what is due first is
//! forgotten.

use dvs_abi::limits::{
    KNOCK_EVERY_NS, KNOCK_PAUSE_FIRST_NS, KNOCK_PAUSE_MAX_NS, KNOCK_SOURCES_MAX, KNOCKS_MAX,
};
use std::net::{IpAddr, Ipv6Addr};

/// How far ahead `due` may be.
const AHEAD_NS: u64 = (KNOCKS_MAX as u64 - 1) * KNOCK_EVERY_NS;

/// Why somebody may not knock now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Busy {
    /// As many as may knock at a time do.
    #[error("{KNOCKS_MAX} machines are asking to join already; try again in some seconds")]
    Full,
    /// This address has to wait.
    #[error(
        "requests to join from this address come too often or failed before; try again in {} s",
        .wait.div_ceil(1_000_000_000)
    )]
    Wait {
        /// So long, in ns.
        wait: u64,
    },
}

/// How a knock ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was let in.
    In,
    /// It was refused.
    Refused,
    /// It left, or nobody answered: nobody's fault.
    Neither,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    from: IpAddr,
    due: u64,
    failures: u32,
}

/// The rules of the door.
#[derive(Debug, Default)]
pub struct Door {
    inside: usize,
    sources: Vec<Source>,
}

impl Door {
    /// Somebody knocks: let him, and say with [`Door::done`] how it ended.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub fn come(&mut self, from: IpAddr, now: u64) -> Result<(), Busy> {
        let known = self.sources.iter_mut().find(|s| s.from == network(from));
        let due = known.as_ref().map_or(0, |s| s.due);
        let wait = due.saturating_sub(now.saturating_add(AHEAD_NS));
        if wait > 0 {
            return Err(Busy::Wait { wait });
        }
        if self.inside >= KNOCKS_MAX {
            return Err(Busy::Full);
        }
        let due = due.max(now) + KNOCK_EVERY_NS;
        match known {
            Some(source) => source.due = due,
            None => self.remember(Source { from: network(from), due, failures: 0 }),
        }
        self.inside += 1;
        Ok(())
    }

    /// A knock is over.
    pub fn done(&mut self, from: IpAddr, outcome: Outcome, now: u64) {
        self.inside = self.inside.saturating_sub(1);
        // Whoever was pushed out of the table meanwhile comes as a new one.
        let Some(source) = self.sources.iter_mut().find(|s| s.from == network(from)) else { return };
        match outcome {
            Outcome::In => source.failures = 0,
            Outcome::Neither => {}
            Outcome::Refused => {
                let pause = (KNOCK_PAUSE_FIRST_NS << source.failures.min(16)).min(KNOCK_PAUSE_MAX_NS);
                source.failures += 1;
                source.due = source.due.max(now + AHEAD_NS + pause);
            }
        }
    }

    fn remember(&mut self, source: Source) {
        if self.sources.len() >= KNOCK_SOURCES_MAX
            && let Some((at, _)) = self.sources.iter().enumerate().min_by_key(|(_, s)| s.due)
        {
            self.sources.swap_remove(at);
        }
        self.sources.push(source);
    }
}

/// Whom an address stands for: of IPv6, a machine has a whole network of 64 bits at hand.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::{Busy, Door, Outcome};
    use dvs_abi::limits::{KNOCK_EVERY_NS, KNOCK_PAUSE_MAX_NS, KNOCK_SOURCES_MAX, KNOCKS_MAX};
    use std::net::{IpAddr, Ipv4Addr};

    const S: u64 = 1_000_000_000;

    fn at(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(n).into()
    }

    #[test]
    fn so_many_at_a_time_and_a_place_is_free_again() {
        let mut door = Door::default();
        for n in 0..KNOCKS_MAX as u32 {
            assert_eq!(door.come(at(n), S), Ok(()));
        }
        assert_eq!(door.come(at(99), S), Err(Busy::Full));
        door.done(at(3), Outcome::Neither, S);
        assert_eq!(door.come(at(99), S), Ok(()));
        assert_eq!(door.come(at(98), S), Err(Busy::Full));
    }

    #[test]
    fn many_from_one_address_are_slowed_down_and_all_get_in() {
        let (mut door, mut now, mut inside) = (Door::default(), S, 0);
        while inside < 20 {
            match door.come(at(1), now) {
                Ok(()) => {
                    inside += 1;
                    door.done(at(1), Outcome::In, now);
                }
                Err(Busy::Wait { wait }) => {
                    assert!(inside >= KNOCKS_MAX && wait <= KNOCK_EVERY_NS, "{inside} {wait}");
                    assert_eq!(door.come(at(2 + inside as u32), now), Ok(()), "others need not wait");
                    door.done(at(2 + inside as u32), Outcome::In, now);
                    now += wait;
                }
                Err(Busy::Full) => panic!("nobody is inside"),
            }
        }
        assert_eq!(now, S + 12 * KNOCK_EVERY_NS);
    }

    #[test]
    fn who_fails_waits_longer_each_time_until_it_is_let_in() {
        let (mut door, mut now) = (Door::default(), S);
        for wanted in [1, 2, 4, 8, 16, 32, 64, 64, 64].map(|s| s * S) {
            assert_eq!(door.come(at(1), now), Ok(()));
            door.done(at(1), Outcome::Refused, now);
            assert_eq!(door.come(at(1), now), Err(Busy::Wait { wait: wanted }));
            assert!(door.come(at(1), now + wanted - 1).is_err());
            now += wanted;
        }
        for _ in 0..2 {
            assert_eq!(door.come(at(1), now), Ok(()));
            door.done(at(1), Outcome::In, now);
            now += KNOCK_EVERY_NS;
        }
        assert_eq!(door.come(at(1), now), Ok(()));
        door.done(at(1), Outcome::Refused, now);
        assert_eq!(door.come(at(1), now), Err(Busy::Wait { wait: S }), "as if for the first time");
        assert!(Busy::Wait { wait: S }.to_string().ends_with("try again in 1 s"));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_harmless_first() {
        let mut door = Door::default();
        door.come(at(0), S).unwrap();
        door.done(at(0), Outcome::Refused, S);
        for n in 1..3 * KNOCK_SOURCES_MAX as u32 {
            door.come(at(n), S).unwrap();
            door.done(at(n), Outcome::Neither, S);
        }
        assert_eq!(door.sources.len(), KNOCK_SOURCES_MAX);
        assert!(matches!(door.come(at(0), S), Err(Busy::Wait { .. })), "it has a pause to serve");
        assert_eq!(door.come(at(0), S + KNOCK_PAUSE_MAX_NS), Ok(()));
    }

    #[test]
    fn one_machine_with_many_addresses_of_its_network_is_one() {
        let mut door = Door::default();
        let v6 = |s: &str| s.parse::<IpAddr>().unwrap();
        door.come(v6("2001:db8::1"), S).unwrap();
        door.done(v6("2001:db8::1"), Outcome::Refused, S);
        assert!(door.come(v6("2001:db8::ffff:2"), S).is_err());
        assert_eq!(door.come(v6("2001:db8:0:1::1"), S), Ok(()));
        door.come(v6("::ffff:192.0.2.1"), S).unwrap();
        door.done(v6("192.0.2.1"), Outcome::Refused, S);
        assert!(door.come(v6("192.0.2.1"), S).is_err() && door.come(v6("::ffff:192.0.2.1"), S).is_err());
    }
}
