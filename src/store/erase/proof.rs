//! That nothing opens any more: tried, with what is left on the box.
//!
//! In: before, some sealed blocks with their headers, in memory; afterwards, the key if it can still be had. Out:
//! how many of the blocks open with what is left, and how many would with an old copy of their headers,
//! as flash memory may keep one where no program reaches it. What never happens: more memory than a few blocks
//! is used.

use std::io;
use std::path::{Path, PathBuf};

use super::super::Seq;
use super::super::StoreId;
use super::super::anchor_beside;
use super::super::chunk::Label;
use super::super::engine::database_file;
use super::super::folders::lane_folder;
use super::super::inspect::{Contents, children};
use super::super::raw::RawSegment;
use super::super::reader::open_block;
use super::super::segment;
use super::walk;
use crate::device::observation::Lane;
use crate::envelope::keys::KeyRing;

/// No more segments than these are sampled, spread over all: each takes one read of its file.
const MOST_SAMPLES: usize = 48;

/// One sealed block with the header of its segment.
pub struct Sample {
    store: StoreId,
    seq: Seq,
    header: Vec<u8>,
    label: Label,
    sealed: Vec<u8>,
}

impl Sample {
    /// Whether it opens with its own header.
    fn opens(&self, ring: &KeyRing) -> bool {
        let place = (self.store, self.seq.lane, self.seq.segment);
        let opened = segment::Header::open_bytes(&self.header, ring, place);
        opened.is_ok_and(|opened| self.opens_with(&opened))
    }

    /// Whether it opens with the header that stands in its place.
    fn opens_in(&self, folder: &Path, ring: &KeyRing) -> bool {
        let Seq { lane, segment, .. } = self.seq;
        let home = lane_folder(folder, lane).join(segment.to_string());
        let opened = segment::Header::open(&home, ring, (self.store, lane, segment));
        opened.is_ok_and(|opened| self.opens_with(&opened))
    }

    fn opens_with(&self, opened: &segment::Opened) -> bool {
        open_block(&opened.keys, self.store, self.seq, (self.label, &self.sealed)).is_some()
    }
}

/// Takes samples of a store: one block of a segment, of at most 48 segments.
pub fn samples(folder: &Path) -> Vec<Sample> {
    let mut places = Vec::new();
    for lane in Lane::ALL {
        let numbers = Contents::of(&lane_folder(folder, lane)).map(|contents| contents.numbers);
        places.extend(numbers.unwrap_or_default().into_iter().map(|number| (lane, number)));
    }
    let step = places.len().div_ceil(MOST_SAMPLES).max(1);
    places.into_iter().step_by(step).filter_map(|(lane, number)| sample(folder, lane, number)).collect()
}

fn sample(folder: &Path, lane: Lane, number: u64) -> Option<Sample> {
    let home = lane_folder(folder, lane).join(number.to_string());
    let (header, store) = segment::Header::claim(&home)?;
    let raw = RawSegment::scan(&database_file(&home)).ok()?;
    let (label, sealed) = (0..raw.end()).find_map(|block| raw.block(block))?;
    let seq = Seq { lane, segment: number, block: label.block };
    Some(Sample { store, seq, header, label, sealed })
}

/// What is left of a store that was erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Files in the store's folder.
    pub files_left: u64,
    /// Headers among them.
    pub headers_left: u64,
    /// Whether the mark beside the folder is still there, or cannot be looked for.
    pub mark_left: bool,
    /// Whether, before anything was erased, there was a key that opened what there was to open. Without
    /// one the rest proves nothing.
    pub key_was_right: bool,
    /// Whether the key can still be had.
    pub key_loads: bool,
    /// Blocks that were tried.
    pub tried: u64,
    /// Blocks that opened before.
    pub opened_before: u64,
    /// Blocks that open with what is left on the box, handed to it once more.
    pub opened_after: u64,
    /// Blocks that open when an old copy of their headers is found too.
    pub opened_with_old_headers: u64,
}

impl Proof {
    /// Counts, before anything is erased, how many samples open.
    pub fn before(samples: &[Sample], ring: Option<&KeyRing>) -> Self {
        let opens = |sample: &&Sample| ring.is_some_and(|ring| sample.opens(ring));
        let opened_before = count(samples.iter().filter(opens).count());
        let key_was_right = ring.is_some() && (samples.is_empty() || opened_before > 0);
        Self { tried: count(samples.len()), opened_before, key_was_right, ..Self::default() }
    }

    /// Tries them again afterwards, with whatever key can be had now.
    pub fn after(self, folder: &Path, samples: &[Sample], ring: Option<&KeyRing>) -> io::Result<Self> {
        let mut files = Vec::new();
        walk(folder, &mut files)?;
        let is_header = |file: &&PathBuf| file.file_name().is_some_and(|name| name == "header");
        let opens = |sample: &&Sample| ring.is_some_and(|ring| sample.opens_in(folder, ring));
        let opens_old = |sample: &&Sample| ring.is_some_and(|ring| sample.opens(ring));
        Ok(Self {
            files_left: count(files.len()),
            headers_left: count(files.iter().filter(is_header).count()),
            mark_left: !is_absent(&anchor_beside(folder)),
            key_loads: ring.is_some(),
            opened_after: count(samples.iter().filter(opens).count()),
            opened_with_old_headers: count(samples.iter().filter(opens_old).count()),
            ..self
        })
    }

    /// Whether nothing of the store is left on the box.
    pub const fn is_erased(&self) -> bool {
        self.files_left == 0 && !self.mark_left && self.opened_after == 0
    }

    /// Whether the key that can be had, if any, opens nothing, whatever old copies are found. Says nothing of
    /// a key that was not there to try.
    pub const fn is_closed(&self) -> bool {
        self.is_erased() && !self.key_loads && self.opened_with_old_headers == 0
    }
}

fn is_absent(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Folders beside the store that look like copies of one: those an erasure does not reach.
pub fn copies_beside(folder: &Path) -> Vec<PathBuf> {
    let around = folder.parent().map(children).and_then(Result::ok).unwrap_or_default();
    let is_copy = |path: &Path| {
        path != folder
            && path.join("identity").is_file()
            && Lane::ALL.iter().any(|lane| lane_folder(path, *lane).is_dir())
    };
    around.into_iter().map(|(_, _, path)| path).filter(|path| is_copy(path)).collect()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
