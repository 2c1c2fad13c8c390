//! The rack's clock: seconds since the rack was started, and nothing else.
//!
//! In: the seconds of each block, and the gateway's time. Out: when it was by the gateway's wall
//! clock that the rack said a thing, and whether its clock has jumped. The count is anchored to the
//! first block of a connection, and again whenever it goes backwards or leaps: then the rack was
//! started anew, or another one stands on the port.

use std::time::Duration;

use time::OffsetDateTime;

use crate::device::observation::DeviceTime;
use crate::time::{Mono, Now, Wall};

/// How far the rack's count may be from the gateway's: a block that was repeated is a few seconds
/// late. The count is anchored anew with every identity, long before two clocks drift so far apart.
const LEAP: Duration = Duration::from_secs(60);

/// The rack's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RackClock {
    anchor: Option<(Mono, u64)>,
    last: u64,
}

impl RackClock {
    /// Takes the seconds of a block. True when the clock has jumped.
    pub(super) fn handle_seconds(&mut self, seconds: u64, now: Mono) -> bool {
        let has_leapt = self.anchor.is_some_and(|(mono, first)| {
            now.since(mono).abs_diff(Duration::from_secs(seconds.saturating_sub(first))) > LEAP
        });
        let has_jumped = has_leapt || seconds < self.last;
        if has_jumped || self.anchor.is_none() {
            self.anchor = Some((now, seconds));
        }
        self.last = seconds;
        has_jumped
    }

    /// Anchors to the next block.
    pub(super) const fn release(&mut self) {
        self.anchor = None;
    }

    /// When it was, by the wall clock, that the rack's count stood there; in UTC. `None` without a
    /// wall clock, as in a capture.
    pub(super) fn time(&self, seconds: u64, now: Now) -> Option<DeviceTime> {
        let (mono, first) = self.anchor.filter(|_| now.wall != Wall::default())?;
        let here = i128::try_from(now.mono.since(mono).as_nanos()).ok()?;
        let there = (i128::from(seconds) - i128::from(first)) * 1_000_000_000;
        let nanos = i128::from(now.wall.as_millis()) * 1_000_000 + there - here;
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
        Some(DeviceTime {
            year: u16::try_from(time.year()).ok()?,
            month: u8::from(time.month()),
            day: time.day(),
            hour: time.hour(),
            minute: time.minute(),
            second: time.second(),
            ..DeviceTime::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        let millis = 1_795_304_400_250 + i64::try_from(seconds).unwrap() * 1_000;
        Now {
            mono: Mono::from_nanos(seconds * 1_000_000_000),
            wall: Wall::from_millis(millis),
            ..Now::default()
        }
    }

    fn shown(clock: RackClock, seconds: u64, now: Now) -> String {
        clock.time(seconds, now).unwrap().to_string()
    }

    #[test]
    fn the_count_is_anchored_to_the_first_block() {
        let mut clock = RackClock::default();
        assert_eq!(clock.time(5, at(0)), None);
        assert!(!clock.handle_seconds(214, at(100).mono));
        assert_eq!(shown(clock, 214, at(100)), "2026-11-21T23:41:40");
        // Said 10 s later, but it came 12 s later.
        assert!(!clock.handle_seconds(224, at(112).mono));
        assert_eq!(shown(clock, 224, at(112)), "2026-11-21T23:41:50");
        assert_eq!(clock.time(224, Now { wall: Wall::default(), ..at(112) }), None);
    }

    #[test]
    fn it_is_anchored_anew_when_it_goes_backwards_or_leaps() {
        let mut clock = RackClock::default();
        assert!(!clock.handle_seconds(5_000, at(0).mono));
        assert!(!clock.handle_seconds(5_010, at(10).mono));
        assert!(clock.handle_seconds(5_009, at(20).mono), "backwards by one");
        assert!(clock.handle_seconds(3, at(30).mono), "started anew");
        assert_eq!(shown(clock, 3, at(30)), "2026-11-21T23:40:30");
        assert!(!clock.handle_seconds(13, at(40).mono));
        assert!(clock.handle_seconds(90_000, at(50).mono), "another rack");
        assert!(clock.handle_seconds(90_001, at(200).mono), "it stood still");
        assert!(!clock.handle_seconds(90_002, at(201).mono));
    }

    #[test]
    fn no_count_is_too_large() {
        let mut clock = RackClock::default();
        assert!(!clock.handle_seconds(u64::MAX, at(0).mono));
        assert!(clock.time(0, at(0)).is_none());
    }
}
