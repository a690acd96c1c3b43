//! Timing one operation: warm up, then one batch; the mean of the batch is the figure.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Operations that warm up at the least.
const WARM_OPS: u32 = 50;
/// Operations between two looks at the clock: one look costs less than a hundredth of the cheapest batch.
const STRIDE: u64 = 16;

/// Mean microseconds of one `op`, over a batch of at least `window`.
///
/// # Errors
/// The first error of `op`.
pub fn time_batch(op: &mut dyn FnMut() -> Result<()>, window: Duration) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..WARM_OPS {
        op()?;
        if start.elapsed() > window {
            break;
        }
    }
    while start.elapsed() < window / 6 {
        op()?;
    }
    let start = Instant::now();
    let mut ops = 0_u64;
    loop {
        for _ in 0..STRIDE {
            op()?;
        }
        ops += STRIDE;
        let passed = start.elapsed();
        if passed >= window {
            return Ok(passed.as_secs_f64() * 1e6 / ops as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::time_batch;

    #[test]
    fn errors_end_the_batch_and_figures_are_positive() {
        assert!(time_batch(&mut || anyhow::bail!("no"), Duration::from_millis(1)).is_err());
        assert!(time_batch(&mut || Ok(()), Duration::from_millis(1)).unwrap() > 0.0);
    }
}
