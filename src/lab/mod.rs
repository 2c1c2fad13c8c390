//! Simulators, broker, consumer, demo and benchmark.

#[cfg(target_os = "linux")]
pub mod bluez;
