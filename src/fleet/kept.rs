//! What must not be forgotten, as two files that are written in turn.
//!
//! In and out: one line of JSON with its own SHA-256 and a number that goes up at each write. A write
//! that a power cut tore leaves the copy before it. What can go wrong: neither copy is whole; then the
//! caller must fail closed, as whoever begins anew would take what was withdrawn long ago.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::documents::Digest;
use super::strict;

/// The most bytes of a copy: no more are read, so no more are ever written.
pub const MAX_COPY: usize = 64 * 1024;

/// The names of the two files, by the place that [`Kept::next`] gives.
pub const PLACES: [&str; 2] = ["state.a", "state.b"];

/// A value and how often it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<T> {
    /// The value.
    pub value: T,
    generation: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<T> {
    generation: u64,
    value: T,
    sha256: Digest,
}

/// No copy is whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no copy of what was seen of the fleet's documents is whole ({0}): nothing is believed until the \
     gateway is enrolled again, as it might take what was withdrawn"
)]
pub struct Broken(String);

/// A copy that nobody could read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the state of the fleet has {0} bytes, {MAX_COPY} at most can be read again: it is not written")]
pub struct TooLong(usize);

/// What is to be written next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy<T> {
    /// What is kept once the bytes are durable, and not before.
    pub kept: Kept<T>,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The file that they belong into.
    pub place: &'static str,
}

impl<T: Serialize + DeserializeOwned> Kept<T> {
    /// A value that was never written.
    pub const fn new(value: T) -> Self {
        Self { value, generation: 0 }
    }

    /// The whole ones of the copies: the newest, and the one before it. None at all is an error: whoever
    /// asks had enrolled the gateway.
    pub fn decode<'a>(copies: impl IntoIterator<Item = &'a [u8]>) -> Result<(Self, Option<Self>), Broken> {
        let (mut whole, mut faults): (Vec<Self>, Vec<String>) = (Vec::new(), Vec::new());
        for copy in copies {
            match Self::read(copy) {
                Ok(kept) => whole.push(kept),
                Err(fault) => faults.push(fault),
            }
        }
        whole.sort_by_key(|kept| std::cmp::Reverse(kept.generation));
        let mut whole = whole.into_iter();
        let newest = whole.next().ok_or_else(|| {
            Broken(if faults.is_empty() { "there is none".to_owned() } else { faults.join("; ") })
        })?;
        Ok((newest, whole.next()))
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let Written { generation, value, sha256 } = strict::read(bytes)?;
        if digest(generation, &value) != sha256 {
            return Err("its digest does not fit".to_owned());
        }
        Ok(Self { value, generation })
    }

    /// The copy that follows with this value. Nothing is changed here: a write that fails leaves what was.
    pub fn next(&self, value: T) -> Result<Copy<T>, TooLong> {
        let generation = self.generation.saturating_add(1);
        let sha256 = digest(generation, &value);
        let written = Written { generation, value, sha256 };
        // Text and numbers only: there is nothing that could not be written.
        let bytes = serde_json::to_vec(&written).unwrap_or_default();
        if bytes.len() > MAX_COPY {
            return Err(TooLong(bytes.len()));
        }
        let [even, odd] = PLACES;
        let place = if generation.is_multiple_of(2) { even } else { odd };
        Ok(Copy { kept: Self { value: written.value, generation }, bytes, place })
    }
}

fn digest<T: Serialize>(generation: u64, value: &T) -> Digest {
    Digest::of(&serde_json::to_vec(&(generation, value)).unwrap_or_default())
}
