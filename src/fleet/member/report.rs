//! What a member says of itself: the document for the operator, and lines for the local status.

use serde::{Deserialize, Serialize};

use super::boot::Locked;
use super::{Course, Member};
use crate::fleet::agent::Standing;
use crate::fleet::documents::reported::{self, Bad, Devices, Reported, Running, Seen, Spool, Word, text};
use crate::fleet::documents::{SCHEMA, Stamp};
use crate::fleet::trust::Freshness;
use crate::time::{ClockSync, Now, Wall};

/// What the gateway knows of itself beside its fleet.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The kernel's id of this boot: 32 hex digits.
    pub boot: String,
    /// The group of its topics, while nothing is known of the fleet.
    pub group: String,
    /// Until when its certificate holds, how its key is protected, and the chain.
    pub certificate: Option<reported::Certificate>,
    /// What waits for the broker.
    pub spool: Spool,
    /// How many devices are listed.
    pub listed: usize,
    /// Those that give nothing.
    pub silent: Vec<String>,
    /// What is not as it should be.
    pub health: Vec<String>,
}

/// The fleet's part of the local status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct View {
    /// The group that is listened to.
    pub group: String,
    /// The version of the root that is trusted.
    pub root: u64,
    /// The version of the bundle that runs, on trial or not; `null`: the files alone.
    pub bundle: Option<u64>,
    /// Where the gateway stands, in one word: that of the report.
    pub standing: String,
    /// The same in plain words.
    pub detail: String,
    /// The trial that is under way.
    pub trial: Option<TrialView>,
    /// What is wrong, in words.
    pub trouble: Option<String>,
}

/// A trial that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrialView {
    /// The bundle's version.
    pub bundle: u64,
    /// How long it still lasts.
    pub left_ms: u64,
    /// What does not hold yet.
    pub waits_for: Vec<String>,
}

impl Member {
    /// Whose topic the report belongs on: organisation and gateway.
    pub const fn recipient(&self) -> &crate::fleet::trust::Recipient {
        &self.recipient
    }

    /// What the operator is told.
    pub fn reported(&self, about: &About, now: &Now) -> Option<Reported> {
        let change = self.folder.change();
        let (trust, standing) = (self.agent.trust(), self.agent.standing(change, now));
        let marks = trust.marks();
        let bad = change.bad().last().map(|bad| Bad {
            version: bad.slot.version,
            sha256: Some(bad.slot.sha256),
            reason: text(&bad.reason, reported::MAX_DETAIL),
        });
        let freshness = match (&standing, self.agent.freshness()) {
            (Standing::Stale(_), _) => reported::Freshness::Expired,
            (_, Some(Freshness::Known)) => reported::Freshness::Known,
            (_, Some(Freshness::Unknown) | None) => reported::Freshness::Unknown,
        };
        let mut health: Vec<&str> = self.trouble.iter().map(String::as_str).collect();
        health.extend(about.health.iter().map(String::as_str));
        let own = Own {
            group: marks.group(),
            root: trust.root().version,
            seen: Seen { timestamp: marks.timestamp(), bundle: marks.bundle() },
            standing: self.standing(&standing),
            freshness,
        };
        let mut report = document(&self.recipient, own, about, &health, now)?;
        report.running = change
            .running()
            .filter(|_| !self.runs_files())
            .map(|slot| Running { version: slot.version, sha256: slot.sha256 });
        report.bad = bad;
        Some(report)
    }

    /// What the local status shows.
    pub fn view(&self, now: &Now) -> View {
        let change = self.folder.change();
        let standing = self.agent.standing(change, now);
        let trial = match (&self.course, change.on_trial()) {
            (Course::Trying(trial, _), Some(slot)) => Some(TrialView {
                bundle: slot.version,
                left_ms: u64::try_from(trial.ends_at().since(now.mono).as_millis()).unwrap_or(u64::MAX),
                waits_for: self.waits_for.iter().map(ToString::to_string).collect(),
            }),
            _ => None,
        };
        let said = self.standing(&standing);
        View {
            group: self.agent.trust().marks().group().to_owned(),
            root: self.agent.trust().root().version,
            bundle: change.effective().filter(|_| !self.runs_files()).map(|slot| slot.version),
            standing: said.word.as_str().to_owned(),
            detail: said.detail.unwrap_or_default(),
            trial,
            trouble: self.trouble.clone(),
        }
    }
}

impl Member {
    /// Whether the files run although a bundle once stood its trial.
    const fn runs_files(&self) -> bool {
        self.trouble.is_some() && matches!(self.course, Course::Rest)
    }

    /// Where the gateway stands: what is current may have stood its trial here, and not run.
    fn standing(&self, standing: &Standing) -> reported::Standing {
        match (standing, &self.trouble) {
            (Standing::Current, Some(trouble)) if self.runs_files() => {
                reported::Standing { word: Word::Failed, detail: Some(text(trouble, reported::MAX_DETAIL)) }
            }
            _ => standing_of(standing),
        }
    }
}

impl Locked {
    /// What the operator is told while nothing of the fleet can be believed.
    pub fn reported(&self, about: &About, now: &Now) -> Option<Reported> {
        let detail = Some(text(&self.reason, reported::MAX_DETAIL));
        let own = Own {
            group: &about.group,
            root: 0,
            seen: Seen::default(),
            standing: reported::Standing { word: Word::Locked, detail },
            freshness: reported::Freshness::Unknown,
        };
        let health: Vec<&str> = about.health.iter().map(String::as_str).collect();
        document(&self.recipient, own, about, &health, now)
    }

    /// What the local status shows.
    pub fn view(&self) -> View {
        View {
            standing: Word::Locked.as_str().to_owned(),
            detail: "nothing is taken from the fleet, the files run".to_owned(),
            trouble: Some(self.reason.clone()),
            ..View::default()
        }
    }
}

/// What the fleet's folder says.
struct Own<'a> {
    group: &'a str,
    root: u64,
    seen: Seen,
    standing: reported::Standing,
    freshness: reported::Freshness,
}

/// `None`: without its certificate nobody would believe it.
fn document(
    recipient: &crate::fleet::trust::Recipient,
    own: Own<'_>,
    about: &About,
    health: &[&str],
    now: &Now,
) -> Option<Reported> {
    let silent: Vec<String> = about.silent.iter().take(reported::MAX_SILENT).cloned().collect();
    let more = about.silent.len().saturating_sub(silent.len());
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let lines = health.iter().take(reported::MAX_HEALTH_LINES);
    Some(Reported {
        schema: SCHEMA,
        organisation: recipient.organisation.clone(),
        group: own.group.to_owned(),
        gateway: recipient.gateway.clone(),
        boot: about.boot.clone(),
        at: Stamp(now.wall),
        synced: now.sync == ClockSync::Synced,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        root: own.root,
        seen: own.seen,
        running: None,
        standing: own.standing,
        bad: None,
        freshness: own.freshness,
        certificate: about.certificate.clone()?,
        spool: about.spool,
        devices: Devices { listed: count(about.listed), silent, more: count(more) },
        health: lines.map(|line| text(line, reported::MAX_HEALTH)).collect(),
    })
}

/// The word of the report, and what there is to say beside it.
fn standing_of(standing: &Standing) -> reported::Standing {
    let word = match standing {
        Standing::Unheard => Word::Unheard,
        Standing::Current => Word::Current,
        Standing::Waits(_) => Word::Waits,
        Standing::Paused => Word::Paused,
        Standing::Fetches(_) => Word::Fetches,
        Standing::UnderWay(_) => Word::UnderWay,
        Standing::UpdateLock { .. } => Word::AlarmWait,
        Standing::Refused(..) => Word::NotBelieved,
        Standing::NotListed(..) => Word::NotListed,
        Standing::Failed(..) => Word::Failed,
        Standing::Stale(_) => Word::Stale,
    };
    reported::Standing { word, detail: Some(text(&plain(standing), reported::MAX_DETAIL)) }
}

/// Where a gateway stands, for a person.
fn plain(standing: &Standing) -> String {
    let from = |at: &Wall| format!("from {at} on");
    match standing {
        Standing::Unheard => "nothing was heard from the fleet since the start".to_owned(),
        Standing::Current => "what runs is what is current".to_owned(),
        Standing::Waits(at) => {
            let when = at.as_ref().map_or_else(|| "when its wave comes".to_owned(), from);
            format!("another bundle is current; this gateway's turn is {when}")
        }
        Standing::Paused => "another bundle is current, and its roll-out is paused".to_owned(),
        Standing::Fetches(version) => format!("bundle {version} is being fetched"),
        Standing::Refused(version, why) => format!("bundle {version} is not believed: it {why}"),
        Standing::NotListed(version, group) => {
            format!("bundle {version} of group {group} does not list this gateway")
        }
        Standing::UnderWay(version) => format!("bundle {version} is staged or on trial"),
        Standing::UpdateLock { version, is_long } => {
            let long = if *is_long { ", for more than four hours" } else { "" };
            format!("bundle {version} waits until no alarm is active{long}")
        }
        Standing::Failed(version, reason) => format!("bundle {version} was taken back: {reason}"),
        Standing::Stale(at) => format!("the last word of the fleet expired at {at}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_standing_that_asks_for_something_else_has_a_word_of_its_own() {
        let standings = [
            (Standing::UnderWay(8), "under-way"),
            (Standing::UpdateLock { version: 8, is_long: true }, "alarm-wait"),
            (Standing::Refused(8, "expired".to_owned()), "not-believed"),
            (Standing::NotListed(8, "icu-3".to_owned()), "not-listed"),
        ];
        for (standing, word) in standings {
            let said = standing_of(&standing);
            assert_eq!(said.word.as_str(), word);
            // As it is written in the report too.
            assert_eq!(serde_json::to_value(said.word).unwrap(), word);
        }
    }
}
