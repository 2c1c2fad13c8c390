//! What of stored records may go on, be deleted, or be remembered: one story for each way to go wrong.

use super::*;
use crate::device::observation::{Quality, Value};

const CGM_MEASURED: Characteristic = Characteristic { service: 0x181F, uuid: 0x2AA7 };
const CGM_CONTROL: Characteristic = Characteristic { service: 0x181F, uuid: 0x2A52 };
const CGM_FEATURE: Characteristic = Characteristic { service: 0x181F, uuid: 0x2AA8 };
const CGM_STATUS: Characteristic = Characteristic { service: 0x181F, uuid: 0x2AA9 };
const CGM_START: Characteristic = Characteristic { service: 0x181F, uuid: 0x2AAA };
const CGM_RUN_TIME: Characteristic = Characteristic { service: 0x181F, uuid: 0x2AAB };

const NO_ANSWER: &str = "no answer in 10 s";

fn asked_of(actions: &[Action], of: Characteristic) -> bool {
    actions.contains(&Action::Command(LinkCommand::Read(of)))
}

/// A sensor's story.
impl Story {
    fn sensor() -> Self {
        Self::of(&["continuous-glucose"])
    }

    fn gives(&mut self, of: Characteristic, octets: &[u8]) -> Vec<Action> {
        self.event(LinkEvent::ReadDone(of, Ok(Bytes::copy_from_slice(octets))))
    }

    fn gives_start(&mut self, year: u16) -> Vec<Action> {
        let [low, high] = year.to_le_bytes();
        let day = u8::from(year != 0);
        self.gives(CGM_START, &[low, high, day * 3, day, 12, 0, 0, 4, 0])
    }

    fn gives_status(&mut self, minute: u16) -> Vec<Action> {
        let [low, high] = minute.to_le_bytes();
        self.gives(CGM_STATUS, &[low, high, 0, 0, 0])
    }

    /// Connected in this minute of the session that began then, and subscribed: what is asked.
    fn connects_sensor(&mut self, year: u16, minute: u16) -> Vec<Vec<u8>> {
        self.event(LinkEvent::Up);
        self.answer_all("CGM");
        self.gives(CGM_FEATURE, &[0, 0, 0, 0x59, 0xFF, 0xFF]);
        self.gives_start(year);
        self.event(LinkEvent::ReadDone(CGM_RUN_TIME, Err(NOT_OFFERED.to_owned())));
        self.gives_status(minute);
        self.subscribed(CGM_MEASURED, Ok(()));
        writes(&self.subscribed(CGM_CONTROL, Ok(())))
    }

    fn cgm_says(&mut self, control: &'static [u8]) -> Vec<Action> {
        self.value(CGM_CONTROL, control)
    }

    /// The record of a minute, 100 mg/dL.
    fn minute(&mut self, minute: u16, tickets: &mut u64) -> Vec<Action> {
        let [low, high] = minute.to_le_bytes();
        let octets = Bytes::copy_from_slice(&[6, 0, 100, 0, low, high]);
        self.with_tickets(&LinkEvent::Value(CGM_MEASURED, octets), tickets)
    }

    /// As a session does: each observation has its ticket at once.
    fn with_tickets(&mut self, event: &LinkEvent, tickets: &mut u64) -> Vec<Action> {
        self.collector.handle_event(event, self.now);
        let mut actions = Vec::new();
        while let Some(action) = self.collector.poll_action() {
            if matches!(action, Action::Observe(..)) {
                *tickets += 1;
                self.collector.handle_ticket(Ticket(*tickets));
            }
            actions.push(action);
        }
        actions
    }

    fn down(&mut self, tickets: &mut u64) -> Vec<Action> {
        self.with_tickets(&LinkEvent::Down(LinkError::HungUp), tickets)
    }
}

/// The minutes of the glucose that was told, and whether each has a time on the calendar.
fn minutes(actions: &[Action]) -> Vec<(u32, bool)> {
    let said = observed(actions).into_iter().filter(|said| matches!(said.value, Value::Decimal(_)));
    said.map(|said| (said.record.unwrap(), said.device_time.is_some_and(|time| time.ticks.is_none())))
        .collect()
}

#[test]
fn records_whose_session_is_not_answered_for_come_again_with_their_time_and_only_then() {
    let mut story = Story::sensor();
    let mut tickets = 0;
    assert_eq!(story.connects_sensor(2026, 100), [[4, 1]]);
    story.cgm_says(&[5, 0, 2, 0]);
    assert_eq!(minutes(&story.minute(101, &mut tickets)), [(101, true)], "measured just now");
    let actions = story.minute(50, &mut tickets);
    assert!(minutes(&actions).is_empty() && asked_of(&actions, CGM_START), "{actions:?}");
    assert!(minutes(&story.minute(55, &mut tickets)).is_empty());
    // The end of the transfer waits for the answer, which never comes.
    story.cgm_says(&[6, 0, 1, 1]);
    assert!(minutes(&story.passes(Duration::from_secs(9))).is_empty());
    let unanswered = LinkEvent::ReadDone(CGM_START, Err(NO_ANSWER.to_owned()));
    let actions = story.with_tickets(&unanswered, &mut tickets);
    assert_eq!((minutes(&actions), actions.last()), (vec![], Some(&HANG_UP)));
    assert!(memos(&story.durable(tickets)).is_empty(), "the mark does not move over them");
    assert!(minutes(&story.down(&mut tickets)).is_empty());

    assert_eq!(story.connects_sensor(2026, 102), [[4, 1]], "all of it once more");
    story.cgm_says(&[5, 0, 3, 0]);
    let told: Vec<_> = [50, 55, 101].map(|minute| minutes(&story.minute(minute, &mut tickets))).concat();
    assert_eq!(told, [(50, true), (55, true)]);
    story.cgm_says(&[6, 0, 1, 1]);
    story.passes(Duration::from_secs(1));
    assert_eq!(memos(&story.durable(tickets)).len(), 1);
}

#[test]
fn a_transfer_waits_for_the_answers_its_records_wait_for() {
    let mut story = Story::sensor();
    let mut tickets = 0;
    story.connects_sensor(2026, 100);
    story.cgm_says(&[5, 0, 2, 0]);
    story.minute(101, &mut tickets);
    story.minute(50, &mut tickets);
    story.cgm_says(&[6, 0, 1, 1]);
    assert!(writes(&story.passes(Duration::from_secs(8))).is_empty());
    assert!(asked_of(&story.gives_start(2026), CGM_STATUS));
    story.passes(Duration::from_secs(8));
    let [low, high] = 101u16.to_le_bytes();
    let status = LinkEvent::ReadDone(CGM_STATUS, Ok(Bytes::copy_from_slice(&[low, high, 0, 0, 0])));
    assert_eq!(minutes(&story.with_tickets(&status, &mut tickets)), [(50, true)]);
    story.passes(Duration::from_secs(1));
    assert_eq!(memos(&story.durable(tickets)).len(), 1, "it is whole");
}

#[test]
fn in_another_session_all_records_are_asked_for() {
    for (before, year, minute, expected) in [
        // The same start, or an unknown one and minutes that went on.
        ((2026, 100), 2026, 130, vec![4, 3, 1, 100, 0]),
        ((0, 100), 0, 130, vec![4, 3, 1, 100, 0]),
        // Another start; an unknown one and fewer minutes.
        ((2026, 100), 2027, 130, vec![4, 1]),
        ((0, 100), 0, 99, vec![4, 1]),
    ] {
        let mut story = Story::sensor();
        let mut tickets = 0;
        story.connects_sensor(before.0, before.1);
        story.cgm_says(&[5, 0, 1, 0]);
        story.minute(100, &mut tickets);
        story.cgm_says(&[6, 0, 1, 1]);
        story.passes(Duration::from_secs(1));
        let memo = memos(&story.durable(tickets)).pop().unwrap();
        story.down(&mut tickets);
        let mut restarted = Story::sensor();
        restarted.collector.recall(&memo);
        for mut story in [story, restarted] {
            assert_eq!(
                story.connects_sensor(year, minute),
                std::slice::from_ref(&expected),
                "{before:?} {year} {minute}"
            );
            if expected.len() > 2 {
                continue;
            }
            story.cgm_says(&[5, 0, 1, 0]);
            let minute = minute.min(99);
            assert_eq!(
                minutes(&story.minute(minute, &mut tickets)).len(),
                1,
                "what has the same number is new"
            );
        }
    }
}

#[test]
fn a_session_that_begins_while_records_come_is_asked_for_whole() {
    let mut story = Story::sensor();
    let mut tickets = 0;
    story.connects_sensor(0, 100);
    story.cgm_says(&[5, 0, 1, 0]);
    story.minute(100, &mut tickets);
    story.cgm_says(&[6, 0, 1, 1]);
    story.passes(Duration::from_secs(1));
    story.durable(tickets);
    // The next transfer, from the mark on: in it the sensor is changed.
    assert_eq!(writes(&story.passes(Duration::from_secs(300))), [[4, 3, 1, 100, 0]]);
    story.cgm_says(&[5, 0, 1, 0]);
    story.minute(3, &mut tickets);
    story.gives_start(0);
    let status = LinkEvent::ReadDone(CGM_STATUS, Ok(Bytes::copy_from_slice(&[4, 0, 0, 0, 0])));
    assert_eq!(minutes(&story.with_tickets(&status, &mut tickets)), [(3, false)]);
    story.cgm_says(&[6, 0, 1, 1]);
    assert_eq!(writes(&story.passes(Duration::from_secs(1))), [[4, 1]]);
}

#[test]
fn what_cannot_be_read_keeps_everything_on_the_device_also_after_a_restart() {
    let mut story = Story::deleting_meter();
    story.connects("SN-1");
    story.says(&[5, 0, 2, 0]);
    let mut tickets = 0;
    story.record(1, &mut tickets);
    let actions = story.value(MEASURED, &[2, 2, 0]);
    assert_eq!(faults(&actions), [FaultKind::Malformed]);
    story.record(3, &mut tickets);
    let mut actions = story.ends();
    actions.extend(story.durable(tickets));
    assert!(writes(&actions).iter().all(|write| write.first() != Some(&2)), "deleted");
    let memo = memos(&actions).pop().unwrap();
    let mut again = Story::deleting_meter();
    again.collector.recall(&memo);
    again.connects("SN-1");
    again.says(&[5, 0, 1, 0]);
    let mut tickets = 0;
    again.record(3, &mut tickets);
    again.record(4, &mut tickets);
    let mut actions = again.ends();
    actions.extend(again.durable(tickets));
    assert!(writes(&actions).iter().all(|write| write.first() != Some(&2)), "deleted");
}

#[test]
fn what_is_no_record_neither_prolongs_a_transfer_nor_counts_as_stored() {
    const LIVE: Characteristic = Characteristic { service: 0x1840, uuid: 0x2B8B };
    const STORED: Characteristic = Characteristic { service: 0x1840, uuid: 0x2BDD };
    const ANSWERS: Characteristic = Characteristic { service: 0x1840, uuid: 0x2BF4 };
    const CONTROL: Characteristic = Characteristic { service: 0x1840, uuid: 0x2A52 };
    const FEATURES: Characteristic = Characteristic { service: 0x1840, uuid: 0x2BF3 };
    // One segment, first and last: a numeric observation of 97 %.
    const SATURATION: &[u8] = &[0x03, 1, 12, 0, 1, 0, 0xB8, 0x4B, 0x02, 0, 0x20, 0x02, 97, 0, 0, 0];
    let mut story = Story::of(&["generic-health-sensor"]);
    story.event(LinkEvent::Up);
    story.answer_all("GHS");
    story.gives(FEATURES, &[0, 0]);
    for of in [LIVE, STORED, ANSWERS] {
        story.subscribed(of, Ok(()));
    }
    story.subscribed(CONTROL, Ok(()));
    story.value(CONTROL, &[5, 0, 2, 0, 0, 0]);
    let mut said = Vec::new();
    for _ in 0..3 {
        let actions = story.passes(Duration::from_secs(9));
        assert!(!actions.contains(&HANG_UP));
        said.extend(observed(&story.value(LIVE, SATURATION)));
    }
    assert!(!said.is_empty(), "it is read");
    assert!(said.iter().all(|one| !one.quality.has(Quality::STORED)), "{said:?}");
    assert!(story.passes(Duration::from_secs(4)).contains(&HANG_UP), "30 s without a record");
}

#[test]
fn a_connection_that_ends_while_stragglers_are_waited_for_is_complete() {
    for (count, is_complete) in [(&[5, 0, 2, 0], true), (&[5, 0, 3, 0], false)] {
        let mut story = Story::meter(&Settings::default());
        story.connects("SN-1");
        story.says(count);
        let mut tickets = 0;
        story.record(1, &mut tickets);
        story.record(2, &mut tickets);
        story.says(&[6, 0, 1, 1]);
        story.down(&mut tickets);
        let memo = memos(&story.durable(tickets)).pop();
        // Behind version, owner, count, service and flags: the number.
        assert_eq!(memo.map(|memo| memo[13]), is_complete.then_some(2));
    }
}

/// What was made since the count does not stand for what was announced and did not come.
#[test]
fn a_record_made_meanwhile_does_not_make_a_cut_transfer_complete() {
    let mut story = Story::sensor();
    let mut tickets = 0;
    story.connects_sensor(2026, 100);
    story.cgm_says(&[5, 0, 2, 0]);
    story.minute(55, &mut tickets);
    story.minute(101, &mut tickets);
    story.cgm_says(&[6, 0, 1, 1]);
    story.down(&mut tickets);
    assert!(memos(&story.durable(tickets)).is_empty());
    // Nor with a meter, whose numbers leave none out.
    let mut story = Story::meter(&Settings::default());
    story.connects("SN-1");
    story.says(&[5, 0, 2, 0]);
    story.record(1, &mut tickets);
    story.record(3, &mut tickets);
    story.says(&[6, 0, 1, 1]);
    story.down(&mut tickets);
    assert!(memos(&story.durable(tickets)).is_empty());
}

#[test]
fn a_context_that_was_lost_is_given_when_its_record_comes_again() {
    let mut story = Story::meter(&Settings::default());
    story.connects("SN-1");
    story.says(&[5, 0, 1, 0]);
    let mut tickets = 0;
    let announces = Bytes::from_static(&[0x12, 1, 0, 0xEA, 7, 1, 1, 0, 0, 0, 100, 0xB0, 0x11]);
    let announces = LinkEvent::Value(MEASURED, announces);
    story.with_tickets(&announces.clone(), &mut tickets);
    story.says(&[6, 0, 1, 1]);
    // The end of the drain gives the record without it.
    story.now.mono = story.now.mono + Duration::from_secs(1);
    story.collector.handle_timeout(story.now);
    while let Some(action) = story.collector.poll_action() {
        if matches!(action, Action::Observe(..)) {
            tickets += 1;
            story.collector.handle_ticket(Ticket(tickets));
        }
    }
    assert_eq!((tickets, memos(&story.durable(tickets)).len()), (2, 1));
    assert_eq!(story.connects("SN-1"), [[4, 3, 1, 1, 0]]);
    story.says(&[5, 0, 1, 0]);
    assert_eq!(observed(&story.with_tickets(&announces, &mut tickets)).len(), 0);
    assert_eq!(observed(&story.value(CONTEXT, &[2, 1, 0, 1])).len(), 1);
}

#[test]
fn a_memo_of_the_version_before_is_still_read() {
    let mut story = Story::meter(&Settings::default());
    story.connects("SN-1");
    story.says(&[5, 0, 1, 0]);
    let mut tickets = 0;
    story.record(1, &mut tickets);
    story.ends();
    let memo = memos(&story.durable(tickets)).pop().unwrap();
    // Without the count, the flags and what stands behind the services.
    let before = [&[1], &memo[1..9], &memo[10..12], &memo[13..21]].concat();
    let mut again = Story::meter(&Settings::default());
    again.collector.recall(&before);
    assert_eq!(again.connects("SN-1"), [[4, 3, 1, 1, 0]]);
    again.says(&[5, 0, 1, 0]);
    assert_eq!(again.record(1, &mut 0), 0);
}

#[test]
fn a_decoder_that_lost_something_at_the_end_says_so_at_once() {
    const STORED: Characteristic = Characteristic { service: 0x1840, uuid: 0x2BDD };
    let mut story = Story::of(&["generic-health-sensor"]);
    story.event(LinkEvent::Up);
    story.answer_all("GHS");
    story.gives(Characteristic { service: 0x1840, uuid: 0x2BF3 }, &[0, 0]);
    // The first segment of more.
    story.value(STORED, &[0x01, 1, 0, 0, 0]);
    assert!(!faults(&story.down(&mut 0)).is_empty());
}

/// The meter announces two records, and of the second only the context comes.
#[test]
fn a_context_without_its_measurement_does_not_pass_for_the_record() {
    let mut story = Story::deleting_meter();
    story.connects("SN-1");
    let mut tickets = 0;
    for _ in 0..2 {
        story.says(&[5, 0, 2, 0]);
        story.record(1, &mut tickets);
        assert_eq!(story.value(CONTEXT, &[2, 2, 0, 1]), []);
        let mut actions = story.ends();
        let lone = observed(&actions);
        assert_eq!((lone.len(), lone[0].record), (1, Some(2)), "it is told all the same");
        assert!(lone[0].quality.has(Quality::STORED));
        assert_eq!(faults(&actions), [FaultKind::Unexpected, FaultKind::Timeout], "{actions:?}");
        tickets += 1;
        story.collector.handle_ticket(Ticket(tickets));
        actions.extend(story.durable(tickets));
        assert!(writes(&actions).iter().all(|write| write.first() != Some(&2)), "deleted: {actions:?}");
    }
    // Where the meter does not say how many there are, nothing is deleted for good.
    let mut silent = Story::deleting_meter();
    silent.connects("SN-1");
    silent.says(&[6, 0, 4, 2]);
    let mut tickets = 0;
    silent.record(1, &mut tickets);
    silent.value(CONTEXT, &[2, 2, 0, 1]);
    let mut actions = silent.ends();
    silent.collector.handle_ticket(Ticket(tickets + 1));
    actions.extend(silent.durable(tickets + 1));
    assert!(writes(&actions).iter().all(|write| write.first() != Some(&2)), "deleted: {actions:?}");
}
