//! Files that are written in more than one piece: a log, and a new file whose content comes bit by bit.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{beside, parent, sync_folder, with_path};

/// No line of a log is longer.
const MAX_LINE: usize = 64 * 1024;
/// A lock is waited for this often, so long each time: five seconds.
const LOCK_TRIES: u32 = 250;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Adds a line to a log, which is made when it is not there, for the owner of its folder alone. Durable on
/// return. `make` is given the last line (half of one, when the power went while it was written) and makes
/// the next, without a line end; one process after the other.
pub fn append(path: &Path, make: impl FnOnce(Option<&[u8]>) -> io::Result<Vec<u8>>) -> io::Result<()> {
    let at = |error: io::Error| with_path(path, &error);
    let home = parent(path)?;
    let (mut file, is_new) = open_log(path, home).map_err(at)?;
    lock(&file).map_err(at)?;
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

/// The log, and whether it was made just now. Only what was made here changes hands: the owner of the folder
/// can have any file of the same disk stand in its place.
fn open_log(path: &Path, home: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    options.read(true).append(true).mode(0o600).custom_flags(flags);
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => {
            let file = made?;
            hand_over(&file, home)?;
            return Ok((file, true));
        }
    }
    let file = options.open(path)?;
    let found = file.metadata()?;
    if found.is_file() && found.nlink() == 1 {
        return Ok((file, false));
    }
    let what = "it is not a regular file with this name alone: move it away";
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// One process after the other; who holds it for longer than a line takes is stuck, or means harm.
fn lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    let what = "another process keeps it locked: find out which (fuser), end it, and try again";
    Err(io::Error::new(io::ErrorKind::TimedOut, what))
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

/// A new file that is written bit by bit. It has no name before it is whole, so nothing is left of one that is
/// given up, killed or cut off by the power. Where the file system has no files without a name, it has another
/// until then, and is removed when it is dropped.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    /// Its name until it is whole, where it must have one.
    unfinished: Option<PathBuf>,
}

impl NewFile {
    /// Begins one that only its owner can read; an error when something has its name already, or when the
    /// file system cannot keep others from reading it.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(with_path(path, &io::Error::new(io::ErrorKind::AlreadyExists, "it exists already")));
        }
        // Also refuses a path without a name.
        let unfinished = beside(path)?;
        match nameless(parent(path)?).map_err(|e| with_path(path, &e))? {
            Some(file) => Self { file, path: path.to_owned(), unfinished: None }.for_its_owner(),
            None => Self::with_a_name(path, unfinished),
        }
    }

    fn with_a_name(path: &Path, unfinished: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
        let file = file.map_err(|e| with_path(&unfinished, &e))?;
        Self { file, path: path.to_owned(), unfinished: Some(unfinished) }.for_its_owner()
    }

    fn for_its_owner(self) -> io::Result<Self> {
        let mode = self.file.metadata().map_err(|e| with_path(&self.path, &e))?.mode();
        if mode & 0o077 != 0 {
            let what = "this file system does not keep others from reading it";
            return Err(with_path(&self.path, &io::Error::new(io::ErrorKind::PermissionDenied, what)));
        }
        Ok(self)
    }

    /// Gives it its name, durably.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.sync_all().map_err(|e| with_path(&self.path, &e))?;
        let here = rustix::fs::CWD;
        let named = if let Some(unfinished) = &self.unfinished {
            rustix::fs::renameat_with(here, unfinished, here, &self.path, RenameFlags::NOREPLACE)
        } else {
            let itself = own_link(&self.file);
            rustix::fs::linkat(here, &itself, here, &self.path, AtFlags::SYMLINK_FOLLOW)
        };
        named.map_err(|e| with_path(&self.path, &e.into()))?;
        self.unfinished = None;
        sync_folder(parent(&self.path)?)
    }
}

/// A file without a name; `None` where there are none, or where none could be given one.
fn nameless(folder: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::TMPFILE.bits().cast_signed();
    match OpenOptions::new().write(true).mode(0o600).custom_flags(flags).open(folder) {
        Ok(file) => Ok(own_link(&file).exists().then_some(file)),
        Err(error) => {
            let none = [Errno::OPNOTSUPP, Errno::ISDIR, Errno::INVAL, Errno::NOSYS].map(Errno::raw_os_error);
            if error.raw_os_error().is_some_and(|code| none.contains(&code)) { Ok(None) } else { Err(error) }
        }
    }
}

/// The way to a file of this process that has no name.
fn own_link(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|e| with_path(&self.path, &e))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.unfinished {
            let _ = fs::remove_file(unfinished);
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

    /// The owner of the folder can make these; root must not give him what they lead to.
    #[test]
    fn another_name_of_a_file_in_the_place_of_a_log_is_refused() {
        let (folder, path) = log();
        let victim = folder.path().join("victim");
        super::super::write(&victim, b"precious").unwrap();
        fs::hard_link(&victim, &path).unwrap();
        assert!(append(&path, |_| Ok(b"x".to_vec())).unwrap_err().to_string().contains("this name alone"));
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(append(&path, |_| Ok(b"x".to_vec())).unwrap_err().to_string().contains("this name alone"));
    }

    #[test]
    fn a_log_that_is_kept_locked_is_not_waited_for_for_ever() {
        let (_folder, path) = log();
        append(&path, |_| Ok(b"one".to_vec())).unwrap();
        let other = File::open(&path).unwrap();
        other.lock().unwrap();
        let error = append(&path, |_| Ok(b"two".to_vec())).unwrap_err();
        assert!(error.to_string().contains("keeps it locked"), "{error}");
        drop(other);
        append(&path, |_| Ok(b"two".to_vec())).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
    }

    /// In the middle there is no name that a crash could leave behind, where the file system can do that.
    #[test]
    fn a_new_file_has_its_name_when_it_is_whole_and_replaces_nothing() {
        type Begin = fn(&Path) -> io::Result<NewFile>;
        let with_a_name: Begin = |path| NewFile::with_a_name(path, beside(path)?);
        for (begin, names) in [(NewFile::create as Begin, 0), (with_a_name, 1)] {
            let (folder, path) = log();
            let count = || fs::read_dir(folder.path()).unwrap().count();
            let mut file = begin(&path).unwrap();
            file.write_all(b"some").unwrap();
            assert!(!path.exists());
            assert_eq!(count(), names);
            drop(file);
            assert_eq!(count(), 0, "given up");
            let mut file = begin(&path).unwrap();
            file.write_all(b"all").unwrap();
            file.finish().unwrap();
            assert_eq!((fs::read(&path).unwrap().as_slice(), count()), (&b"all"[..], 1));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
            assert_eq!(NewFile::create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            let other = folder.path().join("other");
            let file = begin(&other).unwrap();
            super::super::write(&folder.path().join("x"), b"was there first").unwrap();
            fs::rename(folder.path().join("x"), &other).unwrap();
            assert!(file.finish().is_err());
            assert_eq!(fs::read(&other).unwrap(), b"was there first");
            assert_eq!(count(), 2);
        }
    }
}
