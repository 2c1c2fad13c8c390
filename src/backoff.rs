//! Full-jitter back-off: how long to wait before trying again.
//!
//! The wait is drawn evenly from zero to a ceiling that doubles with every failure, so that a ward
//! of gateways that lost the same broker does not come back as one wave. The ceiling falls back
//! only after the connection stayed healthy for a while: being thrown out right after a successful
//! start counts as a failure like any other.

use std::time::Duration;

use crate::time::Mono;

/// A source of random numbers, passed in so that a test can say what they are.
pub trait Random: Send {
    /// An evenly distributed number.
    fn next_u64(&mut self) -> u64;
}

/// The bounds of a [`Backoff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The ceiling of the first wait.
    pub first: Duration,
    /// The ceiling that is never exceeded.
    pub most: Duration,
    /// How long a connection must last before failures are forgotten.
    pub healthy_after: Duration,
}

/// The state: how often it failed, and since when it is up.
#[derive(Clone, Debug)]
pub struct Backoff {
    bounds: Bounds,
    failures: u32,
    up_since: Option<Mono>,
}

impl Backoff {
    /// No failures so far.
    pub const fn new(bounds: Bounds) -> Self {
        Self { bounds, failures: 0, up_since: None }
    }

    /// The connection is up.
    pub fn handle_up(&mut self, now: Mono) {
        self.up_since = Some(now);
    }

    /// The attempt failed or the connection ended. Gives the time to wait before the next attempt.
    pub fn handle_failure(&mut self, now: Mono, random: &mut dyn Random) -> Duration {
        let was_healthy =
            self.up_since.take().is_some_and(|since| now.since(since) >= self.bounds.healthy_after);
        if was_healthy {
            self.failures = 0;
        }
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        let millis = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random.next_u64() % millis.saturating_add(1))
    }

    /// How often it failed since it was last healthy.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The longest that the next wait can be.
    fn ceiling(&self) -> Duration {
        // 2^20 times any sensible first wait is past any sensible ceiling.
        let factor = 1u32 << self.failures.min(20);
        self.bounds.first.saturating_mul(factor).min(self.bounds.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Zero;

    impl Random for Zero {
        fn next_u64(&mut self) -> u64 {
            0
        }
    }

    struct Counting(u64);

    impl Random for Counting {
        fn next_u64(&mut self) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.0 >> 16
        }
    }

    const BOUNDS: Bounds = Bounds {
        first: Duration::from_secs(1),
        most: Duration::from_secs(60),
        healthy_after: Duration::from_secs(120),
    };

    fn at(seconds: u64) -> Mono {
        Mono::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn the_ceiling_doubles_and_stops_at_the_most() {
        let mut backoff = Backoff::new(BOUNDS);
        let mut ceilings = Vec::new();
        for _ in 0..9 {
            ceilings.push(backoff.ceiling().as_secs());
            backoff.handle_failure(at(0), &mut Zero);
        }
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_wait_never_exceeds_its_ceiling_and_uses_its_range() {
        let mut random = Counting(1);
        let mut longest = Duration::ZERO;
        for _ in 0..1_000 {
            let mut backoff = Backoff::new(BOUNDS);
            let wait = backoff.handle_failure(at(0), &mut random);
            assert!(wait <= BOUNDS.first);
            longest = longest.max(wait);
        }
        assert!(longest > BOUNDS.first * 9 / 10);
    }

    #[test]
    fn being_thrown_out_right_after_connecting_is_a_failure() {
        let mut backoff = Backoff::new(BOUNDS);
        for n in 0..5 {
            backoff.handle_up(at(n * 10));
            backoff.handle_failure(at(n * 10 + 1), &mut Zero);
        }
        assert_eq!(backoff.failures(), 5);
        backoff.handle_up(at(100));
        backoff.handle_failure(at(100 + 120), &mut Zero);
        assert_eq!(backoff.failures(), 1);
    }
}
