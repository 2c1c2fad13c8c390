//! Files and folders that are to be gone for good.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use super::{parent, remove, sync_folder, with_path};

/// How much is overwritten at a time.
const STEP: usize = 64 * 1024;

/// Overwrites a file in place, waits until that is on the medium, and removes it, durably; fine when it is
/// not there. `noise` gives the bytes to overwrite with. What a symbolic link points to is left alone: the link
/// goes. Flash memory may keep the old bytes where no program reaches them.
pub fn shred(path: &Path, noise: &mut dyn FnMut(&mut [u8]) -> io::Result<()>) -> io::Result<()> {
    let at = |error: io::Error| with_path(path, &error);
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(at)?,
    };
    if metadata.is_file() {
        // A key may be kept from its own owner: 0400.
        fs::set_permissions(path, PermissionsExt::from_mode(0o600)).map_err(at)?;
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut options = OpenOptions::new();
        let opened = options.write(true).custom_flags(flags).open(path);
        let mut file = opened.map_err(at)?;
        let mut left = metadata.len();
        let mut bytes = vec![0; STEP];
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(STEP).min(STEP);
            let piece = bytes.get_mut(..count).unwrap_or_default();
            noise(piece)?;
            file.write_all(piece).map_err(at)?;
            left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        }
        file.sync_all().map_err(at)?;
    }
    remove(path)
}

/// Removes an empty folder, durably; fine when it is not there.
pub fn remove_empty_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(with_path(path, &error)),
        Ok(()) => sync_folder(parent(path)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_overwritten_in_place_before_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("key"), folder.path().join("other name"));
        let bytes: Vec<u8> = (0..STEP + 100).map(|n| u8::try_from(n % 251).unwrap()).collect();
        super::super::write(&path, &bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        // A second name of the same file shows what became of its bytes.
        fs::hard_link(&path, &other).unwrap();
        let mut sevens = |bytes: &mut [u8]| {
            bytes.fill(7);
            Ok(())
        };
        shred(&path, &mut sevens).unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read(&other).unwrap(), vec![7; STEP + 100]);
        shred(&path, &mut sevens).unwrap();
    }

    #[test]
    fn a_link_goes_and_what_it_points_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (link, victim) = (folder.path().join("link"), folder.path().join("victim"));
        super::super::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        shred(&link, &mut |_| Ok(())).unwrap();
        assert!(fs::symlink_metadata(&link).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_file_that_cannot_be_overwritten_stays_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        super::super::write(&path, b"bytes").unwrap();
        let failed = shred(&path, &mut |_| Err(io::Error::other("no randomness")));
        assert!(failed.is_err() && path.exists());
    }

    #[test]
    fn only_an_empty_folder_goes() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("a");
        fs::create_dir(&home).unwrap();
        super::super::write(&home.join("file"), b"").unwrap();
        assert!(remove_empty_folder(&home).is_err());
        fs::remove_file(home.join("file")).unwrap();
        remove_empty_folder(&home).unwrap();
        remove_empty_folder(&home).unwrap();
        assert!(!home.exists());
    }
}
