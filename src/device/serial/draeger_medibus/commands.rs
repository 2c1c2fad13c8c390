//! The commands that the device sends to this side.
//!
//! In: a command's code. Out: exactly one reply, at once, and what follows from it for the conversation.
//! A command that this side does not know gets none and is told: what would have to be echoed to it
//! configures something, and this side does not even say that.

use super::queries::Query;
use super::{Medibus, Phase, START_PERIOD, queries};
use crate::device::serial::Faults;
use crate::device::{Action, FaultKind};
use crate::link::{LinkCommand, RequestId};
use crate::time::Mono;

impl Medibus {
    /// Answers a command of the device.
    pub(super) fn handle_command(&mut self, code: u8, now: Mono, faults: &mut Faults) {
        if self.phase == Phase::Listening {
            // In a capture of both directions they are the host's too, and say nothing.
            return;
        }
        let Some(answer) = queries::answer_to(code) else {
            let detail = format!("the device sent the command {code:02X}, which is not answered");
            faults.add(FaultKind::Unexpected, detail);
            return;
        };
        self.answer(answer);
        match code {
            0x51 => {
                if self.phase == Phase::Talking {
                    faults.add(FaultKind::Unexpected, "the device began the communication again (ICC)");
                }
                // An ICC of this side that is outstanding is answered yet.
                if self.asked.is_none_or(|asked| asked.query != Query::Start) {
                    self.asked = None;
                    self.handle_started(now);
                }
            }
            0x55 => {
                faults.add(FaultKind::Unexpected, "the device ended the communication (STOP)");
                self.start_again(now + START_PERIOD);
            }
            0x49 => self.set_due(Query::Clock, Some(now)),
            _ => {}
        }
    }

    pub(super) fn answer(&mut self, reply: RequestId) {
        if self.phase != Phase::Listening {
            self.actions.push_back(Action::Command(LinkCommand::Send(reply)));
        }
    }
}
