//! The keys themselves: the KEK, what it wraps and authenticates, and the ward's key.
//!
//! In: 32 bytes from a [`KeySource`]. Out: the keys of segments, wrapped and unwrapped; tags of the
//! store's small files; pseudonyms. What never happens: a key is shown by `Debug`; key bytes outlive
//! their holder.

use std::fmt;

use ring::hmac;
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use super::{KeyBytes, KeyError, KeySource};
use crate::envelope::block::hex;
use crate::envelope::seal::{self, DataKey, SealError, WRAPPED};
use crate::envelope::wipe::{cleanly, overwrite};

/// HMAC-SHA-256.
fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(context.sign().as_ref()) {
        *to = *from;
    }
    out
}

/// Authenticates small files: footers, cursors, the store's identity.
pub struct MacKey(Box<hmac::Key>);

impl MacKey {
    fn derive(key: &[u8; 32], label: &[u8]) -> Self {
        cleanly(|| {
            let bytes = Zeroizing::new(mac(key, &[label]));
            Self(Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice())))
        })
    }

    /// The tag of a message.
    pub fn tag(&self, message: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(hmac::sign(&self.0, message).as_ref()) {
            *to = *from;
        }
        out
    }

    /// Whether the tag is the message's.
    pub fn is_tag(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, message, tag).is_ok()
    }
}

impl Drop for MacKey {
    fn drop(&mut self) {
        overwrite(&mut *self.0, hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]));
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(hidden)")
    }
}

/// The name of a KEK: says which key a store belongs to, and nothing about it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KekId(pub [u8; 8]);

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KekId({self})")
    }
}

/// The key-encryption key; in a box, so that moving it copies no key.
pub struct Kek(Box<KeyBytes>);

/// The keys that a store is opened with: the one that it is kept under from now on, and, while it is
/// being moved from one key to another, the one that it was kept under so far.
#[derive(Debug)]
pub struct KeyRing {
    /// New segments are wrapped with it.
    pub current: Kek,
    /// Only opens what it wrapped; needed until the store says that nothing is left of that.
    pub previous: Option<Kek>,
}

impl KeyRing {
    /// The key of a name.
    pub fn find(&self, id: KekId) -> Option<&Kek> {
        [Some(&self.current), self.previous.as_ref()].into_iter().flatten().find(|kek| kek.id() == id)
    }
}

impl From<Kek> for KeyRing {
    fn from(current: Kek) -> Self {
        Self { current, previous: None }
    }
}

/// The keys of one segment: for its blocks, and for its footer.
#[derive(Debug)]
pub struct SegmentKeys {
    /// Seals and opens its blocks.
    pub data: DataKey,
    /// Authenticates its footer.
    pub footer: MacKey,
}

impl Kek {
    /// Loads it.
    pub fn load(source: &dyn KeySource) -> Result<Self, KeyError> {
        cleanly(|| source.load().map(|key| Self(Box::new(key))))
    }

    pub(super) fn from_bytes(bytes: KeyBytes) -> Self {
        Self(Box::new(bytes))
    }

    /// Its name: the first 8 bytes of SHA-256 over a label and it.
    pub fn id(&self) -> KekId {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(b"wardline kek id v1");
        context.update(self.0.as_slice());
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        KekId(id)
    }

    /// The key that authenticates the store's own small files.
    pub fn state_key(&self) -> MacKey {
        MacKey::derive(&self.0, b"wardline store state v1")
    }

    /// Makes the keys of a new segment, and the wrapped form that goes into its header; `about` is
    /// the rest of the header, authenticated with it.
    pub fn new_segment(
        &self,
        about: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<(SegmentKeys, [u8; WRAPPED]), SealError> {
        cleanly(|| {
            let mut key = Zeroizing::new([0; 32]);
            random.fill(key.as_mut_slice()).map_err(|_| SealError::Internal)?;
            let wrapped = seal::wrap(&self.0, about, &key, random)?;
            Ok((SegmentKeys::new(&key)?, wrapped))
        })
    }

    /// Wraps a segment's key, which `old` wrapped, anew with this key: the key itself and so the
    /// segment's data stay what they are.
    pub fn rewrap(
        &self,
        (old, old_about, wrapped): (&Self, &[u8], &[u8; WRAPPED]),
        about: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<[u8; WRAPPED], SealError> {
        cleanly(|| {
            let key = seal::unwrap(&old.0, old_about, wrapped)?;
            seal::wrap(&self.0, about, &key, random)
        })
    }

    /// The keys of a segment whose header was read.
    pub fn open_segment(&self, about: &[u8], wrapped: &[u8; WRAPPED]) -> Result<SegmentKeys, SealError> {
        cleanly(|| SegmentKeys::new(&*seal::unwrap(&self.0, about, wrapped)?))
    }
}

impl SegmentKeys {
    fn new(key: &[u8; 32]) -> Result<Self, SealError> {
        Ok(Self { data: DataKey::new(key)?, footer: MacKey::derive(key, b"wardline segment footer v1") })
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kek({})", self.id())
    }
}

/// The ward's key: makes the pseudonyms under which assets leave the gateway.
pub struct WardKey(Box<KeyBytes>);

impl WardKey {
    /// Loads it.
    pub fn load(source: &dyn KeySource) -> Result<Self, KeyError> {
        cleanly(|| source.load().map(|key| Self(Box::new(key))))
    }

    /// HMAC-SHA-256 of the asset's tag, first 16 bytes, lower-case hex.
    pub fn pseudonym(&self, asset: &str) -> String {
        let tag = cleanly(|| mac(self.0.as_slice(), &[asset.as_bytes()]));
        hex(tag.first_chunk::<16>().map_or(&[][..], <[u8; 16]>::as_slice))
    }
}

impl fmt::Debug for WardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WardKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: [u8; 32] = *b"0123456789abcdef0123456789ABCDEF";

    #[test]
    fn no_key_is_shown() {
        let kek = Kek(Box::new(Zeroizing::new(RAW)));
        let ward = WardKey(Box::new(Zeroizing::new(RAW)));
        let shown = format!("{kek:?} {ward:?} {:?}", kek.state_key());
        assert!(!shown.contains("0123") && !shown.contains(&hex(&RAW[..4])), "{shown}");
    }

    #[test]
    fn a_segments_keys_come_back_from_its_header_and_from_no_other() {
        let kek = Kek(Box::new(Zeroizing::new(RAW)));
        let random = ring::rand::SystemRandom::new();
        let (keys, wrapped) = kek.new_segment(b"header", &random).unwrap();
        let again = kek.open_segment(b"header", &wrapped).unwrap();
        assert!(again.footer.is_tag(b"x", &keys.footer.tag(b"x")));
        assert_eq!(kek.open_segment(b"headex", &wrapped).err(), Some(SealError::Forged));
        let other = Kek(Box::new(Zeroizing::new([3; 32])));
        assert_ne!(other.id(), kek.id());
        assert_eq!(other.open_segment(b"header", &wrapped).err(), Some(SealError::Forged));
    }

    /// RFC 4231 test case 2 is HMAC-SHA-256 of this text under the key "Jefe".
    #[test]
    fn a_pseudonym_is_the_front_of_hmac_sha_256() {
        assert_eq!(
            hex(&mac(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let ward = WardKey(Box::new(Zeroizing::new(RAW)));
        let pseudonym = ward.pseudonym("PUMP-0001");
        assert_eq!(pseudonym, hex(&mac(&RAW, &[b"PUMP-0001"])[..16]));
        assert_ne!(pseudonym, ward.pseudonym("PUMP-0002"));
    }
}
