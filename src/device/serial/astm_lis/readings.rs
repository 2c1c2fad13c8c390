//! From a result record to observations.
//!
//! In: an R record and what the records above it say. Out: what is passed on of it.
//!
//! Glucose in blood has standard codes and becomes a number with its unit. Any other test is known
//! by the analyser's own code alone, and a number without its test is dangerous: so test, value and
//! unit stay together in one text, `K=4.1 mmol/L`, as [`ASTM_RESULT`]. The same goes for what is no
//! number or has a unit that is not known.
//!
//! A value beyond what the analyser can measure (`>600`, or the flag `>`) is never the number 600:
//! it is absent, above or below the range, and the text beside it has the limit. Flags and states of
//! a result that say more than "normal" and "final" are texts too, with the test's name in each.
//!
//! Of a record whose end was cut off nobody knows what stood there: a flag, its state. What is left of
//! it is told as text, as preliminary and questionable, never as a number.
//!
//! Nothing of a result record is passed on but its test, value, unit, flags, state and time: the
//! operator's name stays behind.

use super::Setup;
use super::codes::{ASTM_ABNORMAL_FLAG, ASTM_COMMENT, ASTM_RESULT, ASTM_RESULT_STATUS};
use super::record::Record;
use crate::device::decimal::Decimal;
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit};
use crate::device::observation::{Absent, DeviceTime, Kind, Observation, Quality, Status, Value};
use crate::device::serial::{observation, text};
use crate::device::{Fault, FaultKind};

/// What analysers call glucose, and the LOINC codes of glucose in blood, serum and plasma.
const GLUCOSE: [&str; 8] = ["GLU", "GLUC", "GLUCOSE", "2339-0", "2345-7", "41653-7", "14749-6", "15074-8"];

/// The units in which glucose is understood.
const UNITS: [(&str, &Unit); 2] =
    [("mg/dL", &mdc::MILLIGRAM_PER_DECILITRE), ("mmol/L", &mdc::MILLIMOLE_PER_LITRE)];

/// What the records above a result say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// Against all results below: [`Quality::TEST`] for controls, training and debugging.
    pub(super) quality: Quality,
    /// Whether the specimen is blood, as far as is said.
    pub(super) is_blood: bool,
}

/// What one result record says.
#[derive(Debug)]
pub(super) struct Reading {
    /// The test, as it stands in the texts.
    pub(super) test: String,
    /// What is passed on.
    pub(super) observations: Vec<Observation>,
    /// What is wrong with it.
    pub(super) faults: Vec<Fault>,
}

/// Reads a result record.
pub(super) fn read(record: Record<'_>, context: Context, setup: &Setup) -> Reading {
    let result = Result::of(record, setup);
    let (status, against) =
        if record.is_cut() { (None, Quality::QUESTIONABLE) } else { state(&result.state) };
    let time = time(record);
    let mut frame =
        Frame { time, status: status.unwrap_or(Status::Preliminary), quality: context.quality.with(against) };
    let mut faults = Vec::new();
    if status.is_none() {
        let detail = if record.is_cut() {
            "a result record is too long: its beginning is told as text, preliminary and questionable"
        } else {
            "a result has a state that is not known: told as preliminary and questionable"
        };
        faults.push(Fault::new(FaultKind::Malformed, detail));
    }
    if result.test == UNNAMED {
        faults.push(Fault::new(FaultKind::Malformed, "a result does not say of which test it is"));
    }
    let may_be_glucose = context.is_blood && result.is_glucose && !record.is_cut();
    let metric = setup.glucose.filter(|_| may_be_glucose);
    // No flag of the standard; with glucose meters it marks a control (tidepool uploader, Contour).
    if result.is_glucose && result.has_flag("C") {
        frame.quality = frame.quality.with(Quality::TEST);
    }
    let (mut observations, needs_text) = match metric {
        Some(metric) => result.numbers(metric, frame, &mut faults),
        None => (Vec::new(), true),
    };
    if needs_text {
        observations.push(frame.text(&ASTM_RESULT, Kind::Measurement, &result.test, &result.amount()));
    }
    if result.flags.iter().any(|flag| flag != "N") {
        let flags = result.flags.join(" ");
        observations.push(frame.text(&ASTM_ABNORMAL_FLAG, Kind::State, &result.test, &flags));
    }
    if !["", "F", "P"].contains(&result.state.as_str()) {
        observations.push(frame.text(&ASTM_RESULT_STATUS, Kind::State, &result.test, &result.state));
    }
    Reading { test: result.test, observations, faults }
}

/// Where it stands when the test was completed, or else started. Contour meters write it where the state
/// should be (the tidepool uploader's driver of them shows such records).
pub(super) const TIMES: [usize; 3] = [13, 12, 9];

fn time(record: Record<'_>) -> Option<DeviceTime> {
    TIMES.into_iter().find_map(|number| record.time(number))
}

/// An analyser's remark on the result before it.
pub(super) fn comment(test: &str, words: &str, quality: Quality) -> Observation {
    let frame = Frame { time: None, status: Status::Final, quality };
    frame.text(&ASTM_COMMENT, Kind::State, test, words)
}

/// Stands for a test without a name.
const UNNAMED: &str = "?";

/// The fields of a result record that matter.
struct Result {
    test: String,
    is_glucose: bool,
    value: String,
    unit: String,
    /// The first component of the unit.
    unit_name: String,
    flags: Vec<String>,
    state: String,
}

impl Result {
    fn of(record: Record<'_>, setup: &Setup) -> Self {
        let parts = record.components(3);
        let is_named = parts.iter().any(|part| GLUCOSE.iter().any(|name| part.eq_ignore_ascii_case(name)));
        let is_other =
            |part: &String| ["URIN", "CSF"].iter().any(|word| part.to_ascii_uppercase().contains(word));
        let is_glucose = is_named && !parts.iter().any(is_other);
        let test = match setup.test_component.checked_sub(1) {
            None => record.whole(3),
            Some(place) => parts.into_iter().nth(place).unwrap_or_default(),
        };
        Self {
            test: if test.is_empty() { UNNAMED.to_owned() } else { short(&test, 112) },
            is_glucose,
            value: record.whole(4),
            unit: record.whole(5),
            unit_name: record.components(5).into_iter().next().unwrap_or_default(),
            flags: record
                .texts(7)
                .filter(|flag| !flag.is_empty())
                .take(8)
                .map(|flag| short(&flag, 24))
                .collect(),
            state: if record.time(9).is_some() { String::new() } else { short(&record.whole(9), 8) },
        }
    }

    /// Value and unit.
    fn amount(&self) -> String {
        let (value, unit) = (short(&self.value, 96), short(&self.unit, 32));
        if unit.is_empty() { value } else { format!("{value} {unit}") }
    }

    /// The result as a number, and whether it must be told as text beside that.
    fn numbers(
        &self,
        metric: &'static Metric,
        frame: Frame,
        faults: &mut Vec<Fault>,
    ) -> (Vec<Observation>, bool) {
        // Behind a `^` Contour meters say to what they are calibrated.
        let name = self.unit_name.as_str();
        let unit = UNITS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, unit)| *unit);
        if unit.is_none() && !self.value.is_empty() {
            let detail = "the unit of a glucose value is not known: it is told as text";
            faults.push(Fault::new(FaultKind::Malformed, detail));
        }
        let (value, needs_text) = if self.state == "X" {
            (Value::Absent(Absent::Error), true)
        } else if let Some(beyond) = self.beyond() {
            (Value::Absent(beyond), true)
        } else if self.value.is_empty() {
            (Value::Absent(Absent::Unknown), false)
        } else {
            match (self.value.parse::<Decimal>(), unit) {
                (Ok(number), Some(_)) => (Value::Decimal(number), false),
                (Ok(_) | Err(_), _) => return (Vec::new(), true),
            }
        };
        let unit = unit.unwrap_or(&mdc::DIMENSIONLESS);
        (vec![frame.wrap(observation(metric, value, unit, Kind::Measurement))], needs_text)
    }

    /// Whether a flag is set. Contour meters put several behind one another: `A/M0/T1`.
    fn has_flag(&self, sign: &str) -> bool {
        self.flags.iter().any(|flags| flags.split('/').any(|flag| flag == sign))
    }

    /// Whether the value lies beyond what the analyser measures.
    fn beyond(&self) -> Option<Absent> {
        let is_marked = |sign: &str| self.value.starts_with(sign) || self.has_flag(sign);
        if is_marked(">") {
            return Some(Absent::PositiveInfinity);
        }
        is_marked("<").then_some(Absent::NegativeInfinity)
    }
}

/// What all observations of a result have in common.
#[derive(Clone, Copy)]
struct Frame {
    time: Option<DeviceTime>,
    status: Status,
    quality: Quality,
}

impl Frame {
    fn wrap(self, said: Observation) -> Observation {
        Observation { device_time: self.time, status: self.status, quality: self.quality, ..said }
    }

    fn text(self, metric: &'static Metric, kind: Kind, test: &str, words: &str) -> Observation {
        let words = Value::Text(text(&format!("{test}={words}")));
        self.wrap(observation(metric, words, &mdc::DIMENSIONLESS, kind))
    }
}

/// The result status (LIS2-A2, field R-9): how final, and what it says against the value. `None`: not known.
fn state(letter: &str) -> (Option<Status>, Quality) {
    match letter {
        // Many analysers leave it empty. C corrects what was told before; its own text says so.
        "" | "F" | "C" | "V" | "Q" | "M" | "X" | "N" => (Some(Status::Final), Quality::GOOD),
        "P" | "I" | "S" => (Some(Status::Preliminary), Quality::GOOD),
        "R" => (Some(Status::Final), Quality::STORED),
        "W" => (Some(Status::Final), Quality::QUESTIONABLE),
        _ => (None, Quality::QUESTIONABLE),
    }
}

/// At most so many bytes, and a sign where something was cut.
fn short(words: &str, most: usize) -> String {
    if words.len() <= most {
        return words.to_owned();
    }
    let end = (0..=most).rev().find(|&at| words.is_char_boundary(at)).unwrap_or_default();
    format!("{}…", words.get(..end).unwrap_or_default())
}
