//! What of a judgement leaves the gateway: who, by which advisory, how bad, and what is done.

use serde::{Deserialize, Serialize};

use super::library::Judged;
use super::{Action, Verdict};
use crate::fleet::documents::Stamp;
use crate::fleet::documents::own::text;

/// The most vulnerabilities of a finding that are named.
pub const MAX_CVES: usize = 8;
/// The longest reason, in bytes.
pub const MAX_REASON: usize = 320;
/// The longest identifier.
const MAX_ID: usize = 64;

/// A finding as it is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The device's id in the allowlist.
    pub device: String,
    /// `document.tracking.id` of the advisory, and its version.
    pub advisory: String,
    /// `document.tracking.version`.
    pub version: String,
    /// Whether the device is affected.
    pub verdict: Word,
    /// What is done.
    pub action: Done,
    /// Until when the risk is taken, with [`Done::Waived`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Stamp>,
    /// The highest base score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cvss: Option<String>,
    /// The vulnerabilities: [`MAX_CVES`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cves: Vec<String>,
    /// Why, in words.
    pub reason: String,
}

/// What is not clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// A person has to read the advisory.
    Review,
    /// It is about this device.
    Affected,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    /// It is told.
    Warned,
    /// Nothing of the device passes.
    Quarantined,
    /// A person has taken the risk.
    Waived,
}

impl Word {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Affected => "affected",
        }
    }
}

impl Done {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warned => "warned",
            Self::Quarantined => "quarantined",
            Self::Waived => "waived",
        }
    }
}

impl Told {
    /// What is told of a judgement; none: there is nothing to tell.
    pub fn of(judged: &Judged) -> Option<Self> {
        let finding = &judged.finding;
        let verdict = match finding.verdict {
            Verdict::Clear => return None,
            Verdict::Review => Word::Review,
            Verdict::Affected => Word::Affected,
        };
        let (action, until) = match &judged.action {
            Action::Nothing => return None,
            Action::Warn => (Done::Warned, None),
            Action::Quarantine { .. } => (Done::Quarantined, None),
            Action::Waived { until, .. } => (Done::Waived, Some(*until)),
        };
        Some(Self {
            device: text(&finding.device, MAX_ID),
            advisory: text(&finding.advisory, MAX_ID),
            version: text(&finding.version, MAX_ID),
            verdict,
            action,
            until,
            cvss: finding.cvss.map(|score| score.to_string()),
            cves: finding.cves.iter().take(MAX_CVES).map(|cve| text(cve, MAX_ID)).collect(),
            reason: text(&finding.reasons.join("; "), MAX_REASON),
        })
    }

    /// In a line, for a person.
    pub fn line(&self) -> String {
        let done = match (self.action, self.until) {
            (Done::Warned, _) => String::new(),
            (Done::Quarantined, _) => ", nothing of it passes".to_owned(),
            (Done::Waived, until) => {
                let until = until.map(|until| format!(" until {}", until.0)).unwrap_or_default();
                format!(", the risk is taken{until}")
            }
        };
        let word = match self.verdict {
            Word::Affected => "is affected by",
            Word::Review => "may be affected by",
        };
        format!("{} {word} advisory {}{done}: {}", self.device, self.advisory, self.reason)
    }
}
