//! The one shape of PKCS#7 that EST answers with: signed data without content or signers, a bag of
//! certificates (RFC 5652 section 5.1; "certs-only", RFC 5751 section 3.7).
//!
//! DER is read, and of BER what servers send in its place: wrappers without a length (X.690 section 8.1.3.6), with
//! the certificates in them as they are. What else the object holds is passed over: nothing in it is signed, and what is believed
//! of a certificate is checked on the certificate.

use rustls::pki_types::CertificateDer;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{self, Decode, Encode, ErrorKind, Reader, SliceReader, Tag, TagNumber, Tagged};

/// `id-signedData`, RFC 5652 section 5.1.
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// How deep wrappers without a length may lie in each other; the shape has five.
const MAX_DEPTH: usize = 8;
/// More than any chain.
const MAX_CERTIFICATES: usize = 32;

const ZERO: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };

/// In place of a length: an end follows.
const ENDED: u8 = 0x80;
const END: &[u8] = &[0, 0];
const CONSTRUCTED: u8 = 0x20;

/// The certificates, each as it came.
pub(super) fn certificates(bytes: &[u8]) -> der::Result<Vec<CertificateDer<'static>>> {
    let rewritten;
    let bytes = if bytes.get(1) == Some(&ENDED) {
        let mut whole = Vec::with_capacity(bytes.len());
        let rest = with_lengths(bytes, MAX_DEPTH, &mut whole).ok_or_else(wrong)?;
        if !rest.is_empty() {
            return Err(wrong());
        }
        rewritten = whole;
        rewritten.as_slice()
    } else {
        bytes
    };
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

/// Writes one value, with a length where it has an end; what has a length is taken as it is. What follows it.
fn with_lengths<'a>(bytes: &'a [u8], depth: usize, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (tag, rest) = bytes.split_first()?;
    // Tag numbers of more than one byte do not occur in this shape.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (length, mut rest) = rest.split_first()?;
    if *length == ENDED {
        let depth = depth.checked_sub(1).filter(|_| tag & CONSTRUCTED != 0)?;
        let mut content = Vec::new();
        loop {
            if let Some(rest) = rest.strip_prefix(END) {
                out.push(*tag);
                put_length(content.len(), out);
                out.extend(content);
                return Some(rest);
            }
            rest = with_lengths(rest, depth, &mut content)?;
        }
    }
    let length = if length & 0x80 == 0 {
        usize::from(*length)
    } else {
        let (digits, after) =
            rest.split_at_checked(usize::from(length & 0x7f)).filter(|(it, _)| it.len() <= 4)?;
        rest = after;
        digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
    };
    let rest = rest.get(length..)?;
    out.extend(bytes.get(..bytes.len() - rest.len())?);
    Some(rest)
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    if let Some(short) = u8::try_from(length).ok().filter(|length| *length < 0x80) {
        out.push(short);
        return;
    }
    let digits: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|digit| *digit == 0).collect();
    out.push(0x80 | u8::try_from(digits.len()).unwrap_or(0x7f));
    out.extend(digits);
}

fn wrong() -> der::Error {
    ErrorKind::Failed.into()
}
