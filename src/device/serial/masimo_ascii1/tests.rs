//! What the driver makes of lines, good and bad.

use super::*;
use crate::device::observation::Absent;
use crate::device::settings::Settings;
use bytes::Bytes;
use proptest::prelude::*;

const LINE: &str = "02/22/16 22:47:45 SN=0000056661 SPO2=098% BPM=097 PI=03.60% SPCO=--.-% SPMET=--.-% \
                    DESAT=-- PIDELTA=+-- ALARM=0000 EXC=000800\r\n";

/// A driver with its clock.
struct Talk {
    driver: Box<dyn Driver>,
    now: Now,
}

impl Talk {
    fn up() -> Self {
        let mut talk = Self { driver: (MODEL.driver)(&Settings::default()), now: Now::default() };
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
}

fn observed(actions: &[Action]) -> Vec<&Observation> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Observe(_, observation) => Some(observation),
            Action::Command(_)
            | Action::Identify(..)
            | Action::Commit
            | Action::Gone(..)
            | Action::Remember(_)
            | Action::Pin(_)
            | Action::Report(_) => None,
        })
        .collect()
}

fn shown(value: &Value) -> String {
    if let Value::Decimal(value) = value { value.to_string() } else { format!("{value:?}") }
}

fn has_fault(actions: &[Action], kind: FaultKind) -> bool {
    actions.iter().any(|action| matches!(action, Action::Report(fault) if fault.kind == kind))
}

#[test]
fn the_identity_comes_before_the_readings_and_only_once() {
    let mut talk = Talk::up();
    let actions = talk.say(LINE);
    let Action::Identify(_, identity) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(identity.serial.as_deref(), Some("0000056661"));
    assert_eq!(observed(&actions).len(), 9);
    let again = talk.say(LINE);
    assert_eq!(observed(&again).len(), again.len());
}

#[test]
fn each_exception_is_said_against_the_readings() {
    for (word, expected) in [
        ("000800", Quality::GOOD),
        ("000801", Quality::SENSOR),
        ("000002", Quality::SENSOR),
        ("000804", Quality::POOR_SIGNAL),
        ("000008", Quality::QUESTIONABLE),
        ("000010", Quality::POOR_SIGNAL),
        ("000020", Quality::SENSOR),
        ("000040", Quality::POOR_SIGNAL),
        ("000080", Quality::SENSOR),
        ("000400", Quality::POOR_SIGNAL),
        ("000428", Quality::POOR_SIGNAL.with(Quality::SENSOR).with(Quality::QUESTIONABLE)),
    ] {
        let actions = Talk::up().say(&LINE.replace("EXC=000800", &format!("EXC={word}")));
        let spo2 = observed(&actions)[0];
        assert_eq!((spo2.metric, spo2.quality), (&mdc::SPO2, expected), "{word}");
    }
}

#[test]
fn dashes_are_no_value_and_not_zero() {
    let actions = Talk::up().say(&LINE.replace("SPO2=098%", "SPO2=---%").replace("BPM=097", "BPM=---"));
    for said in observed(&actions).iter().take(2) {
        assert_eq!(said.value, Value::Absent(Absent::Unknown));
    }
}

#[test]
fn the_tail_of_a_line_that_began_before_the_connection_is_no_fault() {
    let mut talk = Talk::up();
    assert_eq!(talk.say(&LINE[30..]), []);
    assert!(has_fault(&talk.say(&LINE[30..]), FaultKind::Framing), "the second one is");
    assert_eq!(observed(&talk.say(LINE)).len(), 9);
}

#[test]
fn another_serial_number_counts_when_two_lines_have_it() {
    let mut talk = Talk::up();
    talk.say(LINE);
    let other = LINE.replace("0000056661", "0000056662");
    let once = talk.say(&other);
    assert!(observed(&once).is_empty() && has_fault(&once, FaultKind::Unexpected));
    let back = talk.say(LINE);
    assert_eq!(observed(&back).len(), back.len(), "one corrupted digit is not another device");
    talk.say(&other);
    let twice = talk.say(&other);
    assert!(
        matches!(&twice[0], Action::Identify(_, identity) if identity.serial.as_deref() == Some("0000056662"))
    );
    assert_eq!(observed(&twice).len(), 9);
}

#[test]
fn another_output_format_is_told_with_the_way_out() {
    let mut talk = Talk::up();
    talk.say("tail\r\n");
    let actions = talk.say("098 097 03.60\r\n");
    let Action::Report(fault) = &actions[0] else { panic!("{actions:?}") };
    assert!(fault.detail.contains("set the oximeter's serial output to ASCII 1"), "{fault}");
}

#[test]
fn an_alarm_that_ended_while_the_line_was_down_gets_its_end() {
    let mut talk = Talk::up();
    let began = talk.say(&LINE.replace("ALARM=0000", "ALARM=0012"));
    assert!(observed(&began).iter().any(|said| said.metric == &mdc::EVT_ALARM));
    talk.event(&LinkEvent::Down(crate::link::LinkError::HungUp));
    talk.event(&LinkEvent::Up);
    let ended = talk.say(LINE);
    let last = observed(&ended).pop().unwrap().clone();
    assert!(
        matches!(last.value, Value::Alarm(alarm) if alarm.phase == crate::device::observation::Phase::End && alarm.code == "SPO2_LOW")
    );
}

#[test]
fn an_alarm_without_a_reason_is_an_alarm() {
    let actions = Talk::up().say(&LINE.replace("ALARM=0000", "ALARM=0010"));
    let last = observed(&actions).pop().unwrap().clone();
    assert!(matches!(last.value, Value::Alarm(alarm) if alarm.code == "ACTIVE"));
}

proptest! {
    #[test]
    fn values_keep_their_digits(spo2 in 0u16..=100, bpm in 0u16..=240, pi in 0u16..=2000) {
        let line = LINE
            .replace("SPO2=098", &format!("SPO2={spo2:03}"))
            .replace("BPM=097", &format!("BPM={bpm:03}"))
            .replace("PI=03.60", &format!("PI={:02}.{:02}", pi / 100, pi % 100));
        let actions = Talk::up().say(&line);
        let digits: Vec<String> = observed(&actions).iter().take(3).map(|said| shown(&said.value)).collect();
        prop_assert_eq!(digits, vec![spo2.to_string(), bpm.to_string(), format!("{}.{:02}", pi / 100, pi % 100)]);
    }

    #[test]
    fn a_line_with_bytes_missing_never_gives_another_value_or_serial_number(at in 18usize..49, count in 1usize..6) {
        // From SN= to the end of BPM=097.
        let mut torn = LINE.to_owned();
        torn.replace_range(at..(at + count).min(49), "");
        let actions = Talk::up().say(&torn);
        let said = observed(&actions);
        if let [spo2, pulse, ..] = said.as_slice() {
            // What can go without harm is the percent sign.
            prop_assert_eq!((shown(&spo2.value), shown(&pulse.value)), ("98".to_owned(), "97".to_owned()));
            let Some(Action::Identify(_, identity)) = actions.first() else { panic!("{actions:?}") };
            prop_assert_eq!(identity.serial.as_deref(), Some("0000056661"));
        }
    }

    #[test]
    fn two_lines_that_ran_into_one_never_mix(cut in 1usize..120) {
        let second = LINE.replace("098", "091").replace("097", "066");
        let actions = Talk::up().say(&format!("{}{second}", &LINE[..cut]));
        let values: Vec<String> = observed(&actions).iter().take(2).map(|said| shown(&said.value)).collect();
        prop_assert_eq!(values, vec!["91", "66"]);
    }
}
