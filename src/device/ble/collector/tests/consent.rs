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
