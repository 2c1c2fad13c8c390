//! The allowlist changes while the gate is open.
//!
//! In: which places end, which devices begin. Out: the same gate, with the new devices behind all that it ever
//! had. A place belongs to one entry of the allowlist for the whole run: what changed of a device is another
//! entry, and has another place. So whatever still comes from a session of before is refused, and nothing can
//! be said under a card that is not the one under which it was read.
//!
//! A device that goes on under the same id goes on counting, as its sequence numbers count within the run. A
//! quarantine goes on too while the same identity is expected: another setting does not make another device
//! the right one. So does a silence, and the time until one, while it is the same asset: nothing was heard of it. What
//! was told to begin and cannot be seen to end any more is told to end: each alarm of the device that is on (a driver
//! that finds it still on says so anew), a silence or a quarantine of a device that does not go on.

use std::sync::Arc;

use super::event::{Detection, Event, Word};
use super::state::DeviceState;
use super::{DeviceRule, Gatekeeper, Place, hold};
use crate::device::DeviceIndex;
use crate::device::observation::Phase;
use crate::time::Now;

/// A change that does not fit to what the gate has: nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the allowlist has {has} places, the change counts from {first}: a defect of this program")]
pub struct Misplaced {
    /// How many places there are.
    pub has: usize,
    /// Where the change wants the first of its devices.
    pub first: u16,
}

impl Gatekeeper {
    /// Takes places off the allowlist and puts devices onto it, the first of them at `first`, which must be the
    /// place behind the last; where none is put there it says nothing, and need not be a place. To be called when all that was reported of the retired places was handled.
    pub fn handle_change(
        &mut self,
        retired: &[DeviceIndex],
        (first, listed): (DeviceIndex, Vec<DeviceRule>),
        now: Now,
    ) -> Result<(), Misplaced> {
        if !listed.is_empty() && usize::from(first.0) != self.given {
            return Err(Misplaced { has: self.given, first: first.0 });
        }
        for device in retired {
            self.retire(*device, &listed, now);
        }
        for (place, rule) in (first.0..=u16::MAX).zip(listed) {
            let mut known = self.places.values().rev();
            let before = known.find(|before| before.rule.card.id == rule.card.id);
            let before = before.map(|Place { rule, state }| (rule.as_ref(), state));
            let counted = self.counted.get(&rule.card.id).copied().unwrap_or_default();
            let mut state = DeviceState::listed(&rule, (before, counted), now);
            let goes_on =
                before.filter(|(before, _)| expects_the_same(before, &rule)).map(|(_, state)| state);
            if state.inherit(self.hold_of(&rule), goes_on) {
                self.words.push_back(hold::told(&rule, Phase::Start, now));
            }
            self.places.insert(DeviceIndex(place), Place { rule: Arc::new(rule), state });
            self.given += 1;
        }
        Ok(())
    }

    /// Nothing of what was taken off the allowlist is said any more: only how far its numbers went is remembered.
    pub(super) fn forget_retired(&mut self) {
        let counted = &mut self.counted;
        self.places.retain(|_, Place { rule, state }| {
            if state.is_retired() {
                let count = counted.entry(rule.card.id.clone()).or_default();
                *count = state.admitted().max(*count);
            }
            !state.is_retired()
        });
    }

    fn retire(&mut self, device: DeviceIndex, listed: &[DeviceRule], now: Now) {
        let Some(Place { rule, state }) = self.places.get_mut(&device) else { return };
        let next = listed.iter().find(|next| next.card.id == rule.card.id);
        let goes_on = next.is_some_and(|next| is_watched_on(rule, next));
        let over = state.handle_retired(goes_on, (device, now));
        self.words.extend(over.into_iter().map(Word::Of));
        let event = |detection, detail: &str| {
            let (device, detail) = (rule.card.id.clone(), detail.to_owned());
            Word::Event(Event { detection, phase: Phase::End, device, detail, at: now })
        };
        if next.is_none_or(|next| !expects_the_same(rule, next)) && state.forget_quarantine() {
            let detail = "its entry in the allowlist was taken away or expects another device";
            self.words.push_back(event(Detection::Identity, detail));
        }
        if next.is_none() && state.forget_hold() {
            self.words.push_back(hold::told(rule, Phase::End, now));
        }
        if next.is_none() && state.forget_insecure() {
            let detail = "its entry in the allowlist was taken away";
            self.words.push_back(event(Detection::Bond, detail));
        }
    }
}

/// Whether the one is the same asset under the same name as the other, and still to be missed when it is quiet.
fn is_watched_on(one: &DeviceRule, other: &DeviceRule) -> bool {
    one.card.pseudonym == other.card.pseudonym && expects_the_same(one, other) && other.quiet.is_some()
}

/// Whether what was found of the one says something of the other.
pub(super) fn expects_the_same(one: &DeviceRule, other: &DeviceRule) -> bool {
    one.expects == other.expects
}

#[cfg(test)]
mod tests;
