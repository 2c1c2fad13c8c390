//! A double of `org.bluez` on a private bus: BLE devices without a radio.
//!
//! In: emulated peripherals, and what should happen to them. Out: the D-Bus interface of BlueZ as
//! far as btleplug uses it, and a log of every call that was made of it. The program under test
//! is not changed: it finds the private bus by `DBUS_SYSTEM_BUS_ADDRESS`, which has to be set in its
//! environment before it starts ([`Bus::address`]).
//!
//! What can be made to happen: a device comes and goes, is bonded or not, pairs in its own way, loses its
//! keys, drops its connection, has its object removed; a method fails or is slow the next times; a
//! connection stays half open; the adapter is switched off, goes deaf, is pulled out and comes back;
//! `bluetoothd` dies and returns. Values are sent by the caller, so that
//! a test knows what must arrive.
//!
//! What never happens: a radio is touched, or a bus other than the private one.

mod bus;
mod emulated;
mod objects;
mod pairing;
mod radio;
mod records;
mod stats;
mod world;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dbus::channel::Channel;
use dbus::{Message, MessageType};
use tokio::sync::watch;

pub use bus::Bus;
pub use emulated::{Emulated, EmulatedCharacteristic, EmulatedService};
pub use pairing::{Pairs, Shows};
pub use records::{GlucoseMeter, Stored, StoredOximeter, Trouble};
pub use stats::{Rules, rules};
pub use world::{Call, Cure, Filter, Outcome, Visit, World};

const NAME: &str = "org.bluez";

/// How long the double's thread sleeps on its socket before it looks for what the caller wants done.
const TURN: Duration = Duration::from_millis(2);

/// Nothing that a test waits for takes this long, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(20);

/// What can go wrong with the double itself.
#[derive(Debug, thiserror::Error)]
pub enum BluezError {
    /// The machine has no `dbus-daemon`.
    #[error("dbus-daemon is not on this machine: install the package `dbus-daemon` (or `dbus`)")]
    NoDaemon,
    /// The private bus did not come up.
    #[error("the private bus did not start: {0}")]
    Bus(String),
    /// A D-Bus call of the double's own failed.
    #[error("the private bus refused: {0}")]
    Refused(#[from] dbus::Error),
    /// No emulated device has this address and characteristic.
    #[error("{0} is not emulated")]
    Unknown(String),
    /// A value would reach nobody.
    #[error("nobody is subscribed to {0}")]
    NotSubscribed(String),
    /// What was waited for did not happen.
    #[error("waited in vain until {what}; calls so far: {calls}")]
    InVain {
        /// What was waited for.
        what: String,
        /// The calls of the double.
        calls: String,
    },
}

/// The double. Ends with its value.
pub struct Bluez {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    world: Mutex<World>,
    changes: watch::Sender<u64>,
    turns: watch::Sender<u64>,
    stop: AtomicBool,
}

impl Bluez {
    /// Starts on the bus at `address` with the adapter `hci0`, switched on, and no device.
    #[expect(clippy::disallowed_methods, reason = "the double stands for another process")]
    pub fn start(address: &str) -> Result<Self, BluezError> {
        let mut channel = Channel::open_private(address)?;
        channel.register()?;
        watch_clients(&channel)?;
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new()),
            changes: watch::Sender::new(0),
            turns: watch::Sender::new(0),
            stop: AtomicBool::new(false),
        });
        settle_name(&channel, &mut shared.world())?;
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(&channel, &of_thread));
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Puts a device within range: it advertises until somebody connects.
    pub fn add(&self, peripheral: Emulated) {
        self.shared.world().add(peripheral);
    }

    /// Whether a device is within range. Out of range it drops its connection.
    pub fn set_in_range(&self, address: &str, in_range: bool) -> Result<(), BluezError> {
        self.shared.world().set_in_range(address, in_range)
    }

    /// Whether a device advertises. One that does not can be connected to all the same.
    pub fn set_advertising(&self, address: &str, advertising: bool) -> Result<(), BluezError> {
        self.shared.world().set_advertising(address, advertising)
    }

    /// Sends one value of a characteristic that somebody is subscribed to.
    pub fn notify(&self, address: &str, uuid: u16, value: &[u8]) -> Result<(), BluezError> {
        self.shared.world().notify(address, uuid, value)
    }

    /// Lets a device indicate a value as soon as it is connected and its descriptor is set, which a bonded one
    /// remembers. It is confirmed whether anybody is registered or not ([`World::confirmed_to_nobody`]).
    pub fn indicate(&self, address: &str, uuid: u16, value: &[u8]) {
        self.shared.world().indicate(address, uuid, value);
    }

    /// Changes what reading a characteristic gives.
    pub fn set_value(&self, address: &str, uuid: u16, value: &[u8]) -> Result<(), BluezError> {
        self.shared.world().set_value(address, uuid, value)
    }

    /// The device ends its connection.
    pub fn drop_connection(&self, address: &str) -> Result<(), BluezError> {
        self.shared.world().drop_connection(address)
    }

    /// BlueZ forgets the device: its object goes without any other word.
    pub fn remove_object(&self, address: &str) -> Result<(), BluezError> {
        self.shared.world().remove_object(address)
    }

    /// Lets the next `times` calls of a method fail with a D-Bus error name and a text.
    pub fn fail(&self, member: &str, error: &str, text: &str, times: usize) {
        self.shared.world().fail(member, error, text, times);
    }

    /// Lets every call of a method take this long from now on.
    pub fn delay(&self, member: &str, by: Duration) {
        self.shared.world().delay(member, by);
    }

    /// Lets the next connections of a device come up, and then report failure and stay up.
    pub fn leave_half_open(&self, address: &str, times: usize) -> Result<(), BluezError> {
        self.shared.world().leave_half_open(address, times)
    }

    /// Lets the next connections of a device end as soon as it has said what it had to say.
    pub fn go_on_connect(&self, address: &str, times: usize) -> Result<(), BluezError> {
        self.shared.world().go_on_connect(address, times)
    }

    /// Switches the adapter off, as a person with `rfkill` would.
    pub fn power_off(&self) {
        self.shared.world().power_off();
    }

    /// `bluetoothd` dies: its name and everything it knew are gone without a word.
    pub fn die(&self) {
        self.shared.world().die();
    }

    /// `bluetoothd` is there again and remembers the bonded devices.
    pub fn come_back(&self) {
        self.shared.world().come_back();
    }

    /// Says how a device pairs, and what it protects.
    pub fn set_pairs(&self, address: &str, pairs: Pairs) {
        self.shared.world().set_pairs(address, pairs);
    }

    /// Keeps key files in a folder from now on, as BlueZ does in `/var/lib/bluetooth`.
    pub fn keep_keys_in(&self, folder: impl Into<PathBuf>) {
        self.shared.world().keep_keys_in(folder.into());
    }

    /// Says whether keys can be made.
    pub fn set_pairable(&self, pairable: bool) {
        self.shared.world().set_pairable(pairable);
    }

    /// How long the adapter stays pairable, in seconds; zero: for ever.
    pub fn set_pairable_timeout(&self, seconds: u32) {
        self.shared.world().set_pairable_timeout(seconds);
    }

    /// The device forgets the keys that it shares with the adapter.
    pub fn lose_bond(&self, address: &str) {
        self.shared.world().lose_bond(address);
    }

    /// A device asks to be paired, without anybody here having asked for it.
    pub fn attempt_pairing(&self, address: &str) {
        self.shared.world().attempt_pairing(address);
    }

    /// Looks at the double's state.
    pub fn look<T>(&self, at: impl FnOnce(&World) -> T) -> T {
        at(&self.shared.world())
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&World) -> bool) -> Result<(), BluezError> {
        let mut changes = self.shared.changes.subscribe();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if self.look(&is_so) || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_ok() {
            return Ok(());
        }
        Err(self.in_vain(what))
    }

    fn in_vain(&self, what: &str) -> BluezError {
        let calls = self.look(|world| format!("{:?}", world.calls()));
        BluezError::InVain { what: what.to_owned(), calls }
    }
}

impl Drop for Bluez {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the double's thread has been printed; the test fails by what it missed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(channel: &Channel, shared: &Shared) {
    while !shared.stop.load(Ordering::Relaxed) && channel.read_write(Some(TURN)).is_ok() {
        let mut world = shared.world();
        while let Some(message) = channel.pop_message() {
            match message.msg_type() {
                MessageType::MethodCall => world.handle_call(message, now()),
                MessageType::MethodReturn | MessageType::Error => world.handle_reply(&message),
                MessageType::Signal => {
                    if let Some(client) = gone(&message) {
                        world.handle_gone(&client);
                    }
                }
            }
        }
        world.handle_time(now());
        let changed = world.take_changed();
        for message in world.take_outbox() {
            if channel.send(message).is_err() {
                return;
            }
        }
        if settle_name(channel, &mut world).is_err() {
            return;
        }
        drop(world);
        shared.turns.send_modify(|count| *count += 1);
        if changed {
            shared.changes.send_modify(|count| *count += 1);
        }
    }
}

/// Who has left the bus: a client's own name has no owner any more.
fn gone(signal: &Message) -> Option<String> {
    let is_told = signal.member().is_some_and(|member| &*member == "NameOwnerChanged");
    let (name, _, new): (String, String, String) = signal.read3().ok().filter(|_| is_told)?;
    (name.starts_with(':') && new.is_empty()).then_some(name)
}

/// Asks the bus to tell who leaves it.
fn watch_clients(channel: &Channel) -> Result<(), dbus::Error> {
    let bus = "org.freedesktop.DBus";
    let call = Message::new_method_call(bus, "/org/freedesktop/DBus", bus, "AddMatch");
    let call = call.map_err(|error| dbus::Error::new_failed(&error))?;
    let rule = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged'";
    channel.send_with_reply_and_block(call.append1(rule), PATIENCE).map(drop)
}

/// Takes or gives back the name, as the world wants.
fn settle_name(channel: &Channel, world: &mut World) -> Result<(), dbus::Error> {
    let method = match (world.is_alive(), world.owns_name) {
        (true, false) => "RequestName",
        (false, true) => "ReleaseName",
        (true, true) | (false, false) => return Ok(()),
    };
    let bus = "org.freedesktop.DBus";
    let call = Message::new_method_call(bus, "/org/freedesktop/DBus", bus, method);
    let mut call = call.map_err(|error| dbus::Error::new_failed(&error))?.append1(NAME);
    if world.is_alive() {
        // Do not queue behind another owner: a private bus has none.
        call = call.append1(4u32);
    }
    channel.send_with_reply_and_block(call, PATIENCE)?;
    world.owns_name = world.is_alive();
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the double stands for another process, with its own time")]
fn now() -> Instant {
    Instant::now()
}
