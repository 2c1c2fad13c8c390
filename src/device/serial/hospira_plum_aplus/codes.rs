//! Private codes of what has no standard one.

#![allow(dead_code, unreachable_pub, reason = "the macro makes a public table; `reads` names each row")]

use crate::device::nomenclature as mdc;

mdc::rows! { Metric CODES:
    /// Whether the pump sounds (`R` before its rate or its alarm code): 1 or 0.
    SOUNDING = { code: 67_109_889, reference: "HOSPIRA_SOUNDING", label: "pump sounds", loinc: None, plausible: None };
    /// Which numbers of the chain answer: bit 0 is pump 1.
    PUMPS = { code: 67_109_892, reference: "HOSPIRA_PUMPS", label: "pumps that answer", loinc: None, plausible: None };
    /// The volume VT1, as sent.
    VT1 = { code: 67_109_890, reference: "HOSPIRA_VT1", label: "volume VT1", loinc: None, plausible: None };
    /// The volume TV1, as sent.
    TV1 = { code: 67_109_891, reference: "HOSPIRA_TV1", label: "volume TV1", loinc: None, plausible: None };
}
