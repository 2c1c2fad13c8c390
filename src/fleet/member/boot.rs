//! What a gateway starts with, and as whose member.
//!
//! In: the fleet's folder, and a way to load the configuration. Out: the configuration that is to run, and the
//! [`Member`] that goes on from there.
//!
//! Readings of patients must not wait for the fleet: whatever is wrong with its folder, the gateway starts. What it
//! then runs:
//!
//! - The state cannot be believed, or the gateway was never enrolled: the files alone, and nothing of the fleet is
//!   taken ([`Membership::Locked`]) until somebody has come. The files are what the gateway's own administrator
//!   wrote, so they widen nothing. A bundle out of such a folder would not be safe: without the state nobody knows
//!   whether it is the last one or one that was withdrawn.
//! - The state is good, but the bundle that runs is lost or was changed: the files alone, and the bundle that is
//!   current is asked for anew, verified and tried like any other.
//! - The bundle does not load on this gateway any more, the files do: the files, told as a trouble.
//!
//! Only a gateway whose files do not load either does not start: there is nothing that it could run.

use std::collections::VecDeque;
use std::path::Path;

use super::{Effective, Load, Member, Order, Parts, Told, limits};
use crate::config::{Loaded, Problems, Pushed};
use crate::fleet::advisories::desk::Desk;
use crate::fleet::change::{Change, Slot};
use crate::fleet::folder::{Folder, FolderError};
use crate::fleet::start::{self, Start, StartError, TakenBack};
use crate::fleet::trust::{Recipient, Trust};
use crate::time::Now;

/// What a gateway starts with.
pub struct Boot {
    /// The configuration.
    pub loaded: Loaded,
    /// Whose member it is.
    pub membership: Membership,
    /// What was found on the way that somebody should know, in words.
    pub remarks: Vec<String>,
}

/// Whether the gateway takes anything from its fleet.
pub enum Membership {
    /// It does.
    Member(Box<Enrolled>),
    /// What was kept of the fleet is not to be believed.
    Locked(Locked),
}

/// Why nothing of the fleet is taken.
#[derive(Clone, Debug)]
pub struct Locked {
    /// Whose documents they would be.
    pub recipient: Recipient,
    /// In words.
    pub reason: String,
}

/// A gateway that is enrolled, before its daemon runs.
pub struct Enrolled {
    recipient: Recipient,
    folder: Folder,
    trust: Trust,
    effective: Effective,
    trial: Option<super::Limits>,
    found: Found,
}

/// What a start found of what the run before left, for the member to tell.
#[derive(Debug, Default)]
pub struct Found {
    /// A bundle was on trial: that was told to have begun, and is not over for whoever was told.
    pub(super) was_on_trial: bool,
    /// What was taken back.
    pub(super) taken_back: Vec<TakenBack>,
    /// Why something else runs than what stood its trial.
    pub(super) trouble: Option<String>,
}

impl Found {
    /// In the order in which it was found.
    pub(super) fn told(&self) -> VecDeque<Order> {
        let taken_back = self.taken_back.iter().cloned().map(|taken| match taken {
            TakenBack::Bad(version, reason) => Told::TakenBack(version, reason),
            TakenBack::Dropped(version, reason) => Told::Dropped(version, reason),
        });
        let trouble = self.trouble.iter().cloned().map(Told::FilesRun);
        taken_back.chain(trouble).map(Order::Tell).collect()
    }
}

impl Enrolled {
    /// What is pushed at the moment, for whoever reads the files again.
    pub fn effective(&self) -> Effective {
        self.effective.clone()
    }

    /// Tells the desk which bundle runs, before the daemon does. Gives what is wrong, in words.
    pub fn brief(&self, desk: &Desk) -> Vec<String> {
        let Some(slot) = self.folder.change().running() else { return Vec::new() };
        match start::bundle(&self.folder, slot) {
            Ok(bundle) => desk.handle_bundle(&bundle),
            Err(fault) => vec![fault.into_words()],
        }
    }

    /// The member, once the daemon runs. `load` refuses what a running daemon cannot take; what comes of advisories
    /// is put on the desk.
    pub fn into_member(
        self,
        load: Load,
        import: Option<std::path::PathBuf>,
        desk: Desk,
        now: &Now,
    ) -> Member {
        let Self { recipient, folder, trust, effective, trial, found } = self;
        let parts = Parts { recipient, folder, trust, load, effective, import, found, desk };
        Member::new(parts, trial, now)
    }
}

/// Decides what the gateway starts with. `load` is given what a bundle pushes; the files alone with `None`.
pub fn boot(
    path: &Path,
    recipient: Recipient,
    load: impl Fn(Option<&Pushed>) -> Result<Loaded, Problems>,
) -> Result<Boot, Problems> {
    let (mut folder, trust) = match Folder::open(path, recipient.clone()) {
        Ok(opened) => opened,
        Err(error) => return locked(recipient, &error, load),
    };
    let was_on_trial = folder.change().on_trial().is_some();
    let (start, trouble) = match start::start(&mut folder, &recipient.gateway, &load) {
        Ok(start) => {
            let trouble = start.trouble.clone();
            (start, trouble)
        }
        // What it would mean for the bundles could not be kept: a trial that would begin again for ever.
        Err(StartError::Folder(error)) => return locked(recipient, &error, load),
        Err(StartError::Bundle { version, reason, taken_back }) => {
            let loaded = load(None)?;
            if let Err(error) = folder.step(Change::lose) {
                return locked(recipient, &error, load);
            }
            let lost = format!(
                "bundle {version} ran and cannot be read: {reason}; the files run until it has come again"
            );
            (Start { loaded, bundle: None, is_trial: false, taken_back, trouble: None }, Some(lost))
        }
        Err(StartError::Config(problems)) => return Err(problems),
    };
    let Start { loaded, is_trial, taken_back, .. } = start;
    let trial = is_trial.then(|| limits(&loaded.config));
    let mut remarks = Vec::new();
    let effective = Effective::default();
    if trouble.is_none() {
        effective.set(pushed(&folder, folder.change().effective(), &recipient, &mut remarks));
    }
    let found = Found { was_on_trial, taken_back, trouble };
    let enrolled = Enrolled { recipient, folder, trust, effective, trial, found };
    Ok(Boot { loaded, membership: Membership::Member(Box::new(enrolled)), remarks })
}

/// What is kept of a fleet.
#[derive(Debug)]
pub struct Kept {
    /// What is believed.
    pub trust: Trust,
    /// What the bundle that is effective pushes; none: the files alone.
    pub pushed: Option<Pushed>,
    /// What was found on the way that somebody should know, in words.
    pub remarks: Vec<String>,
}

/// What a daemon would go by, for whoever only looks: nothing is changed, no trial begins or ends.
pub fn look(path: &Path, recipient: &Recipient) -> Result<Kept, FolderError> {
    let (folder, trust) = Folder::open(path, recipient.clone())?;
    let mut remarks = Vec::new();
    let pushed = pushed(&folder, folder.change().effective(), recipient, &mut remarks);
    Ok(Kept { trust, pushed, remarks })
}

fn pushed(
    folder: &Folder,
    slot: Option<Slot>,
    recipient: &Recipient,
    remarks: &mut Vec<String>,
) -> Option<Pushed> {
    start::read(folder, slot?, &recipient.gateway).map_err(|fault| remarks.push(fault.into_words())).ok()
}

fn locked(
    recipient: Recipient,
    error: &FolderError,
    load: impl Fn(Option<&Pushed>) -> Result<Loaded, Problems>,
) -> Result<Boot, Problems> {
    let loaded = load(None)?;
    let reason = error.to_string();
    let remarks = vec![format!("nothing is taken from the fleet, the files run: {reason}")];
    Ok(Boot { loaded, membership: Membership::Locked(Locked { recipient, reason }), remarks })
}
