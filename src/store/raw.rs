//! A segment read without sled: by the chunks in its file.
//!
//! In: sled's file in any state, also torn. Out: every block of which each chunk is there once
//! whole. sled writes a value in one piece, first by itself and later again within its page, so a
//! block is mostly there more than once. Time and memory are bounded by the file's size: nothing in
//! the file is believed but what its checksum proves, and the seal has the last word.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::io::Errno;

use super::chunk::{self, Label, MAGIC, MAX_CHUNK};
use super::segment::Chain;
use crate::envelope::seal::TAG;
use crate::host::atomic_file;

/// How much of the file is held in memory at once.
const WINDOW: usize = 256 * 1024;
/// No segment's file is longer.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// No segment has more blocks: what a file claims beyond is not believed.
const MOST_BLOCKS: u32 = 1 << 16;

/// A block of which at least one chunk was found.
struct Found {
    label: Label,
    /// Where each chunk that was found stands in the file: what a label only claims takes no memory.
    places: BTreeMap<u16, u64>,
    tail: [u8; TAG],
}

impl Found {
    fn is_whole(&self) -> bool {
        self.places.len() == usize::from(chunk::chunks_of(self.label.total))
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
        let file = atomic_file::open_regular(path)?;
        // A segment is a few MiB; whatever else lies there is not read to its end.
        let length = file.metadata()?.len().min(MOST_BYTES);
        let mut blocks = BTreeMap::new();
        let mut window: Vec<u8> = Vec::with_capacity(WINDOW + MAX_CHUNK);
        let mut start = 0u64;
        let mut hasher = crc32fast::Hasher::new();
        let mut trace = Trace::default();
        loop {
            let kept = window.len();
            let at = start.saturating_add(u64::try_from(kept).unwrap_or_default());
            let wanted = u64::try_from(WINDOW + MAX_CHUNK - kept).unwrap_or_default();
            let wanted = wanted.min(length.saturating_sub(at));
            trace.is_broken |= fill(&mut window, wanted, at, |piece, at| file.read_at(piece, at))?;
            let is_end = window.len() == kept;
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
                let measured = (length, hasher.finalize());
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
        if !found.is_whole() {
            return None;
        }
        for place in found.places.values().copied() {
            let mut value = vec![0; MAX_CHUNK];
            let mut filled = 0;
            while let Some(rest) = value.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                let at = place.saturating_add(u64::try_from(filled).ok()?);
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
        self.blocks.get(&block)?.places.values().min().copied()
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

/// The least that a disk gives or refuses.
const SECTOR: u64 = 4 * 1024;

/// Reads so many bytes more into the window, or as many as there are. A sector that the disk cannot read
/// any more counts as zeros, so that what is around it is still had: then `true`.
fn fill(
    window: &mut Vec<u8>,
    wanted: u64,
    at: u64,
    mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<bool> {
    let kept = window.len();
    let wanted = usize::try_from(wanted).unwrap_or_default();
    window.resize(kept.saturating_add(wanted), 0);
    let (mut filled, mut is_broken, mut step) = (0, false, wanted);
    while filled < wanted {
        let here = at.saturating_add(u64::try_from(filled).unwrap_or_default());
        let Some(piece) = window.get_mut(kept + filled..kept + wanted) else { break };
        let most = step.min(piece.len());
        let Some(piece) = piece.get_mut(..most) else { break };
        match read_at(piece, here) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                let sector = usize::try_from(SECTOR - here % SECTOR).unwrap_or(most);
                if most > sector {
                    // Somewhere in it: from here on sector by sector.
                    step = sector;
                    continue;
                }
                piece.fill(0);
                filled += most;
                is_broken = true;
            }
            Err(error) => return Err(error),
        }
        if step < wanted {
            step = usize::try_from(SECTOR).unwrap_or(step);
        }
    }
    window.truncate(kept + filled);
    Ok(is_broken)
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
        places: BTreeMap::new(),
        tail: [0; TAG],
    });
    if found.label != chunk.label {
        return;
    }
    if usize::from(chunk.index) < places {
        found.places.insert(chunk.index, offset);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_that_cannot_be_read_costs_no_more_than_itself() {
        let disk: Vec<u8> = (1..=100_000u32).map(|n| u8::try_from(n % 251 + 1).unwrap()).collect();
        for (at, spoilt) in
            [(0, vec![0u64]), (0, vec![3, 4, 24]), (5_000, vec![1]), (5_000, vec![]), (5_000, vec![2, 9])]
        {
            let read_at = |piece: &mut [u8], from: u64| {
                let to = from + u64::try_from(piece.len()).unwrap();
                if spoilt.iter().any(|sector| sector * SECTOR < to && (sector + 1) * SECTOR > from) {
                    return Err(io::Error::from_raw_os_error(Errno::IO.raw_os_error()));
                }
                let rest = disk.get(usize::try_from(from).unwrap()..).unwrap_or_default();
                let count = rest.len().min(piece.len()).min(70_000);
                piece[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            };
            let mut window = vec![7; 3];
            let is_broken = fill(&mut window, 95_000, at, read_at).unwrap();
            assert_eq!(is_broken, !spoilt.is_empty());
            let start = usize::try_from(at).unwrap();
            let mut expected = vec![7; 3];
            for (place, byte) in disk.iter().enumerate().skip(start).take(95_000) {
                let sector = u64::try_from(place).unwrap() / SECTOR;
                expected.push(if spoilt.contains(&sector) { 0 } else { *byte });
            }
            assert!(window == expected, "from {at} with {spoilt:?}");
        }
        let refused =
            fill(&mut Vec::new(), 10, 0, |_, _| Err(io::Error::from(io::ErrorKind::PermissionDenied)));
        assert!(refused.is_err());
    }
}
