//! The names of the store's folders, and how one goes.
//!
//! What never happens: a power cut leaves half a segment under a segment's name.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::device::observation::Lane;
use crate::host::atomic_file;

pub(super) fn lane_folder(store: &Path, lane: Lane) -> PathBuf {
    store.join(lane.as_str())
}

pub(super) fn cursor_file(store: &Path, lane: Lane) -> PathBuf {
    lane_folder(store, lane).join("cursor")
}

/// The end of the name of a folder that is being removed.
pub(super) const GOING: &str = "going";

/// Removes a segment's folder. It loses its name first, so that a power cut never leaves half a
/// segment under it.
pub(super) fn remove_segment(folder: &Path) -> io::Result<()> {
    let going = folder.with_extension(GOING);
    match atomic_file::rename(folder, &going) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    }
    std::fs::remove_dir_all(&going)?;
    folder.parent().map_or(Ok(()), atomic_file::sync_folder)
}

/// What a folder and everything in it take on disk.
pub(super) fn folder_bytes(folder: &Path) -> u64 {
    let mut bytes = 0u64;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        bytes = bytes.saturating_add(metadata.blocks().saturating_mul(512));
        if metadata.is_dir() {
            bytes = bytes.saturating_add(folder_bytes(&entry.path()));
        }
    }
    bytes
}
