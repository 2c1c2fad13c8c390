//! Private codes of what has no standard one.

#![allow(dead_code, unreachable_pub, reason = "the macro makes a public table; `reads` names each row")]

use crate::device::nomenclature as mdc;

mdc::rows! { Metric CODES:
    /// Which places of the base have a module: bit 0 is place 1.
    MODULES = { code: 67_110_145, reference: "FRESENIUS_MODULES", label: "modules on the base", loinc: None, plausible: None };
    /// The alarm word of a module, as sent.
    ALARM_WORD = { code: 67_110_146, reference: "FRESENIUS_ALARM_WORD", label: "alarm word", loinc: None, plausible: None };
    /// The error word of a module, as sent.
    ERROR_WORD = { code: 67_110_147, reference: "FRESENIUS_ERROR_WORD", label: "error word", loinc: None, plausible: None };
    /// The rate of a bolus.
    BOLUS_RATE = { code: 67_110_148, reference: "FRESENIUS_BOLUS_RATE", label: "bolus rate", loinc: None, plausible: Some((0, 2_000)) };
    /// The rate of a bolus, as sent: its scale is not public.
    BOLUS_RATE_WORD = { code: 67_110_149, reference: "FRESENIUS_BOLUS_RATE_WORD", label: "bolus rate, as sent", loinc: None, plausible: None };
    /// The volume of a bolus, as sent: its scale is not public.
    BOLUS_VOLUME_WORD = { code: 67_110_150, reference: "FRESENIUS_BOLUS_VOLUME_WORD", label: "bolus volume, as sent", loinc: None, plausible: None };
    /// The syringe, as sent.
    SYRINGE_WORD = { code: 67_110_151, reference: "FRESENIUS_SYRINGE_WORD", label: "syringe, as sent", loinc: None, plausible: None };
}
