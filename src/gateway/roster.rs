//! Who has which place: a place is a [`DeviceIndex`], by which sessions, gate, intake and blocks name a device.
//!
//! In: devices that begin or end. Out: a place for each. What never happens: a place is given twice in a run.
//! Reports of a session that was ended are on their way for a while, and what they name must be what they
//! meant.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::change::Group;
use crate::config::{Connection, Device};
use crate::device::{DeviceIndex, Part, Settled};
use crate::envelope::keys::WardKey;
use crate::policy::DeviceRule;

/// The places of a run.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// How many were ever given.
    given: usize,
    /// Those of a device and of its parts, by its id.
    places: BTreeMap<String, Vec<DeviceIndex>>,
}

/// No place is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("devices were changed so often in this run that no number is left for another: restart the daemon")]
pub struct NoPlace;

/// What the session of one device is made from.
pub struct Seat {
    /// The device that has a link of its own, under the name that leaves the gateway.
    pub device: Device,
    /// Its place.
    pub place: DeviceIndex,
    /// The places of what is behind its port.
    pub parts: BTreeMap<Part, DeviceIndex>,
    /// What became of its observations.
    pub settled: watch::Receiver<Settled>,
}

/// Devices that begin together.
pub struct Seating {
    /// The place of the first; the others follow in order.
    pub first: DeviceIndex,
    /// What the gate is to know of each, and how its session hears what became of its observations.
    pub rules: Vec<(DeviceRule, watch::Sender<Settled>)>,
    /// One for each session.
    pub seats: Vec<Seat>,
}

impl Roster {
    /// Takes the places of a device and of its parts away, for ever.
    pub fn leave(&mut self, id: &str) -> Vec<DeviceIndex> {
        self.places.remove(id).unwrap_or_default()
    }

    /// Gives each device a place that nobody ever had.
    pub fn seat(&mut self, groups: &[Group<'_>], ward: &WardKey) -> Result<Seating, NoPlace> {
        let first = self.next_place()?;
        let (mut rules, mut seats) = (Vec::new(), Vec::new());
        for group in groups {
            let place = self.next()?;
            let (told, settled) = watch::channel(Settled::default());
            let rule = named(group.host, ward);
            let host = Device { rule: rule.clone(), ..group.host.clone() };
            rules.push((rule, told));
            let (mut all, mut parts) = (vec![place], BTreeMap::new());
            for device in &group.parts {
                let at = self.next()?;
                let rule = DeviceRule { behind: Some(place), ..named(device, ward) };
                rules.push((rule, watch::Sender::new(Settled::default())));
                if let Connection::Part { part, .. } = device.connection {
                    parts.insert(part, at);
                }
                all.push(at);
            }
            self.places.insert(group.id().to_owned(), all);
            seats.push(Seat { device: host, place, parts, settled });
        }
        Ok(Seating { first, rules, seats })
    }

    /// Whether so many more devices can be seated.
    pub fn has_places(&self, devices: usize) -> Result<(), NoPlace> {
        let places = usize::from(u16::MAX) + 1;
        if self.given + devices <= places { Ok(()) } else { Err(NoPlace) }
    }

    /// The place that the next device is given.
    fn next_place(&self) -> Result<DeviceIndex, NoPlace> {
        u16::try_from(self.given).map(DeviceIndex).map_err(|_| NoPlace)
    }

    fn next(&mut self) -> Result<DeviceIndex, NoPlace> {
        let place = self.next_place()?;
        self.given += 1;
        Ok(place)
    }
}

/// A device's rule with the pseudonyms of its asset and of its place. The words before a place keep it apart from an
/// asset of the same name.
fn named(device: &Device, ward: &WardKey) -> DeviceRule {
    let mut rule = device.rule.clone();
    rule.card.pseudonym = ward.pseudonym(&device.asset);
    let location = device.location.as_ref();
    rule.card.location = location.map(|location| ward.pseudonym(&format!("location {location}")));
    rule
}

#[cfg(test)]
pub(super) mod tests;
