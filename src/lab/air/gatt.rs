//! The gateway's side of a peripheral: what it is asked, and what a connection begins and ends with.

use bytes::Bytes;

use super::account::Key;
use super::kinds::{BATTERY, CLOCK, Manner};
use super::peripheral::{Connection, Millis, Peripheral, SECOND};
use super::wire::Sent;
use crate::link::{Characteristic, LinkError, LinkEvent, NOT_OFFERED};

/// What an attempt to connect comes to.
pub(super) enum Attempt {
    /// It is not there: look again then.
    Wait(Millis),
    /// It takes until then, and whether it succeeds.
    Until(Millis, bool),
}

impl Peripheral {
    pub(super) fn attempt(&mut self) -> Attempt {
        if !self.advertises() {
            return Attempt::Wait(self.due());
        }
        if self.troubles.take_refusal() {
            return Attempt::Until(self.now + SECOND * (2 + self.draw.below(20)), false);
        }
        Attempt::Until(self.now + 200 + self.draw.below(1_500), true)
    }

    /// The attempt has come to its end.
    pub(super) fn connect(&mut self) -> Result<(), LinkError> {
        let what = self.kind.name.to_owned();
        if !self.advertises() {
            return Err(LinkError::Absent { what });
        }
        self.inbox.clear();
        self.account.connections += 1;
        let longest = if self.is_always_there() { 200 * SECOND } else { 12 * SECOND };
        let drop_at =
            self.troubles.cuts(self.now, &mut self.draw).then(|| self.now + self.draw.below(longest));
        let (last_act, tick_at) = (self.now, self.now + SECOND);
        self.link = Some(Connection { drop_at, last_act, tick_at, ..Connection::default() });
        Ok(())
    }

    /// The gateway lets go.
    pub(super) fn disconnect(&mut self) {
        self.link = None;
        self.inbox.clear();
    }

    /// What has arrived, in its order.
    pub(super) fn next(&mut self) -> Option<LinkEvent> {
        let (event, keys) = self.inbox.pop_front()?;
        if !self.body.is_other {
            let is_stream = self.kind.manner == Manner::Streamed;
            for key in &keys {
                self.account.note_arrival(key);
                // What is only sent has to be heard when it came; so has a clock that was read.
                let is_live = key.record.is_none() && self.is_in_segments();
                if is_stream || is_live || matches!(key.code, CLOCK | BATTERY) {
                    self.account.note_due(key);
                }
            }
        }
        Some(event)
    }

    pub(super) fn read(&mut self, of: Characteristic) {
        let strings = [(0x2A29, "Ward Works"), (0x2A24, self.kind.name), (0x2A26, "1.0")];
        let mut keys = Vec::new();
        let value = match (of.service, of.uuid) {
            (0x180A, 0x2A25) => Some(self.body.serial.clone().into_bytes()),
            (0x180A, uuid) => {
                strings.iter().find(|(known, _)| *known == uuid).map(|(_, text)| text.as_bytes().to_vec())
            }
            (0x1805, 0x2A2B) => {
                let stamp = self.body.stamp(self.now);
                let text = if stamp.text.is_empty() { "-".to_owned() } else { stamp.text.clone() };
                keys.push(Key { code: CLOCK, record: None, time: stamp.text.clone(), value: text });
                Some(stamp.current_time())
            }
            (0x180F, 0x2A19) => {
                let least = if self.body.is_other { 0 } else { 50 };
                let charge = least + u8::try_from(self.draw.below(50)).unwrap_or_default();
                keys.push(Key {
                    code: BATTERY,
                    record: None,
                    time: String::new(),
                    value: charge.to_string(),
                });
                Some(vec![charge])
            }
            (service, uuid) if service == self.kind.service => {
                let read = self.kind.read;
                self.facts(|facts| read(uuid, facts))
            }
            _ => None,
        };
        let answer = value.map(Bytes::from).ok_or_else(|| NOT_OFFERED.to_owned());
        self.send(Sent::Answer(LinkEvent::ReadDone(of, answer), keys));
    }

    pub(super) fn subscribe(&mut self, to: Characteristic) {
        let control = matches!(self.kind.manner, Manner::Kept { .. }) && to == self.of(0x2A52);
        let is_offered = control
            || self.kind.sends.contains(&to.uuid) && to.service == self.kind.service
            || to == (Characteristic { service: 0x180F, uuid: 0x2A19 });
        let answer = if is_offered { Ok(()) } else { Err(NOT_OFFERED.to_owned()) };
        if let Some(link) =
            self.link.as_mut().filter(|_| is_offered && self.now >= self.troubles.silent_until)
        {
            link.subscribed.insert(to);
        }
        self.send(Sent::Answer(LinkEvent::Subscribed(to, answer), Vec::new()));
    }
}
