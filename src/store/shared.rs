//! What writer and reader both see: per lane the segments that are on disk and how far each is done.
//!
//! In: what was committed, acknowledged, lost. Out: what is to be read next, what may be deleted, how
//! deep each lane is. One lock for each lane, held for look-ups and counting only: never while
//! anything is written to or read from the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::anchor::Anchor;
use super::cursor_pace::{CursorFile, Pace};
use super::engine::{Disk, Engine, database_file};
use super::folders::{folder_bytes, lane_folder, remove_segment};
use super::segment::Previous;
use super::state_file::{Cursor, Identity, StateKeys};
use super::{Config, Seq, StoreId};
use crate::device::observation::Lane;
use crate::envelope::keys::{KeyRing, SegmentKeys};
use crate::envelope::record::{Gap, lane_code};
use crate::host::atomic_file;
use crate::time::Wall;

/// What the small files of a segment and its folder take, beside its database.
pub(super) const FOLDER_OVERHEAD: u64 = 48 * 1024;

/// The segment that is being written.
pub(super) struct Live {
    pub(super) number: u64,
    pub(super) engine: Box<dyn Engine>,
    pub(super) keys: SegmentKeys,
}

/// What is known of one segment without opening it.
#[derive(Debug)]
pub(super) struct Entry {
    /// How many blocks are durable: 0..blocks can be read.
    pub(super) blocks: u32,
    pub(super) records: u64,
    /// How many of its records are gap records.
    pub(super) tellings: u64,
    /// How many lost records these tell of.
    pub(super) told: u64,
    /// On disk, overhead included.
    pub(super) bytes: u64,
    pub(super) first: Wall,
    pub(super) last: Wall,
    pub(super) is_closed: bool,
    /// Goes to quarantine, not away, when it is done.
    pub(super) is_damaged: bool,
    /// Its key is still wrapped by the previous KEK.
    pub(super) is_under_previous: bool,
    /// Every block before it is done.
    pub(super) done_through: u32,
    /// Blocks further on that are done.
    pub(super) done_beyond: BTreeSet<u32>,
    /// The records of all done blocks.
    pub(super) done_records: u64,
    /// The wall time of the newest done block.
    pub(super) newest_done: Option<Wall>,
    /// Blocks that cannot be read and whose gap record is not written yet.
    pub(super) lost: BTreeSet<u32>,
}

impl Entry {
    pub(super) fn new(first: Wall) -> Self {
        Self {
            blocks: 0,
            records: 0,
            tellings: 0,
            told: 0,
            bytes: FOLDER_OVERHEAD,
            first,
            last: first,
            is_closed: false,
            is_damaged: false,
            is_under_previous: false,
            done_through: 0,
            done_beyond: BTreeSet::new(),
            done_records: 0,
            newest_done: None,
            lost: BTreeSet::new(),
        }
    }

    pub(super) fn is_done(&self, block: u32) -> bool {
        block < self.done_through || self.done_beyond.contains(&block)
    }

    pub(super) fn is_drained(&self) -> bool {
        self.done_through >= self.blocks
    }

    /// Counts a block as done; `false` when it already was.
    pub(super) fn finish(&mut self, block: u32, records: u64) -> bool {
        if self.is_done(block) || block >= self.blocks {
            return false;
        }
        self.done_beyond.insert(block);
        while self.done_beyond.remove(&self.done_through) {
            self.done_through += 1;
        }
        self.done_records = self.done_records.saturating_add(records).min(self.records);
        true
    }

    /// The first block from `from` on that is to be read.
    fn next(&self, from: u32) -> Option<u32> {
        (from.max(self.done_through)..self.blocks)
            .find(|block| !self.is_done(*block) && !self.lost.contains(block))
    }

    /// Records that are not done and are no gap records.
    pub(super) fn readings_left(&self) -> u64 {
        self.left().saturating_sub(self.tellings)
    }

    /// Records that are not done.
    pub(super) fn left(&self) -> u64 {
        self.records.saturating_sub(self.done_records)
    }
}

/// One lane.
pub(super) struct LaneState {
    pub(super) segments: BTreeMap<u64, Entry>,
    pub(super) live: Option<Arc<Live>>,
    /// The number that the next segment gets.
    pub(super) next_number: u64,
    /// The newest segment that holds something, closed or not.
    pub(super) newest: Previous,
    /// The wall time of the newest block before the first that waits: nothing older waits.
    pub(super) done_wall: Option<Wall>,
}

/// What the reader is to read next.
pub(super) struct Next {
    pub(super) seq: Seq,
    /// The segment's handle, when it is the one that is being written.
    pub(super) live: Option<Arc<Live>>,
}

impl LaneState {
    /// The first block at or after a position that is to be read.
    pub(super) fn next(&self, lane: Lane, segment: u64, block: u32) -> Option<Next> {
        self.segments.range(segment..).find_map(|(number, entry)| {
            let from = if *number == segment { block } else { 0 };
            let block = entry.next(from)?;
            let live = self.live.clone().filter(|live| live.number == *number);
            Some(Next { seq: Seq { lane, segment: *number, block }, live })
        })
    }

    pub(super) fn cursor(&self) -> Cursor {
        match self.segments.first_key_value() {
            None => Cursor { segment: self.next_number, block: 0, records: 0, newest: self.newest },
            Some((number, entry)) => {
                let records = if entry.done_beyond.is_empty() { entry.done_records } else { 0 };
                Cursor { segment: *number, block: entry.done_through, records, newest: self.newest }
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.segments.values().map(|entry| entry.bytes).sum()
    }
}

/// Something that is gone, and what becomes of its place once its gap record is durable.
#[derive(Debug)]
pub(super) struct Loss {
    pub(super) gap: Gap,
    pub(super) then: Then,
}

/// What follows a gap record.
#[derive(Debug)]
pub(super) enum Then {
    /// Nothing: there is nothing left.
    Nothing,
    /// These blocks count as done.
    Finish { segment: u64, blocks: BTreeSet<u32> },
    /// This folder is moved to quarantine.
    Quarantine(PathBuf),
    /// These folders, whose data is gone already, go.
    Remove(Vec<PathBuf>),
}

/// A segment's number and the hash that stands for it and all before it.
pub(super) type Head = (u64, [u8; 32]);

impl Then {
    /// Whether the loss is found again after a restart only because the folder and the files that say how
    /// far the lane is are as they are.
    fn is_shown_by_the_folder(&self) -> bool {
        matches!(self, Self::Nothing | Self::Quarantine(_) | Self::Remove(_))
    }
}

/// Seen by writer, reader and statistics.
pub(super) struct Shared {
    pub(super) folder: PathBuf,
    pub(super) store: StoreId,
    pub(super) ring: KeyRing,
    pub(super) state_keys: StateKeys,
    pub(super) identity: Mutex<Identity>,
    pub(super) disk: Arc<dyn Disk>,
    lanes: [Mutex<LaneState>; 3],
    pub(super) cursors: [Mutex<CursorFile>; 3],
    pub(super) losses: Mutex<Vec<Loss>>,
    /// Of each lane how many losses are not told of yet that only the folder, as it is, would show again
    /// after a restart. While there are any, no file says that the lane is further.
    pub(super) untold: [AtomicU64; 3],
    /// The most bytes that it may use.
    pub(super) cap: AtomicU64,
    pub(super) quarantined_bytes: AtomicU64,
    pub(super) quarantined: AtomicU64,
    pub(super) faults: AtomicU64,
    pub(super) blocks: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) commits: watch::Sender<u64>,
    pub(super) last_error: Mutex<Option<String>>,
    /// The mark beside the folder, and what it says.
    pub(super) anchor_file: Option<PathBuf>,
    pub(super) anchored: Mutex<Option<Anchor>>,
    pub(super) anchor_trouble: Mutex<Option<String>>,
    /// The newest monotonic time that the writer was told, in nanoseconds: paces the cursor files.
    pub(super) now: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        (config, identity): (&Config, Identity),
        ring: KeyRing,
        disk: Arc<dyn Disk>,
        lanes: [LaneState; 3],
    ) -> Self {
        let cursor = || Mutex::new(CursorFile::default());
        Self {
            folder: config.folder.clone(),
            cap: AtomicU64::new(config.cap),
            anchor_file: config.anchor.clone(),
            store: identity.store,
            state_keys: StateKeys::new(&ring),
            ring,
            identity: Mutex::new(identity),
            disk,
            lanes: lanes.map(Mutex::new),
            cursors: [cursor(), cursor(), cursor()],
            losses: Mutex::new(Vec::new()),
            untold: Default::default(),
            quarantined_bytes: AtomicU64::new(0),
            quarantined: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            records: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            commits: watch::channel(0).0,
            last_error: Mutex::new(None),
            anchored: Mutex::new(None),
            anchor_trouble: Mutex::new(None),
            now: AtomicU64::new(0),
        }
    }

    pub(super) fn lane(&self, lane: Lane) -> MutexGuard<'_, LaneState> {
        let [alarm, vital, bulk] = &self.lanes;
        lock(match lane {
            Lane::Alarm => alarm,
            Lane::Vital => vital,
            Lane::Bulk => bulk,
        })
    }

    pub(super) fn segment_folder(&self, lane: Lane, number: u64) -> PathBuf {
        lane_folder(&self.folder, lane).join(number.to_string())
    }

    /// The bytes of each lane, in the order of [`Lane::ALL`].
    pub(super) fn usage(&self) -> [u64; 3] {
        Lane::ALL.map(|lane| self.lane(lane).bytes())
    }

    pub(super) fn note_error(&self, error: &dyn std::fmt::Display) {
        *lock(&self.last_error) = Some(error.to_string());
    }

    /// Something in the store is not as it was left.
    pub(super) fn note_fault(&self, fault: &dyn std::fmt::Display) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        self.note_error(fault);
    }

    /// A segment is not as it was left: it goes to quarantine when everything in it is done.
    pub(super) fn note_damage(&self, lane: Lane, segment: u64, what: &str) {
        let is_news = match self.lane(lane).segments.get_mut(&segment) {
            Some(entry) => !std::mem::replace(&mut entry.is_damaged, true),
            None => false,
        };
        if is_news {
            self.note_fault(&format_args!("segment {segment} of lane {lane}: {what}"));
        }
    }

    /// Removes the drained segments at the front of a lane: first the cursor says so, then they go.
    pub(super) fn retire(&self, lane: Lane) -> io::Result<()> {
        loop {
            let retired = {
                let mut state = self.lane(lane);
                let front = state.segments.first_key_value();
                match front {
                    Some((number, entry)) if entry.is_closed && entry.is_drained() => {
                        let number = *number;
                        state.segments.remove(&number).map(|entry| (number, entry))
                    }
                    _ => None,
                }
            };
            let Some((number, entry)) = retired else { return Ok(()) };
            let saved = self.save_cursor(lane, Pace::AtOnce);
            let folder = self.segment_folder(lane, number);
            if entry.is_damaged {
                self.quarantine(lane, &folder)?;
            } else {
                remove_segment(&folder)?;
            }
            if saved.is_err() {
                // On a full disk the removal has made the room that the cursor needs. A power cut in
                // between tells of a gap that is none: overstated, never silent.
                self.save_cursor(lane, Pace::AtOnce)?;
            }
        }
    }

    /// Takes the segments of a lane up to and with one out, and their data off the disk. Their folders stay.
    pub(super) fn take_out(&self, lane: Lane, through: u64) -> Vec<PathBuf> {
        let gone = {
            let mut state = self.lane(lane);
            let later = state.segments.split_off(&through.saturating_add(1));
            std::mem::replace(&mut state.segments, later)
        };
        let folders = gone.keys().map(|number| self.segment_folder(lane, *number));
        let folders: Vec<PathBuf> = folders.collect();
        for folder in &folders {
            let _ = std::fs::remove_file(database_file(folder));
        }
        folders
    }

    /// Moves a folder out of the lane, where a person can look at it.
    pub(super) fn quarantine(&self, lane: Lane, folder: &Path) -> io::Result<()> {
        let home = self.folder.join("quarantine");
        atomic_file::create_folder(&home)?;
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let place = (0..1_000u32)
            .map(|attempt| home.join(format!("{lane}-{name}-{attempt}")))
            .find(|place| !place.exists())
            .unwrap_or_else(|| home.join(format!("{lane}-{name}")));
        atomic_file::rename(folder, &place)?;
        self.quarantined.fetch_add(1, Ordering::Relaxed);
        self.quarantined_bytes.fetch_add(folder_bytes(&place), Ordering::Relaxed);
        Ok(())
    }

    /// Removes the oldest of what is in quarantine; `false` when there is nothing.
    pub(super) fn drop_quarantined(&self) -> bool {
        let home = self.folder.join("quarantine");
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(home).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for entry in entries {
            let bytes = folder_bytes(&entry);
            // A file among them was not put there by this program; it goes all the same.
            if remove_segment(&entry).is_ok() || std::fs::remove_file(&entry).is_ok() {
                let less = |now: u64| Some(now.saturating_sub(bytes));
                let _ = self.quarantined_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
                return true;
            }
        }
        false
    }

    /// The newest segment of a lane that holds something, and its head.
    pub(super) fn head(&self, lane: Lane) -> Option<Head> {
        let newest = self.lane(lane).newest;
        (newest.number > 0).then_some((newest.number, newest.head.0))
    }

    /// Notes that blocks of a segment cannot be read; those of one segment are told together.
    pub(super) fn lose(&self, loss: Loss) {
        let mut losses = lock(&self.losses);
        if let Then::Finish { segment, blocks } = &loss.then {
            for known in losses.iter_mut() {
                let is_same_lane = known.gap.lane == loss.gap.lane;
                if let Then::Finish { segment: same, blocks: more } = &mut known.then
                    && is_same_lane
                    && same == segment
                {
                    more.extend(blocks);
                    known.gap.count = known.gap.count.saturating_add(loss.gap.count);
                    known.gap.first = known.gap.first.min(loss.gap.first);
                    known.gap.last = known.gap.last.max(loss.gap.last);
                    return;
                }
            }
        }
        if loss.then.is_shown_by_the_folder() {
            self.count_untold(loss.gap.lane, true);
        }
        losses.push(loss);
    }

    fn count_untold(&self, lane: Lane, is_more: bool) {
        if let Some(untold) = self.untold.get(usize::from(lane_code(lane))) {
            let step = |now: u64| Some(if is_more { now.saturating_add(1) } else { now.saturating_sub(1) });
            let _ = untold.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step);
        }
    }

    /// Whether a lane has lost something that is not told of yet.
    pub(super) fn is_untold(&self, lane: Lane) -> bool {
        let untold = self.untold.get(usize::from(lane_code(lane)));
        untold.is_some_and(|untold| untold.load(Ordering::SeqCst) > 0)
    }

    /// What was lost is told: its place is free.
    pub(super) fn settle(&self, lane: Lane, then: Then) -> io::Result<()> {
        if then.is_shown_by_the_folder() {
            self.count_untold(lane, false);
        }
        match then {
            Then::Nothing => Ok(()),
            Then::Quarantine(folder) => self.quarantine(lane, &folder),
            Then::Remove(folders) => folders.iter().try_for_each(|folder| remove_segment(folder)),
            Then::Finish { segment, blocks } => {
                if let Some(entry) = self.lane(lane).segments.get_mut(&segment) {
                    for block in blocks {
                        entry.lost.remove(&block);
                        entry.finish(block, 0);
                    }
                    if entry.is_drained() {
                        entry.done_records = entry.records;
                    }
                }
                self.retire(lane)
            }
        }
    }
}

/// A lock whose holder panicked is still a lock: what it guards is changed in single steps.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
