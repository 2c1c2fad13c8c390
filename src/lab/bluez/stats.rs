//! What the private bus holds for its clients: the rules by which they are sent signals.

use std::collections::HashMap;
use std::time::Duration;

use dbus::Message;
use dbus::channel::Channel;

use super::{BluezError, Bus};

/// The daemon of a private bus answers at once.
const ANSWER: Duration = Duration::from_secs(10);

/// The match rules at a bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How many clients have at least one.
    pub clients: usize,
    /// How many there are.
    pub all: usize,
    /// The most that one client has.
    pub most: usize,
}

impl Bus {
    /// Counts the match rules, as the daemon tells them (`org.freedesktop.DBus.Debug.Stats`).
    pub fn rules(&self) -> Result<Rules, BluezError> {
        rules(&self.address())
    }
}

/// Counts the match rules at the bus of an address.
pub fn rules(address: &str) -> Result<Rules, BluezError> {
    let mut channel = Channel::open_private(address)?;
    channel.register()?;
    let stats = "org.freedesktop.DBus.Debug.Stats";
    let call =
        Message::new_method_call("org.freedesktop.DBus", "/org/freedesktop/DBus", stats, "GetAllMatchRules");
    let call = call.map_err(|error| dbus::Error::new_failed(&error))?;
    let answer = channel.send_with_reply_and_block(call, ANSWER)?;
    let clients: HashMap<String, Vec<String>> =
        answer.read1().map_err(|error| BluezError::Bus(error.to_string()))?;
    let counts: Vec<usize> =
        clients.into_values().map(|rules| rules.len()).filter(|count| *count > 0).collect();
    Ok(Rules {
        clients: counts.len(),
        all: counts.iter().sum(),
        most: counts.iter().copied().max().unwrap_or_default(),
    })
}
