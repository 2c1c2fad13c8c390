//! How far a roll-out has come, and whether it does harm. Pure: the roll-out, what its members report, and the time
//! in; counts and a reason to stop out.
//!
//! It is to stop when `max(2, 5 %)` of those that tried the bundle have taken it back, or when a member gives no sign
//! of life for ten minutes after its turn came.

use serde::Serialize;

use crate::fleet::documents::reported::{Reported, Word};
use crate::fleet::documents::{Head, Rollout, Timestamp};
use crate::fleet::turn::{Turn, turn};
use crate::time::Wall;

/// How long a member may give no sign of life.
const SILENT_MS: i64 = 10 * 60 * 1_000;
/// The fewest failures that stop a roll-out.
const FEWEST: usize = 2;
/// One failure in so many that tried it: 5 %.
const ONE_IN: usize = 20;

/// A gateway of the group.
pub(super) struct Member<'a> {
    pub(super) id: &'a str,
    /// What it reports, and whether that is proven.
    pub(super) report: Option<(&'a Reported, bool)>,
    /// Its newest sign of life.
    pub(super) heard: Option<Wall>,
}

/// What a member does about the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It runs it, and has proven that.
    Runs,
    /// It says that it runs it; nothing proves that.
    Claims,
    /// It fetches or tries it.
    UnderWay,
    /// It has taken it back.
    Failed,
    /// Nothing yet.
    Waits,
}

/// Members whose turn comes together.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Share {
    /// `canaries`, `5 %`, `no wave`.
    pub(super) name: String,
    /// From when on; null: at once, or never.
    pub(super) from: Option<String>,
    pub(super) members: usize,
    pub(super) run: usize,
    /// Say that they run it, without a proof.
    pub(super) claim: usize,
    pub(super) under_way: usize,
    pub(super) failed: Vec<String>,
    /// Gave no sign of life for ten minutes after their turn.
    pub(super) silent: Vec<String>,
}

/// How far a roll-out has come.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Progress {
    pub(super) group: String,
    pub(super) bundle: u64,
    pub(super) paused: bool,
    pub(super) shares: Vec<Share>,
    /// Those that run it or have taken it back.
    pub(super) executed: usize,
    pub(super) failures: usize,
    /// Why it is to stop; null: it may go on.
    pub(super) stop: Option<String>,
}

/// How far the roll-out of a timestamp has come. Those in `except` may be silent: somebody knows that they are off.
pub(super) fn progress(stamp: &Timestamp, members: &[Member<'_>], except: &[String], now: Wall) -> Progress {
    let Timestamp { head, rollout, .. } = stamp;
    let mut shares = names(rollout);
    let (mut executed, mut silent) = (0, Vec::new());
    let mut failed = Vec::new();
    for member in members {
        let (place, begun) = place(rollout, member.id, stamp.issued_at.0);
        let Some(share) = shares.get_mut(place) else { continue };
        share.members += 1;
        let state = state(head, member.report);
        match state {
            State::Runs => share.run += 1,
            State::Claims => share.claim += 1,
            State::UnderWay => share.under_way += 1,
            State::Failed => {
                share.failed.push(member.id.to_owned());
                failed.push(member.id);
            }
            State::Waits => {}
        }
        executed += usize::from(matches!(state, State::Runs | State::Failed));
        let is_late = |at: Wall| now.as_millis().saturating_sub(at.as_millis()) > SILENT_MS;
        let is_off = begun.is_some_and(is_late) && member.heard.is_none_or(is_late);
        if is_off && !except.iter().any(|one| one == member.id) {
            share.silent.push(member.id.to_owned());
            silent.push(member.id);
        }
    }
    let failures = failed.len();
    let stop = if failures >= FEWEST && failures.saturating_mul(ONE_IN) >= executed {
        Some(format!("{failures} of {executed} have taken bundle {} back: {}", head.version, few(&failed)))
    } else if silent.is_empty() {
        None
    } else {
        Some(format!("no sign of life for 10 minutes after their turn: {}", few(&silent)))
    };
    shares.retain(|share| share.members > 0 || share.from.is_some());
    Progress {
        group: stamp.group.clone(),
        bundle: head.version,
        paused: rollout.paused,
        shares,
        executed,
        failures,
        stop,
    }
}

fn names(rollout: &Rollout) -> Vec<Share> {
    let of = |name: String, from: Option<String>| Share { name, from, ..Share::default() };
    let waves = rollout
        .waves
        .iter()
        .map(|wave| of(format!("{} %", f64::from(wave.share) / 100.0), Some(wave.start.0.to_string())));
    let first = std::iter::once(of("canaries".to_owned(), None));
    first.chain(waves).chain(std::iter::once(of("no wave".to_owned(), None))).collect()
}

/// In which share a gateway is, and since when it is its turn. Of a canary it is only known that it was its turn when
/// the timestamp was signed.
fn place(rollout: &Rollout, gateway: &str, signed: Wall) -> (usize, Option<Wall>) {
    let paused = rollout.paused;
    let rollout = Rollout { paused: false, ..rollout.clone() };
    let last = rollout.waves.len().saturating_add(1);
    // Before any wave has begun, so that its start is told.
    match turn(&rollout, gateway, Wall::from_millis(i64::MIN)) {
        Turn::Now => (0, Some(signed)),
        Turn::From(start) => {
            let wave = rollout.waves.iter().position(|wave| wave.start.0 == start);
            // Whose turn had not come when it was paused has no turn.
            let begun = (!paused || start <= signed).then_some(start);
            (wave.map_or(last, |place| place.saturating_add(1)), begun)
        }
        Turn::NotYet | Turn::Paused => (last, None),
    }
}

fn state(head: &Head, report: Option<(&Reported, bool)>) -> State {
    let Some((report, proven)) = report else { return State::Waits };
    // A failure counts without a proof: at worst it makes people look.
    if report.bad.as_ref().is_some_and(|bad| bad.version == head.version) {
        return State::Failed;
    }
    let runs = report.running.is_some_and(|one| one.version == head.version && one.sha256 == head.sha256);
    let word = report.standing.word;
    if word == Word::UnderWay || (word == Word::Fetches && !runs) {
        State::UnderWay
    } else if !runs {
        State::Waits
    } else if proven {
        State::Runs
    } else {
        State::Claims
    }
}

/// The first few names.
fn few(names: &[&str]) -> String {
    let shown: Vec<&str> = names.iter().take(5).copied().collect();
    let more = names.len().saturating_sub(shown.len());
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

#[cfg(test)]
mod tests {
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
        let text = include_str!("../documents/testdata/reported.json");
        let running = Running { version: 8, sha256: Digest::of(if runs { b"8" } else { b"7" }) };
        let bad = bad.then(|| Bad { version: 8, reason: "x".to_owned() });
        let standing = Standing { word, detail: None };
        Reported { running: Some(running), bad, standing, ..Reported::read(text.as_bytes()).unwrap() }
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
                Member { id, report: Some((said, proven)), heard: Some(after(5)) }
            })
            .collect();
        progress(&stamp(), &members, &[], after(5))
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
            assert_eq!(
                progress.stop.is_some(),
                stops,
                "{failed} of {}: {:?}",
                progress.executed,
                progress.stop
            );
            assert_eq!((progress.failures, progress.executed), (failed, failed + run));
        }
        assert!(judged(8, 0, true).stop.unwrap().ends_with("gw-3, gw-4 and 3 more"));
        // What nothing proves does not count for the bundle, only against it.
        assert_eq!(judged(2, 39, false).executed, 2);
        assert!(judged(2, 39, false).stop.is_some());
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
            let member = Member { id, report: Some((&waits, true)), heard: heard.map(after) };
            let mut stamp = stamp();
            stamp.rollout.paused = paused;
            progress(&stamp, &[member], except, after(now)).stop
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
    fn a_trial_is_under_way_until_it_is_over() {
        let head = stamp().head;
        let state = |word, runs, bad| state(&head, Some((&report(word, runs, bad), true)));
        assert_eq!(state(Word::UnderWay, true, false), State::UnderWay);
        assert_eq!(state(Word::Fetches, false, false), State::UnderWay);
        assert_eq!(state(Word::Current, true, false), State::Runs);
        assert_eq!(state(Word::Stale, true, false), State::Runs);
        assert_eq!(state(Word::Current, true, true), State::Failed);
        assert_eq!(state(Word::Waits, false, false), State::Waits);
        assert_eq!(super::state(&head, None), State::Waits);
    }
}
