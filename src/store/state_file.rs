//! The store's own small files: its identity, and for each lane how far the broker has everything.
//!
//! In and out: bytes (`FORMAT.md`), authenticated under the KEK; while the store is moved from one KEK
//! to another, under either. What can go wrong: missing, cut, changed, of another key. What never
//! happens: an identity is made while there is data; a store is opened with only one of the two keys
//! that it needs.

use std::path::Path;

use super::segment::{Previous, Unsound};
use super::{Owner, StoreError, StoreId};
use crate::device::observation::Lane;
use crate::envelope::keys::{Kek, KekId, KeyRing, MacKey};
use crate::envelope::record::{FormatError, lane_code};
use crate::envelope::wire::{Put, Take};
use crate::host::atomic_file;

const IDENTITY_MAGIC: [u8; 4] = *b"WLsI";
const CURSOR_MAGIC: [u8; 4] = *b"WLsC";
const IDENTITY_VERSION: u8 = 2;
const CURSOR_VERSION: u8 = 1;
/// Both files are shorter; a longer one is not read.
const MAX_FILE: usize = 256;
/// No key has this name but by a chance of one in 2^64.
const NO_KEY: KekId = KekId([0; 8]);

/// The keys that authenticate these files: written with the current one, read with either.
pub(super) struct StateKeys {
    current: MacKey,
    previous: Option<MacKey>,
}

impl StateKeys {
    pub(super) fn new(ring: &KeyRing) -> Self {
        Self { current: ring.current.state_key(), previous: ring.previous.as_ref().map(Kek::state_key) }
    }

    pub(super) fn tag(&self, message: &[u8]) -> [u8; 32] {
        self.current.tag(message)
    }

    pub(super) fn is_tag(&self, message: &[u8], tag: &[u8]) -> bool {
        let is_previous = || self.previous.as_ref().is_some_and(|key| key.is_tag(message, tag));
        self.current.is_tag(message, tag) || is_previous()
    }
}

/// Whose a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) store: StoreId,
    /// The key that it is kept under.
    pub(super) kek: KekId,
    /// The key under which some of its segments still are.
    pub(super) previous: Option<KekId>,
}

impl Identity {
    /// Writes it, durably.
    pub(super) fn write(&self, path: &Path, keys: &StateKeys) -> std::io::Result<()> {
        let mut out = Vec::new();
        out.put_bytes(&IDENTITY_MAGIC);
        out.put_u8(IDENTITY_VERSION);
        out.put_bytes(&self.store.0);
        out.put_bytes(&self.kek.0);
        out.put_bytes(&self.previous.unwrap_or(NO_KEY).0);
        let tag = keys.tag(&out);
        out.put_bytes(&tag);
        atomic_file::write(path, &out)
    }

    /// Reads it; `None` when the file is not there. Every key that the store needs must be there.
    pub(super) fn read(path: &Path, ring: &KeyRing) -> Result<Option<Self>, StoreError> {
        let bytes = match atomic_file::read(path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(StoreError::Identity { path: path.to_owned(), reason: error.to_string() });
            }
        };
        let damaged = |reason: String| StoreError::Identity { path: path.to_owned(), reason };
        let identity = Self::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
        let Some(kek) = ring.find(identity.kek) else {
            return Err(StoreError::WrongKey { store: identity.kek, given: ring.current.id() });
        };
        let is_sound =
            bytes.split_last_chunk::<32>().is_some_and(|(body, tag)| kek.state_key().is_tag(body, tag));
        if !is_sound {
            return Err(damaged("it does not authenticate".to_owned()));
        }
        match identity.previous {
            Some(needed) if ring.find(needed).is_none() => {
                Err(StoreError::PreviousKey { store: identity.kek, needed })
            }
            _ => Ok(Some(identity)),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut take = Take::new(bytes);
        if take.array::<4>()? != IDENTITY_MAGIC {
            return Err(FormatError::Field("magic"));
        }
        let version = take.u8()?;
        if version != IDENTITY_VERSION {
            return Err(FormatError::Version(version));
        }
        let (store, kek, previous) = (StoreId(take.array()?), KekId(take.array()?), KekId(take.array()?));
        let _tag = take.array::<32>()?;
        take.end()?;
        Ok(Self { store, kek, previous: (previous != NO_KEY).then_some(previous) })
    }
}

/// Whose store a folder holds, by its own word alone: nothing is proved without the key. `None` when
/// there is no store.
pub(super) fn owner(path: &Path) -> Result<Option<Owner>, StoreError> {
    let damaged = |reason: String| StoreError::Identity { path: path.to_owned(), reason };
    match atomic_file::read(path, MAX_FILE) {
        Ok(bytes) => {
            let Identity { kek, previous, .. } =
                Identity::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
            Ok(Some(Owner { kek, previous }))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(damaged(error.to_string())),
    }
}

/// The first block of a lane that the broker does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Its segment.
    pub(super) segment: u64,
    /// Its index there.
    pub(super) block: u32,
    /// The records of its segment before it.
    pub(super) records: u64,
    /// The newest segment that held something when this was written, and how much at least: when all are
    /// drained and gone, the chain goes on from here; when less is found, it was lost.
    pub(super) newest: Previous,
}

impl Cursor {
    /// Writes it, durably.
    pub(super) fn write(
        &self,
        path: &Path,
        store: StoreId,
        lane: Lane,
        keys: &StateKeys,
    ) -> std::io::Result<()> {
        let mut out = self.bytes(store, lane);
        let tag = keys.tag(&out);
        out.put_bytes(&tag);
        atomic_file::write(path, &out)
    }

    fn bytes(&self, store: StoreId, lane: Lane) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_bytes(&CURSOR_MAGIC);
        out.put_u8(CURSOR_VERSION);
        out.put_bytes(&store.0);
        out.put_u8(lane_code(lane));
        out.put_u64(self.segment);
        out.put_u32(self.block);
        out.put_u64(self.records);
        self.newest.put(&mut out);
        out
    }

    /// Reads it; it must be this store's and this lane's.
    pub(super) fn read(path: &Path, store: StoreId, lane: Lane, keys: &StateKeys) -> Result<Self, Unsound> {
        let bytes = atomic_file::read(path, MAX_FILE)?;
        let (body, tag) = bytes.split_last_chunk::<32>().ok_or(FormatError::End)?;
        if !keys.is_tag(body, tag) {
            return Err(Unsound::Forged);
        }
        let mut take = Take::new(body);
        let _front = take.array::<{ 4 + 1 + 16 + 1 }>()?;
        let cursor = Self {
            segment: take.u64()?,
            block: take.u32()?,
            records: take.u64()?,
            newest: Previous::take(&mut take)?,
        };
        take.end()?;
        if cursor.bytes(store, lane) == body { Ok(cursor) } else { Err(Unsound::Foreign) }
    }
}
