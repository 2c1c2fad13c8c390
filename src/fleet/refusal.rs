//! Why a document of the fleet is not believed, in words for whoever sent it and for whoever reads the log.

use super::documents::{Digest, RoleKind};
use super::dsse::EnvelopeFault;
use crate::time::Wall;

/// A document that is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {document} {why}")]
pub struct Refusal {
    /// Which document.
    pub document: &'static str,
    /// Why not.
    pub why: Why,
}

/// Why a document is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It is no envelope, or too long.
    #[error(transparent)]
    Envelope(#[from] EnvelopeFault),
    /// It is another kind of document.
    #[error("is of type {found:?}, {expected:?} was expected: it was put in the wrong place")]
    Type {
        /// Its type.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// Too few keys signed it.
    #[error(
        "is signed by {have} of the {need} {} keys that root {root} wants: sign it with {} more",
        role.as_str(), need.saturating_sub(*have)
    )]
    Signatures {
        /// Whose keys.
        role: RoleKind,
        /// The root that says so.
        root: u64,
        /// How many signed.
        have: usize,
        /// How many must.
        need: usize,
    },
    /// Its parts do not fit.
    #[error("is signed, but {0}")]
    Shape(String),
    /// It belongs to others.
    #[error("is meant for {field} {found:?}, this gateway is of {own:?}")]
    Place {
        /// Organisation or group.
        field: &'static str,
        /// Whose it is.
        found: String,
        /// Whose the gateway is.
        own: String,
    },
    /// Its group does not list this gateway.
    #[error("of group {group:?} neither lists nor transfers gateway {gateway:?}: add it to the members")]
    NotAMember {
        /// The group.
        group: String,
        /// The gateway.
        gateway: String,
    },
    /// Older than what was seen.
    #[error("has version {offered}, but {seen} was seen: put the old content under a higher version")]
    Rollback {
        /// Its version.
        offered: u64,
        /// The highest seen.
        seen: u64,
    },
    /// It names a bundle older than what was seen.
    #[error("names bundle {offered}, but {seen} was seen: put the old content under a higher version")]
    HeadRollback {
        /// The version named.
        offered: u64,
        /// The highest seen.
        seen: u64,
    },
    /// Far newer than what was seen.
    #[error("speaks of version {offered}, but {seen} is the last seen and a step may be {most} at most")]
    FastForward {
        /// The version.
        offered: u64,
        /// The highest seen.
        seen: u64,
        /// The widest step.
        most: u64,
    },
    /// The same version twice with different content.
    #[error("has version {version} like one seen before, but other content: raise the version")]
    Equivocation {
        /// The version.
        version: u64,
    },
    /// A root that does not follow the one that is trusted.
    #[error("has version {offered}, but root {} comes next: every root is kept, so send that one first", current.saturating_add(1))]
    RootGap {
        /// Its version.
        offered: u64,
        /// The one that is trusted.
        current: u64,
    },
    /// It was made under a root that is not here yet.
    #[error("was made under root {needed}, this gateway has root {current}: send the roots between first")]
    NeedsRoot {
        /// The root it was made under.
        needed: u64,
        /// The one that is trusted.
        current: u64,
    },
    /// Too old.
    #[error("expired at {at}: nothing says that it is still current; sign a new one")]
    Expired {
        /// When.
        at: Wall,
    },
    /// Too new.
    #[error("holds from {at} on, and it is {now}")]
    TooEarly {
        /// From when on.
        at: Wall,
        /// What time it is.
        now: Wall,
    },
    /// Issued in the future, by a clock that follows a reference.
    #[error("was issued at {at}, and it is {now}: the clock of whoever signed it, or this one, is wrong")]
    IssuedAhead {
        /// When.
        at: Wall,
        /// What time it is.
        now: Wall,
    },
    /// Not the bundle that the timestamp names.
    #[error("has SHA-256 {found}, the timestamp names {named}")]
    NotTheHead {
        /// Its digest.
        found: Digest,
        /// The one named.
        named: Digest,
    },
    /// It has another version than the timestamp says.
    #[error("has version {found}, the timestamp says {named}")]
    HeadVersion {
        /// Its version.
        found: u64,
        /// The one named.
        named: u64,
    },
    /// The program is too old for it.
    #[error("wants at least version {needed} of this program, which is {own}: update the program first")]
    Program {
        /// The oldest that it is meant for.
        needed: String,
        /// This one.
        own: String,
    },
    /// The first document of all must be seen to be fresh.
    #[error(
        "is the first that this gateway sees, and the clock follows no reference: it is taken once the time is known, or \
         when it is brought by `wardline enrol --timestamp`"
    )]
    ClockUnknown,
}

impl Why {
    /// The attack that this would be, were it no mistake (TUF specification section 1.5.2).
    pub const fn attack(&self) -> Option<&'static str> {
        match self {
            Self::Envelope(EnvelopeFault::TooLong { .. } | EnvelopeFault::TooManySignatures(_)) => {
                Some("endless data")
            }
            Self::Type { .. } | Self::Signatures { .. } => Some("arbitrary installation"),
            Self::Place { .. } | Self::NotAMember { .. } => Some("wrong recipient"),
            Self::Rollback { .. } | Self::HeadRollback { .. } => Some("rollback"),
            Self::FastForward { .. } | Self::IssuedAhead { .. } => Some("fast-forward"),
            Self::Expired { .. } => Some("indefinite freeze"),
            Self::Equivocation { .. } | Self::NotTheHead { .. } | Self::HeadVersion { .. } => {
                Some("mix-and-match")
            }
            Self::Envelope(EnvelopeFault::Shape(_) | EnvelopeFault::Base64(_))
            | Self::Shape(_)
            | Self::RootGap { .. }
            | Self::NeedsRoot { .. }
            | Self::TooEarly { .. }
            | Self::Program { .. }
            | Self::ClockUnknown => None,
        }
    }
}
