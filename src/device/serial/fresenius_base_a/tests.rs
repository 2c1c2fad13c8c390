//! Conversations with the driver: what it asks, what it believes, what it tells.

use super::*;
use crate::device::observation::{Kind, Value};
use crate::device::serial::{Decoded, decode_capture};
use crate::device::settings::Values;
use crate::device::{Identity, Part};
use crate::link::LinkError;
use bytes::Bytes;
use proptest::prelude::*;

const ACK: &[u8] = &[0x06];

/// A base as the driver is to see it: who stands where and what it says.
struct Base {
    serials: [Option<&'static str>; 6],
    variables: &'static str,
    drug: &'static str,
}

impl Base {
    fn new() -> Self {
        Self {
            serials: [Some("B1"), Some("M1"), None, Some("M3"), None, None],
            variables: "a0000;e00;m01;d0023;r00000BB8;k04B0;s00000000",
            drug: "PROPOFOL 1%",
        }
    }

    fn answer(&self, message: &str) -> String {
        let address = usize::from(message.as_bytes()[0] - b'0');
        let said = match (&message[1..], self.serials[address]) {
            (_, None) => "I;0E".to_owned(),
            ("DC", _) => "C".to_owned(),
            ("LN", Some(serial)) => format!("C;{serial}"),
            ("LP", _) => format!("C;{}", self.drug),
            ("LF;b", _) => format!("C;b{:02X}", 16 + usize::from(address > 0)),
            ("LE;b", _) => {
                let bit = |place: usize| usize::from(self.serials[place].is_some()) << (place - 1);
                format!("C;b{:02X}", (1..=5).map(bit).sum::<usize>())
            }
            (_, Some(_)) => format!("C;{}", self.variables),
        };
        format!("{address}{said}")
    }
}

fn framed(message: &str) -> Vec<u8> {
    let sum = message.bytes().fold(0u32, |sum, byte| sum + u32::from(byte)) % 256;
    format!("\x02{message}{:02X}\x03", 255 - sum).into_bytes()
}

fn defaults() -> Settings {
    Settings::defaults(MODEL.settings)
}

fn set(changes: &[(&str, &str)]) -> Settings {
    let mut settings = defaults();
    for (name, value) in changes {
        let row = MODEL.settings.iter().find(|row| row.name == *name).unwrap();
        match row.values {
            Values::Word(_) => settings.set_word(row, value).unwrap(),
            Values::Number { .. } => settings.set_number(row, value.parse().unwrap()).unwrap(),
            Values::Secret => settings.set_file(row, value.into()).unwrap(),
        }
    }
    settings
}

struct Talk {
    driver: Box<dyn Driver>,
    now: Now,
    base: Base,
    /// The command that is outstanding, without its framing.
    asked: Option<String>,
    /// Everything that was written, in order.
    written: Vec<Vec<u8>>,
    actions: Vec<Action>,
}

impl Talk {
    fn with(settings: &Settings) -> Self {
        let (driver, base) = ((MODEL.driver)(settings), Base::new());
        Self { driver, now: Now::default(), base, asked: None, written: Vec::new(), actions: Vec::new() }
    }

    fn up_with(settings: &Settings) -> Self {
        let mut talk = Self::with(settings);
        talk.event(&LinkEvent::Up);
        talk
    }

    fn up() -> Self {
        Self::up_with(&defaults())
    }

    /// A conversation whose first rounds are over.
    fn running() -> Self {
        let mut talk = Self::up();
        talk.go_on(5);
        talk
    }

    fn event(&mut self, event: &LinkEvent) -> Vec<Action> {
        self.driver.handle_event(event, self.now);
        self.drain()
    }

    fn bytes(&mut self, bytes: &[u8]) -> Vec<Action> {
        self.event(&LinkEvent::Bytes(Bytes::copy_from_slice(bytes)))
    }

    /// The base takes the command and answers it.
    fn say(&mut self, message: &str) -> Vec<Action> {
        self.asked = None;
        self.bytes(&[ACK, &framed(message)].concat())
    }

    /// Answers whatever is outstanding as the base does, else lets time pass.
    fn step(&mut self) -> Vec<Action> {
        match self.asked.clone() {
            Some(asked) => {
                let answer = self.base.answer(&asked);
                self.say(&answer)
            }
            None => self.wait(),
        }
    }

    /// Answers until a certain command is outstanding.
    fn until(&mut self, message: &str) -> Vec<Action> {
        let mut actions = Vec::new();
        for _ in 0..300 {
            if self.asked.as_deref() == Some(message) {
                return actions;
            }
            actions.extend(self.step());
        }
        panic!("{message} was never asked; {:?}", self.asked);
    }

    /// Answers for so many seconds.
    fn go_on(&mut self, seconds: u64) -> Vec<Action> {
        let end = self.now.mono + Duration::from_secs(seconds);
        let mut actions = Vec::new();
        while self.now.mono < end {
            actions.extend(self.step());
        }
        actions
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
                if frame.len() > 5 {
                    let text = String::from_utf8(frame[1..frame.len() - 3].to_vec()).unwrap();
                    if text.len() > 2 {
                        self.asked = Some(text);
                    }
                }
                self.written.push(frame.into_owned());
            }
        }
        self.actions.extend(actions.iter().cloned());
        actions
    }

    fn wrote(&self, bytes: &[u8]) -> usize {
        self.written.iter().filter(|written| *written == bytes).count()
    }
}

/// What is told, in short: `1:MDC_FLOW_FLUID_PUMP=3.5`.
fn noted(actions: &[Action]) -> Vec<String> {
    let value = |value: &Value| match value {
        Value::Decimal(value) => value.to_string(),
        Value::Text(words) => words.clone(),
        Value::Bits(bits) => format!("{bits:#x}"),
        Value::Alarm(alarm) => format!("{} {}", alarm.code, alarm.phase.as_str()),
        Value::Absent(_) | Value::Samples(_) => panic!("{value:?}"),
    };
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Observe(part, said) => {
                Some(format!("{}:{}={}", part.0, said.metric.reference, value(&said.value)))
            }
            Action::Identify(part, Identity { serial, model, .. }) => {
                let shown = |text: &Option<String>| text.clone().unwrap_or_default();
                Some(format!("{} is {} {}", part.0, shown(serial), shown(model)))
            }
            Action::Gone(part, why) => Some(format!("{} gone: {why}", part.0)),
            Action::Command(_)
            | Action::Commit
            | Action::Remember(_)
            | Action::Pin(_)
            | Action::Report(_) => None,
        })
        .collect()
}

fn faults(actions: &[Action]) -> Vec<FaultKind> {
    actions
        .iter()
        .filter_map(|action| if let Action::Report(fault) = action { Some(fault.kind) } else { None })
        .collect()
}

fn is_of_module_1(line: &str) -> bool {
    line.starts_with('1')
}

#[test]
fn a_conversation_opens_sessions_asks_who_and_holds_readings_until_that_is_confirmed() {
    let mut talk = Talk::up();
    let mut asked = Vec::new();
    let mut told = Vec::new();
    while asked.len() < 18 {
        if let Some(message) = talk.asked.clone() {
            asked.push(message);
        }
        told.extend(noted(&talk.step()));
    }
    assert_eq!(
        asked,
        [
            "0DC",
            "0LF;b",
            "0LN",
            "0LE;b",
            "0LN",
            "1DC",
            "1LF;b",
            "1LN",
            "1LE;aemdrks",
            "1LP",
            "1LN",
            "3DC",
            "3LF;b",
            "3LN",
            "3LE;aemdrks",
            "3LP",
            "3LN",
            "0LE;b"
        ]
    );
    assert_eq!(
        told[..12],
        [
            "0 is B1 10",
            "0:FRESENIUS_MODULES=0x5",
            "1 is M1 11",
            "1:FRESENIUS_ALARM_WORD=0x0",
            "1:FRESENIUS_ERROR_WORD=0x0",
            "1:MDC_PUMP_MODE=01",
            "1:MDC_FLOW_FLUID_PUMP=3.5",
            "1:MDC_VOL_FLUID_DELIV=3.000",
            "1:FRESENIUS_BOLUS_RATE_WORD=04B0",
            "1:FRESENIUS_BOLUS_VOLUME_WORD=00000000",
            "1:MDC_DRUG_NAME_TYPE=PROPOFOL 1%",
            "3 is M3 11",
        ]
    );
    assert_eq!(faults(&talk.actions), []);
    assert!(talk.wrote(ACK) >= 17, "every answer is acknowledged");
}

#[test]
fn each_variable_is_setting_measurement_or_state_as_documented() {
    let mut talk = Talk::up_with(&set(&[
        ("bolus_scale", "as-infusion"),
        ("pressure_variable", "p"),
        ("pressure_unit", "kPa"),
        ("pressure_decimals", "1"),
        ("remaining_variable", "t"),
        ("remaining_unit", "min"),
        ("syringe_variable", "y"),
    ]));
    talk.base.variables = "a0000;e00;m01;d0023;r00000BB8;k04B0;s000003E8;p01F;t000A;y07";
    talk.until("1LE;aemdrkspty");
    talk.go_on(2);
    let said: Vec<String> = talk
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Observe(Part(1), said) if said.kind != Kind::State => {
                let value = noted(std::slice::from_ref(action)).remove(0);
                Some(format!("{} {value} {}", said.kind.as_str(), said.unit.ucum))
            }
            Action::Command(_)
            | Action::Identify(..)
            | Action::Observe(..)
            | Action::Commit
            | Action::Gone(..)
            | Action::Remember(_)
            | Action::Pin(_)
            | Action::Report(_) => None,
        })
        .take(7)
        .collect();
    assert_eq!(
        said,
        [
            "setting 1:MDC_FLOW_FLUID_PUMP=3.5 mL/h",
            "measurement 1:MDC_VOL_FLUID_DELIV=3.000 mL",
            "setting 1:FRESENIUS_BOLUS_RATE=120.0 mL/h",
            "measurement 1:MDC_VOL_FLUID_BOLUS=1.000 mL",
            "measurement 1:MDC_PRESS_FLUID_ACT=3.1 kPa",
            "measurement 1:MDC_TIME_PD_REMAIN=600 s",
            "setting 1:FRESENIUS_SYRINGE_WORD=07 1",
        ]
    );
}

#[test]
fn a_life_sign_is_given_at_once_whatever_the_driver_does() {
    let mut talk = Talk::up();
    assert_eq!(talk.bytes(&[5]), [Action::Command(Write::Dc4.command().unwrap())], "while settling");
    talk.until("1LE;aemdrks");
    assert_eq!(talk.bytes(&[5]), [Action::Command(Write::Dc4.command().unwrap())], "while waiting");
    // Within a frame too, and the frame is read all the same.
    let mut frame = framed("1C;d0001");
    frame.insert(4, 5);
    let actions = talk.bytes(&frame);
    assert_eq!(actions[0], Action::Command(Write::Dc4.command().unwrap()));
    assert_eq!(talk.wrote(&[0x14]), 3);
    talk.asked = Some("1LP".to_owned());
    let told = noted(&talk.until("3DC"));
    assert!(told.contains(&"1:MDC_FLOW_FLUID_PUMP=0.1".to_owned()), "{told:?}");
}

#[test]
fn a_storm_of_life_signs_makes_everybody_say_who_they_are_again() {
    let mut talk = Talk::running();
    let mut actions = Vec::new();
    for _ in 0..20 {
        talk.now.mono = talk.now.mono + Duration::from_millis(20);
        actions.extend(talk.bytes(&[5]));
    }
    let why = "the base asks for life signs again and again: it was switched on again";
    assert_eq!(noted(&actions), [format!("1 gone: {why}"), format!("3 gone: {why}")]);
    assert_eq!(faults(&actions), [FaultKind::Unexpected], "the storm is told once");
    assert_eq!(talk.wrote(&[0x14]), 20, "and every life sign given");
    talk.asked = None;
    let told = noted(&talk.go_on(4));
    let mut expected = vec!["0 is B1 10", "1 is M1 11", "3 is M3 11"];
    expected.retain(|line| !told.contains(&(*line).to_owned()));
    assert_eq!(expected, Vec::<&str>::new(), "{told:?}");
    let first = told.iter().position(|line| line.starts_with("1:")).unwrap();
    assert!(told.iter().position(|line| line == "1 is M1 11").unwrap() < first);
}

#[test]
fn an_alarm_is_told_bit_by_bit_when_it_begins_and_when_it_ends() {
    let mut talk = Talk::running();
    let alarms = |actions: &[Action]| -> Vec<String> {
        noted(actions).into_iter().filter(|line| line.starts_with("1:MDC_EVT")).collect()
    };
    talk.base.variables = "a0024;e00;m01";
    assert_eq!(alarms(&talk.go_on(4)), ["1:MDC_EVT_ALARM=A02 start", "1:MDC_EVT_ALARM=A05 start"]);
    talk.base.variables = "a0004;e12;m01";
    assert_eq!(alarms(&talk.go_on(4)), ["1:MDC_EVT_ALARM=A05 end", "1:MDC_EVT_ALARM=E:12 start"]);
    talk.base.variables = "a0000;e00;m01";
    assert_eq!(alarms(&talk.go_on(4)), ["1:MDC_EVT_ALARM=A02 end", "1:MDC_EVT_ALARM=E:12 end"]);
    let mut whole = Talk::up_with(&set(&[("alarm", "code")]));
    whole.base.variables = "a0024";
    assert_eq!(alarms(&whole.go_on(4)), ["1:MDC_EVT_ALARM=A:24 start"]);
}

#[test]
fn a_module_that_is_taken_off_is_gone_with_an_alarm_and_ends_it_when_it_is_back() {
    let mut talk = Talk::running();
    talk.base.serials[1] = None;
    let told: Vec<String> = noted(&talk.go_on(3)).into_iter().filter(|line| is_of_module_1(line)).collect();
    // Whatever was asked of it before the base told comes first.
    let at = told.iter().position(|line| line.contains("EVT_COMM_LOST")).unwrap();
    assert_eq!(told[at], "1:MDC_EVT_COMM_LOST=MODULE_LOST start");
    assert!(told[at + 1].starts_with("1 gone: "), "{told:?}");
    assert_eq!(told.len(), at + 2, "nothing more of it");
    talk.base.serials[1] = Some("M1");
    let told: Vec<String> = noted(&talk.go_on(15)).into_iter().filter(|line| is_of_module_1(line)).collect();
    assert_eq!(told[..2], ["1 is M1 11", "1:MDC_EVT_COMM_LOST=MODULE_LOST end"]);
}

#[test]
fn what_a_module_said_is_never_told_under_the_name_of_another() {
    let mut talk = Talk::running();
    talk.until("1LE;aemdrks");
    talk.say("1C;a0001;d0FFF");
    // Exchanged, although its session is open: another host opened it.
    talk.base.serials[1] = Some("M9");
    talk.base.variables = "a0002;d0001";
    let told: Vec<String> = noted(&talk.go_on(4)).into_iter().filter(|line| is_of_module_1(line)).collect();
    assert!(!told.iter().any(|line| line.contains("=409.5") || line.contains("A00")), "{told:?}");
    assert_eq!(told[0], "1:MDC_EVT_COMM_LOST=MODULE_LOST start");
    assert_eq!(told[1], "1 gone: another one stands in its place");
    assert_eq!(told[2], "1 is M9 ");
    assert_eq!(told[3..5], ["1 is M9 11", "1:MDC_EVT_ALARM=A01 start"]);
}

#[test]
fn a_closed_session_is_opened_again_and_its_module_asked_who_it_is() {
    let mut talk = Talk::running();
    talk.until("1LE;aemdrks");
    let mut actions = talk.say("1I;1E");
    assert_eq!(faults(&actions), [FaultKind::Refused]);
    talk.base.serials[1] = Some("M7");
    actions.extend(talk.until("1DC"));
    actions.extend(talk.until("1LE;aemdrks"));
    let told: Vec<String> = noted(&actions).into_iter().filter(|line| is_of_module_1(line)).collect();
    let lost = told.iter().position(|line| line.contains("LOST start")).unwrap();
    assert_eq!(told[lost + 1..], ["1 gone: another one stands in its place", "1 is M7 ", "1 is M7 11"]);
    // The session with the base: everybody.
    talk.go_on(3);
    talk.until("3LE;aemdrks");
    let told = noted(&talk.say("3I;0D"));
    assert_eq!(
        told,
        ["1 gone: the session with the base was closed", "3 gone: the session with the base was closed"]
    );
    talk.until("0DC");
}

#[test]
fn another_base_on_the_port_takes_everything_back() {
    let mut talk = Talk::running();
    talk.base.serials = [Some("B2"), Some("N1"), None, Some("N3"), None, None];
    talk.base.variables = "a0000;d0063";
    let told = noted(&talk.go_on(5));
    let base = told.iter().position(|line| line == "0 is B2 10").unwrap();
    for line in &told[..base] {
        assert!(!line.contains("=9.9"), "{told:?}");
    }
    assert!(told[base..].contains(&"1:MDC_FLOW_FLUID_PUMP=9.9".to_owned()));
    assert!(told[base..].contains(&"1 is N1 11".to_owned()));
}

#[test]
fn a_command_that_is_not_answered_is_repeated_once_and_the_rest_goes_on() {
    let mut talk = Talk::running();
    talk.until("1LE;aemdrks");
    let asked = talk.written.len();
    let actions = talk.wait();
    assert_eq!(faults(&actions), [FaultKind::Timeout]);
    assert_eq!(talk.written[asked..], [framed("1LE;aemdrks")]);
    let actions = talk.wait();
    assert_eq!(faults(&actions), [FaultKind::Timeout]);
    talk.asked = None;
    let told = noted(&talk.go_on(4));
    assert!(told.contains(&"3:MDC_FLOW_FLUID_PUMP=3.5".to_owned()), "{told:?}");
    assert!(told.contains(&"1:MDC_FLOW_FLUID_PUMP=3.5".to_owned()), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("gone")), "{told:?}");
}

#[test]
fn a_late_answer_is_never_taken_for_a_name() {
    let mut talk = Talk::running();
    talk.until("1LE;aemdrks");
    talk.wait();
    // Both copies are answered, the second in the place of what would have come next.
    let both = [framed("1C;a0000;d0023"), framed("1C;a0000;d0023")].concat();
    let actions = talk.bytes(&both);
    assert_eq!(faults(&actions), [FaultKind::Unexpected]);
    talk.asked = None;
    let told = noted(&talk.go_on(4));
    assert!(!told.iter().any(|line| line.contains("gone") || line.contains(" is ")), "{told:?}");
    // Even where nothing was repeated: variables are no name.
    talk.until("1LN");
    let actions = talk.say("1C;a0000;d0023");
    assert!(!noted(&actions).iter().any(|line| line.contains("a0000")), "{actions:?}");
}

#[test]
fn a_module_that_answers_no_more_is_gone_after_three_rounds() {
    let mut talk = Talk::running();
    let mut told = Vec::new();
    let mut silences = 0;
    for _ in 0..600 {
        let actions = match talk.asked.clone() {
            Some(asked) if asked.starts_with('1') => {
                silences += 1;
                talk.asked = None;
                talk.wait()
            }
            _ => talk.step(),
        };
        told.extend(noted(&actions));
        if told.iter().any(|line| line.contains("gone")) {
            break;
        }
    }
    assert_eq!(silences, 6, "three rounds of two copies each");
    assert_eq!(told.last().map(String::as_str), Some("1 gone: it does not answer any more"));
    let read_meanwhile = told.iter().filter(|line| line.starts_with("3:MDC_FLOW")).count();
    assert!(read_meanwhile >= 2, "the other goes on: {told:?}");
}

#[test]
fn three_commands_without_an_answer_open_the_line_again() {
    let mut talk = Talk::running();
    let mut actions = Vec::new();
    while actions.last() != Some(&Action::Command(LinkCommand::HangUp)) {
        assert!(actions.len() < 40, "{actions:?}");
        talk.asked = None;
        actions.extend(talk.wait());
    }
    assert_eq!(talk.driver.poll_timeout(), None);
    assert_eq!(talk.bytes(&framed("1C;d1")), []);
    assert_eq!(talk.bytes(&[5]), []);
    talk.event(&LinkEvent::Up);
    talk.until("0DC");
}

#[test]
fn nak_says_why_and_not_ready_is_tried_again_in_a_moment() {
    let mut talk = Talk::running();
    talk.until("1LE;aemdrks");
    let before = talk.now.mono;
    let actions = talk.bytes(b"\x156");
    let Some(Action::Report(fault)) = actions.first() else { panic!("{actions:?}") };
    assert_eq!(fault.detail, "a frame was refused (NAK): the receiver was not ready");
    talk.asked = None;
    talk.wait();
    assert_eq!((talk.asked.as_deref(), talk.now.mono.since(before)), (Some("1LE;aemdrks"), NOT_READY));
    // Nothing is left over of a copy that was refused: the next command comes at once.
    talk.step();
    assert_eq!(talk.asked.as_deref(), Some("1LN"));
    // Nobody at the address: gone.
    let told = noted(&talk.bytes(b"\x154"));
    assert_eq!(told[1], "1 gone: the base has nobody at this place");
}

#[test]
fn a_frame_with_a_wrong_checksum_is_asked_for_again_once() {
    let mut talk = Talk::running();
    talk.until("1LE;aemdrks");
    let mut wrong = framed("1C;d0023");
    wrong[5] ^= 1;
    let actions = talk.bytes(&wrong);
    assert_eq!(faults(&actions), [FaultKind::Checksum]);
    assert_eq!(talk.wrote(&[0x15, b'2']), 1);
    talk.bytes(&wrong);
    assert_eq!(talk.wrote(&[0x15, b'2']), 1, "no storm of refusals");
    talk.bytes(&framed("1C;d0063"));
    let told = noted(&talk.until("3LE;aemdrks"));
    assert!(told.contains(&"1:MDC_FLOW_FLUID_PUMP=9.9".to_owned()), "{told:?}");
}

#[test]
fn what_is_said_unasked_is_echoed_and_held_like_the_rest() {
    let mut talk = Talk::running();
    talk.until("3LE;aemdrks");
    let actions = talk.bytes(&framed("1E;r00000FA0"));
    assert_eq!(noted(&actions), Vec::<String>::new());
    assert_eq!(talk.written[talk.written.len() - 2..], [ACK.to_vec(), framed("1E")]);
    talk.asked = Some("3LE;aemdrks".to_owned());
    let told = noted(&talk.go_on(2));
    assert!(told.contains(&"1:MDC_VOL_FLUID_DELIV=4.000".to_owned()), "{told:?}");
    // Of a module that has not said who it is nothing is believed.
    let told = noted(&talk.bytes(&framed("2E;r00000FA0")));
    assert_eq!(told, Vec::<String>::new());
}

#[test]
fn a_module_that_takes_no_lists_is_asked_singly() {
    let mut talk = Talk::up();
    talk.until("1LE;aemdrks");
    talk.say("1I;0B");
    let mut asked = Vec::new();
    while talk.asked.as_deref() != Some("1LP") {
        let message = talk.asked.clone().unwrap();
        asked.push(message.clone());
        let letter = &message[4..];
        if letter == "k" {
            talk.say("1I;0A")
        } else {
            talk.say(&format!("1C;{letter}0001"))
        };
    }
    assert_eq!(asked.len(), 7, "{asked:?}");
    let told = noted(&talk.until("3DC"));
    assert!(told.contains(&"1:MDC_FLOW_FLUID_PUMP=0.1".to_owned()), "{told:?}");
    talk.until("0LE;b");
    talk.until("1LE;a");
    let mut again = Vec::new();
    while let Some(message) = talk.asked.clone().filter(|message| message.starts_with("1LE")) {
        talk.say(&format!("1C;{}0001", &message[4..]));
        again.push(message);
    }
    assert_eq!(again.len(), 6, "what it does not know is not asked again: {again:?}");
}

/// A variable that was refused once may be that of the alarms: what is on must not stay on for ever.
#[test]
fn a_variable_that_was_refused_once_is_asked_again_later() {
    let mut talk = Talk::running();
    talk.until("1LE;aemdrks");
    talk.say("1I;0A");
    talk.until("1LE;a");
    talk.say("1I;0A");
    let seconds = talk.now.mono;
    talk.until("1LE;m");
    while !talk.asked.as_deref().is_some_and(|asked| asked.starts_with("1LE") && asked.contains('a')) {
        assert!(talk.now.mono.since(seconds) < Duration::from_secs(400), "it is never asked again");
        let asked = talk.asked.clone().filter(|asked| asked.starts_with("1LE;"));
        match asked {
            Some(asked) => talk.say(&format!("1C;{}00", &asked[4..])),
            None => talk.step(),
        };
    }
    assert!(talk.now.mono.since(seconds) > Duration::from_secs(200), "not in every round");
}

#[test]
fn a_module_without_an_identification_says_so_and_is_told_as_nobody() {
    let mut talk = Talk::up();
    talk.until("1LN");
    let told = noted(&talk.say("1I;01"));
    assert_eq!(told, ["1 is  11"], "its entry in the allowlist decides");
    let mut fixed = Talk::up_with(&set(&[("identity", "n")]));
    fixed.base.drug = "X";
    fixed.until("0LF;n");
    let told = noted(&fixed.say("0C;n00F7"));
    assert_eq!(told, ["0 is 00F7 10"]);
}

#[test]
fn a_name_that_is_refused_once_makes_nobody_a_stranger_and_confirms_nothing() {
    let mut talk = Talk::running();
    for (asked, refusal) in [("1LN", "1I;12"), ("1LN", "1C;"), ("0LN", "0I;03")] {
        talk.until("1LE;aemdrks");
        talk.say("1C;a0000;d0063");
        talk.until(asked);
        let told = noted(&talk.say(refusal));
        assert!(told.is_empty(), "{refusal}: {told:?}");
        let told = noted(&talk.go_on(4));
        assert!(!told.iter().any(|line| line.contains("gone")), "{refusal}: {told:?}");
        assert!(told.contains(&"1:MDC_FLOW_FLUID_PUMP=3.5".to_owned()), "{refusal}: {told:?}");
        assert!(!told.contains(&"1:MDC_FLOW_FLUID_PUMP=9.9".to_owned()), "{refusal}: {told:?}");
    }
    // For good: then it is nobody, and its entry in the allowlist decides.
    let mut told = Vec::new();
    while !told.contains(&"1 is  11".to_owned()) {
        assert!(told.len() < 400, "{told:?}");
        let actions = if talk.asked.as_deref() == Some("1LN") { talk.say("1I;01") } else { talk.step() };
        told.extend(noted(&actions));
    }
    let own: Vec<&String> = told.iter().filter(|line| is_of_module_1(line)).collect();
    assert_eq!(
        own,
        ["1:MDC_EVT_COMM_LOST=MODULE_LOST start", "1 gone: it does not answer any more", "1 is  11"]
    );
}

#[test]
fn what_stands_in_answers_never_reaches_a_fault() {
    const CANARY: &str = "MUSTERMANN";
    let mut talk = Talk::running();
    for asked in ["1LE;aemdrks", "1LN", "0LE;b", "1LE;aemdrks"] {
        talk.until(asked);
        talk.say(&format!("{}I;{CANARY}", &asked[..1]));
        talk.go_on(2);
        talk.until(asked);
        talk.say(&format!("{}C;{CANARY} HANS;d0001", &asked[..1]));
        talk.bytes(&framed(&format!("7{CANARY}")));
        talk.bytes(&framed(&format!("1E;{CANARY}")));
        talk.go_on(2);
    }
    let said_in_faults: Vec<&Fault> = talk
        .actions
        .iter()
        .filter_map(|action| if let Action::Report(fault) = action { Some(fault) } else { None })
        .collect();
    assert!(said_in_faults.len() > 8);
    assert!(!said_in_faults.iter().any(|fault| fault.detail.contains("MUSTER")), "{said_in_faults:?}");
}

#[test]
fn what_is_held_is_bounded() {
    let mut talk = Talk::running();
    talk.until("1LE;aemdrks");
    for _ in 0..2_000 {
        talk.bytes(&framed("1E;r00000001;d0001"));
    }
    talk.asked = Some("1LE;aemdrks".to_owned());
    let told = noted(&talk.until("3DC".replace("DC", "LE;aemdrks").as_str()));
    assert!(told.len() < 120, "{}", told.len());
}

#[test]
fn an_alarm_that_ended_while_the_line_was_down_gets_its_end() {
    let mut talk = Talk::running();
    talk.base.variables = "a0001";
    talk.go_on(3);
    talk.event(&LinkEvent::Down(LinkError::HungUp));
    talk.base.variables = "a0000";
    talk.asked = None;
    talk.event(&LinkEvent::Up);
    let told = noted(&talk.go_on(5));
    assert!(told.contains(&"1:MDC_EVT_ALARM=A00 end".to_owned()), "{told:?}");
    // Of another module it is none.
    talk.base.variables = "a0001";
    talk.go_on(3);
    talk.event(&LinkEvent::Down(LinkError::HungUp));
    talk.base.serials[1] = Some("M5");
    talk.base.variables = "a0000";
    talk.asked = None;
    talk.event(&LinkEvent::Up);
    let told = noted(&talk.go_on(5));
    assert!(!told.iter().any(|line| line.starts_with("1:MDC_EVT")), "{told:?}");
}

/// The answer to LE names the alarm before the error: the first of them must not end the other.
#[test]
fn an_error_that_goes_on_over_a_reconnect_is_not_told_anew() {
    let mut talk = Talk::running();
    talk.base.variables = "a0001;e12";
    assert!(noted(&talk.go_on(3)).contains(&"1:MDC_EVT_ALARM=E:12 start".to_owned()));
    talk.event(&LinkEvent::Down(LinkError::HungUp));
    talk.asked = None;
    talk.event(&LinkEvent::Up);
    let told = noted(&talk.go_on(5));
    assert!(told.iter().any(|line| line == "1:FRESENIUS_ERROR_WORD=0x12"), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("MDC_EVT")), "{told:?}");
}

/// A base that missed the ACK sends its answer again. It stands before the ACK of the next command, and is no
/// answer to that: a serial number is no drug, a drug no serial number.
#[test]
fn an_answer_that_is_sent_again_is_none_to_the_next_command() {
    let mut talk = Talk::running();
    talk.until("1LP");
    let variables = talk.base.answer("1LE;aemdrks");
    let again = talk.bytes(&framed(&variables));
    assert_eq!((noted(&again), faults(&again)), (vec![], vec![FaultKind::Unexpected]));
    assert_eq!(again[0], Action::Command(Write::Ack.command().unwrap()));
    talk.say("1C;PROPOFOL 1%");
    let again = talk.bytes(&framed("1C;PROPOFOL 1%"));
    assert_eq!((noted(&again), faults(&again)), (vec![], vec![FaultKind::Unexpected]));
    let told = noted(&talk.say("1C;M1"));
    assert_eq!(told.last().unwrap(), "1:MDC_DRUG_NAME_TYPE=PROPOFOL 1%");
    // Where the ACK of a command was lost its answer counts all the same.
    talk.until("1LE;aemdrks");
    assert_eq!(faults(&talk.bytes(&framed("1C;a0000;d0011"))), []);
    talk.asked = None;
    talk.until("1LN");
    talk.say("1C;M1");
    assert!(noted(&talk.actions).contains(&"1:MDC_FLOW_FLUID_PUMP=1.7".to_owned()));
}

/// A base answers for the modules that it cannot reach; where it does not, the others must not suffer.
#[test]
fn three_modules_that_say_nothing_do_not_cost_the_others() {
    let mut talk = Talk::with(&defaults());
    talk.base.serials = [Some("B1"), Some("M1"), Some("M2"), Some("M3"), Some("M4"), None];
    talk.event(&LinkEvent::Up);
    let mut actions = Vec::new();
    while talk.now.mono < Mono::default() + Duration::from_secs(60) {
        let is_silent = talk.asked.as_deref().is_some_and(|asked| ["1", "2", "3"].contains(&&asked[..1]));
        if is_silent {
            talk.asked = None;
        }
        actions.extend(talk.step());
    }
    assert!(!actions.contains(&Action::Command(LinkCommand::HangUp)));
    assert!(noted(&actions).contains(&"4:MDC_FLOW_FLUID_PUMP=3.5".to_owned()), "{:?}", noted(&actions));
}

fn capture() -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in [
        "0DC",
        "0C",
        "0LN",
        "0C;B1",
        "0LE;b",
        "0C;b01",
        "1DC",
        "1C",
        "1LF;b",
        "1C;b1D",
        "1LN",
        "1C;M1",
        "1LE;dr",
        "1C;d0023;r00000BB8",
        "1LP",
        "1C;PROPOFOL",
        "1E;a0004",
        "1E",
        "1FC",
        "1C",
    ] {
        bytes.extend(framed(message));
        bytes.extend([6, 5, 0x14]);
    }
    bytes
}

#[test]
fn a_capture_of_both_sides_is_read_and_nothing_is_asked() {
    let Decoded { observations, faults, identities } = decode_capture(&MODEL, &defaults(), &capture());
    assert_eq!(faults, []);
    let serial = |part: u8| identities[&Part(part)].serial.clone();
    assert_eq!((serial(0).as_deref(), serial(1).as_deref()), (Some("B1"), Some("M1")));
    let actions: Vec<Action> =
        observations.into_iter().map(|(part, said)| Action::Observe(part, said)).collect();
    assert_eq!(
        noted(&actions),
        [
            "0:FRESENIUS_MODULES=0x1",
            "1:MDC_FLOW_FLUID_PUMP=3.5",
            "1:MDC_VOL_FLUID_DELIV=3.000",
            "1:MDC_DRUG_NAME_TYPE=PROPOFOL",
            "1:MDC_EVT_ALARM=A02 start",
            "1:FRESENIUS_ALARM_WORD=0x4",
        ]
    );
    let mut talk = Talk::with(&defaults());
    let actions = talk.bytes(&capture());
    assert!(!actions.iter().any(|action| matches!(action, Action::Command(_))));
}

fn blow() -> impl Strategy<Value = (u8, Vec<u8>, u16)> {
    let answer = prop_oneof![
        "[0-5]C;a[0-9A-F]{1,8};d[0-9A-F]{1,20}",
        "[0-5]I;[01][0-9A-F]",
        "[0-5]C(;b[0-9A-F]{1,9})?",
        "[0-6][CIEM];[ -}]{0,40}",
    ]
    .prop_map(|message| framed(&message));
    let noise = proptest::collection::vec(any::<u8>(), 0..40);
    let bytes = prop_oneof![4 => answer, 1 => noise, 1 => Just(vec![5]), 1 => Just(vec![0x15, b'6'])];
    (0u8..40, bytes, 0u16..1_200)
}

proptest! {
    #[test]
    fn whatever_comes_a_part_speaks_between_its_identity_and_its_end_only(
        blows in proptest::collection::vec(blow(), 0..150)
    ) {
        let mut talk = Talk::up();
        let mut present = [false; 6];
        for (what, bytes, millis) in blows {
            let actions = match what {
                0 => {
                    present = [false; 6];
                    talk.event(&LinkEvent::Up)
                }
                1 => {
                    present = [false; 6];
                    talk.event(&LinkEvent::Down(LinkError::HungUp))
                }
                2..20 => talk.driver.poll_timeout().map_or(vec![], |_| talk.step()),
                _ => {
                    talk.now.mono = talk.now.mono + Duration::from_millis(u64::from(millis));
                    talk.driver.handle_timeout(talk.now);
                    talk.bytes(&bytes)
                }
            };
            for action in actions {
                match action {
                    Action::Identify(part, _) => present[usize::from(part.0)] = true,
                    Action::Observe(part, _) => prop_assert!(present[usize::from(part.0)], "{:?}", part),
                    Action::Remember(_) | Action::Pin(_) => prop_assert!(false, "it remembers nothing"),
                    Action::Gone(part, _) => {
                        prop_assert!(std::mem::take(&mut present[usize::from(part.0)]), "{:?}", part);
                    }
                    Action::Command(command) => prop_assert!(
                        command == LinkCommand::HangUp || MODEL.requests.frame(command).is_some()
                    ),
                    Action::Commit | Action::Report(_) => {}
                }
            }
        }
    }

    #[test]
    fn any_cut_of_a_capture_reads_the_same(cut in 1usize..120) {
        let capture = capture();
        let whole = decode_capture(&MODEL, &defaults(), &capture).observations;
        let mut driver = (MODEL.driver)(&defaults());
        let mut said = Vec::new();
        for piece in capture.chunks(cut) {
            driver.handle_event(&LinkEvent::Bytes(Bytes::copy_from_slice(piece)), Now::default());
            while let Some(action) = driver.poll_action() {
                if let Action::Observe(part, observation) = action {
                    said.push((part, observation));
                }
            }
        }
        prop_assert_eq!(said, whole);
    }
}
