//! What the codes of measured data and settings mean: metric and unit.
//!
//! Facts: the code lists of mdpnp (`devices/draeger`, `types/*.map`) and of `VSCaptureDrgVent` (which adds
//! those of MEDIBUS.X): names and units only. Where the two disagree, [`Profile`] decides. Left out on
//! purpose: what describes the patient rather than the treatment (age, height, weighing), and the inner
//! goals of Smart Care and Smart Ventilation Control ([`is_left_out`]).

use super::measured::CODEPAGE_1;
use super::values::{CODEPAGE_2, SETTINGS};
use crate::device::nomenclature::{Metric, Unit};

/// Which list of codes a device follows where they disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// Both lists say the same, or one alone says anything.
    Both,
    /// MEDIBUS: Evita 4, Evita XL, Apollo, Primus, Fabius.
    Classic,
    /// MEDIBUS.X: V500 and later.
    Extended,
}

/// A list of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Page {
    /// Measured data, code page 1 (command 24).
    Measured1,
    /// Measured data, code page 2 (command 2B).
    Measured2,
    /// Settings (command 29).
    Settings,
    /// Text messages (command 2A).
    Texts,
    /// Alarms, code page 1 (command 27).
    Alarms1,
    /// Alarms, code page 2 (command 2E).
    Alarms2,
}

impl Page {
    /// In words, for a fault.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Measured1 => "measured data, code page 1",
            Self::Measured2 => "measured data, code page 2",
            Self::Settings => "settings",
            Self::Texts => "text messages",
            Self::Alarms1 => "alarms, code page 1",
            Self::Alarms2 => "alarms, code page 2",
        }
    }
}

/// What a code means.
#[derive(Debug)]
pub(super) struct Row {
    code: u8,
    profile: Profile,
    pub(super) metric: &'static Metric,
    pub(super) unit: &'static Unit,
    /// 1 for the second of two anaesthetic agents.
    pub(super) channel: u8,
}

pub(super) const fn row(code: u8, metric: &'static Metric, unit: &'static Unit) -> Row {
    Row { code, profile: Profile::Both, metric, unit, channel: 0 }
}

pub(super) const fn second(code: u8, metric: &'static Metric, unit: &'static Unit) -> Row {
    Row { code, profile: Profile::Both, metric, unit, channel: 1 }
}

pub(super) const fn only(profile: Profile, code: u8, metric: &'static Metric, unit: &'static Unit) -> Row {
    Row { code, profile, metric, unit, channel: 0 }
}

/// What a code of measured data or of a setting means.
pub(super) fn find(page: Page, profile: Profile, code: u8) -> Option<&'static Row> {
    let table: &[Row] = match page {
        Page::Measured1 => &CODEPAGE_1,
        Page::Measured2 => &CODEPAGE_2,
        Page::Settings => &SETTINGS,
        Page::Texts | Page::Alarms1 | Page::Alarms2 => &[],
    };
    table.iter().find(|row| row.code == code && (row.profile == Profile::Both || row.profile == profile))
}

/// Whether a code is known and not passed on.
pub(super) fn is_left_out(page: Page, code: u8) -> bool {
    match page {
        // Phototherapy, light, noise, weighing.
        Page::Measured1 => matches!(code, 0xA2 | 0xA3 | 0xE4 | 0xEC | 0xF2 | 0xF3 | 0xFA),
        Page::Measured2 => matches!(code, 0x1A..=0x1F | 0x28 | 0x3C..=0x51),
        // Age, ideal weight, height, Smart Care, Smart Ventilation Control.
        Page::Settings => {
            matches!(code, 0x4A | 0x6F | 0x74..=0x76 | 0x79 | 0x7A | 0x7E..=0x83 | 0x88 | 0x8A..=0x8C)
        }
        Page::Texts | Page::Alarms1 | Page::Alarms2 => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_code_of_a_page_has_two_meanings_in_one_profile() {
        for (page, table) in [
            (Page::Measured1, &CODEPAGE_1[..]),
            (Page::Measured2, &CODEPAGE_2[..]),
            (Page::Settings, &SETTINGS[..]),
        ] {
            for profile in [Profile::Classic, Profile::Extended] {
                let of = |row: &&Row| row.profile == Profile::Both || row.profile == profile;
                let codes: Vec<u8> = table.iter().filter(of).map(|row| row.code).collect();
                assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len(), "{page:?}");
                assert!(codes.iter().all(|code| !is_left_out(page, *code)), "{page:?}");
            }
        }
    }

    #[test]
    fn everything_in_the_tables_is_among_what_the_driver_reads() {
        for row in CODEPAGE_1.iter().chain(&CODEPAGE_2).chain(&SETTINGS) {
            assert!(super::super::metrics::READS.contains(&row.metric), "{:02X}", row.code);
        }
    }

    /// Every code of `types/*.map` of mdpnp.
    #[test]
    fn every_public_code_of_medibus_is_known() {
        const MEASURED: &str = "050607080 90B505152535455565758595A5B5C5D646B7172737478797A7D8182888 98A8BACADAEAFB0\
             B1B2B4B5B7B8B9BDC1C4C9D5D6D7D9DADBDFE1E3E5E6E9EAEBEDEEEFF0F4F5F6F7F8F9FBFCFF";
        const SET: &str = "01020405070809 0A0B0C0D0E0F1011121315161727292E2F42454A4B";
        for (page, codes) in
            [(Page::Measured1, MEASURED), (Page::Measured2, "000607212223 7D7B"), (Page::Settings, SET)]
        {
            let digits: Vec<u32> = codes.chars().filter_map(|c| c.to_digit(16)).collect();
            for pair in digits.chunks(2) {
                let code = u8::try_from(pair[0] * 16 + pair[1]).unwrap();
                let is_known = find(page, Profile::Classic, code).is_some() || is_left_out(page, code);
                assert!(is_known, "{page:?} {code:02X}");
            }
        }
    }
}
