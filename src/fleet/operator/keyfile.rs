//! A private key in an encrypted file: PKCS#8 (RFC 5958) under PBES2 (RFC 8018), as PEM (RFC 7468).
//!
//! In: a key and its passphrase. Out: the text of a file that `openssl pkey` reads, and back. What can go
//! wrong: it is no such file, the passphrase is not its, it holds another kind of key.

use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::pem::LineEnding;
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::fleet::key::{KEY_LENGTH, PrivateKey};

/// RFC 8410 section 3: `id-Ed25519`.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// RFC 8410 section 7: the key is an OCTET STRING of 32 bytes within the OCTET STRING of PKCS#8.
const INNER: [u8; 2] = [0x04, 0x20];
/// The PEM label of RFC 7468 section 11.
const LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// The cost of a guess: scrypt with N = 2^14, r = 8, p = 5 (OWASP Password Storage Cheat Sheet). OpenSSL
/// reads no file that needs more than 32 MiB, and N = 2^15 would.
const COST: (u8, u32, u32) = (14, 8, 5);
const SALT_LENGTH: usize = 16;

/// Why a key's file cannot be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyFileFault {
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// It cannot be put into the format.
    #[error("the key cannot be encrypted")]
    Encrypt,
    /// Not PEM of that label.
    #[error("is not an encrypted private key (PEM, {LABEL})")]
    Shape,
    /// Not to be opened with it.
    #[error("does not open with this passphrase")]
    Passphrase,
    /// Another kind of key.
    #[error("holds a key that is not Ed25519")]
    Kind,
}

/// A new key and the text of its file.
pub(super) fn make(passphrase: &str) -> Result<(PrivateKey, Zeroizing<String>), KeyFileFault> {
    let mut seed = Zeroizing::new([0; KEY_LENGTH]);
    SystemRandom::new().fill(seed.as_mut_slice()).map_err(|_| KeyFileFault::Random)?;
    let text = encrypt(&seed, passphrase)?;
    Ok((PrivateKey::from_seed(&seed), text))
}

fn encrypt(seed: &Zeroizing<[u8; KEY_LENGTH]>, passphrase: &str) -> Result<Zeroizing<String>, KeyFileFault> {
    let (mut salt, mut iv) = ([0; SALT_LENGTH], [0; 16]);
    for random in [salt.as_mut_slice(), iv.as_mut_slice()] {
        SystemRandom::new().fill(random).map_err(|_| KeyFileFault::Random)?;
    }
    let judge = || {
        let (log_n, r, p) = COST;
        let cost = scrypt::Params::new(log_n, r, p).ok()?;
        let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).ok()?;
        let inner = Zeroizing::new([&INNER[..], seed.as_slice()].concat());
        let algorithm = AlgorithmIdentifierRef { oid: ED25519, parameters: None };
        let info = PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(&inner).ok()?);
        info.encrypt_with_params(parameters, passphrase).ok()?.to_pem(LABEL, LineEnding::LF).ok()
    };
    judge().ok_or(KeyFileFault::Encrypt)
}

/// The key of a file.
pub(super) fn open(text: &str, passphrase: &str) -> Result<PrivateKey, KeyFileFault> {
    let (label, document) = SecretDocument::from_pem(text).map_err(|_| KeyFileFault::Shape)?;
    if label != LABEL {
        return Err(KeyFileFault::Shape);
    }
    let encrypted =
        EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| KeyFileFault::Shape)?;
    let opened = encrypted.decrypt(passphrase).map_err(|_| KeyFileFault::Passphrase)?;
    let info = PrivateKeyInfoRef::try_from(opened.as_bytes()).map_err(|_| KeyFileFault::Passphrase)?;
    let seed = info.private_key.as_bytes().strip_prefix(&INNER).filter(|_| info.algorithm.oid == ED25519);
    let seed: &[u8; KEY_LENGTH] = seed.and_then(|seed| seed.try_into().ok()).ok_or(KeyFileFault::Kind)?;
    Ok(PrivateKey::from_seed(&Zeroizing::new(*seed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_with_its_passphrase_and_no_other() {
        let (key, text) = make("one horse, one battery").unwrap();
        assert_eq!(open(&text, "one horse, one battery").unwrap().public(), key.public());
        assert_eq!(open(&text, "one horse, no battery").unwrap_err(), KeyFileFault::Passphrase);
        assert_eq!(open(&text.replace("ENCRYPTED ", ""), "x").unwrap_err(), KeyFileFault::Shape);
        assert_eq!(open("", "x").unwrap_err(), KeyFileFault::Shape);
        assert_ne!(*make("one horse, one battery").unwrap().1, *text);
    }

    /// Made by `openssl genpkey -algorithm ed25519` and `openssl genpkey -algorithm x25519`, each through
    /// `openssl pkcs8 -topk8 -v2 aes-256-cbc -passout pass:correct`.
    #[test]
    fn a_key_of_openssl_is_read_and_another_kind_is_not() {
        assert!(open(include_str!("testdata/ed25519.pem"), "correct").is_ok());
        assert_eq!(open(include_str!("testdata/x25519.pem"), "correct").unwrap_err(), KeyFileFault::Kind);
    }
}
