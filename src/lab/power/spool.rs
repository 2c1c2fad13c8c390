//! The real store, opened as the trials open it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use super::blocks::{self, Content};
use crate::device::observation::Lane;
use crate::envelope::block::PlainBlock;
use crate::envelope::keys::{Kek, KeyError, KeySource, Protection};
use crate::lab::disk::Draw;
use crate::store::{self, Limits, Reader, Recovery, Seq, StoreError, Writer};
use crate::time::{BootId, ClockSync, Mono, Now, Wall};

const MIB: u64 = 1024 * 1024;
/// Of the trials without pressure: more than any of them stores.
const AMPLE: u64 = 512 * MIB;
/// The least that the store takes.
const TIGHT: u64 = MIB + store::LEAST_ROOM;
/// The size of the disks on which stores are: more than any cap.
pub(super) const DISK: u64 = 4 * AMPLE;

/// The trials' key: what is in the store is no secret.
struct Known;

impl KeySource for Known {
    fn load(&self) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        Ok(Zeroizing::new([42; 32]))
    }

    fn protection(&self) -> Protection {
        Protection::File
    }
}

/// How the store is set up in one chain of trials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) limits: Limits,
    /// Whether its cap is so low that segments are dropped.
    pub(super) is_tight: bool,
    /// Whether one life writes so much that sled tidies its file up.
    pub(super) is_long: bool,
}

impl Setup {
    /// Of a chain: mostly small segments, so that many begin and end; one chain in eight under pressure, one
    /// with segments as large as the product's.
    pub(super) fn of(chain: u64, draw: &mut Draw) -> Self {
        let (is_tight, is_long) = (chain % 8 == 3, chain % 8 == 5);
        let few = |draw: &mut Draw, most: u64| 1 + u32::try_from(draw.below(most)).unwrap_or(0);
        let blocks = match (is_tight, is_long) {
            (true, _) => few(draw, 3),
            (_, true) => 10_000,
            _ => 1 + few(draw, 10),
        };
        let limits = Limits {
            bytes: if is_long { 8 * MIB } else { MIB },
            blocks,
            age: if is_long { Duration::from_secs(3_600) } else { Duration::from_secs(20 + draw.below(60)) },
            drained_bytes: if is_long || draw.in_eight(2) { 4 * MIB } else { 1 },
        };
        Self { limits, is_tight, is_long }
    }

    /// The store in a folder.
    pub(super) fn open(&self, folder: &Path, now: Now) -> Result<(Writer, Reader, Recovery), StoreError> {
        let folder = folder.join("store");
        let config = store::Config {
            anchor: Some(store::anchor_beside(&folder)),
            folder,
            cap: if self.is_tight { TIGHT } else { AMPLE },
            alarm_reserve: MIB,
            linger: Duration::ZERO,
        };
        let kek = Kek::load(&Known).map_err(|error| StoreError::Config(error.to_string()))?;
        let random = Arc::new(SystemRandom::new());
        store::open_with_limits(&config, kek.into(), (BootId([7; 16]), now), random, self.limits)
    }
}

/// The time so many milliseconds after the trials' beginning.
pub(super) fn at(millis: u64) -> Now {
    Now {
        mono: Mono::default() + Duration::from_millis(millis),
        wall: Wall::from_millis(1_795_304_400_000 + i64::try_from(millis).unwrap_or_default()),
        sync: ClockSync::Synced,
        max_error_us: 9,
    }
}

/// The next block of a lane, what waits before what is live.
pub(super) fn next(reader: &mut Reader, lane: Lane) -> Result<Option<(Seq, PlainBlock)>, StoreError> {
    match reader.read_next(lane)? {
        None if lane == Lane::Vital => reader.read_live(),
        next => Ok(next),
    }
}

/// What a block that was given out holds, in words when that cannot be.
pub(super) fn content(seq: Seq, block: &PlainBlock) -> Result<Content, String> {
    blocks::content(block).map_err(|error| format!("{seq}: {error}"))
}
