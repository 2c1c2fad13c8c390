//! Signs of life of the threads that must not stand still.
//!
//! The service manager's watchdog is fed only while every heart beats. A heart beats with each turn
//! of its loop, also when there is nothing to do and also while a full disk makes it wait: a restart
//! would not help there. It stops when a call does not come back (a disk that hangs) or a loop is
//! stuck: then a restart is the way out, and the spool keeps what is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Mono;

/// One heart: cloned into its thread and kept by the watcher.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    name: &'static str,
    last: Arc<AtomicU64>,
}

impl Heartbeat {
    /// A heart that has just beaten.
    pub fn new(name: &'static str, now: Mono) -> Self {
        Self { name, last: Arc::new(AtomicU64::new(now.as_nanos())) }
    }

    /// Beats.
    pub fn beat(&self, now: Mono) {
        self.last.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Whose.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How long ago it beat.
    pub fn age(&self, now: Mono) -> Duration {
        now.since(Mono::from_nanos(self.last.load(Ordering::Relaxed)))
    }
}

/// The hearts that have not beaten for longer than `limit`.
pub fn standing_still(hearts: &[Heartbeat], now: Mono, limit: Duration) -> Vec<&'static str> {
    hearts.iter().filter(|heart| heart.age(now) > limit).map(Heartbeat::name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heart_that_stopped_is_named() {
        let start = Mono::from_nanos(0);
        let hearts = [Heartbeat::new("intake", start), Heartbeat::new("uplink", start)];
        let later = start + Duration::from_secs(11);
        hearts[0].beat(later);
        assert_eq!(standing_still(&hearts, later, Duration::from_secs(10)), ["uplink"]);
        hearts[1].beat(later);
        assert!(standing_still(&hearts, later, Duration::from_secs(10)).is_empty());
    }
}
