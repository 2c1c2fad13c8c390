//! The whole daemon from outside: processes, ports, sockets, disk.

#![expect(clippy::tests_outside_test_module, reason = "the whole program is one")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]
#![expect(clippy::disallowed_methods, reason = "a test stands outside the daemon and its supervisor")]

mod support;

mod full;
mod listeners;
mod live;
mod outage;
mod power;
mod racks;
mod radio;
mod refusals;
mod reload;
mod serial_models;
mod shutdown;
mod silence;
