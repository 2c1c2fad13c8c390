//! The daemon and the local commands of Wardline: see [`wardline::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    wardline::cli::main()
}
