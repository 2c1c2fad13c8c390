//! The page that shows how one gateway is doing: on demand, on the loopback only, and only to look at.
//!
//! ```text
//!  status socket ──▶ Snapshot ──▶ cli::view (what it means, what changed, a line of the depth) ──▶ server ──▶ browser
//! ```
//!
//! Its own program, `wardline-dashboard`: the daemon holds no web server. It asks the daemon as `wardline status` does
//! and shows less: no serial number, no address of a device that is not listed, nothing of a patient.

mod command;
mod guest;
mod server;

pub use command::main;
