//! The driver's part of the [`Post`]: subscribes to what is wanted, publishes what is to be kept.
//!
//! One SUBSCRIBE, one UNSUBSCRIBE and one notice at a time: whatever the daemon asks for, and how often, readings and
//! alarms lose no more than one place of the window. A new connection knows of no subscription and begins anew. What
//! the broker refuses is said in the status and, once, in the log; it is tried again at the pace of the longest
//! back-off, because an access list can be mended without a word to us.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Driver, FAILURE};
use crate::time::Mono;
use crate::uplink::Subscriber;
use crate::uplink::mqtt::{Link, MAX_PACKET, Reply};
use crate::uplink::post::Post;
use crate::uplink::status::Correspondence;

/// What a packet may take beside a notice's topic and payload: fixed header, packet identifier, properties.
const ROOM_BESIDE: usize = 64;
/// Packet too large (MQTT 5, section 2.4): what a broker would say if it were sent.
const TOO_LARGE: u8 = 0x95;

/// Where the post has got to on this connection.
pub(super) struct Mail {
    post: Option<Post>,
    /// What was subscribed to, with the number of its asking.
    subscribed: BTreeMap<String, Told>,
    /// What the broker was given to keep, with the number of the notice.
    given: BTreeMap<String, Told>,
    subscribing: Option<Waiting<Vec<Asked>, Option<Vec<u8>>>>,
    unsubscribing: Option<Waiting<(), ()>>,
    giving: Option<Waiting<Asked, Reply>>,
    /// Notices that brokers took, on whatever connection.
    taken: u64,
}

/// A topic, with the number of its asking or of its notice.
type Asked = (String, u64);

/// What is asked, and the answer to come.
struct Waiting<A, T> {
    asked: A,
    answer: BoxFuture<'static, T>,
}

/// What was told the broker of a topic, and its answer.
#[derive(Clone, Copy)]
struct Told {
    number: u64,
    /// Its reason code; `None`: it has not answered.
    reason: Option<u8>,
    at: Mono,
}

impl Told {
    /// Whether the broker is to be told again, after so long when it refuses.
    fn is_due(self, number: u64, now: Mono, again: Duration) -> bool {
        let refused = self.reason.is_some_and(|reason| reason >= FAILURE);
        number != self.number || (refused && now.since(self.at) >= again)
    }
}

/// What happens to the post.
pub(super) enum MailNews {
    /// Something else is wanted, or there is another notice.
    Changed,
    /// SUBACK's reason codes; `None` when the connection ended first.
    Subscribed(Vec<Asked>, Option<Vec<u8>>),
    Unsubscribed,
    Given(Asked, Reply),
}

impl Mail {
    pub(super) const fn new(post: Option<Post>) -> Self {
        Self {
            post,
            subscribed: BTreeMap::new(),
            given: BTreeMap::new(),
            subscribing: None,
            unsubscribing: None,
            giving: None,
            taken: 0,
        }
    }

    /// The end of the post that a connection needs.
    pub(super) const fn post(&self) -> Option<&Post> {
        self.post.as_ref()
    }

    /// CONNACK came: whatever was told another connection is void.
    pub(super) fn handle_up(&mut self) {
        let (post, taken) = (self.post.take(), self.taken);
        *self = Self { taken, ..Self::new(post) };
        if let Some(post) = &self.post {
            post.handle_connected();
        }
    }

    /// Cancel-safe: what is waited for stays.
    pub(super) async fn next(&mut self) -> MailNews {
        let changed = async {
            match &self.post {
                Some(post) => post.changed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = changed => MailNews::Changed,
            (asked, codes) = answered(&mut self.subscribing) => MailNews::Subscribed(asked, codes),
            ((), ()) = answered(&mut self.unsubscribing) => MailNews::Unsubscribed,
            (asked, reply) = answered(&mut self.giving) => MailNews::Given(asked, reply),
        }
    }

    /// Asks the broker for what is wanted and not subscribed to, and no longer for what is not.
    fn subscribe(&mut self, link: &Link, now: Mono, again: Duration) {
        let Some(post) = &self.post else { return };
        if self.unsubscribing.is_none() {
            let gone = post.unwanted(self.subscribed.keys());
            if !gone.is_empty()
                && let Some(answer) = link.unsubscribe(gone.clone())
            {
                self.subscribed.retain(|topic, _| !gone.contains(topic));
                self.unsubscribing = Some(Waiting { asked: (), answer: answer.boxed() });
            }
        }
        if self.subscribing.is_some() {
            return;
        }
        let asked = post.wanted(|topic, number| {
            self.subscribed.get(topic).is_none_or(|told| told.is_due(number, now, again))
        });
        if asked.is_empty() {
            return;
        }
        let topics = asked.iter().map(|(topic, _)| topic.clone()).collect();
        if let Some(answer) = link.subscribe(topics) {
            for (topic, number) in &asked {
                // A refusal is said until another answer comes.
                let reason = self.subscribed.get(topic).and_then(|told| told.reason);
                self.subscribed.insert(topic.clone(), Told { number: *number, reason, at: now });
            }
            self.subscribing = Some(Waiting { asked, answer: answer.boxed() });
        }
    }

    fn handle_suback(&mut self, asked: Vec<Asked>, codes: &[u8]) {
        let codes = codes.iter().copied().chain(std::iter::repeat(FAILURE));
        for ((topic, number), reason) in asked.into_iter().zip(codes) {
            // Nobody may want it any more.
            let Some(told) = self.subscribed.get_mut(&topic).filter(|told| told.number == number) else {
                continue;
            };
            if reason >= FAILURE && told.reason != Some(reason) {
                tracing::error!(
                    topic,
                    reason = format!("{reason:#04x}"),
                    "the broker refuses a subscription, so nothing of this topic arrives: have its access list let this gateway read the topic"
                );
            }
            told.reason = Some(reason);
        }
    }

    /// What of it the broker refuses, and how much came.
    pub(super) fn status(&self) -> Correspondence {
        let refused = |told: &BTreeMap<String, Told>| {
            let reason = |told: &Told| told.reason.filter(|reason| *reason >= FAILURE);
            told.iter().filter_map(|(topic, told)| Some((topic.clone(), reason(told)?))).collect()
        };
        Correspondence {
            came: self.post.as_ref().map(Post::counts).unwrap_or_default(),
            unreadable: refused(&self.subscribed),
            notices: self.taken,
            refused: refused(&self.given),
        }
    }
}

/// Resolves with the answer; never, when nothing was asked.
async fn answered<A, T>(waiting: &mut Option<Waiting<A, T>>) -> (A, T) {
    if let Some(Waiting { answer, .. }) = waiting {
        let answer = answer.await;
        if let Some(Waiting { asked, .. }) = waiting.take() {
            return (asked, answer);
        }
    }
    pending().await
}

impl Driver {
    /// Tells the broker what it does not know yet.
    pub(super) fn correspond(&mut self, link: &Link) {
        let (now, again) = (self.clock.now().mono, self.config.backoff.most);
        self.mail.subscribe(link, now, again);
        self.give(link, now, again);
    }

    /// Publishes the next notice, when there is a place for it.
    fn give(&mut self, link: &Link, now: Mono, again: Duration) {
        let mail = &mut self.mail;
        if mail.giving.is_some() {
            return;
        }
        let given = &mail.given;
        let is_due =
            |topic: &str, number| given.get(topic).is_none_or(|told| told.is_due(number, now, again));
        let Some((notice, number)) = mail.post.as_ref().and_then(|post| post.notice(is_due)) else { return };
        let asked = (notice.topic.clone(), number);
        let mut shared = self.shared.lock();
        // A packet that is too large would end the connection.
        let most = usize::try_from(shared.max_packet.min(MAX_PACKET)).unwrap_or(usize::MAX);
        if notice.topic.len() + notice.payload.len() + ROOM_BESIDE > most {
            drop(shared);
            return self.handle_given(asked, Reply::PubAck(TOO_LARGE));
        }
        if !shared.session.poll_notice(now) {
            return;
        }
        match link.notice(notice.topic, notice.payload) {
            Some(answer) => mail.giving = Some(Waiting { asked, answer: answer.boxed() }),
            None => shared.session.handle_notice(),
        }
    }

    pub(super) fn handle_mail(&mut self, news: MailNews) {
        match news {
            // What follows from it is done with the next turn.
            MailNews::Changed | MailNews::Unsubscribed | MailNews::Subscribed(_, None) => {}
            MailNews::Subscribed(asked, Some(codes)) => self.mail.handle_suback(asked, &codes),
            MailNews::Given(asked, reply) => {
                self.shared.lock().session.handle_notice();
                self.handle_given(asked, reply);
            }
        }
    }

    fn handle_given(&mut self, (topic, number): Asked, reply: Reply) {
        // A lost reply is followed by the end of the connection.
        let Reply::PubAck(reason) = reply else { return };
        self.count_refusal(reason, Subscriber::Optional);
        let at = self.clock.now().mono;
        let before = self.mail.given.get(&topic).and_then(|told| told.reason);
        if reason < FAILURE {
            // Kept by the broker whether or not somebody is subscribed (0x10).
            self.mail.taken += 1;
        } else if before != Some(reason) {
            tracing::error!(
                topic,
                reason = format!("{reason:#04x}"),
                "the broker does not take a notice: have its access list let this gateway write the topic, and look at its limits"
            );
        }
        self.mail.given.insert(topic, Told { number, reason: Some(reason), at });
    }
}
