//! What a segment without a footer came to.
//!
//! In: its chunks, and what is said of it elsewhere: in the next segment's header, in the lane's
//! cursor. Out: the footer that it would have had, and what of it is lost. What never happens: something
//! that was reported durable is missing and not counted as lost; something that was not is.

use std::collections::{BTreeMap, BTreeSet};

use super::raw::RawSegment;
use super::segment::{Chain, Ending, Footer, Opened, Previous};
use crate::time::Wall;

/// What is said of the segments of a lane elsewhere than in themselves.
pub(super) struct Told {
    /// What each says of the one before it, by the number of the one that says it.
    pub(super) previous: BTreeMap<u64, Previous>,
    /// What the cursor says of the newest.
    pub(super) newest: Option<Previous>,
}

/// How much of a segment was reported durable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Promise {
    /// This much: what lies behind it was reported failed, and stored again.
    Exactly(Previous),
    /// This much, and as much more as is found.
    AtLeast(Previous),
    /// As much as is found.
    Unknown,
}

impl Promise {
    pub(super) fn told(self) -> Option<Previous> {
        match self {
            Self::Exactly(told) | Self::AtLeast(told) => Some(told),
            Self::Unknown => None,
        }
    }
}

impl Told {
    /// What is said of a segment. One that the next segment passes over held nothing.
    pub(super) fn about(&self, number: u64) -> Promise {
        if let Some((_, next)) = self.previous.range(number.saturating_add(1)..).next() {
            match next.number.cmp(&number) {
                std::cmp::Ordering::Equal => return Promise::Exactly(*next),
                std::cmp::Ordering::Less => {
                    return Promise::Exactly(Previous { number, blocks: 0, records: 0, ..*next });
                }
                // The one in between is missing.
                std::cmp::Ordering::Greater => {}
            }
        }
        match self.newest {
            Some(newest) if newest.number == number => Promise::AtLeast(newest),
            _ => Promise::Unknown,
        }
    }
}

/// A footer made of what is in the file, and what is not in it.
pub(super) struct Rebuilt {
    pub(super) footer: Footer,
    pub(super) lost: BTreeSet<u32>,
    /// The records of these.
    pub(super) lost_records: u64,
}

/// Of a segment that ended without a footer.
pub(super) fn rebuild(raw: Option<&RawSegment>, opened: &Opened, promise: Promise) -> Rebuilt {
    let found_end = raw.map_or(0, RawSegment::end);
    let blocks = match promise {
        Promise::Exactly(told) => told.blocks,
        Promise::AtLeast(told) => told.blocks.max(found_end),
        // A last block that is torn was never reported: the sync had not ended.
        Promise::Unknown => found_end,
    };
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
    let promised = promise.told().map_or(0, |told| told.blocks);
    let (mut labelled, mut found_of_promised, mut guessed) = (0u64, 0u64, 0u64);
    for block in 0..blocks {
        let is_whole = raw.is_some_and(|raw| raw.has(block));
        if !is_whole {
            lost.insert(block);
        }
        let Some(label) = raw.and_then(|raw| raw.label(block)) else { continue };
        let (wall, count) = (Wall::from_millis(label.wall), u64::from(label.count));
        labelled = labelled.saturating_add(count);
        match is_whole {
            true if block < promised => found_of_promised = found_of_promised.saturating_add(count),
            true => {}
            false => guessed = guessed.saturating_add(count),
        }
        footer.told = footer.told.saturating_add(label.told);
        footer.tellings += if label.told > 0 { count } else { 0 };
        footer.first = footer.first.min(wall);
        footer.last = footer.last.max(wall);
    }
    let lost_records = match promise.told() {
        _ if lost.is_empty() => 0,
        Some(told) => told.records.saturating_sub(found_of_promised).max(guessed),
        None => guessed.max(u64::try_from(lost.len()).unwrap_or(u64::MAX)),
    };
    footer.records = match promise {
        Promise::Exactly(told) => told.records,
        Promise::AtLeast(_) | Promise::Unknown => {
            labelled.saturating_sub(guessed).saturating_add(lost_records)
        }
    };
    let chain = raw.map_or(Chain::START, |raw| raw.chain(blocks));
    footer.head = Chain::head(&opened.bytes, chain);
    Rebuilt { footer, lost, lost_records }
}
