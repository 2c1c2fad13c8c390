//! The adapters of the double: who scans with which filter, and a radio that goes deaf, vanishes, or
//! comes back under another name.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dbus::arg::{PropMap, RefArg};
use dbus::{Message, Path};

use super::answers::{BAD_ARGUMENTS, FAILED, NO_METHOD, Refusal, refuse};
use super::{ADAPTER, DEVICE, HCI_ADDRESS, World, path_of};
use crate::lab::bluez::objects::Property;

/// A discovery filter as it came, each value as text.
pub type Filter = BTreeMap<String, String>;

/// What makes a deaf radio hear again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// A new start of the scan.
    Restart,
    /// Being switched off and on.
    PowerCycle,
    /// Nothing that a client of BlueZ can do.
    Replug,
}

impl World {
    /// For each scan that was started: the filter that the same client had set, if it had.
    pub fn scans(&self) -> &[Option<Filter>] {
        &self.scans
    }

    /// Whether the adapter is switched on.
    pub fn is_powered(&self) -> bool {
        self.objects.is(&self.hci, ADAPTER, "Powered")
    }

    pub(in crate::lab::bluez) fn go_deaf(&mut self, until: Cure) {
        self.deaf_until = Some(until);
    }

    /// The adapter goes, and everything below it.
    pub(in crate::lab::bluez) fn unplug(&mut self) {
        self.scanning.clear();
        let hci = self.hci.clone();
        self.objects.remove(&hci);
        self.changed = true;
    }

    /// The same adapter is there again, under a name that may be another one.
    pub(in crate::lab::bluez) fn plug_in(&mut self, name: &str) {
        self.hci = format!("/org/bluez/{name}");
        self.deaf_until = None;
        let hci = self.hci.clone();
        self.add_adapter(&hci, HCI_ADDRESS);
        let bonded: Vec<String> =
            self.peripherals.iter().filter(|(_, p)| p.emulated.bonded).map(|(a, _)| a.clone()).collect();
        for address in bonded {
            self.announce(&address, None);
        }
    }

    pub(in crate::lab::bluez) fn unplug_other(&mut self, name: &str) {
        self.objects.remove(&format!("/org/bluez/{name}"));
        self.changed = true;
    }

    /// Another adapter, which never hears anything.
    pub(in crate::lab::bluez) fn add_deaf_adapter(&mut self, name: &str, address: &str) {
        self.add_adapter(&format!("/org/bluez/{name}"), address);
    }

    /// Connecting to a device that is not there waits for it, so long: then it fails.
    pub(in crate::lab::bluez) fn let_absent_hang(&mut self, by: Duration) {
        self.absent_hang = Some(by);
    }

    /// Devices advertise this often, and BlueZ tells the signal strength of connected ones too.
    pub(in crate::lab::bluez) fn be_noisy(&mut self, period: Duration) {
        self.advert_period = period;
        self.is_noisy = true;
    }

    pub(super) fn delay_of(&self, call: &Message) -> Option<Duration> {
        self.delays.get(&*call.member()?).copied()
    }

    /// Keeps a call to connect to who is not there. Gives every other call back.
    pub(super) fn let_hang(&mut self, call: Message, now: Instant) -> Option<Message> {
        match self.absent_hang {
            Some(by) if self.is_to_absent(&call) => {
                self.hanging.push((now + by, call));
                None
            }
            Some(_) | None => Some(call),
        }
    }

    /// Who is called has come, or was waited for in vain: either is an answer, after its time.
    pub(super) fn handle_hanging(&mut self, now: Instant) {
        for (until, call) in std::mem::take(&mut self.hanging) {
            if until > now && self.is_to_absent(&call) {
                self.hanging.push((until, call));
            } else {
                let delay = self.delay_of(&call).unwrap_or_default();
                self.delayed.push((now + delay, call));
            }
        }
    }

    fn is_to_absent(&self, call: &Message) -> bool {
        let path = call.path();
        call.member().is_some_and(|member| &*member == "Connect")
            && self.peripherals.iter().any(|(address, peripheral)| {
                let called = path.as_ref().is_some_and(|path| **path == *path_of(&self.hci, address));
                called && !peripheral.in_range
            })
    }

    pub(super) fn perform_adapter(
        &mut self,
        call: &Message,
        path: &str,
        member: &str,
    ) -> Result<(), Refusal> {
        let sender = call.sender().map(|sender| sender.to_string()).unwrap_or_default();
        match member {
            "SetDiscoveryFilter" => {
                let Ok(given) = call.read1::<PropMap>() else { return refuse(BAD_ARGUMENTS, member) };
                let filter = given.into_iter().map(|(name, value)| (name, shown(&*value.0))).collect();
                self.filters.insert(sender, filter);
            }
            "StartDiscovery" if !self.objects.is(path, ADAPTER, "Powered") => {
                return refuse("org.bluez.Error.NotReady", "Resource Not Ready");
            }
            "StartDiscovery" if path == self.hci && !self.scanning.insert(sender.clone()) => {
                return refuse("org.bluez.Error.InProgress", "Operation already in progress");
            }
            "StopDiscovery" if path == self.hci && !self.scanning.remove(&sender) => {
                return refuse(FAILED, "No discovery started");
            }
            "StartDiscovery" => {
                self.scans.push(self.filters.get(&sender).cloned());
                self.deaf_until = self.deaf_until.filter(|cure| path != self.hci || *cure != Cure::Restart);
                self.objects.set(path, ADAPTER, "Discovering", Property::Bool(true));
            }
            "StopDiscovery" => {
                let scanning = path == self.hci && !self.scanning.is_empty();
                self.objects.set(path, ADAPTER, "Discovering", Property::Bool(scanning));
            }
            "RemoveDevice" => {
                let Some(path) = call.get1::<Path<'_>>() else { return refuse(BAD_ARGUMENTS, member) };
                self.remove_device(&path)?;
            }
            _ => return refuse(NO_METHOD, member),
        }
        Ok(())
    }

    /// A client sets a property. To switch an adapter off ends its connections and its scan.
    pub(super) fn set_property(
        &mut self,
        path: &str,
        (interface, name): (&'static str, &'static str),
        to: bool,
    ) {
        if path == self.hci && (interface, name) == (ADAPTER, "Powered") {
            if !to && self.is_powered() {
                return self.power_off();
            }
            if to && !self.is_powered() {
                self.deaf_until = self.deaf_until.filter(|cure| *cure == Cure::Replug);
            }
        }
        if (interface, name) == (DEVICE, "Trusted") {
            // Kept with the keys, also when bluetoothd is started again.
            let hci = self.hci.clone();
            let of_path = self.peripherals.iter_mut().find(|(address, _)| path_of(&hci, address) == path);
            if let Some((_, peripheral)) = of_path {
                peripheral.emulated.trusted = to;
            }
        }
        self.objects.set(path, interface, name, Property::Bool(to));
    }
}

fn shown(value: &dyn RefArg) -> String {
    match (value.as_str(), value.as_i64()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(number)) => number.to_string(),
        (None, None) => format!("{value:?}"),
    }
}
