//! From the spool to the broker, and the acknowledgement back.
//!
//! In: blocks of the spool. Out: PUBACK 0x00 for every publish made of a block, and only then the
//! block's acknowledgement to the spool. What the broker refuses stays.
//!
//! ```text
//!  store ──▶ feeder ──▶ session ──▶ mqtt ──▶ broker
//!           (thread)    decides    PUBACK ──▶ session ──▶ feeder ──▶ store
//! ```
//!
//! [`assemble`] puts the parts together; its caller runs them. What can go wrong is in [`Status`], in
//! words, with the way out. What never happens: data is dropped here, a clear-text connection, an
//! alarm behind a backlog.

pub mod encode;
pub mod feeder;
pub mod heartbeat;
pub mod mqtt;
pub mod parcel;
pub mod post;
mod report;
pub mod run;
pub mod session;
pub mod status;
pub mod tls;
pub mod topic;
pub mod trouble;

pub use heartbeat::Heartbeat;
pub use post::{Letter, Notice, Post, PostEvent, PostOffice, Wanted, post};
pub use run::change::{Handle, NotTaken};
pub use run::{Alive, Stop, Surroundings, Uplink, Vitals, assemble};
pub use status::{State, Status};

use std::path::PathBuf;
use std::time::Duration;

use crate::backoff::Bounds;
use crate::envelope::keys::KeyPlace;

/// The uplink's part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The broker's host name: also what its certificate must say.
    pub host: String,
    /// The broker's port.
    pub port: u16,
    /// Organisation, group and gateway: the first levels of every topic. `[a-z0-9-]{1,32}` each;
    /// the gateway's is the client id.
    pub organisation: String,
    /// See `organisation`.
    pub group: String,
    /// See `organisation`.
    pub gateway: String,
    /// PEM file with the certificates of the authorities that the broker's may come from.
    pub authorities: PathBuf,
    /// PEM file with this gateway's certificate chain.
    pub certificate: PathBuf,
    /// This gateway's private key: a PEM file, or in a token.
    pub key: KeyPlace,
    /// Revocation lists for the broker's chain.
    pub revocation: tls::Lists,
    /// How observations are written.
    pub payload: Payload,
    /// Whether a publish that nobody subscribes to (PUBACK 0x10) is kept.
    pub subscriber: Subscriber,
    /// The most publishes in flight; the broker's receive maximum may be less.
    pub window: u16,
    /// MQTT keep-alive.
    pub keep_alive: Duration,
    /// How long the oldest publish in flight may wait for its PUBACK before the connection is torn
    /// down as wedged.
    pub stalled_after: Duration,
    /// How often the gateway says how it is.
    pub heartbeat: Duration,
    /// How to come back after a failure.
    pub backoff: Bounds,
}

/// How observations are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// `application/fhir+json; fhirVersion=4.0`.
    Fhir,
    /// `application/cbor`, by the CDDL in `encode/`.
    Cbor,
}

/// Whether somebody must be subscribed to what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscriber {
    /// PUBACK 0x10 keeps the data and raises `no_consumer`.
    Required,
    /// PUBACK 0x10 is as good as 0x00: a rules engine of the broker consumes.
    Optional,
}
