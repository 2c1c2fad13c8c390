//! A segment read without sled: by the chunks in its file.
//!
//! In: sled's file in any state, also torn. Out: every block of which each chunk is there once
//! whole. sled writes a value in one piece, first by itself and later again within its page, so a
//! block is mostly there more than once. Time and memory are bounded by the file's size: nothing in
//! the file is believed but what its checksum proves, and the seal has the last word.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::chunk::{self, Label, MAGIC, MAX_CHUNK};
use super::segment::Chain;
use crate::envelope::seal::TAG;
use crate::host::atomic_file;

/// How much of the file is held in memory at once.
const WINDOW: usize = 256 * 1024;
/// No segment's file is longer.
const MOST_BYTES: u64 = 256 * 1024 * 1024;
/// No segment has more blocks: what a file claims beyond is not believed.
const MOST_BLOCKS: u32 = 1 << 20;

/// A block of which at least one chunk was found.
struct Found {
    label: Label,
    /// Where each chunk stands in the file.
    places: Vec<Option<u64>>,
    tail: [u8; TAG],
}

impl Found {
    fn is_whole(&self) -> bool {
        self.places.iter().all(Option::is_some)
    }
}

/// The blocks of one file.
pub(super) struct RawSegment {
    file: File,
    blocks: BTreeMap<u32, Found>,
    /// Length and CRC-32 of the file.
    measured: (u64, u32),
    trace: Trace,
}

/// What was seen beside whole chunks.
#[derive(Clone, Copy, Default)]
struct Trace {
    /// Something begins like a chunk and is none.
    is_broken: bool,
    /// Where the last whole chunk ends.
    last_chunk: u64,
    /// Where the last byte that is not zero ends.
    last_byte: u64,
}

/// More bytes behind the last chunk than sled itself puts there: some of its own words (its
/// `pagecache/mod.rs`: checksum, kind, segment, page, length, each at most 8 bytes).
const SLEDS_OWN: u64 = 64;

impl RawSegment {
    /// Reads the file once, from front to end.
    pub(super) fn scan(path: &Path) -> io::Result<Self> {
        // A segment is a few MiB; whatever else lies there is not read to its end.
        let mut file = atomic_file::open_regular(path)?.take(MOST_BYTES);
        let mut blocks = BTreeMap::new();
        let mut window: Vec<u8> = Vec::with_capacity(WINDOW + MAX_CHUNK);
        let mut start = 0u64;
        let mut hasher = crc32fast::Hasher::new();
        let mut trace = Trace::default();
        loop {
            let kept = window.len();
            let wanted = u64::try_from(WINDOW + MAX_CHUNK - kept).unwrap_or_default();
            let is_end = Read::by_ref(&mut file).take(wanted).read_to_end(&mut window)? == 0;
            let fresh = window.get(kept..).unwrap_or_default();
            hasher.update(fresh);
            if let Some(last) = fresh.iter().rposition(|byte| *byte != 0) {
                trace.last_byte = start.saturating_add(u64::try_from(kept + last + 1).unwrap_or_default());
            }
            // A chunk that begins in the last MAX_CHUNK bytes may go on in the next window.
            let sure = if is_end { window.len() } else { window.len().saturating_sub(MAX_CHUNK) };
            note_chunks(&window, sure, start, &mut blocks, &mut trace);
            if is_end {
                let length = start.saturating_add(u64::try_from(window.len()).unwrap_or_default());
                let (file, measured) = (file.into_inner(), (length, hasher.finalize()));
                return Ok(Self { file, blocks, measured, trace });
            }
            window.drain(..sure);
            start = start.saturating_add(u64::try_from(sure).unwrap_or_default());
        }
    }

    /// Length and CRC-32 of the file as it was read.
    pub(super) fn measured(&self) -> (u64, u32) {
        self.measured
    }

    /// Whether the file holds more than its whole blocks before `end` and what sled writes around them: a
    /// commit that was cut short, or one that was changed since.
    pub(super) fn is_torn(&self, end: u32) -> bool {
        let Trace { is_broken, last_chunk, last_byte } = self.trace;
        let is_more = self.blocks.range(end..).next().is_some();
        is_broken || is_more || last_byte > last_chunk.saturating_add(SLEDS_OWN)
    }

    /// The block's label and sealed bytes, when all of it is there.
    pub(super) fn block(&self, block: u32) -> Option<(Label, Vec<u8>)> {
        let found = self.blocks.get(&block)?;
        let mut values = Vec::new();
        for place in &found.places {
            let mut value = vec![0; MAX_CHUNK];
            let mut filled = 0;
            while let Some(rest) = value.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                let at = (*place)?.saturating_add(u64::try_from(filled).ok()?);
                match self.file.read_at(rest, at) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return None,
                }
            }
            value.truncate(filled);
            values.push(value);
        }
        chunk::join(values.iter().map(|value| chunk::parse(value)))
    }

    /// What is known of a block, also when not all of it is there.
    pub(super) fn label(&self, block: u32) -> Option<Label> {
        self.blocks.get(&block).map(|found| found.label)
    }

    /// Where in the file the first part of a block stands that is there.
    pub(super) fn offset(&self, block: u32) -> Option<u64> {
        self.blocks.get(&block)?.places.iter().flatten().min().copied()
    }

    /// Whether all of a block is there.
    pub(super) fn has(&self, block: u32) -> bool {
        self.blocks.get(&block).is_some_and(Found::is_whole)
    }

    /// One more than the highest index of which all is there.
    pub(super) fn end(&self) -> u32 {
        let last = self.blocks.iter().rev().find(|(_, found)| found.is_whole());
        last.map_or(0, |(block, _)| block.saturating_add(1))
    }

    /// The chain over the blocks before `end`.
    pub(super) fn chain(&self, end: u32) -> Chain {
        let mut chain = Chain::START;
        for (_, found) in self.blocks.range(..end) {
            chain.add(&found.tail);
        }
        chain
    }
}

/// Notes every whole chunk that begins in the first `sure` bytes.
fn note_chunks(window: &[u8], sure: usize, start: u64, blocks: &mut BTreeMap<u32, Found>, trace: &mut Trace) {
    let mut at = 0;
    while let Some(step) = find(window.get(at..).unwrap_or_default()) {
        at += step;
        if at >= sure {
            return;
        }
        let offset = start.saturating_add(u64::try_from(at).unwrap_or_default());
        if let Some(chunk) = window.get(at..).and_then(chunk::parse) {
            let length = u64::try_from(chunk::CHUNK_HEADER + chunk.content.len()).unwrap_or_default();
            trace.last_chunk = trace.last_chunk.max(offset.saturating_add(length));
            note(&chunk, offset, blocks);
        } else {
            trace.is_broken = true;
        }
        at += 1;
    }
}

fn note(chunk: &chunk::Chunk<'_>, offset: u64, blocks: &mut BTreeMap<u32, Found>) {
    if chunk.label.block >= MOST_BLOCKS {
        return;
    }
    let places = usize::from(chunk::chunks_of(chunk.label.total));
    let found = blocks.entry(chunk.label.block).or_insert_with(|| Found {
        label: chunk.label,
        places: vec![None; places],
        tail: [0; TAG],
    });
    if found.label != chunk.label {
        return;
    }
    if let Some(place) = found.places.get_mut(usize::from(chunk.index)) {
        *place = Some(offset);
    }
    if usize::from(chunk.index) + 1 == places {
        found.tail = chunk::tail(chunk.content);
    }
}

/// Where the next chunk may begin.
fn find(bytes: &[u8]) -> Option<usize> {
    let [first, ..] = MAGIC;
    let mut from = 0;
    loop {
        let step = bytes.get(from..)?.iter().position(|byte| *byte == first)?;
        from += step;
        if bytes.get(from..)?.starts_with(&MAGIC) {
            return Some(from);
        }
        from += 1;
    }
}
