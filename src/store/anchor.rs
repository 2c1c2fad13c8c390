//! A mark beside the store's folder of how far the store had come: whoever puts an older copy of the
//! folder back does not put this back with it.
//!
//! In: the newest segment of each lane that holds something. Out: at the next start, whether the
//! store has been that far. What can go wrong: the mark is not there, not authentic, or of another
//! store; each is told of. What never happens: the mark is ahead of what is durable, so that a power
//! cut looks like an older copy; a commit waits for it. An older copy of the whole disk is beyond
//! it: that is seen by whoever watches the heads in the heartbeats.

use std::io;
use std::path::{Path, PathBuf};

use super::segment::Unsound;
use super::shared::{Shared, lock};
use super::state_file::StateKeys;
use super::{Recovery, StoreId};
use crate::device::observation::Lane;
use crate::envelope::record::FormatError;
use crate::envelope::wire::{Put, Take};
use crate::host::atomic_file;

const MAGIC: [u8; 4] = *b"WLsA";
const VERSION: u8 = 1;
const MAX_FILE: usize = 256;

/// How far a store had come: the newest segment of each lane that held something, 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) store: StoreId,
    pub(super) newest: [u64; 3],
}

/// Where the mark usually is: beside the store's folder, under the folder's name and `.anchor`.
pub fn beside(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".anchor");
    folder.with_file_name(name)
}

/// Where what is known of the devices stands (see `gateway::inventory`): beside the store's folder, under the folder's
/// name and `.inventory`. It may hold serial numbers.
pub fn inventory_beside(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".inventory");
    folder.with_file_name(name)
}

/// Where it stands what the allowlist was (see `gateway::allowlist`): beside the store's folder, under the folder's name
/// and `.allowlist`.
pub fn allowlist_beside(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".allowlist");
    folder.with_file_name(name)
}

/// Where what is remembered of the records of devices stands: beside the store's folder, as what it says
/// goes with the store.
pub fn records_beside(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".records");
    folder.with_file_name(name)
}

impl Anchor {
    pub(super) fn write(&self, path: &Path, keys: &StateKeys) -> io::Result<()> {
        let mut out = Vec::new();
        out.put_bytes(&MAGIC);
        out.put_u8(VERSION);
        out.put_bytes(&self.store.0);
        self.newest.iter().for_each(|number| out.put_u64(*number));
        let tag = keys.tag(&out);
        out.put_bytes(&tag);
        atomic_file::write(path, &out)
    }

    pub(super) fn read(path: &Path, keys: &StateKeys) -> Result<Self, Unsound> {
        let bytes = atomic_file::read(path, MAX_FILE)?;
        let (body, tag) = bytes.split_last_chunk::<32>().ok_or(FormatError::End)?;
        if !keys.is_tag(body, tag) {
            return Err(Unsound::Forged);
        }
        let mut take = Take::new(body);
        if take.array::<4>()? != MAGIC {
            return Err(FormatError::Field("magic").into());
        }
        let version = take.u8()?;
        if version != VERSION {
            return Err(FormatError::Version(version).into());
        }
        let anchor = Self { store: StoreId(take.array()?), newest: [take.u64()?, take.u64()?, take.u64()?] };
        take.end()?;
        Ok(anchor)
    }

    /// The mark of a store that is being made. When it cannot be written, that is told with the first
    /// commit.
    pub(super) fn begin(path: &Path, keys: &StateKeys, store: StoreId) -> Option<Self> {
        let anchor = Self { store, newest: [0; 3] };
        anchor.write(path, keys).is_ok().then_some(anchor)
    }

    /// The mark of this store, when there is one to go by; what is strange about it is told.
    pub(super) fn find(path: &Path, keys: &StateKeys, store: StoreId, found: &mut Recovery) -> Option<Self> {
        let (shown, is_new) = (path.display(), found.is_new);
        let fault = match Self::read(path, keys) {
            Ok(anchor) if anchor.store == store => return Some(anchor),
            // Made, and cut short before anything was stored.
            Ok(Self { newest: [0, 0, 0], .. }) if is_new => return None,
            Ok(Self { store: other, .. }) if is_new => format!(
                "a new store was begun, and {shown} tells of store {other} that was here before: what that one \
                 still held is not sent"
            ),
            Ok(Self { store: other, .. }) => {
                format!("this is store {store}, and {shown} tells of store {other}: it was put in its place")
            }
            Err(error) if error.is_absent() && is_new => return None,
            Err(error) if error.is_absent() => {
                format!("{shown} is missing: an older copy of the store would not be noticed at this start")
            }
            Err(error) => {
                format!("{shown} cannot be used ({error}): an older copy of the store would not be noticed")
            }
        };
        found.faults.push(fault);
        None
    }

    /// How far a lane had come.
    pub(super) fn of(&self, lane: Lane) -> u64 {
        Lane::ALL
            .into_iter()
            .zip(self.newest)
            .find(|(known, _)| *known == lane)
            .map_or(0, |(_, number)| number)
    }
}

impl Shared {
    /// Writes the mark when a lane has come further than it says. To be called now and then, after
    /// commits and never before them.
    pub(super) fn keep_anchor(&self) {
        let Some(path) = &self.anchor_file else { return };
        let now = self.anchor();
        let is_untold = Lane::ALL.into_iter().any(|lane| self.is_untold(lane));
        if is_untold || *lock(&self.anchored) == Some(now) {
            return;
        }
        match now.write(path, &self.state_keys) {
            Ok(()) => *lock(&self.anchored) = Some(now),
            Err(error) => {
                let text = format!("the mark beside the store cannot be written: {error}");
                let is_news = lock(&self.anchor_trouble).replace(text.clone()) != Some(text.clone());
                if is_news {
                    self.note_fault(&text);
                }
            }
        }
    }

    /// Writes the mark again under the current key.
    pub(super) fn rewrite_anchor(&self) -> io::Result<()> {
        let Some(path) = &self.anchor_file else { return Ok(()) };
        let now = self.anchor();
        now.write(path, &self.state_keys)?;
        *lock(&self.anchored) = Some(now);
        Ok(())
    }

    fn anchor(&self) -> Anchor {
        Anchor {
            store: self.store,
            newest: Lane::ALL.map(|lane| self.head(lane).map_or(0, |(number, _)| number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_beside_the_folder() {
        assert_eq!(beside(Path::new("/var/lib/wardline/store")), Path::new("/var/lib/wardline/store.anchor"));
    }
}
