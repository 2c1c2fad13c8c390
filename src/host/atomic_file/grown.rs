//! Files that are written in more than one piece: a log, and a new file whose content comes bit by bit.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, RenameFlags};

use super::{beside, parent, sync_folder, with_path};

/// No line of a log is longer.
const MAX_LINE: usize = 64 * 1024;

/// Adds a line to a log, which is made when it is not there, for the owner of its folder alone. Durable on
/// return. `make` is given the last line (half of one, when the power went while it was written) and makes
/// the next, without a line end; one process after the other.
pub fn append(path: &Path, make: impl FnOnce(Option<&[u8]>) -> io::Result<Vec<u8>>) -> io::Result<()> {
    let at = |error: io::Error| with_path(path, &error);
    let is_new = !path.exists();
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(at)?;
    file.lock().map_err(at)?;
    let home = parent(path)?;
    if is_new {
        hand_over(&file, home).map_err(at)?;
    }
    let length = file.metadata().map_err(at)?.len();
    let (last, is_whole) = last_line(&mut file, length).map_err(at)?;
    let line = make(last.as_deref())?;
    if line.len() >= MAX_LINE || line.contains(&b'\n') {
        return Err(at(io::Error::new(io::ErrorKind::InvalidInput, "what is to be added is not one line")));
    }
    let mut bytes = Vec::with_capacity(line.len() + 2);
    // Half a line stays for who looks at the log; it only gets its end.
    bytes.extend_from_slice(if is_whole { b"" } else { b"\n" });
    bytes.extend_from_slice(&line);
    bytes.push(b'\n');
    if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_all()) {
        let _ = file.set_len(length);
        return Err(at(error));
    }
    if is_new { sync_folder(home) } else { Ok(()) }
}

/// A file that root makes in the folder of another user is that user's: it is to read and continue it.
fn hand_over(file: &File, home: &Path) -> io::Result<()> {
    let owner = fs::metadata(home)?;
    let own = file.metadata()?;
    if own.uid() == owner.uid() {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// The last line without its end, and whether it has one.
fn last_line(file: &mut File, length: u64) -> io::Result<(Option<Vec<u8>>, bool)> {
    let window = u64::try_from(MAX_LINE).unwrap_or(u64::MAX).min(length);
    file.seek(SeekFrom::Start(length - window))?;
    let mut bytes = Vec::new();
    file.take(window).read_to_end(&mut bytes)?;
    let is_whole = bytes.last().is_none_or(|byte| *byte == b'\n');
    let body = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Ok((None, true));
    }
    let begin = body.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if begin == 0 && window < length {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its last line is too long for a log"));
    }
    Ok((body.get(begin..).map(<[u8]>::to_vec), is_whole))
}

/// A new file that is written bit by bit: it has its name when it is whole, and is gone when it is dropped
/// before.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    unfinished: PathBuf,
    is_done: bool,
}

impl NewFile {
    /// Begins one that only its owner can read; an error when something has its name already, or when the
    /// file system cannot keep others from reading it.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path.symlink_metadata().is_ok() {
            let error = io::Error::new(io::ErrorKind::AlreadyExists, "it exists already");
            return Err(with_path(path, &error));
        }
        let unfinished = beside(path)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
        let file = file.map_err(|e| with_path(&unfinished, &e))?;
        let new = Self { file, path: path.to_owned(), unfinished, is_done: false };
        let mode = new.file.metadata().map_err(|e| with_path(&new.unfinished, &e))?.mode();
        if mode & 0o077 != 0 {
            let what = "this file system does not keep others from reading it";
            return Err(with_path(path, &io::Error::new(io::ErrorKind::PermissionDenied, what)));
        }
        Ok(new)
    }

    /// Gives it its name, durably.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.sync_all().map_err(|e| with_path(&self.unfinished, &e))?;
        let here = rustix::fs::CWD;
        let renamed =
            rustix::fs::renameat_with(here, &self.unfinished, here, &self.path, RenameFlags::NOREPLACE);
        renamed.map_err(|e| with_path(&self.path, &e.into()))?;
        self.is_done = true;
        sync_folder(parent(&self.path)?)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|e| with_path(&self.unfinished, &e))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn log() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        (folder, path)
    }

    #[test]
    fn lines_are_added_and_each_is_made_of_the_one_before() {
        let (_folder, path) = log();
        for number in 0..3u8 {
            append(&path, |last| {
                assert_eq!(last, number.checked_sub(1).map(|n| vec![b'0' + n]).as_deref());
                Ok(vec![b'0' + number])
            })
            .unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"0\n1\n2\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn half_a_line_gets_its_end_and_is_given_as_it_is() {
        let (_folder, path) = log();
        append(&path, |_| Ok(b"whole".to_vec())).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"ha").unwrap();
        append(&path, |last| {
            assert_eq!(last, Some(&b"ha"[..]));
            Ok(b"next".to_vec())
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole\nha\nnext\n");
    }

    #[test]
    fn what_cannot_be_made_or_is_no_line_leaves_the_log_as_it_is() {
        let (_folder, path) = log();
        append(&path, |_| Ok(b"one".to_vec())).unwrap();
        assert!(append(&path, |_| Err(io::Error::other("no"))).is_err());
        assert!(append(&path, |_| Ok(b"a\nb".to_vec())).is_err());
        assert!(append(&path, |_| Ok(vec![b'x'; MAX_LINE])).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one\n");
    }

    #[test]
    fn a_long_log_is_continued_and_what_is_none_is_refused() {
        let (_folder, path) = log();
        for number in 0..100 {
            append(&path, |_| Ok(format!("{number:04000}").into_bytes())).unwrap();
        }
        append(&path, |last| {
            assert_eq!(last.unwrap(), format!("{:04000}", 99).as_bytes());
            Ok(b"x".to_vec())
        })
        .unwrap();
        super::super::write(&path, &vec![b'x'; 3 * MAX_LINE]).unwrap();
        assert!(append(&path, |_| Ok(b"x".to_vec())).is_err());
    }

    #[test]
    fn a_link_in_the_place_of_a_log_is_not_followed() {
        let (folder, path) = log();
        let victim = folder.path().join("victim");
        super::super::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert!(append(&path, |_| Ok(b"x".to_vec())).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_new_file_has_its_name_when_it_is_whole_and_replaces_nothing() {
        let (folder, path) = log();
        let mut file = NewFile::create(&path).unwrap();
        file.write_all(b"some").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "given up");
        let mut file = NewFile::create(&path).unwrap();
        file.write_all(b"all").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"all");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(NewFile::create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let other = folder.path().join("other");
        let file = NewFile::create(&other).unwrap();
        super::super::write(&folder.path().join("x"), b"was there first").unwrap();
        fs::rename(folder.path().join("x"), &other).unwrap();
        assert!(file.finish().is_err());
        assert_eq!(fs::read(&other).unwrap(), b"was there first");
    }
}
