//! Conversations with the driver: what it asks, what it believes, what it tells.

use super::*;
use crate::device::Part;
use crate::device::observation::{Kind, Phase as AlarmPhase, Value};
use crate::device::serial::{Decoded, decode_capture};
use crate::device::settings::Settings;
use crate::link::LinkError;
use bytes::Bytes;
use proptest::prelude::*;

/// A driver, its clock, which jumps from one thing to the next, and a ventilator of few words.
struct Talk {
    driver: Box<dyn Driver>,
    now: Now,
    /// The last that was written, as text without its checksum.
    asked: Vec<String>,
    serial: &'static str,
    /// What the next answers are instead of the usual ones, by the start of the question.
    instead: Vec<(&'static str, Vec<u8>)>,
}

fn settings(curves: &str) -> Settings {
    let mut settings = Settings::defaults(MODEL.settings);
    settings.set_word(&MODEL.settings[0], curves).unwrap();
    settings
}

fn framed(text: &str) -> Vec<u8> {
    wire::message(text)
}

impl Talk {
    fn with(curves: &str) -> Self {
        let driver = (MODEL.driver)(&settings(curves));
        let (asked, instead) = (Vec::new(), Vec::new());
        Self { driver, now: Now::default(), asked, serial: "30114", instead }
    }

    /// A conversation whose first round is over.
    fn running(curves: &str) -> (Self, Vec<Action>) {
        let mut talk = Self::with(curves);
        talk.event(&LinkEvent::Up);
        let told = talk.until("RSEN", 2);
        (talk, told)
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
            if let Action::Command(command) = action
                && let Some(frame) = MODEL.requests.frame(*command)
            {
                let text = String::from_utf8(frame.into_owned()).unwrap();
                let end = text.len().saturating_sub(3);
                self.asked.push(if text.len() > 3 { text[..end].to_owned() } else { text });
            }
        }
        actions
    }

    /// The ventilator's answer to a question; `None` for what it does not answer.
    fn answer(&mut self, question: &str) -> Option<Vec<u8>> {
        if let Some(at) = self.instead.iter().position(|(start, _)| question.starts_with(start)) {
            return Some(self.instead.remove(at).1);
        }
        let words = match question {
            "\x04" => "*".to_owned(),
            "RCTY" => "Servo-i0".to_owned(),
            "RSEN" => self.serial.to_owned(),
            "RSWV" => "V8.00.01".to_owned(),
            "RHVE" | "RPVE" => "005".to_owned(),
            "RTIM" => "160401120000".to_owned(),
            "RALO" => "0".to_owned(),
            "RADAB" => format!("0167{}", "9999".repeat(25)),
            "RADAS" => "0004".repeat(20),
            "RADAE" => "0000".repeat(36),
            _ if question.starts_with("RCCO") => {
                let unit = if question == "RCCO100" { "02" } else { "04" };
                format!("010;{},+1000E-004,+0000E+000,{unit},BT,x;", &question[4..])
            }
            _ if question.starts_with("SDAD") || question.starts_with("SPVE") => "*".to_owned(),
            _ => return None,
        };
        Some(framed(&words))
    }

    /// Talks on until a question has been answered so many times.
    fn until(&mut self, question: &str, times: usize) -> Vec<Action> {
        let (mut all, mut count) = (Vec::new(), 0);
        for _ in 0..1_000 {
            let asked = std::mem::take(&mut self.asked).pop();
            let reply = asked.as_ref().and_then(|asked| self.answer(asked));
            all.extend(match reply {
                Some(reply) => self.say(&reply),
                None => self.wait(),
            });
            count += usize::from(asked.as_deref() == Some(question));
            if count == times {
                return all;
            }
        }
        panic!("{question:?} was not asked so often");
    }
}

fn observed(actions: &[Action], reference: &str) -> Vec<String> {
    let said = |action: &Action| {
        let Action::Observe(Part::WHOLE, said) = action else { return None };
        (said.metric.reference == reference).then(|| format!("{:?}", said.value))
    };
    actions.iter().filter_map(said).collect()
}

fn identities(actions: &[Action]) -> Vec<Option<String>> {
    let serial = |action: &Action| {
        if let Action::Identify(_, identity) = action { Some(identity.serial.clone()) } else { None }
    };
    actions.iter().filter_map(serial).collect()
}

fn faults(actions: &[Action]) -> Vec<FaultKind> {
    let kind = |action: &Action| if let Action::Report(fault) = action { Some(fault.kind) } else { None };
    actions.iter().filter_map(kind).collect()
}

#[test]
fn a_conversation_begins_with_escape_a_pause_and_end_of_transmission() {
    let mut talk = Talk::with("off");
    talk.event(&LinkEvent::Up);
    assert_eq!(std::mem::take(&mut talk.asked), ["\x1B"]);
    // The rest of an earlier stream, and of an earlier answer.
    assert_eq!(talk.say(b"\x80\x30\x00\x01\x7F\x04ER1716\x04"), []);
    assert_eq!(faults(&talk.wait()), [FaultKind::Unexpected]);
    assert_eq!(std::mem::take(&mut talk.asked), ["\x04"]);
    assert_eq!(talk.say(b"12345\x04"), [], "only the answer to EOT counts");
    talk.say(b"*\x04");
    assert_eq!(std::mem::take(&mut talk.asked), ["RCTY"]);
    assert_eq!(talk.now.mono.since(Mono::default()), SETTLE);
}

#[test]
fn who_it_is_stands_before_everything_and_again_at_the_end_of_a_round() {
    let (mut talk, told) = Talk::running("off");
    let first = told.iter().position(|action| matches!(action, Action::Observe(..)));
    let identity = told.iter().position(|action| matches!(action, Action::Identify(..)));
    assert!(identity.is_some() && identity < first, "{told:?}");
    assert_eq!(identities(&told), [Some("30114".to_owned())]);
    assert_eq!(faults(&told), []);
    let told = talk.until("RADAB", 1);
    assert_eq!(observed(&told, "MDC_RESP_RATE"), Vec::<String>::new(), "whose it is was not confirmed yet");
    assert!(talk.asked.last().is_some_and(|asked| asked == "RSEN"));
    talk.serial = "30115";
    let told = talk.until("RSEN", 1);
    assert_eq!(observed(&told, "MDC_RESP_RATE"), Vec::<String>::new(), "whose it is was not confirmed");
    assert_eq!(faults(&told), [FaultKind::Unexpected]);
    let told = talk.until("RSEN", 2);
    assert_eq!(identities(&told), [Some("30115".to_owned())]);
    assert_eq!(observed(&told, "MDC_RESP_RATE").len(), 1);
}

#[test]
fn the_patients_identification_is_never_asked_nor_told() {
    let (mut talk, _) = Talk::running("off");
    talk.until("RSEN", 30);
    assert!(MODEL.requests.requests().iter().all(|request| !request.name.contains("RPAI")));
    let capture = [framed("RPAI"), framed("CANARY 010203-1234"), framed("CANARY")].concat();
    let Decoded { observations, faults, identities } = decode_capture(&MODEL, &settings("off"), &capture);
    let all = format!("{observations:?} {faults:?} {identities:?}");
    assert!(!all.contains("CANARY") && !all.contains("1234"), "{all}");
    // Spoiled, out of place, or with the form of another answer.
    let mut talk = Talk::running("off").0;
    for words in ["CANARY", "CANARY 010203-1234"] {
        for bytes in [framed(words), format!("{words}\x04").into_bytes()] {
            let told = format!("{:?}", talk.say(&bytes));
            assert!(!told.contains("CANARY") && !told.contains("1234"), "{told}");
        }
    }
}

#[test]
fn a_question_without_an_answer_is_asked_again_behind_a_barrier() {
    let (mut talk, _) = Talk::running("off");
    talk.until("RALO", 1);
    assert_eq!(std::mem::take(&mut talk.asked), ["RADAE"]);
    assert_eq!(faults(&talk.wait()), [FaultKind::Timeout]);
    assert_eq!(std::mem::take(&mut talk.asked), ["\x1B"]);
    talk.wait();
    assert_eq!(std::mem::take(&mut talk.asked), ["\x04"]);
    // The late answer comes before the barrier's and counts for nothing.
    assert_eq!(talk.say(&framed(&"0001".repeat(36))), []);
    talk.say(&framed("*"));
    assert_eq!(std::mem::take(&mut talk.asked), ["RADAE"]);
}

#[test]
fn three_questions_without_an_answer_open_the_line_again() {
    let (mut talk, _) = Talk::running("off");
    let mut told = Vec::new();
    while talk.driver.poll_timeout().is_some() {
        told.extend(talk.wait());
    }
    assert_eq!(told.last(), Some(&Action::Command(LinkCommand::HangUp)));
    assert!(faults(&told).len() >= 3);
    assert_eq!(talk.say(&framed("*")), []);
}

#[test]
fn a_channel_that_it_does_not_have_is_left_out_without_a_fault() {
    let mut talk = Talk::with("off");
    talk.instead.push(("RCCO204", framed("ER12")));
    talk.event(&LinkEvent::Up);
    let told = talk.until("RHVE", 1);
    assert_eq!(faults(&told), []);
    talk.instead.push(("RADAB", framed(&format!("0167{}", "9999".repeat(24)))));
    let told = talk.until("RSEN", 1);
    assert_eq!(faults(&told), []);
    assert_eq!(observed(&told, "MDC_RESP_RATE").len(), 1);
    assert_eq!(observed(&told, "MDC_VENT_VOL_MINUTE_EXP"), Vec::<String>::new());
}

#[test]
fn an_interface_that_does_not_know_all_alarms_is_asked_for_fewer() {
    let mut talk = Talk::with("off");
    talk.instead.push(("SDADE", framed("ER12")));
    talk.instead.push(("SDADE", framed("ER12")));
    talk.instead.push(("RADAE", framed(&format!("0001{}", "0000".repeat(20)))));
    talk.event(&LinkEvent::Up);
    let told = talk.until("RSEN", 2);
    assert_eq!(faults(&told), [FaultKind::Refused, FaultKind::Refused]);
    assert_eq!(observed(&told, "MDC_EVT_ALARM").len(), 1, "400 to 434");
}

#[test]
fn an_answer_about_another_channel_gives_no_scale() {
    let mut talk = Talk::with("off");
    talk.instead.push(("RCCO204", framed("010;205,+1000E-004,+0000E+000,04,BT,x;")));
    talk.event(&LinkEvent::Up);
    talk.until("RHVE", 1);
    let told = talk.until("RCCO205", 1);
    assert_eq!(faults(&told), [FaultKind::Malformed]);
}

#[test]
fn one_answer_of_another_form_costs_no_channel() {
    let mut talk = Talk::with("off");
    talk.instead.push(("RCCO200", framed("0001")));
    talk.instead.push(("RALO", framed("x")));
    talk.event(&LinkEvent::Up);
    let told = talk.until("RSEN", 2);
    assert_eq!(faults(&told), vec![FaultKind::Malformed; 2]);
    assert_eq!(observed(&told, "MDC_RESP_RATE").len(), 1);
    assert_eq!(observed(&told, "MAQUET_ALARM_STATE").len(), 1);
}

#[test]
fn tables_that_were_refused_in_standby_are_defined_later() {
    let mut talk = Talk::with("off");
    talk.instead.push(("SDADB", framed("ER17")));
    talk.event(&LinkEvent::Up);
    let told = talk.until("RSEN", 40);
    assert!(!observed(&told, "MDC_RESP_RATE").is_empty(), "readings are never asked for");
}

#[test]
fn readings_that_cannot_be_had_cost_no_alarm() {
    let (mut talk, _) = Talk::running("off");
    talk.instead.push(("RADAE", framed(&format!("0001{}", "0000".repeat(35)))));
    for _ in 0..8 {
        talk.instead.push(("RADAB", framed("00010002")));
    }
    let told = talk.until("RSEN", 4);
    assert_eq!(observed(&told, "MDC_EVT_ALARM").len(), 2, "it begins and ends");
}

#[test]
fn an_interface_that_has_forgotten_its_tables_is_started_again() {
    for (question, error) in [("RADAE", "ER16"), ("RSEN", "ER10"), ("RADAS", "ER11")] {
        let (mut talk, _) = Talk::running("off");
        talk.instead.push((question, framed(error)));
        let told = talk.until("RCTY", 1);
        assert_eq!(faults(&told), [FaultKind::Refused], "{question}");
        let told = talk.until("RSEN", 2);
        assert_eq!(observed(&told, "MDC_RESP_RATE").len(), 1, "{question}");
    }
}

#[test]
fn what_was_refused_in_basic_mode_is_asked_again() {
    let (mut talk, _) = Talk::running("off");
    talk.instead.push(("RALO", framed("ER10")));
    talk.instead.push(("RADAE", framed("ER10")));
    let told = talk.until("RCTY", 1);
    assert_eq!(faults(&told), vec![FaultKind::Refused; 2]);
    talk.until("RALO", 1);
}

#[test]
fn an_older_interface_is_read_without_what_it_does_not_know() {
    let mut talk = Talk::with("off");
    for question in ["RHVE", "RALO", "RTIM"] {
        talk.instead.push((question, framed("ER10")));
    }
    talk.event(&LinkEvent::Up);
    let told = talk.until("RSEN", 3);
    assert_eq!(faults(&told), vec![FaultKind::Refused; 3], "each is told once");
    assert!(!observed(&told, "MDC_RESP_RATE").is_empty());
}

#[test]
fn alarms_that_end_while_the_line_is_down_get_their_end_and_another_ventilators_none() {
    for (serial, ends) in [("30114", 1), ("30115", 0)] {
        let mut talk = Talk::with("off");
        talk.instead.push(("RADAE", framed(&format!("0001{}", "0000".repeat(35)))));
        talk.event(&LinkEvent::Up);
        assert_eq!(observed(&talk.until("RSEN", 2), "MDC_EVT_ALARM").len(), 1);
        talk.event(&LinkEvent::Down(LinkError::HungUp));
        talk.serial = serial;
        talk.event(&LinkEvent::Up);
        let told = talk.until("RSEN", 2);
        let is_end = |action: &&Action| matches!(action, Action::Observe(_, said) if matches!(&said.value, Value::Alarm(alarm) if alarm.phase == AlarmPhase::End));
        assert_eq!(told.iter().filter(is_end).count(), ends, "{serial}");
    }
}

#[test]
fn standby_is_a_state_in_which_alarms_end_when_there_are_none() {
    let mut talk = Talk::with("off");
    talk.instead.push(("RADAE", framed(&format!("0001{}", "0000".repeat(35)))));
    talk.instead.push(("RALO", framed("1")));
    talk.event(&LinkEvent::Up);
    let told = talk.until("RSEN", 2);
    assert!(observed(&told, "MAQUET_STATE").iter().all(|word| word.contains("operating")));
    for (alarms, edges) in [("1", 0), ("0", 1)] {
        talk.instead.push(("RALO", framed(alarms)));
        talk.instead.push(("RADAE", framed("ER17")));
        let told = talk.until("RSEN", 1);
        assert_eq!(faults(&told), []);
        assert!(observed(&told, "MAQUET_STATE").iter().all(|word| word.contains("standby")));
        assert_eq!(observed(&told, "MDC_EVT_ALARM").len(), edges, "RALO {alarms}");
    }
    let told = talk.until("RSEN", 1);
    assert!(observed(&told, "MAQUET_STATE").iter().all(|word| word.contains("operating")));
}

#[test]
fn a_stream_is_stopped_to_ask_who_streams() {
    let (mut talk, _) = Talk::running("on");
    assert_eq!(std::mem::take(&mut talk.asked), ["RADC"]);
    let began = talk.now.mono;
    let mut block = vec![0x81, 0x10, 0x80, 0x10, 0x00, 0x01, 0x7F];
    block.push(wire::xor(&block));
    let mut waves = 0;
    while talk.asked.is_empty() {
        talk.now.mono = talk.now.mono + Duration::from_secs(3);
        let told = talk.say(&block);
        let is_wave =
            |action: &&Action| matches!(action, Action::Observe(_, said) if said.kind == Kind::Wave);
        waves += told.iter().filter(is_wave).count();
        if talk.driver.poll_timeout().is_some_and(|due| due <= talk.now.mono) {
            talk.driver.handle_timeout(talk.now);
            talk.drain();
        }
    }
    assert_eq!(talk.asked, ["\x1B"], "while it streams it hears nothing but ESC");
    let streamed = talk.now.mono.since(began);
    assert!(streamed >= Duration::from_secs(600) && streamed < Duration::from_secs(610), "{streamed:?}");
    assert!(waves >= 400, "the curve and its phases: {waves}");
    let told = talk.until("RSEN", 1);
    assert_eq!((faults(&told), observed(&told, "MDC_RESP_RATE").len()), (Vec::new(), 1));
    assert_eq!(talk.asked, ["RADC"]);
    // A stream that falls silent is stopped too.
    talk.asked.clear();
    assert_eq!(faults(&talk.wait()), [FaultKind::Timeout]);
    assert_eq!(talk.asked, ["\x1B"]);
}

#[test]
fn a_spoiled_block_of_a_stream_costs_no_edge_of_an_alarm() {
    let on = || framed(&format!("0001{}", "0000".repeat(35)));
    let mut block = vec![b'E'];
    block.extend(1u16.to_be_bytes());
    block.extend([0u8; 70]);
    block.push(0x7F);
    block.push(wire::xor(&block));
    let broken = |at: usize, to: u8| [&block[..at], &[to], &block[at + 1..]].concat();
    for spoiled in [broken(2, 2), broken(0, b'Z')] {
        let (mut talk, _) = Talk::running("on");
        assert_eq!(std::mem::take(&mut talk.asked), ["RADC"]);
        let began = talk.now.mono;
        let mut told = talk.say(&spoiled);
        told.extend(talk.say(&[0x80, 0x10, 0x00, 0x7F, 0xEF]));
        assert!(!faults(&told).is_empty() && observed(&told, "MDC_EVT_ALARM").is_empty(), "{told:?}");
        talk.instead.push(("RADAE", on()));
        let told = talk.until("RSEN", 1);
        assert_eq!(observed(&told, "MDC_EVT_ALARM").len(), 1);
        assert!(talk.now.mono.since(began) < Duration::from_secs(3), "the alarm is asked for at once");
    }
}

#[test]
fn an_answer_behind_a_spoiled_question_of_a_capture_is_no_serial_number() {
    let capture =
        [framed("RSEN"), b"RPAI17\x04".to_vec(), framed("CANARY 010203-1234"), framed("RSEN")].concat();
    let Decoded { observations, faults, identities } = decode_capture(&MODEL, &settings("off"), &capture);
    let all = format!("{observations:?} {faults:?} {identities:?}");
    assert!(!all.contains("CANARY") && !all.contains("1234"), "{all}");
}

#[test]
fn what_is_set_for_it_is_what_it_reads() {
    let mut all = settings("on");
    all.set_number(&MODEL.settings[2], 113).unwrap();
    assert_eq!(Options::of(&all).curves, [100, 113]);
    assert_eq!(Options::of(&all).identity_period, Duration::from_secs(600));
    all.set_number(&MODEL.settings[2], 100).unwrap();
    assert_eq!(Options::of(&all).curves, [100]);
    assert!(Options::of(&settings("off")).curves.is_empty());
}

/// What a ventilator in trouble answers; `None`: what it usually does.
fn troubled(kind: u8, noise: &[u8]) -> Option<Vec<u8>> {
    Some(match kind {
        0 => Vec::new(),
        1 => noise.to_vec(),
        2 => framed("ER10"),
        3 => framed("ER16"),
        4 => framed("ER17"),
        5 => framed("ER18"),
        6 => framed("*"),
        7 => framed("00010002"),
        8 => b"ER17\x04".to_vec(),
        9 => framed("ER19"),
        _ => return None,
    })
}

proptest! {
    #[test]
    fn after_any_trouble_the_rounds_go_on(
        curves in any::<bool>(),
        troubles in proptest::collection::vec((0u8..40, proptest::collection::vec(any::<u8>(), 0..20)), 0..300)
    ) {
        let mut talk = Talk::with(if curves { "on" } else { "off" });
        talk.event(&LinkEvent::Up);
        let (began, mut written) = (talk.now.mono, 0);
        for (kind, noise) in troubles {
            if talk.driver.poll_timeout().is_none() {
                talk.event(&LinkEvent::Down(LinkError::HungUp));
                talk.event(&LinkEvent::Up);
            }
            let asked = std::mem::take(&mut talk.asked);
            written += asked.len();
            let asked = asked.last().cloned();
            let usual = asked.as_ref().and_then(|asked| talk.answer(asked));
            match troubled(kind, &noise).filter(|_| asked.is_some()).or(usual) {
                Some(reply) if !reply.is_empty() => drop(talk.say(&reply)),
                Some(_) | None => drop(talk.wait()),
            }
        }
        prop_assert!(written < 400, "{written} messages in {:?}", talk.now.mono.since(began));
        let (well, mut told) = (talk.now.mono, Vec::new());
        let mut serials = 0;
        while serials < 60 {
            if talk.driver.poll_timeout().is_none() {
                talk.event(&LinkEvent::Up);
            }
            let asked = std::mem::take(&mut talk.asked).pop();
            serials += u32::from(asked.as_deref() == Some("RSEN"));
            let reply = asked.as_ref().and_then(|asked| talk.answer(asked));
            told.extend(match reply {
                Some(reply) => talk.say(&reply),
                None => talk.wait(),
            });
            prop_assert!(told.len() < 20_000, "the rounds do not come back");
        }
        let took = talk.now.mono.since(well);
        prop_assert!(!observed(&told, "MDC_VENT_MODE").is_empty() && !observed(&told, "MDC_RESP_RATE").is_empty());
        prop_assert!(took < Duration::from_secs(800), "{took:?}");
    }

    #[test]
    fn noise_in_a_stream_makes_no_panic_and_no_question_but_escape(
        parts in proptest::collection::vec(proptest::collection::vec(prop_oneof![any::<u8>(), Just(0x80), Just(0x7F), Just(b'E')], 0..200), 1..20)
    ) {
        let (mut talk, _) = Talk::running("on");
        prop_assert_eq!(std::mem::take(&mut talk.asked), vec!["RADC".to_owned()]);
        for part in parts {
            let told = talk.say(&part);
            prop_assert!(told.len() < 300, "{} actions", told.len());
        }
        // A right error among the noise ends the stream, and then nothing but ESC is written.
        prop_assert!(talk.asked.iter().all(|asked| asked == "\x1B"), "{:?}", talk.asked);
    }

    #[test]
    fn no_cut_changes_what_a_capture_says(cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12)) {
        let mut block = vec![0x81, 0x10, 0x80, 0x10, 0x00, 0x01, 0x04, 0x1B, 0x7F];
        block.push(wire::xor(&block));
        let words = ["RSEN", "30114", "RCCO100", "010;100,+1000E-004,+0000E+000,02,CU,x;", "SDADC100", "*", "RADC"];
        let mut capture: Vec<u8> = words.iter().flat_map(|words| framed(words)).collect();
        capture.extend(block);
        capture.extend(b"\x1B\x04");
        capture.extend(framed("RSEN"));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(capture.len())).collect();
        cuts.extend([0, capture.len()]);
        cuts.sort_unstable();
        let mut talk = Talk::with("off");
        let mut told = Vec::new();
        for pair in cuts.windows(2) {
            told.extend(talk.say(&capture[pair[0]..pair[1]]));
        }
        let whole = Talk::with("off").say(&capture);
        prop_assert_eq!(faults(&whole), Vec::new());
        prop_assert_eq!(observed(&whole, "MDC_FLOW_AWAY").len(), 1);
        prop_assert_eq!(told, whole);
    }
}
