//! A connection is left in order: what is in flight is waited for, the gateway says that it is offline, DISCONNECT, so
//! that the broker does not publish the will.
//!
//! An alarm does not wait for that. It goes out on whichever connection is up first: where another one is there
//! already, the old one is left as soon as there is an alarm, and says goodbye beside the new one; where there is none
//! yet, the old one still takes alarms. What was not acknowledged is sent again by the new one.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use futures_util::{FutureExt as _, future};
use tokio::time::{sleep, timeout};

use super::change::LEAVE_WITHIN;
use super::{Driver, Replies, Sent, committed};
use crate::uplink::mqtt::{Link, LinkEvent, Reply};

/// For "offline", and once more for DISCONNECT.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// How long the answer to an alarm is waited for where it could be sent to another broker.
const ALARM_WITHIN: Duration = Duration::from_secs(1);

/// The ends of connections, each of them bounded.
#[derive(Default)]
pub(super) struct Goodbyes(FuturesUnordered<BoxFuture<'static, ()>>);

impl Goodbyes {
    /// Resolves with the next end; never, where nobody leaves.
    pub(super) async fn next(&mut self) {
        if self.0.next().await.is_none() {
            future::pending::<()>().await;
        }
    }

    /// Waits for all of them.
    pub(super) async fn end(&mut self) {
        while self.0.next().await.is_some() {}
    }
}

impl Driver {
    /// Leaves a connection for another one, which is up already where `has_next`.
    pub(super) async fn leave(&mut self, mut link: Link, mut replies: Replies, has_next: bool) {
        let deadline = sleep(LEAVE_WITHIN);
        let for_alarms = sleep(ALARM_WITHIN);
        tokio::pin!(deadline, for_alarms);
        let mut is_patient = true;
        loop {
            let (flying, waits, flies) = {
                let session = &self.shared.lock().session;
                (session.in_flight(), session.has_alarm_waiting(), session.has_alarm_in_flight())
            };
            let is_urgent = (has_next && waits) || (flies && !is_patient);
            if is_urgent || (flying == 0 && !waits) {
                break;
            }
            if waits && !has_next && self.publish_alarms(&link, &mut replies).is_none() {
                break;
            }
            tokio::select! {
                Some((sent, reply)) = replies.next(), if !replies.is_empty() => {
                    self.handle_reply(sent, reply);
                    self.pass_acknowledgements();
                }
                event = link.events.recv() => if !matches!(event, Some(LinkEvent::Up { .. })) { return },
                () = self.shared.fed() => {}
                () = self.goodbyes.next() => {}
                () = committed(&mut self.commits) => {
                    self.shared.lock().news = true;
                    self.shared.wake_feeder();
                }
                () = &mut for_alarms, if is_patient => is_patient = false,
                () = &mut deadline => break,
            }
        }
        let goodbye = self.goodbye(link);
        if has_next { self.goodbyes.0.push(goodbye) } else { goodbye.await }
    }

    /// Starts what alarms may be started. `None`: the connection takes nothing more.
    fn publish_alarms(&mut self, link: &Link, replies: &mut Replies) -> Option<()> {
        let now = self.clock.now().mono;
        loop {
            let next = {
                let session = &mut self.shared.lock().session;
                if session.has_alarm_waiting() { session.poll_publish(now) } else { None }
            };
            let Some((ticket, parcel)) = next else { break };
            let reply = link.publish(&parcel)?;
            self.report.lane(parcel.stream).published += 1;
            replies.push(Box::pin(reply.map(move |reply| (Sent::Parcel(ticket), reply))));
        }
        self.shared.wake_feeder();
        Some(())
    }

    /// The daemon ends. In order: what is in flight, "offline", DISCONNECT.
    pub(super) async fn finish(&mut self, mut link: Link, mut replies: Replies, grace: Duration) {
        let deadline = sleep(grace);
        tokio::pin!(deadline);
        while self.shared.lock().session.in_flight() > 0 {
            tokio::select! {
                Some((sent, reply)) = replies.next(), if !replies.is_empty() => {
                    self.handle_reply(sent, reply);
                    self.pass_acknowledgements();
                }
                event = link.events.recv() => if !matches!(event, Some(LinkEvent::Up { .. })) { return },
                () = self.goodbyes.next() => {}
                () = &mut deadline => break,
            }
        }
        // The writing side is closed by now: these are the last heads.
        self.goodbye(link).await;
    }

    /// The last heartbeat, "offline", DISCONNECT. What is answered too late is not waited for: DISCONNECT is sent all
    /// the same.
    fn goodbye(&self, mut link: Link) -> BoxFuture<'static, ()> {
        // Its answer is not waited for, but that of what is sent after it is.
        drop(self.beat(&link));
        let death = link.announce(&self.topics, &self.run, "offline");
        async move {
            let is_answered = match death {
                Some(death) => matches!(timeout(GOODBYE, death).await, Ok(Reply::PubAck(_))),
                None => false,
            };
            if is_answered {
                link.disconnect(GOODBYE);
            } else {
                link.disconnect_now();
            }
            let ended = async { while let Some(LinkEvent::Up { .. }) = link.events.recv().await {} };
            let _ = timeout(GOODBYE * 2, ended).await;
        }
        .boxed()
    }
}
