//! The spool: what was admitted stays here until the broker has it.
//!
//! In: blocks ([`PlainBlock`](crate::envelope::block::PlainBlock)), sealed here with the key of the
//! segment they go to. Out: their [`Seq`] once they are durable (fsync), the blocks again in order
//! for the uplink, and the disk space back once they are acknowledged.
//!
//! What never happens: a commit is reported that a power cut could undo; plaintext or a key touches
//! the disk; a broken segment keeps the daemon from starting.

use std::path::PathBuf;
use std::time::Duration;

use crate::device::observation::Lane;
use crate::envelope::block::PlainBlock;
use crate::time::Now;

/// The store's part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder.
    pub folder: PathBuf,
    /// The most bytes it may use, overhead included.
    pub cap: u64,
    /// How many of them only the alarm lane may use.
    pub alarm_reserve: u64,
    /// The longest that a commit of the vital and bulk lanes waits for more records.
    pub linger: Duration,
}

/// The place of a committed block: proof that it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq {
    /// The lane.
    pub lane: Lane,
    /// The segment's number within its lane, from 1.
    pub segment: u64,
    /// The block's index within its segment, from 0.
    pub block: u32,
}

/// The random id of a store, made when it is first used.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not made yet.
    #[error("not made yet")]
    Stub,
}

/// The side that writes: held by the one intake task.
pub struct Writer {
    _stub: (),
}

/// The side that reads: held by the uplink's feeder.
pub struct Reader {
    _stub: (),
}

impl Writer {
    /// Seals and stores one block. When this returns, no power cut undoes it. Wakes the readers of
    /// [`Reader::commits`].
    pub fn append(&mut self, lane: Lane, block: &PlainBlock, now: Now) -> Result<Seq, StoreError> {
        let _ = (lane, block, now);
        Err(StoreError::Stub)
    }
}

impl Reader {
    /// The id that goes into every idempotency key.
    pub fn store_id(&self) -> StoreId {
        StoreId([0; 16])
    }

    /// The next block of a lane that was not yet given since the last [`Reader::rewind`]; `None`
    /// when the lane is drained.
    pub fn read_next(&mut self, lane: Lane) -> Result<Option<(Seq, PlainBlock)>, StoreError> {
        let _ = lane;
        Err(StoreError::Stub)
    }

    /// The broker has every record of this block. In any order; disk space comes back when
    /// everything before it in its segment is acknowledged too.
    pub fn acknowledge(&mut self, seq: Seq) -> Result<(), StoreError> {
        let _ = seq;
        Err(StoreError::Stub)
    }

    /// Begins every lane again at its oldest unacknowledged block: after a lost connection.
    pub fn rewind(&mut self) {}

    /// Counts commits: changes whenever there is something new to read.
    pub fn commits(&self) -> tokio::sync::watch::Receiver<u64> {
        tokio::sync::watch::channel(0).1
    }
}
