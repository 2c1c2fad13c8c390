//! Wardline: the line from the ward to the cloud.
//!
//! The modules stand in the order in which a reading travels, and a stage never looks to its right
//! (`tests/architecture.rs` fails when one does):
//!
//! ```text
//!  device ──▶ link ──▶ device driver ──▶ policy ──▶ envelope ──▶ store ──▶ uplink ──▶ broker
//!            bytes     Observation      Admitted    Sealed       Seq       PUBACK ──▶ ack
//! ```

// A panic inside sled on a torn file is caught and turned into a quarantined segment. With
// `panic = "abort"` it would take the whole daemon, and every restart after it.
#[cfg(not(panic = "unwind"))]
compile_error!("wardline must be built with panic = \"unwind\"");

// What every stage may use: values only, nothing here samples a clock or touches the system.
pub mod backoff;
pub mod time;

// The line, left to right.
// 2. From link events to observations in the normal form: pure, `now` is an argument.
pub mod device;
// 4. Canonical records, blocks, keys and the seal.
pub mod envelope;
// 1. Bytes to and from one physical device.
pub mod link;
// 3. Who may speak and what may leave: default deny.
pub mod policy;
// 5. The spool: what was admitted stays here until the broker has it.
pub mod store;
// 6. From the spool to the broker, and the acknowledgement back.
pub mod uplink;

// Around the line.
// One file for each sub-command of `wardline`.
pub mod cli;
// What a person writes and what the program then knows: raw, then validated.
pub mod config;
// Whether the gateway is well, in words a person can act on; and what support needs to know of it.
pub mod doctor;
// The way back: what the fleet signs, and what a gateway does about it.
pub mod fleet;
// Who this gateway is: its certificate, asked for and renewed.
pub mod identity;
// The composition root: the only file that names every stage.
pub mod gateway;
// The impure rim: clock, tasks, files, signals, service manager, status socket.
pub mod host;

#[cfg(feature = "dashboard")]
// The page in a browser: its own program.
pub mod dashboard;

#[cfg(feature = "lab")]
// Simulators, broker, consumer, demo and benchmark. Never in a release package.
pub mod lab;
