//! The alarms of the Asena pumps: what each code means.
//!
//! In: the codes that a reply to `ALARM` holds. Out: everything that is on.
//!
//! The protocol gives codes only. The words are ours, after the names of the codes; the priority is
//! ours too, by what becomes of the infusion: high when it stops or may have stopped, medium when it
//! goes on otherwise than ordered or soon will stop, low for the rest. The MDC event code is given
//! where one says the same.

use crate::device::alarms::{Level, Raised};
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::Metric;
use crate::device::observation::Priority;
use crate::device::serial::text;

/// The code for "no alarm".
const NONE: &str = "AL_NOALM";

struct Row {
    code: &'static str,
    metric: &'static Metric,
    words: &'static str,
    priority: Priority,
}

const fn row(code: &'static str, metric: &'static Metric, priority: Priority, words: &'static str) -> Row {
    Row { code, metric, words, priority }
}

use Priority::{High, Low, Medium};

static TABLE: [Row; 22] = [
    row("AL_ACDIS", &mdc::EVT_ALARM, Low, "mains disconnected, on battery"),
    row("AL_CALLB", &mdc::EVT_ALARM, Medium, "attention: left unattended (call back)"),
    row("AL_COMTO", &mdc::EVT_ALARM, Medium, "remote communication timed out"),
    row("AL_LDSCN", &mdc::EVT_ALARM, High, "line disconnected"),
    row("AL_DRDIS", &mdc::EVT_ALARM, High, "drive disengaged"),
    row("AL_EMBAT", &mdc::EVT_BATT_LO, High, "battery empty"),
    row("AL_EOIKV", &mdc::EVT_PUMP_DELIV_COMP, Medium, "end of infusion, keeping the vein open"),
    row("AL_EOIST", &mdc::EVT_PUMP_DELIV_COMP, High, "end of infusion, stopped"),
    row("AL_FAULT", &mdc::EVT_ALARM, High, "internal malfunction"),
    row("AL_LBTAC", &mdc::EVT_BATT_LO, Low, "battery low, on mains"),
    row("AL_LWBAT", &mdc::EVT_BATT_LO, Medium, "battery low"),
    row("AL_OCCLU", &mdc::EVT_OCCL, High, "occlusion"),
    row("AL_NEOIN", &mdc::EVT_VOL_INFUS_NEAR_COMP, Low, "near end of infusion"),
    row("AL_PRDSC", &mdc::EVT_ALARM, Medium, "pressure transducer disconnected"),
    row("AL_RHIGH", &mdc::EVT_ALARM, Medium, "rate too high"),
    row("AL_SYRCO", &mdc::EVT_ALARM, High, "check syringe"),
    row("AL_TCITG", &mdc::EVT_ALARM, Medium, "target-controlled infusion (TCITG)"),
    row("AL_TITCA", &mdc::EVT_ALARM, Low, "titration (TITCA)"),
    row("AL_TITNC", &mdc::EVT_ALARM, Low, "titration not confirmed (TITNC)"),
    row("AL_VTBIC", &mdc::EVT_PUMP_VOL_TBI_COMP, Low, "volume complete, infusion continues"),
    row("AL_VTBIK", &mdc::EVT_PUMP_VOL_TBI_COMP, Medium, "volume complete, keeping the vein open"),
    row("AL_VTBIS", &mdc::EVT_PUMP_VOL_TBI_COMP, High, "volume complete, stopped"),
];

/// Reads the fields of `ALARM`: a code and two more fields, blank as far as is known; whatever else stands
/// there goes with the words of each alarm. `None` when there is no code.
pub(super) fn read_level(fields: &[String]) -> Option<Level> {
    let mut rest = fields.iter().skip(1).map(|field| field.trim());
    let first = rest.next().filter(|code| !code.is_empty())?;
    let (more, notes): (Vec<&str>, Vec<&str>) =
        rest.filter(|field| !field.is_empty()).partition(|field| field.starts_with("AL_"));
    let codes = more.into_iter().chain([first]).filter(|code| *code != NONE);
    let note = notes.join(" ");
    Some(codes.map(|code| (text(code), raised(code, &note))).collect())
}

fn raised(code: &str, note: &str) -> Raised {
    let known = TABLE.iter().find(|row| row.code == code);
    let (metric, priority) =
        known.map_or((&mdc::EVT_ALARM, Priority::Unstated), |row| (row.metric, row.priority));
    let words = known.map_or("alarm without a description", |row| row.words);
    let words = if note.is_empty() { words.to_owned() } else { format!("{words}: {note}") };
    Raised { metric, priority, text: text(&words), is_silenced: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every code that the protocol has, besides [`NONE`].
    const CODES: [&str; 22] = [
        "AL_ACDIS", "AL_CALLB", "AL_COMTO", "AL_LDSCN", "AL_DRDIS", "AL_EMBAT", "AL_EOIKV", "AL_EOIST",
        "AL_FAULT", "AL_LBTAC", "AL_LWBAT", "AL_OCCLU", "AL_NEOIN", "AL_PRDSC", "AL_RHIGH", "AL_SYRCO",
        "AL_TCITG", "AL_TITCA", "AL_TITNC", "AL_VTBIC", "AL_VTBIK", "AL_VTBIS",
    ];

    #[test]
    fn every_code_of_the_protocol_has_words_and_a_priority() {
        for code in CODES {
            let level = read_level(&["ALARM", code, " ", " "].map(str::to_owned)).unwrap();
            assert_ne!(level[code].priority, Priority::Unstated, "{code}");
            assert_ne!(level[code].text, "alarm without a description", "{code}");
        }
        let table: BTreeSet<&str> = TABLE.iter().map(|row| row.code).collect();
        assert_eq!(table, BTreeSet::from(CODES));
    }

    #[test]
    fn an_unknown_code_is_passed_on() {
        let level = read_level(&["ALARM", "AL_NEWER", "see display", ""].map(str::to_owned)).unwrap();
        assert_eq!(level["AL_NEWER"].metric, &mdc::EVT_ALARM);
        assert_eq!(level["AL_NEWER"].text, "alarm without a description: see display");
    }
}
