//! What is in a store at this moment, also while a daemon writes it.
//!
//! In: the folder, and the keys if they are at hand. Out: a [`Survey`]. Without keys it names only what the
//! file system says: numbers, sizes, times of files. What never happens: a file that vanishes while it is
//! looked at is taken for a loss; what a closed segment holds is read (only [`verify()`](super::verify())
//! does that).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::engine::database_file;
use super::super::folders::{folder_bytes, lane_folder};
use super::super::rebuild::{Rebuilt, rebuild};
use super::super::segment::{Ending, Footer, Opened, Unsound};
use super::super::{StoreError, StoreId};
use super::look::{Contents, LaneSight, Sight, children, scan};
use crate::device::observation::Lane;
use crate::envelope::keys::{KekId, KeyRing};
use crate::time::Wall;

/// Everything in a store.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Whose it is; `None` when that was not authenticated.
    pub store: Option<StoreId>,
    /// The key that it is kept under, and the one that it is being moved from.
    pub kek: Option<(KekId, Option<KekId>)>,
    /// The lanes, in the order of [`Lane::ALL`].
    pub lanes: Vec<LaneView>,
    /// What was set aside.
    pub quarantine: Vec<Quarantined>,
    /// Bytes on disk, everything in the folder.
    pub bytes: u64,
    /// What a person should know of it, in words.
    pub remarks: Vec<String>,
}

/// A lane.
#[derive(Clone, Debug)]
pub struct LaneView {
    /// Which.
    pub lane: Lane,
    /// The first block that is not acknowledged: its segment, and its index there.
    pub cursor: Option<(u64, u32)>,
    /// Its segments, in order.
    pub segments: Vec<SegmentView>,
    /// Folders that are being removed.
    pub going: u64,
}

impl LaneView {
    /// Records that are not acknowledged; `None` when a segment could not be looked into.
    pub fn waiting(&self) -> Option<u64> {
        self.segments.iter().try_fold(0u64, |sum, segment| Some(sum.saturating_add(segment.waiting?)))
    }

    /// Bytes of its segments on disk.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.bytes))
    }

    /// The time of its first and of its last block.
    pub fn span(&self) -> Option<(Wall, Wall)> {
        let spans = self.segments.iter().filter_map(|segment| segment.span);
        spans.reduce(|(first, last), (from, to)| (first.min(from), last.max(to)))
    }
}

/// How a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The daemon is writing it.
    Writing,
    /// Closed in order: its footer authenticates.
    Closed,
    /// It ended without a footer, or was given up after an error of the disk.
    Unclosed,
    /// Something of it is missing or does not authenticate.
    Damaged,
    /// Everything in it is acknowledged: only its removal is left.
    Going,
    /// Not looked into: there was no key for it.
    Unchecked,
}

impl State {
    /// As shown to people and machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writing => "writing",
            Self::Closed => "closed",
            Self::Unclosed => "unclosed",
            Self::Damaged => "damaged",
            Self::Going => "going",
            Self::Unchecked => "unchecked",
        }
    }
}

/// A segment. What could not be authenticated is `None`.
#[derive(Clone, Debug)]
pub struct SegmentView {
    /// Its number.
    pub number: u64,
    /// How it is.
    pub state: State,
    /// Blocks in it.
    pub blocks: Option<u32>,
    /// Records in it.
    pub records: Option<u64>,
    /// Records of it that are not acknowledged.
    pub waiting: Option<u64>,
    /// How many of its records are gap records.
    pub gaps: Option<u64>,
    /// How many lost records these tell of.
    pub told: Option<u64>,
    /// On disk.
    pub bytes: u64,
    /// The time of its first and of its last block; of an unchecked one, when its files were made and
    /// last written.
    pub span: Option<(Wall, Wall)>,
    /// What is wrong with it.
    pub why: Option<String>,
}

/// Something in quarantine.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// Its name there: lane, segment, attempt.
    pub name: String,
    /// On disk.
    pub bytes: u64,
    /// When it was last written to before it was set aside.
    pub written: Option<Wall>,
}

/// Says what is in a store. `is_held`: whether somebody has it open.
pub fn survey(folder: &Path, ring: Option<&KeyRing>, is_held: bool) -> Result<Survey, StoreError> {
    let failed = |error| StoreError::io("looking into the store", error);
    // A folder that cannot be entered must not look like one that is empty.
    std::fs::read_dir(folder).map_err(failed)?;
    let mut remarks = Vec::new();
    let sight = match ring.map(|ring| Sight::find(folder, ring)) {
        None => None,
        Some(Ok((sight, trouble))) => {
            remarks.extend(trouble.map(|why| format!("the identity of the store cannot be used: {why}")));
            Some(sight)
        }
        Some(Err(error)) => {
            remarks.push(error.to_string());
            None
        }
    };
    let mut lanes = Vec::new();
    for lane in Lane::ALL {
        let view = match &sight {
            Some(sight) => checked(sight, lane, is_held, &mut remarks),
            None => unchecked(folder, lane),
        };
        lanes.push(view.map_err(failed)?);
    }
    let quarantine = quarantined(folder).map_err(failed)?;
    let kek =
        sight.as_ref().and_then(|sight| sight.identity).map(|identity| (identity.kek, identity.previous));
    let (store, bytes) = (sight.map(|sight| sight.store), folder_bytes(folder));
    Ok(Survey { store, kek, lanes, quarantine, bytes, remarks })
}

fn checked(sight: &Sight<'_>, lane: Lane, is_held: bool, remarks: &mut Vec<String>) -> io::Result<LaneView> {
    let found = LaneSight::take(sight, lane)?;
    if let Err(error) = &found.cursor
        && !(error.is_absent() && found.contents.numbers.is_empty())
    {
        remarks.push(format!("the cursor of lane {lane} cannot be used: {error}"));
    }
    remarks
        .extend(found.contents.strangers.iter().map(|path| format!("{} is not the store's", path.display())));
    let newest = found.contents.numbers.last().copied();
    let mut segments = Vec::new();
    for number in found.contents.numbers.iter().copied() {
        let folder = sight.segment_folder(lane, number);
        let is_live = is_held && newest == Some(number);
        let view = match found.sound.get(&number) {
            Some(opened) => look_at(&folder, &found, opened, is_live),
            None => spoilt(&folder, &found, number, is_live),
        };
        // Acknowledged and removed since its name was read.
        if folder.exists() {
            segments.push(view);
        }
    }
    let cursor = found.cursor.as_ref().ok().map(|cursor| (cursor.segment, cursor.block));
    Ok(LaneView { lane, cursor, segments, going: count(&found.contents.going) })
}

/// A segment whose header authenticates.
fn look_at(folder: &Path, found: &LaneSight, opened: &Opened, is_live: bool) -> SegmentView {
    let number = opened.header.number;
    let (state, footer, why) = match Footer::read(folder, &opened.keys) {
        Ok(footer) => match whole_file(folder, &footer) {
            None => (State::Closed, footer, None),
            Some((state, why)) => (state, footer, Some(why)),
        },
        Err(error) => {
            let raw = scan(folder).ok().flatten();
            let Rebuilt { footer, lost, .. } = rebuild(raw.as_ref(), opened, found.told.about(number));
            match () {
                () if !error.is_absent() => (State::Damaged, footer, Some(format!("its footer: {error}"))),
                () if !lost.is_empty() => {
                    let why = format!("{} of its blocks are not all there", lost.len());
                    (State::Damaged, footer, Some(why))
                }
                () if is_live => (State::Writing, footer, None),
                () => (State::Unclosed, footer, None),
            }
        }
    };
    let (done_blocks, done_records) = found.done(number);
    let is_over = found.is_over(number) || (done_blocks >= footer.blocks && state != State::Writing);
    let waiting = if is_over { 0 } else { footer.records.saturating_sub(done_records) };
    SegmentView {
        number,
        state: if is_over { State::Going } else { state },
        blocks: Some(footer.blocks),
        records: Some(footer.records),
        waiting: Some(waiting),
        gaps: Some(footer.tellings),
        told: Some(footer.told),
        bytes: folder_bytes(folder),
        span: Some((footer.first, footer.last)),
        why,
    }
}

/// What is wrong with the database of a segment with a footer, as far as its length tells.
fn whole_file(folder: &Path, footer: &Footer) -> Option<(State, String)> {
    let length = std::fs::metadata(database_file(folder)).map(|metadata| metadata.len());
    match (footer.ending, length) {
        (Ending::Broken, Ok(_)) => Some((State::Unclosed, "it was not closed in order".to_owned())),
        (Ending::Clean { length: wanted, .. }, Ok(length)) if length == wanted => None,
        (Ending::Clean { length: wanted, .. }, Ok(length)) => {
            Some((State::Damaged, format!("its database has {length} bytes, not {wanted}")))
        }
        (_, Err(error)) => Some((State::Damaged, format!("its database: {error}"))),
    }
}

fn spoilt(folder: &Path, found: &LaneSight, number: u64, is_live: bool) -> SegmentView {
    let error = found.spoilt.get(&number);
    let is_empty = error.is_some_and(Unsound::is_absent) && !database_file(folder).exists();
    let view = by_its_files(folder, number);
    if found.is_over(number) {
        return SegmentView { state: State::Going, waiting: Some(0), ..view };
    }
    if is_empty {
        // Its folder is made before its header, and its header before its database.
        let state = if is_live { State::Writing } else { State::Unclosed };
        return SegmentView { state, waiting: Some(0), blocks: Some(0), records: Some(0), ..view };
    }
    SegmentView { state: State::Damaged, why: error.map(|error| format!("its header: {error}")), ..view }
}

fn unchecked(folder: &Path, lane: Lane) -> io::Result<LaneView> {
    let home = lane_folder(folder, lane);
    let contents = Contents::of(&home)?;
    let segments =
        contents.numbers.iter().map(|number| by_its_files(&home.join(number.to_string()), *number)).collect();
    Ok(LaneView { lane, cursor: None, segments, going: count(&contents.going) })
}

/// What the file system says of a segment.
fn by_its_files(folder: &Path, number: u64) -> SegmentView {
    let made = written(&folder.join("header"));
    let last = written(&database_file(folder)).or(made);
    SegmentView {
        number,
        state: State::Unchecked,
        blocks: None,
        records: None,
        waiting: None,
        gaps: None,
        told: None,
        bytes: folder_bytes(folder),
        span: made.or(last).zip(last),
        why: None,
    }
}

fn quarantined(folder: &Path) -> io::Result<Vec<Quarantined>> {
    let found = children(&folder.join("quarantine"))?;
    let view = |(name, _, path): (String, bool, PathBuf)| Quarantined {
        bytes: folder_bytes(&path),
        written: written(&database_file(&path)).or_else(|| written(&path)),
        name,
    };
    Ok(found.into_iter().map(view).collect())
}

/// When a file was last written.
fn written(path: &Path) -> Option<Wall> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let millis = metadata.mtime().saturating_mul(1_000).saturating_add(metadata.mtime_nsec() / 1_000_000);
    Some(Wall::from_millis(millis))
}

fn count(paths: &[PathBuf]) -> u64 {
    u64::try_from(paths.len()).unwrap_or(u64::MAX)
}
