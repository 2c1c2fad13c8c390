//! Who may speak and what may leave: default deny.
//!
//! In: the [`Report`]s of the device sessions. Out: [`Admitted`] observations, and for everything
//! else a [`Refusal`] that is counted and visible. Pure: `now` comes with each report.
//!
//! What never happens: an observation passes before its device has proved who it is on the present
//! connection; an element passes that the device's rule does not list. [`Admitted`] can only be made
//! here, so what was not admitted cannot be stored or sent.

use crate::device::nomenclature::Metric;
use crate::device::observation::{Lane, Observation};
use crate::device::{DeviceIndex, Identity, Report};
use crate::time::Now;

/// What is known of a device before it says a word; travels with its readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCard {
    /// The device's name in configuration and topics: `[a-z0-9-]{1,32}`.
    pub id: String,
    /// The driver or profiles, for instance `alaris-asena` or `heart-rate`.
    pub model: String,
    /// HMAC-SHA-256 of the asset's tag under the ward key, first 16 bytes, hex: the identity that
    /// leaves the gateway.
    pub pseudonym: String,
    /// Whether the link is encrypted and bonded (`bonded`), open by explicit rule (`open`), or a
    /// wire (`serial`).
    pub security: &'static str,
}

/// What the allowlist says of one device.
#[derive(Clone, Debug)]
pub struct DeviceRule {
    /// Its card.
    pub card: DeviceCard,
    /// What the device must say of itself. A field that is given here must be stated and equal;
    /// a field that is not is recorded only.
    pub expects: Identity,
    /// Whether observations may pass although the device cannot say who it is (its protocol has no
    /// identity, or its rule says so): then the port or address alone vouches.
    pub trust: Trust,
    /// The elements that may leave.
    pub elements: Vec<&'static Metric>,
}

/// What vouches for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It must state the identity that its rule expects.
    ReportedIdentity,
    /// Its port or address alone.
    LinkOnly,
}

/// An observation that may leave, with its number within its device and this run of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    device: DeviceIndex,
    seq: u64,
    at: Now,
    observation: Observation,
}

impl Admitted {
    /// Whose.
    pub const fn device(&self) -> DeviceIndex {
        self.device
    }

    /// 1, 2, 3, ... within its device and this run of the daemon: a gap is a loss.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// When the gateway knew.
    pub const fn at(&self) -> Now {
        self.at
    }

    /// What.
    pub const fn observation(&self) -> &Observation {
        &self.observation
    }

    /// The lane that carries it.
    pub const fn lane(&self) -> Lane {
        self.observation.kind.lane()
    }
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It may leave.
    Admit(Admitted),
    /// It may not, and why. Counted.
    Refuse(Refusal),
    /// It was taken note of (link up or down, a fault, an identity that is as expected).
    Noted,
}

/// Why something may not leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The device has not said who it is on this connection.
    #[error("{device} has not said who it is yet")]
    Unidentified {
        /// The device's id.
        device: String,
    },
    /// The device says it is another one. Everything from it is refused until it is the right one.
    #[error("{device} says its {field} is {stated:?}, the allowlist says {expected:?}: quarantined")]
    Mismatch {
        /// The device's id.
        device: String,
        /// Which part of the identity.
        field: &'static str,
        /// What the device said.
        stated: String,
        /// What the allowlist says.
        expected: String,
    },
    /// The element is not in the device's list.
    #[error("{device} may not report {reference}: add it to the device's `elements` if it should")]
    Element {
        /// The device's id.
        device: String,
        /// The element's reference id.
        reference: &'static str,
    },
}

/// The gate. One for the whole daemon, in the one task that writes to the store.
pub struct Gatekeeper {
    rules: Vec<DeviceRule>,
}

impl Gatekeeper {
    /// From the allowlist; a device's place in it is its [`DeviceIndex`].
    pub fn new(rules: Vec<DeviceRule>) -> Self {
        Self { rules }
    }

    /// The cards of all devices, in the order of their index.
    pub fn cards(&self) -> impl Iterator<Item = &DeviceCard> {
        self.rules.iter().map(|rule| &rule.card)
    }

    /// Decides on one report.
    pub fn handle_report(&mut self, report: Report) -> Verdict {
        let _ = report;
        unreachable!("stub")
    }
}
