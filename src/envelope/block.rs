//! A block: the canonical records of one group commit, before it is sealed and after it is opened.

use zeroize::Zeroizing;

use super::record::{Entry, FormatError};
use crate::policy::{Admitted, DeviceCard};
use crate::time::BootId;

/// The most records in one block.
pub const MAX_RECORDS: usize = 4_096;
/// The most bytes of records in one block, before compression.
pub const MAX_BYTES: usize = 256 * 1024;

/// What all records of a block have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The boot in which they were read.
    pub boot: BootId,
    /// The run of the daemon in which they were read (random): a device's sequence numbers count
    /// within it.
    pub run: u64,
    /// The devices; a record names one by its place here.
    pub devices: Vec<DeviceCard>,
}

/// Collects records up to the size of a block.
pub struct BlockBuilder {
    _todo: (),
}

impl BlockBuilder {
    /// An empty block.
    pub fn new(header: &BlockHeader) -> Self {
        let _ = header;
        Self { _todo: () }
    }

    /// Adds one record.
    pub fn push(&mut self, admitted: &Admitted) {
        let _ = admitted;
    }

    /// How many records it holds.
    pub fn count(&self) -> usize {
        0
    }

    /// Whether no further record fits for certain.
    pub fn is_full(&self) -> bool {
        false
    }

    /// The block's bytes; empties the builder for the next one.
    pub fn finish(&mut self) -> PlainBlock {
        PlainBlock { bytes: Zeroizing::new(Vec::new()), count: 0 }
    }
}

/// A block in the clear. Lives in memory only, and is wiped when dropped.
pub struct PlainBlock {
    bytes: Zeroizing<Vec<u8>>,
    count: u32,
}

impl PlainBlock {
    /// How many records it holds.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Reads header and records.
    pub fn read(&self) -> Result<(BlockHeader, Vec<Entry>), FormatError> {
        let _ = &self.bytes;
        Err(FormatError::End)
    }
}
