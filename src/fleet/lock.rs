//! The update lock: no trial begins while an alarm is active.
//!
//! In: whether any alarm is active, whether a bundle waits to begin, and the time. Out: whether it may. While an
//! alarm is active nurses depend on the gateway, and a trial restarts its links; so the lock has no end of its
//! own: a deferral that lasts is told ([`LONG`]) and goes on. A short silence between two alarms is not an end
//! ([`SETTLES`]). What is on trial already goes on: to break it off would be another restart.

use std::time::Duration;

use crate::time::Mono;

/// How long no alarm must have been active.
pub const SETTLES: Duration = Duration::from_secs(60);

/// After how long a deferral is one that a person should know of.
pub const LONG: Duration = Duration::from_secs(4 * 3_600);

/// Whether a bundle may begin.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpdateLock {
    is_active: bool,
    /// When an alarm was active last.
    last: Option<Mono>,
    /// Since when a bundle is kept waiting.
    deferred: Option<Mono>,
}

impl UpdateLock {
    /// Whether any alarm is active now.
    pub const fn handle_alarms(&mut self, is_active: bool, now: Mono) {
        if is_active || self.is_active {
            self.last = Some(now);
        }
        self.is_active = is_active;
    }

    /// Whether a bundle waits to begin. `true`: it may.
    pub fn handle_wait(&mut self, is_waiting: bool, now: Mono) -> bool {
        let may = is_waiting && !self.is_held(now);
        if is_waiting && !may {
            self.deferred.get_or_insert(now);
        } else {
            self.deferred = None;
        }
        may
    }

    /// Whether nothing may begin.
    pub fn is_held(&self, now: Mono) -> bool {
        self.is_active || self.settles_at().is_some_and(|at| now < at)
    }

    /// Whether a bundle has waited for long.
    pub fn is_long(&self, now: Mono) -> bool {
        self.deferred.is_some_and(|since| now.since(since) >= LONG)
    }

    /// When the lock opens if no alarm comes; none: it is open, or an alarm is active.
    pub fn settles_at(&self) -> Option<Mono> {
        if self.is_active { None } else { self.last.map(|last| last + SETTLES) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Mono {
        Mono::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn nothing_begins_while_an_alarm_is_active_nor_just_after() {
        let mut lock = UpdateLock::default();
        assert!(lock.handle_wait(true, at(1)));
        lock.handle_alarms(true, at(10));
        assert!(!lock.handle_wait(true, at(11)));
        lock.handle_alarms(false, at(20));
        assert!(!lock.handle_wait(true, at(79)));
        assert_eq!(lock.settles_at(), Some(at(80)));
        // Another one in between.
        lock.handle_alarms(true, at(79));
        lock.handle_alarms(false, at(85));
        lock.handle_alarms(false, at(90));
        assert!(!lock.handle_wait(true, at(144)));
        assert!(lock.handle_wait(true, at(145)));
    }

    #[test]
    fn a_lock_that_lasts_is_told_and_stays() {
        let mut lock = UpdateLock::default();
        lock.handle_alarms(true, at(0));
        assert!(!lock.handle_wait(true, at(100)));
        assert!(!lock.is_long(at(100 + 4 * 3_600 - 1)));
        assert!(lock.is_long(at(100 + 4 * 3_600)));
        assert!(!lock.handle_wait(true, at(100 * 3_600)));
        // What no longer waits has not waited.
        assert!(!lock.handle_wait(false, at(100 * 3_600)));
        assert!(!lock.is_long(at(100 * 3_600)));
    }
}
