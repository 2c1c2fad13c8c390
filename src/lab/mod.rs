//! Simulators, embedded broker, demo, verifying consumer and benchmark.

pub mod sim;
