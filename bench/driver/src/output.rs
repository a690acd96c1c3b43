//! The table for people, and one JSON object a row for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::stat::Summary;
use crate::turns::{Outcome, Side};

const HEAD: [&str; 9] = ["row", "unit", "ours", "min..max", "peer", "min..max", "ratio", "bar", "held"];

/// One object a row. `ours`, `peer` and `ratio` are null where there is no figure; `bar` and `held` are null
/// where the row is an aim without a bar.
pub fn json(outcome: &Outcome) -> Value {
    let median = |side: &Side| side.as_ref().ok().map(|s| s.median);
    let spread = |side: &Side| side.as_ref().ok().map(|s| [s.min, s.max]);
    let mut object = json!({
        "bench": outcome.row.bench,
        "row": outcome.row.name(),
        "ours": median(&outcome.ours),
        "peer": median(&outcome.peer),
        "ratio": outcome.ratio,
        "bar": outcome.row.bar,
        "held": outcome.held(),
        "unit": outcome.row.unit,
        "ours_spread": spread(&outcome.ours),
        "peer_spread": spread(&outcome.peer),
        "noise_cores": outcome.noise,
    });
    if let Some(why) = why(outcome) {
        object["why"] = why.into();
    }
    object
}

/// All rows, aligned.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut lines: Vec<[String; 9]> = vec![HEAD.map(String::from)];
    for outcome in outcomes {
        let (ours, ours_spread) = cells(&outcome.ours);
        let (peer, peer_spread) = cells(&outcome.peer);
        let ratio = outcome.ratio.map_or("-".into(), figure);
        let bar = outcome.row.bar.map_or("aim".into(), figure);
        let held = match outcome.held() {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        let unit = outcome.row.unit.to_string();
        let name = outcome.row.name();
        lines.push([name, unit, ours, ours_spread, peer, peer_spread, ratio, bar, held.into()]);
    }
    let width = |i: usize| lines.iter().map(|l| l[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (i, cell) in line.iter().enumerate() {
            let w = widths[i];
            // Writing to a string cannot fail.
            let _ = if i < 2 { write!(text, "{cell:<w$}  ") } else { write!(text, "{cell:>w$}  ") };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// Below the table: which bars are missed, who could not run and why, how noisy it was.
pub fn summary(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let missed: Vec<&Outcome> = outcomes.iter().filter(|o| o.held() == Some(false)).collect();
    let bars = outcomes.iter().filter(|o| o.held().is_some()).count();
    let noise = outcomes.iter().map(|o| o.noise).fold(0.0, f64::max);
    let _ = writeln!(text, "\n{} of {bars} bars held", bars - missed.len());
    for outcome in missed {
        let reason = why(outcome).unwrap_or_else(|| {
            let ratio = outcome.ratio.map_or("-".into(), figure);
            format!("ratio {ratio}, bar {}", outcome.row.bar.map_or("-".into(), figure))
        });
        let _ = writeln!(text, "  missed: {}: {reason}", outcome.row.name());
    }
    for outcome in outcomes.iter().filter(|o| o.held().is_none()) {
        if let Some(why) = why(outcome) {
            let _ = writeln!(text, "  no figure: {}: {why}", outcome.row.name());
        }
    }
    let _ = writeln!(text, "other processes used at most {noise:.2} cores during the rounds that were kept");
    text
}

fn why(outcome: &Outcome) -> Option<String> {
    let told =
        |side: &Side, name: &str| side.as_ref().err().map(|why| format!("{name} could not run: {why}"));
    let parts: Vec<String> =
        [told(&outcome.ours, "ours"), told(&outcome.peer, "peer")].into_iter().flatten().collect();
    if parts.is_empty() { None } else { Some(parts.join("; ")) }
}

fn cells(side: &Side) -> (String, String) {
    match side {
        Ok(Summary { median, min, max, .. }) if min == max => (figure(*median), "-".into()),
        Ok(Summary { median, min, max, .. }) => {
            (figure(*median), format!("{}..{}", figure(*min), figure(*max)))
        }
        Err(_) => ("-".into(), "-".into()),
    }
}

/// Three digits that count.
fn figure(number: f64) -> String {
    let digits = match number.abs() {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        n if n >= 1.0 => 2,
        n if n >= 0.1 => 3,
        _ => 4,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::{figure, json, summary, table};
    use crate::row::{Against, Better, Row};
    use crate::stat::Summary;
    use crate::turns::{Outcome, Side};

    fn outcome(ours: Side, peer: Side, ratio: Option<f64>, bar: Option<f64>) -> Outcome {
        let against = Against::Limit(1.0);
        let better = Better::Less;
        let row =
            Row { bench: "b", what: "w", peer: "p", ours: "", against, unit: "us", better, bar, rounds: 1 };
        Outcome { row, ours, peer, ratio, noise: 0.1 }
    }

    #[test]
    fn a_side_that_could_not_run_is_not_held_and_says_why() {
        let peer = Summary::of(&[4.0]).unwrap();
        let missing = outcome(Err("no lanes".into()), Ok(peer), None, Some(1.0));
        let object = json(&missing);
        assert_eq!(object["held"], false);
        assert!(object["ours"].is_null() && object["peer"] == 4.0);
        assert!(summary(&[missing]).contains("ours could not run: no lanes"));
    }

    #[test]
    fn a_bar_is_held_from_its_value_on_and_an_aim_has_none() {
        let one = || Ok(Summary::of(&[1.0]).unwrap());
        assert_eq!(outcome(one(), one(), Some(1.0), Some(1.0)).held(), Some(true));
        assert_eq!(outcome(one(), one(), Some(0.9), Some(1.0)).held(), Some(false));
        let aim = outcome(one(), one(), Some(0.5), None);
        assert!(json(&aim)["held"].is_null());
        assert!(table(&[aim]).lines().nth(1).unwrap().contains("aim"));
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(
            [0.0293, 0.5, 2.345, 46.78, 123_456.7].map(figure),
            ["0.0293", "0.500", "2.35", "46.8", "123457"]
        );
    }
}
