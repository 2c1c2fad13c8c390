//! What is in a lane's folder, read only, for all that look.
//!
//! In: folder and keys. Out: cursor, headers and blocks as they authenticate, and the names of what does
//! not belong. What never happens: anything is repaired, removed or written.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::chunk::Label;
use super::super::engine::database_file;
use super::super::folders::{GOING, cursor_file, lane_folder};
use super::super::raw::RawSegment;
use super::super::reader::open_block;
use super::super::rebuild::Told;
use super::super::segment::{Header, Opened, Unsound};
use super::super::state_file::{Cursor, Identity, StateKeys};
use super::super::stock::LAST_NUMBER;
use super::super::{Seq, StoreError, StoreId};
use crate::device::observation::Lane;
use crate::envelope::block::PlainBlock;
use crate::envelope::keys::{KeyRing, SegmentKeys};
use crate::host::atomic_file::UNFINISHED;

/// A store to look into, and with what.
pub(super) struct Sight<'a> {
    pub(super) folder: &'a Path,
    pub(super) ring: &'a KeyRing,
    pub(super) keys: StateKeys,
    pub(super) store: StoreId,
    /// `None` when it cannot be used.
    pub(super) identity: Option<Identity>,
}

impl<'a> Sight<'a> {
    /// Whose store it is. An identity that is damaged comes with the reason: as long as a segment proves
    /// that the key is the right one, the rest can be looked into all the same.
    pub(super) fn find(folder: &'a Path, ring: &'a KeyRing) -> Result<(Self, Option<String>), StoreError> {
        let path = folder.join("identity");
        let sight = |store, identity| Self { folder, ring, keys: StateKeys::new(ring), store, identity };
        let why = match Identity::read(&path, ring) {
            Ok(Some(identity)) => return Ok((sight(identity.store, Some(identity)), None)),
            // It authenticates: the key that it asks for is needed.
            Err(error @ StoreError::PreviousKey { .. }) => return Err(error),
            Ok(None) => StoreError::Identity { path, reason: "it is missing".to_owned() },
            Err(error) => error,
        };
        let Some(store) = proven(folder, ring) else { return Err(why) };
        let reason =
            if let StoreError::Identity { reason, .. } = &why { reason.clone() } else { why.to_string() };
        Ok((sight(store, None), Some(reason)))
    }

    pub(super) fn header(&self, lane: Lane, number: u64) -> Result<Opened, Unsound> {
        let folder = self.segment_folder(lane, number);
        Header::open(&folder, self.ring, (self.store, lane, number))
    }

    pub(super) fn cursor(&self, lane: Lane) -> Result<Cursor, Unsound> {
        Cursor::read(&cursor_file(self.folder, lane), self.store, lane, &self.keys)
    }

    pub(super) fn segment_folder(&self, lane: Lane, number: u64) -> PathBuf {
        lane_folder(self.folder, lane).join(number.to_string())
    }

    /// One block of a segment; `None` when it is not all there or does not authenticate.
    pub(super) fn block(
        &self,
        keys: &SegmentKeys,
        raw: &RawSegment,
        seq: Seq,
    ) -> Option<(Label, PlainBlock)> {
        let (label, sealed) = raw.block(seq.block)?;
        Some((label, open_block(keys, self.store, seq, (label, &sealed))?))
    }
}

/// The store whose name a segment's header has under this very key.
fn proven(folder: &Path, ring: &KeyRing) -> Option<StoreId> {
    Lane::ALL.iter().find_map(|lane| {
        let contents = Contents::of(&lane_folder(folder, *lane)).ok()?;
        contents.numbers.iter().find_map(|number| {
            let home = lane_folder(folder, *lane).join(number.to_string());
            let (_, claimed) = Header::claim(&home)?;
            Header::open(&home, ring, (claimed, *lane, *number)).ok().map(|_| claimed)
        })
    })
}

/// What stands in a lane's folder.
#[derive(Debug, Default)]
pub(in super::super) struct Contents {
    /// Its segments, in order.
    pub(in super::super) numbers: Vec<u64>,
    /// Folders that are being removed.
    pub(super) going: Vec<PathBuf>,
    /// Files that were being written when the power went.
    pub(super) unfinished: Vec<PathBuf>,
    /// What the store did not make.
    pub(in super::super) strangers: Vec<PathBuf>,
}

impl Contents {
    /// Of a lane; a lane that is not there is empty.
    pub(in super::super) fn of(home: &Path) -> io::Result<Self> {
        let mut contents = Self::default();
        for (name, is_folder, path) in children(home)? {
            let stem = name.strip_suffix(GOING).and_then(|stem| stem.strip_suffix('.'));
            match segment_number(&name) {
                Some(number) if is_folder => contents.numbers.push(number),
                _ if stem.and_then(segment_number).is_some() && is_folder => contents.going.push(path),
                _ if name == "cursor" && !is_folder => {}
                _ if name.strip_suffix(UNFINISHED) == Some("cursor") => contents.unfinished.push(path),
                _ => contents.strangers.push(path),
            }
        }
        contents.numbers.sort_unstable();
        Ok(contents)
    }
}

/// The number of the segment whose folder has this name; `None` when it is no segment's.
fn segment_number(name: &str) -> Option<u64> {
    let number = name.parse().ok().filter(|number| (1..=LAST_NUMBER).contains(number))?;
    (number.to_string() == name).then_some(number)
}

/// What a folder holds, by name: whether each is a folder, and its path. Symbolic links are not followed.
pub(in super::super) fn children(folder: &Path) -> io::Result<Vec<(String, bool, PathBuf)>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        found.push((entry.file_name().to_string_lossy().into_owned(), is_folder, entry.path()));
    }
    found.sort();
    Ok(found)
}

/// Whether it is the folder that ext4 keeps at the root of a disk for what a check of the disk finds: root's, and
/// empty. Who is not root cannot look into it.
pub(in super::super) fn is_lost_and_found(name: &str, path: &Path) -> bool {
    let is_roots = path.symlink_metadata().is_ok_and(|found| found.is_dir() && found.uid() == 0);
    name == "lost+found"
        && is_roots
        && match children(path) {
            Ok(found) => found.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        }
}

/// One lane with everything that its small files say.
pub(super) struct LaneSight {
    pub(super) lane: Lane,
    pub(super) cursor: Result<Cursor, Unsound>,
    pub(super) contents: Contents,
    /// The headers that authenticate.
    pub(super) sound: BTreeMap<u64, Opened>,
    /// What is wrong with the others.
    pub(super) spoilt: BTreeMap<u64, Unsound>,
    pub(super) told: Told,
}

impl LaneSight {
    pub(super) fn take(sight: &Sight<'_>, lane: Lane) -> io::Result<Self> {
        // The cursor first: what is removed after it was read is found missing, not lost.
        let cursor = sight.cursor(lane);
        let contents = Contents::of(&lane_folder(sight.folder, lane))?;
        let (mut sound, mut spoilt) = (BTreeMap::new(), BTreeMap::new());
        for number in contents.numbers.iter().copied() {
            match sight.header(lane, number) {
                Ok(opened) => drop(sound.insert(number, opened)),
                Err(error) => drop(spoilt.insert(number, error)),
            }
        }
        let previous = sound.iter().map(|(number, opened)| (*number, opened.header.previous)).collect();
        let told = Told { previous, newest: cursor.as_ref().ok().map(|cursor| cursor.newest) };
        Ok(Self { lane, cursor, contents, sound, spoilt, told })
    }

    /// Whether a segment is acknowledged as a whole: only its removal is left.
    pub(super) fn is_over(&self, number: u64) -> bool {
        self.cursor.as_ref().is_ok_and(|cursor| number < cursor.segment)
    }

    /// The first block of a segment that is not acknowledged, and the records before it.
    pub(super) fn done(&self, number: u64) -> (u32, u64) {
        match &self.cursor {
            Ok(cursor) if cursor.segment == number => (cursor.block, cursor.records),
            _ => (0, 0),
        }
    }
}

/// The chunks of a segment's database; `None` when there is no such file.
pub(super) fn scan(folder: &Path) -> io::Result<Option<RawSegment>> {
    match RawSegment::scan(&database_file(folder)) {
        Ok(raw) => Ok(Some(raw)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the labels of a segment's blocks add up to: all that is left of one whose key is lost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) records: u64,
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Tally {
    /// Of some blocks.
    pub(super) fn of(raw: &RawSegment, blocks: impl Iterator<Item = u32>) -> Self {
        let labels = blocks.filter_map(|block| raw.label(block));
        labels.fold(Self::default(), |tally, label| {
            let is_first = tally.records == 0;
            Self {
                records: tally.records.saturating_add(u64::from(label.count)).saturating_add(label.told),
                first: if is_first { label.wall } else { tally.first.min(label.wall) },
                last: if is_first { label.wall } else { tally.last.max(label.wall) },
            }
        })
    }
}
