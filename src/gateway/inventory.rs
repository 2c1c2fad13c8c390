//! What stands on the ward, as the gateway learns it: who each device of the allowlist is, since when it has been
//! heard, and when last.
//!
//! In: the allowlist, what the devices say of themselves, when each last gave a reading, and the file of before. Out:
//! rows, and the bytes of the file. Pure. Moments are by a clock that follows a reference: of what was heard before
//! it did, the moment is reckoned back when it does. What can go wrong: the file is broken; then it is told, and the
//! rows begin anew. What never happens: a device that is not the one that the allowlist expects passes for it; a
//! serial number is written where the site does not publish it; anything of a patient is known here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::stock::standing::Standing;
use crate::device::Identity;
use crate::fleet::advisories::inventory::{Device, SerialNumber};
use crate::fleet::documents::inventory::MAX_TEXT;
use crate::fleet::documents::own::text;
use crate::fleet::documents::{Digest, Stamp};
use crate::time::{ClockSync, Mono, Now, Wall};

/// The longest file.
pub const MAX_FILE: usize = 1 << 20;
/// The version of the file's shape.
const SHAPE: u32 = 1;

/// What is known of one device of the allowlist at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// Its id.
    pub id: &'a str,
    /// The driver or profiles.
    pub driver: &'a str,
    /// What the allowlist says that it is.
    pub expects: &'a Identity,
    /// What it last said of itself.
    pub stated: Option<&'a Identity>,
    /// Whether what said so is not the device of the allowlist.
    pub is_stranger: bool,
    /// When it last gave a reading in this run.
    pub last: Option<Now>,
}

/// One device, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    driver: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    make: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    firmware: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_seen: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_seen: Option<Stamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    shape: u32,
    devices: BTreeMap<String, Row>,
    /// Older files have none.
    #[serde(default, skip_serializing_if = "Standing::is_empty")]
    standing: Standing,
    sha256: Digest,
}

/// What a look has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// A device came, went, or is not what it was.
    pub is_changed: bool,
    /// A device was heard since.
    pub is_heard: bool,
}

/// The devices of the allowlist.
#[derive(Debug, Default)]
pub struct Tracker {
    rows: BTreeMap<String, Row>,
    /// When devices were first heard that could not be dated yet.
    undated: BTreeMap<String, Mono>,
    /// What was told of the advisories, and what is in quarantine.
    pub standing: Standing,
}

impl Tracker {
    /// What a file says. The error is in words.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Written { shape, devices, standing, sha256 } =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if shape != SHAPE {
            return Err(format!("it is of shape {shape}, this program reads {SHAPE}"));
        }
        if digest(&devices, &standing) != sha256 {
            return Err("its digest does not fit".to_owned());
        }
        Ok(Self { rows: devices, undated: BTreeMap::new(), standing })
    }

    /// The file. Without serial numbers where the site does not publish them.
    pub fn encode(&self, with_serials: bool) -> Vec<u8> {
        let mut devices = self.rows.clone();
        if !with_serials {
            for row in devices.values_mut() {
                row.serial = None;
            }
        }
        let standing = self.standing.clone();
        let sha256 = digest(&devices, &standing);
        // Text only: there is nothing that could not be written.
        serde_json::to_vec(&Written { shape: SHAPE, devices, standing, sha256 }).unwrap_or_default()
    }

    /// Takes in how the devices are at this moment. Who is not among them is not in the allowlist any more.
    pub fn look<'a>(&mut self, sights: impl IntoIterator<Item = Sight<'a>>, now: Now) -> Looked {
        let mut looked = Looked::default();
        let mut seen = BTreeSet::new();
        for sight in sights {
            seen.insert(sight.id.to_owned());
            let one = self.look_at(&sight, now);
            looked.is_changed |= one.is_changed;
            looked.is_heard |= one.is_heard;
        }
        let count = self.rows.len();
        self.rows.retain(|id, _| seen.contains(id));
        self.undated.retain(|id, _| seen.contains(id));
        looked.is_changed |= self.rows.len() != count;
        looked
    }

    fn look_at(&mut self, sight: &Sight<'_>, now: Now) -> Looked {
        let before = self.rows.get(sight.id);
        let mut row = identify(sight, before);
        let goes_on = before.is_some_and(|before| is_same(before, &row));
        if !goes_on {
            self.undated.remove(sight.id);
        }
        if let Some(before) = before.filter(|_| goes_on) {
            (row.first_seen, row.last_seen) = (before.first_seen, before.last_seen);
        }
        if let Some(last) = sight.last {
            let first = *self.undated.entry(sight.id.to_owned()).or_insert(last.mono);
            if now.sync == ClockSync::Synced {
                row.first_seen = row.first_seen.or_else(|| Some(moment(first, now)));
                row.last_seen = row.last_seen.max(Some(moment(last.mono, now)));
            }
        }
        let is_heard =
            before.is_none_or(|before| before.last_seen != row.last_seen) && row.last_seen.is_some();
        let is_changed =
            before.is_none_or(|before| Row { last_seen: row.last_seen, ..before.clone() } != row);
        self.rows.insert(sight.id.to_owned(), row);
        Looked { is_changed, is_heard }
    }

    /// The devices, in the order of their ids.
    pub fn devices(&self) -> Vec<Device> {
        let device = |(id, row): (&String, &Row)| Device {
            id: id.clone(),
            make: row.make.clone(),
            model: row.model.clone(),
            serial: row.serial.clone().map(SerialNumber::new),
            firmware: row.firmware.clone(),
            driver: Some(row.driver.clone()),
            first_seen: row.first_seen,
            last_seen: row.last_seen,
            end_of_support: None,
        };
        self.rows.iter().map(device).collect()
    }
}

fn digest(devices: &BTreeMap<String, Row>, standing: &Standing) -> Digest {
    let mut bytes = serde_json::to_vec(devices).unwrap_or_default();
    if !standing.is_empty() {
        bytes.extend(serde_json::to_vec(standing).unwrap_or_default());
    }
    Digest::of(&bytes)
}

/// When something was, by a clock that follows a reference now: a whole second.
fn moment(then: Mono, now: Now) -> Stamp {
    let ago = i64::try_from(now.mono.since(then).as_millis()).unwrap_or(i64::MAX);
    let millis = now.wall.as_millis().saturating_sub(ago);
    Stamp(Wall::from_millis(millis.saturating_sub(millis.rem_euclid(1_000))))
}

/// Whether a row goes on: another serial number is another device, and so is what another driver reads.
fn is_same(before: &Row, row: &Row) -> bool {
    let serials = before.serial.as_ref().zip(row.serial.as_ref());
    before.driver == row.driver && serials.is_none_or(|(one, other)| one == other)
}

/// Who it is: what it says itself, or what the allowlist says, or what was known, or what its driver alone says.
fn identify(sight: &Sight<'_>, before: Option<&Row>) -> Row {
    let driver = cut(sight.driver).unwrap_or_default();
    let before = before.filter(|before| before.driver == driver);
    let stated = sight.stated.filter(|_| !sight.is_stranger);
    let facts = FACTS.iter().find(|facts| facts.driver == sight.driver);
    let said = |field: fn(&Identity) -> Option<&String>| {
        let known = stated.and_then(field).or_else(|| field(sight.expects));
        known.and_then(|known| cut(known))
    };
    let serial = said(|identity| identity.serial.as_ref());
    let is_other = before.and_then(|before| before.serial.as_ref()).zip(serial.as_ref());
    let before = before.filter(|_| is_other.is_none_or(|(one, other)| one == other));
    let of = |field: fn(&Row) -> &Option<String>| before.and_then(|before| field(before).clone());
    let firmware = said(|identity| identity.firmware.as_ref());
    let firmware = match facts.map(|facts| facts.revision) {
        Some(Revision::OfProtocol) => None,
        Some(Revision::BeforeColon) => firmware
            .and_then(|text| cut(text.split_once(':').map_or(text.as_str(), |(of_device, _)| of_device))),
        Some(Revision::OfDevice) | None => firmware,
    };
    let fact = |field: fn(&Facts) -> Option<&'static str>| facts.and_then(field).map(str::to_owned);
    Row {
        make: said(|identity| identity.maker.as_ref())
            .or(of(|row| &row.make))
            .or(fact(|facts| Some(facts.make))),
        model: said(|identity| identity.model.as_ref())
            .or(of(|row| &row.model))
            .or(fact(|facts| facts.model)),
        serial: serial.or(of(|row| &row.serial)),
        firmware: firmware.or(of(|row| &row.firmware)),
        driver,
        first_seen: None,
        last_seen: None,
    }
}

/// A text as it is published; none: it says nothing.
fn cut(raw: &str) -> Option<String> {
    let text = text(raw.trim(), MAX_TEXT);
    (!text.is_empty()).then_some(text)
}

/// What a driver alone says of what it reads.
struct Facts {
    driver: &'static str,
    make: &'static str,
    /// Where it reads one model, or one family.
    model: Option<&'static str>,
    revision: Revision,
}

/// What its `firmware` is of.
#[derive(Clone, Copy)]
enum Revision {
    OfDevice,
    /// Advisories speak of software.
    OfProtocol,
    /// Of the device, `:`, of the protocol (`device/serial/draeger_medibus/replies.rs`).
    BeforeColon,
}

const fn facts(
    driver: &'static str,
    make: &'static str,
    model: Option<&'static str>,
    revision: Revision,
) -> Facts {
    Facts { driver, make, model, revision }
}

/// From the titles of the drivers (`SerialModel::title`), as far as all that one reads is of one maker.
const FACTS: [Facts; 11] = [
    facts("alaris-asena", "Alaris", Some("Asena"), Revision::OfProtocol),
    facts("bbraun-bcc", "B. Braun", Some("Space"), Revision::OfDevice),
    facts("draeger-medibus", "Dräger", None, Revision::BeforeColon),
    facts("fresenius-base-a", "Fresenius Vial", None, Revision::OfDevice),
    facts("hospira-plum-aplus", "Hospira", Some("Plum A+"), Revision::OfDevice),
    facts("maquet-servo-i", "Maquet", None, Revision::OfDevice),
    facts("masimo-ascii1", "Masimo", None, Revision::OfDevice),
    facts("nellcor", "Nellcor", None, Revision::OfDevice),
    facts("nonin", "Nonin", None, Revision::OfDevice),
    facts("philips-intellivue", "Philips", None, Revision::OfDevice),
    facts("puritan-bennett-840", "Puritan Bennett", None, Revision::OfDevice),
];

#[cfg(test)]
#[path = "inventory/tests.rs"]
mod tests;
