//! A member fetches the advisories that the bundle which runs names, and lays them on the desk.
//!
//! In: the bundle that stood its trial, documents by topic or from a stick. Out: topics, few at a time. What can go
//! wrong: a document is not published, or another stands in its place; then it is wanted on, and the others have their
//! turn. What never happens: a document is taken that the bundle does not name; more letters are asked for at once than
//! the post holds; a bundle on trial has its advisories judged, as a device that they keep out would fail its trial.

use std::path::Path;
use std::time::Duration;

use super::{Member, Order, Told, import};
use crate::fleet::advisories::desk::Desk;
use crate::fleet::advisories::library::{MAX_DOCUMENTS, NotTaken};
use crate::fleet::change::Slot;
use crate::fleet::start;
use crate::fleet::topics::{Topic, What};
use crate::time::{Mono, Now};

/// How many are asked for at once: with the three documents of the fleet fewer than the letters that the post holds
/// (`uplink::post::MAX_LETTERS`), so none is lost.
const AT_ONCE: usize = 4;
/// How long those that do not come are waited for, while there are others.
const TURN: Duration = Duration::from_secs(30);

/// How far it has come.
pub(super) struct Reading {
    desk: Desk,
    /// The bundle of which the desk was told.
    told: Option<Slot>,
    /// How many of the wanted are passed over, as others have their turn, and since when that is so.
    skipped: (usize, Option<Mono>),
    ask: u64,
}

impl Reading {
    pub(super) const fn new(desk: Desk) -> Self {
        Self { desk, told: None, skipped: (0, None), ask: 0 }
    }

    /// Those that are asked for now.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (String, u64)> {
        let all = self.desk.wanted(MAX_DOCUMENTS);
        let skipped = self.skipped.0.checked_rem(all.len()).unwrap_or_default();
        let count = all.len().min(AT_ONCE);
        let turn: Vec<String> =
            all.iter().cycle().skip(skipped).take(count).map(|(_, topic)| topic.clone()).collect();
        let ask = self.ask;
        turn.into_iter().map(move |topic| (topic, ask))
    }

    /// They are to be sent again.
    pub(super) const fn handle_lost(&mut self) {
        self.ask += 1;
    }

    /// Gives the others their turn when it is time.
    fn turn(&mut self, now: Mono) {
        if self.desk.wanted(AT_ONCE + 1).len() <= AT_ONCE {
            self.skipped = (0, None);
            return;
        }
        let since = *self.skipped.1.get_or_insert(now);
        if now.since(since) >= TURN {
            self.skipped = (self.skipped.0.saturating_add(AT_ONCE), Some(now));
        }
    }
}

impl Member {
    /// Whether an advisory of the own organisation belongs on this topic.
    pub(super) fn is_advisory(&self, topic: &str) -> bool {
        Topic::read(topic).is_some_and(|topic| {
            topic.organisation() == self.recipient.organisation && matches!(topic.what(), What::Advisory(_))
        })
    }

    /// A document has come. Nobody believes the topic: it is taken if its own digest is wanted.
    pub(super) fn handle_advisory(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            // The broker keeps nothing there any more.
            return;
        }
        match self.reading.desk.handle_document(bytes) {
            Ok(Ok(_)) => {}
            Ok(Err(why @ (NotTaken::TooLong(_) | NotTaken::Unnamed(_) | NotTaken::Unreadable(_)))) => {
                self.told.advisory(&mut self.orders, &why.to_string());
            }
            Err(error) => {
                self.told.advisory(&mut self.orders, &format!("it is read and cannot be kept: {error}"));
            }
        }
    }

    /// Takes all that lie in the folder.
    pub(super) fn import_advisories(&mut self, folder: &Path) {
        for (_, topic) in self.reading.desk.wanted(MAX_DOCUMENTS) {
            let Some(topic) = Topic::read(&topic) else { continue };
            match import::read(folder, &topic) {
                Ok(Some(bytes)) => self.handle_advisory(&bytes),
                Ok(None) => {}
                Err(error) => self.told.import(&mut self.orders, &error),
            }
        }
    }

    /// Tells the desk which bundle runs, when it is another one. One on trial does not count: it may go back.
    pub(super) fn look_into_advisories(&mut self, now: &Now) {
        self.reading.turn(now.mono);
        let Some(slot) = self.folder.change().running().filter(|slot| self.reading.told != Some(*slot))
        else {
            return;
        };
        match start::bundle(&self.folder, slot) {
            Ok(bundle) => {
                self.reading.told = Some(slot);
                let wrong = self.reading.desk.handle_bundle(&bundle);
                self.orders.extend(wrong.into_iter().map(|why| Order::Tell(Told::Advisory(why))));
            }
            Err(fault) => self.told.advisory(&mut self.orders, &fault.into_words()),
        }
    }
}
