//! Private codes: `0x0400_0C01` to `0x0400_0C04`.

#![allow(unreachable_pub, dead_code, reason = "the table of rows is made for every use of it")]

use crate::device::nomenclature::rows;

rows! { Metric CODES:
    /// A result under the analyser's own test code: `code=value unit`.
    ASTM_RESULT = { code: 67_111_937, reference: "ASTM_RESULT", label: "result", loinc: None, plausible: None };
    /// What the analyser says of a result against its ranges, `code=flags`: L H LL HH < > A U D B W (LIS2-A2, field R-7).
    ASTM_ABNORMAL_FLAG = { code: 67_111_938, reference: "ASTM_ABNORMAL_FLAG", label: "abnormal flag", loinc: None, plausible: None };
    /// The state of a result where it is neither final nor preliminary, `code=state`: C X I S M R N Q V W (LIS2-A2, field R-9).
    ASTM_RESULT_STATUS = { code: 67_111_939, reference: "ASTM_RESULT_STATUS", label: "result status", loinc: None, plausible: None };
    /// What the analyser remarks on a result, `code=remark`; only where that is set.
    ASTM_COMMENT = { code: 67_111_940, reference: "ASTM_COMMENT", label: "remark", loinc: None, plausible: None };
}
