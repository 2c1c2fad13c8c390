//! What is done about a finding.
//!
//! In: a finding, the policy of the site and the time. Out: nothing, a warning, quarantine, or that a person has
//! taken the risk until a day. A waiver that has run out counts for nothing, and so does every waiver while the
//! gateway does not know what time it is.

use serde::{Deserialize, Serialize};

use super::inventory::Device;
use super::matching::{Finding, Verdict};
use super::names;
use crate::fleet::documents::Stamp;
use crate::time::Wall;

/// The longest reason of a waiver, and the longest name of who gave it, in bytes.
const MAX_WORDS: usize = 400;

/// What a site does about findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// About a device that is affected.
    #[serde(default = "quarantine")]
    pub affected: Measure,
    /// About one that may be.
    #[serde(default = "warn")]
    pub review: Measure,
    /// Risks that a person has taken.
    #[serde(default)]
    pub waivers: Vec<Waiver>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { affected: Measure::Quarantine, review: Measure::Warn, waivers: Vec::new() }
    }
}

const fn quarantine() -> Measure {
    Measure::Quarantine
}

const fn warn() -> Measure {
    Measure::Warn
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// It is told.
    Warn,
    /// It is told, and nothing of the device is passed on.
    Quarantine,
}

/// A risk that a person has taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// `document.tracking.id` of the advisory.
    pub advisory: String,
    /// For what.
    #[serde(rename = "for")]
    pub scope: Scope,
    /// From this moment on it counts for nothing.
    pub until: Stamp,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// For what a waiver counts: `{ device = "pump-7" }` or `{ model = "Alaris 8015 PC unit" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One device, by its id in the inventory.
    Device(String),
    /// Every device of a model; case, order of words and marks do not count.
    Model(String),
}

/// What is done about one finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// It is told.
    Warn,
    /// It is told, and nothing of the device is passed on.
    Quarantine,
    /// It is told, and the risk is taken.
    Waived {
        /// Until when.
        until: Stamp,
        /// Why.
        reason: String,
        /// By whom.
        by: String,
    },
}

impl Policy {
    /// Whether every waiver says what for, why and who. The error is in words.
    pub fn check(&self) -> Result<(), String> {
        self.waivers.iter().try_for_each(Waiver::check)
    }

    /// What is done about a finding of a device. `now`: none while the gateway does not know it.
    pub fn decide(&self, finding: &Finding, device: &Device, now: Option<Wall>) -> Action {
        let measure = match finding.verdict {
            Verdict::Clear => return Action::Nothing,
            Verdict::Review => self.review,
            Verdict::Affected => self.affected,
        };
        let standing = self.waivers.iter().filter(|waiver| waiver.counts(finding, device, now));
        match (standing.max_by_key(|waiver| waiver.until), measure) {
            (Some(Waiver { until, reason, by, .. }), _) => {
                Action::Waived { until: *until, reason: reason.clone(), by: by.clone() }
            }
            (None, Measure::Warn) => Action::Warn,
            (None, Measure::Quarantine) => Action::Quarantine,
        }
    }
}

impl Waiver {
    fn check(&self) -> Result<(), String> {
        let (Scope::Device(scope) | Scope::Model(scope)) = &self.scope;
        let fields =
            [("advisory", &self.advisory), ("for", scope), ("reason", &self.reason), ("by", &self.by)];
        for (field, text) in fields {
            if text.trim().is_empty() || text.len() > MAX_WORDS {
                return Err(format!(
                    "the waiver of {:?} has a {field} of {} bytes: 1 to {MAX_WORDS}",
                    self.advisory,
                    text.len()
                ));
            }
        }
        Ok(())
    }

    fn counts(&self, finding: &Finding, device: &Device, now: Option<Wall>) -> bool {
        let is_meant = match &self.scope {
            Scope::Device(id) => *id == device.id && *id == finding.device,
            Scope::Model(model) => {
                let sorted = |text: &str| {
                    let mut words = names::words(text);
                    words.sort();
                    words
                };
                let wanted = sorted(model);
                !wanted.is_empty() && device.model.as_deref().is_some_and(|model| sorted(model) == wanted)
            }
        };
        let runs = now.is_some_and(|now| now < self.until.0);
        is_meant && runs && self.advisory == finding.advisory && self.check().is_ok()
    }
}
