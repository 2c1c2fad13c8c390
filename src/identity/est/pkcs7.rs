//! The one shape of PKCS#7 that EST answers with: signed data without content or signers, a bag of
//! certificates (RFC 5652 section 5.1; "certs-only", RFC 5751 section 3.7).
//!
//! Only DER is read. What else the object holds is passed over: nothing in it is signed, and what is believed
//! of a certificate is checked on the certificate.

use rustls::pki_types::CertificateDer;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{self, Decode, Encode, ErrorKind, Reader, SliceReader, Tag, TagNumber, Tagged};

/// `id-signedData`, RFC 5652 section 5.1.
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// More than any chain.
const MAX_CERTIFICATES: usize = 32;

const ZERO: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };

/// The certificates, each as it came.
pub(super) fn certificates(bytes: &[u8]) -> der::Result<Vec<CertificateDer<'static>>> {
    let info = children(AnyRef::from_der(bytes)?, Tag::Sequence)?;
    let [kind, content] = info.as_slice() else { return Err(wrong()) };
    if kind.decode_as::<ObjectIdentifier>()? != SIGNED_DATA {
        return Err(wrong());
    }
    let content = children(*content, ZERO)?;
    let [signed] = content.as_slice() else { return Err(wrong()) };
    // version, digest algorithms, content, then the certificates, which are optional.
    let parts = children(*signed, Tag::Sequence)?;
    let Some(bag) = parts.get(3..).unwrap_or_default().iter().find(|part| part.tag() == ZERO) else {
        return Ok(Vec::new());
    };
    let found = children(*bag, ZERO)?;
    if found.len() > MAX_CERTIFICATES {
        return Err(wrong());
    }
    found
        .iter()
        // Other kinds of certificates have other tags.
        .filter(|item| item.tag() == Tag::Sequence)
        .map(|item| item.to_der().map(CertificateDer::from))
        .collect()
}

/// What is in a value of this tag.
fn children(of: AnyRef<'_>, tag: Tag) -> der::Result<Vec<AnyRef<'_>>> {
    of.tag().assert_eq(tag)?;
    let mut reader = SliceReader::new(of.value())?;
    let mut found = Vec::new();
    while !reader.is_finished() {
        found.push(AnyRef::decode(&mut reader)?);
    }
    Ok(found)
}

fn wrong() -> der::Error {
    ErrorKind::Failed.into()
}
