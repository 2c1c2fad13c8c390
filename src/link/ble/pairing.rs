//! Pairing: the keys that a device and this gateway share, and who may make them.
//!
//! In: what the allowlist says of the bond with one device ([`BondRule`]), and the callbacks of BlueZ.
//! Out: calls to BlueZ (pair, trust, remove), and what its key file says of the keys. What may be
//! accepted and what a bond is worth is decided in [`rule`] and [`gate`], which are pure; [`client`] and
//! [`agent`] do what they are told over D-Bus.
//!
//! Which agent BlueZ asks: the one of the process that called `Pair`; for everything that comes from
//! outside, and for pairing on demand, the default one, which is the last that asked to be it (BlueZ,
//! `org.bluez.AgentManager` and `agent_get` in `src/agent.c`). So the daemon's agent, which refuses
//! everything and counts, does not come into the way of a window that another process opens. For the time
//! of the window that process is the default one too, so that it refuses and counts strangers itself.
//!
//! What BlueZ does not say, and what is done about it:
//!
//! - Just Works is accepted by BlueZ itself once `Pair` was called, without a word to the agent (BlueZ,
//!   `device_confirm_passkey` in `src/device.c`). A device, or somebody who plays it, that claims to have
//!   neither display nor keys gets keys that authenticate nobody. So a pairing that ended well without the
//!   question that its method asks is a downgrade, and its bond is removed.
//! - How a bond was made stands in BlueZ's key file only (see [`keys`]), which root may read. What cannot be
//!   read is unknown, and unknown is refused: `wardline pair` looks whether it can read before it pairs. The
//!   daemon is not root: it takes a bond for what `wardline pair` proved and wrote down (see [`proof`]).
//! - Which characteristics a device protects. The allowlist may name one that the device's manual says
//!   is protected; without, a bond is shown by its key file and by a new connection, and no more is claimed.
//!
//! What never happens: a device is accepted that is not the one of the window; a method is accepted that the
//! allowlist does not name (method confusion, CVE-2020-10134); a lost bond is made anew without a person
//! who says so; a key is kept, logged or shown.

pub mod agent;
pub mod client;
pub mod gate;
pub mod keys;
pub mod proof;
pub mod rule;

pub use agent::{Agent, Asked};
pub use client::{Client, Seen, Trouble};
pub use gate::{Gate, Refusals};
pub use proof::Proofs;
pub use rule::{BondClass, BondRule, Method, Unfit};

/// Where BlueZ keeps its keys when it was not built otherwise.
pub const STATE_FOLDER: &str = "/var/lib/bluetooth";
