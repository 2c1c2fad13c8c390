//! What stands in a store's folder that the store did not make.
//!
//! In: the folder, in any state, also half erased. Out: the path of each stranger, at every depth: what
//! has no name of the store's, what is neither a file nor a folder, and what belongs to another disk. What can go
//! wrong: a folder cannot be read; then nothing can be said. What never happens: a link is followed.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use super::super::folders::{GOING, lane_folder};
use super::super::inspect::{Contents, children, is_lost_and_found};
use crate::device::observation::Lane;
use crate::host::atomic_file::UNFINISHED;

/// All of them, in order.
pub(super) fn strangers(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut look = Look { device: 0, found: Vec::new() };
    match std::fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => look.device = other?.dev(),
    }
    look.top(folder)?;
    look.found.sort();
    look.found.dedup();
    Ok(look.found)
}

struct Look {
    device: u64,
    found: Vec<PathBuf>,
}

impl Look {
    fn top(&mut self, folder: &Path) -> io::Result<()> {
        for (name, is_folder, path) in children(folder)? {
            let is_lane = Lane::ALL.iter().any(|lane| lane.as_str() == name);
            let is_small = matches!(name.strip_suffix(UNFINISHED).unwrap_or(&name), "lock" | "identity");
            if is_lost_and_found(&name, &path) || !is_folder && is_small && self.is_own(&path)? {
                continue;
            }
            if !is_folder || !(is_lane || name == "quarantine") || !self.is_own(&path)? {
                self.found.push(path);
            }
        }
        for lane in Lane::ALL {
            let home = lane_folder(folder, lane);
            if !self.found.contains(&home) {
                self.lane(&home)?;
            }
        }
        let home = folder.join("quarantine");
        if self.found.contains(&home) { Ok(()) } else { self.quarantine(&home) }
    }

    fn lane(&mut self, home: &Path) -> io::Result<()> {
        let contents = Contents::of(home)?;
        for (_, is_folder, path) in children(home)? {
            if contents.strangers.contains(&path) || !self.is_own(&path)? {
                self.found.push(path);
            } else if is_folder {
                self.segment(&path)?;
            }
        }
        Ok(())
    }

    /// What was set aside is named `<lane>-<number>-<n>`, and so while it is removed.
    fn quarantine(&mut self, home: &Path) -> io::Result<()> {
        for (name, is_folder, path) in children(home)? {
            if is_folder && is_set_aside(&name) && self.is_own(&path)? {
                self.segment(&path)?;
            } else {
                self.found.push(path);
            }
        }
        Ok(())
    }

    fn segment(&mut self, home: &Path) -> io::Result<()> {
        for (name, is_folder, path) in children(home)? {
            let is_small = matches!(name.strip_suffix(UNFINISHED).unwrap_or(&name), "header" | "footer");
            let has_name = if is_folder { name == "sled" } else { is_small };
            if !has_name || !self.is_own(&path)? {
                self.found.push(path);
            } else if is_folder {
                self.database(&path)?;
            }
        }
        Ok(())
    }

    fn database(&mut self, home: &Path) -> io::Result<()> {
        for (name, is_folder, path) in children(home)? {
            let is_file = matches!(name.as_str(), "db" | "conf") || name.starts_with("snap.");
            let has_name = if is_folder { name == "blobs" } else { is_file };
            if !has_name || !self.is_own(&path)? {
                self.found.push(path);
            } else if is_folder {
                self.blobs(&path)?;
            }
        }
        Ok(())
    }

    /// sled names a blob by its number.
    fn blobs(&mut self, home: &Path) -> io::Result<()> {
        for (name, is_folder, path) in children(home)? {
            if is_folder || name.parse::<i64>().is_err() || !self.is_own(&path)? {
                self.found.push(path);
            }
        }
        Ok(())
    }

    /// Whether it is a file or a folder on the store's own disk, and nothing is mounted on it.
    fn is_own(&self, path: &Path) -> io::Result<bool> {
        let metadata = path.symlink_metadata()?;
        let is_plain = metadata.is_file() || metadata.is_dir();
        Ok(is_plain && metadata.dev() == self.device && !is_mount(path)?)
    }
}

/// Whether something is mounted there: also a folder of the same disk, which has the same device.
fn is_mount(path: &Path) -> io::Result<bool> {
    match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()) {
        Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        // Kernels before 4.11 cannot say; then the device alone tells.
        Err(rustix::io::Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_set_aside(name: &str) -> bool {
    let stem = name.strip_suffix(GOING).and_then(|stem| stem.strip_suffix('.')).unwrap_or(name);
    let mut parts = stem.split('-');
    let is_lane = parts.next().is_some_and(|word| Lane::ALL.iter().any(|lane| lane.as_str() == word));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (number, attempt) = (parts.next(), parts.next());
    is_lane && number.is_some_and(is_number) && attempt.is_none_or(is_number) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_store_set_aside_has_such_a_name() {
        for name in ["vital-1-0", "alarm-18-999", "bulk-7", "bulk-7-1.going"] {
            assert!(is_set_aside(name), "{name}");
        }
        for name in
            ["vital", "vital-", "vital-1-", "vital-1-0-2", "other-1-0", "vital-x-0", "vital-1-0.bak", ""]
        {
            assert!(!is_set_aside(name), "{name}");
        }
    }
}
