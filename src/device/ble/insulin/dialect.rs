//! The Record Access Control Point of a pump (2B27): what is asked for, and what is answered.
//!
//! In: an indication as it came. Out: an [`Answer`] in the words of a transfer of records, or a [`Fault`].
//! Pure; the transfer itself is not here. Only reports and their end are asked for: the service can delete
//! records too, which nothing here can say.
//!
//! Op codes, operators, filters and response codes: Insulin Delivery Service 1.0.2 (Hamming codes but for the
//! response codes). An indication is an op code, the null operator, and a count of four octets, or the op code
//! of the request and a response code; then counter and checksum where the pump protects its messages.

use super::hamming::{self, prohibited};
use super::protection::{Counters, Sent, ended, without_counter};
use crate::device::ble::octets::Octets;
use crate::device::{Fault, FaultKind};
use crate::link::gatt::{GattWrite, PUMP_RECORD_ACCESS, Records};

const RESPONSE: u8 = 0x0F;
const REPORT: u8 = 0x33;
const ABORT: u8 = 0x55;
const COUNT_RESPONSE: u8 = 0x66;
const NULL: u8 = 0x0F;
const SUCCESS: u8 = 0xF0;
const NO_RECORDS: u8 = 0x06;

/// What an indication says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::device::ble) enum Answer {
    /// So many records.
    Count(u32),
    /// All records that were asked for have been sent.
    Done,
    /// There are none of those that were asked for.
    NoRecords,
    /// The transfer was ended, as asked.
    Aborted,
    /// What was asked for (its op code) is refused.
    Refused(u8, Refusal),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::device::ble) enum Refusal {
    /// The pump does not know the op code.
    OpCode,
    /// The operator does not fit the op code.
    Operator,
    /// The pump does not know the operator.
    OperatorSupport,
    /// The operand is wrong.
    Operand,
    /// The pump does not know the operand, or the filter in it.
    OperandSupport,
    /// Nothing could be ended.
    Abort,
    /// It was not completed: it may be asked again.
    NotCompleted,
    /// Not possible in the state that the pump is in.
    NotApplicable,
    /// A code that the service does not know.
    Other(u8),
}

/// The counters of the control point on one connection.
#[derive(Debug, Default)]
pub(in crate::device::ble) struct Dialect {
    is_protected: bool,
    sent: Sent,
    received: Counters,
}

impl Dialect {
    /// For a connection; `is_protected` as the Features say.
    pub(in crate::device::ble) fn new(is_protected: bool) -> Self {
        Self { is_protected, ..Self::default() }
    }

    /// Asks for the records from a number on; for all of them by the number 0, which needs no other operator.
    pub(in crate::device::ble) fn report(&mut self, which: Records) -> Option<GattWrite> {
        let first = match which {
            Records::All => 0,
            Records::From(first) => first,
        };
        GattWrite::pump_report(Records::From(first), self.counter())
    }

    /// Ends the transfer that runs.
    pub(in crate::device::ble) fn abort(&mut self) -> Option<GattWrite> {
        GattWrite::pump_abort(self.counter())
    }

    fn counter(&mut self) -> Option<u8> {
        self.is_protected.then(|| self.sent.count())
    }

    /// Reads an indication; a message that was lost before it is told beside.
    pub(in crate::device::ble) fn read(&mut self, value: &[u8]) -> Result<(Answer, Option<Fault>), Fault> {
        const WHAT: &str = "IDD record access";
        if !self.is_protected {
            return Ok((answer(Octets::new(WHAT, value)?)?, None));
        }
        // Nothing longer than an attribute is looked at.
        let _ = Octets::new(WHAT, value)?;
        let (payload, counter) = without_counter(WHAT, value)?;
        let lost = self.received.take(PUMP_RECORD_ACCESS.uuid, counter)?;
        Ok((answer(Octets::new(WHAT, payload)?)?, lost))
    }
}

fn answer(mut octets: Octets<'_>) -> Result<Answer, Fault> {
    let op_code = hamming::code(&mut octets, "op code")?;
    let operator = octets.u8("operator")?;
    if operator != NULL {
        return Err(Fault::new(FaultKind::Malformed, format!("its operator is 0x{operator:02X}, not null")));
    }
    let answer = match op_code {
        COUNT_RESPONSE => {
            let (low, high) = (octets.u16("number of records")?, octets.u16("number of records")?);
            Answer::Count(u32::from(high) << 16 | u32::from(low))
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

const fn outcome(request: u8, code: u8) -> Answer {
    let refusal = match (code, request) {
        (SUCCESS, REPORT) => return Answer::Done,
        (SUCCESS, ABORT) => return Answer::Aborted,
        (NO_RECORDS, _) => return Answer::NoRecords,
        (0x02, _) => Refusal::OpCode,
        (0x03, _) => Refusal::Operator,
        (0x04, _) => Refusal::OperatorSupport,
        (0x05, _) => Refusal::Operand,
        (0x07, _) => Refusal::Abort,
        (0x08, _) => Refusal::NotCompleted,
        (0x09, _) => Refusal::OperandSupport,
        (0x0A, _) => Refusal::NotApplicable,
        (other, _) => Refusal::Other(other),
    };
    Answer::Refused(request, refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::gatt::e2e_crc;

    fn plain(value: &[u8]) -> Result<Answer, FaultKind> {
        Dialect::new(false).read(value).map(|(answer, _)| answer).map_err(|fault| fault.kind)
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
        assert_eq!(plain(&[0x66, 0x0F, 123, 0, 0, 0]), Ok(Answer::Count(123)));
        assert_eq!(plain(&[0x66, 0x0F, 1, 2, 3, 4]), Ok(Answer::Count(0x0403_0201)));
        assert_eq!(plain(&[0x0F, 0x0F, 0x33, 0xF0]), Ok(Answer::Done));
        assert_eq!(plain(&[0x0F, 0x0F, 0x55, 0xF0]), Ok(Answer::Aborted));
        assert_eq!(plain(&[0x0F, 0x0F, 0x33, 0x06]), Ok(Answer::NoRecords));
        for (code, refusal) in [
            (0x02, Refusal::OpCode),
            (0x03, Refusal::Operator),
            (0x04, Refusal::OperatorSupport),
            (0x05, Refusal::Operand),
            (0x07, Refusal::Abort),
            (0x08, Refusal::NotCompleted),
            (0x09, Refusal::OperandSupport),
            (0x0A, Refusal::NotApplicable),
            (0x01, Refusal::Other(0x01)),
        ] {
            assert_eq!(plain(&[0x0F, 0x0F, 0x33, code]), Ok(Answer::Refused(0x33, refusal)));
        }
        // The success of what is never asked is none: RacpParserTest, "delete".
        assert_eq!(plain(&[0x0F, 0x0F, 0x3C, 0xF0]), Ok(Answer::Refused(0x3C, Refusal::Other(0xF0))));
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
        let mut dialect = Dialect::new(true);
        let done = [0x0F, 0x0F, 0x33, 0xF0];
        assert_eq!(dialect.read(&protected(&done, 1)), Ok((Answer::Done, None)));
        assert_eq!(dialect.read(&done).unwrap_err().kind, FaultKind::Checksum);
        let mut broken = protected(&done, 2);
        broken[1] ^= 4;
        assert_eq!(dialect.read(&broken).unwrap_err().kind, FaultKind::Checksum);
        assert_eq!(dialect.read(&protected(&done, 1)).unwrap_err().kind, FaultKind::Unexpected);
        let (answer, lost) = dialect.read(&protected(&done, 3)).unwrap();
        assert_eq!((answer, lost.unwrap().kind), (Answer::Done, FaultKind::Unexpected));
        assert_eq!(dialect.read(&[]).unwrap_err().kind, FaultKind::Malformed);
    }

    #[test]
    fn requests_are_reports_from_a_number_on_and_ends_of_them_and_are_counted() {
        let octets = |write: Option<GattWrite>| write.unwrap().octets().to_vec();
        let mut plain = Dialect::new(false);
        assert_eq!(octets(plain.report(Records::All)), [0x33, 0x55, 0x0F, 0, 0, 0, 0]);
        assert_eq!(octets(plain.report(Records::From(0x0102_0304))), [0x33, 0x55, 0x0F, 4, 3, 2, 1]);
        assert_eq!(octets(plain.abort()), [0x55, 0x0F]);
        let mut counted = Dialect::new(true);
        assert_eq!(octets(counted.report(Records::From(9))), protected(&[0x33, 0x55, 0x0F, 9, 0, 0, 0], 1));
        assert_eq!(octets(counted.abort()), protected(&[0x55, 0x0F], 2));
    }
}
