//! The key of a certificate, where it is in a token: it signs there, is made there, and is destroyed there.
//!
//! In: a [`TokenKey`]. Out: signatures in ASN.1 (RFC 3279 section 2.2.3). What can go wrong: [`KeyError::Token`].
//! A token on a bus or behind a network may take its time, up to a bound: where the caller is a task, the other tasks
//! of its thread go on elsewhere meanwhile.

use ring::rand::SecureRandom;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::patience::{self, TO_HANDLE, TO_SIGN};
use super::{KeyError, TokenKey, TokenTrouble, pkcs11};

/// An uncompressed point of P-256 (SEC 1, section 2.3.3).
pub(super) const POINT_BYTES: usize = 65;
/// Of one number of a signature.
const HALF: usize = 32;
/// `CKA_ID` of a pair that is made.
const ID_BYTES: usize = 16;

impl TokenKey {
    /// Signs a message: ECDSA on P-256 with SHA-256.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (key, message) = (self.clone(), message.to_vec());
        let raw = aside(|| patience::ask(self, TO_SIGN, move || pkcs11::sign(&key, &message)))?;
        self.written(&raw)
    }

    /// A signature as the token gives it, in ASN.1.
    fn written(&self, raw: &[u8]) -> Result<Vec<u8>, KeyError> {
        let halves = (raw.len() == 2 * HALF).then(|| raw.split_at(HALF));
        let (r, s) = halves.ok_or_else(|| KeyError::Token {
            key: self.to_string(),
            trouble: TokenTrouble::UnfitClientKey(format!("its signature has {} bytes", raw.len())),
        })?;
        Ok(asn1(r, s))
    }

    /// The name of a pair that is not yet there: this one's label, and an id of its own.
    pub fn fresh(&self, random: &dyn SecureRandom) -> Result<Self, KeyError> {
        let mut id = vec![0; ID_BYTES];
        random.fill(&mut id).map_err(|_| KeyError::Random)?;
        let fresh = Self { id: Some(id), ..self.clone() };
        let unnamed = |why| KeyError::Token { key: self.to_string(), trouble: TokenTrouble::Unnamed(why) };
        if self.object.is_none() {
            return Err(unnamed("the URI has no `object`, which is the label of every key that is made"));
        }
        // What is kept must be read again.
        match Self::named(&fresh.name()) {
            Ok(again) if again.reached_as(self) == fresh => Ok(fresh),
            Ok(_) | Err(_) => Err(unnamed("the parts of the URI are too long")),
        }
    }

    /// Makes the pair in its token, the private half never to leave it. Gives the public point, uncompressed.
    pub fn make_pair(&self) -> Result<Vec<u8>, KeyError> {
        let key = self.clone();
        aside(|| patience::ask(self, TO_HANDLE, move || pkcs11::make_pair(&key)))
    }

    /// Destroys the pair, which must be named by label and id. Well, too, where it is gone already.
    pub fn destroy(&self) -> Result<(), KeyError> {
        let key = self.clone();
        aside(|| patience::ask(self, TO_HANDLE, move || pkcs11::destroy(&key)))
    }
}

/// Lets the other tasks of this thread go on elsewhere, where there is an elsewhere.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    let is_shared =
        Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if is_shared { tokio::task::block_in_place(work) } else { work() }
}

/// `SEQUENCE { r INTEGER, s INTEGER }`, both positive and without a byte too many. Short: 72 bytes at most.
fn asn1(r: &[u8], s: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(2 * HALF + 8);
    for number in [r, s] {
        let zeros = number.iter().take_while(|byte| **byte == 0).count().min(number.len().saturating_sub(1));
        let number = number.get(zeros..).unwrap_or_default();
        let is_high = number.first().is_some_and(|first| *first >= 0x80);
        let length = number.len() + usize::from(is_high);
        body.extend([0x02, u8::try_from(length).unwrap_or(u8::MAX)]);
        body.extend(is_high.then_some(0));
        body.extend(number);
    }
    let mut whole = vec![0x30, u8::try_from(body.len()).unwrap_or(u8::MAX)];
    whole.extend(body);
    whole
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::rand::SystemRandom;
    use ring::signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        UnparsedPublicKey,
    };

    use super::*;

    #[test]
    fn a_signature_is_written_so_that_others_read_it() {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_ref());
        // One in 128 begins with a zero, one in two needs one.
        for n in 0..600u32 {
            let message = n.to_be_bytes();
            let raw = key.sign(&random, &message).unwrap();
            let (r, s) = raw.as_ref().split_at(HALF);
            public.verify(&message, &asn1(r, s)).unwrap();
        }
    }

    #[test]
    fn a_signature_of_another_length_is_none() {
        let key = TokenKey { object: Some("gw".to_owned()), ..TokenKey::default() };
        assert!(key.written(&[1; 64]).is_ok());
        for length in [0, 31, 63, 65, 96] {
            let refused = key.written(&vec![1; length]).unwrap_err().to_string();
            assert!(refused.contains(&format!("its signature has {length} bytes")), "{refused}");
        }
    }

    #[test]
    fn a_fresh_pair_has_the_label_and_an_id_of_its_own() {
        let of = |text: &str| TokenKey::parse_for(super::super::Purpose::Client, text, |_| None).unwrap();
        let base = of("pkcs11:token=t;object=o?module-path=/m.so");
        let (one, other) =
            (base.fresh(&SystemRandom::new()).unwrap(), base.fresh(&SystemRandom::new()).unwrap());
        assert_eq!((one.object.as_deref(), one.id.as_ref().map(Vec::len)), (Some("o"), Some(ID_BYTES)));
        assert_ne!(one.id, other.id);
        let nameless = of("pkcs11:token=t;id=%01?module-path=/m.so").fresh(&SystemRandom::new()).unwrap_err();
        assert!(nameless.to_string().contains("no `object`"), "{nameless}");
        let long = TokenKey {
            object: Some("%".repeat(255)),
            token: super::super::TokenName {
                manufacturer: Some("%".repeat(32)),
                label: Some("%".repeat(32)),
                ..Default::default()
            },
            ..base
        };
        assert!(long.fresh(&SystemRandom::new()).unwrap_err().to_string().contains("too long"));
    }

    proptest! {
        #[test]
        fn any_two_numbers_are_written_whole(r in any::<[u8; 32]>(), s in any::<[u8; 32]>()) {
            let text = asn1(&r, &s);
            prop_assert_eq!(usize::from(text[1]), text.len() - 2);
            prop_assert!(text.len() <= 72);
        }
    }
}
