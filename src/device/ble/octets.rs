//! The fields of a characteristic value, read one after the other and never past the end.
//!
//! In: the octets of one value, little-endian (GATT Specification Supplement, section 2). Out: one
//! field at a time, or a [`Fault`] that names the field that is not whole.

use crate::device::medfloat;
use crate::device::observation::{DeviceTime, Value};
use crate::device::{Fault, FaultKind};

/// The longest value an attribute can have (Bluetooth Core, Vol 3 Part F, 3.2.9). What is longer
/// did not come from a peripheral, and is refused before anything is made of it.
pub const MAX_VALUE: usize = 512;

/// What is left of a value.
#[derive(Debug)]
pub(super) struct Octets<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Octets<'a> {
    /// The whole value of the characteristic that a person calls `what`.
    pub(super) fn new(what: &'static str, value: &'a [u8]) -> Result<Self, Fault> {
        let length = value.len();
        if length > MAX_VALUE {
            let detail =
                format!("{what} has {length} octets, more than the {MAX_VALUE} an attribute can have");
            return Err(Fault::new(FaultKind::Malformed, detail));
        }
        Ok(Self { rest: value, what })
    }

    /// What was put together of segments, or a part of it: bounded by who put it together.
    pub(super) const fn reassembled(what: &'static str, value: &'a [u8]) -> Self {
        Self { rest: value, what }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// One octet.
    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Fault> {
        let [octet] = self.take(field)?;
        Ok(octet)
    }

    /// Two octets.
    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, Fault> {
        Ok(u16::from_le_bytes(self.take(field)?))
    }

    /// Three octets.
    pub(super) fn u24(&mut self, field: &'static str) -> Result<u32, Fault> {
        let [low, middle, high] = self.take(field)?;
        Ok(u32::from_le_bytes([low, middle, high, 0]))
    }

    /// Four octets.
    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.take(field)?))
    }

    /// Six octets.
    pub(super) fn u48(&mut self, field: &'static str) -> Result<u64, Fault> {
        let octets: [u8; 6] = self.take(field)?;
        Ok(octets.iter().rev().fold(0, |all, octet| all << 8 | u64::from(*octet)))
    }

    /// As many octets as something before them said.
    pub(super) fn bytes(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], Fault> {
        let Some((octets, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.not_whole(count, field));
        };
        self.rest = rest;
        Ok(octets)
    }

    /// How many octets are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// A medfloat32.
    pub(super) fn float(&mut self, field: &'static str) -> Result<Value, Fault> {
        Ok(medfloat::float(self.u32(field)?))
    }

    /// A medfloat16.
    pub(super) fn sfloat(&mut self, field: &'static str) -> Result<Value, Fault> {
        Ok(medfloat::sfloat(self.u16(field)?))
    }

    /// A Date Time (2A08), exactly as it came.
    pub(super) fn date_time(&mut self, field: &'static str) -> Result<DeviceTime, Fault> {
        let [low, high, month, day, hour, minute, second] = self.take(field)?;
        Ok(DeviceTime {
            year: u16::from_le_bytes([low, high]),
            month,
            day,
            hour,
            minute,
            second,
            ..DeviceTime::default()
        })
    }

    /// Refuses octets after the last field: for what has one length only.
    pub(super) fn end(&self) -> Result<(), Fault> {
        let (what, left) = (self.what, self.rest.len());
        if left == 0 {
            return Ok(());
        }
        Err(Fault::new(FaultKind::Malformed, format!("{what} is longer than its fields: {left} octets left")))
    }

    fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Fault> {
        let Some((octets, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.not_whole(N, field));
        };
        self.rest = rest;
        Ok(*octets)
    }

    fn not_whole(&self, count: usize, field: &'static str) -> Fault {
        let (what, left) = (self.what, self.rest.len());
        Fault::new(FaultKind::Malformed, format!("{what} ends in its {field}: {left} of {count} octets"))
    }
}

/// Whether a calendar and a clock can show this time (GATT Specification Supplement, "Date Time":
/// years from 1582; month and day may be 0, unknown).
pub(super) fn is_calendar_time(time: DeviceTime) -> bool {
    (1582..=9999).contains(&time.year)
        && time.month <= 12
        && time.day <= 31
        && time.hour <= 23
        && time.minute <= 59
        && time.second <= 59
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_time_reads_as_published_and_stays_raw() {
        // Android-nRF-Toolbox, DateTimeParserTest (BSD-3-Clause).
        for (value, shown) in [
            ([0xE4, 0x07, 0x05, 0x15, 0x0A, 0x1E, 0x2D], "2020-05-21T10:30:45"),
            ([0xFF, 0xFF, 0xFF, 0, 0x19, 0x3C, 0xFF], "65535-255-00T25:60:255"),
        ] {
            let time = Octets::new("value", &value).unwrap().date_time("time").unwrap();
            assert_eq!(time.to_string(), shown);
        }
    }

    #[test]
    fn fields_are_little_endian_and_end_where_the_value_ends() {
        let mut octets = Octets::new("value", &[1, 2, 3, 4, 5, 6, 7]).unwrap();
        assert_eq!(octets.u8("a"), Ok(0x01));
        assert_eq!(octets.u16("b"), Ok(0x0302));
        assert_eq!(octets.u24("c"), Ok(0x0006_0504));
        let fault = octets.u16("last field").unwrap_err();
        assert_eq!(fault.to_string(), "malformed: value ends in its last field: 1 of 2 octets");
        assert!(!octets.is_empty(), "a field that is not whole takes nothing");
        let fault = octets.end().unwrap_err();
        assert_eq!(fault.to_string(), "malformed: value is longer than its fields: 1 octets left");
        assert_eq!((octets.left(), octets.bytes(1, "d")), (1, Ok(&[7][..])));
        assert_eq!(octets.end(), Ok(()));
        assert!(octets.is_empty());
        assert_eq!(
            octets.bytes(3, "end").unwrap_err().to_string(),
            "malformed: value ends in its end: 0 of 3 octets"
        );
    }

    #[test]
    fn the_longer_fields_are_little_endian_too() {
        let mut octets = Octets::reassembled("value", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0x6C, 1, 0, 0xFF]);
        assert_eq!(octets.u32("a"), Ok(0x0403_0201));
        assert_eq!(octets.u48("b"), Ok(0x0A09_0807_0605));
        assert_eq!(octets.float("c"), Ok(Value::Decimal(crate::device::decimal::Decimal::new(364, -1))));
    }
}
