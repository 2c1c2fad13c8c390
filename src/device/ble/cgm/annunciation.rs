//! What the sensor says of itself and of the patient beside its values: three octets of bits.
//!
//! Sensor Status Annunciation (CGMS 1.0.2, 3.1.1.5 and 3.3; GATT Specification Supplement, "CGM Measurement").
//! An octet that is left out says nothing of its kind is on: the published sensors (Nordic's nRF5 SDK, Zephyr)
//! leave out an octet that is zero. That is an inference from them, not a rule read in the specification.
//!
//! An alarm is what somebody at the bedside has to know. The rest is state: session stopped, time synchronisation
//! required (a gateway that only reads cannot give it; the values are flagged instead), calibration not allowed,
//! recommended or pending. The alarm's code is the octet and the bit, as the device has them.

use super::codes;
use crate::device::alarms::{Level, Raised};
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::Metric;
use crate::device::observation::{Priority, Quality};

/// The status octet: the sensor and its device.
const STATUS: &[Row] = &[
    (1, "STATUS-1", &mdc::EVT_BATT_LO, "battery low"),
    (2, "STATUS-2", &codes::EVT_SENSOR_TYPE, "the sensor is of a type that the device cannot use"),
    (3, "STATUS-3", &mdc::EVT_SENSOR_PROB, "sensor malfunction"),
    (4, "STATUS-4", &codes::EVT_DEVICE_ALERT, "device-specific alert"),
    (5, "STATUS-5", &codes::EVT_DEVICE_FAULT, "general device fault"),
];

/// The octet of calibration and temperature.
const CALIBRATION: &[Row] = &[
    (3, "CALTEMP-3", &codes::EVT_CALIBRATION, "calibration required"),
    (4, "CALTEMP-4", &codes::EVT_TOO_HOT, "the sensor is too hot for a valid result"),
    (5, "CALTEMP-5", &codes::EVT_TOO_COLD, "the sensor is too cold for a valid result"),
];

/// The warning octet: the patient.
const WARNING: &[Row] = &[
    (0, "WARNING-0", &codes::EVT_PATIENT_LOW, "glucose below the patient's low level"),
    (1, "WARNING-1", &codes::EVT_PATIENT_HIGH, "glucose above the patient's high level"),
    (2, "WARNING-2", &codes::EVT_HYPO, "glucose below the hypoglycaemia level"),
    (3, "WARNING-3", &codes::EVT_HYPER, "glucose above the hyperglycaemia level"),
    (4, "WARNING-4", &codes::EVT_FALLING, "glucose falls faster than it may"),
    (5, "WARNING-5", &codes::EVT_RISING, "glucose rises faster than it may"),
    (6, "WARNING-6", &codes::EVT_BELOW_RANGE, "glucose below what the sensor can measure"),
    (7, "WARNING-7", &codes::EVT_ABOVE_RANGE, "glucose above what the sensor can measure"),
];

/// The bit, the device's own code for it, the event, the words.
type Row = (u8, &'static str, &'static Metric, &'static str);

/// The three octets; what was left out is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Annunciation {
    pub(super) status: u8,
    pub(super) calibration: u8,
    pub(super) warning: u8,
}

impl Annunciation {
    /// All bits as sent, the status lowest.
    pub(super) const fn bits(self) -> u32 {
        u32::from_le_bytes([self.status, self.calibration, self.warning, 0])
    }

    /// Every alarm that is on. A session that is stopped has no patient and no result to warn of, whatever bits
    /// still stand; what is wrong with the device may be why it stopped, and stays.
    pub(super) fn level(self) -> Level {
        let is_stopped = has(self.status, 0);
        let of_session = if is_stopped { (0, 0) } else { (self.calibration, self.warning) };
        let on = |octet: u8, rows: &'static [Row]| rows.iter().filter(move |(bit, ..)| has(octet, *bit));
        on(self.status, STATUS)
            .chain(on(of_session.0, CALIBRATION))
            .chain(on(of_session.1, WARNING))
            .map(|(_, code, metric, words)| ((*code).to_owned(), raised(metric, words)))
            .collect()
    }

    /// What the bits say against the value that they came with.
    pub(super) fn quality(self) -> Quality {
        let said = [
            // Of the wrong type, malfunctioning.
            (self.status & 0b1100 != 0, Quality::SENSOR.with(Quality::QUESTIONABLE)),
            // A general device fault.
            (has(self.status, 5), Quality::QUESTIONABLE),
            (has(self.calibration, 0), Quality::CLOCK_NOT_SET),
            // Calibration required; too hot, too cold.
            (self.calibration & 0b11_1000 != 0, Quality::QUESTIONABLE),
            // Beyond what the sensor can measure: the number is where its scale ends.
            (self.warning & 0b1100_0000 != 0, Quality::QUESTIONABLE),
        ];
        said.into_iter().filter(|(is_said, _)| *is_said).fold(Quality::GOOD, |all, (_, flag)| all.with(flag))
    }
}

const fn has(octet: u8, bit: u8) -> bool {
    octet >> bit & 1 != 0
}

/// The device states no priority, and nobody can silence it from here.
fn raised(metric: &'static Metric, words: &str) -> Raised {
    Raised { metric, priority: Priority::Unstated, text: words.to_owned(), is_silenced: false }
}
