//! Who is registered for the values of a characteristic, and what a device sends.
//!
//! From BlueZ's source (`src/gatt-client.c`, `src/shared/gatt-client.c`): a registration is one of a D-Bus
//! client and ends with it; it is accepted while the device is not connected and takes effect when it is; the
//! descriptor is written for the first one and once more when the last one has gone. An indication is
//! confirmed whether anybody is registered or not. A bonded device keeps its descriptors (Core specification,
//! Vol 3 Part G, 3.3.3.3). A value is told once for each client that is registered, as each of them is called back
//! and writes it anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::answers::{FAILED, Refusal, refuse};
use super::{BluezError, CHARACTERISTIC, World};
use crate::lab::bluez::objects::Property;

/// Registrations, descriptors, and what devices have to say.
#[derive(Default)]
pub(super) struct Subscriptions {
    /// The bus names of those who are registered, by the path of the characteristic.
    registered: BTreeMap<String, BTreeSet<String>>,
    /// The characteristics whose descriptor is set at the device.
    written: BTreeSet<(String, u16)>,
    /// How often a descriptor was set.
    writes: BTreeMap<(String, u16), usize>,
    /// What is indicated as soon as it can be, by device.
    waiting: BTreeMap<String, VecDeque<(u16, Vec<u8>)>>,
    confirmed_to_nobody: BTreeMap<String, usize>,
}

impl Subscriptions {
    /// A characteristic is made anew: nobody is registered for it.
    pub(super) fn forget(&mut self, path: &str) {
        self.registered.remove(path);
    }
}

/// What can be looked at, and made to happen.
impl World {
    /// Whether a device is connected and somebody is registered for a characteristic.
    pub fn is_subscribed(&self, address: &str, uuid: u16) -> bool {
        self.is_connected(address) && self.subscribers(address, uuid) > 0
    }

    /// How many D-Bus clients are registered for a characteristic, connected or not.
    pub fn subscribers(&self, address: &str, uuid: u16) -> usize {
        self.find(address, uuid).map_or(0, |path| self.registrations(&path))
    }

    /// How often the descriptor of a characteristic was set.
    pub fn descriptor_writes(&self, address: &str, uuid: u16) -> usize {
        self.subscriptions.writes.get(&(address.to_owned(), uuid)).copied().unwrap_or_default()
    }

    /// How many indications of a device were confirmed while nobody was registered: they are lost.
    pub fn confirmed_to_nobody(&self, address: &str) -> usize {
        self.subscriptions.confirmed_to_nobody.get(address).copied().unwrap_or_default()
    }

    /// How many indications of a device wait until it can send them.
    pub fn indications_waiting(&self, address: &str) -> usize {
        self.subscriptions.waiting.get(address).map_or(0, VecDeque::len)
    }

    pub(in crate::lab::bluez) fn notify(
        &mut self,
        address: &str,
        uuid: u16,
        value: &[u8],
    ) -> Result<(), BluezError> {
        let path = self.find(address, uuid).filter(|_| self.is_subscribed(address, uuid));
        let path = path.ok_or_else(|| BluezError::NotSubscribed(format!("{address} {uuid:04X}")))?;
        self.tell(&path, value);
        Ok(())
    }

    pub(in crate::lab::bluez) fn indicate(&mut self, address: &str, uuid: u16, value: &[u8]) {
        self.changed = true;
        let waiting = self.subscriptions.waiting.entry(address.to_owned()).or_default();
        waiting.push_back((uuid, value.to_vec()));
        if self.is_connected(address) {
            self.send_indications(address);
        }
    }

    /// A client has left the bus.
    pub(in crate::lab::bluez) fn handle_gone(&mut self, client: &str) {
        let all = self.subscriptions.registered.iter();
        let of_it = all.filter(|(_, names)| names.contains(client)).map(|(path, _)| path.clone());
        for path in of_it.collect::<Vec<_>>() {
            self.end_registration(&path, client);
        }
        self.changed = true;
    }
}

impl World {
    pub(super) fn start_notify(
        &mut self,
        path: &str,
        client: String,
        is_connected: bool,
    ) -> Result<(), Refusal> {
        let names = self.subscriptions.registered.entry(path.to_owned()).or_default();
        if !names.insert(client) {
            // One that is at work is as good as a new one.
            return if is_connected {
                Ok(())
            } else {
                refuse("org.bluez.Error.InProgress", "Operation already in progress")
            };
        }
        if names.len() == 1 {
            self.objects.set(path, CHARACTERISTIC, "Notifying", Property::Bool(true));
        }
        if is_connected {
            self.write_descriptor(path);
            if let Some((address, _)) = self.address_and_uuid(path) {
                self.send_indications(&address);
            }
        }
        Ok(())
    }

    pub(super) fn stop_notify(&mut self, path: &str, client: &str) -> Result<(), Refusal> {
        let names = self.subscriptions.registered.get(path);
        if !names.is_some_and(|names| names.contains(client)) {
            return refuse(FAILED, "No notify session started");
        }
        self.end_registration(path, client);
        Ok(())
    }

    /// A device is connected, and nothing of it was found yet.
    pub(super) fn handle_connected(&mut self, device: &str) {
        let addresses = self.peripherals.keys().find(|address| self.path_of(address) == device);
        let Some(address) = addresses.cloned() else { return };
        if !self.is_bonded(&address) {
            self.subscriptions.written.retain(|(of, _)| *of != address);
        }
        for path in self.objects.paths_below(device) {
            if self.registrations(&path) > 0 {
                self.write_descriptor(&path);
            }
        }
        self.send_indications(&address);
    }

    fn registrations(&self, path: &str) -> usize {
        self.subscriptions.registered.get(path).map_or(0, BTreeSet::len)
    }

    fn end_registration(&mut self, path: &str, client: &str) {
        let Some(names) = self.subscriptions.registered.get_mut(path) else { return };
        names.remove(client);
        if !names.is_empty() {
            return;
        }
        self.subscriptions.registered.remove(path);
        self.objects.set(path, CHARACTERISTIC, "Notifying", Property::Bool(false));
        if let Some((address, uuid)) = self.address_and_uuid(path)
            && self.is_connected(&address)
        {
            self.subscriptions.written.remove(&(address, uuid));
        }
    }

    /// Sets the descriptor at the device for the first that is registered.
    fn write_descriptor(&mut self, path: &str) {
        let Some(of) = self.address_and_uuid(path) else { return };
        if self.subscriptions.written.insert(of.clone()) {
            *self.subscriptions.writes.entry(of).or_default() += 1;
        }
    }

    /// Tells a value to everybody, once for each client that is registered.
    fn tell(&mut self, path: &str, value: &[u8]) {
        for _ in 0..self.registrations(path) {
            self.objects.set(path, CHARACTERISTIC, "Value", Property::Octets(value.to_vec()));
        }
    }

    /// The device says what waits, in its order, as far as the descriptors are set.
    fn send_indications(&mut self, address: &str) {
        for (uuid, value) in self.subscriptions.waiting.remove(address).unwrap_or_default() {
            if !self.subscriptions.written.contains(&(address.to_owned(), uuid)) {
                let waiting = self.subscriptions.waiting.entry(address.to_owned()).or_default();
                waiting.push_back((uuid, value));
                continue;
            }
            match self.find(address, uuid).filter(|path| self.registrations(path) > 0) {
                Some(path) => self.tell(&path, &value),
                None => {
                    *self.subscriptions.confirmed_to_nobody.entry(address.to_owned()).or_default() += 1;
                }
            }
        }
    }
}
