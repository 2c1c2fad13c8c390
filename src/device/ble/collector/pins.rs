//! What the device is besides who it says it is: its revisions, and what it offers.
//!
//! Asked when all subscriptions stand and behind what is written then, so that no reading waits for it. What differs from what is known of this
//! very device (same maker, model and serial number) is given on as a [`Pin`]; it is what is known as soon as
//! it is durable. A refused device leaves nothing behind. What a device does not say, or what cannot be read,
//! changes nothing.
//!
//! What it offers is its Database Hash (2B2A) where it has one, which a device makes of its own attributes (Core
//! Specification 5.1, volume 3, part G, 7.3); else the list of its services and characteristics as BlueZ found
//! them. Both are kept as a hash against change, not against forgery: a device can give any answer.

use std::collections::VecDeque;

use bytes::Bytes;

use super::identity::readable;
use super::{Collector, DEVICE_INFORMATION};
use crate::device::ble::records::Hash;
use crate::device::pin::{Pin, Pinned};
use crate::device::{Action, FaultKind, Ticket};
use crate::link::gatt::{DATABASE_HASH, DISCOVERED};
use crate::link::{Characteristic, LinkCommand, NOT_OFFERED};

/// Software and hardware revision (DIS 1.2); the firmware revision is of the identity.
const SOFTWARE: Characteristic = Characteristic { service: DEVICE_INFORMATION, uuid: 0x2A28 };
const HARDWARE: Characteristic = Characteristic { service: DEVICE_INFORMATION, uuid: 0x2A27 };

/// What is asked for; [`DISCOVERED`] only where there is no Database Hash.
const ASKED: [Characteristic; 3] = [SOFTWARE, HARDWARE, DATABASE_HASH];

/// The words of the revisions, in the order in which they are kept.
const REVISIONS: [&str; 3] = ["firmware", "software", "hardware"];

/// The longest part of a revision that is kept and shown, in bytes. All of it counts.
const MAX_REVISION: usize = 24;

/// A shorter serial number may stand in a revision by chance.
const LEAST_SERIAL: usize = 4;

/// What is known of the device, what is asked of it, and what is on its way to become known.
#[derive(Default)]
pub(super) struct Pins {
    known: Known,
    /// All subscriptions stand, and nothing was asked yet.
    is_due: bool,
    asked: Option<Asked>,
    pending: VecDeque<(Option<Ticket>, Known)>,
}

/// What a device is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    /// A hash of who it says it is.
    owner: Option<u64>,
    revisions: [Option<Revision>; REVISIONS.len()],
    offers: Option<Offers>,
}

/// A revision: a hash of all of it, and as much of it as can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Revision {
    hash: u32,
    text: String,
}

/// A hash of what it offers, and what that is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offers {
    way: Way,
    hash: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    DatabaseHash = 1,
    Discovered = 2,
}

/// The answers of the present connection.
#[derive(Default)]
struct Asked {
    waits: Vec<Characteristic>,
    software: Option<String>,
    hardware: Option<String>,
    offers: Option<Offers>,
}

impl Collector {
    /// Asks what the device is.
    pub(super) fn ask_what_it_is(&mut self) {
        self.pins.asked = Some(Asked { waits: ASKED.to_vec(), ..Asked::default() });
        self.actions.extend(ASKED.map(|of| Action::Command(LinkCommand::Read(of))));
    }

    /// Takes an answer; `false` when it is none of these.
    pub(super) fn handle_pinned(&mut self, of: Characteristic, result: &Result<Bytes, String>) -> bool {
        let Some(asked) = &mut self.pins.asked else { return false };
        let Some(place) = asked.waits.iter().position(|waits| *waits == of) else { return false };
        asked.waits.swap_remove(place);
        match result {
            Ok(value) if of == SOFTWARE => asked.software = readable(value),
            Ok(value) if of == HARDWARE => asked.hardware = readable(value),
            Ok(value) => {
                let way = if of == DISCOVERED { Way::Discovered } else { Way::DatabaseHash };
                asked.offers = (!value.is_empty()).then(|| Offers { way, hash: hash(value) });
            }
            Err(reason) if reason == NOT_OFFERED => {
                if of == DATABASE_HASH {
                    asked.waits.push(DISCOVERED);
                    self.actions.push_back(Action::Command(LinkCommand::Read(DISCOVERED)));
                }
            }
            Err(reason) => {
                let detail = format!("{of:?} could not be read: {reason}");
                self.report(FaultKind::Refused, detail);
            }
        }
        if let Some(asked) = self.pins.asked.take_if(|asked| asked.waits.is_empty()) {
            self.compare(asked);
        }
        true
    }

    /// All answers are there: gives on what is new.
    fn compare(&mut self, asked: Asked) {
        let Some(owner) = self.owner else { return };
        let serial = self.identity.serial.clone();
        let stated = [self.identity.firmware.clone(), asked.software, asked.hardware];
        let stated = stated.map(|text| text.map(|text| Revision::of(&text, serial.as_deref())));
        let before = self.pins.latest(owner);
        let mut known = before.clone();
        known.owner = Some(owner);
        for (slot, stated) in known.revisions.iter_mut().zip(stated) {
            *slot = stated.or(slot.take());
        }
        if known.revisions != before.revisions {
            let change = revised(&before.revisions, &known.revisions);
            self.pin(Pin { of: Pinned::Firmware, change }, known.clone());
        }
        if asked.offers.is_some() && asked.offers != before.offers {
            let change = before.offers.zip(asked.offers).map(|(was, is)| was.change_to(is));
            known.offers = asked.offers;
            self.pin(Pin { of: Pinned::GattDatabase, change }, known);
        }
    }

    fn pin(&mut self, pin: Pin, known: Known) {
        self.pins.pending.push_back((None, known));
        self.actions.push_back(Action::Pin(pin));
    }
}

impl Pins {
    /// All subscriptions stand.
    pub(super) const fn handle_ready(&mut self) {
        self.is_due = true;
    }

    /// Whether it is time to ask; once.
    pub(super) const fn is_due(&mut self) -> bool {
        std::mem::replace(&mut self.is_due, false)
    }

    /// Whether answers are awaited, or will be at once.
    pub(super) const fn is_asking(&self) -> bool {
        self.is_due || self.asked.is_some()
    }

    /// The connection has ended.
    pub(super) fn handle_down(&mut self) {
        self.is_due = false;
        self.asked = None;
    }

    /// Takes the ticket of the pin that was given on last.
    pub(super) fn handle_ticket(&mut self, ticket: Ticket) {
        if let Some((of, _)) = self.pending.iter_mut().find(|(of, _)| of.is_none()) {
            *of = Some(ticket);
        }
    }

    /// What was given on up to this ticket is known from here on; whether that is something new.
    pub(super) fn handle_durable(&mut self, through: Ticket) -> bool {
        let mut is_new = false;
        while self.pending.front().is_some_and(|(of, _)| of.is_some_and(|ticket| ticket <= through)) {
            if let Some((_, known)) = self.pending.pop_front() {
                self.known = known;
                is_new = true;
            }
        }
        is_new
    }

    /// The device was refused for who it is.
    pub(super) fn handle_refused(&mut self, ticket: Ticket) {
        self.pending.retain(|(of, _)| of.is_none_or(|of| of > ticket));
    }

    /// What is known of this device, or will be.
    fn latest(&self, owner: u64) -> Known {
        let known = self.pending.back().map_or(&self.known, |(_, known)| known);
        if known.owner == Some(owner) { known.clone() } else { Known::default() }
    }

    /// What is to be remembered of a device.
    pub(super) fn put(&self, out: &mut Vec<u8>, owner: u64) {
        let known = Some(&self.known).filter(|known| known.owner == Some(owner));
        let offers = known.and_then(|known| known.offers);
        out.push(offers.map_or(0, |offers| offers.way as u8));
        out.extend(offers.map_or(0, |offers| offers.hash).to_le_bytes());
        for place in 0..REVISIONS.len() {
            let revision = known.and_then(|known| known.revisions.get(place)?.as_ref());
            // Longer than any that is kept: there is none.
            let length = revision.map_or(Some(u8::MAX), |of| u8::try_from(of.text.len()).ok());
            out.push(length.unwrap_or(u8::MAX));
            if let Some(Revision { hash, text }) = revision {
                out.extend(hash.to_le_bytes());
                out.extend(text.as_bytes());
            }
        }
    }

    /// Takes what was remembered of a device, and gives what stands behind it; `None`, and nothing is taken, when
    /// it does not read like this.
    pub(super) fn recalled(owner: u64, octets: &[u8]) -> Option<(Self, &[u8])> {
        let ([way, hash @ ..], mut rest) = octets.split_first_chunk::<9>()?;
        let way = match way {
            0 => None,
            1 => Some(Way::DatabaseHash),
            2 => Some(Way::Discovered),
            _ => return None,
        };
        let offers = way.map(|way| Offers { way, hash: u64::from_le_bytes(*hash) });
        let mut known = Known { owner: Some(owner), offers, ..Known::default() };
        for slot in &mut known.revisions {
            let (length, behind) = rest.split_first()?;
            rest = behind;
            if *length == u8::MAX {
                continue;
            }
            let (hash, behind) = rest.split_first_chunk::<4>()?;
            let (text, behind) = behind.split_at_checked(usize::from(*length))?;
            rest = behind;
            let text = std::str::from_utf8(text).ok()?.to_owned();
            *slot = Some(Revision { hash: u32::from_le_bytes(*hash), text });
        }
        Some((Self { known, ..Self::default() }, rest))
    }
}

impl Revision {
    /// A serial number in it is not shown.
    fn of(text: &str, serial: Option<&str>) -> Self {
        let [a, b, c, d, ..] = hash(text.as_bytes()).to_le_bytes();
        let hash = u32::from_le_bytes([a, b, c, d]);
        let is_in = |serial: &&str| serial.len() >= LEAST_SERIAL && text.contains(*serial);
        if serial.as_ref().is_some_and(is_in) {
            return Self { hash, text: "not shown".to_owned() };
        }
        let end = (0..=MAX_REVISION).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        Self { hash, text: text.get(..end).unwrap_or(text).to_owned() }
    }
}

impl Offers {
    fn change_to(self, is: Self) -> String {
        let of = |Self { way, hash }: Self| match way {
            Way::DatabaseHash => format!("database hash, {hash:016x}"),
            Way::Discovered => format!("list as found, {hash:016x}"),
        };
        format!("what it offers was {} and is {}", of(self), of(is))
    }
}

/// Which revisions are others than before, in words; a revision that was not known is none.
fn revised(before: &[Option<Revision>], after: &[Option<Revision>]) -> Option<String> {
    let changes = REVISIONS.iter().zip(before).zip(after).filter_map(|((word, was), is)| {
        let (was, is) = was.as_ref().zip(is.as_ref()).filter(|(was, is)| was != is)?;
        Some(format!("{word} was \"{}\" and is \"{}\"", was.text, is.text))
    });
    let changes: Vec<String> = changes.collect();
    (!changes.is_empty()).then(|| changes.join("; "))
}

fn hash(octets: &[u8]) -> u64 {
    let mut hash = Hash::default();
    hash.octets(octets);
    hash.0
}
