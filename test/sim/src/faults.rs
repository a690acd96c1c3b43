//! What goes wrong in a world, and how often.

use crate::random::Random;

const MS: u64 = 1_000_000;

/// What goes wrong, and how often. Odds are in thousandths, times in nanoseconds; a range is the least and
/// the greatest. Something that happens `every` so long happens after between nothing and twice of that, and
/// never if it is 0.
///
/// ```
/// use dvs_sim::Faults;
/// let only_loss = Faults { loss: 300, ..Faults::none() };
/// assert_eq!(only_loss.crash_every_ns, 0);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Faults {
    /// Odds that a message is lost.
    pub loss: u32,
    /// Odds that it comes twice, the second time late.
    pub duplicate: u32,
    /// Odds that it is overtaken by later ones.
    pub reorder: u32,
    /// How long a message is on its way.
    pub delay_ns: (u64, u64),
    /// How long one that is overtaken, or a second copy, is on its way besides.
    pub late_ns: (u64, u64),
    /// Links are cut every so long: around one node, between two halves, or between two nodes.
    pub cut_every_ns: u64,
    /// For so long.
    pub cut_for_ns: (u64, u64),
    /// Odds that a cut lets one direction through.
    pub one_way: u32,
    /// A node loses its power every so long.
    pub crash_every_ns: u64,
    /// And is back after.
    pub down_for_ns: (u64, u64),
    /// Nodes that may be down at once.
    pub down_at_once: usize,
    /// Odds that of the last write that reached the disk only a part did, possibly with rubbish after it.
    pub torn: u32,
    /// A node stands still every so long, as one that got SIGSTOP or whose machine was suspended.
    pub pause_every_ns: u64,
    /// For so long.
    pub pause_for_ns: (u64, u64),
    /// How long a sync of the disk takes.
    pub sync_ns: (u64, u64),
    /// Odds that it takes longer.
    pub slow_sync: u32,
    /// By so much.
    pub slow_sync_ns: (u64, u64),
    /// A disk is full every so long.
    pub full_every_ns: u64,
    /// For so long.
    pub full_for_ns: (u64, u64),
    /// The connections of two nodes break every so long, though both are there: of nodes that keep some (see
    /// [`Actor::broken`](crate::Actor::broken)).
    pub break_every_ns: u64,
    /// How much a clock runs too fast or too slow at most, in millionths.
    pub drift_ppm: u32,
    /// How far clocks are apart in the beginning.
    pub offset_ns: u64,
}

impl Faults {
    /// Nothing goes wrong; messages take 0.1 to 1 ms and keep their order, a sync 0.1 to 2 ms.
    pub fn none() -> Self {
        Faults {
            loss: 0,
            duplicate: 0,
            reorder: 0,
            delay_ns: (MS / 10, MS),
            late_ns: (0, 0),
            cut_every_ns: 0,
            cut_for_ns: (0, 0),
            one_way: 0,
            crash_every_ns: 0,
            down_for_ns: (0, 0),
            down_at_once: 0,
            torn: 0,
            pause_every_ns: 0,
            pause_for_ns: (0, 0),
            sync_ns: (MS / 10, 2 * MS),
            slow_sync: 0,
            slow_sync_ns: (0, 0),
            full_every_ns: 0,
            full_for_ns: (0, 0),
            break_every_ns: 0,
            drift_ppm: 0,
            offset_ns: 0,
        }
    }

    /// All of it at once.
    pub fn all() -> Self {
        Faults {
            loss: 50,
            duplicate: 50,
            reorder: 100,
            delay_ns: (MS / 10, 20 * MS),
            late_ns: (10 * MS, 3_000 * MS),
            cut_every_ns: 4_000 * MS,
            cut_for_ns: (100 * MS, 6_000 * MS),
            one_way: 400,
            crash_every_ns: 4_000 * MS,
            down_for_ns: (10 * MS, 6_000 * MS),
            down_at_once: usize::MAX,
            torn: 500,
            pause_every_ns: 5_000 * MS,
            pause_for_ns: (50 * MS, 6_000 * MS),
            sync_ns: (MS / 10, 10 * MS),
            slow_sync: 20,
            slow_sync_ns: (50 * MS, 1_000 * MS),
            full_every_ns: 10_000 * MS,
            full_for_ns: (100 * MS, 4_000 * MS),
            break_every_ns: 1_000 * MS,
            drift_ppm: 200,
            offset_ns: 50 * MS,
        }
    }

    /// Some of it, as the seed decides: each kind is left out one time of three, so that others have time to
    /// do their worst, and is else rare, usual or frequent. Connections do not break: worlds whose nodes keep
    /// some add that.
    pub fn drawn(random: &mut Random) -> Self {
        let all = Faults::all();
        let mut odds = |usual: u32| [0, usual / 2, usual, usual * 2, usual, 0][random.below(6) as usize];
        let (loss, duplicate, reorder) = (odds(all.loss), odds(all.duplicate), odds(all.reorder));
        let (slow_sync, torn, drift_ppm) = (odds(all.slow_sync), odds(all.torn), odds(all.drift_ppm) / 2);
        let mut every = |usual: u64| [0, usual * 2, usual, usual / 2, usual, 0][random.below(6) as usize];
        Faults {
            loss,
            duplicate,
            reorder,
            slow_sync,
            torn,
            drift_ppm,
            cut_every_ns: every(all.cut_every_ns),
            crash_every_ns: every(all.crash_every_ns),
            pause_every_ns: every(all.pause_every_ns),
            full_every_ns: every(all.full_every_ns),
            break_every_ns: 0,
            ..all
        }
    }
}
