//! The identity's folder: the pair in use, the next one, and what is needed to ask for another.
//!
//! ```text
//!  current.pem      key and chain that the broker is shown
//!  next.pem         key and chain that were issued and have not yet won a CONNACK
//!  pending.pem      key and request that the certificate server has not yet answered
//!  server.json      the certificate server
//!  server.pem       the authorities that a person gave for it
//!  authorities.pem  the authorities that it named last, under which it was reached itself
//!  renewed.json     when a certificate was renewed last
//!  age.json         how old the present one is known to be, where the clock says nothing
//!  lock             locked by whoever is at it
//! ```
//!
//! Key and chain are one file, so a pair cannot be torn: a file is there whole or not at all, and the one step
//! from a pair to the next is a rename. Every step is durable before the next is taken, and after each of them
//! the folder holds a pair that can be used. Files are for their owner alone.

mod private;
mod upkeep;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

use super::est::EstError;
use super::est::address::Address;
use super::est::key::{Pending, to_pem};
use super::renewal::Lifetime;
use crate::host::atomic_file;
use crate::host::lock::{self, Lock, NotHeld};
use crate::time::Wall;

/// The file that `uplink.certificate` and `uplink.key` name.
pub const CURRENT: &str = "current.pem";
/// What took its place when it could not be read.
pub const DAMAGED: &str = "current.pem.damaged";
const NEXT: &str = "next.pem";
const PENDING: &str = "pending.pem";
const SERVER: &str = "server.json";
const SERVER_AUTHORITIES: &str = "server.pem";
const AUTHORITIES: &str = "authorities.pem";
const LOCK: &str = "lock";
const MAX_FILE: usize = 256 * 1024;

/// A key and its chain.
pub struct Pair {
    key: PrivateKeyDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    lifetime: Lifetime,
}

impl Pair {
    /// Reads what [`Folder`] wrote.
    pub fn from_pem(text: &[u8]) -> io::Result<Self> {
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let key = PrivateKeyDer::from_pem_slice(text).map_err(|error| wrong(format!("no key: {error}")))?;
        let chain = chain(text)?;
        let leaf = chain.first().ok_or_else(|| wrong("no certificate".to_owned()))?;
        let lifetime = Lifetime::of(leaf)?;
        Ok(Self { key, chain, lifetime })
    }

    /// When it is valid.
    pub const fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// Its own certificate.
    pub fn leaf(&self) -> &[u8] {
        self.chain.first().map(AsRef::as_ref).unwrap_or_default()
    }

    /// Whether it is for the key with this public part, an uncompressed point.
    pub fn has_key(&self, point: &[u8]) -> bool {
        Certificate::from_der(self.leaf()).is_ok_and(|read| {
            read.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes() == point
        })
    }

    /// As TLS shows it; an error when key and certificate do not belong together.
    pub fn certified(&self) -> Result<Arc<CertifiedKey>, rustls::Error> {
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &provider).map(Arc::new)
    }
}

impl Lifetime {
    /// Of a certificate.
    pub fn of(certificate: &[u8]) -> io::Result<Self> {
        let wrong = |error| io::Error::new(io::ErrorKind::InvalidData, format!("no certificate: {error}"));
        let read = Certificate::from_der(certificate).map_err(wrong)?;
        let validity = read.tbs_certificate().validity();
        let wall = |time: &x509_cert::time::Time| {
            Wall::from_millis(i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX))
        };
        // Drawn from the certificate itself: the same after every start, another for every gateway.
        let hash = digest(&SHA256, certificate);
        let draw = hash.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        Ok(Self { from: wall(&validity.not_before), until: wall(&validity.not_after), draw })
    }
}

/// Whom to ask for certificates.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it is.
    pub address: Address,
    /// Whose certificates it may have.
    pub authorities: Vec<CertificateDer<'static>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    address: String,
}

/// The folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// A folder that may not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder that a configuration names: its certificate and its key are [`CURRENT`] in it.
    pub fn named_by(certificate: &Path, key: &Path) -> Option<Self> {
        let folder = certificate.parent().filter(|_| certificate == key && certificate.ends_with(CURRENT));
        folder.map(Self::new)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The pair in use; none: never enrolled.
    pub fn current(&self) -> io::Result<Option<Pair>> {
        self.pair(CURRENT)
    }

    /// The pair that was issued and has not yet won a CONNACK.
    pub fn next(&self) -> io::Result<Option<Pair>> {
        self.pair(NEXT)
    }

    /// Its file.
    pub fn next_path(&self) -> PathBuf {
        self.0.join(NEXT)
    }

    /// The request that waits for an answer.
    pub fn pending(&self) -> Result<Option<Pending>, EstError> {
        let Some(text) = self.read(PENDING)? else { return Ok(None) };
        Pending::from_pem(&text).map(Some)
    }

    /// Keeps a request before it is sent: a power cut while the server decides must not cost the key.
    pub fn keep_pending(&self, pending: &Pending) -> Result<(), EstError> {
        Ok(atomic_file::write(&self.0.join(PENDING), &pending.to_pem()?)?)
    }

    /// Forgets a request that was answered.
    pub fn drop_pending(&self) -> io::Result<()> {
        atomic_file::remove(&self.0.join(PENDING))
    }

    /// Keeps what was issued.
    pub fn keep_next(&self, pending: &Pending, chain: &[CertificateDer<'static>]) -> Result<(), EstError> {
        let text = pending.pair_pem(chain)?;
        // What could not be shown is not kept.
        Pair::from_pem(&text)?.certified()?;
        atomic_file::write(&self.0.join(NEXT), &text)?;
        Ok(self.drop_pending()?)
    }

    /// The next pair takes the place of the present one, which is gone then.
    pub fn promote(&self) -> io::Result<()> {
        atomic_file::rename(&self.0.join(NEXT), &self.0.join(CURRENT))
    }

    /// Gives the next pair up.
    pub fn drop_next(&self) -> io::Result<()> {
        atomic_file::remove(&self.0.join(NEXT))
    }

    /// Makes the folder where there is none; an error where others than its owner can go there.
    pub fn make(&self) -> io::Result<()> {
        atomic_file::create_folder(&self.0)?;
        private::check_private(&self.0)
    }

    /// Keeps everybody else out of the folder; `None`: somebody is at it.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        match lock::take(&self.0.join(LOCK), &format!("process {}", std::process::id())) {
            Ok(held) => Ok(Some(held)),
            Err(NotHeld::Busy(_)) => Ok(None),
            Err(NotHeld::Io(error)) => Err(error),
        }
    }

    /// Keeps whom to ask. A person's word takes the place of what a server named.
    pub fn keep_server(&self, server: &Server) -> Result<(), EstError> {
        atomic_file::remove(&self.0.join(AUTHORITIES))?;
        self.write_certificates(SERVER_AUTHORITIES, &server.authorities)?;
        let written = Written { address: server.address.to_string() };
        let text = serde_json::to_vec(&written).map_err(io::Error::other)?;
        Ok(atomic_file::write(&self.0.join(SERVER), &text)?)
    }

    /// Whom to ask, and to believe: the authorities that the server named last, alone (RFC 7030 section 4.1.1),
    /// or those that a person gave. None: never enrolled.
    pub fn server(&self) -> io::Result<Option<Server>> {
        let Some(text) = self.read(SERVER)? else { return Ok(None) };
        let wrong = |error: String| io::Error::new(io::ErrorKind::InvalidData, format!("{SERVER}: {error}"));
        let written: Written = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let address = written.address.parse().map_err(|error| wrong(format!("{error}")))?;
        let named = self.certificates(AUTHORITIES)?;
        let authorities = if named.is_empty() { self.certificates(SERVER_AUTHORITIES)? } else { named };
        Ok(Some(Server { address, authorities }))
    }

    /// Keeps the authorities that the server names, once it was reached under them.
    pub fn keep_authorities(&self, authorities: &[CertificateDer<'static>]) -> Result<(), EstError> {
        self.write_certificates(AUTHORITIES, authorities)
    }

    fn write_certificates(
        &self,
        name: &str,
        certificates: &[CertificateDer<'static>],
    ) -> Result<(), EstError> {
        let mut text = Vec::new();
        for certificate in certificates {
            text.extend(to_pem("CERTIFICATE", certificate)?.iter());
        }
        Ok(atomic_file::write(&self.0.join(name), &text)?)
    }

    fn certificates(&self, name: &str) -> io::Result<Vec<CertificateDer<'static>>> {
        Ok(self.read(name)?.map(|text| chain(&text)).transpose()?.unwrap_or_default())
    }

    fn pair(&self, name: &str) -> io::Result<Option<Pair>> {
        let Some(text) = self.read(name)? else { return Ok(None) };
        let path = self.0.join(name);
        Pair::from_pem(&text)
            .map(Some)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    fn read(&self, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        match atomic_file::read(&self.0.join(name), MAX_FILE) {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The certificates of a PEM text.
pub fn chain(text: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("no certificate: {error}")))
}

#[cfg(test)]
mod tests;
