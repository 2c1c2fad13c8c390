//! IEEE 11073-10101 codes with their reference ids, UCUM units and LOINC codes.
//!
//! A code is partition times 65,536 plus term. Sources: the HL7 PHD implementation guide for what
//! FHIR carries beside MDC (LOINC), and for the mean of a blood pressure (8478-0) the FHIR specification's
//! example `observation-example-mbp`; ISO/IEEE 11073-10101:2004 for the numbers. What has no standard
//! code gets one of the private partition 1024 and a reference id that starts with the maker's
//! name: such a code is ours, stable, and never reused.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::catalogue;

mod metrics;
mod units;

pub use metrics::*;
pub use units::*;

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

/// Every unit, by code: the table here, and those of drivers.
static ALL_UNITS: LazyLock<BTreeMap<u32, &'static Unit>> = LazyLock::new(|| {
    UNITS.iter().copied().chain(super::serial::units()).map(|unit| (unit.code, unit)).collect()
});

/// The unit of an 11073 code.
pub fn unit(code: u32) -> Option<&'static Unit> {
    ALL_UNITS.get(&code).copied()
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

    /// HL7 PHD guide (blood pressure panel, 85354-9: a panel has no value, so no row here has its code); FHIR's
    /// `observation-example-mbp` for the mean.
    #[test]
    fn the_parts_of_a_blood_pressure_have_the_codes_of_fhir_vital_signs() {
        let loinc = |reference| metric_by_reference(reference).and_then(|row| row.loinc);
        for (reference, code) in [
            ("MDC_PRESS_BLD_NONINV_SYS", Some("8480-6")),
            ("MDC_PRESS_BLD_NONINV_DIA", Some("8462-4")),
            ("MDC_PRESS_BLD_NONINV_MEAN", Some("8478-0")),
            ("MDC_PULS_RATE_NON_INV", Some("8867-4")),
            ("MDC_PRESS_BLD_NONINV", None),
        ] {
            assert_eq!(loinc(reference), code, "{reference}");
        }
    }

    #[test]
    fn standard_codes_carry_a_standard_reference_id_and_private_ones_do_not() {
        for row in metrics() {
            let private = row.code >> 16 == 1024;
            assert_ne!(private, row.reference.starts_with("MDC_"), "{}", row.reference);
        }
    }
}
