//! Conversations with the driver: what it asks, what it answers, what it believes, what it tells.

use super::queries::OWN_IDENTIFICATION;
use super::*;
use crate::device::observation::{Kind, Observation, Value};
use crate::device::serial::{Decoded, decode_capture};
use bytes::Bytes;
use proptest::prelude::*;

fn frame(start: u8, code: u8, data: &str) -> Vec<u8> {
    let body = [&[start, code], data.as_bytes()].concat();
    let sum = body.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 256;
    [body, format!("{sum:02X}\r").into_bytes()].concat()
}

fn reply(code: u8, data: &str) -> Vec<u8> {
    frame(1, code, data)
}

fn command(code: u8) -> Vec<u8> {
    frame(0x1B, code, "")
}

const WHO: &str = "8056'Primus'04.53:04.03";

/// What the device usually answers.
fn usual(query: Query) -> Vec<u8> {
    let data = match query {
        Query::Start | Query::Nop | Query::Alarms2 => "",
        Query::Who => WHO,
        Query::Alarms1 => "O10PAW HIGH    ",
        Query::Measured1 => "7D 25.D6  12B9 7.5EB    ",
        Query::Measured2 => "21 500",
        Query::Settings => "0B    5",
        Query::Texts => "0E5BIPAP\x03",
        Query::Clock => "09:33:1507-OKT-14",
    };
    reply(query.code(), data)
}

/// A driver with its clock, which jumps from one thing to the next.
struct Talk {
    driver: Box<dyn Driver>,
    now: Now,
    sent: Vec<&'static [u8]>,
}

impl Talk {
    fn new() -> Self {
        let driver = (MODEL.driver)(&Settings::defaults(MODEL.settings));
        Self { driver, now: Now::default(), sent: Vec::new() }
    }

    fn up() -> Self {
        let mut talk = Self::new();
        talk.event(&LinkEvent::Up);
        talk
    }

    /// A conversation whose first round is over.
    fn running() -> Self {
        let mut talk = Self::up();
        for query in Query::ALL.into_iter().take(9) {
            assert_eq!(talk.outstanding(), query);
            talk.say(&usual(query));
        }
        talk
    }

    fn event(&mut self, event: &LinkEvent) -> Vec<Action> {
        self.driver.handle_event(event, self.now);
        self.drain()
    }

    fn say(&mut self, bytes: &[u8]) -> Vec<Action> {
        self.event(&LinkEvent::Bytes(Bytes::copy_from_slice(bytes)))
    }

    /// Lets time pass until the driver wants to be called.
    fn wait(&mut self) -> Vec<Action> {
        let due = self.driver.poll_timeout().expect("the driver waits for nothing");
        self.now.mono = self.now.mono.max(due);
        self.driver.handle_timeout(self.now);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Action> {
        let actions: Vec<Action> = std::iter::from_fn(|| self.driver.poll_action()).collect();
        for action in &actions {
            if let Action::Command(LinkCommand::Send(id)) = action {
                self.sent.push(REQUESTS[usize::from(id.0)].bytes);
            }
        }
        actions
    }

    fn outstanding(&self) -> Query {
        let last = self.sent.iter().rev().find(|bytes| bytes[0] == 0x1B).unwrap();
        Query::ALL.into_iter().find(|query| query.code() == last[1]).unwrap()
    }

    /// Answers as the device does until a certain command is outstanding.
    fn until(&mut self, query: Query) {
        for _ in 0..2_000 {
            let before = self.sent.len();
            if self.outstanding() == query && before > 0 {
                return;
            }
            self.say(&usual(self.outstanding()));
            if self.sent.len() == before {
                self.wait();
            }
        }
        panic!("{query:?} is never asked");
    }
}

fn observations(actions: &[Action]) -> Vec<&Observation> {
    let mut all = Vec::new();
    for action in actions {
        if let Action::Observe(_, said) = action {
            all.push(said);
        }
    }
    all
}

fn faults(actions: &[Action]) -> Vec<FaultKind> {
    let kind = |action: &Action| if let Action::Report(fault) = action { Some(fault.kind) } else { None };
    actions.iter().filter_map(kind).collect()
}

fn answers(actions: &[Action]) -> Vec<&'static [u8]> {
    let mut all = Vec::new();
    for action in actions {
        if let Action::Command(LinkCommand::Send(id)) = action {
            all.push(REQUESTS[usize::from(id.0)].bytes);
        }
    }
    all.retain(|bytes| bytes[0] == 1);
    all
}

fn decode(bytes: &[u8]) -> Decoded {
    decode_capture(&MODEL, &Settings::defaults(MODEL.settings), bytes)
}

#[test]
fn the_first_round_asks_everything_in_its_order() {
    let mut talk = Talk::running();
    let asked: Vec<u8> = talk.sent.iter().map(|bytes| bytes[1]).collect();
    assert_eq!(asked, [0x51, 0x52, 0x27, 0x2E, 0x2A, 0x24, 0x2B, 0x29, 0x28]);
    talk.wait();
    assert_eq!(talk.outstanding(), Query::Alarms1);
}

#[test]
fn nothing_is_passed_on_before_the_device_has_said_who_it_is() {
    let mut talk = Talk::up();
    talk.say(&usual(Query::Start));
    assert_eq!(talk.outstanding(), Query::Who);
    let early = talk.say(&usual(Query::Measured1));
    assert_eq!((observations(&early).len(), faults(&early)), (0, vec![FaultKind::Unexpected]));
    let said = talk.say(&usual(Query::Who));
    let Action::Identify(_, identity) = &said[0] else { panic!("{said:?}") };
    assert_eq!((identity.model.as_deref(), &identity.serial), (Some("8056 Primus"), &None));
}

#[test]
fn icc_comes_until_it_is_answered_and_then_the_port_is_opened_again() {
    let mut talk = Talk::up();
    for _ in 1..STARTS_MAX {
        assert_eq!(faults(&talk.wait()), [FaultKind::Timeout]);
        assert_eq!(talk.outstanding(), Query::Start);
    }
    assert!(talk.wait().contains(&Action::Command(LinkCommand::HangUp)));
    assert_eq!(talk.sent.len(), usize::try_from(STARTS_MAX).unwrap());
    assert_eq!(talk.driver.poll_timeout(), None);
}

#[test]
fn the_device_is_answered_at_any_time_and_exactly_once() {
    let mut talk = Talk::running();
    let own = [b"\x01R".as_slice(), OWN_IDENTIFICATION].concat();
    let asked = talk.say(&command(0x52));
    assert_eq!(answers(&asked).len(), 1);
    assert!(answers(&asked)[0].starts_with(&own));
    assert_eq!(answers(&talk.say(&command(0x30))), [b"\x01031\r"]);
    // Within a reply that was asked for: both are served.
    talk.until(Query::Measured1);
    let whole = usual(Query::Measured1);
    let (head, tail) = whole.split_at(9);
    let mixed = [head, &[0xD7, 0x80], &command(0x52), &[0x11], tail].concat();
    let actions = talk.say(&mixed);
    assert_eq!(answers(&actions).len(), 1);
    assert_eq!((observations(&actions).len(), faults(&actions)), (4, Vec::new()));
}

#[test]
fn a_corrupt_command_of_the_device_is_refused_and_an_unknown_one_is_told() {
    let mut talk = Talk::running();
    let corrupt = talk.say(b"\x1BR6E\r");
    assert_eq!(
        (answers(&corrupt), faults(&corrupt)),
        (vec![b"\x01\x1516\r".as_slice()], vec![FaultKind::Checksum])
    );
    for code in [0x4A, 0x53, 0x54, 0x56, 0x6C] {
        let unknown = talk.say(&command(code));
        assert_eq!((answers(&unknown).len(), faults(&unknown)), (0, vec![FaultKind::Unexpected]));
    }
}

#[test]
fn something_is_said_at_least_every_two_seconds() {
    let mut talk = Talk::running();
    let mut last = talk.now.mono;
    // An identification that cannot be read leaves nothing to ask.
    talk.say(&command(0x51));
    talk.say(&reply(0x52, ""));
    for _ in 0..40 {
        let before = talk.sent.len();
        talk.wait();
        let is_allowed = |bytes: &&[u8]| matches!(bytes[1], 0x51 | 0x52 | 0x30);
        assert!(talk.sent[before..].iter().all(is_allowed), "asked before it said who it is");
        if talk.sent.len() > before {
            assert!(talk.now.mono.since(last) < Duration::from_secs(2));
            last = talk.now.mono;
        }
        let outstanding = talk.outstanding();
        talk.say(&if outstanding == Query::Who { reply(0x52, "") } else { usual(outstanding) });
    }
    assert!(talk.sent.iter().any(|bytes| bytes == b"\x1B04B\r"), "no NOP");
}

#[test]
fn a_device_that_begins_again_or_stops_is_asked_again_who_it_is() {
    let mut talk = Talk::running();
    let actions = talk.say(&command(0x51));
    assert_eq!(
        (answers(&actions), faults(&actions)),
        (vec![b"\x01Q52\r".as_slice()], vec![FaultKind::Unexpected])
    );
    assert_eq!(talk.outstanding(), Query::Who);
    talk.say(&reply(0x52, "0161'Evita'04.03"));
    talk.until(Query::Measured1);
    let stopped = talk.say(&command(0x55));
    assert_eq!(answers(&stopped), [b"\x01U56\r"]);
    let late = talk.say(&usual(Query::Measured1));
    assert_eq!(observations(&late).len(), 0);
    talk.wait();
    assert_eq!(talk.outstanding(), Query::Start);
}

#[test]
fn a_lost_answer_is_asked_for_once_more_and_then_all_begins_again() {
    let mut talk = Talk::running();
    talk.until(Query::Measured1);
    assert_eq!(faults(&talk.wait()), [FaultKind::Timeout]);
    assert_eq!(talk.outstanding(), Query::Measured1);
    assert_eq!(faults(&talk.wait()), [FaultKind::Timeout]);
    assert_eq!(talk.outstanding(), Query::Start);
    talk.say(&usual(Query::Start));
    assert_eq!(talk.outstanding(), Query::Who);
}

#[test]
fn a_device_without_the_second_code_page_is_read_all_the_same() {
    let mut talk = Talk::up();
    talk.until(Query::Alarms2);
    talk.wait();
    talk.wait();
    assert_eq!(talk.outstanding(), Query::Who);
    talk.say(&usual(Query::Who));
    let began = talk.now.mono;
    for _ in 0..20 {
        talk.say(&usual(talk.outstanding()));
        talk.wait();
        assert_ne!(talk.outstanding(), Query::Alarms2);
    }
    // It may only have been a bad moment of the line: asked again, once and seldom.
    talk.until(Query::Alarms2);
    let pause = talk.now.mono.since(began);
    assert!(pause >= Duration::from_secs(50) && pause <= Duration::from_secs(70), "{pause:?}");
    talk.wait();
    assert_ne!(talk.outstanding(), Query::Alarms2);
    talk.until(Query::Alarms2);
    let told = talk.say(&reply(0x2E, ";9CLECKAGE     "));
    assert_eq!(observations(&told).len(), 1);
}

#[test]
fn a_page_that_was_answered_is_not_given_up_for_one_bad_moment() {
    let mut talk = Talk::running();
    talk.until(Query::Alarms2);
    talk.say(&reply(0x2E, ";9CLECKAGE     "));
    talk.wait();
    talk.until(Query::Alarms2);
    talk.wait();
    talk.wait();
    assert_eq!(talk.outstanding(), Query::Start, "the communication is begun again");
    talk.until(Query::Alarms2);
    let told = talk.say(&usual(Query::Alarms2));
    let [Observation { value: Value::Alarm(alarm), .. }] = observations(&told)[..] else {
        panic!("{told:?}")
    };
    assert_eq!((alarm.code.as_str(), alarm.phase.as_str()), ("CP2:9C", "end"));
}

#[test]
fn a_stream_that_goes_on_does_not_hold_up_a_reply_whose_end_was_lost() {
    let mut talk = Talk::running();
    talk.until(Query::Measured1);
    let sent = talk.sent.len();
    talk.say(b"\x01$7D 2");
    let began = talk.now.mono;
    while talk.sent.len() == sent {
        talk.say(&[0xD7, 0x80, 0x90]);
        talk.now.mono = talk.now.mono + Duration::from_millis(20);
        talk.driver.handle_timeout(talk.now);
        talk.drain();
    }
    assert!(talk.now.mono.since(began) < Duration::from_secs(2), "the device hears nothing that long");
}

#[test]
fn what_a_simulation_shows_is_marked_while_its_messages_cannot_be_read() {
    let mut talk = Talk::running();
    talk.until(Query::Texts);
    talk.say(&reply(0x2A, "620\x03"));
    talk.say(&command(0x51));
    for texts in ["620", "0E5BIPAP\x03"] {
        talk.until(Query::Texts);
        talk.say(&reply(0x2A, texts));
        talk.until(Query::Measured1);
        let told = talk.say(&usual(Query::Measured1));
        let quality = if texts == "620" { Quality::DEMONSTRATION } else { Quality::GOOD };
        assert!(observations(&told).iter().all(|said| said.quality == quality), "{texts}: {told:?}");
    }
}

#[test]
fn a_line_that_sends_back_what_it_is_sent_is_no_device() {
    let mut talk = Talk::up();
    let mut told = Vec::new();
    for _ in 0..50 {
        while let [first, rest @ ..] = &talk.sent[..] {
            let (first, rest) = (*first, rest.to_vec());
            talk.sent = rest;
            told.extend(talk.say(first));
            assert!(told.len() < 1_000, "it answers itself without end");
        }
        told.extend(talk.wait());
    }
    let is_told = |action: &Action| matches!(action, Action::Identify(..) | Action::Observe(..));
    assert!(!told.iter().any(is_told), "{told:?}");
    let is_cable =
        |action: &Action| matches!(action, Action::Report(fault) if fault.detail.contains("cable"));
    assert!(told.iter().any(is_cable), "{told:?}");
}

#[test]
fn a_refusal_is_followed_by_a_second_try_and_not_by_a_storm() {
    let mut talk = Talk::running();
    talk.until(Query::Measured1);
    let began = talk.now.mono;
    let sent = talk.sent.len();
    while talk.now.mono.since(began) < Duration::from_secs(6) {
        let outstanding = talk.outstanding();
        let answer = if outstanding == Query::Start { usual(outstanding) } else { reply(0x15, "") };
        talk.say(&answer);
        talk.wait();
    }
    assert!(talk.sent.len() - sent < 45, "{} frames", talk.sent.len() - sent);
}

#[test]
fn an_answer_that_is_still_coming_in_is_waited_for() {
    let mut talk = Talk::running();
    talk.until(Query::Measured1);
    let whole = usual(Query::Measured1);
    for byte in &whole {
        talk.now.mono = talk.now.mono + Duration::from_millis(300);
        let actions = talk.say(&[*byte]);
        assert_eq!(faults(&actions), []);
        talk.driver.handle_timeout(talk.now);
    }
    assert_ne!(talk.outstanding(), Query::Start);
}

#[test]
fn an_alarm_begins_and_ends_once_and_the_code_pages_do_not_end_each_other() {
    let mut talk = Talk::running();
    talk.until(Query::Alarms2);
    let began = talk.say(&reply(0x2E, ";9CLECKAGE     "));
    let [Observation { metric, value: Value::Alarm(alarm), .. }] = observations(&began)[..] else {
        panic!("{began:?}")
    };
    assert_eq!((metric.reference, alarm.code.as_str()), ("MDC_EVT_VENT_BREATHING_SYS_LEAK", "CP2:9C"));
    assert_eq!(alarm.text, "LECKAGE (priority 11 of 31)");
    talk.until(Query::Alarms1);
    assert_eq!(observations(&talk.say(&usual(Query::Alarms1))).len(), 0);
    // Over a reconnection of the same device, too.
    talk.event(&LinkEvent::Down(crate::link::LinkError::HungUp));
    talk.event(&LinkEvent::Up);
    talk.until(Query::Alarms1);
    let ended = talk.say(&reply(0x27, ""));
    let [Observation { kind: Kind::Alarm, value: Value::Alarm(alarm), .. }] = observations(&ended)[..] else {
        panic!("{ended:?}")
    };
    assert_eq!((alarm.code.as_str(), alarm.phase.as_str()), ("CP1:10", "end"));
    talk.until(Query::Alarms2);
    assert_eq!(observations(&talk.say(&usual(Query::Alarms2))).len(), 1);
}

#[test]
fn the_alarms_of_another_device_are_forgotten() {
    let mut talk = Talk::running();
    talk.event(&LinkEvent::Up);
    talk.say(&usual(Query::Start));
    talk.say(&reply(0x52, "8210'Evita'01.00:06.00"));
    talk.until(Query::Alarms1);
    assert_eq!(observations(&talk.say(&reply(0x27, ""))).len(), 0);
}

#[test]
fn an_unknown_code_is_told_once_and_without_its_value() {
    let mut talk = Talk::running();
    let mut told = Vec::new();
    for _ in 0..3 {
        talk.until(Query::Measured1);
        told.extend(talk.say(&reply(0x24, "02CANA7D 25.")));
        talk.wait();
    }
    assert_eq!(observations(&told).len(), 3);
    let words: Vec<String> = told
        .iter()
        .filter_map(|action| if let Action::Report(fault) = action { Some(fault.to_string()) } else { None })
        .collect();
    assert_eq!(words, ["unexpected: measured data, code page 1: the code 02 is unknown"]);
}

#[test]
fn nothing_of_the_patient_is_told() {
    let all = [
        usual(Query::Who),
        reply(0x2A, "606CANARY\x03616CANARY\x03421F\x03EE6CANARY\x030E5BIPAP\x03"),
        reply(0x29, "4A   774B   80"),
        reply(0x24, "F2CANAF3CANA"),
        reply(0x2A, "606CANAR"),
        b"\x01*606CANARY\x0300\r".to_vec(),
    ]
    .concat();
    let Decoded { observations, faults, .. } = decode(&all);
    let everything = format!("{observations:?} {faults:?}");
    assert!(!everything.contains("CANA") && !everything.contains("Decimal { mantissa: 77"), "{everything}");
    assert_eq!(observations.len(), 3, "mode, messages, weight for ventilation: {observations:?}");
}

#[test]
fn what_a_test_or_a_simulation_shows_is_marked() {
    let mut talk = Talk::running();
    for (texts, quality) in
        [("53?LEAKAGE TEST   \x03", Quality::TEST), ("620\x03", Quality::DEMONSTRATION), ("", Quality::GOOD)]
    {
        talk.until(Query::Texts);
        talk.say(&reply(0x2A, texts));
        talk.until(Query::Measured1);
        let told = talk.say(&usual(Query::Measured1));
        assert!(observations(&told).iter().all(|said| said.quality == quality), "{told:?}");
    }
}

#[test]
fn the_profile_decides_where_the_lists_disagree() {
    let bytes = reply(0x24, "06 6.5");
    let mut settings = Settings::defaults(MODEL.settings);
    let reference =
        |settings: &Settings| decode_capture(&MODEL, settings, &bytes).observations[0].1.metric.reference;
    assert_eq!(reference(&settings), "DRAEGER_COMPL_FRAC");
    settings.set_word(&MODEL.settings[0], "medibus-x").unwrap();
    assert_eq!(reference(&settings), "MDC_VOL_MINUTE_AWAY_INSP");
    // The frequency of IPPV there, the least rate here.
    for (profile, reference) in [("medibus", "DRAEGER_RR_MAND"), ("medibus-x", "DRAEGER_RR_MIN")] {
        settings.set_word(&MODEL.settings[0], profile).unwrap();
        let read = decode_capture(&MODEL, &settings, &reply(0x29, "0A 12.0")).observations;
        assert_eq!(read[0].1.metric.reference, reference);
    }
}

/// What a device in trouble answers.
fn troubled(query: Query, kind: u8, noise: &[u8]) -> Vec<u8> {
    match kind {
        0 => Vec::new(),
        1 => noise.to_vec(),
        2 => reply(0x15, ""),
        3 => reply(query.code(), "\x02 odd"),
        4 => command(0x51),
        5 => command(0x55),
        6 => usual(Query::Who),
        7 => [command(0x30), usual(query)].concat(),
        8 => usual(query).split_at(4).0.to_vec(),
        9 => [usual(query), usual(query)].concat(),
        _ => usual(query),
    }
}

proptest! {
    #[test]
    fn after_any_trouble_everything_is_asked_again(
        troubles in proptest::collection::vec((0u8..24, proptest::collection::vec(any::<u8>(), 0..20)), 0..200)
    ) {
        let mut talk = Talk::up();
        let began = talk.now.mono;
        for (kind, noise) in troubles {
            if talk.driver.poll_timeout().is_none() {
                talk.event(&LinkEvent::Down(crate::link::LinkError::HungUp));
                talk.event(&LinkEvent::Up);
            }
            let before = talk.sent.len();
            talk.say(&troubled(talk.outstanding(), kind, &noise));
            if talk.sent.len() == before && talk.driver.poll_timeout().is_some() {
                talk.wait();
            }
        }
        let seconds = talk.now.mono.since(began).as_secs();
        prop_assert!(talk.sent.len() < 1_000, "{} frames in {seconds} s", talk.sent.len());
        if talk.driver.poll_timeout().is_none() {
            talk.event(&LinkEvent::Up);
        }
        let well = talk.now.mono;
        let mut asked = BTreeSet::new();
        while talk.now.mono.since(well) < Duration::from_secs(80) {
            let before = talk.sent.len();
            asked.insert(talk.outstanding().place());
            talk.say(&usual(talk.outstanding()));
            if talk.sent.len() == before {
                talk.wait();
            }
        }
        for query in [Query::Alarms1, Query::Alarms2, Query::Measured1, Query::Texts, Query::Settings] {
            prop_assert!(asked.contains(&query.place()), "{query:?} is not asked any more");
        }
    }

    #[test]
    fn any_cut_of_a_capture_reads_the_same(cuts in proptest::collection::vec(1usize..40, 0..40)) {
        let capture: Vec<u8> = Query::ALL.into_iter().flat_map(usual).collect();
        let mut driver = (MODEL.driver)(&Settings::defaults(MODEL.settings));
        let mut rest = capture.as_slice();
        let mut told = Vec::new();
        for cut in cuts.into_iter().chain([capture.len()]) {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            driver.handle_event(&LinkEvent::Bytes(Bytes::copy_from_slice(now)), Now::default());
            told.extend(std::iter::from_fn(|| driver.poll_action()));
            rest = later;
        }
        let said: Vec<Observation> = observations(&told).into_iter().cloned().collect();
        let whole: Vec<Observation> = decode(&capture).observations.into_iter().map(|(_, said)| said).collect();
        prop_assert_eq!(said, whole);
    }

    #[test]
    fn noise_between_replies_costs_no_reply(noise in proptest::collection::vec(any::<u8>().prop_filter("CR ends, ETX", |byte| *byte != 0x18), 0..60)) {
        let good = usual(Query::Measured1);
        let Decoded { observations, .. } = decode(&[noise.as_slice(), &good, &good].concat());
        prop_assert!(observations.len() >= 8, "{}", observations.len());
    }
}
