//! The alarm codes of MEDIBUS: words for where the device sends none, and the event that says the same.
//!
//! Facts: mdpnp `types/alarm-message-cp*.map`, `VSCaptureDrgVent`, and (F3, FF, code page 2: 67, D0) the lists of
//! wokai/xenon. The device itself says how urgent an alarm is and calls it by a phrase; both come first. A code
//! whose meaning MEDIBUS and MEDIBUS.X give differently has no words here.

use crate::device::nomenclature as mdc;
use crate::device::nomenclature::Metric;

/// What an alarm code means.
#[derive(Debug)]
pub(super) struct Row {
    code: u8,
    pub(super) metric: &'static Metric,
    /// Empty where the two lists disagree.
    pub(super) words: &'static str,
}

const fn row(code: u8, metric: &'static Metric, words: &'static str) -> Row {
    Row { code, metric, words }
}

/// What a code of code page 1 (`false`) or 2 means.
pub(super) fn find(is_second_page: bool, code: u8) -> Option<&'static Row> {
    let table: &[Row] = if is_second_page { &CODEPAGE_2 } else { &CODEPAGE_1 };
    table.iter().find(|row| row.code == code)
}

/// Whether a code is in one of the public lists.
pub(super) fn is_known(is_second_page: bool, code: u8) -> bool {
    let more: &[u8] = if is_second_page { &MORE_2 } else { &MORE_1 };
    find(is_second_page, code).is_some() || more.contains(&code)
}

static CODEPAGE_1: [Row; 96] = [
    row(0x00, &mdc::EVT_APNEA, "apnoea"),
    row(0x01, &mdc::EVT_ALARM, "no SpO2 pulse"),
    row(0x02, &mdc::EVT_ALARM, "SpO2 pulse low"),
    row(0x07, &mdc::EVT_ALARM, "SpO2 low"),
    row(0x08, &mdc::EVT_ALARM, "inspiratory O2 low"),
    row(0x09, &mdc::EVT_ALARM, "inspiratory halothane high"),
    row(0x0B, &mdc::EVT_ALARM, "inspiratory enflurane high"),
    row(0x0C, &mdc::EVT_ALARM, "inspiratory isoflurane high"),
    row(0x0D, &mdc::EVT_APNEA, "apnoea, no CO2 fluctuation"),
    row(0x0E, &mdc::EVT_APNEA, "apnoea, no volume exhaled"),
    row(0x0F, &mdc::EVT_APNEA, "apnoea, no pressure"),
    row(0x10, &mdc::EVT_PRESS_HI_GT_LIM, "airway pressure high"),
    row(0x11, &mdc::EVT_ALARM, "check the gas supply"),
    row(0x12, &mdc::EVT_MED_GAS_SUPPLY_LO, "check the air supply"),
    row(0x13, &mdc::EVT_O2_SUPPLY_LO, "check the O2 supply"),
    row(0x19, &mdc::EVT_ALARM, "minute volume low"),
    row(0x1E, &mdc::EVT_ALARM, "SpO2 pulse high"),
    row(0x1F, &mdc::EVT_ALARM, "inspiratory sevoflurane high"),
    row(0x22, &mdc::EVT_ALARM, "SpO2 high"),
    row(0x24, &mdc::EVT_ALARM, "inspiratory desflurane high"),
    row(0x27, &mdc::EVT_ALARM, "end-tidal CO2 low"),
    row(0x28, &mdc::EVT_ALARM, "end-tidal CO2 high"),
    row(0x29, &mdc::EVT_ALARM, "inspiratory halothane low"),
    row(0x2A, &mdc::EVT_ALARM, "inspiratory enflurane low"),
    row(0x2B, &mdc::EVT_ALARM, "inspiratory isoflurane low"),
    row(0x2C, &mdc::EVT_ALARM, "inspiratory desflurane low"),
    row(0x32, &mdc::EVT_ALARM, "inspiratory sevoflurane low"),
    row(0x33, &mdc::EVT_ALARM, "volume not constant"),
    row(0x35, &mdc::EVT_SENSOR_DISCONN, "SpO2 sensor disconnected or faulty"),
    row(0x37, &mdc::EVT_ALARM, "inspiratory O2 high"),
    row(0x3A, &mdc::EVT_ALARM, "pressure support ended by time"),
    row(0x3C, &mdc::EVT_ALARM, "inspiratory CO2 high"),
    row(0x3D, &mdc::EVT_VENT_CO2_SENSOR_LINE_OBSTRUC, "CO2 sample line blocked"),
    row(0x40, &mdc::EVT_ALARM, ""),
    row(0x42, &mdc::EVT_ALARM, "check the flow sensor"),
    row(0x4B, &mdc::EVT_BATT_LO, "battery low"),
    row(0x57, &mdc::EVT_ALARM, "CO2 alarm off"),
    row(0x5B, &mdc::EVT_ALARM, "oximeter alarm off"),
    row(0x5E, &mdc::EVT_ALARM, "volume alarm off"),
    row(0x63, &mdc::EVT_ALARM, ""),
    row(0x64, &mdc::EVT_CO2_WIND_OBSTRUC, "CO2 window occluded"),
    row(0x65, &mdc::EVT_ALARM, "speaker failed"),
    row(0x66, &mdc::EVT_ALARM, "mixed agents"),
    row(0x67, &mdc::EVT_ALARM, "gas monitor failed"),
    row(0x68, &mdc::EVT_ALARM, "oximeter failed"),
    row(0x69, &mdc::EVT_ALARM, "N2O measurement inoperable"),
    row(0x6A, &mdc::EVT_CO2_MSMT_FAIL, "CO2 measurement failed"),
    row(0x6E, &mdc::EVT_ALARM, "agent measurement inoperable"),
    row(0x78, &mdc::EVT_ALARM, "communication error on a serial port"),
    row(0x79, &mdc::EVT_ALARM, ""),
    row(0x7C, &mdc::EVT_ALARM, "internal communication error"),
    row(0x90, &mdc::EVT_ALARM, "respiratory rate high"),
    row(0x98, &mdc::EVT_APNEA, "apnoea"),
    row(0x9A, &mdc::EVT_VENT_DISCONN, "disconnection, airway pressure low"),
    row(0x9B, &mdc::EVT_ALARM, "minute volume high"),
    row(0x9F, &mdc::EVT_ALARM, "ventilator problem"),
    row(0xA0, &mdc::EVT_COMM_LOST, "communication with the ventilator lost"),
    row(0xA1, &mdc::EVT_ALARM, "inspiratory O2 measurement inoperable"),
    row(0xA3, &mdc::EVT_ALARM, "airway pressure negative"),
    row(0xA4, &mdc::EVT_VENT_VOL_MSMT_INOP, "volume measurement inoperable"),
    row(0xAC, &mdc::EVT_ALARM, "minute volume alarm off"),
    row(0xAD, &mdc::EVT_ALARM, "pressure measurement inoperable"),
    row(0xB0, &mdc::EVT_ALARM, "check the expiratory valve"),
    row(0xB7, &mdc::EVT_RESPIRATOR_TEMP_HI, "ventilator temperature too high"),
    row(0xB8, &mdc::EVT_ALARM, "airway temperature measurement inoperable"),
    row(0xB9, &mdc::EVT_ALARM, "check the airway temperature sensor"),
    row(0xBA, &mdc::EVT_VENT_TEMP_AWAY_HI, "airway temperature high"),
    row(0xBB, &mdc::EVT_ALARM, ""),
    row(0xBC, &mdc::EVT_VENT_BREATHING_SYS_VENTED, "breathing system open"),
    row(0xBD, &mdc::EVT_O2_SUPPLY_LO, "O2 supply low"),
    row(0xBE, &mdc::EVT_ALARM, "O2 measurement inoperable"),
    row(0xBF, &mdc::EVT_ALARM, ""),
    row(0xC0, &mdc::EVT_ALARM, "inspiratory O2 low"),
    row(0xC1, &mdc::EVT_ALARM, "flow measurement inoperable"),
    row(0xC2, &mdc::EVT_VENT_GAS_MIXER_INOP, "gas mixer inoperable"),
    row(0xC3, &mdc::EVT_ALARM, "volume limited by time"),
    row(0xC4, &mdc::EVT_ALARM, "volume limited by pressure"),
    row(0xC5, &mdc::EVT_ALARM, ""),
    row(0xC6, &mdc::EVT_ALARM, "synchronisation inoperable"),
    row(0xC7, &mdc::EVT_ALARM, "failed to cycle"),
    row(0xC8, &mdc::EVT_ALARM, "fresh gas delivery failed"),
    row(0xC9, &mdc::EVT_ALARM, "device temperature high"),
    row(0xCA, &mdc::EVT_ALARM, "fan failed"),
    row(0xD9, &mdc::EVT_SENSOR_DISCONN, "CO2 sensor disconnected or faulty"),
    row(0xDA, &mdc::EVT_ALARM, "PEEP high"),
    row(0xE8, &mdc::EVT_ALARM, "tidal volume high"),
    row(0xEA, &mdc::EVT_ALARM, "neonatal volume measurement inoperable"),
    row(0xED, &mdc::EVT_MED_GAS_SUPPLY_LO, "check the N2O supply"),
    row(0xEE, &mdc::EVT_ALARM, "two agents"),
    row(0xEF, &mdc::EVT_POWER_SUPPLY_PROB, "power failed"),
    row(0xF1, &mdc::EVT_ALARM, "check the setting of Pmax"),
    row(0xF3, &mdc::EVT_ALARM, "no fresh gas"),
    row(0xF4, &mdc::EVT_ALARM, "O2 safety flow open"),
    row(0xF7, &mdc::EVT_ALARM, "inspiratory CO2 alarm off"),
    row(0xF8, &mdc::EVT_ALARM, "pressure continuously high"),
    row(0xFF, &mdc::EVT_VENT_DISCONN, "ventilator disconnected"),
];

static CODEPAGE_2: [Row; 41] = [
    row(0x31, &mdc::EVT_ALARM, "O2 cylinder pressure low"),
    row(0x32, &mdc::EVT_ALARM, "O2 cylinder empty"),
    row(0x33, &mdc::EVT_ALARM, "O2 cylinder not connected"),
    row(0x34, &mdc::EVT_ALARM, "N2O cylinder empty"),
    row(0x35, &mdc::EVT_ALARM, "N2O delivery failed"),
    row(0x36, &mdc::EVT_ALARM, "O2 delivery failed"),
    row(0x37, &mdc::EVT_ALARM, "air delivery failed"),
    row(0x38, &mdc::EVT_ALARM, "set fresh gas flow not attained"),
    row(0x39, &mdc::EVT_ALARM, "fresh gas switch inoperable"),
    row(0x3A, &mdc::EVT_ALARM, "inspiratory N2O high"),
    row(0x67, &mdc::EVT_ALARM, "minute volume low alarm off"),
    row(0x6A, &mdc::EVT_ALARM, "circle or tube obstructed"),
    row(0x8D, &mdc::EVT_ALARM, "breathing system disconnected"),
    row(0x91, &mdc::EVT_ALARM, "loss of data"),
    row(0x93, &mdc::EVT_ALARM, "apnoea ventilation"),
    row(0x9C, &mdc::EVT_VENT_BREATHING_SYS_LEAK, "leakage"),
    row(0xA0, &mdc::EVT_ALARM, "ventilator not locked"),
    row(0xA1, &mdc::EVT_POWER_SUPPLY_PROB, "power supply problem"),
    row(0xA2, &mdc::EVT_ALARM, "expiratory halothane high"),
    row(0xA3, &mdc::EVT_ALARM, "expiratory enflurane high"),
    row(0xA4, &mdc::EVT_ALARM, "expiratory isoflurane high"),
    row(0xA5, &mdc::EVT_ALARM, "expiratory desflurane high"),
    row(0xA6, &mdc::EVT_ALARM, "expiratory sevoflurane high"),
    row(0xA7, &mdc::EVT_ALARM, "set tidal volume not attained"),
    row(0xA8, &mdc::EVT_ALARM, "inspiratory flow measurement inoperable"),
    row(0xA9, &mdc::EVT_ALARM, "setting cancelled"),
    row(0xAC, &mdc::EVT_ALARM, "fresh gas flow too high"),
    row(0xAD, &mdc::EVT_ALARM, "fresh gas flow active"),
    row(0xAF, &mdc::EVT_ALARM, "O2 cylinder open"),
    row(0xB0, &mdc::EVT_ALARM, "N2O cylinder open"),
    row(0xB1, &mdc::EVT_ALARM, "air cylinder open"),
    row(0xB2, &mdc::EVT_ALARM, "N2O cylinder sensor not connected"),
    row(0xB3, &mdc::EVT_ALARM, "air cylinder sensor not connected"),
    row(0xB4, &mdc::EVT_ALARM, "O2 cylinder sensor not connected"),
    row(0xB5, &mdc::EVT_ALARM, "air cylinder pressure low"),
    row(0xC7, &mdc::EVT_ALARM, "air fresh gas flow measurement inoperable"),
    row(0xC8, &mdc::EVT_ALARM, "O2 fresh gas flow measurement inoperable"),
    row(0xC9, &mdc::EVT_ALARM, "N2O fresh gas flow measurement inoperable"),
    row(0xCA, &mdc::EVT_MED_GAS_SUPPLY_LO, "no air supply"),
    row(0xCB, &mdc::EVT_MED_GAS_SUPPLY_LO, "no N2O supply"),
    row(0xD0, &mdc::EVT_ALARM, "pressure relief valve opened"),
];

/// Code page 1: what MEDIBUS.X has besides.
#[rustfmt::skip]
static MORE_1: [u8; 136] = [
    0x03, 0x04, 0x05, 0x06, 0x0A, 0x14, 0x15, 0x16, 0x17, 0x18, 0x1A, 0x1B, 0x1C, 0x1D, 0x20, 0x21, 0x23,
    0x25, 0x26, 0x2D, 0x2E, 0x2F, 0x30, 0x31, 0x36, 0x38, 0x39, 0x3B, 0x3E, 0x3F, 0x41, 0x43, 0x44, 0x45,
    0x46, 0x47, 0x48, 0x49, 0x4A, 0x4C, 0x4D, 0x4E, 0x4F, 0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x5A,
    0x5C, 0x60, 0x61, 0x62, 0x6B, 0x6C, 0x6F, 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x7A, 0x7B,
    0x7D, 0x7F, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8B, 0x8C, 0x92, 0x94,
    0x95, 0x96, 0x99, 0x9E, 0xA2, 0xA6, 0xA7, 0xA8, 0xA9, 0xAB, 0xAE, 0xAF, 0xB1, 0xB2, 0xB3, 0xB4, 0xB5,
    0xB6, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF, 0xD0, 0xD1, 0xD2, 0xD5, 0xD6, 0xD7, 0xD8, 0xDD, 0xDE, 0xDF, 0xE2,
    0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE9, 0xEB, 0xEC, 0xF0, 0xF2, 0xF5, 0xF6, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE,
];

/// Code page 2: what MEDIBUS.X has besides.
#[rustfmt::skip]
static MORE_2: [u8; 116] = [
    0x01, 0x03, 0x07, 0x0B, 0x0C, 0x0D, 0x10, 0x11, 0x12, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B,
    0x3B, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x50, 0x59, 0x5A, 0x5B, 0x5C, 0x5D, 0x66, 0x68, 0x6C, 0x6D,
    0x6E, 0x6F, 0x74, 0x75, 0x78, 0x7C, 0x7F, 0x90, 0x94, 0x95, 0x96, 0x98, 0x99, 0x9D, 0x9E, 0x9F, 0xAB,
    0xAE, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xBB, 0xBC, 0xBD, 0xBE, 0xBF, 0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC5,
    0xC6, 0xCC, 0xCD, 0xCE, 0xCF, 0xD1, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xDB, 0xDC,
    0xDD, 0xDE, 0xDF, 0xE0, 0xE1, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xEB, 0xEC, 0xED,
    0xEF, 0xF1, 0xF2, 0xF3, 0xF4, 0xF7, 0xF8, 0xF9, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_code_is_listed_twice() {
        for (table, more) in [(&CODEPAGE_1[..], &MORE_1[..]), (&CODEPAGE_2[..], &MORE_2[..])] {
            let codes: Vec<u8> = table.iter().map(|row| row.code).chain(more.iter().copied()).collect();
            assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
        }
    }
}
