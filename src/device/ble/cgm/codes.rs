//! What a continuous glucose monitor reports that has no code of its own in the 11073 tables at hand: codes of
//! our private block from `0x0400_1401` on, its alarms from `0x0400_1411` on, its unit `0x0400_1441`.

use crate::device::nomenclature::rows;

rows! { Metric CODES:
    /// The feature bits as sent (0-23), above them the octet of sample type and location.
    FEATURES = { code: 67_113_985, reference: "CGM_FEATURES", label: "what the sensor supports, its sample type and location", loinc: None, plausible: None };
    /// The annunciation as sent: status in bits 0-7, calibration and temperature in 8-15, warning in 16-23.
    STATUS = { code: 67_113_986, reference: "CGM_SENSOR_STATUS", label: "sensor status", loinc: None, plausible: None };
    /// When the session began, as the sensor says it.
    SESSION_START = { code: 67_113_987, reference: "CGM_SESSION_START", label: "start of the sensor session", loinc: None, plausible: None };
    /// How long a session is to last.
    RUN_TIME = { code: 67_113_988, reference: "CGM_SESSION_RUN_TIME", label: "run time of a sensor session", loinc: None, plausible: None };
    /// How fast the glucose changes.
    TREND = { code: 67_113_989, reference: "CGM_TREND", label: "glucose trend", loinc: None, plausible: None };
    /// What the sensor thinks of its value.
    QUALITY = { code: 67_113_990, reference: "CGM_QUALITY", label: "quality of the glucose value", loinc: None, plausible: None };
    /// Status 2.
    EVT_SENSOR_TYPE = { code: 67_114_001, reference: "CGM_EVT_SENSOR_TYPE", label: "sensor of a wrong type", loinc: None, plausible: None };
    /// Status 4: what it is about only the device knows.
    EVT_DEVICE_ALERT = { code: 67_114_002, reference: "CGM_EVT_DEVICE_ALERT", label: "device-specific alert", loinc: None, plausible: None };
    /// Status 5.
    EVT_DEVICE_FAULT = { code: 67_114_003, reference: "CGM_EVT_DEVICE_FAULT", label: "general device fault", loinc: None, plausible: None };
    /// Calibration and temperature 3.
    EVT_CALIBRATION = { code: 67_114_004, reference: "CGM_EVT_CALIBRATION_REQUIRED", label: "calibration required", loinc: None, plausible: None };
    /// Calibration and temperature 4.
    EVT_TOO_HOT = { code: 67_114_005, reference: "CGM_EVT_SENSOR_TOO_HOT", label: "sensor too hot", loinc: None, plausible: None };
    /// Calibration and temperature 5.
    EVT_TOO_COLD = { code: 67_114_006, reference: "CGM_EVT_SENSOR_TOO_COLD", label: "sensor too cold", loinc: None, plausible: None };
    /// Warning 0.
    EVT_PATIENT_LOW = { code: 67_114_007, reference: "CGM_EVT_PATIENT_LOW", label: "glucose below the patient's low level", loinc: None, plausible: None };
    /// Warning 1.
    EVT_PATIENT_HIGH = { code: 67_114_008, reference: "CGM_EVT_PATIENT_HIGH", label: "glucose above the patient's high level", loinc: None, plausible: None };
    /// Warning 2.
    EVT_HYPO = { code: 67_114_009, reference: "CGM_EVT_HYPO", label: "glucose below the hypoglycaemia level", loinc: None, plausible: None };
    /// Warning 3.
    EVT_HYPER = { code: 67_114_010, reference: "CGM_EVT_HYPER", label: "glucose above the hyperglycaemia level", loinc: None, plausible: None };
    /// Warning 4.
    EVT_FALLING = { code: 67_114_011, reference: "CGM_EVT_RATE_OF_DECREASE", label: "glucose falls too fast", loinc: None, plausible: None };
    /// Warning 5.
    EVT_RISING = { code: 67_114_012, reference: "CGM_EVT_RATE_OF_INCREASE", label: "glucose rises too fast", loinc: None, plausible: None };
    /// Warning 6.
    EVT_BELOW_RANGE = { code: 67_114_013, reference: "CGM_EVT_BELOW_RANGE", label: "glucose below what the sensor can measure", loinc: None, plausible: None };
    /// Warning 7.
    EVT_ABOVE_RANGE = { code: 67_114_014, reference: "CGM_EVT_ABOVE_RANGE", label: "glucose above what the sensor can measure", loinc: None, plausible: None };
}
