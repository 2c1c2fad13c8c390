//! What was told of advisories and of the end of support, and which devices are in quarantine: edges, not levels.
//!
//! In: judgements, the devices, the time. Out: security events, and the devices of which nothing is to pass. Pure. It
//! is kept with the inventory, so a restart tells nothing twice and lifts no quarantine. What never happens: an event
//! ends, or a quarantine is lifted, because a document has not come yet, or because the time is not known.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::device::observation::Phase;
use crate::fleet::advisories::inventory::{Device, Support};
use crate::fleet::advisories::library::Judged;
use crate::fleet::advisories::told::{Done, Told};
use crate::fleet::advisories::{Action, Verdict};
use crate::policy::event::{Detection, Event, MAX_DETAIL};
use crate::policy::hold::{Hold, Holds};
use crate::time::{ClockSync, Now, Wall};

/// The most advisories that an event names.
const NAMED: usize = 4;

/// What stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Standing {
    /// Devices that are affected, and by which advisories.
    affected: BTreeMap<String, BTreeSet<String>>,
    /// Devices whose support has ended.
    unsupported: BTreeSet<String>,
    /// Devices in quarantine.
    pub holds: Holds,
}

impl Standing {
    /// Whether nothing does.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Which devices are in quarantine from here on. `keeps`: whether one of before stays so.
    pub fn handle_holds(&mut self, judged: &[Judged], keeps: impl Fn(&str, &Hold) -> bool) {
        let mut holds = Holds::new();
        for Judged { finding, action, .. } in judged {
            if let Action::Quarantine { reason, by } = action {
                let (advisory, reason) = (finding.advisory.clone(), format!("{reason} ({by})"));
                // The worst comes first.
                holds.entry(finding.device.clone()).or_insert(Hold { advisory, reason });
            }
        }
        for (device, hold) in std::mem::take(&mut self.holds) {
            if !holds.contains_key(&device) && keeps(&device, &hold) {
                holds.insert(device, hold);
            }
        }
        self.holds = holds;
    }

    /// What is to be told. `is_settled`: all documents have come. A waiver ends it until it has run out; where nobody
    /// knows whether it has, what was told stands and nothing is told.
    pub fn handle_judgement(&mut self, judged: &[Judged], is_settled: bool, at: Now) -> Vec<Event> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut waived = found.clone();
        let affected = judged.iter().filter(|one| one.finding.verdict == Verdict::Affected);
        for Judged { finding, action, is_unclear } in affected {
            let (device, advisory) = (&finding.device, &finding.advisory);
            let was_told = self.affected.get(device).is_some_and(|known| known.contains(advisory));
            if matches!(action, Action::Waived { .. }) {
                waived.entry(device.clone()).or_default().insert(advisory.clone());
            } else if was_told || !is_unclear {
                found.entry(device.clone()).or_default().insert(advisory.clone());
            }
        }
        let mut events = Vec::new();
        for (device, advisories) in &found {
            let phase = match self.affected.get(device) {
                None => Phase::Start,
                Some(known) if known != advisories => Phase::Update,
                Some(_) => continue,
            };
            events.push(event(Detection::Advisory, phase, device, &by(advisories), at));
        }
        for (device, advisories) in std::mem::take(&mut self.affected) {
            if found.contains_key(&device) {
                continue;
            }
            let left: BTreeSet<_> = match waived.get(&device) {
                Some(waived) => advisories.difference(waived).cloned().collect(),
                None => advisories.clone(),
            };
            if left.is_empty() {
                let detail = format!("a person has taken the risk ({})", by(&advisories));
                events.push(event(Detection::Advisory, Phase::End, &device, &detail, at));
            } else if is_settled {
                let detail = format!("no advisory of the fleet says so any more ({})", by(&advisories));
                events.push(event(Detection::Advisory, Phase::End, &device, &detail, at));
            } else {
                found.insert(device, left);
            }
        }
        self.affected = found;
        events
    }

    /// What is to be told of the end of support.
    pub fn handle_support(&mut self, devices: &[Device], at: Now) -> Vec<Event> {
        if at.sync != ClockSync::Synced {
            return Vec::new();
        }
        let ended = devices.iter().filter_map(|device| match device.support(at.wall)? {
            Support::Ended(_) => Some((device.id.clone(), device.end_of_support?)),
            Support::Ending(_) => None,
        });
        let ended: BTreeMap<_, _> = ended.collect();
        let begun = ended.iter().filter(|(id, _)| !self.unsupported.contains(*id));
        let mut events: Vec<Event> = begun
            .map(|(id, day)| event(Detection::Support, Phase::Start, id, &format!("it ended on {day}"), at))
            .collect();
        let over = self.unsupported.iter().filter(|id| !ended.contains_key(*id));
        let detail = "it is not listed any more, or with another day";
        events.extend(over.map(|id| event(Detection::Support, Phase::End, id, detail, at)));
        self.unsupported = ended.into_keys().collect();
        events
    }
}

/// When something may be otherwise though nothing else is: a waiver runs out, a support ends.
pub fn next_edge(told: &[Told], devices: &[Device], now: Wall) -> Option<Wall> {
    let waivers = told.iter().filter(|one| one.action == Done::Waived).filter_map(|one| Some(one.until?.0));
    let ends = devices.iter().filter_map(|device| Some(device.end_of_support?.start()));
    waivers.chain(ends).filter(|at| *at > now).min()
}

/// Of the devices whose support has ended or soon will, in lines.
pub fn support_lines(devices: &[Device], now: Wall) -> Vec<String> {
    let line = |device: &Device| {
        let (id, day) = (&device.id, device.end_of_support?);
        Some(match device.support(now)? {
            Support::Ending(days) => format!("{id}: the maker's support ends on {day}, in {days} day(s)"),
            Support::Ended(_) => format!("{id}: the maker's support ended on {day}"),
        })
    };
    devices.iter().filter_map(line).collect()
}

fn by(advisories: &BTreeSet<String>) -> String {
    let mut words = advisories.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if let Some(more) = advisories.len().checked_sub(NAMED).filter(|more| *more > 0) {
        words = format!("{words} and {more} more");
    }
    words
}

fn event(detection: Detection, phase: Phase, device: &str, detail: &str, at: Now) -> Event {
    let detail = crate::fleet::documents::own::text(detail, MAX_DETAIL);
    Event { detection, phase, device: device.to_owned(), detail, at }
}

#[cfg(test)]
mod tests;
