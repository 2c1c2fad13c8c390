//! A security advisory in CSAF 2.0 (OASIS Common Security Advisory Framework, version 2.0).
//!
//! In: the bytes of a document. Out: what a verdict needs of it. These documents are foreign: what this
//! program does not know is passed over, and what it does know has to be as the specification says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

pub use super::product_tree::{MAX_DEPTH, MAX_PRODUCTS, Product, VersionText};
use super::product_tree::{RawTree, flatten};

/// The most bytes that are looked at. The largest of the documents in `tests/data/csaf` has 41 kB.
pub const MAX_BYTES: usize = 1 << 20;
/// The most vulnerabilities of a document.
pub const MAX_VULNERABILITIES: usize = 1_024;
/// The longest name or identifier, in bytes.
pub const MAX_TEXT: usize = 1_024;
/// How much of a remediation's text is kept, in bytes.
pub const MAX_DETAILS: usize = 400;
/// The most remediations of a vulnerability that are kept.
const MAX_REMEDIATIONS: usize = 64;

/// Why a document could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has more than [`MAX_BYTES`].
    #[error("the advisory has {0} bytes, at most {MAX_BYTES} are read")]
    TooLarge(usize),
    /// It is no JSON, or nested too deep, or a field that is read has not the type of the specification.
    #[error("the advisory is not CSAF 2.0: {0}")]
    Shape(String),
    /// It is JSON, and its parts do not fit.
    #[error("the advisory {id} {why}")]
    Content {
        /// `document.tracking.id`.
        id: String,
        /// What does not fit.
        why: String,
    },
}

/// `document.tracking.status` (3.2.1.12.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// May change in every way.
    Draft,
    /// Will change.
    Interim,
    /// Stands.
    Final,
}

/// A CVSS base score in tenths: 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score(u8);

impl Score {
    /// From a base score, 0.0 to 10.0 with one decimal.
    pub fn read(value: f64) -> Option<Self> {
        (0..=100).find(|&tenths| (f64::from(tenths) / 10.0 - value).abs() < 0.001).map(Self)
    }

    /// In tenths.
    pub const fn tenths(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

/// What a vulnerability says of a product (3.2.3.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// `known_affected`.
    KnownAffected,
    /// `first_affected`: the first version of a release train that is.
    FirstAffected,
    /// `last_affected`: the last version of a release train that is.
    LastAffected,
    /// `under_investigation`.
    UnderInvestigation,
    /// `known_not_affected`.
    KnownNotAffected,
    /// `fixed` or `first_fixed`: the version that has the fix.
    Fixed,
    /// `recommended`: says which version to take, not whether it is affected.
    Recommended,
}

/// One vulnerability.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vulnerability {
    /// The CVE; without one another identifier, or the title.
    pub name: String,
    /// What is said of which product, by its id.
    pub status: BTreeMap<String, BTreeSet<Status>>,
    /// Base scores with the products that they are for; none named: for all.
    pub scores: Vec<(BTreeSet<String>, Score)>,
    /// What the maker offers.
    pub remediations: Vec<Remediation>,
}

/// What can be done (3.2.3.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remediation {
    /// `vendor_fix`, `mitigation`, `workaround`, `none_available`, `no_fix_planned`, or as the document says.
    pub category: String,
    /// In words, cut to [`MAX_DETAILS`].
    pub details: String,
    /// For which products; none named: for all.
    pub products: BTreeSet<String>,
}

/// An advisory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advisory {
    /// `document.tracking.id`: `ICSMA-19-164-01`.
    pub id: String,
    /// `document.tracking.version`.
    pub version: String,
    /// `document.tracking.status`.
    pub stage: Stage,
    /// `document.title`.
    pub title: String,
    /// `document.publisher.name`.
    pub publisher: String,
    /// Every product of the tree; two with one id stand for a combination of both.
    pub products: Vec<Product>,
    /// The vulnerabilities.
    pub vulnerabilities: Vec<Vulnerability>,
}

impl Advisory {
    /// Reads a document.
    pub fn read(bytes: &[u8]) -> Result<Self, Refused> {
        if bytes.len() > MAX_BYTES {
            return Err(Refused::TooLarge(bytes.len()));
        }
        let raw: RawAdvisory =
            serde_json::from_slice(bytes).map_err(|error| Refused::Shape(error.to_string()))?;
        let id: String = cut(&raw.document.tracking.id, 64);
        Self::check(raw).map_err(|why| Refused::Content { id, why })
    }

    fn check(raw: RawAdvisory) -> Result<Self, String> {
        let RawAdvisory { document, product_tree, vulnerabilities } = raw;
        if document.csaf_version != "2.0" {
            let version = cut(&document.csaf_version, 16);
            return Err(format!("is CSAF {version:?}, this program reads 2.0"));
        }
        let named = [
            ("document.tracking.id", &document.tracking.id),
            ("document.tracking.version", &document.tracking.version),
            ("document.title", &document.title),
            ("document.publisher.name", &document.publisher.name),
        ];
        for (field, text) in named {
            if text.trim().is_empty() || text.len() > MAX_TEXT {
                return Err(format!("has a {field} of {} bytes: 1 to {MAX_TEXT}", text.len()));
            }
        }
        if vulnerabilities.len() > MAX_VULNERABILITIES {
            let count = vulnerabilities.len();
            return Err(format!("has {count} vulnerabilities, at most {MAX_VULNERABILITIES}"));
        }
        let tree = product_tree.unwrap_or_default();
        let groups: BTreeMap<String, BTreeSet<String>> = tree
            .product_groups
            .iter()
            .map(|group| (group.group_id.clone(), group.product_ids.clone()))
            .collect();
        let mut products = flatten(tree)?;
        if products.is_empty() {
            // Without a tree the title is all that can name a product.
            products.push(Product { full_name: document.title.clone(), ..Product::default() });
        }
        let known: BTreeSet<&str> = products.iter().map(|product| product.id.as_str()).collect();
        let vulnerabilities: Vec<Vulnerability> =
            vulnerabilities.into_iter().map(|raw| raw.check(&groups)).collect::<Result<_, _>>()?;
        for id in vulnerabilities.iter().flat_map(|one| one.status.keys()) {
            if !known.contains(id.as_str()) {
                return Err(format!("speaks of a product {:?} that its tree does not have", cut(id, 64)));
            }
        }
        let RawDocument { tracking, title, publisher, csaf_version: _ } = document;
        let RawTracking { id, version, status } = tracking;
        Ok(Self { id, version, stage: status, title, publisher: publisher.name, products, vulnerabilities })
    }
}

/// Text cut at a character.
pub(super) fn cut(text: &str, most: usize) -> String {
    let end = (0..=most.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default();
    text.get(..end).unwrap_or_default().to_owned()
}

#[derive(Deserialize)]
struct RawAdvisory {
    document: RawDocument,
    #[serde(default)]
    product_tree: Option<RawTree>,
    #[serde(default)]
    vulnerabilities: Vec<RawVulnerability>,
}

#[derive(Deserialize)]
struct RawDocument {
    csaf_version: String,
    title: String,
    publisher: RawPublisher,
    tracking: RawTracking,
}

#[derive(Deserialize)]
struct RawPublisher {
    name: String,
}

#[derive(Deserialize)]
struct RawTracking {
    id: String,
    version: String,
    status: Stage,
}

#[derive(Deserialize)]
struct RawVulnerability {
    cve: Option<String>,
    title: Option<String>,
    #[serde(default)]
    ids: Vec<RawId>,
    #[serde(default)]
    product_status: RawStatus,
    #[serde(default)]
    scores: Vec<RawScore>,
    #[serde(default)]
    remediations: Vec<RawRemediation>,
}

#[derive(Deserialize)]
struct RawId {
    text: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawStatus {
    first_affected: Vec<String>,
    first_fixed: Vec<String>,
    fixed: Vec<String>,
    known_affected: Vec<String>,
    known_not_affected: Vec<String>,
    last_affected: Vec<String>,
    recommended: Vec<String>,
    under_investigation: Vec<String>,
}

#[derive(Deserialize)]
struct RawScore {
    #[serde(default)]
    products: BTreeSet<String>,
    cvss_v2: Option<RawCvss>,
    cvss_v3: Option<RawCvss>,
}

#[derive(Deserialize)]
struct RawCvss {
    #[serde(rename = "baseScore")]
    base_score: f64,
}

#[derive(Deserialize)]
struct RawRemediation {
    category: String,
    details: String,
    #[serde(default)]
    product_ids: BTreeSet<String>,
    #[serde(default)]
    group_ids: Vec<String>,
}

impl RawVulnerability {
    fn check(self, groups: &BTreeMap<String, BTreeSet<String>>) -> Result<Vulnerability, String> {
        let id = self.ids.into_iter().next().map(|id| id.text);
        let name = self.cve.or(id).or(self.title).unwrap_or_else(|| "without a name".to_owned());
        let mut scores = Vec::new();
        for score in self.scores {
            // The newer scale speaks where both do.
            let Some(cvss) = score.cvss_v3.or(score.cvss_v2) else { continue };
            let base = Score::read(cvss.base_score)
                .ok_or_else(|| format!("has a CVSS base score of {}: 0.0 to 10.0", cvss.base_score))?;
            scores.push((score.products, base));
        }
        let remediations = self.remediations.into_iter().take(MAX_REMEDIATIONS).map(|raw| {
            let of_groups = raw.group_ids.iter().filter_map(|group| groups.get(group)).flatten().cloned();
            Remediation {
                category: cut(&raw.category, 64),
                details: cut(&raw.details, MAX_DETAILS),
                products: raw.product_ids.into_iter().chain(of_groups).collect(),
            }
        });
        let (name, remediations) = (cut(&name, 128), remediations.collect());
        Ok(Vulnerability { name, status: self.product_status.by_product(), scores, remediations })
    }
}

impl RawStatus {
    fn by_product(self) -> BTreeMap<String, BTreeSet<Status>> {
        let lists = [
            (Status::FirstAffected, self.first_affected),
            (Status::Fixed, self.first_fixed),
            (Status::Fixed, self.fixed),
            (Status::KnownAffected, self.known_affected),
            (Status::KnownNotAffected, self.known_not_affected),
            (Status::LastAffected, self.last_affected),
            (Status::Recommended, self.recommended),
            (Status::UnderInvestigation, self.under_investigation),
        ];
        let mut found: BTreeMap<String, BTreeSet<Status>> = BTreeMap::new();
        for (status, ids) in lists {
            for id in ids {
                found.entry(id).or_default().insert(status);
            }
        }
        found
    }
}
