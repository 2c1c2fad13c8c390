//! Opening a store: whose it is, what is in it, what is missing.
//!
//! In: the folder in any state, the KEK. Out: a [`Writer`] and a [`Reader`] that go on where the last
//! start ended. What can go wrong for good: no identity or another key ([`StoreError::is_refusal`]).
//! Everything else is repaired or set aside, and told of. What never happens: sled runs while the
//! store is opened; time grows with anything but the number of segments and the size of those that
//! were not closed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::engine::{Disk, database_file};
use super::raw::RawSegment;
use super::segment::{Ending, Footer, Header, Opened, Previous};
use super::shared::{
    Entry, FOLDER_OVERHEAD, GOING, LaneState, Loss, Pace, Shared, Then, cursor_file, folder_bytes,
    lane_folder, remove_segment,
};
use super::state_file::{self, Cursor};
use super::writer::{LaneWriter, Room};
use super::{Config, LEAST_ROOM, Limits, Random, Reader, Recovery, StoreError, StoreId, Writer};
use crate::device::observation::Lane;
use crate::envelope::keys::Kek;
use crate::envelope::record::Gap;
use crate::host::atomic_file;
use crate::time::{BootId, Now, Wall};

/// What a store is opened with.
pub(super) struct Setup<'a> {
    pub(super) config: &'a Config,
    pub(super) kek: Kek,
    pub(super) boot: BootId,
    pub(super) random: Random,
    pub(super) limits: Limits,
    pub(super) disk: Arc<dyn Disk>,
}

/// The lock on the folder: held while writer or reader live.
pub(super) struct Held {
    _lock: File,
}

pub(super) fn open(setup: Setup<'_>, now: Now) -> Result<(Writer, Reader, Recovery), StoreError> {
    let Setup { config, kek, boot, random, limits, disk } = setup;
    let folder = config.folder.clone();
    let failed = |e| StoreError::io("opening the store", e);
    atomic_file::create_folder(&folder).map_err(failed)?;
    check_cap(config)?;
    let held = Arc::new(take_lock(&folder)?);
    let (store, is_new) = identity(&folder, &kek, &random)?;
    let mut found = Recovery { is_new, ..Recovery::default() };
    let mut lanes = Vec::new();
    let mut losses = Vec::new();
    for lane in Lane::ALL {
        let mut stock =
            Stock { folder: &folder, store, lane, kek: &kek, found: &mut found, losses: &mut losses };
        lanes.push(stock.take(&random, is_new).map_err(failed)?);
    }
    let [(alarm, before_a), (vital, before_v), (bulk, before_b)] =
        <[_; 3]>::try_from(lanes).map_err(|_| failed(io::Error::other("three lanes")))?;
    found.gaps = losses.iter().map(|loss: &Loss| loss.gap.clone()).collect();
    let shared = Arc::new(Shared::new((folder, store), kek, disk, [alarm, vital, bulk]));
    let quarantine = folder_bytes(&shared.folder.join("quarantine"));
    shared.quarantined_bytes.store(quarantine, Ordering::Relaxed);
    losses.into_iter().for_each(|loss| shared.lose(loss));
    let lane_writer = |previous| LaneWriter { current: None, previous };
    let mut writer = Writer {
        shared: Arc::clone(&shared),
        _held: Arc::clone(&held),
        room: Room::new(config),
        limits: fitted(limits, config),
        run: random_u64(&random)?,
        random,
        boot,
        lanes: [lane_writer(before_a), lane_writer(before_v), lane_writer(before_b)],
    };
    // What cannot be told now is told with the next commit: it does not keep the daemon from starting.
    if let Err(error) = writer.maintain(now) {
        shared.note_error(&error);
    }
    for lane in Lane::ALL {
        // There is one from the start, so that one that is missing later was lost.
        if let Err(error) = shared.save_cursor(lane, Pace::AtOnce) {
            shared.note_error(&error);
        }
        let depth = writer.stats().depth(lane);
        found.blocks += depth.blocks;
        found.records += depth.records;
        found.segments += u64::try_from(shared.lane(lane).segments.len()).unwrap_or_default();
    }
    Ok((writer, Reader::new(shared, held), found))
}

/// Segments small enough that dropping one leaves most of what the cap allows.
fn fitted(limits: Limits, config: &Config) -> Limits {
    let room = config.cap.saturating_sub(config.alarm_reserve);
    Limits { bytes: limits.bytes.min((room / 8).max(1024 * 1024)), ..limits }
}

fn check_cap(config: &Config) -> Result<(), StoreError> {
    let least = config.alarm_reserve.saturating_add(LEAST_ROOM);
    if config.cap < least {
        return Err(StoreError::Config(format!(
            "its cap of {} bytes is less than the alarm reserve and {LEAST_ROOM} bytes more: set it to at least \
             {least}",
            config.cap
        )));
    }
    let volume = rustix::fs::statvfs(&config.folder)
        .map_err(|e| StoreError::io("asking for the size of the store's volume", e.into()))?;
    let size = volume.f_blocks.saturating_mul(volume.f_frsize);
    if config.cap > size {
        return Err(StoreError::Config(format!(
            "its cap of {} bytes is more than the volume of {} has ({size}): set a lower one",
            config.cap,
            config.folder.display()
        )));
    }
    Ok(())
}

fn take_lock(folder: &Path) -> Result<Held, StoreError> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|e| StoreError::io("opening the store's lock", e))?;
    match file.try_lock() {
        Ok(()) => Ok(Held { _lock: file }),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(StoreError::io("locking the store", error)),
    }
}

/// The store's id; made when, and only when, the folder holds nothing of a store.
fn identity(folder: &Path, kek: &Kek, random: &Random) -> Result<(StoreId, bool), StoreError> {
    let path = folder.join("identity");
    if let Some(store) = state_file::read_identity(&path, kek)? {
        return Ok((store, false));
    }
    let is_used = Lane::ALL.iter().any(|lane| lane_folder(folder, *lane).exists())
        || folder.join("quarantine").exists();
    if is_used {
        let reason = "it is missing, and the store holds data".to_owned();
        return Err(StoreError::Identity { path, reason });
    }
    let mut id = [0; 16];
    random
        .fill(&mut id)
        .map_err(|_| StoreError::io("making the store's id", io::Error::other("no randomness")))?;
    let store = StoreId(id);
    state_file::write_identity(&path, store, kek).map_err(|e| StoreError::io("making the store's id", e))?;
    Ok((store, true))
}

fn random_u64(random: &Random) -> Result<u64, StoreError> {
    let mut bytes = [0; 8];
    let filled = random.fill(&mut bytes);
    filled.map_err(|_| StoreError::io("drawing a random number", io::Error::other("no randomness")))?;
    Ok(u64::from_le_bytes(bytes))
}

/// What the segments of a lane say of those before them, by the number of the one that says it.
struct Told(BTreeMap<u64, Previous>);

impl Told {
    /// What is said of a segment: how much of it was reported durable. What lies behind that was
    /// reported failed, and stored again. One that the next segment passes over held nothing.
    fn about(&self, number: u64) -> Option<Previous> {
        let (_, next) = self.0.range(number.saturating_add(1)..).next()?;
        match next.number.cmp(&number) {
            std::cmp::Ordering::Equal => Some(*next),
            std::cmp::Ordering::Less => Some(Previous { number, blocks: 0, records: 0, ..*next }),
            // The one in between is missing.
            std::cmp::Ordering::Greater => None,
        }
    }
}

/// Takes stock of one lane.
struct Stock<'a> {
    folder: &'a Path,
    store: StoreId,
    lane: Lane,
    kek: &'a Kek,
    found: &'a mut Recovery,
    losses: &'a mut Vec<Loss>,
}

impl Stock<'_> {
    fn take(&mut self, random: &Random, is_new: bool) -> io::Result<(LaneState, Previous)> {
        let home = lane_folder(self.folder, self.lane);
        atomic_file::create_folder(&home)?;
        let cursor = self.cursor(is_new);
        let numbers = self.numbers(&home)?;
        let highest = numbers.last().copied().unwrap_or_default();
        let (mut heads, spoilt) = self.headers(&home, &numbers, cursor);
        let told = Told(heads.iter().map(|(number, opened)| (*number, opened.header.previous)).collect());
        for (number, why) in &spoilt {
            self.set_aside(*number, home.join(number.to_string()), why, told.about(*number), cursor);
        }
        let mut segments = BTreeMap::new();
        let mut previous = Previous::NONE;
        let numbers: Vec<u64> = heads.keys().copied().collect();
        for number in numbers {
            let Some(opened) = heads.remove(&number) else { continue };
            self.miss(&opened.header.previous, cursor, &segments, &spoilt);
            let footer = self.examine(&home, number, &opened, told.about(number));
            if footer.0.blocks > 0 {
                let Footer { blocks, records, head, .. } = footer.0;
                previous = Previous { number, blocks, records, head };
            }
            self.enter(&home, number, footer, cursor, &mut segments)?;
        }
        let next_number = match cursor {
            Some(cursor) => highest.max(cursor.segment.saturating_sub(1)).saturating_add(1),
            None if is_new => 1,
            None => after_lost_cursor(highest, random)?,
        };
        Ok((LaneState { segments, live: None, next_number, done_wall: None }, previous))
    }

    fn cursor(&mut self, is_new: bool) -> Option<Cursor> {
        let path = cursor_file(self.folder, self.lane);
        match Cursor::read(&path, self.store, self.lane, &self.kek.state_key()) {
            Ok(cursor) => Some(cursor),
            Err(error) => {
                if !(is_new || error.is_absent()) {
                    let lane = self.lane;
                    self.found.faults.push(format!("the cursor of lane {lane} cannot be used: {error}"));
                }
                None
            }
        }
    }

    /// The numbers of the lane's segments; what was being removed is removed.
    fn numbers(&mut self, home: &Path) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(home)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == GOING) {
                std::fs::remove_dir_all(&path)?;
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match name.parse::<u64>() {
                Ok(number) if number > 0 && number.to_string() == name => numbers.push(number),
                _ if path.is_dir() => {
                    self.found.faults.push(format!("{} is not a segment: left alone", path.display()));
                }
                _ => {}
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The headers of the segments that are not done, and what is wrong with those that are not sound.
    fn headers(
        &self,
        home: &Path,
        numbers: &[u64],
        cursor: Option<Cursor>,
    ) -> (BTreeMap<u64, Opened>, BTreeMap<u64, String>) {
        let mut sound = BTreeMap::new();
        let mut spoilt = BTreeMap::new();
        for number in numbers.iter().copied() {
            let folder = home.join(number.to_string());
            if cursor.is_some_and(|cursor| number < cursor.segment) {
                // Done; only its removal was cut short.
                let _ = remove_segment(&folder);
                continue;
            }
            match Header::open(&folder, self.kek, (self.store, self.lane, number)) {
                Ok(opened) => {
                    sound.insert(number, opened);
                }
                // The header is durable before the database is made: nothing was ever stored here.
                Err(error) if error.is_absent() && !database_file(&folder).exists() => {
                    let _ = remove_segment(&folder);
                }
                Err(error) => {
                    spoilt.insert(number, error.to_string());
                }
            }
        }
        (sound, spoilt)
    }

    /// A segment whose key is gone: what the next one says of it, and its chunks of themselves, is all
    /// that is known.
    fn set_aside(
        &mut self,
        number: u64,
        folder: PathBuf,
        why: &str,
        told: Option<Previous>,
        cursor: Option<Cursor>,
    ) {
        let lane = self.lane;
        let (mut count, mut first, mut last) = (0u64, i64::MAX, i64::MIN);
        if let Ok(raw) = RawSegment::scan(&database_file(&folder)) {
            for label in (0..raw.end()).filter_map(|block| raw.label(block)) {
                count = count.saturating_add(u64::from(label.count)).saturating_add(label.told);
                first = first.min(label.wall);
                last = last.max(label.wall);
            }
        }
        self.found.faults.push(format!("segment {number} of lane {lane} is set aside: its header: {why}"));
        let (first, last) = if count == 0 { (0, 0) } else { (first, last) };
        let done = cursor.filter(|cursor| cursor.segment == number).map_or(0, |cursor| cursor.records);
        let count = count.max(told.map_or(0, |told| told.records)).saturating_sub(done);
        let gap = Gap {
            lane,
            count,
            first: Wall::from_millis(first),
            last: Wall::from_millis(last),
            reason: format!("segment {number} cannot be read"),
        };
        self.losses.push(Loss { gap, then: Then::Quarantine(folder) });
    }

    /// Notes a segment that should be there and is not.
    fn miss(
        &mut self,
        previous: &Previous,
        cursor: Option<Cursor>,
        segments: &BTreeMap<u64, Entry>,
        spoilt: &BTreeMap<u64, String>,
    ) {
        let number = previous.number;
        let is_wanted = number > 0 && previous.blocks > 0 && cursor.is_none_or(|c| number >= c.segment);
        // Without a cursor nobody knows what was acknowledged before the first segment that is left.
        let is_known = cursor.is_some() || !segments.is_empty();
        if !is_wanted || !is_known || segments.contains_key(&number) || spoilt.contains_key(&number) {
            return;
        }
        let lane = self.lane;
        let done = cursor.filter(|c| c.segment == number).map_or(0, |c| c.records);
        self.found.faults.push(format!("segment {number} of lane {lane} is missing"));
        let gap = Gap {
            lane,
            count: previous.records.saturating_sub(done),
            first: Wall::default(),
            last: Wall::default(),
            reason: format!("segment {number} is missing"),
        };
        self.losses.push(Loss { gap, then: Then::Nothing });
    }

    /// What a segment came to, and which blocks of it are known to be lost.
    fn examine(
        &mut self,
        home: &Path,
        number: u64,
        opened: &Opened,
        told: Option<Previous>,
    ) -> (Footer, BTreeSet<u32>) {
        let folder = home.join(number.to_string());
        match Footer::read(&folder, &opened.keys) {
            Ok(footer) => return (footer, BTreeSet::new()),
            Err(error) => {
                self.found.unclosed += 1;
                if !error.is_absent() {
                    let lane = self.lane;
                    self.found.faults.push(format!("segment {number} of lane {lane}: its footer: {error}"));
                }
            }
        }
        let raw = RawSegment::scan(&database_file(&folder)).ok();
        let (footer, lost) = rebuild(raw.as_ref(), opened, told);
        if footer.blocks > 0 {
            // Only to spare the next start the same work.
            let _ = footer.write(&folder, &opened.keys);
        }
        (footer, lost)
    }

    fn enter(
        &mut self,
        home: &Path,
        number: u64,
        (footer, lost): (Footer, BTreeSet<u32>),
        cursor: Option<Cursor>,
        segments: &mut BTreeMap<u64, Entry>,
    ) -> io::Result<()> {
        let folder = home.join(number.to_string());
        let cursor = cursor.filter(|cursor| cursor.segment == number);
        let done_through = cursor.map_or(0, |cursor| cursor.block);
        if done_through >= footer.blocks {
            return remove_segment(&folder);
        }
        let mean = footer.records.div_ceil(u64::from(footer.blocks.max(1)));
        let lost: BTreeSet<u32> = lost.into_iter().filter(|block| *block >= done_through).collect();
        let entry = Entry {
            blocks: footer.blocks,
            records: footer.records,
            tellings: footer.tellings,
            told: footer.told,
            bytes: folder_bytes(&folder).saturating_add(FOLDER_OVERHEAD / 4),
            last: footer.last,
            is_closed: true,
            is_damaged: !lost.is_empty(),
            done_through,
            done_records: cursor.map_or(0, |cursor| cursor.records).min(footer.records),
            lost: lost.clone(),
            ..Entry::new(footer.first)
        };
        segments.insert(number, entry);
        if !lost.is_empty() {
            let lane = self.lane;
            let blocks = lost.len();
            self.found.faults.push(format!("segment {number} of lane {lane}: {blocks} blocks are lost"));
            let gap = Gap {
                lane,
                count: mean.saturating_mul(u64::try_from(blocks).unwrap_or(u64::MAX)),
                first: footer.first,
                last: footer.last,
                reason: format!("segment {number} is damaged"),
            };
            self.losses.push(Loss { gap, then: Then::Finish { segment: number, blocks: lost } });
        }
        Ok(())
    }
}

/// A footer made of what is in the file, for a segment that ended without one.
fn rebuild(raw: Option<&RawSegment>, opened: &Opened, told: Option<Previous>) -> (Footer, BTreeSet<u32>) {
    let found_end = raw.map_or(0, RawSegment::end);
    // Without a next segment, a last block that is torn was never reported: the sync had not ended.
    let blocks = told.map_or(found_end, |told| told.blocks);
    let mut footer = Footer {
        blocks,
        records: 0,
        tellings: 0,
        told: 0,
        first: opened.header.opened,
        last: opened.header.opened,
        head: super::segment::Chain::START,
        ending: Ending::Broken,
    };
    let mut lost = BTreeSet::new();
    for block in 0..blocks {
        let label = raw.and_then(|raw| raw.label(block));
        if let Some(label) = label {
            let wall = Wall::from_millis(label.wall);
            footer.records = footer.records.saturating_add(u64::from(label.count));
            footer.told = footer.told.saturating_add(label.told);
            footer.tellings += if label.told > 0 { u64::from(label.count) } else { 0 };
            footer.first = footer.first.min(wall);
            footer.last = footer.last.max(wall);
        }
        if !raw.is_some_and(|raw| raw.has(block)) {
            lost.insert(block);
        }
    }
    if let Some(told) = told {
        footer.records = told.records;
    }
    let chain = raw.map_or(super::segment::Chain::START, |raw| raw.chain(blocks));
    footer.head = super::segment::Chain::head(&opened.bytes, chain);
    (footer, lost)
}

/// The cursor is lost, and with it the last number that was given: the numbers go on far beyond any
/// that can have been, so that no idempotency key is given twice.
fn after_lost_cursor(highest: u64, random: &Random) -> io::Result<u64> {
    let mut bytes = [0; 2];
    random.fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    let jump = u64::from(u16::from_le_bytes(bytes)).saturating_add(1);
    Ok(((highest >> 32).saturating_add(jump) << 32).saturating_add(1))
}
