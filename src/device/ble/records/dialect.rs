//! The words of a Record Access Control Point: what is asked, and what is answered.
//!
//! In: what a transfer wants. Out: the write for it; and of a value of the control point, what it says. One
//! dialect for each kind of control point; the transfer itself knows no code.
//!
//! Source: GATT Specification Supplement, "Record Access Control Point" (op codes, operators, response codes).
//! The number of records has two octets with glucose meters, continuous glucose monitors and pulse
//! oximeters, four with generic health sensors; one is accepted too.

use super::ledger::Anchors;
use crate::device::ble::insulin::dialect::PumpRecords;
use crate::device::catalogue::Stored;
use crate::device::{Fault, FaultKind};
use crate::link::Characteristic;
use crate::link::gatt::{Filter, GattWrite, HEALTH_SENSOR_CONTROL, MayDelete, RECORD_ACCESS, Records};

/// How one kind of control point is spoken to. Made anew for every connection: a device may count its
/// messages.
pub(in crate::device::ble) trait Dialect: Send {
    /// The control point.
    fn control(&self) -> Characteristic;

    /// The greatest number that a record can have, behind which numbers begin anew; `None` where records
    /// have none and can only be asked for all together.
    fn greatest(&self) -> Option<u32>;

    /// Whether values of this characteristic of the service are records.
    fn carries(&self, of: Characteristic) -> bool;

    /// Behind which records all others say the same again; `None`: each says it by itself.
    fn anchors(&self) -> Option<Anchors> {
        None
    }

    /// Takes the answer to one of the profile's `asks`: whether the device protects its messages, say.
    fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) {
        let _ = (of, value);
    }

    /// Asks how many records there are. `None` where this is not asked.
    fn count(&mut self, which: Records) -> Option<GattWrite>;

    /// Asks for records. `None` where this cannot be said.
    fn report(&mut self, which: Records) -> Option<GattWrite>;

    /// Ends what runs.
    fn abort(&mut self) -> Option<GattWrite>;

    /// Deletes up to a number. `None` where this cannot be said, or would take more than that.
    fn delete(&mut self, last: u32, may: MayDelete) -> Option<GattWrite>;

    /// What a value of the control point says.
    fn read(&mut self, value: &[u8]) -> Result<Word, Fault>;
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::device::ble) enum Procedure {
    Report,
    Delete,
    Abort,
    Count,
    /// Something that is never asked here.
    Other(u16),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::device::ble) enum Code {
    Success,
    NoRecords,
    /// The op code, the operator or the operand is not supported or not valid: the code itself.
    NotUnderstood(u8),
    /// The abort did not succeed.
    AbortUnsuccessful,
    /// What was asked was not done to its end.
    NotCompleted,
    Busy,
    /// Reserved for future use.
    Reserved(u8),
}

/// A value of the control point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::device::ble) enum Word {
    /// There are so many.
    Count(u32),
    /// That ended so.
    Response(Procedure, Code),
}

/// The dialect of a service's control point.
pub(in crate::device::ble) fn dialect_of(stored: Stored, service: u16) -> Box<dyn Dialect> {
    match stored {
        Stored::RecordAccess { filter } => Box::new(RecordAccess { service, filter }),
        Stored::Pump => Box::new(PumpRecords::default()),
    }
}

/// Live Health Observations: what a generic health sensor measures now.
const LIVE_HEALTH_OBSERVATIONS: u16 = 0x2B8B;

/// Characteristic 2A52.
struct RecordAccess {
    service: u16,
    filter: Filter,
}

impl Dialect for RecordAccess {
    fn control(&self) -> Characteristic {
        Characteristic { service: self.service, uuid: RECORD_ACCESS }
    }

    fn carries(&self, of: Characteristic) -> bool {
        of.uuid != LIVE_HEALTH_OBSERVATIONS && of != HEALTH_SENSOR_CONTROL
    }

    fn greatest(&self) -> Option<u32> {
        match self.filter {
            Filter::None => None,
            Filter::Short => Some(u32::from(u16::MAX)),
            Filter::Long => Some(u32::MAX),
        }
    }

    fn count(&mut self, which: Records) -> Option<GattWrite> {
        GattWrite::count(self.service, self.filter, which)
    }

    fn report(&mut self, which: Records) -> Option<GattWrite> {
        GattWrite::report(self.service, self.filter, which)
    }

    fn abort(&mut self) -> Option<GattWrite> {
        GattWrite::abort(self.service)
    }

    fn delete(&mut self, last: u32, may: MayDelete) -> Option<GattWrite> {
        // Without a filter it would delete what was measured since, too.
        let is_bounded = self.filter != Filter::None;
        if is_bounded { GattWrite::delete(self.service, self.filter, last, may) } else { None }
    }

    fn read(&mut self, value: &[u8]) -> Result<Word, Fault> {
        match value {
            [0x05, 0x00, count] => Ok(Word::Count(u32::from(*count))),
            [0x05, 0x00, low, high] => Ok(Word::Count(u32::from(u16::from_le_bytes([*low, *high])))),
            [0x05, 0x00, a, b, c, d] => Ok(Word::Count(u32::from_le_bytes([*a, *b, *c, *d]))),
            [0x06, 0x00, asked, code] => Ok(Word::Response(procedure(*asked), code_of(*code))),
            _ => {
                let (length, first) = (value.len(), value.first().copied().unwrap_or_default());
                let detail = format!("a control point says {length} octets that begin with {first:02X}");
                Err(Fault::new(FaultKind::Malformed, detail))
            }
        }
    }
}

const fn procedure(op_code: u8) -> Procedure {
    match op_code {
        0x01 => Procedure::Report,
        0x02 => Procedure::Delete,
        0x03 => Procedure::Abort,
        0x04 => Procedure::Count,
        other => Procedure::Other(other as u16),
    }
}

const fn code_of(code: u8) -> Code {
    match code {
        0x01 => Code::Success,
        0x02 | 0x03 | 0x04 | 0x05 | 0x09 => Code::NotUnderstood(code),
        0x06 => Code::NoRecords,
        0x07 => Code::AbortUnsuccessful,
        0x08 => Code::NotCompleted,
        0x0A => Code::Busy,
        other => Code::Reserved(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(octets: &[u8]) -> Result<Word, Fault> {
        RecordAccess { service: 0x1808, filter: Filter::Short }.read(octets)
    }

    #[test]
    fn the_published_values_read_as_published() {
        // Android-BLE-Common-Library, RecordAccessControlPointDataCallbackTest (BSD-3-Clause).
        assert_eq!(say(&[6, 0, 1, 6]), Ok(Word::Response(Procedure::Report, Code::NoRecords)));
        assert_eq!(say(&[6, 0, 3, 7]), Ok(Word::Response(Procedure::Abort, Code::AbortUnsuccessful)));
        assert_eq!(say(&[6, 0, 1, 10]), Ok(Word::Response(Procedure::Report, Code::Busy)));
    }

    #[test]
    fn a_count_has_one_two_or_four_octets() {
        assert_eq!(say(&[5, 0, 200]), Ok(Word::Count(200)));
        assert_eq!(say(&[5, 0, 1, 2]), Ok(Word::Count(0x0201)));
        assert_eq!(say(&[5, 0, 1, 2, 3, 4]), Ok(Word::Count(0x0403_0201)));
        for odd in [&[5, 0][..], &[5, 0, 1, 2, 3], &[5, 1, 1, 0], &[5, 0, 1, 2, 3, 4, 5]] {
            assert_eq!(say(odd).unwrap_err().kind, FaultKind::Malformed, "{odd:?}");
        }
    }

    #[test]
    fn every_response_code_has_its_meaning_and_the_rest_is_reserved() {
        let code = |code| match say(&[6, 0, 1, code]) {
            Ok(Word::Response(Procedure::Report, code)) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(1), Code::Success);
        for unsupported in [2, 3, 4, 5, 9] {
            assert_eq!(code(unsupported), Code::NotUnderstood(unsupported));
        }
        assert_eq!(code(8), Code::NotCompleted);
        assert_eq!(
            (code(0), code(0x0B), code(0xFF)),
            (Code::Reserved(0), Code::Reserved(11), Code::Reserved(255))
        );
        for odd in [&[][..], &[6], &[6, 0, 1], &[6, 0, 1, 1, 0], &[6, 1, 1, 1], &[7, 0, 1, 1]] {
            assert_eq!(say(odd).unwrap_err().kind, FaultKind::Malformed, "{odd:?}");
        }
        assert_eq!(say(&[6, 0, 9, 1]), Ok(Word::Response(Procedure::Other(9), Code::Success)));
    }

    #[test]
    fn what_has_no_numbers_is_never_deleted() {
        let may = MayDelete::of_setting(true).unwrap();
        let mut oximeter = RecordAccess { service: 0x1822, filter: Filter::None };
        assert_eq!((oximeter.delete(9, may), oximeter.greatest()), (None, None));
        let mut meter = RecordAccess { service: 0x1808, filter: Filter::Short };
        assert_eq!(meter.delete(9, may).unwrap().octets(), [2, 2, 1, 9, 0]);
    }
}
