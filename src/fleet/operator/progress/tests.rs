use super::*;
use crate::fleet::documents::reported::{Bad, Running, Standing};
use crate::fleet::documents::{Digest, Document as _, SCHEMA, Stamp, Wave};

const MINUTE: i64 = 60_000;
const NOW: i64 = 1_795_000_000_000;

fn after(minutes: i64) -> Wall {
    Wall::from_millis(NOW + minutes * MINUTE)
}

fn stamp() -> Timestamp {
    let wave = |share, minutes| Wave { share, start: Stamp(after(minutes)) };
    Timestamp {
        schema: SCHEMA,
        organisation: "st-anna".to_owned(),
        group: "icu-3".to_owned(),
        version: 5,
        issued_at: Stamp(after(0)),
        expires: Stamp(after(2_880)),
        head: Head { version: 8, sha256: Digest::of(b"8"), root: 1 },
        rollout: Rollout {
            id: "r-8".to_owned(),
            canaries: vec!["gw-0".to_owned()],
            waves: vec![wave(5_000, 60), wave(10_000, 120)],
            paused: false,
        },
    }
}

fn report(word: Word, runs: bool, bad: bool) -> Reported {
    let text = include_str!("../../documents/testdata/reported.json");
    let running = Running { version: 8, sha256: Digest::of(if runs { b"8" } else { b"7" }) };
    let bad = bad.then(|| Bad { version: 8, sha256: None, reason: "x".to_owned() });
    let standing = Standing { word, detail: None };
    Reported { running: Some(running), bad, standing, ..Reported::read(text.as_bytes()).unwrap() }
}

fn said_by<'a>(id: &'a str, report: &'a Reported, proven: bool) -> Member<'a> {
    let [own, other] = if proven { [Some(report), None] } else { [None, Some(report)] };
    Member { id, proven: own, unproven: other, heard: Some(after(5)), signed: own.map(|_| after(5)) }
}

/// A hundred gateways: the first so many have failed, the next so many run it.
fn judged(failed: usize, run: usize, proven: bool) -> Progress {
    let names: Vec<String> = (0..100).map(|number| format!("gw-{number}")).collect();
    let (runs, fails) = (report(Word::Current, true, false), report(Word::Failed, false, true));
    let waits = report(Word::Waits, false, false);
    let members: Vec<Member<'_>> = names
        .iter()
        .enumerate()
        .map(|(number, id)| {
            let said = if number < failed {
                &fails
            } else if number < failed + run {
                &runs
            } else {
                &waits
            };
            said_by(id, said, proven)
        })
        .collect();
    progress(&stamp(), &members, &Judge { except: &[], now: after(5), heartbeat: None })
}

#[test]
fn two_failures_and_a_twentieth_stop_it() {
    for (failed, run, stops) in [
        (0, 10, false),
        (1, 0, false),
        (2, 0, true),
        (2, 38, true),
        (2, 39, false),
        (4, 76, true),
        (4, 77, false),
    ] {
        let progress = judged(failed, run, true);
        assert_eq!(progress.stop.is_some(), stops, "{failed} of {}: {:?}", progress.executed, progress.stop);
        assert_eq!((progress.failures, progress.executed), (failed, failed + run));
    }
    assert!(judged(8, 0, true).stop.unwrap().ends_with("gw-3, gw-4 and 3 more"));
    // What nothing proves counts neither for the bundle nor against it; who is accused is named.
    let forged = judged(50, 39, false);
    assert_eq!((forged.executed, forged.failures, forged.stop), (0, 0, None));
    assert_eq!(forged.shares.iter().map(|share| share.failed_unproven.len()).sum::<usize>(), 50);
}

#[test]
fn each_share_counts_its_own() {
    let progress = judged(1, 99, true);
    let shares: Vec<(&str, usize, usize)> =
        progress.shares.iter().map(|share| (share.name.as_str(), share.members, share.run)).collect();
    let [("canaries", 1, 0), ("50 %", half, run), ("100 %", rest, others)] = shares[..] else {
        panic!("{shares:?}")
    };
    assert_eq!((half, rest, half + rest), (run, others, 99));
    assert!((30..70).contains(&half), "{half}");
    assert_eq!(progress.shares[0].failed, ["gw-0"]);
}

#[test]
fn a_member_that_is_silent_after_its_turn_stops_it() {
    let waits = report(Word::Waits, false, false);
    let judged = |id: &str, heard: Option<i64>, now: i64, paused: bool, except: &[String]| {
        let heard = heard.map(after);
        let member = Member { heard, signed: heard, ..said_by(id, &waits, true) };
        let mut stamp = stamp();
        stamp.rollout.paused = paused;
        progress(&stamp, &[member], &Judge { except, now: after(now), heartbeat: None }).stop
    };
    // A canary's turn is when it was signed.
    assert_eq!(judged("gw-0", None, 10, false, &[]), None);
    assert!(judged("gw-0", None, 11, false, &[]).unwrap().contains("gw-0"));
    assert_eq!(judged("gw-0", Some(1), 11, false, &[]), None);
    assert!(judged("gw-0", Some(0), 11, false, &[]).is_some());
    assert_eq!(judged("gw-0", None, 11, false, &["gw-0".to_owned()]), None);
    // Of the others it is the start of their wave: silence before that is nothing new.
    let other = (1..10_000)
        .map(|number| format!("gw-{number}"))
        .find(|id| place(&stamp().rollout, id, after(0)).0 == 1);
    let other = other.unwrap();
    assert_eq!(judged(&other, None, 70, false, &[]), None);
    assert!(judged(&other, None, 71, false, &[]).is_some());
    assert_eq!(judged(&other, None, 71, true, &[]), None, "its turn has not come");
}

#[test]
fn a_canary_lives_by_what_it_has_signed_and_silence_is_longer_where_heartbeats_are() {
    let waits = report(Word::Waits, false, false);
    let judged = |signed: Option<i64>, now: i64, heartbeat: Option<u64>| {
        let member =
            Member { heard: Some(after(now)), signed: signed.map(after), ..said_by("gw-0", &waits, false) };
        let heartbeat = heartbeat.map(Duration::from_secs);
        progress(&stamp(), &[member], &Judge { except: &[], now: after(now), heartbeat }).stop
    };
    assert!(judged(None, 11, None).is_some(), "heard just now, by nobody knows whom");
    assert_eq!(judged(Some(1), 11, None), None);
    assert_eq!(judged(Some(1), 31, Some(900)), None);
    assert!(judged(Some(1), 32, Some(900)).unwrap().contains("for 30 minutes"));
    assert!(judged(Some(1), 12, Some(30)).unwrap().contains("for 10 minutes"));
}

#[test]
fn a_forged_failure_leaves_what_is_proven() {
    let (runs, fails) = (report(Word::Current, true, false), report(Word::Failed, false, true));
    let head = stamp().head;
    let beside = Member { unproven: Some(&fails), ..said_by("gw-0", &runs, true) };
    assert_eq!(state(&head, &beside), State::Runs);
    let shares = progress(&stamp(), &[beside], &Judge { except: &[], now: after(5), heartbeat: None }).shares;
    assert_eq!((shares[0].run, &shares[0].failed_unproven[..]), (1, &["gw-0".to_owned()][..]));
    let proven = Member { unproven: Some(&runs), ..said_by("gw-0", &fails, true) };
    assert_eq!(state(&head, &proven), State::Failed);
}

#[test]
fn another_bundle_of_the_same_number_that_was_taken_back_is_no_failure_of_this_one() {
    let judged = |sha256: Option<Digest>| {
        let mut said = report(Word::Waits, false, true);
        if let Some(bad) = said.bad.as_mut() {
            bad.sha256 = sha256;
        }
        let one = Member { unproven: Some(&said), ..said_by("gw-0", &said, true) };
        let judge = Judge { except: &[], now: after(5), heartbeat: None };
        let forged =
            progress(&stamp(), &[Member { proven: None, ..one }], &judge).shares[0].failed_unproven.len();
        (state(&stamp().head, &said_by("gw-0", &said, true)), forged)
    };
    assert_eq!(judged(Some(Digest::of(b"8"))), (State::Failed, 1));
    assert_eq!(judged(Some(Digest::of(b"another 8"))), (State::Waits, 0));
    // A program that did not tell it yet.
    assert_eq!(judged(None), (State::Failed, 1));
}

#[test]
fn a_trial_is_under_way_until_it_is_over() {
    let head = stamp().head;
    let state = |word, runs, bad| state(&head, &said_by("gw-0", &report(word, runs, bad), true));
    assert_eq!(state(Word::UnderWay, true, false), State::UnderWay);
    assert_eq!(state(Word::AlarmWait, false, false), State::UnderWay);
    assert_eq!(state(Word::Fetches, false, false), State::UnderWay);
    assert_eq!(state(Word::Current, true, false), State::Runs);
    assert_eq!(state(Word::Stale, true, false), State::Runs);
    assert_eq!(state(Word::Current, true, true), State::Failed);
    assert_eq!(state(Word::Waits, false, false), State::Waits);
    let nothing = Member { id: "gw-0", proven: None, unproven: None, heard: None, signed: None };
    assert_eq!(super::state(&head, &nothing), State::Waits);
}

/// A gateway remembers the last bundle that it took back for as long as there is no other.
#[test]
fn a_failure_of_the_bundle_before_says_nothing_of_this_one() {
    for (version, is_failure) in [(7, false), (8, true), (9, false)] {
        let mut runs = report(Word::Current, true, true);
        runs.bad = Some(Bad { version, sha256: None, reason: "x".to_owned() });
        let found = state(&stamp().head, &said_by("gw-0", &runs, true));
        assert_eq!(matches!(found, State::Failed), is_failure, "{version}");
    }
}
