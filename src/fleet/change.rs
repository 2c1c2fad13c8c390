//! From a bundle that is believed to one that runs, and back by itself.
//!
//! ```text
//!  idle ─▶ staged ─▶ trial ─▶ idle (it runs)
//!             │        └────▶ idle (the one before runs, this one is marked bad)
//!             └─────────────▶ staged (a newer one)
//! ```
//!
//! In: what happened. Out: the state to be made durable *before* the next step is taken, so that a
//! power cut at any moment leaves either the old or the new. The bundle's envelope is durable before it
//! is staged; the pointer to what runs is this state and nothing else.
//!
//! Two ways lead back from a bundle that did not come to run. The *bundle* is bad ([`Change::roll_back`],
//! [`Change::reject`]): it is remembered with its reason and never tried again. *This gateway* could not
//! ([`Change::unstage`], [`Change::abandon`]: its disk, its clock, a pause): nothing is remembered, and the
//! bundle is new when it is offered again.
//!
//! A trial survives a start: how well the gateway was before stands in this state with it, and its time
//! begins anew at each start, of which there are two at most (the one in which it began, and one more).

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::documents::Digest;
use super::health::Baseline;

/// How many bundles that failed are remembered.
const MOST_BAD: usize = 16;

/// The longest reason of a bundle that failed, in bytes of UTF-8: all of them together must fit into the
/// state (`kept::MAX_COPY`).
pub const MAX_REASON: usize = 512;

/// How often a gateway may start with a bundle on trial. A power cut is nobody's fault once.
const MOST_STARTS: u8 = 2;

/// A bundle by its version and the digest of its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Its version.
    pub version: u64,
    /// The digest of its envelope.
    pub sha256: Digest,
}

/// A bundle that was tried and taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bad {
    /// The bundle.
    pub slot: Slot,
    /// What it did.
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Phase {
    Idle,
    Staged(Slot),
    Trial { slot: Slot, starts: u8, baseline: Baseline },
}

/// Which bundle runs, and which is to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The last one that stood its trial; none: the files of the folder alone.
    running: Option<Slot>,
    phase: Phase,
    bad: Vec<Bad>,
}

/// What is to be done with a bundle that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// To be tried.
    New,
    /// It runs: nothing is to be done.
    Runs,
    /// It is staged already.
    Staged,
    /// It is on trial already.
    OnTrial,
    /// Another one is on trial: it is looked at again after that.
    Busy,
    /// It was tried, and taken back.
    Failed(String),
}

/// What a start found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// Nothing was under way.
    AsBefore,
    /// A bundle is staged: it waits for its moment.
    Waiting(Slot),
    /// A bundle is on trial, and the trial begins again.
    OnTrial(Slot),
    /// A bundle had too many starts: it is marked bad.
    RolledBack(Slot),
}

impl Default for Change {
    fn default() -> Self {
        Self { running: None, phase: Phase::Idle, bad: Vec::new() }
    }
}

impl Change {
    /// What is to be done with a bundle that is believed.
    pub fn offered(&self, slot: Slot) -> Offer {
        match self.phase {
            Phase::Trial { slot: tried, .. } if tried == slot => return Offer::OnTrial,
            Phase::Trial { .. } => return Offer::Busy,
            Phase::Staged(staged) if staged == slot => return Offer::Staged,
            Phase::Staged(_) | Phase::Idle => {}
        }
        if let Some(bad) = self.bad.iter().find(|bad| bad.slot == slot) {
            return Offer::Failed(bad.reason.clone());
        }
        if self.running == Some(slot) { Offer::Runs } else { Offer::New }
    }

    /// A bundle whose envelope is durable is to be tried. `false`: another one is on trial.
    pub fn stage(&mut self, slot: Slot) -> bool {
        let is_free = !matches!(self.phase, Phase::Trial { .. });
        if is_free {
            self.phase = Phase::Staged(slot);
        }
        is_free
    }

    /// What is staged is not begun: it was withdrawn, or this gateway cannot. It may be staged again.
    pub fn unstage(&mut self) -> Option<Slot> {
        let slot = self.staged()?;
        self.phase = Phase::Idle;
        Some(slot)
    }

    /// What is staged cannot be run by any start of this gateway: it is never tried.
    pub fn reject(&mut self, reason: &str) -> Option<Slot> {
        let slot = self.unstage()?;
        self.mark_bad(slot, reason);
        Some(slot)
    }

    /// The staged bundle's trial begins. How the gateway is now is what the trial is judged by, also after a
    /// start.
    pub fn begin(&mut self, baseline: Baseline) -> Option<Slot> {
        let slot = self.staged()?;
        self.phase = Phase::Trial { slot, starts: 1, baseline };
        Some(slot)
    }

    /// The daemon has started.
    pub fn started(&mut self) -> Started {
        let found = match &mut self.phase {
            Phase::Idle => Started::AsBefore,
            Phase::Staged(slot) => Started::Waiting(*slot),
            Phase::Trial { slot, starts, .. } if *starts < MOST_STARTS => {
                *starts = starts.saturating_add(1);
                Started::OnTrial(*slot)
            }
            Phase::Trial { slot, .. } => Started::RolledBack(*slot),
        };
        if let Started::RolledBack(_) = found {
            self.roll_back(&format!("the gateway was started {MOST_STARTS} times while it was on trial"));
        }
        found
    }

    /// The trial was stood.
    pub fn commit(&mut self) -> Option<Slot> {
        let slot = self.on_trial()?;
        self.running = Some(slot);
        self.phase = Phase::Idle;
        Some(slot)
    }

    /// The trial failed: the one before runs again, and this one is never tried again.
    pub fn roll_back(&mut self, reason: &str) -> Option<Slot> {
        let slot = self.abandon()?;
        self.mark_bad(slot, reason);
        Some(slot)
    }

    /// The trial cannot go on, and that is this gateway's fault: the one before runs again, and this one may
    /// be tried again.
    pub fn abandon(&mut self) -> Option<Slot> {
        let slot = self.on_trial()?;
        self.phase = Phase::Idle;
        Some(slot)
    }

    /// The bundle that runs cannot be read any more: the files of the folder run, and it is new when it is
    /// offered again.
    pub fn lose(&mut self) -> Option<Slot> {
        self.running.take()
    }

    fn mark_bad(&mut self, slot: Slot, reason: &str) {
        self.bad.retain(|bad| bad.slot != slot);
        if self.bad.len() >= MOST_BAD {
            self.bad.remove(0);
        }
        self.bad.push(Bad { slot, reason: shortened(reason) });
    }

    /// The bundle that a daemon is to run with; none: the files of the folder alone.
    pub const fn effective(&self) -> Option<Slot> {
        match &self.phase {
            Phase::Trial { slot, .. } => Some(*slot),
            Phase::Idle | Phase::Staged(_) => self.running,
        }
    }

    /// The last one that stood its trial.
    pub const fn running(&self) -> Option<Slot> {
        self.running
    }

    /// The one on trial.
    pub const fn on_trial(&self) -> Option<Slot> {
        match &self.phase {
            Phase::Trial { slot, .. } => Some(*slot),
            Phase::Idle | Phase::Staged(_) => None,
        }
    }

    /// How the gateway was before the bundle that is on trial.
    pub const fn baseline(&self) -> Option<&Baseline> {
        match &self.phase {
            Phase::Trial { baseline, .. } => Some(baseline),
            Phase::Idle | Phase::Staged(_) => None,
        }
    }

    /// The one that waits for its moment.
    pub const fn staged(&self) -> Option<Slot> {
        match &self.phase {
            Phase::Staged(slot) => Some(*slot),
            Phase::Idle | Phase::Trial { .. } => None,
        }
    }

    /// Those that were taken back, the newest last.
    pub fn bad(&self) -> &[Bad] {
        &self.bad
    }
}

/// At most [`MAX_REASON`] bytes of it, without the characters that JSON writes in six.
fn shortened(reason: &str) -> String {
    let reason: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = (0..=MAX_REASON.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
    reason.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}
