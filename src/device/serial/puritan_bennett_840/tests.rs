//! What the driver makes of reports, good and bad.

use std::fmt::Write as _;

use super::*;
use crate::device::observation::{Absent, Kind, Observation, Phase as AlarmPhase, Priority, Value};
use crate::device::serial::{Decoded, decode_capture};
use bytes::Bytes;
use proptest::prelude::*;

/// A driver with its clock.
struct Talk {
    driver: Box<dyn Driver>,
    now: Now,
}

/// Field widths of MISCF by number; 6 where nothing else is said.
const FULL: (usize, usize, &[(usize, usize)]) =
    (5, 173, &[(6, 18), (7, 12), (8, 9), (50, 9), (53, 18), (55, 9), (66, 9)]);
const SHORT: (usize, usize, &[(usize, usize)]) = (5, 101, &[(6, 18), (8, 12), (62, 12), (100, 9)]);

fn report(keyword: &str, given: &[(usize, &str)]) -> String {
    let (first, last, wide) = if keyword == "MISCF" { FULL } else { SHORT };
    let usual: &[(usize, &str)] = if keyword == "MISCF" {
        &[(5, "14:51"), (6, "840 3510012345"), (7, "NOV 22 2016"), (9, "A/C"), (60, "50.0"), (70, "14.0")]
    } else {
        &[(5, "14:51"), (6, "840 3510012345"), (8, "NOV 22 2016"), (9, "CMV"), (34, "14.0")]
    };
    let mut body = String::new();
    for number in first..=last {
        let width = wide.iter().find(|(at, _)| *at == number).map_or(6, |(_, width)| *width);
        let value = given.iter().chain(usual).find(|(at, _)| *at == number).map_or("", |(_, value)| *value);
        write!(body, "{value:<width$},").unwrap();
    }
    format!("{keyword},{},{} ,\x02{body}\x03\r", body.len(), last - first + 1)
}

impl Talk {
    fn new(settings: &Settings) -> Self {
        Self { driver: (MODEL.driver)(settings), now: Now::default() }
    }

    fn up() -> Self {
        Self::up_with(&Settings::defaults(MODEL.settings))
    }

    /// Connected, settled, the first request sent.
    fn up_with(settings: &Settings) -> Self {
        let mut talk = Self::new(settings);
        assert_eq!(talk.event(&LinkEvent::Up), []);
        assert_eq!(talk.say("torn,NORMAL,\x03\r"), []);
        let expected = if settings.word("ask") == "SNDA" { "SNDA" } else { "SNDF" };
        assert_eq!(sent(&talk.pass(SETTLE)), [expected]);
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

    /// An answer, then the next request.
    fn turn(&mut self, text: &str) -> Vec<Action> {
        let actions = self.say(text);
        assert_eq!(sent(&self.pass(Duration::from_secs(2))).len(), 1);
        actions
    }
}

fn sent(actions: &[Action]) -> Vec<&'static str> {
    let name = |action: &Action| match action {
        Action::Command(LinkCommand::Send(id)) => Some(MODEL.requests.get(*id).unwrap().name),
        Action::Command(_)
        | Action::Observe(..)
        | Action::Identify(..)
        | Action::Commit
        | Action::Gone(..)
        | Action::Remember(_)
        | Action::Pin(_)
        | Action::Report(_) => None,
    };
    actions.iter().filter_map(name).collect()
}

fn observed(actions: &[Action]) -> Vec<&Observation> {
    actions
        .iter()
        .filter_map(|action| if let Action::Observe(_, said) = action { Some(said) } else { None })
        .collect()
}

fn faults(actions: &[Action]) -> Vec<FaultKind> {
    let kind = |action: &Action| if let Action::Report(fault) = action { Some(fault.kind) } else { None };
    actions.iter().filter_map(kind).collect()
}

fn alarms(actions: &[Action]) -> Vec<(String, AlarmPhase, Priority, bool)> {
    let alarm = |said: &&Observation| match &said.value {
        Value::Alarm(alarm) => Some((alarm.code.clone(), alarm.phase, alarm.priority, alarm.is_silenced)),
        Value::Decimal(_) | Value::Absent(_) | Value::Text(_) | Value::Bits(_) | Value::Samples(_) => None,
    };
    observed(actions).iter().filter_map(alarm).collect()
}

#[test]
fn the_counts_are_those_of_published_reports() {
    assert!(report("MISCF", &[]).starts_with("MISCF,1225,169 ,\x02"));
    assert!(report("MISCA", &[]).starts_with("MISCA,706,97 ,\x02"));
}

#[test]
fn the_number_comes_before_the_values_and_only_once() {
    let mut talk = Talk::up();
    let actions = talk.turn(&report("MISCF", &[(71, "0.378"), (73, "24.0"), (87, "5.8"), (18, "5.0")]));
    let Action::Identify(_, who) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!((who.model.as_deref(), who.serial.as_deref()), (Some("840"), Some("3510012345")));
    let value = |reference: &str| {
        let said = observed(&actions).into_iter().find(|said| said.metric.reference == reference).unwrap();
        assert_eq!(said.device_time.unwrap().to_string(), "2016-11-22T14:51:00");
        (said.value.clone(), said.unit.ucum, said.kind)
    };
    let decimal = |text: &str| Value::Decimal(text.parse().unwrap());
    assert_eq!(value("MDC_VOL_AWAY_TIDAL"), (decimal("0.378"), "L", Kind::Measurement));
    assert_eq!(value("MDC_PRESS_AWAY_INSP_PEAK"), (decimal("24.0"), "cm[H2O]", Kind::Measurement));
    assert_eq!(value("PURITAN_BENNETT_SET_PEEP"), (decimal("5.0"), "cm[H2O]", Kind::Setting));
    assert_eq!(value("MDC_CONC_AWAY_O2_INSP"), (Value::Absent(Absent::Unknown), "%", Kind::Measurement));
    let again = talk.turn(&report("MISCF", &[]));
    assert_eq!(observed(&again).len(), again.len());
}

#[test]
fn the_weight_and_the_circuit_of_the_patient_are_in_nothing() {
    let canary = [(60, "98.765"), (66, "NEONATAL"), (70, "98.x65")];
    let mut talk = Talk::up();
    let told = format!("{:?}", talk.turn(&report("MISCF", &canary)));
    assert!(!told.contains("98") && !told.contains("NEONATAL"), "{told}");
    let torn = report("MISCF", &canary).replace("98.765,", "98.765");
    let told = format!("{:?}", talk.turn(&torn));
    assert!(told.contains("Malformed") && !told.contains("98."), "{told}");
}

#[test]
fn without_a_byte_it_asks_again_and_without_a_report_it_opens_the_line_again() {
    let mut talk = Talk::up();
    let first = talk.pass(PATIENCE);
    assert_eq!((sent(&first), faults(&first)), (vec!["SNDF"], vec![FaultKind::Timeout]));
    for _ in 0..3 {
        assert_eq!(sent(&talk.pass(PATIENCE)), ["SNDF"]);
    }
    let last = talk.pass(PATIENCE);
    assert_eq!(last.last(), Some(&Action::Command(LinkCommand::HangUp)));
    assert_eq!(talk.driver.poll_timeout(), None);
    assert_eq!(talk.say(&report("MISCF", &[])), []);
}

#[test]
fn noise_without_an_end_does_not_keep_a_dead_line_open() {
    let mut talk = Talk::up();
    let mut has_hung_up = false;
    for _ in 0..12 {
        talk.say(&"\u{1}".repeat(700));
        has_hung_up |= talk.pass(Duration::from_secs(1)).contains(&Action::Command(LinkCommand::HangUp));
    }
    assert!(has_hung_up);
}

#[test]
fn a_report_on_its_way_is_waited_for() {
    let mut talk = Talk::up();
    let text = report("MISCF", &[]);
    assert_eq!(talk.pass(Duration::from_millis(1_900)), []);
    assert_eq!(talk.say(&text[..600]), []);
    assert_eq!(talk.pass(Duration::from_millis(1_900)), []);
    assert!(!observed(&talk.say(&text[600..])).is_empty());
}

#[test]
fn an_unknown_command_is_told_with_the_way_out_and_the_other_report_is_asked() {
    let mut talk = Talk::up();
    for next in ["SNDF", "SNDA"] {
        let refused = talk.say("UNKNOWN CMD\r");
        assert_eq!(faults(&refused), [FaultKind::Refused]);
        assert_eq!(sent(&talk.pass(Duration::from_secs(2))), [next]);
    }
    let actions = talk.turn(&report("MISCA", &[(35, "0.38")]));
    assert!(observed(&actions).iter().any(|said| said.metric == &mdc::VOL_AWAY_TIDAL));
    let Action::Report(fault) = &talk.say("UNKNOWN CMD\r")[0] else { panic!() };
    assert!(fault.detail.contains("choose DCI"), "{fault}");
    let mut settings = Settings::defaults(MODEL.settings);
    settings.set_word(&MODEL.settings[0], "SNDF").unwrap();
    let mut talk = Talk::up_with(&settings);
    talk.say("UNKNOWN CMD\r");
    assert_eq!(sent(&talk.pass(Duration::from_secs(2))), ["SNDF"]);
}

#[test]
fn a_request_that_the_line_spoiled_costs_no_alarm() {
    let mut talk = Talk::up();
    let on = report("MISCF", &[(115, "LOW"), (124, "HIGH")]);
    assert_eq!(alarms(&talk.turn(&on)).len(), 2);
    for _ in 0..3 {
        talk.say("UNKNOWN CMD\r");
        assert_eq!(sent(&talk.pass(Duration::from_secs(2))), ["SNDF"], "the short report lacks most alarms");
    }
    assert_eq!(alarms(&talk.turn(&on)), []);
}

#[test]
fn another_number_right_after_a_reconnect_counts_when_two_reports_have_it() {
    let mut talk = Talk::up();
    let on = report("MISCF", &[(110, "HIGH")]);
    talk.turn(&on);
    talk.event(&LinkEvent::Down(crate::link::LinkError::HungUp));
    talk.event(&LinkEvent::Up);
    talk.pass(SETTLE);
    // One digit that the line turned into another.
    let once = talk.turn(&report("MISCF", &[(6, "840 3510012845"), (110, "HIGH")]));
    assert_eq!((observed(&once).len(), faults(&once)), (0, vec![FaultKind::Unexpected]));
    let back = talk.turn(&on);
    assert!(matches!(&back[0], Action::Identify(_, who) if who.serial.as_deref() == Some("3510012345")));
    assert_eq!(alarms(&back), [], "it has been on all the time");
}

#[test]
fn what_was_not_asked_for_is_not_believed() {
    let mut talk = Talk::up();
    assert_eq!(faults(&talk.say(&report("MISCA", &[]))), [FaultKind::Unexpected]);
    assert!(!observed(&talk.say(&report("MISCF", &[]))).is_empty());
    assert_eq!(faults(&talk.say(&report("MISCF", &[]))), [FaultKind::Unexpected]);
    assert_eq!(faults(&talk.say("SNDF\r")), [FaultKind::Unexpected]);
}

#[test]
fn another_number_counts_when_two_reports_have_it() {
    let mut talk = Talk::up();
    talk.turn(&report("MISCF", &[(110, "HIGH")]));
    let other = report("MISCF", &[(6, "840 3510099999")]);
    let once = talk.turn(&other);
    assert_eq!((observed(&once).len(), faults(&once)), (0, vec![FaultKind::Unexpected]));
    let back = talk.turn(&report("MISCF", &[(110, "HIGH")]));
    assert_eq!(observed(&back).len(), back.len());
    talk.turn(&other);
    let twice = talk.turn(&other);
    assert!(matches!(&twice[0], Action::Identify(_, who) if who.serial.as_deref() == Some("3510099999")));
    assert_eq!(alarms(&twice), [], "the alarm was another ventilator's");
}

#[test]
fn alarms_are_told_at_their_edges() {
    let mut talk = Talk::up();
    let on = |key: &str, phase, priority, silenced| (key.to_owned(), phase, priority, silenced);
    let began = talk.turn(&report("MISCF", &[(110, "HIGH"), (115, "LOW"), (117, "RESET")]));
    assert_eq!(
        alarms(&began),
        [
            on("BATTERY_LOW", AlarmPhase::Start, Priority::Low, false),
            on("HIGH_PRESS", AlarmPhase::Start, Priority::High, false)
        ]
    );
    assert_eq!(alarms(&talk.turn(&report("MISCF", &[(110, "HIGH"), (115, "LOW")]))), []);
    let odd = talk.turn(&report("MISCF", &[(110, "HIHG"), (115, "NORMAL")]));
    assert_eq!(alarms(&odd), [on("BATTERY_LOW", AlarmPhase::End, Priority::Low, false)]);
    assert_eq!(faults(&odd), [FaultKind::Malformed]);
    let silenced = talk.turn(&report("MISCF", &[(105, "ON"), (110, "HIGH")]));
    assert_eq!(alarms(&silenced), [on("HIGH_PRESS", AlarmPhase::Update, Priority::High, true)]);
    talk.event(&LinkEvent::Down(crate::link::LinkError::HungUp));
    talk.event(&LinkEvent::Up);
    talk.pass(SETTLE);
    let ended = talk.turn(&report("MISCF", &[]));
    assert_eq!(alarms(&ended), [on("HIGH_PRESS", AlarmPhase::End, Priority::High, true)]);
}

#[test]
fn the_short_report_tells_alarms_without_an_urgency() {
    let mut settings = Settings::defaults(MODEL.settings);
    settings.set_word(&MODEL.settings[0], "SNDA").unwrap();
    let mut talk = Talk::up_with(&settings);
    let began = talk.turn(&report("MISCA", &[(48, "ALARM"), (57, "NORMAL"), (94, "ALARM")]));
    let keys: Vec<_> = alarms(&began).into_iter().map(|(key, _, priority, _)| (key, priority)).collect();
    assert_eq!(
        keys,
        [("APNEA".to_owned(), Priority::Unstated), ("HIGH_PRESS".to_owned(), Priority::Unstated)]
    );
}

#[test]
fn the_fields_that_drifted_are_read_by_the_model() {
    let keys = |talk: &mut Talk, id: &str| -> Vec<String> {
        let text = report("MISCF", &[(6, id), (153, "HIGH"), (160, "LOW")]);
        alarms(&talk.turn(&text)).into_iter().map(|(key, ..)| key).collect()
    };
    assert_eq!(keys(&mut Talk::up(), "840 3510012345"), ["MALFUNCTION_A85"]);
    assert_eq!(keys(&mut Talk::up(), "980 35B1500404"), ["HIGH_ETCO2", "PROX_INOP"]);
    let mut settings = Settings::defaults(MODEL.settings);
    settings.set_word(&MODEL.settings[1], "840").unwrap();
    assert_eq!(keys(&mut Talk::up_with(&settings), "980 35B1500404"), ["MALFUNCTION_A85"]);
}

#[test]
fn a_report_of_another_layout_is_told_with_the_way_out() {
    let mut talk = Talk::up();
    // 1229 bytes: the layout that the ventilator has for a Philips monitor.
    let text = report("MISCF", &[]).replace("MISCF,1225,", "MISCF,1229,").replace(",\x03", ",    \x03");
    let actions = talk.say(&text);
    assert_eq!(observed(&actions).len(), 0);
    let wide = report("MISCF", &[]).replacen("840 3510012345    ,", "840 3510012345  ,", 1);
    let wide = wide.replacen("A/C   ,", "A/C     ,", 1);
    let Some(Action::Report(fault)) = talk.say(&wide).into_iter().next() else { panic!() };
    assert!(fault.detail.contains("choose DCI"), "{fault}");
}

#[test]
fn both_sides_of_a_capture_are_read() {
    let capture = format!("RSET\rSNDF\r{}SNDA\r{}", report("MISCF", &[]), report("MISCA", &[]));
    let Decoded { observations, faults, .. } =
        decode_capture(&MODEL, &Settings::defaults(MODEL.settings), capture.as_bytes());
    assert_eq!(faults, []);
    assert_eq!(observations.iter().filter(|(_, said)| said.metric == &mdc::RESP_RATE).count(), 2);
}

proptest! {
    #[test]
    fn a_report_with_bytes_missing_gives_nothing(at in 16usize..1_240, count in 1usize..6) {
        // From STX on; of the head the blank behind the second count can go without harm.
        let whole = report("MISCF", &[(71, "0.378"), (110, "HIGH")]);
        let mut torn = whole.clone();
        torn.replace_range(at..(at + count).min(whole.len() - 1), "");
        let actions = Talk::up().say(&torn);
        prop_assert_eq!(observed(&actions).len(), 0);
        prop_assert!(!actions.iter().any(|action| matches!(action, Action::Identify(..))));
    }

    #[test]
    fn noise_before_a_report_costs_only_itself(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = noise;
        bytes.push(b'\r');
        bytes.extend(report("MISCF", &[]).into_bytes());
        let mut talk = Talk::up();
        let actions = talk.event(&LinkEvent::Bytes(bytes.into()));
        prop_assert!(!observed(&actions).is_empty());
    }

    #[test]
    fn any_cut_of_a_capture_reads_the_same(cut in 1usize..400) {
        let capture = [report("MISCF", &[(110, "HIGH")]), "x\r".to_owned(), report("MISCA", &[])].concat();
        let settings = Settings::defaults(MODEL.settings);
        let whole = decode_capture(&MODEL, &settings, capture.as_bytes()).observations;
        let mut talk = Talk::new(&settings);
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
    fn whatever_comes_nothing_panics_and_only_requests_are_sent(
        blows in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..80), 0u64..5_000, 0u8..8), 0..80)
    ) {
        let mut talk = Talk::up();
        let mut identified = false;
        for (bytes, millis, what) in blows {
            let mut actions = match what {
                0 => { identified = false; talk.event(&LinkEvent::Up) }
                1 => talk.say(&report("MISCF", &[(6, "840 1")])),
                2 => talk.say(&report("MISCA", &[(6, "")])),
                3 => talk.say("UNKNOWN CMD\r"),
                _ => talk.event(&LinkEvent::Bytes(bytes.into())),
            };
            actions.extend(talk.pass(Duration::from_millis(millis)));
            for action in actions {
                match action {
                    Action::Identify(..) => identified = true,
                    Action::Observe(..) => prop_assert!(identified),
                    Action::Command(LinkCommand::Send(id)) => prop_assert!(MODEL.requests.get(id).is_some()),
                    Action::Command(other) => prop_assert_eq!(other, LinkCommand::HangUp),
                    Action::Report(_) => {}
                    Action::Commit | Action::Gone(..) | Action::Remember(_) | Action::Pin(_) => prop_assert!(false, "it has no parts"),
                }
            }
        }
    }
}
