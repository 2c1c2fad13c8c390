//! Documents that come by way of the broker, and notices that it keeps for others.
//!
//! In, from the daemon: which topics are wanted, and what is to be kept. In, from the broker: what is published
//! on those topics. Out: [`PostEvent`]s for the daemon, in the order in which they happened. What can go wrong: the
//! letters are not taken as fast as they come. Then they are lost, and [`PostEvent::Lost`] says so: the receiver
//! asks again, and the broker sends what it keeps.
//!
//! Everything is bounded: [`MAX_WANTED`] topics, [`MAX_LETTERS`] letters that wait, [`MAX_NOTICES`] notices. What
//! never happens: the connection to the broker waits for whoever takes the letters; a letter of a topic that is not
//! wanted is handed on; memory grows with what strangers publish.
//!
//! What comes is bytes that somebody published. Whether they are to be believed is for the receiver to find out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// The most topics that are wanted at a time.
pub const MAX_WANTED: usize = 16;
/// The most letters that wait to be taken. Each is at most a packet of 256 KiB.
pub const MAX_LETTERS: usize = 8;
/// The most topics with a notice.
pub const MAX_NOTICES: usize = 8;
/// The longest topic, in bytes. MQTT allows 65,535 (MQTT 5, section 4.7.3); ours are far shorter.
const MAX_TOPIC: usize = 256;

/// A document that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Where it was published: one of the wanted topics.
    pub topic: String,
    /// What was published, unchecked. Empty: the broker keeps nothing there any more.
    pub payload: Bytes,
}

/// Something for the broker to keep: published with QoS 1, retained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Where. The latest notice of a topic counts.
    pub topic: String,
    /// What: JSON. Empty: the broker is to keep nothing there any more.
    pub payload: Bytes,
}

/// A topic that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name: no wildcards.
    pub topic: String,
    /// Another number than before: subscribe anew, so that the broker sends again what it keeps there.
    pub ask: u64,
}

/// What the daemon is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostEvent {
    /// A letter came. The same may come more than once.
    Letter(Letter),
    /// A connection came up. What is wanted is subscribed to, and what the broker keeps comes now.
    Connected,
    /// So many letters found no room, here between those before and after. What they said is not known; to have it,
    /// ask again.
    Lost(u64),
}

/// The daemon's end.
pub struct PostOffice(Arc<Shared>);

/// Gives notices, and nothing else: for those parts of the daemon that wait for no letters.
#[derive(Clone)]
pub struct Notices(Arc<Shared>);

impl Notices {
    /// As [`PostOffice::notice`].
    pub fn notice(&self, notice: Notice) {
        self.0.notice(notice);
    }
}

/// The uplink's end.
pub struct Post(Arc<Shared>);

/// Where a connection puts what comes.
#[derive(Clone)]
pub struct Inbox(Arc<Shared>);

/// What both ends see.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is an event.
    to_daemon: Notify,
    /// Something else is wanted, or there is another notice.
    to_uplink: Notify,
}

#[derive(Default)]
struct State {
    wanted: BTreeMap<String, u64>,
    /// With a number that tells one notice from the next.
    notices: BTreeMap<String, (u64, Bytes)>,
    numbers: u64,
    events: VecDeque<PostEvent>,
    counts: Counts,
}

/// What came so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Letters handed on or waiting.
    pub letters: u64,
    /// Letters for which there was no room.
    pub lost: u64,
    /// Publishes of topics that are not wanted.
    pub unwanted: u64,
}

/// Makes the two ends.
pub fn post() -> (PostOffice, Post) {
    let shared = Arc::new(Shared::default());
    (PostOffice(Arc::clone(&shared)), Post(shared))
}

impl PostOffice {
    /// These topics are wanted, and no others. Beyond [`MAX_WANTED`], and what is not the name of a topic, is
    /// refused with a word in the log.
    pub fn want(&self, wanted: Vec<Wanted>) {
        let mut kept = BTreeMap::new();
        for Wanted { topic, ask } in wanted {
            if is_name(&topic) && (kept.len() < MAX_WANTED || kept.contains_key(&topic)) {
                kept.insert(topic, ask);
            } else {
                tracing::error!(
                    ?topic,
                    "not subscribed to: it is not the name of a topic, or there are too many"
                );
            }
        }
        let mut state = self.0.lock();
        if state.wanted != kept {
            state.wanted = kept;
            self.0.to_uplink.notify_one();
        }
    }

    /// The broker is to keep this, from now on and after each new connection. A notice of a topic beyond
    /// [`MAX_NOTICES`], and one whose topic is none, is refused with a word in the log.
    pub fn notice(&self, notice: Notice) {
        self.0.notice(notice);
    }

    /// For another part of the daemon.
    pub fn notices(&self) -> Notices {
        Notices(Arc::clone(&self.0))
    }

    /// The next event. Cancel-safe. Waits for ever when the uplink is gone.
    pub async fn next(&mut self) -> PostEvent {
        loop {
            let event = self.0.lock().events.pop_front();
            if let Some(event) = event {
                return event;
            }
            self.0.to_daemon.notified().await;
        }
    }
}

impl Post {
    /// For a connection.
    pub(super) fn inbox(&self) -> Inbox {
        Inbox(Arc::clone(&self.0))
    }

    /// Resolves when something else is wanted or there is another notice. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.0.to_uplink.notified().await;
    }

    /// What is wanted and for which `is_due` holds: topics, each with the number of its asking.
    pub(super) fn wanted(&self, is_due: impl Fn(&str, u64) -> bool) -> Vec<(String, u64)> {
        let state = self.0.lock();
        let due = state.wanted.iter().filter(|(topic, ask)| is_due(topic, **ask));
        due.map(|(topic, ask)| (topic.clone(), *ask)).collect()
    }

    /// Those that are wanted no more.
    pub(super) fn unwanted<'a>(&self, topics: impl Iterator<Item = &'a String>) -> Vec<String> {
        let state = self.0.lock();
        topics.filter(|topic| !state.wanted.contains_key(*topic)).cloned().collect()
    }

    /// The oldest notice for which `is_due` holds, by topic and number.
    pub(super) fn notice(&self, is_due: impl Fn(&str, u64) -> bool) -> Option<(Notice, u64)> {
        let state = self.0.lock();
        let due = state.notices.iter().filter(|(topic, (number, _))| is_due(topic, *number));
        let due = due.min_by_key(|(_, (number, _))| *number);
        due.map(|(topic, (number, payload))| {
            (Notice { topic: topic.clone(), payload: payload.clone() }, *number)
        })
    }

    /// A connection came up.
    pub(super) fn handle_connected(&self) {
        let mut state = self.0.lock();
        // One that was not taken yet says no more than this one.
        state.events.retain(|event| *event != PostEvent::Connected);
        state.events.push_back(PostEvent::Connected);
        self.0.to_daemon.notify_one();
    }

    /// What came so far.
    pub(super) fn counts(&self) -> Counts {
        self.0.lock().counts
    }
}

impl Inbox {
    /// Takes a publish. Never waits.
    pub(super) fn handle_publish(&self, topic: &[u8], payload: &[u8]) {
        let mut state = self.0.lock();
        let Some(topic) = std::str::from_utf8(topic).ok().filter(|topic| state.wanted.contains_key(*topic))
        else {
            state.counts.unwanted += 1;
            return;
        };
        let waiting = state.events.iter().filter(|event| matches!(event, PostEvent::Letter(_))).count();
        if waiting < MAX_LETTERS {
            // A copy: a slice would keep all of the buffer that it was read into.
            let payload = Bytes::copy_from_slice(payload);
            state.events.push_back(PostEvent::Letter(Letter { topic: topic.to_owned(), payload }));
            state.counts.letters += 1;
        } else {
            state.counts.lost += 1;
            // At most one between two letters, whatever else is told there: a line that comes and goes in a flood
            // must not fill the list.
            let since_letter = state.events.iter_mut().rev();
            let mut since_letter = since_letter.take_while(|event| !matches!(event, PostEvent::Letter(_)));
            match since_letter
                .find_map(|event| if let PostEvent::Lost(count) = event { Some(count) } else { None })
            {
                Some(count) => *count += 1,
                None => state.events.push_back(PostEvent::Lost(1)),
            }
        }
        self.0.to_daemon.notify_one();
    }
}

impl Shared {
    fn notice(&self, notice: Notice) {
        let Notice { topic, payload } = notice;
        let mut state = self.lock();
        let room = state.notices.len() < MAX_NOTICES || state.notices.contains_key(&topic);
        if !is_name(&topic) || !room {
            tracing::error!(
                ?topic,
                "not published: it is not the name of a topic, or there are notices of too many"
            );
            return;
        }
        state.numbers += 1;
        let number = state.numbers;
        state.notices.insert(topic, (number, payload));
        self.to_uplink.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is the name of one topic, and none of the broker's own (MQTT 5, section 4.7).
fn is_name(topic: &str) -> bool {
    (1..=MAX_TOPIC).contains(&topic.len()) && !topic.starts_with('$') && !topic.contains(['+', '#', '\0'])
}

#[cfg(test)]
mod tests;
