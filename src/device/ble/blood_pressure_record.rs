//! BP Record (2B36): a stored measurement of a blood pressure monitor, wrapped.
//!
//! In: a record that was put together of its segments (`segments.rs`): sequence number u16, the UUID of the
//! characteristic whose value is in it u16, that value, and, where bit 6 of the Blood Pressure Feature 2A49
//! says so, an E2E-CRC over all before it. Out: what the value says, by the number of its record.
//!
//! The layout is unverified: it is from memory and a third party's parser, the Blood Pressure Service was not
//! at hand. What is not so is refused: a checksum that does not match, a record that is too short.

use super::octets::Octets;
use crate::device::observation::{Observation, Quality};
use crate::device::{Fault, FaultKind};
use crate::link::gatt::e2e_crc;

/// Reads a whole record; `inner` reads the value of the characteristic that it names.
pub fn blood_pressure_record(
    record: &[u8],
    is_protected: bool,
    inner: impl FnOnce(u16, &[u8]) -> Result<Vec<Observation>, Fault>,
) -> Result<Vec<Observation>, Fault> {
    let content = if is_protected { checked(record)? } else { record };
    let mut octets = Octets::reassembled("blood pressure record", content);
    let number = octets.u16("sequence number")?;
    let uuid = octets.u16("characteristic")?;
    let value = octets.bytes(octets.left(), "value")?;
    let mut observations = inner(uuid, value)?;
    for observation in &mut observations {
        observation.record = Some(number.into());
        observation.quality = observation.quality.with(Quality::STORED);
    }
    Ok(observations)
}

/// What the checksum protects, if it is right.
fn checked(record: &[u8]) -> Result<&[u8], Fault> {
    let Some((content, crc)) = record.split_last_chunk::<2>() else {
        let detail = format!("blood pressure record ends in its E2E-CRC: {} of 2 octets", record.len());
        return Err(Fault::new(FaultKind::Malformed, detail));
    };
    if e2e_crc(content) != u16::from_le_bytes(*crc) {
        let detail = "the E2E-CRC of a blood pressure record does not match";
        return Err(Fault::new(FaultKind::Checksum, detail));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::ble::decode;

    /// A heart rate stands for the blood pressure that is another's to read.
    const RECORD: [u8; 6] = [0x34, 0x12, 0x37, 0x2A, 0x00, 0x48];

    fn protected(content: &[u8]) -> Vec<u8> {
        [content, &e2e_crc(content).to_le_bytes()].concat()
    }

    #[test]
    fn the_value_is_read_by_its_own_decoder_and_carries_the_record() {
        for (record, is_protected) in [(RECORD.to_vec(), false), (protected(&RECORD), true)] {
            let read = blood_pressure_record(&record, is_protected, |uuid, value| {
                assert_eq!((uuid, value), (0x2A37, &[0x00, 0x48][..]));
                decode(uuid, value)
            });
            let [only] = read.unwrap().try_into().unwrap();
            assert_eq!((only.record, only.quality), (Some(0x1234), Quality::STORED));
            assert_eq!(only.metric.code, 147_842);
        }
    }

    #[test]
    fn a_wrong_checksum_is_refused_before_the_value_is_read() {
        let whole = protected(&RECORD);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let read = blood_pressure_record(&damaged, true, |_, _| panic!("it was read"));
            assert_eq!(read.unwrap_err().kind, FaultKind::Checksum);
        }
        // A record without a checksum where one is announced is not taken for a shorter value either.
        let read = blood_pressure_record(&RECORD, true, |_, _| panic!("it was read"));
        assert_eq!(read.unwrap_err().kind, FaultKind::Checksum);
    }

    #[test]
    fn a_record_that_is_cut_names_what_is_missing() {
        for (length, says) in [(0, "sequence number"), (1, "sequence number"), (3, "characteristic")] {
            let fault = blood_pressure_record(&RECORD[..length], false, decode).unwrap_err();
            assert!(fault.detail.contains(says), "{fault}");
        }
        let fault = blood_pressure_record(&RECORD[..1], true, decode).unwrap_err();
        assert!(fault.detail.contains("E2E-CRC"), "{fault}");
        assert_eq!(
            blood_pressure_record(&RECORD[..4], false, decode).unwrap_err().kind,
            FaultKind::Malformed
        );
    }
}
