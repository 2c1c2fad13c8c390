//! What the blocks of a stream mean for the conversation.
//!
//! In: blocks. Out: their readings and curves; a fault for each that is none; the end of the stream when the
//! ventilator ends it.

use super::super::Faults;
use super::replies::{STANDBY, refusal};
use super::stream::Block;
use super::wire::body;
use super::{MaquetServoI, Phase, STREAM_AGAIN};
use crate::device::FaultKind;
use crate::time::Mono;

impl MaquetServoI {
    pub(super) fn handle_block(&mut self, block: &Block, now: Mono, faults: &mut Faults) {
        match block {
            Block::Curve(content) => self.take_curves(content, faults),
            Block::Values(letter, values) => self.take_values(*letter, values, faults),
            Block::Error(number) => self.handle_stream_error(*number, now, faults),
            Block::Text(span) => match body(span).as_deref() {
                Some("*") => {}
                Some(text) if text.starts_with("ER") => {
                    let number = text.get(2..).and_then(|digits| digits.parse().ok()).unwrap_or(0);
                    self.handle_stream_error(number, now, faults);
                }
                Some(_) | None => faults.add(FaultKind::Malformed, "a text within a stream"),
            },
            Block::Refused(length) => {
                faults
                    .add(FaultKind::Checksum, format!("the checksum of a block of {length} bytes is wrong"));
                self.handle_loss(now);
            }
            Block::TooLong(length) => {
                faults.add(FaultKind::Framing, format!("a block does not end within {length} bytes"));
                self.handle_loss(now);
            }
            Block::Noise(count) => {
                faults.add(FaultKind::Framing, format!("{count} bytes belong to no block"));
                self.handle_loss(now);
            }
            Block::Host => self.heard = None,
        }
    }

    /// What was lost can have been a block of alarms, and a stream tells an alarm only when it changes. So the
    /// stream is stopped for a round of questions.
    fn handle_loss(&mut self, now: Mono) {
        self.breath_phase = None;
        if matches!(self.phase, Phase::Streaming { .. }) {
            self.stream_due = now + STREAM_AGAIN;
            self.stop_stream(now);
        }
    }

    fn handle_stream_error(&mut self, number: u8, now: Mono, faults: &mut Faults) {
        let is_standby = number == STANDBY;
        if !is_standby {
            faults.add(FaultKind::Refused, refusal("RADC", number));
        }
        self.is_standby |= is_standby;
        if self.phase == Phase::Listening {
            self.heard = None;
            if is_standby {
                self.tell_state();
            }
            return;
        }
        self.stream_due = now + STREAM_AGAIN;
        if is_standby {
            self.tell_state();
        }
        self.stop_stream(now);
    }
}
