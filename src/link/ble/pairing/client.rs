//! What is asked of BlueZ while something is paired, over a bus connection of its own.
//!
//! In: one adapter. Out: the devices that BlueZ knows there, and calls on one of them. Nothing is decided
//! here, and nothing is tried twice.
//!
//! What can go wrong is a [`Trouble`]; a BlueZ that dies also ends [`Client::gone`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use dbus::arg::{Append, AppendAll, Arg, PropMap, ReadAll, RefArg, Variant, prop_cast};
use dbus::channel::BusType;
use dbus::message::MatchRule;
use dbus::nonblock::{MsgMatch, Proxy, SyncConnection};
use dbus::{Message, Path};
use dbus_tokio::connection;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::agent::{Agent, Asked, SharedGate};
use super::rule;
use crate::link::Characteristic;
use crate::link::ble::Address;

const BLUEZ: &str = "org.bluez";
const ADAPTER: &str = "org.bluez.Adapter1";
const DEVICE: &str = "org.bluez.Device1";
const SERVICE: &str = "org.bluez.GattService1";
const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
const BUS: &str = "org.freedesktop.DBus";

/// BlueZ answers from its memory.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// How long it is waited before BlueZ is asked again that was busy.
const BUSY: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1_600),
];

/// BlueZ gives a connection up after about 40 s by itself.
const CONNECT_LIMIT: Duration = Duration::from_secs(45);

/// A read takes a few connection intervals. With keys to renew the link is encrypted first.
const READ_LIMIT: Duration = Duration::from_secs(15);

/// The end of the 128-bit form of UUIDs that have 16 bits (Core 5.4, Vol 3 Part B, 2.5.1).
const SHORT_UUID_END: &str = "-0000-1000-8000-00805f9b34fb";

/// Why BlueZ did not do what was asked. Every text has the way out, where there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no system bus, or it ended.
    #[error("the system bus does not work: {0}; is dbus-daemon running?")]
    Bus(String),
    /// BlueZ is not there.
    #[error("org.bluez is not on the bus: is bluetooth.service running?")]
    NoBluez,
    /// BlueZ was there and went away.
    #[error("bluetoothd went away in the middle of it: see journalctl -u bluetooth")]
    Gone,
    /// The adapter is not there.
    #[error("there is no adapter {0}: is it plugged in and not blocked (rfkill)?")]
    NoAdapter(String),
    /// The adapter is off.
    #[error("{0} is switched off: switch it on with bluetoothctl power on")]
    Off(String),
    /// No answer in time.
    #[error("{doing} got no answer from BlueZ")]
    NoAnswer {
        /// What was asked for.
        doing: &'static str,
    },
    /// BlueZ refused.
    #[error("{doing} failed: {text} ({name})")]
    Refused {
        /// What was asked for.
        doing: &'static str,
        /// The name of the D-Bus error.
        name: String,
        /// BlueZ's words.
        text: String,
    },
}

impl Trouble {
    pub(super) fn of(doing: &'static str, error: &dbus::Error) -> Self {
        let (name, text) = (error.name().unwrap_or_default(), error.message().unwrap_or_default());
        match name.strip_prefix("org.freedesktop.DBus.Error.").unwrap_or(name) {
            "Timeout" => Self::NoAnswer { doing },
            "NoReply" | "ServiceUnknown" | "NameHasNoOwner" => Self::Gone,
            "Disconnected" => Self::Bus(text.to_owned()),
            _ => Self::Refused { doing, name: name.to_owned(), text: text.to_owned() },
        }
    }

    /// Whether a read was refused for lack of keys.
    pub fn is_lack_of_keys(&self) -> bool {
        matches!(self, Self::Refused { name, text, .. } if rule::is_lack_of_keys(name, text))
    }
}

/// A device that BlueZ knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "properties of org.bluez.Device1, by their names there")]
pub struct Seen {
    /// Its object.
    pub path: String,
    /// Its address: the identity address once it is paired.
    pub address: Address,
    /// How strongly it was last heard, dBm; `None` when it was not heard of late.
    pub strength: Option<i16>,
    /// Keys were exchanged.
    pub paired: bool,
    /// Keys are kept.
    pub bonded: bool,
    /// Somebody called it trusted: the last step of `wardline pair`.
    pub trusted: bool,
    /// It is connected.
    pub connected: bool,
    /// Its services are known.
    pub resolved: bool,
}

/// An adapter, for as long as its bus and its BlueZ last.
pub struct Client {
    connection: Arc<SyncConnection>,
    /// As it was named.
    adapter: String,
    path: String,
    address: Address,
    pulse: watch::Receiver<Pulse>,
    _rules: [MsgMatch; 2],
}

/// What the bus tells by itself.
#[derive(Clone, Copy, Default)]
struct Pulse {
    changes: u64,
    is_gone: bool,
}

/// By their paths, with the properties of each interface.
type Objects = BTreeMap<String, HashMap<String, PropMap>>;

/// A path and an interface there.
type At<'a> = (&'a str, &'a str);

impl Client {
    /// Connects to the system bus and finds the adapter, by BlueZ's name for it (`hci0`) or by its address.
    /// The future beside it moves the bytes: it must be polled for anything to happen, and ends with the bus.
    pub fn connect(
        adapter: &str,
    ) -> Result<
        (impl Future<Output = Trouble> + use<>, impl Future<Output = Result<Self, Trouble>> + use<>),
        Trouble,
    > {
        let (resource, connection) = connection::new::<SyncConnection>(BusType::System)
            .map_err(|error| Trouble::Bus(error.message().unwrap_or_default().to_owned()))?;
        let pump = async move { Trouble::Bus(resource.await.to_string()) };
        let adapter = adapter.to_owned();
        Ok((pump, async move { Self::on(connection, adapter).await }))
    }

    async fn on(connection: Arc<SyncConnection>, adapter: String) -> Result<Self, Trouble> {
        let (sender, pulse) = watch::channel(Pulse::default());
        let sender = Arc::new(sender);
        let failed = |error| Trouble::of("listening to the bus", &error);
        let owner = MatchRule::new_signal(BUS, "NameOwnerChanged").with_sender(BUS);
        let teller = Arc::clone(&sender);
        let owner = connection.add_match(owner).await.map_err(failed)?.msg_cb(move |message: Message| {
            if message.get1::<String>().is_some_and(|name| name == BLUEZ) {
                teller.send_modify(|pulse| pulse.is_gone = true);
            }
            true
        });
        let mut anything = MatchRule::new();
        anything.msg_type = Some(dbus::message::MessageType::Signal);
        let anything = anything.with_sender(BLUEZ);
        let anything = connection.add_match(anything).await.map_err(failed)?.msg_cb(move |_: Message| {
            sender.send_modify(|pulse| pulse.changes += 1);
            true
        });
        let bus = Proxy::new(BUS, "/org/freedesktop/DBus", CALL_LIMIT, &*connection);
        let present = bus.method_call(BUS, "NameHasOwner", (BLUEZ,)).await;
        let (present,): (bool,) = present.map_err(|error| Trouble::of("asking for BlueZ", &error))?;
        if !present {
            return Err(Trouble::NoBluez);
        }
        let (path, address) =
            find(&list(&connection).await?, &adapter).ok_or(Trouble::NoAdapter(adapter.clone()))?;
        Ok(Self { connection, adapter, path, address, pulse, _rules: [owner, anything] })
    }

    /// The address of the adapter.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Waits until BlueZ goes away; for ever when it does not.
    pub async fn gone(&self) -> Trouble {
        if self.pulse.clone().wait_for(|pulse| pulse.is_gone).await.is_err() {
            std::future::pending::<()>().await;
        }
        Trouble::Gone
    }

    /// Waits until BlueZ has changed anything and something is so.
    pub async fn until<T>(
        &self,
        mut look: impl AsyncFnMut() -> Result<Option<T>, Trouble>,
    ) -> Result<T, Trouble> {
        let mut pulse = self.pulse.clone();
        loop {
            pulse.borrow_and_update();
            if let Some(found) = look().await? {
                return Ok(found);
            }
            if pulse.changed().await.is_err() {
                return Err(Trouble::Gone);
            }
        }
    }

    /// The adapter must still be there, and on.
    pub async fn check_adapter(&self) -> Result<(), Trouble> {
        let objects = self.objects().await?;
        let adapter = objects.get(&self.path).and_then(|object| object.get(ADAPTER));
        let Some(adapter) = adapter else { return Err(Trouble::NoAdapter(self.adapter.clone())) };
        if is(adapter, "Powered") { Ok(()) } else { Err(Trouble::Off(self.adapter.clone())) }
    }

    /// Every device that BlueZ knows at this adapter.
    pub async fn devices(&self) -> Result<Vec<Seen>, Trouble> {
        let below = format!("{}/", self.path);
        let mut seen: Vec<Seen> = Vec::new();
        for (path, object) in self.objects().await? {
            if let (true, Some(device)) = (path.starts_with(&below), object.get(DEVICE)) {
                seen.extend(as_seen(&path, device));
            }
        }
        seen.sort_by_key(|device| device.address);
        Ok(seen)
    }

    /// The device with an address, if BlueZ knows it.
    pub async fn device(&self, address: Address) -> Result<Option<Seen>, Trouble> {
        Ok(self.devices().await?.into_iter().find(|seen| seen.address == address))
    }

    /// Starts to scan, in a session of its own: others are not disturbed.
    pub async fn start_scan(&self) -> Result<(), Trouble> {
        match self.patiently(|| self.call((&self.path, ADAPTER), "StartDiscovery", (), "scanning")).await {
            // BlueZ has us in its list, and has not answered: another program began at the same moment.
            Err(Trouble::Refused { name, .. }) if name.ends_with(".InProgress") => Ok(()),
            other => other,
        }
    }

    /// Asks again while BlueZ is at something else: the daemon may just be starting.
    async fn patiently<F: Future<Output = Result<(), Trouble>>>(
        &self,
        mut ask: impl FnMut() -> F,
    ) -> Result<(), Trouble> {
        for wait in BUSY {
            match ask().await {
                Err(Trouble::NoAnswer { .. }) => {}
                Err(Trouble::Refused { name, .. }) if name.ends_with(".Busy") => sleep(wait).await,
                other => return other,
            }
        }
        ask().await
    }

    /// Ends the scan. What cannot be ended ends with the connection.
    pub async fn stop_scan(&self) {
        let _: Result<(), Trouble> =
            self.call((&self.path, ADAPTER), "StopDiscovery", (), "ending the scan").await;
    }

    /// Lets keys be made and kept, for so many seconds at the most: without it the kernel exchanges keys
    /// without the bonding flag, and nothing is kept.
    pub async fn set_pairable(&self, seconds: u32) -> Result<(), Trouble> {
        let doing = "making the adapter pairable";
        let at = (self.path.as_str(), ADAPTER);
        self.patiently(|| self.set(at, "PairableTimeout", Variant(seconds), doing)).await?;
        self.patiently(|| self.set(at, "Pairable", Variant(true), doing)).await
    }

    /// Lets no more keys be made.
    pub async fn set_not_pairable(&self) -> Result<(), Trouble> {
        self.set((&self.path, ADAPTER), "Pairable", Variant(false), "ending that the adapter is pairable")
            .await
    }

    /// Registers the agent of a window.
    pub async fn agent(
        &self,
        capability: &str,
        gate: SharedGate,
    ) -> Result<(Agent, mpsc::Receiver<Asked>), Trouble> {
        let agent = Agent::with_person(&self.connection, capability, gate).await;
        agent.map_err(|error| Trouble::of("registering the agent", &error))
    }

    /// Pairs: connects, makes keys, finds the services. Ends when BlueZ says so, within the limit.
    pub async fn pair(&self, device: &str, limit: Duration) -> Result<(), Trouble> {
        let proxy = Proxy::new(BLUEZ, device, limit, &*self.connection);
        proxy.method_call(DEVICE, "Pair", ()).await.map_err(|error| Trouble::of("pairing", &error))
    }

    /// Ends a pairing that has not ended. That there is none is no failure.
    pub async fn cancel_pairing(&self, device: &str) {
        let _: Result<(), Trouble> =
            self.call((device, DEVICE), "CancelPairing", (), "ending the pairing").await;
    }

    /// Connects, and waits until the services are known.
    pub async fn connect_device(&self, device: &Seen) -> Result<(), Trouble> {
        let proxy = Proxy::new(BLUEZ, &*device.path, CONNECT_LIMIT, &*self.connection);
        let done = proxy.method_call(DEVICE, "Connect", ()).await;
        let (): () = done.map_err(|error| Trouble::of("connecting", &error))?;
        self.resolved(device.address).await
    }

    /// Waits until the services of a connected device are known.
    pub async fn resolved(&self, device: Address) -> Result<(), Trouble> {
        let doing = "finding its services";
        let lost = || Trouble::Refused { doing, name: String::new(), text: "it disconnected".to_owned() };
        let resolved = self.until(async || match self.device(device).await? {
            Some(seen) if seen.connected => Ok(seen.resolved.then_some(())),
            Some(_) | None => Err(lost()),
        });
        tokio::time::timeout(CONNECT_LIMIT, resolved).await.unwrap_or(Err(Trouble::NoAnswer { doing }))
    }

    /// Disconnects, and waits until it is so. That it is not connected is no failure.
    pub async fn disconnect(&self, device: &Seen) -> Result<(), Trouble> {
        let doing = "disconnecting";
        match self.call((&device.path, DEVICE), "Disconnect", (), doing).await {
            Err(Trouble::Refused { name, .. }) if name == "org.bluez.Error.NotConnected" => {}
            done => done?,
        }
        let ended = self.until(async || match self.device(device.address).await? {
            Some(seen) if seen.connected => Ok(None),
            Some(_) | None => Ok(Some(())),
        });
        tokio::time::timeout(CONNECT_LIMIT, ended).await.unwrap_or(Err(Trouble::NoAnswer { doing }))
    }

    /// Marks a device as trusted.
    pub async fn trust(&self, device: &str) -> Result<(), Trouble> {
        self.set((device, DEVICE), "Trusted", Variant(true), "trusting it").await
    }

    /// Removes a device and its keys. That there is none is no failure.
    pub async fn remove(&self, device: &str) -> Result<(), Trouble> {
        let path = Path::from(device.to_owned());
        let done = self.call((&self.path, ADAPTER), "RemoveDevice", (path,), "removing it").await;
        match done {
            Err(Trouble::Refused { name, .. })
                if ["org.bluez.Error.DoesNotExist", "org.freedesktop.DBus.Error.UnknownObject"]
                    .contains(&name.as_str()) =>
            {
                Ok(())
            }
            done => done,
        }
    }

    /// What a connected device offers, of the characteristics with 16-bit UUIDs, and the object of each.
    pub async fn offered(&self, device: &str) -> Result<Vec<(Characteristic, String)>, Trouble> {
        let objects = self.objects().await?;
        let below = format!("{device}/");
        let short = |path: &str, interface: &str| -> Option<u16> {
            short_uuid(prop_cast::<String>(objects.get(path)?.get(interface)?, "UUID")?)
        };
        let mut offered: Vec<(Characteristic, String)> = Vec::new();
        for path in objects.keys().filter(|path| path.starts_with(&below)) {
            let Some((service, _)) = path.rsplit_once('/') else { continue };
            let service = short(service, SERVICE);
            if let (Some(service), Some(uuid)) = (service, short(path, CHARACTERISTIC)) {
                offered.push((Characteristic { service, uuid }, path.clone()));
            }
        }
        offered.sort();
        Ok(offered)
    }

    /// Reads the characteristic at a path.
    pub async fn read(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        let proxy = Proxy::new(BLUEZ, path, READ_LIMIT, &*self.connection);
        let done = proxy.method_call(CHARACTERISTIC, "ReadValue", (PropMap::new(),)).await;
        let (value,): (Vec<u8>,) = done.map_err(|error| Trouble::of("reading", &error))?;
        Ok(value)
    }

    async fn objects(&self) -> Result<Objects, Trouble> {
        list(&self.connection).await
    }

    async fn set<T: Arg + Append>(
        &self,
        (path, interface): At<'_>,
        name: &str,
        value: Variant<T>,
        doing: &'static str,
    ) -> Result<(), Trouble> {
        self.call((path, PROPERTIES), "Set", (interface, name, value), doing).await
    }

    async fn call<R: ReadAll + 'static>(
        &self,
        (path, interface): At<'_>,
        method: &str,
        arguments: impl AppendAll,
        doing: &'static str,
    ) -> Result<R, Trouble> {
        let proxy = Proxy::new(BLUEZ, path, CALL_LIMIT, &*self.connection);
        let done = proxy.method_call(interface, method, arguments).await;
        done.map_err(|error| Trouble::of(doing, &error))
    }
}

/// Every object of BlueZ.
async fn list(connection: &SyncConnection) -> Result<Objects, Trouble> {
    let proxy = Proxy::new(BLUEZ, "/", CALL_LIMIT, connection);
    let done = proxy.method_call(OBJECT_MANAGER, "GetManagedObjects", ()).await;
    let (objects,): (HashMap<Path<'static>, HashMap<String, PropMap>>,) =
        done.map_err(|error| Trouble::of("listing devices", &error))?;
    Ok(objects.into_iter().map(|(path, object)| (path.to_string(), object)).collect())
}

/// The path and the address of the adapter that is named so, or has this address: names change when adapters
/// are put in in another order.
fn find(objects: &Objects, named: &str) -> Option<(String, Address)> {
    let wanted = named.parse::<Address>().ok();
    objects.iter().find_map(|(path, object)| {
        let address: Address = prop_cast::<String>(object.get(ADAPTER)?, "Address")?.parse().ok()?;
        let name = path.rsplit_once('/').map(|(_, name)| name);
        let is_it = wanted.map_or(name == Some(named), |wanted| wanted == address);
        is_it.then(|| (path.clone(), address))
    })
}

fn is(properties: &PropMap, name: &str) -> bool {
    prop_cast::<bool>(properties, name) == Some(&true)
}

fn as_seen(path: &str, device: &PropMap) -> Option<Seen> {
    Some(Seen {
        path: path.to_owned(),
        address: prop_cast::<String>(device, "Address")?.parse().ok()?,
        strength: device.get("RSSI").and_then(|value| i16::try_from(value.0.as_i64()?).ok()),
        paired: is(device, "Paired"),
        bonded: is(device, "Bonded"),
        trusted: is(device, "Trusted"),
        connected: is(device, "Connected"),
        resolved: is(device, "ServicesResolved"),
    })
}

fn short_uuid(uuid: &str) -> Option<u16> {
    let start = uuid.strip_suffix(SHORT_UUID_END)?;
    u16::from_str_radix(start.strip_prefix("0000")?, 16).ok()
}
