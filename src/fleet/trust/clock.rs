//! What time it is for documents, where no clock may be believed blindly.
//!
//! A clock that follows a reference says what time it is. Where none does, it cannot be earlier than the *floor*:
//! the moment at which the newest timestamp was issued. That moment is one online key's word, so a thief of the
//! key could push the floor of a gateway without a clock into a far future, where every honest document has
//! expired. Two things bound that:
//!
//! - Under a clock that follows no reference the floor is lifted to [`LONGEST_UNVOUCHED_MS`] at most after the last
//!   moment that a synchronised clock has vouched for, however often it is lifted. A gateway that is without a
//!   reference for longer keeps its floor there: it still takes what is newer than all it has seen.
//! - As soon as a clock is synchronised, its time counts and not what lies between the vouched moment and the
//!   floor; the next timestamp that is believed brings the floor back down.
//!
//! - A clock that was synchronised since the start and is no longer cannot have gone back: what it said, and the
//!   time that has passed since by the clock that cannot be set, is a floor too. So whoever cuts a gateway off from
//!   its reference does not make an expired timestamp good again.
//!
//! The vouched moment itself is not given up: two clocks that say they follow a reference contradict each other
//! then, and a false reference that turns time back would be a way to keep old documents alive. It can only be
//! wrong if the key was stolen *and* the reference was wrong; the next root with another timestamp key ends that.

use super::Marks;
use crate::time::{ClockSync, Mono, Now, Wall};

const HOUR_MS: i64 = 60 * 60 * 1_000;

/// How far ahead of the gateway's synchronised clock a timestamp may have been issued.
pub(super) const CLOCKS_DIFFER_MS: i64 = 10 * 60 * 1_000;

/// How far behind the vouched moment a synchronised clock may be and is still believed.
const BEHIND_MS: i64 = HOUR_MS;

/// How far behind the floor a synchronised clock is when that is told.
const TOLD_MS: i64 = 24 * HOUR_MS;

/// How far the floor may be lifted in all while no clock vouches for it: a year in a cupboard, and a month.
pub(super) const LONGEST_UNVOUCHED_MS: i64 = 400 * 24 * HOUR_MS;

/// The widest step of a version: a stolen key cannot use up the numbers.
pub const MAX_STEP: u64 = 10_000;

/// The highest version that may be the first one seen, of a timestamp and of a bundle. A gateway that was set up a
/// moment ago, or that comes to another group, knows of no number before it. Beyond this a thief of the key could
/// leave no number for those who come after; below it there is room for 4 thousand million, and the next root with
/// another timestamp key forgets the thief's (TUF section 5.3.11).
pub const MAX_FIRST: u64 = 1 << 32;

/// By how much the step of a timestamp's version may be wider for each hour since the newest was issued: one a
/// minute. So a gateway that was off for years is not stranded by those that it has missed, and what a thief of
/// the key can skip is bound to time that has really passed.
const STEPS_PER_HOUR: u64 = 60;

/// What a synchronised clock said last since the start, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reference(Option<(Wall, Mono)>);

impl Reference {
    /// The clock is looked at.
    pub(super) fn look(&mut self, marks: &Marks, now: &Now) {
        if let Time::Is(wall) = Time::of(marks, Self::default(), now) {
            self.0 = Some((wall, now.mono));
        }
    }

    /// It cannot be earlier than this.
    fn floor(self, now: &Now) -> Option<Wall> {
        let (wall, mono) = self.0?;
        let passed = i64::try_from(now.mono.since(mono).as_millis()).unwrap_or(i64::MAX);
        Some(later(wall, passed))
    }
}

/// What is known of the time.
#[derive(Clone, Copy)]
pub(super) enum Time {
    /// The clock follows a reference.
    Is(Wall),
    /// No clock to believe: it cannot be earlier than the newest timestamp seen.
    NotBefore(Wall),
}

impl Time {
    pub(super) fn of(marks: &Marks, reference: Reference, now: &Now) -> Self {
        match now.sync {
            ClockSync::Synced if now.wall >= later(marks.vouched(), -BEHIND_MS) => Self::Is(now.wall),
            ClockSync::Synced | ClockSync::Unsynced => {
                let floor = marks.floor();
                Self::NotBefore(reference.floor(now).map_or(floor, |known| known.max(floor)))
            }
        }
    }

    pub(super) fn is_past(self, moment: Wall) -> bool {
        moment <= self.at()
    }

    pub(super) const fn at(self) -> Wall {
        match self {
            Self::Is(at) | Self::NotBefore(at) => at,
        }
    }

    /// The widest step from the version that was seen to one that was issued then.
    pub(super) fn widest_step(self, marks: &Marks, issued_at: Wall) -> u64 {
        let latest = match self {
            Self::Is(now) => later(now, CLOCKS_DIFFER_MS),
            Self::NotBefore(_) => later(marks.vouched(), LONGEST_UNVOUCHED_MS),
        };
        let passed = issued_at.min(latest).as_millis().saturating_sub(marks.floor().as_millis());
        let hours = u64::try_from(passed / HOUR_MS).unwrap_or(0);
        MAX_STEP.saturating_add(hours.saturating_mul(STEPS_PER_HOUR))
    }
}

/// Whether a synchronised clock lies more than a day before the floor.
pub(super) fn contradicts(marks: &Marks, now: &Now) -> bool {
    now.sync == ClockSync::Synced && later(now.wall, TOLD_MS) < marks.floor()
}

pub(super) const fn later(at: Wall, by_ms: i64) -> Wall {
    Wall::from_millis(at.as_millis().saturating_add(by_ms))
}
