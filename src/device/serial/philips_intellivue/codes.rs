//! Which physiological identifier is which element, and which unit code is which unit.
//!
//! The identifiers are the terms of partition 2 of ISO/IEEE 11073-10101 (NOM = MDC), the units those of
//! partition 4. Identifiers that the standard of 2004 does not have get a private code. Sources:
//! mindleaving `SCADAType.cs`, `VSCaptureMP` `Class2.cs`, mdrepo `x73_nomenclature_medical_scada.h` and
//! `intellivue.h`.

use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit, rows};

/// The codes of partition 2.
const SCADA: u32 = 2 << 16;

/// The codes of partition 4.
const DIMENSION: u32 = 4 << 16;

/// The unit code of a number without a dimension.
const NO_DIMENSION: u16 = 512;

rows! { Metric PRIVATE:
    /// Blood temperature.
    TEMP_BLD = { code: 67_110_401, reference: "PHILIPS_TEMP_BLD", label: "blood temperature", loinc: None, plausible: Some((15, 45)) };
    /// Difference of two temperatures.
    TEMP_DIFF = { code: 67_110_402, reference: "PHILIPS_TEMP_DIFF", label: "temperature difference", loinc: None, plausible: Some((-30, 30)) };
    /// Index of the ST segments.
    ECG_AMPL_ST_INDEX = { code: 67_110_403, reference: "PHILIPS_ECG_AMPL_ST_INDEX", label: "ST index", loinc: None, plausible: None };
    /// Bispectral index.
    EEG_BISPECTRAL_INDEX = { code: 67_110_404, reference: "PHILIPS_EEG_BISPECTRAL_INDEX", label: "bispectral index", loinc: None, plausible: Some((0, 100)) };
    /// Oxygen saturation by telemetry.
    PULS_OXIM_SAT_O2_TELE = { code: 67_110_405, reference: "PHILIPS_PULS_OXIM_SAT_O2_TELE", label: "oxygen saturation (telemetry)", loinc: None, plausible: Some((50, 100)) };
    /// Pulse rate by telemetry.
    PULS_OXIM_PULS_RATE_TELE = { code: 67_110_406, reference: "PHILIPS_PULS_OXIM_PULS_RATE_TELE", label: "pulse rate (telemetry)", loinc: None, plausible: Some((20, 300)) };
    /// Non-invasive pressure by telemetry, systolic.
    PRESS_BLD_NONINV_TELE_SYS = { code: 67_110_407, reference: "PHILIPS_PRESS_BLD_NONINV_TELE_SYS", label: "non-invasive systolic pressure (telemetry)", loinc: None, plausible: Some((0, 350)) };
    /// Non-invasive pressure by telemetry, diastolic.
    PRESS_BLD_NONINV_TELE_DIA = { code: 67_110_408, reference: "PHILIPS_PRESS_BLD_NONINV_TELE_DIA", label: "non-invasive diastolic pressure (telemetry)", loinc: None, plausible: Some((0, 350)) };
    /// Non-invasive pressure by telemetry, mean.
    PRESS_BLD_NONINV_TELE_MEAN = { code: 67_110_409, reference: "PHILIPS_PRESS_BLD_NONINV_TELE_MEAN", label: "non-invasive mean pressure (telemetry)", loinc: None, plausible: Some((0, 350)) };
    /// Temperature in the bladder.
    TEMP_VESICAL = { code: 67_110_410, reference: "PHILIPS_TEMP_VESICAL", label: "bladder temperature", loinc: None, plausible: Some((15, 45)) };
    /// Pulse pressure variation.
    PULS_PRESS_VAR = { code: 67_110_411, reference: "PHILIPS_PULS_PRESS_VAR", label: "pulse pressure variation", loinc: None, plausible: Some((0, 100)) };
    /// Pulse rate of the non-invasive blood pressure.
    PRESS_BLD_NONINV_PULS_RATE = { code: 67_110_412, reference: "PHILIPS_PRESS_BLD_NONINV_PULS_RATE", label: "pulse rate (cuff)", loinc: None, plausible: Some((20, 300)) };
    /// Central venous oxygen saturation.
    SAT_O2_VEN_CENT = { code: 67_110_413, reference: "PHILIPS_SAT_O2_VEN_CENT", label: "central venous oxygen saturation", loinc: None, plausible: Some((0, 100)) };
    /// Oral temperature by the maker's own code.
    TEMP_ORAL = { code: 67_110_414, reference: "PHILIPS_TEMP_ORAL", label: "oral temperature", loinc: None, plausible: Some((15, 45)) };
    /// Axillary temperature.
    TEMP_AXIL = { code: 67_110_415, reference: "PHILIPS_TEMP_AXIL", label: "axillary temperature", loinc: None, plausible: Some((15, 45)) };
}

/// The identifiers of [`PRIVATE`], in its order.
const PRIVATE_IDS: [u16; 15] = [
    57_364, 57_368, 61_501, 61_518, 61_596, 61_597, 61_601, 61_602, 61_603, 61_636, 61_667, 61_669, 61_696,
    61_704, 61_708,
];

/// Everything that the monitor can report.
pub(super) static READS: [&Metric; 83] = [
    &mdc::HEART_RATE,
    &mdc::SPO2,
    &mdc::PERFUSION,
    &mdc::PULSE_OXIM_RATE,
    &mdc::PULS_RATE,
    &mdc::PLETH_PULS_RATE,
    &mdc::PULS_RATE_NON_INV,
    &mdc::PRESS_BLD_NONINV_SYS,
    &mdc::PRESS_BLD_NONINV_DIA,
    &mdc::PRESS_BLD_NONINV_MEAN,
    &mdc::PRESS_BLD_ART_SYS,
    &mdc::PRESS_BLD_ART_DIA,
    &mdc::PRESS_BLD_ART_MEAN,
    &mdc::PRESS_BLD_ART_ABP_SYS,
    &mdc::PRESS_BLD_ART_ABP_DIA,
    &mdc::PRESS_BLD_ART_ABP_MEAN,
    &mdc::PRESS_BLD_ART_PULM_SYS,
    &mdc::PRESS_BLD_ART_PULM_DIA,
    &mdc::PRESS_BLD_ART_PULM_MEAN,
    &mdc::PRESS_BLD_ART_PULM_WEDGE,
    &mdc::PRESS_BLD_VEN_CENT_SYS,
    &mdc::PRESS_BLD_VEN_CENT_DIA,
    &mdc::PRESS_BLD_VEN_CENT_MEAN,
    &mdc::PRESS_INTRA_CRAN_MEAN,
    &mdc::PRESS_CEREB_PERF,
    &mdc::TEMP,
    &mdc::TEMP_CORE,
    &mdc::TEMP_ESOPH,
    &mdc::TEMP_NASOPH,
    &mdc::TEMP_SKIN,
    &mdc::TEMP_TYMP,
    &mdc::TEMP_ART,
    &mdc::TEMP_VEN,
    &mdc::TEMP_RECT,
    &mdc::TEMP_ORAL,
    &mdc::RESP_RATE,
    &mdc::AWAY_RESP_RATE,
    &mdc::TTHOR_RESP_RATE,
    &mdc::CO2_RESP_RATE,
    &mdc::AWAY_CO2_ET,
    &mdc::AWAY_CO2_INSP_MIN,
    &mdc::CONC_AWAY_CO2_ET,
    &mdc::CONC_AWAY_O2_INSP,
    &mdc::TIME_PD_APNEA,
    &mdc::CONC_GLU_GEN,
    &mdc::OUTPUT_CARD,
    &mdc::OUTPUT_CARD_INDEX,
    &mdc::SAT_O2_VEN,
    &mdc::ECG_V_P_C_CNT,
    &mdc::ECG_TIME_PD_QT_GL,
    &mdc::ECG_TIME_PD_QTC,
    &mdc::ECG_AMPL_ST_I,
    &mdc::ECG_AMPL_ST_II,
    &mdc::ECG_AMPL_ST_III,
    &mdc::ECG_AMPL_ST_AVR,
    &mdc::ECG_AMPL_ST_AVL,
    &mdc::ECG_AMPL_ST_AVF,
    &mdc::ECG_AMPL_ST_V,
    &mdc::ECG_AMPL_ST_V1,
    &mdc::ECG_AMPL_ST_V2,
    &mdc::ECG_AMPL_ST_V3,
    &mdc::ECG_AMPL_ST_V4,
    &mdc::ECG_AMPL_ST_V5,
    &mdc::ECG_AMPL_ST_V6,
    &TEMP_BLD,
    &TEMP_DIFF,
    &ECG_AMPL_ST_INDEX,
    &EEG_BISPECTRAL_INDEX,
    &PULS_OXIM_SAT_O2_TELE,
    &PULS_OXIM_PULS_RATE_TELE,
    &PRESS_BLD_NONINV_TELE_SYS,
    &PRESS_BLD_NONINV_TELE_DIA,
    &PRESS_BLD_NONINV_TELE_MEAN,
    &TEMP_VESICAL,
    &PULS_PRESS_VAR,
    &PRESS_BLD_NONINV_PULS_RATE,
    &SAT_O2_VEN_CENT,
    &TEMP_ORAL,
    &TEMP_AXIL,
    &mdc::EVT_ALARM,
    &mdc::EVT_OCCL,
    &mdc::EVT_BATT_LO,
    &mdc::EVT_COMM_LOST,
];

/// The element of a physiological identifier.
pub(super) fn metric(physio: u16) -> Option<&'static Metric> {
    if let Some(place) = PRIVATE_IDS.iter().position(|id| *id == physio) {
        return PRIVATE.get(place).copied();
    }
    let code = SCADA + u32::from(physio);
    READS.iter().copied().find(|metric| metric.code == code)
}

/// The event of an alert code. Its lowest bit only says from which partition the source is.
pub(super) fn event(alert: u16) -> &'static Metric {
    match alert & !1 {
        80 => &mdc::EVT_OCCL,
        140 => &mdc::EVT_COMM_LOST,
        194 => &mdc::EVT_BATT_LO,
        _ => &mdc::EVT_ALARM,
    }
}

/// The unit of a unit code.
pub(super) fn unit(code: u16) -> Option<&'static Unit> {
    match code {
        0 | NO_DIMENSION => Some(&mdc::DIMENSIONLESS),
        other => mdc::unit(DIMENSION + u32::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identifiers_seen_on_the_wire_are_known() {
        for (physio, reference) in [
            (16_770, "MDC_ECG_HEART_RATE"),
            (18_442, "MDC_PULS_RATE"),
            (18_466, "MDC_PLETH_PULS_RATE"),
            (18_949, "MDC_PRESS_BLD_NONINV_SYS"),
            (18_967, "MDC_PRESS_BLD_ART_ABP_MEAN"),
            (19_272, "MDC_TEMP"),
            (19_384, "MDC_PULS_OXIM_SAT_O2"),
            (20_490, "MDC_RESP_RATE"),
            (57_348, "MDC_TEMP_RECT"),
            (57_364, "PHILIPS_TEMP_BLD"),
            (61_708, "PHILIPS_TEMP_AXIL"),
        ] {
            assert_eq!(metric(physio).map(|metric| metric.reference), Some(reference));
        }
        assert_eq!(metric(61_587), None, "a patient's weight is not read");
        assert_eq!(PRIVATE.len(), PRIVATE_IDS.len());
    }

    #[test]
    fn the_units_seen_on_the_wire_are_known() {
        for (code, ucum) in [
            (2_720, "/min"),
            (3_872, "mm[Hg]"),
            (2_784, "/min"),
            (544, "%"),
            (6_048, "Cel"),
            (3_072, "L/min"),
            (512, "1"),
            (1_298, "mm"),
            (2_848, "L/min/m2"),
        ] {
            assert_eq!(unit(code).map(|unit| unit.ucum), Some(ucum), "{code}");
        }
        assert_eq!(unit(61_440), None);
    }
}
