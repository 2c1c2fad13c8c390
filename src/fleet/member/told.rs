//! What a member tells to people, each thing once.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use super::Order;
use crate::fleet::advisories::library::MAX_DOCUMENTS;
use crate::fleet::agent::{Standing, Withdrawn};
use crate::fleet::folder::FolderError;
use crate::fleet::refusal::Refusal;
use crate::time::Wall;

/// What happened. Bundles by their version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A document is not believed.
    Refused(Refusal),
    /// A bundle is verified and staged.
    Staged(u64),
    /// It is withdrawn before it began.
    Withdrawn(u64, Withdrawn),
    /// It waits while an alarm is active, for longer than four hours.
    LongLock(u64),
    /// Its trial has begun, and lasts so long.
    Began(u64, Duration),
    /// It has stood its trial; what could not be proven.
    Committed(u64, Vec<String>),
    /// It is not run, for this reason, and never tried again.
    TakenBack(u64, String),
    /// This gateway could not try it; it is asked for again.
    Dropped(u64, String),
    /// The configuration of before is in force again.
    Returned,
    /// It is not yet, for this reason; it is tried again and again.
    NotReturned(String),
    /// The files run and not the bundle that once stood its trial, for this reason.
    FilesRun(String),
    /// The gateway listens to another group.
    Transferred(String),
    /// The clock is synchronised and lies before this moment, which has passed.
    ClockContradicts(Wall),
    /// Nothing is heard from the fleet any more: the last word has expired.
    Stale(Wall),
    /// The fleet is heard again.
    Heard,
    /// What was kept of the fleet is not to be believed, for this reason: nothing is taken.
    Locked(String),
    /// The bundle that is current is not believed.
    Unbelieved(u64, String),
    /// The bundle that is current does not list this gateway.
    NotListed(u64, String),
    /// Something could not be made durable, and is tried again.
    Disk(String),
    /// The import folder cannot be read.
    Import(String),
    /// A document that came for an advisory is none that can be used, or its file is wrong; in words.
    Advisory(String),
}

/// How loud something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// It goes as it should.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must look.
    Error,
}

impl Told {
    /// How loud it is told.
    pub const fn loudness(&self) -> Loudness {
        match self {
            Self::Staged(_)
            | Self::Withdrawn(..)
            | Self::Began(..)
            | Self::Committed(..)
            | Self::Returned
            | Self::Heard
            | Self::Transferred(_) => Loudness::Info,
            Self::Dropped(..)
            | Self::LongLock(_)
            | Self::Refused(_)
            | Self::Stale(_)
            | Self::NotListed(..)
            | Self::Import(_)
            | Self::Advisory(_) => Loudness::Warning,
            Self::TakenBack(..)
            | Self::NotReturned(_)
            | Self::FilesRun(_)
            | Self::ClockContradicts(_)
            | Self::Unbelieved(..)
            | Self::Locked(_)
            | Self::Disk(_) => Loudness::Error,
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => match refusal.why.attack() {
                Some(attack) => write!(f, "a document of the fleet is refused: {refusal} (attack: {attack})"),
                None => write!(f, "a document of the fleet is refused: {refusal}"),
            },
            Self::Staged(version) => write!(f, "bundle {version} is verified and staged"),
            Self::Withdrawn(version, why) => write!(f, "bundle {version} is not begun: {}", withdrawn(*why)),
            Self::LongLock(version) => write!(
                f,
                "bundle {version} waits for more than four hours, as alarms are active: nothing begins until they end"
            ),
            Self::Began(version, trial) => {
                write!(f, "bundle {version} runs on trial for {} s", trial.as_secs())
            }
            Self::Committed(version, unproven) if unproven.is_empty() => {
                write!(f, "bundle {version} has stood its trial")
            }
            Self::Committed(version, unproven) => {
                write!(
                    f,
                    "bundle {version} has stood its trial; the trial was too short for: {}",
                    unproven.join("; ")
                )
            }
            Self::TakenBack(version, reason) => {
                write!(f, "bundle {version} is not run, and the one before runs: {reason}")
            }
            Self::Dropped(version, reason) => {
                write!(f, "bundle {version} cannot be tried here now, and is asked for again: {reason}")
            }
            Self::Returned => f.write_str("the configuration of before is in force again"),
            Self::NotReturned(why) => {
                write!(f, "the configuration of before is not in force yet, it is tried again: {why}")
            }
            Self::FilesRun(why) => write!(f, "the files run, and not what stood its trial: {why}"),
            Self::Transferred(to) => write!(f, "this gateway is sent to group {to:?} and listens to it"),
            Self::ClockContradicts(floor) => write!(
                f,
                "the clock follows a reference and is more than a day before {floor}, when a believed timestamp was \
                 issued: one of the two is wrong"
            ),
            Self::Stale(at) => write!(
                f,
                "the last word of the fleet expired at {at}: what runs goes on, nothing new is taken until a timestamp comes"
            ),
            Self::Heard => f.write_str("the fleet is heard again"),
            Self::Locked(why) => write!(f, "nothing is taken from the fleet, the files run: {why}"),
            Self::Unbelieved(version, why) => {
                write!(f, "bundle {version}, which is current, is not believed: {why}")
            }
            Self::NotListed(version, group) => {
                write!(f, "bundle {version} of group {group:?} does not list this gateway: what runs goes on")
            }
            Self::Disk(error) => write!(f, "the fleet's state cannot be kept, it is tried again: {error}"),
            Self::Import(error) => write!(f, "the import folder cannot be read: {error}"),
            Self::Advisory(why) => write!(f, "an advisory cannot be used: {why}"),
        }
    }
}

const fn withdrawn(why: Withdrawn) -> &'static str {
    match why {
        Withdrawn::Replaced => "another one is current",
        Withdrawn::NoTurn => "it is not this gateway's turn any more",
        Withdrawn::Stale => "the last word of the fleet has expired",
        Withdrawn::Unverified => "it is to be verified anew",
    }
}

/// What was told last, so that a state that lasts is told once.
#[derive(Debug, Default)]
pub(super) struct Last {
    standing: Option<Told>,
    disk: Option<String>,
    import: Option<String>,
    advisories: BTreeSet<String>,
}

impl Last {
    /// Of where the gateway stands, what somebody should know.
    pub(super) fn standing(&mut self, orders: &mut VecDeque<Order>, standing: Standing) {
        let told = match standing {
            Standing::Stale(at) => Some(Told::Stale(at)),
            Standing::Refused(version, why) => Some(Told::Unbelieved(version, why)),
            Standing::NotListed(version, group) => Some(Told::NotListed(version, group)),
            Standing::UpdateLock { version, is_long: true } => Some(Told::LongLock(version)),
            Standing::Unheard
            | Standing::Current
            | Standing::Waits(_)
            | Standing::Paused
            | Standing::Fetches(_)
            | Standing::UnderWay(_)
            | Standing::UpdateLock { .. }
            | Standing::Failed(..) => None,
        };
        if told != self.standing {
            let is_stale = |told: &Option<Told>| matches!(told, Some(Told::Stale(_)));
            if is_stale(&self.standing) && !is_stale(&told) {
                orders.push_back(Order::Tell(Told::Heard));
            }
            orders.extend(told.clone().map(Order::Tell));
            self.standing = told;
        }
    }

    /// A step was not made durable.
    pub(super) fn disk(&mut self, orders: &mut VecDeque<Order>, error: &FolderError) {
        let words = error.to_string();
        if self.disk.as_ref() != Some(&words) {
            orders.push_back(Order::Tell(Told::Disk(words.clone())));
            self.disk = Some(words);
        }
    }

    /// A document that came for an advisory cannot be used: told once, for so many documents.
    pub(super) fn advisory(&mut self, orders: &mut VecDeque<Order>, why: &str) {
        // A broker may hand out rubbish for ever.
        if self.advisories.len() < MAX_DOCUMENTS && self.advisories.insert(why.to_owned()) {
            orders.push_back(Order::Tell(Told::Advisory(why.to_owned())));
        }
    }

    /// A file of the import folder is not readable.
    pub(super) fn import(&mut self, orders: &mut VecDeque<Order>, error: &std::io::Error) {
        let words = error.to_string();
        if self.import.as_ref() != Some(&words) {
            orders.push_back(Order::Tell(Told::Import(words.clone())));
            self.import = Some(words);
        }
    }
}
