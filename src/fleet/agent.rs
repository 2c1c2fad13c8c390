//! What a gateway does about documents, wherever they come from and in whatever order.
//!
//! In: the bytes of a document and the time. Out: what is to be asked for, made durable, staged, told.
//! Retained topics come in any order and again after each connection; a folder gives all at once. So
//! what comes too early is kept (one timestamp, no more) and what comes again is nothing new. Pure: the
//! caller keeps, in the order of the actions, and each is durable before the next is taken.

use std::collections::VecDeque;

use super::change::{Change, Offer, Slot};
use super::documents::{Digest, Document as _, Timestamp};
use super::refusal::{Refusal, Why};
use super::trust::{Current, Freshness, Trust};
use super::turn::{Turn, turn};
use crate::time::{Now, Wall};

/// A document that may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The root of this version.
    Root(u64),
    /// The timestamp of the gateway's group.
    Timestamp,
    /// The bundle of this version.
    Bundle(u64),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// This document is wanted, and none of its kind before it any more.
    Want(Which),
    /// This root is trusted now: to be made durable, with what was seen.
    KeepRoot(Vec<u8>),
    /// What was seen has changed: to be made durable.
    See,
    /// This bundle is to be kept and staged.
    Stage(Slot, Vec<u8>),
    /// The gateway is sent to another group once the bundle that says so has been seen.
    Transfer(String),
    /// A document is not believed: to be told.
    Refuse(Refusal),
}

/// Where a gateway stands with its fleet, for people and for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No timestamp was believed since the start.
    Unheard,
    /// What runs is what is current.
    Current,
    /// Another bundle is current, and it is not this gateway's turn yet; from when on, if that is known.
    Waits(Option<Wall>),
    /// The roll-out is paused.
    Paused,
    /// The bundle that is current is being fetched.
    Fetches(u64),
    /// It is staged or on trial.
    UnderWay(u64),
    /// It was tried and taken back.
    Failed(u64, String),
    /// The gateway is told nothing any more: the last word has expired.
    Stale(Wall),
}

/// Decides what to do about documents.
#[derive(Debug)]
pub struct Agent {
    trust: Trust,
    gateway: String,
    /// A timestamp that was made under a root which is not here yet.
    early: Option<Vec<u8>>,
    current: Option<Current>,
    /// The bundle that was asked for last.
    asked: Option<u64>,
    actions: VecDeque<Action>,
}

impl Agent {
    /// Of what the gateway believes at its start. What it wants first stands in the actions.
    pub fn new(trust: Trust, gateway: String) -> Self {
        let mut agent =
            Self { trust, gateway, early: None, current: None, asked: None, actions: VecDeque::new() };
        agent.want_root();
        agent.actions.push_back(Action::Want(Which::Timestamp));
        agent
    }

    /// What the gateway believes.
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A document has come.
    pub fn handle_document(&mut self, which: Which, bytes: &[u8], change: &Change, now: &Now) {
        let refused = match which {
            // What was withdrawn is an empty message.
            _ if bytes.is_empty() => Ok(()),
            Which::Root(_) => self.root(bytes, change, now),
            Which::Timestamp => self.timestamp(bytes, change, now),
            Which::Bundle(_) => self.bundle(bytes, change, now),
        };
        if let Err(refusal) = refused {
            self.actions.push_back(Action::Refuse(refusal));
        }
    }

    /// Time has passed, or the change has moved on.
    pub fn handle_time(&mut self, change: &Change, now: &Now) {
        self.go_on(change, now);
    }

    /// When to be told of the time again; none: nothing is waited for.
    pub fn wakes_at(&self, change: &Change, now: &Now) -> Option<Wall> {
        let expires = self.current.as_ref().map(Current::expires);
        let turn = match self.standing(change, now) {
            Standing::Waits(from) => from,
            Standing::Unheard
            | Standing::Current
            | Standing::Paused
            | Standing::Fetches(_)
            | Standing::UnderWay(_)
            | Standing::Failed(..)
            | Standing::Stale(_) => None,
        };
        expires.into_iter().chain(turn).filter(|at| *at > now.wall).min()
    }

    /// Where the gateway stands.
    pub fn standing(&self, change: &Change, now: &Now) -> Standing {
        let Some(current) = &self.current else { return Standing::Unheard };
        let slot = slot_of(current);
        if self.trust.time_of(now) >= current.expires() {
            return Standing::Stale(current.expires());
        }
        match change.offered(slot) {
            Offer::Runs => Standing::Current,
            Offer::Staged | Offer::OnTrial | Offer::Busy => Standing::UnderWay(slot.version),
            Offer::Failed(reason) => Standing::Failed(slot.version, reason),
            Offer::New => match self.turn(current, now) {
                Turn::Now => Standing::Fetches(slot.version),
                Turn::From(at) => Standing::Waits(Some(at)),
                Turn::NotYet => Standing::Waits(None),
                Turn::Paused => Standing::Paused,
            },
        }
    }

    /// Whether it is known that the last word is still good.
    pub fn freshness(&self) -> Option<Freshness> {
        self.current.as_ref().map(Current::freshness)
    }

    fn root(&mut self, bytes: &[u8], change: &Change, now: &Now) -> Result<(), Refusal> {
        if !self.trust.root_offered(bytes)? {
            return Ok(());
        }
        self.actions.push_back(Action::KeepRoot(bytes.to_vec()));
        self.want_root();
        // What the old keys said last is not what the new ones say.
        self.current = None;
        if let Some(early) = self.early.take() {
            return self.timestamp(&early, change, now);
        }
        self.actions.push_back(Action::Want(Which::Timestamp));
        Ok(())
    }

    fn timestamp(&mut self, bytes: &[u8], change: &Change, now: &Now) -> Result<(), Refusal> {
        let before = self.trust.marks().clone();
        let current = match self.trust.timestamp_offered(bytes, now) {
            Err(Refusal { why: Why::NeedsRoot { .. }, .. }) => {
                // The roots between are on their way, or the next timestamp says it again.
                self.early = Some(bytes.to_vec()).filter(|bytes| bytes.len() <= Timestamp::CAP);
                return Ok(());
            }
            other => other?,
        };
        if *self.trust.marks() != before {
            self.actions.push_back(Action::See);
        }
        self.current = Some(current);
        self.go_on(change, now);
        Ok(())
    }

    fn bundle(&mut self, bytes: &[u8], change: &Change, now: &Now) -> Result<(), Refusal> {
        let Some(current) = self.current.clone() else { return Ok(()) };
        let is_wanted = matches!(self.standing(change, now), Standing::Fetches(_));
        // A bundle that another one followed, or that came before its turn: it comes again.
        if !is_wanted
            || (Digest::of(bytes) != current.head().sha256 && self.asked != Some(current.head().version))
        {
            return Ok(());
        }
        let verified = self.trust.bundle_offered(bytes, &current, now)?;
        if let Some(to) = verified.transfer_of(&self.gateway) {
            let to = to.to_owned();
            self.trust.transferred(&to);
            self.current = None;
            self.asked = None;
            self.actions.push_back(Action::See);
            self.actions.push_back(Action::Transfer(to));
            self.actions.push_back(Action::Want(Which::Timestamp));
            return Ok(());
        }
        self.actions.push_back(Action::Stage(slot_of(&current), bytes.to_vec()));
        Ok(())
    }

    /// Asks for the bundle when it is its turn.
    fn go_on(&mut self, change: &Change, now: &Now) {
        let Standing::Fetches(version) = self.standing(change, now) else { return };
        if self.asked != Some(version) {
            self.asked = Some(version);
            self.actions.push_back(Action::Want(Which::Bundle(version)));
        }
    }

    fn want_root(&mut self) {
        self.actions.push_back(Action::Want(Which::Root(self.trust.root().version.saturating_add(1))));
    }

    fn turn(&self, current: &Current, now: &Now) -> Turn {
        turn(current.rollout(), &self.gateway, self.trust.time_of(now))
    }
}

const fn slot_of(current: &Current) -> Slot {
    Slot { version: current.head().version, sha256: current.head().sha256 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fleet::health::Baseline;
    use crate::fleet::workshop::*;
    use crate::time::ClockSync;

    fn agent() -> Agent {
        let mut agent = Agent::new(enrolled(), "gw-1".to_owned());
        assert_eq!(actions(&mut agent), [Action::Want(Which::Root(2)), Action::Want(Which::Timestamp)]);
        agent
    }

    fn actions(agent: &mut Agent) -> Vec<Action> {
        std::iter::from_fn(|| agent.poll_action()).collect()
    }

    fn offer(agent: &mut Agent, which: Which, bytes: &[u8], change: &Change, now: &Now) -> Vec<Action> {
        agent.handle_document(which, bytes, change, now);
        actions(agent)
    }

    fn slot(bytes: &[u8]) -> Slot {
        Slot { version: 7, sha256: Digest::of(bytes) }
    }

    /// A timestamp whose only canary is gw-1.
    fn stamp(bundle: &[u8], version: u64) -> Vec<u8> {
        let change = |t: &mut serde_json::Value| {
            t["version"] = json!(version);
            t["rollout"] = json!({ "id": "r-7", "canaries": ["gw-1"] });
        };
        timestamp_of(bundle, change, ONLINE)
    }

    #[test]
    fn a_bundle_is_asked_for_once_and_staged() {
        let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11, 12]));
        let mut change = Change::default();
        assert_eq!(agent.standing(&change, &noon()), Standing::Unheard);
        // It comes before anybody asked.
        assert_eq!(offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon()), []);
        let asked = offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &noon());
        assert_eq!(asked, [Action::See, Action::Want(Which::Bundle(7))]);
        assert_eq!(agent.standing(&change, &noon()), Standing::Fetches(7));
        // The same again after a connection, and a newer one that says the same.
        assert_eq!(offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &noon()), []);
        assert_eq!(offer(&mut agent, Which::Timestamp, &stamp(&bundle, 71), &change, &noon()), [Action::See]);
        let staged = offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon());
        assert_eq!(staged, [Action::Stage(slot(&bundle), bundle.clone())]);
        change.stage(slot(&bundle));
        assert_eq!(agent.standing(&change, &noon()), Standing::UnderWay(7));
        assert_eq!(offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon()), []);
        change.begin(Baseline::default());
        change.commit();
        assert_eq!(agent.standing(&change, &noon()), Standing::Current);
        assert_eq!(agent.wakes_at(&change, &noon()), Some(Wall::read("2026-11-24").unwrap()));
        let late = now("2026-11-24", ClockSync::Synced);
        assert_eq!(agent.standing(&change, &late), Standing::Stale(Wall::read("2026-11-24").unwrap()));
    }

    #[test]
    fn what_failed_is_not_asked_for_again_and_what_runs_is_no_news() {
        let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11, 12]));
        let mut change = Change::default();
        change.stage(slot(&bundle));
        change.begin(Baseline::default());
        change.roll_back("no PUBACK");
        assert_eq!(offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &noon()), [Action::See]);
        assert_eq!(agent.standing(&change, &noon()), Standing::Failed(7, "no PUBACK".to_owned()));
        assert_eq!(offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon()), []);
        agent.handle_time(&change, &noon());
        assert_eq!(actions(&mut agent), []);
    }

    #[test]
    fn a_gateway_waits_for_its_wave_and_through_a_pause() {
        let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11, 12]));
        let change = Change::default();
        let waves = |paused: bool, version: u64| {
            let change = move |t: &mut serde_json::Value| {
                t["version"] = json!(version);
                t["rollout"] = json!({
                    "id": "r-7", "paused": paused,
                    "waves": [{ "share": 10_000, "start": "2026-11-22T14:00:00Z" }],
                });
            };
            timestamp_of(&bundle, change, ONLINE)
        };
        let two = Wall::read("2026-11-22T14:00:00Z").unwrap();
        assert_eq!(offer(&mut agent, Which::Timestamp, &waves(false, 70), &change, &noon()), [Action::See]);
        assert_eq!(agent.standing(&change, &noon()), Standing::Waits(Some(two)));
        assert_eq!(agent.wakes_at(&change, &noon()), Some(two));
        let after = now("2026-11-22T14:00:00Z", ClockSync::Synced);
        // Without a clock to believe, the wave has not begun: the floor is the day's beginning.
        agent.handle_time(&change, &now("2026-11-22T15:00:00Z", ClockSync::Unsynced));
        assert_eq!(actions(&mut agent), []);
        assert_eq!(offer(&mut agent, Which::Timestamp, &waves(true, 71), &change, &after), [Action::See]);
        assert_eq!(agent.standing(&change, &after), Standing::Paused);
        let asked = offer(&mut agent, Which::Timestamp, &waves(false, 72), &change, &after);
        assert_eq!(asked, [Action::See, Action::Want(Which::Bundle(7))]);
    }

    #[test]
    fn what_was_made_under_a_root_that_is_not_here_yet_waits_for_it() {
        let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11, 12]));
        let change = Change::default();
        let ahead = |t: &mut serde_json::Value| t["head"]["root"] = json!(3);
        let early = timestamp_of(&bundle, ahead, ONLINE);
        assert_eq!(offer(&mut agent, Which::Timestamp, &early, &change, &noon()), []);
        let (second, third) = (root(2, &CONFIG, ONLINE, &[1, 2]), root(3, &CONFIG, ONLINE, &[1, 2]));
        let kept = offer(&mut agent, Which::Root(2), &second, &change, &noon());
        assert_eq!(kept, [Action::KeepRoot(second.clone()), Action::Want(Which::Root(3))]);
        let kept = offer(&mut agent, Which::Root(3), &third, &change, &noon());
        assert_eq!(kept, [Action::KeepRoot(third.clone()), Action::Want(Which::Root(4)), Action::See]);
        assert_eq!(agent.standing(&change, &noon()), Standing::Waits(None));
        assert_eq!(offer(&mut agent, Which::Root(3), &third, &change, &noon()), []);
    }

    #[test]
    fn what_is_not_believed_is_told_and_an_empty_message_is_nothing() {
        let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11]));
        let change = Change::default();
        offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &noon());
        for which in [Which::Root(2), Which::Timestamp, Which::Bundle(7)] {
            assert_eq!(offer(&mut agent, which, b"", &change, &noon()), []);
        }
        let refused = offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon());
        let [Action::Refuse(refusal)] = &refused[..] else { panic!("{refused:?}") };
        assert!(refusal.to_string().contains("1 of the 2 config keys"), "{refusal}");
        assert_eq!(agent.standing(&change, &noon()), Standing::Fetches(7));
    }

    #[test]
    fn a_gateway_that_is_sent_elsewhere_listens_there() {
        let transfers = |b: &mut serde_json::Value| {
            b["members"] = json!(["gw-2"]);
            b["transfers"] = json!([{ "gateway": "gw-1", "to": "icu-4" }]);
        };
        let (mut agent, bundle) = (agent(), bundle_of(transfers, &[11, 12]));
        let change = Change::default();
        offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &noon());
        let sent = offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon());
        assert_eq!(sent, [Action::See, Action::Transfer("icu-4".to_owned()), Action::Want(Which::Timestamp)]);
        assert_eq!(
            (agent.trust().marks().group(), agent.standing(&change, &noon())),
            ("icu-4", Standing::Unheard)
        );
    }
}
