//! What a gateway signs of itself: a report, an inventory.
//!
//! In: a payload and a signature. Out: an envelope, and back. It is signed with the key of the gateway's client
//! certificate, ECDSA P-256 with SHA-256, the signature in ASN.1 (RFC 3279 section 2.2.3), over the DSSE encoding
//! [`pae`](dsse::pae) of type and payload. The key's id is the hex SHA-256 of its `SubjectPublicKeyInfo`. The payload
//! may carry the certificate chain, so that whoever knows the authority needs to keep no list of keys that are
//! renewed every few weeks.
//!
//! Nothing is decided by what is not signed: it may be shown, and is called unproven.

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use x509_cert::Certificate as X509;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::{Digest, Document};
use crate::fleet::dsse::{self, Envelope, EnvelopeFault};

/// The longest certificate chain, in base64 characters of all certificates together.
pub(super) const MAX_CHAIN: usize = 4_096;

/// A document of which a gateway says that it is its own.
pub trait Own: Document {
    /// The gateway that it names, and its organisation.
    fn whose(&self) -> (&str, &str);

    /// The chain that it carries as DER; none: one of them is no base64.
    fn chain(&self) -> Option<Vec<Vec<u8>>>;
}

/// The chain's certificates as DER; none: one of them is no base64.
pub(super) fn chain(written: &[String]) -> Option<Vec<Vec<u8>>> {
    written.iter().map(|text| dsse::decode(text)).collect()
}

/// What an envelope says, whoever signed it. Unproven.
pub fn unproven<D: Document>(bytes: &[u8]) -> Result<D, OwnFault> {
    let envelope = opened::<D>(bytes)?;
    D::read(envelope.payload()).map_err(OwnFault::Shape)
}

/// What an envelope says that this key has signed.
pub fn verify<D: Document>(bytes: &[u8], key: &OwnKey) -> Result<D, OwnFault> {
    let envelope = opened::<D>(bytes)?;
    if !envelope.is_signed(&key.id, |message, signature| key.signed(message, signature)) {
        return Err(OwnFault::Signature { key: key.id.clone() });
    }
    D::read(envelope.payload()).map_err(OwnFault::Shape)
}

fn opened<D: Document>(bytes: &[u8]) -> Result<Envelope, OwnFault> {
    let envelope = Envelope::parse(bytes, D::CAP)?;
    if envelope.payload_type() == D::PAYLOAD_TYPE {
        return Ok(envelope);
    }
    Err(OwnFault::Type(envelope.payload_type().chars().take(80).collect()))
}

/// The envelope of a payload and of the signature that the key of this id has made over its [`pae`](dsse::pae).
pub fn sealed<D: Document>(payload: Vec<u8>, key: &str, signature: Vec<u8>) -> Vec<u8> {
    let mut envelope = Envelope::new(D::PAYLOAD_TYPE, payload);
    envelope.add(key.to_owned(), signature);
    envelope.to_bytes()
}

/// A terminal does what control characters say: none is taken.
pub(super) fn check_text(field: &str, text: &str, most: usize) -> Result<(), String> {
    if text.len() > most {
        return Err(format!("has a {field} of {} bytes, at most {most}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("has control characters in {field}"));
    }
    Ok(())
}

/// A text as such a document takes it: no control characters, nothing that JSON has to escape, at most so many bytes.
pub fn text(raw: &str, most: usize) -> String {
    let mut text = String::new();
    for c in raw.chars() {
        let c = match c {
            '"' => '\'',
            '\\' => '/',
            c if c.is_control() => ' ',
            c => c,
        };
        if text.len().saturating_add(c.len_utf8()) > most {
            break;
        }
        text.push(c);
    }
    text
}

/// Why a document of a gateway is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnFault {
    /// It is no envelope, or too long.
    #[error("it {0}")]
    Envelope(#[from] EnvelopeFault),
    /// It is another kind of document.
    #[error("it is of type {0:?}: it was put in the wrong place")]
    Type(String),
    /// Its parts do not fit.
    #[error("it {0}")]
    Shape(String),
    /// The key has not signed it.
    #[error("it is not signed by key {key}")]
    Signature {
        /// The key's id.
        key: String,
    },
    /// It is no such key.
    #[error("the key is no ECDSA P-256 key in DER")]
    Key,
}

/// Checks the signature of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnKey {
    id: String,
    /// The point, not compressed (SEC 1 section 2.3.3).
    point: Vec<u8>,
}

/// RFC 5480 section 2.1.1: `id-ecPublicKey`, and `secp256r1`.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

impl OwnKey {
    /// Of a certificate in DER. Whether the certificate is to be believed is the caller's question.
    pub fn of_certificate(der: &[u8]) -> Result<Self, OwnFault> {
        let certificate = X509::from_der(der).map_err(|_| OwnFault::Key)?;
        Self::of(certificate.tbs_certificate().subject_public_key_info())
    }

    /// Of a `SubjectPublicKeyInfo` in DER (RFC 5280 section 4.1.2.7).
    pub fn of_spki(der: &[u8]) -> Result<Self, OwnFault> {
        Self::of(&SubjectPublicKeyInfoOwned::from_der(der).map_err(|_| OwnFault::Key)?)
    }

    fn of(info: &SubjectPublicKeyInfoOwned) -> Result<Self, OwnFault> {
        let curve =
            info.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        let point = info.subject_public_key.as_bytes();
        match (info.algorithm.oid == EC, curve == Some(P256), point, info.to_der()) {
            (true, true, Some(point), Ok(der)) => {
                Ok(Self { id: Digest::of(&der).to_string(), point: point.to_vec() })
            }
            _ => Err(OwnFault::Key),
        }
    }

    /// What the key is called: the hex SHA-256 of its `SubjectPublicKeyInfo`.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point).verify(message, signature).is_ok()
    }
}
