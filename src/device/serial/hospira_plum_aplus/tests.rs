//! Conversations with the driver: what it asks, what it believes, what it tells.

use super::*;
use crate::device::Part;
use crate::device::observation::{Kind, Value};
use crate::device::serial::{Decoded, decode_capture};
use crate::device::settings::Values;
use crate::link::LinkError;
use bytes::Bytes;
use proptest::prelude::*;

/// A line of a pump, with a CRC reckoned another way than the driver's: most significant bit first over
/// mirrored bytes.
fn lined(message: &str) -> Vec<u8> {
    let mut crc = 0u16;
    for byte in message.bytes() {
        crc ^= u16::from(byte.reverse_bits()) << 8;
        for _ in 0..8 {
            crc = if crc >= 0x8000 { (crc << 1) ^ 0x1021 } else { crc << 1 };
        }
    }
    format!("{message}{:04X}\r", crc.reverse_bits()).into_bytes()
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
    /// What each number says of itself, its numbers and its alarm; `None` where nobody is.
    pumps: [Option<(&'static str, &'static str, &'static str)>; 3],
    asked: Option<&'static str>,
}

const USUAL: Option<(&str, &str, &str)> = Some(("x", "125;500;12.5;DOPAMINE", "OK;PUMPING A"));

impl Talk {
    fn with(settings: &Settings) -> Self {
        let driver = (MODEL.driver)(settings);
        Self { driver, now: Now::default(), pumps: [USUAL, USUAL, None], asked: None }
    }

    fn up_with(settings: &Settings) -> Self {
        let mut talk = Self::with(settings);
        talk.event(&LinkEvent::Up);
        talk
    }

    fn up() -> Self {
        Self::up_with(&defaults())
    }

    fn event(&mut self, event: &LinkEvent) -> Vec<Action> {
        self.driver.handle_event(event, self.now);
        self.drain()
    }

    fn bytes(&mut self, bytes: &[u8]) -> Vec<Action> {
        self.event(&LinkEvent::Bytes(Bytes::copy_from_slice(bytes)))
    }

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
                let bytes = MODEL.requests.get(*id).unwrap().bytes;
                self.asked = std::str::from_utf8(bytes).ok();
            }
        }
        actions
    }

    /// Answers as the chain does, or lets the time pass.
    fn step(&mut self) -> Vec<Action> {
        let Some(asked) = self.asked.take() else { return self.wait() };
        let number = usize::from(asked.as_bytes()[2] - b'0');
        if number == 0 {
            return self.bytes(b"F0STA\r");
        }
        match (self.pumps[number - 1], asked.contains("IALR")) {
            (None, _) => self.wait(),
            (Some((id, numbers, _)), false) => self.bytes(&lined(&format!("F{number};{id};{numbers};"))),
            (Some((id, _, alarm)), true) => self.bytes(&lined(&format!("F{number};{id};{alarm};"))),
        }
    }

    fn go_on(&mut self, seconds: u64) -> Vec<Action> {
        let end = self.now.mono + Duration::from_secs(seconds);
        let mut actions = Vec::new();
        while self.now.mono < end {
            actions.extend(self.step());
        }
        actions
    }

    fn until(&mut self, request: &str) -> Vec<Action> {
        let mut actions = Vec::new();
        for _ in 0..200 {
            if self.asked.is_some_and(|asked| asked.starts_with(request)) {
                return actions;
            }
            actions.extend(self.step());
        }
        panic!("{request} was never asked");
    }
}

fn noted(actions: &[Action]) -> Vec<String> {
    let value = |value: &Value| match value {
        Value::Decimal(value) => value.to_string(),
        Value::Text(words) => words.clone(),
        Value::Bits(bits) => bits.to_string(),
        Value::Alarm(alarm) => format!("{} {}", alarm.code, alarm.phase.as_str()),
        Value::Absent(why) => why.code().to_owned(),
        Value::Samples(_) => panic!("{value:?}"),
    };
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Observe(part, said) => {
                Some(format!("{}:{}={}", part.0, said.metric.reference, value(&said.value)))
            }
            Action::Identify(part, who) => {
                Some(format!("{} is {}", part.0, who.serial.as_deref().unwrap_or("nobody")))
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

#[test]
fn every_request_is_an_inquiry_with_its_crc_and_short_enough() {
    for (place, request) in REQUESTS.iter().enumerate() {
        assert!(request.fill.is_none(), "nothing is filled in");
        let text = std::str::from_utf8(request.bytes).unwrap();
        let message = &text[..text.len() - 5];
        assert_eq!(lined(message), request.bytes, "{}", request.name);
        assert!(message.len() <= 22, "{message}");
        let (to, items) = message.split_once(';').unwrap();
        assert!(to.starts_with("T@") && items.starts_with('I'), "{message}: `I` is an inquiry");
        let asks = [
            Ask::Probe,
            Ask::Numbers(0),
            Ask::Alarm(0),
            Ask::Numbers(1),
            Ask::Alarm(1),
            Ask::Numbers(2),
            Ask::Alarm(2),
        ];
        assert_eq!(usize::from(asks[place].id().0), place);
    }
    let items: std::collections::BTreeSet<&str> = REQUESTS
        .iter()
        .flat_map(|request| std::str::from_utf8(request.bytes).unwrap().split(';').skip(1))
        .filter(|item| !item.ends_with('\r'))
        .collect();
    assert_eq!(items.into_iter().collect::<Vec<_>>(), ["DN1", "IALR", "IDV1", "ISTA", "STA", "TV1", "VT1"]);
}

#[test]
fn a_conversation_probes_and_then_asks_each_pump_for_numbers_and_alarm_in_turn() {
    let mut talk = Talk::up();
    let (mut asked, mut told) = (Vec::new(), Vec::new());
    while asked.len() < 11 {
        if let Some(request) = talk.asked {
            asked.push(&request[..request.len() - 5]);
        }
        told.extend(noted(&talk.step()));
    }
    let (numbers, alarm) = ("IDV1;VT1;TV1;DN1;", "IALR;STA;");
    let turn = |number: u8, what: &str| format!("T@{number};{what}");
    let expected = [
        "T@0;ISTA;".to_owned(),
        turn(1, numbers),
        turn(1, alarm),
        turn(2, numbers),
        turn(2, alarm),
        // Nobody: asked once, and not again for a while.
        turn(3, numbers),
        turn(1, numbers),
        turn(1, alarm),
        turn(2, numbers),
        turn(2, alarm),
        turn(1, numbers),
    ];
    assert_eq!(asked, expected);
    assert_eq!(
        told[..10],
        [
            "0 is nobody",
            "1 is nobody",
            "1:HOSPIRA_SOUNDING=0",
            "1:MDC_FLOW_FLUID_PUMP=125",
            "1:MDC_VOL_FLUID_TBI=500",
            "1:MDC_VOL_FLUID_DELIV=12.5",
            "1:MDC_DRUG_NAME_TYPE=DOPAMINE",
            "1:HOSPIRA_SOUNDING=0",
            "1:MDC_PUMP_STAT=PUMPING A",
            "2 is nobody",
        ]
    );
}

#[test]
fn questions_keep_their_distance_and_a_reply_has_more_than_two_seconds() {
    let mut talk = Talk::up();
    talk.until("T@1;IDV1");
    let asked = talk.now.mono;
    talk.step();
    talk.wait();
    assert_eq!(talk.now.mono.since(asked), Duration::from_secs(1));
    let asked = talk.now.mono;
    assert_eq!(faults(&talk.wait()), [FaultKind::Timeout]);
    assert_eq!(talk.now.mono.since(asked), Duration::from_secs(3));
}

#[test]
fn which_volume_is_which_is_a_setting() {
    for (word, vt1, tv1) in [
        ("vt1-is-vtbi", "MDC_VOL_FLUID_TBI", "MDC_VOL_FLUID_DELIV"),
        ("tv1-is-vtbi", "MDC_VOL_FLUID_DELIV", "MDC_VOL_FLUID_TBI"),
        ("as-sent", "HOSPIRA_VT1", "HOSPIRA_TV1"),
    ] {
        let mut talk = Talk::up_with(&set(&[("volumes", word)]));
        let actions = talk.go_on(3);
        let told = noted(&actions);
        assert!(
            told.contains(&format!("1:{vt1}=500")) && told.contains(&format!("1:{tv1}=12.5")),
            "{told:?}"
        );
        for action in &actions {
            if let Action::Observe(_, said) = action
                && said.metric.reference == "MDC_VOL_FLUID_TBI"
            {
                assert_eq!(said.kind, Kind::Setting);
            }
        }
    }
}

#[test]
fn a_pump_that_sounds_says_so_and_its_alarm_begins_and_ends_once() {
    let mut talk = Talk::up();
    talk.go_on(5);
    talk.pumps[0] = Some(("x", "R125;500;12.5;DOPAMINE", "ROD1;STOPPED"));
    let told = noted(&talk.go_on(12));
    let edges: Vec<&String> = told.iter().filter(|line| line.contains("EVT")).collect();
    assert_eq!(edges, ["1:MDC_EVT_OCCL=OD1 start"]);
    assert!(told.contains(&"1:HOSPIRA_SOUNDING=1".to_owned()));
    assert!(told.contains(&"1:MDC_FLOW_FLUID_PUMP=125".to_owned()), "the letter is no part of the rate");
    talk.pumps[0] = USUAL;
    let told = noted(&talk.go_on(12));
    let edges: Vec<&String> = told.iter().filter(|line| line.contains("EVT")).collect();
    assert_eq!(edges, ["1:MDC_EVT_OCCL=OD1 end"]);
}

#[test]
fn a_pump_that_misses_twelve_questions_is_gone_with_an_alarm_and_ends_it_when_it_is_back() {
    let mut talk = Talk::up();
    talk.go_on(5);
    talk.pumps[1] = None;
    let mut actions = Vec::new();
    while !noted(&actions).iter().any(|line| line.contains("gone")) {
        assert!(actions.len() < 1_000, "it is never gone");
        actions.extend(talk.step());
    }
    let misses = faults(&actions).iter().filter(|kind| **kind == FaultKind::Timeout).count();
    assert_eq!(misses, 12);
    let told = noted(&actions);
    assert_eq!(
        told[told.len() - 2..],
        ["2:MDC_EVT_COMM_LOST=PUMP_LOST start", "2 gone: it does not answer any more"]
    );
    assert!(told.iter().filter(|line| line.starts_with("1:MDC_FLOW")).count() >= 5, "the other goes on");
    talk.pumps[1] = USUAL;
    let told: Vec<String> = noted(&talk.go_on(20)).into_iter().filter(|line| line.starts_with('2')).collect();
    assert_eq!(told[..2], ["2 is nobody", "2:MDC_EVT_COMM_LOST=PUMP_LOST end"]);
}

#[test]
fn a_chain_that_says_nothing_has_its_line_opened_again() {
    let mut talk = Talk::up();
    talk.go_on(5);
    talk.pumps = [None; 3];
    let mut actions = Vec::new();
    while actions.last() != Some(&Action::Command(LinkCommand::HangUp)) {
        assert!(actions.len() < 100, "{actions:?}");
        talk.asked = None;
        actions.extend(talk.wait());
    }
    assert_eq!(talk.driver.poll_timeout(), None);
    assert_eq!(talk.bytes(&lined("F1;x;OK;x;")), []);
}

#[test]
fn a_reply_counts_for_its_own_question_only() {
    let mut talk = Talk::up();
    talk.until("T@1;IDV1");
    // Of another pump, and late: the alarm where the numbers were asked.
    assert_eq!(faults(&talk.bytes(&lined("F2;x;999;1;1;D;"))), [FaultKind::Unexpected]);
    assert_eq!(faults(&talk.bytes(&lined("F1;x;ROD1;STOPPED;"))), [FaultKind::Unexpected]);
    assert_eq!(noted(&talk.bytes(&lined("F1;x;10;1;1;D;"))).len(), 7);
    assert_eq!(faults(&talk.bytes(&lined("F1;x;10;1;1;D;"))), [FaultKind::Unexpected], "nothing is asked");
}

#[test]
fn where_the_first_field_is_the_pumps_own_id_another_pump_is_seen_at_once() {
    let mut talk = Talk::up_with(&set(&[("field1", "serial")]));
    talk.pumps = [Some(("A17", "125;500;12.5;D", "OD1;S")), None, None];
    let told = noted(&talk.go_on(6));
    assert_eq!(told[1], "1 is A17");
    assert!(told.contains(&"1:MDC_EVT_OCCL=OD1 start".to_owned()));
    talk.pumps[0] = Some(("B18", "7;500;12.5;D", "OK;S"));
    let told = noted(&talk.go_on(25));
    let at = told.iter().position(|line| line == "1 is B18").unwrap();
    assert_eq!(
        told[at - 2..at],
        ["1:MDC_EVT_COMM_LOST=PUMP_LOST start", "1 gone: another one has its number"]
    );
    assert!(!told[..at].iter().any(|line| line.ends_with("PUMP=7")));
    assert!(!told[at..].iter().any(|line| line.contains("OD1 end")), "it was the other's: {told:?}");
}

#[test]
fn a_reply_whose_crc_is_wrong_is_refused_unless_the_setting_says_otherwise() {
    let mut wrong = lined("F1;x;10;1;1;D;");
    let at = wrong.len() - 2;
    wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
    let mut talk = Talk::up();
    talk.until("T@1;IDV1");
    let actions = talk.bytes(&wrong);
    assert_eq!((faults(&actions), noted(&actions).len()), (vec![FaultKind::Checksum], 0));
    let mut talk = Talk::up_with(&set(&[("reply_crc", "ignore")]));
    talk.until("T@1;IDV1");
    let actions = talk.bytes(&wrong);
    assert_eq!((faults(&actions), noted(&actions).len()), (vec![], 7));
}

#[test]
fn a_bad_field_costs_only_itself_and_never_reaches_a_fault() {
    const CANARY: &str = "MUSTERMANN";
    let mut talk = Talk::up();
    talk.until("T@1;IDV1");
    let actions = talk.bytes(&lined(&format!("F1;{CANARY};12x;{CANARY};---;D;")));
    assert_eq!(faults(&actions), [FaultKind::Malformed; 2]);
    assert_eq!(
        noted(&actions)[2..],
        ["1:HOSPIRA_SOUNDING=0", "1:MDC_VOL_FLUID_DELIV=unknown", "1:MDC_DRUG_NAME_TYPE=D"]
    );
    let mut all = actions;
    for odd in [
        format!("F1;{CANARY};{CANARY};x;y;z;q;r;"),
        format!("F1;{CANARY};;{CANARY};"),
        format!("F9;{CANARY};;{CANARY};"),
    ] {
        all.extend(talk.until("T@1;I"));
        all.extend(talk.bytes(&lined(&odd)));
        all.extend(talk.bytes(format!("{CANARY}\r").as_bytes()));
    }
    for action in &all {
        match action {
            Action::Report(fault) => assert!(!fault.detail.contains("MUSTER"), "{fault:?}"),
            Action::Identify(_, who) => assert_eq!(*who, Identity::default()),
            Action::Command(_)
            | Action::Observe(..)
            | Action::Commit
            | Action::Gone(..)
            | Action::Remember(_)
            | Action::Pin(_) => {}
        }
    }
    assert!(faults(&all).len() > 5);
}

#[test]
fn an_alarm_that_ended_while_the_line_was_down_gets_its_end() {
    let mut talk = Talk::up();
    talk.pumps[0] = Some(("x", "0;500;12.5;D", "AD1;S"));
    assert!(noted(&talk.go_on(5)).contains(&"1:MDC_EVT_FLUID_LINE_AIR=AD1 start".to_owned()));
    talk.event(&LinkEvent::Down(LinkError::HungUp));
    talk.pumps[0] = USUAL;
    talk.asked = None;
    talk.event(&LinkEvent::Up);
    assert!(noted(&talk.go_on(5)).contains(&"1:MDC_EVT_FLUID_LINE_AIR=AD1 end".to_owned()));
}

/// Its entry is watched for silence like any other.
#[test]
fn the_chain_itself_says_which_of_its_pumps_answer() {
    let mut talk = Talk::up();
    let chain = |actions: &[Action]| -> Vec<String> {
        noted(actions).into_iter().filter(|line| line.starts_with("0:")).collect()
    };
    let told = chain(&talk.go_on(60));
    assert!(told.len() >= 10, "{told:?}");
    assert_eq!(told.last().unwrap(), "0:HOSPIRA_PUMPS=3");
    talk.pumps[0] = None;
    let told = chain(&talk.go_on(120));
    assert_eq!(told.last().unwrap(), "0:HOSPIRA_PUMPS=2");
}

/// Numbers that nobody has are asked again and again: that is no reason to doubt the line.
#[test]
fn a_single_pump_is_never_hung_up_on_however_few_misses_are_allowed() {
    let mut talk = Talk::with(&set(&[("missed", "2")]));
    talk.pumps = [USUAL, None, None];
    talk.event(&LinkEvent::Up);
    let actions = talk.go_on(120);
    assert!(!actions.contains(&Action::Command(LinkCommand::HangUp)));
    assert!(noted(&actions).iter().filter(|line| line.starts_with("1:MDC_FLOW")).count() > 20);
}

#[test]
fn where_the_first_field_is_the_pumps_own_id_a_reply_without_it_is_nobodys() {
    let mut talk = Talk::up_with(&set(&[("field1", "serial")]));
    talk.pumps = [Some(("A17", "125;500;12.5;D", "OD1;S")), None, None];
    talk.go_on(6);
    talk.pumps[0] = Some(("", "7;500;12.5;D", "OK;S"));
    let actions = talk.go_on(6);
    assert!(noted(&actions).iter().all(|line| line.starts_with("0:")), "{:?}", noted(&actions));
    assert!(faults(&actions).contains(&FaultKind::Malformed));
    talk.pumps[0] = Some(("A17", "125;500;12.5;D", "OD1;S"));
    let told = noted(&talk.go_on(20));
    assert!(!told.iter().any(|line| line.contains("EVT") || line.contains(" is ")), "{told:?}");
}

/// As slow as the settings allow, with three pumps, nobody may be called silent.
#[test]
fn no_setting_makes_a_healthy_pump_quiet_for_too_long() {
    for words in [[("pace_ms", "10000"), ("patience_ms", "10000")], [("pace_ms", "300"), ("missed", "60")]] {
        let mut talk = Talk::with(&set(&words));
        talk.pumps = [USUAL; 3];
        talk.event(&LinkEvent::Up);
        let mut last = [talk.now.mono; 4];
        while talk.now.mono < Mono::default() + Duration::from_secs(600) {
            for action in talk.step() {
                if let Action::Observe(Part(part), _) = action {
                    let gap =
                        talk.now.mono.since(std::mem::replace(&mut last[usize::from(part)], talk.now.mono));
                    // One reply may be lost besides.
                    assert!(gap + Duration::from_secs(10) < MODEL.quiet, "{part}: {gap:?}");
                }
            }
        }
    }
}

fn capture() -> Vec<u8> {
    let mut bytes = b"T@0;ISTA;2FAD\r".to_vec();
    bytes.extend(b"T@1;IDV1;VT1;TV1;DN1;85E7\r");
    for message in
        ["F1;x;R125;500;12.5;DOPAMINE;", "F1;x;ROD1;STOPPED;", "F2;x;10;20;30;;", "F2;x;OK;PUMPING;y;"]
    {
        bytes.extend(lined(message));
        bytes.push(b'\n');
    }
    bytes
}

#[test]
fn a_capture_of_both_sides_is_read_and_nothing_is_asked() {
    let Decoded { observations, faults, identities } = decode_capture(&MODEL, &defaults(), &capture());
    assert_eq!(faults, []);
    assert_eq!(identities.keys().copied().collect::<Vec<_>>(), [Part(0), Part(1), Part(2)]);
    let actions: Vec<Action> =
        observations.into_iter().map(|(part, said)| Action::Observe(part, said)).collect();
    let told = noted(&actions);
    assert!(told.contains(&"1:MDC_EVT_OCCL=OD1 start".to_owned()));
    assert!(told.contains(&"2:MDC_DRUG_NAME_TYPE=unknown".to_owned()));
    let mut talk = Talk::with(&defaults());
    let actions = talk.bytes(&capture());
    assert!(!actions.iter().any(|action| matches!(action, Action::Command(_))));
    assert_eq!(talk.driver.poll_timeout(), None);
}

fn blow() -> impl Strategy<Value = (u8, Vec<u8>, u16)> {
    let reply = prop_oneof![
        "F[0-4];[a-z]{0,3};[rR]?[0-9]{1,4};[0-9.]{0,5};[0-9]{1,4};[A-Z ]{0,12};",
        "F[1-3];[a-z]{0,3};[rR]?[A-Z]{0,3};[A-Z ]{0,9};",
        "[ -}]{0,60};",
    ]
    .prop_map(|message| lined(&message));
    let noise = proptest::collection::vec(any::<u8>(), 0..60);
    (0u8..30, prop_oneof![4 => reply, 1 => noise], 0u16..4_000)
}

proptest! {
    #[test]
    fn whatever_comes_a_pump_speaks_between_its_identity_and_its_end_only(
        blows in proptest::collection::vec(blow(), 0..150), is_serial in any::<bool>()
    ) {
        let word = if is_serial { "serial" } else { "ignore" };
        let mut talk = Talk::up_with(&set(&[("field1", word), ("missed", "3")]));
        let mut present = [false; 4];
        for (what, bytes, millis) in blows {
            let actions = match what {
                0 => {
                    present = [false; 4];
                    talk.event(&LinkEvent::Up)
                }
                1 => {
                    present = [false; 4];
                    talk.event(&LinkEvent::Down(LinkError::HungUp))
                }
                2..16 => talk.driver.poll_timeout().map_or(vec![], |_| talk.step()),
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
