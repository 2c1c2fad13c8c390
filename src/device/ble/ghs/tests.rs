use super::*;
use crate::device::ble::MAX_VALUE;
use crate::device::decimal::Decimal;
use crate::device::observation::{Absent, Kind, Quality, Samples, Value};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Encodes as the layout says: one observation with the fields that are there.
#[derive(Clone, Debug, Default)]
struct Written {
    code: Option<u32>,
    seconds: Option<u32>,
    duration: Option<u32>,
    status: Option<u16>,
    id: Option<u32>,
    patient: Option<u8>,
    supplemental: Option<Vec<u32>>,
    derived: Option<Vec<u32>>,
    member: Option<Vec<u32>>,
    attributes: Option<Vec<Vec<u8>>>,
}

fn list(codes: &[u32]) -> Vec<u8> {
    let mut out = vec![u8::try_from(codes.len()).unwrap()];
    out.extend(codes.iter().flat_map(|code| code.to_le_bytes()));
    out
}

fn framed(class: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_le_bytes();
    [&[class][..], &length, body].concat()
}

impl Written {
    fn of(code: u32) -> Self {
        Self { code: Some(code), ..Self::default() }
    }

    fn encode(&self, class: u8, value: &[u8]) -> Vec<u8> {
        let time = |seconds: u32| [&[0x22][..], &seconds.to_le_bytes(), &[0, 0, 1, 0]].concat();
        let attributes = |all: &Vec<Vec<u8>>| {
            let mut out = vec![u8::try_from(all.len()).unwrap()];
            for value in all {
                out.extend(7u32.to_le_bytes());
                out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
                out.push(0x19);
                out.extend(value);
            }
            out
        };
        let fields = [
            self.code.map(|code| code.to_le_bytes().to_vec()),
            self.seconds.map(time),
            self.duration.map(|duration| duration.to_le_bytes().to_vec()),
            self.status.map(|status| status.to_le_bytes().to_vec()),
            self.id.map(|id| id.to_le_bytes().to_vec()),
            self.patient.map(|patient| vec![patient]),
            self.supplemental.as_deref().map(list),
            self.derived.as_deref().map(list),
            self.member.as_deref().map(list),
            self.attributes.as_ref().map(attributes),
        ];
        let flags = (0u16..).zip(&fields).map(|(bit, field)| u16::from(field.is_some()) << bit).sum::<u16>();
        let mut body = flags.to_le_bytes().to_vec();
        body.extend(fields.into_iter().flatten().flatten());
        body.extend(value);
        framed(class, &body)
    }
}

/// Percent, a whole number.
fn percent(number: u8) -> Vec<u8> {
    [&544u16.to_le_bytes()[..], &[number, 0, 0, 0]].concat()
}

fn spo2(number: u8) -> Vec<u8> {
    Written::of(150_456).encode(1, &percent(number))
}

/// In segments of so many octets, from a counter on.
fn segments(message: &[u8], size: usize, counter: usize) -> Vec<Vec<u8>> {
    let pieces: Vec<&[u8]> = message.chunks(size).collect();
    let last = pieces.len() - 1;
    let segment = |(at, piece): (usize, &&[u8])| {
        let header = usize::from(at == 0) + 2 * usize::from(at == last) + 4 * ((counter + at) % 64);
        [&[u8::try_from(header).unwrap()][..], piece].concat()
    };
    pieces.iter().enumerate().map(segment).collect()
}

fn read(message: &[u8]) -> Vec<Observation> {
    observation::read(message, None).unwrap().observations
}

fn values(observations: &[Observation]) -> Vec<&Value> {
    observations.iter().map(|observation| &observation.value).collect()
}

#[test]
fn the_sensor_is_told_once_to_send_and_nothing_else() {
    let mut sensor = HealthSensor::new();
    assert_eq!(sensor.poll_write(), GattWrite::live_observations(true));
    assert_eq!(sensor.poll_write(), None);
    assert_eq!(sensor.handle_value(HEALTH_SENSOR_CONTROL, &[0x80]), Ok(Vec::new()));
    assert_eq!(sensor.handle_value(HEALTH_SENSOR_CONTROL, &[0x81]).unwrap_err().kind, FaultKind::Refused);
    assert_eq!(sensor.poll_write(), None);
}

#[test]
fn features_tell_what_will_be_sent_in_vain() {
    let mut sensor = HealthSensor::new();
    let mut ask = |types: &[u32], tail: &[u8]| {
        let value = [&[1][..], &list(types), tail].concat();
        sensor.handle_read(FEATURES, Some(&value))
    };
    // ST's example sensor, and a blood pressure panel.
    assert_eq!(ask(&[150_456, 149_530], &[1, 0x07, 0x10, 1]), Ok(Vec::new()));
    assert_eq!(ask(&[150_020], &[]), Ok(Vec::new()));
    let fault = ask(&[150_456, 160_208, 4_711], &[]).unwrap_err();
    assert_eq!(fault.detail, "it reports types that are not filed here: 160208, 4711");
    assert_eq!(sensor.handle_read(FEATURES, None), Ok(Vec::new()));
    for cut in [&[][..], &[1], &[1, 1, 0, 0, 0]] {
        assert_eq!(sensor.handle_read(FEATURES, Some(cut)).unwrap_err().kind, FaultKind::Malformed);
    }
    let other = Characteristic { service: 0x180F, uuid: 0x2A19 };
    assert_eq!(sensor.handle_read(other, None).unwrap_err().kind, FaultKind::Unexpected);
}

#[test]
fn what_cannot_be_filed_is_told_beside_what_can() {
    let unknown = Written::of(199_999).encode(1, &percent(1));
    let message = Written::default().encode(0xFF, &[&[3][..], &unknown, &spo2(98), &unknown].concat());
    let mut sensor = HealthSensor::new();
    let given = sensor.handle_value(LIVE, &[&[3][..], &message].concat()).unwrap();
    assert_eq!(values(&given), [&Value::Decimal(Decimal::whole(98))]);
    let fault = sensor.poll_fault().unwrap();
    assert_eq!(fault.detail, "health observation: type 199999 is none that is filed here");
    assert_eq!(sensor.poll_fault(), None);
}

#[test]
fn a_lost_segment_costs_one_value_and_is_told_beside_the_next() {
    for lost in [2, 3] {
        let mut sensor = HealthSensor::new();
        let mut first = segments(&spo2(97), 4, 0);
        assert_eq!(first.len(), 4);
        first.remove(lost);
        let told = first.iter().filter_map(|segment| sensor.handle_value(LIVE, segment).err()).count();
        let given = sensor.handle_value(LIVE, &[&[3 + 4 * 4][..], &spo2(98)].concat()).unwrap();
        assert_eq!(values(&given), [&Value::Decimal(Decimal::whole(98))]);
        // One that is lost before the end is told by the end, the end itself by the next value.
        let beside = sensor.poll_fault();
        assert_eq!((told, beside.is_some()), if lost == 2 { (1, false) } else { (0, true) });
        let words = "1 segments of live health observation are missing";
        assert!(beside.is_none_or(|fault| fault.detail.contains(words)));
    }
}

#[test]
fn a_transfer_that_ends_within_a_record_is_told_and_live_goes_on() {
    let mut sensor = HealthSensor::new();
    let live = segments(&spo2(97), 10, 0);
    let stored = segments(&[&[9, 0, 0, 0][..], &spo2(96)].concat(), 10, 0);
    assert_eq!(sensor.handle_value(LIVE, &live[0]), Ok(Vec::new()));
    assert_eq!(sensor.handle_value(STORED, &stored[0]), Ok(Vec::new()));
    assert!(sensor.handle_end().is_empty());
    assert!(sensor.poll_fault().unwrap().detail.contains("stored health observation did not end"));
    assert_eq!(sensor.poll_fault(), None);
    assert_eq!(sensor.handle_value(LIVE, &live[1]).unwrap().len(), 1);
}

/// Two kinds that the vectors do not show.
#[test]
fn each_value_is_of_the_kind_that_its_class_and_status_say() {
    let kind = |message: &[u8]| read(message).iter().map(|read| read.kind).collect::<Vec<_>>();
    assert_eq!(kind(&spo2(98)), [Kind::Measurement]);
    let setting = Written { status: Some(0x80), ..Written::of(150_456) };
    assert_eq!(kind(&setting.encode(1, &percent(90))), [Kind::Setting]);
    let limit = Written { status: Some(0x80C0), ..Written::of(150_456) };
    assert_eq!(kind(&limit.encode(1, &percent(90))), [Kind::Setting, Kind::State]);
    assert_eq!(kind(&Written::of(8_417_864).encode(2, &[1, 0, 0, 0])), [Kind::State]);
    assert_eq!(kind(&Written::of(150_604).encode(6, &[1, 1, 1, 1])), [Kind::State]);
    assert_eq!(kind(&Written::of(184_330).encode(3, &[1, 0, b'x'])), [Kind::State]);
    let wave = wave((1, 0), (0, 0), &[1]);
    assert_eq!(kind(&Written::of(150_452).encode(4, &wave)), [Kind::Wave]);
}

const CONTROL: u32 = 8_417_860;
const FASTING: u32 = 8_417_876;
const FINGER: u32 = 8_417_848;

/// In milligrams per decilitre.
fn glucose() -> Vec<u8> {
    [&2130u16.to_le_bytes()[..], &[100, 0, 0, 0]].concat()
}

fn bundle(common: &Written, inner: &[Vec<u8>]) -> Vec<u8> {
    let count = u8::try_from(inner.len()).unwrap();
    common.encode(0xFF, &[&[count][..], &inner.concat()].concat())
}

/// Wherever it is said, and whatever else is said beside it.
#[test]
fn control_solution_never_passes_as_a_value_of_a_patient() {
    let with =
        |supplemental: &[u32]| Written { supplemental: Some(supplemental.to_vec()), ..Written::of(160_184) };
    let plain = Written::of(160_184).encode(1, &glucose());
    assert_eq!(values(&read(&plain)), [&Value::Decimal(Decimal::whole(100))]);
    let common = Written { supplemental: Some(vec![CONTROL]), ..Written::default() };
    let inner = with(&[FINGER]).encode(1, &glucose());
    let term = CONTROL.to_le_bytes();
    let unknown = Written::of(199_999).encode(2, &term);
    let list = Written::of(199_999).encode(5, &[&[2][..], &FASTING.to_le_bytes(), &term].concat());
    let by_type = Written::of(160_208).encode(1, &glucose());
    let setting = Written { status: Some(0x80), ..with(&[CONTROL]) }.encode(1, &glucose());
    let none = Written::default();
    // An attribute whose value is the term: flags, type, one attribute (type, length, format uint32, value).
    let attribute =
        [&[0x01, 0x02][..], &160_184u32.to_le_bytes(), &[1, 7, 0, 0, 0, 4, 0, 8], &term, &glucose()];
    let cases = [
        ("in the bundle, with others within", bundle(&common, std::slice::from_ref(&inner))),
        ("in the bundle alone", bundle(&common, std::slice::from_ref(&plain))),
        ("a value of an unknown type", bundle(&none, &[plain.clone(), unknown])),
        ("one of several codes", bundle(&none, &[list, plain.clone()])),
        ("a reading of it beside", bundle(&none, &[plain, by_type])),
        ("a setting", setting),
        ("an attribute", framed(1, &attribute.concat())),
    ];
    for (name, message) in cases {
        let read = read(&message);
        let number = read.iter().find(|read| read.metric.code == 160_184).expect(name);
        assert_eq!(number.value, Value::Absent(Absent::Error), "{name}");
        assert!(number.quality.has(Quality::TEST), "{name}");
    }
}

#[test]
fn what_supplemental_types_say_of_a_sample_is_told_behind_it() {
    let of =
        |supplemental: &[u32]| Written { supplemental: Some(supplemental.to_vec()), ..Written::default() };
    let alone = Written { code: Some(160_184), ..of(&[FASTING, 8_417_888, FINGER, 4_711]) };
    let told = |message: &[u8]| -> Vec<(u32, u32, String)> {
        let text = |value: &Value| if let Value::Text(text) = value { text.clone() } else { String::new() };
        read(message).iter().map(|read| (read.metric.code, read.modality, text(&read.value))).collect()
    };
    let fasting = (8_417_864, 0, "MDC_CTXT_GLU_MEAL_FASTING".to_owned());
    let oneself = (8_417_884, 0, "MDC_CTXT_GLU_TESTER_SELF".to_owned());
    let expected = [(160_184, FINGER, String::new()), fasting.clone(), oneself.clone()];
    assert_eq!(told(&alone.encode(1, &glucose())), expected);
    // Of a bundle once; what is within keeps its own site.
    let inner = Written { code: Some(160_184), ..of(&[FINGER, 8_417_888]) }.encode(1, &glucose());
    let expected = [(160_184, FINGER, String::new()), oneself, fasting];
    assert_eq!(told(&bundle(&of(&[8_417_852, FASTING]), &[inner])), expected);
    // The nearer one holds, whichever the table of modalities has first.
    let inner = Written { code: Some(160_184), ..of(&[8_417_852]) }.encode(1, &glucose());
    assert_eq!(told(&bundle(&of(&[FINGER]), &[inner])), [(160_184, 8_417_852, String::new())]);
    let silent = Written { code: Some(160_184), ..of(&[4_711]) }.encode(1, &glucose());
    assert_eq!(told(&bundle(&of(&[FINGER]), &[silent])), [(160_184, FINGER, String::new())]);
}

#[test]
fn nothing_that_is_given_depends_on_the_patient_index() {
    let of = |patient| Written { patient, ..Written::of(150_456) }.encode(1, &percent(98));
    let without = read(&of(None));
    assert!((0..=255).all(|patient| read(&of(Some(patient))) == without));
}

#[test]
fn every_type_stands_in_the_table_once() {
    let codes: BTreeSet<u32> = types::READS.iter().map(|metric| metric.code).collect();
    assert_eq!(codes.len(), types::READS.len());
    for metric in types::READS {
        let is_stated = types::find(metric.code).is_some_and(|(found, _)| found == *metric);
        assert_ne!(is_stated, metric.code >> 16 == 1024, "{}", metric.reference);
    }
}

/// In millivolt, a sample in three octets, each 4 ms.
fn wave(scale: (i32, i8), offset: (i32, i8), samples: &[u32]) -> Vec<u8> {
    let float = |(mantissa, exponent): (i32, i8)| {
        let [low, middle, high, _] = mantissa.to_le_bytes();
        [low, middle, high, exponent.cast_unsigned()]
    };
    let mut out = 4274u16.to_le_bytes().to_vec();
    out.extend([scale, offset, (4, -3)].into_iter().flat_map(float));
    out.extend([1, 3]);
    out.extend(u32::try_from(samples.len()).unwrap().to_le_bytes());
    out.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()[..3].to_vec()));
    out
}

#[test]
fn a_wave_has_a_bounded_number_of_samples() {
    let of = |count| Written::of(131_329).encode(4, &wave((1, -3), (0, 0), &vec![7; count]));
    let Value::Samples(samples) = &read(&of(1024))[0].value else { panic!("no samples") };
    assert_eq!(samples.values, [7; 1024]);
    let fault = observation::read(&of(1025), None).unwrap().fault().unwrap();
    assert!(fault.detail.contains("1025 samples, not 1 to 1024"), "{fault}");
}

fn optional<T: std::fmt::Debug + Clone + Arbitrary + 'static>() -> impl Strategy<Value = Option<T>> {
    proptest::option::of(any::<T>())
}

fn codes() -> impl Strategy<Value = Option<Vec<u32>>> {
    proptest::option::of(proptest::collection::vec(any::<u32>(), 0..4))
}

fn written() -> impl Strategy<Value = Written> {
    let plain = (optional(), optional(), optional(), optional(), optional());
    let attributes = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..5), 0..3);
    let lists = (codes(), codes(), codes(), proptest::option::of(attributes));
    (plain, lists).prop_map(|((seconds, duration, status, id, patient), lists)| {
        let (supplemental, derived, member, attributes) = lists;
        Written {
            code: Some(150_456),
            seconds,
            duration,
            status,
            id,
            patient,
            supplemental,
            derived,
            member,
            attributes,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_written_is_read(written in written(), number in 0u8..=100, class in 0u8..3) {
        let value = percent(number);
        // Alone, as a component, in a bundle.
        let message = match class {
            0 => written.encode(1, &value),
            1 => written.encode(7, &[&[1, 0xB8, 0x4B, 2, 0, 1][..], &value].concat()),
            _ => Written::default().encode(0xFF, &[&[1][..], &written.encode(1, &value)].concat()),
        };
        let read = read(&message);
        let status = written.status.unwrap_or(0);
        prop_assert_eq!(read.len(), if status & 0xC040 == 0 { 1 } else { 2 });
        let expected = match status & 0b1_0101 {
            0 => Value::Decimal(Decimal::whole(number)),
            4 => Value::Absent(Absent::Unknown),
            _ => Value::Absent(Absent::Error),
        };
        prop_assert_eq!(&read[0].value, &expected);
        prop_assert_eq!(read[0].quality.has(Quality::QUESTIONABLE), status & 2 != 0);
        prop_assert_eq!(read[0].quality.has(Quality::CALIBRATING), status & 8 != 0);
        prop_assert_eq!(read[0].status.as_str() == "preliminary", status & 32 != 0);
        prop_assert_eq!(read[0].kind == Kind::Setting, status & 128 != 0);
        prop_assert_eq!(read[0].device_time.is_some(), written.seconds.is_some());
        if status & 0xC040 != 0 {
            prop_assert_eq!(&read[1].value, &Value::Bits(u32::from(status & 0xC0FF)));
        }
        for length in 0..message.len() {
            prop_assert!(observation::read(&message[..length], None).is_err(), "{} octets", length);
        }
    }

    #[test]
    fn however_it_is_cut_a_sensor_says_the_same(
        written in written(),
        size in 1usize..60,
        counter in 0usize..64,
        record in any::<u32>(),
    ) {
        let message = written.encode(1, &percent(97));
        let stored = [&record.to_le_bytes()[..], &message].concat();
        let segments = segments(&stored, size, counter);
        prop_assume!(segments.len() <= 64);
        let mut sensor = HealthSensor::new();
        let (last, before) = segments.split_last().unwrap();
        for segment in before {
            prop_assert_eq!(sensor.handle_value(STORED, segment), Ok(Vec::new()));
        }
        let given = sensor.handle_value(STORED, last).unwrap();
        let whole = read(&message);
        prop_assert_eq!(values(&given), values(&whole));
        let is_stored = |read: &Observation| read.record == Some(record) && read.quality.has(Quality::STORED);
        prop_assert!(given.iter().all(is_stored));
        prop_assert_eq!(sensor.poll_fault(), None);
    }

    #[test]
    fn a_wave_is_exact_or_refused(
        scale in (-5_000i32..5_000, -4i8..3),
        offset in (-5_000i32..5_000, -4i8..3),
        samples in proptest::collection::vec(0u32..70_000, 1..20),
    ) {
        let message = Written::of(131_329).encode(4, &wave(scale, offset, &samples));
        // In units of 10^-4.
        let ten_thousandths = |(mantissa, exponent): (i32, i8)| {
            i128::from(mantissa) * 10i128.pow(u32::try_from(exponent + 4).unwrap())
        };
        let (scale, offset) = (ten_thousandths(scale), ten_thousandths(offset));
        let expected: Vec<i128> = samples.iter().map(|raw| i128::from(*raw) * scale + offset).collect();
        let found = observation::read(&message, None).unwrap();
        if let Some(observation) = found.observations.first() {
            let Value::Samples(Samples { period_us: 4_000, exponent, values }) = &observation.value else {
                panic!("{observation:?}")
            };
            let factor = 10i128.pow(u32::try_from(*exponent + 4).unwrap());
            let given: Vec<i128> = values.iter().map(|value| i128::from(*value) * factor).collect();
            prop_assert_eq!(given, expected);
        } else {
            prop_assert!(found.fault().unwrap().detail.contains("do not fit into 16 bits"));
            let fits = |factor: i128| expected.iter().all(|value| {
                value % factor == 0 && (value / factor).abs() <= 32_767
            });
            prop_assert!((0..12).all(|places| !fits(10i128.pow(places))), "{:?}", expected);
        }
    }

    #[test]
    fn arbitrary_messages_never_panic_and_stay_bounded(
        class in prop_oneof![0u8..10, Just(0xFF)],
        body in proptest::collection::vec(prop_oneof![any::<u8>(), 0u8..3], 0..120),
    ) {
        let message = framed(class, &body);
        if let Ok(found) = observation::read(&message, None) {
            prop_assert!(found.observations.len() <= message.len());
            prop_assert!(found.fault().is_none_or(|fault| fault.detail.len() <= MAX_VALUE));
        }
    }
}
