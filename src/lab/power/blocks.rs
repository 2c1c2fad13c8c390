//! Numbered records: what is handed to the store, so that whatever comes back says what it is.
//!
//! A record is a gap record with a text of its own: the one sort of record that anybody may put into a
//! block without a device and the gate; to the store all records are bytes.

use crate::device::observation::Lane;
use crate::envelope::block::{BlockBuilder, BlockHeader, PlainBlock};
use crate::envelope::record::{Entry, Gap};
use crate::lab::disk::Draw;
use crate::time::{BootId, Wall};

/// How the text of a numbered record begins; the store's own gap records say something else.
const MARK: &str = "numbered ";

/// What one block holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Numbered records without a hole between them.
    Records {
        /// The number of the first.
        first: u64,
        /// How many.
        count: u64,
    },
    /// The store's word of records that it lost.
    Told {
        /// How many.
        count: u64,
        /// Why, in its words.
        why: String,
    },
}

/// A block of `count` records from `first` on, each with up to `padding` letters that do not compress.
pub(super) fn block(lane: Lane, first: u64, count: u64, padding: usize, draw: &mut Draw) -> PlainBlock {
    let mut builder = BlockBuilder::new(&BlockHeader { boot: BootId([7; 16]), run: 7, devices: Vec::new() });
    for number in first..first.saturating_add(count) {
        let mut reason = MARK.to_owned();
        while reason.len() < padding {
            reason.push(char::from(b'!' + u8::try_from(draw.below(90)).unwrap_or_default()));
        }
        let at = Wall::from_millis(i64::try_from(number).unwrap_or(i64::MAX));
        let full = builder.push_gap(&Gap { lane, count: number, first: at, last: at, reason }).is_err();
        debug_assert!(!full, "so many records fit into a block");
    }
    builder.finish()
}

/// What a block that was read holds; an error when nobody could have handed it in.
pub(super) fn content(block: &PlainBlock) -> Result<Content, String> {
    let (_, entries) = block.read().map_err(|error| format!("it cannot be read: {error}"))?;
    let mut numbers = Vec::new();
    let (mut told, mut why) = (0u64, String::new());
    for entry in entries {
        match entry {
            Entry::Gap(gap) if gap.reason.starts_with(MARK) => numbers.push(gap.count),
            Entry::Gap(gap) => {
                told = told.saturating_add(gap.count);
                why = gap.reason;
            }
            Entry::Observation(record) => return Err(format!("an observation of nobody: {record:?}")),
            Entry::Event(event) => return Err(format!("an event that nobody told: {event:?}")),
        }
    }
    let Some(first) = numbers.first().copied() else { return Ok(Content::Told { count: told, why }) };
    let is_whole = numbers.iter().zip(first..).all(|(number, wanted)| *number == wanted);
    if !is_whole || told > 0 {
        return Err(format!("records {numbers:?} and word of {told} lost ones in one block"));
    }
    Ok(Content::Records { first, count: u64::try_from(numbers.len()).unwrap_or(u64::MAX) })
}
