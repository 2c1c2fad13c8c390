//! IEEE 11073-10101 codes with their reference ids, UCUM units and LOINC codes.
//!
//! A code is partition times 65,536 plus term. Sources: the HL7 PHD implementation guide for what
//! FHIR carries beside MDC (LOINC), ISO/IEEE 11073-10101:2004 for the numbers. What has no standard
//! code gets one of the private partition 1024 and a reference id that starts with the maker's
//! name: such a code is ours, stable, and never reused.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::catalogue;

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
        $($(#[$doc])* pub static $name: $crate::device::nomenclature::$type = $crate::device::nomenclature::$type $row;)*
        /// All rows, in the order in which they are written here.
        pub static $table: &[&$crate::device::nomenclature::$type] = &[$(&$name),*];
    };
}
/// For a driver's own table of private codes, in the driver's own file; they are known by standing in
/// its `reads`.
pub(crate) use rows;

rows! { Unit UNITS:
    /// A plain number, a word or a set of bits.
    DIMENSIONLESS = { code: 0, ucum: "1", symbol: "" };
    /// `MDC_DIM_PERCENT`.
    PERCENT = { code: 262_688, ucum: "%", symbol: "%" };
    /// `MDC_DIM_BEAT_PER_MIN`.
    PER_MINUTE = { code: 264_864, ucum: "/min", symbol: "/min" };
    /// `MDC_DIM_MILLI_SEC`.
    MILLISECOND = { code: 264_338, ucum: "ms", symbol: "ms" };
    /// `MDC_DIM_SEC`.
    SECOND = { code: 264_320, ucum: "s", symbol: "s" };
    /// `MDC_DIM_MILLI_L`.
    MILLILITRE = { code: 263_762, ucum: "mL", symbol: "mL" };
    /// `MDC_DIM_MILLI_L_PER_HR`.
    MILLILITRE_PER_HOUR = { code: 265_266, ucum: "mL/h", symbol: "mL/h" };
    /// `MDC_DIM_MMHG`.
    MMHG = { code: 266_016, ucum: "mm[Hg]", symbol: "mmHg" };
    /// `MDC_DIM_KILO_PASCAL`.
    KILOPASCAL = { code: 265_987, ucum: "kPa", symbol: "kPa" };
    /// `MDC_DIM_JOULES` (`4::3968`) with the prefix kilo.
    KILOJOULE = { code: 266_115, ucum: "kJ", symbol: "kJ" };
    /// `MDC_DIM_MILLI_BAR`.
    MILLIBAR = { code: 266_098, ucum: "mbar", symbol: "mbar" };
    // astm-lis.
    /// `MDC_DIM_MILLI_G_PER_DL`.
    MILLIGRAM_PER_DECILITRE = { code: 264_274, ucum: "mg/dL", symbol: "mg/dL" };
    /// `MDC_DIM_MILLI_MOLE_PER_L`.
    MILLIMOLE_PER_LITRE = { code: 266_866, ucum: "mmol/L", symbol: "mmol/L" };
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
    // Serial drivers.
    /// The size of the syringe in the pump.
    VOL_SYRINGE = { code: 157_880, reference: "MDC_VOL_SYRINGE", label: "syringe size", loinc: None, plausible: Some((1, 100)) };
    /// The end of the infusion: the syringe is empty or the infusion complete.
    EVT_PUMP_DELIV_COMP = { code: 197_292, reference: "MDC_EVT_PUMP_DELIV_COMP", label: "infusion complete", loinc: None, plausible: None };
    /// The infusion is near its end. The number is known from one pump simulator only, not checked
    /// against the standard.
    EVT_VOL_INFUS_NEAR_COMP = { code: 197_334, reference: "MDC_EVT_VOL_INFUS_NEAR_COMP", label: "infusion near its end", loinc: None, plausible: None };
    /// The make of the syringe, as chosen at the pump.
    ALARIS_SYRINGE = { code: 67_109_377, reference: "ALARIS_SYRINGE_TYPE", label: "syringe type", loinc: None, plausible: None };
    /// What the pump does when the volume to be infused is complete.
    ALARIS_VTBI_ACTION = { code: 67_109_378, reference: "ALARIS_VTBI_ACTION", label: "action at volume complete", loinc: None, plausible: None };
    /// Whether somebody controls the pump by its serial line.
    ALARIS_REMOTE_CONTROL = { code: 67_109_379, reference: "ALARIS_REMOTE_CONTROL", label: "remote control", loinc: None, plausible: None };
    /// Carboxyhaemoglobin.
    MASIMO_SPCO = { code: 67_109_121, reference: "MASIMO_SPCO", label: "carboxyhaemoglobin", loinc: None, plausible: Some((0, 100)) };
    /// Methaemoglobin.
    MASIMO_SPMET = { code: 67_109_122, reference: "MASIMO_SPMET", label: "methaemoglobin", loinc: None, plausible: Some((0, 100)) };
    /// Total haemoglobin; the line does not say in which unit, the oximeter's menu does.
    MASIMO_SPHB = { code: 67_109_123, reference: "MASIMO_SPHB", label: "total haemoglobin", loinc: None, plausible: None };
    /// Oxygen content; the line does not say in which unit.
    MASIMO_SPOC = { code: 67_109_124, reference: "MASIMO_SPOC", label: "oxygen content", loinc: None, plausible: None };
    /// Pleth variability index.
    MASIMO_PVI = { code: 67_109_125, reference: "MASIMO_PVI", label: "pleth variability index", loinc: None, plausible: Some((0, 100)) };
    /// Desaturation index.
    MASIMO_DESAT = { code: 67_109_126, reference: "MASIMO_DESAT", label: "desaturation index", loinc: None, plausible: None };
    /// Change of the perfusion index.
    MASIMO_PIDELTA = { code: 67_109_127, reference: "MASIMO_PIDELTA", label: "change of the perfusion index", loinc: None, plausible: None };
    /// All alarm bits of the oximeter, as sent.
    MASIMO_ALARM_BITS = { code: 67_109_128, reference: "MASIMO_ALARM_BITS", label: "alarm bits", loinc: None, plausible: None };
    /// All exception bits of the oximeter, as sent.
    MASIMO_EXCEPTION_BITS = { code: 67_109_129, reference: "MASIMO_EXCEPTION_BITS", label: "exception bits", loinc: None, plausible: None };
    /// The second word of exception bits of colour-display models, as sent.
    MASIMO_EXCEPTION1_BITS = { code: 67_109_130, reference: "MASIMO_EXCEPTION1_BITS", label: "more exception bits", loinc: None, plausible: None };
    // astm-lis.
    /// Glucose, where the specimen is not said more exactly.
    CONC_GLU_GEN = { code: 160_020, reference: "MDC_CONC_GLU_GEN", label: "glucose", loinc: None, plausible: None };
    /// Glucose in capillary whole blood.
    CONC_GLU_CAPILLARY_WHOLEBLOOD = { code: 160_184, reference: "MDC_CONC_GLU_CAPILLARY_WHOLEBLOOD", label: "glucose, capillary whole blood", loinc: None, plausible: None };
    /// Glucose in capillary plasma.
    CONC_GLU_CAPILLARY_PLASMA = { code: 160_188, reference: "MDC_CONC_GLU_CAPILLARY_PLASMA", label: "glucose, capillary plasma", loinc: None, plausible: None };
}

/// Every metric, by code: the table here, and what the rows of the catalogue read besides.
static ALL: LazyLock<BTreeMap<u32, &'static Metric>> = LazyLock::new(|| {
    let serial = catalogue::serial_models().iter().flat_map(|model| model.reads);
    let ble = catalogue::ble_profiles().iter().flat_map(|profile| profile.reads);
    METRICS.iter().chain(serial).chain(ble).map(|metric| (metric.code, *metric)).collect()
});

/// Every metric that there is, by code.
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    ALL.values().copied()
}

/// The metric of a code.
pub fn metric(code: u32) -> Option<&'static Metric> {
    ALL.get(&code).copied()
}

/// The metric of a reference id.
pub fn metric_by_reference(reference: &str) -> Option<&'static Metric> {
    metrics().find(|row| row.reference == reference)
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
        let serial = catalogue::serial_models().iter().flat_map(|model| model.reads);
        let ble = catalogue::ble_profiles().iter().flat_map(|profile| profile.reads);
        for row in METRICS.iter().chain(serial).chain(ble) {
            assert_eq!(metric(row.code), Some(*row), "{} is given twice", row.code);
            assert_eq!(metric_by_reference(row.reference), Some(*row), "{} is given twice", row.reference);
        }
        let units: BTreeSet<u32> = UNITS.iter().map(|row| row.code).collect();
        assert_eq!(units.len(), UNITS.len());
    }

    #[test]
    fn standard_codes_carry_a_standard_reference_id_and_private_ones_do_not() {
        for row in metrics() {
            let private = row.code >> 16 == 1024;
            assert_ne!(private, row.reference.starts_with("MDC_"), "{}", row.reference);
        }
    }
}
