//! What a person writes in `[[line_driver]]`, key by key. Nothing here is required and nothing is judged:
//! that is [`judge`](RawDescription::judge)'s, so that one run can name everything that is wrong. Unknown keys are
//! refused here.

use serde::Deserialize;

/// `[[line_driver]]`: a device that nobody wrote a driver for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDescription {
    /// What the site calls it: the device's entry has `driver = "site:<name>"`.
    pub name: Option<String>,
    /// The maker and model, for a person.
    pub title: Option<String>,
    /// `monitor` or `therapy`.
    pub class: Option<String>,
    /// Bits per second.
    pub baud: Option<i64>,
    /// 7 or 8.
    pub data_bits: Option<i64>,
    /// `none`, `even` or `odd`.
    pub parity: Option<String>,
    /// 1 or 2.
    pub stop_bits: Option<i64>,
    /// How many seconds a device that is well may say nothing.
    pub quiet: Option<i64>,
    /// How a line begins and ends.
    pub frame: Option<RawFrame>,
    /// That the polls change nothing at the device, said by who wrote them.
    pub polls_change_nothing: Option<bool>,
    /// What is sent.
    pub poll: Option<Vec<RawPoll>>,
    /// Beginnings of lines that say nothing.
    pub ignore: Option<Vec<String>>,
    /// The forms of lines.
    pub line: Option<Vec<RawLine>>,
}

/// How a line begins and ends.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFrame {
    /// The character that begins a line, if one does, for instance `"\u0002"`.
    pub start: Option<String>,
    /// The characters of which each ends a line, for instance `"\r\n"`.
    pub ends: Option<String>,
    /// The longest line, in characters, its end left out.
    pub longest: Option<i64>,
    /// `none`, `xor` or `sum`: two hex digits at the end of the line.
    pub checksum: Option<String>,
    /// Whether the checksum counts the start character.
    pub checksum_counts_start: Option<bool>,
}

/// Something that is sent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPoll {
    /// What, character for character, its end included.
    pub text: Option<String>,
    /// How many seconds from one time to the next.
    pub every: Option<i64>,
}

/// One form of line.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLine {
    /// How the line begins; empty or left out for the only form of line.
    pub starts: Option<String>,
    /// `separator`, `pairs` or `columns`.
    pub split: Option<String>,
    /// The character between two pieces.
    pub separator: Option<String>,
    /// The character between a key and its value.
    pub equals: Option<String>,
    /// How many pieces there are, no more and no less.
    pub pieces: Option<i64>,
    /// What stands in it.
    pub field: Option<Vec<RawField>>,
}

/// A value of a line.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawField {
    /// The number of its piece, from 1.
    pub at: Option<i64>,
    /// Its key.
    pub key: Option<String>,
    /// Its first and its last column, from 1.
    pub columns: Option<Vec<i64>>,
    /// That it is the device's serial number.
    pub serial: Option<bool>,
    /// The reference id of what it is, for instance `MDC_TEMP`.
    pub metric: Option<String>,
    /// The unit's symbol or UCUM code; left out for a plain number and for words.
    pub unit: Option<String>,
    /// `measurement`, `setting` or `state`.
    pub kind: Option<String>,
    /// Which of several like parts of the device; 0 when there is one.
    pub channel: Option<i64>,
    /// The words that it can be, where it is no number.
    pub words: Option<Vec<String>>,
    /// The power of ten: -1 for a device that writes tenths as whole numbers.
    pub shift: Option<i64>,
    /// What stands behind the value, for instance `%`.
    pub suffix: Option<String>,
    /// What stands for no value.
    pub absent: Option<Vec<String>>,
    /// Whether a line without it is a line all the same.
    pub optional: Option<bool>,
}
