//! Little-endian fields and variable-length integers, written to and read from bytes.
//!
//! In and out: bytes. What can go wrong: they end too early, or a field is not in its one shortest
//! form. What never happens: a panic, or an allocation that is larger than the bytes at hand.

use super::record::FormatError;

/// The longest text in any format, in bytes.
pub const MAX_STR: usize = 256;

/// Appends fields to bytes.
pub trait Put {
    /// Appends bytes as they are.
    fn put_bytes(&mut self, bytes: &[u8]);

    /// Appends one byte.
    fn put_u8(&mut self, value: u8) {
        self.put_bytes(&[value]);
    }

    /// Appends 2 bytes, little-endian.
    fn put_u16(&mut self, value: u16) {
        self.put_bytes(&value.to_le_bytes());
    }

    /// Appends 4 bytes, little-endian.
    fn put_u32(&mut self, value: u32) {
        self.put_bytes(&value.to_le_bytes());
    }

    /// Appends 8 bytes, little-endian.
    fn put_u64(&mut self, value: u64) {
        self.put_bytes(&value.to_le_bytes());
    }

    /// Appends 8 bytes, little-endian, two's complement.
    fn put_i64(&mut self, value: i64) {
        self.put_bytes(&value.to_le_bytes());
    }

    /// Appends a number in groups of 7 bits, lowest first (LEB128), 1 to 10 bytes.
    fn put_varint(&mut self, mut value: u64) {
        loop {
            let low = value.to_le_bytes()[0] & 0x7F;
            value >>= 7;
            if value == 0 {
                return self.put_u8(low);
            }
            self.put_u8(low | 0x80);
        }
    }

    /// Appends a signed number: zigzag, then as [`Put::put_varint`].
    fn put_signed(&mut self, value: i64) {
        let folded = value.wrapping_shl(1) ^ value.wrapping_shr(63);
        self.put_varint(u64::from_le_bytes(folded.to_le_bytes()));
    }

    /// Appends a text: its length in bytes, then UTF-8. What is longer than [`MAX_STR`] is cut at
    /// the last whole character that fits.
    fn put_str(&mut self, text: &str) {
        let end = (0..=text.len().min(MAX_STR)).rev().find(|end| text.is_char_boundary(*end));
        let cut = end.and_then(|end| text.get(..end)).unwrap_or_default();
        self.put_varint(u64::try_from(cut.len()).unwrap_or_default());
        self.put_bytes(cut.as_bytes());
    }
}

impl Put for Vec<u8> {
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Takes fields off the front of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    /// Begins at the front.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many bytes are left.
    pub const fn left(&self) -> usize {
        self.0.len()
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(FormatError::End)?;
        self.0 = rest;
        Ok(front)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (front, rest) = self.0.split_first_chunk().ok_or(FormatError::End)?;
        self.0 = rest;
        Ok(*front)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// One byte, two's complement.
    pub fn i8(&mut self) -> Result<i8, FormatError> {
        Ok(i8::from_le_bytes(self.array()?))
    }

    /// 2 bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// 4 bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// 8 bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// 8 bytes, little-endian, two's complement.
    pub fn i64(&mut self) -> Result<i64, FormatError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A number in groups of 7 bits, lowest first; only its shortest form is taken.
    pub fn varint(&mut self) -> Result<u64, FormatError> {
        const BAD: FormatError = FormatError::Field("varint");
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7F);
            let is_last = byte & 0x80 == 0;
            // The tenth byte holds the one bit that is left; a last byte of 0 is not the shortest form.
            if (shift == 63 && byte > 1) || (is_last && byte == 0 && shift > 0) {
                return Err(BAD);
            }
            value |= bits << shift;
            if is_last {
                return Ok(value);
            }
        }
        Err(BAD)
    }

    /// A varint that must fit a smaller type.
    pub fn small<T: TryFrom<u64>>(&mut self, field: &'static str) -> Result<T, FormatError> {
        T::try_from(self.varint()?).map_err(|_| FormatError::Field(field))
    }

    /// A signed number: zigzag.
    pub fn signed(&mut self) -> Result<i64, FormatError> {
        let folded = self.varint()?;
        let half = i64::from_le_bytes((folded >> 1).to_le_bytes());
        Ok(if folded & 1 == 0 { half } else { !half })
    }

    /// A text of at most [`MAX_STR`] bytes.
    pub fn str(&mut self, field: &'static str) -> Result<&'a str, FormatError> {
        let length: usize = self.small(field)?;
        if length > MAX_STR {
            return Err(FormatError::Field(field));
        }
        std::str::from_utf8(self.bytes(length)?).map_err(|_| FormatError::Field(field))
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), FormatError> {
        if self.0.is_empty() { Ok(()) } else { Err(FormatError::Field("end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_number_survives(unsigned: u64, signed: i64) {
            let mut bytes = Vec::new();
            bytes.put_varint(unsigned);
            bytes.put_signed(signed);
            let mut take = Take::new(&bytes);
            prop_assert_eq!((take.varint()?, take.signed()?, take.left()), (unsigned, signed, 0));
        }

        #[test]
        fn a_number_has_one_form_only(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut take = Take::new(&bytes);
            if let Ok(value) = take.varint() {
                let mut again = Vec::new();
                again.put_varint(value);
                prop_assert_eq!(&again[..], &bytes[..bytes.len() - take.left()]);
            }
        }
    }

    #[test]
    fn the_extremes_survive() {
        for value in [i64::MIN, -1, 0, 1, i64::MAX] {
            let mut bytes = Vec::new();
            bytes.put_signed(value);
            assert_eq!(Take::new(&bytes).signed(), Ok(value));
        }
        assert_eq!(Take::new(&[0x80, 0x00]).varint(), Err(FormatError::Field("varint")));
        assert_eq!(Take::new(&[0xFF; 10]).varint(), Err(FormatError::Field("varint")));
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_at_a_character() {
        let mut bytes = Vec::new();
        bytes.put_str(&"ä".repeat(200));
        assert_eq!(Take::new(&bytes).str("text"), Ok("ä".repeat(128).as_str()));
        bytes.clear();
        bytes.put_str(&format!("x{}", "ä".repeat(200)));
        assert_eq!(Take::new(&bytes).str("text").map(str::len), Ok(255));
    }

    #[test]
    fn an_absurd_length_is_refused_before_anything_is_read() {
        let mut bytes = Vec::new();
        bytes.put_varint(u64::MAX);
        assert_eq!(Take::new(&bytes).str("text"), Err(FormatError::Field("text")));
    }
}
