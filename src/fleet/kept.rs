//! What must not be forgotten, as two files that are written in turn.
//!
//! In and out: one line of JSON with its own SHA-256 and a number that goes up at each write. A write
//! that a power cut tore leaves the copy before it. What can go wrong: neither copy is whole; then the
//! caller must fail closed, as whoever begins anew would take what was withdrawn long ago.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::documents::Digest;
use super::strict;

/// The most bytes of a copy that are read.
pub const MAX_COPY: usize = 64 * 1024;

/// The names of the two files, by the place that [`Kept::encode`] gives.
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

impl<T: Serialize + DeserializeOwned> Kept<T> {
    /// A value that was never written.
    pub const fn new(value: T) -> Self {
        Self { value, generation: 0 }
    }

    /// The newest whole one of the copies. None at all is an error too: whoever asks had enrolled the
    /// gateway.
    pub fn decode<'a>(copies: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Broken> {
        let (mut newest, mut faults): (Option<Self>, Vec<String>) = (None, Vec::new());
        for copy in copies {
            match Self::read(copy) {
                Ok(kept) if newest.as_ref().is_none_or(|other| other.generation < kept.generation) => {
                    newest = Some(kept);
                }
                Ok(_) => {}
                Err(fault) => faults.push(fault),
            }
        }
        newest.ok_or_else(|| {
            Broken(if faults.is_empty() { "there is none".to_owned() } else { faults.join("; ") })
        })
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let Written { generation, value, sha256 } = strict::read(bytes)?;
        if digest(generation, &value) != sha256 {
            return Err("its digest does not fit".to_owned());
        }
        Ok(Self { value, generation })
    }

    /// The next copy, and the file it belongs into.
    pub fn encode(&mut self) -> (Vec<u8>, &'static str) {
        self.generation += 1;
        let (generation, value) = (self.generation, &self.value);
        let sha256 = digest(generation, value);
        // Text and numbers only: there is nothing that could not be written.
        let bytes = serde_json::to_vec(&Written { generation, value, sha256 }).unwrap_or_default();
        let [even, odd] = PLACES;
        (bytes, if generation % 2 == 0 { even } else { odd })
    }
}

fn digest<T: Serialize>(generation: u64, value: &T) -> Digest {
    Digest::of(&serde_json::to_vec(&(generation, value)).unwrap_or_default())
}
