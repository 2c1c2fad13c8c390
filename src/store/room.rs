//! What goes when not everything fits, and word of it.
//!
//! In: a lane that needs room. Out: room, made by dropping the oldest whole segments of what is less
//! urgent: quarantine, then bulk, then vital, never alarm. What never happens: a drop that is not
//! told of in a gap record; a drop for the sake of something less urgent.

use std::io;
use std::sync::atomic::Ordering;

use super::recover::fitted;
use super::shared::{Loss, Then, lock};
use super::writer::{Cargo, Closing};
use super::{Config, StoreError, Writer};
use crate::device::observation::Lane;
use crate::envelope::block::{BlockBuilder, BlockHeader};
use crate::envelope::record::Gap;
use crate::time::Now;

/// How much may be used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    cap: u64,
    alarm_reserve: u64,
}

/// Kept free of ordinary commits, so that a gap record always fits.
const GAP_ROOM: u64 = 1024 * 1024;
/// What a commit may add to sled's file at most: its chunks, the leaf that is split and written
/// again, and the padding at the end of a sled segment.
pub(super) const COMMIT_OVERHEAD: u64 = 512 * 1024;

impl Room {
    pub(super) fn new(config: &Config) -> Self {
        Self { cap: config.cap, alarm_reserve: config.alarm_reserve }
    }

    /// Whether `need` more bytes of a lane fit.
    fn fits(self, lane: Lane, usage: [u64; 3], quarantine: u64, need: u64) -> bool {
        let [alarm, vital, bulk] = usage;
        let others = vital.saturating_add(bulk).saturating_add(quarantine);
        let reserved = if lane == Lane::Alarm { alarm } else { alarm.max(self.alarm_reserve) };
        let wanted = others.saturating_add(reserved).saturating_add(need).saturating_add(GAP_ROOM);
        wanted <= self.cap
    }
}

impl Writer {
    /// Keeps to another cap and another reserve from here on. See [`may_be_bounded`](super::may_be_bounded).
    pub fn bound(&mut self, config: &Config) {
        self.room = Room::new(config);
        self.limits = fitted(self.wanted, config);
        self.shared.cap.store(config.cap, Ordering::Relaxed);
    }

    /// Drops the oldest whole segments until a commit fits.
    pub(super) fn make_room(&mut self, lane: Lane, need: u64, now: Now) -> Result<(), StoreError> {
        loop {
            let quarantine = self.shared.quarantined_bytes.load(Ordering::Relaxed);
            if self.room.fits(lane, self.shared.usage(), quarantine, need) {
                return Ok(());
            }
            if quarantine > 0 && self.shared.drop_quarantined() {
                continue;
            }
            self.drop_oldest(lane, now)?;
        }
    }

    /// The file system has no room although the cap does: what may go for this lane, goes.
    pub(super) fn make_disk_room(
        &mut self,
        lane: Lane,
        now: Now,
        error: StoreError,
    ) -> Result<(), StoreError> {
        if self.shared.drop_quarantined() {
            return Ok(());
        }
        self.drop_oldest(lane, now).map_err(|full| if full.is_full() { error } else { full })
    }

    /// Drops one segment for the sake of a lane: of bulk first, then of vital, never of alarm, and
    /// never of a lane that is more urgent.
    fn drop_oldest(&mut self, lane: Lane, now: Now) -> Result<(), StoreError> {
        let candidates = [Lane::Bulk, Lane::Vital];
        let victim = candidates.into_iter().filter(|victim| *victim >= lane).find_map(|victim| {
            let state = self.shared.lane(victim);
            // What holds nothing but gap records goes along with the next that holds readings: alone
            // it would only be written again.
            let through = state.segments.iter().find(|(_, entry)| entry.readings_left() > 0);
            through.map(|(number, _)| (victim, *number))
        });
        let (victim, through) = victim.ok_or(StoreError::Full { lane })?;
        if self.lane(victim).current.as_ref().is_some_and(|current| current.live.number <= through) {
            // Also when its footer cannot be written: the folder goes anyway.
            let _ = self.close_segment(victim, Closing::GivenUp);
        }
        self.drop_through(victim, through, now)
    }

    /// Drops every segment of a lane up to and with one.
    fn drop_through(&mut self, lane: Lane, through: u64, now: Now) -> Result<(), StoreError> {
        let (gap, readings) = {
            let state = self.shared.lane(lane);
            let mut gap = Gap {
                lane,
                count: 0,
                first: now.wall,
                last: now.wall,
                reason: format!("the store was full: all up to segment {through} was dropped"),
            };
            let mut readings = 0u64;
            for (_, entry) in state.segments.range(..=through) {
                readings = readings.saturating_add(entry.readings_left());
                let lost = entry.readings_left().saturating_add(entry.told);
                gap.count = gap.count.saturating_add(lost);
                gap.first = gap.first.min(entry.first);
                gap.last = entry.last;
            }
            (gap, readings)
        };
        // Told first and dropped then, unless the disk has no room even for the telling.
        let is_told = self.tell(&gap, now).is_ok();
        if !is_told {
            // Only the data goes; what says how much it was stays until it is told, for the next start too.
            let then = Then::Remove(self.shared.take_out(lane, through));
            self.shared.lose(Loss { gap, then });
            self.shared.dropped.fetch_add(readings, Ordering::Relaxed);
            let _ = self.report_losses(now);
            return Ok(());
        }
        for entry in self.shared.lane(lane).segments.range_mut(..=through).map(|(_, entry)| entry) {
            entry.is_closed = true;
            entry.is_damaged = false;
            entry.done_through = entry.blocks;
        }
        self.shared.dropped.fetch_add(readings, Ordering::Relaxed);
        let retired = self.shared.retire(lane);
        retired.map_err(|e| StoreError::io("dropping a segment", e))
    }

    /// Stores a gap record in the lane that lost something.
    fn tell(&mut self, gap: &Gap, now: Now) -> Result<(), StoreError> {
        let header = BlockHeader { boot: self.boot, run: self.run, devices: Vec::new() };
        let mut builder = BlockBuilder::new(&header);
        builder.push_gap(gap).map_err(|e| StoreError::io("telling of a gap", io::Error::other(e)))?;
        // A count of 0 says that nobody knows how many: it is a telling all the same.
        let cargo = Cargo { block: &builder.finish(), told: gap.count.max(1), first: gap.first };
        self.store(gap.lane, cargo, now).map(drop)
    }

    /// Stores the gap records that wait, and frees the place of what they tell of.
    pub(super) fn report_losses(&mut self, now: Now) -> Result<(), StoreError> {
        loop {
            let next = lock(&self.shared.losses).pop();
            let Some(loss) = next else { return Ok(()) };
            if let Err(error) = self.tell(&loss.gap, now) {
                lock(&self.shared.losses).push(loss);
                return Err(error);
            }
            if !matches!(loss.then, Then::Nothing | Then::Remove(_)) {
                self.shared.dropped.fetch_add(loss.gap.count, Ordering::Relaxed);
            }
            let settled = self.shared.settle(loss.gap.lane, loss.then);
            settled.map_err(|e| StoreError::io("setting a damaged segment aside", e))?;
        }
    }
}
