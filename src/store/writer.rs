//! The side that writes.
//!
//! In: blocks. Out: their [`Seq`]. The order of a commit is the whole promise: seal, put, flush,
//! sync, and only then is the block counted and anybody told. After an error the segment is never
//! written again: the block that failed, if any of it is on disk, lies behind what the next
//! segment's header says was reported, and is not read.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::chunk::{self, Label};
use super::cursor_pace::Pace;
use super::engine::{database_file, leave_only_blocks};
use super::folders::remove_segment;
use super::recover::Held;
use super::room::{COMMIT_OVERHEAD, Room};
use super::segment::{Chain, Ending, Footer, Header, Previous, measure};
use super::shared::{Entry, FOLDER_OVERHEAD, Live, Shared};
use super::stats::Stats;
use super::{Limits, Random, Seq, StoreError};
use crate::device::observation::Lane;
use crate::envelope::block::PlainBlock;
use crate::envelope::seal::Place;
use crate::host::atomic_file;
use crate::time::{BootId, Mono, Now, Wall};

/// The side that writes: held by the one intake task.
pub struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) _held: Arc<Held>,
    pub(super) room: Room,
    pub(super) limits: Limits,
    /// The limits where the cap asks for no smaller ones.
    pub(super) wanted: Limits,
    pub(super) random: Random,
    pub(super) boot: BootId,
    pub(super) run: u64,
    pub(super) lanes: [LaneWriter; 3],
    /// The newest time that it was told.
    pub(super) last: Now,
}

/// What the writer alone knows of a lane.
pub(super) struct LaneWriter {
    pub(super) current: Option<Current>,
}

/// The segment that is being written.
pub(super) struct Current {
    pub(super) live: Arc<Live>,
    header: Vec<u8>,
    blocks: u32,
    records: u64,
    tellings: u64,
    told: u64,
    first: Wall,
    last: Wall,
    chain: Chain,
    begun: Mono,
}

impl Current {
    fn head(&self) -> Chain {
        Chain::head(&self.header, self.chain)
    }

    fn footer(&self, ending: Ending) -> Footer {
        Footer {
            blocks: self.blocks,
            records: self.records,
            tellings: self.tellings,
            told: self.told,
            first: self.first,
            last: self.last,
            head: self.head(),
            ending,
        }
    }
}

/// A block to be stored, with what its label tells of gaps.
#[derive(Clone, Copy)]
pub(super) struct Cargo<'a> {
    pub(super) block: &'a PlainBlock,
    pub(super) told: u64,
    pub(super) first: Wall,
}

impl Writer {
    /// Seals and stores one block. When this returns, no power cut undoes it. Wakes the readers of
    /// [`Reader::commits`](super::Reader::commits).
    pub fn append(&mut self, lane: Lane, block: &PlainBlock, now: Now) -> Result<Seq, StoreError> {
        self.shared.now.store(now.mono.as_nanos(), Ordering::Relaxed);
        self.last = now;
        // What could not be told yet stays listed; this commit does not depend on it.
        let _ = self.report_losses(now);
        let need = u64::from(block.size()).saturating_mul(4).saturating_add(COMMIT_OVERHEAD);
        let cargo = Cargo { block, told: 0, first: now.wall };
        let result = self.make_room(lane, need, now).and_then(|()| self.store(lane, cargo, now));
        let result = match result {
            // The file system is fuller than the cap says: the same order of what goes first.
            Err(error) if is_disk_full(&error) => {
                self.make_disk_room(lane, now, error).and_then(|()| self.store(lane, cargo, now))
            }
            other => other,
        };
        result.map_err(|error| {
            self.shared.note_error(&error);
            if is_disk_full(&error) { StoreError::Full { lane } } else { error }
        })
    }

    /// Tells of what was lost, closes segments that are old or fully acknowledged. To be called about
    /// once a second, also when nothing is to be stored.
    pub fn maintain(&mut self, now: Now) -> Result<(), StoreError> {
        self.shared.now.store(now.mono.as_nanos(), Ordering::Relaxed);
        self.last = now;
        self.report_losses(now)?;
        for lane in Lane::ALL {
            if self.is_due(lane, now.mono) {
                self.close_segment(lane, Closing::InOrder)?;
            }
            if let Some(current) = &self.lane(lane).current {
                current.live.engine.prepare();
            }
        }
        for lane in Lane::ALL {
            // What is promised does not hang on it; it is tried again.
            let _ = self.shared.save_cursor(lane, Pace::Seldom);
        }
        self.shared.keep_anchor();
        self.rotate_some()
    }

    /// Closes every segment in order, so that the next start finds nothing to repair.
    pub fn close(mut self) -> Result<(), StoreError> {
        // What cannot be told now is found again at the next start.
        let _ = self.report_losses(self.last);
        for lane in Lane::ALL {
            self.close_segment(lane, Closing::InOrder)?;
            self.shared
                .save_cursor(lane, Pace::AtOnce)
                .map_err(|e| StoreError::io("writing a lane's cursor", e))?;
        }
        self.shared.keep_anchor();
        Ok(())
    }

    /// A handle on the store's numbers.
    pub fn stats(&self) -> Stats {
        Stats { shared: Arc::clone(&self.shared) }
    }

    pub(super) fn lane(&mut self, lane: Lane) -> &mut LaneWriter {
        let [alarm, vital, bulk] = &mut self.lanes;
        match lane {
            Lane::Alarm => alarm,
            Lane::Vital => vital,
            Lane::Bulk => bulk,
        }
    }

    pub(super) fn store(&mut self, lane: Lane, cargo: Cargo<'_>, now: Now) -> Result<Seq, StoreError> {
        if self.is_due(lane, now.mono) {
            self.close_segment(lane, Closing::InOrder)?;
        }
        if self.lane(lane).current.is_none() {
            self.begin(lane, now)?;
        }
        let store = self.shared.store;
        let Some(current) = self.lane(lane).current.as_mut() else {
            return Err(StoreError::io("beginning a segment", io::Error::other("no segment")));
        };
        let number = current.live.number;
        let seq = Seq { lane, segment: number, block: current.blocks };
        match commit(current, store.0, seq, cargo, now) {
            Ok(()) => {
                self.publish(lane, cargo, now);
                Ok(seq)
            }
            Err(error) => {
                // Its index may have been used: this segment's key never seals again.
                let _ = self.close_segment(lane, Closing::GivenUp);
                Err(error)
            }
        }
    }

    /// Counts a durable block and tells who waits for it.
    fn publish(&mut self, lane: Lane, cargo: Cargo<'_>, now: Now) {
        let shared = Arc::clone(&self.shared);
        let Some(current) = self.lane(lane).current.as_ref() else { return };
        let bytes = current.live.engine.bytes().saturating_add(FOLDER_OVERHEAD);
        let (number, head) = (current.live.number, current.head());
        let mut state = shared.lane(lane);
        state.newest = Previous { number, blocks: current.blocks, records: current.records, head };
        if let Some(entry) = state.segments.get_mut(&number) {
            entry.blocks = current.blocks;
            entry.records = current.records;
            (entry.tellings, entry.told) = (current.tellings, current.told);
            entry.bytes = bytes;
            entry.first = current.first;
            entry.last = now.wall;
        }
        drop(state);
        shared.blocks.fetch_add(1, Ordering::Relaxed);
        shared.records.fetch_add(u64::from(cargo.block.count()), Ordering::Relaxed);
        shared.commits.send_modify(|commits| *commits = commits.wrapping_add(1));
    }

    /// Whether the segment of a lane has reached one of its limits.
    fn is_due(&mut self, lane: Lane, now: Mono) -> bool {
        let limits = self.limits;
        let shared = Arc::clone(&self.shared);
        let Some(current) = &self.lane(lane).current else { return false };
        let bytes = current.live.engine.bytes();
        let is_drained = || {
            let state = shared.lane(lane);
            state.segments.get(&current.live.number).is_some_and(Entry::is_drained)
        };
        current.blocks >= limits.blocks
            || bytes >= limits.bytes
            || now.since(current.begun) >= limits.age
            || (bytes >= limits.drained_bytes && is_drained())
    }

    /// Begins a segment: folder, header with a fresh key, database; each durable before the next.
    fn begin(&mut self, lane: Lane, now: Now) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        // The number counts as given only with the segment: while this one is being made, the cursor of a
        // lane that is drained names it as the next, and not as done.
        let number = shared.lane(lane).next_number;
        let folder = shared.segment_folder(lane, number);
        let begun = self.begin_in(lane, number, now);
        let mut state = shared.lane(lane);
        // Never given twice, also when this attempt failed.
        state.next_number = number.saturating_add(1);
        let current = match begun {
            Ok(current) => current,
            Err(error) => {
                drop(state);
                let _ = remove_segment(&folder);
                return Err(error);
            }
        };
        let mut entry = Entry::new(now.wall);
        entry.bytes = current.live.engine.bytes().saturating_add(FOLDER_OVERHEAD);
        state.segments.insert(number, entry);
        state.live = Some(Arc::clone(&current.live));
        drop(state);
        self.lane(lane).current = Some(current);
        Ok(())
    }

    fn begin_in(&mut self, lane: Lane, number: u64, now: Now) -> Result<Current, StoreError> {
        let shared = Arc::clone(&self.shared);
        let folder = shared.segment_folder(lane, number);
        let failed = |e| StoreError::io("beginning a segment", e);
        atomic_file::create_folder(&folder).map_err(failed)?;
        let header = Header {
            store: shared.store,
            lane,
            number,
            boot: self.boot,
            opened: now.wall,
            previous: shared.lane(lane).newest,
        };
        let opened = header.create(&folder, &shared.ring, &*self.random);
        let opened = opened.map_err(|error| failed(error.into()))?;
        let engine = shared.disk.create(&folder).map_err(failed)?;
        Ok(Current {
            live: Arc::new(Live { number, engine, keys: opened.keys }),
            header: opened.bytes,
            blocks: 0,
            records: 0,
            tellings: 0,
            told: 0,
            first: now.wall,
            last: now.wall,
            chain: Chain::START,
            begun: now.mono,
        })
    }

    /// Ends the segment of a lane. Its blocks stay readable whatever happens here.
    pub(super) fn close_segment(&mut self, lane: Lane, how: Closing) -> Result<(), StoreError> {
        let Some(current) = self.lane(lane).current.take() else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        let number = current.live.number;
        let folder = shared.segment_folder(lane, number);
        let result = write_footer(&folder, &current, how);
        {
            let mut state = shared.lane(lane);
            state.live = None;
            if let Some(entry) = state.segments.get_mut(&number) {
                entry.is_closed = true;
            }
        }
        drop(current);
        leave_only_blocks(&folder);
        let retired = shared.retire(lane);
        result.and(retired).map_err(|e| StoreError::io("closing a segment", e))
    }
}

/// How a segment is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// Everything is as it should be.
    InOrder,
    /// The disk failed, or the segment goes anyway.
    GivenUp,
}

/// Seal, put, flush, sync: when this returns, the block is durable.
fn commit(
    current: &mut Current,
    store: [u8; 16],
    seq: Seq,
    cargo: Cargo<'_>,
    now: Now,
) -> Result<(), StoreError> {
    let failed = |e| StoreError::io("storing a block", e);
    let count = cargo.block.count();
    let wall = now.wall.as_millis();
    let place = Place { store, lane: seq.lane, segment: seq.segment, block: seq.block, count, wall };
    let sealed = current.live.keys.data.seal(&place, cargo.block)?;
    let total = u32::try_from(sealed.bytes().len()).map_err(|e| failed(io::Error::other(e)))?;
    let label = Label { block: seq.block, count, told: cargo.told, wall, total };
    let engine = &current.live.engine;
    for (key, value) in chunk::split(label, sealed.bytes()) {
        engine.put(key, &value).map_err(failed)?;
    }
    engine.flush().map_err(failed)?;
    engine.sync().map_err(failed)?;
    current.chain.add(&chunk::tail(sealed.bytes()));
    current.first = if current.blocks == 0 { cargo.first } else { current.first.min(cargo.first) };
    current.blocks += 1;
    current.records = current.records.saturating_add(u64::from(count));
    current.tellings += if cargo.told > 0 { u64::from(count) } else { 0 };
    current.told = current.told.saturating_add(cargo.told);
    current.last = now.wall;
    Ok(())
}

fn write_footer(folder: &std::path::Path, current: &Current, how: Closing) -> io::Result<()> {
    let ending = match how {
        Closing::InOrder => {
            current.live.engine.finish()?;
            let (length, sum) = measure(&database_file(folder))?;
            Ending::Clean { length, sum }
        }
        Closing::GivenUp => Ending::Broken,
    };
    current.footer(ending).write(folder, &current.live.keys)
}

fn is_disk_full(error: &StoreError) -> bool {
    if let StoreError::Io { source, .. } = error {
        return matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    }
    error.is_full()
}
