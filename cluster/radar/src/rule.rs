//! Who serves.
//!
//! | kind | the instance callers are sent to | any other |
//! |---|---|---|
//! | single | serves | is stopped: it is being moved here, or away |
//! | passive | serves | is stopped: it follows |
//! | active | (each that is in step serves) | is stopped while it is not in step |
//!
//! | | lease holds | lease over, rule *stop* | *reads* | *continue* |
//! |---|---|---|---|---|
//! | it is to serve, nobody else may | continue | stop | read only | continue |
//! | it is to serve, a node before it may not have heard | stop | stop | stop | continue |
//! | it is not to serve | stop | stop | stop | stop |

use dvs_control::service::PartitionRule;

/// What an instance may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Serving {
    /// Nothing; every instance begins so.
    #[default]
    Stopped,
    /// Answer what changes nothing.
    Reads,
    /// Answer everything.
    Full,
}

/// What an instance that is to serve, by the log as this node knows it, may do. `lease` of its node holds;
/// it is `alone`: every other one that served before has stopped.
pub fn serving(rule: PartitionRule, lease: bool, alone: bool) -> Serving {
    match (lease, rule) {
        (true, _) if alone => Serving::Full,
        (false, PartitionRule::Reads) if alone => Serving::Reads,
        (false, PartitionRule::Continue) => Serving::Full,
        _ => Serving::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PartitionRule::{Continue, Reads, Stop};

    #[test]
    fn the_table_holds() {
        let row = |lease, alone| [Stop, Reads, Continue].map(|r| serving(r, lease, alone));
        assert_eq!(row(true, true), [Serving::Full; 3]);
        assert_eq!(row(true, false), [Serving::Stopped; 3]);
        assert_eq!(row(false, true), [Serving::Stopped, Serving::Reads, Serving::Full]);
        assert_eq!(row(false, false), [Serving::Stopped, Serving::Stopped, Serving::Full]);
    }
}
