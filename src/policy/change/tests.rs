//! What goes on and what ends when the allowlist changes.

use std::time::Duration;

use super::super::{DeviceCard, Trust, Verdict};
use super::*;
use crate::device::nomenclature::{FLOW_FLUID_PUMP, MILLILITRE_PER_HOUR};
use crate::device::observation::{Kind, Observation, Quality, Status, Value};
use crate::device::{Identity, Report, ReportBody, Ticket};
use crate::time::Mono;

const QUIET: Duration = Duration::from_secs(90);

fn at(seconds: u64) -> Now {
    Now { mono: Mono::default() + Duration::from_secs(seconds), ..Now::default() }
}

fn serial(number: &str) -> Identity {
    Identity { serial: Some(number.to_owned()), ..Identity::default() }
}

fn rule(id: &str, pseudonym: &str, number: &str) -> DeviceRule {
    let card = DeviceCard {
        id: id.to_owned(),
        model: "alaris-asena".to_owned(),
        pseudonym: pseudonym.to_owned(),
        location: None,
        security: "serial",
    };
    DeviceRule {
        card,
        expects: serial(number),
        trust: Trust::ReportedIdentity,
        elements: vec![&FLOW_FLUID_PUMP],
        behind: None,
        quiet: Some(QUIET),
    }
}

fn say(gate: &mut Gatekeeper, place: u16, at: Now, body: ReportBody) -> Verdict {
    gate.handle_report(Report { device: DeviceIndex(place), at, body })
}

fn reading() -> ReportBody {
    let observation = Observation {
        metric: &FLOW_FLUID_PUMP,
        channel: 0,
        value: Value::Absent(crate::device::observation::Absent::Unknown),
        unit: &MILLILITRE_PER_HOUR,
        modality: 0,
        kind: Kind::Measurement,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    };
    ReportBody::Observation(Ticket(1), observation)
}

/// Its number when it was admitted.
fn number(verdict: Verdict) -> Option<u64> {
    match verdict {
        Verdict::Admit(admitted) => Some(admitted.seq()),
        Verdict::Refuse(_) | Verdict::Tell(_) | Verdict::Noted => None,
    }
}

fn words(gate: &mut Gatekeeper) -> Vec<Word> {
    std::iter::from_fn(|| gate.poll_words()).collect()
}

fn connected(gate: &mut Gatekeeper, place: u16, number: &str, now: Now) {
    say(gate, place, now, ReportBody::Up);
    say(gate, place, now, ReportBody::Identity(serial(number)));
}

#[test]
fn a_place_that_was_taken_away_says_nothing_any_more_and_the_next_goes_on_counting() {
    let mut gate = Gatekeeper::new(vec![rule("pump", "old", "1"), rule("other", "o", "2")]);
    connected(&mut gate, 0, "1", at(1));
    connected(&mut gate, 1, "2", at(1));
    assert_eq!(number(say(&mut gate, 0, at(2), reading())), Some(1));
    assert_eq!(number(say(&mut gate, 1, at(2), reading())), Some(1));
    gate.handle_change(&[DeviceIndex(0)], (DeviceIndex(2), vec![rule("pump", "new", "1")]), at(3)).unwrap();
    assert_eq!(number(say(&mut gate, 0, at(4), reading())), None, "of the session of before");
    assert_eq!(gate.unlisted(), 1);
    assert_eq!(number(say(&mut gate, 2, at(4), reading())), None, "it has not said who it is");
    connected(&mut gate, 2, "1", at(5));
    assert_eq!(number(say(&mut gate, 2, at(6), reading())), Some(2), "the id goes on counting");
    assert_eq!(number(say(&mut gate, 1, at(6), reading())), Some(2), "the other saw nothing of it");
    let listed: Vec<&str> = gate.snapshot().map(|(rule, _)| rule.card.pseudonym.as_str()).collect();
    assert_eq!(listed, ["o", "new"]);
}

#[test]
fn a_change_that_counts_from_elsewhere_changes_nothing() {
    let mut gate = Gatekeeper::new(vec![rule("pump", "old", "1")]);
    let change = (DeviceIndex(2), vec![rule("pump", "new", "1")]);
    assert_eq!(gate.handle_change(&[DeviceIndex(0)], change, at(1)), Err(Misplaced { has: 1, first: 2 }));
    connected(&mut gate, 0, "1", at(1));
    assert_eq!(number(say(&mut gate, 0, at(2), reading())), Some(1));
}

#[test]
fn a_quarantine_is_not_lifted_by_another_setting_and_ends_with_another_device() {
    for (next, is_lifted) in [(Some("1"), false), (Some("9"), true), (None, true)] {
        let mut gate = Gatekeeper::new(vec![rule("pump", "p", "1")]);
        connected(&mut gate, 0, "666", at(1));
        assert_eq!(words(&mut gate).len(), 1, "it is told to begin");
        let listed: Vec<DeviceRule> =
            next.iter().map(|number| DeviceRule { quiet: None, ..rule("pump", "p", number) }).collect();
        gate.handle_change(&[DeviceIndex(0)], (DeviceIndex(1), listed), at(2)).unwrap();
        let over: Vec<Phase> = words(&mut gate)
            .into_iter()
            .map(|word| match word {
                Word::Event(event) => event.phase,
                Word::Of(word) => panic!("{word:?}"),
            })
            .collect();
        assert_eq!(over, vec![Phase::End; usize::from(is_lifted)]);
        if let Some(number) = next {
            assert_eq!(gate.snapshot().next().unwrap().1.quarantine().is_some(), !is_lifted);
            // A device that was taken away and comes again is told anew.
            connected(&mut gate, 1, "666", at(3));
            assert_eq!(words(&mut gate).len(), usize::from(is_lifted), "{number}");
        }
    }
}

#[test]
fn a_silence_ends_under_its_own_card_and_a_new_device_has_its_time() {
    let mut gate = Gatekeeper::new(vec![rule("pump", "old", "1")]);
    gate.handle_silence(at(0));
    gate.handle_silence(at(100));
    assert_eq!(words(&mut gate).len(), 1, "it is silent");
    gate.handle_change(&[DeviceIndex(0)], (DeviceIndex(1), vec![rule("pump", "new", "1")]), at(110)).unwrap();
    let [Word::Of(end)] = &words(&mut gate)[..] else { panic!("one word") };
    assert_eq!((end.device(), end.seq()), (DeviceIndex(0), 2));
    gate.handle_silence(at(199));
    assert_eq!(words(&mut gate), [], "it was listed less than 90 s ago");
    gate.handle_silence(at(200));
    let [Word::Of(begun)] = &words(&mut gate)[..] else { panic!("one word") };
    assert_eq!((begun.device(), begun.seq()), (DeviceIndex(1), 3));
}
