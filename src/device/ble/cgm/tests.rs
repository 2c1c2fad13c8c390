use super::properties::{Sent, encode, sealed};
use super::*;
use crate::device::ble::Collector;
use crate::device::catalogue::{Decoder, Numbering};
use crate::device::observation::{DeviceTime, Observation, Quality, Value};
use crate::device::{Action, Driver, Fault, FaultKind};
use crate::link::{LinkCommand, LinkEvent, NOT_OFFERED};
use crate::time::Now;
use bytes::Bytes;

fn record(offset: u16, warning: u8) -> Vec<u8> {
    let annunciation = [0, 0, warning];
    encode(&Sent { glucose: 100, offset, annunciation, trend: None, quality: None }, false)
}

pub(super) fn feature(is_protected: bool) -> Vec<u8> {
    if is_protected { sealed(vec![0, 0x10, 0, 0x59], true) } else { vec![0, 0, 0, 0x59, 0xFF, 0xFF] }
}

pub(super) fn start(year: u16, day: u8) -> Vec<u8> {
    let [low, high] = year.to_le_bytes();
    vec![low, high, 3, day, 12, 0, 0, 4, 0]
}

pub(super) fn status(offset: u16, octets: [u8; 3]) -> Vec<u8> {
    offset.to_le_bytes().into_iter().chain(octets).collect()
}

/// A sensor in the hundredth minute of a session that began on 1 March 2026 at noon, connected.
pub(super) fn connected() -> Monitor {
    of_session(&start(2026, 1))
}

fn of_session(start: &[u8]) -> Monitor {
    let mut monitor = Monitor::default();
    monitor.handle_read(FEATURE, Some(&feature(false))).unwrap();
    monitor.handle_read(SESSION_START, Some(start)).unwrap();
    assert_eq!(asked(&mut monitor), [STATUS]);
    monitor.handle_read(STATUS, Some(&status(100, [0; 3]))).unwrap();
    monitor
}

pub(super) fn asked(monitor: &mut Monitor) -> Vec<Characteristic> {
    std::iter::from_fn(|| monitor.poll_ask()).collect()
}

pub(super) fn says(monitor: &mut Monitor, records: &[(u16, u8)]) -> Vec<Observation> {
    let value: Vec<u8> = records.iter().flat_map(|(offset, warning)| record(*offset, *warning)).collect();
    monitor.handle_value(MEASUREMENT, &value).unwrap()
}

/// The edges, as code and phase.
fn edges(told: &[Observation]) -> Vec<String> {
    let edge = |one: &Observation| match &one.value {
        Value::Alarm(alarm) => Some(format!("{} {}", alarm.code, alarm.phase.as_str())),
        Value::Decimal(_) | Value::Absent(_) | Value::Text(_) | Value::Bits(_) | Value::Samples(_) => None,
    };
    told.iter().filter_map(edge).collect()
}

/// The glucose of each record: its number and its time.
pub(super) fn glucose(told: &[Observation]) -> Vec<(u32, String)> {
    let values = told.iter().filter(|one| one.metric == &mdc::CONC_GLU_ISF);
    values.map(|one| (one.record.unwrap(), shown(one.device_time.unwrap()))).collect()
}

fn shown(time: DeviceTime) -> String {
    time.ticks.map_or_else(|| time.to_string(), |ticks| format!("{ticks} ms"))
}

#[test]
fn an_alarm_is_told_when_it_begins_and_when_it_ends() {
    let mut monitor = connected();
    assert_eq!(edges(&says(&mut monitor, &[(105, 4)])), ["WARNING-2 start"]);
    assert_eq!(edges(&says(&mut monitor, &[(110, 4)])), [""; 0]);
    assert_eq!(edges(&says(&mut monitor, &[(115, 5)])), ["WARNING-0 start"]);
    let told = says(&mut monitor, &[(120, 0)]);
    assert_eq!(edges(&told), ["WARNING-0 end", "WARNING-2 end"]);
    let ends: Vec<_> = told.iter().filter(|one| matches!(one.value, Value::Alarm(_))).collect();
    assert!(ends.iter().all(|one| one.record.is_none()));
    assert!(ends.iter().all(|one| shown(one.device_time.unwrap()) == "2026-03-01T14:00:00"));
}

#[test]
fn a_stopped_session_ends_the_alarms_of_the_patient_and_keeps_those_of_the_device() {
    let mut monitor = connected();
    says(&mut monitor, &[(105, 4)]);
    let stopped = Sent { glucose: 1, offset: 110, annunciation: [0b1001, 8, 4], trend: None, quality: None };
    let told = monitor.handle_value(MEASUREMENT, &encode(&stopped, false)).unwrap();
    assert_eq!(edges(&told), ["WARNING-2 end", "STATUS-3 start"]);
}

#[test]
fn what_was_stored_neither_raises_nor_ends_an_alarm() {
    let mut monitor = connected();
    assert_eq!(
        edges(&monitor.handle_read(STATUS, Some(&status(101, [0, 0, 1]))).unwrap()),
        ["WARNING-0 start"]
    );
    let told = says(&mut monitor, &[(5, 4), (10, 0), (100, 2)]);
    assert_eq!(edges(&told), [""; 0]);
    assert!(told.iter().all(|one| one.quality.has(Quality::STORED)));
    let told = says(&mut monitor, &[(101, 1), (105, 2)]);
    assert_eq!(edges(&told), ["WARNING-0 end", "WARNING-1 start"]);
    assert!(!told.iter().any(|one| one.quality.has(Quality::STORED)));
    // The same record again, and another of its minute: seen before.
    assert_eq!(edges(&says(&mut monitor, &[(105, 0)])), [""; 0]);
}

#[test]
fn records_that_go_back_wait_until_their_session_is_known() {
    let mut monitor = connected();
    assert_eq!(glucose(&says(&mut monitor, &[(105, 0)])).len(), 1);
    assert_eq!(says(&mut monitor, &[(10, 4), (15, 0)]), []);
    assert_eq!(says(&mut monitor, &[(110, 2)]), [], "nothing overtakes what waits");
    assert_eq!(asked(&mut monitor), [SESSION_START]);
    assert_eq!(monitor.handle_read(SESSION_START, Some(&start(2026, 1))), Ok(Vec::new()));
    assert_eq!(asked(&mut monitor), [STATUS]);
    let told = monitor.handle_read(STATUS, Some(&status(110, [0; 3]))).unwrap();
    let times = ["2026-03-01T12:10:00", "2026-03-01T12:15:00", "2026-03-01T13:50:00"];
    let expected = [10, 15, 110].into_iter().zip(times.map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(glucose(&told), expected);
    assert_eq!(edges(&told), ["WARNING-1 start"]);
    assert_eq!(asked(&mut monitor), []);
}

#[test]
fn a_new_session_has_times_of_its_own_and_alarms_of_its_own() {
    let mut monitor = connected();
    assert_eq!(edges(&says(&mut monitor, &[(105, 4)])), ["WARNING-2 start"]);
    assert_eq!(says(&mut monitor, &[(1, 0)]), []);
    assert_eq!(asked(&mut monitor), [SESSION_START]);
    let told = monitor.handle_read(SESSION_START, Some(&start(2026, 9))).unwrap();
    assert_eq!(
        told.iter().map(|one| &one.value).collect::<Vec<_>>(),
        [&Value::Text("2026-03-09T12:00:00".into())]
    );
    let told = monitor.handle_read(STATUS, Some(&status(2, [0; 3]))).unwrap();
    assert_eq!(edges(&told), ["WARNING-2 end"], "it was the other sensor's");
    assert_eq!(glucose(&told), [(1, "2026-03-09T12:01:00".to_owned())]);
    let told = says(&mut monitor, &[(6, 8)]);
    assert_eq!(edges(&told), ["WARNING-3 start"]);
    assert_eq!(glucose(&told), [(6, "2026-03-09T12:06:00".to_owned())]);
}

#[test]
fn a_session_whose_start_nobody_set_is_known_by_its_status() {
    let mut monitor = of_session(&start(0, 0));
    says(&mut monitor, &[(105, 0)]);
    assert_eq!(says(&mut monitor, &[(1, 0)]), []);
    monitor.handle_read(SESSION_START, Some(&start(0, 0))).unwrap();
    let told = monitor.handle_read(STATUS, Some(&status(2, [0; 3]))).unwrap();
    assert_eq!(glucose(&told), [(1, "60000 ms".to_owned())]);
    assert_eq!(edges(&says(&mut monitor, &[(6, 1)])), ["WARNING-0 start"]);
}

#[test]
fn a_start_that_stayed_while_the_session_went_back_is_not_counted_from() {
    let mut monitor = connected();
    says(&mut monitor, &[(105, 0)]);
    says(&mut monitor, &[(1, 0)]);
    monitor.handle_read(SESSION_START, Some(&start(2026, 1))).unwrap();
    let told = monitor.handle_read(STATUS, Some(&status(2, [0; 3]))).unwrap();
    assert_eq!(glucose(&told), [(1, "60000 ms".to_owned())]);
    assert_eq!(glucose(&says(&mut monitor, &[(6, 0)])), [(6, "360000 ms".to_owned())]);
    // Until it is another.
    says(&mut monitor, &[(3, 0)]);
    monitor.handle_read(SESSION_START, Some(&start(2026, 2))).unwrap();
    let told = monitor.handle_read(STATUS, Some(&status(7, [0; 3]))).unwrap();
    assert_eq!(glucose(&told), [(3, "2026-03-02T12:03:00".to_owned())]);
}

#[test]
fn a_clock_that_was_set_goes_on_with_the_same_alarms() {
    let mut monitor = connected();
    says(&mut monitor, &[(105, 4)]);
    says(&mut monitor, &[(50, 0)]);
    monitor.handle_read(SESSION_START, Some(&start(2026, 2))).unwrap();
    let told = monitor.handle_read(STATUS, Some(&status(106, [0, 0, 4]))).unwrap();
    assert_eq!(edges(&told), [""; 0]);
    assert_eq!(glucose(&told), [(50, "2026-03-02T12:50:00".to_owned())]);
    assert_eq!(edges(&says(&mut monitor, &[(110, 4)])), [""; 0]);
}

#[test]
fn a_status_that_is_older_than_the_newest_record_ends_nothing() {
    let mut monitor = connected();
    says(&mut monitor, &[(105, 4)]);
    assert_eq!(edges(&monitor.handle_read(STATUS, Some(&status(104, [0; 3]))).unwrap()), [""; 0]);
    assert_eq!(edges(&monitor.handle_read(STATUS, Some(&status(105, [0; 3]))).unwrap()), ["WARNING-2 end"]);
}

#[test]
fn what_the_sensor_refuses_costs_the_time_and_never_the_record() {
    // No start: the minutes alone.
    let mut monitor = connected();
    says(&mut monitor, &[(105, 0), (10, 0)]);
    assert_eq!(monitor.handle_read(SESSION_START, None), Ok(Vec::new()));
    let told = monitor.handle_read(STATUS, Some(&status(106, [0; 3]))).unwrap();
    assert_eq!(glucose(&told), [(10, "600000 ms".to_owned())]);
    // No status: with the next value.
    let mut monitor = connected();
    says(&mut monitor, &[(105, 0), (10, 0)]);
    monitor.handle_read(SESSION_START, Some(&start(2026, 1))).unwrap();
    assert_eq!(monitor.handle_read(STATUS, None).unwrap_err().kind, FaultKind::Refused);
    monitor.handle_value(MEASUREMENT, &[0]).unwrap_err();
    let told = glucose(&says(&mut monitor, &[(110, 0)]));
    let expected = [(10, "2026-03-01T12:10:00".to_owned()), (110, "2026-03-01T13:50:00".to_owned())];
    assert_eq!(told, expected);
    // A status that is damaged, and then the end.
    let mut monitor = connected();
    says(&mut monitor, &[(105, 0), (10, 0)]);
    monitor.handle_read(SESSION_START, Some(&start(2026, 1))).unwrap();
    assert_eq!(monitor.handle_read(STATUS, Some(&[1])).unwrap_err().kind, FaultKind::Malformed);
    assert_eq!(glucose(&monitor.handle_end()), [(10, "2026-03-01T12:10:00".to_owned())]);
    // No answer at all: it is not told without its time, and has to come again.
    let mut monitor = connected();
    says(&mut monitor, &[(105, 0), (10, 0)]);
    assert!(monitor.holds_back());
    assert_eq!((monitor.handle_end(), monitor.holds_back()), (Vec::new(), false));
    assert_eq!(glucose(&says(&mut monitor, &[(15, 0)])), [(15, "2026-03-01T12:15:00".to_owned())]);
}

#[test]
fn it_says_of_which_session_its_minutes_are() {
    let numbering = |monitor: &mut Monitor| -> Vec<Numbering> {
        std::iter::from_fn(|| monitor.poll_numbering()).collect()
    };
    let known = numbering(&mut of_session(&start(2026, 1)));
    let [Numbering::Session(first)] = known[..] else { panic!("{known:?}") };
    let other = numbering(&mut of_session(&start(2026, 2)));
    assert!(matches!(other[..], [Numbering::Session(second)] if second != first), "{other:?}");
    // Where nobody set the start, the minutes it has come to are all that tells.
    let unknown = numbering(&mut of_session(&start(0, 0)));
    assert!(matches!(unknown[..], [Numbering::Session(_), Numbering::Reaches(100)]), "{unknown:?}");
    // It stands in files.
    assert_eq!(first, 1_386_783_790);
}

#[test]
fn no_more_waits_than_a_bound_and_nothing_of_it_is_lost() {
    let mut monitor = connected();
    says(&mut monitor, &[(2_000, 0)]);
    let in_doubt = (0..1_500).flat_map(|offset| says(&mut monitor, &[(offset, 0)])).count();
    assert_eq!(in_doubt, 0);
    monitor.handle_read(SESSION_START, Some(&start(2026, 1))).unwrap();
    let known = glucose(&monitor.handle_read(STATUS, Some(&status(2_000, [0; 3]))).unwrap());
    assert_eq!((known.len(), known.last()), (1_024, Some(&(1_023, "2026-03-02T05:03:00".to_owned()))));
    assert!(monitor.holds_back(), "what was let go has to come again");
    monitor.handle_end();
    assert!(!monitor.holds_back());
}

#[test]
fn without_status_no_record_raises_an_alarm_before_the_transfer_has_ended() {
    let mut monitor = Monitor::default();
    monitor.handle_read(FEATURE, Some(&feature(false))).unwrap();
    monitor.handle_read(SESSION_START, None).unwrap();
    assert_eq!(asked(&mut monitor), [STATUS]);
    monitor.handle_read(STATUS, None).unwrap_err();
    assert_eq!(edges(&says(&mut monitor, &[(5, 4), (10, 0)])), [""; 0]);
    assert_eq!(asked(&mut monitor), [STATUS]);
    assert_eq!(monitor.handle_end(), []);
    assert_eq!(edges(&says(&mut monitor, &[(10, 2)])), [""; 0]);
    assert_eq!(edges(&says(&mut monitor, &[(15, 4)])), ["WARNING-2 start"]);
}

#[test]
fn a_refused_value_changes_nothing() {
    let mut monitor = connected();
    let damaged = [record(105, 4), vec![3, 0, 0]].concat();
    let fault: Fault = monitor.handle_value(MEASUREMENT, &damaged).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Malformed);
    assert_eq!(edges(&says(&mut monitor, &[(105, 4)])), ["WARNING-2 start"]);
}

#[test]
fn the_collector_reads_status_after_the_start_and_before_it_subscribes() {
    let mut collector = Collector::new(vec![&PROFILE]);
    let now = Now::default();
    collector.handle_event(&LinkEvent::Up, now);
    let (mut reads, mut edges_told) = (Vec::new(), Vec::new());
    let answer = |of: Characteristic| match of {
        FEATURE => Ok(feature(false)),
        SESSION_START => Ok(start(2026, 1)),
        RUN_TIME => Ok(vec![80, 1]),
        STATUS => Ok(status(100, [0, 0, 2])),
        _ => Err(NOT_OFFERED.to_owned()),
    };
    while let Some(action) = collector.poll_action() {
        match action {
            Action::Command(LinkCommand::Read(of)) => {
                reads.push(of.uuid);
                collector.handle_event(&LinkEvent::ReadDone(of, answer(of).map(Bytes::from)), now);
            }
            Action::Command(LinkCommand::Subscribe(to)) => {
                // This one has no control point for its records.
                let result = if to == MEASUREMENT { Ok(()) } else { Err(NOT_OFFERED.to_owned()) };
                collector.handle_event(&LinkEvent::Subscribed(to, result), now);
            }
            Action::Command(other) => panic!("{other:?}"),
            Action::Observe(_, said) => edges_told.extend(edges(&[said])),
            Action::Commit | Action::Identify(..) => {}
            other @ (Action::Gone(..) | Action::Remember(_) | Action::Pin(_) | Action::Report(_)) => {
                panic!("{other:?}")
            }
        }
    }
    let (who, what) = ([0x2A29, 0x2A24, 0x2A25, 0x2A26], [0x2A28, 0x2A27, 0x2B2A, 0]);
    assert_eq!(reads, [&who[..], &[0x2AA8, 0x2AAA, 0x2AAB, 0x2AA9], &what].concat());
    assert_eq!(edges_told, ["WARNING-1 start"]);
    assert_eq!(collector.poll_timeout(), Some(now.mono + crate::device::ble::IDENTITY_PERIOD));
}

#[test]
fn every_code_is_among_what_it_reads() {
    assert!(codes::CODES.iter().all(|code| PROFILE.reads.contains(code)));
}
