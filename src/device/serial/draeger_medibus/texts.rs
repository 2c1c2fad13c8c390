//! The text messages of MEDIBUS: the ventilation mode, and what else the device says of its state.
//!
//! In: the code and the device's own words (their language is the device's). Out: the mode and the rest, each
//! as one text. Facts: mdpnp `types/text-message.map`, `VSCaptureDrgVent`.
//!
//! What never happens: words of a code that names or describes the patient (60 and 61: first and last
//! name, 42 and 43: sex), or of a code that nobody knows, are kept; such a code may hold anything.

use std::collections::BTreeMap;

use super::codes::Profile;
use crate::device::observation::Quality;

/// What a text is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// How the patient is ventilated, standby included.
    Mode,
    /// Anything else about the device.
    State,
    /// The patient: dropped.
    Patient,
    /// Not in the public lists: dropped, its code told.
    Unknown,
}

/// What a code is about.
pub(super) const fn topic(code: u8) -> Topic {
    match code {
        0x42 | 0x43 | 0x60 | 0x61 => Topic::Patient,
        0x01
        | 0x02
        | 0x04..=0x0E
        | 0x11
        | 0x12
        | 0x18..=0x1B
        | 0x1E
        | 0x2B
        | 0x34..=0x36
        | 0x3E
        | 0x47
        | 0x54
        | 0x59..=0x5C
        | 0x5E
        | 0x69..=0x6B
        | 0x6D
        | 0x74
        | 0x75
        | 0x87
        | 0x8E => Topic::Mode,
        0x0F
        | 0x10
        | 0x13..=0x16
        | 0x1C
        | 0x1D
        | 0x20..=0x2A
        | 0x2C
        | 0x37
        | 0x38
        | 0x3A..=0x3D
        | 0x45
        | 0x48..=0x51
        | 0x53
        | 0x55..=0x58
        | 0x5D
        | 0x5F
        | 0x62..=0x65
        | 0x67
        | 0x68
        | 0x6C
        | 0x6E..=0x73
        | 0x76..=0x86
        | 0x88..=0x8D
        | 0x8F..=0x92
        | 0x9F..=0xA9 => Topic::State,
        _ => Topic::Unknown,
    }
}

/// The mode's usual name, for a device that sends the code alone.
const fn usual(code: u8) -> &'static str {
    match code {
        0x01 => "IPPV",
        0x02 => "IPPV assist",
        0x04 => "CPPV",
        0x05 => "CPPV assist",
        0x06 => "SIMV",
        0x07 => "SIMV/ASB",
        0x08 => "SB",
        0x09 => "ASB",
        0x0A => "CPAP",
        0x0B => "CPAP/ASB",
        0x0C => "MMV",
        0x0D => "MMV/ASB",
        0x0E => "BIPAP",
        0x18 => "BIPAP/SIMV",
        0x19 => "BIPAP/SIMV/ASB",
        0x1A => "APRV",
        0x1E | 0x54 => "standby",
        0x2B => "manual/spontaneous",
        _ => "",
    }
}

/// What the messages say against all values of the moment: a simulation (62), or a test of the device
/// (53: leakage; 12 with MEDIBUS.X: product test).
pub(super) fn quality(texts: &BTreeMap<u8, String>, profile: Profile) -> Quality {
    let is_test = texts.contains_key(&0x53) || (profile == Profile::Extended && texts.contains_key(&0x12));
    let test = if is_test { Quality::TEST } else { Quality::GOOD };
    if texts.contains_key(&0x62) { test.with(Quality::DEMONSTRATION) } else { test }
}

/// The device's words of one topic, in the order of their codes.
pub(super) fn joined(texts: &BTreeMap<u8, String>, of: Topic) -> String {
    let words = texts.iter().filter(|(code, _)| topic(**code) == of).map(|(code, words)| {
        match (words.trim(), usual(*code)) {
            ("", "") => format!("{code:02X}"),
            ("", usual) => usual.to_owned(),
            (words, _) => words.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_stands_apart_and_the_patient_nowhere() {
        let texts =
            [(0x0E, "Modus BIPAP "), (0x20, "Erwachsene"), (0x61, "CANARY"), (0x1E, ""), (0x99, "CANARY")];
        let texts: BTreeMap<u8, String> = texts.map(|(code, words)| (code, words.to_owned())).into();
        assert_eq!(joined(&texts, Topic::Mode), "Modus BIPAP; standby");
        assert_eq!(joined(&texts, Topic::State), "Erwachsene");
    }

    #[test]
    fn a_simulation_and_a_test_are_said_against_the_values() {
        let texts = |codes: &[u8]| codes.iter().map(|code| (*code, String::new())).collect();
        assert_eq!(quality(&texts(&[0x0E, 0x12]), Profile::Classic), Quality::GOOD);
        assert_eq!(quality(&texts(&[0x12]), Profile::Extended), Quality::TEST);
        let both = Quality::TEST.with(Quality::DEMONSTRATION);
        assert_eq!(quality(&texts(&[0x53, 0x62]), Profile::Classic), both);
    }
}
