//! A stand-in for the store that keeps its blocks in memory, with the behaviour that the uplink relies
//! on: order within a lane, acknowledgement in any order, rewind to the oldest unacknowledged block.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::device::observation::Lane;
use crate::envelope::block::BlockHeader;
use crate::envelope::record::Entry;
use crate::store::{Seq, StoreId};
use crate::uplink::encode::Block;
use crate::uplink::feeder::{Read, Source, SourceError};

/// Both ends of the store; clones share it.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    commits: watch::Sender<u64>,
    ahead: Ahead,
}

/// Whether fresh blocks of the vital lane can be read ahead of waiting ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Everything comes in order.
    No,
    /// [`Source::read_live`] gives what was committed since the last rewind.
    Yes,
}

#[derive(Default)]
struct Inner {
    lanes: BTreeMap<Lane, LaneBlocks>,
    failing: bool,
}

#[derive(Default)]
struct LaneBlocks {
    blocks: BTreeMap<u32, Stored>,
    next: u32,
    cursor: u32,
    /// Where the live stream begins, and where it is read.
    mark: u32,
    live_from: u32,
}

struct Stored {
    header: Arc<BlockHeader>,
    entries: Vec<Entry>,
    given: bool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(ahead: Ahead) -> Self {
        Self { inner: Arc::default(), commits: watch::channel(0).0, ahead }
    }

    /// Commits a block.
    pub fn append(&self, lane: Lane, header: &Arc<BlockHeader>, entries: Vec<Entry>) -> Seq {
        let mut inner = self.lock();
        let blocks = inner.lanes.entry(lane).or_default();
        let block = blocks.next;
        blocks.next += 1;
        blocks.blocks.insert(block, Stored { header: Arc::clone(header), entries, given: false });
        drop(inner);
        self.commits.send_modify(|count| *count += 1);
        Seq { lane, segment: 1, block }
    }

    /// How many blocks are not acknowledged.
    pub fn waiting(&self) -> usize {
        self.lock().lanes.values().map(|lane| lane.blocks.len()).sum()
    }

    /// Resolves when this block is acknowledged.
    pub async fn acknowledged(&self, seq: Seq) {
        let mut changed = self.commits.subscribe();
        let holds =
            || self.lock().lanes.get(&seq.lane).is_some_and(|lane| lane.blocks.contains_key(&seq.block));
        while holds() {
            // Cannot end: the sender is in `self`.
            let _ = changed.changed().await;
        }
    }

    /// Resolves when every block is acknowledged.
    pub async fn drained(&self) {
        let mut changed = self.commits.subscribe();
        while self.waiting() > 0 {
            // Cannot end: the sender is in `self`.
            let _ = changed.changed().await;
        }
    }

    /// Has every read fail, or work again.
    pub fn fail(&self, failing: bool) {
        self.lock().failing = failing;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, lane: Lane, live: bool) -> Result<Option<Read>, SourceError> {
        let mut inner = self.lock();
        if inner.failing {
            return Err(SourceError("the memory is told to fail".to_owned()));
        }
        let Some(blocks) = inner.lanes.get_mut(&lane) else { return Ok(None) };
        let end = if live || lane != Lane::Vital || self.ahead == Ahead::No { u32::MAX } else { blocks.mark };
        let from = if live { blocks.live_from } else { blocks.cursor };
        let mut waiting = blocks.blocks.range_mut(from..end.max(from));
        let Some((number, stored)) = waiting.find(|(_, stored)| !stored.given) else {
            return Ok(None);
        };
        stored.given = true;
        let block = Block {
            seq: Seq { lane, segment: 1, block: *number },
            header: BlockHeader::clone(&stored.header),
            entries: stored.entries.clone(),
        };
        let next = *number + 1;
        if live {
            blocks.live_from = next;
        } else {
            blocks.cursor = next;
        }
        Ok(Some(Read::Block(block)))
    }
}

impl Source for MemoryStore {
    fn store_id(&self) -> StoreId {
        StoreId([0x5a; 16])
    }

    fn read_next(&mut self, lane: Lane) -> Result<Option<Read>, SourceError> {
        self.read(lane, false)
    }

    fn read_live(&mut self) -> Result<Option<Read>, SourceError> {
        match self.ahead {
            Ahead::Yes => self.read(Lane::Vital, true),
            Ahead::No => Ok(None),
        }
    }

    fn acknowledge(&mut self, seq: Seq) -> Result<(), SourceError> {
        if let Some(blocks) = self.lock().lanes.get_mut(&seq.lane) {
            blocks.blocks.remove(&seq.block);
        }
        self.commits.send_modify(|count| *count += 1);
        Ok(())
    }

    fn rewind(&mut self) {
        for blocks in self.lock().lanes.values_mut() {
            blocks.cursor = 0;
            (blocks.mark, blocks.live_from) = (blocks.next, blocks.next);
            blocks.blocks.values_mut().for_each(|stored| stored.given = false);
        }
    }

    fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }
}
