use super::*;
use crate::fleet::advisories::{Finding, inventory::Day};
use crate::time::Mono;

fn at(wall: &str, sync: ClockSync) -> Now {
    Now { mono: Mono::from_nanos(1), wall: Wall::read(wall).unwrap(), sync, ..Now::default() }
}

fn noon() -> Now {
    at("2026-11-22T12:00:00Z", ClockSync::Synced)
}

fn judged(device: &str, advisory: &str, verdict: Verdict, action: Action) -> Judged {
    let finding = Finding {
        device: device.to_owned(),
        advisory: advisory.to_owned(),
        version: "1".to_owned(),
        title: String::new(),
        verdict,
        reasons: Vec::new(),
        cves: Vec::new(),
        cvss: None,
        remediations: Vec::new(),
    };
    Judged { finding, action, is_unclear: false }
}

fn affected(device: &str, advisory: &str) -> Judged {
    judged(device, advisory, Verdict::Affected, Action::Warn)
}

fn shown(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| {
        format!("{} {} {} {}", event.detection.as_str(), event.phase.as_str(), event.device, event.detail)
    };
    events.iter().map(line).collect()
}

#[test]
fn a_device_that_is_affected_is_told_once_until_it_is_not_any_more() {
    let mut standing = Standing::default();
    let review = judged("c", "A-1", Verdict::Review, Action::Warn);
    let told = standing.handle_judgement(&[affected("a", "A-1"), review], true, noon());
    assert_eq!(shown(&told), ["advisory-affects start a A-1"]);
    let both = [affected("a", "A-1"), affected("a", "A-2")];
    assert!(standing.handle_judgement(&both[..1], true, noon()).is_empty());
    // Kept and read again: a restart tells nothing twice.
    let mut standing: Standing = serde_json::from_slice(&serde_json::to_vec(&standing).unwrap()).unwrap();
    assert_eq!(
        shown(&standing.handle_judgement(&both, true, noon())),
        ["advisory-affects update a A-1, A-2"]
    );
    assert!(standing.handle_judgement(&[], false, noon()).is_empty(), "a document is still to come");
    let over = standing.handle_judgement(&[], true, noon());
    assert_eq!(shown(&over), ["advisory-affects end a no advisory of the fleet says so any more (A-1, A-2)"]);
    assert!(standing.is_empty());
}

#[test]
fn a_waiver_ends_what_was_told_until_it_has_run_out_and_without_a_clock_nothing_is_told() {
    let stamp = |text: &str| crate::fleet::documents::Stamp(Wall::read(text).unwrap());
    let waived = |advisory: &str| {
        let (until, reason, by) =
            (stamp("2026-12-01T00:00:00Z"), "no other pump".to_owned(), "M. Weber".to_owned());
        judged("a", advisory, Verdict::Affected, Action::Waived { until, reason, by })
    };
    let unclear = |advisory: &str| Judged { is_unclear: true, ..affected("a", advisory) };
    let mut standing = Standing::default();
    let mut tell =
        |judged: &[Judged], is_settled: bool| shown(&standing.handle_judgement(judged, is_settled, noon()));
    // Boots without a clock, before and after.
    assert!(tell(&[unclear("A-1")], true).is_empty());
    assert_eq!(tell(&[affected("a", "A-1")], true), ["advisory-affects start a A-1"]);
    assert!(tell(&[unclear("A-1")], true).is_empty());
    assert_eq!(tell(&[waived("A-1")], true), ["advisory-affects end a a person has taken the risk (A-1)"]);
    assert!(tell(&[unclear("A-1")], true).is_empty());
    assert!(tell(&[waived("A-1")], true).is_empty());
    assert_eq!(tell(&[affected("a", "A-1")], true), ["advisory-affects start a A-1"]);
    // Of two one is waived; and of what is still to come nobody knows.
    assert_eq!(
        tell(&[affected("a", "A-1"), affected("a", "A-2")], true),
        ["advisory-affects update a A-1, A-2"]
    );
    assert_eq!(tell(&[waived("A-1"), affected("a", "A-2")], true), ["advisory-affects update a A-2"]);
    assert!(tell(&[waived("A-1")], false).is_empty());
    assert_eq!(tell(&[waived("A-2")], false), ["advisory-affects end a a person has taken the risk (A-2)"]);
}

#[test]
fn the_worst_finding_holds_a_device_and_what_is_not_known_lifts_nothing() {
    let quarantine = |why: &str| Action::Quarantine { reason: why.to_owned(), by: "M. Weber".to_owned() };
    let mut standing = Standing::default();
    let all = [
        judged("a", "A-1", Verdict::Affected, quarantine("worst")),
        judged("a", "A-2", Verdict::Affected, quarantine("other")),
        affected("b", "A-1"),
    ];
    standing.handle_holds(&all, |_, _| false);
    let hold = Hold { advisory: "A-1".to_owned(), reason: "worst (M. Weber)".to_owned() };
    assert_eq!(standing.holds, Holds::from([("a".to_owned(), hold.clone())]));
    standing.handle_holds(&[], |device, known| device == "a" && *known == hold);
    assert_eq!(standing.holds.len(), 1);
    standing.handle_holds(&[], |_, _| false);
    assert!(standing.holds.is_empty());
}

#[test]
fn the_end_of_support_is_told_when_it_has_passed_by_a_clock_that_is_right() {
    let device =
        |day: &str| Device { id: "a".to_owned(), end_of_support: Day::read(day), ..Device::default() };
    let mut standing = Standing::default();
    let mut tell = |day: &str, now: Now| shown(&standing.handle_support(&[device(day)], now));
    assert!(tell("2026-11-23", noon()).is_empty());
    assert!(tell("2026-11-22", at("2026-11-22T12:00:00Z", ClockSync::Unsynced)).is_empty());
    assert_eq!(tell("2026-11-22", noon()), ["support-ended start a it ended on 2026-11-22"]);
    assert!(tell("2026-11-22", noon()).is_empty());
    assert!(tell("2027-11-22", at("2026-11-22T12:00:00Z", ClockSync::Unsynced)).is_empty());
    assert_eq!(tell("2027-11-22", noon()).len(), 1);
    let lines = support_lines(&[device("2026-11-24")], noon().wall);
    assert_eq!(lines, ["a: the maker's support ends on 2026-11-24, in 2 day(s)"]);
}

#[test]
fn the_next_edge_is_the_first_waiver_or_end_of_support_to_come() {
    let until = |text: &str| crate::fleet::documents::Stamp(Wall::read(text).unwrap());
    let waived = |text: &str| {
        let (reason, by) = ("r".to_owned(), "b".to_owned());
        let action = Action::Waived { until: until(text), reason, by };
        Told::of(&judged("a", "A-1", Verdict::Affected, action)).unwrap()
    };
    let told = [waived("2026-11-25T00:00:00Z"), waived("2026-11-24T00:00:00Z")];
    let device = Device { end_of_support: Day::read("2026-11-23"), ..Device::default() };
    let now = noon().wall;
    assert_eq!(next_edge(&told, &[], now), Wall::read("2026-11-24T00:00:00Z"));
    assert_eq!(next_edge(&told, &[device], now), Wall::read("2026-11-23T00:00:00Z"));
    assert_eq!(next_edge(&told, &[], Wall::read("2026-12-01T00:00:00Z").unwrap()), None);
}
