//! The measurement status of a health observation: what the sensor says against a value.
//!
//! Bits (ST's and Realtek's sources, which agree): 0 invalid, 1 questionable, 2 not available, 3 calibrating,
//! 4 test data, 5 early estimate, 6 manually entered, 7 setting, 14 threshold error, 15 thresholding
//! disabled. The others are reserved and ignored.

use crate::device::observation::{Absent, Quality, Status, Value};

/// The status word; nothing set is nothing against the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MeasurementStatus(pub(super) u16);

impl MeasurementStatus {
    const INVALID: u16 = 1;
    const QUESTIONABLE: u16 = 1 << 1;
    const NOT_AVAILABLE: u16 = 1 << 2;
    const CALIBRATING: u16 = 1 << 3;
    const TEST_DATA: u16 = 1 << 4;
    const EARLY_ESTIMATE: u16 = 1 << 5;
    const MANUALLY_ENTERED: u16 = 1 << 6;
    const SETTING: u16 = 1 << 7;
    const THRESHOLD_ERROR: u16 = 1 << 14;
    const THRESHOLDING_DISABLED: u16 = 1 << 15;
    const ASSIGNED: u16 = 0xC0FF;

    const fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// Both: what is said against a bundle is said against all that is in it.
    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Of a value that is none of a patient's.
    pub(super) const fn test_data() -> Self {
        Self(Self::TEST_DATA)
    }

    pub(super) const fn is_setting(self) -> bool {
        self.has(Self::SETTING)
    }

    /// The bits to be told by themselves, where one of them is set that no flag of an observation expresses.
    pub(super) fn unexpressed(self) -> Option<u32> {
        let told = Self::MANUALLY_ENTERED | Self::THRESHOLD_ERROR | Self::THRESHOLDING_DISABLED;
        self.has(told).then_some(u32::from(self.0 & Self::ASSIGNED))
    }

    /// The value, unless the sensor itself says that it is none of the patient's.
    pub(super) fn gate(self, value: Value) -> Value {
        if matches!(value, Value::Absent(_)) {
            return value;
        }
        if self.has(Self::TEST_DATA | Self::INVALID) {
            return Value::Absent(Absent::Error);
        }
        if self.has(Self::NOT_AVAILABLE) { Value::Absent(Absent::Unknown) } else { value }
    }

    pub(super) const fn status(self) -> Status {
        if self.has(Self::EARLY_ESTIMATE) { Status::Preliminary } else { Status::Final }
    }

    pub(super) fn quality(self) -> Quality {
        [
            (Self::INVALID | Self::NOT_AVAILABLE, Quality::INVALID),
            (Self::QUESTIONABLE, Quality::QUESTIONABLE),
            (Self::CALIBRATING, Quality::CALIBRATING),
            (Self::TEST_DATA, Quality::TEST),
        ]
        .into_iter()
        .filter(|(any_of, _)| self.has(*any_of))
        .fold(Quality::GOOD, |quality, (_, flag)| quality.with(flag))
    }
}
