//! Ed25519 keys (RFC 8032) of those who may sign for the fleet: the only file that names the cipher.
//!
//! In: 32 bytes of a public key. Out: a key whose id is the SHA-256 of those bytes, so that one key
//! cannot be listed under two names and be counted twice. What can go wrong: the bytes are no point of
//! the curve, or a point of small order under which more than one message has the same signature; both
//! are refused when the key is read, not when it is used.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::hex;

/// The length of a public key, of a seed and of a key's id.
pub const KEY_LENGTH: usize = 32;
/// The length of a signature.
pub const SIGNATURE_LENGTH: usize = 64;

/// What a key is called: the SHA-256 of its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KEY_LENGTH]);

impl KeyId {
    fn of(public: &[u8; KEY_LENGTH]) -> Self {
        let mut id = [0; KEY_LENGTH];
        id.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, public).as_ref());
        Self(id)
    }

    /// From 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        hex::read(text).map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::show(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why 32 bytes are no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Not 64 hex digits.
    #[error("is not 64 hex digits")]
    Hex,
    /// Not a point of the curve.
    #[error("is no Ed25519 public key")]
    Point,
    /// A point of small order.
    #[error("is a weak key: signatures under it prove nothing")]
    Weak,
}

/// Checks signatures of one key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: KeyId,
}

impl PublicKey {
    /// From the 32 bytes.
    pub fn new(bytes: &[u8; KEY_LENGTH]) -> Result<Self, KeyFault> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyFault::Point)?;
        if key.is_weak() {
            return Err(KeyFault::Weak);
        }
        Ok(Self { key, id: KeyId::of(bytes) })
    }

    /// From 64 hex digits.
    pub fn from_hex(text: &str) -> Result<Self, KeyFault> {
        Self::new(&hex::read(text).ok_or(KeyFault::Hex)?)
    }

    /// What it is called.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> [u8; KEY_LENGTH] {
        self.key.to_bytes()
    }

    /// Whether this key signed the message. `verify_strict`: one message, one signature; no point of
    /// small order, no second way to write the same number.
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519 {}", self.id)
    }
}

/// Signs. Held by the operator's side, and by a gateway for what it says of itself.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// From the 32 bytes of the seed (RFC 8032 section 5.1.5).
    pub fn from_seed(seed: &Zeroizing<[u8; KEY_LENGTH]>) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let key = self.0.verifying_key();
        PublicKey { id: KeyId::of(key.as_bytes()), key }
    }

    /// The signature of the message.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LENGTH] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "private half of {:?}", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 section 7.1, test 2: a message of one byte.
    const SEED: &str = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
    const PUBLIC: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    const SIGNATURE: &str = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::read(text).unwrap()
    }

    #[test]
    fn the_vector_of_the_rfc() {
        let key = PrivateKey::from_seed(&Zeroizing::new(bytes(SEED)));
        assert_eq!(key.public(), PublicKey::from_hex(PUBLIC).unwrap());
        assert_eq!(key.sign(&[0x72]), bytes::<64>(SIGNATURE));
        assert!(key.public().signed(&[0x72], &bytes::<64>(SIGNATURE)));
        assert!(!key.public().signed(&[0x73], &bytes::<64>(SIGNATURE)));
        assert!(!key.public().signed(&[0x72], &bytes::<64>(SIGNATURE)[..63]));
    }

    /// The order of the group added to the second half: another way to write the same signature, which
    /// a lenient verifier takes (RFC 8032 section 5.1.7 wants S < L).
    #[test]
    fn a_signature_has_one_way_to_be_written() {
        const L: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
        let mut other = bytes::<64>(SIGNATURE);
        let mut carry = 0u16;
        for (byte, add) in other[32..].iter_mut().zip(bytes::<32>(L)) {
            carry += u16::from(*byte) + u16::from(add);
            *byte = u8::try_from(carry & 0xFF).unwrap();
            carry >>= 8;
        }
        assert!(!PublicKey::from_hex(PUBLIC).unwrap().signed(&[0x72], &other));
    }

    /// Points of order 1, 2 and 8: under each of them a made-up signature holds for some messages.
    #[test]
    fn weak_keys_and_no_keys_are_refused() {
        for weak in [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        ] {
            assert_eq!(PublicKey::from_hex(weak), Err(KeyFault::Weak), "{weak}");
        }
        let no_point = "0200000000000000000000000000000000000000000000000000000000000000";
        assert_eq!(PublicKey::from_hex(no_point), Err(KeyFault::Point));
        assert_eq!(PublicKey::from_hex(&PUBLIC[1..]), Err(KeyFault::Hex));
        assert_eq!(PublicKey::from_hex(&PUBLIC.to_uppercase()), Err(KeyFault::Hex));
    }
}
