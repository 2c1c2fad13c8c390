use super::identity::readable;
use super::*;
use crate::device::catalogue::ble_profile;
use crate::device::observation::Observation;
use crate::link::LinkError;
use proptest::prelude::*;
use std::borrow::Borrow;

const HEART: Characteristic = Characteristic { service: 0x180D, uuid: 0x2A37 };
const SPOT: Characteristic = Characteristic { service: 0x1822, uuid: 0x2A5E };
const CONTINUOUS: Characteristic = Characteristic { service: 0x1822, uuid: 0x2A5F };

/// A second less than each of the two limits.
const ALMOST: Duration = Duration::from_secs(59);

/// A collector with a clock and short names for what can happen to it.
struct Story {
    collector: Collector,
    now: Now,
}

impl Story {
    fn of(profiles: &[&str]) -> Self {
        let profiles = profiles.iter().map(|name| ble_profile(name).unwrap()).collect();
        Self { collector: Collector::new(profiles), now: Now::default() }
    }

    /// Connected, identified as a belt and subscribed: values may come.
    fn running() -> Self {
        let mut story = Self::of(&["heart-rate"]);
        story.event(LinkEvent::Up);
        story.answer_all("Belt");
        story.subscribed(HEART, Ok(()));
        story
    }

    fn event(&mut self, event: impl Borrow<LinkEvent>) -> Vec<Action> {
        self.collector.handle_event(event.borrow(), self.now);
        self.actions()
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.collector.poll_action()).collect()
    }

    fn answer(&mut self, uuid: u16, result: Result<&str, &str>) -> Vec<Action> {
        let of = Characteristic { service: 0x180A, uuid };
        let result = result.map(|text| Bytes::from(text.to_owned())).map_err(str::to_owned);
        self.event(LinkEvent::ReadDone(of, result))
    }

    fn answer_all(&mut self, text: &str) -> Vec<Action> {
        STRINGS.iter().flat_map(|uuid| self.answer(*uuid, Ok(text))).collect()
    }

    fn subscribed(&mut self, to: Characteristic, result: Result<(), &str>) -> Vec<Action> {
        self.event(LinkEvent::Subscribed(to, result.map_err(str::to_owned)))
    }

    fn value(&mut self, of: Characteristic, value: &'static [u8]) -> Vec<Action> {
        self.event(LinkEvent::Value(of, Bytes::from_static(value)))
    }

    fn passes(&mut self, time: Duration) -> Vec<Action> {
        let until = self.now.mono + time;
        let mut actions = Vec::new();
        while let Some(at) = self.collector.poll_timeout().filter(|at| *at <= until) {
            self.now.mono = self.now.mono.max(at);
            self.collector.handle_timeout(self.now);
            actions.extend(self.actions());
        }
        self.now.mono = until;
        actions
    }
}

fn read(uuid: u16) -> Action {
    Action::Command(LinkCommand::Read(Characteristic { service: 0x180A, uuid }))
}

fn subscribe(to: Characteristic) -> Action {
    Action::Command(LinkCommand::Subscribe(to))
}

const HANG_UP: Action = Action::Command(LinkCommand::HangUp);

fn faults(actions: &[Action]) -> Vec<FaultKind> {
    let kind = |action: &Action| if let Action::Report(fault) = action { Some(fault.kind) } else { None };
    actions.iter().filter_map(kind).collect()
}

fn observed(actions: &[Action]) -> Vec<Observation> {
    let observation = |action: &Action| {
        if let Action::Observe(_, observed) = action { Some(observed.clone()) } else { None }
    };
    actions.iter().filter_map(observation).collect()
}

#[test]
fn asks_who_it_is_then_identifies_then_subscribes_then_observes() {
    let mut story = Story::of(&["heart-rate", "pulse-oximeter"]);
    assert_eq!(story.event(LinkEvent::Up), [read(0x2A29), read(0x2A24), read(0x2A25), read(0x2A26)]);
    assert_eq!(story.answer(0x2A25, Ok("SN-7\0\0")), []);
    assert_eq!(story.answer(0x2A29, Ok("Maker ")), []);
    assert_eq!(story.answer(0x2A26, Err(NOT_OFFERED)), []);
    let identity = Identity {
        maker: Some("Maker".to_owned()),
        model: Some("M 1".to_owned()),
        serial: Some("SN-7".to_owned()),
        firmware: None,
    };
    assert_eq!(
        story.answer(0x2A24, Ok("M\r 1")),
        [Action::identify(identity), subscribe(HEART), subscribe(SPOT), subscribe(CONTINUOUS)]
    );
    assert_eq!(story.subscribed(SPOT, Ok(())), []);
    assert_eq!(observed(&story.value(HEART, &[0, 72])).len(), 1, "a value may overtake its subscription");
    assert_eq!(story.subscribed(HEART, Ok(())), []);
    assert_eq!(story.subscribed(CONTINUOUS, Ok(())), []);
    assert_eq!(observed(&story.value(HEART, &[0, 73])).len(), 1);
}

#[test]
fn a_string_that_cannot_be_read_is_not_stated_and_reported() {
    let mut story = Story::of(&["heart-rate"]);
    story.event(LinkEvent::Up);
    for uuid in [0x2A29, 0x2A24, 0x2A26] {
        story.answer(uuid, Ok("x"));
    }
    let actions = story.answer(0x2A25, Err("Operation failed with ATT error: 0x05"));
    assert_eq!(faults(&actions), [FaultKind::Refused]);
    assert!(matches!(&actions[1], Action::Identify(_, Identity { serial: None, maker: Some(_), .. })));
    assert_eq!(actions[2], subscribe(HEART));
}

#[test]
fn strings_are_cut_at_the_first_nul_cleaned_and_bounded() {
    assert_eq!(readable(b"AB\0CD"), Some("AB".to_owned()));
    assert_eq!(readable(b"  \0"), None);
    assert_eq!(readable(b""), None);
    assert_eq!(readable(b"A\x1b[2JB"), Some("A[2JB".to_owned()));
    assert_eq!(readable(&[0xFF, b'A']), Some("\u{FFFD}A".to_owned()));
    assert_eq!(readable(&[b'x'; 500]).unwrap().len(), MAX_STRING);
}

#[test]
fn a_value_before_the_identity_is_dropped_and_reported() {
    let mut story = Story::of(&["heart-rate"]);
    story.event(LinkEvent::Up);
    assert_eq!(faults(&story.value(HEART, &[0, 72])), [FaultKind::Unexpected]);
    assert!(observed(&story.answer_all("x")).is_empty());
}

#[test]
fn what_was_known_of_an_earlier_connection_is_void() {
    let mut story = Story::running();
    story.event(LinkEvent::Down(LinkError::HungUp));
    assert_eq!(story.value(HEART, &[0, 72]), []);
    assert_eq!(story.collector.poll_timeout(), None);
    story.event(LinkEvent::Up);
    assert_eq!(faults(&story.value(HEART, &[0, 72])), [FaultKind::Unexpected]);
    assert!(matches!(story.answer_all("Belt").as_slice(), [Action::Identify(..), Action::Command(_)]));
}

#[test]
fn a_subscription_that_fails_ends_the_connection() {
    let mut story = Story::of(&["heart-rate"]);
    story.event(LinkEvent::Up);
    story.answer_all("x");
    let actions = story.subscribed(HEART, Err("Operation failed with ATT error: 0xfd"));
    assert_eq!(faults(&actions), [FaultKind::Refused]);
    assert_eq!(actions.last(), Some(&HANG_UP));
    assert_eq!(story.value(HEART, &[0, 72]), [], "a connection that was given up says nothing more");
}

#[test]
fn a_profile_may_leave_a_characteristic_out_but_not_all() {
    let mut story = Story::of(&["pulse-oximeter"]);
    story.event(LinkEvent::Up);
    story.answer_all("x");
    assert_eq!(story.subscribed(CONTINUOUS, Err(NOT_OFFERED)), []);
    assert_eq!(story.subscribed(SPOT, Ok(())), []);
    assert_eq!(observed(&story.value(SPOT, &[0, 97, 0, 60, 0])).len(), 2);

    story.event(LinkEvent::Up);
    story.answer_all("x");
    story.subscribed(CONTINUOUS, Err(NOT_OFFERED));
    let actions = story.subscribed(SPOT, Err(NOT_OFFERED));
    assert_eq!(faults(&actions), [FaultKind::Refused]);
    assert_eq!(actions.last(), Some(&HANG_UP));
}

#[test]
fn a_value_that_cannot_be_decoded_is_reported_and_the_stream_goes_on() {
    let mut story = Story::running();
    assert_eq!(faults(&story.value(HEART, &[0x10, 72])), [FaultKind::Malformed]);
    assert_eq!(observed(&story.value(HEART, &[0, 72])).len(), 1);
}

#[test]
fn a_value_of_a_characteristic_that_no_profile_lists_is_reported() {
    let mut story = Story::running();
    assert_eq!(faults(&story.value(SPOT, &[0, 97, 0, 60, 0])), [FaultKind::Unexpected]);
    assert_eq!(faults(&story.event(LinkEvent::Bytes(Bytes::from_static(b"?")))), [FaultKind::Unexpected]);
}

#[test]
fn a_stream_that_falls_silent_ends_the_connection() {
    let mut story = Story::running();
    assert_eq!(story.passes(ALMOST), []);
    story.value(HEART, &[0, 72]);
    assert_eq!(story.passes(ALMOST), []);
    let actions = story.passes(Duration::from_secs(1));
    assert_eq!(faults(&actions), [FaultKind::Timeout]);
    assert_eq!(actions.last(), Some(&HANG_UP));
    assert_eq!(story.collector.poll_timeout(), None);
}

#[test]
fn a_spot_check_oximeter_may_be_silent() {
    let mut story = Story::of(&["pulse-oximeter"]);
    story.event(LinkEvent::Up);
    story.answer_all("x");
    story.subscribed(SPOT, Ok(()));
    story.subscribed(CONTINUOUS, Err(NOT_OFFERED));
    assert_eq!(story.passes(SILENCE_LIMIT * 10), []);
}

#[test]
fn reads_or_subscriptions_that_never_end_end_the_connection() {
    let mut story = Story::of(&["heart-rate"]);
    story.event(LinkEvent::Up);
    let actions = story.passes(SETUP_LIMIT);
    assert_eq!(faults(&actions), [FaultKind::Timeout]);
    assert_eq!(actions.last(), Some(&HANG_UP));

    story.event(LinkEvent::Up);
    story.passes(SETUP_LIMIT / 2);
    story.answer_all("x");
    assert_eq!(story.passes(ALMOST), []);
    assert_eq!(story.passes(Duration::from_secs(1)).last(), Some(&HANG_UP));
}

/// Values keep coming while an hour passes.
fn an_hour(story: &mut Story) -> Vec<Action> {
    let mut actions = Vec::new();
    for _ in 0..120 {
        actions.extend(story.passes(IDENTITY_PERIOD / 120));
        story.value(HEART, &[0, 72]);
    }
    actions
}

#[test]
fn asks_again_every_hour_and_identifies_only_what_changed() {
    let mut story = Story::running();
    assert_eq!(an_hour(&mut story), [read(0x2A29), read(0x2A24), read(0x2A25), read(0x2A26)]);
    assert_eq!(story.answer_all("Belt"), []);
    assert_eq!(an_hour(&mut story).len(), STRINGS.len());
    for uuid in [0x2A29, 0x2A24, 0x2A25] {
        assert_eq!(story.answer(uuid, Ok("Belt")), []);
    }
    let actions = story.answer(0x2A26, Ok("2.0"));
    assert!(matches!(&actions[..], [Action::Identify(_, Identity { firmware: Some(f), .. })] if f == "2.0"));
}

#[test]
fn a_string_that_fails_once_later_is_no_other_identity() {
    let mut story = Story::running();
    an_hour(&mut story);
    for uuid in [0x2A29, 0x2A24, 0x2A26] {
        story.answer(uuid, Ok("Belt"));
    }
    let actions = story.answer(0x2A25, Err("timed out"));
    assert_eq!(faults(&actions), [FaultKind::Refused]);
    assert_eq!(actions.len(), 1);
}

#[test]
fn a_device_that_no_longer_says_who_it_is_is_hung_up() {
    let mut story = Story::running();
    an_hour(&mut story);
    let actions: Vec<Action> =
        STRINGS.iter().flat_map(|uuid| story.answer(*uuid, Err("timed out"))).collect();
    assert_eq!(actions.last(), Some(&HANG_UP));

    let mut story = Story::running();
    an_hour(&mut story);
    assert_eq!(an_hour(&mut story).last(), Some(&HANG_UP));
}

/// Any event at any time, any number of them.
fn any_event() -> impl Strategy<Value = Option<LinkEvent>> {
    let characteristic = prop_oneof![
        Just(HEART),
        Just(SPOT),
        Just(CONTINUOUS),
        (0x2A24u16..0x2A2A).prop_map(|uuid| Characteristic { service: 0x180A, uuid }),
    ];
    let reason = prop_oneof![Just(NOT_OFFERED.to_owned()), Just("failed".to_owned())];
    let octets = proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    let read = prop_oneof![octets.clone().prop_map(Ok), reason.clone().prop_map(Err)];
    let done = prop_oneof![Just(Ok(())), reason.prop_map(Err)];
    prop_oneof![
        1 => Just(Some(LinkEvent::Up)),
        1 => Just(Some(LinkEvent::Down(LinkError::HungUp))),
        4 => Just(None),
        8 => (characteristic.clone(), read).prop_map(|(c, result)| Some(LinkEvent::ReadDone(c, result))),
        8 => (characteristic.clone(), done).prop_map(|(c, result)| Some(LinkEvent::Subscribed(c, result))),
        8 => (characteristic, octets).prop_map(|(c, value)| Some(LinkEvent::Value(c, value))),
    ]
}

proptest! {
    #[test]
    fn no_observation_ever_comes_before_the_identity_of_its_connection(
        events in proptest::collection::vec(any_event(), 0..200),
    ) {
        let mut story = Story::of(&["heart-rate", "pulse-oximeter"]);
        let mut identified = false;
        for event in events {
            identified &= !matches!(event, Some(LinkEvent::Up | LinkEvent::Down(_)));
            let actions = match event {
                Some(event) => story.event(event),
                None => story.passes(Duration::from_secs(20)),
            };
            for action in actions {
                identified |= matches!(action, Action::Identify(..));
                prop_assert!(identified || !matches!(action, Action::Observe(..)));
                prop_assert!(!matches!(action, Action::Command(LinkCommand::Send(_))), "it writes");
            }
        }
    }
}
