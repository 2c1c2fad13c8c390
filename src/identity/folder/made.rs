//! The keys that were made in a token for this folder: none is forgotten there, and none of another is touched.
//!
//! A key's name is kept here before the key is made, and leaves when the key was destroyed. So whatever the power
//! does, what is in the token and of no use any more is known by name: label and an id that was drawn for it.

use std::io;

use serde::{Deserialize, Serialize};

use super::Folder;
use crate::envelope::keys::{KeyError, TokenKey};
use crate::host::atomic_file;
use crate::identity::est::EstError;

const MADE: &str = "made.json";

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    /// As [`TokenKey::name`] writes them.
    keys: Vec<String>,
}

impl Folder {
    /// Keeps the name of a key that is about to be made.
    pub fn keep_made(&self, key: &TokenKey) -> io::Result<()> {
        let mut made = self.made()?;
        made.keys.push(key.name());
        self.write_made(&made)
    }

    /// Destroys the keys that were made and that nothing here names any more: of a certificate that was replaced, or
    /// of a request that came to nothing. How many there were. The first that cannot be destroyed ends it: all are
    /// still known then. Those of another token than the one that is configured now stay known, and keep nobody waiting:
    /// a token that was replaced may be gone for good.
    pub fn sweep(&self) -> Result<usize, EstError> {
        let Some(reached) = self.token() else { return Ok(0) };
        let made = self.made()?;
        if made.keys.is_empty() {
            return Ok(0);
        }
        let used = self.used()?;
        let is_elsewhere = |key: &String| TokenKey::named(key).is_ok_and(|key| key.token != reached.token);
        let (kept, strays): (Vec<_>, Vec<_>) =
            made.keys.into_iter().partition(|key| used.contains(key) || is_elsewhere(key));
        for stray in &strays {
            // One that cannot be read names no key.
            if let Ok(key) = TokenKey::named(stray) {
                destroy(&key.reached_as(reached))?;
            }
        }
        if !strays.is_empty() {
            self.write_made(&Made { keys: kept })?;
        }
        Ok(strays.len())
    }

    /// The names that stand in the folder. Where a file of it cannot be read nothing is known to be of no use.
    fn used(&self) -> Result<Vec<String>, EstError> {
        let pairs = [self.current()?, self.next()?];
        let mut used: Vec<String> =
            pairs.iter().flatten().filter_map(|pair| pair.token().map(TokenKey::name)).collect();
        used.extend(self.pending()?.and_then(|pending| pending.token().map(TokenKey::name)));
        Ok(used)
    }

    fn made(&self) -> io::Result<Made> {
        let Some(text) = self.read(MADE)? else { return Ok(Made::default()) };
        serde_json::from_slice(&text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{MADE}: {error}")))
    }

    fn write_made(&self, made: &Made) -> io::Result<()> {
        let text = serde_json::to_vec(made).map_err(io::Error::other)?;
        atomic_file::write(&self.path().join(MADE), &text)
    }
}

fn destroy(key: &TokenKey) -> Result<(), EstError> {
    key.destroy().map_err(|error: KeyError| EstError::Token(error))
}
