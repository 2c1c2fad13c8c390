//! The device's clock, what a decoder writes, and what can only be read.

use super::*;
use crate::device::observation::{DeviceTime, Quality, Value};
use crate::link::gatt::{CURRENT_ELAPSED_TIME, CURRENT_TIME};
use crate::time::Wall;

const TEMPERATURE: Characteristic = Characteristic { service: 0x1809, uuid: 0x2A1C };
const SITE: Characteristic = Characteristic { service: 0x1809, uuid: 0x2A1D };
const INTERMEDIATE: Characteristic = Characteristic { service: 0x1809, uuid: 0x2A1E };
const BATTERY: Characteristic = Characteristic { service: 0x180F, uuid: 0x2A19 };

fn read_done(of: Characteristic, value: &'static [u8]) -> LinkEvent {
    LinkEvent::ReadDone(of, Ok(Bytes::from_static(value)))
}

fn observed(actions: Vec<Action>) -> Vec<Observation> {
    let mut said = Vec::new();
    for action in actions {
        if let Action::Observe(_, observation) = action {
            said.push(observation);
        }
    }
    said
}

/// A thermometer whose clock is an hour ahead: 2026-11-23T13:00:00 at noon.
fn thermometer(clock: &'static [u8]) -> Story {
    let mut story = Story::of(&["health-thermometer", "current-time"]);
    story.now.wall = Wall::from_millis(1_795_435_200_000);
    story.event(LinkEvent::Up);
    story.answer_all("THM");
    story.event(read_done(CURRENT_TIME, clock));
    story.event(LinkEvent::ReadDone(SITE, Err(NOT_OFFERED.to_owned())));
    story.subscribed(TEMPERATURE, Ok(()));
    story.subscribed(INTERMEDIATE, Err(NOT_OFFERED));
    story.subscribed(CURRENT_TIME, Ok(()));
    story
}

/// 36.4 degrees at 2026-11-23T12:30:00 of the device's clock.
const MEASURED: &[u8] = &[0x02, 0x6C, 0x01, 0x00, 0xFF, 0xEA, 0x07, 11, 23, 12, 30, 0];

#[test]
fn every_stamp_carries_what_the_clock_of_its_connection_was_ahead() {
    let mut story = thermometer(&[0xEA, 0x07, 11, 23, 13, 0, 0, 1, 0, 0]);
    let said = observed(story.value(TEMPERATURE, MEASURED));
    let [reading] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(reading.device_time.unwrap().ahead, Some(3_600_000));
    // Another connection, on which it does not give its clock: what was known is void.
    story.event(LinkEvent::Down(LinkError::HungUp));
    story.event(LinkEvent::Up);
    story.answer_all("THM");
    story.event(LinkEvent::ReadDone(CURRENT_TIME, Err(NOT_OFFERED.to_owned())));
    story.event(LinkEvent::ReadDone(SITE, Err(NOT_OFFERED.to_owned())));
    story.subscribed(TEMPERATURE, Ok(()));
    story.subscribed(INTERMEDIATE, Err(NOT_OFFERED));
    let after = story.subscribed(CURRENT_TIME, Err(NOT_OFFERED));
    assert!(!after.contains(&HANG_UP), "a device may do without a clock");
    let said = observed(story.value(TEMPERATURE, MEASURED));
    assert_eq!(said[0].device_time.unwrap().ahead, None);
}

/// What a stamp of so many o'clock of that day says the clock was ahead, in minutes.
fn ahead_at(story: &mut Story, hour: u8, minute: u8) -> Option<i64> {
    let value = [0x02, 0x6C, 0x01, 0x00, 0xFF, 0xEA, 0x07, 11, 23, hour, minute, 0];
    let value = LinkEvent::Value(TEMPERATURE, Bytes::copy_from_slice(&value));
    observed(story.event(value))[0].device_time.unwrap().ahead.map(|ahead| ahead / 60_000)
}

#[test]
fn a_clock_that_is_set_on_the_connection_is_heard_of_and_older_stamps_keep_the_older_clock() {
    let mut story = thermometer(&[0xEA, 0x07, 11, 23, 13, 0, 0, 1, 0, 0]);
    // Two seconds more: the same clock, whose reading was on its way.
    let said = observed(story.value(CURRENT_TIME, &[0xEA, 0x07, 11, 23, 13, 0, 2, 1, 0, 0]));
    assert_eq!(said[0].value, Value::Text("2026-11-23T13:00:02".to_owned()));
    assert_eq!(ahead_at(&mut story, 9, 0), Some(60));
    // Set forward by hand to 15:00.
    let said = observed(story.value(CURRENT_TIME, &[0xEA, 0x07, 11, 23, 15, 0, 0, 1, 0, 1]));
    assert_eq!(said[1].value, Value::Bits(1));
    assert_eq!(ahead_at(&mut story, 12, 30), Some(60), "by the clock as it was");
    assert_eq!(ahead_at(&mut story, 15, 0), Some(180), "by the clock as it is");
    assert_eq!(ahead_at(&mut story, 14, 0), None, "no clock ever showed it");
    // And back to noon: an older stamp may now be of any of three clocks.
    story.now.wall = Wall::from_millis(story.now.wall.as_millis() + 60_000);
    story.value(CURRENT_TIME, &[0xEA, 0x07, 11, 23, 12, 1, 0, 1, 0, 1]);
    assert_eq!(ahead_at(&mut story, 9, 0), None);
    assert_eq!(ahead_at(&mut story, 12, 30), None);
    // On the next connection it is read again.
    story.event(LinkEvent::Down(LinkError::HungUp));
    let mut asked = story.event(LinkEvent::Up);
    asked.extend(story.answer_all("THM"));
    assert!(asked.contains(&Action::Command(LinkCommand::Read(CURRENT_TIME))), "{asked:?}");
}

#[test]
fn a_clock_that_was_set_back_shows_the_same_twice() {
    let mut story = thermometer(&[0xEA, 0x07, 11, 23, 13, 0, 0, 1, 0, 0]);
    story.value(CURRENT_TIME, &[0xEA, 0x07, 11, 23, 12, 0, 0, 1, 0, 1]);
    assert_eq!(ahead_at(&mut story, 11, 30), Some(60));
    assert_eq!(ahead_at(&mut story, 12, 30), None, "before or since, nobody can say");
    assert_eq!(ahead_at(&mut story, 13, 30), Some(0));
}

#[test]
fn a_ticking_clock_is_no_stream_and_one_that_cannot_be_heard_costs_nothing() {
    let mut story = Story::of(&["heart-rate", "current-time"]);
    story.event(LinkEvent::Up);
    story.answer_all("Belt");
    story.event(read_done(CURRENT_TIME, &[0xEA, 0x07, 11, 23, 13, 0, 0, 1, 0, 0]));
    story.subscribed(HEART, Ok(()));
    let after = story.subscribed(CURRENT_TIME, Err("ATT error: 0x0e"));
    assert_eq!(faults(&after), [FaultKind::Refused]);
    assert!(!after.contains(&HANG_UP), "{after:?}");
    story.passes(ALMOST);
    let told = story.value(CURRENT_TIME, &[0xEA, 0x07, 11, 23, 13, 1, 0, 1, 0, 0]);
    assert!(!told.contains(&Action::Commit), "{told:?}");
    assert!(story.passes(ALMOST).contains(&HANG_UP), "the belt has been silent for a minute");
}

/// A record with a zone is placed by a clock without one.
#[test]
fn a_stamp_with_a_zone_of_its_own_takes_the_clock_of_the_connection() {
    let mut story = Story::of(&["generic-health-sensor", "current-time"]);
    story.now.wall = Wall::from_millis(1_795_435_200_000);
    story.event(LinkEvent::Up);
    story.answer_all("GHS");
    // Five minutes ahead of its zone, an hour from UTC: 13:05 at noon.
    story.event(read_done(CURRENT_TIME, &[0xEA, 0x07, 11, 23, 13, 5, 0, 1, 0, 0]));
    let row = ble_profile("generic-health-sensor").unwrap();
    for of in row.asks {
        story.event(LinkEvent::ReadDone(*of, Err(NOT_OFFERED.to_owned())));
    }
    let record_access = Characteristic { service: row.service, uuid: 0x2A52 };
    for of in row.subscribes.iter().chain([&CURRENT_TIME, &record_access]) {
        story.subscribed(*of, Ok(()));
    }
    // 98 % at 11:05 UTC, with four quarters of an hour to be added, on the current timeline.
    let seconds = u32::try_from((1_795_435_200_000u64 - 946_684_800_000) / 1_000 - 55 * 60).unwrap();
    let time = [&[0x32][..], &seconds.to_le_bytes(), &[0, 0, 1, 4]].concat();
    let fields = [&[0x03, 0x00][..], &150_456u32.to_le_bytes(), &time, &[0x20, 0x02, 98, 0, 0, 0]].concat();
    let length = u8::try_from(fields.len()).unwrap();
    let value = [&[3, 1, length, 0][..], &fields].concat();
    let live = Characteristic { service: row.service, uuid: 0x2B8B };
    let said = observed(story.event(LinkEvent::Value(live, Bytes::from(value))));
    assert_eq!(said[0].device_time.unwrap().to_string(), "2026-11-23T11:05:00");
    assert_eq!(said[0].device_time.unwrap().ahead, Some(300_000));
}

/// A sensor with everything subscribed to, at noon: what it is asked then.
fn health_sensor() -> (Story, Vec<Action>) {
    let mut story = Story::of(&["generic-health-sensor"]);
    story.now.wall = Wall::from_millis(1_795_435_200_000);
    let asked = health_sensor_connects(&mut story);
    (story, asked)
}

fn health_sensor_connects(story: &mut Story) -> Vec<Action> {
    let row = ble_profile("generic-health-sensor").unwrap();
    story.event(LinkEvent::Up);
    story.answer_all("GHS");
    for of in row.asks {
        story.event(LinkEvent::ReadDone(*of, Err(NOT_OFFERED.to_owned())));
    }
    for of in row.subscribes {
        story.subscribed(*of, Ok(()));
    }
    story.subscribed(Characteristic { service: row.service, uuid: 0x2A52 }, Ok(()))
}

/// The stored record of a sensor, 98 % at so many seconds of a clock with these flags; its stamp.
fn stored_at(story: &mut Story, number: u8, flags: u8, seconds: u32) -> DeviceTime {
    let time = [&[flags][..], &seconds.to_le_bytes(), &[0, 0, 1, 0]].concat();
    let fields = [&[0x03, 0x00][..], &150_456u32.to_le_bytes(), &time, &[0x20, 0x02, 98, 0, 0, 0]].concat();
    let length = u8::try_from(fields.len()).unwrap();
    let value = [&[3 | number << 2, number, 0, 0, 0, 1, length, 0][..], &fields].concat();
    let stored = Characteristic { service: 0x1840, uuid: 0x2BDD };
    let said = observed(story.event(LinkEvent::Value(stored, Bytes::from(value))));
    assert!(said[0].quality.has(Quality::STORED), "{said:?}");
    said[0].device_time.unwrap()
}

#[test]
fn the_clock_of_a_health_sensor_is_read_ahead_of_its_records_and_places_them() {
    let (mut story, asked) = health_sensor();
    let place = |wanted: &dyn Fn(&Action) -> bool| asked.iter().position(wanted);
    let clock = place(&|action| *action == Action::Command(LinkCommand::Read(CURRENT_ELAPSED_TIME))).unwrap();
    let is_records = |write: &crate::link::gatt::GattWrite| write.to().uuid == 0x2A52;
    let records =
        place(&|action| matches!(action, Action::Command(LinkCommand::Write(write)) if is_records(write)));
    assert!(records.is_some_and(|records| clock < records), "{asked:?}");
    // A counter that shows 1,000 s at noon.
    let read = read_done(CURRENT_ELAPSED_TIME, &[0x21, 0xE8, 3, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(faults(&story.event(read)), []);
    story.now.wall = Wall::from_millis(1_795_435_260_000);
    let stamp = stored_at(&mut story, 0, 0x21, 400);
    assert_eq!((stamp.ticks, stamp.ahead), (Some(400_000), Some(1_000_000 - 1_795_435_200_000)));
    assert_eq!(stored_at(&mut story, 1, 0x01, 400).ahead, None, "of an older timeline");
    assert_eq!(stored_at(&mut story, 2, 0x22, 400).ahead, None, "of another clock");
    // What was known of it ends with the connection.
    story.event(LinkEvent::Down(LinkError::HungUp));
    health_sensor_connects(&mut story);
    assert_eq!(stored_at(&mut story, 3, 0x21, 500).ahead, None);
}

#[test]
fn a_health_sensor_whose_clock_cannot_be_read_or_asks_to_be_set_is_told_of() {
    for (answer, expected) in [
        (Ok(&[0x22, 1, 0, 0, 0, 0, 0, 6, 0, 1, 0][..]), vec![FaultKind::Unexpected]),
        (Ok(&[0x22, 1, 0, 0, 0, 0, 0, 6, 0, 0]), vec![FaultKind::Malformed]),
        (Err("Operation failed with ATT error: 0x05"), vec![FaultKind::Refused]),
        (Err(NOT_OFFERED), vec![]),
    ] {
        let (mut story, _) = health_sensor();
        let answer = answer.map(Bytes::from_static).map_err(str::to_owned);
        let after = story.event(LinkEvent::ReadDone(CURRENT_ELAPSED_TIME, answer.clone()));
        assert_eq!((faults(&after), after.contains(&HANG_UP)), (expected, false), "{answer:?}");
    }
}

#[test]
fn a_clock_that_was_never_set_anchors_nothing() {
    let mut story = thermometer(&[0, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
    let said = observed(story.value(TEMPERATURE, MEASURED));
    assert_eq!(said[0].device_time.unwrap().ahead, None);
}

#[test]
fn a_battery_that_can_only_be_read_is_no_reason_to_hang_up() {
    let mut story = Story::of(&["battery"]);
    story.event(LinkEvent::Up);
    story.answer_all("THM");
    let said = observed(story.event(read_done(BATTERY, &[87])));
    assert_eq!(said[0].value, Value::Decimal("87".parse().unwrap()));
    let after = story.subscribed(BATTERY, Err(NOT_OFFERED));
    assert!(!after.contains(&Action::Command(LinkCommand::HangUp)), "{after:?}");
    // One that has none at all is not what its entry says.
    let mut story = Story::of(&["battery"]);
    story.event(LinkEvent::Up);
    story.answer_all("THM");
    story.event(LinkEvent::ReadDone(BATTERY, Err(NOT_OFFERED.to_owned())));
    let after = story.subscribed(BATTERY, Err(NOT_OFFERED));
    assert!(after.contains(&Action::Command(LinkCommand::HangUp)), "{after:?}");
}

/// A sensor is told to send once everything is subscribed to, and once only.
#[test]
fn what_a_decoder_writes_goes_out_after_the_last_subscription() {
    let row = ble_profile("generic-health-sensor").unwrap();
    let mut story = Story::of(&[row.name]);
    story.event(LinkEvent::Up);
    story.answer_all("GHS");
    for of in row.asks {
        story.event(LinkEvent::ReadDone(*of, Err(NOT_OFFERED.to_owned())));
    }
    let mut writes = Vec::new();
    let record_access = Characteristic { service: row.service, uuid: 0x2A52 };
    for of in row.subscribes.iter().chain([&record_access]) {
        assert_eq!(writes, [], "{of:?} is not subscribed to yet");
        let result = if *of == record_access { Err(NOT_OFFERED) } else { Ok(()) };
        for action in story.subscribed(*of, result) {
            if let Action::Command(LinkCommand::Write(write)) = action {
                writes.push(write);
            }
        }
    }
    let [write] = writes.as_slice() else { panic!("{writes:?}") };
    let after = story.event(LinkEvent::Written(write.to(), Err("ATT error: 0x82".to_owned())));
    let [Action::Report(fault)] = after.as_slice() else { panic!("{after:?}") };
    assert_eq!(fault.kind, FaultKind::Refused);
    let again = story.event(LinkEvent::Written(write.to(), Ok(())));
    assert!(matches!(again.as_slice(), [Action::Report(fault)] if fault.kind == FaultKind::Unexpected));
}

const PUMP_STATE: [(u16, &[u8]); 3] = [
    // CRC, counter, concentration and flags of a pump that protects nothing.
    (0x2B23, &[0xFF, 0xFF, 0x00, 0x64, 0x00, 0x00, 0x00, 0x00]),
    (0x2B21, &[0x55, 0x96, 0x64, 0x00, 0x01]),
    (0x2B22, &[0x01, 0x07, 0x00, 0x3C, 0x00, 0x33]),
];

/// A connection on which the pump gives this annunciation: its alarm edges with their words. All is durable
/// at its end, when `tickets` says so; then what is to be remembered is behind it.
fn pump_connects(
    story: &mut Story,
    serial: &str,
    annunciation: &'static [u8],
    tickets: Option<&mut u64>,
) -> (Vec<String>, Option<Vec<u8>>) {
    let mut edges = Vec::new();
    let mut waiting = story.event(LinkEvent::Up);
    waiting.extend(story.answer_all(serial));
    let mut count = 0;
    while !waiting.is_empty() {
        let mut next = Vec::new();
        for action in waiting {
            match action {
                Action::Command(LinkCommand::Read(of)) if of.service == 0x183A => {
                    let known = PUMP_STATE.iter().find(|(uuid, _)| *uuid == of.uuid);
                    let value = if of.uuid == 0x2B22 { annunciation } else { known.unwrap().1 };
                    next.extend(story.event(read_done(of, value)));
                }
                Action::Command(LinkCommand::Subscribe(to)) => next.extend(story.subscribed(to, Ok(()))),
                Action::Observe(_, said) => {
                    count += 1;
                    if let Value::Alarm(alarm) = said.value {
                        edges.push(format!("{} {}", alarm.phase.as_str(), alarm.text));
                    }
                }
                Action::Command(_)
                | Action::Identify(..)
                | Action::Commit
                | Action::Gone(..)
                | Action::Report(_)
                | Action::Remember(_)
                | Action::Pin(_) => {}
            }
        }
        waiting = next;
    }
    let memo = tickets.and_then(|tickets| {
        // The session gives each its ticket as it takes it; here they are given at once, which is the same.
        *tickets += count;
        story.collector.handle_ticket(Ticket(*tickets));
        memos(&story.durable(*tickets)).pop()
    });
    story.event(LinkEvent::Down(LinkError::HungUp));
    (edges, memo)
}

const NO_ANNUNCIATION: &[u8] = &[0x00];

/// Alarm edges are the device's: over a reconnect one that is still on is not told again, and one that is
/// gone is told to be over.
#[test]
fn an_alarm_outlives_the_connection_on_which_it_was_told() {
    let mut story = Story::of(&["insulin-delivery"]);
    let mut edges = Vec::new();
    for annunciation in [PUMP_STATE[2].1, PUMP_STATE[2].1, NO_ANNUNCIATION, NO_ANNUNCIATION] {
        edges.extend(pump_connects(&mut story, "PUMP", annunciation, None).0);
    }
    let phases: Vec<&str> = edges.iter().filter_map(|edge| edge.split(' ').next()).collect();
    assert_eq!(phases, ["start", "end"]);
}

/// The same over a restart, from the moment at which its start is durable.
#[test]
fn an_alarm_outlives_a_restart() {
    let on = PUMP_STATE[2].1;
    let mut story = Story::of(&["insulin-delivery"]);
    let (begun, memo) = pump_connects(&mut story, "PUMP", on, Some(&mut 0));
    assert!(begun.len() == 1 && begun[0].starts_with("start "), "{begun:?}");
    let memo = memo.expect("what is on is remembered");
    let again = |serial, annunciation| {
        let mut story = Story::of(&["insulin-delivery"]);
        story.collector.recall(&memo);
        pump_connects(&mut story, serial, annunciation, Some(&mut 0))
    };
    assert_eq!(again("PUMP", on).0, [""; 0]);
    let (ended, gone) = again("PUMP", NO_ANNUNCIATION);
    assert_eq!(ended, ["end it was on before this connection"]);
    let mut third = Story::of(&["insulin-delivery"]);
    third.collector.recall(&gone.expect("that it is over is remembered"));
    assert_eq!(pump_connects(&mut third, "PUMP", NO_ANNUNCIATION, None).0, [""; 0]);
    // Another pump's alarms are its own.
    assert!(again("PUMP 2", on).0[0].starts_with("start "));
    assert_eq!(again("PUMP 2", NO_ANNUNCIATION).0, [""; 0]);
}

/// Under another name, or after it was told to be over there: it begins anew if it is on, and there is nothing to end.
#[test]
fn an_alarm_does_not_outlive_the_entry_under_which_it_was_told() {
    let on = PUMP_STATE[2].1;
    let mut story = Story::of(&["insulin-delivery"]);
    let memo = pump_connects(&mut story, "PUMP", on, Some(&mut 0)).1.expect("what is on is remembered");
    let again = |memo: &[u8], is_same: bool, annunciation| {
        let mut story = Story::of(&["insulin-delivery"]);
        story.collector.recall(memo);
        if !is_same {
            story.collector.handle_other_entry();
        }
        pump_connects(&mut story, "PUMP", annunciation, Some(&mut 0))
    };
    assert_eq!(again(&memo, false, NO_ANNUNCIATION).0, [""; 0]);
    let (begun, told) = again(&memo, false, on);
    assert!(begun.len() == 1 && begun[0].starts_with("start "), "{begun:?}");
    // What is remembered from here on is of the entry as it is.
    let told = told.expect("what is on is remembered");
    assert_eq!(again(&told, true, on).0, [""; 0]);
    assert_eq!(again(&told, true, NO_ANNUNCIATION).0, ["end it was on before this connection"]);
}

/// Its alarms are known again when it is back after another one, or after it was taken for another one.
#[test]
fn an_alarm_outlives_a_device_that_was_refused() {
    let on = PUMP_STATE[2].1;
    for (shown, told) in [(on, &[][..]), (NO_ANNUNCIATION, &["end it was on before this connection"][..])] {
        let mut story = Story::of(&["insulin-delivery"]);
        let mut tickets = 0;
        assert_eq!(pump_connects(&mut story, "PUMP", on, Some(&mut tickets)).0.len(), 1);
        pump_connects(&mut story, "PUMP 2", on, None);
        story.collector.handle_refused(Ticket(tickets + 1), story.now);
        assert_eq!(pump_connects(&mut story, "PUMP", shown, Some(&mut tickets)).0, told);
    }
}

/// In quarantine the gate keeps in mind what is on, by the edges that the driver gives: none twice, and each to its end.
#[test]
fn an_alarm_of_a_device_in_quarantine_begins_once_and_ends_when_it_is_gone() {
    let on = PUMP_STATE[2].1;
    let mut story = Story::of(&["insulin-delivery"]);
    let mut tickets = 0;
    let mut edges = Vec::new();
    for annunciation in [on, on, NO_ANNUNCIATION, NO_ANNUNCIATION] {
        edges.extend(pump_connects(&mut story, "PUMP", annunciation, None).0);
        tickets += 100;
        story.collector.handle_held(Ticket(tickets), story.now);
    }
    let phases: Vec<&str> = edges.iter().filter_map(|edge| edge.split(' ').next()).collect();
    assert_eq!(phases, ["start", "end"], "{edges:?}");
}

/// As many as a pump's decoder holds for on.
#[test]
fn all_alarms_that_are_on_outlive_a_restart() {
    let mut story = Story::of(&["insulin-delivery"]);
    let (mut tickets, mut memo) = (0, None);
    for id in 0..32u8 {
        // A number of five digits.
        let shown: &'static [u8] = Box::leak(Box::new([1, id, 0xC0, 0x3C, 0, 0x33]));
        memo = pump_connects(&mut story, "PUMP", shown, Some(&mut tickets)).1;
    }
    let mut again = Story::of(&["insulin-delivery"]);
    again.collector.recall(&memo.expect("what is on is remembered"));
    assert_eq!(pump_connects(&mut again, "PUMP", NO_ANNUNCIATION, None).0.len(), 32);
}

#[test]
fn an_alarm_that_is_not_durable_is_told_again_after_a_restart() {
    let mut story = Story::of(&["insulin-delivery"]);
    let (begun, memo) = pump_connects(&mut story, "PUMP", PUMP_STATE[2].1, None);
    assert_eq!((begun.len(), memo), (1, None));
    // Something else of it becomes durable, the alarm does not.
    story.collector.handle_ticket(Ticket(9));
    assert_eq!(memos(&story.durable(8)), [[0; 0]; 0]);
    // What was refused told nobody anything.
    story.collector.handle_refused(Ticket(9), story.now);
    assert_eq!(memos(&story.durable(9)), [[0; 0]; 0]);
}

#[test]
fn another_device_found_by_the_hourly_question_ends_the_connection() {
    let mut story = Story::running();
    let mut asked = Vec::new();
    while asked.is_empty() {
        story.value(HEART, &[0, 72]);
        asked = story.passes(ALMOST);
    }
    assert!(asked.contains(&read(0x2A25)), "{asked:?}");
    let after = story.answer_all("Another");
    assert!(after.contains(&Action::Command(LinkCommand::HangUp)), "{after:?}");
}
