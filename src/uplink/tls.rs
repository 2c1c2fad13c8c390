//! TLS towards the broker: version 1.3 only, its name checked, our certificate shown.
//!
//! In: three PEM files, or two and a key in a token. Out: a [`rustls::ClientConfig`]. What can go wrong is said in [`TlsError`],
//! each time with the thing and the way out. What never happens: a check is left out, or an older
//! version of TLS is spoken.

mod look;
mod revocation;
pub mod token;
mod witness;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use zeroize::Zeroizing;

use crate::envelope::keys::{KeyError, KeyPlace, Protection, TOKEN_SCHEME, TokenKey, UriError, open_secret};
use crate::time::{ClockSync, Now, Wall};
pub use look::{Chain, check_pair};
pub use revocation::{Lists, Outdated, Revocation, Rule};
pub use witness::Witness;

/// The largest PEM file that is read: a chain of a few certificates is a hundredth of it.
const MAX_FILE: u64 = 1024 * 1024;

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(
        "cannot read {what} {path:?}: {source}: put the file there or correct its path in the configuration"
    )]
    Unreadable {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The private key is not private.
    #[error(transparent)]
    Exposed(KeyError),
    /// A file holds something else.
    #[error("{path:?} holds no {what} that can be read ({detail}): it must be PEM{}", or_der(what))]
    NotPem {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The key belongs to another certificate.
    #[error(
        "private key {key:?} does not belong to certificate {certificate:?}: install the pair that was issued together"
    )]
    KeyMismatch {
        /// The key.
        key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
    },
    /// The token's key cannot be used.
    #[error(transparent)]
    Token(KeyError),
    /// The token's key belongs to another certificate.
    #[error(
        "{key} does not belong to certificate {certificate:?}: let uplink.key name the key that it was issued for, or \
         enrol the gateway again"
    )]
    TokenMismatch {
        /// The key.
        key: String,
        /// The certificate.
        certificate: PathBuf,
    },
    /// Our certificate is no longer valid.
    #[error("client certificate {path:?} expired at {since} ({days} days ago): enrol the gateway again")]
    Expired {
        /// The certificate.
        path: PathBuf,
        /// When.
        since: Wall,
        /// How long ago.
        days: i64,
    },
    /// Our certificate is not valid yet.
    #[error(
        "client certificate {path:?} is not valid before {from}, and this gateway's clock says {now}{hint}"
    )]
    NotYetValid {
        /// The certificate.
        path: PathBuf,
        /// From when.
        from: Wall,
        /// What our clock says.
        now: Wall,
        /// What to do.
        hint: &'static str,
    },
    /// The TLS library refuses.
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// The three files.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// Certificates of the authorities that the broker's may come from.
    pub authorities: &'a Path,
    /// Our chain.
    pub certificate: &'a Path,
    /// Our key.
    pub key: &'a KeyPlace,
}

/// What we show of ourselves. Can be exchanged while a [`ClientConfig`] holds it: the next handshake
/// shows the new one.
#[derive(Debug)]
pub struct Identity(RwLock<Arc<CertifiedKey>>);

impl Identity {
    /// Reads it from its places and checks that certificate and key belong together.
    pub fn read(certificate: &Path, key: &KeyPlace) -> Result<Self, TlsError> {
        Ok(Self(RwLock::new(Arc::new(certified_key(certificate, key)?.0))))
    }

    /// Shows another one from now on, once it is read and checked; keeps the present one otherwise.
    pub fn exchange(&self, certificate: &Path, key: &KeyPlace) -> Result<(), TlsError> {
        let fresh = Arc::new(certified_key(certificate, key)?.0);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The configuration of a connection as the settings have it, from what the files hold at this moment: the
/// revocation lists among them.
pub fn of(config: &super::Config, now: Now) -> Result<Arc<ClientConfig>, TlsError> {
    let files =
        Files { authorities: &config.authorities, certificate: &config.certificate, key: &config.key };
    client_config_with(files, Revocation::of(&config.revocation)?.as_ref(), now)
}

/// The configuration of a connection, from what the files hold at this moment. Refuses a certificate
/// of ours that has expired, unless the clock cannot be trusted: then the broker decides. One that is
/// not valid yet is refused in any case, with a word about the clock.
pub fn client_config(files: Files<'_>, now: Now) -> Result<Arc<ClientConfig>, TlsError> {
    client_config_with(files, None, now)
}

/// The same, with revocation lists for the broker's chain.
pub fn client_config_with(
    files: Files<'_>,
    revocation: Option<&Revocation>,
    now: Now,
) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = authorities(files.authorities)?;
    let identity = Identity::read(files.certificate, files.key)?;
    check_dates(files.certificate, now)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    let config = match revocation {
        Some(revocation) => config.with_webpki_verifier(revocation.verifier(roots)?),
        None => config.with_root_certificates(roots),
    };
    let mut config = config.with_client_cert_resolver(Arc::new(identity));
    // A ticket of an earlier session would bypass the choice of certificate.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// How many whole days the certificate is still valid; negative when it is not.
pub fn certificate_days_left(path: &Path, now: Wall) -> Result<i64, TlsError> {
    let (_, until) = validity(path)?;
    Ok((until.as_millis() - now.as_millis()).div_euclid(MILLIS_PER_DAY))
}

/// Authorities publish their lists as DER.
fn or_der(what: &str) -> &'static str {
    if what == revocation::WHAT { " or DER" } else { "" }
}

const MILLIS_PER_DAY: i64 = 86_400_000;

fn check_dates(path: &Path, now: Now) -> Result<(), TlsError> {
    let (from, until) = validity(path)?;
    if now.wall < from {
        let hint = match now.sync {
            ClockSync::Unsynced => {
                ": the clock follows no reference, let it reach a time server or set it by hand"
            }
            ClockSync::Synced => ": wait, or have a certificate issued that is valid now",
        };
        return Err(TlsError::NotYetValid { path: path.to_owned(), from, now: now.wall, hint });
    }
    if now.wall > until && now.sync == ClockSync::Synced {
        let days = (now.wall.as_millis() - until.as_millis()).div_euclid(MILLIS_PER_DAY);
        return Err(TlsError::Expired { path: path.to_owned(), since: until, days });
    }
    Ok(())
}

/// From when until when it is valid.
pub fn validity(path: &Path) -> Result<(Wall, Wall), TlsError> {
    const WHAT: &str = "client certificate";
    let chain = certificates(WHAT, path)?;
    let not_pem = |detail: String| TlsError::NotPem { what: WHAT, path: path.to_owned(), detail };
    let leaf = chain.first().ok_or_else(|| not_pem("no certificate in it".into()))?;
    let leaf = Certificate::from_der(leaf).map_err(|error| not_pem(error.to_string()))?;
    let validity = leaf.tbs_certificate().validity();
    let wall = |time: &x509_cert::time::Time| {
        Wall::from_millis(i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX))
    };
    Ok((wall(&validity.not_before), wall(&validity.not_after)))
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    const WHAT: &str = "certificate authority";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(WHAT, path)? {
        roots.add(certificate).map_err(|error| TlsError::NotPem {
            what: WHAT,
            path: path.to_owned(),
            detail: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// Chain and key, and how the key is really protected.
fn certified_key(certificate: &Path, place: &KeyPlace) -> Result<(CertifiedKey, Protection), TlsError> {
    let in_file = match place {
        KeyPlace::File(path) | KeyPlace::Credential(path) => path,
        KeyPlace::Token(named) => match in_token(certificate, named)? {
            Some(key) => return token::certified(certificate, &key).map(|pair| (pair, Protection::Pkcs11)),
            // The pair is of before the configuration named a token: the next one has its key there.
            None => certificate,
        },
    };
    let kept = if place.token().is_some() { Protection::File } else { place.kept() };
    pair_of(certificate, in_file).map(|pair| (pair, kept))
}

/// The key in the token: the one that the certificate's file names, otherwise the one that the configuration names.
/// `None`: the file holds a private key itself.
fn in_token(certificate: &Path, named: &TokenKey) -> Result<Option<TokenKey>, TlsError> {
    const WHAT: &str = "client certificate";
    let text = read(WHAT, certificate)?;
    let not_pem = |error: UriError| TlsError::NotPem {
        what: "name of a token's key",
        path: certificate.to_owned(),
        detail: error.to_string(),
    };
    match token::named_in(&text) {
        Some(key) => key.map(|key| Some(key.reached_as(named))).map_err(not_pem),
        None if PrivateKeyDer::from_pem_slice(&text).is_ok() => Ok(None),
        None => Ok(Some(named.clone())),
    }
}

fn pair_of(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = certificates("client certificate", certificate)?;
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(chain, private_key(key)?, &provider) {
        Ok(pair) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsError::KeyMismatch { key: key.to_owned(), certificate: certificate.to_owned() })
        }
        Err(error) => Err(TlsError::Setup(error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    const WHAT: &str = "private key";
    let file = open_secret(path).map_err(|error| match error {
        KeyError::Unreadable { path, reason } => TlsError::Unreadable { what: WHAT, path, source: reason },
        exposed @ (KeyError::NotAFile { .. }
        | KeyError::Mode { .. }
        | KeyError::Owner { .. }
        | KeyError::Content { .. }
        | KeyError::Token { .. }
        | KeyError::Random) => TlsError::Exposed(exposed),
    })?;
    let text = content(WHAT, path, file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let locked = text.windows(9).any(|part| part == b"ENCRYPTED");
        let detail = if locked {
            "it is encrypted with a passphrase".to_owned()
        } else if token::named_in(&text).is_some() {
            format!(
                "it names a key in a token: let uplink.key be the `{TOKEN_SCHEME}` URI of that token's keys"
            )
        } else {
            error.to_string()
        };
        TlsError::NotPem { what: WHAT, path: path.to_owned(), detail }
    })
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(what, path)?;
    let not_pem = |detail: String| TlsError::NotPem { what, path: path.to_owned(), detail };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| not_pem(error.to_string()))?;
    if found.is_empty() {
        return Err(not_pem("no certificate in it".into()));
    }
    Ok(found)
}

fn read(what: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { what, path: path.to_owned(), source };
    content(what, path, std::fs::File::open(path).map_err(unreadable)?)
}

fn content(what: &'static str, path: &Path, file: std::fs::File) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    use std::io::Read as _;
    let unreadable = |source| TlsError::Unreadable { what, path: path.to_owned(), source };
    let mut text = Zeroizing::new(Vec::new());
    file.take(MAX_FILE).read_to_end(&mut text).map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
