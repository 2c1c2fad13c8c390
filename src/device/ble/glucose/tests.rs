use super::*;
use crate::device::FaultKind;
use proptest::prelude::*;

const CLOCK: [u8; 7] = [0xEA, 0x07, 11, 22, 8, 30, 0];

/// 100 mg/dL in capillary whole blood from a finger.
fn measurement(number: u8, announces_context: bool) -> Vec<u8> {
    let flags = if announces_context { 0x12 } else { 0x02 };
    [&[flags, number, 0][..], &CLOCK, &[0x64, 0xB0, 0x11]].concat()
}

/// A meal.
fn context(number: u8, meal: u8) -> Vec<u8> {
    vec![0x02, number, 0, meal]
}

/// What was said, as the number of the record and the code.
fn told(said: &[Observation]) -> Vec<(u32, u32)> {
    said.iter().map(|said| (said.record.unwrap(), said.metric.code)).collect()
}

const RESULT: u32 = 160_184;
const LOCATION: u32 = 8_417_844;
const MEAL_CODE: u32 = 8_417_864;

#[test]
fn a_measurement_without_context_is_given_at_once() {
    let mut meter = Meter::default();
    let said = meter.handle_value(MEASUREMENT, &measurement(1, false)).unwrap();
    assert_eq!(told(&said), [(1, RESULT), (1, LOCATION)]);
    assert_eq!(meter.handle_end(), []);
}

#[test]
fn a_measurement_waits_for_its_context_and_both_have_one_number_and_one_time() {
    let mut meter = Meter::default();
    assert_eq!(meter.handle_value(MEASUREMENT, &measurement(1, true)), Ok(Vec::new()));
    let said = meter.handle_value(CONTEXT, &context(1, 1)).unwrap();
    assert_eq!(told(&said), [(1, RESULT), (1, LOCATION), (1, MEAL_CODE)]);
    let time = said[0].device_time;
    assert!(time.is_some() && said.iter().all(|said| said.device_time == time));
    assert_eq!(meter.handle_end(), []);
}

#[test]
fn only_the_end_shows_that_no_context_comes() {
    let mut meter = Meter::default();
    for number in 1..=3 {
        assert_eq!(meter.handle_value(MEASUREMENT, &measurement(number, number != 3)), Ok(Vec::new()));
    }
    let each = [(1, RESULT), (1, LOCATION), (2, RESULT), (2, LOCATION), (3, RESULT), (3, LOCATION)];
    assert_eq!(told(&meter.handle_end()), each);
    assert_eq!(meter.handle_end(), []);
}

/// Measurements first and then their contexts, also in another order: what is not glucose is never given as
/// such, and the records keep the order in which they came.
#[test]
fn a_context_that_is_not_the_very_next_value_finds_its_measurement() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let mut meter = Meter::default();
        for number in 1..=3 {
            assert_eq!(meter.handle_value(MEASUREMENT, &measurement(number, true)), Ok(Vec::new()));
        }
        let meal = |number| if number == 2 { 6 } else { 1 };
        let said: Vec<Observation> = order
            .into_iter()
            .flat_map(|number| meter.handle_value(CONTEXT, &context(number, meal(number))).unwrap())
            .collect();
        let each = [RESULT, NOT_GLUCOSE.code, RESULT];
        let expected: Vec<(u32, u32)> = (1..=3)
            .zip(each)
            .flat_map(|(number, code)| [(number, code), (number, LOCATION), (number, MEAL_CODE)])
            .collect();
        assert_eq!(told(&said), expected, "{order:?}");
        assert_eq!((meter.handle_end(), meter.poll_fault()), (Vec::new(), None));
    }
}

#[test]
fn a_context_before_its_measurement_waits_for_it() {
    let mut meter = Meter::default();
    assert_eq!(meter.handle_value(CONTEXT, &context(1, 6)), Ok(Vec::new()));
    let said = meter.handle_value(MEASUREMENT, &measurement(1, true)).unwrap();
    assert_eq!(told(&said), [(1, NOT_GLUCOSE.code), (1, LOCATION), (1, MEAL_CODE)]);
    let time = said[0].device_time;
    assert!(time.is_some() && said.iter().all(|said| said.device_time == time));
    meter.handle_value(CONTEXT, &context(9, 1)).unwrap();
    let alone = meter.handle_end();
    assert_eq!((told(&alone), alone[0].device_time), (vec![(9, MEAL_CODE)], None));
}

#[test]
fn a_context_that_comes_late_has_the_number_and_the_time_of_its_record() {
    let mut meter = Meter::default();
    let first = meter.handle_value(MEASUREMENT, &measurement(1, false)).unwrap();
    meter.handle_value(MEASUREMENT, &measurement(2, true)).unwrap();
    let late = meter.handle_value(CONTEXT, &context(1, 1)).unwrap();
    assert_eq!(told(&late), [(1, MEAL_CODE)], "the second still waits for its own");
    assert_eq!(late[0].device_time, first[0].device_time);
    assert_eq!(meter.poll_fault(), None);
    assert_eq!(told(&meter.handle_value(CONTEXT, &context(2, 1)).unwrap()).len(), 3);
}

#[test]
fn a_late_context_that_says_it_was_not_glucose_is_told() {
    let mut meter = Meter::default();
    meter.handle_value(MEASUREMENT, &measurement(1, false)).unwrap();
    assert_eq!(told(&meter.handle_value(CONTEXT, &context(1, 6)).unwrap()), [(1, MEAL_CODE)]);
    let fault = meter.poll_fault().unwrap();
    assert!(fault.detail.contains("record 1 was given as glucose"), "{fault}");
    assert_eq!(meter.poll_fault(), None);
}

#[test]
fn records_that_wait_are_bounded_and_none_is_lost() {
    let mut meter = Meter::default();
    let mut said = Vec::new();
    for number in 0..=255 {
        said.extend(meter.handle_value(MEASUREMENT, &measurement(number, true)).unwrap());
        assert_eq!(told(&said).len(), 2 * (usize::from(number) + 1).saturating_sub(waiting::MOST_WAITING));
    }
    said.extend(meter.handle_end());
    let numbers: Vec<u32> = told(&said).into_iter().step_by(2).map(|(number, _)| number).collect();
    assert_eq!(numbers, (0..=255).collect::<Vec<_>>());
}

#[test]
fn a_year_that_is_unknown_stays_and_places_nothing() {
    let mut meter = Meter::default();
    let mut value = measurement(1, false);
    (value[3], value[4]) = (0, 0);
    let said = meter.handle_value(MEASUREMENT, &value).unwrap();
    assert_eq!(said[0].device_time.unwrap().to_string(), "0000-11-22T08:30:00");
    assert!(said[0].quality.has(Quality::CLOCK_NOT_SET));
    let stored = Observation { quality: Quality::STORED, ..said[0].clone() };
    let at = crate::time::Now::default();
    assert_eq!(crate::device::placing::place(&stored, at), crate::device::placing::Placed::Unknown);
}

#[test]
fn the_reserved_meal_six_makes_a_result_that_is_not_glucose() {
    let mut meter = Meter::default();
    meter.handle_value(MEASUREMENT, &measurement(1, true)).unwrap();
    let said = meter.handle_value(CONTEXT, &context(1, 6)).unwrap();
    assert_eq!(told(&said)[0], (1, NOT_GLUCOSE.code));
    assert!(said[0].quality.has(Quality::QUESTIONABLE));
    assert!(matches!(said[0].value, Value::Decimal(number) if number.to_string() == "100"));
}

#[test]
fn a_clock_that_is_wrong_is_said_of_the_context_too() {
    let mut meter = Meter::default();
    let mut value = measurement(1, true);
    value[5] = 13;
    meter.handle_value(MEASUREMENT, &value).unwrap();
    let said = meter.handle_value(CONTEXT, &context(1, 1)).unwrap();
    assert_eq!(said.len(), 3);
    assert!(said.iter().all(|said| said.quality.has(Quality::CLOCK_NOT_SET)));
}

#[test]
fn a_value_that_is_refused_leaves_what_waits() {
    let mut meter = Meter::default();
    meter.handle_value(MEASUREMENT, &measurement(1, true)).unwrap();
    assert_eq!(meter.handle_value(MEASUREMENT, &[0x02, 2]).unwrap_err().kind, FaultKind::Malformed);
    assert_eq!(meter.handle_value(CONTEXT, &[0x02, 1, 0]).unwrap_err().kind, FaultKind::Malformed);
    assert_eq!(told(&meter.handle_value(CONTEXT, &context(1, 1)).unwrap()).len(), 3);
}

#[test]
fn what_is_remembered_for_late_context_is_bounded() {
    let mut meter = Meter::default();
    for number in 0..=255 {
        meter.handle_value(MEASUREMENT, &measurement(number, false)).unwrap();
    }
    assert_eq!(meter.recent.len(), RECENT);
}

/// Written from the specification: fields in the order of their flags.
#[derive(Clone, Debug)]
struct Written {
    number: u16,
    offset: Option<i16>,
    result: Option<(i16, bool, u8, u8)>,
    status: Option<u16>,
}

impl Written {
    fn octets(&self) -> Vec<u8> {
        let flag = |bit: u8, is_set: bool| u8::from(is_set) << bit;
        let moles = self.result.is_some_and(|(_, moles, ..)| moles);
        let flags = flag(0, self.offset.is_some())
            | flag(1, self.result.is_some())
            | flag(2, moles)
            | flag(3, self.status.is_some());
        let mut out = vec![flags];
        out.extend(self.number.to_le_bytes());
        out.extend(CLOCK);
        out.extend(self.offset.into_iter().flat_map(i16::to_le_bytes));
        if let Some((mantissa, _, kind, location)) = self.result {
            // Exponent -5 as four bits is 11.
            let mantissa = u16::try_from(i32::from(mantissa).rem_euclid(4096)).unwrap();
            out.extend((11 * 4096 + mantissa).to_le_bytes());
            out.push(kind + 16 * location);
        }
        out.extend(self.status.into_iter().flat_map(u16::to_le_bytes));
        out
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        number in any::<u16>(),
        offset in proptest::option::of(any::<i16>()),
        result in proptest::option::of((0i16..2000, any::<bool>(), 1u8..10, 0u8..16)),
        status in proptest::option::of(any::<u16>()),
    ) {
        let written = Written { number, offset, result, status };
        let said = Meter::default().handle_value(MEASUREMENT, &written.octets()).unwrap();
        prop_assert!(said.iter().all(|said| said.record == Some(number.into())));
        prop_assert!(said.iter().all(|said| said.device_time.unwrap().offset == offset));
        let first = &said[0];
        if let Some((_, _, _, 4)) = result {
                prop_assert_eq!(&first.value, &Value::Absent(Absent::Error), "a control solution");
                prop_assert_eq!(first.metric.code, CONC_GLU_CONTROL.code);
        } else if let Some((mantissa, moles, kind, _)) = result {
                // kg/L times 10^5 is mg/dL, mol/L times 10^3 is mmol/L.
                let exponent = if moles { -2 } else { 0 };
                let expected = crate::device::decimal::Decimal::new(mantissa.into(), exponent);
                prop_assert_eq!(&first.value, &Value::Decimal(expected));
                prop_assert_eq!(first.unit.ucum, if moles { "mmol/L" } else { "mg/dL" });
                prop_assert_eq!(first.metric.code, TYPES[usize::from(kind) - 1].code);
        } else {
            prop_assert_eq!(&first.value, &Value::Absent(Absent::Unknown));
        }
        let bits = said.iter().find_map(|said| if let Value::Bits(bits) = said.value { Some(bits) } else { None });
        prop_assert_eq!(bits, status.map(u32::from));
        prop_assert_eq!(said.len(), 1 + usize::from(result.is_some()) + usize::from(status.is_some()));
    }
}

#[test]
fn a_context_whose_measurement_does_not_come_is_told_and_is_no_record() {
    let mut meter = Meter::default();
    meter.handle_value(CONTEXT, &context(9, 1)).unwrap();
    meter.handle_value(MEASUREMENT, &measurement(8, true)).unwrap();
    assert_eq!(meter.poll_fault(), None);
    assert_eq!(told(&meter.handle_end()), [(9, MEAL_CODE), (8, RESULT), (8, LOCATION)]);
    let fault = meter.poll_fault().unwrap();
    assert!(fault.detail.contains("record 9 came without its measurement"), "{fault}");
    assert_eq!(meter.poll_fault(), None);
    // One of too many is no other.
    let mut meter = Meter::default();
    for number in 0..=64 {
        meter.handle_value(CONTEXT, &context(number, 1)).unwrap();
    }
    assert!(meter.poll_fault().unwrap().detail.contains("record 0 came without"));
}

/// Of control solution no number leaves the decoder, whatever a context says of it.
#[test]
fn a_context_that_says_that_control_solution_is_no_glucose_is_no_fault() {
    for announces in [false, true] {
        let mut meter = Meter::default();
        let mut value = measurement(1, announces);
        *value.last_mut().unwrap() = 0x1A;
        let mut said = meter.handle_value(MEASUREMENT, &value).unwrap();
        said.extend(meter.handle_value(CONTEXT, &context(1, 6)).unwrap());
        let codes: Vec<u32> = said.iter().map(|said| said.metric.code).collect();
        assert_eq!(codes, [CONC_GLU_CONTROL.code, LOCATION, MEAL_CODE]);
        assert_eq!(meter.poll_fault(), None);
    }
}
