//! Bluetooth Low Energy over BlueZ: one [`Central`] for each adapter, one [`BleLink`] for each device.
//!
//! In: the addresses of the allowlist, and what a session asks of its link. Out: link events. The
//! central scans without end and tells the links when their device is there; a link connects,
//! finds the services, reads and subscribes. Only this folder names btleplug, which the links use, and
//! D-Bus, which the central uses: btleplug can neither choose the transport of a scan nor switch an
//! adapter off, asks BlueZ a question for each advertisement, and does not tell that `org.bluez` went
//! away, that an object was removed, or whether a device is bonded.
//!
//! What can go wrong: everything may vanish at any time, the peripheral, the adapter, `bluetoothd`,
//! the bus. Each ends the links with [`LinkEvent::Down`](super::LinkEvent::Down), and the central
//! brings the radio back by itself. A notification stream of btleplug never ends by itself, so a
//! link watches the disconnect events beside it.
//!
//! What never happens: a connection to an address that is not on the allowlist (a link can only
//! wait for the entry that the central made of it); a write of anything but what [`gatt`](super::gatt)
//! can make; a link left half open after a failed attempt.
//!
//! Limits that come from below: BlueZ confirms an indication by itself before a value reaches this
//! process, so a registration for it stands whenever one is possible (`keeper`); services of one device that have
//! the same UUID collapse to one; a value that is read from a characteristic that is also subscribed to arrives
//! as a notification too; the queue between the bus and a link has no bound of its own, so a session must keep
//! calling `next`. When the bus dies btleplug's streams may print a panic of theirs, which ends nothing. Links
//! must be dropped inside the runtime.

mod adapter;
mod bus;
mod central;
mod connection;
mod keeper;
mod objects;
pub mod pairing;
mod peripheral;
mod radios;
mod session;
mod undelivered;
mod watchdog;

use std::fmt;
use std::str::FromStr;

pub use central::{Central, Handle, Presence, Status, Unlisted};
pub use peripheral::{BleLink, Demand};
pub use radios::{RadioSeen, radios};

/// A device address: the public one, or the identity address behind a private one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 6]);

/// The text is not a device address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a device address: write six pairs of hexadecimal digits with colons, for instance F1:00:00:00:00:01"
)]
pub struct NotAddress;

impl FromStr for Address {
    type Err = NotAddress;

    fn from_str(text: &str) -> Result<Self, NotAddress> {
        let mut octets = [0; 6];
        let mut pairs = text.split(':');
        for octet in &mut octets {
            let pair = pairs.next().ok_or(NotAddress)?;
            if pair.len() != 2 || !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(NotAddress);
            }
            *octet = u8::from_str_radix(pair, 16).map_err(|_| NotAddress)?;
        }
        if pairs.next().is_some() { Err(NotAddress) } else { Ok(Self(octets)) }
    }
}

/// Upper case with colons, as on a label.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, octet) in self.0.iter().enumerate() {
            let colon = if place == 0 { "" } else { ":" };
            write!(f, "{colon}{octet:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What BlueZ says of the keys shared with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// No keys: what it says can be read and forged by anybody near.
    Open,
    /// Keys that hold for this connection only.
    Paired,
    /// Keys that are kept, of a device that nobody called trusted: whoever made them, `wardline pair` did not,
    /// or not to its end.
    Unproven,
    /// Keys that are kept, of a trusted device. BlueZ from 5.87 on encrypts every connection with them; an
    /// older one does so only when the device demands it.
    Bonded,
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Paired => "paired",
            Self::Unproven => "bonded but not trusted",
            Self::Bonded => "bonded",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_it_is_shown() {
        for (text, shown) in
            [("F1:00:00:00:00:01", "F1:00:00:00:00:01"), ("c0:de:00:ab:cd:ef", "C0:DE:00:AB:CD:EF")]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            "F1:00:00:00:00",
            "F1:00:00:00:00:01:02",
            "F1-00-00-00-00-01",
            "F1:00:00:00:00:1",
            "F1:00:00:00:00:+1",
            "G1:00:00:00:00:01",
            "F1:00:00:00:00:01 ",
        ] {
            assert_eq!(text.parse::<Address>(), Err(NotAddress), "{text:?}");
        }
    }
}
