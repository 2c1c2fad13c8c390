//! A lock between processes: a file that one of them holds, with words in it about who that is.
//!
//! The lock is the kernel's (`flock`) and goes with the process, however that ends. The words help a person and decide
//! nothing. What stands in the file's place may be somebody else's: it is neither followed nor waited for, and not
//! written to where it is no regular file with this name alone.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Who holds a lock says it in fewer octets.
const MOST_WORDS: u64 = 256;

/// It is held until this is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "it is held, not looked at")] File);

/// Why a lock is not held.
#[derive(Debug, thiserror::Error)]
pub enum NotHeld {
    /// Another process has it; its words, as they stand there: not to be shown as they are.
    #[error("somebody else has it")]
    Busy(String),
    /// The file cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Takes it at once, or says who has it. `who` is what the next one is told.
pub fn take(path: &Path, who: &str) -> Result<Lock, NotHeld> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("{} cannot be locked: {error}", path.display()))
    };
    let mut file = open(path).map_err(named)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut words = Vec::new();
            let _ = file.take(MOST_WORDS).read_to_end(&mut words);
            return Err(NotHeld::Busy(String::from_utf8_lossy(&words).trim().to_owned()));
        }
        Err(TryLockError::Error(error)) => return Err(named(error).into()),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(who.as_bytes()))
        .map_err(named)?;
    Ok(Lock(file))
}

fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(path)?;
    let found = file.metadata()?;
    if found.is_file() && found.nlink() == 1 {
        return Ok(file);
    }
    let what = "it is not a regular file with this name alone: move it away";
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_at_a_time_and_the_next_hears_who() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = take(&path, "a long name for the first of them").unwrap();
        let busy = |words: &str| matches!(take(&path, "third"), Err(NotHeld::Busy(who)) if who == words);
        assert!(busy("a long name for the first of them"));
        drop(held);
        let _held = take(&path, "second").unwrap();
        assert!(busy("second"));
    }

    #[test]
    fn what_stands_in_its_place_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (other, path) = (folder.path().join("other"), folder.path().join("lock"));
        crate::host::atomic_file::write(&other, b"kept").unwrap();
        for link in [std::os::unix::fs::symlink, |from: &Path, to: &Path| std::fs::hard_link(from, to)] {
            link(&other, &path).unwrap();
            let fault = take(&path, "x").unwrap_err();
            assert!(
                matches!(fault, NotHeld::Io(_)) && fault.to_string().contains("lock cannot be locked"),
                "{fault}"
            );
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(std::fs::read(&other).unwrap(), b"kept");
    }
}
