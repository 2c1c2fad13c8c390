//! Folders of a given owner.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use super::{parent, sync_folder, with_path};

/// Whose a folder is to be, and what may be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// The mode.
    pub mode: u32,
}

/// Makes a folder of this owner; those above it that are missing are for everybody to enter. A folder that is there
/// gets owner and mode. Durable on return.
pub fn folder_of(path: &Path, owner: Owner) -> io::Result<()> {
    let at = |error: io::Error| with_path(path, &error);
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        let above = parent(path)?;
        if !above.is_dir() {
            folder_of(above, Owner::ours(0o755))?;
        }
        // Nobody enters it before it is whose it is to be.
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(error)),
            Ok(()) | Err(_) => {}
        }
    }
    let found = fs::symlink_metadata(path).map_err(at)?;
    if !found.is_dir() {
        return Err(at(io::Error::new(io::ErrorKind::InvalidInput, "is not a folder")));
    }
    if (found.uid(), found.gid()) != (owner.user, owner.group) {
        chown(path, Some(owner.user), Some(owner.group)).map_err(at)?;
    }
    if found.mode() & 0o7777 != owner.mode {
        fs::set_permissions(path, Permissions::from_mode(owner.mode)).map_err(at)?;
    }
    sync_folder(path)?;
    sync_folder(parent(path)?)
}

impl Owner {
    /// Of whoever this process is: of root, when root runs it.
    pub fn ours(mode: u32) -> Self {
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { user, group, mode }
    }
}
