//! Is what was issued ours? Our key, our name, for clients, from an authority that the server named.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::key::Pending;
use crate::identity::name::Name;
use crate::time::{ClockSync, Now};

/// How far the server's clock may be ahead of ours.
const CLOCKS_DIFFER: Duration = Duration::from_secs(3_600);
/// The longest chain.
const MAX_CHAIN: usize = 8;

/// Why a certificate is not ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueFault {
    /// None of them is for the key.
    #[error("it is for another key than the one that was asked for: see the server's log")]
    OtherKey,
    /// For somebody else.
    #[error(
        "it says {found} and not {wanted}: let the server's profile take the names of the request, or correct \
         gateway.organisation and gateway.id"
    )]
    OtherName {
        /// What it says.
        found: String,
        /// What it should.
        wanted: String,
    },
    /// Not for this, or not from there, or not now.
    #[error("{0}")]
    Unfit(String),
    /// Nothing that could be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// An authority's certificate is none.
    #[error("the server names an authority that cannot be read: {0}")]
    Authority(String),
}

/// The chain that is to be shown, leaf first, out of what came in any order.
pub fn check(
    found: &[CertificateDer<'static>],
    authorities: &[CertificateDer<'static>],
    (pending, name): (&Pending, &Name),
    now: Now,
) -> Result<Vec<CertificateDer<'static>>, IssueFault> {
    let unreadable = |error: x509_cert::der::Error| IssueFault::Unreadable(error.to_string());
    let mut leaf = None;
    for certificate in found {
        let read = Certificate::from_der(certificate).map_err(unreadable)?;
        let key = read.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes();
        if key == pending.point() {
            leaf = Some((certificate, read));
        }
    }
    let (leaf, read) = leaf.ok_or(IssueFault::OtherKey)?;
    check_name(&read, name)?;
    let (roots, between) = sort(found, authorities)?;
    let chain = chain(leaf, &read, &between);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| IssueFault::Authority(error.to_string()))?;
    let rest = chain.get(1..).unwrap_or_default();
    verifier
        .verify_client_cert(leaf, rest, moment(&read, now))
        .map_err(|error| IssueFault::Unfit(unfit(&error)))?;
    Ok(chain)
}

/// The moment that it must be valid at: now, or its first one where that lies a little ahead, as no two clocks
/// agree, or where nobody vouches for our clock: then the broker says whether it is valid.
fn moment(certificate: &Certificate, now: Now) -> UnixTime {
    let from = certificate.tbs_certificate().validity().not_before.to_unix_duration();
    let now_is = Duration::from_millis(u64::try_from(now.wall.as_millis()).unwrap_or(0));
    let is_ahead = from > now_is && from.saturating_sub(now_is) <= CLOCKS_DIFFER;
    UnixTime::since_unix_epoch(if now.sync == ClockSync::Unsynced || is_ahead { from } else { now_is })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's errors are many and grow; what is not named here is said in its words"
)]
fn unfit(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "it comes from none of the authorities that the server names: see the server's profile"
                    .to_owned()
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "it is not for TLS clients (clientAuth): correct the server's profile".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has expired already: compare the server's clock with this gateway's".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet: compare the server's clock with this gateway's".to_owned()
            }
            other => format!("{other}"),
        },
        other => other.to_string(),
    }
}

fn check_name(certificate: &Certificate, name: &Name) -> Result<(), IssueFault> {
    let tbs = certificate.tbs_certificate();
    let unreadable = |error: x509_cert::der::Error| IssueFault::Unreadable(error.to_string());
    let alternative = tbs.get_extension::<SubjectAltName>().map_err(unreadable)?;
    let uris: Vec<String> = alternative
        .map(|(_, names)| names.0)
        .unwrap_or_default()
        .into_iter()
        .filter_map(
            |name| if let GeneralName::UniformResourceIdentifier(uri) = name { Some(uri) } else { None },
        )
        .map(|uri| uri.as_str().to_owned())
        .collect();
    let common = tbs.subject().common_name().map_err(unreadable)?.map(|common| common.value().into_owned());
    // A broker may take the common name as the user's name and grant topics by it.
    let is_ours = uris.contains(&name.uri()) && common.as_ref().is_none_or(|common| *common == name.gateway);
    if is_ours {
        return Ok(());
    }
    let found = format!("common name {:?}, URIs {uris:?}", common.unwrap_or_default());
    Err(IssueFault::OtherName { found, wanted: name.uri() })
}

/// A certificate that is neither ours nor a root, as it came and as it reads.
type Between<'a> = (&'a CertificateDer<'static>, Certificate);

/// Authorities whose word is enough, and certificates between them and ours.
fn sort<'a>(
    found: &'a [CertificateDer<'static>],
    authorities: &'a [CertificateDer<'static>],
) -> Result<(RootCertStore, Vec<Between<'a>>), IssueFault> {
    let (mut roots, mut between) = (RootCertStore::empty(), Vec::new());
    for (certificate, is_named) in
        found.iter().map(|it| (it, false)).chain(authorities.iter().map(|it| (it, true)))
    {
        let read =
            Certificate::from_der(certificate).map_err(|error| IssueFault::Authority(error.to_string()))?;
        let is_self_issued = read.tbs_certificate().subject() == read.tbs_certificate().issuer();
        if is_named && is_self_issued {
            roots.add(certificate.clone()).map_err(|error| IssueFault::Authority(error.to_string()))?;
        } else if !is_self_issued {
            between.push((certificate, read));
        }
    }
    if roots.is_empty() {
        // RFC 7030 section 4.1.3 wants the root among them; a server that leaves it out vouches for these.
        for certificate in authorities {
            roots.add(certificate.clone()).map_err(|error| IssueFault::Authority(error.to_string()))?;
        }
    }
    Ok((roots, between))
}

fn chain(
    leaf: &CertificateDer<'static>,
    read: &Certificate,
    between: &[Between<'_>],
) -> Vec<CertificateDer<'static>> {
    let mut chain = vec![leaf.clone()];
    let mut issuer = read.tbs_certificate().issuer();
    while chain.len() < MAX_CHAIN {
        let next = between.iter().find(|(certificate, read)| {
            read.tbs_certificate().subject() == issuer && !chain.contains(certificate)
        });
        let Some((certificate, read)) = next else { break };
        chain.push((*certificate).clone());
        issuer = read.tbs_certificate().issuer();
    }
    chain
}
