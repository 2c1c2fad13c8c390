//! Other devices while the intake runs.

use tokio::sync::watch;

use super::{Durable, Intake, Source};
use crate::device::{DeviceIndex, Settled, Ticket};
use crate::policy::{DeviceRule, Misplaced};
use crate::store;
use crate::time::Now;

/// Places that end and devices that begin, as one step.
#[derive(Debug)]
pub struct Change {
    /// Places of which nothing is taken any more.
    pub retired: Vec<DeviceIndex>,
    /// The place of the first device that begins: the one behind the last that ever was.
    pub first: DeviceIndex,
    /// The devices that begin, and how their sessions hear what became of their observations.
    pub listed: Vec<(DeviceRule, watch::Sender<Settled>)>,
}

impl<S: Durable> Intake<S> {
    /// Changes the allowlist. What was taken before is stored under the card under which it was taken; what
    /// comes of a retired place from here on is refused.
    pub fn handle_change(&mut self, change: Change, now: Now) -> Result<(), Misplaced> {
        let Change { retired, first, listed } = change;
        let places = (first.0..=u16::MAX).map(DeviceIndex);
        let (rules, told): (Vec<_>, Vec<_>) = listed.into_iter().unzip();
        let cards: Vec<_> = rules.iter().map(|rule: &DeviceRule| rule.card.clone()).collect();
        self.gate.handle_change(&retired, (first, rules), now)?;
        for (_, pending) in &mut self.lanes {
            for card in &cards {
                pending.builder.add_device(card);
            }
        }
        let sources = told.into_iter().map(|settled| Source { last: Ticket::default(), settled });
        self.sources.extend(places.zip(sources));
        for place in &retired {
            // Its session has ended, and nobody hears.
            self.sources.remove(place);
        }
        self.leaving.extend(retired);
        self.take_words(now);
        Ok(())
    }

    /// Other settings of the store. What waits already waits no longer than it was to.
    pub fn handle_settings(&mut self, config: &store::Config) {
        self.linger = config.linger;
        self.store.bound(config);
    }

    /// When the gate has nothing to say of retired places any more, their cards go with the last blocks that name
    /// them.
    pub(super) fn forget_leaving(&mut self) {
        for device in std::mem::take(&mut self.leaving) {
            for (_, pending) in &mut self.lanes {
                pending.builder.forget_device(device.0);
            }
        }
    }
}

#[cfg(test)]
mod tests;
