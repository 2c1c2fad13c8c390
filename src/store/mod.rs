//! The spool: what was admitted stays here until the broker has it.
//!
//! In: blocks ([`PlainBlock`](crate::envelope::block::PlainBlock)), sealed here with the key of the
//! segment they go to. Out: their [`Seq`] once they are durable (fsync), the blocks
//! again in order for the uplink, and the disk space back once they are acknowledged.
//!
//! What can go wrong: [`StoreError`]; none of them loses what was reported
//! durable. What is found damaged is set aside, what authenticates in it is still sent, and a gap
//! record tells of the rest.
//!
//! What never happens: a commit is reported that a power cut could undo; plaintext or a key touches
//! the disk; a broken segment keeps the daemon from starting; a key or an identity is made anew
//! while there is data.
//!
//! How it is built: each lane is a chain of *segments*, each a small sled database in a folder of
//! its own with a data key of its own. A segment is written by one start of the daemon and never
//! opened for writing again. When every block of it is acknowledged, its folder is deleted, and with
//! it the only copy of its key.
#![doc = include_str!("FORMAT.md")]

mod anchor;
mod chunk;
mod cursor_pace;
mod engine;
pub mod erase;
mod folders;
pub mod inspect;
mod raw;
mod reader;
mod rebuild;
mod recover;
mod room;
mod rotation;
mod segment;
mod shared;
mod state_file;
mod stats;
mod stock;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ring::rand::SecureRandom;

use crate::device::observation::Lane;
use crate::envelope::keys::{KekId, KeyRing};
use crate::envelope::record::Gap;
use crate::envelope::seal::SealError;
use crate::time::{BootId, Now};

pub use anchor::beside as anchor_beside;
pub use anchor::{allowlist_beside, inventory_beside, records_beside};
pub use reader::Reader;
pub use recover::{may_be_bounded, volume_free, volume_size};
pub use stats::{Depth, Rotation, Snapshot, Stats};
pub use writer::Writer;

/// The store's part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder.
    pub folder: PathBuf,
    /// The file of the mark that an older copy of the folder does not bring back with it; outside of the
    /// folder. Without one such a copy is not noticed here.
    pub anchor: Option<PathBuf>,
    /// The most bytes it may use, overhead included.
    pub cap: u64,
    /// How many of them only the alarm lane may use.
    pub alarm_reserve: u64,
    /// The longest that a commit of the vital and bulk lanes waits for more records.
    pub linger: Duration,
}

/// When a segment is closed and the next one begun. What is lost with one broken file, how long a
/// start takes and how much memory a database holds are all bounded by these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of its database on disk.
    pub bytes: u64,
    /// Blocks.
    pub blocks: u32,
    /// Time since its first block.
    pub age: Duration,
    /// Bytes at which a segment of which everything is acknowledged is closed, so that it can go.
    pub drained_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // sled keeps what it holds of an open database in memory, so this bounds memory too.
            bytes: 8 * 1024 * 1024,
            blocks: 10_000,
            age: Duration::from_secs(3_600),
            drained_bytes: 4 * 1024 * 1024,
        }
    }
}

/// The least that a cap must leave beside the alarm reserve: room for a few segments of the smallest
/// size in each lane.
pub const LEAST_ROOM: u64 = 16 * 1024 * 1024;

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

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.lane, self.segment, self.block)
    }
}

/// The random id of a store, made when it is first used.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

/// 32 hex digits.
impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreId({self})")
    }
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The configuration cannot be met.
    #[error("the store cannot be opened: {0}")]
    Config(String),
    /// Another process has it open.
    #[error("store {folder} is in use by another process: stop that one first")]
    Locked {
        /// The store's folder.
        folder: PathBuf,
    },
    /// There is data but nothing that says whose it is.
    #[error(
        "store identity {path} cannot be used: {reason}; put the file back from a copy of this store, or move \
         the whole store folder away to begin a new one (what it holds is then not sent)"
    )]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The data was written under another key.
    #[error(
        "the store was written under key {store}, and key {given} was given: give the key that it was written \
         under, or move the whole store folder away to begin a new one (what it holds is then not sent)"
    )]
    WrongKey {
        /// The key that is needed.
        store: KekId,
        /// The key that was given.
        given: KekId,
    },
    /// The store is being moved from one key to another, and only the new one was given.
    #[error(
        "the store is being moved to key {store}, and part of it is still under key {needed}: give that one as \
         the previous key until the status says that the move is done"
    )]
    PreviousKey {
        /// The key to which it is being moved.
        store: KekId,
        /// The key that is needed as well.
        needed: KekId,
    },
    /// Nothing more fits and nothing may be dropped for it. Nothing was stored; try again later.
    #[error("the store is full for lane {lane}: raise the cap, free space on the disk or connect the broker")]
    Full {
        /// The lane that has no room.
        lane: Lane,
    },
    /// The disk failed. Nothing is reported durable that is not; the next commit begins a segment.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A block could not be sealed.
    #[error("sealing failed: {0}")]
    Seal(#[from] SealError),
    /// An acknowledgement for a block that was not given out.
    #[error("block {seq} was not given out, so it cannot be acknowledged")]
    NotGiven {
        /// The block.
        seq: Seq,
    },
}

impl StoreError {
    /// Whether there is no room: intake reports it and tries again.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Io { .. } | Self::Seal(_))
    }

    /// Whether a person must act before the store can be opened.
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::Locked { .. }
                | Self::Identity { .. }
                | Self::WrongKey { .. }
                | Self::PreviousKey { .. }
        )
    }

    fn io(what: &'static str, source: io::Error) -> Self {
        Self::Io { what, source }
    }
}

/// What was found when the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the store was made just now.
    pub is_new: bool,
    /// Segments that hold something not yet acknowledged.
    pub segments: u64,
    /// Their blocks that are not acknowledged.
    pub blocks: u64,
    /// The records in these.
    pub records: u64,
    /// Segments without a footer: the last start did not end in order.
    pub unclosed: u64,
    /// What was lost; a gap record of each is in the store, or will be with the next commit.
    pub gaps: Vec<Gap>,
    /// What was damaged or did not belong, in words.
    pub faults: Vec<String>,
    /// Segments that end in the middle of a commit, in words: a power cut leaves that, and nothing of it
    /// was ever reported as stored; a change since could look the same.
    pub torn: Vec<String>,
}

/// Whose a store says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The key that it is kept under.
    pub kek: KekId,
    /// The key under which part of it still is.
    pub previous: Option<KekId>,
}

/// Whose the store in a folder says that it is, without any key; `None` when there is no store. Only
/// reads, also beside a running daemon.
pub fn owner(folder: &Path) -> Result<Option<Owner>, StoreError> {
    state_file::owner(&folder.join("identity"))
}

/// A source of random bytes for keys.
pub type Random = Arc<dyn SecureRandom + Send + Sync>;

/// Opens the store, makes it when there is none, and takes stock of what is in it. Bounded in time
/// by the number of segments and the size of those that were not closed, whatever is in them.
pub fn open(
    config: &Config,
    keys: KeyRing,
    boot: BootId,
    now: Now,
    random: Random,
) -> Result<(Writer, Reader, Recovery), StoreError> {
    let limits = Limits::default();
    recover::open(recover::Setup { config, keys, boot, random, limits, disk: Arc::new(engine::Sled) }, now)
}

/// The same with other limits than the usual, for measurements.
pub fn open_with_limits(
    config: &Config,
    keys: KeyRing,
    (boot, now): (BootId, Now),
    random: Random,
    limits: Limits,
) -> Result<(Writer, Reader, Recovery), StoreError> {
    recover::open(recover::Setup { config, keys, boot, random, limits, disk: Arc::new(engine::Sled) }, now)
}
