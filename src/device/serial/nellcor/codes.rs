//! What the oximeter reports that has no code of its own in 11073: codes of our private block
//! from `0x0400_0A01` on.

use crate::device::nomenclature::rows;

rows! { Metric CODES:
    /// Pulse amplitude, a number without a unit.
    PULSE_AMPLITUDE = { code: 67_111_425, reference: "NELLCOR_PULSE_AMPLITUDE", label: "pulse amplitude", loinc: None, plausible: None };
    /// The status codes of a line, as sent.
    STATUS = { code: 67_111_426, reference: "NELLCOR_STATUS", label: "oximeter status codes", loinc: None, plausible: None };
    /// Lower SpO2 limit.
    LIMIT_SPO2_LOW = { code: 67_111_427, reference: "NELLCOR_LIMIT_SPO2_LOW", label: "lower SpO2 limit", loinc: None, plausible: None };
    /// Upper SpO2 limit.
    LIMIT_SPO2_HIGH = { code: 67_111_428, reference: "NELLCOR_LIMIT_SPO2_HIGH", label: "upper SpO2 limit", loinc: None, plausible: None };
    /// Lower pulse rate limit.
    LIMIT_PULSE_LOW = { code: 67_111_429, reference: "NELLCOR_LIMIT_PULSE_LOW", label: "lower pulse rate limit", loinc: None, plausible: None };
    /// Upper pulse rate limit.
    LIMIT_PULSE_HIGH = { code: 67_111_430, reference: "NELLCOR_LIMIT_PULSE_HIGH", label: "upper pulse rate limit", loinc: None, plausible: None };
    /// The set of limits: adult or neonatal.
    LIMITS_TYPE = { code: 67_111_431, reference: "NELLCOR_LIMITS_TYPE", label: "set of limits", loinc: None, plausible: None };
    /// The threshold of the delayed saturation alarm, in percent seconds.
    SAT_SECONDS = { code: 67_111_432, reference: "NELLCOR_SAT_SECONDS", label: "SatSeconds threshold", loinc: None, plausible: None };
    /// How fast SpO2 follows.
    RESPONSE_MODE = { code: 67_111_433, reference: "NELLCOR_RESPONSE_MODE", label: "SpO2 response mode", loinc: None, plausible: None };
}
