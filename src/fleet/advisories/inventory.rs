//! What stands on a ward: the gateway and its devices.
//!
//! In: what the configuration and the devices themselves say. Out: [`Published`], which is all that leaves the
//! gateway: as JSON on the retained topic, as CSV, as `CycloneDX`. A serial number leads to a patient, so it is
//! left out unless the site says otherwise.

use std::fmt;

use ring::hmac;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod csv;

use super::told::Told;
use crate::fleet::documents::{Digest, Stamp};
use crate::fleet::hex;
use crate::time::Wall;

/// How long before its support ends a device is a finding.
pub const SUPPORT_NOTICE_DAYS: i64 = 180;
/// How much of a serial number's HMAC stands for it, in bytes.
const PSEUDONYM: usize = 16;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The gateway and its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The gateway.
    pub gateway: Gateway,
    /// Its devices.
    pub devices: Vec<Device>,
}

/// A gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Its id.
    pub id: String,
    /// The version of the program.
    pub version: String,
    /// Which build of it.
    pub build: String,
    /// The digest of the build's list of components.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<Digest>,
    /// The machine: `Raspberry Pi 4 Model B Rev 1.4`.
    pub hardware: String,
    /// The release of its kernel: `6.12.25+rpt-rpi-v8`.
    pub kernel: String,
    /// What keeps the key of the store.
    pub key_protection: KeyProtection,
}

/// What keeps the key of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyProtection {
    /// A file beside the store: whoever has the card has both.
    #[serde(rename = "file")]
    File,
    /// A credential of systemd: what it is under (the machine's own key, its TPM) a service is not told.
    #[serde(rename = "credential")]
    Credential,
    /// A token.
    #[serde(rename = "pkcs11")]
    Pkcs11,
}

impl KeyProtection {
    /// As it is written everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Credential => "credential",
            Self::Pkcs11 => "pkcs11",
        }
    }
}

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its id in the allowlist.
    pub id: String,
    /// Who made it.
    pub make: Option<String>,
    /// What it is.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<SerialNumber>,
    /// The version of its software. A protocol's revision is none: advisories speak of software.
    pub firmware: Option<String>,
    /// The driver that reads it.
    pub driver: Option<String>,
    /// When it first said something.
    pub first_seen: Option<Stamp>,
    /// When it last did.
    pub last_seen: Option<Stamp>,
    /// From when on its maker no longer looks after it.
    pub end_of_support: Option<Day>,
}

/// A serial number. It cannot be printed or serialised: [`Inventory::publish`] is the way out.
#[derive(Clone, PartialEq, Eq)]
pub struct SerialNumber(String);

impl SerialNumber {
    /// A serial number as the device tells it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SerialNumber(..)")
    }
}

/// What of a serial number leaves the gateway.
#[derive(Clone, Debug, Default)]
pub enum Disclosure {
    /// Nothing.
    #[default]
    Withheld,
    /// A number that is the same as long as the site's key is, and that nobody without the key can turn back.
    Pseudonym(hmac::Key),
    /// The number itself.
    Plain,
}

/// A day as documents write it: `2027-05-01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(Wall);

impl Day {
    /// Reads `2027-05-01` and nothing else.
    pub fn read(text: &str) -> Option<Self> {
        (text.len() == "2027-05-01".len()).then(|| Wall::read(text)).flatten().map(Self)
    }

    /// Its beginning, in UTC.
    pub const fn start(self) -> Wall {
        self.0
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.to_string();
        f.write_str(whole.split_once('T').map_or(whole.as_str(), |(day, _)| day))
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a day: write 2027-05-01")))
    }
}

/// A device whose maker does not look after it any more, or soon will not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It ends in so many days, the begun one counted.
    Ending(i64),
    /// It ended so many whole days ago.
    Ended(i64),
}

impl Device {
    /// Whether the end of its support is a finding: it is past, or within [`SUPPORT_NOTICE_DAYS`].
    pub fn support(&self, now: Wall) -> Option<Support> {
        let left = self.end_of_support?.start().as_millis().saturating_sub(now.as_millis());
        if left <= 0 {
            return Some(Support::Ended(left.saturating_neg() / DAY_MS));
        }
        (left <= SUPPORT_NOTICE_DAYS * DAY_MS).then(|| Support::Ending((left - 1) / DAY_MS + 1))
    }
}

/// All of an inventory that leaves the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// When it was made.
    pub at: Stamp,
    /// The gateway.
    pub gateway: Gateway,
    /// Its devices.
    pub devices: Vec<PublishedDevice>,
}

/// All of a device that leaves the gateway. What is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedDevice {
    /// Its id in the allowlist.
    pub id: String,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub make: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its serial number, if the site publishes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// What stands for its serial number, if the site publishes that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial_pseudonym: Option<String>,
    /// The version of its software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// The driver that reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// When it first said something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Stamp>,
    /// When it last did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Stamp>,
    /// From when on its maker no longer looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_of_support: Option<Day>,
}

impl Inventory {
    /// What leaves the gateway, at a moment.
    pub fn publish(&self, disclosure: &Disclosure, now: Wall) -> Published {
        let devices = self.devices.iter().map(|device| device.publish(disclosure)).collect();
        Published { at: Stamp(now), gateway: self.gateway.clone(), devices }
    }
}

impl Device {
    fn publish(&self, disclosure: &Disclosure) -> PublishedDevice {
        let serial = self.serial.as_ref().filter(|serial| !serial.0.is_empty());
        let (serial, serial_pseudonym) = match (serial, disclosure) {
            (None, _) | (Some(_), Disclosure::Withheld) => (None, None),
            (Some(serial), Disclosure::Plain) => (Some(serial.0.clone()), None),
            (Some(serial), Disclosure::Pseudonym(key)) => (None, Some(self.pseudonym(serial, key))),
        };
        PublishedDevice {
            id: self.id.clone(),
            make: self.make.clone(),
            model: self.model.clone(),
            serial,
            serial_pseudonym,
            firmware: self.firmware.clone(),
            driver: self.driver.clone(),
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            end_of_support: self.end_of_support,
        }
    }

    /// Two makers may give the same number. Each part goes in with its length, so that no two lists run together.
    fn pseudonym(&self, serial: &SerialNumber, key: &hmac::Key) -> String {
        let mut context = hmac::Context::with_key(key);
        let parts =
            [self.make.as_deref().unwrap_or_default(), self.model.as_deref().unwrap_or_default(), &serial.0];
        for part in parts {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        }
        hex::show(context.sign().as_ref().get(..PSEUDONYM).unwrap_or_default())
    }
}

impl Published {
    /// As JSON, for the retained topic.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// One gateway's inventory as it is exported.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// What it published.
    pub published: &'a Published,
    /// Whether it is signed by the gateway's own key.
    pub is_proven: bool,
    /// What the advisories say of its devices.
    pub findings: &'a [Told],
}

/// Several inventories as one table (RFC 4180), each gateway before its devices.
pub fn to_csv(entries: &[Entry<'_>]) -> String {
    csv::write(entries)
}
