//! What a certificate file says, for whoever only looks.

use std::path::Path;

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage};

use super::{Identity, TlsError, certificates, validity};
use crate::envelope::keys::KeyPlace;
use crate::time::Wall;

/// `id-kp-clientAuth` and `anyExtendedKeyUsage` (RFC 5280, section 4.2.1.12).
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const ANY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// From when the first is valid.
    pub from: Wall,
    /// Until when.
    pub until: Wall,
    /// Its common name.
    pub name: Option<String>,
    /// Whether a client may show it.
    pub is_for_clients: bool,
    /// Whether its key may sign.
    pub may_sign: bool,
    /// How many there are.
    pub count: usize,
    /// The place, from 1, of the first that the one after it did not issue, by their names.
    pub broken_at: Option<usize>,
}

impl Chain {
    /// Reads a PEM file.
    pub fn read(path: &Path) -> Result<Self, TlsError> {
        const WHAT: &str = "client certificate";
        let (from, until) = validity(path)?;
        let wrong = |detail: String| TlsError::NotPem { what: WHAT, path: path.to_owned(), detail };
        let chain: Vec<Certificate> = certificates(WHAT, path)?
            .iter()
            .map(|der| Certificate::from_der(der).map_err(|error| wrong(error.to_string())))
            .collect::<Result<_, _>>()?;
        let leaf = chain.first().ok_or_else(|| wrong("no certificate in it".into()))?.tbs_certificate();
        let usage = leaf.get_extension::<KeyUsage>().map_err(|error| wrong(error.to_string()))?;
        let extended = leaf.get_extension::<ExtendedKeyUsage>().map_err(|error| wrong(error.to_string()))?;
        let mut pairs = chain.iter().zip(chain.iter().skip(1));
        let broken_at = pairs
            .position(|(one, next)| one.tbs_certificate().issuer() != next.tbs_certificate().subject())
            .map(|place| place + 1);
        Ok(Self {
            from,
            until,
            name: leaf.subject().common_name().ok().flatten().map(|name| name.value().into_owned()),
            is_for_clients: extended
                .is_none_or(|(_, usages)| usages.0.iter().any(|of| [CLIENT_AUTH, ANY_USAGE].contains(of))),
            may_sign: usage.is_none_or(|(_, usage)| usage.digital_signature()),
            count: chain.len(),
            broken_at,
        })
    }
}

/// Whether a certificate and a key can be used, and belong together.
pub fn check_pair(certificate: &Path, key: &KeyPlace) -> Result<(), TlsError> {
    Identity::read(certificate, key).map(drop)
}
