//! The alarm codes of the Plum A+, and what each means.
//!
//! The protocol gives a code, with `R` or `r` before it while the pump sounds; no urgency. One code itself
//! begins with R (`RL`), so a code that is known as it stands is taken as it stands. The words are ours, after
//! the facts page (PROTOCOLS.md 1.3); the MDC event code is given where one says the same.

use crate::device::alarms::{Level, Raised};
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::Metric;
use crate::device::observation::Priority;
use crate::device::serial::text;

/// The code for "no alarm".
const NONE: &str = "OK";

/// The code of a pump that sounds although it names no alarm.
const SOUNDING: &str = "SOUNDING";

/// Every code, what it is, in words.
static TABLE: [(&str, &Metric, &str); 34] = [
    ("AD1", &mdc::EVT_FLUID_LINE_AIR, "air in the line, distal"),
    ("ADB", &mdc::EVT_FLUID_LINE_AIR, "air in the line, distal, one bubble"),
    ("ADC", &mdc::EVT_FLUID_LINE_AIR, "air in the line, distal, added up"),
    ("AP1", &mdc::EVT_FLUID_LINE_AIR, "air in the line, proximal"),
    ("APA", &mdc::EVT_FLUID_LINE_AIR, "air in the line, proximal, line A"),
    ("APB", &mdc::EVT_FLUID_LINE_AIR, "air in the line, proximal, line B"),
    ("APT", &mdc::EVT_FLUID_LINE_AIR, "air in the line, proximal, in all"),
    ("BDP", &mdc::EVT_BATT_LO, "battery depleted"),
    ("BPR", &mdc::EVT_ALARM, "backpriming"),
    ("CHK", &mdc::EVT_ALARM, "check the settings"),
    ("CS1", &mdc::EVT_ALARM, "cassette or its valves failed"),
    ("DCO1", &mdc::EVT_ALARM, "door open"),
    ("DE1", &mdc::EVT_PUMP_DELIV_COMP, "end of the dose, line 1"),
    ("DE2", &mdc::EVT_PUMP_DELIV_COMP, "end of the dose, line 2"),
    ("DTL", &mdc::EVT_ALARM, "dial turned while locked"),
    ("FDF", &mdc::EVT_ALARM, "flow detector unplugged while pumping"),
    ("FDT", &mdc::EVT_ALARM, "flow detector plugged in while pumping"),
    ("FLF", &mdc::EVT_ALARM, "no flow at the flow detector"),
    ("LCK", &mdc::EVT_ALARM, "locked"),
    ("LOV", &mdc::EVT_ALARM, "somebody tried while locked"),
    ("NAA", &mdc::EVT_ALARM, "nobody acts"),
    ("NC1", &mdc::EVT_ALARM, "call back, line 1"),
    ("NC2", &mdc::EVT_ALARM, "call back, line 2"),
    ("OBP", &mdc::EVT_OCCL, "proximal occlusion, secondary line"),
    ("OCP", &mdc::EVT_OCCL, "proximal occlusion"),
    ("OD1", &mdc::EVT_OCCL, "distal occlusion"),
    ("OP1", &mdc::EVT_OCCL, "proximal occlusion, line 1"),
    ("OP2", &mdc::EVT_OCCL, "proximal occlusion, line 2"),
    ("PR1", &mdc::EVT_ALARM, "pressure out of range"),
    ("RL", &mdc::EVT_ALARM, "idle, or reset for too long"),
    ("URC", &mdc::EVT_ALARM, "cassette not recognised"),
    ("VTB1", &mdc::EVT_PUMP_VOL_TBI_COMP, "volume complete, line 1"),
    ("VTB2", &mdc::EVT_PUMP_VOL_TBI_COMP, "volume complete, line 2"),
    ("MAL", &mdc::EVT_ALARM, "malfunction"),
];

/// What one reply says is on, and whether the pump sounds. `None` when there is no code.
pub(super) fn read(field: &str) -> Option<(Level, bool)> {
    let stated = field.trim();
    let (code, is_sounding) = match stated.strip_prefix(['R', 'r']) {
        Some(code) if row(stated).is_none() => (code, true),
        Some(_) | None => (stated, false),
    };
    if code.is_empty() {
        return None;
    }
    let mut level = Level::new();
    if code != NONE {
        let (metric, words) = row(code).unwrap_or((&mdc::EVT_ALARM, "alarm without a description"));
        level.insert(text(code), raised(metric, words));
    } else if is_sounding {
        level.insert(SOUNDING.to_owned(), raised(&mdc::EVT_ALARM, "the pump sounds and names no alarm"));
    }
    Some((level, is_sounding))
}

/// An alarm whose urgency the pump does not state.
pub(super) fn raised(metric: &'static Metric, words: &str) -> Raised {
    Raised { metric, priority: Priority::Unstated, text: words.to_owned(), is_silenced: false }
}

fn row(code: &str) -> Option<(&'static Metric, &'static str)> {
    let is_it = |known: &str| {
        let number = code.strip_prefix("MAL").filter(|_| known == "MAL");
        known == code || number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    TABLE.iter().find(|(known, ..)| is_it(known)).map(|(_, metric, words)| (*metric, *words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(field: &str) -> Option<(Vec<String>, bool)> {
        read(field).map(|(level, sounds)| (level.into_keys().collect(), sounds))
    }

    #[test]
    fn codes_stand_alone_or_behind_the_letter_of_a_sounding_pump() {
        for (code, ..) in TABLE {
            assert_eq!(on(code), Some((vec![code.to_owned()], false)));
            assert_eq!(on(&format!("R{code}")), Some((vec![code.to_owned()], true)));
            assert_eq!(on(&format!("r{code}")), Some((vec![code.to_owned()], true)));
        }
    }

    #[test]
    fn none_and_malfunctions_and_unknown_codes() {
        assert_eq!(on("OK"), Some((vec![], false)));
        assert_eq!(on("rOK"), Some((vec!["SOUNDING".to_owned()], true)));
        assert_eq!(on("MAL302"), Some((vec!["MAL302".to_owned()], false)));
        assert_eq!(read("RMAL302").unwrap().0["MAL302"].text, "malfunction");
        assert_eq!(on("NEW"), Some((vec!["NEW".to_owned()], false)));
        for empty in ["", " ", "R"] {
            assert_eq!(on(empty), None);
        }
    }
}
