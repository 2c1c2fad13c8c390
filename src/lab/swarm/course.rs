//! How long everything takes. A gateway allows no trial shorter than ten seconds (`floor.toml`), an operator's waves
//! are hours apart; here they are seconds apart, which a timestamp may say as well.

use std::time::Duration;

/// A wave: its share in hundredths of a percent, and how many seconds after the beginning.
pub(super) type Wave = (u16, u64);

/// How long everything takes.
pub(super) struct Course {
    /// Over which the gateways start.
    pub(super) ramp: Duration,
    /// The trial of a bundle, in seconds.
    pub(super) trial: u64,
    /// Between two heartbeats, in seconds.
    pub(super) heartbeat: u64,
    /// Between two readings, on average.
    pub(super) reading: Duration,
    /// The waves of the good bundle, and of the bad one: the operator's usual shares.
    pub(super) good: [Wave; 4],
    pub(super) bad: [Wave; 4],
    /// How long nothing is done, to measure what that costs.
    pub(super) rest: Duration,
    /// How long anything may take beyond that.
    pub(super) patience: Duration,
    /// The ceiling of the back-off, in seconds.
    pub(super) ceiling: u64,
    /// For how many seconds the broker is away, one time after the other.
    pub(super) outages: &'static [u64],
}

impl Course {
    /// Short.
    pub(super) const fn fast() -> Self {
        Self {
            ramp: Duration::from_secs(1),
            trial: 10,
            heartbeat: 4,
            reading: Duration::from_secs(8),
            good: [(100, 1), (500, 2), (2_500, 3), (10_000, 4)],
            bad: [(100, 1), (500, 27), (2_500, 28), (10_000, 29)],
            rest: Duration::ZERO,
            patience: Duration::from_secs(60),
            ceiling: 5,
            outages: &[3],
        }
    }

    /// So long that a thousand on two cores have the time.
    pub(super) const fn full() -> Self {
        Self {
            ramp: Duration::from_secs(20),
            trial: 30,
            heartbeat: 10,
            reading: Duration::from_secs(20),
            good: [(100, 10), (500, 20), (2_500, 30), (10_000, 40)],
            bad: [(100, 5), (500, 75), (2_500, 80), (10_000, 85)],
            rest: Duration::from_secs(60),
            patience: Duration::from_secs(120),
            // What holds where nothing is written.
            ceiling: 60,
            outages: &[0, 30],
        }
    }
}
