//! Battery (0x180F): the charge of a device that runs on one. A row that any device may list besides.
//!
//! Battery Level 2A19 (GATT Specification Supplement, "Battery Level"): one octet, 0 to 100 %. It is read on every
//! connection and subscribed to.
//!
//! Choices:
//! - *101 to 255* are reserved, and no charge: `error` (some read 255 as a number).
//! - A device with several batteries has a service for each. They cannot be told apart where services of one
//!   UUID collapse to one (see the limits in `link/ble.rs`): what is read is one of them.

use super::occasion::Occasion;
use super::octets::Octets;
use crate::device::Fault;
use crate::device::catalogue::{BleProfile, Class, Decoder};
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{ATTR_VAL_BATT_CHARGE, PERCENT};
use crate::device::observation::{Absent, Observation, Status, Value};
use crate::link::Characteristic;

const SERVICE: u16 = 0x180F;
const LEVEL: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A19 };

/// The catalogue row.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "battery",
    title: "Battery",
    class: Class::Monitor,
    service: SERVICE,
    asks: &[LEVEL],
    subscribes: &[LEVEL],
    episodic: &[LEVEL],
    stored: None,
    reads: &[&ATTR_VAL_BATT_CHARGE],
    decoder: || Box::new(Battery),
};

const FULL: u8 = 100;

struct Battery;

impl Decoder for Battery {
    fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        value.map_or(Ok(Vec::new()), |value| self.handle_value(of, value))
    }

    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        if of != LEVEL {
            return Err(super::not_of_this_profile(of, &PROFILE));
        }
        let mut octets = Octets::new("battery level", value)?;
        let level = octets.u8("level")?;
        octets.end()?;
        let charge =
            if level > FULL { Value::Absent(Absent::Error) } else { Value::Decimal(Decimal::whole(level)) };
        Ok(vec![Occasion::new(Status::Final).measured(&ATTR_VAL_BATT_CHARGE, charge, &PERCENT)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_says_the_same_as_what_is_notified() {
        for level in 0..=u8::MAX {
            let told = Battery.handle_value(LEVEL, &[level]).unwrap();
            assert_eq!(Battery.handle_read(LEVEL, Some(&[level])), Ok(told.clone()));
            let is_number = told[0].value == Value::Decimal(Decimal::new(i64::from(level), 0));
            assert_eq!(is_number, level <= 100, "{level}");
        }
        assert_eq!(Battery.handle_read(LEVEL, None), Ok(Vec::new()));
    }
}
