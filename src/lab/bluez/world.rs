//! What the double knows, and what can be made to happen.
//!
//! In: what the caller wants. Out: the state, and the signals that its changes make.

mod adapters;
mod answers;
mod pairing;
mod subscriptions;
mod visits;

pub(super) use answers::Refusal;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use dbus::Message;

use super::BluezError;
use super::emulated::{Emulated, EmulatedService};
use super::objects::{Interface, Object, Objects, Property};
use super::records::{Effect, Memory};

pub use adapters::{Cure, Filter};
pub use visits::{Outcome, Visit};

/// The adapter that hears, until it is told otherwise, and its address.
const HCI: &str = "/org/bluez/hci0";
const HCI_ADDRESS: &str = "C0:DE:00:00:00:01";
const ADAPTER: &str = "org.bluez.Adapter1";
const DEVICE: &str = "org.bluez.Device1";
const SERVICE: &str = "org.bluez.GattService1";
const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";

/// A quick advertiser.
const ADVERT_PERIOD: Duration = Duration::from_millis(50);

/// A call that was made of the double.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The object.
    pub path: String,
    /// The method; for a property that was set, `Set` and its name.
    pub member: String,
}

struct Peripheral {
    emulated: Emulated,
    in_range: bool,
    advertising: bool,
    half_open: usize,
    /// How often it goes again as soon as it is connected.
    goes: usize,
}

struct Failure {
    error: String,
    text: String,
    times: usize,
}

/// The whole state of the double.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about an emulated daemon and its radio")]
pub struct World {
    pub(super) owns_name: bool,
    alive: bool,
    /// The path of the adapter that hears.
    hci: String,
    /// The discovery filters of the clients, by bus name.
    filters: BTreeMap<String, Filter>,
    scans: Vec<Option<Filter>>,
    deaf_until: Option<Cure>,
    /// How often devices advertise.
    advert_period: Duration,
    /// Whether BlueZ tells the signal strength of connected devices too.
    is_noisy: bool,
    absent_hang: Option<Duration>,
    hanging: Vec<(Instant, Message)>,
    guests: Vec<(Instant, visits::Guest)>,
    outcomes: Vec<Outcome>,
    peripherals: BTreeMap<String, Peripheral>,
    objects: Objects,
    calls: Vec<Call>,
    failures: BTreeMap<String, Failure>,
    delays: BTreeMap<String, Duration>,
    delayed: Vec<(Instant, Message)>,
    outbox: Vec<Message>,
    /// The bus names of those who scan: BlueZ keeps a session for each.
    scanning: BTreeSet<String>,
    advertise_at: Option<Instant>,
    strong: bool,
    changed: bool,
    pairing: pairing::Pairing,
    subscriptions: subscriptions::Subscriptions,
    /// What devices keep, by address.
    pub(super) memories: BTreeMap<String, Memory>,
    /// What is still to happen because of them, in order.
    pub(super) due: VecDeque<(String, Effect)>,
}

/// What can be looked at.
impl World {
    /// All calls so far, but those that only look.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// How often a method was called of a device and of what is below it.
    pub fn count(&self, address: &str, member: &str) -> usize {
        let path = self.path_of(address);
        self.calls.iter().filter(|call| call.member == member && is_at_or_below(&call.path, &path)).count()
    }

    /// Every call of a device and of what is below it.
    pub fn calls_to(&self, address: &str) -> Vec<Call> {
        let path = self.path_of(address);
        self.calls.iter().filter(|call| is_at_or_below(&call.path, &path)).cloned().collect()
    }

    /// Whether a device is connected.
    pub fn is_connected(&self, address: &str) -> bool {
        self.objects.is(&self.path_of(address), DEVICE, "Connected")
    }

    /// Whether the adapter scans.
    pub fn is_scanning(&self) -> bool {
        self.objects.is(&self.hci, ADAPTER, "Discovering")
    }

    /// Whether the adapter has announced the device.
    pub fn is_known(&self, address: &str) -> bool {
        self.objects.get(&self.path_of(address)).is_some()
    }

    pub(super) const fn is_alive(&self) -> bool {
        self.alive
    }

    fn find(&self, address: &str, uuid: u16) -> Option<String> {
        let wanted = Property::Text(long_uuid(uuid));
        let below = self.objects.paths_below(&self.path_of(address));
        below.into_iter().find(|path| self.objects.property(path, CHARACTERISTIC, "UUID") == Some(&wanted))
    }
}

/// What can be made to happen.
impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            owns_name: false,
            alive: true,
            hci: HCI.to_owned(),
            filters: BTreeMap::new(),
            scans: Vec::new(),
            deaf_until: None,
            advert_period: ADVERT_PERIOD,
            is_noisy: false,
            absent_hang: None,
            hanging: Vec::new(),
            guests: Vec::new(),
            outcomes: Vec::new(),
            peripherals: BTreeMap::new(),
            objects: Objects::default(),
            calls: Vec::new(),
            failures: BTreeMap::new(),
            delays: BTreeMap::new(),
            delayed: Vec::new(),
            outbox: Vec::new(),
            scanning: BTreeSet::new(),
            advertise_at: None,
            strong: false,
            changed: false,
            pairing: pairing::Pairing::default(),
            subscriptions: subscriptions::Subscriptions::default(),
            memories: BTreeMap::new(),
            due: VecDeque::new(),
        };
        world.add_adapter(HCI, HCI_ADDRESS);
        world
    }

    pub(super) fn add(&mut self, emulated: Emulated) {
        let address = emulated.address.clone();
        self.peripherals.insert(
            address,
            Peripheral { emulated, in_range: true, advertising: true, half_open: 0, goes: 0 },
        );
    }

    pub(super) fn set_in_range(&mut self, address: &str, in_range: bool) -> Result<(), BluezError> {
        self.peripheral(address)?.in_range = in_range;
        if !in_range {
            self.disconnect(address);
        }
        Ok(())
    }

    pub(super) fn set_advertising(&mut self, address: &str, advertising: bool) -> Result<(), BluezError> {
        self.peripheral(address)?.advertising = advertising;
        Ok(())
    }

    pub(super) fn set_value(&mut self, address: &str, uuid: u16, value: &[u8]) -> Result<(), BluezError> {
        let services = &mut self.peripheral(address)?.emulated.services;
        let mut all = services.iter_mut().flat_map(|service| &mut service.characteristics);
        let found = all.find(|characteristic| characteristic.uuid == uuid);
        let found = found.ok_or_else(|| BluezError::Unknown(format!("{address} {uuid:04X}")))?;
        value.clone_into(&mut found.value);
        Ok(())
    }

    pub(super) fn drop_connection(&mut self, address: &str) -> Result<(), BluezError> {
        self.peripheral(address)?;
        self.disconnect(address);
        Ok(())
    }

    pub(super) fn remove_object(&mut self, address: &str) -> Result<(), BluezError> {
        self.peripheral(address)?;
        let path = self.path_of(address);
        self.objects.remove(&path);
        Ok(())
    }

    pub(super) fn forget_calls(&mut self) {
        self.calls.clear();
        self.scans.clear();
    }

    pub(super) fn fail(&mut self, member: &str, error: &str, text: &str, times: usize) {
        let failure = Failure { error: error.to_owned(), text: text.to_owned(), times };
        self.failures.insert(member.to_owned(), failure);
    }

    pub(super) fn delay(&mut self, member: &str, by: Duration) {
        self.delays.insert(member.to_owned(), by);
    }

    pub(super) fn leave_half_open(&mut self, address: &str, times: usize) -> Result<(), BluezError> {
        self.peripheral(address)?.half_open = times;
        Ok(())
    }

    pub(super) fn go_on_connect(&mut self, address: &str, times: usize) -> Result<(), BluezError> {
        self.peripheral(address)?.goes = times;
        Ok(())
    }

    pub(super) fn power_off(&mut self) {
        let addresses: Vec<String> = self.peripherals.keys().cloned().collect();
        for address in addresses {
            self.disconnect(&address);
        }
        self.scanning.clear();
        let hci = self.hci.clone();
        self.objects.set(&hci, ADAPTER, "Discovering", Property::Bool(false));
        self.objects.set(&hci, ADAPTER, "Powered", Property::Bool(false));
    }

    pub(super) fn die(&mut self) {
        self.alive = false;
        self.objects.forget_all();
        self.scanning.clear();
        self.delayed.clear();
        self.pairing.forget_processes();
        self.hanging.clear();
        self.changed = true;
    }

    pub(super) fn come_back(&mut self) {
        self.alive = true;
        let hci = self.hci.clone();
        self.add_adapter(&hci, HCI_ADDRESS);
        let bonded: Vec<String> = self
            .peripherals
            .iter()
            .filter(|(_, peripheral)| peripheral.emulated.bonded)
            .map(|(address, _)| address.clone())
            .collect();
        for address in bonded {
            self.announce(&address, None);
        }
    }

    fn path_of(&self, address: &str) -> String {
        path_of(&self.hci, address)
    }

    fn peripheral(&mut self, address: &str) -> Result<&mut Peripheral, BluezError> {
        // Whatever the caller does next may be what somebody waits for.
        self.changed = true;
        self.peripherals.get_mut(address).ok_or_else(|| BluezError::Unknown(address.to_owned()))
    }

    fn add_adapter(&mut self, path: &str, address: &str) {
        let properties = Interface::from([
            ("Address", Property::text(address)),
            ("AddressType", Property::text("public")),
            ("Name", Property::text("double")),
            ("Alias", Property::text("double")),
            ("Modalias", Property::text("usb:v1D6Bp0246d0542")),
            ("Powered", Property::Bool(true)),
            ("Pairable", Property::Bool(false)),
            ("PairableTimeout", Property::U32(0)),
            ("Discovering", Property::Bool(false)),
        ]);
        self.objects.add(path, Object::from([(ADAPTER, properties)]));
    }

    /// An advertisement was heard: the object is made, or its signal strength changes.
    fn announce(&mut self, address: &str, strength: Option<i16>) {
        let path = self.path_of(address);
        if self.objects.get(&path).is_some() {
            if let Some(strength) = strength {
                self.objects.set(&path, DEVICE, "RSSI", Property::I16(strength));
            }
            return;
        }
        let Some(peripheral) = self.peripherals.get(address) else { return };
        let Emulated { name, bonded, trusted, services, .. } = &peripheral.emulated;
        let uuids = services.iter().map(|service| long_uuid(service.uuid)).collect();
        let mut properties = Interface::from([
            ("Adapter", Property::Object(self.hci.clone())),
            ("Address", Property::text(address)),
            ("AddressType", Property::text("random")),
            ("Name", Property::text(name)),
            ("Alias", Property::text(name)),
            ("Paired", Property::Bool(*bonded)),
            ("Bonded", Property::Bool(*bonded)),
            ("Trusted", Property::Bool(*trusted)),
            ("Blocked", Property::Bool(false)),
            ("LegacyPairing", Property::Bool(false)),
            ("Connected", Property::Bool(false)),
            ("ServicesResolved", Property::Bool(false)),
            ("UUIDs", Property::Texts(uuids)),
        ]);
        if let Some(strength) = strength {
            properties.insert("RSSI", Property::I16(strength));
        }
        self.objects.add(&path, Object::from([(DEVICE, properties)]));
    }

    fn add_services(&mut self, device: &str, services: &[EmulatedService]) {
        let mut handle = 1;
        for service in services {
            let service_path = format!("{device}/service{handle:04x}");
            handle += 1;
            // Kept from an earlier connection.
            let is_kept = self.objects.get(&service_path).is_some();
            let properties = Interface::from([
                ("UUID", Property::Text(long_uuid(service.uuid))),
                ("Primary", Property::Bool(true)),
                ("Device", Property::Object(device.to_owned())),
            ]);
            if !is_kept {
                self.objects.add(&service_path, Object::from([(SERVICE, properties)]));
            }
            for characteristic in &service.characteristics {
                let path = format!("{service_path}/char{handle:04x}");
                handle += 2;
                if is_kept {
                    continue;
                }
                self.subscriptions.forget(&path);
                let flags = characteristic.flags.iter().map(|&flag| flag.to_owned()).collect();
                let properties = Interface::from([
                    ("UUID", Property::Text(long_uuid(characteristic.uuid))),
                    ("Service", Property::Object(service_path.clone())),
                    ("Value", Property::Octets(Vec::new())),
                    ("Flags", Property::Texts(flags)),
                    ("Notifying", Property::Bool(false)),
                    ("MTU", Property::U16(247)),
                ]);
                self.objects.add(&path, Object::from([(CHARACTERISTIC, properties)]));
            }
        }
    }

    /// BlueZ keeps the services of a bonded device (`main.conf`, `Cache`); those of another go with its
    /// connection.
    fn disconnect(&mut self, address: &str) {
        let path = self.path_of(address);
        if !self.objects.is(&path, DEVICE, "Connected") {
            return;
        }
        self.end_remembering(address);
        self.objects.set(&path, DEVICE, "ServicesResolved", Property::Bool(false));
        self.objects.set(&path, DEVICE, "Connected", Property::Bool(false));
        if self.is_bonded(address) {
            return;
        }
        for below in self.objects.paths_below(&path) {
            if self.objects.get(&below).is_some_and(|object| object.contains_key(SERVICE)) {
                self.objects.remove(&below);
            }
        }
    }
}

impl World {
    /// Which characteristic of which device is at a path.
    pub(super) fn address_and_uuid(&self, path: &str) -> Option<(String, u16)> {
        let Property::Text(uuid) = self.objects.property(path, CHARACTERISTIC, "UUID")? else { return None };
        let uuid = u16::from_str_radix(uuid.get(4..8)?, 16).ok()?;
        let address = self.peripherals.keys().find(|address| is_at_or_below(path, &self.path_of(address)))?;
        Some((address.clone(), uuid))
    }
}

fn path_of(hci: &str, address: &str) -> String {
    format!("{hci}/dev_{}", address.replace(':', "_"))
}

fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn long_uuid(short: u16) -> String {
    format!("0000{short:04x}-0000-1000-8000-00805f9b34fb")
}
