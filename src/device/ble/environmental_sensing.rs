//! Environmental Sensing (0x181A): the air of a room, a fridge, an incubator.
//!
//! One characteristic for each quantity, each one number of fixed length (GATT Specification Supplement, sections of
//! their names): temperature 2A6E, humidity 2A6F, pressure 2A6D, dew point 2A7B, and the concentrations of gases and
//! particles 2BCF to 2BD9. All are read on every connection, as a sensor may notify only what changes, and
//! subscribed to. What the service may also have of weather (wind, rain, pollen, magnetic field, ...) is left out.
//!
//! None of this is of a patient: the subject is the place where the sensor stands ([`is_of_place`]), by the pseudonym
//! of the `location` in its entry.
//!
//! Choices:
//! - *Not known* is no value: `unknown`. A number that the specification prohibits (a humidity of 101 %) stays,
//!   and policy flags it as implausible.
//! - *Unit.* As sent: concentrations are in kilograms per cubic metre, pressure in pascals.
//! - *Several sensors of one kind* in one device (two probes of a fridge) are legal and told apart by their
//!   place in the device only. They collapse to one, which one is not said, where characteristics of one UUID
//!   do (see the limits in `link/ble.rs`): such a device must not be listed.

use super::occasion::Occasion;
use super::octets::Octets;
use crate::device::Fault;
use crate::device::catalogue::{BleProfile, Class, Decoder};
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{
    DEGREE_CELSIUS, KILOGRAM_PER_M3, Metric, PART_PER_BILLION, PASCAL, PERCENT, REL_HUMIDITY_MICROENV,
    TEMP_ROOM, Unit,
};
use crate::device::observation::{Absent, Observation, Status, Value};
use crate::link::Characteristic;

const SERVICE: u16 = 0x181A;

#[expect(dead_code, unreachable_pub, reason = "the macro makes tables that are shared by all, too")]
mod codes {
    //! Codes of our private block from `0x0400_1201` on.

    use crate::device::nomenclature::rows;

    rows! { Metric CODES:
        /// Air pressure.
        PRESSURE = { code: 67_113_473, reference: "BLE_AIR_PRESSURE", label: "air pressure", loinc: None, plausible: Some((30_000, 120_000)) };
        /// Dew point.
        DEW_POINT = { code: 67_113_474, reference: "BLE_DEW_POINT", label: "dew point", loinc: None, plausible: Some((-100, 100)) };
        /// Ammonia in the air.
        AMMONIA = { code: 67_113_475, reference: "BLE_AMMONIA", label: "ammonia", loinc: None, plausible: None };
        /// Carbon monoxide in the air.
        CARBON_MONOXIDE = { code: 67_113_476, reference: "BLE_CARBON_MONOXIDE", label: "carbon monoxide", loinc: None, plausible: None };
        /// Methane in the air.
        METHANE = { code: 67_113_477, reference: "BLE_METHANE", label: "methane", loinc: None, plausible: None };
        /// Nitrogen dioxide in the air.
        NITROGEN_DIOXIDE = { code: 67_113_478, reference: "BLE_NITROGEN_DIOXIDE", label: "nitrogen dioxide", loinc: None, plausible: None };
        /// Volatile organic compounds other than methane in the air.
        ORGANIC_COMPOUNDS = { code: 67_113_479, reference: "BLE_ORGANIC_COMPOUNDS", label: "volatile organic compounds without methane", loinc: None, plausible: None };
        /// Ozone in the air.
        OZONE = { code: 67_113_480, reference: "BLE_OZONE", label: "ozone", loinc: None, plausible: None };
        /// Particles up to 1 µm in the air.
        PM1 = { code: 67_113_481, reference: "BLE_PM1", label: "particles up to 1 µm", loinc: None, plausible: None };
        /// Particles up to 2.5 µm in the air.
        PM2_5 = { code: 67_113_482, reference: "BLE_PM2_5", label: "particles up to 2.5 µm", loinc: None, plausible: None };
        /// Particles up to 10 µm in the air.
        PM10 = { code: 67_113_483, reference: "BLE_PM10", label: "particles up to 10 µm", loinc: None, plausible: None };
        /// Sulfur dioxide in the air.
        SULFUR_DIOXIDE = { code: 67_113_484, reference: "BLE_SULFUR_DIOXIDE", label: "sulfur dioxide", loinc: None, plausible: None };
        /// Sulfur hexafluoride in the air.
        SULFUR_HEXAFLUORIDE = { code: 67_113_485, reference: "BLE_SULFUR_HEXAFLUORIDE", label: "sulfur hexafluoride", loinc: None, plausible: None };
    }
}

/// The catalogue row.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "environmental-sensing",
    title: "Environmental Sensing",
    class: Class::Monitor,
    service: SERVICE,
    asks: &ALL,
    subscribes: &ALL,
    episodic: &ALL,
    stored: None,
    reads: &[
        &TEMP_ROOM,
        &REL_HUMIDITY_MICROENV,
        &codes::PRESSURE,
        &codes::DEW_POINT,
        &codes::AMMONIA,
        &codes::CARBON_MONOXIDE,
        &codes::METHANE,
        &codes::NITROGEN_DIOXIDE,
        &codes::ORGANIC_COMPOUNDS,
        &codes::OZONE,
        &codes::PM1,
        &codes::PM2_5,
        &codes::PM10,
        &codes::SULFUR_DIOXIDE,
        &codes::SULFUR_HEXAFLUORIDE,
    ],
    decoder: || Box::new(Sensor),
};

/// Whether something is said of the place where the sensor stands, and not of the sensor.
pub fn is_of_place(metric: &Metric) -> bool {
    PROFILE.reads.iter().any(|known| known.code == metric.code)
}

/// One quantity: its characteristic, name, code, unit and layout.
struct Quantity(u16, &'static str, &'static Metric, &'static Unit, Layout);

/// How the number stands in its octets.
#[derive(Clone, Copy)]
enum Layout {
    /// One octet with a sign, in whole units.
    Signed8,
    /// Two octets with a sign, in hundredths; 0x8000 is not known.
    Signed16,
    /// Two octets, in hundredths; 0xFFFF is not known.
    Unsigned16,
    /// Four octets, in tenths.
    Unsigned32,
    /// An SFLOAT.
    Float,
}

const QUANTITIES: [Quantity; 15] = [
    Quantity(0x2A6E, "temperature", &TEMP_ROOM, &DEGREE_CELSIUS, Layout::Signed16),
    Quantity(0x2A6F, "humidity", &REL_HUMIDITY_MICROENV, &PERCENT, Layout::Unsigned16),
    Quantity(0x2A6D, "pressure", &codes::PRESSURE, &PASCAL, Layout::Unsigned32),
    Quantity(0x2A7B, "dew point", &codes::DEW_POINT, &DEGREE_CELSIUS, Layout::Signed8),
    gas(0x2BCF, "ammonia concentration", &codes::AMMONIA),
    gas(0x2BD0, "carbon monoxide concentration", &codes::CARBON_MONOXIDE),
    // Its neighbours are in kg/m3 (GATT Specification Supplement, "Methane Concentration").
    Quantity(0x2BD1, "methane concentration", &codes::METHANE, &PART_PER_BILLION, Layout::Float),
    gas(0x2BD2, "nitrogen dioxide concentration", &codes::NITROGEN_DIOXIDE),
    gas(0x2BD3, "organic compounds concentration", &codes::ORGANIC_COMPOUNDS),
    gas(0x2BD4, "ozone concentration", &codes::OZONE),
    gas(0x2BD5, "PM1 concentration", &codes::PM1),
    gas(0x2BD6, "PM2.5 concentration", &codes::PM2_5),
    gas(0x2BD7, "PM10 concentration", &codes::PM10),
    gas(0x2BD8, "sulfur dioxide concentration", &codes::SULFUR_DIOXIDE),
    gas(0x2BD9, "sulfur hexafluoride concentration", &codes::SULFUR_HEXAFLUORIDE),
];

const fn gas(uuid: u16, name: &'static str, metric: &'static Metric) -> Quantity {
    Quantity(uuid, name, metric, &KILOGRAM_PER_M3, Layout::Float)
}

/// The characteristics of the table, in its order.
const ALL: [Characteristic; 15] = [
    of(0x2A6E),
    of(0x2A6F),
    of(0x2A6D),
    of(0x2A7B),
    of(0x2BCF),
    of(0x2BD0),
    of(0x2BD1),
    of(0x2BD2),
    of(0x2BD3),
    of(0x2BD4),
    of(0x2BD5),
    of(0x2BD6),
    of(0x2BD7),
    of(0x2BD8),
    of(0x2BD9),
];

const fn of(uuid: u16) -> Characteristic {
    Characteristic { service: SERVICE, uuid }
}

struct Sensor;

impl Decoder for Sensor {
    fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        value.map_or(Ok(Vec::new()), |value| self.handle_value(of, value))
    }

    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        let known = QUANTITIES.iter().find(|quantity| of.service == SERVICE && of.uuid == quantity.0);
        let Some(Quantity(_, name, metric, unit, layout)) = known else {
            return Err(super::not_of_this_profile(of, &PROFILE));
        };
        let mut octets = Octets::new(name, value)?;
        let number = layout.read(&mut octets)?;
        octets.end()?;
        Ok(vec![Occasion::new(Status::Final).measured(metric, number, unit)])
    }
}

impl Layout {
    fn read(self, octets: &mut Octets<'_>) -> Result<Value, Fault> {
        let field = "number";
        let (number, exponent, is_known) = match self {
            Self::Float => return octets.sfloat(field),
            Self::Signed8 => (i64::from(octets.u8(field)?.cast_signed()), 0, true),
            Self::Signed16 => {
                let number = octets.u16(field)?.cast_signed();
                (i64::from(number), -2, number != i16::MIN)
            }
            Self::Unsigned16 => {
                let number = octets.u16(field)?;
                (i64::from(number), -2, number != u16::MAX)
            }
            Self::Unsigned32 => (i64::from(octets.u32(field)?), -1, true),
        };
        let decimal = Value::Decimal(Decimal::new(number, exponent));
        Ok(if is_known { decimal } else { Value::Absent(Absent::Unknown) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_quantity_of_the_table_is_asked_for_and_in_the_row() {
        let listed: Vec<u16> = QUANTITIES.iter().map(|quantity| quantity.0).collect();
        assert_eq!(ALL.map(|of| of.uuid).to_vec(), listed);
        let metrics: Vec<u32> = QUANTITIES.iter().map(|quantity| quantity.2.code).collect();
        assert_eq!(PROFILE.reads.iter().map(|metric| metric.code).collect::<Vec<_>>(), metrics);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in any::<i32>(), mantissa in 0u16..2000, exponent in 0u16..16) {
            let [low, high, ..] = number.to_le_bytes();
            let short = number.rem_euclid(65_536);
            let signed = |bits: u32| {
                let rest = i64::from(number).rem_euclid(1 << bits);
                if rest < 1 << (bits - 1) { rest } else { rest - (1 << bits) }
            };
            let known = |is: bool, number: i64| if is { Some(Decimal::new(number, -2)) } else { None };
            let power = i8::try_from(exponent).unwrap();
            let power = if power < 8 { power } else { power - 16 };
            let gas = (exponent * 4096 + mantissa).to_le_bytes().to_vec();
            for (of, value, expected) in [
                (0x2A6E, vec![low, high], known(short != 0x8000, signed(16))),
                (0x2A6F, vec![low, high], known(short != 0xFFFF, i64::from(short))),
                (0x2A6D, number.to_le_bytes().to_vec(), Some(Decimal::new(i64::from(number).rem_euclid(1 << 32), -1))),
                (0x2A7B, vec![low], Some(Decimal::new(signed(8), 0))),
                (0x2BD6, gas, Some(Decimal::new(i64::from(mantissa), power))),
            ] {
                let of = Characteristic { service: SERVICE, uuid: of };
                let expected = expected.map_or(Value::Absent(Absent::Unknown), Value::Decimal);
                let read = Sensor.handle_value(of, &value);
                prop_assert_eq!(Sensor.handle_read(of, Some(&value)), read.clone());
                prop_assert_eq!(&read.unwrap()[0].value, &expected);
                prop_assert!(Sensor.handle_value(of, &value[1..]).is_err());
                prop_assert!(Sensor.handle_value(of, &[&value[..], &[0]].concat()).is_err());
                prop_assert_eq!(Sensor.handle_read(of, None), Ok(Vec::new()));
            }
        }
    }
}
