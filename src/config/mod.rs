//! What a person writes and what the program then knows: figment layers, raw, validated.

use std::path::PathBuf;

use crate::device::catalogue::{BleProfile, SerialModel};
use crate::link::Line;
use crate::policy::DeviceRule;
use crate::{store, uplink};

/// Everything the daemon needs to know, valid as a whole.
#[derive(Clone, Debug)]
pub struct Config {
    /// The store.
    pub store: store::Config,
    /// The uplink.
    pub uplink: uplink::Config,
    /// The files of the local keys.
    pub keys: Keys,
    /// Where the status socket is made.
    pub socket: PathBuf,
    /// The allowlist; a device's place in it is its index.
    pub devices: Vec<Device>,
}

/// The files of the local keys; never their content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// 32 bytes, hex or raw: wraps the store's data keys.
    pub kek: PathBuf,
    /// 32 bytes, hex or raw: makes pseudonyms of asset tags.
    pub ward: PathBuf,
}

/// One device of the allowlist.
#[derive(Clone, Debug)]
pub struct Device {
    /// What it may do. The pseudonym in its card is empty until the ward key was read.
    pub rule: DeviceRule,
    /// The asset's tag, from which its pseudonym is made.
    pub asset: String,
    /// How it is reached.
    pub connection: Connection,
}

/// How a device is reached.
#[derive(Clone)]
pub enum Connection {
    /// On a serial line.
    Serial {
        /// A stable path: `/dev/serial/by-path/...` or `by-id`.
        port: PathBuf,
        /// The port's settings.
        line: Line,
        /// What is on the other end.
        model: &'static SerialModel,
    },
    /// Over BLE.
    Ble {
        /// The identity address, upper case with colons.
        address: String,
        /// The adapter, for instance `hci0`.
        adapter: String,
        /// What is read from it.
        profiles: Vec<&'static BleProfile>,
    },
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Serial { port, model, .. } => write!(f, "{} on {}", model.name, port.display()),
            Self::Ble { address, adapter, .. } => write!(f, "{address} over {adapter}"),
        }
    }
}
