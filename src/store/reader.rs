//! The side that reads.
//!
//! In: what the broker acknowledged. Out: the blocks of each lane in order; those of the vital lane in
//! two streams, parted by a *mark* where the lane ended at the last rewind (at first: at the open):
//! what waited before it, and live what was committed since. What can go wrong: a
//! block is gone or does not authenticate; then it is skipped, its segment is set aside when
//! everything else in it is done, and a gap record tells of it. What never happens: sled is given a
//! file to open. Only the segment that is being written is read through it; all others are read by
//! their chunks (`raw.rs`), where no byte can hang, crash or exhaust the program. A closed segment whose
//! file is not, byte for byte, what it was is reported and goes to quarantine, also when nothing of
//! it is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::chunk::{self, Label};
use super::cursor_pace::Pace;
use super::engine::{Engine, database_file};
use super::raw::RawSegment;
use super::recover::Held;
use super::segment::{Ending, Footer, Header, Unsound};
use super::shared::{Live, Loss, Next, Shared, Then};
use super::stats::{Depth, Stats};
use super::{Seq, StoreError, StoreId};
use crate::device::observation::Lane;
use crate::envelope::block::PlainBlock;
use crate::envelope::keys::SegmentKeys;
use crate::envelope::record::Gap;
use crate::envelope::seal::Place;
use crate::time::Wall;

/// The side that reads: held by the uplink's feeder.
pub struct Reader {
    pub(super) shared: Arc<Shared>,
    _held: Arc<Held>,
    lanes: [Position; 3],
    /// Where the vital lane is read from its mark on.
    live: Position,
    /// What of the vital lane comes before this is backlog, the rest is live.
    mark: Mark,
    /// What was given out and is not acknowledged: records and commit time of each block. Bounded by
    /// what the uplink has in flight; a rewind gives the same blocks again.
    given: BTreeMap<Seq, (u64, Wall)>,
}

/// A place in a lane: segment and block.
type Mark = (u64, u32);

/// A way through a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From the oldest on; in the vital lane up to the mark.
    Along(Lane),
    /// The vital lane from the mark on.
    Live,
}

/// Where a lane is read.
#[derive(Default)]
struct Position {
    segment: u64,
    block: u32,
    open: Option<Open>,
}

/// A segment that is open for reading.
#[derive(Clone)]
struct Open {
    number: u64,
    /// Shared when both ways through the vital lane stand in one segment: its file is read once.
    source: Arc<Source>,
}

enum Source {
    /// The one that is being written: the writer's own handle.
    Live(Arc<Live>),
    /// Any other.
    Raw(Box<(RawSegment, SegmentKeys)>),
    /// Its header, and so its key, is gone.
    Nothing,
}

impl Source {
    fn keys(&self) -> Option<&SegmentKeys> {
        match self {
            Self::Live(live) => Some(&live.keys),
            Self::Raw(closed) => Some(&closed.1),
            Self::Nothing => None,
        }
    }

    fn block(&self, block: u32) -> Option<(Label, Vec<u8>)> {
        match self {
            Self::Live(live) => read_block(&*live.engine, block),
            Self::Raw(closed) => closed.0.block(block),
            Self::Nothing => None,
        }
    }
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, held: Arc<Held>) -> Self {
        let mut reader = Self {
            shared,
            _held: held,
            lanes: Default::default(),
            live: Position::default(),
            mark: Mark::default(),
            given: BTreeMap::new(),
        };
        reader.rewind();
        reader
    }

    /// The id that goes into every idempotency key.
    pub fn store_id(&self) -> StoreId {
        self.shared.store
    }

    /// The next block of a lane that was not yet given since the last [`Reader::rewind`]; `None`
    /// when the lane is drained. Of the vital lane only what was committed before that rewind (or, when
    /// there was none, before the store was opened): the rest comes by [`Reader::read_live`].
    pub fn read_next(&mut self, lane: Lane) -> Result<Option<(Seq, PlainBlock)>, StoreError> {
        self.read_along(Way::Along(lane))
    }

    /// The next block of the vital lane that was committed since the last [`Reader::rewind`] (or the
    /// open) and not yet given: ahead of what still waits before it.
    pub fn read_live(&mut self) -> Result<Option<(Seq, PlainBlock)>, StoreError> {
        self.read_along(Way::Live)
    }

    fn read_along(&mut self, way: Way) -> Result<Option<(Seq, PlainBlock)>, StoreError> {
        loop {
            let Some(Next { seq, live }) = self.find_next(way) else {
                // A handle on a segment that is not written any more would hold its memory.
                self.position(way).open = None;
                return Ok(None);
            };
            self.open(seq, live)?;
            let position = self.position(way);
            (position.segment, position.block) = (seq.segment, seq.block.saturating_add(1));
            match self.read(seq)? {
                Some((label, block)) => {
                    let records = u64::from(label.count);
                    self.given.insert(seq, (records, Wall::from_millis(label.wall)));
                    return Ok(Some((seq, block)));
                }
                None => self.lose(seq),
            }
        }
    }

    /// The next block on a way that is to be read.
    fn find_next(&mut self, way: Way) -> Option<Next> {
        let lane = match way {
            Way::Along(lane) => lane,
            Way::Live => Lane::Vital,
        };
        let &mut Position { segment, block, .. } = self.position(way);
        let next = self.shared.lane(lane).next(lane, segment, block)?;
        (self.way_to(next.seq) == way).then_some(next)
    }

    /// The broker has every record of this block. In any order; disk space comes back when
    /// everything before it in its segment is acknowledged too.
    pub fn acknowledge(&mut self, seq: Seq) -> Result<(), StoreError> {
        let given = self.given.remove(&seq);
        let is_drained = {
            let mut state = self.shared.lane(seq.lane);
            // A segment that is not there was dropped, or is done and gone: nothing is left to do.
            let Some(entry) = state.segments.get_mut(&seq.segment) else { return Ok(()) };
            if entry.is_done(seq.block) {
                return Ok(());
            }
            let Some((records, wall)) = given else { return Err(StoreError::NotGiven { seq }) };
            entry.finish(seq.block, records);
            entry.newest_done = entry.newest_done.max(Some(wall));
            let is_drained = entry.is_closed && entry.is_drained();
            // Live blocks are done long before older ones: what is done beyond the first that waits says
            // nothing of how long that has waited.
            let newest = if entry.done_beyond.is_empty() { entry.newest_done } else { Some(wall) };
            let is_first = seq.block < entry.done_through;
            if is_first && state.segments.first_key_value().is_some_and(|(first, _)| *first == seq.segment) {
                state.done_wall = newest;
            }
            is_drained
        };
        if is_drained {
            self.let_go(seq.lane);
            self.shared.retire(seq.lane).map_err(|e| StoreError::io("deleting a drained segment", e))?;
        }
        self.shared
            .save_cursor(seq.lane, Pace::Lazy)
            .map_err(|e| StoreError::io("writing a lane's cursor", e))
    }

    /// Begins every lane again at its oldest unacknowledged block, and marks the end of the vital lane:
    /// after a lost connection.
    pub fn rewind(&mut self) {
        for position in &mut self.lanes {
            (position.segment, position.block) = (0, 0);
        }
        let newest =
            self.shared.lane(Lane::Vital).segments.last_key_value().map(|(segment, e)| (*segment, e.blocks));
        // Without segments, all that will come is live.
        self.mark = newest.unwrap_or_default();
        (self.live.segment, self.live.block) = self.mark;
    }

    /// Counts commits: changes whenever there is something new to read.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.shared.commits.subscribe()
    }

    /// How much of a lane waits for its acknowledgement.
    pub fn depth(&self, lane: Lane) -> Depth {
        self.stats().depth(lane)
    }

    /// A handle on the store's numbers.
    pub fn stats(&self) -> Stats {
        Stats { shared: Arc::clone(&self.shared) }
    }

    /// Writes how far each lane is done. Without it the same is written about once a second while
    /// acknowledgements come in; what is not written is sent again after a restart.
    pub fn save(&mut self) -> Result<(), StoreError> {
        for lane in Lane::ALL {
            self.shared
                .save_cursor(lane, Pace::AtOnce)
                .map_err(|e| StoreError::io("writing a lane's cursor", e))?;
        }
        Ok(())
    }

    fn position(&mut self, way: Way) -> &mut Position {
        let [alarm, vital, bulk] = &mut self.lanes;
        match way {
            Way::Along(Lane::Alarm) => alarm,
            Way::Along(Lane::Vital) => vital,
            Way::Along(Lane::Bulk) => bulk,
            Way::Live => &mut self.live,
        }
    }

    /// On which way a block lies.
    fn way_to(&self, seq: Seq) -> Way {
        let is_live = seq.lane == Lane::Vital && (seq.segment, seq.block) >= self.mark;
        if is_live { Way::Live } else { Way::Along(seq.lane) }
    }

    /// Every way through a lane.
    fn ways_through(&mut self, lane: Lane) -> impl Iterator<Item = &mut Position> {
        let [alarm, vital, bulk] = &mut self.lanes;
        let (along, live) = match lane {
            Lane::Alarm => (alarm, None),
            Lane::Vital => (vital, Some(&mut self.live)),
            Lane::Bulk => (bulk, None),
        };
        std::iter::once(along).chain(live)
    }

    /// Closes what there is nothing more to read of, before its folder goes.
    fn let_go(&mut self, lane: Lane) {
        let shared = Arc::clone(&self.shared);
        let is_over = |open: &mut Open| {
            let state = shared.lane(lane);
            state.segments.get(&open.number).is_none_or(|entry| entry.is_closed && entry.is_drained())
        };
        for position in self.ways_through(lane) {
            position.open.take_if(is_over);
        }
    }

    /// Has the segment of a block open.
    fn open(&mut self, seq: Seq, live: Option<Arc<Live>>) -> Result<(), StoreError> {
        let way = self.way_to(seq);
        let is_live = live.is_some();
        // What was opened while it was written is closed by now: it is read by its chunks from here on.
        let is_it = |open: &&Open| {
            open.number == seq.segment && (is_live || !matches!(*open.source, Source::Live(_)))
        };
        if self.position(way).open.as_ref().is_some_and(|open| is_it(&open)) {
            return Ok(());
        }
        // The old one first: at most one for each way is open, and the writer's.
        self.position(way).open = None;
        let other = self.ways_through(seq.lane).find_map(|position| position.open.as_ref().filter(is_it));
        let open = match (other, live) {
            (Some(other), _) => other.clone(),
            (None, Some(live)) => Open { number: seq.segment, source: Arc::new(Source::Live(live)) },
            (None, None) => {
                let source = open_closed(&self.shared, seq);
                let source = source.map_err(|e| StoreError::io("opening a segment", e))?;
                Open { number: seq.segment, source: Arc::new(source) }
            }
        };
        self.position(way).open = Some(open);
        Ok(())
    }

    /// Reads and opens one block; by its chunks when through the engine that fails. `None` when it is lost.
    fn read(&mut self, seq: Seq) -> Result<Option<(Label, PlainBlock)>, StoreError> {
        let store = self.shared.store;
        let way = self.way_to(seq);
        let Some(source) = self.position(way).open.as_ref().map(|open| Arc::clone(&open.source)) else {
            return Ok(None);
        };
        if let Some(found) = unseal(&source, store, seq) {
            return Ok(Some(found));
        }
        if !matches!(*source, Source::Live(_)) {
            return Ok(None);
        }
        let raw = open_closed(&self.shared, seq);
        let raw = raw.map_err(|e| StoreError::io("reading a damaged segment", e))?;
        Ok(unseal(&raw, store, seq))
    }

    /// A block that cannot be read: skipped, and told of by the writer.
    fn lose(&mut self, seq: Seq) {
        let way = self.way_to(seq);
        let known = self.position(way).open.as_ref().and_then(|open| {
            if let Source::Raw(closed) = &*open.source { closed.0.label(seq.block) } else { None }
        });
        let gap = {
            let mut state = self.shared.lane(seq.lane);
            let Some(entry) = state.segments.get_mut(&seq.segment) else { return };
            entry.lost.insert(seq.block);
            entry.is_damaged = true;
            // What its label says, else as many as its neighbours hold.
            let mean = entry.records.div_ceil(u64::from(entry.blocks.max(1)));
            Gap {
                lane: seq.lane,
                count: known.map_or(mean, |label| u64::from(label.count)),
                first: known.map_or(entry.first, |label| Wall::from_millis(label.wall)),
                last: known.map_or(entry.last, |label| Wall::from_millis(label.wall)),
                reason: format!("segment {} is damaged", seq.segment),
            }
        };
        self.shared.note_fault(&format_args!("block {seq} cannot be read: it is reported as a gap"));
        let then = Then::Finish { segment: seq.segment, blocks: BTreeSet::from([seq.block]) };
        self.shared.lose(Loss { gap, then });
        // Whoever waits for commits learns that there is something to be told.
        self.shared.commits.send_modify(|commits| *commits = commits.wrapping_add(1));
    }
}

/// How far everything is done is worth a write: it spares sending again.
impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.save();
    }
}

/// Every chunk of a block, by key.
fn read_block(engine: &dyn Engine, block: u32) -> Option<(Label, Vec<u8>)> {
    let first = engine.get(chunk::key(block, 0)).ok()??;
    let chunks = chunk::chunks_of(chunk::parse(&first)?.label.total);
    let mut values = vec![first];
    for index in 1..chunks {
        values.push(engine.get(chunk::key(block, index)).ok()??);
    }
    chunk::join(values.iter().map(|value| chunk::parse(value)))
}

fn unseal(source: &Source, store: StoreId, seq: Seq) -> Option<(Label, PlainBlock)> {
    let (label, sealed) = source.block(seq.block)?;
    Some((label, open_block(source.keys()?, store, seq, (label, &sealed))?))
}

/// Opens a sealed block at its place; `None` when it is not what was sealed there.
pub(super) fn open_block(
    keys: &SegmentKeys,
    store: StoreId,
    seq: Seq,
    (label, sealed): (Label, &[u8]),
) -> Option<PlainBlock> {
    let Label { block, count, wall, .. } = label;
    let place = Place { store: store.0, lane: seq.lane, segment: seq.segment, block, count, wall };
    let opened = keys.data.open(&place, sealed).ok()?;
    (block == seq.block).then_some(opened)
}

/// Opens a segment by its chunks, and looks whether it is what it was when it was closed.
fn open_closed(shared: &Shared, seq: Seq) -> io::Result<Source> {
    let folder = shared.segment_folder(seq.lane, seq.segment);
    let Some(keys) = keys_of(shared, &folder, seq)? else { return Ok(Source::Nothing) };
    let raw = match RawSegment::scan(&database_file(&folder)) {
        Ok(raw) => raw,
        Err(error) if is_passing(&error) => return Err(error),
        Err(_) => return Ok(Source::Nothing),
    };
    let footer = Footer::read(&folder, &keys);
    if let Ok(Footer { ending: Ending::Clean { length, sum }, .. }) = footer
        && raw.measured() != (length, sum)
    {
        let Seq { lane, segment, .. } = seq;
        shared.note_damage(lane, segment, "its database file is not what it was when it was closed");
    }
    Ok(Source::Raw(Box::new((raw, keys))))
}

/// The segment's keys; `None` when its header cannot be trusted.
fn keys_of(shared: &Shared, folder: &Path, seq: Seq) -> io::Result<Option<SegmentKeys>> {
    match Header::open(folder, &shared.ring, (shared.store, seq.lane, seq.segment)) {
        Ok(opened) => Ok(Some(opened.keys)),
        Err(Unsound::Io(error)) if is_passing(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Errors of the moment, which say nothing of the file: no memory, no descriptors.
fn is_passing(error: &io::Error) -> bool {
    // EMFILE and ENFILE have no kind of their own; the path is added to the text, the code is lost,
    // so what is not clearly the file's fault is taken as passing.
    !matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidData
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::InvalidInput
    )
}
