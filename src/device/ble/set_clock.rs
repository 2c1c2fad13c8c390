//! Whether the clock of a device is to be set, and to what.
//!
//! In: the settings of the device's entry, what its clock was ahead at its last reading, the time. Out: whether
//! to set it. Pure; the moment within a connection is the collector's (`collector/set_clock.rs`), the octets are
//! in [`crate::link::gatt`].
//!
//! Rules, all fail closed:
//! - Off, unless the device's entry says `set_clock = "when-wrong"`.
//! - Only while the gateway's clock follows a reference and is known to better than [`MAX_ERROR_US`].
//! - Only a clock that is wrong by more than [`LIMIT`], or shows no date.
//! - To UTC and `clock_offset`: a Current Time has no zone, and rules of daylight saving time are not known here.
//! - Never one that treats, whose clock drives its basal rates, and never a continuous glucose monitor, whose
//!   session hangs on its clock: refused where the configuration is read, and again in the driver.

use std::time::Duration;

use crate::device::catalogue::{BleProfile, Class};
use crate::device::placing::SLACK;
use crate::device::settings::{Setting, Settings, Values};
use crate::time::{ClockSync, Now};

/// The name of the setting that permits it.
pub const SET_CLOCK: &str = "set_clock";
const WHEN_WRONG: &str = "when-wrong";
const CLOCK_OFFSET: &str = "clock_offset";

/// What can be set for a device with a clock.
pub(crate) static SETTINGS: [Setting; 2] = [
    Setting {
        name: SET_CLOCK,
        meaning: "whether the device's clock is set when it is wrong by more than ten seconds or shows no date, \
                  once its stored records are on durable storage and while the gateway's own clock is \
                  synchronised; never for an insulin pump or a continuous glucose monitor",
        values: Values::Word(&["never", WHEN_WRONG]),
    },
    Setting {
        name: CLOCK_OFFSET,
        meaning: "what the device is to show ahead of UTC, in minutes (60 in Berlin in winter, 120 in summer: \
                  daylight saving time is not followed by itself); of use only with `set_clock`",
        values: Values::Number { least: -720, most: 840, default: 0 },
    },
];

/// The most that the gateway's clock may be wrong by, in microseconds.
const MAX_ERROR_US: u32 = 1_000_000;

/// A clock that is wrong by no more is left alone: twice what two readings of one clock may differ by, so that a
/// clock that was set is always told from one that goes on.
pub(super) const LIMIT: Duration = Duration::from_secs(2 * SLACK.as_secs());

const CONTINUOUS_GLUCOSE: u16 = 0x181F;

/// The profile for which the clock of a device must not be set, if it has such a one.
pub fn keeps_its_clock(profiles: &[&'static BleProfile]) -> Option<&'static str> {
    let keeps = |row: &&&BleProfile| row.class == Class::Therapy || row.service == CONTINUOUS_GLUCOSE;
    profiles.iter().find(keeps).map(|row| row.name)
}

/// Whether the settings ask for it.
pub fn wants_clock_set(settings: &Settings) -> bool {
    settings.word(SET_CLOCK) == WHEN_WRONG
}

/// What the clock of a device is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Ahead of UTC, in minutes.
    pub(super) offset: i16,
}

impl Wanted {
    /// Of a device with these profiles and settings; `None`: its clock is not to be set.
    pub(super) fn of(profiles: &[&'static BleProfile], settings: &Settings) -> Option<Self> {
        if !wants_clock_set(settings) || keeps_its_clock(profiles).is_some() {
            return None;
        }
        i16::try_from(settings.number(CLOCK_OFFSET)).ok().map(|offset| Self { offset })
    }

    /// Whether a clock that was `ahead` milliseconds ahead of UTC (`None`: it showed no date) is wrong.
    pub(super) fn is_wrong(self, ahead: Option<i64>) -> bool {
        let wanted = i64::from(self.offset) * 60_000;
        ahead.is_none_or(|ahead| u128::from(ahead.abs_diff(wanted)) > LIMIT.as_millis())
    }
}

/// Whether the gateway's own clock is good enough to set another by, or to say that it is wrong.
pub(super) fn is_trusted(now: Now) -> bool {
    now.sync == ClockSync::Synced && now.max_error_us < MAX_ERROR_US
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::catalogue::{ble_profile, ble_profiles};

    fn settings(word: &str, offset: i64) -> Settings {
        let mut settings = Settings::defaults(&SETTINGS);
        settings.set_word(&SETTINGS[0], word).unwrap();
        settings.set_number(&SETTINGS[1], offset).unwrap();
        settings
    }

    #[test]
    fn a_clock_is_set_only_where_its_entry_says_so() {
        let row = ble_profile("current-time").unwrap();
        assert_eq!(row.settings(), &SETTINGS[..]);
        assert_eq!(Wanted::of(&[row], &Settings::defaults(row.settings())), None);
        assert_eq!(Wanted::of(&[row], &Settings::default()), None);
        assert_eq!(Wanted::of(&[row], &settings("never", 60)), None);
        assert_eq!(Wanted::of(&[row], &settings(WHEN_WRONG, 60)), Some(Wanted { offset: 60 }));
    }

    #[test]
    fn what_treats_and_a_continuous_glucose_monitor_keep_their_clocks() {
        let clock = ble_profile("current-time").unwrap();
        let keep = |row: &&&'static BleProfile| keeps_its_clock(&[clock, row]).is_some();
        let keeping: Vec<&str> = ble_profiles().iter().filter(keep).map(|row| row.name).collect();
        assert_eq!(keeping, ["continuous-glucose", "insulin-delivery"]);
        for name in keeping {
            let profiles = [clock, ble_profile(name).unwrap()];
            assert_eq!(keeps_its_clock(&profiles), Some(name));
            assert_eq!(Wanted::of(&profiles, &settings(WHEN_WRONG, 0)), None);
        }
    }

    #[test]
    fn a_clock_is_wrong_from_ten_seconds_on_and_without_a_date() {
        let berlin = Wanted { offset: 60 };
        for (ahead, is_wrong) in [
            (Some(3_600_000), false),
            (Some(3_610_000), false),
            (Some(3_590_000), false),
            (Some(3_610_001), true),
            (Some(3_589_999), true),
            (Some(0), true),
            (Some(i64::MIN), true),
            (None, true),
        ] {
            assert_eq!(berlin.is_wrong(ahead), is_wrong, "{ahead:?}");
        }
    }

    #[test]
    fn a_gateway_sets_no_clock_by_one_that_may_be_wrong_itself() {
        let now = |sync, max_error_us| Now { sync, max_error_us, ..Now::default() };
        assert!(is_trusted(now(ClockSync::Synced, 999_999)));
        assert!(!is_trusted(now(ClockSync::Synced, 1_000_000)));
        assert!(!is_trusted(now(ClockSync::Unsynced, 0)));
    }
}
