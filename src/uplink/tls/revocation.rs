//! Revocation lists (RFC 5280 section 5) for the broker's chain.
//!
//! A certificate of the chain that a list names is refused, and so is one of an authority that no list is
//! from: unknown is not good. What a list says counts even when it has run out; whether one that has run out
//! also stops the connection is the [`Rule`], as a fresh list may have to come through that very connection.
//! Nothing is downloaded.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;

use super::TlsError;
use crate::time::{ClockSync, Now, Wall};

const WHAT: &str = "revocation list";

/// What a list that has run out does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It stops the connection. Readings are kept until somebody brings a fresh one.
    Enforce,
    /// It is an event, and what it says still counts.
    EnforceContent,
}

/// The lists and the rule.
#[derive(Clone, Debug)]
pub struct Revocation {
    lists: Vec<(CertificateRevocationListDer<'static>, Validity)>,
    rule: Rule,
}

#[derive(Clone, Debug)]
struct Validity {
    issuer: String,
    /// A list without an end never runs out.
    until: Option<Wall>,
}

/// A list that has run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// Whose.
    pub issuer: String,
    /// Since when.
    pub since: Wall,
}

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issuer, since } = self;
        write!(
            f,
            "the revocation list of {issuer} ran out at {since}: have a fresh one published for this gateway, or put it \
             there by hand"
        )
    }
}

impl Revocation {
    /// Lists in DER, such as a bundle carries; `from` says where they are from.
    pub fn new(
        lists: Vec<CertificateRevocationListDer<'static>>,
        rule: Rule,
        from: &Path,
    ) -> Result<Self, TlsError> {
        let not_one = |detail: String| TlsError::NotPem { what: WHAT, path: from.to_owned(), detail };
        if lists.is_empty() {
            return Err(not_one("no list in it".into()));
        }
        let lists = lists
            .into_iter()
            .map(|list| {
                let read: CertificateList =
                    CertificateList::from_der(&list).map_err(|error| not_one(error.to_string()))?;
                let until = read.tbs_cert_list.next_update.map(|time| {
                    let millis = time.to_unix_duration().as_millis();
                    Wall::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
                });
                let issuer = read.tbs_cert_list.issuer.to_string();
                Ok((list, Validity { issuer, until }))
            })
            .collect::<Result<_, TlsError>>()?;
        Ok(Self { lists, rule })
    }

    /// The lists of a PEM file.
    pub fn read(path: &Path, rule: Rule) -> Result<Self, TlsError> {
        let text = super::read(WHAT, path)?;
        let lists = CertificateRevocationListDer::pem_slice_iter(&text).collect::<Result<_, _>>();
        let not_pem = |error: rustls::pki_types::pem::Error| TlsError::NotPem {
            what: WHAT,
            path: path.to_owned(),
            detail: error.to_string(),
        };
        Self::new(lists.map_err(not_pem)?, rule, path)
    }

    /// The lists that have run out: an event each. None while the clock cannot be trusted.
    pub fn outdated(&self, now: Now) -> Vec<Outdated> {
        if now.sync == ClockSync::Unsynced {
            return Vec::new();
        }
        let all = self.lists.iter().map(|(_, validity)| validity);
        all.filter_map(|Validity { issuer, until }| {
            let since = until.filter(|until| now.wall > *until)?;
            Some(Outdated { issuer: issuer.clone(), since })
        })
        .collect()
    }

    pub(super) fn verifier(&self, roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let lists = self.lists.iter().map(|(list, _)| list.clone());
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).with_crls(lists);
        let builder = match self.rule {
            Rule::Enforce => builder.enforce_revocation_expiration(),
            Rule::EnforceContent => builder,
        };
        builder.build().map_err(|error| TlsError::Setup(rustls::Error::General(error.to_string())))
    }
}

#[cfg(test)]
mod tests;
