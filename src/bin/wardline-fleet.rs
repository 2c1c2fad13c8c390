//! The operator's side of the fleet: see [`wardline::fleet::operator`]. Not for a gateway.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// As in `wardline` itself: keys and passphrases pass through here.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    wardline::fleet::operator::main()
}
