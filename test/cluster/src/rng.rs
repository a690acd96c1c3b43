//! Seeded chance: the same seed gives the same choices.

/// A xorshift generator.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// From a seed; any number will do.
    pub fn new(seed: u64) -> Self {
        let mut r = Rng(seed ^ 0x9e37_79b9_7f4a_7c15);
        if r.0 == 0 {
            r.0 = 1;
        }
        for _ in 0..4 {
            r.draw();
        }
        r
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n` (which is not zero).
    pub fn below(&mut self, n: u64) -> u64 {
        (self.draw() >> 11) % n.max(1)
    }
}

/// A number from the environment, or a default.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// The seed of this run's choices, which it says: `DVS_STORM_SEED` repeats one.
pub fn seed() -> u64 {
    let seed = setting("DVS_STORM_SEED", dvs_linux::clock::now() % 1_000_000);
    println!("DVS_STORM_SEED={seed}");
    seed
}
