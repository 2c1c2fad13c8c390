//! How the double answers.
//!
//! In: D-Bus calls and the passing of time. Out: answers and signals, in the order in which BlueZ
//! gives them: properties change before the call that changed them is answered, a value that was
//! read is announced before it is returned.

use std::ffi::CString;
use std::time::Instant;

use dbus::Message;
use dbus::arg::Variant;
use dbus::strings::ErrorName;

use super::pairing::MANAGER;
use super::{ADAPTER, CHARACTERISTIC, Call, DEVICE, World, is_at_or_below, long_uuid, path_of};
use crate::lab::bluez::emulated::Emulated;
use crate::lab::bluez::objects::{OBJECT_MANAGER, PROPERTIES, Property, prop_map};

const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
pub(super) const FAILED: &str = "org.bluez.Error.Failed";
pub(super) const NO_OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";
pub(super) const NO_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";
pub(super) const BAD_ARGUMENTS: &str = "org.freedesktop.DBus.Error.InvalidArgs";

/// The log keeps this many calls; a demonstration that runs for days does not grow.
const CALLS_KEPT: usize = 100_000;

/// A D-Bus error: its name and a text.
pub(in crate::lab::bluez) type Refusal = (String, String);

pub(super) fn refuse<T>(name: &str, text: impl Into<String>) -> Result<T, Refusal> {
    Err((name.to_owned(), text.into()))
}

impl World {
    pub(in crate::lab::bluez) fn handle_call(&mut self, call: Message, now: Instant) {
        let Some(call) = self.let_hang(call, now) else { return };
        match self.delay_of(&call) {
            Some(delay) => self.delayed.push((now + delay, call)),
            None => self.answer(call),
        }
    }

    pub(in crate::lab::bluez) fn handle_time(&mut self, now: Instant) {
        self.handle_hanging(now);
        let (due, later) = std::mem::take(&mut self.delayed).into_iter().partition(|(at, _)| *at <= now);
        self.delayed = later;
        let due: Vec<(Instant, Message)> = due;
        for (_, call) in due {
            self.answer(call);
        }
        self.handle_visits(now);
        if self.is_scanning() && self.deaf_until.is_none() && self.advertise_at.is_none_or(|at| at <= now) {
            self.advertise_at = Some(now + self.advert_period);
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
                if self.is_noisy || !self.is_connected(&address) {
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

    fn answer(&mut self, call: Message) {
        let text = |part: Option<String>| part.unwrap_or_default();
        let path = text(call.path().map(|path| path.to_string()));
        let interface = text(call.interface().map(|interface| interface.to_string()));
        let member = text(call.member().map(|member| member.to_string()));
        let answer = match self.injected(&member) {
            Some((name, text)) => {
                self.log(&path, &member);
                Some(error(&call, &name, &text))
            }
            // Ends later, when an agent has answered.
            None if interface == DEVICE && member == "Pair" => {
                self.log(&path, &member);
                self.pair(call, &path)
            }
            None => Some(match self.perform(&call, &path, &interface, &member) {
                Ok(answer) => answer,
                Err((name, text)) => error(&call, &name, &text),
            }),
        };
        // What changed comes before the answer.
        let signals = self.objects.take_signals();
        self.outbox.extend(signals);
        self.outbox.extend(answer);
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
        if interface == MANAGER {
            return self.perform_manager(call, member);
        }
        if !self.objects.get(path).is_some_and(|object| object.contains_key(interface)) {
            return refuse(NO_OBJECT, format!("{path} has no {interface}"));
        }
        match interface {
            ADAPTER => self.perform_adapter(call, path, member)?,
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
                let flag = call.get3::<String, String, Variant<bool>>().2;
                let number = call.get3::<String, String, Variant<u32>>().2;
                match (flag, number) {
                    (Some(Variant(given)), _) => self.set_property(path, (interface, name), given),
                    (None, Some(Variant(given))) => {
                        self.objects.set(path, interface, name, Property::U32(given));
                    }
                    (None, None) => return refuse(BAD_ARGUMENTS, name),
                }
                Ok(call.method_return())
            }
            _ => refuse(NO_METHOD, member),
        }
    }

    fn perform_device(&mut self, path: &str, member: &str) -> Result<(), Refusal> {
        match member {
            "Connect" => self.connect(path),
            "CancelPairing" => self.cancel_pairing(path),
            "Disconnect" if !self.objects.is(path, DEVICE, "Connected") => {
                refuse("org.bluez.Error.NotConnected", "Not Connected")
            }
            "Disconnect" => {
                let addresses: Vec<String> = self.peripherals.keys().cloned().collect();
                if let Some(address) = addresses.iter().find(|address| self.path_of(address) == path) {
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
        let hci = self.hci.clone();
        let mut all = self.peripherals.values_mut();
        let Some(peripheral) = all.find(|p| path_of(&hci, &p.emulated.address) == path) else {
            return refuse(NO_OBJECT, path);
        };
        if !peripheral.in_range {
            return refuse(FAILED, "le-connection-abort-by-local");
        }
        if self.refuses_keys(path) {
            return refuse(FAILED, "le-connection-abort-by-local");
        }
        let mut all = self.peripherals.values_mut();
        let Some(peripheral) = all.find(|p| path_of(&hci, &p.emulated.address) == path) else {
            return refuse(NO_OBJECT, path);
        };
        let half_open = peripheral.half_open > 0;
        peripheral.half_open = peripheral.half_open.saturating_sub(1);
        let goes = peripheral.goes > 0;
        peripheral.goes = peripheral.goes.saturating_sub(1);
        let Emulated { address, services, .. } = peripheral.emulated.clone();
        self.objects.set(path, DEVICE, "Connected", Property::Bool(true));
        if goes {
            self.handle_connected(path);
            self.disconnect(&address);
            return refuse(FAILED, "le-connection-abort-by-local");
        }
        if half_open {
            return refuse(FAILED, "le-connection-abort-by-local");
        }
        // Before anything is found: who registered earlier is registered, and the device may have waited.
        self.handle_connected(path);
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
        let device = path.split("/service").next().unwrap_or_default();
        let is_connected = self.objects.is(device, DEVICE, "Connected");
        match member {
            "ReadValue" | "WriteValue" if !is_connected => return refuse(FAILED, "Not connected"),
            "ReadValue" | "StartNotify" if is_connected && self.lacks_keys(path) => {
                return refuse("org.bluez.Error.NotPermitted", "Not paired");
            }
            "ReadValue" => {
                let value = self.readable(path).ok_or_else(|| {
                    ("org.bluez.Error.NotPermitted".to_owned(), "Read not permitted".to_owned())
                })?;
                self.objects.set(path, CHARACTERISTIC, "Value", Property::Octets(value.clone()));
                return Ok(done.append1(value));
            }
            "WriteValue" => self.handle_write(path, &call.get1::<Vec<u8>>().unwrap_or_default())?,
            "StartNotify" => self.start_notify(path, sender(call), is_connected)?,
            "StopNotify" => self.stop_notify(path, &sender(call))?,
            _ => return refuse(NO_METHOD, member),
        }
        Ok(done)
    }

    /// The value of the characteristic at a path, if it can be read.
    fn readable(&self, path: &str) -> Option<Vec<u8>> {
        let uuid = self.objects.property(path, CHARACTERISTIC, "UUID")?;
        let device =
            self.peripherals.values().find(|p| is_at_or_below(path, &self.path_of(&p.emulated.address)))?;
        let mut all = device.emulated.services.iter().flat_map(|service| &service.characteristics);
        let found = all.find(|found| Property::Text(long_uuid(found.uuid)) == *uuid)?;
        found.flags.contains(&"read").then(|| found.value.clone())
    }
}

pub(super) fn sender(call: &Message) -> String {
    call.sender().map(|sender| sender.to_string()).unwrap_or_default()
}

pub(super) fn error(call: &Message, name: &str, text: &str) -> Message {
    let name = ErrorName::new(name).unwrap_or_else(|_| ErrorName::from(FAILED));
    call.error(&name, &CString::new(text).unwrap_or_default())
}
