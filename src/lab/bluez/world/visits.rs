//! Devices that are there for seconds: each advertises, says one thing once somebody has subscribed, and
//! goes, heard or not.

use std::time::{Duration, Instant};

use super::World;

/// One appearance of an emulated device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The device, which must have been added.
    pub address: String,
    /// When it begins to advertise, from now on.
    pub after: Duration,
    /// How long it is there.
    pub stays: Duration,
    /// The characteristic of the one value that it has to say.
    pub uuid: u16,
    /// The value.
    pub value: Vec<u8>,
}

/// What became of a visit that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The device.
    pub address: String,
    /// How long after its first advertisement it could say its value; `None`: nobody subscribed in time.
    pub said: Option<Duration>,
}

/// A visit that is planned or under way.
pub(super) struct Guest {
    visit: Visit,
    /// When it came, once it has.
    since: Option<Instant>,
    said: Option<Duration>,
}

impl World {
    /// The visits that are over.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    pub(in crate::lab::bluez) fn plan(&mut self, visits: Vec<Visit>, now: Instant) {
        for visit in visits {
            let due = now + visit.after;
            if let Some(peripheral) = self.peripherals.get_mut(&visit.address) {
                peripheral.in_range = false;
            }
            self.guests.push((due, Guest { visit, since: None, said: None }));
        }
    }

    pub(super) fn handle_visits(&mut self, now: Instant) {
        let guests = std::mem::take(&mut self.guests);
        for (due, mut guest) in guests {
            if now < due {
                self.guests.push((due, guest));
                continue;
            }
            let address = guest.visit.address.clone();
            if guest.since.is_none() {
                guest.since = Some(now);
                let _ = self.set_in_range(&address, true);
            }
            let there = guest.since.map(|since| now.saturating_duration_since(since)).unwrap_or_default();
            if guest.said.is_none() && self.is_subscribed(&address, guest.visit.uuid) {
                let said = self.notify(&address, guest.visit.uuid, &guest.visit.value);
                guest.said = said.is_ok().then_some(there);
            }
            if there < guest.visit.stays {
                self.guests.push((due, guest));
                continue;
            }
            let _ = self.set_in_range(&address, false);
            self.outcomes.push(Outcome { address, said: guest.said });
        }
    }
}
