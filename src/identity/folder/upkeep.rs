//! What is put right in the folder, and what it remembers of time.

use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{CURRENT, DAMAGED, Folder, NEXT, Pair};
use crate::host::atomic_file;
use crate::identity::gate::Renewed;
use crate::identity::renewal::Lifetime;

const RENEWED: &str = "renewed.json";
const AGE: &str = "age.json";

/// How old a certificate is known to be, for a gateway whose clock is never set.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Age {
    /// Whose.
    draw: u64,
    /// Seconds.
    seconds: u64,
}

impl Folder {
    /// Puts right what a power cut or a bad disk left: a first pair that was issued and not yet taken; a pair in
    /// use that is damaged, which is set aside as `current.pem.damaged`, for the next one or for none. Called
    /// before the uplink reads the pair in use. `true`: the next pair was taken.
    pub fn recover(&self) -> io::Result<bool> {
        match self.current() {
            Ok(Some(pair)) => match pair.check() {
                Ok(()) => return Ok(false),
                Err(error) => self.set_aside(&error.to_string())?,
            },
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => self.set_aside(&error.to_string())?,
            Err(error) => return Err(error),
        }
        // A next one that cannot be shown is none.
        let is_good = self.next().ok().flatten().is_some_and(|pair| pair.check().is_ok());
        if is_good {
            self.promote()?;
        }
        Ok(is_good)
    }

    fn set_aside(&self, why: &str) -> io::Result<()> {
        tracing::warn!("the pair in use is damaged ({why}): it is set aside as {DAMAGED}");
        atomic_file::rename(&self.path().join(CURRENT), &self.path().join(DAMAGED))
    }

    /// Whether this key has a certificate here already: its request was answered.
    pub fn has_key(&self, point: &[u8]) -> bool {
        let has =
            |pair: io::Result<Option<Pair>>| pair.ok().flatten().is_some_and(|pair| pair.has_key(point));
        has(self.current()) || has(self.next())
    }

    /// When a certificate was renewed last; none, or nothing that could be read: `None`.
    pub fn renewed(&self) -> Option<Renewed> {
        self.hint(RENEWED)
    }

    /// Remembers that one was.
    pub fn keep_renewed(&self, renewed: &Renewed) -> io::Result<()> {
        self.keep_hint(RENEWED, renewed)
    }

    /// The age of this certificate that was remembered.
    pub fn age(&self, of: Lifetime) -> Duration {
        let age: Option<Age> = self.hint(AGE);
        Duration::from_secs(age.filter(|age| age.draw == of.draw).map_or(0, |age| age.seconds))
    }

    /// Remembers it.
    pub fn keep_age(&self, of: Lifetime, age: Duration) -> io::Result<()> {
        self.keep_hint(AGE, &Age { draw: of.draw, seconds: age.as_secs() })
    }

    fn hint<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.read(name).ok().flatten().and_then(|text| serde_json::from_slice(&text).ok())
    }

    fn keep_hint(&self, name: &str, hint: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(hint).map_err(io::Error::other)?;
        atomic_file::write(&self.path().join(name), &text)
    }

    /// The next pair, but for one that has run out by a clock that can be trusted, which is removed: it would
    /// only be shown in vain.
    pub fn next_in_time(&self, now: crate::time::Now) -> io::Result<Option<Pair>> {
        let Some(pair) = self.next()? else { return Ok(None) };
        if now.sync == crate::time::ClockSync::Synced && pair.lifetime().is_past(now) {
            tracing::warn!("{NEXT} has run out before a broker took it: it is removed");
            self.drop_next()?;
            return Ok(None);
        }
        Ok(Some(pair))
    }
}
