//! The envelope of every document: DSSE v1 (secure-systems-lab/dsse, `envelope.md` and `protocol.md`).
//!
//! In: the bytes as they came. Out: the payload's exact bytes and who signed them. What is signed is
//! the pre-authentication encoding (PAE) of type and payload, so nothing has to be written in a
//! canonical way and a bundle can never be taken for a root. What can go wrong: too long (refused
//! before a byte is parsed), not an envelope, too many signatures. What never happens: a payload is
//! read before enough keys have signed it.

use std::collections::BTreeSet;

use base64ct::{Base64, Base64Url, Encoding as _};
use serde::{Deserialize, Serialize};

use super::key::{KeyId, PrivateKey, PublicKey};

/// The most signatures that are looked at: each costs a verification.
pub const MAX_SIGNATURES: usize = 32;

/// Why bytes are no envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeFault {
    /// Longer than such a document may be.
    #[error("is {length} bytes long, at most {cap} are read")]
    TooLong {
        /// Its length.
        length: usize,
        /// The most.
        cap: usize,
    },
    /// Not JSON of the envelope's shape.
    #[error("is not a DSSE envelope: {0}")]
    Shape(String),
    /// The payload or a signature is not base64.
    #[error("has a {0} that is not base64")]
    Base64(&'static str),
    /// Too many signatures.
    #[error("has {0} signatures, at most {MAX_SIGNATURES} are looked at")]
    TooManySignatures(usize),
}

/// Fields that are not known are passed over, as the specification wants of readers.
#[derive(Deserialize, Serialize)]
struct Written {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<WrittenSignature>,
}

#[derive(Deserialize, Serialize)]
struct WrittenSignature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// A payload that somebody claims to have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<(String, Vec<u8>)>,
}

impl Envelope {
    /// A payload that nobody has signed yet.
    pub fn new(payload_type: &str, payload: Vec<u8>) -> Self {
        Self { payload_type: payload_type.to_owned(), payload, signatures: Vec::new() }
    }

    /// Reads an envelope of at most `cap` bytes.
    pub fn parse(bytes: &[u8], cap: usize) -> Result<Self, EnvelopeFault> {
        if bytes.len() > cap {
            return Err(EnvelopeFault::TooLong { length: bytes.len(), cap });
        }
        let written: Written =
            serde_json::from_slice(bytes).map_err(|error| EnvelopeFault::Shape(error.to_string()))?;
        if written.signatures.len() > MAX_SIGNATURES {
            return Err(EnvelopeFault::TooManySignatures(written.signatures.len()));
        }
        let payload = decode(&written.payload).ok_or(EnvelopeFault::Base64("payload"))?;
        let signatures = written.signatures.into_iter().map(|signature| {
            let bytes = decode(&signature.sig).ok_or(EnvelopeFault::Base64("signature"))?;
            Ok((signature.keyid, bytes))
        });
        let signatures = signatures.collect::<Result<_, EnvelopeFault>>()?;
        Ok(Self { payload_type: written.payload_type, payload, signatures })
    }

    /// As it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        let signatures = self
            .signatures
            .iter()
            .map(|(keyid, sig)| WrittenSignature { keyid: keyid.clone(), sig: Base64::encode_string(sig) });
        let written = Written {
            payload: Base64::encode_string(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: signatures.collect(),
        };
        // Strings only: there is nothing that could not be written.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Adds a signature, in place of an earlier one of the same key.
    pub fn sign(&mut self, key: &PrivateKey) {
        let id = key.public().id().to_string();
        self.signatures.retain(|(keyid, _)| *keyid != id);
        self.signatures.push((id, key.sign(&pae(&self.payload_type, &self.payload)).to_vec()));
    }

    /// Adds a signature over [`pae`] that somebody else has made.
    pub fn add(&mut self, keyid: String, signature: Vec<u8>) {
        self.signatures.push((keyid, signature));
    }

    /// Whether one of the signatures under this id holds, as `holds` judges message and signature.
    pub fn is_signed(&self, keyid: &str, holds: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        let message = pae(&self.payload_type, &self.payload);
        self.signatures.iter().any(|(id, signature)| id == keyid && holds(&message, signature))
    }

    /// What the payload is said to be.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The payload. Nothing in it is to be believed before [`Self::signers`] are enough.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Those of `keys` that signed this payload under this type. A key counts once, however often it
    /// signed; a signature whose key is not among them counts for nothing.
    pub fn signers<'k>(&self, keys: impl IntoIterator<Item = &'k PublicKey>) -> BTreeSet<KeyId> {
        let message = pae(&self.payload_type, &self.payload);
        let signed = keys.into_iter().filter(|key| {
            let id = key.id().to_string();
            self.signatures.iter().any(|(keyid, signature)| *keyid == id && key.signed(&message, signature))
        });
        signed.map(PublicKey::id).collect()
    }
}

/// The pre-authentication encoding: `DSSEv1 <length> <type> <length> <payload>`, lengths in decimal bytes.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    let mut message = Vec::with_capacity(head.len() + payload.len());
    message.extend_from_slice(head.as_bytes());
    message.extend_from_slice(payload);
    message
}

/// Bytes as base64, as documents carry them.
pub fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// Base64 as bytes. The specification allows the standard and the URL-safe alphabet.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(text).or_else(|_| Base64Url::decode_vec(text)).ok()
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(&Zeroizing::new([seed; 32]))
    }

    /// `protocol.md`, "Test Vectors": the encoding of `hello world` under `http://example.com/HelloWorld`.
    #[test]
    fn the_encoding_of_the_specification() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(pae("http://example.com/HelloWorld", b"hello world"), expected);
        // Lengths are of bytes, not of characters.
        assert_eq!(pae("", "\u{e9}".as_bytes()), b"DSSEv1 0  2 \xc3\xa9");
    }

    #[test]
    fn what_was_signed_is_read_back_with_its_signers() {
        let (one, two, three) = (key(1), key(2), key(3));
        let mut envelope = Envelope::new("type", b"payload".to_vec());
        envelope.sign(&one);
        envelope.sign(&two);
        envelope.sign(&one);
        let read = Envelope::parse(&envelope.to_bytes(), 4_096).unwrap();
        assert_eq!(read, envelope);
        let keys = [one.public(), two.public(), three.public()];
        assert_eq!(read.signers(&keys), BTreeSet::from([one.public().id(), two.public().id()]));
        assert_eq!(read.signers(&keys[2..]), BTreeSet::new());
    }

    #[test]
    fn a_key_that_signs_twice_counts_once() {
        let one = key(1);
        let mut envelope = Envelope::new("type", b"payload".to_vec());
        envelope.sign(&one);
        let again = envelope.signatures[0].clone();
        envelope.signatures.push(again);
        assert_eq!(envelope.signers(&[one.public(), one.public()]).len(), 1);
    }

    #[test]
    fn another_type_or_payload_is_not_what_was_signed() {
        let one = key(1);
        let mut envelope = Envelope::new("type", b"payload".to_vec());
        envelope.sign(&one);
        let keys = [one.public()];
        let moved =
            Envelope { payload_type: "typ".to_owned(), payload: b"epayload".to_vec(), ..envelope.clone() };
        assert!(moved.signers(&keys).is_empty());
        let retyped = Envelope { payload_type: "other".to_owned(), ..envelope.clone() };
        assert!(retyped.signers(&keys).is_empty());
        // Under the id of another key it is nobody's.
        let renamed = Envelope {
            signatures: vec![(key(2).public().id().to_string(), envelope.signatures[0].1.clone())],
            ..envelope
        };
        assert!(renamed.signers(&[one.public(), key(2).public()]).is_empty());
    }

    #[test]
    fn what_is_no_envelope_says_why() {
        let shape = |text: &str| Envelope::parse(text.as_bytes(), 64 * 1024).unwrap_err().to_string();
        assert!(shape("").contains("is not a DSSE envelope"));
        assert!(shape(r#"{"payload":"","payloadType":"t"}"#).contains("signatures"));
        assert!(
            shape(r#"{"payload":"*","payloadType":"t","signatures":[]}"#)
                .contains("payload that is not base64")
        );
        assert!(
            shape(r#"{"payload":"","payload":"","payloadType":"t","signatures":[]}"#).contains("duplicate")
        );
        let many = r#"{"sig":""},"#.repeat(MAX_SIGNATURES) + r#"{"sig":""}"#;
        assert!(
            shape(&format!(r#"{{"payload":"","payloadType":"t","signatures":[{many}]}}"#))
                .contains("33 signatures")
        );
        assert_eq!(Envelope::parse(&[b'['; 100], 99), Err(EnvelopeFault::TooLong { length: 100, cap: 99 }));
        // The parser bounds how deep things nest.
        assert!(matches!(
            Envelope::parse("[".repeat(60_000).as_bytes(), 60_000),
            Err(EnvelopeFault::Shape(_))
        ));
        // URL-safe base64 is the same payload.
        let safe = r#"{"payload":"-_8=","payloadType":"t","signatures":[]}"#;
        assert_eq!(Envelope::parse(safe.as_bytes(), 100).unwrap().payload(), [0xFB, 0xFF]);
    }
}
