//! The alarm channels of the CIE interface: what each means.
//!
//! In: the values of the extended alarm channels (`SDADE`): 0 off, 1 on, 2 on and silenced. Out: the
//! level of all alarms. The words are ours, after the manual's table (65 43 388, alarm channels); the
//! interface states no urgency for a single alarm. The summary channels 498 and 499 say nothing that
//! the others do not and are not read.

use crate::device::alarms::{Level, Raised};
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::Metric;
use crate::device::observation::Priority;

/// An alarm channel.
pub(super) struct Row {
    /// Its number.
    pub(super) number: u16,
    metric: &'static Metric,
    words: &'static str,
}

const fn row(number: u16, metric: &'static Metric, words: &'static str) -> Row {
    Row { number, metric, words }
}

/// Every alarm channel that is read.
pub(super) static TABLE: [Row; 36] = [
    row(400, &mdc::EVT_ALARM, "oxygen concentration high"),
    row(401, &mdc::EVT_VENT_CONC_O2_DELIV_LO, "oxygen concentration low"),
    row(402, &mdc::EVT_ALARM, "end-tidal CO2 out of limits (402)"),
    row(403, &mdc::EVT_ALARM, "end-tidal CO2 out of limits (403)"),
    row(410, &mdc::EVT_ALARM, "airway pressure"),
    row(411, &mdc::EVT_ALARM, "minute volume"),
    row(412, &mdc::EVT_APNEA, "apnea, or backup ventilation"),
    row(413, &mdc::EVT_SUPPLY_PROB, "gas supply"),
    row(414, &mdc::EVT_BATT_PROB, "battery"),
    row(416, &mdc::EVT_POWER_PROB, "power"),
    row(417, &mdc::EVT_ELEC_PWR_LINE_PROB, "mains"),
    row(422, &mdc::EVT_ALARM, "barometer"),
    row(423, &mdc::EVT_ALARM, "high continuous pressure"),
    row(424, &mdc::EVT_ALARM, "overrange"),
    row(425, &mdc::EVT_SENSOR_PROB, "oxygen cell"),
    row(426, &mdc::EVT_ALARM, "internal communication"),
    row(430, &mdc::EVT_ALARM, "standby for more than two minutes"),
    row(431, &mdc::EVT_ALARM, "no patient effort"),
    row(432, &mdc::EVT_VENT_BREATHING_SYS_LEAK, "leakage"),
    row(433, &mdc::EVT_ALARM, "tubing"),
    row(434, &mdc::EVT_ALARM, "regulation limited"),
    row(435, &mdc::EVT_ALARM, "respiratory rate out of limits (435)"),
    row(436, &mdc::EVT_ALARM, "respiratory rate out of limits (436)"),
    row(437, &mdc::EVT_ALARM, "PEEP out of limits (437)"),
    row(438, &mdc::EVT_ALARM, "PEEP out of limits (438)"),
    row(439, &mdc::EVT_ALARM, "CPAP out of limits (439)"),
    row(440, &mdc::EVT_ALARM, "CPAP out of limits (440)"),
    row(444, &mdc::EVT_ALARM, "heliox, catheter or leakage (444)"),
    row(445, &mdc::EVT_ALARM, "heliox, catheter or leakage (445)"),
    row(446, &mdc::EVT_ALARM, "heliox, catheter or leakage (446)"),
    row(447, &mdc::EVT_ALARM, "heliox, catheter or leakage (447)"),
    row(448, &mdc::EVT_ALARM, "heliox, catheter or leakage (448)"),
    row(449, &mdc::EVT_ALARM, "heliox, catheter or leakage (449)"),
    row(450, &mdc::EVT_ALARM, "heliox, catheter or leakage (450)"),
    row(451, &mdc::EVT_ALARM, "heliox, catheter or leakage (451)"),
    row(452, &mdc::EVT_ALARM, "heliox, catheter or leakage (452)"),
];

/// The level that these values of these channels make. `None` when a value is none of an alarm; a
/// missing one is off.
pub(super) fn level(values: &[(u16, Option<i64>)]) -> Option<Level> {
    let mut level = Level::new();
    for (number, value) in values {
        let is_silenced = match value {
            None | Some(0) => continue,
            Some(1) => false,
            Some(2) => true,
            Some(_) => return None,
        };
        if matches!(number, 498 | 499) {
            continue;
        }
        let known = TABLE.iter().find(|row| row.number == *number);
        let (metric, text) =
            known.map_or((&mdc::EVT_ALARM, "alarm without a description"), |row| (row.metric, row.words));
        let raised = Raised { metric, priority: Priority::Unstated, text: text.to_owned(), is_silenced };
        level.insert(number.to_string(), raised);
    }
    Some(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_is_silenced_and_a_summary_is_no_alarm() {
        let level = level(&[
            (410, Some(1)),
            (411, Some(2)),
            (412, Some(0)),
            (413, None),
            (498, Some(1)),
            (499, Some(1)),
        ])
        .unwrap();
        let on: Vec<(&str, bool)> =
            level.iter().map(|(code, raised)| (code.as_str(), raised.is_silenced)).collect();
        assert_eq!(on, [("410", false), ("411", true)]);
    }

    #[test]
    fn no_other_value_is_an_alarm() {
        assert_eq!(level(&[(410, Some(3))]), None);
        assert_eq!(level(&[(410, Some(-1))]), None);
    }

    #[test]
    fn the_table_has_room_in_a_definition_and_no_channel_twice() {
        assert!(TABLE.len() <= 50 && TABLE.is_sorted_by(|one, next| one.number < next.number));
    }
}
