//! The only writer of files: a file is there whole or not at all, also after a power cut.
//!
//! In: a path and bytes. Out: the file, durable when the call returns. What can go wrong: the disk
//! (every error of the system comes back with its path). What never happens: a reader sees half a
//! file; an old file is gone before the new one is durable.
//!
//! Two more ways for what needs them: a log that only grows ([`append`]), and a file that is to be gone for
//! good ([`shred`]). Neither follows a symbolic link, as both are used by root in the folder of another user.

mod grown;
mod owned;
mod shredded;

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, RenameFlags};
use rustix::io::Errno;

pub use grown::{NewFile, append};
pub use owned::{Owner, folder_of};
pub use shredded::{remove_empty_folder, shred};

/// The end of a name that is being written; such a file may be left by a power cut and is written
/// over.
pub const UNFINISHED: &str = ".unfinished";

/// Writes a file that only its owner can read, in place of what was there. Durable on return.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, 0o600)
}

/// The same with a file that everybody can read, whatever the process's mask.
pub fn write_for_all(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, 0o644)
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let unfinished = beside(path)?;
    let at = |e: io::Error| with_path(&unfinished, &e);
    // What stands there may be a link elsewhere, or open to others: a file of ours is a new one.
    match fs::remove_file(&unfinished) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(e)),
        Ok(()) | Err(_) => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).map_err(at)?;
    let allow = |file: &File| file.set_permissions(Permissions::from_mode(mode));
    let written = file.write_all(bytes).and_then(|()| allow(&file)).and_then(|()| file.sync_all());
    if let Err(e) = written {
        // Half a file is of no use, and on a full disk its space is.
        let _ = fs::remove_file(&unfinished);
        return Err(at(e));
    }
    fs::rename(&unfinished, path).map_err(|e| with_path(path, &e))?;
    sync_folder(parent(path)?)
}

/// Writes a file that only its owner can read, and nobody can write, where there was none; an error of
/// kind `AlreadyExists` where there is one. Durable on return.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_with(path, bytes, 0o400)
}

/// The same with a file that everybody can read, and its owner change, whatever the process's mask.
pub fn create_for_all(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_with(path, bytes, 0o644)
}

fn create_with(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let unfinished = beside(path)?;
    let at = |e: io::Error| with_path(&unfinished, &e);
    // What a power cut left may not be open for writing.
    remove(&unfinished)?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o400).open(&unfinished).map_err(at)?;
    let allow = |file: &File| file.set_permissions(Permissions::from_mode(mode));
    let written =
        file.write_all(bytes).and_then(|()| allow(&file)).and_then(|()| file.sync_all()).map_err(at);
    // In one step, and never in place of what is there: a power cut leaves one name, not two.
    let here = rustix::fs::CWD;
    let rename = || rustix::fs::renameat_with(here, &unfinished, here, path, RenameFlags::NOREPLACE);
    match written.and_then(|()| rename().map_err(|e| with_path(path, &e.into()))) {
        Ok(()) => sync_folder(parent(path)?),
        Err(error) => remove(&unfinished).and(Err(error)),
    }
}

/// How often a read is tried that fails for no fault of the name: a card that stumbles once has not lost
/// the file.
const TRIES: usize = 3;

/// Reads a file of at most `cap` bytes; a longer one is an error of kind `InvalidData`.
pub fn read(path: &Path, cap: usize) -> io::Result<Vec<u8>> {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound, PermissionDenied};
    let mut result = read_once(path, cap);
    for _ in 1..TRIES {
        match &result {
            Err(error)
                if !matches!(error.kind(), InvalidData | InvalidInput | NotFound | PermissionDenied) =>
            {
                result = read_once(path, cap);
            }
            Ok(_) | Err(_) => break,
        }
    }
    result
}

fn read_once(path: &Path, cap: usize) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(cap).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let file = open_regular(path)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| with_path(path, &e))?;
    if bytes.len() > cap {
        let text = format!("{} is longer than {cap} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(bytes)
}

/// Whether an error says nothing of the file, only that the system has too little of something just now
/// (memory, file descriptors): whoever took it for damage would set aside what is sound.
pub fn is_shortage(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, OutOfMemory, ResourceBusy, WouldBlock};
    matches!(error.kind(), Interrupted | OutOfMemory | ResourceBusy | WouldBlock)
}

/// Opens a regular file for reading. Anything else in its place (a pipe would wait for ever, a device
/// may have no end, a link leads elsewhere) is an error of kind `InvalidInput`.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(not_a_file(path));
        }
        other => other.map_err(|e| with_path(path, &e))?,
    };
    let is_file = file.metadata().map_err(|e| with_path(path, &e))?.is_file();
    if is_file { Ok(file) } else { Err(not_a_file(path)) }
}

fn not_a_file(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a regular file", path.display()))
}

/// Makes a folder, and those above it, that only its owner can enter; fine when it is there.
/// Durable on return.
pub fn create_folder(path: &Path) -> io::Result<()> {
    let above = parent(path)?;
    if path.is_dir() {
        // Whoever made it may have been killed before its name was durable. A folder above that cannot be
        // read was made by somebody else, and so was this.
        return match sync_folder(above) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        };
    }
    create_folder(above)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(with_path(path, &e)),
        _ => {}
    }
    sync_folder(above)
}

/// Makes names in a folder durable: those that were made, and those that were removed.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| with_path(path, &e))
}

/// Removes a file, durably; fine when it is not there.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(with_path(path, &e)),
        Ok(()) => sync_folder(parent(path)?),
    }
}

/// Moves a file or folder, durably at both ends.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).map_err(|e| with_path(from, &e))?;
    sync_folder(parent(to)?)?;
    sync_folder(parent(from)?)
}

fn parent(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(above) => Ok(above),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} has no folder", path.display()))),
    }
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} has no name", path.display())));
    };
    let mut name = name.to_owned();
    name.push(UNFINISHED);
    Ok(path.with_file_name(name))
}

/// The same error, naming the file; the system's own code is kept in its kind.
fn with_path(path: &Path, error: &io::Error) -> io::Error {
    let is_out_of_files =
        [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
    let kind = if is_out_of_files { io::ErrorKind::ResourceBusy } else { error.kind() };
    io::Error::new(kind, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn too_little_of_something_is_told_from_damage() {
        let path = Path::new("header");
        for errno in [Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::INTR, Errno::AGAIN] {
            assert!(is_shortage(&with_path(path, &errno.into())), "{errno}");
        }
        for errno in [Errno::IO, Errno::NOENT, Errno::ACCESS, Errno::LOOP, Errno::NOSPC] {
            assert!(!is_shortage(&with_path(path, &errno.into())), "{errno}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor");
        write(&path, b"first and longer").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(read(&path, 6).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_is_created_where_there_is_none_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        write(&beside(&path).unwrap(), b"half of an earlier attempt").unwrap();
        create(&path, b"first").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(create(&path, b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&path, 100).unwrap(), b"first");
        std::os::unix::fs::symlink(folder.path().join("gone"), folder.path().join("link")).unwrap();
        assert!(create(&folder.path().join("link"), b"x").is_err(), "a link is something");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside them");
    }

    #[test]
    fn what_a_power_cut_left_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor");
        write(&beside(&path).unwrap(), b"half of an earlier attempt").unwrap();
        write(&path, b"whole").unwrap();
        assert_eq!(read(&path, 100).unwrap(), b"whole");
    }

    #[test]
    fn what_stands_in_the_way_is_neither_written_through_nor_kept_open() {
        let folder = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (folder.path().join("cursor"), folder.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, beside(&path).unwrap()).unwrap();
        write(&path, b"secret").unwrap();
        assert!(!elsewhere.exists(), "nothing is written through a link");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        write(&beside(&path).unwrap(), b"half").unwrap();
        fs::set_permissions(beside(&path).unwrap(), Permissions::from_mode(0o644)).unwrap();
        write(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor");
        write(&path, b"old").unwrap();
        fs::create_dir(beside(&path).unwrap()).unwrap();
        assert!(write(&path, b"new").unwrap_err().to_string().contains("cursor"));
        assert_eq!(read(&path, 100).unwrap(), b"old");
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        write(&path, &[0; 101]).unwrap();
        assert_eq!(read(&path, 100).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn only_a_regular_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, pipe, link) =
            (folder.path().join("file"), folder.path().join("pipe"), folder.path().join("link"));
        write(&file, b"x").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&pipe, &link, &folder.path().to_owned()] {
            assert_eq!(read(path, 10).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{}", path.display());
        }
        assert_eq!(read(&file, 10).unwrap(), b"x");
    }

    #[test]
    fn folders_are_made_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c");
        create_folder(&path).unwrap();
        create_folder(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
