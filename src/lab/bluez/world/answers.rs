//! How the double answers.
//!
//! In: D-Bus calls and the passing of time. Out: answers and signals, in the order in which BlueZ
//! gives them: properties change before the call that changed them is answered, a value that was
//! read is announced before it is returned.

use std::ffi::CString;
use std::time::{Duration, Instant};

use dbus::arg::Variant;
use dbus::strings::ErrorName;
use dbus::{Message, Path};

use super::{ADAPTER, CHARACTERISTIC, Call, DEVICE, HCI, World, is_at_or_below, long_uuid, path_of};
use crate::lab::bluez::objects::{OBJECT_MANAGER, PROPERTIES, Property, prop_map};

const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
const FAILED: &str = "org.bluez.Error.Failed";
const NO_OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";
const NO_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";
const BAD_ARGUMENTS: &str = "org.freedesktop.DBus.Error.InvalidArgs";

/// A quick advertiser.
const ADVERT_PERIOD: Duration = Duration::from_millis(50);

/// The log keeps this many calls; a demonstration that runs for days does not grow.
const CALLS_KEPT: usize = 100_000;

/// A D-Bus error: its name and a text.
pub(in crate::lab::bluez) type Refusal = (String, String);

fn refuse<T>(name: &str, text: impl Into<String>) -> Result<T, Refusal> {
    Err((name.to_owned(), text.into()))
}

impl World {
    pub(in crate::lab::bluez) fn handle_call(&mut self, call: Message, now: Instant) {
        let delay = call.member().and_then(|member| self.delays.get(&*member).copied());
        match delay {
            Some(delay) => self.delayed.push((now + delay, call)),
            None => self.answer(&call),
        }
    }

    pub(in crate::lab::bluez) fn handle_time(&mut self, now: Instant) {
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
                .filter(|(_, p)| p.in_range && p.advertising)
                .map(|(address, _)| address.clone())
                .collect();
            for address in heard {
                if !self.is_connected(&address) {
                    self.announce(&address, Some(strength));
                }
            }
        }
        self.let_memories_act();
        let signals = self.objects.take_signals();
        self.changed |= !signals.is_empty();
        self.outbox.extend(signals);
    }

    pub(in crate::lab::bluez) fn take_outbox(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.outbox)
    }

    pub(in crate::lab::bluez) fn take_changed(&mut self) -> bool {
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
        let sender = call.sender().map(|sender| sender.to_string()).unwrap_or_default();
        match member {
            "SetDiscoveryFilter" => {}
            "StartDiscovery" if !self.objects.is(HCI, ADAPTER, "Powered") => {
                return refuse("org.bluez.Error.NotReady", "Resource Not Ready");
            }
            "StartDiscovery" if !self.scanning.insert(sender.clone()) => {
                return refuse("org.bluez.Error.InProgress", "Operation already in progress");
            }
            "StopDiscovery" if !self.scanning.remove(&sender) => {
                return refuse(FAILED, "No discovery started");
            }
            "StartDiscovery" | "StopDiscovery" => {
                let scanning = !self.scanning.is_empty();
                self.objects.set(HCI, ADAPTER, "Discovering", Property::Bool(scanning));
            }
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
            "WriteValue" => self.handle_write(path, &call.get1::<Vec<u8>>().unwrap_or_default())?,
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
