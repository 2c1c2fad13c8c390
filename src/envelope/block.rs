//! A block: the canonical records of one group commit, before it is sealed and after it is opened.
//!
//! In: [`Admitted`] observations, [`Gap`]s and [`Event`]s. Out: a [`PlainBlock`], whose bytes leave it only
//! through the seal. What can go wrong: the block is full; a record names a device that is not in
//! the header. What never happens: a block grows past [`MAX_RECORDS`] or [`MAX_BYTES`].

use std::collections::BTreeMap;
use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::record::{self, Draft, Entry, FormatError, Gap, MAX_RECORD};
use super::wire::{MAX_STR, Put, Take};
use crate::policy::event::Event;
use crate::policy::{Admitted, DeviceCard};
use crate::time::{BootId, ClockSync, Mono, Now, Wall};

/// The most records in one block.
pub const MAX_RECORDS: usize = 4_096;
/// The most bytes of records in one block, before compression.
pub const MAX_BYTES: usize = 256 * 1024;

/// The version of the block format that is written.
const VERSION: u8 = 1;
/// Version, boot, run, base stamp and the two counts at their longest.
const MAX_PREFIX: usize = 1 + 16 + 8 + 8 + 8 + 4 + 3 + 3;
/// A device card at its longest: four texts with their lengths, two forms, and the security word.
const MAX_CARD: usize = 4 * (MAX_STR + 2) + 3;

/// What all records of a block have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The boot in which they were read.
    pub boot: BootId,
    /// The run of the daemon in which they were read (random): a device's sequence numbers count
    /// within it.
    pub run: u64,
    /// The devices; a record names one by its place here. A block that was read back holds only
    /// those that its records name, in the order in which they are first named.
    pub devices: Vec<DeviceCard>,
}

/// Why a record was not taken. It is still the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// No further record fits for certain.
    #[error("the block is full: finish it and push again")]
    Full,
    /// The record's device has no card in the header, or one whose security word has no code.
    #[error("device {0} has no usable card in the block's header: make the builder from the allowlist")]
    UnknownDevice(u16),
}

/// Collects records up to the size of a block. One builder serves all blocks of a run: its memory
/// is kept from one to the next.
pub struct BlockBuilder {
    boot: BootId,
    run: u64,
    /// The devices by their number.
    cards: BTreeMap<u16, Card>,
    /// How many numbers were ever given.
    given: usize,
    /// The devices of the present block, in the order of their places.
    named: Vec<u16>,
    named_bytes: usize,
    base: Option<Now>,
    records: Vec<u8>,
    count: usize,
}

/// A device's card.
struct Card {
    /// As written; `None`: it cannot be.
    bytes: Option<Vec<u8>>,
    /// Its place in the present block.
    place: Option<u16>,
    /// No record of it is pushed any more.
    is_leaving: bool,
}

impl BlockBuilder {
    /// An empty block.
    pub fn new(header: &BlockHeader) -> Self {
        let mut builder = Self {
            boot: header.boot,
            run: header.run,
            cards: BTreeMap::new(),
            given: 0,
            named: Vec::new(),
            named_bytes: 0,
            base: None,
            records: Vec::new(),
            count: 0,
        };
        header.devices.iter().for_each(|card| builder.add_device(card));
        builder
    }

    /// Adds a device behind those of the header. No place is ever given to another device: what was taken
    /// under its card leaves under its card.
    pub fn add_device(&mut self, card: &DeviceCard) {
        if let Ok(device) = u16::try_from(self.given) {
            self.cards.insert(device, Card { bytes: card_bytes(card), place: None, is_leaving: false });
        }
        self.given += 1;
    }

    /// Nothing of a device is pushed any more: its card goes with the last block that names it.
    pub fn forget_device(&mut self, device: u16) {
        if let Some(card) = self.cards.get_mut(&device) {
            card.is_leaving = true;
            if card.place.is_none() {
                self.cards.remove(&device);
            }
        }
    }

    /// How many devices' cards it has.
    pub fn devices(&self) -> usize {
        self.cards.len()
    }

    /// Adds one record.
    pub fn push(&mut self, admitted: &Admitted) -> Result<(), NotTaken> {
        self.push_draft(Draft {
            device: admitted.device().0,
            seq: admitted.seq(),
            at: admitted.at(),
            observation: admitted.observation(),
        })
    }

    /// Adds word of something that was dropped.
    pub fn push_gap(&mut self, gap: &Gap) -> Result<(), NotTaken> {
        self.push_alone(|records| record::put_gap(records, gap))
    }

    /// Adds what the gateway itself has to say.
    pub fn push_event(&mut self, event: &Event) -> Result<(), NotTaken> {
        self.push_alone(|records| record::put_event(records, event))
    }

    /// Adds what names no device of the header and has its stamps in itself.
    fn push_alone(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), NotTaken> {
        if self.is_full() {
            return Err(NotTaken::Full);
        }
        put(&mut self.records);
        self.count += 1;
        Ok(())
    }

    /// Adds what was read back, with `device` counted in this builder's header: for tests, as only
    /// what policy admitted may be stored.
    #[cfg(test)]
    pub(crate) fn push_record(&mut self, record: &record::Record) -> Result<(), NotTaken> {
        let record::Record { device, seq, at, observation } = record;
        self.push_draft(Draft { device: *device, seq: *seq, at: *at, observation })
    }

    fn push_draft(&mut self, draft: Draft<'_>) -> Result<(), NotTaken> {
        if self.is_full() {
            return Err(NotTaken::Full);
        }
        let device = self.place(draft.device)?;
        let base = *self.base.get_or_insert(Now { sync: ClockSync::Unsynced, ..draft.at });
        record::put_observation(&mut self.records, Draft { device, ..draft }, &base);
        self.count += 1;
        Ok(())
    }

    /// The device's place in the present block.
    fn place(&mut self, device: u16) -> Result<u16, NotTaken> {
        let Some(Card { bytes: Some(bytes), place, .. }) = self.cards.get_mut(&device) else {
            return Err(NotTaken::UnknownDevice(device));
        };
        if let Some(place) = *place {
            return Ok(place);
        }
        let next = u16::try_from(self.named.len()).map_err(|_| NotTaken::Full)?;
        *place = Some(next);
        self.named.push(device);
        self.named_bytes += bytes.len();
        Ok(next)
    }

    /// How many records it holds.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether no further record fits for certain.
    pub fn is_full(&self) -> bool {
        let taken = MAX_PREFIX + self.named_bytes + self.records.len();
        self.count >= MAX_RECORDS || taken + MAX_CARD + MAX_RECORD > MAX_BYTES
    }

    /// The block's bytes; empties the builder for the next one.
    pub fn finish(&mut self) -> PlainBlock {
        let base = self.base.take().unwrap_or_default();
        let mut out = Vec::with_capacity(MAX_PREFIX + self.named_bytes + self.records.len());
        out.put_u8(VERSION);
        out.put_bytes(&self.boot.0);
        out.put_u64(self.run);
        out.put_u64(base.mono.as_nanos());
        out.put_i64(base.wall.as_millis());
        out.put_u32(base.max_error_us);
        out.put_varint(u64::try_from(self.named.len()).unwrap_or_default());
        for device in self.named.drain(..) {
            if let Some(Card { bytes: Some(bytes), place, is_leaving }) = self.cards.get_mut(&device) {
                out.put_bytes(bytes);
                *place = None;
                if *is_leaving {
                    self.cards.remove(&device);
                }
            }
        }
        let count = u32::try_from(self.count).unwrap_or_default();
        out.put_varint(u64::from(count));
        out.put_bytes(&self.records);
        self.records.as_mut_slice().zeroize();
        self.records.clear();
        self.named_bytes = 0;
        self.count = 0;
        PlainBlock { bytes: Zeroizing::new(out), count }
    }
}

impl Drop for BlockBuilder {
    fn drop(&mut self) {
        self.records.zeroize();
    }
}

/// A block in the clear. Lives in memory only, and is wiped when dropped.
pub struct PlainBlock {
    bytes: Zeroizing<Vec<u8>>,
    count: u32,
}

impl PlainBlock {
    /// How many records it holds.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Its size in bytes, at most [`MAX_BYTES`].
    pub fn size(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    /// Reads header and records.
    pub fn read(&self) -> Result<(BlockHeader, Vec<Entry>), FormatError> {
        let (header, entries) = read(&self.bytes)?;
        if u32::try_from(entries.len()) != Ok(self.count) {
            return Err(FormatError::Field("count"));
        }
        Ok((header, entries))
    }

    /// What the seal takes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the seal gives back.
    pub(super) const fn opened(bytes: Zeroizing<Vec<u8>>, count: u32) -> Self {
        Self { bytes, count }
    }
}

/// Shows its size, never its content.
impl fmt::Debug for PlainBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainBlock").field("count", &self.count).field("bytes", &self.bytes.len()).finish()
    }
}

/// The words for the security of a link, by their code.
const SECURITY: [&str; 3] = ["bonded", "open", "serial"];
/// A pseudonym that is the hex of 16 bytes is written as these.
const HEX_PSEUDONYM: u8 = 1;
const TEXT_PSEUDONYM: u8 = 0;
/// With the security word: the pseudonym of a place follows.
const HAS_LOCATION: u8 = 0x10;

fn card_bytes(card: &DeviceCard) -> Option<Vec<u8>> {
    let security = SECURITY.iter().position(|word| *word == card.security)?;
    let mut out = Vec::new();
    out.put_str(&card.id);
    out.put_str(&card.model);
    put_pseudonym(&mut out, &card.pseudonym);
    let has_location = if card.location.is_some() { HAS_LOCATION } else { 0 };
    out.put_u8(u8::try_from(security).ok()? | has_location);
    if let Some(location) = &card.location {
        put_pseudonym(&mut out, location);
    }
    Some(out)
}

fn put_pseudonym(out: &mut Vec<u8>, pseudonym: &str) {
    if let Some(bytes) = unhex(pseudonym) {
        out.put_u8(HEX_PSEUDONYM);
        out.put_bytes(&bytes);
    } else {
        out.put_u8(TEXT_PSEUDONYM);
        out.put_str(pseudonym);
    }
}

fn take_pseudonym(take: &mut Take<'_>) -> Result<String, FormatError> {
    match take.u8()? {
        HEX_PSEUDONYM => Ok(hex(&take.array::<16>()?)),
        TEXT_PSEUDONYM => {
            let text = take.str("pseudonym")?;
            if unhex(text).is_some() {
                return Err(FormatError::Field("pseudonym"));
            }
            Ok(text.to_owned())
        }
        _ => Err(FormatError::Field("pseudonym")),
    }
}

fn take_card(take: &mut Take<'_>) -> Result<DeviceCard, FormatError> {
    let id = take.str("device id")?.to_owned();
    let model = take.str("device model")?.to_owned();
    let pseudonym = take_pseudonym(take)?;
    let last = take.u8()?;
    let security = usize::from(last & !HAS_LOCATION);
    let security = SECURITY.get(security).copied().ok_or(FormatError::Field("security"))?;
    let location = if last & HAS_LOCATION == 0 { None } else { Some(take_pseudonym(take)?) };
    Ok(DeviceCard { id, model, pseudonym, location, security })
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0F)]).collect()
}

/// The 16 bytes of a lower-case hex text of 32 digits.
fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut out = [0; 16];
    if text.len() != 32 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        });
        *byte = high? << 4 | low?;
    }
    Some(out)
}

fn read(bytes: &[u8]) -> Result<(BlockHeader, Vec<Entry>), FormatError> {
    if bytes.len() > MAX_BYTES {
        return Err(FormatError::Field("block size"));
    }
    let mut take = Take::new(bytes);
    let version = take.u8()?;
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    let boot = BootId(take.array()?);
    let run = take.u64()?;
    let base = Now {
        mono: Mono::from_nanos(take.u64()?),
        wall: Wall::from_millis(take.i64()?),
        sync: ClockSync::Unsynced,
        max_error_us: take.u32()?,
    };
    let devices = take_counted(&mut take, "device count", take_card)?;
    let entries = take_counted(&mut take, "record count", |take| record::take_entry(take, &base))?;
    take.end()?;
    check_form(&base, devices.len(), &entries)?;
    Ok((BlockHeader { boot, run, devices }, entries))
}

/// A count of things and the things; none of them takes less than 5 bytes, so the bytes at hand
/// bound what is allocated.
fn take_counted<T>(
    take: &mut Take<'_>,
    field: &'static str,
    one: impl Fn(&mut Take<'_>) -> Result<T, FormatError>,
) -> Result<Vec<T>, FormatError> {
    let count: usize = take.small(field)?;
    if count > MAX_RECORDS {
        return Err(FormatError::Field(field));
    }
    if count > take.left() / 5 {
        return Err(FormatError::End);
    }
    (0..count).map(|_| one(take)).collect()
}

/// A block has one form only: its base is the stamp of its first observation, and its devices stand
/// in the order in which they are first named.
fn check_form(base: &Now, devices: usize, entries: &[Entry]) -> Result<(), FormatError> {
    let mut named = 0;
    let mut first = None;
    for entry in entries {
        let Entry::Observation(record) = entry else { continue };
        first.get_or_insert(Now { sync: ClockSync::Unsynced, ..record.at });
        let device = usize::from(record.device);
        if device > named || device >= devices {
            return Err(FormatError::Field("device"));
        }
        named += usize::from(device == named);
    }
    if named != devices {
        return Err(FormatError::Field("device count"));
    }
    if *base == first.unwrap_or_default() { Ok(()) } else { Err(FormatError::Field("base")) }
}

#[cfg(test)]
mod tests;
