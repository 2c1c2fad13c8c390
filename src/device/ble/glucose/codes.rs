//! The codes of a glucose meter. Private ones: `0x0400_1301` to `0x0400_1303`.
//!
//! The others are 11073 terms (10417, glucose meter) as two open implementations have them, with reference ids
//! from memory where the name does not follow from the specification's own words.

#![allow(unreachable_pub, dead_code, reason = "the table of rows is made for every use of it")]

use crate::device::nomenclature::{
    CONC_GLU_ARTERIAL_PLASMA, CONC_GLU_ARTERIAL_WHOLEBLOOD, CONC_GLU_CAPILLARY_PLASMA,
    CONC_GLU_CAPILLARY_WHOLEBLOOD, CONC_GLU_CONTROL, CONC_GLU_ISF, CONC_GLU_UNDETERMINED_PLASMA,
    CONC_GLU_UNDETERMINED_WHOLEBLOOD, CONC_GLU_VENOUS_PLASMA, CONC_GLU_VENOUS_WHOLEBLOOD, Metric, rows,
};
pub(super) use crate::device::nomenclature::{
    CONC_HBA1C as HBA1C, CTXT_GLU_CARB as CARBOHYDRATE, CTXT_GLU_HEALTH as HEALTH, CTXT_GLU_MEAL as MEAL,
    CTXT_GLU_SAMPLELOCATION as SAMPLE_LOCATION, CTXT_GLU_TESTER as TESTER, CTXT_MEDICATION as MEDICATION,
    GLU_METER_DEV_STATUS as METER_STATUS,
};
use crate::device::observation::Value;

rows! { Metric CODES:
    /// How long the exercise was.
    EXERCISE_DURATION = { code: 67_113_729, reference: "GLUCOSE_EXERCISE_DURATION", label: "duration of exercise", loinc: None, plausible: None };
    /// How hard the exercise was.
    EXERCISE_INTENSITY = { code: 67_113_730, reference: "GLUCOSE_EXERCISE_INTENSITY", label: "intensity of exercise", loinc: None, plausible: None };
    /// What a meter measured that is not glucose, or not known to be.
    NOT_GLUCOSE = { code: 67_113_731, reference: "GLUCOSE_OTHER_RESULT", label: "result that is not known to be glucose", loinc: None, plausible: None };
}

/// By the type of the sample, 1 first.
pub(super) static TYPES: [&Metric; 10] = [
    &CONC_GLU_CAPILLARY_WHOLEBLOOD,
    &CONC_GLU_CAPILLARY_PLASMA,
    &CONC_GLU_VENOUS_WHOLEBLOOD,
    &CONC_GLU_VENOUS_PLASMA,
    &CONC_GLU_ARTERIAL_WHOLEBLOOD,
    &CONC_GLU_ARTERIAL_PLASMA,
    &CONC_GLU_UNDETERMINED_WHOLEBLOOD,
    &CONC_GLU_UNDETERMINED_PLASMA,
    &CONC_GLU_ISF,
    &CONC_GLU_CONTROL,
];

/// The meal of records that are not of glucose (`CareSens`; reserved in the specification).
pub(super) const MEAL_OF_OTHERS: u8 = 6;

type Words = &'static [(u8, &'static str)];

pub(super) const LOCATIONS: Words =
    &[(1, "finger"), (2, "alternate site"), (3, "ear lobe"), (4, "control solution"), (15, "not available")];
pub(super) const MEALS: Words =
    &[(1, "before meal"), (2, "after meal"), (3, "fasting"), (4, "casual"), (5, "bedtime")];
pub(super) const TESTERS: Words =
    &[(1, "self"), (2, "health care professional"), (3, "laboratory"), (15, "not available")];
pub(super) const HEALTHS: Words = &[
    (1, "minor issues"),
    (2, "major issues"),
    (3, "during menses"),
    (4, "under stress"),
    (5, "no issues"),
    (15, "not available"),
];

/// A number of an enumeration as a word.
pub(super) fn word(number: u8, words: Words) -> Value {
    let known = words.iter().find(|(known, _)| *known == number);
    Value::Text(known.map_or_else(|| format!("reserved {number}"), |(_, word)| (*word).to_owned()))
}
