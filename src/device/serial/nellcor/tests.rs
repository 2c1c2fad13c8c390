//! What the driver makes of lines, good and bad.

use super::*;
use crate::device::observation::Phase as AlarmPhase;
use crate::device::serial::{Decoded, decode_capture};
use crate::device::settings::Settings as Choices;
use bytes::Bytes;
use proptest::prelude::*;

const HEADING: &str = "N-395 VERSION 2.0.0.0 CRC: XXXX SpO2 Limit: 70-100% PR Limit: 60-160BPM\r\n\
                       TIME               %SpO2    BPM     PA     Status\r\n";
const DATA: &str = "12-NOV-98 14:00:05    98    120     50\r\n";

/// A driver with its clock.
struct Talk {
    driver: Box<dyn Driver>,
    now: Now,
}

impl Talk {
    fn new() -> Self {
        Self { driver: (MODEL.driver)(&Choices::defaults(MODEL.settings)), now: Now::default() }
    }

    fn up() -> Self {
        let mut talk = Self::new();
        assert_eq!(talk.event(&LinkEvent::Up), []);
        talk
    }

    fn event(&mut self, event: &LinkEvent) -> Vec<Action> {
        self.driver.handle_event(event, self.now);
        std::iter::from_fn(|| self.driver.poll_action()).collect()
    }

    fn say(&mut self, text: &str) -> Vec<Action> {
        self.event(&LinkEvent::Bytes(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn pass(&mut self, time: Duration) -> Vec<Action> {
        self.now.mono = self.now.mono + time;
        self.driver.handle_timeout(self.now);
        std::iter::from_fn(|| self.driver.poll_action()).collect()
    }
}

fn observed(actions: &[Action]) -> Vec<&Observation> {
    actions
        .iter()
        .filter_map(|action| if let Action::Observe(_, said) = action { Some(said) } else { None })
        .collect()
}

fn faults(actions: &[Action]) -> Vec<FaultKind> {
    actions
        .iter()
        .filter_map(|action| if let Action::Report(fault) = action { Some(fault.kind) } else { None })
        .collect()
}

fn edges(actions: &[Action]) -> Vec<(String, AlarmPhase, bool)> {
    let edge = |said: &&Observation| match &said.value {
        Value::Alarm(alarm) => Some((alarm.code.clone(), alarm.phase, alarm.is_silenced)),
        Value::Decimal(_) | Value::Absent(_) | Value::Text(_) | Value::Bits(_) | Value::Samples(_) => None,
    };
    observed(actions).iter().filter_map(edge).collect()
}

fn with(codes: &str) -> String {
    DATA.replace("\r\n", &format!("  {codes}\r\n"))
}

#[test]
fn a_heading_says_who_it_is_and_a_reading_before_it_is_told_all_the_same() {
    let mut talk = Talk::up();
    let first = talk.say(DATA);
    assert_eq!(first[0], Action::identify(Identity::default()));
    assert_eq!(observed(&first).len(), 4);
    let heading = talk.say(HEADING);
    let Action::Identify(_, who) = &heading[0] else { panic!("{heading:?}") };
    assert_eq!(
        (who.model.as_deref(), who.serial.as_deref(), who.firmware.as_deref()),
        (Some("N-395"), None, Some("2.0.0.0"))
    );
    let limits: Vec<_> = observed(&heading).iter().map(|said| said.value.clone()).collect();
    assert_eq!(limits, ["70", "100", "60", "160"].map(|text| Value::Decimal(text.parse().unwrap())));
    assert!(!talk.say(HEADING).iter().any(|action| matches!(action, Action::Identify(..))));
}

#[test]
fn every_heading_of_the_facts_is_read() {
    for (text, model) in [
        ("NPB-290 VERSION 1.0.0.1 CRC: XXXX SpO2 Limit: 30-100% PR Limit: 100-180BPM", "NPB-290"),
        ("NPB-295 VERSION 2.0.0.0 CRC:XXXX  SpO2 Limit: 70-100%  PR Limit: 60-160BPM", "NPB-295"),
        ("N-595   VERSION 1.0.0.0 CRC:FF01  SpO2 Limit: 85- 99%   PR Limit: 40-170BPM", "N-595"),
        ("NPB-290 VERSION 1.0.0.1 TREND SpO2 Limit: 30-100% PR Limit: 100-180BPM", "NPB-290"),
        ("NPB-595 VERSION 1.0.0.0 INFO CRC:FF01 SEC:12 / 34", "NPB-595"),
    ] {
        let Ok(Line::Heading(heading)) = Line::read(text.as_bytes()) else { panic!("{text}") };
        assert_eq!(heading.model, model);
    }
    let mode = Line::read(b"       ADULT   0SAT-S   SPO2 RESP MODE: NORMAL").unwrap();
    assert!(matches!(mode, Line::Mode(mode) if mode.limits == "ADULT"));
}

#[test]
fn each_code_is_said_against_the_readings() {
    for (codes, expected) in [
        ("", Quality::GOOD),
        ("AO", Quality::GOOD),
        ("MO", Quality::POOR_SIGNAL),
        ("LP", Quality::POOR_SIGNAL),
        ("LM", Quality::POOR_SIGNAL),
        ("PS", Quality::QUESTIONABLE),
        ("SD", Quality::SENSOR),
        ("MO SO", Quality::SENSOR.with(Quality::POOR_SIGNAL)),
    ] {
        let actions = Talk::up().say(&with(codes));
        assert_eq!(observed(&actions)[0].quality, expected, "{codes}");
    }
}

#[test]
fn alarms_are_told_at_their_edges() {
    let mut talk = Talk::up();
    let told = |code: &str, phase, silenced| (code.to_owned(), phase, silenced);
    assert_eq!(edges(&talk.say(&with("PH"))), [told("PH", AlarmPhase::Start, false)]);
    assert_eq!(edges(&talk.say(&with("PH"))), []);
    assert_eq!(edges(&talk.say(&with("AS PH"))), [told("PH", AlarmPhase::Update, true)]);
    talk.event(&LinkEvent::Down(crate::link::LinkError::HungUp));
    talk.event(&LinkEvent::Up);
    assert_eq!(edges(&talk.say(DATA)), [told("PH", AlarmPhase::End, true)]);
    let starred = DATA.replace(" 98 ", " 68*").replace("120 ", "120*");
    assert_eq!(
        edges(&talk.say(&starred)),
        [told("BPM*", AlarmPhase::Start, false), told("SPO2*", AlarmPhase::Start, false)]
    );
    let coded = starred.replace("\r\n", " SL PH\r\n");
    assert_eq!(
        edges(&talk.say(&coded)),
        [
            told("BPM*", AlarmPhase::End, false),
            told("SPO2*", AlarmPhase::End, false),
            told("PH", AlarmPhase::Start, false),
            told("SL", AlarmPhase::Start, false)
        ]
    );
}

#[test]
fn another_model_does_not_inherit_alarms() {
    let mut talk = Talk::up();
    talk.say(HEADING);
    talk.say(&with("LP"));
    talk.event(&LinkEvent::Up);
    talk.say(&HEADING.replace("N-395", "N-595"));
    assert_eq!(edges(&talk.say(DATA)), []);
}

#[test]
fn the_memory_is_told_as_stored_and_raises_no_alarm() {
    let mut talk = Talk::up();
    let limits = talk.say(
        "NPB-290 VERSION 1.0.0.1 TREND SpO2 Limit: 30-100% PR Limit: 100-180BPM\r\nTIME %SPO2 BPM PA\r\n",
    );
    assert!(observed(&limits).iter().all(|said| said.quality == Quality::STORED));
    let stored = talk.say(&DATA.replace(" 98 ", " 68*"));
    assert_eq!(observed(&stored).len(), 3);
    assert!(observed(&stored).iter().all(|said| said.quality == Quality::STORED));
    talk.say("Output Complete\r\n");
    assert_eq!(observed(&talk.say(DATA))[0].quality, Quality::GOOD);
}

#[test]
fn behind_a_broken_heading_values_are_questionable() {
    let mut talk = Talk::up();
    talk.say(DATA);
    talk.say("NPB-290 VERSION 1.0.0.1 TRE Limit: 30-100% PR Limit: 100-180BPM\r\n");
    let said = talk.say(DATA);
    assert!(observed(&said)[0].quality.has(Quality::QUESTIONABLE));
    talk.say(HEADING);
    assert_eq!(observed(&talk.say(DATA))[0].quality, Quality::GOOD);
}

#[test]
fn dashes_are_no_value_and_not_zero() {
    let said = Talk::up().say("12-NOV-98 14:00:05   ---    ---    ---    SD\r\n");
    for said in observed(&said).iter().take(3) {
        assert_eq!((&said.value, said.quality), (&Value::Absent(Absent::Unknown), Quality::SENSOR));
    }
}

#[test]
fn silence_and_other_outputs_are_told_with_the_way_out() {
    let mut talk = Talk::up();
    talk.pass(Duration::from_secs(9));
    talk.say(DATA);
    assert_eq!(talk.pass(Duration::from_secs(9)), []);
    let Action::Report(fault) = &talk.say("098,120,050\r\n")[0] else { panic!() };
    assert!(fault.detail.contains("data port to ASCII"), "{fault}");
    let Action::Report(fault) = &talk.say("    Command?\r\n")[0] else { panic!() };
    assert!(fault.detail.contains("interactive mode"), "{fault}");
    let last = talk.pass(Duration::from_secs(10));
    assert_eq!(faults(&last), [FaultKind::Timeout]);
    assert_eq!(last.last(), Some(&Action::Command(LinkCommand::HangUp)));
}

#[test]
fn the_tail_of_a_line_that_began_before_the_connection_is_no_fault() {
    let mut talk = Talk::up();
    assert_eq!(talk.say(&DATA[7..]), []);
    assert_eq!(faults(&talk.say(&DATA[7..])), [FaultKind::Malformed]);
    assert_eq!(observed(&talk.say(DATA)).len(), 4);
}

#[test]
fn every_private_code_is_in_the_catalogue() {
    assert!(codes::CODES.iter().all(|code| MODEL.reads.contains(code)));
}

proptest! {
    #[test]
    fn values_keep_their_digits(spo2 in 0u16..=100, bpm in 0u16..=300, pa in 0u16..=999) {
        let actions = Talk::up().say(&format!("12-NOV-98 14:00:05 {spo2} {bpm} {pa}\r\n"));
        let values: Vec<Value> = observed(&actions).iter().take(3).map(|said| said.value.clone()).collect();
        let expected: Vec<Value> =
            [spo2, bpm, pa].map(|number| Value::Decimal(crate::device::decimal::Decimal::whole(number))).to_vec();
        prop_assert_eq!(values, expected);
    }

    #[test]
    fn two_lines_that_ran_into_one_never_mix(cut in 1usize..38) {
        let second = DATA.replace(" 98", " 91").replace("120", " 66");
        let actions = Talk::up().say(&format!("{}{second}", &DATA[..cut]));
        let first = observed(&actions)[0].value.clone();
        prop_assert_eq!(first, Value::Decimal("91".parse().unwrap()));
    }

    #[test]
    fn any_cut_of_a_capture_reads_the_same(cut in 1usize..90) {
        let capture = [HEADING, DATA, "noise\u{1}\r\n", &with("SO"), DATA].concat();
        let Decoded { observations: whole, .. } = decode_capture(&MODEL, &Choices::default(), capture.as_bytes());
        prop_assert_eq!(whole.len(), 4 + 3 * 4 + 2);
        let mut talk = Talk::new();
        let mut said = Vec::new();
        for piece in capture.as_bytes().chunks(cut) {
            for action in talk.event(&LinkEvent::Bytes(Bytes::copy_from_slice(piece))) {
                if let Action::Observe(part, observation) = action {
                    said.push((part, observation));
                }
            }
        }
        prop_assert_eq!(said, whole);
    }

    #[test]
    fn nothing_panics_and_nothing_is_sent(pieces in proptest::collection::vec(
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[ A-Z0-9:*%.-]{0,60}\r\n".prop_map(String::into_bytes),
            Just(HEADING.as_bytes().to_vec()),
            Just(DATA.as_bytes().to_vec()),
        ], 0..40)) {
        let mut talk = Talk::up();
        let mut identified = false;
        for piece in pieces {
            for action in talk.event(&LinkEvent::Bytes(piece.into())) {
                match action {
                    Action::Identify(..) => identified = true,
                    Action::Observe(..) => prop_assert!(identified),
                    Action::Report(_) => {}
                    Action::Command(_) | Action::Commit | Action::Gone(..) | Action::Remember(_) | Action::Pin(_) => prop_assert!(false),
                }
            }
        }
    }
}
