//! A parcel: one publish, encoded, with what must be known when its PUBACK comes.

use bytes::Bytes;

use crate::store::Seq;

/// The most bytes of payload that the encoder puts into one parcel before it begins the next.
pub const TARGET_PAYLOAD: usize = 60 * 1024;
/// What a packet may take beside [`TARGET_PAYLOAD`]: topic, properties, and the record that went over.
pub const ROOM_BESIDE: usize = 8 * 1024;

/// The ways to the broker, the most urgent first. `Live` and `Backlog` both carry the vital lane:
/// what was committed since the connection came up, and what waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// The alarm lane.
    Alarm,
    /// Vital, fresh.
    Live,
    /// Vital, waiting.
    Backlog,
    /// The bulk lane.
    Bulk,
}

impl Stream {
    /// All streams, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Alarm, Self::Live, Self::Backlog, Self::Bulk];
}

/// One publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The block whose records it carries.
    pub block: Seq,
    /// Which way it goes.
    pub stream: Stream,
    /// Whether no further parcel of this block follows.
    pub last: bool,
    /// Where it goes.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// How that is written.
    pub format: Format,
    /// How many records it carries.
    pub count: u32,
    /// The idempotency keys of its first and last record.
    pub keys: (String, String),
    /// Whether its records are live or held back.
    pub age: Age,
}

/// How a payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// FHIR R4 as JSON.
    Fhir,
    /// CBOR by `observations.cddl`.
    Cbor,
    /// OCSF as JSON: events.
    Ocsf,
}

/// Whether records are live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Of the vital lane: committed since the connection came up. Of the others: read moments ago.
    Live,
    /// Held back by an outage or a restart: user property `hist=1`.
    Historical,
}
