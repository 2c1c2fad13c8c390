//! The end of a store: its keys first, then everything.
//!
//! In: the store's folder in any state, also half erased; the files of its key, if they are to go too. Out:
//! an [`Erasure`], done step by step, each durable before the next; and then the proof, made of what was
//! taken into memory before. The order is that of worth: the key, every segment's wrapped key (overwritten
//! in place), identity and cursors, and only then the sealed blocks. Cut off anywhere, the whole is done by doing
//! it again.
//!
//! What can go wrong: the folder holds what is not the store's, at any depth, or a key's file holds no key: then
//! nothing is touched; a file cannot be
//! removed, then it is named and the others go. What never happens: a symbolic link is followed; a block goes
//! before its key.

mod keys;
mod proof;
mod strangers;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use ring::digest;
use ring::rand::SecureRandom;

use super::inspect::{children, is_lost_and_found};
use super::{StoreError, allowlist_beside, anchor_beside, inventory_beside, records_beside};
use crate::device::observation::Lane;
use crate::envelope::block::hex;
use crate::host::atomic_file::{self, UNFINISHED};

pub use keys::KeyFiles;
pub use proof::{Proof, Sample, copies_beside, samples};

/// No header is longer, as far as the hash of it goes.
const MAX_HEADER: usize = 4_096;

/// One thing that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A file is overwritten, then removed.
    Shred(PathBuf),
    /// A folder goes with all that is in it, or a file.
    Remove(PathBuf),
    /// A folder goes, which is empty by then.
    Folder(PathBuf),
    /// The store's own folder: stays, empty, where it is the root of a disk.
    Home(PathBuf),
}

impl Step {
    /// What goes.
    pub fn path(&self) -> &Path {
        match self {
            Self::Shred(path) | Self::Remove(path) | Self::Folder(path) | Self::Home(path) => path,
        }
    }
}

/// A header that is to go: where it was, and the hash of what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Within the store.
    pub file: PathBuf,
    /// SHA-256, in hex; `None` when it could not be read.
    pub sha256: Option<String>,
}

/// A store that is being erased.
#[derive(Debug)]
pub struct Erasure {
    steps: VecDeque<Step>,
    /// The headers that were there.
    pub headers: Vec<Header>,
    /// Whether there is anything of a store.
    pub has_store: bool,
}

impl Erasure {
    /// Finds what there is to erase: of a store that nobody has open (see
    /// [`Hold`](super::inspect::Hold)). Changes nothing.
    pub fn plan(folder: &Path, keys: &[KeyFiles]) -> Result<Self, StoreError> {
        let failed = |error| StoreError::io("looking for what is to be erased", error);
        refuse_strangers(folder)?;
        let mut steps: VecDeque<Step> = keys.iter().flat_map(KeyFiles::paths).map(Step::Shred).collect();
        let mut files = Vec::new();
        walk(folder, &mut files).map_err(failed)?;
        let is = |path: &Path, names: &[&str]| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            names.contains(&name.strip_suffix(UNFINISHED).unwrap_or(&name))
        };
        let wrapped: Vec<&PathBuf> = files.iter().filter(|file| is(file, &["header"])).collect();
        let headers = wrapped.iter().map(|file| describe(folder, file)).collect();
        steps.extend(wrapped.into_iter().cloned().map(Step::Shred));
        steps.extend(files.iter().filter(|file| is(file, &["identity", "cursor"])).cloned().map(Step::Shred));
        // What stands beside the folder, in any state that a power cut leaves it in.
        for whole in [anchor_beside(folder), inventory_beside(folder), allowlist_beside(folder)] {
            let mut half = whole.clone().into_os_string();
            half.push(UNFINISHED);
            let there = [whole, half.into()].into_iter();
            steps.extend(there.filter(|file: &PathBuf| file.symlink_metadata().is_ok()).map(Step::Shred));
        }
        let records = records_beside(folder);
        if records.symlink_metadata().is_ok() {
            steps.push_back(Step::Remove(records));
        }
        let homes =
            Lane::ALL.map(Lane::as_str).into_iter().chain(["quarantine"]).map(|name| folder.join(name));
        let homes: Vec<PathBuf> = homes.filter(|home| home.is_dir()).collect();
        let has_store = !files.is_empty() || !homes.is_empty();
        for home in homes {
            let inside = children(&home).map_err(failed)?;
            steps.extend(inside.into_iter().map(|(_, _, path)| Step::Remove(path)));
            steps.push_back(Step::Folder(home));
        }
        if folder.is_dir() {
            // The lock is the last to go: until then no daemon begins a new store here.
            steps.push_back(Step::Remove(folder.join("lock")));
            steps.push_back(Step::Home(folder.to_owned()));
        }
        Ok(Self { steps, headers, has_store })
    }

    /// How many steps are left.
    pub fn left(&self) -> usize {
        self.steps.len()
    }

    /// Does the next step, durably. `None` when all are done. A step that failed is not tried again.
    pub fn step(&mut self, random: &dyn SecureRandom) -> Option<Result<Step, StoreError>> {
        let step = self.steps.pop_front()?;
        let done = match &step {
            Step::Shred(path) => atomic_file::shred(path, &mut |bytes| {
                random.fill(bytes).map_err(|_| io::Error::other("no randomness to overwrite it with"))
            }),
            Step::Remove(path) => remove(path),
            Step::Folder(path) => atomic_file::remove_empty_folder(path),
            Step::Home(path) => match atomic_file::remove_empty_folder(path) {
                // The root of a disk, or a folder whose parent is not ours: it is empty, and that is enough.
                Err(_) if is_empty(path) => atomic_file::sync_folder(path),
                other => other,
            },
        };
        Some(done.map(|()| step).map_err(|error| StoreError::io("erasing", error)))
    }
}

/// A folder that holds anything else than a store is not one, or not only.
fn refuse_strangers(folder: &Path) -> Result<(), StoreError> {
    let strangers = strangers::strangers(folder)
        .map_err(|error| StoreError::io("looking for what is to be erased", error))?;
    let strangers: Vec<String> = strangers.iter().map(|path| path.display().to_string()).collect();
    if strangers.is_empty() {
        return Ok(());
    }
    Err(StoreError::Config(format!(
        "{} holds what is not the store's, or is mounted there, so it may not be the store's folder: {}; move \
         that away first (nothing was erased)",
        folder.display(),
        strangers.join(", ")
    )))
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for (_, is_folder, path) in children(folder)? {
        if is_folder {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn describe(folder: &Path, file: &Path) -> Header {
    let bytes = atomic_file::read(file, MAX_HEADER).ok();
    let sha256 = bytes.map(|bytes| hex(digest::digest(&digest::SHA256, &bytes).as_ref()));
    Header { file: file.strip_prefix(folder).unwrap_or(file).to_owned(), sha256 }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        std::fs::remove_dir_all(path)?;
        return path.parent().map_or(Ok(()), atomic_file::sync_folder);
    }
    atomic_file::remove(path)
}

fn is_empty(folder: &Path) -> bool {
    children(folder).is_ok_and(|found| found.iter().all(|(name, _, path)| is_lost_and_found(name, path)))
}
