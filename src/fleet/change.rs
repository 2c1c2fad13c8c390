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

use serde::{Deserialize, Serialize};

use super::documents::Digest;

/// How many bundles that failed are remembered.
const MOST_BAD: usize = 16;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Phase {
    Idle,
    Staged(Slot),
    Trial { slot: Slot, starts: u8 },
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

    /// What is staged was withdrawn before it began.
    pub fn unstage(&mut self) {
        if matches!(self.phase, Phase::Staged(_)) {
            self.phase = Phase::Idle;
        }
    }

    /// The staged bundle's trial begins.
    pub fn begin(&mut self) -> Option<Slot> {
        let Phase::Staged(slot) = self.phase else { return None };
        self.phase = Phase::Trial { slot, starts: 1 };
        Some(slot)
    }

    /// The daemon has started.
    pub fn started(&mut self) -> Started {
        match self.phase {
            Phase::Idle => Started::AsBefore,
            Phase::Staged(slot) => Started::Waiting(slot),
            Phase::Trial { slot, starts } if starts < MOST_STARTS => {
                self.phase = Phase::Trial { slot, starts: starts.saturating_add(1) };
                Started::OnTrial(slot)
            }
            Phase::Trial { slot, starts } => {
                self.roll_back(format!("the gateway was started {starts} times while it was on trial"));
                Started::RolledBack(slot)
            }
        }
    }

    /// The trial was stood.
    pub fn commit(&mut self) -> Option<Slot> {
        let Phase::Trial { slot, .. } = self.phase else { return None };
        self.running = Some(slot);
        self.phase = Phase::Idle;
        Some(slot)
    }

    /// The trial failed: the one before runs again, and this one is never tried again.
    pub fn roll_back(&mut self, reason: String) -> Option<Slot> {
        let Phase::Trial { slot, .. } = self.phase else { return None };
        self.phase = Phase::Idle;
        self.bad.retain(|bad| bad.slot != slot);
        if self.bad.len() >= MOST_BAD {
            self.bad.remove(0);
        }
        self.bad.push(Bad { slot, reason });
        Some(slot)
    }

    /// The bundle that a daemon is to run with; none: the files of the folder alone.
    pub const fn effective(&self) -> Option<Slot> {
        match self.phase {
            Phase::Trial { slot, .. } => Some(slot),
            Phase::Idle | Phase::Staged(_) => self.running,
        }
    }

    /// The last one that stood its trial.
    pub const fn running(&self) -> Option<Slot> {
        self.running
    }

    /// The one on trial.
    pub const fn on_trial(&self) -> Option<Slot> {
        match self.phase {
            Phase::Trial { slot, .. } => Some(slot),
            Phase::Idle | Phase::Staged(_) => None,
        }
    }

    /// The one that waits for its moment.
    pub const fn staged(&self) -> Option<Slot> {
        match self.phase {
            Phase::Staged(slot) => Some(slot),
            Phase::Idle | Phase::Trial { .. } => None,
        }
    }

    /// Those that were taken back, the newest last.
    pub fn bad(&self) -> &[Bad] {
        &self.bad
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(version: u64) -> Slot {
        Slot { version, sha256: Digest::of(&version.to_be_bytes()) }
    }

    fn on_trial(version: u64) -> Change {
        let mut change = Change { running: Some(slot(1)), ..Change::default() };
        assert!(change.stage(slot(version)));
        assert_eq!(change.begin(), Some(slot(version)));
        change
    }

    #[test]
    fn a_bundle_that_stands_its_trial_runs() {
        let mut change = on_trial(2);
        assert_eq!((change.effective(), change.running()), (Some(slot(2)), Some(slot(1))));
        assert_eq!(change.commit(), Some(slot(2)));
        assert_eq!((change.effective(), change.offered(slot(2))), (Some(slot(2)), Offer::Runs));
    }

    #[test]
    fn a_bundle_that_fails_is_never_tried_again() {
        let mut change = on_trial(2);
        change.roll_back("no PUBACK".to_owned());
        assert_eq!(change.effective(), Some(slot(1)));
        assert_eq!(change.offered(slot(2)), Offer::Failed("no PUBACK".to_owned()));
        assert_eq!(change.offered(slot(3)), Offer::New);
        assert_eq!(change.commit(), None);
    }

    #[test]
    fn one_power_cut_is_forgiven_and_the_second_start_without_success_is_the_end() {
        let mut change = on_trial(2);
        assert_eq!(change.started(), Started::OnTrial(slot(2)));
        assert_eq!(change.effective(), Some(slot(2)));
        assert_eq!(change.started(), Started::RolledBack(slot(2)));
        assert_eq!((change.effective(), change.started()), (Some(slot(1)), Started::AsBefore));
    }

    #[test]
    fn a_newer_one_takes_the_place_of_what_waits_but_not_of_what_is_on_trial() {
        let mut change = Change::default();
        assert!(change.stage(slot(1)) && change.stage(slot(2)));
        assert_eq!((change.staged(), change.effective()), (Some(slot(2)), None));
        assert_eq!(change.started(), Started::Waiting(slot(2)));
        assert_eq!((change.offered(slot(2)), change.offered(slot(1))), (Offer::Staged, Offer::New));
        change.begin();
        assert!(!change.stage(slot(3)));
        assert_eq!((change.offered(slot(3)), change.offered(slot(2))), (Offer::Busy, Offer::OnTrial));
    }

    proptest! {
        /// Whatever happens, in whatever order: what runs has stood a trial, or is on one; and what
        /// failed is never what runs.
        #[test]
        fn what_runs_has_stood_its_trial(steps in prop::collection::vec((0u8..6, 1u64..9), 0..200)) {
            let mut change = Change::default();
            let mut stood = Vec::new();
            for (step, version) in steps {
                match step {
                    0 if matches!(change.offered(slot(version)), Offer::New) => { change.stage(slot(version)); }
                    1 => { change.begin(); }
                    2 => stood.extend(change.commit()),
                    3 => { change.roll_back("it failed".to_owned()); }
                    4 => { change.started(); }
                    5 => change.unstage(),
                    _ => {}
                }
                let read: Change = serde_json::from_str(&serde_json::to_string(&change).unwrap()).unwrap();
                prop_assert_eq!(&read, &change);
                let effective = change.effective();
                prop_assert!(effective == change.on_trial() || change.on_trial().is_none());
                prop_assert!(change.running().is_none_or(|slot| stood.contains(&slot)));
                prop_assert!(change.bad().len() <= MOST_BAD);
                prop_assert!(change.bad().iter().all(|bad| Some(bad.slot) != effective || stood.contains(&bad.slot)));
            }
        }
    }
}
