//! The status codes of a line: which are alarms, and what they say against the values.
//!
//! Sources: facts 2.3; the meanings of the codes from mdpnp `nellcor-n595.spec`. No priority is stated.

use super::line::Data;
use crate::device::alarms::{Level, Raised};
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::Metric;
use crate::device::observation::{Priority, Quality};

/// The codes that are alarms.
static ALARMS: [(&str, &Metric, &str); 9] = [
    ("LB", &mdc::EVT_BATT_LO, "battery low"),
    ("LM", &mdc::EVT_ALARM, "loss of pulse with interference"),
    ("LP", &mdc::EVT_ALARM, "loss of pulse"),
    ("PH", &mdc::EVT_ALARM, "pulse rate above its limit"),
    ("PL", &mdc::EVT_ALARM, "pulse rate below its limit"),
    ("SD", &mdc::EVT_ALARM, "sensor disconnected"),
    ("SH", &mdc::EVT_ALARM, "SpO2 above its limit"),
    ("SL", &mdc::EVT_ALARM, "SpO2 below its limit"),
    ("SO", &mdc::EVT_ALARM, "sensor off"),
];

/// What the codes say against the values.
const QUALITIES: [(&str, Quality); 6] = [
    ("LM", Quality::POOR_SIGNAL),
    ("LP", Quality::POOR_SIGNAL),
    ("MO", Quality::POOR_SIGNAL),
    ("PS", Quality::QUESTIONABLE),
    ("SD", Quality::SENSOR),
    ("SO", Quality::SENSOR),
];

/// A value that is marked as beyond its limits, while no code says which: the marked value, the codes that
/// would, the key of an alarm of its own.
const MARKS: [(usize, [&str; 2], &str, &str); 2] = [
    (0, ["SH", "SL"], "SPO2*", "SpO2 beyond its limits"),
    (1, ["PH", "PL"], "BPM*", "pulse rate beyond its limits"),
];

/// What the codes of a line say against its values.
pub(super) fn quality(codes: &[&str]) -> Quality {
    let said = QUALITIES.iter().filter(|(code, _)| codes.contains(code));
    said.fold(Quality::GOOD, |all, (_, quality)| all.with(*quality))
}

/// Every alarm that a line says is on.
pub(super) fn level(data: &Data) -> Level {
    let has = |code: &str| data.codes.contains(&code);
    // Somebody has silenced the alarm, or switched its sound off.
    let is_silenced = has("AS") || has("AO");
    let raised = |metric, words: &str| Raised {
        metric,
        priority: Priority::Unstated,
        text: words.to_owned(),
        is_silenced,
    };
    let coded = ALARMS.iter().filter(|(code, ..)| has(code));
    let coded = coded.map(|(code, metric, words)| ((*code).to_owned(), raised(metric, words)));
    let marked = MARKS.iter().filter(|(place, [high, low], ..)| {
        data.values.get(*place).is_some_and(|reading| reading.is_beyond) && !has(high) && !has(low)
    });
    let marked = marked.map(|(.., key, words)| ((*key).to_owned(), raised(&mdc::EVT_ALARM, words)));
    coded.chain(marked).collect()
}
