//! `wardline run`: the daemon.

use super::exit::{Exit, Failure};
use super::{Folder, out};
use crate::gateway::{self, RunError};

/// Loads the configuration and runs the gateway with it until it is told to stop.
pub(super) fn run(folder: &Folder) -> Result<(), Failure> {
    let loaded = folder.load_or_fail()?;
    for note in &loaded.notes {
        out::remark(format_args!("note: {note}"));
    }
    gateway::run(loaded.config).map_err(|error| {
        let exit = match error {
            RunError::Keys(_) => Exit::Keys,
            RunError::Store(_) => Exit::Store,
            RunError::Failed(_) => Exit::Failed,
        };
        Failure::new(exit, error)
    })
}
