//! What the store has to say of itself, for the status socket and heartbeats.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::shared::{Shared, lock};
use crate::device::observation::Lane;
use crate::envelope::keys::KekId;
use crate::time::Wall;

/// How much of a lane waits for its acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Blocks.
    pub blocks: u64,
    /// Records.
    pub records: u64,
    /// Bytes on disk, overhead included.
    pub bytes: u64,
    /// Since when the oldest has waited, to within one commit.
    pub oldest: Option<Wall>,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The lanes, in the order of [`Lane::ALL`].
    pub lanes: [Depth; 3],
    /// Blocks made durable since the start.
    pub commits: u64,
    /// Records made durable since the start.
    pub records: u64,
    /// Records dropped or lost since the start, each told of in a gap record.
    pub dropped: u64,
    /// Bytes on disk, quarantine included.
    pub bytes: u64,
    /// The most bytes that it may use.
    pub cap: u64,
    /// Segments moved to quarantine since the start.
    pub quarantined: u64,
    /// How often something was found that is not as it was left: at the start and since.
    pub faults: u64,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
}

/// A handle on the numbers; cheap to clone and to ask.
#[derive(Clone)]
pub struct Stats {
    pub(super) shared: Arc<Shared>,
}

impl Stats {
    /// How much of a lane waits.
    pub fn depth(&self, lane: Lane) -> Depth {
        let state = self.shared.lane(lane);
        let mut depth = Depth::default();
        for entry in state.segments.values() {
            let waiting = u64::from(entry.blocks.saturating_sub(entry.done_through))
                .saturating_sub(u64::try_from(entry.done_beyond.len()).unwrap_or_default());
            depth.blocks += waiting;
            depth.records += entry.left();
            depth.bytes += entry.bytes;
            if waiting > 0 && depth.oldest.is_none() {
                let since = if entry.done_through > 0 { state.done_wall } else { None };
                depth.oldest = Some(since.unwrap_or(entry.first).max(entry.first));
            }
        }
        depth
    }

    /// Everything at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let shared = &self.shared;
        let lanes = Lane::ALL.map(|lane| self.depth(lane));
        let quarantine = shared.quarantined_bytes.load(Ordering::Relaxed);
        Snapshot {
            lanes,
            commits: shared.blocks.load(Ordering::Relaxed),
            records: shared.records.load(Ordering::Relaxed),
            dropped: shared.dropped.load(Ordering::Relaxed),
            bytes: lanes.iter().map(|depth| depth.bytes).sum::<u64>().saturating_add(quarantine),
            cap: shared.cap.load(Ordering::Relaxed),
            quarantined: shared.quarantined.load(Ordering::Relaxed),
            faults: shared.fault_count(),
            last_error: lock(&shared.last_error).clone(),
        }
    }

    /// The newest segment of a lane and the hash that stands for it and all before it, for heartbeats.
    /// `None` while the lane has never had a segment.
    pub fn head(&self, lane: Lane) -> Option<(u64, [u8; 32])> {
        self.shared.head(lane)
    }

    /// The key that the store is kept under.
    pub fn kek(&self) -> KekId {
        lock(&self.shared.identity).kek
    }

    /// How far the move from one key to another is; `None` when there is none under way: then a
    /// previous key is not needed.
    pub fn rotation(&self) -> Option<Rotation> {
        self.shared.rotation()
    }
}

/// A move from one key to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The key that all will be under.
    pub to: KekId,
    /// The key that part of it still is under.
    pub from: KekId,
    /// The segments of which the key is still wrapped by `from`.
    pub segments_left: u64,
}
