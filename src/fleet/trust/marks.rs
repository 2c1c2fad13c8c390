//! What a gateway has seen of the fleet's documents, so that nothing older is believed again.

use serde::{Deserialize, Serialize};

use super::Freshness;
use super::clock::{LONGEST_UNVOUCHED_MS, later};
use crate::fleet::documents::{Digest, Stamp};
use crate::time::Wall;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marks {
    group: String,
    root: Seen,
    timestamp: Seen,
    bundle: Seen,
    /// The latest moment at which a timestamp was issued: it cannot be earlier.
    floor: Stamp,
    /// The latest of them that a synchronised clock has found to be past.
    vouched: Stamp,
    /// What was seen of the groups that the gateway has left, the latest last.
    left: Vec<Left>,
}

/// So many groups are remembered.
const MOST_LEFT: usize = 8;

/// A group that the gateway has left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Left {
    group: String,
    timestamp: Seen,
    bundle: Seen,
}

/// A version and the digest of what had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    version: u64,
    sha256: Digest,
}

impl Seen {
    const NOTHING: Self = Self { version: 0, sha256: Digest([0; 32]) };
}

impl Marks {
    pub(super) const fn new(group: String, root: u64, digest: Digest) -> Self {
        let root = Seen { version: root, sha256: digest };
        let (timestamp, bundle) = (Seen::NOTHING, Seen::NOTHING);
        let never = Stamp(Wall::from_millis(0));
        Self { group, root, timestamp, bundle, floor: never, vouched: never, left: Vec::new() }
    }

    pub(super) fn root_accepted(&mut self, version: u64, sha256: Digest, is_new_clockwork: bool) {
        self.root = Seen { version, sha256 };
        if is_new_clockwork {
            self.timestamp = Seen::NOTHING;
            for left in &mut self.left {
                left.timestamp = Seen::NOTHING;
            }
            self.floor = Stamp(Wall::from_millis(0));
            self.vouched = self.floor;
        }
    }

    pub(super) fn timestamp_accepted(
        &mut self,
        version: u64,
        sha256: Digest,
        issued_at: Wall,
        freshness: Freshness,
    ) {
        self.timestamp = Seen { version, sha256 };
        match freshness {
            Freshness::Known => {
                self.vouched = self.vouched.max(Stamp(issued_at));
                self.floor = self.vouched;
            }
            Freshness::Unknown => {
                let most = Stamp(later(self.vouched.0, LONGEST_UNVOUCHED_MS));
                self.floor = self.floor.max(Stamp(issued_at).min(most));
            }
        }
    }

    pub(super) const fn bundle_accepted(&mut self, version: u64, sha256: Digest) {
        self.bundle = Seen { version, sha256 };
    }

    /// A gateway that comes back believes nothing older than when it left, and the bundle that sent it away not
    /// again: whoever kept that could send it away for ever.
    pub(super) fn transferred(&mut self, to: &str) {
        let from = std::mem::replace(&mut self.group, to.to_owned());
        let gone = Seen { version: self.bundle.version.saturating_add(1), ..Seen::NOTHING };
        let known = self.left.iter().position(|left| left.group == to).map(|at| self.left.remove(at));
        self.left.retain(|left| left.group != from);
        self.left.push(Left { group: from, timestamp: self.timestamp, bundle: gone });
        let most = self.left.len().saturating_sub(MOST_LEFT);
        self.left.drain(..most);
        (self.timestamp, self.bundle) =
            known.map_or((Seen::NOTHING, Seen::NOTHING), |left| (left.timestamp, left.bundle));
    }

    /// The group that the gateway is in.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The version of the root.
    pub const fn root(&self) -> u64 {
        self.root.version
    }

    /// The digest of the root's envelope.
    pub const fn root_digest(&self) -> Digest {
        self.root.sha256
    }

    /// The highest version of a timestamp; zero: none yet.
    pub const fn timestamp(&self) -> u64 {
        self.timestamp.version
    }

    /// The digest of its envelope.
    pub const fn timestamp_digest(&self) -> Digest {
        self.timestamp.sha256
    }

    /// The highest version of a bundle that was verified; zero: none yet.
    pub const fn bundle(&self) -> u64 {
        self.bundle.version
    }

    /// The digest of its envelope.
    pub const fn bundle_digest(&self) -> Digest {
        self.bundle.sha256
    }

    /// Whether a bundle of the number that was seen is not the one that was seen.
    pub(super) fn is_another_bundle(&self, version: u64, sha256: Digest) -> bool {
        let Seen { version: seen, sha256: known } = self.bundle;
        version == seen && sha256 != known && known != Seen::NOTHING.sha256
    }

    /// It cannot be earlier than this.
    pub const fn floor(&self) -> Wall {
        self.floor.0
    }

    /// The latest moment that a synchronised clock has vouched for; the floor never lies before it.
    pub const fn vouched(&self) -> Wall {
        self.vouched.0
    }
}
