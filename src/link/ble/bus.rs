//! A connection of its own to the system bus, for what btleplug does not tell.
//!
//! In: the bus. Out: whether `org.bluez` is there, which objects it removed, and whether a device is
//! bonded. Properties are read and signals received; and an agent is registered that refuses every
//! pairing, which nothing else here could change.

use std::sync::Arc;
use std::time::Duration;

use dbus::Message;
use dbus::channel::BusType;
use dbus::message::MatchRule;
use dbus::nonblock::{MsgMatch, Proxy, SyncConnection};
use dbus_tokio::connection::{self, IOResource};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};

use super::Security;
use super::pairing::Agent;
use super::pairing::agent::SharedGate;

const BLUEZ: &str = "org.bluez";
const DEVICE: &str = "org.bluez.Device1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";

/// The bus answers in milliseconds; BlueZ answers a property as fast, unless it hangs.
const CALL_LIMIT: Duration = Duration::from_secs(5);

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
}

/// The signals of a bus connection, while it lasts.
pub(super) struct Signals {
    stream: BoxStream<'static, Signal>,
    /// The rules behind the stream live as long as these.
    _rules: [MsgMatch; 2],
}

impl Signals {
    /// The next signal; `None` when the connection is gone. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Signal> {
        self.stream.next().await
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

    /// Subscribes to the two signals that matter. Once for each connection.
    pub(super) async fn signals(&self) -> Result<Signals, dbus::Error> {
        let mut owner = MatchRule::new_signal(BUS, "NameOwnerChanged");
        owner.sender = Some(BUS.into());
        let mut removed = MatchRule::new_signal("org.freedesktop.DBus.ObjectManager", "InterfacesRemoved");
        removed.sender = Some(BLUEZ.into());
        let (owner_rule, owners) = self.connection.add_match(owner).await?.msg_stream();
        let (removed_rule, removals) = self.connection.add_match(removed).await?.msg_stream();
        let owners = owners.filter_map(|message| std::future::ready(owner_changed(&message)));
        let removals = removals.filter_map(|message| std::future::ready(object_removed(&message)));
        let stream = stream::select(owners, removals).boxed();
        Ok(Signals { stream, _rules: [owner_rule, removed_rule] })
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

    /// What BlueZ says of the keys shared with the device `id`, for instance
    /// `hci0/dev_F1_00_00_00_00_01`.
    pub(super) async fn security(&self, id: &str) -> Result<Security, dbus::Error> {
        let path = format!("/org/bluez/{id}");
        let proxy = Proxy::new(BLUEZ, path, CALL_LIMIT, &*self.connection);
        let property = async |name: &str| -> Result<bool, dbus::Error> {
            let reply = proxy.method_call(PROPERTIES, "Get", (DEVICE, name));
            let (value,): (dbus::arg::Variant<bool>,) = reply.await?;
            Ok(value.0)
        };
        // `Paired` is that keys were exchanged, `Bonded` that they are kept (BlueZ, org.bluez.Device).
        let (paired, bonded) = (property("Paired").await?, property("Bonded").await?);
        Ok(match (paired, bonded) {
            (true, true) => Security::Bonded,
            (true, false) => Security::Paired,
            (false, _) => Security::Open,
        })
    }
}

fn owner_changed(message: &Message) -> Option<Signal> {
    let (name, _, new): (String, String, String) = message.read3().ok()?;
    (name == BLUEZ).then_some(Signal::Owner { present: !new.is_empty() })
}

fn object_removed(message: &Message) -> Option<Signal> {
    let (path, interfaces): (dbus::Path<'_>, Vec<String>) = message.read2().ok()?;
    Some(Signal::Removed { path: path.to_string(), interfaces })
}
