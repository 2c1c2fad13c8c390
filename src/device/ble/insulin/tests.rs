mod annunciations;

use super::*;
use crate::device::ble::Collector;
use crate::device::observation::{Alarm, Phase};
use crate::device::{Action, Driver};
use crate::link::gatt::e2e_crc;
use crate::link::{LinkCommand, LinkEvent};
use crate::time::Now;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A pump that knows the basal rate and the insulin on board.
const KNOWN: u32 = 1 << 1 | 1 << 15;

fn features(flags: u32) -> Vec<u8> {
    let [low, middle, high, _] = flags.to_le_bytes();
    let rest = [u8::from(flags & 1 == 1), 0x64, 0, low, middle, high];
    let crc = if flags & 1 == 1 { e2e_crc(&rest) } else { 0xFFFF };
    [&crc.to_le_bytes()[..], &rest].concat()
}

fn with_crc(octets: &[u8]) -> Vec<u8> {
    [octets, &e2e_crc(octets).to_le_bytes()].concat()
}

fn counted(octets: &[u8], counter: u8) -> Vec<u8> {
    with_crc(&[octets, &[counter]].concat())
}

fn pump(flags: u32) -> Pump {
    let mut pump = Pump::default();
    pump.handle_read(FEATURES, Some(&features(flags))).unwrap();
    pump
}

/// A history record.
fn record(kind: u16, sequence: u32, offset: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &sequence.to_le_bytes(), &offset.to_le_bytes(), data].concat()
}

fn words(observations: &[Observation]) -> Vec<(u32, String)> {
    let shown = |value: &Value| match value {
        Value::Decimal(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Bits(bits) => bits.to_string(),
        other @ (Value::Absent(_) | Value::Alarm(_) | Value::Samples(_)) => format!("{other:?}"),
    };
    observations.iter().map(|said| (said.metric.code, shown(&said.value))).collect()
}

fn value_of(observations: &[Observation], metric: &Metric) -> Option<String> {
    words(observations).into_iter().find(|(code, _)| *code == metric.code).map(|(_, shown)| shown)
}

#[test]
fn after_the_features_the_state_is_read_and_two_questions_are_asked_one_by_one() {
    let mut pump = pump(KNOWN | 1);
    assert_eq!(pump.poll_ask(), None, "not before the subscriptions stand");
    pump.handle_timeout(Now::default().mono);
    assert_eq!(pump.poll_ask(), Some(STATUS));
    assert_eq!(pump.poll_ask(), Some(ANNUNCIATION));
    assert_eq!(pump.poll_ask(), None);
    let write = pump.poll_write().unwrap();
    assert_eq!(write.to(), PUMP_STATUS_READER);
    assert_eq!(write.octets(), counted(&[0x65, 0x03], 1));
    assert_eq!(pump.poll_write(), None, "one at a time");
    // Refused: that too is an answer.
    let refusal = counted(&[0x03, 0x03, 0x65, 0x03, 0x72], 1);
    assert_eq!(pump.handle_value(PUMP_STATUS_READER, &refusal).unwrap_err().kind, FaultKind::Refused);
    assert_eq!(pump.poll_write().unwrap().octets(), counted(&[0xF3, 0x03], 2));
    let answer = counted(&[0xFC, 0x03, 0, 0x0C, 0xF0], 2);
    let said = pump.handle_value(PUMP_STATUS_READER, &answer).unwrap();
    assert_eq!(words(&said), [(codes::ON_BOARD.code, "1.2".to_owned())]);
    assert_eq!(pump.poll_write(), None);
    assert_eq!(pump.poll_fault(), None);
}

#[test]
fn a_pump_is_asked_only_what_it_knows() {
    assert_eq!(pump(0).poll_write(), None);
    let mut other = pump(1 << 15);
    assert_eq!(other.poll_write().unwrap().octets(), [0xF3, 0x03]);
    let mut other = pump(0);
    assert_eq!(Pump::default().poll_write(), None);
    other.handle_value(CHANGED, &[0xFF, 0]).unwrap();
    assert_eq!(other.poll_write(), None);
}

#[test]
fn what_has_changed_is_read_again() {
    for (bits, asks, question) in [
        (0x01u16, vec![STATUS], None),
        (0x06, vec![STATUS], None),
        (0x08, vec![ANNUNCIATION], None),
        (0x10, vec![], None),
        (0x20, vec![], Some([0x65, 0x03])),
        (0x40, vec![], Some([0xF3, 0x03])),
        (0x80, vec![], None),
        (0x09, vec![STATUS, ANNUNCIATION], None),
        (0xFF00, vec![], None),
    ] {
        let mut pump = pump(KNOWN);
        while pump.poll_ask().is_some() {}
        pump.questions.clear();
        pump.handle_value(CHANGED, &bits.to_le_bytes()).unwrap();
        let asked: Vec<Characteristic> = std::iter::from_fn(|| pump.poll_ask()).collect();
        assert_eq!(asked, asks, "{bits:04X}");
        assert_eq!(pump.poll_write().map(|write| write.octets().to_vec()), question.map(|q| q.to_vec()));
    }
}

#[test]
fn without_features_nothing_is_taken_and_they_are_asked_for_again() {
    let mut pump = Pump::default();
    let mut broken = features(1);
    broken[4] ^= 1;
    assert_eq!(pump.handle_read(FEATURES, Some(&broken)).unwrap_err().kind, FaultKind::Checksum);
    assert_eq!(pump.poll_ask(), None);
    assert_eq!(pump.handle_value(CHANGED, &[1, 0]).unwrap_err().kind, FaultKind::Unexpected);
    assert_eq!(
        pump.handle_value(HISTORY, &record(0x0330, 1, 0, &[0, 0])).unwrap_err().kind,
        FaultKind::Unexpected
    );
    assert_eq!((pump.poll_ask(), pump.poll_ask()), (Some(FEATURES), None));
    assert_eq!(pump.poll_write(), None);
    assert_eq!(pump.handle_read(FEATURES, None), Ok(vec![]));
    assert_eq!(pump.handle_value(CHANGED, &[1, 0]).unwrap_err().kind, FaultKind::Unexpected);
    assert_eq!(pump.poll_ask(), None, "it has none");
}

#[test]
fn a_lost_message_is_told_beside_the_value_and_a_repeated_one_is_refused() {
    let mut pump = pump(1);
    let state = [0x55, 0x96, 0x17, 0xF0, 1];
    assert_eq!(pump.handle_read(STATUS, Some(&counted(&state, 1))).unwrap().len(), 4);
    assert_eq!(pump.handle_read(STATUS, Some(&counted(&state, 2))).unwrap().len(), 4);
    assert_eq!(pump.poll_fault(), None);
    let other = [0x33, 0x96, 0x17, 0xF0, 1];
    assert_eq!(pump.handle_read(STATUS, Some(&counted(&other, 2))).unwrap_err().kind, FaultKind::Unexpected);
    assert_eq!(pump.handle_read(STATUS, Some(&counted(&state, 5))).unwrap().len(), 4);
    assert!(pump.poll_fault().unwrap().detail.contains("2B21 goes on with message 5, not 3"));
    assert_eq!(pump.poll_fault(), None);
    // Another characteristic counts for itself.
    assert_eq!(pump.handle_value(CHANGED, &counted(&[1, 0], 1)).unwrap().len(), 1);
    assert_eq!(pump.poll_fault(), None);
}

#[test]
fn both_parts_of_a_bolus_are_told_together() {
    let first = |sequence| record(0x0069, sequence, 5, &[9, 0, 0x33, 0x7D, 0xE0, 0, 0, 0, 0]);
    let second = |sequence| record(0x0096, sequence, 5, &[2, 0, 0, 0, 0, 0x33]);
    let mut one = pump(0);
    assert_eq!(one.handle_value(HISTORY, &first(10)), Ok(vec![]));
    let said = one.handle_value(HISTORY, &second(11)).unwrap();
    assert!(said.iter().all(|said| said.record == Some(10)), "{said:?}");
    assert_eq!(value_of(&said, &codes::BOLUS_ID).as_deref(), Some("9"));
    assert_eq!(value_of(&said, &codes::BOLUS_FAST).as_deref(), Some("1.25"));
    assert_eq!(value_of(&said, &codes::BOLUS_END).as_deref(), Some("delivered"));
    assert_eq!(one.handle_end(), []);
    // Cut between the two, it says the same as when it comes again.
    let mut cut = pump(0);
    cut.handle_value(HISTORY, &first(10)).unwrap();
    let alone = cut.handle_end();
    assert!(alone.len() == 6 && said.starts_with(&alone));

    // Not the next one, not the right kind, twice the first, the end.
    let mut apart = pump(0);
    apart.handle_value(HISTORY, &first(10)).unwrap();
    let said = apart.handle_value(HISTORY, &second(12)).unwrap();
    let records: Vec<Option<u32>> = said.iter().map(|said| said.record).collect();
    assert!(records.starts_with(&[Some(10)]) && records.ends_with(&[Some(12)]));
    apart.handle_value(HISTORY, &first(20)).unwrap();
    let said = apart.handle_value(HISTORY, &record(0x0066, 21, 5, &[0])).unwrap();
    assert_eq!(said.iter().filter(|said| said.record == Some(20)).count(), 6);
    apart.handle_value(HISTORY, &first(30)).unwrap();
    assert_eq!(apart.handle_value(HISTORY, &first(30)), Ok(vec![]));
    let said = apart.handle_value(HISTORY, &first(31)).unwrap();
    assert!(said.iter().all(|said| said.record == Some(30)));
    let said = apart.handle_end();
    assert!(said.len() == 6 && said.iter().all(|said| said.record == Some(31)));
    assert_eq!(apart.handle_end(), []);
}

/// A reference time on 2026-11-22.
fn reference(sequence: u32, reason: u8, hour: u8) -> Vec<u8> {
    record(0x000F, sequence, 0, &[reason, 0xEA, 0x07, 11, 22, hour, 0, 0, 4, 0])
}

/// The time of an event, the seconds that it tells instead, whether its clock is not set, whether something
/// is told besides.
fn event(pump: &mut Pump, sequence: u32) -> (Option<String>, bool, bool, bool) {
    let said = pump.handle_value(HISTORY, &record(0x0330, sequence, 30, &[0, 0])).unwrap();
    assert!(said.iter().all(|said| said.quality.has(Quality::STORED) && said.record == Some(sequence)));
    let seconds = value_of(&said, &codes::EVENT_OFFSET);
    assert!(seconds.is_none() || seconds.as_deref() == Some("30"));
    let time = said[0].device_time.map(|time| time.to_string());
    (time, seconds.is_some(), said[0].quality.has(Quality::CLOCK_NOT_SET), pump.poll_fault().is_some())
}

#[test]
fn an_event_has_the_time_of_the_last_reference_time_and_its_seconds() {
    let at = |time: &str| (Some(format!("2026-11-22T{time}")), false, false, false);
    let (unknown, lost) = ((None, true, false, false), (None, true, true, false));
    let mut pump = pump(0);
    assert_eq!(event(&mut pump, 1), unknown, "no reference time yet");
    let said = pump.handle_value(HISTORY, &reference(2, 0x33, 10)).unwrap();
    assert_eq!(said[0].device_time.unwrap().zone, Some(4));
    assert_eq!(event(&mut pump, 3), at("10:00:30"));
    assert_eq!(event(&mut pump, 3), at("10:00:30"), "the same record again");
    pump.handle_value(HISTORY, &reference(4, 0x3C, 11)).unwrap();
    assert_eq!(event(&mut pump, 5), at("11:00:30"));
    // Lost, and written down periodically while it is; found when it is set.
    pump.handle_value(HISTORY, &reference(6, 0x55, 0)).unwrap();
    assert_eq!(event(&mut pump, 7), lost);
    let said = pump.handle_value(HISTORY, &reference(8, 0x3C, 1)).unwrap();
    assert!(said.iter().all(|said| said.quality.has(Quality::CLOCK_NOT_SET)));
    assert_eq!(event(&mut pump, 9), lost);
    pump.handle_value(HISTORY, &reference(10, 0x33, 12)).unwrap();
    assert_eq!(event(&mut pump, 11), at("12:00:30"));
    // A gap may have swallowed a reference time; going back is before it.
    assert_eq!(event(&mut pump, 13), (None, true, false, true));
    pump.handle_value(HISTORY, &reference(14, 0x33, 13)).unwrap();
    assert_eq!(event(&mut pump, 15), at("13:00:30"));
    assert_eq!(event(&mut pump, 2), unknown);
}

#[test]
fn a_reference_time_that_cannot_be_read_leaves_what_follows_without_time() {
    let mut pump = pump(0);
    pump.handle_value(HISTORY, &reference(1, 0x33, 10)).unwrap();
    assert!(pump.handle_value(HISTORY, &reference(2, 0x34, 11)).is_err());
    assert_eq!(event(&mut pump, 3), (None, true, false, false));
    // A lost clock is not found by it, nor by a gap.
    pump.handle_value(HISTORY, &reference(4, 0x55, 10)).unwrap();
    assert!(pump.handle_value(HISTORY, &reference(5, 0x34, 11)).is_err());
    assert_eq!(event(&mut pump, 7), (None, true, true, true));
    pump.handle_value(HISTORY, &reference(8, 0x3C, 11)).unwrap();
    assert_eq!(event(&mut pump, 9), (None, true, true, false));
    // Month 13: there is a time, but none to count from.
    let no_month = record(0x000F, 10, 0, &[0x33, 0xEA, 0x07, 13, 22, 1, 0, 0, 4, 0]);
    pump.handle_value(HISTORY, &no_month).unwrap();
    assert_eq!(event(&mut pump, 11), (None, true, true, false));
}

#[test]
fn an_annunciation_is_an_alarm_until_it_is_confirmed_or_none_is_shown() {
    let mut pump = pump(0);
    let mut shows = |value: &[u8]| -> Vec<(String, Phase, bool)> {
        let said = pump.handle_read(ANNUNCIATION, Some(value)).unwrap();
        assert_eq!(said[0].metric, &codes::ANNUNCIATION);
        let alarm = |said: &Observation| match &said.value {
            Value::Alarm(Alarm { code, phase, is_silenced, .. }) => {
                Some((code.clone(), *phase, *is_silenced))
            }
            Value::Text(_) | Value::Decimal(_) | Value::Absent(_) | Value::Bits(_) | Value::Samples(_) => {
                None
            }
        };
        said.iter().filter_map(alarm).collect()
    };
    let told = |code: &str, phase, silenced| (code.to_owned(), phase, silenced);
    let (occlusion, low) = ([1, 5, 0, 0x3C, 0, 0x33], [1, 6, 0, 0x66, 0, 0x33]);
    assert_eq!(shows(&occlusion), [told("003C/5", Phase::Start, false)]);
    assert_eq!(shows(&occlusion), []);
    assert_eq!(shows(&[1, 5, 0, 0x3C, 0, 0x3C]), [told("003C/5", Phase::Update, true)]);
    assert_eq!(shows(&low), [told("0066/6", Phase::Start, false)], "the occlusion stays on");
    assert_eq!(shows(&[1, 5, 0, 0x3C, 0, 0x55]), [told("003C/5", Phase::End, true)]);
    assert_eq!(shows(&[0]), [told("0066/6", Phase::End, false)]);
    assert_eq!(shows(&[1, 5, 0, 0x3C, 0, 0x55]), []);
}

#[test]
fn the_row_lists_all_codes_and_is_that_of_a_therapy_device() {
    assert!(codes::CODES.iter().all(|code| PROFILE.reads.contains(code)));
    let block = 0x0400_1501..0x0400_1600;
    assert!(codes::CODES.iter().all(|code| block.contains(&code.code)));
    assert_eq!(PROFILE.class, Class::Therapy);
}

/// Beside a value that comes through the collector, the message that was lost before it is told.
#[test]
fn a_lost_message_reaches_the_session() {
    let mut collector = Collector::new(vec![&PROFILE]);
    let mut actions = Vec::new();
    let mut happens = |event: LinkEvent| {
        collector.handle_event(&event, Now::default());
        actions = std::iter::from_fn(|| collector.poll_action()).collect::<Vec<Action>>();
        actions.clone()
    };
    happens(LinkEvent::Up);
    for uuid in [0x2A29, 0x2A24, 0x2A25, 0x2A26] {
        let of = Characteristic { service: 0x180A, uuid };
        happens(LinkEvent::ReadDone(of, Ok("Pump".into())));
    }
    happens(LinkEvent::ReadDone(FEATURES, Ok(features(1).into())));
    let mut asked = Vec::new();
    for of in PROFILE.subscribes.iter().chain([&crate::link::gatt::PUMP_RECORD_ACCESS]) {
        asked.extend(happens(LinkEvent::Subscribed(*of, Ok(()))));
    }
    for of in [STATUS, ANNUNCIATION] {
        assert!(asked.contains(&Action::Command(LinkCommand::Read(of))), "{asked:?}");
    }
    let state = |counter| counted(&[0x55, 0x96, 0x17, 0xF0, 1], counter);
    happens(LinkEvent::ReadDone(STATUS, Ok(state(1).into())));
    happens(LinkEvent::ReadDone(ANNUNCIATION, Ok(counted(&[0], 1).into())));
    let said = happens(LinkEvent::Value(CHANGED, counted(&[1, 0], 3).into()));
    assert!(matches!(&said[0], Action::Observe(_, said) if said.metric == &codes::CHANGED));
    assert!(matches!(&said[1], Action::Report(fault) if fault.detail.contains("2B20")), "{said:?}");
    assert_eq!(said[2], Action::Command(LinkCommand::Read(STATUS)));
}

/// The history is asked for from its beginning, with counter and checksum, when all is subscribed to; its end
/// is understood.
#[test]
fn the_history_is_fetched() {
    use crate::link::gatt::PUMP_RECORD_ACCESS;
    let mut collector = Collector::new(vec![&PROFILE]);
    let mut happens = |event: LinkEvent| {
        collector.handle_event(&event, Now::default());
        std::iter::from_fn(|| collector.poll_action()).collect::<Vec<Action>>()
    };
    happens(LinkEvent::Up);
    for uuid in [0x2A29, 0x2A24, 0x2A25, 0x2A26] {
        let of = Characteristic { service: 0x180A, uuid };
        happens(LinkEvent::ReadDone(of, Ok("Pump".into())));
    }
    happens(LinkEvent::ReadDone(FEATURES, Ok(features(1).into())));
    let mut actions = Vec::new();
    for of in PROFILE.subscribes.iter().chain([&PUMP_RECORD_ACCESS]) {
        actions.extend(happens(LinkEvent::Subscribed(*of, Ok(()))));
    }
    let written = |action: &Action| {
        let Action::Command(LinkCommand::Write(write)) = action else { return None };
        (write.to() == PUMP_RECORD_ACCESS).then(|| write.octets().to_vec())
    };
    let written: Vec<Vec<u8>> = actions.iter().filter_map(written).collect();
    assert_eq!(written, [counted(&[0x33, 0x55, 0x0F, 0, 0, 0, 0], 1)]);
    happens(LinkEvent::Written(PUMP_RECORD_ACCESS, Ok(())));
    let said = happens(LinkEvent::Value(HISTORY, with_crc(&record(0x0330, 7, 60, &[0x17, 0xF0])).into()));
    assert!(matches!(&said[0], Action::Observe(_, said) if said.record == Some(7)), "{said:?}");
    let done = counted(&[0x0F, 0x0F, 0x33, 0xF0], 1);
    assert_eq!(happens(LinkEvent::Value(PUMP_RECORD_ACCESS, done.into())), []);
}

/// An SFLOAT as IEEE 11073-20601 lays it out.
fn sfloat(mantissa: i16, exponent: i8) -> [u8; 2] {
    let bits = i32::from(mantissa).rem_euclid(0x1000) + i32::from(exponent).rem_euclid(16) * 0x1000;
    u16::try_from(bits).unwrap().to_le_bytes()
}

proptest! {
    #[test]
    fn amounts_are_exact(mantissa in -2045i16..=2045, exponent in -8i8..=7, sequence: u32, offset: u16) {
        let mut pump = pump(1);
        let amount = sfloat(mantissa, exponent);
        let value = with_crc(&record(0x0330, sequence, offset, &amount));
        let said = pump.handle_value(HISTORY, &value).unwrap();
        prop_assert_eq!(&said[0].value, &Value::Decimal(Decimal::new(mantissa.into(), exponent)));
        prop_assert_eq!(said[0].unit, &mdc::INTERNATIONAL_UNIT);
        prop_assert_eq!(said[0].record, Some(sequence));
        prop_assert_eq!(value_of(&said, &codes::EVENT_OFFSET), Some(offset.to_string()));
    }

    #[test]
    fn one_flipped_bit_of_a_protected_message_refuses_it(data in proptest::collection::vec(any::<u8>(), 0..10), bit: usize) {
        let mut whole = with_crc(&record(0xF001, 7, 60, &data));
        prop_assert!(pump(1).handle_value(HISTORY, &whole).is_ok());
        let bit = bit % (whole.len() * 8);
        whole[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(pump(1).handle_value(HISTORY, &whole).unwrap_err().kind, FaultKind::Checksum);
    }

    #[test]
    fn whatever_comes_nothing_panics_and_no_record_is_left_out(
        flags in 0u32..2,
        values in proptest::collection::vec((0usize..6, 0usize..40, proptest::collection::vec(any::<u8>(), 0..14)), 1..40),
    ) {
        let mut pump = pump(flags);
        let kinds: Vec<u16> = (0..0x0400).filter(|kind| hamming::is_allowed(*kind)).chain([0xF001]).collect();
        let (mut taken, mut told) = (BTreeMap::new(), BTreeSet::new());
        for (number, (which, kind, octets)) in values.iter().enumerate() {
            let number = u32::try_from(number).unwrap();
            let outcome = match which {
                0 => pump.handle_read(STATUS, Some(octets)),
                1 => pump.handle_read(ANNUNCIATION, Some(octets)),
                2 => pump.handle_value(PUMP_STATUS_READER, octets),
                _ => {
                    let kind = kinds[kind % kinds.len()];
                    // A first part now and then, and something that may be its second one.
                    let (kind, octets) = match which {
                        3 => (kind, octets.clone()),
                        4 => (0x0069, vec![1, 0, 0x33, 0, 0, 0, 0, 0, 0]),
                        _ => (0x0096, vec![0, 0, 0, 0, 0]),
                    };
                    let value = record(kind, number, 1, &octets);
                    let value = if flags == 1 { with_crc(&value) } else { value };
                    let outcome = pump.handle_value(HISTORY, &value);
                    taken.extend(outcome.is_ok().then_some((number, kind)));
                    outcome
                }
            };
            let said = outcome.unwrap_or_default();
            prop_assert!(said.len() <= 32);
            told.extend(said.iter().filter_map(|said| said.record));
            while pump.poll_fault().is_some() {}
            while pump.poll_write().is_some() {}
        }
        let left = pump.handle_end();
        told.extend(left.iter().filter_map(|said| said.record));
        // Every record is told under its number, but a second part under that of its first one.
        let is_joined = |number: &u32, kind: &u16| {
            let before = number.checked_sub(1).and_then(|before| taken.get(&before));
            before.is_some_and(|before| events::second_part(*before) == Some(*kind))
        };
        let expected = taken.iter().filter(|(number, kind)| !is_joined(number, kind)).map(|(number, _)| *number);
        prop_assert_eq!(told, expected.collect::<BTreeSet<u32>>());
    }
}

#[test]
fn a_question_without_an_answer_ends_only_itself() {
    let mut pump = pump(KNOWN);
    let mut now = Now::default().mono;
    pump.handle_timeout(now);
    assert_eq!(pump.poll_write().unwrap().octets(), [0x65, 0x03]);
    for _ in 1..QUESTIONS {
        now = now + PERIOD;
        pump.handle_timeout(now);
        assert_eq!((pump.poll_write(), pump.poll_fault()), (None, None));
    }
    pump.handle_timeout(now + PERIOD);
    assert_eq!(pump.poll_fault().unwrap().kind, FaultKind::Timeout);
    assert_eq!(pump.poll_fault(), None, "once");
    assert_eq!(pump.poll_write().unwrap().octets(), [0xF3, 0x03]);
}

#[test]
fn an_answer_that_cannot_be_read_is_an_answer() {
    let mut pump = pump(KNOWN | 1);
    assert!(pump.poll_write().is_some());
    let mut broken = counted(&[0x6A, 0x03, 0, 1, 10, 0], 1);
    broken[3] ^= 1;
    assert_eq!(pump.handle_value(PUMP_STATUS_READER, &broken).unwrap_err().kind, FaultKind::Checksum);
    assert_eq!(pump.poll_write().unwrap().octets(), counted(&[0xF3, 0x03], 2));
}
