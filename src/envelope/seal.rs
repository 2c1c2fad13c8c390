//! The seal: AES-256-GCM over a compressed block. The only file that names the cipher.
//!
//! In: a [`PlainBlock`] and the [`Place`] it goes to. Out: [`Sealed`] bytes, which open again only
//! with the same key at the same place. What can go wrong: the bytes do not authenticate, or do not
//! hold what was promised. What never happens: a nonce is used twice with one key (a data key serves
//! one segment, and the nonce is the block's index there); a key, or a block in the clear, stays in
//! the memory when its holder is gone.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use super::block::{MAX_BYTES, PlainBlock};
use super::pack::{PREFIX, pack, unpack};
use super::record::lane_code;
use super::wipe::{cleanly, overwrite};
use super::wire::Put;
use crate::device::observation::Lane;

/// The code of AES-256-GCM in a segment's header.
pub const ALGORITHM: u8 = 1;
/// What the cipher adds to a block: the compression byte, the length, the tag.
const OVERHEAD: usize = PREFIX + TAG;
/// The most bytes of a sealed block.
pub const MAX_SEALED: usize = MAX_BYTES + OVERHEAD;
/// The bytes of a wrapped key: nonce, key, tag.
pub const WRAPPED: usize = NONCE_LEN + 32 + 16;
/// The bytes of the tag at a sealed block's end.
pub const TAG: usize = 16;

/// Why a block could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was not sealed with this key for this place, or it was changed.
    #[error("the block does not authenticate at its place: it was changed, moved or torn")]
    Forged,
    /// It authenticates but holds something that no version of this program wrote.
    #[error("the block holds something that this program cannot unpack")]
    Content,
    /// The library refused: no randomness, or no memory.
    #[error("the cipher or the compressor failed")]
    Internal,
}

/// Where a sealed block belongs: bound to it, so that it opens nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The store.
    pub store: [u8; 16],
    /// The lane.
    pub lane: Lane,
    /// The segment's number in its lane.
    pub segment: u64,
    /// The block's index in its segment: also its nonce.
    pub block: u32,
    /// How many records it holds.
    pub count: u32,
    /// The wall time of its commit, in milliseconds.
    pub wall: i64,
}

impl Place {
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        out.put_u8(1);
        out.put_bytes(&self.store);
        out.put_u8(lane_code(self.lane));
        out.put_u64(self.segment);
        out.put_u32(self.block);
        out.put_u32(self.count);
        out.put_i64(self.wall);
        out
    }

    fn nonce(&self) -> Nonce {
        let mut bytes = [0; NONCE_LEN];
        for (to, from) in bytes.iter_mut().zip(self.block.to_le_bytes()) {
            *to = from;
        }
        Nonce::assume_unique_for_key(bytes)
    }
}

/// A sealed block: what may touch a disk.
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// The bytes to store.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A key for the blocks of one segment. The library's key does not wipe itself; in its box it stays
/// at one place, where it is overwritten when it is dropped.
pub struct DataKey(Box<LessSafeKey>);

impl DataKey {
    /// From its 32 bytes.
    pub(super) fn new(bytes: &[u8; 32]) -> Result<Self, SealError> {
        Ok(Self(Box::new(aead_key(bytes)?)))
    }

    /// Compresses and seals one block. Called once for each place.
    pub fn seal(&self, place: &Place, block: &PlainBlock) -> Result<Sealed, SealError> {
        cleanly(|| {
            let mut bytes = pack(block.bytes(), TAG)?;
            self.0
                .seal_in_place_append_tag(place.nonce(), Aad::from(place.bytes()), &mut bytes)
                .map_err(|_| SealError::Internal)?;
            Ok(Sealed(bytes))
        })
    }

    /// Opens one block and unpacks it.
    pub fn open(&self, place: &Place, sealed: &[u8]) -> Result<PlainBlock, SealError> {
        if sealed.len() > MAX_SEALED {
            return Err(SealError::Forged);
        }
        cleanly(|| {
            let mut bytes = Zeroizing::new(sealed.to_vec());
            let packed = self
                .0
                .open_in_place(place.nonce(), Aad::from(place.bytes()), bytes.as_mut_slice())
                .map_err(|_| SealError::Forged)?;
            Ok(PlainBlock::opened(unpack(packed)?, place.count))
        })
    }
}

impl Drop for DataKey {
    fn drop(&mut self) {
        // Cannot fail: it did not when this key was made.
        if let Ok(nothing) = aead_key(&[0; 32]) {
            overwrite(&mut *self.0, nothing);
        }
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(hidden)")
    }
}

/// Wraps a key with another; `about` is authenticated with it. Leaves both on the stack: call it
/// [`cleanly`].
pub(super) fn wrap(
    kek: &[u8; 32],
    about: &[u8],
    key: &[u8; 32],
    random: &dyn SecureRandom,
) -> Result<[u8; WRAPPED], SealError> {
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce).map_err(|_| SealError::Internal)?;
    let mut sealed = key.to_vec();
    aead_key(kek)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut sealed)
        .map_err(|_| SealError::Internal)?;
    let mut out = [0; WRAPPED];
    for (to, from) in out.iter_mut().zip(nonce.iter().chain(&sealed)) {
        *to = *from;
    }
    Ok(out)
}

/// Unwraps what [`wrap`] wrapped. Leaves the key on the stack: call it [`cleanly`].
pub(super) fn unwrap(
    kek: &[u8; 32],
    about: &[u8],
    wrapped: &[u8; WRAPPED],
) -> Result<Zeroizing<[u8; 32]>, SealError> {
    let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Forged)?;
    let mut bytes = Zeroizing::new(sealed.to_vec());
    let key = aead_key(kek)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(about), bytes.as_mut_slice())
        .map_err(|_| SealError::Forged)?;
    <[u8; 32]>::try_from(&*key).map(Zeroizing::new).map_err(|_| SealError::Forged)
}

fn aead_key(bytes: &[u8; 32]) -> Result<LessSafeKey, SealError> {
    UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new).map_err(|_| SealError::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::block::{BlockBuilder, BlockHeader};
    use crate::envelope::record::Gap;
    use crate::time::{BootId, Wall};

    const PLACE: Place = Place { store: [7; 16], lane: Lane::Vital, segment: 3, block: 9, count: 2, wall: 5 };

    fn block() -> PlainBlock {
        let mut builder = BlockBuilder::new(&BlockHeader { boot: BootId([1; 16]), run: 2, devices: vec![] });
        for count in 0..2 {
            let (first, last) = (Wall::from_millis(1), Wall::from_millis(2));
            builder
                .push_gap(&Gap { lane: Lane::Bulk, count, first, last, reason: "full ".repeat(20) })
                .unwrap();
        }
        builder.finish()
    }

    fn key(byte: u8) -> DataKey {
        DataKey::new(&[byte; 32]).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_at_its_place() {
        let sealed = key(1).seal(&PLACE, &block()).unwrap();
        assert_eq!(key(1).open(&PLACE, sealed.bytes()).unwrap().read(), block().read());
        assert!(sealed.bytes().len() < block().bytes().len(), "a text that repeats is compressed");
    }

    #[test]
    fn it_opens_at_no_other_place_and_with_no_other_key() {
        let sealed = key(1).seal(&PLACE, &block()).unwrap();
        let others = [
            Place { store: [8; 16], ..PLACE },
            Place { lane: Lane::Bulk, ..PLACE },
            Place { segment: 4, ..PLACE },
            Place { block: 10, ..PLACE },
            Place { count: 1, ..PLACE },
            Place { wall: 6, ..PLACE },
        ];
        for place in others {
            assert_eq!(key(1).open(&place, sealed.bytes()).err(), Some(SealError::Forged), "{place:?}");
        }
        assert_eq!(key(2).open(&PLACE, sealed.bytes()).err(), Some(SealError::Forged));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let sealed = key(1).seal(&PLACE, &block()).unwrap();
        for place in 0..sealed.bytes().len() {
            let mut bytes = sealed.bytes().to_vec();
            bytes[place] ^= 1 << (place % 8);
            assert_eq!(key(1).open(&PLACE, &bytes).err(), Some(SealError::Forged));
            assert_eq!(key(1).open(&PLACE, &sealed.bytes()[..place]).err(), Some(SealError::Forged));
        }
    }

    #[test]
    fn a_wrapped_key_unwraps_with_the_same_words_only() {
        let random = ring::rand::SystemRandom::new();
        let wrapped = wrap(&[1; 32], b"about", &[9; 32], &random).unwrap();
        assert_eq!(*unwrap(&[1; 32], b"about", &wrapped).unwrap(), [9; 32]);
        assert_eq!(unwrap(&[1; 32], b"other", &wrapped), Err(SealError::Forged));
        assert_eq!(unwrap(&[2; 32], b"about", &wrapped), Err(SealError::Forged));
        assert_ne!(wrapped, wrap(&[1; 32], b"about", &[9; 32], &random).unwrap(), "a fresh nonce each time");
    }
}
