//! The daemon and the local commands of Wardline: see [`wardline::cli`].

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed: every copy of a reading or a key that a library or the compiler made on the heap.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    wardline::cli::main()
}
