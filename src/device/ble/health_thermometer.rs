//! Health Thermometer (0x1809): ear, mouth, axillary and patch thermometers.
//!
//! Temperature Measurement 2A1C and Intermediate Temperature 2A1E (GATT Specification Supplement,
//! "Temperature Measurement", "Intermediate Temperature"): flags; a FLOAT in degrees Celsius or Fahrenheit;
//! the time; the site. Temperature Type 2A1D, read once on every connection: the site of a thermometer that
//! knows only one, which then says nothing of it in its measurements.
//!
//! Choices:
//! - *Site.* Each has a code of its own. The measurement's word goes before that of 2A1D. Without either,
//!   and for a reserved one, it is a body temperature with nothing said of where.
//! - *Unit.* As sent: degrees Fahrenheit are not converted, as most of them have no finite Celsius.
//! - *Intermediate values* are preliminary, whatever they say: a display while the measurement goes on.
//! - *Time* stays as it came; see `occasion.rs` for one that no calendar has.
//! - Only the five exact patterns of a FLOAT are no number. 0x7FFFFFFF, which some take for infinity, is
//!   -1 times ten to the power of 127, and flagged implausible by policy.
//!
//! A measurement that was not received is lost where the thermometer keeps none: it is indicated once.

use super::occasion::Occasion;
use super::octets::Octets;
use crate::device::Fault;
use crate::device::catalogue::{BleProfile, Class, Decoder};
use crate::device::nomenclature::{
    DEGREE_CELSIUS, FAHRENHEIT, Metric, TEMP_AXILLA, TEMP_BODY, TEMP_EAR, TEMP_FINGER, TEMP_GIT, TEMP_ORAL,
    TEMP_RECT, TEMP_TOE, TEMP_TYMP,
};
use crate::device::observation::{Observation, Status};
use crate::link::Characteristic;

const SERVICE: u16 = 0x1809;
const MEASUREMENT: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A1C };
const INTERMEDIATE: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A1E };
const TYPE: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A1D };

/// The catalogue row.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "health-thermometer",
    title: "Health Thermometer",
    class: Class::Monitor,
    service: SERVICE,
    asks: &[TYPE],
    subscribes: &[MEASUREMENT, INTERMEDIATE],
    episodic: &[MEASUREMENT, INTERMEDIATE],
    stored: None,
    reads: &[
        &TEMP_BODY,
        &TEMP_AXILLA,
        &TEMP_EAR,
        &TEMP_FINGER,
        &TEMP_GIT,
        &TEMP_ORAL,
        &TEMP_RECT,
        &TEMP_TOE,
        &TEMP_TYMP,
    ],
    decoder: || Box::new(Thermometer::default()),
};

const IS_FAHRENHEIT: u8 = 1;
const TIME_PRESENT: u8 = 1 << 1;
const TYPE_PRESENT: u8 = 1 << 2;

#[derive(Default)]
struct Thermometer {
    /// What 2A1D says, if the thermometer has it.
    site: Option<u8>,
}

impl Decoder for Thermometer {
    fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        if of != TYPE {
            return Err(super::not_of_this_profile(of, &PROFILE));
        }
        if let Some(value) = value {
            let mut octets = Octets::new("temperature type", value)?;
            let site = octets.u8("type")?;
            octets.end()?;
            self.site = Some(site);
        }
        Ok(Vec::new())
    }

    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        let (what, status) = match of {
            MEASUREMENT => ("temperature measurement", Status::Final),
            INTERMEDIATE => ("intermediate temperature", Status::Preliminary),
            other => return Err(super::not_of_this_profile(other, &PROFILE)),
        };
        let mut octets = Octets::new(what, value)?;
        let flags = octets.u8("flags")?;
        let has = |flag: u8| flags & flag != 0;
        let unit = if has(IS_FAHRENHEIT) { &FAHRENHEIT } else { &DEGREE_CELSIUS };
        let temperature = octets.float("temperature")?;
        let mut occasion = Occasion::new(status);
        if has(TIME_PRESENT) {
            occasion.take_time(octets.date_time("time")?);
        }
        let stated = if has(TYPE_PRESENT) { Some(octets.u8("temperature type")?) } else { None };
        let site = stated.or(self.site);
        Ok(vec![occasion.measured(site.map_or(&TEMP_BODY, metric), temperature, unit)])
    }
}

/// Temperature Type (GATT Specification Supplement): 0 and from 10 on are reserved.
fn metric(site: u8) -> &'static Metric {
    match site {
        1 => &TEMP_AXILLA,
        3 => &TEMP_EAR,
        4 => &TEMP_FINGER,
        5 => &TEMP_GIT,
        6 => &TEMP_ORAL,
        7 => &TEMP_RECT,
        8 => &TEMP_TOE,
        9 => &TEMP_TYMP,
        _ => &TEMP_BODY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::FaultKind;
    use crate::device::decimal::Decimal;
    use crate::device::observation::{DeviceTime, Value};
    use proptest::prelude::*;

    fn site_after(read: Option<&[u8]>, value: &[u8]) -> &'static Metric {
        let mut decoder = Thermometer::default();
        let outcome = decoder.handle_read(TYPE, read);
        assert!(matches!(&outcome, Ok(said) if said.is_empty()), "{outcome:?}");
        decoder.handle_value(MEASUREMENT, value).unwrap()[0].metric
    }

    #[test]
    fn the_site_is_the_one_of_the_measurement_else_the_one_that_was_read() {
        let (bare, rectal) = ([0, 0x6C, 1, 0, 0xFF], [4, 0x6C, 1, 0, 0xFF, 7]);
        assert_eq!(site_after(None, &bare), &TEMP_BODY);
        assert_eq!(site_after(Some(&[6]), &bare), &TEMP_ORAL);
        assert_eq!(site_after(Some(&[6]), &rectal), &TEMP_RECT);
        assert_eq!(site_after(Some(&[200]), &bare), &TEMP_BODY);
    }

    #[test]
    fn a_temperature_type_of_another_length_is_refused_and_says_nothing() {
        for read in [&[][..], &[6, 6][..]] {
            let mut decoder = Thermometer::default();
            assert_eq!(decoder.handle_read(TYPE, Some(read)).unwrap_err().kind, FaultKind::Malformed);
            let said = decoder.handle_value(MEASUREMENT, &[0, 0x6C, 1, 0, 0xFF]).unwrap();
            assert_eq!(said[0].metric, &TEMP_BODY);
        }
        let other = Characteristic { service: SERVICE, uuid: 0x2A21 };
        assert_eq!(
            Thermometer::default().handle_read(other, Some(&[6])).unwrap_err().kind,
            FaultKind::Unexpected
        );
    }

    /// Writes a value as the specification lays it out.
    fn encode(flags: u8, mantissa: i32, exponent: i8, time: [u8; 7], site: u8) -> Vec<u8> {
        let mut out = vec![flags];
        out.extend_from_slice(&mantissa.to_le_bytes()[..3]);
        out.extend_from_slice(&exponent.to_le_bytes());
        if flags & 2 != 0 {
            out.extend_from_slice(&time);
        }
        if flags & 4 != 0 {
            out.push(site);
        }
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            flags in any::<u8>(),
            mantissa in -8_000_000i32..8_000_000,
            exponent in any::<i8>(),
            time in any::<[u8; 7]>(),
            site in any::<u8>(),
            is_intermediate in any::<bool>(),
        ) {
            let value = encode(flags, mantissa, exponent, time, site);
            let of = if is_intermediate { INTERMEDIATE } else { MEASUREMENT };
            let mut decoder = Thermometer::default();
            let read = decoder.handle_value(of, &value).unwrap();
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!(&read[0].value, &Value::Decimal(Decimal::new(i64::from(mantissa), exponent)));
            prop_assert_eq!(read[0].unit.ucum, if flags & 1 == 0 { "Cel" } else { "[degF]" });
            prop_assert_eq!(read[0].status == Status::Preliminary, is_intermediate);
            let [low, high, month, day, hour, minute, second] = time;
            let year = u16::from(high) * 256 + u16::from(low);
            let expected = DeviceTime { year, month, day, hour, minute, second, ..DeviceTime::default() };
            prop_assert_eq!(read[0].device_time, (flags & 2 != 0).then_some(expected));
            if flags & 4 == 0 {
                prop_assert_eq!(read[0].metric, &TEMP_BODY);
            }
            for length in 0..value.len() {
                prop_assert!(decoder.handle_value(of, &value[..length]).is_err());
            }
        }
    }
}
