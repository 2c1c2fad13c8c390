//! What the gateway itself has to say of safety: an event, apart from the observations of any device.
//!
//! In: an edge that policy found (a device that is another one, and the right one again), or a change of what a
//! device is. Out: an
//! [`Event`], which goes the way of every record (block, store, uplink) in the alarm lane, and to a
//! topic of the gateway. What never happens: a serial number, a reading or a name is in one; it names
//! the device by its id, and what exactly was stated is for the log and the status at the gateway.

use crate::device::observation::Phase;
use crate::device::pin::Pinned;
use crate::time::Now;

/// The longest text of an event, in bytes.
pub const MAX_DETAIL: usize = 256;

/// Something that a person who looks after the gateway should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What was found.
    pub detection: Detection,
    /// Whether it begins, goes on or is over.
    pub phase: Phase,
    /// The id of the device that it concerns; empty when it is the gateway itself.
    pub device: String,
    /// In words, for a person.
    pub detail: String,
    /// When the gateway knew.
    pub at: Now,
}

/// Writes the table of detections: the enum and what is known of each.
macro_rules! detections {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $word:literal, $severity:ident, $title:literal;)*) => {
        /// What was found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Detection { $($(#[$doc])* $name,)* }

        impl Detection {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As stored.
            pub const fn code(self) -> u8 {
                match self { $(Self::$name => $code),* }
            }

            /// As shown to people and machines.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// What it is, for a person.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }

            /// How grave it is.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity),* }
            }
        }
    };
}

detections! {
    /// A device said that it is another one: nothing of it passes.
    Identity = 1, "identity-mismatch", High, "a device is not the one that the allowlist expects";
    /// A device that must be bonded is not, or refuses its keys: it is not connected.
    Bond = 2, "bond-lost", High, "a device is not bonded as its rule demands";
    /// Another firmware, software or hardware revision than before: its readings go on.
    Firmware = 3, "firmware-changed", Low, "a device has another firmware than before";
    /// Other services or characteristics than before: its readings go on.
    GattDatabase = 4, "gatt-database-changed", Medium, "a device offers other services than before";
    /// An advisory of the fleet says that a device is affected: its readings go on.
    Advisory = 5, "advisory-affects", High, "a device is affected by a security advisory";
    /// By a rule of the fleet nothing passes of a device that an advisory is about.
    Quarantine = 6, "advisory-quarantine", High, "a device is in quarantine by a security advisory";
    /// Its maker no longer looks after it.
    Support = 7, "support-ended", Medium, "the maker's support of a device has ended";
    /// It is valid for less than 14 days, or for less than three.
    CertificateAge = 16, "certificate-age", Medium, "the gateway's certificate is about to expire";
    /// Readings are collected and kept, and nothing can be sent.
    CertificateExpired = 17, "certificate-expired", High, "the gateway's certificate has expired";
    /// The certificate server or the broker says no, or does not answer.
    CertificateRenewal = 18, "certificate-not-renewed", Medium, "the gateway's certificate is not renewed";
    /// The broker has taken another one.
    CertificateRenewed = 19, "certificate-renewed", Informational, "the gateway has another certificate";
    /// What it says still counts; a fresh one is missing.
    RevocationList = 20, "revocation-list-outdated", Medium, "a certificate revocation list has run out";
    /// A document of the fleet is not believed: its words name the attack that it would be.
    FleetRefused = 32, "fleet-document-refused", Medium, "a document of the fleet is refused";
    /// A bundle did not stand its trial, or cannot be run: the one before runs.
    FleetTakenBack = 33, "fleet-bundle-taken-back", High, "a bundle of the fleet was taken back";
    /// The configuration of before is not in force again yet.
    FleetNotReturned = 34, "fleet-not-returned", High, "something else runs than the last bundle that stood its trial";
    /// The last word of the fleet has expired: nobody knows whether it is still current.
    FleetExpired = 35, "fleet-expired", Medium, "nothing is heard from the fleet any more";
    /// A synchronised clock and a believed timestamp contradict each other.
    FleetClock = 36, "fleet-clock-contradicted", High, "the clock and the fleet's last word contradict each other";
    /// What was seen of the fleet cannot be believed: nothing of it is taken.
    FleetLocked = 37, "fleet-locked", High, "what was seen of the fleet cannot be believed";
    /// What was seen of the fleet cannot be made durable.
    FleetState = 38, "fleet-state-not-kept", Medium, "what was seen of the fleet cannot be kept";
    /// A bundle runs on trial.
    FleetTrial = 39, "fleet-bundle-tried", Informational, "a bundle of the fleet runs on trial";
}

impl From<Pinned> for Detection {
    fn from(of: Pinned) -> Self {
        match of {
            Pinned::Firmware => Self::Firmware,
            Pinned::GattDatabase => Self::GattDatabase,
        }
    }
}

impl Detection {
    /// The detection of a code.
    pub fn of_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.code() == code)
    }
}

/// How grave something is: the `severity_id` of OCSF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// To be known.
    Informational = 1,
    /// To be looked at some time.
    Low = 2,
    /// To be looked at soon.
    Medium = 3,
    /// To be looked at now.
    High = 4,
}

impl Severity {
    /// The OCSF word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "Informational",
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
        }
    }
}

/// What the gate has to say by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// About an asset, under its name: an edge of its silence.
    Of(super::Admitted),
    /// About the safety of the gateway.
    Event(Event),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_words_are_one_to_one() {
        for (place, detection) in Detection::ALL.iter().enumerate() {
            assert_eq!(Detection::of_code(detection.code()), Some(*detection));
            let others = Detection::ALL.iter().skip(place + 1);
            assert!(others.clone().all(|other| other.as_str() != detection.as_str()));
            assert!(others.clone().all(|other| other.code() != detection.code()));
        }
        assert_eq!(Detection::of_code(0), None);
    }
}
