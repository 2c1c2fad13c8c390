//! IEEE 11073-10101 codes with their reference ids, UCUM units and LOINC codes.
//!
//! A code is partition times 65,536 plus term. Sources: the HL7 PHD implementation guide for what
//! FHIR carries beside MDC (LOINC), ISO/IEEE 11073-10101:2004 for the numbers. What has no standard
//! code gets one of the private partition 1024 and a reference id that starts with the maker's
//! name: such a code is ours, stable, and never reused.

/// A unit of measurement.
#[derive(Debug, PartialEq, Eq)]
pub struct Unit {
    /// 11073 code (partition 4); 0 when there is none.
    pub code: u32,
    /// UCUM code; `1` for a plain number.
    pub ucum: &'static str,
    /// As people write it.
    pub symbol: &'static str,
}

/// Something that can be observed.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// 11073 code.
    pub code: u32,
    /// 11073 reference id.
    pub reference: &'static str,
    /// In words, for a person.
    pub label: &'static str,
    /// LOINC code, where the element is a FHIR vital sign.
    pub loinc: Option<&'static str>,
    /// What is plausible, in the usual unit; outside it a value is flagged, not dropped.
    pub plausible: Option<(i32, i32)>,
}

/// One name for every row, and one table of all rows that cannot forget one.
macro_rules! rows {
    ($type:ident $table:ident: $($(#[$doc:meta])* $name:ident = $row:tt;)*) => {
        $($(#[$doc])* pub static $name: $type = $type $row;)*
        /// All rows, in the order in which they are written here.
        pub static $table: &[&$type] = &[$(&$name),*];
    };
}

rows! { Unit UNITS:
    /// A plain number, a word or a set of bits.
    DIMENSIONLESS = { code: 0, ucum: "1", symbol: "" };
    /// MDC_DIM_PERCENT.
    PERCENT = { code: 262_688, ucum: "%", symbol: "%" };
    /// MDC_DIM_BEAT_PER_MIN.
    PER_MINUTE = { code: 264_864, ucum: "/min", symbol: "/min" };
    /// MDC_DIM_MILLI_SEC.
    MILLISECOND = { code: 264_338, ucum: "ms", symbol: "ms" };
    /// MDC_DIM_SEC.
    SECOND = { code: 264_320, ucum: "s", symbol: "s" };
    /// MDC_DIM_MILLI_L.
    MILLILITRE = { code: 263_762, ucum: "mL", symbol: "mL" };
    /// MDC_DIM_MILLI_L_PER_HR.
    MILLILITRE_PER_HOUR = { code: 265_266, ucum: "mL/h", symbol: "mL/h" };
    /// MDC_DIM_MMHG.
    MMHG = { code: 266_016, ucum: "mm[Hg]", symbol: "mmHg" };
    /// MDC_DIM_KILO_PASCAL.
    KILOPASCAL = { code: 265_987, ucum: "kPa", symbol: "kPa" };
    /// `MDC_DIM_JOULES` (`4::3968`) with the prefix kilo.
    KILOJOULE = { code: 266_115, ucum: "kJ", symbol: "kJ" };
}

rows! { Metric METRICS:
    /// SpO2 from a pulse oximeter.
    SPO2 = { code: 150_456, reference: "MDC_PULS_OXIM_SAT_O2", label: "oxygen saturation", loinc: Some("2708-6"), plausible: Some((50, 100)) };
    /// Pulse rate from a pulse oximeter.
    PULSE_OXIM_RATE = { code: 149_530, reference: "MDC_PULS_OXIM_PULS_RATE", label: "pulse rate", loinc: Some("8867-4"), plausible: Some((20, 300)) };
    /// Perfusion index, relative.
    PERFUSION = { code: 150_448, reference: "MDC_PULS_OXIM_PERF_REL", label: "perfusion index", loinc: None, plausible: Some((0, 100)) };
    /// Heart rate from a chest belt or an ECG.
    HEART_RATE = { code: 147_842, reference: "MDC_ECG_HEART_RATE", label: "heart rate", loinc: Some("8867-4"), plausible: Some((20, 300)) };
    /// Infusion rate that the pump is set to deliver.
    FLOW_FLUID_PUMP = { code: 157_784, reference: "MDC_FLOW_FLUID_PUMP", label: "infusion rate", loinc: None, plausible: Some((0, 2_000)) };
    /// Volume to be infused.
    VOL_FLUID_TBI = { code: 157_884, reference: "MDC_VOL_FLUID_TBI", label: "volume to be infused", loinc: None, plausible: Some((0, 10_000)) };
    /// Volume infused.
    VOL_FLUID_DELIV = { code: 157_864, reference: "MDC_VOL_FLUID_DELIV", label: "volume infused", loinc: None, plausible: Some((0, 100_000)) };
    /// Line pressure at the pump.
    PRESS_FLUID_ACT = { code: 157_896, reference: "MDC_PRESS_FLUID_ACT", label: "line pressure", loinc: None, plausible: Some((-100, 2_000)) };
    /// Time until the infusion ends.
    TIME_PD_REMAIN = { code: 157_916, reference: "MDC_TIME_PD_REMAIN", label: "time left", loinc: None, plausible: None };
    /// The mode of the pump, in the pump's own word.
    PUMP_MODE = { code: 184_504, reference: "MDC_PUMP_MODE", label: "pump mode", loinc: None, plausible: None };
    /// The drug's name, as chosen at the pump.
    DRUG_NAME = { code: 184_330, reference: "MDC_DRUG_NAME_TYPE", label: "drug", loinc: None, plausible: None };
    /// An alarm that has no event code of its own; the device's code says which.
    EVT_ALARM = { code: 196_616, reference: "MDC_EVT_ALARM", label: "alarm", loinc: None, plausible: None };
    /// Occlusion.
    EVT_OCCL = { code: 196_688, reference: "MDC_EVT_OCCL", label: "occlusion", loinc: None, plausible: None };
    /// Battery low.
    EVT_BATT_LO = { code: 196_802, reference: "MDC_EVT_BATT_LO", label: "battery low", loinc: None, plausible: None };
    /// Communication with the device lost.
    EVT_COMM_LOST = { code: 196_748, reference: "MDC_EVT_COMM_LOST", label: "communication lost", loinc: None, plausible: None };
    /// Volume to be infused is complete.
    EVT_PUMP_VOL_TBI_COMP = { code: 197_194, reference: "MDC_EVT_PUMP_VOL_TBI_COMP", label: "volume complete", loinc: None, plausible: None };
    /// Time between two heart beats.
    RR_INTERVAL = { code: 147_240, reference: "MDC_ECG_TIME_PD_RR_GL", label: "RR interval", loinc: None, plausible: Some((200, 3_000)) };
    /// Energy expended since the device was reset (`129::119`).
    ENERGY_EXPENDED = { code: 8_454_263, reference: "MDC_HF_ENERGY", label: "energy expended", loinc: None, plausible: None };
    /// What a pulse oximeter says of itself and its sensor: the bits of 11073-10404.
    PULSE_OXIM_STATUS = { code: 150_604, reference: "MDC_PULS_OXIM_DEV_STATUS", label: "oximeter status", loinc: None, plausible: None };
}

/// The metric of a code.
pub fn metric(code: u32) -> Option<&'static Metric> {
    METRICS.iter().copied().find(|row| row.code == code)
}

/// The metric of a reference id.
pub fn metric_by_reference(reference: &str) -> Option<&'static Metric> {
    METRICS.iter().copied().find(|row| row.reference == reference)
}

/// The unit of an 11073 code.
pub fn unit(code: u32) -> Option<&'static Unit> {
    UNITS.iter().copied().find(|row| row.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_code_and_no_reference_id_is_given_twice() {
        let codes: BTreeSet<u32> = METRICS.iter().map(|row| row.code).collect();
        let references: BTreeSet<&str> = METRICS.iter().map(|row| row.reference).collect();
        assert_eq!((codes.len(), references.len()), (METRICS.len(), METRICS.len()));
        let units: BTreeSet<u32> = UNITS.iter().map(|row| row.code).collect();
        assert_eq!(units.len(), UNITS.len());
    }

    #[test]
    fn standard_codes_carry_a_standard_reference_id_and_private_ones_do_not() {
        for row in METRICS {
            let private = row.code >> 16 == 1024;
            assert_ne!(private, row.reference.starts_with("MDC_"), "{}", row.reference);
        }
    }
}
