//! The gateway's certificate and the broker's, in the real daemon at a real mosquitto.
#![cfg(feature = "lab")]
#![expect(clippy::tests_outside_test_module, reason = "the whole program is one")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]
#![expect(clippy::disallowed_methods, reason = "a test stands outside the daemon and its supervisor")]

mod bench;
#[path = "../est/support.rs"]
mod server;

mod renewal;
mod revocation;
mod token;
