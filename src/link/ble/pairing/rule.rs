//! What the allowlist demands of a bond, and whether one is that.
//!
//! In: the rule of one device, whether its method's question was asked, and what the key file says.
//! Out: the class of the bond, or why it must not stay.
//!
//! The classes are those of LE security mode 1 (Bluetooth Core 5.4, Vol 3 Part C, 10.2.1), told apart by
//! how the key was agreed on, as the kernel reports it (BlueZ, `doc/mgmt-api.txt`, New Long Term Key).

use std::fmt;

use super::keys::{Keys, KeysTrouble, Strength};
use crate::link::Characteristic;

/// The longest key that there is, in octets. A shorter one has been negotiated down (KNOB,
/// CVE-2019-9506), or belongs to a device that nobody should listen to.
pub const FULL_KEY: u8 = 16;

/// How a device is paired. One for each model: a device that would do it another way today is not it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The device shows six digits (or has them on its label), a person types them here.
    Passkey,
    /// Both sides compute six digits, a person sees that they are the same.
    Numeric,
    /// Nobody checks anything. For devices without display and keys.
    JustWorks,
}

impl Method {
    /// The words of the configuration.
    pub const WORDS: [(&'static str, Self); 3] =
        [("passkey", Self::Passkey), ("numeric", Self::Numeric), ("just-works", Self::JustWorks)];

    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passkey => "passkey",
            Self::Numeric => "numeric",
            Self::JustWorks => "just-works",
        }
    }

    /// What the agent says it can do: the least that this method needs, so that the two sides agree on no
    /// other (Core 5.4, Vol 3 Part H, table 2.8).
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Passkey => "KeyboardOnly",
            Self::Numeric => "DisplayYesNo",
            Self::JustWorks => "NoInputNoOutput",
        }
    }

    /// The best that it can give.
    pub const fn best(self) -> BondClass {
        match self {
            Self::Passkey | Self::Numeric => BondClass::A,
            Self::JustWorks => BondClass::B,
        }
    }
}

/// What a bond is worth; the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BondClass {
    /// LE Secure Connections, authenticated.
    A,
    /// LE Secure Connections, not authenticated: whoever stood between at the pairing still does.
    B,
    /// Legacy pairing, authenticated: whoever listened to the pairing can find the key.
    C,
    /// Legacy pairing, not authenticated.
    D,
}

impl BondClass {
    /// The words of the configuration.
    pub const WORDS: [(&'static str, Self); 4] =
        [("A", Self::A), ("B", Self::B), ("C", Self::C), ("D", Self::D)];

    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
        }
    }
}

/// The letter and what it means.
impl fmt::Display for BondClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self {
            Self::A => "Secure Connections, authenticated",
            Self::B => "Secure Connections, not authenticated",
            Self::C => "legacy pairing, authenticated",
            Self::D => "legacy pairing, not authenticated",
        };
        write!(f, "{} ({meaning})", self.as_str())
    }
}

/// What the allowlist says of the bond with one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BondRule {
    /// How it is paired.
    pub method: Method,
    /// The least that its bond must be.
    pub minimum: BondClass,
    /// A characteristic that it gives only to whom it is bonded with, where one is known.
    pub protected: Option<Characteristic>,
}

/// Why a bond must not stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The pairing ended well and nobody was asked.
    #[error(
        "it paired without asking for {0}: it, or somebody who plays it, claims to have neither display nor keys"
    )]
    Downgraded(&'static str),
    /// Nobody can say what the bond is worth.
    #[error("what its bond is worth could not be read, which is never taken for good: {0}")]
    Unknown(#[from] KeysTrouble),
    /// The key was made with the published debug key pair: everybody has it.
    #[error("its key was made with the debug keys that everybody knows: is it an engineering sample?")]
    Debug,
    /// The key is short.
    #[error("its key has {0} of {FULL_KEY} octets: it was negotiated down")]
    Short(u8),
    /// The allowlist demands more.
    #[error("its bond is of class {found}, its entry demands at least {minimum}")]
    Weak {
        /// What it is.
        found: BondClass,
        /// What it must be.
        minimum: BondClass,
    },
}

/// Whether a bond may stay. `was_asked` is whether the question of its method was asked while it was
/// made; of a bond that was made earlier only its class can tell.
pub fn judge(rule: &BondRule, was_asked: bool, keys: Result<Keys, KeysTrouble>) -> Result<BondClass, Unfit> {
    match rule.method {
        Method::Passkey if !was_asked => return Err(Unfit::Downgraded("its passkey")),
        Method::Numeric if !was_asked => return Err(Unfit::Downgraded("a comparison of numbers")),
        Method::Passkey | Method::Numeric | Method::JustWorks => {}
    }
    let keys = keys?;
    let found = match keys.strength {
        Strength::Debug => return Err(Unfit::Debug),
        Strength::Of(class) => class,
    };
    if keys.size < FULL_KEY {
        return Err(Unfit::Short(keys.size));
    }
    if found > rule.minimum {
        return Err(Unfit::Weak { found, minimum: rule.minimum });
    }
    Ok(found)
}

/// What became of `Pair`, from the name of its D-Bus error, with the way out (BlueZ, `org.bluez.Device`).
pub fn explain(error: &str) -> &'static str {
    match error.strip_prefix("org.bluez.Error.").unwrap_or(error) {
        "AuthenticationFailed" => {
            "the passkey or number was not the one of the device, or the device refused: read it again and repeat"
        }
        "AuthenticationRejected" => "the device rejects pairing: put it into pairing mode and repeat",
        "AuthenticationCanceled" => "the device ended the pairing: put it into pairing mode and repeat",
        "AuthenticationTimeout" => "the device did not answer in time: put it into pairing mode and repeat",
        "ConnectionAttemptFailed" => "the device does not answer: bring it nearer, wake it and repeat",
        "AlreadyExists" => {
            "BlueZ has keys of it by now: did somebody else pair it? Use --replace to make new ones"
        }
        "InProgress" => "somebody else is pairing it at the moment: wait and repeat",
        "DoesNotExist" | "org.freedesktop.DBus.Error.UnknownObject" => {
            "the device went away: bring it nearer, wake it and repeat"
        }
        _ => "pairing failed: see the log of bluetoothd (journalctl -u bluetooth)",
    }
}

/// Whether a read was refused because the link is not encrypted with keys that the device knows. BlueZ
/// says `NotPermitted` with these words, or passes the ATT error on: 0x05 authentication, 0x08
/// authorization, 0x0C key size, 0x0F encryption (Core 5.4, Vol 3 Part F, 3.4.1.1).
pub fn is_lack_of_keys(error: &str, text: &str) -> bool {
    let code = text.rsplit_once("ATT error: 0x").map(|(_, code)| code.trim());
    match error {
        "org.bluez.Error.NotAuthorized" => true,
        "org.bluez.Error.NotPermitted" => text == "Not paired",
        "org.bluez.Error.Failed" => {
            matches!(code, Some("05" | "08" | "0c" | "0C" | "0f" | "0F"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: BondRule = BondRule { method: Method::Passkey, minimum: BondClass::A, protected: None };

    const fn keys(class: BondClass, size: u8) -> Keys {
        Keys { strength: Strength::Of(class), size }
    }

    #[test]
    fn only_a_full_key_of_at_least_the_minimum_may_stay() {
        let all = [BondClass::A, BondClass::B, BondClass::C, BondClass::D];
        for minimum in all {
            for found in all {
                let rule = BondRule { minimum, ..RULE };
                let expected = if found <= minimum { Ok(found) } else { Err(Unfit::Weak { found, minimum }) };
                assert_eq!(judge(&rule, true, Ok(keys(found, 16))), expected, "{found} for {minimum}");
                assert_eq!(judge(&rule, true, Ok(keys(found, 15))), Err(Unfit::Short(15)));
            }
        }
    }

    #[test]
    fn debug_keys_and_unknown_ones_stay_under_no_rule() {
        for method in [Method::Passkey, Method::Numeric, Method::JustWorks] {
            let rule = BondRule { method, minimum: BondClass::D, protected: None };
            let debug = Ok(Keys { strength: Strength::Debug, size: 16 });
            assert_eq!(judge(&rule, true, debug), Err(Unfit::Debug));
            let unknown = judge(&rule, true, Err(KeysTrouble::NoKey));
            assert_eq!(unknown, Err(Unfit::Unknown(KeysTrouble::NoKey)));
        }
    }

    #[test]
    fn a_pairing_in_which_nobody_was_asked_is_a_downgrade_unless_the_rule_says_just_works() {
        assert!(matches!(judge(&RULE, false, Ok(keys(BondClass::A, 16))), Err(Unfit::Downgraded(_))));
        let numeric = BondRule { method: Method::Numeric, ..RULE };
        assert!(matches!(judge(&numeric, false, Ok(keys(BondClass::A, 16))), Err(Unfit::Downgraded(_))));
        let just_works = BondRule { method: Method::JustWorks, minimum: BondClass::B, protected: None };
        assert_eq!(judge(&just_works, false, Ok(keys(BondClass::B, 16))), Ok(BondClass::B));
    }

    #[test]
    fn every_error_of_pair_that_bluez_documents_has_its_way_out() {
        let unknown = explain("org.bluez.Error.Failed");
        for name in [
            "AlreadyExists",
            "AuthenticationCanceled",
            "AuthenticationFailed",
            "AuthenticationRejected",
            "AuthenticationTimeout",
            "ConnectionAttemptFailed",
        ] {
            assert_ne!(explain(&format!("org.bluez.Error.{name}")), unknown, "{name}");
        }
    }

    #[test]
    fn a_read_that_lacks_keys_is_told_from_other_failures() {
        for (error, text, lacks) in [
            ("org.bluez.Error.NotPermitted", "Not paired", true),
            ("org.bluez.Error.NotPermitted", "Read not permitted", false),
            ("org.bluez.Error.NotAuthorized", "Operation Not Authorized", true),
            ("org.bluez.Error.Failed", "Operation failed with ATT error: 0x05", true),
            ("org.bluez.Error.Failed", "Operation failed with ATT error: 0x0f", true),
            ("org.bluez.Error.Failed", "Operation failed with ATT error: 0x80", false),
            ("org.bluez.Error.Failed", "Not connected", false),
        ] {
            assert_eq!(is_lack_of_keys(error, text), lacks, "{error}: {text}");
        }
    }
}
