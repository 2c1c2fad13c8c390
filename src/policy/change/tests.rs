//! What goes on and what ends when the allowlist changes.

use std::time::Duration;

use super::super::{DeviceCard, Trust, Verdict};
use super::*;
use crate::device::nomenclature::{
    DIMENSIONLESS, EVT_COMM_LOST, EVT_OCCL, FLOW_FLUID_PUMP, MILLILITRE_PER_HOUR, Metric,
};
use crate::device::observation::{Alarm, Kind, Observation, Priority, Quality, Status, Value};
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
        elements: vec![&FLOW_FLUID_PUMP, &EVT_OCCL, &EVT_COMM_LOST],
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
    // Devices can be taken away when no place is left for another.
    assert_eq!(gate.handle_change(&[DeviceIndex(0)], (DeviceIndex(u16::MAX), Vec::new()), at(3)), Ok(()));
    assert_eq!(gate.snapshot().count(), 0);
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

fn alarm(metric: &'static Metric, code: &str, phase: Phase) -> ReportBody {
    let text = "of the device".to_owned();
    let alarm = Alarm { code: code.to_owned(), text, phase, priority: Priority::High, is_silenced: true };
    let ReportBody::Observation(ticket, base) = reading() else { panic!("a reading") };
    let value = Value::Alarm(alarm);
    ReportBody::Observation(
        ticket,
        Observation { metric, value, unit: &DIMENSIONLESS, kind: Kind::Alarm, record: Some(7), ..base },
    )
}

/// The words about devices: place, number, code and phase.
fn edges(gate: &mut Gatekeeper) -> Vec<(u16, u64, String, Phase)> {
    let of = |word: Word| match word {
        Word::Of(word) => match &word.observation().value {
            Value::Alarm(alarm) => (word.device().0, word.seq(), alarm.code.clone(), alarm.phase),
            other @ (Value::Decimal(_)
            | Value::Absent(_)
            | Value::Text(_)
            | Value::Bits(_)
            | Value::Samples(_)) => {
                panic!("{other:?}")
            }
        },
        Word::Event(event) => panic!("{event:?}"),
    };
    words(gate).into_iter().map(of).collect()
}

#[test]
fn alarms_that_are_on_are_told_to_end_under_the_entry_that_goes_whatever_comes_after_it() {
    let other_elements = DeviceRule { elements: vec![&FLOW_FLUID_PUMP], ..rule("pump", "p", "1") };
    let nexts = [None, Some(rule("pump", "new", "1")), Some(rule("pump", "p", "9")), Some(other_elements)];
    for next in nexts {
        let mut gate = Gatekeeper::new(vec![rule("pump", "p", "1"), rule("other", "o", "2")]);
        connected(&mut gate, 0, "1", at(1));
        connected(&mut gate, 1, "2", at(1));
        let says = |gate: &mut Gatekeeper, place, metric, code, phase| {
            assert!(number(say(gate, place, at(2), alarm(metric, code, phase))).is_some());
        };
        says(&mut gate, 0, &EVT_OCCL, "AL_OCCLU", Phase::Start);
        says(&mut gate, 0, &EVT_OCCL, "AL_OCCLU", Phase::Update);
        says(&mut gate, 0, &EVT_COMM_LOST, "lost", Phase::Start);
        says(&mut gate, 0, &EVT_OCCL, "over", Phase::Start);
        says(&mut gate, 0, &EVT_OCCL, "over", Phase::End);
        says(&mut gate, 1, &EVT_OCCL, "AL_OCCLU", Phase::Start);
        let change = (DeviceIndex(2), next.into_iter().collect());
        gate.handle_change(&[DeviceIndex(0)], change, at(3)).unwrap();
        let mut told = edges(&mut gate);
        told.sort_by_key(|(_, number, ..)| *number);
        let (mut codes, numbers): (Vec<_>, Vec<_>) = told
            .iter()
            .map(|(place, number, code, phase)| ((*place, code.as_str(), *phase), *number))
            .unzip();
        codes.sort_by_key(|(_, code, _)| code.to_owned());
        assert_eq!(codes, [(0, "AL_OCCLU", Phase::End), (0, "lost", Phase::End)]);
        assert_eq!(numbers, [6, 7], "they count as what was told before them");
        gate.handle_change(&[], (DeviceIndex(u16::MAX), Vec::new()), at(4)).unwrap();
        assert_eq!(edges(&mut gate), [], "once");
    }
}

#[test]
fn what_was_refused_is_no_alarm_that_is_on_and_the_end_of_one_says_what_is_known() {
    let mut gate = Gatekeeper::new(vec![rule("pump", "p", "1")]);
    say(&mut gate, 0, at(1), alarm(&EVT_OCCL, "refused", Phase::Start));
    connected(&mut gate, 0, "1", at(1));
    say(&mut gate, 0, at(1), alarm(&EVT_OCCL, "AL_OCCLU", Phase::Start));
    gate.handle_change(&[DeviceIndex(0)], (DeviceIndex(1), Vec::new()), at(2)).unwrap();
    let [Word::Of(end)] = &words(&mut gate)[..] else { panic!("one word") };
    let Value::Alarm(edge) = &end.observation().value else { panic!("an alarm") };
    assert_eq!((edge.code.as_str(), edge.phase, edge.priority), ("AL_OCCLU", Phase::End, Priority::High));
    assert!(edge.text.contains("whether it is over is not known"), "{}", edge.text);
    assert_eq!((end.at(), end.observation().record), (at(2), None));
}

#[test]
fn a_device_that_makes_up_codes_does_not_fill_the_memory() {
    use super::super::open::MOST;
    let mut gate = Gatekeeper::new(vec![rule("pump", "p", "1")]);
    connected(&mut gate, 0, "1", at(1));
    for code in 0..MOST + 9 {
        say(&mut gate, 0, at(1), alarm(&EVT_OCCL, &code.to_string(), Phase::Start));
    }
    gate.handle_change(&[DeviceIndex(0)], (DeviceIndex(1), Vec::new()), at(2)).unwrap();
    assert_eq!(edges(&mut gate).len(), MOST);
}

/// Forty edits of a device that says nothing, each just before its time would be over.
#[test]
fn a_silence_and_the_time_until_one_go_on_while_it_is_the_same_device() {
    let mut gate = Gatekeeper::new(vec![rule("pump", "p", "1")]);
    gate.handle_silence(at(0));
    let mut told = Vec::new();
    for edit in 0u16..40 {
        let now = at(89 * (u64::from(edit) + 1));
        gate.handle_silence(now);
        told.extend(edges(&mut gate));
        let mut next = rule("pump", "p", "1");
        next.card.location = Some(format!("place {edit}"));
        next.elements.truncate(1 + usize::from(edit % 2));
        gate.handle_change(&[DeviceIndex(edit)], (DeviceIndex(edit + 1), vec![next]), now).unwrap();
        told.extend(edges(&mut gate));
    }
    let silent = "wardline:silent".to_owned();
    assert_eq!(
        told,
        [(1, 1, silent.clone(), Phase::Start)],
        "at the first look after 90 s, and no word more"
    );
    let state = gate.snapshot().next().unwrap().1;
    assert_eq!((state.silent_since(), state.silences()), (Some(at(0)), 1));
    connected(&mut gate, 40, "1", at(3_600));
    say(&mut gate, 40, at(3_600), reading());
    assert_eq!(edges(&mut gate), [(40, 3, silent, Phase::End)], "a reading ends it");
}

#[test]
fn a_device_that_comes_again_after_it_was_taken_away_has_its_time() {
    let mut gate = Gatekeeper::new(vec![rule("pump", "p", "1")]);
    gate.handle_silence(at(0));
    gate.handle_silence(at(100));
    assert_eq!(edges(&mut gate).len(), 1);
    gate.handle_change(&[DeviceIndex(0)], (DeviceIndex(1), Vec::new()), at(110)).unwrap();
    assert_eq!(edges(&mut gate).len(), 1, "it is over");
    gate.handle_change(&[], (DeviceIndex(1), vec![rule("pump", "p", "1")]), at(500)).unwrap();
    gate.handle_silence(at(589));
    assert_eq!(edges(&mut gate), []);
    let unwatched = DeviceRule { quiet: None, ..rule("pump", "p", "1") };
    gate.handle_silence(at(590));
    assert_eq!(edges(&mut gate).len(), 1);
    gate.handle_change(&[DeviceIndex(1)], (DeviceIndex(2), vec![unwatched]), at(600)).unwrap();
    assert_eq!(edges(&mut gate)[0].3, Phase::End, "nobody watches any more");
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
