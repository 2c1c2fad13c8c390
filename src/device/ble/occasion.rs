//! What is said of all values of one measurement together: its time, whether it is final, what is against it.

use super::consent::{UNKNOWN_USER, USER_INDEX};
use super::octets::is_calendar_time;
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{DIMENSIONLESS, Metric, Unit};
use crate::device::observation::{DeviceTime, Kind, Observation, Quality, Status, Value};

/// One measurement, as far as all its values share it.
#[derive(Clone, Copy)]
pub(super) struct Occasion {
    time: Option<DeviceTime>,
    status: Status,
    quality: Quality,
}

impl Occasion {
    /// A measurement of which nothing is known.
    pub(super) const fn new(status: Status) -> Self {
        Self { time: None, status, quality: Quality::GOOD }
    }

    /// The device's time, kept as it came. One that no calendar has (month 13 is on sale, year 0 is
    /// "unknown") stays too, flagged `clock-not-set`: the one word for "do not go by its clock".
    pub(super) fn take_time(&mut self, time: DeviceTime) {
        self.time = Some(time);
        if !is_calendar_time(time) {
            self.flag(Quality::CLOCK_NOT_SET);
        }
    }

    /// Something against all its values.
    pub(super) fn flag(&mut self, quality: Quality) {
        self.quality = self.quality.with(quality);
    }

    /// It is not a result.
    pub(super) fn is_not_final(&mut self) {
        self.status = Status::Preliminary;
    }

    /// What was measured.
    pub(super) fn measured(&self, metric: &'static Metric, value: Value, unit: &'static Unit) -> Observation {
        self.observation(metric, value, unit, Kind::Measurement)
    }

    /// A word of bits about it.
    pub(super) fn stated(&self, metric: &'static Metric, bits: u32) -> Observation {
        self.observation(metric, Value::Bits(bits), &DIMENSIONLESS, Kind::State)
    }

    /// Whose it is, where the device says so and knows it.
    pub(super) fn of_user(&self, user: Option<u8>) -> Option<Observation> {
        let index = Value::Decimal(Decimal::whole(user.filter(|user| *user != UNKNOWN_USER)?));
        Some(self.observation(&USER_INDEX, index, &DIMENSIONLESS, Kind::State))
    }

    fn observation(
        &self,
        metric: &'static Metric,
        value: Value,
        unit: &'static Unit,
        kind: Kind,
    ) -> Observation {
        let Self { time: device_time, status, quality } = *self;
        Observation {
            metric,
            channel: 0,
            value,
            unit,
            modality: 0,
            kind,
            record: None,
            device_time,
            status,
            quality,
        }
    }
}
