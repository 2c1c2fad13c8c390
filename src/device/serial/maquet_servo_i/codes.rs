//! What a Servo ventilator tells that has no standard code: private ones, ours for good.

#![expect(dead_code, unreachable_pub, reason = "the macro makes public rows and a table of them all")]

use crate::device::nomenclature::rows;

rows! { Metric CODES:
    /// Inspired tidal volume.
    TIDAL_INSP = { code: 67_110_913, reference: "MAQUET_VTI", label: "inspired tidal volume", loinc: None, plausible: None };
    /// Barometric pressure.
    BAROMETER = { code: 67_110_914, reference: "MAQUET_BAROMETER", label: "barometric pressure", loinc: None, plausible: None };
    /// One of the two resistances.
    RESISTANCE_231 = { code: 67_110_915, reference: "MAQUET_RESISTANCE_231", label: "resistance (channel 231)", loinc: None, plausible: None };
    /// One of the two resistances.
    RESISTANCE_236 = { code: 67_110_916, reference: "MAQUET_RESISTANCE_236", label: "resistance (channel 236)", loinc: None, plausible: None };
    /// Leakage; the unit says which measure of it.
    LEAKAGE = { code: 67_110_917, reference: "MAQUET_LEAKAGE", label: "leakage", loinc: None, plausible: None };
    /// Rate of the spontaneous breaths.
    RATE_SPONT = { code: 67_110_918, reference: "MAQUET_RR_SPONT", label: "spontaneous breathing rate", loinc: None, plausible: Some((0, 200)) };
    /// Expired minute volume of the spontaneous breaths.
    MINUTE_SPONT = { code: 67_110_919, reference: "MAQUET_MVE_SPONT", label: "spontaneous expired minute volume", loinc: None, plausible: None };
    /// Airway occlusion pressure.
    P01 = { code: 67_110_920, reference: "MAQUET_P01", label: "P0.1", loinc: None, plausible: None };
    /// One of the two values of the diaphragm's electrical activity.
    EDI_255 = { code: 67_110_921, reference: "MAQUET_EDI_255", label: "Edi (channel 255)", loinc: None, plausible: None };
    /// One of the two values of the diaphragm's electrical activity.
    EDI_256 = { code: 67_110_922, reference: "MAQUET_EDI_256", label: "Edi (channel 256)", loinc: None, plausible: None };
    /// Stress index.
    STRESS_INDEX = { code: 67_110_923, reference: "MAQUET_STRESS_INDEX", label: "stress index", loinc: None, plausible: None };
    /// Set breathing rate.
    SET_RATE = { code: 67_110_924, reference: "MAQUET_SET_RR", label: "set breathing rate", loinc: None, plausible: None };
    /// Set minute volume.
    SET_MINUTE = { code: 67_110_925, reference: "MAQUET_SET_MV", label: "set minute volume", loinc: None, plausible: None };
    /// Set pressure control level.
    SET_PC = { code: 67_110_926, reference: "MAQUET_SET_PC", label: "set pressure control level", loinc: None, plausible: None };
    /// Set pressure support level.
    SET_PS = { code: 67_110_927, reference: "MAQUET_SET_PS", label: "set pressure support level", loinc: None, plausible: None };
    /// Set PEEP.
    SET_PEEP = { code: 67_110_928, reference: "MAQUET_SET_PEEP", label: "set PEEP", loinc: None, plausible: None };
    /// Patient range, the ventilator's own number.
    PATIENT_RANGE = { code: 67_110_929, reference: "MAQUET_PATIENT_RANGE", label: "patient range", loinc: None, plausible: None };
    /// Mute of the alarms, the ventilator's own number.
    MUTE = { code: 67_110_930, reference: "MAQUET_ALARM_MUTE", label: "alarm mute", loinc: None, plausible: None };
    /// Set oxygen.
    SET_O2 = { code: 67_110_931, reference: "MAQUET_SET_O2", label: "set oxygen", loinc: None, plausible: None };
    /// Set ratio of inspiration to expiration.
    SET_IE = { code: 67_110_932, reference: "MAQUET_SET_IE", label: "set I:E ratio", loinc: None, plausible: None };
    /// Set tidal volume.
    SET_TIDAL = { code: 67_110_933, reference: "MAQUET_SET_VT", label: "set tidal volume", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_353 = { code: 67_110_934, reference: "MAQUET_LIMIT_353", label: "alarm limit (channel 353)", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_354 = { code: 67_110_935, reference: "MAQUET_LIMIT_354", label: "alarm limit (channel 354)", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_355 = { code: 67_110_936, reference: "MAQUET_LIMIT_355", label: "alarm limit (channel 355)", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_356 = { code: 67_110_937, reference: "MAQUET_LIMIT_356", label: "alarm limit (channel 356)", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_357 = { code: 67_110_938, reference: "MAQUET_LIMIT_357", label: "alarm limit (channel 357)", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_358 = { code: 67_110_939, reference: "MAQUET_LIMIT_358", label: "alarm limit (channel 358)", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_359 = { code: 67_110_940, reference: "MAQUET_LIMIT_359", label: "alarm limit (channel 359)", loinc: None, plausible: None };
    /// A limit of the minute volume.
    LIMIT_MV_364 = { code: 67_110_941, reference: "MAQUET_LIMIT_MV_364", label: "minute volume limit (channel 364)", loinc: None, plausible: None };
    /// A limit of the minute volume.
    LIMIT_MV_365 = { code: 67_110_942, reference: "MAQUET_LIMIT_MV_365", label: "minute volume limit (channel 365)", loinc: None, plausible: None };
    /// What the ventilator does: `operating` or `standby`.
    STATE = { code: 67_110_943, reference: "MAQUET_STATE", label: "ventilator state", loinc: None, plausible: None };
    /// What it says of all alarms together (`RALO`), its own number; 0 is none.
    ALARM_STATE = { code: 67_110_944, reference: "MAQUET_ALARM_STATE", label: "alarm state", loinc: None, plausible: None };
    /// The phase of the breath at each sample of the curves: 1 inspiration, 2 pause, 3 expiration.
    CURVE_PHASE = { code: 67_110_945, reference: "MAQUET_BREATH_PHASE", label: "phase of the breath", loinc: None, plausible: None };
    /// A curve that is neither flow nor pressure; the unit says what it is of.
    CURVE_OTHER = { code: 67_110_946, reference: "MAQUET_CURVE", label: "curve", loinc: None, plausible: None };
}
