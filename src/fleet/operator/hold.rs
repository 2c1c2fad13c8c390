//! The lock of a fleet's folder: one command writes at a time.
//!
//! The guard runs by a timer, and people work beside it. The lock is the kernel's (`flock`) and ends with the process,
//! however that ends; what stands in the file is only who holds it, in words.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::plain::plain;
use super::{at, now, refused};
use crate::cli::exit::Failure;

/// In the fleet's folder.
const FILE: &str = ".lock";
/// The most bytes of who holds it.
const MOST: u64 = 200;

/// It is held until this is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    _file: File,
}

impl Hold {
    /// Takes it at once, or says who has it. `what` is the command.
    pub(super) fn take(fleet: &Path, what: &str) -> Result<Self, Failure> {
        let path = fleet.join(FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.custom_flags(NO_FOLLOW).open(&path).map_err(at)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut who = String::new();
                // Who it is helps, and does not decide.
                let _ = (&file).take(MOST).read_to_string(&mut who);
                return Err(refused(format!(
                    "{} is being written to by {}: wait until that has ended; nothing was done",
                    fleet.display(),
                    if who.trim().is_empty() { "another command".to_owned() } else { plain(who.trim()) }
                )));
            }
            Err(error) => return Err(at(error.into())),
        }
        let who = format!("`{what}` (process {}, since {})\n", std::process::id(), now(None)?.wall);
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(who.as_bytes()))
            .map_err(at)?;
        Ok(Self { _file: file })
    }
}

/// A link in its place is not written through.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writes_at_a_time_and_the_other_hears_who() {
        let place = tempfile::tempdir().unwrap();
        let held = Hold::take(place.path(), "rollout pause").unwrap();
        let why = Hold::take(place.path(), "publish").unwrap_err().error.unwrap().to_string();
        assert!(why.contains("by `rollout pause` (process") && why.contains("nothing was done"), "{why}");
        drop(held);
        let again = Hold::take(place.path(), "publish").unwrap();
        let why = Hold::take(place.path(), "x").unwrap_err().error.unwrap().to_string();
        assert!(why.contains("by `publish` (process"), "{why}");
        drop(again);
    }
}
