//! What is published on a connection, and what its answers mean.

use futures_util::FutureExt as _;

use super::{Driver, FAILURE, Replies, Sent, Trouble};
use crate::uplink::Subscriber;
use crate::uplink::mqtt::{Link, Reply};
use crate::uplink::session::{Answer, Outcome};

impl Driver {
    /// Starts whatever may be started, and looks whether the connection is wedged.
    pub(super) fn publish(&mut self, link: &Link, replies: &mut Replies) -> Result<(), Trouble> {
        let now = self.clock.now().mono;
        if self.shared.lock().session.poll_rewind(now) {
            replies.clear();
            self.shared.restart(true);
        }
        if self.turn.proof_due().is_some_and(|due| due <= now) {
            return Err(self.lost("it answers nothing that is sent to it").into());
        }
        if let Some(age) = self.shared.lock().session.stalled(now) {
            return Err(Trouble::Stalled { broker: self.broker(), seconds: age.as_secs() });
        }
        let beats = self.shared.lock().session.poll_heartbeat(now);
        if beats {
            match self.beat(link) {
                Some(reply) => replies.push(Box::pin(reply.map(|reply| (Sent::Heartbeat, reply)))),
                // It is not kept for later: the next one says more.
                None => self.shared.lock().session.handle_heartbeat(),
            }
        }
        // Before the readings: they would leave no place.
        self.correspond(link);
        let mut started = false;
        loop {
            let next = self.shared.lock().session.poll_publish(now);
            let Some((ticket, parcel)) = next else { break };
            let Some(reply) = link.publish(&parcel) else {
                return Err(self.lost("it takes no more publishes").into());
            };
            self.report.lane(parcel.stream).published += 1;
            replies.push(Box::pin(reply.map(move |reply| (Sent::Parcel(ticket), reply))));
            started = true;
        }
        if started {
            self.shared.wake_feeder();
        }
        Ok(())
    }

    /// Sends a heartbeat.
    pub(super) fn beat(&self, link: &Link) -> Option<impl Future<Output = Reply> + Send + use<>> {
        let heartbeat = self.vitals.as_ref()?(self.clock.now());
        link.heartbeat(&self.topics, heartbeat.encode(&self.report.now))
    }

    pub(super) fn handle_reply(&mut self, sent: Sent, reply: Reply) {
        // A lost reply is followed by the end of the connection, or ends it by its age.
        let Reply::PubAck(reason) = reply else { return };
        // Whatever it says: somebody is there who answers.
        self.handle_good();
        let subscriber = match sent {
            Sent::Parcel(_) => self.config.subscriber,
            // Kept by the broker whether or not somebody is subscribed (0x10).
            Sent::Birth | Sent::Heartbeat => Subscriber::Optional,
        };
        self.count_refusal(reason, subscriber);
        let now = self.clock.now().mono;
        let mut shared = self.shared.lock();
        let ticket = match sent {
            Sent::Parcel(ticket) => ticket,
            Sent::Birth => return,
            Sent::Heartbeat => {
                self.report.now.heartbeats += u64::from(reason < FAILURE);
                return shared.session.handle_heartbeat();
            }
        };
        match shared.session.handle_puback(ticket, reason, now, self.random.as_mut()) {
            Answer::Stale => {}
            Answer::Delivered { stream, count } => {
                let counters = self.report.lane(stream);
                counters.acknowledged += 1;
                counters.records += u64::from(count);
            }
            Answer::Held { topic } => {
                tracing::debug!(topic, reason, "the broker refuses a publish: held and tried again");
            }
            Answer::Refused { block, topic } => {
                shared.refuse(block);
                self.report.now.refused_blocks += 1;
                tracing::warn!(
                    ?block,
                    topic,
                    reason,
                    "the broker refuses a block for good: kept, not sent again"
                );
            }
        }
    }

    /// Counts a publish that the broker does not take.
    pub(super) fn count_refusal(&mut self, reason: u8, subscriber: Subscriber) {
        if Outcome::refuses(reason, subscriber) {
            *self.report.now.refusals.entry(reason).or_default() += 1;
        }
    }

    /// Gives the store back what the broker has.
    pub(super) fn pass_acknowledgements(&mut self) {
        let mut shared = self.shared.lock();
        let mut any = false;
        while let Some(block) = shared.session.poll_acknowledge() {
            self.report.now.lanes.entry(block.lane).or_default().blocks += 1;
            shared.acknowledge.push_back(block);
            any = true;
        }
        drop(shared);
        if any {
            self.shared.wake_feeder();
        }
    }
}
