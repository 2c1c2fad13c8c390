//! What a person writes and what the program then knows: figment layers, raw, validated.
//!
//! In: a folder with `gateway.toml` and `devices.d/*.toml`, and the environment. Out: a [`Config`]
//! that is valid as a whole, or [`Problems`]: everything that is wrong at once, each with its file,
//! its key and the reason.
//!
//! Layers, later ones win key by key: built-in defaults (`defaults.toml` beside this file),
//! `gateway.toml`, the environment. A variable is named `WARDLINE_`, the section, two underscores
//! and the key, in upper case: `WARDLINE_UPLINK__HOST` is `host` in `[uplink]`. Devices are listed in
//! `devices.d` alone, one file after another in the order of their names; such a file can hold
//! nothing else but descriptions of devices that have no driver (`[[line_driver]]`, see
//! `device::serial::site_line`; a device of any file has it as `driver = "site:<name>"`), so that who may
//! add a device cannot move the broker.
//!
//! What stands at the places of a rack is listed below it, each a device of its own:
//!
//! ```toml
//! [[device]]
//! id = "rack-7"
//! asset = "R-1"
//! driver = "..."                          # one with places: see `wardline drivers`
//! port = "/dev/serial/by-path/..."
//! elements = "all"
//! trust = "link-only"                     # or expects = { model = "..." }: any part of what it states of itself
//! settings = { poll = 10 }                # what its driver lets be set, each with a default
//! quiet = "90s"                           # how long it may give no reading before that is told
//! end_of_support = "2027-01-31"           # from when on its maker no longer looks after it
//! [[device.part]]
//! at = "A1"
//! id = "pump-7a"
//! asset = "P-1"
//! elements = "all"
//! expects = { serial = "..." }            # or trust = "link-only": the place vouches, while its rack is the right one
//! ```
//!
//! A path is absolute, relative to the configuration folder, or `credential:NAME`: the file NAME of
//! the unit's systemd credentials. The KEK may also be a key in a token, by its PKCS#11 URI.
//!
//! What never happens: an absent or unreadable file counts as an empty one; an unknown key is
//! ignored; a file that anybody may change is read; a secret is part of the configuration.

mod bond;
mod device;
mod floor;
mod gateway;
mod layers;
mod line_driver;
mod load;
mod part;
mod peel;
mod problem;
mod pushed;
mod raw;
mod rule;
mod scope;
mod setting;
mod suggest;
mod text;
mod units;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tracing::level_filters::LevelFilter;

use crate::device::Part;
use crate::device::catalogue::{BleProfile, Parts, SerialModel, ble_profiles, serial_models};
use crate::device::settings::Settings;
use crate::envelope::keys::KeyPlace;
use crate::fleet::advisories::inventory::Day;
use crate::link::Line;
use crate::link::ble::pairing::BondRule;
use crate::policy::DeviceRule;
use crate::{store, uplink};

#[cfg(test)]
pub(crate) use floor::is_set_from_afar;
pub use floor::{FLOOR_FILE, Floor};
pub use gateway::{DEFAULT_CAP, MIN_CAP, MIN_RESERVE};
pub use layers::{DEVICES_FOLDER, Environment, GATEWAY_FILE, PREFIX};
pub use load::{MAX_DEVICES, Membership, load, load_with, membership, token_key};
pub use problem::{MAX_PROBLEMS, Problem, Problems};
pub use pushed::Pushed;
pub use setting::set_from_text;
pub use text::{Judged, judge_text};
pub use units::{duration, show_size, size};

/// The device models and profiles that a configuration may name.
#[derive(Clone, Copy)]
pub struct Catalogue {
    /// Models on serial lines.
    pub serial: &'static [&'static SerialModel],
    /// BLE profiles.
    pub ble: &'static [&'static BleProfile],
}

impl Catalogue {
    /// What this program ships.
    pub fn shipped() -> Self {
        Self { serial: serial_models(), ble: ble_profiles() }
    }
}

/// A valid configuration and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every value that holds, with the layer it came from; for `check --show`.
    pub settings: Vec<Setting>,
    /// What is allowed but worth a word, for a person.
    pub notes: Vec<String>,
    /// The drivers that the site describes, by name.
    pub described: Vec<&'static SerialModel>,
}

/// One value that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key.
    pub key: String,
    /// As TOML writes it.
    pub value: String,
    /// The layer it came from.
    pub source: String,
}

/// Everything the daemon needs to know, valid as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The store.
    pub store: store::Config,
    /// The uplink.
    pub uplink: uplink::Config,
    /// Where the local keys are.
    pub keys: Keys,
    /// Where the status socket is made.
    pub socket: PathBuf,
    /// The group (name or number) whose members may ask for the status, beside root and the
    /// daemon's own user.
    pub socket_group: Option<String>,
    /// How much is logged.
    pub log: LogLevel,
    /// How long a shutdown may take to drain what is on its way to the disk.
    pub shutdown_grace: Duration,
    /// Where what the fleet pushed is kept; none: this gateway takes nothing from afar.
    pub fleet: Option<PathBuf>,
    /// What of the inventory leaves the gateway, when it is in a fleet.
    pub inventory: InventoryLevel,
    /// A folder in which somebody may bring the fleet's documents, a stick for instance.
    pub import: Option<PathBuf>,
    /// How long a bundle is on trial; the floor says what is too short.
    pub trial: Duration,
    /// What a bundle may not go beyond.
    pub floor: Floor,
    /// The allowlist; a device's place in it is its index.
    pub devices: Vec<Device>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What ends the daemon.
    Error,
    /// And what someone should look at this week.
    Warn,
    /// And what happens once: starts, connections, drops.
    Info,
    /// And what explains it.
    Debug,
    /// And every frame.
    Trace,
}

impl LogLevel {
    /// The words of the configuration.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// What of the log it lets through.
    pub const fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }

    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// What of the inventory leaves the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InventoryLevel {
    /// Everything, the serial numbers of the devices included.
    Full,
    /// Everything but the serial numbers: with the bed that a device's id may name, one leads to a patient.
    #[default]
    NoSerials,
    /// Nothing.
    Off,
}

impl InventoryLevel {
    /// The words of the configuration.
    pub const WORDS: [(&'static str, Self); 3] =
        [("full", Self::Full), ("no-serials", Self::NoSerials), ("off", Self::Off)];
}

/// Where the local keys are; never their content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// 32 bytes, hex or raw, or a token's key: wraps the store's data keys.
    pub kek: KeyPlace,
    /// The one before it, while what it wrapped is wrapped anew.
    pub kek_previous: Option<KeyPlace>,
    /// 32 bytes, hex or raw: makes pseudonyms of asset tags.
    pub ward: KeyPlace,
}

/// One device of the allowlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What it may do. The pseudonym in its card is empty until the ward key was read.
    pub rule: DeviceRule,
    /// The asset's tag, from which its pseudonym is made.
    pub asset: String,
    /// The name of the place of which it speaks, where it is a sensor of a place: its pseudonym is made of it.
    pub location: Option<String>,
    /// How it is reached.
    pub connection: Connection,
    /// From when on its maker no longer looks after it.
    pub end_of_support: Option<Day>,
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
        /// What is set for its driver.
        settings: Settings,
    },
    /// Behind the port of another device of the list, which its rule names.
    Part {
        /// What is on the other end of that port.
        model: &'static SerialModel,
        /// The place there.
        part: Part,
    },
    /// Over BLE.
    Ble {
        /// The identity address, upper case with colons.
        address: String,
        /// The adapter, for instance `hci0`, or its address in upper case.
        adapter: String,
        /// What is read from it.
        profiles: Vec<&'static BleProfile>,
        /// What its bond must be; `None` when it is read without one.
        bond: Option<BondRule>,
        /// What is set for its driver.
        settings: Settings,
    },
}

impl Connection {
    /// The place of a part in words, for instance `slot A1`; empty for everything else.
    pub fn place(&self) -> String {
        match self {
            Self::Part { model, part } => match (model.parts, model.parts.name(*part)) {
                (Parts::Many { word, .. }, Some(name)) => format!("{word} {name}"),
                (Parts::Many { .. } | Parts::One, _) => String::new(),
            },
            Self::Serial { .. } | Self::Ble { .. } => String::new(),
        }
    }
}

/// A model or profile is the same when it is the same row: a site's own description gives the same row as often
/// as it is read.
impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Serial { port, line, model, settings },
                Self::Serial {
                    port: other_port,
                    line: other_line,
                    model: other_model,
                    settings: other_settings,
                },
            ) => {
                port == other_port
                    && line == other_line
                    && std::ptr::eq(*model, *other_model)
                    && settings == other_settings
            }
            (Self::Part { model, part }, Self::Part { model: other_model, part: other_part }) => {
                std::ptr::eq(*model, *other_model) && part == other_part
            }
            (
                Self::Ble { address, adapter, profiles, bond, settings },
                Self::Ble {
                    address: other_address,
                    adapter: other_adapter,
                    profiles: other_profiles,
                    bond: other_bond,
                    settings: other_settings,
                },
            ) => {
                (address, adapter, bond, settings)
                    == (other_address, other_adapter, other_bond, other_settings)
                    && profiles.len() == other_profiles.len()
                    && profiles.iter().zip(other_profiles).all(|(one, other)| std::ptr::eq(*one, *other))
            }
            (Self::Serial { .. } | Self::Part { .. } | Self::Ble { .. }, _) => false,
        }
    }
}

impl Eq for Connection {}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Serial { port, model, .. } => write!(f, "{} on {}", model.name, port.display()),
            Self::Part { model, .. } => write!(f, "{} of {}", self.place(), model.name),
            Self::Ble { address, adapter, .. } => write!(f, "{address} over {adapter}"),
        }
    }
}
