//! What is done about a finding.
//!
//! In: a finding, what the site has decided and the time. Out: nothing, a warning, quarantine, or that a person has
//! taken the risk until a day. An advisory alone takes nothing away: a quarantine keeps a patient's readings from
//! whoever waits for them, so it needs a rule that names the device, its model or its maker, why and who. A waiver
//! that has run out counts for nothing. While the gateway does not know what time it is no waiver counts either, and
//! one that would keep a quarantine off still does: nothing is taken away by a clock that was not set yet.

use serde::{Deserialize, Serialize};

use super::inventory::Device;
use super::matching::{Finding, Verdict};
use super::names::{self, Makers};
use crate::fleet::documents::Stamp;
use crate::time::Wall;

/// The longest reason of a rule, and the longest name of who made it, in bytes.
const MAX_WORDS: usize = 400;
/// The most rules of a kind.
const MAX_RULES: usize = 256;

/// What a site does about findings, beside telling them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Devices of which nothing passes while an advisory is about them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<Quarantine>,
    /// Risks that a person has taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<Waiver>,
}

/// Nothing passes of what this names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// `document.tracking.id` of the advisory; none: of any that says the device is affected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advisory: Option<String>,
    /// For what.
    #[serde(rename = "for")]
    pub scope: Scope,
    /// Also where the verdict is that a person has to read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub also_review: bool,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
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

/// For what a rule counts: `{ device = "pump-7" }`, `{ model = "Alaris 8015 PC unit" }` or `{ maker = "BD" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One device, by its id in the inventory.
    Device(String),
    /// Every device of a model; case, order of words and marks do not count.
    Model(String),
    /// Every device of a maker, under whichever of the names by which it goes.
    Maker(String),
}

/// What is done about one finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// It is told.
    Warn,
    /// It is told, and nothing of the device is passed on.
    Quarantine {
        /// Why.
        reason: String,
        /// By whom.
        by: String,
    },
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
    /// Whether it has no rule.
    pub const fn is_empty(&self) -> bool {
        self.quarantine.is_empty() && self.waivers.is_empty()
    }

    /// Whether every rule says what for, why and who. The error is in words.
    pub fn check(&self) -> Result<(), String> {
        for (what, count) in [("quarantine", self.quarantine.len()), ("waivers", self.waivers.len())] {
            if count > MAX_RULES {
                return Err(format!("has {count} rules of advisory_policy.{what}, at most {MAX_RULES}"));
            }
        }
        for Quarantine { advisory, scope, reason, by, also_review: _ } in &self.quarantine {
            let id = advisory.as_deref().unwrap_or("any");
            check_rule("quarantine", id, [("for", scope.text()), ("reason", reason), ("by", by)])?;
        }
        self.waivers.iter().try_for_each(Waiver::check)
    }

    /// Whether a device would be in quarantine if this advisory said that it is affected.
    pub fn would_keep_out(&self, advisory: &str, device: &Device, now: Option<Wall>) -> bool {
        let finding = Finding {
            device: device.id.clone(),
            advisory: advisory.to_owned(),
            version: String::new(),
            title: String::new(),
            verdict: Verdict::Affected,
            reasons: Vec::new(),
            cves: Vec::new(),
            cvss: None,
            remediations: Vec::new(),
        };
        matches!(self.decide(&finding, device, now), Action::Quarantine { .. })
    }

    /// Whether a rule has a device with this finding in quarantine, whatever is waived.
    pub fn wants_quarantine(&self, finding: &Finding, device: &Device) -> bool {
        finding.verdict != Verdict::Clear && self.quarantine.iter().any(|rule| rule.is_meant(finding, device))
    }

    /// Whether there is a waiver, and nobody knows whether it has run out.
    pub fn is_unclear(&self, finding: &Finding, device: &Device, now: Option<Wall>) -> bool {
        now.is_none() && self.waivers.iter().any(|waiver| waiver.is_meant(finding, device))
    }

    /// What is done about a finding of a device. `now`: none while the gateway does not know it.
    pub fn decide(&self, finding: &Finding, device: &Device, now: Option<Wall>) -> Action {
        if finding.verdict == Verdict::Clear {
            return Action::Nothing;
        }
        let meant = || self.waivers.iter().filter(|waiver| waiver.is_meant(finding, device));
        let running = meant().filter(|waiver| now.is_some_and(|now| now < waiver.until.0));
        if let Some(Waiver { until, reason, by, .. }) = running.max_by_key(|waiver| waiver.until) {
            return Action::Waived { until: *until, reason: reason.clone(), by: by.clone() };
        }
        let is_unclear = self.is_unclear(finding, device, now);
        match self.quarantine.iter().find(|rule| rule.is_meant(finding, device)) {
            Some(Quarantine { reason, by, .. }) if !is_unclear => {
                Action::Quarantine { reason: reason.clone(), by: by.clone() }
            }
            Some(_) | None => Action::Warn,
        }
    }
}

impl Scope {
    fn text(&self) -> &str {
        let (Self::Device(text) | Self::Model(text) | Self::Maker(text)) = self;
        text
    }

    fn has(&self, device: &Device) -> bool {
        match self {
            Self::Device(id) => *id == device.id,
            Self::Model(model) => {
                let sorted = |text: &str| {
                    let mut words = names::words(text);
                    words.sort();
                    words
                };
                let wanted = sorted(model);
                !wanted.is_empty() && device.model.as_deref().is_some_and(|model| sorted(model) == wanted)
            }
            Self::Maker(maker) => {
                let is_name = !names::words(maker).is_empty();
                let make = device.make.as_deref().filter(|make| !names::words(make).is_empty());
                is_name && make.is_some_and(|make| names::compare_makers(make, maker) == Makers::Same)
            }
        }
    }
}

impl Quarantine {
    fn is_meant(&self, finding: &Finding, device: &Device) -> bool {
        let is_so = finding.verdict == Verdict::Affected || self.also_review;
        let of = self.advisory.as_ref().is_none_or(|id| *id == finding.advisory);
        is_so && of && finding.device == device.id && self.scope.has(device)
    }
}

impl Waiver {
    fn check(&self) -> Result<(), String> {
        let Self { advisory, scope, reason, by, until: _ } = self;
        check_rule(
            "waiver",
            advisory,
            [("advisory", advisory.as_str()), ("for", scope.text()), ("reason", reason), ("by", by)],
        )
    }

    fn is_meant(&self, finding: &Finding, device: &Device) -> bool {
        self.advisory == finding.advisory
            && finding.device == device.id
            && self.scope.has(device)
            && self.check().is_ok()
    }
}

fn check_rule<'a>(
    what: &str,
    of: &str,
    fields: impl IntoIterator<Item = (&'static str, &'a str)>,
) -> Result<(), String> {
    for (field, text) in fields {
        if text.trim().is_empty() || text.len() > MAX_WORDS {
            return Err(format!(
                "the {what} of {of:?} has a {field} of {} bytes: 1 to {MAX_WORDS}",
                text.len()
            ));
        }
    }
    Ok(())
}
