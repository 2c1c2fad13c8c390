//! Is what was issued ours? Our key, our name, for clients, from an authority that the server named.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};
use x509_cert::name::Name as Subject;

use super::key::{CLIENT_AUTH, Pending};
use super::words;
use crate::identity::name::Name;
use crate::time::{ClockSync, Now};

/// How far the server's clock may be ahead of ours.
const CLOCKS_DIFFER: Duration = Duration::from_secs(3_600);
/// The longest chain.
const MAX_CHAIN: usize = 8;

/// So many certificates are tried for a place in the chain.
const MAX_STEPS: usize = 64;
const NOT_FOR_CLIENTS: &str = "it is not for TLS clients (clientAuth): correct the server's profile";
/// `id-at-commonName`, RFC 5280 appendix A.1.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

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
    check_purpose(&read)?;
    let (roots, between) = sort(found, authorities)?;
    let at = moment(&read, now);
    let (roots, all) = (Arc::new(roots), between.iter().map(|(it, _)| (*it).clone()).collect::<Vec<_>>());
    verify(&roots, leaf, &all, at)?;
    let mut search = Search { roots, between, at, budget: MAX_STEPS };
    search.extend(vec![leaf.clone()], read.tbs_certificate().issuer()).ok_or_else(|| {
        IssueFault::Unfit("its chain cannot be told from the certificates that came with it".to_owned())
    })
}

/// Whether it is good now for clients by these authorities.
fn verify(
    roots: &Arc<RootCertStore>,
    leaf: &CertificateDer<'static>,
    between: &[CertificateDer<'static>],
    at: UnixTime,
) -> Result<(), IssueFault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider)
        .build()
        .map_err(|error| IssueFault::Authority(error.to_string()))?
        .verify_client_cert(leaf, between, at)
        .map(|_| ())
        .map_err(|error| IssueFault::Unfit(unfit(&error)))
}

/// The chain among certificates of which several may have one and the same name: an authority that changes its key
/// keeps its name (RFC 5280 section 3.2 calls the certificates self-issued; RFC 7030 section 4.1.3 sends them along).
struct Search<'a> {
    roots: Arc<RootCertStore>,
    between: Vec<Between<'a>>,
    at: UnixTime,
    budget: usize,
}

impl Search<'_> {
    /// The chain, as long as it goes, that ends at an authority whose word is enough.
    fn extend(
        &mut self,
        chain: Vec<CertificateDer<'static>>,
        issuer: &Subject,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let (leaf, rest) = chain.split_first()?;
        let mut is_last = true;
        for place in 0..self.between.len() {
            let Some((certificate, read)) = self.between.get(place) else { break };
            if read.tbs_certificate().subject() != issuer || chain.contains(certificate) {
                continue;
            }
            self.budget = self.budget.checked_sub(1)?;
            // The name alone says nothing: does its key sign what there is of the chain?
            let mut one = RootCertStore::empty();
            let signs = one.add((*certificate).clone()).is_ok()
                && verify(&Arc::new(one), leaf, rest, self.at).is_ok();
            if !signs || chain.len() >= MAX_CHAIN {
                continue;
            }
            is_last = false;
            let mut longer = chain.clone();
            longer.push((*certificate).clone());
            let issuer = read.tbs_certificate().issuer().clone();
            if let Some(found) = self.extend(longer, &issuer) {
                return Some(found);
            }
        }
        (is_last && verify(&self.roots, leaf, rest, self.at).is_ok()).then_some(chain)
    }
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
                NOT_FOR_CLIENTS.to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has expired already: compare the server's clock with this gateway's".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet: compare the server's clock with this gateway's".to_owned()
            }
            other => words(other.to_string().as_bytes()),
        },
        other => words(other.to_string().as_bytes()),
    }
}

fn check_name(certificate: &Certificate, name: &Name) -> Result<(), IssueFault> {
    let tbs = certificate.tbs_certificate();
    let unreadable = |error: x509_cert::der::Error| IssueFault::Unreadable(error.to_string());
    let alternative = tbs.get_extension::<SubjectAltName>().map_err(unreadable)?;
    let alternative = alternative.map(|(_, names)| names.0).unwrap_or_default();
    let alternative: Vec<String> = alternative.iter().map(shown).collect();
    let of_subject = tbs.subject().iter().filter(|part| part.oid == COMMON_NAME);
    let common: Vec<String> = of_subject
        .map(|part| DirectoryString::try_from(&part.value).map(|value| value.value().into_owned()))
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    // A broker may take the common name as the user's name and grant topics by it, or by any of the others.
    if alternative == [format!("URI:{}", name.uri())] && common == [name.gateway.as_str()] {
        return Ok(());
    }
    let quoted: Vec<String> = common.iter().map(|common| format!("{common:?}")).collect();
    let found =
        format!("common name {}, alternative names {}", quoted.join(" and "), alternative.join(" and "));
    let found = words(found.as_bytes());
    Err(IssueFault::OtherName {
        found,
        wanted: format!("common name {:?} and URI:{} alone", name.gateway, name.uri()),
    })
}

/// A name for a person's eye; only a URI is compared.
fn shown(name: &GeneralName) -> String {
    match name {
        GeneralName::UniformResourceIdentifier(uri) => format!("URI:{}", uri.as_str()),
        GeneralName::DnsName(host) => format!("DNS:{}", host.as_str()),
        GeneralName::Rfc822Name(mail) => format!("email:{}", mail.as_str()),
        GeneralName::IpAddress(_) => "an IP address".to_owned(),
        GeneralName::DirectoryName(_) => "a directory's name".to_owned(),
        GeneralName::OtherName(_) | GeneralName::EdiPartyName(_) | GeneralName::RegisteredId(_) => {
            "a name of another kind".to_owned()
        }
    }
}

/// A certificate without a purpose would be good for all of them.
fn check_purpose(certificate: &Certificate) -> Result<(), IssueFault> {
    let unreadable = |error: x509_cert::der::Error| IssueFault::Unreadable(error.to_string());
    let purposes = certificate.tbs_certificate().get_extension::<ExtendedKeyUsage>().map_err(unreadable)?;
    if purposes.is_some_and(|(_, purposes)| purposes.0.contains(&CLIENT_AUTH)) {
        return Ok(());
    }
    Err(IssueFault::Unfit(NOT_FOR_CLIENTS.to_owned()))
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
        } else if !is_self_issued && !between.iter().any(|(other, _)| *other == certificate) {
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
