//! The store's own small files: its identity, and for each lane how far the broker has everything.
//!
//! In and out: bytes (`FORMAT.md`), authenticated under the KEK. What can go wrong: missing, cut,
//! changed, of another key. What never happens: an identity is made while there is data.

use std::path::Path;

use super::segment::{Previous, Unsound};
use super::{StoreError, StoreId};
use crate::device::observation::Lane;
use crate::envelope::keys::{Kek, KekId, MacKey};
use crate::envelope::record::{FormatError, lane_code};
use crate::envelope::wire::{Put, Take};
use crate::host::atomic_file;

const IDENTITY_MAGIC: [u8; 4] = *b"WLsI";
const CURSOR_MAGIC: [u8; 4] = *b"WLsC";
const VERSION: u8 = 1;
/// Both files are shorter; a longer one is not read.
const MAX_FILE: usize = 256;

/// Writes the identity of a new store.
pub(super) fn write_identity(path: &Path, store: StoreId, kek: &Kek) -> std::io::Result<()> {
    let mut out = Vec::new();
    out.put_bytes(&IDENTITY_MAGIC);
    out.put_u8(VERSION);
    out.put_bytes(&store.0);
    out.put_bytes(&kek.id().0);
    let tag = kek.state_key().tag(&out);
    out.put_bytes(&tag);
    atomic_file::write(path, &out)
}

/// Reads the identity; `None` when the file is not there.
pub(super) fn read_identity(path: &Path, kek: &Kek) -> Result<Option<StoreId>, StoreError> {
    let bytes = match atomic_file::read(path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(StoreError::Identity { path: path.to_owned(), reason: error.to_string() });
        }
    };
    let damaged = |reason: String| StoreError::Identity { path: path.to_owned(), reason };
    let (store, owner) = parse_identity(&bytes).map_err(|error| damaged(error.to_string()))?;
    if owner != kek.id() {
        return Err(StoreError::WrongKey { store: owner, given: kek.id() });
    }
    let is_sound =
        bytes.split_last_chunk::<32>().is_some_and(|(body, tag)| kek.state_key().is_tag(body, tag));
    if is_sound { Ok(Some(store)) } else { Err(damaged("it does not authenticate".to_owned())) }
}

fn parse_identity(bytes: &[u8]) -> Result<(StoreId, KekId), FormatError> {
    let mut take = Take::new(bytes);
    if take.array::<4>()? != IDENTITY_MAGIC {
        return Err(FormatError::Field("magic"));
    }
    let version = take.u8()?;
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    Ok((StoreId(take.array()?), KekId(take.array()?)))
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
    /// The newest segment that was closed when this was written: when all are drained and gone, the
    /// chain goes on from here.
    pub(super) newest: Previous,
}

impl Cursor {
    /// Writes it, durably.
    pub(super) fn write(&self, path: &Path, store: StoreId, lane: Lane, key: &MacKey) -> std::io::Result<()> {
        let mut out = self.bytes(store, lane);
        let tag = key.tag(&out);
        out.put_bytes(&tag);
        atomic_file::write(path, &out)
    }

    fn bytes(&self, store: StoreId, lane: Lane) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_bytes(&CURSOR_MAGIC);
        out.put_u8(VERSION);
        out.put_bytes(&store.0);
        out.put_u8(lane_code(lane));
        out.put_u64(self.segment);
        out.put_u32(self.block);
        out.put_u64(self.records);
        self.newest.put(&mut out);
        out
    }

    /// Reads it; it must be this store's and this lane's.
    pub(super) fn read(path: &Path, store: StoreId, lane: Lane, key: &MacKey) -> Result<Self, Unsound> {
        let bytes = atomic_file::read(path, MAX_FILE)?;
        let (body, tag) = bytes.split_last_chunk::<32>().ok_or(FormatError::End)?;
        if !key.is_tag(body, tag) {
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
