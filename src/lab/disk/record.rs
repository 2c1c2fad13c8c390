//! What was done to the disk.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tree::Number;

/// One operation, as it was done. One that failed and changed nothing is not in the record.
#[derive(Clone, Debug)]
pub enum Op {
    /// Bytes were written into a file.
    Write {
        /// The file.
        file: Number,
        /// Where in it.
        offset: u64,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// A file was cut or made longer.
    Resize {
        /// The file.
        file: Number,
        /// Its new size.
        size: u64,
    },
    /// A file or folder was made.
    Make {
        /// In this folder.
        folder: Number,
        /// With this name.
        name: OsString,
        /// The new node.
        node: Number,
        /// Whether it is a folder.
        is_folder: bool,
    },
    /// A file or folder was removed.
    Remove {
        /// From this folder.
        folder: Number,
        /// With this name.
        name: OsString,
        /// What had the name.
        node: Number,
    },
    /// A file or folder was moved, in place of what had its new name.
    Rename {
        /// The folder and name that it had.
        from: (Number, OsString),
        /// The folder and name that it has.
        to: (Number, OsString),
        /// What was moved.
        node: Number,
    },
    /// `fsync` or `fdatasync` of a file.
    Sync {
        /// The file.
        file: Number,
        /// `fdatasync`.
        data_only: bool,
        /// What came of it.
        failed: bool,
        /// Where the file stood, from the top.
        path: PathBuf,
    },
    /// `fsync` of a folder.
    SyncFolder {
        /// The folder.
        folder: Number,
        /// What came of it.
        failed: bool,
        /// Where it stood.
        path: PathBuf,
    },
}

/// The sort of an operation, for faults and for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Opening what is there.
    Open,
    /// `write`.
    Write,
    /// `truncate`.
    Resize,
    /// Making a file.
    Create,
    /// Making a folder.
    MakeFolder,
    /// Removing a file.
    Unlink,
    /// Removing a folder.
    RemoveFolder,
    /// `rename`.
    Rename,
    /// `fsync` and `fdatasync` of a file.
    Sync,
    /// `fsync` of a folder.
    SyncFolder,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Write => "write",
            Self::Resize => "resize",
            Self::Create => "create",
            Self::MakeFolder => "mkdir",
            Self::Unlink => "unlink",
            Self::RemoveFolder => "rmdir",
            Self::Rename => "rename",
            Self::Sync => "sync",
            Self::SyncFolder => "sync of a folder",
        })
    }
}

impl Op {
    /// Its sort; that of a removal does not tell files from folders.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Write { .. } => Kind::Write,
            Self::Resize { .. } => Kind::Resize,
            Self::Make { is_folder: false, .. } => Kind::Create,
            Self::Make { is_folder: true, .. } => Kind::MakeFolder,
            Self::Remove { .. } => Kind::Unlink,
            Self::Rename { .. } => Kind::Rename,
            Self::Sync { .. } => Kind::Sync,
            Self::SyncFolder { .. } => Kind::SyncFolder,
        }
    }

    /// Of a sync that did its work: what was synced.
    pub fn synced(&self) -> Option<&Path> {
        match self {
            Self::Sync { failed: false, path, .. } | Self::SyncFolder { failed: false, path, .. } => {
                Some(path)
            }
            Self::Write { .. }
            | Self::Resize { .. }
            | Self::Make { .. }
            | Self::Remove { .. }
            | Self::Rename { .. }
            | Self::Sync { .. }
            | Self::SyncFolder { .. } => None,
        }
    }
}
