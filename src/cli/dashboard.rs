//! `wardline dashboard`: starts the program that shows a page, which is its own, so that the daemon's program holds no web
//! server.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use super::exit::{Exit, Failure};

const PROGRAM: &str = "wardline-dashboard";
/// Where packages put it.
const FOLDER: &str = "/usr/libexec/wardline";

/// Show in a browser how this gateway is doing: on the loopback only, to look at and nothing else.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Dashboard {
    /// What the page's program is told; --help says what there is.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    arguments: Vec<OsString>,
}

impl Dashboard {
    pub(super) fn run(self) -> Result<(), Failure> {
        let places = places(std::env::current_exe().ok().as_deref());
        let Some(program) = places.iter().find(|place| place.is_file()) else {
            let looked: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
            let what = format!("{PROGRAM} is not installed; looked for {}", looked.join(" and "));
            return Err(Failure::new(Exit::Failed, anyhow::anyhow!(what)));
        };
        let error = Command::new(program).args(self.arguments).exec();
        let what = format!("{} cannot be started", program.display());
        Err(Failure::new(Exit::Failed, anyhow::Error::new(error).context(what)))
    }
}

/// Beside this program, as it is built; else where it is installed.
fn places(own: Option<&Path>) -> Vec<PathBuf> {
    let beside = own.and_then(Path::parent).map(|folder| folder.join(PROGRAM));
    beside.into_iter().chain([Path::new(FOLDER).join(PROGRAM)]).collect()
}
