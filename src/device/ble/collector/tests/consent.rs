//! The consent of a user, connection after connection.

use super::*;
use crate::link::gatt::{Consent, GattWrite, USER_CONTROL};

const SCALE: Characteristic = Characteristic { service: 0x181D, uuid: 0x2A9D };
/// 70.00 kg.
const WEIGHT: &[u8] = &[0, 0xB0, 0x36];

fn consent() -> Consent {
    Consent::read(2, b"1234").unwrap()
}

fn story(consent: Result<Consent, String>) -> Story {
    let mut story = Story::of(&["weight-scale"]);
    story.collector = story.collector.consenting(consent);
    story
}

fn written() -> Action {
    Action::Command(LinkCommand::Write(GattWrite::consent(consent()).unwrap()))
}

/// Connected and subscribed: what came of the last subscription.
fn connect(story: &mut Story) -> Vec<Action> {
    story.event(LinkEvent::Up);
    let actions = story.answer_all("Scale");
    assert!(actions.ends_with(&[subscribe(SCALE), subscribe(USER_CONTROL)]), "data first: {actions:?}");
    assert_eq!(story.subscribed(SCALE, Ok(())), []);
    besides(story.subscribed(USER_CONTROL, Ok(())))
}

/// Without the questions of what the device is, which stand behind all this.
fn besides(mut actions: Vec<Action>) -> Vec<Action> {
    assert!(actions.ends_with(&what_it_is()), "{actions:?}");
    actions.truncate(actions.len() - what_it_is().len());
    actions
}

#[test]
fn consent_is_given_on_every_connection_behind_the_subscriptions() {
    let mut story = story(Ok(consent()));
    for _ in 0..2 {
        assert_eq!(connect(&mut story), [written()]);
        assert_eq!(story.event(LinkEvent::Written(USER_CONTROL, Ok(()))), []);
        assert_eq!(story.value(USER_CONTROL, &[0x20, 2, 1]), []);
        assert_eq!(observed(&story.value(SCALE, WEIGHT)).len(), 1);
        assert_eq!(faults(&story.passes(Duration::from_secs(600))), []);
        story.event(LinkEvent::Down(LinkError::HungUp));
    }
}

#[test]
fn the_answer_may_overtake_the_end_of_its_write() {
    let mut story = story(Ok(consent()));
    connect(&mut story);
    assert_eq!(story.value(USER_CONTROL, &[0x20, 2, 1]), []);
    let late = story.event(LinkEvent::Written(USER_CONTROL, Ok(())));
    assert_eq!(late, [], "it is the end of our write all the same");
}

#[test]
fn a_refusal_names_the_setting_and_what_is_given_to_anybody_comes_all_the_same() {
    for code in [2, 3, 4, 5, 0, 0x77] {
        let mut story = story(Ok(consent()));
        connect(&mut story);
        story.event(LinkEvent::Written(USER_CONTROL, Ok(())));
        let value = LinkEvent::Value(USER_CONTROL, Bytes::from(vec![0x20, 2, code]));
        let actions = story.event(value);
        let [Action::Report(fault)] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(fault.kind, FaultKind::Refused);
        assert!(fault.detail.contains("`settings.consent_") && !fault.detail.contains("1234"), "{fault:?}");
        assert_eq!(observed(&story.value(SCALE, WEIGHT)).len(), 1);
        assert_eq!(faults(&story.passes(Duration::from_secs(600))), [], "told once");
    }
}

#[test]
fn what_is_no_answer_is_told_and_the_answer_is_still_awaited() {
    let mut story = story(Ok(consent()));
    connect(&mut story);
    assert_eq!(faults(&story.value(USER_CONTROL, &[0x20])), [FaultKind::Malformed]);
    assert_eq!(faults(&story.value(USER_CONTROL, &[0x20, 1, 1])), [FaultKind::Unexpected]);
    assert_eq!(story.value(USER_CONTROL, &[0x20, 2, 1]), []);
    assert_eq!(
        faults(&story.value(USER_CONTROL, &[0x20, 2, 1])),
        [FaultKind::Unexpected],
        "nobody asked again"
    );
}

#[test]
fn a_device_that_does_not_answer_is_told_after_half_a_minute_and_kept() {
    let mut story = story(Ok(consent()));
    connect(&mut story);
    assert_eq!(story.passes(Duration::from_secs(29)), []);
    let actions = story.passes(Duration::from_secs(2));
    assert_eq!(faults(&actions), [FaultKind::Timeout]);
    assert!(!actions.contains(&HANG_UP));
    assert_eq!(observed(&story.value(SCALE, WEIGHT)).len(), 1);
}

#[test]
fn a_write_that_fails_is_told() {
    let mut story = story(Ok(consent()));
    connect(&mut story);
    let refused = Err("Operation failed with ATT error: 0x80".to_owned());
    assert_eq!(faults(&story.event(LinkEvent::Written(USER_CONTROL, refused))), [FaultKind::Refused]);
    assert_eq!(faults(&story.passes(Duration::from_secs(60))), []);
}

#[test]
fn without_a_control_point_or_a_code_the_setting_is_named_on_every_connection() {
    let mut bare = story(Ok(consent()));
    let mut codeless = story(Err("/run/credentials/x cannot be read".to_owned()));
    for _ in 0..2 {
        bare.event(LinkEvent::Up);
        bare.answer_all("Scale");
        bare.subscribed(SCALE, Ok(()));
        let actions = besides(bare.subscribed(USER_CONTROL, Err(NOT_OFFERED)));
        let [Action::Report(fault)] = &actions[..] else { panic!("{actions:?}") };
        assert!(fault.detail.contains("remove `settings.consent_code`"), "{fault:?}");
        bare.event(LinkEvent::Down(LinkError::HungUp));

        codeless.event(LinkEvent::Up);
        assert!(!codeless.answer_all("Scale").contains(&subscribe(USER_CONTROL)));
        let actions = besides(codeless.subscribed(SCALE, Ok(())));
        let [Action::Report(fault)] = &actions[..] else { panic!("{actions:?}") };
        assert!(fault.detail.contains("`settings.consent_code`: /run/credentials/x"), "{fault:?}");
        assert_eq!(observed(&codeless.value(SCALE, WEIGHT)).len(), 1);
        codeless.event(LinkEvent::Down(LinkError::HungUp));
    }
}

#[test]
fn where_none_is_given_none_is_asked_for() {
    let mut story = Story::of(&["weight-scale"]);
    story.event(LinkEvent::Up);
    assert!(!story.answer_all("Scale").contains(&subscribe(USER_CONTROL)));
    assert_eq!(besides(story.subscribed(SCALE, Ok(()))), []);
}

/// 70.00 kg of this user, at this minute of a day in 2026.
fn kept(minute: u8, user: u8) -> Bytes {
    Bytes::from(vec![0x06, 0xB0, 0x36, 0xEA, 7, 11, 20, 8, minute, 0, user])
}

fn kept_said(story: &mut Story, of: Characteristic, value: Bytes) -> Vec<Observation> {
    observed(&story.event(LinkEvent::Value(of, value)))
}

/// What the consent releases was measured some day: never at its reception.
#[test]
fn what_comes_stamped_behind_a_consent_was_stored_and_only_its_clock_says_when_it_was() {
    use crate::device::observation::Quality;
    use crate::device::placing::{Placed, place};
    let mut with = story(Ok(consent()));
    // Before the consent is written it is live.
    with.event(LinkEvent::Up);
    with.answer_all("Scale");
    with.subscribed(SCALE, Ok(()));
    let live = kept_said(&mut with, SCALE, kept(29, 2));
    assert!(!live.is_empty() && live.iter().all(|said| !said.quality.has(Quality::STORED)), "{live:?}");
    with.subscribed(USER_CONTROL, Ok(()));
    let said = kept_said(&mut with, SCALE, kept(30, 2));
    assert!(said.len() == 2 && said.iter().all(|said| said.quality.has(Quality::STORED)), "{said:?}");
    assert!(said.iter().all(|said| place(said, with.now) == Placed::Unknown));
    // Without a stamp it is of now.
    let live = observed(&with.value(SCALE, WEIGHT));
    assert!(live.len() == 1 && place(&live[0], with.now) == Placed::Received);

    let mut timed = Story::of(&["weight-scale", "current-time"]);
    timed.collector = timed.collector.consenting(Ok(consent()));
    timed.now.wall = crate::time::Wall::from_millis(1_795_435_200_000); // 2026-11-23T12:00:00Z
    timed.event(LinkEvent::Up);
    timed.answer_all("Scale");
    let clock: &'static [u8] = &[0xEA, 7, 11, 23, 12, 0, 0, 1, 0, 0];
    timed.event(LinkEvent::ReadDone(CURRENT_TIME, Ok(Bytes::from_static(clock))));
    for of in [SCALE, CURRENT_TIME, USER_CONTROL] {
        timed.subscribed(of, Ok(()));
    }
    let said = kept_said(&mut timed, SCALE, kept(30, 2));
    let at = crate::time::Wall::from_millis(1_795_435_200_000 - (3 * 86_400 + 12_600) * 1_000);
    assert!(said.len() == 2 && said.iter().all(|said| place(said, timed.now) == Placed::At(at)), "{said:?}");

    let mut without = Story::of(&["weight-scale"]);
    without.event(LinkEvent::Up);
    without.answer_all("Scale");
    without.subscribed(SCALE, Ok(()));
    for _ in 0..2 {
        let said = kept_said(&mut without, SCALE, kept(30, 2));
        assert!(said.len() == 2 && said.iter().all(|said| !said.quality.has(Quality::STORED)), "{said:?}");
    }
}

/// Some scales give all that they keep on every connection.
#[test]
fn a_stored_reading_that_comes_again_is_given_once_while_it_is_the_same_device() {
    let mut story = story(Ok(consent()));
    for expected in [2, 0] {
        connect(&mut story);
        for (minute, user) in [(30, 2), (31, 2), (30, 3)] {
            assert_eq!(kept_said(&mut story, SCALE, kept(minute, user)).len(), expected, "{minute} {user}");
        }
        assert_eq!(observed(&story.value(SCALE, WEIGHT)).len(), 1, "who says no time may say the same again");
        // A clock that has no time tells no two readings apart.
        let unset = Bytes::from(vec![0x06, 0xB0, 0x36, 0, 0, 11, 20, 8, 30, 0, 2]);
        assert_eq!(kept_said(&mut story, SCALE, unset).len(), 2);
        story.event(LinkEvent::Down(LinkError::HungUp));
    }
    // What was refused was given to nobody.
    connect(&mut story);
    story.collector.handle_refused(Ticket(9), story.now);
    assert_eq!(kept_said(&mut story, SCALE, kept(30, 2)).len(), 2);
    story.event(LinkEvent::Down(LinkError::HungUp));
    // Another device's are its own.
    story.event(LinkEvent::Up);
    story.answer_all("Another");
    story.subscribed(SCALE, Ok(()));
    story.subscribed(USER_CONTROL, Ok(()));
    assert_eq!(kept_said(&mut story, SCALE, kept(30, 2)).len(), 2);
}

/// The second part has no stamp of its own: it is not the same as that of another day.
#[test]
fn second_parts_of_two_stored_measurements_are_told_apart() {
    const BODY: Characteristic = Characteristic { service: 0x181B, uuid: 0x2A9C };
    let mut story = Story::of(&["body-composition"]);
    story.collector = story.collector.consenting(Ok(consent()));
    for expected in [2, 0] {
        story.event(LinkEvent::Up);
        story.answer_all("Scale");
        story.subscribed(BODY, Ok(()));
        story.subscribed(USER_CONTROL, Ok(()));
        for minute in [30, 31] {
            let first = Bytes::from(vec![0x02, 0x10, 250, 0, 0xEA, 7, 11, 22, 23, minute, 0]);
            let second = Bytes::from_static(&[0x00, 0x14, 250, 0, 0xA8, 0x0C]);
            let mut said = kept_said(&mut story, BODY, first);
            said.extend(kept_said(&mut story, BODY, second));
            assert_eq!(said.len(), expected, "{minute}");
        }
        story.event(LinkEvent::Down(LinkError::HungUp));
    }
}
