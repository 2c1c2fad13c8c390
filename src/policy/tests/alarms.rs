//! Which alarms are on, for whoever must not disturb a bed with one.

use super::*;

fn alarm(code: &str, phase: Phase, is_of_the_past: bool) -> ReportBody {
    let ReportBody::Observation(ticket, mut observation) = occlusion(&EVT_OCCL) else { panic!("an alarm") };
    let Value::Alarm(raised) = &mut observation.value else { panic!("an alarm") };
    (raised.code, raised.phase) = (code.to_owned(), phase);
    observation.record = is_of_the_past.then_some(3);
    ReportBody::Observation(ticket, observation)
}

/// A pump that has proved who it is and whose link is up.
fn gate(elements: Vec<&'static Metric>) -> Gatekeeper {
    let quiet = Some(Duration::from_secs(10));
    let rule = DeviceRule {
        card: card("pump"),
        expects: identity("800-1"),
        trust: Trust::ReportedIdentity,
        elements,
        behind: None,
        quiet,
    };
    let mut gate = Gatekeeper::new(vec![rule]);
    gate.handle_report(report(PUMP, ReportBody::Up));
    gate.handle_report(report(PUMP, ReportBody::Identity(identity("800-1"))));
    gate
}

fn is_in_alarm(gate: &Gatekeeper) -> bool {
    gate.of(PUMP).unwrap().1.is_in_alarm()
}

#[test]
fn an_alarm_is_on_from_its_start_to_its_end() {
    let mut gate = gate(vec![&EVT_OCCL]);
    assert!(!is_in_alarm(&gate));
    gate.handle_report(report(PUMP, alarm("A", Phase::Start, false)));
    gate.handle_report(report(PUMP, alarm("B", Phase::Update, false)));
    gate.handle_report(report(PUMP, alarm("A", Phase::End, false)));
    assert!(is_in_alarm(&gate), "the other one is on");
    gate.handle_report(report(PUMP, alarm("B", Phase::End, false)));
    assert!(!is_in_alarm(&gate));
}

#[test]
fn one_that_is_not_passed_on_is_on_all_the_same_and_one_of_the_past_is_not() {
    let mut gate = gate(vec![&FLOW_FLUID_PUMP]);
    gate.handle_report(report(PUMP, alarm("A", Phase::Start, true)));
    assert!(!is_in_alarm(&gate));
    let verdict = gate.handle_report(report(PUMP, alarm("A", Phase::Start, false)));
    assert!(matches!(verdict, Verdict::Refuse(Refusal::Element { .. })) && is_in_alarm(&gate));
}

#[test]
fn of_another_device_in_its_place_nothing_is_taken() {
    let mut gate = gate(vec![&EVT_OCCL]);
    gate.handle_report(report(PUMP, ReportBody::Identity(identity("800-2"))));
    gate.handle_report(report(PUMP, alarm("A", Phase::Start, false)));
    assert!(!is_in_alarm(&gate));
}

#[test]
fn a_device_that_is_away_says_nothing_of_its_alarms_until_it_is_back() {
    let mut gate = gate(vec![&EVT_OCCL]);
    gate.handle_report(report(PUMP, alarm("A", Phase::Start, false)));
    gate.handle_report(report(PUMP, ReportBody::Down("unplugged".to_owned())));
    assert!(!is_in_alarm(&gate));
    gate.handle_report(report(PUMP, ReportBody::Up));
    assert!(is_in_alarm(&gate));
}
