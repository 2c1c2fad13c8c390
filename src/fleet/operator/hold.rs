//! The lock of a fleet's folder: one command writes at a time.
//!
//! The guard runs by a timer, and people work beside it.

use std::path::Path;

use super::plain::plain;
use super::{at, now, refused};
use crate::cli::exit::Failure;
use crate::host::lock::{self, Lock, NotHeld};

/// In the fleet's folder.
const FILE: &str = ".lock";

/// Takes it at once, or says who has it. `what` is the command.
pub(super) fn take(fleet: &Path, what: &str) -> Result<Lock, Failure> {
    let who = format!("`{what}` (process {}, since {})", std::process::id(), now(None)?.wall);
    lock::take(&fleet.join(FILE), &who).map_err(|fault| match fault {
        NotHeld::Busy(who) => refused(format!(
            "{} is being written to by {}: wait until that has ended; nothing was done",
            fleet.display(),
            if who.is_empty() { "another command".to_owned() } else { plain(&who) }
        )),
        NotHeld::Io(error) => at(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writes_at_a_time_and_the_other_hears_who() {
        let place = tempfile::tempdir().unwrap();
        let held = take(place.path(), "rollout pause").unwrap();
        let why = take(place.path(), "publish").unwrap_err().error.unwrap().to_string();
        assert!(why.contains("by `rollout pause` (process") && why.contains("nothing was done"), "{why}");
        drop(held);
        let again = take(place.path(), "publish").unwrap();
        let why = take(place.path(), "x").unwrap_err().error.unwrap().to_string();
        assert!(why.contains("by `publish` (process"), "{why}");
        drop(again);
    }
}
