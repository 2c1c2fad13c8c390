//! What is on the air between a peripheral and the gateway: in order, with a latency, cut into segments where it must be.

use bytes::Bytes;

use super::account::Key;
use super::kinds::{Count, LIVE, Manner, Part};
use super::peripheral::{Kept, Peripheral, SECOND, keyed};
use crate::link::{Characteristic, LinkEvent};

/// Octets of a value in one segment.
const SEGMENT: usize = 12;

/// Something on its way over the air.
pub(super) enum Sent {
    /// The answer to an operation.
    Answer(LinkEvent, Vec<Key>),
    Notify(Characteristic, Vec<u8>, Vec<Key>),
    /// Of a measurement that is forgotten when it is confirmed, or of the control point.
    Indicate(Characteristic, Vec<u8>, Vec<Key>, Option<u32>),
}

impl Peripheral {
    pub(super) const fn is_in_segments(&self) -> bool {
        matches!(self.kind.manner, Manner::Kept { count: Count::Record, .. })
    }

    pub(super) fn is_wanted_live(&self) -> bool {
        let live = self.of(LIVE);
        self.link.as_ref().is_some_and(|link| link.is_started && link.subscribed.contains(&live))
    }

    /// A sensor that was told to send what it measures keeps nothing of it; a live observation has no record
    /// number.
    pub(super) fn send_instead_of_keeping(&mut self, parts: Vec<Part>) {
        for part in parts {
            let (_, octets, keys) = keyed(part, None);
            let live = self.of(LIVE);
            self.send_segments(live, octets.get(4..).unwrap_or_default(), &keys);
        }
    }

    /// Sends a value in segments: bit 0 the first, bit 1 the last, then a counter that goes on.
    pub(super) fn send_segments(&mut self, of: Characteristic, octets: &[u8], keys: &[Key]) {
        let pieces = octets.len().div_ceil(SEGMENT);
        for (place, piece) in octets.chunks(SEGMENT).enumerate() {
            let is_last = place + 1 == pieces;
            let Some(link) = &mut self.link else { return };
            let [stored, live] = &mut link.segments;
            let counter = if of.uuid == LIVE { live } else { stored };
            let header = *counter << 2 | u8::from(is_last) << 1 | u8::from(place == 0);
            *counter = (*counter + 1) % 64;
            let value = [&[header], piece].concat();
            let keys = if is_last { keys.to_vec() } else { Vec::new() };
            self.send(Sent::Notify(of, value, keys));
        }
    }

    pub(super) fn send_live(&mut self, kept: &Kept) {
        for (uuid, octets, keys) in &kept.sends {
            let of = self.of(*uuid);
            if self.link.as_ref().is_some_and(|link| link.subscribed.contains(&of)) {
                self.send(Sent::Notify(of, octets.clone(), keys.clone()));
            }
        }
    }

    /// Puts something on the air, behind everything that is on it.
    pub(super) fn send(&mut self, sent: Sent) {
        let latency = if self.now < self.troubles.slow_until { 9 * SECOND } else { 60 };
        let latency = 5 + self.draw.below(latency);
        let is_silent = self.now < self.troubles.silent_until;
        let sent = match sent {
            Sent::Answer(event, keys) if is_silent => {
                let event = unanswered(event);
                // The limit of the link itself.
                let Some(link) = &mut self.link else { return };
                let last = link.wire.back().map_or(self.now, |(at, _)| *at);
                return link
                    .wire
                    .push_back((last.max(self.now) + 10 * SECOND, Sent::Answer(event, drop_all(keys))));
            }
            Sent::Notify(..) | Sent::Indicate(..) if is_silent => return,
            sent @ (Sent::Answer(..) | Sent::Notify(..) | Sent::Indicate(..)) => sent,
        };
        let Some(link) = &mut self.link else { return };
        let last = link.wire.back().map_or(self.now, |(at, _)| *at);
        link.last_act = link.last_act.max(self.now);
        link.wire.push_back((last.max(self.now + latency), sent));
    }

    /// The first thing on the air has arrived.
    pub(super) fn arrive(&mut self) {
        let Some((_, sent)) = self.link.as_mut().and_then(|link| link.wire.pop_front()) else { return };
        let loses =
            matches!(&sent, Sent::Indicate(_, _, _, Some(_))) && self.troubles.take_lost_confirmation();
        let delay = 5 + self.draw.below(60);
        let now = self.now;
        let Some(link) = &mut self.link else { return };
        match sent {
            Sent::Answer(event, keys) => self.inbox.push_back((event, keys)),
            Sent::Notify(of, octets, keys) => {
                self.inbox.push_back((LinkEvent::Value(of, Bytes::from(octets)), keys));
            }
            Sent::Indicate(of, octets, keys, which) => {
                self.inbox.push_back((LinkEvent::Value(of, Bytes::from(octets)), keys));
                if loses {
                    link.drop_at = Some(now + 1);
                } else {
                    link.confirms.push_back((now + delay, which));
                }
            }
        }
    }

    pub(super) fn handle_confirmation(&mut self) {
        let Some(link) = &mut self.link else { return };
        let Some((_, Some(number))) = link.confirms.pop_front() else { return };
        link.is_awaited = false;
        link.tick_at = self.now + 20;
        if self.body.memory.front().is_some_and(|kept| kept.number == number)
            && let Some(confirmed) = self.body.memory.pop_front()
        {
            self.owe(&confirmed);
        }
    }
}

/// What a link says of an operation that never ended.
fn unanswered(event: LinkEvent) -> LinkEvent {
    let reason = "no answer in 10 s".to_owned();
    match event {
        LinkEvent::ReadDone(of, _) => LinkEvent::ReadDone(of, Err(reason)),
        LinkEvent::Subscribed(to, _) => LinkEvent::Subscribed(to, Err(reason)),
        LinkEvent::Written(to, _) => LinkEvent::Written(to, Err(reason)),
        other @ (LinkEvent::Up | LinkEvent::Bytes(_) | LinkEvent::Value(..) | LinkEvent::Down(_)) => other,
    }
}

fn drop_all(keys: Vec<Key>) -> Vec<Key> {
    drop(keys);
    Vec::new()
}
