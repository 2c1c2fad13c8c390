//! Which names are there after a cut.
//!
//! In: the operations on names and the syncs, in order. Out: the entries of every folder as a cut could
//! leave them. The rules, and where they are from:
//!
//! * What was done to a folder before an `fsync` of *that folder* is there (POSIX.1-2017 `fsync`; Linux
//!   `fsync(2)`: "Calling `fsync()` does not necessarily ensure that the entry in the directory containing
//!   the file has also reached disk. For that an explicit `fsync()` on a file descriptor for the directory
//!   is also needed").
//! * Of what was done since, [`Names::Subset`] lets each operation have happened or not, by itself
//!   ("directory operations reordered": Pillai et al., All File Systems Are Not Created Equal, OSDI
//!   2014, the ALICE study, table 1). Two operations on one name keep their order: an entry is at one of
//!   the states that it had. [`Names::InOrder`] lets a beginning of them have happened, and an `fsync` of
//!   any folder takes everything before it along: a file system with one journal.
//! * A rename has happened at both ends or at neither (POSIX `rename`; ALICE: "rename atomicity" holds
//!   for every file system that was studied when it replaces a file).
//! * An `fsync` of a file makes its own name durable only where `file_too` is set: ext4, xfs and btrfs do
//!   so (Mohan et al., Finding Crash-Consistency Bugs, OSDI 2018, the `CrashMonkey` study, section 2), POSIX does not
//!   promise it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use super::draw::Draw;
use super::record::Op;
use super::tree::{Node, Number, ROOT, Tree};

/// How a file system keeps names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Each operation by itself.
    Subset {
        /// An `fsync` of a file makes its name durable, and those of the folders above it.
        file_too: bool,
    },
    /// One journal.
    InOrder {
        /// An `fsync` of a file commits the journal.
        file_too: bool,
    },
}

impl Names {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Subset { file_too: false },
        Self::Subset { file_too: true },
        Self::InOrder { file_too: false },
        Self::InOrder { file_too: true },
    ];
}

type Entry = (Number, OsString);
type Folders = BTreeMap<Number, BTreeMap<OsString, Number>>;

/// One operation on names.
#[derive(Clone, Debug)]
struct Change {
    /// The name that goes.
    from: Option<Entry>,
    /// The name that comes.
    to: Option<Entry>,
    node: Number,
}

impl Change {
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.from.iter().chain(&self.to)
    }

    fn is_in(&self, folder: Number) -> bool {
        self.entries().any(|(place, _)| *place == folder)
    }

    fn apply(&self, folders: &mut Folders) {
        if let Some((folder, name)) = &self.from {
            folders.entry(*folder).or_default().remove(name);
        }
        if let Some((folder, name)) = &self.to {
            folders.entry(*folder).or_default().insert(name.clone(), self.node);
        }
    }
}

/// The names of a file system that keeps them in one way.
#[derive(Clone)]
pub(super) struct Journal {
    kind: Names,
    /// What a cut cannot undo.
    durable: Folders,
    /// What was done since, in order.
    pending: Vec<Change>,
    /// Where each node stands for programs.
    places: BTreeMap<Number, Number>,
}

impl Journal {
    pub(super) fn new(kind: Names, base: &Tree) -> Self {
        let mut journal =
            Self { kind, durable: Folders::new(), pending: Vec::new(), places: BTreeMap::new() };
        for (number, node) in base.nodes() {
            if let Node::Folder(entries) = node {
                journal.durable.insert(*number, entries.clone());
                journal.places.extend(entries.values().map(|child| (*child, *number)));
            }
        }
        journal
    }

    pub(super) fn kind(&self) -> Names {
        self.kind
    }

    /// Takes an operation in.
    pub(super) fn handle(&mut self, op: &Op) {
        match op {
            Op::Make { folder, name, node, .. } => {
                self.places.insert(*node, *folder);
                self.pending.push(Change { from: None, to: Some((*folder, name.clone())), node: *node });
            }
            Op::Remove { folder, name, node } => {
                self.places.remove(node);
                self.pending.push(Change { from: Some((*folder, name.clone())), to: None, node: *node });
            }
            Op::Rename { from, to, node } => {
                self.places.insert(*node, to.0);
                self.pending.push(Change { from: Some(from.clone()), to: Some(to.clone()), node: *node });
            }
            Op::SyncFolder { folder, failed: false, .. } => self.commit(|change| change.is_in(*folder)),
            Op::Sync { file, failed: false, .. } => {
                let (Names::Subset { file_too } | Names::InOrder { file_too }) = self.kind;
                if file_too {
                    let way_up = self.way_up(*file);
                    self.commit(|change| way_up.contains(&change.node));
                }
            }
            Op::Write { .. } | Op::Resize { .. } | Op::Sync { .. } | Op::SyncFolder { .. } => {}
        }
    }

    /// A node and the folders above it.
    fn way_up(&self, node: Number) -> BTreeSet<Number> {
        let mut way = BTreeSet::from([node]);
        let mut at = node;
        while let Some(above) = self.places.get(&at).filter(|above| **above != ROOT) {
            if !way.insert(*above) {
                break;
            }
            at = *above;
        }
        way
    }

    /// A sync that covers some changes: they, and what must have come before them, are durable.
    fn commit(&mut self, is_covered: impl Fn(&Change) -> bool) {
        let pending = std::mem::take(&mut self.pending);
        let mut keep = vec![false; pending.len()];
        if let Names::InOrder { .. } = self.kind {
            keep.fill(true);
        } else {
            // From the newest to the oldest: what a covered change stands on is covered too.
            let mut needed: BTreeSet<&Entry> = BTreeSet::new();
            for (change, keep) in pending.iter().zip(&mut keep).rev() {
                if is_covered(change) || change.entries().any(|entry| needed.contains(entry)) {
                    *keep = true;
                    needed.extend(change.entries());
                }
            }
        }
        for (change, keep) in pending.iter().zip(keep) {
            if keep {
                change.apply(&mut self.durable);
            } else {
                self.pending.push(change.clone());
            }
        }
    }

    /// The names after a cut, and how many operations were lost of how many that could be.
    pub(super) fn cut(&self, share: u64, draw: &mut Draw) -> (Folders, [u64; 2]) {
        let mut folders = self.durable.clone();
        let mut lost = 0;
        match self.kind {
            Names::InOrder { .. } => {
                let kept = draw.place(self.pending.len() + 1);
                self.pending.iter().take(kept).for_each(|change| change.apply(&mut folders));
                lost += self.pending.len() - kept;
            }
            Names::Subset { .. } => {
                let mut undone: BTreeSet<&Entry> = BTreeSet::new();
                for change in &self.pending {
                    let stands = !change.entries().any(|entry| undone.contains(entry));
                    if draw.in_eight(share) && stands {
                        change.apply(&mut folders);
                    } else {
                        undone.extend(change.entries());
                        lost += 1;
                    }
                }
            }
        }
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        (folders, [count(lost), count(self.pending.len())])
    }
}
