//! The files of a key that is to be destroyed.
//!
//! In: the path that the configuration names. Out: what is to be overwritten: the file, or what a link leads to and then
//! the link. What can go wrong: what is there is not a key that would load; then nothing is erased, as the
//! path may be somebody's mistake. What never happens: a file is overwritten because a link led to it.

use std::io;
use std::path::{Path, PathBuf};

use super::super::StoreError;
use crate::envelope::keys::{KeyError, KeyFile, KeySource};

/// One key's file, found to hold a key, or gone already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFiles {
    named: PathBuf,
    resolved: Option<PathBuf>,
}

impl KeyFiles {
    /// Looks at what is there. `begun` are the files that an earlier wipe began to overwrite: half
    /// overwritten they hold no key any more.
    pub fn find(named: &Path, begun: &[PathBuf]) -> Result<Self, StoreError> {
        let failed = |path: &Path, error: &dyn std::fmt::Display| {
            StoreError::Config(format!(
                "{} is not destroyed as a key: {error}; put that right, or leave it where it is with --keep-kek \
                 (nothing was erased)",
                path.display()
            ))
        };
        let resolved = match named.canonicalize() {
            Ok(resolved) => resolved,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { named: named.to_owned(), resolved: None });
            }
            Err(error) => return Err(failed(named, &error)),
        };
        match KeyFile::new(&resolved).load() {
            Ok(_) => {}
            Err(KeyError::Content { .. }) if begun.contains(&resolved) => {}
            Err(error) => return Err(failed(&resolved, &error)),
        }
        Ok(Self { named: named.to_owned(), resolved: Some(resolved) })
    }

    /// The file that holds the key, behind every link; `None` when it is gone.
    pub fn resolved(&self) -> Option<&Path> {
        self.resolved.as_deref()
    }

    /// What is to be overwritten, in order: the key, then what led to it.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let target = self.resolved.iter().filter(|target| **target != self.named);
        target.chain([&self.named]).cloned().collect()
    }
}
