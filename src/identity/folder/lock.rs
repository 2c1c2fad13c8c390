//! One at a time in the identity's folder: the daemon and `wardline enrol`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// The folder is one's own until this is dropped.
#[derive(Debug)]
pub struct Lock {
    /// The kernel's lock goes with it.
    _file: File,
}

/// `None`: somebody else has it now.
pub(super) fn lock(path: &Path) -> io::Result<Option<Lock>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let at = |error: &io::Error| {
        io::Error::new(error.kind(), format!("{} cannot be locked: {error}", path.display()))
    };
    let file = options.open(path).map_err(|error| at(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(at(&error)),
    }
}

/// Keys are in it: an error where it is another user's, or others than its owner can go there.
pub(super) fn check_private(folder: &Path) -> io::Result<()> {
    let found = std::fs::metadata(folder)?;
    let user = rustix::process::geteuid().as_raw();
    let (shown, mode) = (folder.display(), found.permissions().mode() & 0o7777);
    let refused = |what: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    if found.uid() != user {
        return refused(format!(
            "{shown} belongs to user {} and not to user {user}, who keeps a private key there: chown it",
            found.uid()
        ));
    }
    if mode & 0o077 != 0 {
        return refused(format!(
            "{shown} is open to others (mode {mode:04o}), and a private key is kept there: chmod 700 {shown}"
        ));
    }
    Ok(())
}
