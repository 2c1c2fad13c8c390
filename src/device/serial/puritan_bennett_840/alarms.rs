//! The alarm fields of a report: which alarm each is, and what is on.
//!
//! In: a whole report and what was on before. Out: the level. `NORMAL` and `RESET` (somebody or the
//! ventilator itself has ended it) are off. `MISCA` says `ALARM`, without an urgency; `MISCF` says `LOW`,
//! `MEDIUM` or `HIGH`. The key of an alarm is our name for it, the same in both reports, so that an alarm
//! does not begin again when the driver has to ask for the other report.

use super::wire::{Form, Report};
use crate::device::FaultKind;
use crate::device::alarms::{Level, Raised};
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::Metric;
use crate::device::observation::Priority;
use crate::device::serial::Faults;

/// An alarm and the fields that tell of it.
struct Row {
    key: &'static str,
    words: &'static str,
    /// Its fields in `MISCA`: it is on when one of them says so.
    short: &'static [usize],
    /// Its field in `MISCF`; 0 where that has none.
    full: usize,
}

const fn row(key: &'static str, short: &'static [usize], full: usize, words: &'static str) -> Row {
    Row { key, words, short, full }
}

/// Sources: mdpnp `pb840.fields` and `pb840.cpp`. The technical malfunctions A5 to A85 follow in
/// [`malfunction`].
static ROWS: [Row; 33] = [
    row("APNEA", &[57, 94], 106, "apnea ventilation"),
    row("HIGH_MINUTE_VOL", &[], 107, "high exhaled minute volume"),
    row("HIGH_TIDAL_VOL", &[], 108, "high exhaled tidal volume"),
    row("HIGH_O2", &[], 109, "high O2"),
    row("HIGH_PRESS", &[48], 110, "high inspiratory pressure"),
    row("HIGH_VENT_PRESS", &[], 111, "high ventilator pressure"),
    row("HIGH_RESP_RATE", &[53], 112, "high respiratory rate"),
    row("AC_POWER_LOSS", &[], 113, "AC power loss"),
    row("BATTERY_INOP", &[], 114, "inoperative battery"),
    row("BATTERY_LOW", &[], 115, "low battery"),
    row("POWER_LOSS", &[], 116, "loss of power"),
    row("LOW_MAND_TIDAL_VOL", &[], 117, "low exhaled mandatory tidal volume"),
    row("LOW_MINUTE_VOL", &[52], 118, "low exhaled minute volume"),
    row("LOW_SPONT_TIDAL_VOL", &[], 119, "low exhaled spontaneous tidal volume"),
    row("LOW_TIDAL_VOL", &[51], 0, "low exhaled tidal volume"),
    row("LOW_O2", &[], 120, "low O2"),
    row("NO_AIR", &[55], 121, "low air supply pressure"),
    row("NO_O2", &[54], 122, "low O2 supply pressure"),
    row("COMPRESSOR_INOP", &[], 123, "compressor inoperative"),
    row("DISCONNECT", &[], 124, "disconnect"),
    row("OCCLUSION", &[], 125, "severe occlusion"),
    row("OCCLUSION_OR_DISCONNECT", &[95], 0, "severe occlusion or disconnect"),
    row("INSP_TOO_LONG", &[], 126, "inspiration too long"),
    row("PROCEDURE_ERROR", &[], 127, "procedure error"),
    row("COMPLIANCE_LIMITED_VOL", &[], 128, "tidal volume limited by compliance"),
    row("HIGH_INSP_SPONT_VOL", &[], 129, "high inspired spontaneous tidal volume"),
    row("HIGH_INSP_MAND_VOL", &[], 130, "high inspired mandatory tidal volume"),
    row("HIGH_COMP_LIMIT", &[], 131, "high compensation limit"),
    row("PAV_STARTUP", &[], 132, "PAV startup too long"),
    row("PAV_NOT_ASSESSED", &[], 133, "PAV R and C not assessed"),
    row("VOL_NOT_DELIVERED_VC", &[], 134, "volume not delivered (VC+)"),
    row("VOL_NOT_DELIVERED_VS", &[], 135, "volume not delivered (VS)"),
    row("LOW_PRESS", &[], 136, "low inspiratory pressure"),
];

/// The first and the last field of the technical malfunctions: A5 stands in the first, each next one
/// is 5 more.
const MALFUNCTIONS: (usize, usize) = (137, 153);

/// What the fields of a ventilator mean where models differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// The fields of the 840.
    Pb840,
    /// The fields of the 980, which one public client knows to differ in 153 and 160.
    Pb980,
}

/// Everything that is on. A field with a word that is not known leaves its alarm as it was.
pub(super) fn level(report: &Report, variant: Variant, before: &Level, faults: &mut Faults) -> Level {
    let silence = match report.form {
        Form::Short => report.field(93),
        Form::Full => report.field(105),
    };
    let is_silenced = silence.trim() == "ON";
    let mut level = Level::new();
    for (key, words, number) in fields(report.form, variant) {
        match state(report.field(number)) {
            State::Off => {}
            State::On(priority) => {
                let raised = Raised { metric: metric(&key), priority, text: words, is_silenced };
                level.insert(key, raised);
            }
            State::Unknown => {
                faults
                    .add(FaultKind::Malformed, format!("alarm field {number} says a word that is not known"));
                if let Some(raised) = before.get(&key) {
                    level.insert(key, raised.clone());
                }
            }
        }
    }
    level
}

/// The alarm fields of a report: key, words, number.
fn fields(form: Form, variant: Variant) -> Vec<(String, String, usize)> {
    let named = ROWS.iter().flat_map(|row| {
        let numbers: Vec<usize> = match form {
            Form::Short => row.short.to_vec(),
            Form::Full if row.full > 0 => vec![row.full],
            Form::Full => Vec::new(),
        };
        numbers.into_iter().map(|number| (row.key.to_owned(), row.words.to_owned(), number))
    });
    let mut fields: Vec<_> = named.collect();
    if form == Form::Full {
        fields.extend((MALFUNCTIONS.0..=MALFUNCTIONS.1).map(|number| malfunction(number, variant)));
        if variant == Variant::Pb980 {
            fields.push(("PROX_INOP".to_owned(), "proximal flow sensor inoperative".to_owned(), 160));
        }
    }
    fields
}

fn malfunction(number: usize, variant: Variant) -> (String, String, usize) {
    if variant == Variant::Pb980 && number == MALFUNCTIONS.1 {
        return ("HIGH_ETCO2".to_owned(), "high end-tidal CO2".to_owned(), number);
    }
    let code = 5 * (number.saturating_sub(MALFUNCTIONS.0) + 1);
    (format!("MALFUNCTION_A{code}"), format!("technical malfunction A{code}"), number)
}

fn metric(key: &str) -> &'static Metric {
    match key {
        "BATTERY_LOW" => &mdc::EVT_BATT_LO,
        "OCCLUSION" => &mdc::EVT_OCCL,
        _ => &mdc::EVT_ALARM,
    }
}

enum State {
    Off,
    On(Priority),
    Unknown,
}

fn state(field: &str) -> State {
    match field.trim() {
        "" | "NORMAL" | "RESET" => State::Off,
        "ALARM" => State::On(Priority::Unstated),
        "LOW" => State::On(Priority::Low),
        "MEDIUM" => State::On(Priority::Medium),
        "HIGH" => State::On(Priority::High),
        _ => State::Unknown,
    }
}
