//! What an advisory means for a device.
//!
//! **Affected** needs all three: the maker, the name of the product and its version. **Clear** needs that one of
//! them is known not to match. What lies between is for a person: a version that is not understood, a name that
//! matches in part, a maker that is not known, a condition that no inventory holds.

use std::collections::BTreeSet;

use super::csaf::{Advisory, Product, Remediation, Score, Status, Vulnerability};
use super::inventory::Device;
use super::standing::{Standing, standings};

/// The most reasons and remediations that a finding holds.
const MAX_REASONS: usize = 16;

/// What an advisory means for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is not about this device.
    Clear,
    /// It may be: a person has to read it.
    Review,
    /// It is.
    Affected,
}

/// A verdict with its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The device's id in the inventory.
    pub device: String,
    /// `document.tracking.id`.
    pub advisory: String,
    /// `document.tracking.version`.
    pub version: String,
    /// `document.title`.
    pub title: String,
    /// What it means.
    pub verdict: Verdict,
    /// Why, in words, with what the document says and what the device says.
    pub reasons: Vec<String>,
    /// The vulnerabilities that lead to the verdict.
    pub cves: Vec<String>,
    /// The highest base score of those.
    pub cvss: Option<Score>,
    /// What the maker offers for those.
    pub remediations: Vec<Remediation>,
}

/// Judges one device by one advisory.
pub fn judge(device: &Device, advisory: &Advisory) -> Finding {
    let standings = standings(device, advisory);
    let mut judged: Vec<(&Vulnerability, Outcome<'_>)> =
        advisory.vulnerabilities.iter().map(|one| (one, outcome(one, &standings))).collect();
    let verdict = judged.iter().map(|(_, outcome)| outcome.verdict).max().unwrap_or(Verdict::Clear);
    let silent = unspoken(advisory, &standings);
    if verdict == Verdict::Clear && !silent.is_empty() {
        return finding(device, advisory, Verdict::Review, silent);
    }
    judged.retain(|(_, outcome)| outcome.verdict == verdict);
    let mut reasons: Vec<String> = Vec::new();
    for reason in judged.iter().flat_map(|(_, outcome)| &outcome.reasons) {
        if reasons.len() < MAX_REASONS && !reasons.contains(reason) {
            reasons.push(reason.clone());
        }
    }
    if reasons.is_empty() {
        reasons.push(nothing_named(device, advisory));
    }
    let mut found = finding(device, advisory, verdict, reasons);
    if verdict == Verdict::Clear {
        return found;
    }
    for (vulnerability, outcome) in judged {
        let concerns = |products: &BTreeSet<String>| {
            products.is_empty() || outcome.products.iter().any(|id| products.contains(*id))
        };
        found.cves.push(vulnerability.name.clone());
        let scores = vulnerability.scores.iter().filter(|(products, _)| concerns(products));
        found.cvss = found.cvss.max(scores.map(|(_, score)| *score).max());
        for remedy in vulnerability.remediations.iter().filter(|remedy| concerns(&remedy.products)) {
            let is_known = found.remediations.iter().any(|known| known.details == remedy.details);
            if found.remediations.len() < MAX_REASONS && !is_known {
                found.remediations.push(remedy.clone());
            }
        }
    }
    found
}

fn finding(device: &Device, advisory: &Advisory, verdict: Verdict, reasons: Vec<String>) -> Finding {
    Finding {
        device: device.id.clone(),
        advisory: advisory.id.clone(),
        version: advisory.version.clone(),
        title: advisory.title.clone(),
        verdict,
        reasons,
        cves: Vec::new(),
        cvss: None,
        remediations: Vec::new(),
    }
}

/// Products of the tree that no vulnerability says a word about, and that the device may be.
fn unspoken(advisory: &Advisory, standings: &[(&Product, Standing)]) -> Vec<String> {
    let spoken: BTreeSet<&str> =
        advisory.vulnerabilities.iter().flat_map(|one| one.status.keys()).map(String::as_str).collect();
    let silent =
        standings.iter().filter(|(product, _)| !product.is_combined && !spoken.contains(product.id.as_str()));
    let reasons = silent.filter_map(|(product, standing)| match standing {
        Standing::Meant(_) | Standing::Alike(_) | Standing::Unsure(_) => Some(format!(
            "the advisory lists {:?} and does not say whether it is affected",
            product.full_name
        )),
        Standing::Outside(_) | Standing::Older(_) | Standing::Newer(_) | Standing::Elsewhere => None,
    });
    reasons.take(MAX_REASONS).collect()
}

fn nothing_named(device: &Device, advisory: &Advisory) -> String {
    let vendors: BTreeSet<&str> =
        advisory.products.iter().filter_map(|product| product.vendor.as_deref()).take(MAX_REASONS).collect();
    let vendors = vendors.into_iter().collect::<Vec<_>>().join(", ");
    let (make, model) =
        (device.make.as_deref().unwrap_or("unknown"), device.model.as_deref().unwrap_or("unknown"));
    format!(
        "no product of the advisory (of {vendors}) is named like this device: make {make:?}, model {model:?}"
    )
}

/// What one vulnerability means for a device.
struct Outcome<'a> {
    verdict: Verdict,
    reasons: Vec<String>,
    products: BTreeSet<&'a str>,
}

fn outcome<'a>(vulnerability: &Vulnerability, standings: &'a [(&'a Product, Standing)]) -> Outcome<'a> {
    let mut hits = Outcome { verdict: Verdict::Affected, reasons: Vec::new(), products: BTreeSet::new() };
    let mut doubts = Outcome { verdict: Verdict::Review, reasons: Vec::new(), products: BTreeSet::new() };
    let mut others = Outcome { verdict: Verdict::Clear, reasons: Vec::new(), products: BTreeSet::new() };
    // The maker says of exactly this product and version that it is not affected, or that it has the fix.
    let mut exempt: Option<String> = None;
    let mut only_names = true;
    for (product, standing) in standings {
        let Some(statuses) = vulnerability.status.get(&product.id) else { continue };
        for status in statuses {
            let (list, reason) = match (status, standing) {
                (Status::KnownNotAffected | Status::Fixed, Standing::Meant(reason)) => {
                    exempt = Some(format!("{reason}, which the advisory says is not affected or fixed"));
                    continue;
                }
                (Status::Recommended | Status::KnownNotAffected | Status::Fixed, _)
                | (_, Standing::Elsewhere) => continue,
                (
                    Status::UnderInvestigation,
                    Standing::Meant(reason) | Standing::Alike(reason) | Standing::Unsure(reason),
                ) => {
                    only_names &= matches!(standing, Standing::Alike(_));
                    (&mut doubts, format!("{reason}; the maker is still looking into it"))
                }
                (Status::FirstAffected, Standing::Newer(reason))
                | (Status::LastAffected, Standing::Older(reason)) => {
                    only_names = false;
                    (&mut doubts, format!("{reason}; the advisory names only the end of what is affected"))
                }
                (_, Standing::Outside(reason) | Standing::Older(reason) | Standing::Newer(reason)) => {
                    (&mut others, reason.clone())
                }
                (_, Standing::Meant(reason)) => (&mut hits, reason.clone()),
                (_, Standing::Unsure(reason) | Standing::Alike(reason)) => {
                    only_names &= matches!(standing, Standing::Alike(_));
                    (&mut doubts, reason.clone())
                }
            };
            list.reasons.push(reason);
            list.products.insert(&product.id);
        }
    }
    match (hits.reasons.is_empty(), exempt) {
        (false, None) => hits,
        (false, Some(exempt)) => {
            hits.reasons.push(format!("the advisory contradicts itself: {exempt}"));
            Outcome { verdict: Verdict::Review, ..hits }
        }
        (true, Some(exempt)) if doubts.reasons.is_empty() || only_names => {
            Outcome { reasons: vec![exempt], ..others }
        }
        (true, _) if !doubts.reasons.is_empty() => doubts,
        (true, _) => others,
    }
}
