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
use super::rebuild::{Promise, Rebuilt, Told, rebuild};
use super::segment::{Footer, Header, Opened, Previous};
use super::shared::{Entry, FOLDER_OVERHEAD, LaneState, Loss, Then};
use super::state_file::{Cursor, StateKeys};
use super::{Random, Recovery, StoreId};
use crate::device::observation::Lane;
use crate::envelope::keys::KeyRing;
use crate::envelope::record::Gap;
use crate::host::atomic_file;
use crate::time::Wall;

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
        let numbers = self.numbers()?;
        self.cursor = self.read_cursor(!numbers.is_empty() || self.anchor > 0)?;
        let (mut heads, mut spoilt) = self.headers(&numbers)?;
        let highest = self.highest(&numbers, &heads);
        let previous = heads.iter().map(|(number, opened)| (*number, opened.header.previous)).collect();
        let told = Told { previous, newest: self.cursor.map(|cursor| cursor.newest) };
        for (number, why) in &spoilt {
            self.set_aside(*number, &format!("its header: {why}"), told.about(*number).told());
        }
        let mut segments = BTreeMap::new();
        let mut newest = self.cursor.map_or(Previous::NONE, |cursor| cursor.newest);
        let numbers: Vec<u64> = heads.keys().copied().collect();
        for number in numbers {
            let Some(opened) = heads.remove(&number) else { continue };
            self.miss(&opened.header.previous, &segments, &spoilt);
            let Some(footer) = self.examine(number, &opened, told.about(number))? else {
                spoilt.insert(number, "its database".to_owned());
                continue;
            };
            let Footer { blocks, records, head, .. } = footer.footer;
            if blocks > 0 && number >= newest.number {
                newest = Previous { number, blocks, records, head };
            }
            self.enter(number, &opened, footer, &mut segments);
        }
        self.miss(&newest, &segments, &spoilt);
        let next_number = self.next_number(highest, random)?;
        Ok(LaneState { segments, live: None, next_number, newest, done_wall: None })
    }

    /// The highest number that can have been given. Anybody can give a folder a name: one that nothing
    /// proves counts only when it is not far beyond those that are proven.
    fn highest(&self, numbers: &[u64], heads: &BTreeMap<u64, Opened>) -> u64 {
        let cursor = self.cursor.map_or(0, |cursor| cursor.segment.max(cursor.newest.number));
        let proven = heads.last_key_value().map_or(0, |(number, _)| *number).max(cursor).max(self.anchor);
        let credible = numbers.iter().copied().filter(|number| *number <= proven.saturating_add(FAR));
        credible.max().unwrap_or_default().max(heads.last_key_value().map_or(0, |(number, _)| *number))
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
        let reason =
            format!("the store was put back to an earlier state: segments after {reached} to {anchor}");
        self.found.faults.push(format!("lane {lane}: {reason} are not in it"));
        // How many records these held, and how many of them the broker has, nobody here knows.
        let (first, last) = (Wall::default(), Wall::default());
        self.losses.push(Loss { gap: Gap { lane, count: 0, first, last, reason }, then: Then::Nothing });
        after_lost_cursor(anchor.max(known), random)
    }

    fn folder(&self, number: u64) -> PathBuf {
        self.home.join(number.to_string())
    }

    fn read_cursor(&mut self, is_expected: bool) -> io::Result<Option<Cursor>> {
        let path = self.home.join("cursor");
        match Cursor::read(&path, self.store, self.lane, self.state_keys) {
            Ok(cursor) => Ok(Some(cursor)),
            Err(error) => {
                let error = error.or_shortage()?;
                if is_expected && !self.found.is_new {
                    let lane = self.lane;
                    self.found.faults.push(format!(
                        "the cursor of lane {lane} cannot be used, all that is there is sent again: {error}"
                    ));
                }
                Ok(None)
            }
        }
    }

    /// The numbers of the lane's segments; what was being removed is removed.
    fn numbers(&mut self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(self.home)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == GOING) {
                // What cannot be removed is in nobody's way.
                if std::fs::remove_dir_all(&path).is_err() && std::fs::remove_file(&path).is_err() {
                    self.stray(&path);
                }
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match name.parse::<u64>() {
                Ok(1..=LAST_NUMBER) if !path.is_dir() => self.stray(&path),
                Ok(number @ 1..=LAST_NUMBER) if number.to_string() == name => numbers.push(number),
                _ if path.is_dir() => self.stray(&path),
                _ => {}
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn stray(&mut self, path: &Path) {
        self.found.faults.push(format!("{} is not a segment: left alone", path.display()));
    }

    /// The headers of the segments that are not done, and what is wrong with those that are not sound.
    fn headers(&self, numbers: &[u64]) -> io::Result<(BTreeMap<u64, Opened>, BTreeMap<u64, String>)> {
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
                    spoilt.insert(number, error.or_shortage()?.to_string());
                }
            }
        }
        Ok((sound, spoilt))
    }

    /// A segment whose key is gone, or that cannot be read: what the next one says of it, and its chunks of themselves, is all
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
        self.found.faults.push(format!("segment {number} of lane {lane} is set aside: {why}"));
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
        let is_done = |c: Cursor| (number, previous.blocks) <= (c.segment, c.block);
        let is_wanted = number > 0 && previous.blocks > 0 && !cursor.is_some_and(is_done);
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

    /// What a segment came to, and what of it is known to be lost; `None` when it was set aside.
    fn examine(&mut self, number: u64, opened: &Opened, promise: Promise) -> io::Result<Option<Rebuilt>> {
        let (lane, folder) = (self.lane, self.folder(number));
        match Footer::read(&folder, &opened.keys) {
            Ok(footer) => return Ok(Some(Rebuilt { footer, lost: BTreeSet::new(), lost_records: 0 })),
            Err(error) => {
                let error = error.or_shortage()?;
                self.found.unclosed += 1;
                if !error.is_absent() {
                    self.found.faults.push(format!("segment {number} of lane {lane}: its footer: {error}"));
                }
            }
        }
        // What a killed process had written but not yet synced is there to be read, and counts from here
        // on: it must not go with the next power cut.
        let file = database_file(&folder);
        let is_durable = atomic_file::open_regular(&file).and_then(|file| file.sync_all()).is_ok();
        let raw = match RawSegment::scan(&file) {
            Ok(raw) => Some(raw),
            // It was begun and nothing was stored in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if atomic_file::is_shortage(&error) => return Err(error),
            // Nobody knows what is in it, so it must not go as one that holds nothing.
            Err(error) => {
                self.set_aside(number, &format!("its database: {error}"), promise.told());
                return Ok(None);
            }
        };
        let holds = raw.as_ref().map_or(0, RawSegment::end);
        if let Promise::Exactly(Previous { blocks: 0, .. }) = promise
            && holds > 0
        {
            // It was set aside once, and word of that did not reach the disk.
            self.set_aside(number, "what follows it does not know of it", None);
            return Ok(None);
        }
        let rebuilt = rebuild(raw.as_ref(), opened, promise);
        let is_torn = |raw: RawSegment| raw.is_torn(rebuilt.footer.blocks);
        if !matches!(promise, Promise::Exactly(_)) && raw.is_some_and(is_torn) {
            self.found.torn.push(format!("segment {number} of lane {lane} ends in the middle of a commit"));
        }
        if rebuilt.footer.blocks > 0 && is_durable {
            // Only to spare the next start the same work.
            let _ = rebuilt.footer.write(&folder, &opened.keys);
        }
        Ok(Some(rebuilt))
    }

    fn enter(
        &mut self,
        number: u64,
        opened: &Opened,
        Rebuilt { footer, lost, lost_records }: Rebuilt,
        segments: &mut BTreeMap<u64, Entry>,
    ) {
        let folder = self.folder(number);
        let cursor = self.cursor.filter(|cursor| cursor.segment == number);
        let done_through = cursor.map_or(0, |cursor| cursor.block);
        if done_through >= footer.blocks {
            if let Err(error) = remove_segment(&folder) {
                let lane = self.lane;
                self.found.faults.push(format!("segment {number} of lane {lane} cannot be removed: {error}"));
            }
            return;
        }
        let mean = lost_records.div_ceil(u64::try_from(lost.len().max(1)).unwrap_or(1));
        let before = lost.len();
        let lost: BTreeSet<u32> = lost.into_iter().filter(|block| *block >= done_through).collect();
        let done_and_lost = mean.saturating_mul(u64::try_from(before - lost.len()).unwrap_or_default());
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
                count: lost_records.saturating_sub(done_and_lost),
                first: footer.first,
                last: footer.last,
                reason: format!("segment {number} is damaged"),
            };
            self.losses.push(Loss { gap, then: Then::Finish { segment: number, blocks: lost } });
        }
    }
}

/// Further than any step that numbers go on by.
const FAR: u64 = 1 << 50;

/// No segment has a greater number: whatever has was not made here.
pub(super) const LAST_NUMBER: u64 = 1 << 62;

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
