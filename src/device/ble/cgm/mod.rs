//! Continuous Glucose Monitoring (0x181F): sensors that measure for days.
//!
//! Feature 2AA8, Session Start Time 2AAA and Session Run Time 2AAB are read on every connection, then Status 2AA9;
//! Measurement 2AA7 is notified, one or more records in a value (CGMS 1.0.2; GATT Specification Supplement).
//! The specific operations control point 2AAC (thresholds, calibration, start and stop of a session) is never
//! written, and so it is not subscribed to.
//!
//! Choices:
//! - *E2E-CRC.* The feature decides whether every value carries one. Until it was read nothing else is: a sensor
//!   keeps its records, so they come with the next connection. A wrong or missing CRC refuses the value as a whole,
//!   also CRC-16/CCITT-FALSE, which real transmitters of one maker send.
//! - *Sample type* decides the metric; a reserved one is glucose not said more exactly. Control solution is never a
//!   patient's: no number leaves the decoder, `error`, flagged `test`.
//! - *Time* is the session's start plus the record's minutes, with the start's zone. Where the start is unknown, no
//!   date, or in doubt, it is the minutes alone, on the device's own counter. After 65,535 minutes (45 days)
//!   the offset can count no further; what a sensor does then no text at hand says.
//! - *Record* is the time offset: by it the records are asked for. It counts within one session only.
//!   Edges of alarms carry none: the record alone, asked for again, does not give them.
//! - *Stored* is every record that is older than the sensor's own "now", which Status says, or than one that was
//!   seen before.
//! - *Alarms* are edges of the annunciation, out of Status, and out of records that are not older than it and
//!   newer than every one seen. What was stored raises nothing. Without Status nobody can tell an old record from
//!   a new one: no record raises an alarm before the transfer of the stored ones has ended, and Status is asked for
//!   again. Of two records of one minute the first is taken. That the offset of Status is the time of reading, and
//!   not of its last change, is an inference: where it is not, records stored since may raise theirs.
//! - *Another session.* A record that is older than the one before it comes out of storage, or of a new session.
//!   It waits, with all after it, until start and status are read again; then all are told. What still waits when
//!   the transfer or the connection ends is dropped, and fetched again: told without its time, it would come twice.
//!   A read that gets no answer meanwhile costs the connection; one that is refused only the time. A status that went back
//!   in time is a new session's, also against the last record that is remembered where the start is unknown; and so
//!   is another start than the one that is remembered: then all records are fetched. If its start is still the old one, the start is not to be trusted any more.
//! - *Octet order.* Status, calibration and temperature, warning, as the specification has them. The sensor code
//!   of Nordic's nRF5 SDK (`nrf_ble_cgms`) sends them the other way round; nothing in a record tells.

mod annunciation;
#[allow(
    unreachable_pub,
    dead_code,
    reason = "the table's macro is made for a public one; the tests go through CODES"
)]
mod codes;
mod monitor;
mod session;
mod values;

use self::monitor::Monitor;
use crate::device::catalogue::{BleProfile, Class, Stored};
use crate::device::nomenclature as mdc;
use crate::link::Characteristic;
use crate::link::gatt::Filter;

const SERVICE: u16 = 0x181F;
const MEASUREMENT: Characteristic = Characteristic { service: SERVICE, uuid: 0x2AA7 };
const FEATURE: Characteristic = Characteristic { service: SERVICE, uuid: 0x2AA8 };
const STATUS: Characteristic = Characteristic { service: SERVICE, uuid: 0x2AA9 };
const SESSION_START: Characteristic = Characteristic { service: SERVICE, uuid: 0x2AAA };
const RUN_TIME: Characteristic = Characteristic { service: SERVICE, uuid: 0x2AAB };

/// The catalogue row. Records come minutes apart: their silence means nothing.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "continuous-glucose",
    title: "Continuous Glucose Monitoring",
    class: Class::Monitor,
    service: SERVICE,
    // Status is asked for when the start of the session is known.
    asks: &[FEATURE, SESSION_START, RUN_TIME],
    subscribes: &[MEASUREMENT],
    episodic: &[MEASUREMENT],
    stored: Some(Stored::RecordAccess { filter: Filter::Short }),
    reads: &[
        &mdc::CONC_GLU_GEN,
        &mdc::CONC_GLU_CAPILLARY_WHOLEBLOOD,
        &mdc::CONC_GLU_CAPILLARY_PLASMA,
        &mdc::CONC_GLU_VENOUS_WHOLEBLOOD,
        &mdc::CONC_GLU_VENOUS_PLASMA,
        &mdc::CONC_GLU_ARTERIAL_WHOLEBLOOD,
        &mdc::CONC_GLU_ARTERIAL_PLASMA,
        &mdc::CONC_GLU_UNDETERMINED_WHOLEBLOOD,
        &mdc::CONC_GLU_UNDETERMINED_PLASMA,
        &mdc::CONC_GLU_ISF,
        &mdc::CONC_GLU_CONTROL,
        &mdc::EVT_BATT_LO,
        &mdc::EVT_SENSOR_PROB,
        &codes::FEATURES,
        &codes::STATUS,
        &codes::SESSION_START,
        &codes::RUN_TIME,
        &codes::TREND,
        &codes::QUALITY,
        &codes::EVT_SENSOR_TYPE,
        &codes::EVT_DEVICE_ALERT,
        &codes::EVT_DEVICE_FAULT,
        &codes::EVT_CALIBRATION,
        &codes::EVT_TOO_HOT,
        &codes::EVT_TOO_COLD,
        &codes::EVT_PATIENT_LOW,
        &codes::EVT_PATIENT_HIGH,
        &codes::EVT_HYPO,
        &codes::EVT_HYPER,
        &codes::EVT_FALLING,
        &codes::EVT_RISING,
        &codes::EVT_BELOW_RANGE,
        &codes::EVT_ABOVE_RANGE,
    ],
    decoder: || Box::new(Monitor::default()),
};

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
