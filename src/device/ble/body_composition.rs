//! Body Composition (0x181B): scales that measure the body's impedance and say what it is made of.
//!
//! Body Composition Measurement 2A9C (GATT Specification Supplement, "Body Composition Measurement"): flags; the
//! body fat; the time; the user; then, each by its flag, basal metabolism, muscle as a part and as a mass, the
//! masses without fat, of soft lean tissue and of water, impedance, weight and height.
//!
//! Choices:
//! - *Two packets.* What does not fit into one value comes in two, both marked by a flag, and body fat in both
//!   (the order of the fields in them is the service's; its text was not at hand). Each part is given out as
//!   it comes, so nothing is lost with a connection that ends between them. A second part is joined to the first,
//!   taking its time and saying the body fat no more, when nothing in it speaks against that: the same user and
//!   the same time, or none, the same body fat and no field that the first one had. Anything else is a part
//!   of another measurement: it stands alone, and that a part is missing is told.
//! - *Unsuccessful.* A body fat of 0xFFFF says that the measurement did not succeed: every value that comes with it is
//!   no result, `error` and flagged `invalid`, in both parts. A mass of 0xFFFF alone is `error` by itself.
//! - *Impedance* is given as sent, without a unit: the specification calls its step 0.1 ohm in words and 0.01 in
//!   numbers. Which of them a model means is to be found out with it.
//! - *User.* The index of a person in the scale's memory tells the parts of two measurements apart, and is told once
//!   as a state behind the values of the first, unless it is 0xFF, "unknown".
//! - *Unit.* As sent; a height in steps of a millimetre is given in centimetres, exactly.
//! - One maker puts another layout on 2A9C, which nothing in the value tells: its scales must not be listed.

use super::consent::USER_INDEX;
use super::occasion::Occasion;
use super::octets::Octets;
use super::weight_scale::{System, UNSUCCESSFUL, tenths};
use crate::device::catalogue::{BleProfile, Class, Decoder};
use crate::device::nomenclature::{
    BODY_FAT, BODY_WATER, DIMENSIONLESS, KILOJOULE, LEN_BODY_ACTUAL, MASS_BODY_ACTUAL, MASS_BODY_FAT_FREE,
    MASS_BODY_SOFT_LEAN, Metric, PERCENT, Unit,
};
use crate::device::observation::{Absent, DeviceTime, Observation, Quality, Status, Value};
use crate::device::{Fault, FaultKind};
use crate::link::Characteristic;

use codes::{BASAL_METABOLISM, IMPEDANCE, MUSCLE_MASS, MUSCLE_PERCENTAGE};

const SERVICE: u16 = 0x181B;
const MEASUREMENT: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A9C };

#[expect(dead_code, unreachable_pub, reason = "the macro makes tables that are shared by all, too")]
mod codes {
    //! Codes of our private block from `0x0400_1141` on.

    use crate::device::nomenclature::rows;

    rows! { Metric CODES:
        /// The energy that the body uses at rest.
        BASAL_METABOLISM = { code: 67_113_281, reference: "BLE_BASAL_METABOLISM", label: "basal metabolism", loinc: None, plausible: None };
        /// The part of the body that is muscle.
        MUSCLE_PERCENTAGE = { code: 67_113_282, reference: "BLE_MUSCLE_PERCENTAGE", label: "muscle percentage", loinc: None, plausible: Some((0, 100)) };
        /// The mass of the body's muscles.
        MUSCLE_MASS = { code: 67_113_283, reference: "BLE_MUSCLE_MASS", label: "muscle mass", loinc: None, plausible: None };
        /// The body's impedance, as sent.
        IMPEDANCE = { code: 67_113_284, reference: "BLE_BODY_IMPEDANCE_RAW", label: "body impedance, as sent", loinc: None, plausible: None };
    }
}

/// The catalogue row.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "body-composition",
    title: "Body Composition",
    class: Class::Monitor,
    service: SERVICE,
    asks: &[],
    subscribes: &[MEASUREMENT],
    episodic: &[MEASUREMENT],
    stored: None,
    reads: &[
        &BODY_FAT,
        &BASAL_METABOLISM,
        &MUSCLE_PERCENTAGE,
        &MUSCLE_MASS,
        &MASS_BODY_FAT_FREE,
        &MASS_BODY_SOFT_LEAN,
        &BODY_WATER,
        &IMPEDANCE,
        &MASS_BODY_ACTUAL,
        &LEN_BODY_ACTUAL,
        &USER_INDEX,
    ],
    decoder: || Box::new(Analyser::default()),
};

const IS_IMPERIAL: u16 = 1;
const TIME_PRESENT: u16 = 1 << 1;
const USER_PRESENT: u16 = 1 << 2;
const IS_ONE_OF_TWO: u16 = 1 << 12;

/// The fields after the user, in their order: flag, name, what it is, how it is read.
const FIELDS: [(u16, &str, &Metric, Reading); 9] = [
    (1 << 3, "basal metabolism", &BASAL_METABOLISM, Reading::Steps(0, &KILOJOULE)),
    (1 << 4, "muscle percentage", &MUSCLE_PERCENTAGE, Reading::Steps(-1, &PERCENT)),
    (1 << 5, "muscle mass", &MUSCLE_MASS, Reading::Mass),
    (1 << 6, "fat-free mass", &MASS_BODY_FAT_FREE, Reading::Mass),
    (1 << 7, "soft lean mass", &MASS_BODY_SOFT_LEAN, Reading::Mass),
    (1 << 8, "body water mass", &BODY_WATER, Reading::Mass),
    (1 << 9, "impedance", &IMPEDANCE, Reading::Steps(0, &DIMENSIONLESS)),
    (1 << 10, "weight", &MASS_BODY_ACTUAL, Reading::Mass),
    (1 << 11, "height", &LEN_BODY_ACTUAL, Reading::Length),
];

/// How a field's two octets are to be read.
#[derive(Clone, Copy)]
enum Reading {
    /// Steps of a power of ten of a unit.
    Steps(i8, &'static Unit),
    /// A mass, by the system of the value.
    Mass,
    /// A length, by the system of the value.
    Length,
}

#[derive(Default)]
struct Analyser {
    /// The first of two parts, while the second is to come.
    first: Option<Part>,
    /// A part came without its other one.
    is_fault_due: bool,
}

/// What shows which part belongs to which.
#[derive(Clone, Copy)]
struct Part {
    flags: u16,
    fat: u16,
    time: Option<DeviceTime>,
    user: Option<u8>,
}

type Field = (&'static Metric, Value, &'static Unit);

impl Decoder for Analyser {
    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        if of != MEASUREMENT {
            return Err(super::not_of_this_profile(of, &PROFILE));
        }
        let (part, mut fields) = read(value)?;
        let before = self.join(part);
        let mut occasion = Occasion::new(Status::Final);
        if let Some(time) = part.time.or(before.and_then(|first| first.time)) {
            occasion.take_time(time);
        }
        if before.is_none() {
            fields.insert(0, (&BODY_FAT, tenths(part.fat, -1), &PERCENT));
        }
        let is_unsuccessful = part.fat == UNSUCCESSFUL;
        if is_unsuccessful {
            occasion.flag(Quality::INVALID);
        }
        let gate = |number: Value| if is_unsuccessful { Value::Absent(Absent::Error) } else { number };
        let measured =
            fields.into_iter().map(|(metric, number, unit)| occasion.measured(metric, gate(number), unit));
        // With the body fat: once.
        let user = part.user.filter(|_| before.is_none());
        Ok(measured.chain(occasion.of_user(user)).collect())
    }

    fn handle_end(&mut self) -> Vec<Observation> {
        self.is_fault_due |= self.first.take().is_some();
        Vec::new()
    }

    fn poll_fault(&mut self) -> Option<Fault> {
        let detail = "a part of a body composition measurement came without its other part".to_owned();
        std::mem::take(&mut self.is_fault_due).then(|| Fault::new(FaultKind::Unexpected, detail))
    }
}

impl Analyser {
    /// The part to which this one is the second. One that is none begins anew.
    fn join(&mut self, part: Part) -> Option<Part> {
        let first = self.first.take();
        let before = first.filter(|first| first.is_continued_by(part));
        self.is_fault_due |= first.is_some() && before.is_none();
        if before.is_none() && part.has(IS_ONE_OF_TWO) {
            self.first = Some(part);
        }
        before
    }
}

impl Part {
    const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    fn is_continued_by(&self, next: Self) -> bool {
        let fields = FIELDS.iter().fold(0, |all, (flag, ..)| all | flag);
        next.has(IS_ONE_OF_TWO)
            && self.fat == next.fat
            && (next.time.is_none() || next.time == self.time)
            && (next.user.is_none() || next.user == self.user)
            && self.flags & next.flags & fields == 0
            && self.has(IS_IMPERIAL) == next.has(IS_IMPERIAL)
    }
}

fn read(value: &[u8]) -> Result<(Part, Vec<Field>), Fault> {
    let mut octets = Octets::new("body composition measurement", value)?;
    let flags = octets.u16("flags")?;
    let has = |flag: u16| flags & flag != 0;
    let system = System::of_flag(has(IS_IMPERIAL));
    let fat = octets.u16("body fat")?;
    let time = if has(TIME_PRESENT) { Some(octets.date_time("time")?) } else { None };
    let user = if has(USER_PRESENT) { Some(octets.u8("user")?) } else { None };
    let mut fields = Vec::new();
    for (flag, name, metric, reading) in FIELDS {
        if has(flag) {
            let steps = octets.u16(name)?;
            let (number, unit) = match reading {
                Reading::Steps(exponent, unit) => (tenths(steps, exponent), unit),
                Reading::Mass if steps == UNSUCCESSFUL => {
                    (Value::Absent(Absent::Error), system.mass(steps).1)
                }
                Reading::Mass => system.mass(steps),
                Reading::Length => system.length(steps),
            };
            fields.push((metric, number, unit));
        }
    }
    Ok((Part { flags, fat, time, user }, fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::decimal::Decimal;
    use proptest::prelude::*;

    /// Flags, body fat, and what follows.
    fn part(flags: u16, fat: u16, rest: &[u8]) -> Vec<u8> {
        let head = flags.to_le_bytes().into_iter().chain(fat.to_le_bytes());
        head.chain(rest.iter().copied()).collect()
    }

    fn said(analyser: &mut Analyser, value: &[u8]) -> Vec<(u32, Option<u8>)> {
        let read = analyser.handle_value(MEASUREMENT, value).unwrap();
        read.iter().map(|said| (said.metric.code, said.device_time.map(|time| time.minute))).collect()
    }

    const HALF: u16 = 1 << 12;
    const WEIGHT: u16 = 1 << 10;
    const TIME: u16 = 1 << 1;

    #[test]
    fn a_second_part_is_of_the_time_of_the_first_and_does_not_repeat_the_fat() {
        let mut analyser = Analyser::default();
        let first = part(HALF | TIME, 250, &[0xEA, 7, 11, 22, 23, 30, 0]);
        let second = part(HALF | WEIGHT, 250, &[0xA8, 0x0C]);
        assert_eq!(said(&mut analyser, &first), [(188_748, Some(30))]);
        assert_eq!(said(&mut analyser, &second), [(188_736, Some(30))]);
        // Then all is over: a third one begins anew.
        assert_eq!(said(&mut analyser, &second), [(188_748, None), (188_736, None)]);
    }

    #[test]
    fn a_part_of_another_user_fat_system_or_with_a_field_again_stands_alone_and_is_told() {
        const USER: u16 = 1 << 2;
        let clock = [0xEA, 7, 11, 22, 23, 30, 0];
        let first = part(HALF | TIME | USER | WEIGHT, 250, &[&clock[..], &[3, 0xA8, 0x0C]].concat());
        let muscle = 1 << 4;
        for other in [
            part(HALF | USER | muscle, 250, &[4, 0xA8, 0x0C]),
            part(HALF | muscle, 251, &[0xA8, 0x0C]),
            part(HALF | muscle | 1, 250, &[0xA8, 0x0C]),
            part(HALF | WEIGHT, 250, &[0xA8, 0x0C]),
        ] {
            let mut analyser = Analyser::default();
            let told = [(188_748, Some(30)), (188_736, Some(30)), (67_113_313, Some(30))];
            assert_eq!(said(&mut analyser, &first), told);
            assert_eq!(analyser.poll_fault(), None);
            let alone = said(&mut analyser, &other);
            let count = if other[0] & 4 == 0 { 2 } else { 3 };
            assert_eq!((alone.len(), alone[0]), (count, (188_748, None)), "{other:?}");
            assert!(analyser.poll_fault().unwrap().detail.contains("without its other part"));
            assert_eq!(analyser.poll_fault(), None);
        }
        // The same user, said again or not.
        for user in [&[3][..], &[]] {
            let flag = if user.is_empty() { 0 } else { USER };
            let mut analyser = Analyser::default();
            said(&mut analyser, &first);
            let second = part(HALF | flag | muscle, 250, &[user, &[0xA8, 0x0C]].concat());
            assert_eq!(said(&mut analyser, &second), [(67_113_282, Some(30))]);
            assert_eq!(analyser.poll_fault(), None);
        }
    }

    #[test]
    fn a_part_whose_other_one_does_not_come_is_told_at_the_end() {
        let mut analyser = Analyser::default();
        said(&mut analyser, &part(HALF, 250, &[]));
        assert_eq!((analyser.poll_fault(), analyser.handle_end()), (None, Vec::new()));
        assert!(analyser.poll_fault().is_some());
        said(&mut analyser, &part(0, 250, &[]));
        assert_eq!((analyser.handle_end(), analyser.poll_fault()), (Vec::new(), None));
    }

    #[test]
    fn a_part_of_another_time_a_whole_one_and_the_end_begin_a_new_measurement() {
        let timed = |minute| part(HALF | TIME, 250, &[0xEA, 7, 11, 22, 23, minute, 0]);
        let second = part(HALF | WEIGHT, 250, &[0xA8, 0x0C]);
        let mut analyser = Analyser::default();
        said(&mut analyser, &timed(30));
        assert_eq!(said(&mut analyser, &timed(31)), [(188_748, Some(31))]);
        assert_eq!(said(&mut analyser, &second), [(188_736, Some(31))]);
        said(&mut analyser, &timed(32));
        assert_eq!(said(&mut analyser, &part(0, 250, &[])), [(188_748, None)]);
        assert_eq!(said(&mut analyser, &second), [(188_748, None), (188_736, None)]);
        let mut analyser = Analyser::default();
        said(&mut analyser, &timed(33));
        assert_eq!(analyser.handle_end(), []);
        assert_eq!(said(&mut analyser, &second), [(188_748, None), (188_736, None)]);
    }

    #[test]
    fn a_part_that_cannot_be_read_changes_nothing() {
        let mut analyser = Analyser::default();
        said(&mut analyser, &part(HALF | TIME, 250, &[0xEA, 7, 11, 22, 23, 30, 0]));
        assert!(analyser.handle_value(MEASUREMENT, &part(HALF | WEIGHT, 250, &[0xA8])).is_err());
        let second = part(HALF | WEIGHT, 250, &[0xA8, 0x0C]);
        assert_eq!(said(&mut analyser, &second), [(188_736, Some(30))]);
    }

    #[test]
    fn nothing_of_a_measurement_that_did_not_succeed_is_a_result() {
        let mut analyser = Analyser::default();
        let first = part(HALF | WEIGHT, 0xFFFF, &[0xA8, 0x0C]);
        let second = part(HALF | 1 << 4, 0xFFFF, &[0xA8, 0x0C]);
        let mut said = analyser.handle_value(MEASUREMENT, &first).unwrap();
        said.extend(analyser.handle_value(MEASUREMENT, &second).unwrap());
        assert_eq!(said.len(), 3);
        for said in said {
            assert_eq!((said.value, said.quality), (Value::Absent(Absent::Error), Quality::INVALID));
        }
    }

    #[test]
    fn a_mass_that_did_not_succeed_is_none_and_says_nothing_of_the_others() {
        let value = part(1 << 3 | 1 << 5 | WEIGHT, 250, &[0xFF, 0xFF, 0xFF, 0xFF, 0xA8, 0x0C]);
        let said = Analyser::default().handle_value(MEASUREMENT, &value).unwrap();
        let values: Vec<Value> = said.into_iter().map(|said| said.value).collect();
        let number = |mantissa, exponent| Value::Decimal(Decimal::new(mantissa, exponent));
        let error = Value::Absent(Absent::Error);
        assert_eq!(values, [number(250, -1), number(65_535, 0), error, number(16_200, -3)]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(flags in any::<u16>(), fat in 0u16..0xFFFF, fields in proptest::array::uniform9(0u16..0xFFFF)) {
            let mut rest = Vec::new();
            if flags & 2 != 0 {
                rest.extend([0xEA, 7, 11, 22, 23, 30, 0]);
            }
            if flags & 4 != 0 {
                rest.push(3);
            }
            let mass = if flags & 1 == 0 { (5, -3, "kg") } else { (1, -2, "[lb_av]") };
            let length = (1, -1, if flags & 1 == 0 { "cm" } else { "[in_i]" });
            let layout = [
                (67_113_281, (1, 0, "kJ")), (67_113_282, (1, -1, "%")), (67_113_283, mass), (188_756, mass),
                (188_760, mass), (188_764, mass), (67_113_284, (1, 0, "1")), (188_736, mass), (188_740, length),
            ];
            let mut expected = vec![(188_748, Decimal::new(i64::from(fat), -1), "%")];
            for (place, (field, (code, (step, exponent, unit)))) in fields.iter().zip(layout).enumerate() {
                if flags & 8 << place != 0 {
                    rest.extend(field.to_le_bytes());
                    expected.push((code, Decimal::new(i64::from(*field) * step, exponent), unit));
                }
            }
            if flags & 4 != 0 {
                expected.push((67_113_313, Decimal::whole(3u8), "1"));
            }
            let value = part(flags, fat, &rest);
            let read = Analyser::default().handle_value(MEASUREMENT, &value).unwrap();
            prop_assert_eq!(read.len(), expected.len());
            for (said, (code, number, unit)) in read.iter().zip(expected) {
                prop_assert_eq!((said.metric.code, said.unit.ucum), (code, unit));
                prop_assert_eq!(&said.value, &Value::Decimal(number));
                prop_assert_eq!(said.device_time.is_some(), flags & 2 != 0);
            }
            for length in 0..value.len() {
                prop_assert!(Analyser::default().handle_value(MEASUREMENT, &value[..length]).is_err());
            }
        }
    }
}
