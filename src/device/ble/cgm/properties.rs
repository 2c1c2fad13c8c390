//! What holds for every value, with an encoder that is written from the specification and knows nothing of the
//! decoder.

use super::session::SessionStart;
use super::tests::{asked, connected, feature, glucose, says, start, status};
use super::*;
use crate::device::catalogue::Decoder;
use crate::device::observation::{Absent, DeviceTime, Phase, Value};
use proptest::prelude::*;

/// One record as the specification lays it out; the octets of the annunciation are sent where they are not zero.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) glucose: u16,
    pub(super) offset: u16,
    pub(super) annunciation: [u8; 3],
    pub(super) trend: Option<u16>,
    pub(super) quality: Option<u16>,
}

/// The remainder by the polynomial, bit by bit over a message that is written as the bits go over the air:
/// another way than the one of the table of the link.
fn remainder(octets: &[u8]) -> [u8; 2] {
    let bits = octets.iter().flat_map(|octet| (0..8).map(move |bit| u32::from(octet >> bit & 1)));
    let register = bits.fold(0xFFFF_u32, |register, bit| {
        let out = (register >> 15 & 1) ^ bit;
        (register << 1 & 0xFFFF) ^ if out == 1 { 0x1021 } else { 0 }
    });
    u16::try_from(register).unwrap().reverse_bits().to_le_bytes()
}

pub(super) fn sealed(mut octets: Vec<u8>, is_protected: bool) -> Vec<u8> {
    if is_protected {
        let crc = remainder(&octets);
        octets.extend(crc);
    }
    octets
}

pub(super) fn encode(sent: &Sent, is_protected: bool) -> Vec<u8> {
    let [status, calibration, warning] = sent.annunciation;
    let flag = |is: bool, bit: u8| if is { 1 << bit } else { 0 };
    let flags = flag(sent.trend.is_some(), 0)
        | flag(sent.quality.is_some(), 1)
        | flag(warning != 0, 5)
        | flag(calibration != 0, 6)
        | flag(status != 0, 7);
    let mut fields = vec![flags];
    fields.extend(sent.glucose.to_le_bytes());
    fields.extend(sent.offset.to_le_bytes());
    fields.extend(sent.annunciation.into_iter().filter(|octet| *octet != 0));
    fields.extend(sent.trend.into_iter().chain(sent.quality).flat_map(u16::to_le_bytes));
    let size = 1 + fields.len() + if is_protected { 2 } else { 0 };
    fields.insert(0, u8::try_from(size).unwrap());
    sealed(fields, is_protected)
}

fn sent() -> impl Strategy<Value = Sent> {
    let octets = [0u8..=63, 0..=127, 0..=255].map(|octet| prop_oneof![Just(0), octet]);
    let number = || proptest::option::of(any::<u16>());
    (any::<u16>(), octets, number(), number()).prop_map(|(glucose, annunciation, trend, quality)| Sent {
        glucose,
        offset: 0,
        annunciation,
        trend,
        quality,
    })
}

fn ready(is_protected: bool) -> Monitor {
    let mut monitor = Monitor::default();
    monitor.handle_read(FEATURE, Some(&feature(is_protected))).unwrap();
    monitor.handle_read(SESSION_START, Some(&sealed(start(2026, 1), is_protected))).unwrap();
    monitor.handle_read(STATUS, Some(&sealed(status(0, [0; 3]), is_protected))).unwrap();
    monitor
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        mut records in proptest::collection::vec((sent(), 1u16..100), 1..12),
        is_protected in any::<bool>(),
    ) {
        let mut offset = 0;
        for (sent, after) in &mut records {
            offset += *after;
            sent.offset = offset;
        }
        let value: Vec<u8> = records.iter().flat_map(|(sent, _)| encode(sent, is_protected)).collect();
        let told = ready(is_protected).handle_value(MEASUREMENT, &value).unwrap();
        let from = SessionStart { at: DeviceTime { year: 2026, month: 3, day: 1, hour: 12, ..DeviceTime::default() }, zone: 4, daylight: 0 };
        for (sent, _) in &records {
            let of: Vec<_> = told.iter().filter(|one| one.record == Some(u32::from(sent.offset))).collect();
            prop_assert!(of.iter().all(|one| one.device_time == Some(session::time_of(Some(from), sent.offset))));
            let value = |metric| of.iter().find(|one| one.metric == metric).map(|one| one.value.clone());
            let number = |bits: u16| crate::device::medfloat::sfloat(bits);
            // A concentration below nothing is none.
            let none_below = |bits| {
                let read = number(bits);
                let is_below = matches!(&read, Value::Decimal(below) if below.mantissa < 0);
                if is_below { Value::Absent(Absent::Error) } else { read }
            };
            prop_assert_eq!(value(&mdc::CONC_GLU_ISF), Some(none_below(sent.glucose)));
            prop_assert_eq!(value(&codes::TREND), sent.trend.map(number));
            prop_assert_eq!(value(&codes::QUALITY), sent.quality.map(none_below));
            let [status, calibration, warning] = sent.annunciation;
            let bits = u32::from(status) + 256 * u32::from(calibration) + 65_536 * u32::from(warning);
            prop_assert_eq!(value(&codes::STATUS), (bits != 0).then_some(Value::Bits(bits)));
        }
        // What began and did not end is what the last record says.
        let mut on = std::collections::BTreeSet::new();
        for one in &told {
            if let Value::Alarm(alarm) = &one.value {
                let is_news = if alarm.phase == Phase::Start { on.insert(&alarm.code) } else { on.remove(&alarm.code) };
                prop_assert!(is_news);
            }
        }
        let (last, _) = records.last().unwrap();
        let [status, calibration, warning] = last.annunciation;
        let is_stopped = status & 1 == 1;
        let of_session = if is_stopped { 0 } else { (calibration & 0b11_1000).count_ones() + warning.count_ones() };
        prop_assert_eq!(u32::try_from(on.len()).unwrap(), (status & 0b11_1110).count_ones() + of_session);
    }

    #[test]
    fn a_protected_value_with_any_bit_turned_is_refused(sent in sent(), at in any::<prop::sample::Index>()) {
        let mut value = encode(&sent, true);
        let bit = at.index(value.len() * 8);
        value[bit / 8] ^= 1 << (bit % 8);
        let mut monitor = ready(true);
        prop_assert!(monitor.handle_value(MEASUREMENT, &value).is_err());
        let mut answer = sealed(status(7, sent.annunciation), true);
        let bit = at.index(answer.len() * 8);
        answer[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(monitor.handle_read(STATUS, Some(&answer)).is_err());
    }

    #[test]
    fn whatever_comes_nothing_panics_and_no_record_is_told_twice_or_let_go_unsaid(
        steps in proptest::collection::vec((0u8..8, 0u16..40, any::<u8>()), 0..60),
    ) {
        let mut monitor = connected();
        let (mut given, mut told) = (Vec::new(), Vec::new());
        for (step, offset, octet) in steps {
            let of = match step {
                0 => monitor.handle_read(SESSION_START, Some(&start(2026, octet))),
                1 => monitor.handle_read(SESSION_START, None),
                2 => monitor.handle_read(STATUS, Some(&status(offset, [octet; 3]))),
                3 => monitor.handle_read(STATUS, None),
                4 => {
                    let holds = monitor.holds_back();
                    let late = monitor.handle_end();
                    if holds {
                        // What waited comes again.
                        given.truncate(told.len() + glucose(&late).len());
                    }
                    Ok(late)
                }
                _ => {
                    given.push(u32::from(offset));
                    Ok(says(&mut monitor, &[(offset, octet)]))
                }
            };
            told.extend(glucose(&of.unwrap_or_default()));
            let _ = asked(&mut monitor);
        }
        let holds = monitor.holds_back();
        told.extend(glucose(&monitor.handle_end()));
        prop_assert!(holds || told.len() == given.len());
        given.truncate(told.len());
        prop_assert_eq!(told.into_iter().map(|(record, _)| record).collect::<Vec<_>>(), given);
    }

    #[test]
    fn arbitrary_octets_never_panic_and_say_a_record_or_are_refused(
        octets in proptest::collection::vec(any::<u8>(), 0..64),
        size in 6u8..16,
        is_protected in any::<bool>(),
    ) {
        let mut framed = octets.clone();
        if let Some(first) = framed.first_mut() {
            *first = size;
        }
        for value in [octets, framed] {
            let mut monitor = ready(is_protected);
            if let Ok(mut told) = monitor.handle_value(MEASUREMENT, &value) {
                told.extend(monitor.handle_end());
                let records = glucose(&told).len();
                prop_assert!((1..=value.len() / 6).contains(&records));
                prop_assert!(told.len() <= records * 20);
            }
            for of in [FEATURE, SESSION_START, STATUS, RUN_TIME] {
                let _ = monitor.handle_read(of, Some(&value));
            }
        }
    }
}
