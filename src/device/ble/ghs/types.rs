//! What a generic health sensor may report here: observation types, units and terms by their 32-bit codes.
//!
//! Every type has one shape in which it is filed; in any other it is refused. Not among them, so never
//! filed: control solution (160208, no reading of a patient), room temperature and humidity (readings of a
//! place), codes of any maker's private partition (they would mean something else here).

use crate::device::nomenclature::{self as mdc, Metric, Unit};

/// How the value of a type has to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A number with its unit.
    Number,
    /// Terms of the nomenclature, or bits.
    Code,
    /// A word.
    Text,
    /// Samples.
    Wave,
}

/// The bits of a measurement status, where one of them is set that nothing else says: manually entered (6),
/// threshold error (14), thresholding disabled (15). A code of our private block.
pub(super) static MEASUREMENT_STATUS: Metric = Metric {
    code: 67_114_497,
    reference: "GHS_MEASUREMENT_STATUS",
    label: "measurement status",
    loinc: None,
    plausible: None,
};

/// One list of all types, and the same with their shapes.
macro_rules! types {
    ($($shape:ident: $($name:ident)+;)+) => {
        /// Everything that may be reported.
        pub(super) static READS: &[&Metric] = &[&MEASUREMENT_STATUS, $($(&mdc::$name),+),+];
        static SHAPES: &[(&Metric, Shape)] = &[$($((&mdc::$name, Shape::$shape)),+),+];
    };
}

types! {
    Number:
        SPO2 PULSE_OXIM_RATE PERFUSION SAT_O2_QUAL
        HEART_RATE PULS_RATE PULS_RATE_NON_INV RR_INTERVAL RESP_RATE TTHOR_RESP_RATE
        PRESS_BLD_NONINV_SYS PRESS_BLD_NONINV_DIA PRESS_BLD_NONINV_MEAN
        TEMP_BODY TEMP_CORE TEMP_SKIN TEMP_TYMP TEMP_RECT TEMP_ORAL TEMP_EAR TEMP_FINGER TEMP_TOE TEMP_AXILLA
        TEMP_GIT
        MASS_BODY_ACTUAL LEN_BODY_ACTUAL RATIO_MASS_BODY_LEN_SQ BODY_FAT MASS_BODY_FAT_FREE
        MASS_BODY_SOFT_LEAN BODY_WATER ENERGY_EXPENDED
        CONC_GLU_GEN CONC_GLU_CAPILLARY_WHOLEBLOOD CONC_GLU_CAPILLARY_PLASMA CONC_GLU_VENOUS_WHOLEBLOOD
        CONC_GLU_VENOUS_PLASMA CONC_GLU_ARTERIAL_WHOLEBLOOD CONC_GLU_ARTERIAL_PLASMA
        CONC_GLU_UNDETERMINED_WHOLEBLOOD CONC_GLU_UNDETERMINED_PLASMA CONC_GLU_ISF CONC_HBA1C
        CTXT_GLU_CARB CTXT_GLU_CARB_BREAKFAST CTXT_GLU_CARB_LUNCH CTXT_GLU_CARB_DINNER CTXT_GLU_CARB_SNACK
        CTXT_GLU_CARB_DRINK CTXT_GLU_CARB_SUPPER CTXT_GLU_CARB_BRUNCH
        CTXT_MEDICATION CTXT_MEDICATION_RAPIDACTING CTXT_MEDICATION_SHORTACTING
        CTXT_MEDICATION_INTERMEDIATEACTING CTXT_MEDICATION_LONGACTING CTXT_MEDICATION_PREMIX
        AI_MED_DISPENSED_FIXED AI_MED_DISPENSED_VARIABLE ATTR_VAL_BATT_CHARGE;
    Code:
        PULSE_OXIM_STATUS BLOOD_PRESSURE_MEASUREMENT_STATUS GLU_METER_DEV_STATUS
        CTXT_GLU_MEAL CTXT_GLU_SAMPLELOCATION CTXT_GLU_TESTER CTXT_GLU_HEALTH;
    Text:
        DRUG_NAME;
    Wave:
        PULS_OXIM_PLETH ECG_ELEC_POTL ECG_ELEC_POTL_I ECG_ELEC_POTL_II ECG_ELEC_POTL_III ECG_ELEC_POTL_AVR
        ECG_ELEC_POTL_AVL ECG_ELEC_POTL_AVF ECG_ELEC_POTL_V1 ECG_ELEC_POTL_V2 ECG_ELEC_POTL_V3
        ECG_ELEC_POTL_V4 ECG_ELEC_POTL_V5 ECG_ELEC_POTL_V6;
}

/// The type of a code, and its shape.
pub(super) fn find(code: u32) -> Option<(&'static Metric, Shape)> {
    SHAPES.iter().copied().find(|(metric, _)| metric.code == code)
}

/// Whether a type that a sensor announces can be read: one of these, or the panel of blood pressure, whose
/// components are.
pub(super) fn is_known(code: u32) -> bool {
    code == mdc::PRESS_BLD_NONINV.code || find(code).is_some()
}

/// `MDC_DIM_DIMLESS`, a plain number.
const DIMLESS: u32 = 262_656;

/// The unit of a term of partition 4.
pub(super) fn unit(term: u16) -> Option<&'static Unit> {
    match 4 << 16 | u32::from(term) {
        DIMLESS => Some(&mdc::DIMENSIONLESS),
        code => mdc::unit(code),
    }
}

/// A term as it is filed: its reference id, or its code where that is not known here.
pub(super) fn term(code: u32) -> String {
    let known = TERMS.iter().find(|(known, _)| *known == code);
    known.map_or_else(|| code.to_string(), |(_, reference)| (*reference).to_owned())
}

/// The terms of the glucose context.
static TERMS: &[(u32, &str)] = &[
    (8_417_824, "MDC_CTXT_GLU_HEALTH_MINOR"),
    (8_417_828, "MDC_CTXT_GLU_HEALTH_MAJOR"),
    (8_417_836, "MDC_CTXT_GLU_HEALTH_STRESS"),
    (8_417_840, "MDC_CTXT_GLU_HEALTH_NONE"),
    (8_417_846, "MDC_CTXT_GLU_SAMPLELOCATION_OTHER"),
    (8_417_848, "MDC_CTXT_GLU_SAMPLELOCATION_FINGER"),
    (8_417_852, "MDC_CTXT_GLU_SAMPLELOCATION_AST"),
    (8_417_856, "MDC_CTXT_GLU_SAMPLELOCATION_EARLOBE"),
    (8_417_860, "MDC_CTXT_GLU_SAMPLELOCATION_CTRLSOLUTION"),
    (8_417_868, "MDC_CTXT_GLU_MEAL_PREPRANDIAL"),
    (8_417_872, "MDC_CTXT_GLU_MEAL_POSTPRANDIAL"),
    (8_417_876, "MDC_CTXT_GLU_MEAL_FASTING"),
    (8_417_880, "MDC_CTXT_GLU_MEAL_CASUAL"),
    (8_417_888, "MDC_CTXT_GLU_TESTER_SELF"),
    (8_417_892, "MDC_CTXT_GLU_TESTER_HCP"),
    (8_417_896, "MDC_CTXT_GLU_TESTER_LAB"),
];

/// What a term can say of a sample beside its value.
pub(super) static CIRCUMSTANCES: &[&Metric] =
    &[&mdc::CTXT_GLU_HEALTH, &mdc::CTXT_GLU_SAMPLELOCATION, &mdc::CTXT_GLU_MEAL, &mdc::CTXT_GLU_TESTER];

/// Of which of these a term speaks: the terms of a circumstance follow on its own code.
pub(super) fn circumstance(code: u32) -> Option<&'static Metric> {
    const LAST: u32 = 8_417_896;
    let mut known = CIRCUMSTANCES.iter().copied().rev();
    let before = known.find(|metric| metric.code < code && code <= LAST);
    before.filter(|_| !CIRCUMSTANCES.iter().any(|metric| metric.code == code))
}

/// How a value was got, as far as a supplemental type says it: 11073-10404 modalities (fast, slow, spot),
/// and the site of a glucose sample, with the code to keep first.
const MODALITIES: [u32; 7] = [150_580, 150_584, 150_588, 8_417_846, 8_417_848, 8_417_852, 8_417_856];

/// The one supplemental type that says how the value was got; 0 when none does.
pub(super) fn modality(supplemental: &[u32]) -> u32 {
    MODALITIES.into_iter().find(|code| supplemental.contains(code)).unwrap_or(0)
}
