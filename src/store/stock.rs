//! Taking stock of one lane of a store that is opened.
//!
//! In: the lane's folder in any state. Out: its segments, how much of each is there, and what is
//! lost. What never happens: sled runs; anything is believed that does not authenticate, but for the
//! counts of what is lost, of which a damaged segment's own labels are all that is left.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::engine::database_file;
use super::folders::{GOING, folder_bytes, remove_segment};
use super::raw::RawSegment;
use super::segment::{Chain, Ending, Footer, Header, Opened, Previous};
use super::shared::{Entry, FOLDER_OVERHEAD, LaneState, Loss, Then};
use super::state_file::{Cursor, StateKeys};
use super::{Random, Recovery, StoreId};
use crate::device::observation::Lane;
use crate::envelope::keys::KeyRing;
use crate::envelope::record::Gap;
use crate::host::atomic_file;
use crate::time::Wall;

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
pub(super) struct Stock<'a> {
    /// The lane's folder.
    pub(super) home: &'a Path,
    pub(super) store: StoreId,
    pub(super) lane: Lane,
    pub(super) ring: &'a KeyRing,
    pub(super) state_keys: &'a StateKeys,
    /// How far the lane had come by the mark beside the store; 0 when that is not known.
    pub(super) anchor: u64,
    /// Read first; `None` when it is lost.
    pub(super) cursor: Option<Cursor>,
    pub(super) found: &'a mut Recovery,
    pub(super) losses: &'a mut Vec<Loss>,
}

impl Stock<'_> {
    /// What is in the lane.
    pub(super) fn take(&mut self, random: &Random) -> io::Result<LaneState> {
        atomic_file::create_folder(self.home)?;
        self.cursor = self.read_cursor();
        let numbers = self.numbers()?;
        let highest = numbers.last().copied().unwrap_or_default();
        let (mut heads, spoilt) = self.headers(&numbers);
        let told = Told(heads.iter().map(|(number, opened)| (*number, opened.header.previous)).collect());
        for (number, why) in &spoilt {
            self.set_aside(*number, why, told.about(*number));
        }
        let mut segments = BTreeMap::new();
        let mut newest = self.cursor.map_or(Previous::NONE, |cursor| cursor.newest);
        let numbers: Vec<u64> = heads.keys().copied().collect();
        for number in numbers {
            let Some(opened) = heads.remove(&number) else { continue };
            self.miss(&opened.header.previous, &segments, &spoilt);
            let footer = self.examine(number, &opened, told.about(number));
            if footer.0.blocks > 0 {
                let Footer { blocks, records, head, .. } = footer.0;
                newest = Previous { number, blocks, records, head };
            }
            self.enter(number, &opened, footer, &mut segments)?;
        }
        let next_number = self.next_number(highest, random)?;
        Ok(LaneState { segments, live: None, next_number, newest, done_wall: None })
    }

    /// The number that the lane's next segment gets, and word of it when the lane has been further.
    fn next_number(&mut self, highest: u64, random: &Random) -> io::Result<u64> {
        if self.found.is_new {
            return Ok(1);
        }
        let Some(cursor) = self.cursor else { return after_lost_cursor(highest.max(self.anchor), random) };
        // A cursor names the first segment that is not done, or the next one that would be made.
        let known = highest.max(cursor.segment);
        let reached = highest.max(cursor.segment.saturating_sub(1)).max(cursor.newest.number);
        if self.anchor <= reached {
            return Ok(known.saturating_add(1).saturating_add(draw(random)? % STEP));
        }
        let (lane, anchor) = (self.lane, self.anchor);
        let reason = format!("the store was put back to an earlier state: segments after {reached} to {anchor}");
        self.found.faults.push(format!("lane {lane}: {reason} are not in it"));
        // How many records these held, and how many of them the broker has, nobody here knows.
        let (first, last) = (Wall::default(), Wall::default());
        self.losses.push(Loss { gap: Gap { lane, count: 0, first, last, reason }, then: Then::Nothing });
        after_lost_cursor(anchor.max(known), random)
    }

    fn folder(&self, number: u64) -> PathBuf {
        self.home.join(number.to_string())
    }

    fn read_cursor(&mut self) -> Option<Cursor> {
        let path = self.home.join("cursor");
        match Cursor::read(&path, self.store, self.lane, self.state_keys) {
            Ok(cursor) => Some(cursor),
            Err(error) => {
                if !(self.found.is_new || error.is_absent()) {
                    let lane = self.lane;
                    self.found.faults.push(format!("the cursor of lane {lane} cannot be used: {error}"));
                }
                None
            }
        }
    }

    /// The numbers of the lane's segments; what was being removed is removed.
    fn numbers(&mut self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(self.home)? {
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
    fn headers(&self, numbers: &[u64]) -> (BTreeMap<u64, Opened>, BTreeMap<u64, String>) {
        let mut sound = BTreeMap::new();
        let mut spoilt = BTreeMap::new();
        for number in numbers.iter().copied() {
            let folder = self.folder(number);
            if self.cursor.is_some_and(|cursor| number < cursor.segment) {
                // Done; only its removal was cut short.
                let _ = remove_segment(&folder);
                continue;
            }
            match Header::open(&folder, self.ring, (self.store, self.lane, number)) {
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
    fn set_aside(&mut self, number: u64, why: &str, told: Option<Previous>) {
        let (lane, folder) = (self.lane, self.folder(number));
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
        let done = self.cursor.filter(|cursor| cursor.segment == number).map_or(0, |cursor| cursor.records);
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
    fn miss(&mut self, previous: &Previous, segments: &BTreeMap<u64, Entry>, spoilt: &BTreeMap<u64, String>) {
        let (number, cursor) = (previous.number, self.cursor);
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
    fn examine(&mut self, number: u64, opened: &Opened, told: Option<Previous>) -> (Footer, BTreeSet<u32>) {
        let folder = self.folder(number);
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
        number: u64,
        opened: &Opened,
        (footer, lost): (Footer, BTreeSet<u32>),
        segments: &mut BTreeMap<u64, Entry>,
    ) -> io::Result<()> {
        let folder = self.folder(number);
        let cursor = self.cursor.filter(|cursor| cursor.segment == number);
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
            is_under_previous: opened.kek != self.ring.current.id(),
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
        head: Chain::START,
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
    let chain = raw.map_or(Chain::START, |raw| raw.chain(blocks));
    footer.head = Chain::head(&opened.bytes, chain);
    (footer, lost)
}

/// Numbers go on after each start by a random step below this: two starts from the same state (a card
/// that was copied, an older copy put back) do not give the same number, and so the same idempotency
/// key, to different readings. 2^64 is not reached in 10^13 starts.
const STEP: u64 = 1 << 20;

/// The cursor is lost, and with it the last number that was given: the numbers go on far beyond any
/// that can have been, so that no idempotency key is given twice.
fn after_lost_cursor(highest: u64, random: &Random) -> io::Result<u64> {
    let jump = (draw(random)? & 0xffff).saturating_add(1);
    Ok(((highest >> 32).saturating_add(jump) << 32).saturating_add(1))
}

fn draw(random: &Random) -> io::Result<u64> {
    let mut bytes = [0; 8];
    random.fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    Ok(u64::from_le_bytes(bytes))
}
