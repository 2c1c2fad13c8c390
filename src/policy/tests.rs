mod alarms;
mod events;
mod holds;

use proptest::prelude::*;

use super::*;
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{
    EVT_ALARM, EVT_OCCL, FLOW_FLUID_PUMP, HEART_RATE, MILLILITRE_PER_HOUR, PERCENT, SPO2,
};
use crate::device::observation::{Alarm, Kind, Phase, Priority, Status};
use crate::device::{Fault, FaultKind, Ticket};
use crate::time::{Mono, Wall};

const PUMP: DeviceIndex = DeviceIndex(0);
const BELT: DeviceIndex = DeviceIndex(1);

fn card(id: &str) -> DeviceCard {
    DeviceCard {
        id: id.into(),
        model: "alaris-asena".into(),
        pseudonym: String::new(),
        location: None,
        security: "serial",
    }
}

fn identity(serial: &str) -> Identity {
    Identity { serial: Some(serial.to_owned()), ..Identity::default() }
}

/// A pump that must say `800-1`, and a belt that its address alone vouches for.
fn gatekeeper() -> Gatekeeper {
    Gatekeeper::new(vec![
        DeviceRule {
            card: card("pump"),
            expects: identity("800-1"),
            trust: Trust::ReportedIdentity,
            elements: vec![&FLOW_FLUID_PUMP, &SPO2, &EVT_OCCL],
            behind: None,
            quiet: None,
        },
        DeviceRule {
            card: card("belt"),
            expects: Identity::default(),
            trust: Trust::LinkOnly,
            elements: vec![&HEART_RATE],
            behind: None,
            quiet: None,
        },
    ])
}

fn at(nanos: u64) -> Now {
    Now { mono: Mono::from_nanos(nanos), ..Now::default() }
}

fn report(device: DeviceIndex, body: ReportBody) -> Report {
    Report { device, at: at(7), body }
}

fn observation(metric: &'static Metric, value: &str) -> Observation {
    Observation {
        metric,
        channel: 0,
        value: Value::Decimal(value.parse::<Decimal>().unwrap()),
        unit: &MILLILITRE_PER_HOUR,
        modality: 0,
        kind: Kind::Measurement,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    }
}

fn reading(metric: &'static Metric, value: &str) -> ReportBody {
    ReportBody::Observation(Ticket(1), observation(metric, value))
}

fn occlusion(metric: &'static Metric) -> ReportBody {
    let alarm = Alarm {
        code: "AL_OCCLU".into(),
        text: "occlusion".into(),
        phase: Phase::Start,
        priority: Priority::High,
        is_silenced: false,
    };
    ReportBody::Observation(
        Ticket(1),
        Observation {
            value: Value::Alarm(alarm),
            kind: Kind::Alarm,
            unit: &PERCENT,
            ..observation(metric, "0")
        },
    )
}

fn admitted(verdict: Verdict) -> Admitted {
    let Verdict::Admit(admitted) = verdict else { panic!("not admitted: {verdict:?}") };
    admitted
}

#[test]
fn an_observation_before_the_identity_is_refused() {
    let mut gate = gatekeeper();
    gate.handle_report(report(PUMP, ReportBody::Up));
    let verdict = gate.handle_report(report(PUMP, reading(&FLOW_FLUID_PUMP, "5.0")));
    assert_eq!(verdict, Verdict::Refuse(Refusal::Unidentified { device: "pump".into() }));
}

#[test]
fn the_right_identity_opens_the_gate_and_admitted_ones_are_numbered() {
    let mut gate = gatekeeper();
    gate.handle_report(report(PUMP, ReportBody::Up));
    assert_eq!(gate.handle_report(report(PUMP, ReportBody::Identity(identity("800-1")))), Verdict::Noted);
    for seq in 1..=3 {
        let admitted = admitted(gate.handle_report(report(PUMP, reading(&FLOW_FLUID_PUMP, "5.0"))));
        assert_eq!((admitted.seq(), admitted.device(), admitted.at()), (seq, PUMP, at(7)));
        assert_eq!(admitted.observation(), &observation(&FLOW_FLUID_PUMP, "5.0"));
        // A refusal in between takes no number: a gap in them is a loss.
        gate.handle_report(report(PUMP, reading(&HEART_RATE, "70")));
    }
}

#[test]
fn a_new_connection_voids_the_identity() {
    let mut gate = gatekeeper();
    gate.handle_report(report(PUMP, ReportBody::Up));
    gate.handle_report(report(PUMP, ReportBody::Identity(identity("800-1"))));
    gate.handle_report(report(PUMP, ReportBody::Down("cable".into())));
    gate.handle_report(report(PUMP, ReportBody::Up));
    let verdict = gate.handle_report(report(PUMP, reading(&FLOW_FLUID_PUMP, "5.0")));
    assert!(matches!(verdict, Verdict::Refuse(Refusal::Unidentified { .. })));
}

#[test]
fn a_pump_that_changes_identity_on_its_port_is_quarantined_until_the_right_one_is_back() {
    let mut gate = gatekeeper();
    gate.handle_report(report(PUMP, ReportBody::Up));
    gate.handle_report(report(PUMP, ReportBody::Identity(identity("800-1"))));
    let expected = Refusal::Mismatch {
        device: "pump".into(),
        field: "serial",
        stated: "800-2".into(),
        expected: "800-1".into(),
    };
    let verdict = gate.handle_report(report(PUMP, ReportBody::Identity(identity("800-2"))));
    assert_eq!(verdict, Verdict::Refuse(expected.clone()));
    assert_eq!(
        gate.handle_report(report(PUMP, reading(&FLOW_FLUID_PUMP, "5.0"))),
        Verdict::Refuse(expected.clone())
    );
    gate.handle_report(report(PUMP, ReportBody::Up));
    assert_eq!(
        gate.handle_report(report(PUMP, reading(&FLOW_FLUID_PUMP, "5.0"))),
        Verdict::Refuse(expected),
        "a reconnect does not lift a quarantine"
    );
    gate.handle_report(report(PUMP, ReportBody::Identity(identity("800-1"))));
    admitted(gate.handle_report(report(PUMP, reading(&FLOW_FLUID_PUMP, "5.0"))));
}

#[test]
fn where_the_link_alone_vouches_a_contradiction_still_quarantines() {
    let mut gate = Gatekeeper::new(vec![DeviceRule {
        card: card("belt"),
        expects: identity("1"),
        trust: Trust::LinkOnly,
        elements: vec![&HEART_RATE],
        behind: None,
        quiet: None,
    }]);
    let belt = DeviceIndex(0);
    gate.handle_report(report(belt, ReportBody::Up));
    admitted(gate.handle_report(report(belt, reading(&HEART_RATE, "70"))));
    gate.handle_report(report(belt, ReportBody::Identity(identity("2"))));
    let verdict = gate.handle_report(report(belt, reading(&HEART_RATE, "70")));
    assert!(matches!(verdict, Verdict::Refuse(Refusal::Mismatch { .. })));
}

/// A rack that must say its model, with a pump at a place of it that nothing but the place vouches for.
fn rack() -> Gatekeeper {
    let model = Identity { model: Some("Rack".to_owned()), ..Identity::default() };
    let rule = |id: &str, expects: Identity, trust, behind| DeviceRule {
        card: card(id),
        expects,
        trust,
        elements: vec![&FLOW_FLUID_PUMP],
        behind,
        quiet: None,
    };
    Gatekeeper::new(vec![
        rule("rack", model, Trust::ReportedIdentity, None),
        rule("slot", Identity::default(), Trust::LinkOnly, Some(DeviceIndex(0))),
        rule("proved", identity("800-1"), Trust::ReportedIdentity, Some(DeviceIndex(0))),
    ])
}

#[test]
fn a_place_vouches_for_its_part_only_while_the_rack_is_the_right_one() {
    let mut gate = rack();
    let [rack, slot, proved] = [0, 1, 2].map(DeviceIndex);
    let says =
        |model: &str| ReportBody::Identity(Identity { model: Some(model.into()), ..Identity::default() });
    let reads = || reading(&FLOW_FLUID_PUMP, "5.0");
    for device in [rack, slot, proved] {
        gate.handle_report(report(device, ReportBody::Up));
    }
    gate.handle_report(report(slot, ReportBody::Identity(identity("1"))));
    let verdict = gate.handle_report(report(slot, reads()));
    assert_eq!(verdict, Verdict::Refuse(Refusal::Unidentified { device: "rack".into() }));
    gate.handle_report(report(rack, says("Rack")));
    admitted(gate.handle_report(report(slot, reads())));
    gate.handle_report(report(rack, says("Another")));
    let verdict = gate.handle_report(report(slot, reads()));
    assert!(
        matches!(&verdict, Verdict::Refuse(Refusal::Mismatch { device, .. }) if device == "rack"),
        "{verdict:?}"
    );
    // What proves itself needs no place to vouch for it.
    gate.handle_report(report(proved, ReportBody::Identity(identity("800-1"))));
    admitted(gate.handle_report(report(proved, reads())));
    gate.handle_report(report(rack, says("Rack")));
    admitted(gate.handle_report(report(slot, reads())));
}

#[test]
fn an_element_that_is_not_listed_is_refused_alarms_too() {
    let mut gate = gatekeeper();
    gate.handle_report(report(PUMP, ReportBody::Up));
    gate.handle_report(report(PUMP, ReportBody::Identity(identity("800-1"))));
    let verdict = gate.handle_report(report(PUMP, occlusion(&EVT_ALARM)));
    let refusal = Refusal::Element { device: "pump".into(), reference: "MDC_EVT_ALARM" };
    assert_eq!(verdict, Verdict::Refuse(refusal));
    let alarm = admitted(gate.handle_report(report(PUMP, occlusion(&EVT_OCCL))));
    assert_eq!(alarm.lane(), Lane::Alarm);
}

#[test]
fn an_implausible_value_is_flagged_and_passes() {
    let mut gate = gatekeeper();
    gate.handle_report(report(PUMP, ReportBody::Identity(identity("800-1"))));
    for (value, implausible) in [("50", false), ("100", false), ("49.9", true), ("100.1", true), ("-3", true)]
    {
        let admitted = admitted(gate.handle_report(report(PUMP, reading(&SPO2, value))));
        assert_eq!(admitted.observation().quality.has(Quality::IMPLAUSIBLE), implausible, "{value}");
        assert_eq!(admitted.observation().value, Value::Decimal(value.parse().unwrap()), "never changed");
    }
    // In another unit the bounds say nothing.
    let ReportBody::Observation(ticket, saturation) = reading(&SPO2, "101") else { unreachable!() };
    let fahrenheit = Observation { unit: &FAHRENHEIT, ..saturation };
    let admitted = admitted(gate.handle_report(report(PUMP, ReportBody::Observation(ticket, fahrenheit))));
    assert!(!admitted.observation().quality.has(Quality::IMPLAUSIBLE));
}

#[test]
fn a_device_that_is_not_in_the_allowlist_is_refused_and_counted() {
    let mut gate = gatekeeper();
    let verdict = gate.handle_report(report(DeviceIndex(9), reading(&HEART_RATE, "70")));
    assert!(matches!(verdict, Verdict::Refuse(Refusal::Unidentified { .. })));
    assert_eq!(gate.unlisted(), 1);
}

#[test]
fn the_snapshot_says_what_happened() {
    let mut gate = gatekeeper();
    gate.handle_report(report(PUMP, ReportBody::Up));
    gate.handle_report(report(PUMP, reading(&FLOW_FLUID_PUMP, "5.0")));
    gate.handle_report(report(PUMP, ReportBody::Identity(identity("800-1"))));
    gate.handle_report(report(PUMP, reading(&FLOW_FLUID_PUMP, "5.0")));
    gate.handle_report(report(PUMP, ReportBody::Fault(Fault::new(FaultKind::Checksum, "x"))));
    gate.handle_report(report(PUMP, ReportBody::Down("unplugged".into())));
    let (rule, state) = gate.snapshot().next().unwrap();
    assert_eq!(rule.card.id, "pump");
    assert_eq!(state.link(), &LinkState::Down("unplugged".into()));
    assert_eq!(state.stated(), Some(&identity("800-1")));
    assert!(state.is_identified() && state.quarantine().is_none());
    assert_eq!((state.admitted(), state.last_reading()), (1, Some(at(7))));
    assert_eq!(state.refused().get(&RefusalKind::Unidentified), Some(&1));
    assert_eq!(state.faults().get(&FaultKind::Checksum), Some(&1));
}

#[test]
fn a_flood_of_refusals_is_logged_at_powers_of_ten() {
    let mut gate = gatekeeper();
    let logged: Vec<u32> = (1..=1_000)
        .filter(|_| {
            gate.handle_report(report(PUMP, reading(&FLOW_FLUID_PUMP, "5.0")));
            gate.is_worth_logging()
        })
        .collect();
    assert_eq!(logged, [1, 10, 100, 1_000]);
    assert!(!should_log(0) && should_log(10_000_000_000_000_000_000) && !should_log(u64::MAX));
}

fn seconds(at: u64) -> Now {
    Now {
        mono: Mono::from_nanos(at * 1_000_000_000),
        wall: Wall::from_millis(i64::try_from(at).unwrap() * 1_000),
        ..Now::default()
    }
}

const QUIET: Duration = Duration::from_secs(15);

/// The pump and the belt, which may be quiet for 15 s.
fn watching() -> Gatekeeper {
    let rules = gatekeeper()
        .places
        .into_values()
        .map(|place| DeviceRule { quiet: Some(QUIET), ..DeviceRule::clone(&place.rule) });
    let mut gate = Gatekeeper::new(rules.collect());
    gate.handle_silence(seconds(0));
    assert_eq!(words(&mut gate), []);
    gate
}

/// What the gate itself says: of which device, with which number, which edge.
fn words(gate: &mut Gatekeeper) -> Vec<(DeviceIndex, u64, Phase, String)> {
    std::iter::from_fn(|| gate.poll_words())
        .filter_map(|word| match word {
            Word::Of(word) => Some(word),
            Word::Event(_) => None,
        })
        .map(|word| {
            let said = word.observation();
            assert_eq!((said.metric.reference, word.lane()), ("MDC_EVT_COMM_LOST", Lane::Alarm));
            let Value::Alarm(alarm) = &said.value else { panic!("{said:?}") };
            assert_eq!((alarm.code.as_str(), alarm.priority), ("wardline:silent", Priority::Medium));
            (word.device(), word.seq(), alarm.phase, alarm.text.clone())
        })
        .collect()
}

fn says_at(gate: &mut Gatekeeper, device: DeviceIndex, at: u64, body: ReportBody) -> Verdict {
    gate.handle_report(Report { device, at: seconds(at), body })
}

#[test]
fn silence_is_told_once_from_the_start_on_and_its_end_says_from_when_to_when() {
    let mut gate = watching();
    gate.handle_silence(seconds(14));
    assert_eq!(words(&mut gate), []);
    for at in 15..40 {
        gate.handle_silence(seconds(at));
    }
    // Neither has said who it is, and neither lists the element.
    let text = "nothing is known of this device since this gateway started at 1970-01-01T00:00:00.000Z: \
                it gave no reading for more than 15 s";
    let begun = |device| (device, 1, Phase::Start, text.to_owned());
    assert_eq!(words(&mut gate), [begun(PUMP), begun(BELT)]);
    let reading = admitted(says_at(&mut gate, BELT, 50, reading(&HEART_RATE, "70")));
    assert_eq!(reading.seq(), 2);
    let text = "nothing was known of this device from 1970-01-01T00:00:00.000Z to 1970-01-01T00:00:50.000Z";
    assert_eq!(words(&mut gate), [(BELT, 3, Phase::End, text.to_owned())]);
    let (_, belt) = gate.snapshot().nth(1).unwrap();
    assert_eq!((belt.silent_since(), belt.silences()), (None, 1));
    let (_, pump) = gate.snapshot().next().unwrap();
    assert_eq!((pump.silent_since(), pump.silences()), (Some(seconds(0)), 1));
}

#[test]
fn what_may_not_pass_is_no_sign_of_life() {
    let mut gate = watching();
    for at in 1..=15 {
        // Not identified; faults; a link that comes and goes.
        says_at(&mut gate, PUMP, at, reading(&FLOW_FLUID_PUMP, "5.0"));
        says_at(&mut gate, PUMP, at, ReportBody::Fault(Fault::new(FaultKind::Checksum, "x")));
        says_at(&mut gate, PUMP, at, ReportBody::Up);
        says_at(&mut gate, BELT, at, reading(&HEART_RATE, "70"));
        gate.handle_silence(seconds(at));
    }
    let told = words(&mut gate);
    assert!(matches!(told.as_slice(), [(PUMP, 1, Phase::Start, _)]), "{told:?}");
}

#[test]
fn a_silence_that_nobody_looked_at_is_told_when_it_is_over() {
    let mut gate = watching();
    admitted(says_at(&mut gate, BELT, 1, reading(&HEART_RATE, "70")));
    admitted(says_at(&mut gate, BELT, 100, reading(&HEART_RATE, "70")));
    let told = words(&mut gate);
    assert!(matches!(told.as_slice(), [(BELT, 3, Phase::Start, _), (BELT, 4, Phase::End, _)]), "{told:?}");
    assert!(
        told[0].3.contains("since 1970-01-01T00:00:01.000Z") && told[1].3.contains("to 1970-01-01T00:01:40")
    );
}

#[test]
fn under_the_name_of_a_device_in_quarantine_nothing_is_told_until_it_is_the_right_one() {
    let mut gate = watching();
    says_at(&mut gate, PUMP, 1, ReportBody::Identity(identity("800-2")));
    for at in 2..100 {
        gate.handle_silence(seconds(at));
    }
    assert!(words(&mut gate).iter().all(|(device, ..)| *device == BELT));
    says_at(&mut gate, PUMP, 100, ReportBody::Identity(identity("800-1")));
    gate.handle_silence(seconds(100));
    admitted(says_at(&mut gate, PUMP, 101, reading(&FLOW_FLUID_PUMP, "5.0")));
    let told = words(&mut gate);
    assert!(matches!(told.as_slice(), [(PUMP, 1, Phase::Start, _), (PUMP, 3, Phase::End, _)]), "{told:?}");
    assert!(told[1].3.contains("from 1970-01-01T00:00:00.000Z to 1970-01-01T00:01:41"), "{told:?}");
}

#[test]
fn a_rack_is_known_of_while_something_behind_its_port_is() {
    let rules = rack()
        .places
        .into_values()
        .map(|place| DeviceRule { quiet: Some(QUIET), ..DeviceRule::clone(&place.rule) });
    let mut gate = Gatekeeper::new(rules.collect());
    let [rack, slot, proved] = [0, 1, 2].map(DeviceIndex);
    let says =
        |model: &str| ReportBody::Identity(Identity { model: Some(model.into()), ..Identity::default() });
    gate.handle_silence(seconds(0));
    says_at(&mut gate, rack, 1, says("Rack"));
    says_at(&mut gate, proved, 1, ReportBody::Identity(identity("800-1")));
    for at in 1..60 {
        admitted(says_at(&mut gate, proved, at, reading(&FLOW_FLUID_PUMP, "5.0")));
        gate.handle_silence(seconds(at));
    }
    let told = words(&mut gate);
    assert!(matches!(told.as_slice(), [(device, 1, Phase::Start, _)] if *device == slot), "{told:?}");
    // Another rack: what proves itself goes on, and is no word of the right one.
    says_at(&mut gate, rack, 60, says("Another"));
    for at in 60..100 {
        admitted(says_at(&mut gate, proved, at, reading(&FLOW_FLUID_PUMP, "5.0")));
        gate.handle_silence(seconds(at));
    }
    assert_eq!(words(&mut gate), []);
    says_at(&mut gate, rack, 100, says("Rack"));
    gate.handle_silence(seconds(100));
    admitted(says_at(&mut gate, proved, 101, reading(&FLOW_FLUID_PUMP, "5.0")));
    let told = words(&mut gate);
    assert!(matches!(told.as_slice(), [(_, 1, Phase::Start, _), (_, 2, Phase::End, _)]), "{told:?}");
    assert!(told.iter().all(|(device, ..)| *device == rack), "{told:?}");
    assert!(told[1].3.contains("from 1970-01-01T00:00:59.000Z to 1970-01-01T00:01:41.000Z"), "{told:?}");
}

#[test]
fn a_device_that_may_be_quiet_is_never_silent() {
    let mut gate = gatekeeper();
    for at in 0..10_000 {
        gate.handle_silence(seconds(at));
    }
    assert_eq!(words(&mut gate), []);
}

proptest! {
    /// The reference: the times at which something was admitted, and nothing else.
    #[test]
    fn every_gap_longer_than_allowed_is_told_by_one_pair_of_edges(
        steps in prop::collection::vec((0u64..25, any::<bool>(), any::<bool>()), 1..60),
    ) {
        let mut gate = watching();
        let (mut now, mut last, mut gaps, mut told) = (0, 0, 0usize, Vec::new());
        let mut open = false;
        for (later, looks, reads) in steps {
            now += later;
            if looks {
                gate.handle_silence(seconds(now));
                open |= now - last >= 15;
            }
            if reads {
                admitted(says_at(&mut gate, BELT, now, reading(&HEART_RATE, "70")));
                gaps += usize::from(now - last >= 15);
                (last, open) = (now, false);
            }
            told.extend(words(&mut gate).into_iter().filter(|(device, ..)| *device == BELT));
        }
        let edges: Vec<Phase> = told.iter().map(|(_, _, phase, _)| *phase).collect();
        let expected = [Phase::Start, Phase::End].into_iter().cycle().take(2 * gaps + usize::from(open));
        prop_assert_eq!(edges, expected.collect::<Vec<_>>());
        prop_assert!(told.windows(2).all(|pair| pair[0].1 < pair[1].1), "numbers grow: {:?}", told);
    }
}

/// What the test generates, and what a reader can check by eye.
#[derive(Clone, Debug)]
enum Step {
    Up(u16),
    Down(u16),
    Says(u16, &'static str),
    Reads(u16, &'static Metric),
}

fn step() -> impl Strategy<Value = Step> {
    let device = 0u16..3;
    prop_oneof![
        device.clone().prop_map(Step::Up),
        device.clone().prop_map(Step::Down),
        (device.clone(), prop::sample::select(vec!["800-1", " 800-1 ", "800-2", ""]))
            .prop_map(|(device, serial)| Step::Says(device, serial)),
        (device, prop::sample::select(vec![&FLOW_FLUID_PUMP, &HEART_RATE, &SPO2]))
            .prop_map(|(device, metric)| Step::Reads(device, metric)),
    ]
}

proptest! {
    /// The reference: the last thing each device said on its present connection, and nothing else.
    #[test]
    fn no_sequence_admits_a_device_whose_last_identity_on_this_connection_did_not_match(
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut gate = gatekeeper();
        let mut said: [Option<&str>; 3] = [None; 3];
        let mut counts = [0u64; 3];
        for step in steps {
            match step {
                Step::Up(device) => {
                    said[usize::from(device)] = None;
                    gate.handle_report(report(DeviceIndex(device), ReportBody::Up));
                }
                Step::Down(device) => {
                    gate.handle_report(report(DeviceIndex(device), ReportBody::Down("x".into())));
                }
                Step::Says(device, serial) => {
                    said[usize::from(device)] = Some(serial);
                    gate.handle_report(report(DeviceIndex(device), ReportBody::Identity(identity(serial))));
                }
                Step::Reads(device, metric) => {
                    let verdict = gate.handle_report(report(DeviceIndex(device), reading(metric, "60")));
                    let matched = said[usize::from(device)].is_some_and(|serial| serial.trim() == "800-1");
                    let expected = match device {
                        0 => matched && metric.code != HEART_RATE.code,
                        1 => metric.code == HEART_RATE.code,
                        _ => false,
                    };
                    prop_assert_eq!(matches!(verdict, Verdict::Admit(_)), expected);
                    if let Verdict::Admit(admitted) = verdict {
                        counts[usize::from(device)] += 1;
                        prop_assert_eq!(admitted.seq(), counts[usize::from(device)]);
                    }
                }
            }
        }
        prop_assert_eq!(gate.snapshot().map(|(_, state)| state.admitted()).collect::<Vec<_>>(), &counts[..2]);
    }
}

#[test]
fn the_belt_needs_no_identity() {
    let mut gate = gatekeeper();
    admitted(gate.handle_report(report(BELT, reading(&HEART_RATE, "70"))));
}

#[test]
fn a_port_without_a_device_is_not_a_line_of_log_for_each_attempt() {
    let mut gate = gatekeeper();
    let mut lines = 0;
    for _ in 0..1_000 {
        gate.handle_report(report(PUMP, ReportBody::Up));
        lines += u32::from(gate.is_worth_logging());
        gate.handle_report(report(PUMP, ReportBody::Down("closed by this side".to_owned())));
        lines += u32::from(gate.is_worth_logging());
    }
    assert!(lines < 20, "{lines} lines");
}
