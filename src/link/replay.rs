//! A prepared list of link events as a [`Link`]: for tests, and for a demonstration on a machine
//! without the hardware.
//!
//! In: connections, each a list of events with the time that passes before them; answers to
//! requests and reads. Out: those events, in that order, each after its time. It honours the allow
//! set like a real link and remembers what was written.
//!
//! What never happens: an event is lost because `next` was cancelled, or because a value came
//! before its characteristic was subscribed to (the list waits for the subscription).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Sleep;

use super::gatt::RECORD_ACCESS;
use super::{AllowSet, Characteristic, Link, LinkCommand, LinkError, LinkEvent, NOT_OFFERED, RequestId};

/// An event and the time that passes before it, counted from the event before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// The time.
    pub after: Duration,
    /// The event.
    pub event: LinkEvent,
}

/// A link that plays what it was given.
#[derive(Debug)]
pub struct ReplayLink {
    what: String,
    allow: AllowSet,
    connections: VecDeque<VecDeque<Timed>>,
    replies: BTreeMap<RequestId, Bytes>,
    values: BTreeMap<Characteristic, Bytes>,
    written: Vec<RequestId>,
    open: bool,
    current: VecDeque<Timed>,
    /// What a command brought about: told before the list goes on.
    answers: VecDeque<LinkEvent>,
    subscribed: BTreeSet<Characteristic>,
    /// The wait for the front of `current`, kept here so that a cancelled `next` does not restart it.
    wait: Option<Pin<Box<Sleep>>>,
}

impl ReplayLink {
    /// A link that has nothing to play yet.
    pub fn new(what: impl Into<String>, allow: AllowSet) -> Self {
        Self {
            what: what.into(),
            allow,
            connections: VecDeque::new(),
            replies: BTreeMap::new(),
            values: BTreeMap::new(),
            written: Vec::new(),
            open: false,
            current: VecDeque::new(),
            answers: VecDeque::new(),
            subscribed: BTreeSet::new(),
            wait: None,
        }
    }

    /// Adds a connection: each `open` plays the next one; when there is none left, the device is
    /// absent.
    #[must_use]
    pub fn connection(mut self, events: impl IntoIterator<Item = Timed>) -> Self {
        self.connections.push_back(events.into_iter().collect());
        self
    }

    /// Answers a request with bytes, every time.
    #[must_use]
    pub fn reply(mut self, to: RequestId, bytes: impl Into<Bytes>) -> Self {
        self.replies.insert(to, bytes.into());
        self
    }

    /// Answers reads of a characteristic with a value, every time.
    #[must_use]
    pub fn value(mut self, of: Characteristic, value: impl Into<Bytes>) -> Self {
        self.values.insert(of, value.into());
        self
    }

    /// The requests that were written, in order.
    pub fn written(&self) -> &[RequestId] {
        &self.written
    }

    fn end(&mut self) {
        self.open = false;
        self.current.clear();
        self.answers.clear();
        self.subscribed.clear();
        self.wait = None;
    }

    /// Whether the list may go on: a value waits for its subscription.
    fn is_ready(&self) -> bool {
        self.current.front().is_some_and(|timed| match &timed.event {
            LinkEvent::Value(characteristic, _) => self.subscribed.contains(characteristic),
            LinkEvent::Up
            | LinkEvent::Bytes(_)
            | LinkEvent::ReadDone(..)
            | LinkEvent::Subscribed(..)
            | LinkEvent::Written(..)
            | LinkEvent::Down(_) => true,
        })
    }
}

impl Link for ReplayLink {
    async fn open(&mut self) -> Result<(), LinkError> {
        self.end();
        let Some(events) = self.connections.pop_front() else {
            return Err(LinkError::Absent { what: self.what.clone() });
        };
        self.current = events;
        self.open = true;
        Ok(())
    }

    async fn next(&mut self) -> LinkEvent {
        if !self.open {
            return LinkEvent::Down(LinkError::HungUp);
        }
        if let Some(answer) = self.answers.pop_front() {
            return answer;
        }
        if self.current.is_empty() {
            self.end();
            let reason = "the recording has ended".to_owned();
            return LinkEvent::Down(LinkError::Lost { what: self.what.clone(), reason });
        }
        if !self.is_ready() {
            // Only `perform` can change this, and it needs `next` to be cancelled.
            return std::future::pending().await;
        }
        let after = self.current.front().map(|timed| timed.after).unwrap_or_default();
        self.wait.get_or_insert_with(|| Box::pin(tokio::time::sleep(after))).await;
        self.wait = None;
        let event = self.current.pop_front().map_or(LinkEvent::Down(LinkError::HungUp), |timed| timed.event);
        if matches!(event, LinkEvent::Down(_)) {
            self.end();
        }
        event
    }

    async fn perform(&mut self, command: LinkCommand) -> Result<(), LinkError> {
        if let LinkCommand::Send(id) | LinkCommand::Fill(id, _) = command
            && self.allow.frame(command).is_none()
        {
            return Err(LinkError::NotAllowed(id));
        }
        if !self.open {
            return Err(LinkError::HungUp);
        }
        match command {
            LinkCommand::Send(id) | LinkCommand::Fill(id, _) => {
                self.written.push(id);
                self.answers.extend(self.replies.get(&id).cloned().map(LinkEvent::Bytes));
            }
            LinkCommand::Read(what) => {
                let value = self.values.get(&what).cloned().ok_or_else(|| NOT_OFFERED.to_owned());
                self.answers.push_back(LinkEvent::ReadDone(what, value));
            }
            // A recording answers to nothing that is written.
            LinkCommand::Subscribe(what) if what.uuid == RECORD_ACCESS => {
                self.answers.push_back(LinkEvent::Subscribed(what, Err(NOT_OFFERED.to_owned())));
            }
            LinkCommand::Subscribe(what) => {
                self.subscribed.insert(what);
                self.answers.push_back(LinkEvent::Subscribed(what, Ok(())));
            }
            LinkCommand::Write(write) => {
                self.answers.push_back(LinkEvent::Written(write.to(), Ok(())));
            }
            LinkCommand::HangUp => self.end(),
        }
        Ok(())
    }

    async fn close(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Request;

    const ALLOW: AllowSet = AllowSet::new(&[Request::fixed("HELLO", b"hello\r")]);
    const PULSE: Characteristic = Characteristic { service: 0x180D, uuid: 0x2A37 };

    fn timed(millis: u64, event: LinkEvent) -> Timed {
        Timed { after: Duration::from_millis(millis), event }
    }

    fn bytes(text: &'static [u8]) -> LinkEvent {
        LinkEvent::Bytes(Bytes::from_static(text))
    }

    #[tokio::test]
    async fn events_come_in_order_and_a_cancelled_wait_goes_on() {
        let mut link = ReplayLink::new("recording", ALLOW)
            .connection([timed(100, bytes(b"one")), timed(0, bytes(b"two"))])
            .connection([timed(0, LinkEvent::Down(LinkError::HungUp))]);
        assert_eq!(link.next().await, LinkEvent::Down(LinkError::HungUp));
        link.open().await.unwrap();
        for _ in 0..2 {
            let cut_short = tokio::time::timeout(Duration::from_millis(60), link.next()).await;
            if let Ok(event) = cut_short {
                assert_eq!(event, bytes(b"one"));
            }
        }
        assert_eq!(link.next().await, bytes(b"two"));
        assert!(matches!(link.next().await, LinkEvent::Down(LinkError::Lost { .. })));
        link.open().await.unwrap();
        assert_eq!(link.next().await, LinkEvent::Down(LinkError::HungUp));
        assert!(matches!(link.open().await, Err(LinkError::Absent { .. })));
    }

    #[tokio::test]
    async fn only_the_allow_set_is_written_and_replies_come_back() {
        let mut link = ReplayLink::new("recording", ALLOW)
            .connection([timed(1, bytes(b"later"))])
            .reply(RequestId(0), &b"hello yourself\r"[..]);
        link.open().await.unwrap();
        let other = RequestId(9);
        assert_eq!(link.perform(LinkCommand::Send(other)).await, Err(LinkError::NotAllowed(other)));
        link.perform(LinkCommand::Send(RequestId(0))).await.unwrap();
        assert_eq!(link.written(), [RequestId(0)]);
        assert_eq!(link.next().await, bytes(b"hello yourself\r"));
        assert_eq!(link.next().await, bytes(b"later"));
    }

    #[tokio::test]
    async fn a_value_waits_for_its_subscription() {
        let value = LinkEvent::Value(PULSE, Bytes::from_static(&[0, 72]));
        let mut link = ReplayLink::new("recording", AllowSet::NONE)
            .connection([timed(0, value.clone())])
            .value(PULSE, &[1][..]);
        link.open().await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), link.next()).await.is_err());
        link.perform(LinkCommand::Subscribe(PULSE)).await.unwrap();
        link.perform(LinkCommand::Read(PULSE)).await.unwrap();
        assert_eq!(link.next().await, LinkEvent::Subscribed(PULSE, Ok(())));
        assert_eq!(link.next().await, LinkEvent::ReadDone(PULSE, Ok(Bytes::from_static(&[1]))));
        assert_eq!(link.next().await, value);
    }
}
