mod besides;
mod consent;
mod pins;
mod recorder;
mod set_clock;
mod stored;

use super::identity::readable;
use super::*;
use crate::device::catalogue::ble_profile;
use crate::device::observation::Observation;
use crate::device::settings::Settings;
use crate::link::LinkError;
use crate::link::gatt::DATABASE_HASH;
use proptest::prelude::*;
use std::borrow::Borrow;

const HEART: Characteristic = Characteristic { service: 0x180D, uuid: 0x2A37 };
const SPOT: Characteristic = Characteristic { service: 0x1822, uuid: 0x2A5E };
const CONTINUOUS: Characteristic = Characteristic { service: 0x1822, uuid: 0x2A5F };
const FEATURES: Characteristic = Characteristic { service: 0x1822, uuid: 0x2A60 };
const SPOT_CHECKS: Characteristic = Characteristic { service: 0x1822, uuid: 0x2A52 };

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

    /// The oximeter does not say what it can, and has no control point.
    fn answer_features(&mut self) -> Vec<Action> {
        self.event(LinkEvent::ReadDone(FEATURES, Err(NOT_OFFERED.to_owned())))
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

/// What it is asked when all subscriptions stand.
fn what_it_is() -> [Action; 3] {
    [read(0x2A28), read(0x2A27), Action::Command(LinkCommand::Read(DATABASE_HASH))]
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
        [Action::identify(identity), Action::Command(LinkCommand::Read(FEATURES))]
    );
    assert_eq!(
        story.answer_features(),
        [subscribe(HEART), subscribe(SPOT), subscribe(CONTINUOUS), subscribe(SPOT_CHECKS)]
    );
    assert_eq!(story.subscribed(SPOT, Ok(())), []);
    assert_eq!(observed(&story.value(HEART, &[0, 72])).len(), 1, "a value may overtake its subscription");
    assert_eq!(story.subscribed(HEART, Ok(())), []);
    assert_eq!(story.subscribed(CONTINUOUS, Ok(())), []);
    assert_eq!(story.subscribed(SPOT_CHECKS, Err(NOT_OFFERED)), what_it_is());
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
fn a_read_without_an_answer_costs_the_connection_and_a_refused_one_does_not() {
    let no_answer = "no answer in 10 s";
    let mut story = Story::of(&["heart-rate"]);
    story.event(LinkEvent::Up);
    for uuid in [0x2A29, 0x2A24, 0x2A26] {
        story.answer(uuid, Ok("x"));
    }
    let actions = story.answer(0x2A25, Err(no_answer));
    assert_eq!((faults(&actions).last(), actions.last()), (Some(&FaultKind::Timeout), Some(&HANG_UP)));
    assert!(!actions.iter().any(|action| matches!(action, Action::Identify(..))), "{actions:?}");

    for (reason, is_given_up) in [(no_answer, true), ("Operation failed with ATT error: 0x05", false)] {
        let mut story = Story::of(&["pulse-oximeter"]);
        story.event(LinkEvent::Up);
        story.answer_all("x");
        let actions = story.event(LinkEvent::ReadDone(FEATURES, Err(reason.to_owned())));
        assert_eq!(actions.contains(&HANG_UP), is_given_up, "{reason}");
    }
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
    story.answer_features();
    assert_eq!(story.subscribed(CONTINUOUS, Err(NOT_OFFERED)), []);
    assert_eq!(story.subscribed(SPOT, Ok(())), []);
    assert_eq!(story.subscribed(SPOT_CHECKS, Err(NOT_OFFERED)), what_it_is());
    assert_eq!(observed(&story.value(SPOT, &[0, 97, 0, 60, 0])).len(), 2);

    story.event(LinkEvent::Up);
    story.answer_all("x");
    story.answer_features();
    story.subscribed(CONTINUOUS, Err(NOT_OFFERED));
    story.subscribed(SPOT_CHECKS, Err(NOT_OFFERED));
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
    story.answer_features();
    story.subscribed(SPOT, Ok(()));
    story.subscribed(CONTINUOUS, Err(NOT_OFFERED));
    story.subscribed(SPOT_CHECKS, Err(NOT_OFFERED));
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

const MEASURED: Characteristic = Characteristic { service: 0x1808, uuid: 0x2A18 };
const CONTEXT: Characteristic = Characteristic { service: 0x1808, uuid: 0x2A34 };
const CONTROL: Characteristic = Characteristic { service: 0x1808, uuid: 0x2A52 };

/// Octets that a meter is asked with.
fn writes(actions: &[Action]) -> Vec<Vec<u8>> {
    let octets = |action: &Action| {
        if let Action::Command(LinkCommand::Write(write)) = action {
            Some(write.octets().to_vec())
        } else {
            None
        }
    };
    actions.iter().filter_map(octets).collect()
}

fn memos(actions: &[Action]) -> Vec<Vec<u8>> {
    let memo = |action: &Action| {
        if let Action::Remember(memo) = action { Some(memo.bytes().to_vec()) } else { None }
    };
    actions.iter().filter_map(memo).collect()
}

/// A meter's story: what it observes gets tickets as a session gives them.
impl Story {
    fn meter(settings: &Settings) -> Self {
        let collector = Collector::with(vec![ble_profile("glucose").unwrap()], settings);
        Self { collector, now: Now::default() }
    }

    fn deleting_meter() -> Self {
        let rows = ble_profile("glucose").unwrap().settings();
        let mut settings = Settings::defaults(rows);
        settings.set_word(&rows[0], "when-durable").unwrap();
        Self::meter(&settings)
    }

    /// Connected, identified and subscribed: what it asks for first.
    fn connects(&mut self, serial: &str) -> Vec<Vec<u8>> {
        self.event(LinkEvent::Up);
        let mut asked = self.answer_all(serial);
        asked.retain(|action| !matches!(action, Action::Remember(_)));
        let subscribed: Vec<Action> = [MEASURED, CONTEXT, CONTROL].map(subscribe).to_vec();
        assert!(asked.ends_with(&subscribed), "data first, the control point last: {asked:?}");
        self.subscribed(MEASURED, Ok(()));
        self.subscribed(CONTEXT, Ok(()));
        writes(&self.subscribed(CONTROL, Ok(())))
    }

    fn says(&mut self, control: &'static [u8]) -> Vec<Action> {
        self.value(CONTROL, control)
    }

    /// A record: given on, with a ticket, or not.
    fn record(&mut self, number: u8, tickets: &mut u64) -> usize {
        let octets = [&[2, number, 0, 0xEA, 7, 1, 1, 0, number, 0][..], &[100, 0xB0, 0x11]].concat();
        self.collector.handle_event(&LinkEvent::Value(MEASURED, Bytes::from(octets)), self.now);
        let mut given = 0;
        while let Some(action) = self.collector.poll_action() {
            if matches!(action, Action::Observe(..)) {
                *tickets += 1;
                given += 1;
                self.collector.handle_ticket(Ticket(*tickets));
            }
        }
        given
    }

    fn durable(&mut self, through: u64) -> Vec<Action> {
        self.collector.handle_durable(Ticket(through), self.now);
        self.actions()
    }

    /// The response, and the drain behind it.
    fn ends(&mut self) -> Vec<Action> {
        let mut actions = self.says(&[6, 0, 1, 1]);
        actions.extend(self.passes(Duration::from_secs(1)));
        actions
    }
}

#[test]
fn a_meter_is_asked_when_all_is_subscribed_and_its_mark_is_remembered() {
    let mut story = Story::meter(&Settings::default());
    assert_eq!(story.connects("SN-1"), [[4, 1]]);
    assert_eq!(writes(&story.says(&[5, 0, 2, 0])), [[1, 1]]);
    let mut tickets = 40;
    assert_eq!((story.record(1, &mut tickets), story.record(2, &mut tickets)), (2, 2));
    assert_eq!(memos(&story.ends()), [[0; 0]; 0], "nothing is durable");
    assert_eq!(memos(&story.durable(42)).len(), 0, "only half of it is");
    let memo = memos(&story.durable(44)).remove(0);
    assert_eq!((memo[0], &memo[9..13], &memo[13..17]), (2, &[1, 0x08, 0x18, 0][..], &[2, 0, 0, 0][..]));

    let mut again = Story::meter(&Settings::default());
    again.collector.recall(&memo);
    assert_eq!(again.connects("SN-1"), [[4, 3, 1, 2, 0]]);
    again.says(&[5, 0, 2, 0]);
    let mut tickets = 0;
    assert_eq!((again.record(2, &mut tickets), again.record(3, &mut tickets)), (0, 2));
    assert_eq!(writes(&again.ends()), [[0u8; 0]; 0], "what was known is there: nothing else is asked");
}

#[test]
fn another_device_at_the_address_starts_anew_and_a_memo_that_is_none_is_nothing() {
    let mut story = Story::meter(&Settings::default());
    story.connects("SN-1");
    story.says(&[5, 0, 1, 0]);
    story.record(1, &mut 0);
    story.ends();
    let memo = memos(&story.durable(2)).remove(0);
    let mut other = Story::meter(&Settings::default());
    other.collector.recall(&memo);
    assert_eq!(other.connects("SN-2"), [[4, 1]]);
    for torn in
        [&memo[..0], &memo[..5], &memo[..9], &memo[..14], &memo[..19], &[&memo[..], &[0]].concat(), &[9; 20]]
    {
        let mut other = Story::meter(&Settings::default());
        other.collector.recall(torn);
        assert_eq!(other.connects("SN-1"), [[4, 1]], "{torn:?}");
    }
    // The same within one run.
    assert_eq!(story.connects("SN-2"), [[4, 1]]);
}

#[test]
fn a_mark_that_is_not_there_any_more_asks_for_all() {
    let mut story = Story::meter(&Settings::default());
    story.connects("SN-1");
    story.says(&[5, 0, 1, 0]);
    let mut tickets = 0;
    story.record(7, &mut tickets);
    story.ends();
    story.durable(tickets);
    assert_eq!(story.connects("SN-1"), [[4, 3, 1, 7, 0]]);
    story.says(&[5, 0, 0, 0]);
    assert_eq!(writes(&story.passes(Duration::from_secs(1))), [[4, 1]]);
}

#[test]
fn fewer_records_than_announced_are_asked_for_again_once() {
    let mut story = Story::meter(&Settings::default());
    story.connects("SN-1");
    for again in [true, false] {
        story.says(&[5, 0, 3, 0]);
        story.record(1, &mut 0);
        story.record(2, &mut 0);
        let actions = story.ends();
        assert_eq!(faults(&actions), [FaultKind::Timeout]);
        assert_eq!(!writes(&actions).is_empty(), again);
    }
}

/// What did not come would be gone for good.
#[test]
fn nothing_is_deleted_while_a_record_that_was_announced_is_missing() {
    let mut story = Story::deleting_meter();
    story.connects("SN-1");
    let mut tickets = 0;
    let mut asked = Vec::new();
    // Asked for again at once, then after five minutes, and taken for what does not exist.
    for wait in [0, 310, 0] {
        story.says(&[5, 0, 3, 0]);
        story.record(1, &mut tickets);
        story.record(3, &mut tickets);
        let mut actions = story.ends();
        actions.extend(story.durable(tickets));
        actions.extend(story.passes(Duration::from_secs(wait)));
        let writes = writes(&actions);
        assert!(writes.iter().all(|write| write.first() != Some(&2)), "deleted");
        asked.extend(writes);
    }
    assert_eq!(asked, [[4, 1], [4, 1]], "all of them, until it is certain");
    // The next transfer begins behind what came: whole as it is, it has not brought what is missing.
    assert_eq!(writes(&story.passes(Duration::from_secs(310))), [[4, 3, 1, 3, 0]]);
    assert_eq!(writes(&story.says(&[5, 0, 1, 0])), [[1, 3, 1, 3, 0]]);
    story.record(3, &mut tickets);
    let mut actions = story.ends();
    actions.extend(story.durable(tickets));
    assert!(writes(&actions).iter().all(|write| write.first() != Some(&2)), "deleted");
}

#[test]
fn deletes_what_is_durable_when_it_may_and_never_after_a_refusal() {
    for (mut story, is_refused, expected) in [
        (Story::meter(&Settings::default()), false, None),
        (Story::deleting_meter(), false, Some(vec![2, 2, 1, 2, 0])),
        (Story::deleting_meter(), true, None),
    ] {
        story.connects("SN-1");
        story.says(&[5, 0, 2, 0]);
        let mut tickets = 0;
        story.record(1, &mut tickets);
        story.record(2, &mut tickets);
        assert_eq!(writes(&story.ends()), [[0u8; 0]; 0]);
        assert_eq!(writes(&story.durable(3)), [[0u8; 0]; 0], "the fourth is not durable");
        if is_refused {
            story.collector.handle_refused(Ticket(4), story.now);
        }
        let actions = story.durable(4);
        assert_eq!(writes(&actions), Vec::from_iter(expected));
        assert_eq!(memos(&actions).is_empty(), is_refused);
    }
}

#[test]
fn a_silent_procedure_gives_the_connection_up_once_and_then_is_asked_now_and_then() {
    let mut story = Story::meter(&Settings::default());
    story.connects("SN-1");
    let actions = story.passes(Duration::from_secs(30));
    assert_eq!((faults(&actions), actions.last()), (vec![FaultKind::Timeout], Some(&HANG_UP)));
    story.event(LinkEvent::Down(LinkError::HungUp));
    story.connects("SN-1");
    let actions = story.passes(Duration::from_secs(900));
    assert_eq!((faults(&actions).len(), writes(&actions).len()), (3, 2), "at 30, 360 and 690 s");
    assert!(!actions.contains(&HANG_UP), "what it sends by itself is still taken");
    let mut tickets = 0;
    assert_eq!(story.record(1, &mut tickets), 2);
    // It speaks again.
    assert_eq!(writes(&story.passes(Duration::from_secs(40))), [[4, 1]]);
    story.says(&[5, 0, 2, 0]);
    assert_eq!((story.record(1, &mut tickets), story.record(2, &mut tickets)), (0, 2));
    let mut actions = story.ends();
    actions.extend(story.durable(tickets));
    assert_eq!(memos(&actions).len(), 1, "{actions:?}");
}

#[test]
fn a_control_point_that_is_not_there_costs_nothing_and_is_no_stream() {
    for refusal in [NOT_OFFERED, "Operation failed with ATT error: 0x05"] {
        let mut story = Story::meter(&Settings::default());
        story.event(LinkEvent::Up);
        story.answer_all("SN-1");
        story.subscribed(MEASURED, Ok(()));
        story.subscribed(CONTEXT, Ok(()));
        let actions = story.subscribed(CONTROL, Err(refusal));
        assert_eq!(faults(&actions).is_empty(), refusal == NOT_OFFERED);
        assert!(writes(&actions).is_empty() && story.passes(SILENCE_LIMIT * 5).is_empty());
        assert_eq!(story.record(1, &mut 0), 2);
    }
}

#[test]
fn an_oximeter_that_keeps_nothing_is_not_asked() {
    let control = Characteristic { service: 0x1822, uuid: 0x2A52 };
    let features = Characteristic { service: 0x1822, uuid: 0x2A60 };
    for (value, keeps) in [(&[0u8, 0][..], false), (&[4, 0], true)] {
        let mut story = Story::of(&["pulse-oximeter"]);
        story.event(LinkEvent::Up);
        story.answer_all("x");
        let actions = story.event(LinkEvent::ReadDone(features, Ok(Bytes::copy_from_slice(value))));
        assert_eq!(actions.contains(&subscribe(control)), keeps);
    }
}

#[test]
fn what_a_meter_held_back_is_told_when_its_connection_is_lost() {
    let mut story = Story::meter(&Settings::default());
    story.connects("SN-1");
    story.says(&[5, 0, 2, 0]);
    let announces = [&[0x12, 1, 0, 0xEA, 7, 1, 1, 0, 0, 0][..], &[100, 0xB0, 0x11]].concat();
    let value = LinkEvent::Value(MEASURED, Bytes::from(announces));
    assert!(observed(&story.event(&value)).is_empty());
    assert_eq!(observed(&story.event(LinkEvent::Down(LinkError::HungUp))).len(), 2);
    // It comes again, with its context, and is not told again.
    story.connects("SN-1");
    story.says(&[5, 0, 2, 0]);
    story.event(&value);
    assert_eq!(observed(&story.value(CONTEXT, &[2, 1, 0, 1])).len(), 1);
}

/// Any event at any time, any number of them.
fn any_event() -> impl Strategy<Value = Option<LinkEvent>> {
    let characteristic = prop_oneof![
        Just(HEART),
        Just(SPOT),
        Just(CONTINUOUS),
        Just(FEATURES),
        Just(SPOT_CHECKS),
        Just(MEASURED),
        Just(CONTROL),
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
        let mut story = Story::of(&["heart-rate", "pulse-oximeter", "glucose"]);
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
