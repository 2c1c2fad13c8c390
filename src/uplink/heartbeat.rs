//! The heartbeat: how the gateway is, for the fleet; and how far its store has come, so that somebody who
//! put an older copy of the store back is noticed off the box.
//!
//! In: what the gateway says of itself and what the uplink counted. Out: one JSON object, retained on
//! `s/v1/{organisation}/{group}/{gateway}/heartbeat`, when the connection comes up, every
//! `uplink.heartbeat`, and when the daemon ends in order. What never happens: a word of a patient, a
//! reading or a device is in it; a heartbeat waits behind another one; it goes before an alarm.
//!
//! ```json
//! {
//!   "schema": "wardline-heartbeat/1",     fields are added, never renamed or given another meaning
//!   "gateway": "gw-icu-2-03", "version": "0.1.0",
//!   "boot": "32 hex digits", "run": "16 hex digits", "uptime_ms": 60012,
//!   "time": "2026-11-22T04:36:40.123Z", "time_synced": true, "time_max_error_us": 4000,
//!   "key_protection": "file",             or "credential", "pkcs11"
//!   "kek": "16 hex digits",               the id of the key that the store is kept under
//!   "rotation_pending": false,            whether part of it still is under the one before
//!   "certificate": {"valid_until": "2027-02-20T04:36:40.000Z", "renewal": "good", "alarm": "none"},
//!                                         null: this gateway renews none; words as in `wardline status --json`
//!   "store": {"id": "32 hex digits", "cap": 4294967296, "bytes": 1048576,
//!             "quarantined": 0,           segments, since the start
//!             "dropped": 0,               records, since the start; a gap record tells of each
//!             "faults": 0,                things found that are not as they were left
//!             "last_fault": null},        in words
//!   "lanes": [{"lane": "alarm",           then "vital", "bulk"
//!              "newest": {"segment": 7, "head": "64 hex digits"},   null: never a segment
//!              "found": {"segment": 6, "head": "64 hex digits"},    the same when this run opened the store
//!              "blocks": 0, "records": 0, "bytes": 0,               waiting for the broker
//!              "oldest_age_ms": null}, ...],
//!   "uplink": {"connections": 1, "published": 10, "acknowledged": 10, "records": 400, "refused": 0,
//!              "refused_blocks": 0, "in_flight": 0, "held_topics": 0, "no_consumer": false,
//!              "certificate_days_left": 80}                         since the start; null: not known
//! }
//! ```
//!
//! A head is the hash over a lane's newest segment and all before it (`src/store/FORMAT.md`). What a
//! consumer may count on: within a run `newest.segment` never shrinks and no earlier head comes back; and
//! what a new run `found` is not older than the newest that the run before it told of.

use bytes::Bytes;
use serde::Serialize;

use super::Status;

/// The name of this shape.
pub const SCHEMA: &str = "wardline-heartbeat/1";
/// The longest word on a fault, in characters.
const MAX_FAULT: usize = 200;

/// How the gateway is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Heartbeat {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The gateway's id.
    pub gateway: String,
    /// The daemon's version.
    pub version: &'static str,
    /// The kernel's id of this boot, hex.
    pub boot: String,
    /// This run of the daemon, hex.
    pub run: String,
    /// How long it has been running.
    pub uptime_ms: u64,
    /// The wall time, RFC 3339.
    pub time: String,
    /// Whether the kernel says that it follows a reference.
    pub time_synced: bool,
    /// The kernel's maximum error of it.
    pub time_max_error_us: u32,
    /// How the KEK is protected.
    pub key_protection: &'static str,
    /// Its id.
    pub kek: String,
    /// Whether part of the store is still under another.
    pub rotation_pending: bool,
    /// The certificate that the gateway renews by itself.
    pub certificate: Option<Certificate>,
    /// The store.
    pub store: Store,
    /// The lanes, the most urgent first.
    pub lanes: Vec<Lane>,
    /// The uplink's own part; filled in by it.
    pub uplink: Counters,
}

/// A certificate that is renewed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Until when it is valid, RFC 3339.
    pub valid_until: String,
    /// Where its renewal stands: `good`, `due`, `waiting`, `failed`, `trying` or `fallback`.
    pub renewal: &'static str,
    /// How worrying its age is: `none`, `soon`, `urgent` or `expired`.
    pub alarm: &'static str,
}

/// The store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Store {
    /// Its id.
    pub id: String,
    /// The most bytes it may use.
    pub cap: u64,
    /// The bytes that it uses.
    pub bytes: u64,
    /// Segments moved to quarantine since the start.
    pub quarantined: u64,
    /// Records dropped or lost since the start.
    pub dropped: u64,
    /// How often something was found that is not as it was left.
    pub faults: u64,
    /// The last of them, or of what failed.
    pub last_fault: Option<String>,
}

/// One lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// Its name.
    pub lane: &'static str,
    /// How far it has come.
    pub newest: Option<Head>,
    /// How far it had come when this run opened it.
    pub found: Option<Head>,
    /// Blocks that wait for the broker.
    pub blocks: u64,
    /// Records in them.
    pub records: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// How long ago the oldest was committed.
    pub oldest_age_ms: Option<u64>,
}

/// A place in a lane's chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The segment's number.
    pub segment: u64,
    /// The hash over it and all before it, hex.
    pub head: String,
}

/// What the uplink counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// How often a connection came up.
    pub connections: u64,
    /// Publishes started, repeats included.
    pub published: u64,
    /// Publishes that the broker has.
    pub acknowledged: u64,
    /// Records in them.
    pub records: u64,
    /// Publishes that the broker did not take; one that nobody subscribes to only where it waits for a subscriber.
    pub refused: u64,
    /// Blocks that the broker refuses for good.
    pub refused_blocks: u64,
    /// Publishes that wait for their PUBACK.
    pub in_flight: usize,
    /// Topics that the broker refuses at the moment; the first few.
    pub held_topics: usize,
    /// Whether nobody is subscribed to some of them.
    pub no_consumer: bool,
    /// Days until this gateway's certificate expires.
    pub certificate_days_left: Option<i64>,
}

impl Counters {
    fn of(status: &Status) -> Self {
        let lanes = || status.lanes.values();
        Self {
            connections: status.connections,
            published: lanes().map(|lane| lane.published).sum(),
            acknowledged: lanes().map(|lane| lane.acknowledged).sum(),
            records: lanes().map(|lane| lane.records).sum(),
            refused: status.refusals.values().sum(),
            refused_blocks: status.refused_blocks,
            in_flight: status.in_flight,
            held_topics: status.held.len(),
            no_consumer: status.no_consumer,
            certificate_days_left: status.certificate_days_left,
        }
    }
}

impl Heartbeat {
    /// As it is published.
    pub(super) fn encode(mut self, status: &Status) -> Bytes {
        self.schema = SCHEMA;
        self.uplink = Counters::of(status);
        self.store.last_fault = self.store.last_fault.map(|fault| fault.chars().take(MAX_FAULT).collect());
        // Text and numbers alone: there is nothing in it that JSON cannot say.
        serde_json::to_vec(&self).unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small_and_names_its_shape() {
        let lane = Lane {
            lane: "alarm",
            newest: Some(Head { segment: u64::MAX, head: "f".repeat(64) }),
            found: Some(Head { segment: u64::MAX, head: "f".repeat(64) }),
            ..Lane::default()
        };
        let store = Store { last_fault: Some("ä".repeat(10_000)), ..Store::default() };
        let beat = Heartbeat { lanes: vec![lane; 3], store, ..Heartbeat::default() };
        let bytes = beat.encode(&Status { connections: 3, ..Status::default() });
        assert!(bytes.len() < 4_096, "{} bytes", bytes.len());
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["schema"], SCHEMA);
        assert_eq!(json["uplink"]["connections"], 3);
        assert_eq!(json["store"]["last_fault"].as_str().unwrap().chars().count(), MAX_FAULT);
    }
}
