//! The blocks of a store in the clear, for whoever may have them.
//!
//! In: the folder, the keys, and which lanes. Out: every block that authenticates, in order, one at a
//! time; the count of those that do not. Works beside a running daemon: what it removes meanwhile is
//! acknowledged and passed over. What never happens: a block is given out that did not authenticate.

use std::path::Path;

use super::super::engine::database_file;
use super::super::rebuild::rebuild;
use super::super::segment::{Footer, Opened};
use super::super::{Seq, StoreError, StoreId};
use super::look::{LaneSight, Sight, scan};
use crate::device::observation::Lane;
use crate::envelope::block::PlainBlock;
use crate::envelope::keys::KeyRing;

/// What is to be read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The lanes.
    pub lanes: Vec<Lane>,
}

/// One block.
#[derive(Debug)]
pub struct Found {
    /// The store.
    pub store: StoreId,
    /// Its place.
    pub seq: Seq,
    /// Whether the broker has it, as far as the cursor was written.
    pub is_acknowledged: bool,
    /// Its records.
    pub block: PlainBlock,
}

/// How many blocks could not be read, and why where it was not the blocks themselves.
#[derive(Debug, Default)]
pub struct Unread {
    /// At least so many.
    pub blocks: u64,
    /// The segments of which nothing could be read, in words.
    pub segments: Vec<String>,
}

/// Reads blocks until `visit` fails; a segment that cannot be read is passed over. `progress` is told the bytes
/// that were read, and of how many. Out: what could not be read.
pub fn read_blocks<E: From<StoreError>>(
    folder: &Path,
    ring: &KeyRing,
    wanted: &Wanted,
    progress: &mut dyn FnMut(u64, u64),
    visit: &mut dyn FnMut(Found) -> Result<(), E>,
) -> Result<Unread, E> {
    let (sight, _) = Sight::find(folder, ring)?;
    let mut lanes = Vec::new();
    for lane in Lane::ALL.into_iter().filter(|lane| wanted.lanes.contains(lane)) {
        let found = LaneSight::take(&sight, lane);
        lanes.push(found.map_err(|error| StoreError::io("looking into the store", error))?);
    }
    let bytes = |lane: Lane, number| {
        let database = database_file(&sight.segment_folder(lane, number));
        std::fs::metadata(database).map_or(0, |metadata| metadata.len())
    };
    let size = |found: &LaneSight| {
        found.sound.keys().fold(0u64, |sum, number| sum.saturating_add(bytes(found.lane, *number)))
    };
    let total = lanes.iter().fold(0u64, |sum, found| sum.saturating_add(size(found)));
    let (mut done, mut unread) = (0u64, Unread::default());
    for found in &lanes {
        let lost = u64::try_from(lost_segments(&sight, found)).unwrap_or(u64::MAX);
        unread.blocks = unread.blocks.saturating_add(lost);
        for opened in found.sound.values() {
            let missed = read_segment(&sight, found, opened, &mut unread.segments, visit)?;
            unread.blocks = unread.blocks.saturating_add(missed);
            done = done.saturating_add(bytes(found.lane, opened.header.number));
            progress(done.min(total), total);
        }
    }
    Ok(unread)
}

/// Segments that are still there and whose header cannot be trusted: each counts as one block, as nobody
/// knows how many it holds.
fn lost_segments(sight: &Sight<'_>, found: &LaneSight) -> usize {
    let is_lost = |number: &&u64| database_file(&sight.segment_folder(found.lane, **number)).exists();
    found.spoilt.keys().filter(is_lost).count()
}

fn read_segment<E: From<StoreError>>(
    sight: &Sight<'_>,
    found: &LaneSight,
    opened: &Opened,
    unread_segments: &mut Vec<String>,
    visit: &mut dyn FnMut(Found) -> Result<(), E>,
) -> Result<u64, E> {
    let (lane, number) = (found.lane, opened.header.number);
    let folder = sight.segment_folder(lane, number);
    let footer = Footer::read(&folder, &opened.keys);
    let raw = match scan(&folder) {
        Ok(Some(raw)) => raw,
        Ok(None) => return Ok(u64::from(folder.exists())),
        Err(error) => {
            unread_segments.push(format!("{lane}/{number} could not be read: {error}"));
            // Without a footer nobody knows how many it holds.
            return Ok(footer.map_or(1, |footer| u64::from(footer.blocks.max(1))));
        }
    };
    let blocks = match footer {
        Ok(footer) => footer.blocks,
        Err(_) => rebuild(Some(&raw), opened, found.told.about(number)).footer.blocks,
    };
    let done = if found.is_over(number) { blocks } else { found.done(number).0 };
    let mut unread = 0u64;
    for block in 0..blocks {
        let seq = Seq { lane, segment: number, block };
        match sight.block(&opened.keys, &raw, seq) {
            Some((_, plain)) => {
                visit(Found { store: sight.store, seq, is_acknowledged: block < done, block: plain })?;
            }
            None => unread += 1,
        }
    }
    Ok(unread)
}
