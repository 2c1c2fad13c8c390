//! When the device's clock is set on a connection, and when not.

use super::*;
use crate::link::gatt::{CURRENT_ELAPSED_TIME, CURRENT_TIME, GattWrite};
use crate::time::{ClockSync, Wall};

/// 2026-11-23T12:00:00Z, a Monday.
const NOON: i64 = 1_795_435_200_000;
/// The clock an hour ahead, as it is in Berlin; six minutes more; never set.
const RIGHT: &[u8] = &[0xEA, 0x07, 11, 23, 13, 0, 4, 1, 0, 0];
const WRONG: &[u8] = &[0xEA, 0x07, 11, 23, 13, 6, 0, 1, 0, 0];
const UNSET: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const TEMPERATURE: Characteristic = Characteristic { service: 0x1809, uuid: 0x2A1C };

fn set() -> Action {
    Action::Command(LinkCommand::Write(GattWrite::current_time(Wall::from_millis(NOON), 60).unwrap()))
}

fn read_clock() -> Action {
    Action::Command(LinkCommand::Read(CURRENT_TIME))
}

fn clock_is(value: &'static [u8]) -> LinkEvent {
    LinkEvent::ReadDone(CURRENT_TIME, Ok(Bytes::from_static(value)))
}

/// A device of these profiles whose entry says that its clock is to show Berlin's time.
fn story(profiles: &[&str]) -> Story {
    let rows: Vec<_> = profiles.iter().map(|name| ble_profile(name).unwrap()).collect();
    let all: Vec<_> = rows.iter().flat_map(|row| row.settings().iter().copied()).collect();
    let mut settings = Settings::defaults(&all);
    let row = |name: &str| all.iter().find(|row| row.name == name).unwrap();
    settings.set_word(row("set_clock"), "when-wrong").unwrap();
    settings.set_number(row("clock_offset"), 60).unwrap();
    let (wall, sync) = (Wall::from_millis(NOON), ClockSync::Synced);
    let now = Now { wall, sync, max_error_us: 20_000, ..Now::default() };
    Story { collector: Collector::with(rows, &settings), now }
}

/// Everything that the collector asks is answered: the clock with this, all else is not offered. All that it did.
fn connects(story: &mut Story, clock: &'static [u8]) -> Vec<Action> {
    connects_with(story, clock, |_| true)
}

/// The same of a device that has only some of what is subscribed to, and takes no writes where it lacks something.
fn connects_with(story: &mut Story, clock: &'static [u8], has: fn(u16) -> bool) -> Vec<Action> {
    let mut waiting = story.event(LinkEvent::Up);
    let mut done = Vec::new();
    while !waiting.is_empty() {
        let mut next = Vec::new();
        for action in std::mem::take(&mut waiting) {
            match &action {
                Action::Command(LinkCommand::Read(CURRENT_TIME)) => next.extend(story.event(clock_is(clock))),
                // Answered by the test.
                Action::Command(LinkCommand::Read(CURRENT_ELAPSED_TIME)) => {}
                Action::Command(LinkCommand::Read(of)) => {
                    next.extend(story.event(LinkEvent::ReadDone(*of, Err(NOT_OFFERED.to_owned()))));
                }
                Action::Command(LinkCommand::Subscribe(to)) => {
                    let result = if has(to.uuid) { Ok(()) } else { Err(NOT_OFFERED) };
                    next.extend(story.subscribed(*to, result));
                }
                Action::Command(LinkCommand::Write(write)) if !has(write.to().uuid) => {
                    next.extend(story.event(LinkEvent::Written(write.to(), Err(NOT_OFFERED.to_owned()))));
                }
                Action::Command(_)
                | Action::Identify(..)
                | Action::Observe(..)
                | Action::Pin(_)
                | Action::Commit
                | Action::Gone(..)
                | Action::Report(_)
                | Action::Remember(_) => {}
            }
            done.push(action);
        }
        waiting = next;
    }
    done
}

fn sets(actions: &[Action]) -> usize {
    let is_set = |action: &&Action| matches!(action, Action::Command(LinkCommand::Write(write)) if write.to() == CURRENT_TIME);
    actions.iter().filter(is_set).count()
}

#[test]
fn a_wrong_clock_is_set_once_behind_everything_else_and_read_again() {
    for wrong in [WRONG, UNSET] {
        let mut story = story(&["health-thermometer", "current-time"]);
        for _ in 0..2 {
            let done = connects(&mut story, wrong);
            assert_eq!(done.last(), Some(&set()), "{done:?}");
            assert_eq!(sets(&done), 1);
            assert_eq!(story.event(LinkEvent::Written(CURRENT_TIME, Ok(()))), [read_clock()]);
            let after = story.event(clock_is(RIGHT));
            assert_eq!((faults(&after), sets(&after), observed(&after).len()), (vec![], 0, 1));
            // Wrong once more, and told so: not on this connection.
            assert_eq!(sets(&story.value(CURRENT_TIME, WRONG)), 0);
            story.event(LinkEvent::Down(LinkError::HungUp));
        }
    }
}

#[test]
fn a_clock_that_is_right_is_left_alone_and_set_when_it_goes_wrong() {
    let mut story = story(&["health-thermometer", "current-time"]);
    assert_eq!(sets(&connects(&mut story, RIGHT)), 0);
    assert_eq!(sets(&story.value(CURRENT_TIME, WRONG)), 1);
}

#[test]
fn nothing_is_set_unless_the_entry_says_so_or_the_device_has_no_clock() {
    let mut plain = Story::of(&["health-thermometer", "current-time"]);
    (plain.now.wall, plain.now.sync) = (Wall::from_millis(NOON), ClockSync::Synced);
    assert_eq!(sets(&connects(&mut plain, WRONG)), 0);
    let mut cut = story(&["health-thermometer", "current-time"]);
    assert_eq!(
        sets(&connects(&mut cut, &WRONG[..9])),
        0,
        "a clock that cannot be read is not known to be wrong"
    );
}

#[test]
fn the_gateway_sets_a_clock_only_by_one_that_is_right_itself() {
    let mut unsure = story(&["health-thermometer", "current-time"]);
    unsure.now.sync = ClockSync::Unsynced;
    let done = connects(&mut unsure, WRONG);
    assert_eq!((sets(&done), done.iter().filter(|one| **one == read_clock()).count()), (0, 1));
    // Synchronised since: what was read before is worth nothing, it is read again first.
    unsure.now.sync = ClockSync::Synced;
    let value = &[0x00, 0x6C, 0x01, 0x00, 0xFF];
    assert!(unsure.value(TEMPERATURE, value).contains(&read_clock()));
    assert_eq!(sets(&unsure.event(clock_is(WRONG))), 1);

    let mut loose = story(&["health-thermometer", "current-time"]);
    loose.now.max_error_us = 1_000_000;
    assert_eq!(sets(&connects(&mut loose, WRONG)), 0);
}

#[test]
fn what_was_stamped_before_keeps_the_clock_as_it_was() {
    let mut story = story(&["health-thermometer", "current-time"]);
    connects(&mut story, WRONG);
    story.event(LinkEvent::Written(CURRENT_TIME, Ok(())));
    story.event(clock_is(RIGHT));
    // 12:30 of the device's clock: by the one before, six minutes ahead of Berlin.
    let measured = &[0x02, 0x6C, 0x01, 0x00, 0xFF, 0xEA, 0x07, 11, 23, 12, 30, 0];
    let said = observed(&story.value(TEMPERATURE, measured));
    assert_eq!(said[0].device_time.unwrap().ahead, Some(66 * 60_000));
}

#[test]
fn stored_records_come_and_are_durable_before_the_clock_is_set() {
    let mut story = story(&["glucose", "current-time"]);
    let mut tickets = 0;
    let done = connects(&mut story, WRONG);
    assert_eq!((writes(&done), sets(&done)), (vec![vec![4, 1]], 0), "the records are asked for");
    story.event(LinkEvent::Written(CONTROL, Ok(())));
    assert_eq!(sets(&story.says(&[5, 0, 1, 0])), 0);
    story.event(LinkEvent::Written(CONTROL, Ok(())));
    assert!(story.record(1, &mut tickets) > 0);
    assert_eq!(sets(&story.ends()), 0, "all have come, and none is durable");
    let done = story.durable(tickets);
    assert_eq!(done.last(), Some(&set()), "{done:?}");
}

#[test]
fn the_clock_of_a_health_sensor_is_read_again_too() {
    let mut story = story(&["generic-health-sensor", "current-time"]);
    connects(&mut story, WRONG);
    let elapsed = Bytes::from_static(&[0x21, 0xE8, 3, 0, 0, 0, 0, 0, 0, 0, 0]);
    story.event(LinkEvent::ReadDone(CURRENT_ELAPSED_TIME, Ok(elapsed)));
    let control = Characteristic { service: 0x1840, uuid: 0x2A52 };
    story.event(LinkEvent::Written(Characteristic { service: 0x1840, uuid: 0x2BF4 }, Ok(())));
    story.event(LinkEvent::Written(control, Ok(())));
    // It keeps no records.
    story.value(control, &[6, 0, 4, 6]);
    story.passes(Duration::from_secs(1));
    let again = Action::Command(LinkCommand::Read(CURRENT_ELAPSED_TIME));
    assert_eq!(story.event(LinkEvent::Written(CURRENT_TIME, Ok(()))), [read_clock(), again]);
}

#[test]
fn records_that_cannot_be_fetched_are_not_parted_from_their_clock() {
    // Its control point refuses; one that has none keeps no records.
    for (result, expected) in [(Err("Operation failed with ATT error: 0x05"), 0), (Err(NOT_OFFERED), 1)] {
        let mut story = story(&["glucose", "current-time"]);
        story.event(LinkEvent::Up);
        story.answer_all("GLM");
        story.event(clock_is(WRONG));
        let row = ble_profile("glucose").unwrap();
        for of in row.asks {
            story.event(LinkEvent::ReadDone(*of, Err(NOT_OFFERED.to_owned())));
        }
        for of in row.subscribes.iter().chain([&CURRENT_TIME]) {
            story.subscribed(*of, Ok(()));
        }
        story.subscribed(CONTROL, result);
        let mut done = Vec::new();
        for uuid in [0x2A28, 0x2A27] {
            done.extend(story.answer(uuid, Err(NOT_OFFERED)));
        }
        done.extend(story.event(LinkEvent::ReadDone(DATABASE_HASH, Ok(Bytes::from_static(&[7; 16])))));
        assert_eq!(sets(&done), expected, "{result:?}");
    }
}

#[test]
fn a_device_that_ignores_fields_is_noted_and_one_that_refuses_names_the_setting() {
    let mut noted = story(&["health-thermometer", "current-time"]);
    connects(&mut noted, WRONG);
    let ignored = Err("Operation failed with ATT error: 0x80".to_owned());
    let after = noted.event(LinkEvent::Written(CURRENT_TIME, ignored));
    assert_eq!((faults(&after), after.last()), (vec![FaultKind::Unexpected], Some(&read_clock())));
    let after = noted.event(clock_is(WRONG));
    assert!(
        matches!(&after[..], [Action::Report(fault), ..] if fault.detail.contains("still wrong")),
        "{after:?}"
    );

    let mut refusing = story(&["health-thermometer", "current-time"]);
    connects(&mut refusing, WRONG);
    let refused = Err("Operation failed with ATT error: 0x03".to_owned());
    let after = refusing.event(LinkEvent::Written(CURRENT_TIME, refused));
    let [Action::Report(fault)] = after.as_slice() else { panic!("{after:?}") };
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.detail.contains("`settings.set_clock`"), "{fault:?}");
    assert_eq!(sets(&refusing.value(CURRENT_TIME, WRONG)), 0, "not again on this connection");
}

#[test]
fn a_pump_and_a_glucose_sensor_are_never_set_whatever_the_entry_says() {
    // None of them has records that would have to come first; of a meter the clock is set.
    let has = |uuid| ![0x2A52, 0x2B24, 0x2B27].contains(&uuid);
    for (profile, expected) in [("glucose", 1), ("insulin-delivery", 0), ("continuous-glucose", 0)] {
        let mut story = story(&[profile, "current-time"]);
        let done = connects_with(&mut story, WRONG, has);
        assert!(!done.contains(&HANG_UP), "{profile}: {done:?}");
        assert_eq!(sets(&done), expected, "{profile}");
    }
}
