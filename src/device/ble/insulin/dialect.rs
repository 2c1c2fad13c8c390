//! The Record Access Control Point of a pump (2B27): what is asked for, and what is answered.
//!
//! In: an indication as it came. Out: a [`Word`], or a [`Fault`].
//! Pure; the transfer itself is not here. Only reports and their end are asked for: the service can delete
//! records too, which nothing here can say.
//!
//! Op codes, operators, filters and response codes: Insulin Delivery Service 1.0.2 (Hamming codes but for the
//! response codes). An indication is an op code, the null operator, and a count of four octets, or the op code
//! of the request and a response code; then counter and checksum where the pump protects its messages.

use super::hamming::{self, prohibited};
use super::protection::{Counters, Features, Sent, ended, without_counter};
use crate::device::ble::octets::Octets;
use crate::device::ble::records::{Anchors, Code, Dialect, Procedure, Word};
use crate::device::{Fault, FaultKind};
use crate::link::Characteristic;
use crate::link::gatt::{GattWrite, MayDelete, PUMP_RECORD_ACCESS, Records};

const RESPONSE: u8 = 0x0F;
const REPORT: u8 = 0x33;
const ABORT: u8 = 0x55;
const COUNT_RESPONSE: u8 = 0x66;
const NULL: u8 = 0x0F;
const SUCCESS: u8 = 0xF0;
const NO_RECORDS: u8 = 0x06;

/// The control point of one connection, with the counters of its messages.
#[derive(Debug, Default)]
pub(in crate::device::ble) struct PumpRecords {
    /// As the Features say; unless they were read nothing can be asked.
    is_protected: Option<bool>,
    sent: Sent,
    received: Counters,
}

impl PumpRecords {
    fn counter(&mut self, is_protected: bool) -> Option<u8> {
        is_protected.then(|| self.sent.count())
    }
}

impl Dialect for PumpRecords {
    fn control(&self) -> Characteristic {
        PUMP_RECORD_ACCESS
    }

    fn greatest(&self) -> Option<u32> {
        Some(u32::MAX)
    }

    fn carries(&self, of: Characteristic) -> bool {
        of == super::HISTORY
    }

    /// Events count seconds from the last reference time: asked for without it, they have no time.
    fn anchors(&self) -> Option<Anchors> {
        Some(super::history::is_anchor)
    }

    fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) {
        if of == super::FEATURES
            && let Some((features, _)) = value.and_then(|value| Features::read(value).ok())
        {
            self.is_protected = Some(features.is_protected());
        }
    }

    fn count(&mut self, _which: Records) -> Option<GattWrite> {
        None
    }

    /// Asks for the records from a number on; for all of them by the number 0, which needs no other operator.
    fn report(&mut self, which: Records) -> Option<GattWrite> {
        let first = match which {
            Records::All => 0,
            Records::From(first) => first,
        };
        let counter = self.counter(self.is_protected?);
        GattWrite::pump_report(Records::From(first), counter)
    }

    fn abort(&mut self) -> Option<GattWrite> {
        let counter = self.counter(self.is_protected?);
        GattWrite::pump_abort(counter)
    }

    /// Never, whatever is permitted.
    fn delete(&mut self, _last: u32, _may: MayDelete) -> Option<GattWrite> {
        None
    }

    /// A message that was lost before it is not told: the seam has no place for it yet.
    fn read(&mut self, value: &[u8]) -> Result<Word, Fault> {
        const WHAT: &str = "IDD record access";
        // Nothing longer than an attribute is looked at.
        let whole = Octets::new(WHAT, value)?;
        match self.is_protected {
            None => {
                let detail = "it answers before its features say how it protects its messages";
                Err(Fault::new(FaultKind::Unexpected, detail))
            }
            Some(false) => answer(whole),
            Some(true) => {
                let (payload, counter) = without_counter(WHAT, value)?;
                self.received.take(PUMP_RECORD_ACCESS.uuid, counter)?;
                answer(Octets::new(WHAT, payload)?)
            }
        }
    }
}

fn answer(mut octets: Octets<'_>) -> Result<Word, Fault> {
    let op_code = hamming::code(&mut octets, "op code")?;
    let operator = octets.u8("operator")?;
    if operator != NULL {
        return Err(Fault::new(FaultKind::Malformed, format!("its operator is 0x{operator:02X}, not null")));
    }
    let answer = match op_code {
        COUNT_RESPONSE => {
            let (low, high) = (octets.u16("number of records")?, octets.u16("number of records")?);
            Word::Count(u32::from(high) << 16 | u32::from(low))
        }
        RESPONSE => {
            let request = octets.u8("request op code")?;
            if !hamming::is_allowed(request.into()) {
                return Err(prohibited("request op code", request.into()));
            }
            outcome(request, octets.u8("response code")?)
        }
        other => {
            let detail = format!("0x{other:02X} is no answer of the record access control point");
            return Err(Fault::new(FaultKind::Unexpected, detail));
        }
    };
    ended("IDD record access", &octets)?;
    Ok(answer)
}

const fn outcome(request: u8, code: u8) -> Word {
    let procedure = match request {
        REPORT => Procedure::Report,
        ABORT => Procedure::Abort,
        other => Procedure::Other(other as u16),
    };
    let code = match code {
        SUCCESS => Code::Success,
        0x02..=0x05 | 0x09 => Code::NotUnderstood(code),
        NO_RECORDS => Code::NoRecords,
        0x07 => Code::AbortUnsuccessful,
        0x08 => Code::NotCompleted,
        other => Code::Reserved(other),
    };
    Word::Response(procedure, code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::gatt::e2e_crc;

    fn dialect(is_protected: bool) -> PumpRecords {
        let mut dialect = PumpRecords::default();
        let rest = [u8::from(is_protected), 0x64, 0, u8::from(is_protected), 0, 0];
        let crc = if is_protected { e2e_crc(&rest) } else { 0xFFFF };
        dialect.handle_read(super::super::FEATURES, Some(&[&crc.to_le_bytes()[..], &rest].concat()));
        dialect
    }

    fn plain(value: &[u8]) -> Result<Word, FaultKind> {
        dialect(false).read(value).map_err(|fault| fault.kind)
    }

    /// With counter and checksum, as the service lays them out.
    fn protected(payload: &[u8], counter: u8) -> Vec<u8> {
        let mut out = [payload, &[counter]].concat();
        let crc = e2e_crc(&out);
        out.extend([(crc & 0xFF) as u8, (crc >> 8) as u8]);
        out
    }

    #[test]
    fn answers_read_as_the_service_lays_them_out() {
        // The first: ehealthinnovation/AndroidBLEParser, RacpParserTest (MIT): 123 records.
        let report = |code| Ok(Word::Response(Procedure::Report, code));
        assert_eq!(plain(&[0x66, 0x0F, 123, 0, 0, 0]), Ok(Word::Count(123)));
        assert_eq!(plain(&[0x66, 0x0F, 1, 2, 3, 4]), Ok(Word::Count(0x0403_0201)));
        assert_eq!(plain(&[0x0F, 0x0F, 0x33, 0xF0]), report(Code::Success));
        assert_eq!(plain(&[0x0F, 0x0F, 0x55, 0xF0]), Ok(Word::Response(Procedure::Abort, Code::Success)));
        for (code, means) in [
            (0x06, Code::NoRecords),
            (0x02, Code::NotUnderstood(2)),
            (0x03, Code::NotUnderstood(3)),
            (0x04, Code::NotUnderstood(4)),
            (0x05, Code::NotUnderstood(5)),
            (0x09, Code::NotUnderstood(9)),
            (0x07, Code::AbortUnsuccessful),
            (0x08, Code::NotCompleted),
            // Not applicable now: asked again when it is time for it.
            (0x0A, Code::Reserved(0x0A)),
            (0x01, Code::Reserved(0x01)),
        ] {
            assert_eq!(plain(&[0x0F, 0x0F, 0x33, code]), report(means));
        }
        // What is never asked: RacpParserTest, "delete".
        assert_eq!(
            plain(&[0x0F, 0x0F, 0x3C, 0xF0]),
            Ok(Word::Response(Procedure::Other(0x3C), Code::Success))
        );
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (value, kind) in [
            (&[][..], FaultKind::Malformed),
            (&[0x0F], FaultKind::Malformed),
            (&[0x66, 0x0F, 1, 0], FaultKind::Malformed),
            (&[0x66, 0x0F, 1, 0, 0, 0, 0], FaultKind::Malformed),
            (&[0x66, 0x55, 1, 0, 0, 0], FaultKind::Malformed),
            (&[0x0E, 0x0F, 0x33, 0xF0], FaultKind::Malformed),
            (&[0x0F, 0x0F, 0x32, 0xF0], FaultKind::Malformed),
            (&[0x0F, 0x0F, 0x33, 0xF0, 0], FaultKind::Malformed),
            (&[0x5A, 0x0F], FaultKind::Unexpected),
        ] {
            assert_eq!(plain(value), Err(kind), "{value:02X?}");
        }
        let long = [0; 600];
        assert_eq!(plain(&long), Err(FaultKind::Malformed));
    }

    #[test]
    fn protected_answers_need_their_checksum_and_their_counter() {
        let mut dialect = dialect(true);
        let done = [0x0F, 0x0F, 0x33, 0xF0];
        let success = Word::Response(Procedure::Report, Code::Success);
        assert_eq!(dialect.read(&protected(&done, 1)), Ok(success));
        assert_eq!(dialect.read(&done).unwrap_err().kind, FaultKind::Checksum);
        let mut broken = protected(&done, 2);
        broken[1] ^= 4;
        assert_eq!(dialect.read(&broken).unwrap_err().kind, FaultKind::Checksum);
        assert_eq!(dialect.read(&protected(&done, 1)).unwrap_err().kind, FaultKind::Unexpected);
        assert_eq!(dialect.read(&protected(&done, 3)), Ok(success), "one was lost");
        assert_eq!(dialect.read(&[]).unwrap_err().kind, FaultKind::Malformed);
    }

    #[test]
    fn requests_are_reports_from_a_number_on_and_ends_of_them_and_are_counted() {
        let octets = |write: Option<GattWrite>| write.unwrap().octets().to_vec();
        let mut plain = dialect(false);
        assert_eq!(octets(plain.report(Records::All)), [0x33, 0x55, 0x0F, 0, 0, 0, 0]);
        assert_eq!(octets(plain.report(Records::From(0x0102_0304))), [0x33, 0x55, 0x0F, 4, 3, 2, 1]);
        assert_eq!(octets(plain.abort()), [0x55, 0x0F]);
        let mut counted = dialect(true);
        assert_eq!(octets(counted.report(Records::From(9))), protected(&[0x33, 0x55, 0x0F, 9, 0, 0, 0], 1));
        assert_eq!(octets(counted.abort()), protected(&[0x55, 0x0F], 2));
        let may = MayDelete::of_setting(true).unwrap();
        assert_eq!(dialect(false).delete(1, may), None);
        assert_eq!(dialect(false).count(Records::All), None);
        let mut unknown = PumpRecords::default();
        assert_eq!((unknown.report(Records::All), unknown.abort()), (None, None));
        assert!(unknown.read(&[0x0F, 0x0F, 0x33, 0xF0]).is_err());
    }
}
