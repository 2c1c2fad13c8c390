//! The fleet's folder of a gateway: the root, what was seen, and the bundles that are needed.
//!
//! ```text
//!  root-3.json            the root that is trusted
//!  state.a  state.b       what was seen and what runs, written in turn
//!  bundle-7-1f0c2a9e.json the bundles that run, are staged or on trial
//! ```
//!
//! Every step is durable before the next one is taken, and the state is the one pointer: a file that it
//! does not name is rubbish of a step that was cut short, and is swept away. What can go wrong: the disk;
//! a file that was changed by hand or by decay. Then nothing is believed, and the error says which file.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::change::{Change, Slot};
use super::documents::{Bundle, Digest, Document as _, Root};
use super::kept::{Broken, Kept, MAX_COPY, PLACES};
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
        let mut folder = Self { path: path.to_owned(), kept: Kept::new(state) };
        folder.put_root(trust.root().version, root)?;
        folder.save()?;
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
        let kept: Kept<State> = Kept::decode(copies.iter().map(Vec::as_slice))
            .map_err(|broken| FolderError::Broken { folder: path.to_owned(), broken })?;
        let file = path.join(root_name(kept.value.marks.root()));
        let root = atomic_file::read(&file, Root::CAP)?;
        let trust = Trust::resume(recipient, &root, kept.value.marks.clone())
            .map_err(|refusal| FolderError::Refused { file, refusal })?;
        Ok((Self { path: path.to_owned(), kept }, trust))
    }

    /// Which bundle runs.
    pub const fn change(&self) -> &Change {
        &self.kept.value.change
    }

    /// Keeps what was seen. Durable on return.
    pub fn see(&mut self, marks: &Marks) -> Result<(), FolderError> {
        if self.kept.value.marks == *marks {
            return Ok(());
        }
        self.kept.value.marks = marks.clone();
        self.save()
    }

    /// Keeps a root that was verified, then that it was seen. Durable on return.
    pub fn root(&mut self, bytes: &[u8], marks: &Marks) -> Result<(), FolderError> {
        self.put_root(marks.root(), bytes)?;
        self.see(marks)?;
        self.sweep()
    }

    /// Keeps a bundle that was verified, stages it, and what was seen with it. Durable on return. `false`:
    /// another one is on trial.
    pub fn stage(&mut self, slot: Slot, bytes: &[u8], marks: &Marks) -> Result<bool, FolderError> {
        if Digest::of(bytes) != slot.sha256 {
            return Err(FolderError::Changed(self.path.join(bundle_name(slot))));
        }
        atomic_file::write(&self.path.join(bundle_name(slot)), bytes)?;
        self.kept.value.marks = marks.clone();
        let is_staged = self.kept.value.change.stage(slot);
        self.save()?;
        self.sweep()?;
        Ok(is_staged)
    }

    /// Takes a step of the change. Durable on return, so that the caller may act on it.
    pub fn step<T>(&mut self, step: impl FnOnce(&mut Change) -> T) -> Result<T, FolderError> {
        let before = self.kept.value.change.clone();
        let result = step(&mut self.kept.value.change);
        if self.kept.value.change != before {
            self.save()?;
            self.sweep()?;
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

    fn save(&mut self) -> Result<(), FolderError> {
        let (bytes, place) = self.kept.encode();
        Ok(atomic_file::write(&self.path.join(place), &bytes)?)
    }

    /// Removes what the state does not name.
    fn sweep(&self) -> Result<(), FolderError> {
        let State { marks, change } = &self.kept.value;
        let root = root_name(marks.root());
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_needed = PLACES.contains(&name.as_str())
                || name == root
                || [change.running(), change.on_trial(), change.staged()]
                    .into_iter()
                    .flatten()
                    .any(|slot| name == bundle_name(slot));
            let is_ours = name.starts_with("root-") || name.starts_with("bundle-");
            if is_ours && !is_needed {
                atomic_file::remove(&self.path.join(name))?;
            }
        }
        Ok(())
    }
}

fn root_name(version: u64) -> String {
    format!("root-{version}.json")
}

fn bundle_name(slot: Slot) -> String {
    let digest: String = slot.sha256.to_string().chars().take(8).collect();
    format!("bundle-{}-{digest}.json", slot.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::documents::{Role, Stamp};
    use crate::fleet::dsse::Envelope;
    use crate::fleet::key::PrivateKey;
    use crate::time::Wall;

    fn root(version: u64) -> Vec<u8> {
        let keys = [1, 2, 3].map(|seed| PrivateKey::from_seed(&zeroize::Zeroizing::new([seed; 32])));
        let roles = keys.each_ref().map(|key| Role { keys: vec![key.public()], threshold: 1 });
        let expires = Stamp(Wall::read("2027-11-22").unwrap());
        let root = Root::new("st-anna".to_owned(), version, expires, roles).unwrap();
        let mut envelope = Envelope::new(Root::PAYLOAD_TYPE, root.to_payload());
        envelope.sign(&keys[0]);
        envelope.to_bytes()
    }

    fn recipient() -> Recipient {
        Recipient { organisation: "st-anna".to_owned(), gateway: "gw-1".to_owned() }
    }

    fn slot(bytes: &[u8], version: u64) -> Slot {
        Slot { version, sha256: Digest::of(bytes) }
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(path).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_kept_is_there_after_a_start_and_nothing_else_stays() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("fleet");
        let (mut folder, mut trust) =
            Folder::enrol(&path, recipient(), "icu-3".to_owned(), &root(1)).unwrap();
        assert!(matches!(
            Folder::enrol(&path, recipient(), "icu-3".to_owned(), &root(1)),
            Err(FolderError::Enrolled(_))
        ));
        trust.root_offered(&root(2)).unwrap();
        folder.root(&root(2), trust.marks()).unwrap();
        for (version, bundle) in [(1, b"one"), (2, b"two")] {
            assert!(folder.stage(slot(bundle, version), bundle, trust.marks()).unwrap());
        }
        folder.step(Change::begin).unwrap();
        folder.step(Change::commit).unwrap();
        assert!(folder.stage(slot(b"three", 3), b"three", trust.marks()).unwrap());
        let (again, resumed) = Folder::open(&path, recipient()).unwrap();
        assert_eq!((again.change(), resumed.marks()), (folder.change(), trust.marks()));
        assert_eq!(again.bundle(slot(b"two", 2)).unwrap(), b"two");
        let digest = |bytes: &[u8]| Digest::of(bytes).to_string().chars().take(8).collect::<String>();
        let bundles =
            [(2, &b"two"[..]), (3, b"three")].map(|(v, bytes)| format!("bundle-{v}-{}.json", digest(bytes)));
        let expected = [&bundles[..], &["root-2.json", "state.a", "state.b"].map(str::to_owned)].concat();
        assert_eq!(names(&path), expected);
    }

    #[test]
    fn what_was_changed_on_the_disk_is_not_believed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("fleet");
        assert!(matches!(Folder::open(&path, recipient()), Err(FolderError::NotEnrolled(_))));
        let (mut folder, trust) = Folder::enrol(&path, recipient(), "icu-3".to_owned(), &root(1)).unwrap();
        folder.stage(slot(b"one", 1), b"one", trust.marks()).unwrap();
        assert!(matches!(
            folder.stage(slot(b"one", 1), b"other", trust.marks()),
            Err(FolderError::Changed(_))
        ));
        let bundle = path.join(bundle_name(slot(b"one", 1)));
        atomic_file::write(&bundle, b"two").unwrap();
        assert!(matches!(folder.bundle(slot(b"one", 1)), Err(FolderError::Changed(_))));
        atomic_file::write(&path.join("root-1.json"), &root(2)).unwrap();
        assert!(matches!(Folder::open(&path, recipient()), Err(FolderError::Refused { .. })));
        for state in PLACES {
            atomic_file::write(&path.join(state), b"{}").unwrap();
        }
        assert!(matches!(Folder::open(&path, recipient()), Err(FolderError::Broken { .. })));
        atomic_file::remove(&path.join("root-1.json")).unwrap();
        assert!(matches!(Folder::open(&path, recipient()), Err(FolderError::Broken { .. })));
    }
}
