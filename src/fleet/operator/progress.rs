//! How far a roll-out has come, and whether it does harm. Pure: the roll-out, what its members report, and the time
//! in; counts and a reason to stop out.
//!
//! It is to stop when `max(2, 5 %)` of those that tried the bundle have taken it back, or when a member gives no sign
//! of life for ten minutes after its turn came, or for two heartbeats where the bundle sets longer ones. Whoever may
//! write at the broker must not be able to stop a roll-out, nor keep one going: only what a gateway's key has signed
//! counts as a failure, and as a canary's life. What is not signed is named.

use std::time::Duration;

use serde::Serialize;

use crate::fleet::documents::reported::{Bad, Reported, Word};
use crate::fleet::documents::{Head, Rollout, Timestamp};
use crate::fleet::turn::{Turn, turn};
use crate::time::Wall;

const MINUTE_MS: i64 = 60 * 1_000;
/// How long a member may give no sign of life, at least.
const SILENT_MS: i64 = 10 * MINUTE_MS;
/// The fewest failures that stop a roll-out.
const FEWEST: usize = 2;
/// One failure in so many that tried it: 5 %.
const ONE_IN: usize = 20;

/// A gateway of the group.
pub(super) struct Member<'a> {
    pub(super) id: &'a str,
    /// Its newest report that is proven.
    pub(super) proven: Option<&'a Reported>,
    /// What lies there as its report, unproven.
    pub(super) unproven: Option<&'a Reported>,
    /// Its newest sign of life, signed or not.
    pub(super) heard: Option<Wall>,
    /// Its newest one that is signed.
    pub(super) signed: Option<Wall>,
}

/// By what a roll-out is judged.
pub(super) struct Judge<'a> {
    /// Those that may be silent: somebody knows that they are off.
    pub(super) except: &'a [String],
    pub(super) now: Wall,
    /// The time between two heartbeats, where the bundle sets it.
    pub(super) heartbeat: Option<Duration>,
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
    /// It has taken it back, and has signed that.
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
    /// Of which it is said that they have taken it back, without a proof: that stops nothing, and somebody is to look.
    pub(super) failed_unproven: Vec<String>,
    /// Gave no sign of life for long after their turn.
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

impl Judge<'_> {
    /// How long a member may give no sign of life.
    fn patience(&self) -> i64 {
        let two =
            self.heartbeat.map_or(0, |one| i64::try_from(one.as_millis()).unwrap_or(0).saturating_mul(2));
        two.max(SILENT_MS)
    }

    /// Whether that was longer ago than a member may be silent.
    fn is_late(&self, at: Wall) -> bool {
        self.now.as_millis().saturating_sub(at.as_millis()) > self.patience()
    }

    fn is_silent(&self, member: &Member<'_>, begun: Option<Wall>, is_canary: bool) -> bool {
        let heard = if is_canary { member.signed } else { member.heard };
        begun.is_some_and(|at| self.is_late(at))
            && heard.is_none_or(|at| self.is_late(at))
            && !self.except.iter().any(|one| one == member.id)
    }
}

/// How far the roll-out of a timestamp has come.
pub(super) fn progress(stamp: &Timestamp, members: &[Member<'_>], judge: &Judge<'_>) -> Progress {
    let Timestamp { head, rollout, .. } = stamp;
    let mut shares = names(rollout);
    let (mut executed, mut silent) = (0, Vec::new());
    let mut failed = Vec::new();
    for member in members {
        let (place, begun) = place(rollout, member.id, stamp.issued_at.0);
        let Some(share) = shares.get_mut(place) else { continue };
        share.members += 1;
        let state = state(head, member);
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
        if state != State::Failed && member.unproven.is_some_and(|report| took_back(head, report)) {
            share.failed_unproven.push(member.id.to_owned());
        }
        executed += usize::from(matches!(state, State::Runs | State::Failed));
        if judge.is_silent(member, begun, place == 0) {
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
        let minutes = judge.patience() / MINUTE_MS;
        Some(format!("no sign of life for {minutes} minutes after their turn: {}", few(&silent)))
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

/// Whether a report says so of the bundle that is current. Another one of that number is another matter; a report that
/// tells no digest is taken at the number's word.
fn took_back(head: &Head, report: &Reported) -> bool {
    let is_head =
        |bad: &Bad| bad.version == head.version && bad.sha256.is_none_or(|sha256| sha256 == head.sha256);
    report.bad.as_ref().is_some_and(is_head)
}

fn state(head: &Head, member: &Member<'_>) -> State {
    let Some(report) = member.proven.or(member.unproven) else { return State::Waits };
    if member.proven.is_some_and(|report| took_back(head, report)) {
        return State::Failed;
    }
    let proven = member.proven.is_some();
    let runs = report.running.is_some_and(|one| one.version == head.version && one.sha256 == head.sha256);
    let word = report.standing.word;
    if matches!(word, Word::UnderWay | Word::AlarmWait) || (word == Word::Fetches && !runs) {
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
pub(super) fn few(names: &[&str]) -> String {
    let shown: Vec<&str> = names.iter().take(5).copied().collect();
    let more = names.len().saturating_sub(shown.len());
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

#[cfg(test)]
mod tests;
