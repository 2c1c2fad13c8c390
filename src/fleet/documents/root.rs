//! The root: who may sign what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Document, Stamp, check_names, check_schema, check_version};
use crate::fleet::key::{KeyId, PublicKey};
use crate::fleet::strict;

/// The most keys of a root.
const MAX_KEYS: usize = 64;

/// What a key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleKind {
    /// The next root.
    Root,
    /// Bundles.
    Config,
    /// Timestamps.
    Timestamp,
}

impl RoleKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Root, Self::Config, Self::Timestamp];

    /// The word of the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Config => "config",
            Self::Timestamp => "timestamp",
        }
    }
}

/// Who may sign one kind of document, and how many of them must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The keys.
    pub keys: Vec<PublicKey>,
    /// How many of them must have signed.
    pub threshold: usize,
}

/// Who may sign what: signed by enough of the root before it and by enough of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The organisation.
    pub organisation: String,
    /// One more than the root before it.
    pub version: u64,
    /// After this it must be followed by another.
    pub expires: Stamp,
    roles: [Role; 3],
}

impl Root {
    /// A root of these roles: root, config, timestamp.
    pub fn new(organisation: String, version: u64, expires: Stamp, roles: [Role; 3]) -> Result<Self, String> {
        // Through the document, so that there is one judge.
        Self::read(&Self { organisation, version, expires, roles }.to_payload())
    }

    /// Who may sign one kind of document.
    pub const fn role(&self, kind: RoleKind) -> &Role {
        let [root, config, timestamp] = &self.roles;
        match kind {
            RoleKind::Root => root,
            RoleKind::Config => config,
            RoleKind::Timestamp => timestamp,
        }
    }

    /// The payload of its envelope.
    pub fn to_payload(&self) -> Vec<u8> {
        let keys: BTreeMap<KeyId, &PublicKey> =
            self.roles.iter().flat_map(|role| &role.keys).map(|key| (key.id(), key)).collect();
        let keys = keys.into_iter().map(|(id, key)| WrittenKey {
            id: id.to_string(),
            algorithm: ALGORITHM.to_owned(),
            public: super::hex::show(&key.bytes()),
        });
        let role = |role: &Role| WrittenRole {
            keys: role.keys.iter().map(|key| key.id().to_string()).collect(),
            threshold: role.threshold,
        };
        let [root, config, timestamp] = &self.roles;
        let written = Written {
            schema: super::SCHEMA,
            organisation: self.organisation.clone(),
            version: self.version,
            expires: self.expires,
            keys: keys.collect(),
            roles: WrittenRoles { root: role(root), config: role(config), timestamp: role(timestamp) },
        };
        // Text and numbers only: there is nothing that could not be written.
        serde_json::to_vec_pretty(&written).unwrap_or_default()
    }
}

const ALGORITHM: &str = "ed25519";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    schema: u32,
    organisation: String,
    version: u64,
    expires: Stamp,
    keys: Vec<WrittenKey>,
    roles: WrittenRoles,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    id: String,
    algorithm: String,
    public: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRoles {
    root: WrittenRole,
    config: WrittenRole,
    timestamp: WrittenRole,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRole {
    keys: Vec<String>,
    threshold: usize,
}

impl Document for Root {
    const PAYLOAD_TYPE: &'static str = "application/vnd.wardline.root.v1+json";
    const CAP: usize = 64 * 1024;
    const NAME: &'static str = "root";

    fn read(payload: &[u8]) -> Result<Self, String> {
        let written: Written = strict::read(payload)?;
        check_schema(written.schema)?;
        check_names([("organisation", &written.organisation)])?;
        check_version(written.version)?;
        let keys = read_keys(written.keys)?;
        let WrittenRoles { root, config, timestamp } = written.roles;
        let mut unused: BTreeMap<&str, &PublicKey> =
            keys.iter().map(|(id, key)| (id.as_str(), key)).collect();
        let roles = [
            read_role(RoleKind::Root, &root, &mut unused)?,
            read_role(RoleKind::Config, &config, &mut unused)?,
            read_role(RoleKind::Timestamp, &timestamp, &mut unused)?,
        ];
        if let Some(id) = unused.keys().next() {
            return Err(format!("lists key {id}, which no role has"));
        }
        let Written { organisation, version, expires, .. } = written;
        Ok(Self { organisation, version, expires, roles })
    }
}

fn read_keys(written: Vec<WrittenKey>) -> Result<BTreeMap<String, PublicKey>, String> {
    if written.len() > MAX_KEYS {
        return Err(format!("lists {} keys, at most {MAX_KEYS}", written.len()));
    }
    let mut keys = BTreeMap::new();
    for WrittenKey { id, algorithm, public } in written {
        if algorithm != ALGORITHM {
            return Err(format!("lists key {id} of algorithm {algorithm:?}: only {ALGORITHM} is taken"));
        }
        let key = PublicKey::from_hex(&public).map_err(|fault| format!("lists key {id}, which {fault}"))?;
        // One key under two names would count twice.
        if key.id().to_string() != id {
            return Err(format!("lists key {id}, whose id should be {}: the SHA-256 of the key", key.id()));
        }
        if keys.insert(id.clone(), key).is_some() {
            return Err(format!("lists key {id} twice"));
        }
    }
    Ok(keys)
}

/// A key is taken out of `unused` by the role that has it, so that no other role can: a key that is
/// online must not sign what is meant for one in a safe.
fn read_role(
    kind: RoleKind,
    written: &WrittenRole,
    unused: &mut BTreeMap<&str, &PublicKey>,
) -> Result<Role, String> {
    let name = kind.as_str();
    let keys = written.keys.iter().map(|id| {
        unused.remove(id.as_str()).cloned().ok_or_else(|| {
            format!("gives role {name} key {id}, which is not listed, or given twice, or has another role")
        })
    });
    let keys = keys.collect::<Result<Vec<_>, String>>()?;
    if !(1..=keys.len()).contains(&written.threshold) {
        let (threshold, count) = (written.threshold, keys.len());
        return Err(format!("wants {threshold} of {count} keys for role {name}: 1 to {count} can sign"));
    }
    Ok(Role { keys, threshold: written.threshold })
}
