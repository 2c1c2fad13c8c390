//! Revocation lists (RFC 5280 section 5) for the broker's chain.
//!
//! A certificate of the chain that a list names is refused, and so is one of an authority that no list is
//! from: unknown is not good. What a list says counts even when it has run out; whether one that has run out
//! also stops the connection is the [`Rule`], as a fresh list may have to come through that very connection.
//! Nothing is downloaded. The lists of this gateway's own folder and those that came with a bundle count
//! together; of two that an authority made for the same certificates the newer one counts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;

use super::TlsError;
use crate::time::{ClockSync, Now, Wall};

pub(super) const WHAT: &str = "revocation list";
/// The most files of a folder.
const MAX_FILES: usize = 64;
/// For which certificates of its authority a list is: the extension `issuingDistributionPoint` (RFC 5280, section
/// 5.2.5).
const SCOPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");

/// Where the lists are, and the rule. Without any, revocation is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// A file, or a folder of them, each PEM or DER; read for each connection.
    pub place: Option<PathBuf>,
    /// DER, such as a bundle carries.
    pub pushed: Vec<Vec<u8>>,
    /// What one that has run out does.
    pub rule: Rule,
}

/// What a list that has run out does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// It stops the connection. Readings are kept until somebody brings a fresh one.
    Enforce,
    /// It is an event, and what it says still counts.
    #[default]
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
    scope: Option<Vec<u8>>,
    from: Wall,
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
    /// What the lists hold at this moment; none: there are none to be looked at.
    pub fn of(lists: &Lists) -> Result<Option<Self>, TlsError> {
        let Lists { place, pushed, rule } = lists;
        let mut found = Vec::new();
        if let Some(place) = place {
            for file in files(place)? {
                found.extend(Self::read(&file, *rule)?.lists);
            }
        }
        if !pushed.is_empty() {
            let pushed = pushed.iter().map(|list| list.clone().into()).collect();
            found.extend(Self::new(pushed, *rule, Path::new("the fleet's bundle"))?.lists);
        }
        Ok((!found.is_empty()).then(|| Self { lists: found, rule: *rule }.in_order()))
    }

    /// The first list that fits is the one that is asked: so the newest stands first, and alone.
    fn in_order(mut self) -> Self {
        self.lists.sort_by_key(|(_, validity)| std::cmp::Reverse(validity.from));
        let mut known: Vec<(String, Option<Vec<u8>>)> = Vec::new();
        self.lists.retain(|(_, validity)| {
            let key = (validity.issuer.clone(), validity.scope.clone());
            let is_first = !known.contains(&key);
            if is_first {
                known.push(key);
            }
            is_first
        });
        self
    }

    /// Lists in DER, such as a bundle carries; `from` says where they are from.
    pub fn new(
        lists: Vec<CertificateRevocationListDer<'static>>,
        rule: Rule,
        from: &Path,
    ) -> Result<Self, TlsError> {
        let not_one = |detail: String| not_one(from, detail);
        if lists.is_empty() {
            return Err(not_one("no list in it".into()));
        }
        let lists = lists
            .into_iter()
            .map(|list| {
                let read: CertificateList =
                    CertificateList::from_der(&list).map_err(|error| not_one(error.to_string()))?;
                let wall = |time: x509_cert::time::Time| {
                    let millis = time.to_unix_duration().as_millis();
                    Wall::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
                };
                let list_says = &read.tbs_cert_list;
                let extensions = list_says.crl_extensions.iter().flatten();
                let scope = extensions.filter(|one| one.extn_id == SCOPE);
                let validity = Validity {
                    issuer: list_says.issuer.to_string(),
                    scope: scope.map(|one| one.extn_value.as_bytes().to_vec()).next(),
                    from: wall(list_says.this_update),
                    until: list_says.next_update.map(wall),
                };
                Ok((list, validity))
            })
            .collect::<Result<_, TlsError>>()?;
        Ok(Self { lists, rule })
    }

    /// The lists of a PEM file, or the one of a DER file.
    pub fn read(path: &Path, rule: Rule) -> Result<Self, TlsError> {
        let text = super::read(WHAT, path)?;
        // The first byte of a list in DER: a SEQUENCE.
        if text.first() == Some(&0x30) {
            return Self::new(vec![text.to_vec().into()], rule, path);
        }
        let lists = CertificateRevocationListDer::pem_slice_iter(&text).collect::<Result<_, _>>();
        let not_pem = |error: rustls::pki_types::pem::Error| not_one(path, error.to_string());
        Self::new(lists.map_err(not_pem)?, rule, path)
    }

    /// The lists that have run out: an event each. None while the clock cannot be trusted.
    pub fn outdated(&self, now: Now) -> Vec<Outdated> {
        if now.sync == ClockSync::Unsynced {
            return Vec::new();
        }
        let all = self.lists.iter().map(|(_, validity)| validity);
        all.filter_map(|Validity { issuer, until, .. }| {
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

/// The files of a folder in the order of their names, without hidden ones; or the one file.
fn files(place: &Path) -> Result<Vec<PathBuf>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { what: WHAT, path: place.to_owned(), source };
    if !place.is_dir() {
        return Ok(vec![place.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(place).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            files.push(entry.path());
        }
    }
    files.sort();
    match files.len() {
        1..=MAX_FILES => Ok(files),
        0 => Err(not_one(place, "the folder is empty".to_owned())),
        many => Err(not_one(place, format!("{many} files in the folder, at most {MAX_FILES}"))),
    }
}

fn not_one(path: &Path, detail: String) -> TlsError {
    TlsError::NotPem { what: WHAT, path: path.to_owned(), detail }
}

#[cfg(test)]
mod tests;
