//! The fleet's folder of a gateway: the root, what was seen, and the bundles that are needed.
//!
//! ```text
//!  root-3.json            the root that is trusted
//!  state.a  state.b       what was seen and what runs, written in turn
//!  bundle-7-1f0c2a9e.json the bundles that run, are staged or on trial
//! ```
//!
//! Every step is durable before the next one is taken, and the state is the one pointer: a file that neither
//! of its two copies names is rubbish of a step that was cut short, and is swept away. So the copy before the
//! newest is worth something too, should the newest decay. A step that cannot be made durable has not been
//! taken: memory is as it was. What can go wrong: the disk; a file that was changed by hand or by decay. Then
//! nothing is believed, and the error says which file.

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::change::{Change, Slot};
use super::documents::{Bundle, Digest, Document as _, Root};
pub(crate) use super::kept::PLACES;
use super::kept::{Broken, Kept, MAX_COPY, TooLong};
use super::refusal::Refusal;
use super::trust::{Marks, Recipient, Trust};
use crate::host::atomic_file;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system says no.
    #[error("the fleet's folder cannot be used: {0}")]
    Io(#[from] io::Error),
    /// Enrolled before.
    #[error(
        "{0} holds the state of an enrolled gateway: nothing is overwritten; remove the folder to enrol it anew"
    )]
    Enrolled(PathBuf),
    /// Never enrolled.
    #[error("{0} holds no state: this gateway is not enrolled in a fleet; `wardline enrol` does that")]
    NotEnrolled(PathBuf),
    /// Neither copy of the state is whole.
    #[error("{folder}: {broken}")]
    Broken {
        /// Where.
        folder: PathBuf,
        /// What is wrong.
        broken: Broken,
    },
    /// The state would be longer than what is read again.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// A document is not to be believed.
    #[error("{file}: {refusal}")]
    Refused {
        /// Which file.
        file: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// A bundle is not the one that was verified.
    #[error("{0} is not the bundle that was verified when it came: it was changed on the disk")]
    Changed(PathBuf),
}

/// Everything that must not be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// What was seen.
    pub marks: Marks,
    /// What runs.
    pub change: Change,
}

/// The folder, its state in memory and on the disk.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    kept: Kept<State>,
    /// What the other copy says, if it is whole.
    before: Option<State>,
}

impl Folder {
    /// Makes the folder of a gateway that is set up, with the root that a person put there.
    pub fn enrol(
        path: &Path,
        recipient: Recipient,
        group: String,
        root: &[u8],
    ) -> Result<(Self, Trust), FolderError> {
        if PLACES.iter().any(|place| path.join(place).exists()) {
            return Err(FolderError::Enrolled(path.to_owned()));
        }
        let refused = |refusal| FolderError::Refused { file: path.join("root"), refusal };
        let trust = Trust::enrol(recipient, group, root).map_err(refused)?;
        atomic_file::create_folder(path)?;
        let state = State { marks: trust.marks().clone(), change: Change::default() };
        let mut folder = Self { path: path.to_owned(), kept: Kept::new(state.clone()), before: None };
        folder.put_root(trust.root().version, root)?;
        folder.save(state)?;
        Ok((folder, trust))
    }

    /// Opens the folder of an enrolled gateway. The state is not changed.
    pub fn open(path: &Path, recipient: Recipient) -> Result<(Self, Trust), FolderError> {
        let mut copies = Vec::new();
        for place in PLACES {
            match atomic_file::read(&path.join(place), MAX_COPY) {
                Ok(copy) => copies.push(copy),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Too long to be one: as broken as can be.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => copies.push(Vec::new()),
                Err(error) => return Err(error.into()),
            }
        }
        if copies.is_empty() {
            return Err(FolderError::NotEnrolled(path.to_owned()));
        }
        let (kept, before) = Kept::<State>::decode(copies.iter().map(Vec::as_slice))
            .map_err(|broken| FolderError::Broken { folder: path.to_owned(), broken })?;
        let file = path.join(root_name(kept.value.marks.root()));
        let root = atomic_file::read(&file, Root::CAP)?;
        let trust = Trust::resume(recipient, &root, kept.value.marks.clone())
            .map_err(|refusal| FolderError::Refused { file, refusal })?;
        Ok((Self { path: path.to_owned(), kept, before: before.map(|kept| kept.value) }, trust))
    }

    /// Which bundle runs.
    pub const fn change(&self) -> &Change {
        &self.kept.value.change
    }

    /// Keeps what was seen. Durable on return.
    pub fn see(&mut self, marks: &Marks) -> Result<(), FolderError> {
        let known = &self.kept.value.marks;
        // Marks of a root whose bytes are still to come are kept with them.
        if known == marks || known.root_digest() != marks.root_digest() {
            return Ok(());
        }
        self.save(State { marks: marks.clone(), ..self.kept.value.clone() })
    }

    /// Keeps a root that was verified, then that it was seen. Durable on return.
    pub fn root(&mut self, bytes: &[u8], marks: &Marks) -> Result<(), FolderError> {
        if Digest::of(bytes) != marks.root_digest() {
            // One after it was verified in the meantime, and is kept in its turn.
            return Ok(());
        }
        self.put_root(marks.root(), bytes)?;
        self.save(State { marks: marks.clone(), ..self.kept.value.clone() })
    }

    /// Keeps a bundle that was verified, stages it, and what was seen with it. Durable on return. `false`:
    /// another one is on trial.
    pub fn stage(&mut self, slot: Slot, bytes: &[u8], marks: &Marks) -> Result<bool, FolderError> {
        if Digest::of(bytes) != slot.sha256 {
            return Err(FolderError::Changed(self.path.join(bundle_name(slot))));
        }
        if self.kept.value.marks.root_digest() != marks.root_digest() {
            let words = "the root that this bundle was judged by is not kept yet";
            return Err(io::Error::other(words).into());
        }
        atomic_file::write(&self.path.join(bundle_name(slot)), bytes)?;
        let mut change = self.kept.value.change.clone();
        let is_staged = change.stage(slot);
        self.save(State { marks: marks.clone(), change })?;
        Ok(is_staged)
    }

    /// Takes a step of the change. Durable on return, so that the caller may act on it; after an error it has
    /// not been taken.
    pub fn step<T>(&mut self, step: impl FnOnce(&mut Change) -> T) -> Result<T, FolderError> {
        let mut change = self.kept.value.change.clone();
        let result = step(&mut change);
        if self.kept.value.change != change {
            self.save(State { marks: self.kept.value.marks.clone(), change })?;
        }
        Ok(result)
    }

    /// The envelope of a bundle that was kept, byte by byte as it came.
    pub fn bundle(&self, slot: Slot) -> Result<Vec<u8>, FolderError> {
        let file = self.path.join(bundle_name(slot));
        let bytes = atomic_file::read(&file, Bundle::CAP)?;
        if Digest::of(&bytes) == slot.sha256 { Ok(bytes) } else { Err(FolderError::Changed(file)) }
    }

    fn put_root(&self, version: u64, bytes: &[u8]) -> io::Result<()> {
        atomic_file::write(&self.path.join(root_name(version)), bytes)
    }

    fn save(&mut self, state: State) -> Result<(), FolderError> {
        let next = self.kept.next(state)?;
        atomic_file::write(&self.path.join(next.place), &next.bytes)?;
        self.before = Some(std::mem::replace(&mut self.kept, next.kept).value);
        // The state is durable and speaks for itself. Rubbish that stays now is swept at the next one.
        let _ = self.sweep();
        Ok(())
    }

    /// Removes what neither copy of the state names.
    fn sweep(&self) -> io::Result<()> {
        let needed: Vec<String> =
            std::iter::once(&self.kept.value).chain(&self.before).flat_map(files).collect();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_ours = name.starts_with("root-") || name.starts_with("bundle-");
            if is_ours && !needed.contains(&name) {
                atomic_file::remove(&self.path.join(name))?;
            }
        }
        Ok(())
    }
}

/// The files that a state names.
fn files(state: &State) -> impl Iterator<Item = String> {
    let State { marks, change } = state;
    let bundles = [change.running(), change.on_trial(), change.staged()];
    std::iter::once(root_name(marks.root())).chain(bundles.into_iter().flatten().map(bundle_name))
}

fn root_name(version: u64) -> String {
    format!("root-{version}.json")
}

fn bundle_name(slot: Slot) -> String {
    let digest: String = slot.sha256.to_string().chars().take(8).collect();
    format!("bundle-{}-{digest}.json", slot.version)
}
