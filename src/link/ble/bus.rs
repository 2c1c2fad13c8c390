//! A connection of its own to the system bus, for what the central does.
//!
//! In: the bus. Out: whether `org.bluez` is there, what its adapters and devices are and become, and
//! whether a device is bonded. btleplug tells none of it, or asks BlueZ a question for each
//! advertisement. What is changed here is the adapter alone: its scan, whether it is switched on and whether it
//! can be paired with (in `adapter`); an agent is registered that refuses every pairing, which nothing else here
//! could change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dbus::channel::{BusType, MatchingReceiver as _};
use dbus::message::MatchRule;
use dbus::nonblock::{Proxy, SyncConnection};
use dbus::{Message, MessageType};
use dbus_tokio::connection::{self, IOResource};
use futures_util::FutureExt;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::objects::{self, Seen};
use super::pairing::Agent;
use super::pairing::agent::SharedGate;
use super::{Address, Security};
use crate::link::Characteristic;

const BLUEZ: &str = "org.bluez";
const ADAPTER: &str = "org.bluez.Adapter1";
const DEVICE: &str = "org.bluez.Device1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";

/// The bus answers in milliseconds; BlueZ answers a property as fast, unless it hangs.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// The same for others that only ask.
pub(super) const LIMIT: Duration = CALL_LIMIT;

/// What is to be sent to this connection. The values of characteristics are left out: the links
/// have them from btleplug.
const RULES: [&str; 5] = [
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',\
     member='NameOwnerChanged',arg0='org.bluez'",
    "type='signal',sender='org.bluez',interface='org.freedesktop.DBus.ObjectManager',member='InterfacesAdded'",
    "type='signal',sender='org.bluez',interface='org.freedesktop.DBus.ObjectManager',\
     member='InterfacesRemoved'",
    "type='signal',sender='org.bluez',interface='org.freedesktop.DBus.Properties',\
     member='PropertiesChanged',arg0='org.bluez.Device1'",
    "type='signal',sender='org.bluez',interface='org.freedesktop.DBus.Properties',\
     member='PropertiesChanged',arg0='org.bluez.Adapter1'",
];

/// How many signals may wait. A ward has some hundred advertisements a second, and the central needs
/// microseconds for each, but seconds for a power cycle.
const SIGNALS_WAITING: usize = 4_096;

/// The pump of a connection: to be awaited beside everything that uses it. It ends with the bus.
pub(super) type Resource = IOResource<SyncConnection>;

/// A connection to the system bus.
#[derive(Clone)]
pub(super) struct Bus {
    connection: Arc<SyncConnection>,
}

/// What the bus tells by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// `org.bluez` has a new owner, or none.
    Owner {
        /// Whether there is one.
        present: bool,
    },
    /// BlueZ removed an object with these interfaces.
    Removed {
        /// Its path.
        path: String,
        /// Its interfaces.
        interfaces: Vec<String>,
    },
    /// BlueZ has a new object, or an object has changed.
    Seen {
        /// Its path.
        path: String,
        /// What is new.
        what: Seen,
    },
}

/// The signals of a bus connection, while it lasts.
pub(super) struct Signals(mpsc::Receiver<Signal>);

impl Signals {
    /// The next signal; `None` when some could not be kept. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Signal> {
        self.0.recv().await
    }

    /// Takes what has come so far, and gives the last word on whether `org.bluez` has an owner.
    pub(super) fn drain(&mut self) -> Option<bool> {
        let mut last = None;
        while let Some(Some(signal)) = self.next().now_or_never() {
            if let Signal::Owner { present } = signal {
                last = Some(present);
            }
        }
        last
    }
}

impl Bus {
    /// Connects. The resource must be polled for anything to happen.
    pub(super) fn connect() -> Result<(Resource, Self), dbus::Error> {
        let (resource, connection) = connection::new::<SyncConnection>(BusType::System)?;
        Ok((resource, Self { connection }))
    }

    /// Subscribes to the signals that matter. Once for each connection.
    pub(super) async fn signals(&self) -> Result<Signals, dbus::Error> {
        let (sender, queue) = mpsc::channel(SIGNALS_WAITING);
        let mut sender = Some(sender);
        let mut any = MatchRule::new();
        any.msg_type = Some(MessageType::Signal);
        let receive = move |message: Message, _: &SyncConnection| {
            if let (Some(open), Some(signal)) = (&sender, signal_of(&message))
                && !keep(open, signal)
            {
                sender = None;
            }
            true
        };
        self.connection.start_receive(any, Box::new(receive));
        for rule in RULES {
            self.connection.add_match_no_cb(rule).await?;
        }
        Ok(Signals(queue))
    }

    /// Whether `org.bluez` is there.
    pub(super) async fn has_bluez(&self) -> Result<bool, dbus::Error> {
        let proxy = Proxy::new(BUS, "/org/freedesktop/DBus", CALL_LIMIT, &*self.connection);
        let (present,): (bool,) = proxy.method_call(BUS, "NameHasOwner", (BLUEZ,)).await?;
        Ok(present)
    }

    /// Has every pairing refused, and counted in the gate, for as long as BlueZ and the agent live.
    pub(super) async fn refuse_pairings(&self, gate: SharedGate) -> Result<Agent, dbus::Error> {
        Agent::refuse_all(&self.connection, gate).await
    }

    /// An object of BlueZ, with a limit on how long its answers may take.
    pub(super) fn object<'a>(&'a self, path: &'a str, limit: Duration) -> Proxy<'a, &'a SyncConnection> {
        Proxy::new(BLUEZ, path, limit, &*self.connection)
    }

    /// Those of the wanted characteristics that the device `id` is known to indicate.
    pub(super) async fn indicated(
        &self,
        id: &str,
        wanted: &[Characteristic],
    ) -> Result<Vec<Characteristic>, dbus::Error> {
        let root = self.object("/", CALL_LIMIT);
        let asked = root.method_call("org.freedesktop.DBus.ObjectManager", "GetManagedObjects", ());
        let (all,): (HashMap<dbus::Path<'static>, objects::Interfaces>,) = asked.await?;
        let known = objects::indicated(&all, &format!("/org/bluez/{id}"), wanted);
        Ok(known.into_iter().map(|(characteristic, _)| characteristic).collect())
    }

    /// What BlueZ says of the keys shared with the device `id`, for instance
    /// `hci0/dev_F1_00_00_00_00_01`.
    pub(super) async fn security(&self, id: &str) -> Result<Security, dbus::Error> {
        let path = format!("/org/bluez/{id}");
        let proxy = self.object(&path, CALL_LIMIT);
        let property = async |name: &str| -> Result<bool, dbus::Error> {
            let reply = proxy.method_call(PROPERTIES, "Get", (DEVICE, name));
            let (value,): (dbus::arg::Variant<bool>,) = reply.await?;
            Ok(value.0)
        };
        // `Paired` is that keys were exchanged, `Bonded` that they are kept (BlueZ, org.bluez.Device).
        let (paired, bonded) = (property("Paired").await?, property("Bonded").await?);
        Ok(match (paired, bonded) {
            (true, true) if property("Trusted").await? => Security::Bonded,
            (true, true) => Security::Unproven,
            (true, false) => Security::Paired,
            (false, _) => Security::Open,
        })
    }

    /// The address of the adapter that has the device `id`; `None` for one that is no address.
    pub(super) async fn adapter_of(&self, id: &str) -> Result<Option<Address>, dbus::Error> {
        let name = id.split('/').next().unwrap_or_default();
        let path = format!("/org/bluez/{name}");
        let reply = self.object(&path, CALL_LIMIT).method_call(PROPERTIES, "Get", (ADAPTER, "Address"));
        let (value,): (dbus::arg::Variant<String>,) = reply.await?;
        Ok(value.0.parse().ok())
    }
}

/// Puts a signal in line. A mere advertisement may be missed, another one comes; without anything
/// else the central would believe what is not so any more: then it says no.
fn keep(queue: &mpsc::Sender<Signal>, signal: Signal) -> bool {
    match queue.try_send(signal) {
        // Closed: nobody listens any more, and the connection ends with it.
        Ok(()) | Err(TrySendError::Closed(_)) => true,
        Err(TrySendError::Full(Signal::Seen { what: Seen::Device(facts), .. })) => facts.connected.is_none(),
        Err(TrySendError::Full(_)) => false,
    }
}

/// What a signal says, if it is one of those asked for. Anybody on the bus can send a signal to this
/// connection alone; BlueZ and the bus tell everybody.
fn signal_of(message: &Message) -> Option<Signal> {
    if message.destination().is_some() {
        return None;
    }
    match &*message.member()? {
        "NameOwnerChanged" => {
            let (name, _, new): (String, String, String) = message.read3().ok()?;
            (name == BLUEZ).then_some(Signal::Owner { present: !new.is_empty() })
        }
        "InterfacesRemoved" => {
            let (path, interfaces): (dbus::Path<'_>, Vec<String>) = message.read2().ok()?;
            Some(Signal::Removed { path: path.to_string(), interfaces })
        }
        "InterfacesAdded" => {
            let (path, interfaces): (dbus::Path<'_>, objects::Interfaces) = message.read2().ok()?;
            Some(Signal::Seen { path: path.to_string(), what: Seen::of(&interfaces)? })
        }
        "PropertiesChanged" => {
            let path = message.path()?.to_string();
            let (interface, properties): (String, dbus::arg::PropMap) = message.read2().ok()?;
            Some(Signal::Seen { path, what: Seen::of_interface(&interface, &properties)? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::objects::Facts;
    use super::*;

    fn device(connected: Option<bool>) -> Signal {
        let facts = Facts { connected, is_heard: true, ..Facts::default() };
        Signal::Seen { path: String::new(), what: Seen::Device(facts) }
    }

    #[test]
    fn of_a_full_queue_advertisements_are_missed_and_nothing_else() {
        let (sender, _queue) = mpsc::channel(1);
        assert!(keep(&sender, Signal::Owner { present: true }));
        assert!(keep(&sender, device(None)));
        assert!(!keep(&sender, device(Some(false))));
        assert!(!keep(&sender, Signal::Owner { present: false }));
    }

    #[test]
    fn what_is_sent_to_this_connection_alone_is_not_believed() {
        let gone = |to: Option<&str>| {
            let signal = Message::new_signal("/", "org.freedesktop.DBus", "NameOwnerChanged").unwrap();
            let mut signal = signal.append3(BLUEZ, ":1.5", "");
            signal.set_destination(to.map(Into::into));
            signal_of(&signal)
        };
        assert_eq!(gone(None), Some(Signal::Owner { present: false }));
        assert_eq!(gone(Some(":1.7")), None);
    }
}
