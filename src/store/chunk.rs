//! A sealed block in pieces: what is one value in sled.
//!
//! In: a sealed block. Out: chunks of at most [`MAX_CHUNK`] bytes, and from chunks the block again.
//! sled moves every value and every page above a quarter of its segment size into a file of its own,
//! which it never syncs; a page holds up to 17 values, so the values are kept small enough that
//! neither ever happens. Every chunk says what it is and carries a checksum: a torn sled file can be
//! read without sled (`raw.rs`).

use crate::envelope::seal::{MAX_SEALED, TAG};
use crate::envelope::wire::{Put, Take};

/// The most bytes of one chunk. 18 of them and their keys stay below the 65,516 bytes from which
/// sled 0.34.7 with segments of 256 KiB would begin a blob.
pub(super) const MAX_CHUNK: usize = 3 * 1024;
/// How a chunk begins.
pub(super) const MAGIC: [u8; 4] = *b"WLc1";
/// The bytes before a chunk's content.
pub(super) const CHUNK_HEADER: usize = 4 + 4 + 4 + 4 + 8 + 8 + 4 + 2;
/// The most content of one chunk.
const MAX_CONTENT: usize = MAX_CHUNK - CHUNK_HEADER;

/// A key in sled: block, then chunk, big-endian so that they stand in order.
pub(super) type Key = [u8; 6];

/// What a block says of itself in the clear, in each of its chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    /// Its index in its segment.
    pub(super) block: u32,
    /// How many records it holds.
    pub(super) count: u32,
    /// How many lost records its gap records tell of.
    pub(super) told: u64,
    /// The wall time of its commit, in milliseconds.
    pub(super) wall: i64,
    /// Its length, sealed.
    pub(super) total: u32,
}

/// One chunk as read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'a> {
    pub(super) label: Label,
    pub(super) index: u16,
    pub(super) content: &'a [u8],
}

pub(super) fn key(block: u32, chunk: u16) -> Key {
    let mut key = [0; 6];
    let bytes = block.to_be_bytes().into_iter().chain(chunk.to_be_bytes());
    for (to, from) in key.iter_mut().zip(bytes) {
        *to = from;
    }
    key
}

/// How many chunks a block of a length has.
pub(super) fn chunks_of(total: u32) -> u16 {
    let total = usize::try_from(total).unwrap_or(usize::MAX);
    u16::try_from(total.div_ceil(MAX_CONTENT)).unwrap_or(u16::MAX)
}

/// Cuts a sealed block into chunks.
pub(super) fn split(label: Label, sealed: &[u8]) -> impl Iterator<Item = (Key, Vec<u8>)> {
    sealed.chunks(MAX_CONTENT).zip(0u16..).map(move |(content, index)| {
        let mut body = Vec::with_capacity(CHUNK_HEADER + content.len());
        body.put_bytes(&MAGIC);
        body.put_u32(0);
        body.put_u32(label.block);
        body.put_u32(label.count);
        body.put_u64(label.told);
        body.put_i64(label.wall);
        body.put_u32(label.total);
        body.put_u16(index);
        body.put_bytes(content);
        let sum = crc32fast::hash(body.get(8..).unwrap_or_default());
        for (to, from) in body.iter_mut().skip(4).zip(sum.to_le_bytes()) {
            *to = from;
        }
        (key(label.block, index), body)
    })
}

/// What stands for a block in its segment's chain: the last bytes of its last chunk, which are its
/// tag or the end of it.
pub(super) fn tail(sealed: &[u8]) -> [u8; TAG] {
    let mut tail = [0; TAG];
    let last = sealed.chunks(MAX_CONTENT).last().unwrap_or_default();
    for (to, from) in tail.iter_mut().rev().zip(last.iter().rev()) {
        *to = *from;
    }
    tail
}

/// Reads a chunk at the front of `bytes`, which may go on behind it. `None` when there is none or
/// when it is torn.
pub(super) fn parse(bytes: &[u8]) -> Option<Chunk<'_>> {
    let mut take = Take::new(bytes);
    if take.array::<4>().ok()? != MAGIC {
        return None;
    }
    let sum = take.u32().ok()?;
    let label = Label {
        block: take.u32().ok()?,
        count: take.u32().ok()?,
        told: take.u64().ok()?,
        wall: take.i64().ok()?,
        total: take.u32().ok()?,
    };
    let index = take.u16().ok()?;
    let total = usize::try_from(label.total).ok()?;
    if total > MAX_SEALED {
        return None;
    }
    let length = total.checked_sub(usize::from(index).checked_mul(MAX_CONTENT)?)?.min(MAX_CONTENT);
    let content = take.bytes(length).ok()?;
    let body = bytes.get(8..CHUNK_HEADER + length)?;
    (length > 0 && crc32fast::hash(body) == sum).then_some(Chunk { label, index, content })
}

/// Puts the chunks of one block together, in their order; `None` as soon as one does not fit.
pub(super) fn join<'a>(chunks: impl Iterator<Item = Option<Chunk<'a>>>) -> Option<(Label, Vec<u8>)> {
    let mut sealed = Vec::new();
    let mut first = None;
    for (chunk, place) in chunks.zip(0u16..) {
        let chunk = chunk?;
        if *first.get_or_insert(chunk.label) != chunk.label || chunk.index != place {
            return None;
        }
        sealed.extend_from_slice(chunk.content);
    }
    let label = first?;
    (usize::try_from(label.total).ok()? == sealed.len()).then_some((label, sealed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn label(total: usize) -> Label {
        Label { block: 3, count: 256, told: 9, wall: -5, total: u32::try_from(total).unwrap() }
    }

    proptest! {
        #[test]
        fn a_block_is_the_same_after_it_was_cut_and_joined(sealed in prop::collection::vec(any::<u8>(), 1..20_000)) {
            let chunks: Vec<_> = split(label(sealed.len()), &sealed).collect();
            prop_assert_eq!(chunks.len(), usize::from(chunks_of(u32::try_from(sealed.len()).unwrap())));
            prop_assert!(chunks.iter().all(|(_, value)| value.len() <= MAX_CHUNK));
            let joined = join(chunks.iter().map(|(_, value)| parse(value)));
            prop_assert_eq!(joined, Some((label(sealed.len()), sealed)));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = parse(&[&MAGIC[..], &bytes].concat());
        }
    }

    #[test]
    fn a_torn_chunk_is_none() {
        let (_, value) = split(label(100), &[7; 100]).next().unwrap();
        assert!(parse(&value).is_some());
        for place in 0..value.len() {
            let mut torn = value.clone();
            torn[place] ^= 0x10;
            assert!(parse(&torn).is_none(), "byte {place}");
            assert!(parse(&value[..place]).is_none(), "cut at {place}");
        }
    }

    #[test]
    fn chunks_of_different_blocks_do_not_join() {
        let sealed = vec![1; MAX_CHUNK * 2];
        let one: Vec<_> = split(label(sealed.len()), &sealed).collect();
        let other: Vec<_> = split(Label { block: 4, ..label(sealed.len()) }, &sealed).collect();
        assert!(join([parse(&one[0].1), parse(&other[1].1), parse(&one[2].1)].into_iter()).is_none());
        assert!(join([parse(&one[0].1), parse(&one[2].1)].into_iter()).is_none(), "a hole");
        assert!(join([parse(&one[0].1)].into_iter()).is_none(), "an end that is missing");
    }
}
