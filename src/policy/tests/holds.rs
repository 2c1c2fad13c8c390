//! A device in quarantine by an advisory: nothing of it passes, and no alarm of it is lost in silence.

use super::event::{Detection, Event, Word};
use super::hold::{Hold, Holds};
use super::*;

fn seconds(seconds: u64) -> Now {
    at(seconds * 1_000_000_000)
}

fn said(device: DeviceIndex, body: ReportBody, now: Now) -> Report {
    Report { device, at: now, body }
}

fn holds(ids: &[&str]) -> Holds {
    let hold = Hold { advisory: "ICSMA-1".to_owned(), reason: "not safe (M. Weber)".to_owned() };
    ids.iter().map(|id| ((*id).to_owned(), hold.clone())).collect()
}

fn alarm(code: &str, phase: Phase) -> ReportBody {
    let ReportBody::Observation(ticket, mut observation) = occlusion(&EVT_OCCL) else { panic!("an alarm") };
    let Value::Alarm(raised) = &mut observation.value else { panic!("an alarm") };
    (raised.code, raised.phase) = (code.to_owned(), phase);
    ReportBody::Observation(ticket, observation)
}

/// The gate's words: an event by its phase and detail, an alarm by its code and phase.
fn words(gate: &mut Gatekeeper) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(word) = gate.poll_words() {
        said.push(match word {
            Word::Event(Event { detection, phase, device, detail, .. }) => {
                assert_eq!(detection, Detection::Quarantine);
                format!("{device} {} {detail}", phase.as_str())
            }
            Word::Of(admitted) => {
                let Value::Alarm(alarm) = &admitted.observation().value else { panic!("no alarm") };
                format!("{} {}", alarm.code, alarm.phase.as_str())
            }
        });
    }
    said
}

fn proven() -> Gatekeeper {
    let mut gate = gatekeeper();
    gate.handle_report(report(PUMP, ReportBody::Up));
    gate.handle_report(report(PUMP, ReportBody::Identity(identity("800-1"))));
    gate
}

#[test]
fn nothing_passes_of_it_until_it_is_lifted_and_what_it_keeps_is_not_taken() {
    let mut gate = proven();
    gate.handle_holds(holds(&["pump", "nobody"]), seconds(8));
    let begun = words(&mut gate);
    assert!(
        begun.len() == 1 && begun[0].starts_with("pump start") && begun[0].contains("ICSMA-1"),
        "{begun:?}"
    );
    assert!(!begun[0].contains("Weber"), "no name leaves");
    let verdict = gate.handle_report(report(PUMP, alarm("A", Phase::Start)));
    let Verdict::Refuse(refusal @ Refusal::Held { .. }) = verdict else { panic!("{verdict:?}") };
    assert!(refusal.is_of_identity() && refusal.to_string().contains("not safe (M. Weber)"));
    // Who it is, is heard: another firmware may be what lifts it.
    assert_eq!(gate.handle_report(report(PUMP, ReportBody::Identity(identity("800-1")))), Verdict::Noted);
    assert!(gate.of(PUMP).unwrap().1.hold().is_some());
    assert_eq!(gate.of(PUMP).unwrap().1.refused()[&RefusalKind::Held], 1);
    gate.handle_holds(holds(&["pump"]), seconds(9));
    gate.handle_holds(Holds::new(), seconds(9));
    let over = words(&mut gate);
    assert!(over.iter().any(|word| word.starts_with("pump end")), "{over:?}");
    assert!(matches!(gate.handle_report(report(PUMP, alarm("B", Phase::Start))), Verdict::Admit(_)));
}

#[test]
fn alarms_that_are_on_are_told_to_end_and_told_anew_when_it_is_lifted() {
    let mut gate = proven();
    for code in ["A", "B"] {
        gate.handle_report(said(PUMP, alarm(code, Phase::Start), seconds(8)));
    }
    gate.handle_holds(holds(&["pump"]), seconds(9));
    let begun = words(&mut gate);
    assert_eq!((begun.len(), &begun[1..]), (3, &["A end".to_owned(), "B end".to_owned()][..]));
    assert!(!gate.of(PUMP).unwrap().1.is_in_alarm(), "it keeps no bundle away");
    gate.handle_report(said(PUMP, alarm("A", Phase::End), seconds(10)));
    gate.handle_report(said(PUMP, alarm("C", Phase::Start), seconds(10)));
    gate.handle_silence(seconds(10));
    let told = words(&mut gate);
    assert!(told.len() == 1 && told[0].starts_with("pump update 1 alarm(s)"), "{told:?}");
    gate.handle_holds(Holds::new(), seconds(11));
    let over = words(&mut gate);
    assert_eq!(over[1..], ["B start", "C start"]);
    assert!(gate.of(PUMP).unwrap().1.is_in_alarm());
    gate.handle_silence(seconds(12));
    assert!(words(&mut gate).is_empty());
}

#[test]
fn every_alarm_that_is_kept_back_is_told_and_a_flood_of_them_does_not_fill_the_store() {
    let mut gate = proven();
    gate.handle_holds(holds(&["pump"]), seconds(1));
    words(&mut gate);
    for second in 1..51 {
        for code in 0..5 {
            let code = format!("{second}-{code}");
            gate.handle_report(said(PUMP, alarm(&code, Phase::Start), seconds(second)));
            gate.handle_report(said(PUMP, alarm(&code, Phase::Start), seconds(second)));
        }
        gate.handle_silence(seconds(second));
    }
    gate.handle_silence(seconds(80));
    let told = words(&mut gate);
    let count = |word: &String| word.split(' ').nth(2).unwrap().parse::<u32>().unwrap();
    assert!(told.len() <= 8, "{told:?}");
    assert_eq!(told.iter().map(count).sum::<u32>(), 250);
    gate.handle_report(said(PUMP, alarm("x", Phase::End), seconds(99)));
    gate.handle_silence(seconds(99));
    assert!(words(&mut gate).is_empty(), "an end is none that begins");
}

#[test]
fn a_place_for_which_the_link_alone_vouches_is_held_with_what_it_stands_in() {
    let rule = |id: &str, behind: Option<DeviceIndex>| DeviceRule {
        card: card(id),
        expects: Identity::default(),
        trust: Trust::LinkOnly,
        elements: vec![&EVT_OCCL],
        behind,
        quiet: None,
    };
    let (rack, place) = (DeviceIndex(0), DeviceIndex(1));
    let mut gate = Gatekeeper::new(vec![rule("rack", None), rule("place", Some(rack))]);
    gate.handle_report(said(place, alarm("A", Phase::Start), seconds(1)));
    gate.handle_holds(holds(&["rack"]), seconds(2));
    assert_eq!(words(&mut gate)[1..], ["A end"]);
    let verdict = gate.handle_report(said(place, alarm("B", Phase::Start), seconds(3)));
    assert!(matches!(verdict, Verdict::Refuse(Refusal::Held { .. })));
    gate.handle_silence(seconds(3));
    assert!(words(&mut gate)[0].starts_with("place update 1 alarm(s)"));
    gate.handle_holds(Holds::new(), seconds(4));
    assert_eq!(words(&mut gate)[1..], ["A start", "B start"]);
}

#[test]
fn it_goes_on_with_another_entry_and_ends_with_the_last() {
    let mut gate = proven();
    gate.handle_holds(holds(&["pump", "next"]), seconds(1));
    words(&mut gate);
    let rule = |id: &str| DeviceRule { card: card(id), ..gate.of(PUMP).unwrap().0.clone() };
    let (pump, next) = (rule("pump"), rule("next"));
    gate.handle_change(&[PUMP], (DeviceIndex(2), vec![pump]), seconds(2)).unwrap();
    assert!(words(&mut gate).is_empty(), "it is the same");
    assert!(gate.of(DeviceIndex(2)).unwrap().1.hold().is_some());
    gate.handle_change(&[DeviceIndex(2)], (DeviceIndex(3), vec![next]), seconds(3)).unwrap();
    let told = words(&mut gate);
    assert!(told.iter().any(|word| word.starts_with("pump end")), "{told:?}");
    assert!(told.iter().any(|word| word.starts_with("next start")), "{told:?}");
    assert!(gate.of(DeviceIndex(3)).unwrap().1.hold().is_some());
}

/// Whoever answers before it said who it is may be another one: no alarm of it is passed on under the right one's name.
#[test]
fn what_an_unproven_device_says_meanwhile_is_counted_and_never_passed_on() {
    let mut gate = proven();
    gate.handle_holds(holds(&["pump"]), seconds(8));
    words(&mut gate);
    gate.handle_report(said(PUMP, ReportBody::Up, seconds(9)));
    let verdict = gate.handle_report(said(PUMP, alarm("A", Phase::Start), seconds(9)));
    assert!(matches!(verdict, Verdict::Refuse(Refusal::Unidentified { .. })), "{verdict:?}");
    gate.handle_silence(seconds(9));
    let told = words(&mut gate);
    assert!(told.len() == 1 && told[0].starts_with("pump update 1 alarm(s)"), "{told:?}");
    gate.handle_report(said(PUMP, ReportBody::Identity(identity("800-1")), seconds(10)));
    gate.handle_holds(Holds::new(), seconds(11));
    let over = words(&mut gate);
    assert!(over.len() == 1 && over[0].starts_with("pump end"), "{over:?}");
}

/// Else it would be told to begin after it was told to be over.
#[test]
fn what_was_kept_back_is_told_before_anything_else_that_the_device_says() {
    let mut gate = proven();
    gate.handle_holds(holds(&["pump"]), seconds(8));
    gate.handle_report(said(PUMP, alarm("A", Phase::Start), seconds(9)));
    gate.handle_report(said(PUMP, ReportBody::Up, seconds(10)));
    gate.handle_holds(Holds::new(), seconds(11));
    assert!(!words(&mut gate).contains(&"A start".to_owned()), "nobody knows yet who answers");
    gate.handle_report(said(PUMP, ReportBody::Identity(identity("800-1")), seconds(12)));
    assert_eq!(words(&mut gate), ["A start"]);
    assert!(matches!(gate.handle_report(said(PUMP, alarm("A", Phase::End), seconds(12))), Verdict::Admit(_)));
    gate.handle_silence(seconds(13));
    assert!(words(&mut gate).is_empty() && !gate.of(PUMP).unwrap().1.is_in_alarm());
}

/// The driver of the new entry knows of no alarm of the old one's, and would never say that it is over.
#[test]
fn what_was_kept_back_under_another_entry_is_left_to_the_new_driver() {
    let mut gate = proven();
    gate.handle_holds(holds(&["pump"]), seconds(1));
    gate.handle_report(said(PUMP, alarm("A", Phase::Start), seconds(2)));
    let rule = gate.of(PUMP).unwrap().0.clone();
    gate.handle_change(&[PUMP], (DeviceIndex(2), vec![rule]), seconds(3)).unwrap();
    let again = DeviceIndex(2);
    gate.handle_report(said(again, ReportBody::Up, seconds(4)));
    gate.handle_report(said(again, ReportBody::Identity(identity("800-1")), seconds(4)));
    gate.handle_report(said(again, alarm("B", Phase::Start), seconds(5)));
    words(&mut gate);
    gate.handle_holds(Holds::new(), seconds(6));
    assert_eq!(words(&mut gate)[1..], ["B start"]);
}

#[test]
fn a_quarantine_that_a_start_found_is_not_told_again_and_is_told_to_be_over() {
    let begun = || gatekeeper().with_holds(holds(&["pump"]));
    let mut gate = begun();
    gate.handle_holds(holds(&["pump"]), seconds(1));
    assert!(words(&mut gate).is_empty(), "it goes on");
    assert!(gate.of(PUMP).unwrap().1.hold().is_some());
    let mut gate = begun();
    gate.handle_holds(Holds::new(), seconds(1));
    let told = words(&mut gate);
    assert!(told.len() == 1 && told[0].starts_with("pump end"), "{told:?}");
}
