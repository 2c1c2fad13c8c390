//! The canonical record: explicit little-endian bytes, version first (`FORMAT.md`).

use crate::device::observation::{Lane, Observation};
use crate::time::{Now, Wall};

/// One thing that is stored and sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// An observation.
    Observation(Record),
    /// Word of observations that had to be dropped.
    Gap(Gap),
}

/// An observation as read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The device's place in the block header's list.
    pub device: u16,
    /// Its number within device and run.
    pub seq: u64,
    /// When the gateway knew.
    pub at: Now,
    /// What.
    pub observation: Observation,
}

/// What was dropped: never silently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The lane that lost it.
    pub lane: Lane,
    /// How many records.
    pub count: u64,
    /// Wall time of the first.
    pub first: Wall,
    /// Wall time of the last.
    pub last: Wall,
    /// Why, in words.
    pub reason: String,
}

/// The bytes are not a record or block of a version that this program knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes end too early.
    #[error("the bytes end too early")]
    End,
    /// An unknown format version.
    #[error("format version {0} is not known to this program")]
    Version(u8),
    /// A field has a value that no version of this program wrote.
    #[error("field {0} has an impossible value")]
    Field(&'static str),
}
