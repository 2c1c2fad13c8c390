//! The bits of a glucose meter: which fields follow, and what it says of itself, its strip and its sample.

use crate::device::observation::Quality;

/// The first octet: which fields follow.
#[derive(Clone, Copy)]
pub(super) struct Flags(pub(super) u8);

impl Flags {
    pub(super) const fn has(self, bit: u8) -> bool {
        self.0 >> bit & 1 != 0
    }
}

/// Sensor Status Annunciation. Bits 12-15 are reserved.
#[derive(Clone, Copy)]
pub(super) struct MeterStatus(pub(super) u16);

impl MeterStatus {
    const MALFUNCTION: u16 = 1 << 1;
    /// Sample too small, strip inserted wrongly, of another type, temperature too high or too low for a result,
    /// read interrupted as the strip was pulled, general fault; and a result beyond what the meter can show.
    const DOUBT: u16 = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10;
    pub(super) const TIME: u16 = 1 << 11;

    pub(super) const fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    pub(super) const fn quality(self) -> Quality {
        let doubt = if self.has(Self::DOUBT) { Quality::QUESTIONABLE } else { Quality::GOOD };
        if self.has(Self::MALFUNCTION) {
            return doubt.with(Quality::SENSOR).with(Quality::QUESTIONABLE);
        }
        doubt
    }
}
