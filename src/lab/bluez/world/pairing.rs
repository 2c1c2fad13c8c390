//! Pairing in the double: agents, keys, and devices that ask.
//!
//! From BlueZ's own documents (`org.bluez.AgentManager`, `org.bluez.Agent`, `org.bluez.Device`): the agent of
//! the process that called `Pair` is asked, else the default one; `Pair` is answered when the pairing has
//! ended; Just Works is accepted without a word once `Pair` was called. `RemoveDevice` removes the keys too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use dbus::{Message, MessageType, Path};

use super::answers::{BAD_ARGUMENTS, FAILED, NO_METHOD, NO_OBJECT, Refusal, error, refuse, sender};
use super::{ADAPTER, CHARACTERISTIC, DEVICE, HCI, World, is_at_or_below, long_uuid};
use crate::lab::bluez::objects::Property;
use crate::lab::bluez::pairing::{Asks, Pairs};

pub(super) const MANAGER: &str = "org.bluez.AgentManager1";
const AGENT: &str = "org.bluez.Agent1";
/// The address that the double's adapter has.
pub(super) use super::HCI_ADDRESS as ADAPTER_ADDRESS;
/// The serial numbers of the double's own calls: far from those that the bus connection gives by itself.
const FIRST_SERIAL: u32 = 0x4000_0000;

/// What the double knows of keys.
#[derive(Default)]
pub(super) struct Pairing {
    pub(super) habits: BTreeMap<String, Pairs>,
    agents: BTreeMap<String, Registered>,
    /// The bus names of the default agents, the present one last.
    defaults: Vec<String>,
    pending: Vec<Pending>,
    /// Devices that lost their half of the keys.
    lost: BTreeSet<String>,
    /// Where key files are written.
    pub(super) folder: Option<PathBuf>,
    calls: u32,
    attempts: Vec<(String, bool)>,
}

#[derive(Clone)]
struct Registered {
    path: String,
    capability: String,
}

/// A pairing that waits for an agent.
struct Pending {
    /// The double's call.
    serial: u32,
    address: String,
    asks: Asks,
    /// Who is asked.
    agent: String,
    /// The call of `Pair`; `None` when it came from outside.
    call: Option<Message>,
}

impl Pairing {
    /// What dies with `bluetoothd`: everything but the keys.
    pub(super) fn forget_processes(&mut self) {
        self.agents.clear();
        self.defaults.clear();
        self.pending.clear();
    }
}

/// What can be looked at, and made to happen.
impl World {
    /// Whether BlueZ has keys of a device.
    pub fn is_bonded(&self, address: &str) -> bool {
        self.peripherals.get(address).is_some_and(|peripheral| peripheral.emulated.bonded)
    }

    /// Whether a device is trusted.
    pub fn is_trusted(&self, address: &str) -> bool {
        self.objects.is(&self.path_of(address), DEVICE, "Trusted")
    }

    /// Whether keys can be made.
    pub fn is_pairable(&self) -> bool {
        self.objects.is(HCI, ADAPTER, "Pairable")
    }

    /// Whether an agent is asked something at the moment.
    pub fn is_asking(&self) -> bool {
        !self.pairing.pending.is_empty()
    }

    /// Every device that tried to pair from outside, and whether it was accepted.
    pub fn attempts(&self) -> &[(String, bool)] {
        &self.pairing.attempts
    }

    pub(in crate::lab::bluez) fn set_pairs(&mut self, address: &str, pairs: Pairs) {
        self.pairing.habits.insert(address.to_owned(), pairs);
        if self.is_bonded(address) {
            self.write_keys(address, true);
        }
    }

    pub(in crate::lab::bluez) fn keep_keys_in(&mut self, folder: PathBuf) {
        // As BlueZ does when the adapter is first seen.
        let _ = std::fs::create_dir_all(folder.join(ADAPTER_ADDRESS));
        self.pairing.folder = Some(folder);
    }

    pub(in crate::lab::bluez) fn set_pairable(&mut self, pairable: bool) {
        self.objects.set(HCI, ADAPTER, "Pairable", Property::Bool(pairable));
    }

    pub(in crate::lab::bluez) fn set_pairable_timeout(&mut self, seconds: u32) {
        self.objects.set(HCI, ADAPTER, "PairableTimeout", Property::U32(seconds));
    }

    /// The device forgets the adapter: its connection ends.
    pub(in crate::lab::bluez) fn lose_bond(&mut self, address: &str) {
        self.pairing.lost.insert(address.to_owned());
        self.disconnect(address);
    }

    /// A device asks to be paired: the default agent decides, when the adapter is pairable and there is one.
    pub(in crate::lab::bluez) fn attempt_pairing(&mut self, address: &str) {
        self.changed = true;
        self.announce(address, Some(-60));
        let agent = self.pairing.defaults.last().cloned();
        match agent.filter(|_| self.is_pairable()) {
            Some(agent) => self.ask(address, Asks::Authorization, agent, None),
            None => self.pairing.attempts.push((address.to_owned(), false)),
        }
    }
}

/// What is called.
impl World {
    pub(super) fn perform_manager(&mut self, call: &Message, member: &str) -> Result<Message, Refusal> {
        let sender = sender(call);
        let (path, capability) = call.get2::<Path<'_>, String>();
        let Some(path) = path.map(|path| path.to_string()) else { return refuse(BAD_ARGUMENTS, member) };
        let known = self.pairing.agents.get(&sender).is_some_and(|known| known.path == path);
        match member {
            "RegisterAgent" if self.pairing.agents.contains_key(&sender) => {
                return refuse("org.bluez.Error.AlreadyExists", "Already Exists");
            }
            "RegisterAgent" => {
                let Some(capability) = capability else { return refuse(BAD_ARGUMENTS, member) };
                self.pairing.agents.insert(sender, Registered { path, capability });
            }
            "RequestDefaultAgent" | "UnregisterAgent" if !known => {
                return refuse("org.bluez.Error.DoesNotExist", "Does Not Exist");
            }
            "RequestDefaultAgent" => {
                self.pairing.defaults.retain(|name| *name != sender);
                self.pairing.defaults.push(sender);
            }
            "UnregisterAgent" => {
                self.pairing.defaults.retain(|name| *name != sender);
                self.pairing.agents.remove(&sender);
            }
            _ => return refuse(NO_METHOD, member),
        }
        Ok(call.method_return())
    }

    /// `Pair`: its answer, when it ends at once.
    pub(super) fn pair(&mut self, call: Message, path: &str) -> Option<Message> {
        match self.start_pairing(&call, path) {
            Err((name, text)) => Some(error(&call, &name, &text)),
            Ok((address, None)) => self.end_pairing(&address, Some(&call), false, true),
            Ok((address, Some((asks, agent)))) => {
                self.ask(&address, asks, agent, Some(call));
                None
            }
        }
    }

    /// Gives the address of the device, and who is asked what; nobody for Just Works.
    fn start_pairing(
        &mut self,
        call: &Message,
        path: &str,
    ) -> Result<(String, Option<(Asks, String)>), Refusal> {
        let found = self.peripherals.iter().find(|(address, _)| self.path_of(address) == path);
        let found = found.filter(|_| self.objects.get(path).is_some());
        let Some((address, peripheral)) = found else { return refuse(NO_OBJECT, path) };
        let (address, in_range, bonded) = (address.clone(), peripheral.in_range, peripheral.emulated.bonded);
        if bonded {
            return refuse("org.bluez.Error.AlreadyExists", "Already Paired");
        }
        if self.pairing.pending.iter().any(|pending| pending.address == address) {
            return refuse("org.bluez.Error.InProgress", "In Progress");
        }
        let own = sender(call);
        let name = Some(own).filter(|own| self.pairing.agents.contains_key(own));
        let name = name.or_else(|| self.pairing.defaults.last().cloned());
        let Some((name, agent)) = name.and_then(|n| self.pairing.agents.get(&n).map(|a| (n.clone(), a)))
        else {
            return refuse(FAILED, "No agent available");
        };
        if !in_range {
            return refuse("org.bluez.Error.ConnectionAttemptFailed", "Page Timeout");
        }
        let capability = agent.capability.clone();
        self.objects.set(path, DEVICE, "Connected", Property::Bool(true));
        let asks = self.habits(&address).asks(&capability);
        Ok((address, asks.map(|asks| (asks, name))))
    }

    pub(super) fn cancel_pairing(&mut self, path: &str) -> Result<(), Refusal> {
        let place = self.pairing.pending.iter().position(|pending| self.path_of(&pending.address) == path);
        let Some(place) = place else { return refuse("org.bluez.Error.DoesNotExist", "Does Not Exist") };
        let pending = self.pairing.pending.remove(place);
        self.call_agent(&pending.agent, "Cancel", |call| call);
        self.disconnect(&pending.address);
        if let Some(call) = &pending.call {
            let name = "org.bluez.Error.AuthenticationCanceled";
            self.outbox.push(error(call, name, "Authentication Canceled"));
        }
        Ok(())
    }

    fn ask(&mut self, address: &str, asks: Asks, agent: String, call: Option<Message>) {
        let device = Path::from(self.path_of(address));
        let serial = match asks {
            Asks::Passkey(_) => self.call_agent(&agent, "RequestPasskey", |call| call.append1(device)),
            Asks::Comparison(shown) => {
                self.call_agent(&agent, "RequestConfirmation", |call| call.append2(device, shown))
            }
            Asks::Authorization => {
                self.call_agent(&agent, "RequestAuthorization", |call| call.append1(device))
            }
        };
        let pending = Pending { serial, address: address.to_owned(), asks, agent, call };
        self.pairing.pending.push(pending);
    }

    /// Calls an agent, and gives the serial number of the call.
    fn call_agent(&mut self, agent: &str, member: &str, fill: impl FnOnce(Message) -> Message) -> u32 {
        let serial = FIRST_SERIAL + self.pairing.calls;
        self.pairing.calls += 1;
        let path = self.pairing.agents.get(agent).map(|agent| agent.path.clone()).unwrap_or_default();
        if let Ok(mut call) = Message::new_method_call(agent, path, AGENT, member) {
            call.set_serial(serial);
            self.outbox.push(fill(call));
        }
        serial
    }

    /// An agent has answered.
    pub(in crate::lab::bluez) fn handle_reply(&mut self, reply: &Message) {
        let serial = reply.get_reply_serial();
        let Some(place) = self.pairing.pending.iter().position(|pending| Some(pending.serial) == serial)
        else {
            return;
        };
        self.changed = true;
        let Pending { address, asks, call, .. } = self.pairing.pending.remove(place);
        let said_yes = reply.msg_type() == MessageType::MethodReturn;
        let is_good = match asks {
            Asks::Passkey(shown) => said_yes && reply.get1::<u32>() == Some(shown),
            Asks::Comparison(_) | Asks::Authorization => said_yes,
        };
        let answer = self.end_pairing(&address, call.as_ref(), asks != Asks::Authorization, is_good);
        let signals = self.objects.take_signals();
        self.outbox.extend(signals);
        self.outbox.extend(answer);
        if call.is_none() {
            self.pairing.attempts.push((address, is_good));
        }
    }

    /// Keys are made, or the connection ends. Gives the answer to `Pair`, if that was called.
    fn end_pairing(
        &mut self,
        address: &str,
        call: Option<&Message>,
        is_authenticated: bool,
        is_good: bool,
    ) -> Option<Message> {
        let path = self.path_of(address);
        if !is_good {
            self.disconnect(address);
            let name = "org.bluez.Error.AuthenticationFailed";
            return call.map(|call| error(call, name, "Authentication Failed"));
        }
        self.pairing.lost.remove(address);
        // Without the adapter's bonding flag the kernel makes keys that nobody keeps.
        let is_kept = self.is_pairable();
        self.objects.set(&path, DEVICE, "Paired", Property::Bool(true));
        self.objects.set(&path, DEVICE, "Bonded", Property::Bool(is_kept));
        if let Some(peripheral) = self.peripherals.get_mut(address) {
            peripheral.emulated.bonded = is_kept;
        }
        if is_kept {
            self.write_keys(address, is_authenticated);
        }
        if let Some(peripheral) = self.peripherals.get(address)
            && !self.objects.is(&path, DEVICE, "ServicesResolved")
        {
            let services = peripheral.emulated.services.clone();
            self.objects.set(&path, DEVICE, "Connected", Property::Bool(true));
            self.add_services(&path, &services);
            self.objects.set(&path, DEVICE, "ServicesResolved", Property::Bool(true));
        }
        call.map(Message::method_return)
    }

    fn habits(&self, address: &str) -> Pairs {
        self.pairing.habits.get(address).cloned().unwrap_or_default()
    }

    fn key_folder(&self, address: &str) -> Option<PathBuf> {
        Some(self.pairing.folder.as_ref()?.join(ADAPTER_ADDRESS).join(address))
    }

    /// Secure Connections makes one key, which is filed under the peripheral's names only; legacy pairing
    /// makes two.
    fn write_keys(&self, address: &str, is_authenticated: bool) {
        let Some(folder) = self.key_folder(address) else { return };
        let habits = self.habits(address);
        let groups: &[&str] = if habits.secure_connections {
            &["PeripheralLongTermKey", "SlaveLongTermKey"]
        } else {
            &["LongTermKey", "PeripheralLongTermKey", "SlaveLongTermKey"]
        };
        let (kind, size) = (habits.key_type(is_authenticated), habits.key_size);
        let mut text = "[General]\nName=double\nSupportedTechnologies=LE;\nTrusted=false\n".to_owned();
        for group in groups {
            let zeros = "0".repeat(32);
            let key = format!("Key={zeros}\nAuthenticated={kind}\nEncSize={size}\nEDiv=0\nRand=0\n");
            text.extend(["\n[", group, "]\n", &key]);
        }
        let _ = std::fs::create_dir_all(&folder);
        let _ = File::create(folder.join("info")).and_then(|mut file| file.write_all(text.as_bytes()));
    }

    /// `RemoveDevice`: its keys go, its connection ends, its object goes.
    pub(super) fn remove_device(&mut self, path: &str) -> Result<(), Refusal> {
        if self.objects.get(path).is_none() {
            return refuse("org.bluez.Error.DoesNotExist", "Does Not Exist");
        }
        let address = self.peripherals.keys().find(|address| self.path_of(address) == path).cloned();
        if let Some(address) = address {
            self.disconnect(&address);
            if let Some(peripheral) = self.peripherals.get_mut(&address) {
                peripheral.emulated.bonded = false;
                peripheral.emulated.trusted = false;
            }
            if let Some(folder) = self.key_folder(&address) {
                let _ = std::fs::remove_dir_all(folder);
            }
        }
        self.objects.remove(path);
        Ok(())
    }

    /// Whether a device ends every connection that is to be encrypted with keys that it lost.
    pub(super) fn refuses_keys(&self, path: &str) -> bool {
        self.pairing.lost.iter().any(|address| self.path_of(address) == path && self.is_bonded(address))
    }

    /// Whether the characteristic at a path is given only to whom the device is bonded with, and this is not
    /// the one.
    pub(super) fn lacks_keys(&self, path: &str) -> bool {
        let device =
            self.peripherals.iter().find(|(address, _)| is_at_or_below(path, &self.path_of(address)));
        let Some((address, peripheral)) = device else { return false };
        let uuid = self.objects.property(path, CHARACTERISTIC, "UUID");
        let is_protected = self.pairing.habits.get(address).is_some_and(|habits| {
            habits.protected.iter().any(|uuid_| uuid == Some(&Property::Text(long_uuid(*uuid_))))
        });
        let paired = self.objects.is(&self.path_of(address), DEVICE, "Paired");
        let has_keys = (peripheral.emulated.bonded || paired) && !self.pairing.lost.contains(address);
        is_protected && !has_keys
    }
}
