//! What the swarm's operator signs: one root, bundles, timestamps.
//!
//! Every gateway has one pump on a serial line. A good bundle has the line as the driver wants it, a bad one gives it
//! another speed: then the pump is not understood any more, and gives nothing.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::fleet::documents::{
    Bundle, Digest, Document as _, Head, Role, Rollout, Root, SCHEMA, Stamp, Timestamp, Wave,
};
use crate::fleet::dsse::Envelope;
use crate::fleet::key::PrivateKey;
use crate::fleet::topics::{Topic, What};
use crate::time::Wall;

/// The organisation.
pub(super) const ORGANISATION: &str = "lab";
/// The one group.
pub(super) const GROUP: &str = "swarm";
/// The pump of every gateway.
pub(super) const PUMP: &str = "pump";
/// The speed of its line is another one.
const WRONG_BAUD: u32 = 1_200;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Signs for the fleet.
pub(super) struct Signer {
    config: [PrivateKey; 2],
    online: PrivateKey,
    root: Vec<u8>,
    members: Vec<String>,
    stamps: u64,
    seed: u64,
}

/// A bundle that may be pushed.
pub(super) struct Signed {
    pub(super) version: u64,
    pub(super) bytes: Vec<u8>,
}

/// What is to be at the broker, by topic.
pub(super) type Documents = Vec<(String, Vec<u8>)>;

impl Signer {
    /// New keys, made of a seed, and the root that names them: 2 of 2 root keys, 2 of 2 config keys.
    pub(super) fn new(seed: u64, members: Vec<String>, now: Wall) -> anyhow::Result<Self> {
        let key = |number: u8| {
            let mut bytes = Zeroizing::new([number; 32]);
            for (place, byte) in bytes.iter_mut().zip(seed.to_be_bytes()) {
                *place = byte;
            }
            PrivateKey::from_seed(&bytes)
        };
        let (masters, config, online) = ([key(1), key(2)], [key(11), key(12)], key(21));
        let role = |keys: &[PrivateKey], threshold| Role {
            keys: keys.iter().map(PrivateKey::public).collect(),
            threshold,
        };
        let roles = [role(&masters, 2), role(&config, 2), role(std::slice::from_ref(&online), 1)];
        let root = Root::new(ORGANISATION.to_owned(), 1, second(now, 365 * DAY_MS), roles)
            .map_err(|why| anyhow::anyhow!("the root {why}"))?;
        let root = sealed(Root::PAYLOAD_TYPE, root.to_payload(), &masters);
        Ok(Self { config, online, root, members, stamps: 0, seed })
    }

    /// The root, as a gateway is enrolled with it.
    pub(super) fn root(&self) -> &[u8] {
        &self.root
    }

    /// A bundle of all members.
    pub(super) fn bundle(&self, version: u64, is_good: bool, now: Wall) -> anyhow::Result<Signed> {
        let mut pump = json!({
            "gateways": self.members, "id": PUMP, "asset": "INF-1", "driver": "alaris-asena",
            "port": "/dev/serial/by-id/pump", "elements": "all", "expects": { "serial": "800401234" },
            "quiet": "5s",
        });
        if let (false, Some(table)) = (is_good, pump.as_object_mut()) {
            let line = json!({ "baud": WRONG_BAUD, "data_bits": 8, "parity": "none", "stop_bits": 1 });
            table.insert("line".to_owned(), line);
        }
        let bundle: Value = json!({
            "schema": SCHEMA, "organisation": ORGANISATION, "group": GROUP, "version": version,
            "min_agent": "0.1.0", "not_before": second(now, -DAY_MS), "expires": second(now, 90 * DAY_MS),
            "members": self.members, "settings": {}, "devices": [pump],
        });
        let bytes = sealed(Bundle::PAYLOAD_TYPE, serde_json::to_vec(&bundle)?, &self.config);
        anyhow::ensure!(
            bytes.len() <= Bundle::CAP,
            "a bundle of {} gateways has {} bytes, more than a gateway takes",
            self.members.len(),
            bytes.len()
        );
        Ok(Signed { version, bytes })
    }

    /// The next timestamp: this bundle is current under this roll-out. Also what a broker needs to have of it.
    pub(super) fn stamp(
        &mut self,
        bundle: &Signed,
        rollout: Rollout,
        now: Wall,
    ) -> anyhow::Result<(Timestamp, Documents)> {
        self.stamps += 1;
        let timestamp = Timestamp {
            schema: SCHEMA,
            organisation: ORGANISATION.to_owned(),
            group: GROUP.to_owned(),
            version: self.stamps,
            issued_at: second(now, 0),
            expires: second(now, 2 * DAY_MS),
            head: Head { version: bundle.version, sha256: Digest::of(&bundle.bytes), root: 1 },
            rollout,
        };
        let payload = serde_json::to_vec_pretty(&timestamp)?;
        let stamped = sealed(Timestamp::PAYLOAD_TYPE, payload, std::slice::from_ref(&self.online));
        let group = GROUP.to_owned();
        let documents = [
            (What::Root(1), self.root.clone()),
            (What::Bundle { group: group.clone(), version: bundle.version }, bundle.bytes.clone()),
            (What::Timestamp { group }, stamped),
        ];
        let named = documents.into_iter().filter_map(|(what, bytes)| {
            Topic::new(ORGANISATION, what).map(|topic| (topic.to_string(), bytes))
        });
        Ok((timestamp, named.collect()))
    }

    /// A roll-out whose waves are seconds apart: share in hundredths of a percent, and when. Its name, and so who is in
    /// which wave, is another one for each seed.
    pub(super) fn rollout(
        &self,
        bundle: u64,
        canaries: &[String],
        waves: &[(u16, u64)],
        now: Wall,
    ) -> Rollout {
        let waves = waves.iter().map(|(share, after)| {
            let after = i64::try_from(*after).unwrap_or(i64::MAX).saturating_mul(1_000);
            Wave { share: *share, start: second(now, after) }
        });
        let (id, canaries) = (format!("r-{bundle}-{}", self.seed), canaries.to_vec());
        Rollout { id, canaries, waves: waves.collect(), paused: false }
    }
}

/// A whole second, so many milliseconds later.
fn second(now: Wall, later: i64) -> Stamp {
    let millis = now.as_millis().saturating_add(later);
    Stamp(Wall::from_millis(millis.saturating_sub(millis.rem_euclid(1_000))))
}

fn sealed(payload_type: &str, payload: Vec<u8>, keys: &[PrivateKey]) -> Vec<u8> {
    let mut envelope = Envelope::new(payload_type, payload);
    for key in keys {
        envelope.sign(key);
    }
    envelope.to_bytes()
}
