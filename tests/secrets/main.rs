//! No plaintext and no key where it does not belong: files, log, topics, core dumps, swap, and the
//! memory of the running daemon.
//!
//! The memory is read as root through `/proc/PID/mem`, while the daemon stands still (SIGSTOP): what
//! `gcore` would write into its file, without a debugger. What a thread has in its registers at that
//! moment is not seen.

#![expect(clippy::tests_outside_test_module, reason = "the whole program is one")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]
#![expect(clippy::disallowed_methods, reason = "a test stands outside the daemon and its supervisor")]

mod daemon;
mod files;
mod hardening;
mod memory;
mod needle;
mod own;
#[expect(dead_code, reason = "one bench for all tests of the daemon; each uses a part of it")]
#[path = "../gateway/support.rs"]
mod support;
