//! What the ventilator reports that has no code of its own in 11073: codes of our private block
//! from `0x0400_0B01` on.

use crate::device::nomenclature::rows;

rows! { Metric CODES:
    /// Mean airway pressure.
    PRESS_MEAN = { code: 67_111_681, reference: "PURITAN_BENNETT_PRESS_MEAN", label: "mean airway pressure", loinc: None, plausible: Some((-20, 150)) };
    /// Pressure at the end of inspiration.
    PRESS_END_INSP = { code: 67_111_682, reference: "PURITAN_BENNETT_PRESS_END_INSP", label: "end inspiratory pressure", loinc: None, plausible: Some((-20, 150)) };
    /// Inspired tidal volume.
    VOL_INSPIRED = { code: 67_111_683, reference: "PURITAN_BENNETT_VOL_INSPIRED", label: "inspired tidal volume", loinc: None, plausible: Some((0, 6)) };
    /// Exhaled minute volume of spontaneous breaths.
    MINUTE_VOL_SPONT = { code: 67_111_684, reference: "PURITAN_BENNETT_MINUTE_VOL_SPONT", label: "spontaneous minute volume", loinc: None, plausible: Some((0, 100)) };
    /// The second part of I:E when the first is 1.
    IE_EXPIRATORY = { code: 67_111_685, reference: "PURITAN_BENNETT_IE_EXPIRATORY", label: "expiratory part of I:E", loinc: None, plausible: None };
    /// Respiratory rate that is set.
    SET_RESP_RATE = { code: 67_111_686, reference: "PURITAN_BENNETT_SET_RESP_RATE", label: "set respiratory rate", loinc: None, plausible: Some((0, 200)) };
    /// Tidal volume that is set.
    SET_TIDAL_VOL = { code: 67_111_687, reference: "PURITAN_BENNETT_SET_TIDAL_VOL", label: "set tidal volume", loinc: None, plausible: Some((0, 6)) };
    /// Peak flow that is set.
    SET_PEAK_FLOW = { code: 67_111_688, reference: "PURITAN_BENNETT_SET_PEAK_FLOW", label: "set peak flow", loinc: None, plausible: Some((0, 300)) };
    /// Oxygen that is set.
    SET_O2 = { code: 67_111_689, reference: "PURITAN_BENNETT_SET_O2", label: "set oxygen", loinc: None, plausible: Some((21, 100)) };
    /// PEEP (or low PEEP) that is set.
    SET_PEEP = { code: 67_111_690, reference: "PURITAN_BENNETT_SET_PEEP", label: "set PEEP", loinc: None, plausible: Some((0, 60)) };
    /// Support pressure that is set.
    SET_SUPPORT_PRESSURE = { code: 67_111_691, reference: "PURITAN_BENNETT_SET_SUPPORT_PRESSURE", label: "set support pressure", loinc: None, plausible: Some((0, 100)) };
    /// Inspiratory pressure (or high PEEP) that is set.
    SET_INSP_PRESSURE = { code: 67_111_692, reference: "PURITAN_BENNETT_SET_INSP_PRESSURE", label: "set inspiratory pressure", loinc: None, plausible: Some((0, 120)) };
    /// Inspiratory time (or time of high PEEP) that is set.
    SET_INSP_TIME = { code: 67_111_693, reference: "PURITAN_BENNETT_SET_INSP_TIME", label: "set inspiratory time", loinc: None, plausible: Some((0, 40)) };
    /// The upper limit of the pressure alarm.
    LIMIT_PRESS_HIGH = { code: 67_111_694, reference: "PURITAN_BENNETT_LIMIT_PRESS_HIGH", label: "upper pressure limit", loinc: None, plausible: None };
    /// The lower limit of the minute volume alarm.
    LIMIT_MINUTE_VOL_LOW = { code: 67_111_695, reference: "PURITAN_BENNETT_LIMIT_MINUTE_VOL_LOW", label: "lower minute volume limit", loinc: None, plausible: None };
    /// The upper limit of the rate alarm.
    LIMIT_RESP_RATE_HIGH = { code: 67_111_696, reference: "PURITAN_BENNETT_LIMIT_RESP_RATE_HIGH", label: "upper rate limit", loinc: None, plausible: None };
    /// The type of the mandatory breaths.
    MANDATORY_TYPE = { code: 67_111_697, reference: "PURITAN_BENNETT_MANDATORY_TYPE", label: "mandatory breath type", loinc: None, plausible: None };
    /// The type of the spontaneous breaths.
    SPONTANEOUS_TYPE = { code: 67_111_698, reference: "PURITAN_BENNETT_SPONTANEOUS_TYPE", label: "spontaneous breath type", loinc: None, plausible: None };
    /// Invasive or not.
    VENT_TYPE = { code: 67_111_699, reference: "PURITAN_BENNETT_VENT_TYPE", label: "ventilation type", loinc: None, plausible: None };
}
