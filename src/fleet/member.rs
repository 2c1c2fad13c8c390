//! A gateway as a member of its fleet: documents come, a bundle is tried, it stays or goes back by itself.
//!
//! ```text
//!  documents ─▶ agent ─▶ folder ─▶ dry run ─▶ trial ─▶ committed
//!                                               └────▶ taken back
//! ```
//!
//! In: documents (retained topics, or a folder on a stick), the time, what is measured of the gateway, whether an
//! alarm is active. Out: [`Order`]s: what is to be asked for, which configuration is to run, what is to be told.
//! It waits for the disk, so it is called where that may be; everything that it says is durable before it is said.
//! [`run`] is the task around it, the same for the daemon and for any simulated gateway.
//!
//! What can go wrong: the disk. A step that is not durable was not taken, and is tried again at the next turn.
//! What never happens: a bundle is tried while another one is, or while the configuration of the one before is not
//! in force again; anything but [`Order::Apply`] reaches the devices.

pub mod boot;
pub mod events;
pub mod import;
mod reading;
mod report;
pub mod run;
pub mod told;
mod turns;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::advisories::desk::Desk;
use super::agent::{Agent, Which};
use super::change::Slot;
use super::documents::Digest;
use super::folder::Folder;
use super::health::{Failing, Floor, Limits, Trial, Vitals};
use super::topics::{Topic, What};
use super::trust::{Recipient, Trust};
use crate::config::{Config, Loaded, Problems, Pushed};
use crate::time::{Mono, Now};

pub use report::{About, TrialView, View};
pub use told::Told;

/// How long to wait before what could not be put back into force is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Loads the configuration with what a bundle pushes, in the head: nothing is opened. `None`: the files alone.
pub type Load = Arc<dyn Fn(Option<&Pushed>) -> Result<Loaded, Problems> + Send + Sync>;

/// What the bundle that is effective pushes, shared with whoever reads the files again.
#[derive(Clone, Debug)]
pub struct Effective(Arc<Mutex<Layer>>);

/// What the fleet pushes; in words why that is not known.
type Layer = Result<Option<Pushed>, String>;

impl Default for Effective {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Ok(None))))
    }
}

impl Effective {
    /// What is pushed at the moment. Nothing may be read again with anything else: neither with a bundle that was
    /// refused nor without the ward's.
    pub fn pushed(&self) -> Result<Option<Pushed>, Problems> {
        let layer = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        layer.map_err(|why| Problems::of("the running bundle", ["it"], &format!("cannot be read: {why}")))
    }

    fn set(&self, pushed: Option<Pushed>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Ok(pushed);
    }

    fn is_lost(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_err()
    }

    fn lose(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Err(why);
    }
}

/// Why a configuration is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What the bundle says cannot be; nothing was changed; in words.
    Bundle(String),
    /// This gateway could not; nothing was changed, or not all of it; in words.
    Gateway(String),
    /// The daemon is about to end: what is on trial goes on at the next start.
    Ending,
}

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// These topics are wanted, each with a number: another number asks anew. All others are not.
    Want(Vec<(String, u64)>),
    /// This configuration is to run: [`Member::handle_applied`] is to be told what came of it. `true`: it is the
    /// one of before, to which there is no alternative.
    Apply(Box<Config>, bool),
    /// To be told to people.
    Tell(Told),
}

/// What every turn is given.
#[derive(Clone, Debug, Default)]
pub struct Signs {
    /// What is measured of the gateway; what is counted, since the daemon's start.
    pub vitals: Vitals,
    /// Whether any alarm is active; `None`: that is not known yet, and nothing begins.
    pub is_alarm_active: Option<bool>,
}

/// Where the gateway is with the bundle that is tried.
#[derive(Debug)]
enum Course {
    /// Nothing is tried.
    Rest,
    /// The configuration of this bundle is to run, with these limits.
    Applying(Slot, Limits),
    /// It runs. What was counted when it began.
    Trying(Trial, Counted),
    /// It is to be taken back for this reason, which is not durable yet; whether its configuration runs.
    Ending(Verdict, bool),
    /// It was taken back, and the configuration of before is not in force yet: when that is tried again, or
    /// `None` while it is tried.
    Returning(Option<Mono>),
}

/// What the daemon had counted since its start when a trial began.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    taken: u64,
    kept: u64,
    read: u64,
    decoded: u64,
    undecoded: u64,
}

#[derive(Clone, Debug)]
enum Verdict {
    Bad(String),
    Abandoned(String),
}

/// What was not made durable yet.
#[derive(Debug, Default)]
struct Unsaved {
    marks: bool,
    root: Option<Vec<u8>>,
}

/// A gateway as a member of its fleet.
pub struct Member {
    recipient: Recipient,
    folder: Folder,
    agent: Agent,
    load: Load,
    effective: Effective,
    course: Course,
    unsaved: Unsaved,
    orders: VecDeque<Order>,
    /// How often each was asked for: root, timestamp, bundle.
    asks: [u64; 3],
    wanted: Vec<(String, u64)>,
    import: Option<PathBuf>,
    /// What was read of the import folder last, by topic.
    imported: BTreeMap<String, (u64, Digest)>,
    /// What the trial still waits for.
    waits_for: Vec<Failing>,
    /// What was told last of standing still.
    told: told::Last,
    /// Whether a bundle was on trial when the run before ended.
    was_on_trial: bool,
    /// Why something else runs than what stood its trial.
    trouble: Option<String>,
    /// Why the way back leads to the files, while it is gone.
    back_to: Option<String>,
    /// The advisories of the bundle that runs.
    reading: reading::Reading,
}

/// What a member is made of.
pub struct Parts {
    /// Whose documents.
    pub recipient: Recipient,
    /// Its folder.
    pub folder: Folder,
    /// What it believes.
    pub trust: Trust,
    /// Loads a configuration and refuses what a running daemon cannot take.
    pub load: Load,
    /// What is pushed.
    pub effective: Effective,
    /// Where documents may lie that somebody brought.
    pub import: Option<PathBuf>,
    /// What the start found.
    pub found: boot::Found,
    /// Where the advisories lie.
    pub desk: Desk,
}

impl Member {
    /// At a start. `trial`: a bundle is on trial, and these are its limits.
    pub fn new(parts: Parts, trial: Option<Limits>, now: &Now) -> Self {
        let Parts { recipient, folder, trust, load, effective, import, found, desk } = parts;
        let change = folder.change();
        let mut orders = found.told();
        let course = match (change.baseline(), change.on_trial(), trial) {
            (Some(baseline), Some(slot), Some(limits)) => {
                // It begins anew, and with it the record that it is proven by.
                orders.push_back(Order::Tell(Told::Began(slot.version, limits.trial)));
                Course::Trying(Trial::new(baseline.clone(), limits, now.mono), Counted::default())
            }
            _ => Course::Rest,
        };
        let agent = Agent::new(trust, recipient.gateway.clone());
        Self {
            recipient,
            folder,
            agent,
            load,
            effective,
            course,
            unsaved: Unsaved::default(),
            orders,
            asks: [0; 3],
            wanted: Vec::new(),
            import,
            imported: BTreeMap::new(),
            waits_for: Vec::new(),
            told: told::Last::default(),
            was_on_trial: found.was_on_trial,
            trouble: found.trouble,
            back_to: None,
            reading: reading::Reading::new(desk),
        }
    }

    /// Whether a trial was told to have begun by the run before, and is not told to be over yet.
    pub const fn goes_on(&self) -> bool {
        self.was_on_trial
    }

    /// What is to be done next.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// A retained document has come.
    pub fn handle_letter(&mut self, topic: &str, bytes: &[u8], signs: &Signs, now: &Now) {
        self.heed(signs, now);
        if let Some(which) = self.which(topic) {
            self.agent.handle_document(which, bytes, self.folder.change(), now);
        } else if self.is_advisory(topic) {
            self.handle_advisory(bytes);
        }
        self.act(signs, now);
    }

    /// Documents were lost on the way: everything is asked for anew.
    pub fn handle_lost(&mut self) {
        self.asks.iter_mut().for_each(|ask| *ask += 1);
        self.reading.handle_lost();
        self.want();
    }

    /// Looks for documents that somebody brought, until none of them is new.
    pub fn handle_import(&mut self, signs: &Signs, now: &Now) {
        let Some(folder) = self.import.clone() else { return };
        self.import_documents(&folder, signs, now);
        // By now the bundle that names them may be there.
        self.import_advisories(&folder);
        self.act(signs, now);
    }

    fn import_documents(&mut self, folder: &Path, signs: &Signs, now: &Now) {
        // A chain of roots is walked at once; a step for each of the three documents is the least.
        for _ in 0..import::MOST_STEPS {
            let Some((topic, bytes)) = self.brought(folder) else { return };
            self.handle_letter(&topic, &bytes, signs, now);
        }
    }

    fn brought(&mut self, folder: &Path) -> Option<(String, Vec<u8>)> {
        for (topic, ask) in self.wanted.clone() {
            let parsed = Topic::read(&topic)?;
            if matches!(parsed.what(), What::Advisory(_)) {
                continue;
            }
            let read = import::read(folder, &parsed);
            let bytes = match read {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(error) => {
                    self.told.import(&mut self.orders, &error);
                    continue;
                }
            };
            let seen = (ask, Digest::of(&bytes));
            if self.imported.get(&topic) != Some(&seen) {
                self.imported.insert(topic.clone(), seen);
                return Some((topic, bytes));
            }
        }
        None
    }

    fn which(&self, topic: &str) -> Option<Which> {
        let topic = Topic::read(topic)?;
        let is_own = topic.organisation() == self.recipient.organisation;
        let group = self.agent.trust().marks().group();
        match topic.what() {
            What::Root(version) if is_own => Some(Which::Root(*version)),
            What::Timestamp { group: of } if is_own && of == group => Some(Which::Timestamp),
            What::Bundle { group: of, version } if is_own && of == group => Some(Which::Bundle(*version)),
            What::Root(_)
            | What::Timestamp { .. }
            | What::Bundle { .. }
            | What::Reported { .. }
            | What::Inventory { .. }
            | What::Advisory(_) => None,
        }
    }

    fn topic(&self, which: Which) -> Option<String> {
        let group = || self.agent.trust().marks().group().to_owned();
        let what = match which {
            Which::Root(version) => What::Root(version),
            Which::Timestamp => What::Timestamp { group: group() },
            Which::Bundle(version) => What::Bundle { group: group(), version },
        };
        Topic::new(&self.recipient.organisation, what).map(|topic| topic.to_string())
    }

    /// Says what is wanted, if that is something else than before.
    fn want(&mut self) {
        let all = self.agent.wanted().into_iter();
        let wanted: Vec<(String, u64)> = all
            .filter_map(|which| {
                let [root, timestamp, bundle] = self.asks;
                let ask = match which {
                    Which::Root(_) => root,
                    Which::Timestamp => timestamp,
                    Which::Bundle(_) => bundle,
                };
                Some((self.topic(which)?, ask))
            })
            .chain(self.reading.wanted())
            .collect();
        if wanted != self.wanted {
            self.imported.retain(|topic, _| wanted.iter().any(|(other, _)| other == topic));
            self.wanted.clone_from(&wanted);
            self.orders.push_back(Order::Want(wanted));
        }
    }
}

/// What a trial is judged by: as the configuration wants it, within the floor.
pub fn limits(config: &Config) -> Limits {
    let (least, most) = (Floor::default().least, Floor::default().most);
    let floor = Floor { least: Limits { trial: config.floor.trial, ..least }, most };
    Limits { trial: config.trial, ..Limits::default() }.clamped(&floor)
}
