//! Compression of a block before it is sealed, and back: the only file that names zstd.
//!
//! In: a block's bytes. Out: one byte (0 as it is, 1 zstd), the length before compression, the
//! content; and back. What can go wrong: what was unpacked is not what was promised. What never
//! happens: more than [`MAX_BYTES`] is allocated for what packed bytes claim to hold; zstd is left
//! with a reading in its memory.
//!
//! The last takes work. zstd gets its memory from the C library, which no allocator of ours wipes, and
//! it leaves what it could not compress (its *literals*, so mostly text) in there for good. So each
//! thread keeps one context, and after each block the context is made to work on something of the
//! same size that is nothing but literals: noise to compress, which has no repetition; and a frame of
//! one repeated byte to decompress. Both go the way of the block before them and come to lie in the
//! same place. That costs less than making a new context for every block did, and a compressor in
//! Rust (`lz4_flex`), whose memory would be wiped as any other, had a prototype of the store write 2.7
//! bytes for each byte of records in commits of 256, zstd 1.4: wear is what counts on a gateway's card.

use std::cell::RefCell;
use std::io;

use zeroize::Zeroizing;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::compress_bound;

use super::block::MAX_BYTES;
use super::seal::SealError;
use super::wire::{Put, Take};

/// What is put before the content: how it is packed, and its length before.
pub(super) const PREFIX: usize = 1 + 4;

/// Level 1: at higher levels time doubles and bytes on disk hardly change (blocks are small).
const ZSTD_LEVEL: i32 = 1;
/// The content is as it was.
const STORED: u8 = 0;
/// The content is compressed by zstd.
const ZSTD: u8 = 1;

/// The most literals that a decompressor holds apart from its output (`ZSTD_LITBUFFEREXTRASIZE`).
const LITERALS: usize = 64 * 1024;

thread_local! {
    static PACKER: RefCell<Option<Packer>> = const { RefCell::new(None) };
    static UNPACKER: RefCell<Option<Unpacker>> = const { RefCell::new(None) };
}

/// Packs a block, with `room` for what the seal adds.
pub(super) fn pack(plain: &[u8], room: usize) -> Result<Vec<u8>, SealError> {
    let length = u32::try_from(plain.len()).map_err(|_| SealError::Content)?;
    if plain.len() > MAX_BYTES {
        return Err(SealError::Content);
    }
    let compressed = PACKER.with_borrow_mut(|packer| Packer::get(packer)?.pack(plain));
    let compressed = compressed.map_err(|_| SealError::Internal)?;
    let (how, content) =
        if compressed.len() < plain.len() { (ZSTD, compressed.as_slice()) } else { (STORED, plain) };
    let mut out = Vec::with_capacity(PREFIX + content.len() + room);
    out.put_u8(how);
    out.put_u32(length);
    out.put_bytes(content);
    Ok(out)
}

/// Unpacks what [`pack`] packed.
pub(super) fn unpack(packed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut take = Take::new(packed);
    let how = take.u8().map_err(|_| SealError::Content)?;
    let length = take.u32().map_err(|_| SealError::Content)?;
    let length = usize::try_from(length).map_err(|_| SealError::Content)?;
    let content = take.bytes(take.left()).map_err(|_| SealError::Content)?;
    if length > MAX_BYTES {
        return Err(SealError::Content);
    }
    let plain = match how {
        STORED => Zeroizing::new(content.to_vec()),
        ZSTD => UNPACKER
            .with_borrow_mut(|unpacker| Unpacker::get(unpacker)?.unpack(content, length))
            .map_err(|_| SealError::Content)?,
        _ => return Err(SealError::Content),
    };
    if plain.len() == length { Ok(plain) } else { Err(SealError::Content) }
}

/// Compresses, and leaves noise in the compressor's memory.
struct Packer {
    zstd: Compressor<'static>,
    /// As long as the longest block so far.
    noise: Vec<u8>,
    state: u64,
    scrap: Vec<u8>,
}

impl Packer {
    fn get(packer: &mut Option<Self>) -> io::Result<&mut Self> {
        match packer {
            Some(packer) => Ok(packer),
            None => Ok(packer.insert(Self {
                zstd: Compressor::new(ZSTD_LEVEL)?,
                noise: Vec::new(),
                state: 0x9E37_79B9_7F4A_7C15,
                scrap: Vec::new(),
            })),
        }
    }

    fn pack(&mut self, plain: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(Vec::with_capacity(compress_bound(plain.len())));
        let packed = self.zstd.compress_to_buffer(plain, &mut *out);
        self.forget(plain.len())?;
        packed.map(|_| out)
    }

    /// The same size: where things lie in the context depends on it.
    fn forget(&mut self, size: usize) -> io::Result<()> {
        while self.noise.len() < size {
            // Numbers that look random (xorshift64): no four bytes come twice within a block.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            self.noise.put_u64(self.state);
        }
        self.scrap.clear();
        self.scrap.reserve(compress_bound(size));
        self.zstd.compress_to_buffer(self.noise.get(..size).unwrap_or_default(), &mut self.scrap).map(drop)
    }
}

/// Decompresses, and leaves zeros in the decompressor's memory.
struct Unpacker {
    zstd: Decompressor<'static>,
    scrap: Vec<u8>,
}

impl Unpacker {
    fn get(unpacker: &mut Option<Self>) -> io::Result<&mut Self> {
        match unpacker {
            Some(unpacker) => Ok(unpacker),
            None => Ok(unpacker.insert(Self { zstd: Decompressor::new()?, scrap: Vec::new() })),
        }
    }

    fn unpack(&mut self, content: &[u8], length: usize) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(Vec::with_capacity(length));
        let unpacked = self.zstd.decompress_to_buffer(content, &mut *out);
        self.forget(length)?;
        unpacked.map(|_| out)
    }

    fn forget(&mut self, length: usize) -> io::Result<()> {
        let literals = length.clamp(64, LITERALS);
        self.scrap.clear();
        self.scrap.reserve_exact(literals);
        self.zstd.decompress_to_buffer(&zeros(literals), &mut self.scrap).map(drop)
    }
}

/// A frame of one block that has `count` literals, all zero, and nothing else (RFC 8878, 3.1.1).
fn zeros(count: usize) -> Vec<u8> {
    let count = u32::try_from(count).unwrap_or_default();
    let mut frame = Vec::with_capacity(20);
    frame.put_u32(0xFD2F_B528);
    // One segment, so no window; its size in four bytes.
    frame.put_u8(0b1010_0000);
    frame.put_u32(count);
    // The last block, compressed, of 5 bytes.
    let [first, second, third, _] = (1_u32 | 2 << 1 | 5 << 3).to_le_bytes();
    frame.put_bytes(&[first, second, third]);
    // Literals of one repeated byte, their count in 20 bits; the byte; no sequences.
    let [first, second, third, _] = (1_u32 | 3 << 2 | count << 4).to_le_bytes();
    frame.put_bytes(&[first, second, third, 0, 0]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_unpacks_at_every_size() {
        let text = "Propofol 1 %, 3.50 ml/h; ".repeat(MAX_BYTES / 25);
        for size in [0, 1, 7, 63, 64, 65, 5_000, 65_535, 65_536, 65_537, 131_072, 200_000, text.len()] {
            let plain = &text.as_bytes()[..size];
            let packed = pack(plain, 16).unwrap();
            assert_eq!(unpack(&packed).unwrap().as_slice(), plain, "{size}");
        }
    }

    #[test]
    fn a_length_beyond_the_cap_is_refused_before_it_is_allocated() {
        for length in [u32::MAX, u32::try_from(MAX_BYTES).unwrap() + 1] {
            let mut packed = vec![ZSTD];
            packed.put_u32(length);
            packed.put_bytes(&zstd::bulk::compress(&[0; 64], 1).unwrap());
            assert_eq!(unpack(&packed).err(), Some(SealError::Content));
        }
        let mut bomb = vec![ZSTD];
        bomb.put_u32(64);
        bomb.put_bytes(&zstd::bulk::compress(&vec![0; 1 << 20], 1).unwrap());
        assert_eq!(unpack(&bomb).err(), Some(SealError::Content), "more than it says");
    }

    #[test]
    fn the_frame_of_zeros_is_one_for_every_reader() {
        for count in [64, 1_000, LITERALS] {
            assert_eq!(zstd::bulk::decompress(&zeros(count), count).unwrap(), vec![0; count]);
        }
    }

    /// What makes [`Packer::forget`] work: a repetition would not be kept as it is.
    #[test]
    fn noise_is_nothing_but_literals() {
        let mut packer = None;
        let packer = Packer::get(&mut packer).unwrap();
        packer.forget(MAX_BYTES).unwrap();
        assert!(packer.scrap.len() > MAX_BYTES, "{} of {MAX_BYTES}", packer.scrap.len());
    }
}
