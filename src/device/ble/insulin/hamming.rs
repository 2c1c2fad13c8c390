//! The Hamming codes of the service, and what they stand for in words.
//!
//! Every enumeration of the service takes its numbers from a set in which any two differ in four bits at
//! least (Insulin Delivery Service 1.0.2: what is not of the set is "Prohibited" and must be discarded).
//! The set itself is not written out in the facts at hand. All numbers that are known of it (0F, 33, 3C, 55,
//! ..., 03FC, 0F55, 148D) are of the extended Hamming code: an even count of bits, the places of which add
//! up to nothing without carry. That the rest of the set is the rest of this code is an inference. Zero,
//! which no enumeration uses, counts as prohibited.

use crate::device::ble::octets::Octets;
use crate::device::{Fault, FaultKind};

/// Whether a number is of the set.
pub(super) fn is_allowed(number: u16) -> bool {
    let places = (0..16u32).filter(|place| number >> place & 1 == 1);
    number != 0 && number.count_ones().is_multiple_of(2) && places.fold(0, |sum, place| sum ^ place) == 0
}

/// What the numbers of an enumeration mean.
pub(super) type Words = &'static [(u16, &'static str)];

/// Reads one octet of an enumeration in words; a number of the set without a meaning keeps its number.
pub(super) fn word(octets: &mut Octets<'_>, field: &'static str, words: Words) -> Result<String, Fault> {
    let number = code(octets, field)?;
    Ok(named(words, number.into()).map_or_else(|| format!("unknown 0x{number:02X}"), str::to_owned))
}

/// Reads one octet that must be of the set.
pub(super) fn code(octets: &mut Octets<'_>, field: &'static str) -> Result<u8, Fault> {
    let number = octets.u8(field)?;
    if is_allowed(number.into()) { Ok(number) } else { Err(prohibited(field, number.into())) }
}

/// The word of a number.
pub(super) fn named(words: Words, number: u16) -> Option<&'static str> {
    words.iter().find(|(known, _)| *known == number).map(|(_, word)| *word)
}

/// The fault of a number that is not of the set.
pub(super) fn prohibited(field: &str, number: u16) -> Fault {
    Fault::new(FaultKind::Malformed, format!("its {field} is prohibited: 0x{number:02X}"))
}

/// Therapy Control State.
pub(super) const THERAPY: Words = &[(0x0F, "undetermined"), (0x33, "stop"), (0x3C, "pause"), (0x55, "run")];

/// Operational State.
pub(super) const OPERATIONAL: Words = &[
    (0x0F, "undetermined"),
    (0x33, "off"),
    (0x3C, "standby"),
    (0x55, "preparing"),
    (0x5A, "priming"),
    (0x66, "waiting"),
    (0x96, "ready"),
];

/// Annunciation Status.
pub(super) const ANNUNCIATION_STATUS: Words =
    &[(0x0F, "undetermined"), (0x33, "pending"), (0x3C, "snoozed"), (0x55, "confirmed")];

/// Recording Reason of a reference time.
pub(super) const RECORDING_REASON: Words =
    &[(0x0F, "undetermined"), (0x33, "set"), (0x3C, "periodic"), (0x55, "clock lost")];

/// Bolus Type.
pub(super) const BOLUS_TYPE: Words =
    &[(0x0F, "undetermined"), (0x33, "fast"), (0x3C, "extended"), (0x55, "multiwave")];

/// Bolus Activation Type.
pub(super) const BOLUS_ACTIVATION: Words = &[
    (0x0F, "undetermined"),
    (0x33, "manual"),
    (0x3C, "recommended"),
    (0x55, "recommended, changed by hand"),
    (0x5A, "commanded"),
];

/// Why a bolus, or a temporary basal rate, ended.
pub(super) const END_REASON: Words =
    &[(0x0F, "undetermined"), (0x33, "delivered"), (0x3C, "cancelled"), (0x55, "error")];

/// Why priming ended.
pub(super) const PRIMING_END: Words =
    &[(0x0F, "undetermined"), (0x33, "aborted by the user"), (0x3C, "amount reached"), (0x55, "error")];

/// Basal Delivery Context.
pub(super) const BASAL_CONTEXT: Words =
    &[(0x0F, "undetermined"), (0x33, "device"), (0x3C, "remote control"), (0x55, "closed loop")];

/// TBR Type.
pub(super) const TBR_TYPE: Words = &[(0x0F, "undetermined"), (0x33, "absolute"), (0x3C, "relative")];

/// Profile Template Type.
pub(super) const PROFILE_TYPE: Words = &[
    (0x0F, "undetermined"),
    (0x33, "basal rate"),
    (0x3C, "insulin sensitivity"),
    (0x55, "carbohydrate ratio"),
    (0x5A, "target glucose"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Every number that the facts name, of every enumeration of the service.
    const KNOWN: [u16; 47] = [
        0x000F, 0x0033, 0x003C, 0x0055, 0x005A, 0x0066, 0x0069, 0x0096, 0x0099, 0x00A5, 0x00AA, 0x00C3,
        0x00CC, 0x00F0, 0x00FF, 0x0303, 0x030C, 0x0330, 0x033F, 0x0356, 0x0359, 0x0365, 0x036A, 0x0395,
        0x039A, 0x03A6, 0x03A9, 0x03C0, 0x03CF, 0x03F3, 0x03FC, 0x0F55, 0x148D, 0x0F, 0x33, 0x3C, 0x55, 0x5A,
        0x66, 0x69, 0x96, 0x99, 0xA5, 0xAA, 0xC3, 0xCC, 0xF0,
    ];

    #[test]
    fn the_set_holds_all_known_numbers_and_any_two_differ_in_four_bits() {
        assert!(KNOWN.iter().all(|number| is_allowed(*number)));
        let set: Vec<u16> = (0..=0x3FF).filter(|number| is_allowed(*number)).collect();
        assert_eq!(set.len(), 31, "the known numbers below 0x0400 are all that there are");
        for (at, one) in set.iter().enumerate() {
            assert!(set[at + 1..].iter().all(|other| (one ^ other).count_ones() >= 4));
        }
        for number in &set {
            for bit in 0..16 {
                assert!(!is_allowed(number ^ 1 << bit), "a flipped bit of {number:04X} is not noticed");
            }
        }
        assert!(!is_allowed(0));
    }
}
