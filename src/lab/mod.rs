//! The lab: simulators of the bedside, an embedded broker, a verifying consumer, the demo and the
//! benchmark. Behind the feature `lab`, never in a release package.

pub mod air;
pub mod bench;
pub mod bluez;
pub mod broker;
pub mod consumer;
pub mod demo;
pub mod disk;
pub mod guest;
pub mod heads;
pub mod ledger;
pub mod man;
pub mod memory;
pub mod numerics;
pub mod outage;
pub mod payload;
pub mod pki;
pub mod ports;
pub mod power;
pub mod reconnects;
mod sample_inventory;
mod sample_metrics;
pub mod samples;
pub mod sim;
pub mod stage;
#[cfg(feature = "operator")]
pub mod swarm;
pub mod ward;
pub mod window;

pub use sample_inventory::sample_inventory;
pub use sample_metrics::sample_metrics;
pub use samples::sample_payloads;
