//! Values that have come and that nobody was given yet.
//!
//! In: values with the time at which they came. Out: those of one characteristic, in their order, once it is
//! asked for them; and how many were lost here, and why. A value is stamped when it is given, so one that waited
//! for long would be filed as measured then, perhaps with another patient: it is lost instead, and counted.
//! Each characteristic has room of its own: one that says much takes nothing from another.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::link::Characteristic;
use crate::time::Mono;

/// How many values of each characteristic are kept.
pub(super) const KEPT_OF_EACH: usize = 64;

/// How long a value may wait. A device that is opened again at once is subscribed to within seconds.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(60);

/// A value that nobody was given yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Undelivered {
    /// When it was taken from the bus.
    pub(super) at: Mono,
    pub(super) of: Characteristic,
    pub(super) value: Bytes,
}

/// How many values were lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// There was no room.
    pub(super) overflow: u64,
    /// They waited too long.
    pub(super) stale: u64,
}

/// Values that wait, in the order in which they came.
#[derive(Default)]
pub(super) struct Waiting {
    values: VecDeque<Undelivered>,
    lost: Lost,
}

impl Waiting {
    /// Keeps a value, or counts it.
    pub(super) fn push(&mut self, value: Undelivered) {
        if self.count(value.of) < KEPT_OF_EACH {
            self.values.push_back(value);
        } else {
            self.lost.overflow += 1;
        }
    }

    /// Keeps a value; gives the oldest of the same characteristic where there is no room for both.
    pub(super) fn replace(&mut self, value: Undelivered) -> Option<Undelivered> {
        let of = value.of;
        let is_full = self.count(of) >= KEPT_OF_EACH;
        self.values.push_back(value);
        let oldest = self.values.iter().position(|waits| waits.of == of);
        oldest.filter(|_| is_full).and_then(|oldest| self.values.remove(oldest))
    }

    /// Whether anything of a characteristic waits.
    pub(super) fn has(&self, of: Characteristic) -> bool {
        self.count(of) > 0
    }

    /// Puts what came earlier before all that is here.
    pub(super) fn put_first(&mut self, earlier: impl IntoIterator<Item = Undelivered>) {
        let here = std::mem::replace(&mut self.values, earlier.into_iter().collect());
        for value in here {
            self.push(value);
        }
    }

    /// Takes what waits of a characteristic; what came too long ago is counted instead.
    pub(super) fn take(&mut self, of: Characteristic, now: Mono) -> Vec<Undelivered> {
        let all = std::mem::take(&mut self.values);
        let (taken, rest): (VecDeque<_>, _) = all.into_iter().partition(|value| value.of == of);
        self.values = rest;
        let fresh = taken.into_iter().filter(|value| {
            let is_fresh = now.since(value.at) <= KEPT_FOR;
            self.lost.stale += u64::from(!is_fresh);
            is_fresh
        });
        fresh.collect()
    }

    /// Takes everything.
    pub(super) fn take_all(&mut self) -> VecDeque<Undelivered> {
        std::mem::take(&mut self.values)
    }

    /// How many values were lost here since this was last asked.
    pub(super) fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }

    fn count(&self, of: Characteristic) -> usize {
        self.values.iter().filter(|value| value.of == of).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Characteristic = Characteristic { service: 0x1809, uuid: 0x2A1C };
    const OTHER: Characteristic = Characteristic { service: 0x1810, uuid: 0x2A35 };

    fn value(of: Characteristic, number: u8, at: Duration) -> Undelivered {
        Undelivered { at: Mono::default() + at, of, value: Bytes::from(vec![number]) }
    }

    #[test]
    fn one_characteristic_takes_no_room_from_another() {
        let mut waiting = Waiting::default();
        for number in 0..200 {
            waiting.push(value(ONE, number, Duration::ZERO));
        }
        waiting.push(value(OTHER, 7, Duration::ZERO));
        assert_eq!(waiting.take_lost(), Lost { overflow: 200 - KEPT_OF_EACH as u64, stale: 0 });
        assert_eq!(waiting.take(OTHER, Mono::default()), [value(OTHER, 7, Duration::ZERO)]);
        assert_eq!(waiting.take(ONE, Mono::default()).len(), KEPT_OF_EACH);
    }

    #[test]
    fn what_waited_too_long_is_counted_and_never_given() {
        let mut waiting = Waiting::default();
        waiting.push(value(ONE, 1, Duration::from_secs(0)));
        waiting.push(value(ONE, 2, Duration::from_secs(1)));
        waiting.push(value(OTHER, 3, Duration::from_secs(0)));
        let now = Mono::default() + Duration::from_secs(1) + KEPT_FOR;
        assert_eq!(waiting.take(ONE, now), [value(ONE, 2, Duration::from_secs(1))]);
        assert_eq!(waiting.take_lost(), Lost { overflow: 0, stale: 1 });
        assert_eq!(waiting.take(OTHER, now), []);
        assert_eq!(waiting.take_lost(), Lost { overflow: 0, stale: 1 });
    }

    #[test]
    fn what_an_earlier_connection_left_comes_first() {
        let mut waiting = Waiting::default();
        waiting.push(value(ONE, 3, Duration::ZERO));
        waiting.put_first([value(ONE, 1, Duration::ZERO), value(ONE, 2, Duration::ZERO)]);
        let given = waiting.take(ONE, Mono::default());
        assert_eq!(given, [1, 2, 3].map(|number| value(ONE, number, Duration::ZERO)));
    }
}
