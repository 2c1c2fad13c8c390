//! The control points of a peripheral: its Record Access Control Point (GATT Specification Supplement), which is
//! all that may be written here but the start of a health sensor's live observations.

use super::kinds::{Count, Manner, SENSOR_CONTROL};
use super::peripheral::{Kept, Peripheral, Transfer};
use super::wire::Sent;
use crate::link::{Characteristic, LinkEvent};

const REPORT: u8 = 0x01;
const DELETE: u8 = 0x02;
const ABORT: u8 = 0x03;
const NUMBER: u8 = 0x04;

const SUCCESS: u8 = 0x01;
const OPERATOR_NOT_SUPPORTED: u8 = 0x04;
const OP_CODE_NOT_SUPPORTED: u8 = 0x02;
const NO_RECORDS: u8 = 0x06;

impl Peripheral {
    /// Takes a write.
    pub(super) fn write(&mut self, to: Characteristic, octets: &[u8]) {
        if self.is_in_segments() && to == self.of(SENSOR_CONTROL) {
            return self.begin_live(octets);
        }
        let refusal = self.refusal(to, octets);
        let words = |code: u8| format!("Operation failed with ATT error: 0x{code:02x}");
        let answer = refusal.map_or(Ok(()), |code| Err(words(code)));
        self.send(Sent::Answer(LinkEvent::Written(to, answer), Vec::new()));
        if refusal.is_none() && self.now >= self.troubles.silent_until {
            self.obey(octets);
        }
    }

    /// The control point of a health sensor: live observations, or none (as Philips' simulator has it).
    fn begin_live(&mut self, octets: &[u8]) {
        let control = self.of(SENSOR_CONTROL);
        self.send(Sent::Answer(LinkEvent::Written(control, Ok(())), Vec::new()));
        let code = match octets {
            [is_wanted @ (1 | 2)] => {
                if let Some(link) = self.link.as_mut().filter(|_| self.now >= self.troubles.silent_until) {
                    link.is_started = *is_wanted == 1;
                }
                0x80
            }
            _ => 0x82,
        };
        self.send(Sent::Indicate(control, vec![code], Vec::new(), None));
    }

    /// The ATT error with which it is refused.
    fn refusal(&mut self, to: Characteristic, octets: &[u8]) -> Option<u8> {
        let Manner::Kept { .. } = self.kind.manner else { return Some(0x03) };
        if to != self.of(0x2A52) {
            return Some(0x03);
        }
        let forgets = self.troubles.take_forgotten_subscriptions();
        let is_busy = self.troubles.take_busy();
        let data: Vec<Characteristic> = self.kind.sends.iter().map(|uuid| self.of(*uuid)).collect();
        let link = self.link.as_mut()?;
        if forgets {
            link.subscribed.clear();
        }
        link.is_busy |= is_busy;
        if !link.subscribed.contains(&to) || !data.iter().all(|of| link.subscribed.contains(of)) {
            return Some(0xFD);
        }
        let is_abort = octets.first() == Some(&ABORT);
        if is_abort {
            link.is_busy = false;
        }
        (!is_abort && (link.is_busy || link.transfer.is_some())).then_some(0xFE)
    }

    fn obey(&mut self, octets: &[u8]) {
        let Some(&asked) = octets.first() else { return };
        if asked == ABORT {
            if let Some(link) = &mut self.link {
                link.transfer = None;
            }
            return self.respond(asked, SUCCESS);
        }
        let Some(chosen) = self.chosen(octets.get(1..).unwrap_or_default()) else {
            return self.respond(asked, OPERATOR_NOT_SUPPORTED);
        };
        match asked {
            NUMBER => {
                let octets = if self.is_in_segments() { 4 } else { 2 };
                let count = chosen.len().to_le_bytes();
                self.say([&[5, 0], count.get(..octets).unwrap_or_default()].concat());
            }
            REPORT | DELETE if chosen.is_empty() => self.respond(asked, NO_RECORDS),
            REPORT => {
                let next_at = self.now + 30;
                if let Some(link) = &mut self.link {
                    link.transfer = Some(Transfer { left: chosen.into(), next_at });
                    link.tick_at_most(next_at);
                }
            }
            DELETE => {
                for kept in &chosen {
                    self.body.memory.retain(|known| known.number != kept.number);
                    self.owe(kept);
                }
                self.respond(asked, SUCCESS);
            }
            _ => self.respond(asked, OP_CODE_NOT_SUPPORTED),
        }
    }

    /// The records that an operator and its operand name; `None` for what it does not know.
    fn chosen(&self, operator: &[u8]) -> Option<Vec<Kept>> {
        let Manner::Kept { count, .. } = self.kind.manner else { return None };
        let all = self.body.memory.iter();
        match (operator, count) {
            ([1], _) => Some(all.cloned().collect()),
            ([3, 1, low, high], Count::Sequence | Count::Minutes) => {
                let first = u32::from(u16::from_le_bytes([*low, *high]));
                Some(all.filter(|kept| kept.number >= first).cloned().collect())
            }
            ([2, 1, low, high], Count::Sequence | Count::Minutes) => {
                let last = u32::from(u16::from_le_bytes([*low, *high]));
                Some(all.filter(|kept| kept.number <= last).cloned().collect())
            }
            ([3, 1, a, b, c, d], Count::Record) => {
                let first = u32::from_le_bytes([*a, *b, *c, *d]);
                Some(all.filter(|kept| kept.number >= first).cloned().collect())
            }
            _ => None,
        }
    }

    fn respond(&mut self, asked: u8, code: u8) {
        self.say(vec![6, 0, asked, code]);
    }

    fn say(&mut self, octets: Vec<u8>) {
        let control = self.of(0x2A52);
        self.send(Sent::Indicate(control, octets, Vec::new(), None));
    }

    /// Sends the next record of a transfer, or that this was all.
    pub(super) fn handle_transfer(&mut self) {
        let Manner::Kept { count, .. } = self.kind.manner else { return };
        let (now, pace) = (self.now, 15 + self.draw.below(50));
        let is_silent = now < self.troubles.silent_until;
        let is_awaited = self.is_awaited();
        let Some(link) = self.link.as_mut() else { return };
        let Some(transfer) =
            link.transfer.as_mut().filter(|transfer| !is_silent && transfer.next_at <= now && !is_awaited)
        else {
            return;
        };
        let next = transfer.left.pop_front();
        transfer.next_at = now + pace;
        link.tick_at_most(now + pace);
        match next {
            Some(_) if count == Count::Nothing => self.indicate_oldest(),
            Some(kept) => {
                for (uuid, octets, keys) in kept.sends {
                    let of = self.of(uuid);
                    if self.is_in_segments() {
                        self.send_segments(of, &octets, &keys);
                    } else {
                        self.send(Sent::Notify(of, octets, keys));
                    }
                }
            }
            None => {
                link.transfer = None;
                self.respond(REPORT, SUCCESS);
                self.overtake();
            }
        }
    }

    /// On D-Bus the end of a transfer may come before its last record.
    fn overtake(&mut self) {
        let overtakes = self.draw.in_eight(1);
        let Some(link) = self.link.as_mut().filter(|_| overtakes) else { return };
        if let Some(last) = link.wire.len().checked_sub(1).filter(|last| *last > 0) {
            let is_record = matches!(link.wire.get(last - 1), Some((_, Sent::Notify(..))));
            if is_record {
                link.wire.swap(last - 1, last);
            }
        }
    }
}
