//! What a row is: a question, who answers it, and the bar.

/// Which of two numbers is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Times, sizes.
    Less,
    /// Rates.
    More,
}

/// What ours is held against.
#[derive(Clone, Copy, Debug)]
pub enum Against {
    /// A program beside this one, with its words.
    Peer(&'static str, &'static str),
    /// Ours itself, asked otherwise.
    Ours(&'static str),
    /// A number that is promised.
    Limit(f64),
}

/// One row of a bench.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The bench it belongs to.
    pub bench: &'static str,
    /// What is asked.
    pub what: &'static str,
    /// The peer's name.
    pub peer: &'static str,
    /// The words given to our program.
    pub ours: &'static str,
    /// What ours is held against.
    pub against: Against,
    /// Unit of both numbers.
    pub unit: &'static str,
    /// Which number is better.
    pub better: Better,
    /// The least ratio that holds; none where the issue sets an aim only.
    pub bar: Option<f64>,
    /// Rounds in multiples of those asked for: more where fresh starts differ much.
    pub rounds: usize,
}

impl Row {
    /// The name under which the row is printed: the question and the peer.
    pub fn name(&self) -> String {
        format!("{} / {}", self.what, self.peer)
    }

    /// How many times better ours is than the peer; larger is better. None without a positive number on the
    /// side that divides.
    ///
    /// A time or size that is measured as zero cannot be divided by, so it counts as a millionth of a unit.
    pub fn ratio(&self, ours: f64, peer: f64) -> f64 {
        let (good, bad) = match self.better {
            Better::Less => (peer, ours),
            Better::More => (ours, peer),
        };
        good / bad.max(1e-6)
    }
}

#[cfg(test)]
mod tests {
    use super::{Better, Row};

    #[test]
    fn larger_ratios_are_better_for_times_and_for_rates() {
        for rows in [crate::ipc::ROWS, crate::net::ROWS] {
            for row in rows {
                let (good, bad) = if row.better == Better::Less { (1.0, 2.0) } else { (2.0, 1.0) };
                assert!(row.ratio(good, bad) > row.ratio(bad, good), "{}", row.name());
            }
        }
    }

    #[test]
    fn names_are_unique_and_bars_positive() {
        let all: Vec<&Row> = crate::ipc::ROWS.iter().chain(crate::net::ROWS).collect();
        for (i, row) in all.iter().enumerate() {
            assert!(row.bar.is_none_or(|bar| bar > 0.0));
            assert!(
                all[..i].iter().all(|r| (r.bench, r.name()) != (row.bench, row.name())),
                "{}",
                row.name()
            );
        }
    }
}
