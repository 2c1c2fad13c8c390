//! Whether a document is a gateway's own: its certificate comes from the authority, names it, and its key has signed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::refused;
use crate::cli::exit::Failure;
use crate::fleet::documents::own::{self, Own, OwnKey};
use crate::time::Wall;

/// Whose certificates gateways have.
pub(super) struct Authorities(Arc<dyn ClientCertVerifier>);

impl Authorities {
    /// From a PEM file.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let unusable =
            |why: String| refused(format!("the gateways' authorities in {}: {why}", path.display()));
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            store.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
        verifier.build().map(Self).map_err(|error| unusable(error.to_string()))
    }

    /// Proves that the gateway that a document names has signed it; the error is in words.
    pub(super) fn prove<D: Own>(&self, bytes: &[u8], document: &D, now: Wall) -> Result<(), String> {
        let chain = document.chain().ok_or("its certificate is not base64")?;
        let chain: Vec<CertificateDer<'_>> = chain.into_iter().map(CertificateDer::from).collect();
        let Some((leaf, others)) = chain.split_first() else {
            return Err("it carries no certificate".to_owned());
        };
        let now = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
        self.0
            .verify_client_cert(leaf, others, UnixTime::since_unix_epoch(now))
            .map_err(|error| format!("its certificate is not good: {error}"))?;
        let name = common_name(leaf).unwrap_or_default();
        if name != document.whose().0 {
            return Err(format!("its certificate is of {name:?}"));
        }
        let key = OwnKey::of_certificate(leaf).map_err(|fault| fault.to_string())?;
        own::verify::<D>(bytes, &key).map(drop).map_err(|fault| fault.to_string())
    }
}

fn common_name(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    let name = certificate.tbs_certificate().subject().common_name().ok()??;
    Some(name.value().into_owned())
}
