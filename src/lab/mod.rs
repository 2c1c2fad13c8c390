//! Simulators, broker, consumer, demo and benchmark. Never in a release package.

pub mod broker;
pub mod consumer;
pub mod ledger;
pub mod memory;
pub mod payload;
pub mod pki;
pub mod samples;

pub use samples::sample_payloads;
