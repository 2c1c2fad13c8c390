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
//!  made.json        names of the keys that were made in a token and are not known to be destroyed
//!  lock             locked by whoever is at it
//! ```
//!
//! Where the key is in a token its name stands in its place. Key and chain are one file, so a pair cannot be torn: a file is there whole or not at all, and the one step
//! from a pair to the next is a rename. Every step is durable before the next is taken, and after each of them
//! the folder holds a pair that can be used. Files are for their owner alone.

mod made;
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
use crate::envelope::keys::{KeyPlace, Protection, TokenKey};
use crate::host::atomic_file;
use crate::host::lock::{self, Lock, NotHeld};
use crate::time::Wall;
use crate::uplink::tls::TlsError;
use crate::uplink::tls::token::{certified_chain, named_in};

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

/// Where the private half is.
enum Private {
    Here(PrivateKeyDer<'static>),
    InToken(TokenKey),
}

/// A key and its chain.
pub struct Pair {
    key: Private,
    chain: Vec<CertificateDer<'static>>,
    lifetime: Lifetime,
}

impl Pair {
    /// Reads what [`Folder`] wrote.
    pub fn from_pem(text: &[u8]) -> io::Result<Self> {
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let key = match named_in(text) {
            Some(key) => Private::InToken(key.map_err(|error| wrong(format!("the key's name {error}")))?),
            None => Private::Here(
                PrivateKeyDer::from_pem_slice(text).map_err(|error| wrong(format!("no key: {error}")))?,
            ),
        };
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

    /// As TLS shows it; an error when key and certificate do not belong together. Asks the token where the key is in
    /// one.
    pub fn certified(&self) -> Result<Arc<CertifiedKey>, EstError> {
        match &self.key {
            Private::Here(key) => Ok(self.certified_with(key)?),
            Private::InToken(key) if key.module.as_os_str().is_empty() => Err(EstError::Key(
                "the present one is in a token: let uplink.key be the pkcs11: URI of that token's keys",
            )),
            Private::InToken(key) => match certified_chain(self.chain.clone(), key) {
                Ok(Some(pair)) => Ok(Arc::new(pair)),
                Ok(None) => Err(EstError::OtherTokenKey(key.to_string())),
                Err(TlsError::Token(error)) => Err(EstError::Token(error)),
                Err(other) => Err(EstError::Setup(rustls::Error::General(other.to_string()))),
            },
        }
    }

    fn certified_with(&self, key: &PrivateKeyDer<'static>) -> Result<Arc<CertifiedKey>, rustls::Error> {
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(self.chain.clone(), key.clone_key(), &provider).map(Arc::new)
    }

    /// Whether key and chain belong together, as far as the file alone says it: a token is not asked.
    pub fn check(&self) -> Result<(), rustls::Error> {
        match &self.key {
            Private::Here(key) => self.certified_with(key).map(drop),
            Private::InToken(_) => Ok(()),
        }
    }

    /// How its key is protected. The folder is a file's.
    pub const fn protection(&self) -> Protection {
        match &self.key {
            Private::Here(_) => Protection::File,
            Private::InToken(_) => Protection::Pkcs11,
        }
    }

    /// The name of its key in its token, where it is in one.
    pub const fn token(&self) -> Option<&TokenKey> {
        match &self.key {
            Private::Here(_) => None,
            Private::InToken(key) => Some(key),
        }
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

/// The folder, and the token where new keys are made, if they are in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf, Option<TokenKey>);

impl Folder {
    /// A folder that may not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into(), None)
    }

    /// The same, with new keys in a token: under the label of this one.
    #[must_use]
    pub fn with_token(self, key: TokenKey) -> Self {
        Self(self.0, Some(key))
    }

    /// The folder that a configuration names: its certificate is [`CURRENT`] in it, and its key too, or in a token.
    pub fn named_by(certificate: &Path, key: &KeyPlace) -> Option<Self> {
        let folder = Self::new(certificate.parent().filter(|_| certificate.ends_with(CURRENT))?);
        match key {
            KeyPlace::File(path) => (path == certificate).then_some(folder),
            KeyPlace::Credential(_) => None,
            KeyPlace::Token(key) => Some(folder.with_token(key.clone())),
        }
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

    /// Where new keys are made, if not here.
    pub const fn token(&self) -> Option<&TokenKey> {
        self.1.as_ref()
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
        Pair::from_pem(&text)?.check()?;
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
    /// or those that a person gave. A file of the former that cannot be read counts as none, and is written again once
    /// the server names them: renewal must not end with it. None: never enrolled.
    pub fn server(&self) -> io::Result<Option<Server>> {
        let Some(text) = self.read(SERVER)? else { return Ok(None) };
        let wrong = |error: String| io::Error::new(io::ErrorKind::InvalidData, format!("{SERVER}: {error}"));
        let written: Written = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let address = written.address.parse().map_err(|error| wrong(format!("{error}")))?;
        let named = self.certificates(AUTHORITIES).unwrap_or_else(|error| {
            tracing::warn!(
                %error,
                "{AUTHORITIES} cannot be read: the certificate server is believed under {SERVER_AUTHORITIES} until it names \
                 its authorities again"
            );
            Vec::new()
        });
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
            .map(|pair| Some(self.reached(pair)))
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    /// The token is reached as the configuration says.
    fn reached(&self, pair: Pair) -> Pair {
        match (pair.key, &self.1) {
            (Private::InToken(key), Some(named)) => {
                Pair { key: Private::InToken(key.reached_as(named)), ..pair }
            }
            (key, _) => Pair { key, ..pair },
        }
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
