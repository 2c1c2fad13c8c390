//! The store on a disk that forgets and fails. Mounting that disk needs `/dev/fuse` and root, or a user
//! who may make namespaces: where neither is so, these tests fail and say it.

#![expect(clippy::tests_outside_test_module, reason = "the whole program is one")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod cuts;
mod disk;
mod faults;
mod fleet;
