//! The protection of messages from end to end: Features, checksums, counters.
//!
//! In: a value as it came. Out: what it says without checksum and counter, or a [`Fault`]. Insulin Delivery
//! Service 1.0.2: whether a pump protects its messages is bit 0 of its Features (2B23), which themselves begin
//! with checksum and counter (0xFFFF and 0 when unused). A history record (2B28) ends in its checksum; every
//! other value in a counter and the checksum. Each characteristic has a counter of its own, for each
//! direction: 1 first on every connection, then by one, 1 again after 255.

use std::collections::BTreeMap;

use crate::device::ble::octets::Octets;
use crate::device::observation::Value;
use crate::device::{Fault, FaultKind};
use crate::link::gatt::e2e_crc;

const PROTECTED: u32 = 1;
const BASAL_RATE: u32 = 1 << 1;
const ON_BOARD: u32 = 1 << 15;
/// In the third octet of flags, and in each after it: another octet follows.
const MORE: u8 = 1 << 7;

/// IDD Features.
#[derive(Clone, Debug)]
pub(super) struct Features {
    /// The insulin that the pump is made for, in IU/mL.
    pub(super) concentration: Value,
    /// The first 24 flags.
    pub(super) flags: u32,
}

impl Features {
    /// Reads and checks a value of 2B23; gives its counter besides, if it is in use.
    pub(super) fn read(value: &[u8]) -> Result<(Self, Option<u8>), Fault> {
        let mut octets = Octets::new("IDD features", value)?;
        let crc = octets.u16("checksum")?;
        let counter = octets.u8("counter")?;
        let concentration = octets.sfloat("insulin concentration")?;
        let flags = octets.u24("flags")?;
        let [_, _, third, _] = flags.to_le_bytes();
        let mut last = third;
        while last & MORE != 0 {
            last = octets.u8("further flags")?;
        }
        ended("IDD features", &octets)?;
        let is_protected = flags & PROTECTED != 0;
        let expected = if is_protected { e2e_crc(value.get(2..).unwrap_or_default()) } else { 0xFFFF };
        if crc != expected {
            return Err(wrong_checksum("IDD features"));
        }
        Ok((Self { concentration, flags }, is_protected.then_some(counter)))
    }

    pub(super) const fn is_protected(&self) -> bool {
        self.flags & PROTECTED != 0
    }

    pub(super) const fn has_basal_rate(&self) -> bool {
        self.flags & BASAL_RATE != 0
    }

    pub(super) const fn has_on_board(&self) -> bool {
        self.flags & ON_BOARD != 0
    }
}

/// The counters that came, by characteristic.
#[derive(Debug, Default)]
pub(super) struct Counters(BTreeMap<u16, u8>);

impl Counters {
    /// Takes the counter of one message. `Ok(Some(..))` tells of messages that were lost before it; a message
    /// that came before is refused, and so is one that lies behind the last: it says what was before.
    pub(super) fn take(&mut self, of: u16, counter: u8) -> Result<Option<Fault>, Fault> {
        let before = self.0.get(&of).copied();
        let left_out =
            |why: String| Err(Fault::new(FaultKind::Unexpected, format!("{of:04X} {why}: left out")));
        if before == Some(counter) {
            return left_out(format!("repeats its message {counter}"));
        }
        if let Some(before) = before.filter(|before| is_behind(counter, *before)) {
            return left_out(format!("gives message {counter}, which comes late, behind {before}"));
        }
        self.0.insert(of, counter);
        let expected = next(before.unwrap_or(0));
        Ok((counter != expected).then(|| {
            let detail = format!("{of:04X} goes on with message {counter}, not {expected}: some were lost");
            Fault::new(FaultKind::Unexpected, detail)
        }))
    }
}

/// The counters of what is written to one characteristic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::device::ble) struct Sent(u8);

impl Sent {
    /// The counter of the next message.
    pub(in crate::device::ble) fn count(&mut self) -> u8 {
        self.0 = next(self.0);
        self.0
    }
}

/// Whether a counter lies behind the last one: by less than half of the 255 that there are.
fn is_behind(counter: u8, last: u8) -> bool {
    let ahead = (u16::from(counter) + 255 - u16::from(last)) % 255;
    ahead > 127
}

/// 1 after 255, and at the beginning.
const fn next(counter: u8) -> u8 {
    if counter == u8::MAX { 1 } else { counter + 1 }
}

/// Takes a checksum off the end.
pub(super) fn without_crc<'a>(what: &'static str, value: &'a [u8]) -> Result<&'a [u8], Fault> {
    let Some((rest, crc)) = value.split_last_chunk::<2>() else {
        return Err(Fault::new(FaultKind::Malformed, format!("{what} is too short for its checksum")));
    };
    if u16::from_le_bytes(*crc) == e2e_crc(rest) { Ok(rest) } else { Err(wrong_checksum(what)) }
}

/// Takes a counter and a checksum off the end.
pub(super) fn without_counter<'a>(what: &'static str, value: &'a [u8]) -> Result<(&'a [u8], u8), Fault> {
    let Some((counter, rest)) = without_crc(what, value)?.split_last() else {
        return Err(Fault::new(FaultKind::Malformed, format!("{what} is too short for its counter")));
    };
    Ok((rest, *counter))
}

/// Nothing may follow what a value is known to hold: its length is given by its flags.
pub(super) fn ended(what: &str, octets: &Octets<'_>) -> Result<(), Fault> {
    if octets.is_empty() {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Malformed, format!("{what} goes on after its end")))
}

fn wrong_checksum(what: &str) -> Fault {
    Fault::new(FaultKind::Checksum, format!("the checksum of {what} is wrong"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_begin_at_one_skip_zero_and_are_kept_apart() {
        let mut sent = Sent::default();
        let all: Vec<u8> = (0..257).map(|_| sent.count()).collect();
        assert_eq!((all[0], all[1], all[254], all[255], all[256]), (1, 2, 255, 1, 2));
        assert!(!all.contains(&0));

        let mut counters = Counters::default();
        for counter in &all {
            assert_eq!(counters.take(0x2B21, *counter), Ok(None));
            assert_eq!(counters.take(0x2B22, *counter), Ok(None));
        }
    }

    #[test]
    fn a_gap_is_told_and_a_repetition_refused() {
        let mut counters = Counters::default();
        assert!(counters.take(1, 2).unwrap().is_some(), "the first of a connection is 1");
        assert_eq!(counters.take(1, 3), Ok(None));
        assert_eq!(counters.take(1, 3).unwrap_err().kind, FaultKind::Unexpected);
        assert_eq!(counters.take(1, 4), Ok(None));
        let lost = counters.take(1, 6).unwrap().unwrap();
        assert_eq!(lost.detail, "0001 goes on with message 6, not 5: some were lost");
        assert_eq!(counters.take(1, 7), Ok(None));
        // What lies behind is old, and nothing is lost by it.
        for old in [6, 5, 1, 254, 255] {
            assert!(counters.take(1, old).unwrap_err().detail.contains("comes late"), "{old}");
        }
        assert!(counters.take(1, 0).is_err());
        assert!(
            Counters::default().take(1, 0).unwrap().is_some(),
            "a first one is taken, whatever it counts"
        );
        assert_eq!(counters.take(1, 8), Ok(None));
        assert!(counters.take(1, 8 + 127).unwrap().is_some(), "as far ahead as can be told from behind");
        assert!(counters.take(1, 8).is_err(), "one more would be ahead");
        let mut over = Counters::default();
        assert!(over.take(1, 254).unwrap().is_some());
        assert!(over.take(1, 2).unwrap().is_some());
        assert!(over.take(1, 255).is_err(), "behind the turn");
        assert_eq!(over.take(1, 3), Ok(None));
    }
}
