//! Looking into a store without opening it, for a person at the box.
//!
//! In: the store's folder in any state, and its keys when they are at hand. Out: what is in it
//! ([`survey()`]), what is wrong with it ([`verify()`]), and its blocks in the clear ([`read_blocks`]). What can
//! go wrong: there is no store, or it was written under another key; whatever is damaged inside is
//! told of and passed over. What never happens: a byte of the folder is changed; sled opens anything;
//! something is said to be sound that was not authenticated; memory grows with anything but the
//! number of segments.

mod blocks;
mod look;
mod survey;
mod verify;

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::StoreError;

pub use blocks::{Found, Unread, Wanted, read_blocks};
pub(super) use look::{Contents, children, is_lost_and_found};
pub use survey::{LaneView, Quarantined, SegmentView, State, Survey, survey};
pub use verify::{Finding, Report, Sort, verify};

/// The name of the file that whoever has the store open holds locked.
const LOCK: &str = "lock";

/// Keeps the daemon from opening the store as long as it lives.
#[derive(Debug)]
pub struct Hold {
    _lock: Option<File>,
}

impl Hold {
    /// Locks a store that nobody has open, without changing it: one that has no lock file stays without.
    pub fn take(folder: &Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError::io("locking the store", error);
        let file = match File::open(folder.join(LOCK)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { _lock: None }),
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock() {
            Ok(()) => Ok(Self { _lock: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { folder: folder.to_owned() }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// The process that has the store open, as the kernel's table of locks says (`/proc/locks`, proc(5)):
/// asked without touching the lock, so that a daemon that starts at this moment is not turned away.
/// `None` too when the process is one that this one may not see.
pub fn holder(folder: &Path) -> Option<u32> {
    let lock = std::fs::metadata(folder.join(LOCK)).ok()?;
    let device = (rustix::fs::major(lock.dev()), rustix::fs::minor(lock.dev()));
    let table = std::fs::read_to_string("/proc/locks").ok()?;
    table.lines().find_map(|line| holder_in(line, device, lock.ino()))
}

/// A line is `3: FLOCK  ADVISORY  WRITE 812 fe:00:10037513 0 EOF`: process, device in hex, inode.
fn holder_in(line: &str, device: (u32, u32), inode: u64) -> Option<u32> {
    let mut words = line.split_whitespace();
    let (_, kind) = (words.next()?, words.next()?);
    let (process, place) = (words.nth(2)?, words.next()?);
    let mut parts = place.split(':');
    let major = u32::from_str_radix(parts.next()?, 16).ok()?;
    let minor = u32::from_str_radix(parts.next()?, 16).ok()?;
    let number: u64 = parts.next()?.parse().ok()?;
    let is_it = kind == "FLOCK" && (major, minor) == device && number == inode;
    is_it.then(|| process.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_names_who_holds_a_lock() {
        let line = "12: FLOCK  ADVISORY  WRITE 812 fe:0a:10037513 0 EOF";
        assert_eq!(holder_in(line, (0xfe, 0x0a), 10_037_513), Some(812));
        assert_eq!(holder_in(line, (0xfe, 0x0b), 10_037_513), None);
        assert_eq!(holder_in(line, (0xfe, 0x0a), 10_037_514), None);
        let posix = "12: POSIX  ADVISORY  WRITE 812 fe:0a:10037513 0 EOF";
        assert_eq!(holder_in(posix, (0xfe, 0x0a), 10_037_513), None);
        assert_eq!(holder_in("12: -> FLOCK", (0xfe, 0x0a), 10_037_513), None);
        assert_eq!(holder_in("", (0xfe, 0x0a), 10_037_513), None);
    }

    #[test]
    fn the_holder_of_a_store_is_this_process_while_it_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(holder(folder.path()), None);
        crate::host::atomic_file::write(&folder.path().join(LOCK), b"").unwrap();
        assert_eq!(holder(folder.path()), None);
        let hold = Hold::take(folder.path()).unwrap();
        assert_eq!(holder(folder.path()), Some(std::process::id()));
        assert!(matches!(Hold::take(folder.path()), Err(StoreError::Locked { .. })));
        drop(hold);
        assert_eq!(holder(folder.path()), None);
    }
}
