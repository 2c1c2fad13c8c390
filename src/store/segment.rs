//! The two small files of a segment: what it is, written before its first block, and what it came
//! to, written when it is closed.
//!
//! In and out: bytes (`FORMAT.md`). What can go wrong: a file is missing, cut, changed, or belongs to
//! another place; each is an [`Unsound`] that says which. What never happens: a field is believed
//! before the file authenticates: the header under the KEK, the footer under the segment's own key.

use std::io;
use std::path::{Path, PathBuf};

use ring::digest;
use ring::rand::SecureRandom;

use super::StoreId;
use crate::device::observation::Lane;
use crate::envelope::keys::{KekId, KeyRing, SegmentKeys};
use crate::envelope::record::{FormatError, lane_code, lane_of};
use crate::envelope::seal::{ALGORITHM, SealError, TAG, WRAPPED};
use crate::envelope::wire::{Put, Take};
use crate::host::atomic_file;
use crate::time::{BootId, Wall};

const HEADER_MAGIC: [u8; 4] = *b"WLsH";
const FOOTER_MAGIC: [u8; 4] = *b"WLsF";
const HEADER_VERSION: u8 = 2;
const FOOTER_VERSION: u8 = 1;
/// Both files are shorter; a longer one is not read.
const MAX_FILE: usize = 512;

/// Why a segment's file cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsound {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Format(#[from] FormatError),
    #[error("{0}")]
    Seal(#[from] SealError),
    #[error("it belongs to lane {lane}, segment {number}")]
    Elsewhere { lane: Lane, number: u64 },
    #[error("it belongs to another store")]
    Foreign,
    #[error("the footer does not authenticate")]
    Forged,
    #[error("it is wrapped by key {0}, which was not given")]
    Key(KekId),
}

impl From<Unsound> for io::Error {
    fn from(unsound: Unsound) -> Self {
        if let Unsound::Io(error) = unsound { error } else { Self::other(unsound.to_string()) }
    }
}

impl Unsound {
    /// Whether the file is simply not there.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// The error when it says nothing of the file, only of the system just now; else itself again.
    pub(super) fn or_shortage(self) -> io::Result<Self> {
        if let Self::Io(error) = self {
            return if atomic_file::is_shortage(&error) { Err(error) } else { Ok(Self::Io(error)) };
        }
        Ok(self)
    }
}

/// SHA-256 over everything before: what cannot be left out or put in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain(pub(super) [u8; 32]);

impl Chain {
    pub(super) const START: Self = Self([0; 32]);

    /// The chain with one more block.
    pub(super) fn add(&mut self, tail: &[u8; TAG]) {
        self.extend(tail);
    }

    /// The head of a segment: its header, then its blocks.
    pub(super) fn head(header: &[u8], blocks: Self) -> Self {
        let mut head = blocks;
        head.extend(header);
        head
    }

    fn extend(&mut self, bytes: &[u8]) {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.0);
        context.update(bytes);
        for (to, from) in self.0.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
    }
}

/// What a segment says of the one before it in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Previous {
    /// Its number; 0 when there was none.
    pub(super) number: u64,
    /// How many blocks of it were reported durable: any further one was reported failed and stored
    /// again.
    pub(super) blocks: u32,
    /// The records in these.
    pub(super) records: u64,
    /// Its head.
    pub(super) head: Chain,
}

impl Previous {
    pub(super) const NONE: Self = Self { number: 0, blocks: 0, records: 0, head: Chain::START };

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u64(self.number);
        out.put_u32(self.blocks);
        out.put_u64(self.records);
        out.put_bytes(&self.head.0);
    }

    pub(super) fn take(take: &mut Take<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            number: take.u64()?,
            blocks: take.u32()?,
            records: take.u64()?,
            head: Chain(take.array()?),
        })
    }
}

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) store: StoreId,
    pub(super) lane: Lane,
    pub(super) number: u64,
    pub(super) boot: BootId,
    pub(super) opened: Wall,
    pub(super) previous: Previous,
}

/// A header whose key was unwrapped.
pub(super) struct Opened {
    pub(super) header: Header,
    pub(super) keys: SegmentKeys,
    /// Which key wraps it.
    pub(super) kek: KekId,
    /// What of it never changes: what the segment's head stands for.
    pub(super) bytes: Vec<u8>,
}

impl Header {
    /// What of it never changes.
    fn fixed(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_FILE);
        out.put_bytes(&HEADER_MAGIC);
        out.put_u8(HEADER_VERSION);
        out.put_u8(ALGORITHM);
        out.put_bytes(&self.store.0);
        out.put_u8(lane_code(self.lane));
        out.put_u64(self.number);
        out.put_bytes(&self.boot.0);
        out.put_i64(self.opened.as_millis());
        self.previous.put(&mut out);
        out
    }

    /// Writes it with a fresh key, durably.
    pub(super) fn create(
        self,
        folder: &Path,
        ring: &KeyRing,
        random: &dyn SecureRandom,
    ) -> Result<Opened, Unsound> {
        let bytes = self.fixed();
        let kek = ring.current.id();
        let mut about = about(&bytes, kek);
        let (keys, wrapped) = ring.current.new_segment(&about, random)?;
        about.put_bytes(&wrapped);
        atomic_file::write(&file(folder), &about)?;
        Ok(Opened { header: self, keys, kek, bytes })
    }

    /// Reads the header of the segment that `folder` is meant to hold.
    pub(super) fn open(
        folder: &Path,
        ring: &KeyRing,
        (store, lane, number): (StoreId, Lane, u64),
    ) -> Result<Opened, Unsound> {
        Self::open_bytes(&atomic_file::read(&file(folder), MAX_FILE)?, ring, (store, lane, number))
    }

    /// The same of bytes that were read before.
    pub(super) fn open_bytes(
        bytes: &[u8],
        ring: &KeyRing,
        (store, lane, number): (StoreId, Lane, u64),
    ) -> Result<Opened, Unsound> {
        let Parsed { header, fixed, kek, wrapped } = parse(bytes)?;
        let key = ring.find(kek).ok_or(Unsound::Key(kek))?;
        let keys = key.open_segment(&about(fixed, kek), &wrapped)?;
        if header.store != store {
            return Err(Unsound::Foreign);
        }
        if (header.lane, header.number) != (lane, number) {
            return Err(Unsound::Elsewhere { lane: header.lane, number: header.number });
        }
        Ok(Opened { header, keys, kek, bytes: fixed.to_vec() })
    }

    /// The bytes of a header and the store that they name. Nothing proves it: they are to be opened under
    /// that name.
    pub(super) fn claim(folder: &Path) -> Option<(Vec<u8>, StoreId)> {
        let bytes = atomic_file::read(&file(folder), MAX_FILE).ok()?;
        let store = parse(&bytes).ok()?.header.store;
        Some((bytes, store))
    }

    /// Has the key of a segment wrapped by the ring's current key, durably; its data stays as it is.
    pub(super) fn rewrap(folder: &Path, ring: &KeyRing, random: &dyn SecureRandom) -> Result<(), Unsound> {
        let bytes = atomic_file::read(&file(folder), MAX_FILE)?;
        let Parsed { fixed, kek, wrapped, .. } = parse(&bytes)?;
        let (old, new) = (ring.find(kek).ok_or(Unsound::Key(kek))?, &ring.current);
        if old.id() == new.id() {
            return Ok(());
        }
        let mut out = about(fixed, new.id());
        let wrapped = new.rewrap((old, &about(fixed, kek), &wrapped), &out, random)?;
        out.put_bytes(&wrapped);
        atomic_file::write(&file(folder), &out)?;
        Ok(())
    }
}

/// What is authenticated with the wrapped key: everything before it.
fn about(fixed: &[u8], kek: KekId) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAX_FILE);
    out.put_bytes(fixed);
    out.put_bytes(&kek.0);
    out
}

/// A header as read, not yet authenticated.
struct Parsed<'a> {
    header: Header,
    fixed: &'a [u8],
    kek: KekId,
    wrapped: [u8; WRAPPED],
}

fn parse(bytes: &[u8]) -> Result<Parsed<'_>, FormatError> {
    let mut take = Take::new(bytes);
    if take.array::<4>()? != HEADER_MAGIC {
        return Err(FormatError::Field("magic"));
    }
    let version = take.u8()?;
    if version != HEADER_VERSION {
        return Err(FormatError::Version(version));
    }
    if take.u8()? != ALGORITHM {
        return Err(FormatError::Field("algorithm"));
    }
    let store = StoreId(take.array()?);
    let lane = lane_of(take.u8()?).ok_or(FormatError::Field("lane"))?;
    let number = take.u64()?;
    let boot = BootId(take.array()?);
    let opened = Wall::from_millis(take.i64()?);
    let header = Header { store, lane, number, boot, opened, previous: Previous::take(&mut take)? };
    let fixed = bytes.get(..bytes.len() - take.left()).ok_or(FormatError::End)?;
    let (kek, wrapped) = (KekId(take.array()?), take.array()?);
    take.end()?;
    Ok(Parsed { header, fixed, kek, wrapped })
}

fn file(folder: &Path) -> PathBuf {
    folder.join("header")
}

/// How a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Closed in order: the length and CRC-32 of sled's file, which sled may open again when they
    /// still hold.
    Clean { length: u64, sum: u32 },
    /// Found without a footer after a crash, or given up after an error of the disk: read without
    /// sled.
    Broken,
}

/// What a segment came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) blocks: u32,
    pub(super) records: u64,
    /// How many of its records are gap records.
    pub(super) tellings: u64,
    /// How many lost records these tell of.
    pub(super) told: u64,
    pub(super) first: Wall,
    pub(super) last: Wall,
    pub(super) head: Chain,
    pub(super) ending: Ending,
}

impl Footer {
    /// Writes it, durably.
    pub(super) fn write(&self, folder: &Path, keys: &SegmentKeys) -> io::Result<()> {
        let mut out = Vec::with_capacity(MAX_FILE);
        out.put_bytes(&FOOTER_MAGIC);
        out.put_u8(FOOTER_VERSION);
        let (ending, length, sum) = match self.ending {
            Ending::Broken => (0, 0, 0),
            Ending::Clean { length, sum } => (1, length, sum),
        };
        out.put_u8(ending);
        out.put_u32(self.blocks);
        out.put_u64(self.records);
        out.put_u64(self.tellings);
        out.put_u64(self.told);
        out.put_i64(self.first.as_millis());
        out.put_i64(self.last.as_millis());
        out.put_bytes(&self.head.0);
        out.put_u64(length);
        out.put_u32(sum);
        let tag = keys.footer.tag(&out);
        out.put_bytes(&tag);
        atomic_file::write(&folder.join("footer"), &out)
    }

    /// Reads it.
    pub(super) fn read(folder: &Path, keys: &SegmentKeys) -> Result<Self, Unsound> {
        let bytes = atomic_file::read(&folder.join("footer"), MAX_FILE)?;
        let (body, tag) = bytes.split_last_chunk::<32>().ok_or(FormatError::End)?;
        if !keys.footer.is_tag(body, tag) {
            return Err(Unsound::Forged);
        }
        let mut take = Take::new(body);
        if take.array::<4>()? != FOOTER_MAGIC {
            return Err(FormatError::Field("magic").into());
        }
        let version = take.u8()?;
        if version != FOOTER_VERSION {
            return Err(FormatError::Version(version).into());
        }
        let ending = take.u8()?;
        let footer = Self {
            blocks: take.u32()?,
            records: take.u64()?,
            tellings: take.u64()?,
            told: take.u64()?,
            first: Wall::from_millis(take.i64()?),
            last: Wall::from_millis(take.i64()?),
            head: Chain(take.array()?),
            ending: match ending {
                0 => Ending::Broken,
                1 => Ending::Clean { length: 0, sum: 0 },
                _ => return Err(FormatError::Field("ending").into()),
            },
        };
        let (length, sum) = (take.u64()?, take.u32()?);
        take.end()?;
        let ending = if ending == 1 { Ending::Clean { length, sum } } else { Ending::Broken };
        Ok(Self { ending, ..footer })
    }
}

/// Length and CRC-32 of a file.
pub(super) fn measure(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut length = 0u64;
    loop {
        let count = io::Read::read(&mut file, &mut buffer)?;
        if count == 0 {
            return Ok((length, hasher.finalize()));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        length = length.saturating_add(u64::try_from(count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::keys::{Kek, KeyError, KeySource, Protection};
    use zeroize::Zeroizing;

    struct Fixed(u8);

    impl KeySource for Fixed {
        fn load(&self) -> Result<Zeroizing<[u8; 32]>, KeyError> {
            Ok(Zeroizing::new([self.0; 32]))
        }

        fn protection(&self) -> Protection {
            Protection::File
        }
    }

    fn kek(byte: u8) -> KeyRing {
        Kek::load(&Fixed(byte)).unwrap().into()
    }

    const PLACE: (StoreId, Lane, u64) = (StoreId([1; 16]), Lane::Vital, 7);

    fn header() -> Header {
        let previous = Previous { number: 6, blocks: 5, records: 400, head: Chain([8; 32]) };
        let (boot, opened) = (BootId([4; 16]), Wall::from_millis(-3));
        Header { store: PLACE.0, lane: PLACE.1, number: PLACE.2, boot, opened, previous }
    }

    #[test]
    fn a_header_comes_back_at_its_place_only() {
        let folder = tempfile::tempdir().unwrap();
        header().create(folder.path(), &kek(9), &ring::rand::SystemRandom::new()).unwrap();
        let opened = Header::open(folder.path(), &kek(9), PLACE).unwrap();
        assert_eq!(opened.header, header());
        let open = |kek: &KeyRing, place| Header::open(folder.path(), kek, place).err().unwrap();
        assert!(matches!(open(&kek(8), PLACE), Unsound::Key(id) if id == kek(9).current.id()));
        assert!(matches!(open(&kek(9), (StoreId([2; 16]), PLACE.1, 7)), Unsound::Foreign));
        assert!(matches!(open(&kek(9), (PLACE.0, Lane::Alarm, 7)), Unsound::Elsewhere { number: 7, .. }));
        assert!(matches!(open(&kek(9), (PLACE.0, PLACE.1, 8)), Unsound::Elsewhere { .. }));
    }

    #[test]
    fn a_header_is_wrapped_anew_and_stands_for_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let random = ring::rand::SystemRandom::new();
        let made = header().create(folder.path(), &kek(9), &random).unwrap();
        let both = KeyRing { previous: Some(kek(9).current), ..kek(8) };
        Header::rewrap(folder.path(), &both, &random).unwrap();
        let opened = Header::open(folder.path(), &kek(8), PLACE).unwrap();
        assert_eq!((opened.header, &opened.bytes), (header(), &made.bytes));
        assert_eq!(opened.kek, kek(8).current.id());
        assert!(opened.keys.footer.is_tag(b"x", &made.keys.footer.tag(b"x")), "the key itself is the same");
        assert!(matches!(Header::open(folder.path(), &kek(9), PLACE), Err(Unsound::Key(_))));
        let before = atomic_file::read(&file(folder.path()), MAX_FILE).unwrap();
        Header::rewrap(folder.path(), &both, &random).unwrap();
        assert_eq!(atomic_file::read(&file(folder.path()), MAX_FILE).unwrap(), before, "once is enough");
        assert!(Header::rewrap(folder.path(), &kek(9), &random).is_err(), "the other way needs both keys");
    }

    #[test]
    fn every_flipped_bit_of_a_header_and_a_footer_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let opened = header().create(folder.path(), &kek(9), &ring::rand::SystemRandom::new()).unwrap();
        let footer = Footer {
            blocks: 3,
            records: 9,
            tellings: 1,
            told: 2,
            first: Wall::from_millis(1),
            last: Wall::from_millis(2),
            head: Chain([3; 32]),
            ending: Ending::Clean { length: 77, sum: 78 },
        };
        footer.write(folder.path(), &opened.keys).unwrap();
        assert_eq!(Footer::read(folder.path(), &opened.keys).unwrap(), footer);
        for name in ["header", "footer"] {
            let path = folder.path().join(name);
            let good = atomic_file::read(&path, MAX_FILE).unwrap();
            for place in 0..good.len() {
                let mut bad = good.clone();
                bad[place] ^= 1 << (place % 8);
                std::fs::File::create(&path).and_then(|mut f| io::Write::write_all(&mut f, &bad)).unwrap();
                let sound = Header::open(folder.path(), &kek(9), PLACE)
                    .and_then(|opened| Footer::read(folder.path(), &opened.keys));
                assert!(sound.is_err(), "{name}, byte {place}");
            }
            atomic_file::write(&path, &good).unwrap();
        }
    }
}
