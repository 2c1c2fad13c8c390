//! Whether a folder is fit for private keys.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

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
