//! A certificate whose key is in a token: the key signs there, for TLS and for the gateway's own word.
//!
//! In: a chain, and a [`TokenKey`]. Out: what TLS shows. ECDSA P-256 with SHA-256 only, which is all that the token's
//! key allows. What can go wrong: [`TlsError`] while it is set up; later, in a handshake, the same words as an error
//! of the TLS library. What never happens: a key is shown with a certificate that is not its own: each time it is
//! read it signs something, and that is verified by the certificate.

use std::path::Path;
use std::sync::Arc;

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use super::{TlsError, certificates};
use crate::envelope::keys::{TOKEN_SCHEME, TokenKey, UriError};

/// What is signed to see whether a key is a certificate's. TLS signs nothing that begins so (RFC 8446 section 4.4.3).
const PROBE: &[u8] = b"wardline: is this key the certificate's?";

/// The key that a file of certificates names: a line with its URI before them, which readers of PEM pass over
/// (RFC 7468 section 2).
pub fn named_in(text: &[u8]) -> Option<Result<TokenKey, UriError>> {
    let lines = text.split(|byte| *byte == b'\n');
    let line =
        lines.filter_map(|line| std::str::from_utf8(line).ok()).find(|line| line.starts_with(TOKEN_SCHEME));
    line.map(|line| TokenKey::named(line.trim_end()))
}

/// The line that [`named_in`] reads.
pub fn name_line(key: &TokenKey) -> String {
    format!("{}\n", key.name())
}

/// A file's chain with a token's key.
pub(super) fn certified(certificate: &Path, key: &TokenKey) -> Result<CertifiedKey, TlsError> {
    let mismatch = || TlsError::TokenMismatch { key: key.to_string(), certificate: certificate.to_owned() };
    certified_chain(certificates("client certificate", certificate)?, key)?.ok_or_else(mismatch)
}

/// A chain with a token's key. `None`: it is another certificate's.
pub fn certified_chain(
    chain: Vec<CertificateDer<'static>>,
    key: &TokenKey,
) -> Result<Option<CertifiedKey>, TlsError> {
    let Some((spki, point)) = chain.first().and_then(|leaf| public_key(leaf)) else { return Ok(None) };
    let signature = key.sign(PROBE).map_err(TlsError::Token)?;
    if UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(PROBE, &signature).is_err() {
        return Ok(None);
    }
    Ok(Some(CertifiedKey::new(chain, Arc::new(InToken { key: key.clone(), spki }))))
}

/// The public key of a certificate, whole and as its bits.
fn public_key(leaf: &CertificateDer<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let read = Certificate::from_der(leaf).ok()?;
    let spki = read.tbs_certificate().subject_public_key_info();
    Some((spki.to_der().ok()?, spki.subject_public_key.raw_bytes().to_vec()))
}

/// A key that signs in its token.
#[derive(Clone, Debug)]
struct InToken {
    key: TokenKey,
    spki: Vec<u8>,
}

const SCHEME: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;

impl SigningKey for InToken {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SCHEME).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for InToken {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.key.sign(message).map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SCHEME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "pkcs11:token=ward%207;object=gw;id=%01%02";

    #[test]
    fn a_key_is_named_by_a_line_of_its_own_before_the_certificates() {
        let key = TokenKey::named(NAME).unwrap();
        assert_eq!(name_line(&key), format!("{NAME}\n"));
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in [format!("{NAME}\n{pem}"), format!("of bed 3\r\n{NAME} \r\n{pem}")] {
            assert_eq!(named_in(text.as_bytes()), Some(Ok(key.clone())), "{text}");
        }
        let odd = [b"\xff\xfe\n", name_line(&key).as_bytes()].concat();
        assert_eq!(named_in(&odd), Some(Ok(key)), "a line that is no text is passed over");
        assert_eq!(named_in(pem.as_bytes()), None);
        assert_eq!(named_in(format!("the key is {NAME}\n").as_bytes()), None, "it begins its line");
        let reached = format!("{NAME}?module-path=/m.so\n");
        let refused = named_in(reached.as_bytes()).unwrap().unwrap_err();
        assert_eq!(refused.part, "query", "what a file says of a library is not believed");
    }

    #[test]
    fn only_the_one_scheme_is_signed_with() {
        let own = InToken { key: TokenKey::named(NAME).unwrap(), spki: vec![1, 2] };
        let others = [SignatureScheme::ECDSA_NISTP384_SHA384, SignatureScheme::ED25519];
        assert!(own.choose_scheme(&others).is_none());
        let chosen = own.choose_scheme(&[others[0], SCHEME]).unwrap();
        assert_eq!(chosen.scheme(), SCHEME);
        assert_eq!(own.public_key().unwrap().as_ref(), [1, 2]);
    }

    #[test]
    fn a_token_is_not_asked_for_what_is_no_certificate() {
        // Its library is not there: had it been asked, that would be the answer.
        let key = TokenKey::named(NAME).unwrap();
        assert!(certified_chain(Vec::new(), &key).unwrap().is_none());
        assert!(certified_chain(vec![CertificateDer::from(vec![0x30, 0])], &key).unwrap().is_none());
    }
}
