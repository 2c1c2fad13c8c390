//! What the double knows, and how it answers.
//!
//! In: D-Bus calls, the passing of time, and what the caller makes happen. Out: answers and signals,
//! in the order in which BlueZ gives them: properties change before the call that changed them
//! is answered, a read value is announced before it is returned.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::{Duration, Instant};

use dbus::arg::Variant;
use dbus::strings::ErrorName;
use dbus::{Message, Path};

use super::BluezError;
use super::objects::{Interface, OBJECT_MANAGER, Object, Objects, PROPERTIES, Property, prop_map};

const HCI: &str = "/org/bluez/hci0";
const ADAPTER: &str = "org.bluez.Adapter1";
const DEVICE: &str = "org.bluez.Device1";
const SERVICE: &str = "org.bluez.GattService1";
const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";
const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";

const FAILED: &str = "org.bluez.Error.Failed";
const NO_OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";
const NO_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";
const BAD_ARGUMENTS: &str = "org.freedesktop.DBus.Error.InvalidArgs";

/// A quick advertiser.
const ADVERT_PERIOD: Duration = Duration::from_millis(50);

/// The log keeps this many calls; a demonstration that runs for days does not grow.
const CALLS_KEPT: usize = 100_000;

/// An emulated device.
#[derive(Clone, Debug)]
pub struct Emulated {
    /// Its address, upper case with colons.
    pub address: String,
    /// Its advertised name.
    pub name: String,
    /// Whether it shares keys with the adapter.
    pub bonded: bool,
    /// What it offers.
    pub services: Vec<EmulatedService>,
}

/// A service of an emulated device.
#[derive(Clone, Debug)]
pub struct EmulatedService {
    /// The 16-bit UUID.
    pub uuid: u16,
    /// Its characteristics.
    pub characteristics: Vec<EmulatedCharacteristic>,
}

/// A characteristic of an emulated device.
#[derive(Clone, Debug)]
pub struct EmulatedCharacteristic {
    /// The 16-bit UUID.
    pub uuid: u16,
    /// What may be done with it, in BlueZ's words: `read`, `notify`, `indicate`, `write`.
    pub flags: &'static [&'static str],
    /// What reading it gives.
    pub value: Vec<u8>,
}

impl Emulated {
    /// A heart rate belt that offers its control point too: whoever writes there is found out.
    pub fn heart_rate(address: &str, serial: &str) -> Self {
        let measurement = EmulatedCharacteristic { uuid: 0x2A37, flags: &["notify"], value: Vec::new() };
        let control = EmulatedCharacteristic { uuid: 0x2A39, flags: &["write"], value: Vec::new() };
        let heart = EmulatedService { uuid: 0x180D, characteristics: vec![measurement, control] };
        Self::new(address, "Belt", vec![heart, device_information("Belt 1", serial)])
    }

    /// A pulse oximeter with spot-check and continuous measurements.
    pub fn pulse_oximeter(address: &str, serial: &str) -> Self {
        let spot = EmulatedCharacteristic { uuid: 0x2A5E, flags: &["indicate"], value: Vec::new() };
        let continuous = EmulatedCharacteristic { uuid: 0x2A5F, flags: &["notify"], value: Vec::new() };
        let oximeter = EmulatedService { uuid: 0x1822, characteristics: vec![spot, continuous] };
        Self::new(address, "Oximeter", vec![oximeter, device_information("Oximeter 1", serial)])
    }

    /// A device with these services, not bonded.
    pub fn new(address: &str, name: &str, services: Vec<EmulatedService>) -> Self {
        Self { address: address.to_owned(), name: name.to_owned(), bonded: false, services }
    }

    /// The same, sharing keys with the adapter.
    #[must_use]
    pub fn bonded(self) -> Self {
        Self { bonded: true, ..self }
    }
}

fn device_information(model: &str, serial: &str) -> EmulatedService {
    let string = |uuid, text: &str| EmulatedCharacteristic { uuid, flags: &["read"], value: text.into() };
    let strings = [(0x2A29, "Wardline Lab"), (0x2A24, model), (0x2A25, serial), (0x2A26, "1.0")];
    let characteristics = strings.into_iter().map(|(uuid, text)| string(uuid, text)).collect();
    EmulatedService { uuid: 0x180A, characteristics }
}

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
    half_open: usize,
}

struct Failure {
    error: String,
    text: String,
    times: usize,
}

/// The whole state of the double.
pub struct World {
    pub(super) owns_name: bool,
    alive: bool,
    peripherals: BTreeMap<String, Peripheral>,
    objects: Objects,
    calls: Vec<Call>,
    failures: BTreeMap<String, Failure>,
    delays: BTreeMap<String, Duration>,
    delayed: Vec<(Instant, Message)>,
    outbox: Vec<Message>,
    advertise_at: Option<Instant>,
    strong: bool,
    changed: bool,
}

/// A D-Bus error: its name and a text.
type Refusal = (String, String);

fn refuse<T>(name: &str, text: impl Into<String>) -> Result<T, Refusal> {
    Err((name.to_owned(), text.into()))
}

/// What can be looked at.
impl World {
    /// All calls so far, but those that only look.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// How often a method was called of a device and of what is below it.
    pub fn count(&self, address: &str, member: &str) -> usize {
        let path = path_of(address);
        self.calls.iter().filter(|call| call.member == member && is_at_or_below(&call.path, &path)).count()
    }

    /// Every call of a device and of what is below it.
    pub fn calls_to(&self, address: &str) -> Vec<Call> {
        let path = path_of(address);
        self.calls.iter().filter(|call| is_at_or_below(&call.path, &path)).cloned().collect()
    }

    /// Whether a device is connected.
    pub fn is_connected(&self, address: &str) -> bool {
        self.objects.is(&path_of(address), DEVICE, "Connected")
    }

    /// Whether somebody is subscribed to a characteristic.
    pub fn is_subscribed(&self, address: &str, uuid: u16) -> bool {
        self.find(address, uuid).is_some_and(|path| self.objects.is(&path, CHARACTERISTIC, "Notifying"))
    }

    /// Whether the adapter scans.
    pub fn is_scanning(&self) -> bool {
        self.objects.is(HCI, ADAPTER, "Discovering")
    }

    /// Whether the adapter has announced the device.
    pub fn is_known(&self, address: &str) -> bool {
        self.objects.get(&path_of(address)).is_some()
    }

    pub(super) const fn is_alive(&self) -> bool {
        self.alive
    }

    fn find(&self, address: &str, uuid: u16) -> Option<String> {
        let wanted = Property::Text(long_uuid(uuid));
        let below = self.objects.paths_below(&path_of(address));
        below.into_iter().find(|path| self.objects.property(path, CHARACTERISTIC, "UUID") == Some(&wanted))
    }
}

/// What can be made to happen.
impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            owns_name: false,
            alive: true,
            peripherals: BTreeMap::new(),
            objects: Objects::default(),
            calls: Vec::new(),
            failures: BTreeMap::new(),
            delays: BTreeMap::new(),
            delayed: Vec::new(),
            outbox: Vec::new(),
            advertise_at: None,
            strong: false,
            changed: false,
        };
        world.add_adapter();
        world
    }

    pub(super) fn add(&mut self, emulated: Emulated) {
        let address = emulated.address.clone();
        self.peripherals.insert(address, Peripheral { emulated, in_range: true, half_open: 0 });
    }

    pub(super) fn set_in_range(&mut self, address: &str, in_range: bool) -> Result<(), BluezError> {
        self.peripheral(address)?.in_range = in_range;
        if !in_range {
            self.disconnect(address);
        }
        Ok(())
    }

    pub(super) fn notify(&mut self, address: &str, uuid: u16, value: &[u8]) -> Result<(), BluezError> {
        let what = format!("{address} {uuid:04X}");
        let path = self.find(address, uuid).ok_or_else(|| BluezError::NotSubscribed(what.clone()))?;
        if !self.objects.is(&path, CHARACTERISTIC, "Notifying") {
            return Err(BluezError::NotSubscribed(what));
        }
        self.objects.set(&path, CHARACTERISTIC, "Value", Property::Octets(value.to_vec()));
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
        self.objects.remove(&path_of(address));
        Ok(())
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

    pub(super) fn power_off(&mut self) {
        let addresses: Vec<String> = self.peripherals.keys().cloned().collect();
        for address in addresses {
            self.disconnect(&address);
        }
        self.objects.set(HCI, ADAPTER, "Discovering", Property::Bool(false));
        self.objects.set(HCI, ADAPTER, "Powered", Property::Bool(false));
    }

    pub(super) fn die(&mut self) {
        self.alive = false;
        self.objects.forget_all();
        self.delayed.clear();
        self.changed = true;
    }

    pub(super) fn come_back(&mut self) {
        self.alive = true;
        self.add_adapter();
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

    fn peripheral(&mut self, address: &str) -> Result<&mut Peripheral, BluezError> {
        // Whatever the caller does next may be what somebody waits for.
        self.changed = true;
        self.peripherals.get_mut(address).ok_or_else(|| BluezError::Unknown(address.to_owned()))
    }

    fn add_adapter(&mut self) {
        let properties = Interface::from([
            ("Address", Property::text("C0:DE:00:00:00:01")),
            ("AddressType", Property::text("public")),
            ("Name", Property::text("double")),
            ("Alias", Property::text("double")),
            ("Modalias", Property::text("usb:v1D6Bp0246d0542")),
            ("Powered", Property::Bool(true)),
            ("Discovering", Property::Bool(false)),
        ]);
        self.objects.add(HCI, Object::from([(ADAPTER, properties)]));
    }

    /// An advertisement was heard: the object is made, or its signal strength changes.
    fn announce(&mut self, address: &str, strength: Option<i16>) {
        let path = path_of(address);
        if self.objects.get(&path).is_some() {
            if let Some(strength) = strength {
                self.objects.set(&path, DEVICE, "RSSI", Property::I16(strength));
            }
            return;
        }
        let Some(peripheral) = self.peripherals.get(address) else { return };
        let Emulated { name, bonded, services, .. } = &peripheral.emulated;
        let uuids = services.iter().map(|service| long_uuid(service.uuid)).collect();
        let mut properties = Interface::from([
            ("Adapter", Property::Object(HCI.to_owned())),
            ("Address", Property::text(address)),
            ("AddressType", Property::text("random")),
            ("Name", Property::text(name)),
            ("Alias", Property::text(name)),
            ("Paired", Property::Bool(*bonded)),
            ("Bonded", Property::Bool(*bonded)),
            ("Trusted", Property::Bool(false)),
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

    fn connect(&mut self, path: &str) -> Result<(), Refusal> {
        if self.objects.is(path, DEVICE, "Connected") {
            return Ok(());
        }
        let Some(peripheral) = self.peripherals.values_mut().find(|p| path_of(&p.emulated.address) == path)
        else {
            return refuse(NO_OBJECT, path);
        };
        if !peripheral.in_range {
            return refuse(FAILED, "le-connection-abort-by-local");
        }
        let half_open = peripheral.half_open > 0;
        peripheral.half_open = peripheral.half_open.saturating_sub(1);
        let services = peripheral.emulated.services.clone();
        self.objects.set(path, DEVICE, "Connected", Property::Bool(true));
        if half_open {
            return refuse(FAILED, "le-connection-abort-by-local");
        }
        self.add_services(path, &services);
        self.objects.set(path, DEVICE, "ServicesResolved", Property::Bool(true));
        Ok(())
    }

    fn add_services(&mut self, device: &str, services: &[EmulatedService]) {
        let mut handle = 1;
        for service in services {
            let service_path = format!("{device}/service{handle:04x}");
            handle += 1;
            let properties = Interface::from([
                ("UUID", Property::Text(long_uuid(service.uuid))),
                ("Primary", Property::Bool(true)),
                ("Device", Property::Object(device.to_owned())),
            ]);
            self.objects.add(&service_path, Object::from([(SERVICE, properties)]));
            for characteristic in &service.characteristics {
                let path = format!("{service_path}/char{handle:04x}");
                handle += 2;
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

    /// As BlueZ does for a device without a cache: its services go with its connection.
    fn disconnect(&mut self, address: &str) {
        let path = path_of(address);
        if !self.objects.is(&path, DEVICE, "Connected") {
            return;
        }
        self.objects.set(&path, DEVICE, "ServicesResolved", Property::Bool(false));
        self.objects.set(&path, DEVICE, "Connected", Property::Bool(false));
        for below in self.objects.paths_below(&path) {
            if self.objects.get(&below).is_some_and(|object| object.contains_key(SERVICE)) {
                self.objects.remove(&below);
            }
        }
    }
}

/// How it answers.
impl World {
    pub(super) fn handle_call(&mut self, call: Message, now: Instant) {
        let delay = call.member().and_then(|member| self.delays.get(&*member).copied());
        match delay {
            Some(delay) => self.delayed.push((now + delay, call)),
            None => self.answer(&call),
        }
    }

    pub(super) fn handle_time(&mut self, now: Instant) {
        let (due, later) = std::mem::take(&mut self.delayed).into_iter().partition(|(at, _)| *at <= now);
        self.delayed = later;
        let due: Vec<(Instant, Message)> = due;
        for (_, call) in due {
            self.answer(&call);
        }
        if self.is_scanning() && self.advertise_at.is_none_or(|at| at <= now) {
            self.advertise_at = Some(now + ADVERT_PERIOD);
            // BlueZ tells of an advertisement by a signal strength that differs.
            self.strong = !self.strong;
            let strength = if self.strong { -50 } else { -51 };
            let heard: Vec<String> = self
                .peripherals
                .iter()
                .filter(|(_, p)| p.in_range)
                .map(|(address, _)| address.clone())
                .collect();
            for address in heard {
                if !self.is_connected(&address) {
                    self.announce(&address, Some(strength));
                }
            }
        }
        let signals = self.objects.take_signals();
        self.changed |= !signals.is_empty();
        self.outbox.extend(signals);
    }

    pub(super) fn take_outbox(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.outbox)
    }

    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn answer(&mut self, call: &Message) {
        let text = |part: Option<String>| part.unwrap_or_default();
        let path = text(call.path().map(|path| path.to_string()));
        let interface = text(call.interface().map(|interface| interface.to_string()));
        let member = text(call.member().map(|member| member.to_string()));
        let result = match self.injected(&member) {
            Some(refusal) => {
                self.log(&path, &member);
                Err(refusal)
            }
            None => self.perform(call, &path, &interface, &member),
        };
        // What changed comes before the answer.
        let signals = self.objects.take_signals();
        self.outbox.extend(signals);
        self.outbox.push(match result {
            Ok(answer) => answer,
            Err((name, text)) => error(call, &name, &text),
        });
        self.changed = true;
    }

    fn injected(&mut self, member: &str) -> Option<Refusal> {
        let failure = self.failures.get_mut(member).filter(|failure| failure.times > 0)?;
        failure.times -= 1;
        Some((failure.error.clone(), failure.text.clone()))
    }

    fn log(&mut self, path: &str, member: &str) {
        if self.calls.len() < CALLS_KEPT {
            self.calls.push(Call { path: path.to_owned(), member: member.to_owned() });
        }
    }

    fn perform(
        &mut self,
        call: &Message,
        path: &str,
        interface: &str,
        member: &str,
    ) -> Result<Message, Refusal> {
        match interface {
            OBJECT_MANAGER if path == "/" => return Ok(call.method_return().append1(self.objects.managed())),
            INTROSPECTABLE => return Ok(call.method_return().append1(self.objects.introspection(path))),
            PROPERTIES => return self.perform_property(call, path, member),
            _ => self.log(path, member),
        }
        if !self.objects.get(path).is_some_and(|object| object.contains_key(interface)) {
            return refuse(NO_OBJECT, format!("{path} has no {interface}"));
        }
        match interface {
            ADAPTER => self.perform_adapter(call, member)?,
            DEVICE => self.perform_device(path, member)?,
            CHARACTERISTIC => return self.perform_characteristic(call, path, member),
            _ => return refuse(NO_METHOD, format!("{interface}.{member}")),
        }
        Ok(call.method_return())
    }

    fn perform_property(&mut self, call: &Message, path: &str, member: &str) -> Result<Message, Refusal> {
        let Some(object) = self.objects.get(path) else { return refuse(NO_OBJECT, path) };
        let arguments: (Option<String>, Option<String>) = call.get2();
        let (Some(interface), name) = arguments else { return refuse(BAD_ARGUMENTS, member) };
        let Some((&interface, properties)) = object.get_key_value(interface.as_str()) else {
            return refuse(NO_OBJECT, format!("{path} has no {interface}"));
        };
        if member == "GetAll" {
            return Ok(call.method_return().append1(prop_map(properties)));
        }
        let named = name.and_then(|name| properties.get_key_value(name.as_str()));
        let Some((&name, value)) = named else { return refuse(BAD_ARGUMENTS, "no such property") };
        match member {
            "Get" => Ok(call.method_return().append1(value.variant())),
            "Set" => {
                self.log(path, &format!("Set {name}"));
                let given: Option<Variant<bool>> = call.get3::<String, String, Variant<bool>>().2;
                let Some(Variant(given)) = given else { return refuse(BAD_ARGUMENTS, name) };
                self.objects.set(path, interface, name, Property::Bool(given));
                Ok(call.method_return())
            }
            _ => refuse(NO_METHOD, member),
        }
    }

    fn perform_adapter(&mut self, call: &Message, member: &str) -> Result<(), Refusal> {
        match member {
            "SetDiscoveryFilter" => {}
            "StartDiscovery" if !self.objects.is(HCI, ADAPTER, "Powered") => {
                return refuse("org.bluez.Error.NotReady", "Resource Not Ready");
            }
            "StartDiscovery" if self.is_scanning() => {
                return refuse("org.bluez.Error.InProgress", "Operation already in progress");
            }
            "StartDiscovery" => self.objects.set(HCI, ADAPTER, "Discovering", Property::Bool(true)),
            "StopDiscovery" if !self.is_scanning() => return refuse(FAILED, "No discovery started"),
            "StopDiscovery" => self.objects.set(HCI, ADAPTER, "Discovering", Property::Bool(false)),
            "RemoveDevice" => {
                let Some(path) = call.get1::<Path<'_>>() else { return refuse(BAD_ARGUMENTS, member) };
                self.objects.remove(&path);
            }
            _ => return refuse(NO_METHOD, member),
        }
        Ok(())
    }

    fn perform_device(&mut self, path: &str, member: &str) -> Result<(), Refusal> {
        match member {
            "Connect" => self.connect(path),
            "Disconnect" if !self.objects.is(path, DEVICE, "Connected") => {
                refuse("org.bluez.Error.NotConnected", "Not Connected")
            }
            "Disconnect" => {
                let addresses: Vec<String> = self.peripherals.keys().cloned().collect();
                if let Some(address) = addresses.iter().find(|address| path_of(address) == path) {
                    self.disconnect(address);
                }
                Ok(())
            }
            _ => refuse(NO_METHOD, member),
        }
    }

    fn perform_characteristic(
        &mut self,
        call: &Message,
        path: &str,
        member: &str,
    ) -> Result<Message, Refusal> {
        let done = call.method_return();
        let notifying = self.objects.is(path, CHARACTERISTIC, "Notifying");
        match member {
            "ReadValue" => {
                let value = self.readable(path).ok_or_else(|| {
                    ("org.bluez.Error.NotPermitted".to_owned(), "Read not permitted".to_owned())
                })?;
                self.objects.set(path, CHARACTERISTIC, "Value", Property::Octets(value.clone()));
                return Ok(done.append1(value));
            }
            "WriteValue" => {}
            "StartNotify" if notifying => {
                return refuse("org.bluez.Error.InProgress", "Operation already in progress");
            }
            "StartNotify" => self.objects.set(path, CHARACTERISTIC, "Notifying", Property::Bool(true)),
            "StopNotify" if !notifying => return refuse(FAILED, "No notify session started"),
            "StopNotify" => self.objects.set(path, CHARACTERISTIC, "Notifying", Property::Bool(false)),
            _ => return refuse(NO_METHOD, member),
        }
        Ok(done)
    }

    /// The value of the characteristic at a path, if it can be read.
    fn readable(&self, path: &str) -> Option<Vec<u8>> {
        let uuid = self.objects.property(path, CHARACTERISTIC, "UUID")?;
        let device =
            self.peripherals.values().find(|p| is_at_or_below(path, &path_of(&p.emulated.address)))?;
        let mut all = device.emulated.services.iter().flat_map(|service| &service.characteristics);
        let found = all.find(|found| Property::Text(long_uuid(found.uuid)) == *uuid)?;
        found.flags.contains(&"read").then(|| found.value.clone())
    }
}

fn error(call: &Message, name: &str, text: &str) -> Message {
    let name = ErrorName::new(name).unwrap_or_else(|_| ErrorName::from(FAILED));
    call.error(&name, &CString::new(text).unwrap_or_default())
}

fn path_of(address: &str) -> String {
    format!("{HCI}/dev_{}", address.replace(':', "_"))
}

fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn long_uuid(short: u16) -> String {
    format!("0000{short:04x}-0000-1000-8000-00805f9b34fb")
}
