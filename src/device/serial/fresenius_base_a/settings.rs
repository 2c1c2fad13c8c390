//! What can be set: what the public facts leave open.

use crate::device::nomenclature as mdc;
use crate::device::nomenclature::Unit;
use crate::device::settings::{Setting, Settings, Values};

/// The letters that have no public meaning: pressure, syringe and time left may stand behind one.
const FREE_LETTERS: Values = Values::Word(&[
    "none", "c", "f", "g", "h", "j", "l", "n", "o", "p", "q", "t", "u", "v", "w", "x", "y", "z",
]);

/// The catalogue's rows.
pub(super) static SETTINGS: [Setting; 10] = [
    Setting {
        name: "identity",
        meaning: "where a module and the base state their serial number: `LN` is the identification that \
                  the command LN reads (somebody can have changed it at the base); a letter is the fixed \
                  variable that LF reads. Look into the protocol description of the base, \"fixed variables\"",
        values: Values::Word(&[
            "LN", "a", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
            "t", "u", "v", "w", "x", "y", "z",
        ]),
    },
    Setting {
        name: "alarm",
        meaning: "how the variable `a` is to be read: each of its bits an alarm, or the whole of it the \
                  number of one. The facts are not public: compare with the display while an alarm is on",
        values: Values::Word(&["bits", "code"]),
    },
    Setting {
        name: "bolus_scale",
        meaning: "the scale of bolus rate and volume is not public: `none` passes them on as sent, \
                  `as-infusion` takes them for 0.1 mL/h and 0.001 mL. Compare with the display during a bolus",
        values: Values::Word(&["none", "as-infusion"]),
    },
    Setting {
        name: "pressure_variable",
        meaning: "the letter of the variable that holds the pressure; it is not public. Look into the \
                  protocol description of the base",
        values: FREE_LETTERS,
    },
    Setting {
        name: "pressure_unit",
        meaning: "the unit of the pressure, as the module shows it",
        values: Values::Word(&["mmHg", "kPa", "mbar"]),
    },
    Setting {
        name: "pressure_decimals",
        meaning: "how many of the pressure's digits stand behind the point",
        values: Values::Number { least: 0, most: 3, default: 0 },
    },
    Setting {
        name: "remaining_variable",
        meaning: "the letter of the variable that holds the time until the infusion ends; it is not public",
        values: FREE_LETTERS,
    },
    Setting {
        name: "remaining_unit",
        meaning: "what the time left is counted in",
        values: Values::Word(&["s", "min"]),
    },
    Setting {
        name: "syringe_variable",
        meaning: "the letter of the variable that holds the syringe; it is not public, and passed on as sent",
        values: FREE_LETTERS,
    },
    Setting {
        name: "storm",
        meaning: "so many life signs asked for (ENQ) within one second mean that the base was switched on \
                  again, and everything on it has to say who it is",
        values: Values::Number { least: 3, most: 100, default: 8 },
    },
];

/// The settings, read.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    /// The fixed variable that is the serial number; `None`: what LN reads.
    pub(super) identity: Option<u8>,
    pub(super) are_alarms_bits: bool,
    pub(super) is_bolus_scaled: bool,
    pub(super) pressure: Option<u8>,
    pub(super) pressure_unit: &'static Unit,
    pub(super) pressure_decimals: i8,
    pub(super) remaining: Option<u8>,
    /// How many seconds one of the time left is.
    pub(super) remaining_seconds: u64,
    pub(super) syringe: Option<u8>,
    pub(super) storm: usize,
}

impl Mapping {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            identity: letter(settings.word("identity")),
            are_alarms_bits: settings.word("alarm") != "code",
            is_bolus_scaled: settings.word("bolus_scale") == "as-infusion",
            pressure: letter(settings.word("pressure_variable")),
            pressure_unit: match settings.word("pressure_unit") {
                "kPa" => &mdc::KILOPASCAL,
                "mbar" => &mdc::MILLIBAR,
                _ => &mdc::MMHG,
            },
            pressure_decimals: i8::try_from(settings.number("pressure_decimals")).unwrap_or_default(),
            remaining: letter(settings.word("remaining_variable")),
            remaining_seconds: if settings.word("remaining_unit") == "min" { 60 } else { 1 },
            syringe: letter(settings.word("syringe_variable")),
            storm: usize::try_from(settings.number("storm")).unwrap_or_default().max(3),
        }
    }

    /// The variables that a module is asked for: those of the facts page, and those that were set.
    pub(super) fn variables(&self) -> Vec<u8> {
        let mut letters = b"aemdrks".to_vec();
        for letter in [self.pressure, self.remaining, self.syringe].into_iter().flatten() {
            if !letters.contains(&letter) {
                letters.push(letter);
            }
        }
        letters
    }
}

fn letter(word: &str) -> Option<u8> {
    match word.as_bytes() {
        [letter] => Some(*letter),
        _ => None,
    }
}
