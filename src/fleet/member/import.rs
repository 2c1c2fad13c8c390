//! Documents that somebody brought: a folder as `wardline-fleet publish --to` writes it, on a stick for instance.
//!
//! In: the folder and the topic of a document. Out: its bytes, or that there is none. They are judged like what
//! comes from a broker, so nothing here believes them. What never happens: a link is followed, within the folder
//! or out of it; more is read than the document may have; a pipe or a device is waited for.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::fleet::advisories::library::MAX_DOCUMENT;
use crate::fleet::documents::{Bundle, Document as _, Root, Timestamp};
use crate::fleet::topics::{Topic, What};

/// How many documents are read in one look: a gateway that slept for years walks a long chain of roots.
pub(super) const MOST_STEPS: usize = 256;

/// Reads one document. `None`: it is not there. One byte more than it may have, if it is longer: then whoever
/// judges it says so.
pub fn read(folder: &Path, topic: &Topic) -> io::Result<Option<Vec<u8>>> {
    let (steps, cap) = match topic.what() {
        What::Root(version) => (vec!["root".to_owned(), format!("{version}.json")], Root::CAP),
        What::Timestamp { group } => {
            (vec!["g".to_owned(), group.clone(), "ts.json".to_owned()], Timestamp::CAP)
        }
        What::Bundle { group, version } => {
            let last = format!("{version}.json");
            (vec!["g".to_owned(), group.clone(), "bundle".to_owned(), last], Bundle::CAP)
        }
        What::Advisory(digest) => (vec!["advisory".to_owned(), format!("{digest}.json")], MAX_DOCUMENT),
        What::Reported { .. } | What::Inventory { .. } => return Ok(None),
    };
    match open(folder, &steps) {
        Ok(file) => {
            let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
            let mut bytes = Vec::new();
            file.take(limit).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
        // A stick that is not there is no fault.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", steps.join("/")))),
    }
}

fn open(folder: &Path, steps: &[String]) -> io::Result<File> {
    let (folders, base) = (OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, folder);
    let mut at = openat(CWD, base, folders, Mode::empty())?;
    let Some((last, above)) = steps.split_last() else { return Err(io::ErrorKind::NotFound.into()) };
    for step in above {
        at = openat(&at, step.as_str(), folders | OFlags::NOFOLLOW, Mode::empty()).map_err(refused)?;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&at, last.as_str(), flags, Mode::empty()).map_err(refused)?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

/// A folder that is a link is none (`ENOTDIR`), a file that is one is a loop (`ELOOP`, open(2)).
fn refused(error: Errno) -> io::Error {
    if matches!(error, Errno::LOOP | Errno::NOTDIR) {
        return io::Error::new(io::ErrorKind::InvalidInput, "it is a link, or not what it should be");
    }
    error.into()
}
