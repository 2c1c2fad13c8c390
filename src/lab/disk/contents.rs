//! What files hold after a cut.
//!
//! In: writes, changes of size and syncs, in order. Out: the content of every file as a cut could leave
//! it. The rules, and where they are from:
//!
//! * What was written before an `fsync` or `fdatasync` of the file that succeeded is there, and so is the
//!   size that is needed to read it (POSIX.1-2017 `fsync`, `fdatasync`: "synchronized I/O data integrity
//!   completion"; Linux `fsync(2)`: "a change to the file size ... would require a metadata flush").
//! * Of what was written since, each sector is at one of the states that it had, by itself: old, new, or
//!   in between when it was written more than once ("a sector write is atomic, a larger one is not":
//!   ALICE, section 3; reordering of data: the same, table 1). Sectors are of 512 bytes or 4 KiB.
//! * The size is at one of the values that it had since the sync, whatever became of the data. Where
//!   the size is there and the data is not, there are zeros ("appends": ALICE, table 1: size updated
//!   without content).
//! * A sync that failed covers nothing, and the system takes its pages for clean: a later sync that
//!   succeeds covers of them only those that were written again (Rebello et al., Can Applications Recover
//!   from fsync Failures?, USENIX ATC 2020; the "fsyncgate" of `PostgreSQL`).
//! * A write that is going on at the cut is as one that has just returned: torn anywhere or not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::draw::Draw;
use super::record::Op;
use super::tree::{Node, Number, Tree, put};

/// What of the data that was not synced is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nothing.
    Nothing,
    /// Everything, as when only the process was killed.
    Everything,
    /// What was written before one moment, over all files; the last write torn.
    Beginning,
    /// Each write whole or not at all.
    Writes,
    /// Each sector by itself, of this many bytes: 512 or 4,096.
    Sectors(usize),
}

impl Data {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Nothing,
        Self::Everything,
        Self::Beginning,
        Self::Writes,
        Self::Sectors(512),
        Self::Sectors(PAGE),
    ];
}

/// The unit in which the system keeps what was not written to the medium.
const PAGE: usize = 4096;

/// A part of a write that lies within one page.
#[derive(Clone)]
struct Piece {
    /// The operation's place in the record.
    op: usize,
    /// Where in the file.
    offset: usize,
    bytes: Arc<[u8]>,
    from: usize,
    to: usize,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    fn end(&self) -> usize {
        self.offset + (self.to - self.from)
    }

    /// Writes what of it lies in `from..to`.
    fn apply(&self, content: &mut Vec<u8>, (from, to): (usize, usize)) {
        let (first, last) = (self.offset.max(from), self.end().min(to));
        if first < last
            && let Some(bytes) = self.bytes().get(first - self.offset..last - self.offset)
        {
            put(content, first, bytes);
        }
    }
}

/// A page that may not be on the medium as it is in memory.
#[derive(Clone, Default)]
struct Page {
    pieces: Vec<Piece>,
    /// Whether the next sync will write it.
    is_dirty: bool,
}

/// A file: what a cut cannot undo, and what it can.
#[derive(Clone, Default)]
struct File {
    durable: Arc<Vec<u8>>,
    pages: BTreeMap<usize, Page>,
    /// The sizes since the last sync, each with the operation that set it.
    sizes: Vec<(usize, usize)>,
}

impl File {
    fn size(&self) -> usize {
        self.sizes.last().map_or(self.durable.len(), |(_, size)| *size)
    }

    fn write(&mut self, op: usize, offset: usize, bytes: &Arc<[u8]>) {
        let mut from = 0;
        while from < bytes.len() {
            let at = offset + from;
            let to = bytes.len().min(from + PAGE - at % PAGE);
            let page = self.pages.entry(at / PAGE).or_default();
            page.pieces.push(Piece { op, offset: at, bytes: Arc::clone(bytes), from, to });
            page.is_dirty = true;
            from = to;
        }
        let end = offset + bytes.len();
        if end > self.size() {
            self.sizes.push((op, end));
        }
    }

    fn resize(&mut self, op: usize, size: usize) {
        let old = self.size();
        if size < old {
            // What is cut off does not come back when the file grows again.
            let zeros: Arc<[u8]> = vec![0; old - size].into();
            self.write(op, size, &zeros);
        }
        if size != old {
            self.sizes.push((op, size));
        }
    }

    fn sync(&mut self) {
        let size = self.size();
        let dirty: Vec<usize> =
            self.pages.iter().filter(|(_, page)| page.is_dirty).map(|(number, _)| *number).collect();
        if dirty.is_empty() && self.sizes.is_empty() {
            return;
        }
        let content = Arc::make_mut(&mut self.durable);
        for page in dirty.iter().filter_map(|number| self.pages.remove(number)) {
            page.pieces.iter().for_each(|piece| piece.apply(content, (0, usize::MAX)));
        }
        content.resize(size, 0);
        self.sizes.clear();
    }

    fn fail_to_sync(&mut self) {
        self.pages.values_mut().for_each(|page| page.is_dirty = false);
    }
}

/// What of the data was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Sectors of which a write is not there.
    pub(super) dropped: u64,
    /// Writes of which a part is there and a part is not.
    pub(super) torn: u64,
    /// Writes that are there although an earlier one is not.
    pub(super) reordered: u64,
}

/// All files.
#[derive(Clone)]
pub(super) struct Contents {
    files: BTreeMap<Number, File>,
}

impl Contents {
    pub(super) fn new(base: &Tree) -> Self {
        let file = |node: &Node| match node {
            Node::File(content) => Some(File { durable: Arc::clone(content), ..File::default() }),
            Node::Folder(_) => None,
        };
        let files = base.nodes().iter().filter_map(|(number, node)| Some((*number, file(node)?))).collect();
        Self { files }
    }

    /// Takes an operation in, with its place in the record.
    pub(super) fn handle(&mut self, place: usize, op: &Op) {
        match op {
            Op::Make { node, is_folder: false, .. } => {
                self.files.insert(*node, File::default());
            }
            Op::Write { file, offset, bytes } => {
                if let (Some(file), Ok(offset)) = (self.files.get_mut(file), usize::try_from(*offset)) {
                    file.write(place, offset, bytes);
                }
            }
            Op::Resize { file, size } => {
                if let (Some(file), Ok(size)) = (self.files.get_mut(file), usize::try_from(*size)) {
                    file.resize(place, size);
                }
            }
            Op::Sync { file, failed, .. } => {
                if let Some(file) = self.files.get_mut(file) {
                    if *failed { file.fail_to_sync() } else { file.sync() }
                }
            }
            Op::Make { .. } | Op::Remove { .. } | Op::Rename { .. } | Op::SyncFolder { .. } => {}
        }
    }

    /// Whether an operation is still open to loss.
    fn pending(&self) -> BTreeSet<usize> {
        let pieces = self.files.values().flat_map(|file| file.pages.values()).flat_map(|page| &page.pieces);
        pieces.map(|piece| piece.op).collect()
    }

    /// What every file holds after a cut.
    pub(super) fn cut(
        &self,
        data: Data,
        share: u64,
        draw: &mut Draw,
    ) -> (BTreeMap<Number, Arc<Vec<u8>>>, Losses) {
        let pending: Vec<usize> = self.pending().into_iter().collect();
        let mut fate = Fate { data, share, last: usize::MAX, whole: BTreeSet::new(), draw };
        if data == Data::Beginning {
            let place = fate.draw.place(pending.len() + 1);
            fate.last = pending.get(place).copied().unwrap_or(usize::MAX);
        }
        if data == Data::Writes {
            fate.whole = self.whole_writes(&pending, &mut fate);
        }
        let mut tally = Tally::default();
        let contents =
            self.files.iter().map(|(number, file)| (*number, fate.cut(file, &mut tally))).collect();
        (contents, tally.losses())
    }

    /// Which writes are there whole: a write that is there has with it what stood in its pages before.
    fn whole_writes(&self, pending: &[usize], fate: &mut Fate<'_>) -> BTreeSet<usize> {
        let mut below: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for page in self.files.values().flat_map(|file| file.pages.values()) {
            for (at, piece) in page.pieces.iter().enumerate() {
                below.entry(piece.op).or_default().extend(page.pieces.iter().take(at).map(|older| older.op));
            }
        }
        let mut whole = BTreeSet::new();
        for op in pending.iter().rev() {
            if whole.contains(op) || fate.draw.in_eight(fate.share) {
                whole.insert(*op);
                whole.extend(below.get(op).into_iter().flatten().copied());
            }
        }
        whole
    }
}

/// Decides what is there.
struct Fate<'a> {
    data: Data,
    share: u64,
    /// Of [`Data::Beginning`]: the write at which it ends, which is torn.
    last: usize,
    /// Of [`Data::Writes`]: those that are there.
    whole: BTreeSet<usize>,
    draw: &'a mut Draw,
}

impl Fate<'_> {
    fn cut(&mut self, file: &File, tally: &mut Tally) -> Arc<Vec<u8>> {
        if file.pages.is_empty() && file.sizes.is_empty() {
            return Arc::clone(&file.durable);
        }
        let mut content = file.durable.to_vec();
        for (number, page) in &file.pages {
            self.page(number * PAGE, page, &mut content, tally);
        }
        let size = self.size(file);
        content.resize(size, 0);
        Arc::new(content)
    }

    fn page(&mut self, start: usize, page: &Page, content: &mut Vec<u8>, tally: &mut Tally) {
        let sector = if let Data::Sectors(size) = self.data { size } else { 512 };
        for from in (start..start + PAGE).step_by(sector) {
            let range = (from, from + sector);
            let here: Vec<&Piece> =
                page.pieces.iter().filter(|piece| piece.offset < range.1 && piece.end() > range.0).collect();
            if here.is_empty() {
                continue;
            }
            let kept = match self.data {
                Data::Nothing => 0,
                Data::Everything => here.len(),
                Data::Beginning => self.begun(&here),
                Data::Writes => here.iter().filter(|piece| self.whole.contains(&piece.op)).count(),
                Data::Sectors(_) => self.version(here.len()),
            };
            for (at, piece) in here.iter().enumerate() {
                tally.note(piece.op, at < kept);
                if at < kept {
                    piece.apply(content, range);
                }
            }
        }
    }

    /// One of the states of a sector that was written some times.
    fn version(&mut self, writes: usize) -> usize {
        if self.draw.in_eight(self.share) { writes } else { self.draw.place(writes) }
    }

    /// How many writes of a sector lie before the end of the beginning; the one at the end is torn.
    fn begun(&mut self, here: &[&Piece]) -> usize {
        let before = here.iter().filter(|piece| piece.op < self.last).count();
        let is_torn = here.iter().any(|piece| piece.op == self.last) && self.draw.in_eight(4);
        before + usize::from(is_torn)
    }

    fn size(&mut self, file: &File) -> usize {
        let sizes = file.sizes.len();
        let kept = match self.data {
            Data::Nothing => 0,
            Data::Everything => sizes,
            Data::Beginning => file.sizes.iter().filter(|(op, _)| *op < self.last).count(),
            // In its own time, whatever became of the data.
            Data::Writes | Data::Sectors(_) if self.draw.in_eight(self.share) => sizes,
            Data::Writes | Data::Sectors(_) => self.draw.place(sizes + 1),
        };
        kept.checked_sub(1).and_then(|at| file.sizes.get(at)).map_or(file.durable.len(), |(_, size)| *size)
    }
}

/// Counts what became of writes.
#[derive(Default)]
struct Tally {
    dropped: u64,
    /// Of each write: whether a part is there, whether a part is not.
    parts: BTreeMap<usize, (bool, bool)>,
}

impl Tally {
    fn note(&mut self, op: usize, is_there: bool) {
        let parts = self.parts.entry(op).or_default();
        if is_there {
            parts.0 = true;
        } else {
            parts.1 = true;
            self.dropped += 1;
        }
    }

    fn losses(&self) -> Losses {
        let mut losses = Losses { dropped: self.dropped, ..Losses::default() };
        let mut is_one_missing = false;
        for (there, missing) in self.parts.values() {
            losses.torn += u64::from(*there && *missing);
            losses.reordered += u64::from(*there && is_one_missing);
            is_one_missing |= *missing;
        }
        losses
    }
}
