//! What is stored in the benchmark of stores: records of 256 bytes, the same for every keeper.
//!
//! Out: for the peers bytes, for the store of this program what its gate admits. A record counts as
//! 256 bytes whoever keeps it, so that what is written for each of these bytes can be compared.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::super::peer::{READING, reading};
use super::super::ward::Line;
use crate::backoff::Random as _;
use crate::device::Report;
use crate::envelope::block::PlainBlock;
use crate::host::random::SystemRandomness;
use crate::time::{Mono, Now, Wall};

/// Bytes of a record.
pub(super) const RECORD: usize = READING;
/// Characters that say 256 random bytes at six bits each; a packer of texts gets them back to 256.
const CHARACTERS: usize = (RECORD * 8).div_ceil(6);
/// The most characters of an alarm's code: the rest is its text.
const CODE: usize = 200;
/// Sixty-four of them: six bits.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// From one record to the next: a ward of 100 devices, three observations to a reading. No two are
/// of the same moment, as packing would otherwise be too easy.
const STEP_NANOS: u64 = 3_333_331;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content {
    /// Nothing that could be packed.
    Random,
    /// A reading: as a JSON text of 256 bytes for the peers, as the observation for the store.
    Reading,
}

/// Makes records.
pub(super) struct Records {
    content: Content,
    random: SystemRandomness,
    number: u64,
}

impl Records {
    /// Of a kind.
    pub(super) fn of(content: Content) -> Self {
        Self { content, random: SystemRandomness::new(), number: 0 }
    }

    /// So many, as bytes.
    pub(super) fn take(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count)
            .map(|_| {
                self.number += 1;
                match self.content {
                    Content::Reading => reading(self.number).into_bytes(),
                    Content::Random => {
                        let words = RECORD.div_ceil(8);
                        (0..words).flat_map(|_| self.random.next_u64().to_le_bytes()).take(RECORD).collect()
                    }
                }
            })
            .collect()
    }
}

/// Makes blocks of the same.
pub(super) struct Blocks {
    content: Content,
    random: SystemRandomness,
    line: Line,
    number: u64,
    base: Now,
}

impl Blocks {
    /// Of a kind, from a moment on.
    pub(super) fn of(content: Content, base: Now) -> Self {
        Self { content, random: SystemRandomness::new(), line: Line::new(base), number: 0, base }
    }

    /// So many records, in as many blocks as they need.
    pub(super) fn take(&mut self, count: usize) -> anyhow::Result<Vec<PlainBlock>> {
        let mut blocks = Vec::new();
        for _ in 0..count {
            if self.line.builder.is_full() {
                blocks.push(self.line.builder.finish());
            }
            let report = self.report().context("no characters")?;
            self.line.push(report)?;
        }
        blocks.push(self.line.builder.finish());
        Ok(blocks)
    }

    fn report(&mut self) -> Option<Report> {
        self.number += 1;
        let nanos = self.number.saturating_mul(STEP_NANOS);
        let millis = i64::try_from(nanos / 1_000_000).unwrap_or(0);
        let at = Now {
            mono: Mono::from_nanos(self.base.mono.as_nanos().saturating_add(nanos)),
            wall: Wall::from_millis(self.base.wall.as_millis().saturating_add(millis)),
            ..self.base
        };
        match self.content {
            Content::Reading => Some(self.line.readings.next(at)),
            Content::Random => {
                let words = self.characters();
                let device = u16::try_from(self.number % 100).unwrap_or(0);
                let words = words.split_at_checked(CODE)?;
                Some(self.line.readings.alarm_in_words(device, words, at))
            }
        }
    }

    fn characters(&mut self) -> String {
        let mut text = String::with_capacity(CHARACTERS);
        while text.len() < CHARACTERS {
            let word = self.random.next_u64();
            // Ten of six bits each; the last four bits are left over.
            let characters = (0..10).filter_map(|place| {
                let six = usize::try_from(word >> (6 * place) & 0x3F).unwrap_or(0);
                ALPHABET.get(six).copied().map(char::from)
            });
            text.extend(characters.take(CHARACTERS - text.len()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::seal::Place;
    use crate::lab::bench::ward::Spool;

    fn sealed(content: Content, count: usize) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let kek = Spool::new(folder.path()).unwrap().kek().unwrap();
        let (keys, _) = kek.new_segment(b"test", &ring::rand::SystemRandom::new()).unwrap();
        let blocks = Blocks::of(content, Now::default()).take(count).unwrap();
        assert_eq!(blocks.iter().map(PlainBlock::count).sum::<u32>(), u32::try_from(count).unwrap());
        let place = |block| Place {
            store: [1; 16],
            lane: crate::device::observation::Lane::Vital,
            segment: 1,
            block,
            count: 1,
            wall: 0,
        };
        let sizes = blocks
            .iter()
            .zip(0..)
            .map(|(block, number)| keys.data.seal(&place(number), block).unwrap().bytes().len());
        sizes.sum()
    }

    #[test]
    fn random_records_cannot_be_packed_below_their_size_and_readings_can() {
        let random = sealed(Content::Random, 640);
        assert!((640 * RECORD..640 * RECORD * 12 / 10).contains(&random), "{random}");
        assert_eq!(Blocks::of(Content::Random, Now::default()).take(4_096).unwrap().len(), 6);
        assert!(sealed(Content::Reading, 640) < 640 * RECORD / 5);
    }

    #[test]
    fn every_record_of_a_peer_is_of_the_same_size() {
        for content in [Content::Random, Content::Reading] {
            let records = Records::of(content).take(100);
            assert!(records.iter().all(|record| record.len() == RECORD));
            assert_ne!(records[0], records[1]);
        }
    }
}
