//! The gateway's own word: signed with the key of its client certificate, for whoever knows its authority.
//!
//! In: the certificate's file and the place of its key. Out: a [`Witness`]. ECDSA P-256 with SHA-256 only, the signature in ASN.1 (RFC 3279
//! section 2.2.3): what `fleet::documents::reported` is checked by.

use std::path::Path;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::sign::SigningKey;

use super::{TlsError, certified_key, validity};
use crate::envelope::keys::{KeyPlace, Protection};
use crate::time::Wall;

/// Signs for the gateway.
pub struct Witness {
    chain: Vec<Vec<u8>>,
    not_after: Wall,
    key: Arc<dyn SigningKey>,
    protection: Protection,
}

impl Witness {
    /// Reads the files, and checks that they belong together.
    pub fn read(certificate: &Path, key: &KeyPlace) -> Result<Self, TlsError> {
        let (_, not_after) = validity(certificate)?;
        let (pair, protection) = certified_key(certificate, key)?;
        let chain = pair.cert.iter().map(|der| der.to_vec()).collect();
        Ok(Self { chain, not_after, key: Arc::clone(&pair.key), protection })
    }

    /// The certificates as DER, the gateway's own first.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// How its key is really protected: what was found, whatever the configuration names.
    pub const fn protection(&self) -> Protection {
        self.protection
    }

    /// Until when the gateway's own holds.
    pub const fn not_after(&self) -> Wall {
        self.not_after
    }

    /// Signs. `None`: its key is none for ECDSA P-256 with SHA-256, or its token does not answer.
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256])?.sign(message).ok()
    }
}
