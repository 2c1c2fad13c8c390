//! The page that shows how a gateway is doing: see [`wardline::dashboard`].

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// As in `wardline` itself.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    wardline::dashboard::main()
}
