//! Conversations with the driver: what it asks, what it believes, what it tells.

use super::*;
use crate::device::Part;
use crate::device::observation::{Absent, Kind, Phase as AlarmPhase, Value};
use crate::device::serial::{Decoded, decode_capture};
use crate::device::settings::Settings;
use bytes::Bytes;
use proptest::prelude::*;

const SERIAL: &str = "!INST_SERIALNO^8002-51733|ACFF\r";
const PROTOCOL: &str = "!COMMS_PROTOCOL^Asena Rev 2.1.5|661A\r";
const RESPONSE_MAX: &str = "!COMMS_RESPONSE_MAX^4000^ms|DFDF\r";
const NO_ALARM: &str = "!ALARM^AL_NOALM^ ^ |C73B\r";
const STATUS: &str = "!INF^8002-51733^A^HLD^0.00^ml/h^^0.969^ml^530.15^mmHg^00:04:09^EVENT^214725|DB9D\r";
const VTBI: &str = "!INF_VTBI^ACTIV^11.000^ml^STOP|4433\r";
const SYRINGE: &str = "!SYRINGE_STATUS^BD PLASTIPAK^ 50^CONF|1CF8\r";

/// A driver with its clock, which jumps from one thing to the next.
struct Talk {
    driver: Box<dyn Driver>,
    now: Now,
    asked: Option<Query>,
}

impl Talk {
    fn new() -> Self {
        Self { driver: (MODEL.driver)(&Settings::default()), now: Now::default(), asked: None }
    }

    fn up() -> Self {
        let mut talk = Self::new();
        assert_eq!(talk.event(&LinkEvent::Up), []);
        talk
    }

    /// A conversation whose first round is over.
    fn running() -> Self {
        let mut talk = Self::up();
        for query in Query::ALL {
            talk.until(query);
        }
        talk
    }

    /// Answers as the pump does until a certain query is outstanding.
    fn until(&mut self, query: Query) {
        while self.asked != Some(query) {
            match self.asked {
                Some(other) => drop(self.say(usual(other))),
                None => drop(self.wait()),
            }
        }
    }

    fn event(&mut self, event: &LinkEvent) -> Vec<Action> {
        self.driver.handle_event(event, self.now);
        self.drain()
    }

    fn say(&mut self, text: &str) -> Vec<Action> {
        self.event(&LinkEvent::Bytes(Bytes::copy_from_slice(text.as_bytes())))
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
        self.asked = actions.iter().rev().find_map(|action| match action {
            Action::Command(LinkCommand::Send(id)) => Some(Query::ALL[usize::from(id.0)]),
            Action::Command(_)
            | Action::Identify(..)
            | Action::Observe(..)
            | Action::Commit
            | Action::Gone(..)
            | Action::Remember(_)
            | Action::Pin(_)
            | Action::Report(_) => None,
        });
        actions
    }
}

/// What the pump usually answers.
fn usual(query: Query) -> &'static str {
    match query {
        Query::Serial => SERIAL,
        Query::Protocol => PROTOCOL,
        Query::ResponseMax => RESPONSE_MAX,
        Query::Alarm => NO_ALARM,
        Query::Status => STATUS,
        Query::Vtbi => VTBI,
        Query::Syringe => SYRINGE,
    }
}

fn send(query: Query) -> Action {
    Action::Command(LinkCommand::Send(query.id()))
}

fn identity(serial: &str, firmware: Option<&str>) -> Action {
    Action::identify(Identity {
        serial: Some(serial.to_owned()),
        firmware: firmware.map(str::to_owned),
        ..Identity::default()
    })
}

fn framed(message: &str) -> String {
    let crc = message.bytes().fold(0xFFFF_u16, |mut crc, byte| {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc >= 0x8000 { (crc << 1) ^ 0x1021 } else { crc << 1 };
        }
        crc
    });
    format!("!{message}|{crc:04X}\r")
}

fn observations(actions: &[Action]) -> Vec<&Observation> {
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

fn faults(actions: &[Action]) -> Vec<FaultKind> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Report(fault) => Some(fault.kind),
            Action::Command(_)
            | Action::Identify(..)
            | Action::Observe(..)
            | Action::Commit
            | Action::Gone(..)
            | Action::Remember(_)
            | Action::Pin(_) => None,
        })
        .collect()
}

/// As a person would note them: reference id, value, unit.
fn noted(actions: &[Action]) -> Vec<String> {
    observations(actions)
        .iter()
        .map(|said| {
            let value = match &said.value {
                Value::Decimal(value) => value.to_string(),
                Value::Text(words) => format!("{words:?}"),
                Value::Absent(why) => why.code().to_owned(),
                Value::Bits(bits) => format!("{bits:#x}"),
                Value::Alarm(alarm) => format!("{} {}", alarm.code, alarm.phase.as_str()),
                Value::Samples(samples) => format!("{samples:?}"),
            };
            format!("{}={value}{}", said.metric.reference, said.unit.ucum.trim_start_matches('1'))
        })
        .collect()
}

#[test]
fn each_query_stands_at_the_place_of_its_request() {
    for (place, query) in Query::ALL.into_iter().enumerate() {
        assert_eq!(usize::from(query.place()), place);
        let request = MODEL.requests.get(query.id()).unwrap();
        assert_eq!(request.bytes, framed(query.keyword()).as_bytes());
    }
    assert_eq!(MODEL.requests.requests().len(), Query::ALL.len());
}

#[test]
fn no_request_is_a_write_of_the_protocol() {
    const WRITES: [&str; 7] =
        ["INF_START", "INF_STOP", "INF_BOLUS", "INF_VI_CLEAR", "REMOTE_CTRL", "REMOTE_CFG", "REMQUERY"];
    for request in MODEL.requests.requests() {
        assert!(!request.bytes.contains(&b'^'), "{} carries an argument", request.name);
        assert!(!WRITES.iter().any(|write| request.name.starts_with(write)), "{}", request.name);
        assert_eq!(framed(request.name).as_bytes(), request.bytes, "{}: its CRC is wrong", request.name);
        assert_eq!(request.bytes.split(|&byte| byte == b'!').count(), 2, "one frame, not two");
    }
}

#[test]
fn a_conversation_begins_with_who_and_goes_on_with_alarm_status_and_settings() {
    let mut talk = Talk::up();
    assert_eq!(talk.wait(), [send(Query::Serial)]);
    assert_eq!(talk.say(SERIAL), [send(Query::Protocol)]);
    let who = identity("8002-51733", Some("Asena Rev 2.1.5"));
    assert_eq!(talk.say(PROTOCOL), [who, send(Query::ResponseMax)]);
    assert_eq!(talk.say(RESPONSE_MAX), [send(Query::Alarm)]);
    assert_eq!(talk.say(NO_ALARM), [send(Query::Status)]);
    let status = talk.say(STATUS);
    assert_eq!(
        noted(&status),
        [
            "MDC_PUMP_MODE=\"HLD\"",
            "MDC_FLOW_FLUID_PUMP=0.00mL/h",
            "MDC_DRUG_NAME_TYPE=unknown",
            "MDC_VOL_FLUID_DELIV=0.969mL",
            "MDC_PRESS_FLUID_ACT=530.15mm[Hg]",
            "MDC_TIME_PD_REMAIN=249s",
        ]
    );
    // The status says that there is an alarm, the last answer to ALARM said none: asked at once.
    assert_eq!(status.last(), Some(&send(Query::Alarm)));
    assert_eq!(talk.say(NO_ALARM), [send(Query::Vtbi)]);
    // What has no serial number in it waits for a status that has.
    assert_eq!(talk.say(VTBI), [send(Query::Status)]);
    let confirmed = talk.say(STATUS);
    assert_eq!(noted(&confirmed)[..2], ["MDC_VOL_FLUID_TBI=11.000mL", "ALARIS_VTBI_ACTION=\"STOP\""]);
    talk.until(Query::Syringe);
    assert_eq!(talk.say(SYRINGE), [send(Query::Status)]);
    let confirmed = noted(&talk.say(STATUS));
    assert_eq!(confirmed[..2], ["ALARIS_SYRINGE_TYPE=\"BD PLASTIPAK\"", "MDC_VOL_SYRINGE=50mL"]);
}

#[test]
fn every_reading_is_setting_measurement_or_state_as_documented() {
    let mut talk = Talk::up();
    talk.wait();
    talk.until(Query::Status);
    let status = talk.say(STATUS);
    let kinds: Vec<Kind> = observations(&status).iter().map(|said| said.kind).collect();
    let (state, measured) = (Kind::State, Kind::Measurement);
    assert_eq!(kinds, [state, Kind::Setting, state, measured, measured, measured]);
}

#[test]
fn an_alarm_is_told_when_it_begins_and_when_it_ends_and_not_between() {
    let mut talk = Talk::running();
    let occlusion = framed("ALARM^AL_OCCLU^ ^ ");
    talk.until(Query::Alarm);
    assert_eq!(talk.say(&occlusion), [send(Query::Status)]);
    assert_eq!(noted(&talk.say(STATUS))[0], "MDC_EVT_OCCL=AL_OCCLU start");
    for _ in 0..3 {
        talk.until(Query::Alarm);
        assert_eq!(noted(&talk.say(&occlusion)), Vec::<String>::new());
    }
    talk.until(Query::Alarm);
    assert_eq!(talk.say(NO_ALARM), [send(Query::Status)]);
    assert_eq!(noted(&talk.say(STATUS))[0], "MDC_EVT_OCCL=AL_OCCLU end");
}

#[test]
fn an_alarm_of_a_pump_that_took_the_place_of_another_is_not_told_as_the_first_ones() {
    let mut talk = Talk::running();
    talk.until(Query::Alarm);
    assert_eq!(talk.say(&framed("ALARM^AL_OCCLU^ ^ ")), [send(Query::Status)]);
    let other = framed("INF^8002-51740^A^HLD^0.00^ml/h^^0.1^ml^1^mmHg^24+^EVENT^1");
    assert_eq!(noted(&talk.say(&other)), Vec::<String>::new());
    talk.say(OTHER_SERIAL);
    talk.say(PROTOCOL);
    talk.until(Query::Alarm);
    talk.say(&framed("ALARM^AL_OCCLU^ ^ "));
    assert_eq!(talk.asked, Some(Query::Status));
    assert_eq!(noted(&talk.say(&other))[0], "MDC_EVT_OCCL=AL_OCCLU start", "told as the second one's");
}

#[test]
fn a_setting_whose_owner_is_not_confirmed_is_never_told() {
    let mut talk = Talk::running();
    talk.until(Query::Vtbi);
    assert_eq!(talk.say(VTBI), [send(Query::Status)]);
    let other = framed("INF^8002-51740^-^HLD^0.00^ml/h^^0.1^ml^1^mmHg^24+^EVENT^1");
    assert_eq!(noted(&talk.say(&other)), Vec::<String>::new());
    talk.say(OTHER_SERIAL);
    talk.until(Query::Status);
    assert!(!noted(&talk.say(&other)).iter().any(|note| note.starts_with("MDC_VOL_FLUID_TBI")));
}

#[test]
fn an_alarm_whose_status_is_lost_is_told_after_the_pump_has_said_again_who_it_is() {
    let mut talk = Talk::running();
    talk.until(Query::Alarm);
    assert_eq!(talk.say(&framed("ALARM^AL_OCCLU^ ^ ")), [send(Query::Status)]);
    talk.wait();
    talk.wait();
    assert_eq!(talk.asked, Some(Query::Serial));
    assert!(noted(&talk.say(SERIAL)).contains(&"MDC_EVT_OCCL=AL_OCCLU start".to_owned()));
}

#[test]
fn the_alarm_is_asked_for_twice_a_second() {
    let mut talk = Talk::running();
    let mut last = talk.now.mono;
    for _ in 0..40 {
        talk.until(Query::Alarm);
        assert!(talk.now.mono.since(last) <= Duration::from_millis(500));
        last = talk.now.mono;
        talk.say(NO_ALARM);
    }
}

#[test]
fn an_alarm_that_ended_while_the_line_was_down_gets_its_end_from_the_same_pump_only() {
    for (serial, is_told) in [(SERIAL, true), (OTHER_SERIAL, false)] {
        let mut talk = Talk::running();
        talk.until(Query::Alarm);
        talk.say(&framed("ALARM^AL_OCCLU^ ^ "));
        talk.say(STATUS);
        talk.event(&LinkEvent::Down(crate::link::LinkError::HungUp));
        talk.event(&LinkEvent::Up);
        talk.wait();
        for reply in [serial, PROTOCOL, RESPONSE_MAX] {
            talk.say(reply);
        }
        talk.say(NO_ALARM);
        let status = if is_told {
            STATUS.to_owned()
        } else {
            framed("INF^8002-51740^-^INF^9.00^ml/h^^0.1^ml^1^mmHg^24+")
        };
        let end = "MDC_EVT_OCCL=AL_OCCLU end".to_owned();
        assert_eq!(noted(&talk.say(&status)).contains(&end), is_told);
    }
}

const OTHER_SERIAL: &str = "!INST_SERIALNO^8002-51740|050B\r";

#[test]
fn a_status_of_another_pump_gives_its_identity_and_no_observation() {
    let mut talk = Talk::running();
    talk.until(Query::Status);
    let other = framed("INF^8002-51740^-^INF^9.00^ml/h^^0.1^ml^1^mmHg^24+^EVENT^1");
    let actions = talk.say(&other);
    assert_eq!(observations(&actions), Vec::<&Observation>::new());
    assert!(actions.contains(&identity("8002-51740", None)), "{actions:?}");
    assert_eq!(faults(&actions), [FaultKind::Unexpected]);
    // And it must say so itself before anything else is asked.
    assert_eq!(talk.asked, Some(Query::Serial));
    assert_eq!(talk.say(OTHER_SERIAL), [send(Query::Protocol)]);
    assert_eq!(talk.say(PROTOCOL)[0], identity("8002-51740", Some("Asena Rev 2.1.5")));
}

#[test]
fn the_identity_is_read_again_within_the_hour() {
    let mut talk = Talk::running();
    let began = talk.now.mono;
    talk.until(Query::Serial);
    assert!(talk.now.mono.since(began) <= Duration::from_secs(3_600));
    let swapped = talk.say(OTHER_SERIAL);
    assert_eq!(swapped[0], identity("8002-51740", None));
}

#[test]
fn what_comes_right_after_the_line_came_up_is_thrown_away() {
    let mut talk = Talk::up();
    assert_eq!(talk.say(STATUS), []);
    assert_eq!(talk.say("!INST_SERI"), []);
    let actions = talk.wait();
    assert_eq!(faults(&actions), [FaultKind::Unexpected]);
    assert_eq!(actions.last(), Some(&send(Query::Serial)));
    assert_eq!(talk.say(SERIAL), [send(Query::Protocol)]);
}

#[test]
fn an_answer_to_something_else_is_refused() {
    let mut talk = Talk::running();
    talk.until(Query::Alarm);
    let actions = talk.say(STATUS);
    assert_eq!((observations(&actions).len(), faults(&actions)), (0, vec![FaultKind::Unexpected]));
    // The answer that was asked for still counts.
    assert_eq!(faults(&talk.say(NO_ALARM)), []);
    let unasked = talk.say(VTBI);
    assert_eq!((observations(&unasked).len(), faults(&unasked)), (0, vec![FaultKind::Unexpected]));
}

#[test]
fn an_echo_of_the_query_is_no_answer() {
    let mut talk = Talk::running();
    talk.until(Query::Alarm);
    assert_eq!(faults(&talk.say("!ALARM|50B2\r")), [FaultKind::Unexpected]);
    assert_eq!(faults(&talk.say(NO_ALARM)), []);
}

#[test]
fn a_query_without_an_answer_is_repeated_once_and_then_the_pump_is_asked_who_it_is() {
    let mut talk = Talk::running();
    talk.until(Query::Alarm);
    let began = talk.now.mono;
    let again = talk.wait();
    assert_eq!((faults(&again), talk.asked), (vec![FaultKind::Timeout], Some(Query::Alarm)));
    assert_eq!(talk.now.mono.since(began), PATIENCE);
    let given_up = talk.wait();
    assert_eq!(faults(&given_up), [FaultKind::Timeout]);
    assert_eq!(given_up.last(), Some(&send(Query::Serial)));
    assert_eq!(talk.say(SERIAL), [send(Query::Protocol)]);
    assert_eq!(talk.say(PROTOCOL), [send(Query::Status)]);
}

#[test]
fn several_queries_without_an_answer_hang_up_until_the_next_up() {
    let mut talk = Talk::running();
    talk.until(Query::Alarm);
    let mut actions = Vec::new();
    for _ in 0..6 {
        actions.extend(talk.wait());
    }
    assert_eq!(actions.last(), Some(&Action::Command(LinkCommand::HangUp)));
    assert_eq!(faults(&actions), [FaultKind::Timeout; 7]);
    assert_eq!(talk.driver.poll_timeout(), None);
    assert_eq!(talk.say(STATUS), []);
    talk.event(&LinkEvent::Up);
    assert_eq!(talk.wait(), [send(Query::Serial)]);
}

#[test]
fn a_pump_that_does_not_know_an_optional_query_is_read_all_the_same() {
    let mut talk = Talk::up();
    talk.wait();
    assert_eq!(talk.say(SERIAL), [send(Query::Protocol)]);
    talk.wait();
    assert_eq!(talk.asked, Some(Query::Protocol));
    let given_up = talk.wait();
    assert!(given_up.contains(&identity("8002-51733", None)), "{given_up:?}");
    assert_eq!(given_up.last(), Some(&send(Query::ResponseMax)));
    talk.wait();
    assert_eq!(talk.wait().last(), Some(&send(Query::Alarm)));
}

#[test]
fn a_slow_pump_is_given_more_time() {
    let mut talk = Talk::running();
    talk.until(Query::Alarm);
    talk.wait();
    assert_eq!(talk.asked, Some(Query::Alarm));
    assert_eq!(talk.say(NO_ALARM), []);
    let late = talk.say(NO_ALARM);
    assert_eq!(faults(&late), [FaultKind::Unexpected]);
    talk.until(Query::Alarm);
    let began = talk.now.mono;
    talk.wait();
    assert_eq!(talk.now.mono.since(began), PATIENCE * 2);
    // And the usual time again once it has been quick for a while.
    for _ in 0..=QUICK_ENOUGH {
        talk.until(Query::Status);
        talk.until(Query::Alarm);
    }
    let began = talk.now.mono;
    talk.wait();
    assert_eq!(talk.now.mono.since(began), PATIENCE);
}

#[test]
fn an_unreadable_field_costs_only_itself() {
    let status = "INF^8002-51733^-^NEW^1.0^gal/h^PROPOFOL 1%^0.969^ml^5O0^mmHg^99:99:99^EVENT^1";
    let Decoded { observations, faults, identities } =
        decode_capture(&MODEL, &Settings::default(), framed(status).as_bytes());
    let identity = identities.get(&Part::WHOLE).cloned();
    let actions: Vec<Action> = observations.into_iter().map(|(_, said)| Action::observe(said)).collect();
    assert_eq!(
        noted(&actions),
        ["MDC_PUMP_MODE=\"NEW\"", "MDC_DRUG_NAME_TYPE=\"PROPOFOL 1%\"", "MDC_VOL_FLUID_DELIV=0.969mL"]
    );
    assert_eq!(faults.len(), 3);
    assert_eq!(identity.unwrap().serial.as_deref(), Some("8002-51733"));
}

#[test]
fn no_limit_and_more_than_a_day_are_said_in_words() {
    let replies = [
        framed("INF_VTBI^DEACT^^^"),
        framed("INF^8002-51733^-^INF^1.00^ml/h^^0.1^ml^5.0^mmHg^24+^EVENT^1"),
        framed("INF^8002-51733^-^INF^1.00^ml/h^^0.1^ml^5.0^mmHg^^EVENT^1"),
    ]
    .concat();
    let Decoded { observations: said, faults, .. } =
        decode_capture(&MODEL, &Settings::default(), replies.as_bytes());
    let of = |metric: &mdc::Metric| -> Vec<&Value> {
        said.iter()
            .map(|(_, said)| said)
            .filter(|said| said.metric == metric)
            .map(|said| &said.value)
            .collect()
    };
    assert_eq!(of(&mdc::VOL_FLUID_TBI), [&Value::Text("off".to_owned())]);
    let day = Value::Text("24+".to_owned());
    assert_eq!(of(&mdc::TIME_PD_REMAIN), [&day, &Value::Absent(Absent::Unknown)]);
    assert_eq!(faults, []);
}

#[test]
fn a_listener_asks_for_nothing() {
    let mut talk = Talk::new();
    let actions = talk.say(&[SERIAL, "!INF|4961\r", STATUS, NO_ALARM].concat());
    assert!(actions.iter().all(|action| !matches!(action, Action::Command(_))));
    assert_eq!(observations(&actions).len(), 6);
    assert_eq!(faults(&actions), []);
    assert_eq!(talk.driver.poll_timeout(), None);
}

#[test]
fn noise_is_counted_and_summed_up() {
    let mut talk = Talk::new();
    let actions = talk.say(&"!x\r".repeat(10_000));
    assert!(actions.len() < 100, "{}", actions.len());
    let Some(Action::Report(last)) = actions.last() else { panic!("{actions:?}") };
    assert_eq!(last.detail, "9936 more");
}

/// What a stranger may do to the driver.
#[derive(Clone, Debug)]
enum Blow {
    Bytes(Vec<u8>),
    Pass(u16),
    Up,
    Down,
}

fn blow() -> impl Strategy<Value = Blow> {
    let replies = prop_oneof![
        Just(SERIAL.to_owned()),
        Just(OTHER_SERIAL.to_owned()),
        Just(PROTOCOL.to_owned()),
        Just(NO_ALARM.to_owned()),
        Just(STATUS.to_owned()),
        Just(VTBI.to_owned()),
        "[A-Z_]{1,8}(\\^[ -~]{0,6}){0,15}".prop_map(|message| framed(&message)),
        "INF\\^[ -~]{0,60}".prop_map(|message| framed(&message)),
    ];
    prop_oneof![
        6 => replies.prop_map(|reply| Blow::Bytes(reply.into_bytes())),
        2 => proptest::collection::vec(any::<u8>(), 0..60).prop_map(Blow::Bytes),
        6 => any::<u16>().prop_map(Blow::Pass),
        1 => Just(Blow::Up),
        1 => Just(Blow::Down),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_observations_follow_an_identity_and_only_queries_are_sent(
        blows in proptest::collection::vec(blow(), 0..120)
    ) {
        let mut talk = Talk::new();
        let mut identified = false;
        let mut connected = false;
        let mut outstanding = 0;
        for blow in blows {
            let actions = match blow {
                Blow::Bytes(bytes) => talk.event(&LinkEvent::Bytes(bytes.into())),
                Blow::Pass(millis) => {
                    talk.now.mono = talk.now.mono + Duration::from_millis(u64::from(millis));
                    talk.driver.handle_timeout(talk.now);
                    outstanding = 0;
                    talk.drain()
                }
                Blow::Up => {
                    (identified, connected, outstanding) = (false, true, 0);
                    talk.event(&LinkEvent::Up)
                }
                Blow::Down => talk.event(&LinkEvent::Down(crate::link::LinkError::HungUp)),
            };
            for action in actions {
                match action {
                    Action::Identify(_, identity) => identified = identity.serial.is_some(),
                    Action::Observe(..) => prop_assert!(identified || !connected),
                    Action::Command(LinkCommand::Send(id)) => {
                        prop_assert!(connected && MODEL.requests.get(id).is_some());
                        outstanding += 1;
                        prop_assert!(outstanding <= 1 || talk.driver.poll_timeout().is_some());
                    }
                    Action::Command(LinkCommand::HangUp) | Action::Report(_) => {}
                    Action::Commit | Action::Gone(..) | Action::Remember(_) | Action::Pin(_) => prop_assert!(false, "it has no parts"),
                    Action::Command(other) => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }

    #[test]
    fn any_cut_of_a_capture_reads_the_same(cut in 1usize..200) {
        let capture = [SERIAL, PROTOCOL, NO_ALARM, STATUS, VTBI, SYRINGE].concat();
        let Decoded { observations: whole, faults: none, .. } =
            decode_capture(&MODEL, &Settings::default(), capture.as_bytes());
        prop_assert!(none.is_empty());
        let mut driver = (MODEL.driver)(&Settings::default());
        let mut said = Vec::new();
        for piece in capture.as_bytes().chunks(cut) {
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

#[test]
fn an_alarm_flood_is_told_edge_by_edge() {
    let mut talk = Talk::new();
    talk.say(SERIAL);
    let flood: String = (0..50)
        .map(|n| framed(if n % 2 == 0 { "ALARM^AL_OCCLU^ ^ " } else { "ALARM^AL_LWBAT^ ^ " }))
        .collect();
    let actions = talk.say(&flood);
    let starts = observations(&actions)
        .iter()
        .filter(|said| matches!(&said.value, Value::Alarm(alarm) if alarm.phase == AlarmPhase::Start))
        .count();
    assert_eq!((starts, observations(&actions).len()), (50, 99));
}

/// Alarms told within `turns` answers of a pump that occludes and gives `status` for a status.
fn alarms_told(status: Option<&str>, turns: u32) -> usize {
    let occlusion = framed("ALARM^AL_OCCLU^ ^ ");
    let mut talk = Talk::up();
    let mut told = 0;
    for _ in 0..turns {
        let actions = match (talk.asked, status) {
            (Some(Query::Status), Some(status)) => talk.say(status),
            (Some(Query::Status), None) | (None, _) => talk.wait(),
            (Some(Query::Alarm), _) => talk.say(&occlusion),
            (Some(other), _) => talk.say(usual(other)),
        };
        told += actions
            .iter()
            .filter(
                |action| matches!(action, Action::Observe(_, observation) if observation.kind == Kind::Alarm),
            )
            .count();
    }
    told
}

#[test]
fn an_alarm_is_told_although_the_status_is_short() {
    let short = framed("INF^8002-51733^A^HLD^0.00^ml/h^^0.969^ml^530.15^mmHg");
    assert_eq!(alarms_told(Some(&short), 50), 1);
}

#[test]
fn an_alarm_is_told_although_the_status_is_never_answered() {
    assert_eq!(alarms_told(None, 50), 1);
}

#[test]
fn what_is_held_is_bounded() {
    // A status that names nobody confirms nothing, so everything else is held.
    let nobody = framed("INF^");
    let mut talk = Talk::up();
    for _ in 0..20_000 {
        let _ = match talk.asked {
            Some(Query::Status) => talk.say(&nobody),
            Some(other) => talk.say(usual(other)),
            None => talk.wait(),
        };
    }
    talk.until(Query::Status);
    let told = talk.say(STATUS).iter().filter(|action| matches!(action, Action::Observe(..))).count();
    assert!(told <= HELD_MAX + 10, "{told} observations at once");
}
