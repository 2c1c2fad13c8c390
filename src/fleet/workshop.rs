//! Documents of a small fleet, for the tests of this module.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::documents::{Bundle, Digest, Document as _, Role, Root, Stamp, Timestamp};
use super::dsse::Envelope;
use super::key::PrivateKey;
use super::trust::{Recipient, Trust};
use crate::time::{ClockSync, Mono, Now, Wall};

pub(super) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&Zeroizing::new([seed; 32]))
}

/// Three root keys, two of which sign; three config keys, two of which sign; one timestamp key.
pub(super) const ROOT: [u8; 3] = [1, 2, 3];
pub(super) const CONFIG: [u8; 3] = [11, 12, 13];
pub(super) const ONLINE: u8 = 21;

pub(super) fn role(seeds: &[u8], threshold: usize) -> Role {
    Role { keys: seeds.iter().map(|seed| key(*seed).public()).collect(), threshold }
}

pub(super) fn at(text: &str) -> Stamp {
    Stamp(Wall::read(text).unwrap())
}

pub(super) fn signed_by(payload_type: &str, payload: Vec<u8>, seeds: &[u8]) -> Vec<u8> {
    let mut envelope = Envelope::new(payload_type, payload);
    for seed in seeds {
        envelope.sign(&key(*seed));
    }
    envelope.to_bytes()
}

pub(super) fn root(version: u64, config: &[u8], online: u8, signers: &[u8]) -> Vec<u8> {
    let roles = [role(&ROOT, 2), role(config, 2), role(&[online], 1)];
    let root = Root::new("st-anna".to_owned(), version, at("2027-11-22"), roles).unwrap();
    signed_by(Root::PAYLOAD_TYPE, root.to_payload(), signers)
}

pub(super) fn bundle_of(change: impl FnOnce(&mut Value), signers: &[u8]) -> Vec<u8> {
    let mut bundle = json!({
        "schema": 1, "organisation": "st-anna", "group": "icu-3", "version": 7, "min_agent": "0.1.0",
        "not_before": "2026-11-01T00:00:00Z", "expires": "2027-11-01T00:00:00Z",
        "members": ["gw-1", "gw-2"], "settings": {}, "devices": [],
    });
    change(&mut bundle);
    signed_by(Bundle::PAYLOAD_TYPE, serde_json::to_vec(&bundle).unwrap(), signers)
}

pub(super) fn timestamp_of(bundle: &[u8], change: impl FnOnce(&mut Value), signer: u8) -> Vec<u8> {
    let mut timestamp = json!({
        "schema": 1, "organisation": "st-anna", "group": "icu-3", "version": 70,
        "issued_at": "2026-11-22T00:00:00Z", "expires": "2026-11-24T00:00:00Z",
        "head": { "version": 7, "sha256": Digest::of(bundle).to_string(), "root": 1 },
        "rollout": { "id": "r-7" },
    });
    change(&mut timestamp);
    signed_by(Timestamp::PAYLOAD_TYPE, serde_json::to_vec(&timestamp).unwrap(), &[signer])
}

pub(super) fn now(text: &str, sync: ClockSync) -> Now {
    Now { mono: Mono::default(), wall: Wall::read(text).unwrap(), sync, max_error_us: 1_000 }
}

pub(super) fn noon() -> Now {
    now("2026-11-22T12:00:00Z", ClockSync::Synced)
}

pub(super) fn recipient() -> Recipient {
    Recipient { organisation: "st-anna".to_owned(), gateway: "gw-1".to_owned() }
}

pub(super) fn enrolled() -> Trust {
    Trust::enrol(recipient(), "icu-3".to_owned(), &root(1, &CONFIG, ONLINE, &[1, 2])).unwrap()
}
