//! What a gateway does about documents, wherever they come from and in whatever order.
//!
//! In: the bytes of a document and the time. Out: what is to be asked for, made durable, staged, begun, told.
//! Retained topics come in any order, each once for a subscription; a folder gives all at once. So what comes too
//! early is kept (a timestamp) or asked for again (a root, a bundle), what comes again is nothing new, and
//! whatever the order was, the gateway ends in the same place.
//!
//! How it is driven: give a document, an alarm or the time, then take [`Agent::poll_action`] until there is none,
//! each durable before the next is taken; when one of them has changed the [`Change`], give the time again. The
//! time is also given when the clock becomes synchronised, at [`Agent::wakes_at`] and at
//! [`Agent::pauses_until`]. After a connection has come back, all of [`Agent::wanted`] is asked for.
//!
//! What is staged begins only while this gateway knows that it may: the timestamp names it and has not expired, it
//! is the gateway's turn, its bytes were verified since the start by the keys that count now, and no alarm is
//! active. A pause, or anything else that ends this, withdraws it, and it is asked for again afterwards.
//!
//! A bundle that sends the gateway to another group is one like every other until it is read: it waits for its
//! turn and through a pause, which is the operator's one brake. From then on the gateway listens to the other
//! group; where that does not list it, it stays with what it runs and says so ([`Standing::NotListed`]). The old
//! group's timestamp and the bundle that sends its gateways away must therefore be published until the last of
//! them has said that it has arrived.

mod standing;

#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::change::{Change, Offer, Slot};
use super::documents::{Digest, Document as _, Timestamp};
use super::dsse::Envelope;
use super::lock::UpdateLock;
use super::refusal::{Refusal, Why};
use super::trust::{Current, Freshness, Trust, Verified};
use super::turn::{Turn, turn};
use crate::time::{Mono, Now, Wall};

pub use standing::{Action, Standing, Which, Withdrawn};

/// After a fault of this gateway, its bundle is not asked for again at once, and at last once in an hour.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// Decides what to do about documents.
#[derive(Debug)]
pub struct Agent {
    trust: Trust,
    gateway: String,
    /// The timestamp that is believed, and its bytes, to be judged again by another root or a better clock.
    current: Option<(Current, Vec<u8>)>,
    early: Early,
    /// The bundle that was asked for last.
    asked: Option<Slot>,
    /// The bundle that is current, if it came and cannot be taken.
    held: Option<(Slot, Refusal)>,
    /// The bundle that was verified last by the keys that count now: from when until when it may begin.
    verified: Option<(Slot, Wall, Wall)>,
    lock: UpdateLock,
    /// After the last fault of this gateway: for how long nothing is asked for, and until when.
    losses: Option<(Duration, Mono)>,
    /// What the clock contradicts, once it was told.
    contradicted: Option<Wall>,
    actions: VecDeque<Action>,
}

/// Timestamps that the right key has signed and that cannot be judged yet: the newest of each kind.
#[derive(Debug, Default)]
struct Early {
    /// Made under a root that is not here yet.
    root: Option<(u64, Vec<u8>)>,
    /// From when the time was not known, or ahead of it.
    clock: Option<(u64, Vec<u8>)>,
}

impl Agent {
    /// Of what the gateway believes at its start. What it wants first stands in the actions.
    pub fn new(trust: Trust, gateway: String) -> Self {
        let mut agent = Self {
            trust,
            gateway,
            current: None,
            early: Early::default(),
            asked: None,
            held: None,
            verified: None,
            lock: UpdateLock::default(),
            losses: None,
            contradicted: None,
            actions: VecDeque::new(),
        };
        agent.actions.extend(agent.wanted().into_iter().map(Action::Want));
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

    /// All that is wanted now, to be asked for after a connection has come back.
    pub fn wanted(&self) -> Vec<Which> {
        let root = Which::Root(self.trust.root().version.saturating_add(1));
        let bundle = self.asked.map(|slot| Which::Bundle(slot.version));
        [root, Which::Timestamp].into_iter().chain(bundle).collect()
    }

    /// A document has come.
    pub fn handle_document(&mut self, which: Which, bytes: &[u8], change: &Change, now: &Now) {
        self.trust.handle_time(now);
        let refused = match which {
            // What was withdrawn is an empty message.
            _ if bytes.is_empty() => Ok(()),
            Which::Root(_) => self.root(bytes, change, now),
            Which::Timestamp => self.timestamp(bytes, now),
            Which::Bundle(_) => self.bundle(bytes, change, now),
        };
        if let Err(refusal) = refused {
            self.actions.push_back(Action::Refuse(refusal));
        }
        self.go_on(change, now);
    }

    /// Time has passed, the clock is another one, or the change has moved on.
    pub fn handle_time(&mut self, change: &Change, now: &Now) {
        self.trust.handle_time(now);
        if self.trust.is_time_known(now) {
            if let Some((_, early)) = self.early.clock.take() {
                self.judge_again(&early, now);
            }
            // What was taken without a clock is judged with one.
            let unknown = |(current, _): &(Current, _)| current.freshness() == Freshness::Unknown;
            if let Some((_, bytes)) = self.current.take_if(|current| unknown(current)) {
                self.judge_again(&bytes, now);
            }
        }
        self.go_on(change, now);
    }

    /// Whether any alarm is active: while one is, no bundle begins.
    pub fn handle_alarms(&mut self, is_active: bool, change: &Change, now: &Now) {
        self.lock.handle_alarms(is_active, now.mono);
        self.go_on(change, now);
    }

    /// The bundle that was asked for, or staged, is lost by a fault of this gateway: it could not be written, or
    /// `start::begin` has dropped it. It is asked for again, each time later.
    pub fn handle_loss(&mut self, now: &Now) {
        let pause = self.losses.map_or(FIRST_PAUSE, |(pause, _)| pause.saturating_mul(2).min(LONGEST_PAUSE));
        (self.asked, self.losses) = (None, Some((pause, now.mono + pause)));
    }

    /// When to be told of the time again; none: nothing is waited for.
    pub fn wakes_at(&self, change: &Change, now: &Now) -> Option<Wall> {
        let expires = self.current.as_ref().map(|(current, _)| current.expires());
        let standing = self.standing(change, now);
        let turn = if let Standing::Waits(from) = standing { from } else { None };
        expires.into_iter().chain(turn).filter(|at| *at > now.wall).min()
    }

    /// When to be told of the time again by the clock that cannot be set: the update lock opens if no alarm
    /// comes, or what was lost is asked for again.
    pub fn pauses_until(&self, now: &Now) -> Option<Mono> {
        let ends = self.lock.settles_at().into_iter().chain(self.losses.map(|(_, until)| until));
        ends.filter(|at| *at > now.mono).min()
    }

    /// Where the gateway stands.
    pub fn standing(&self, change: &Change, now: &Now) -> Standing {
        let Some((current, _)) = &self.current else { return Standing::Unheard };
        let slot = slot_of(current);
        let version = slot.version;
        if self.trust.time_of(now) >= current.expires() {
            return Standing::Stale(current.expires());
        }
        match change.offered(slot) {
            Offer::Runs => Standing::Current,
            Offer::Staged if self.lock.is_held(now.mono) => {
                Standing::UpdateLock { version, is_long: self.lock.is_long(now.mono) }
            }
            Offer::Staged | Offer::OnTrial => Standing::UnderWay(version),
            Offer::Busy => Standing::UnderWay(change.on_trial().unwrap_or(slot).version),
            Offer::Failed(reason) => Standing::Failed(version, reason),
            Offer::New => match self.turn(current, now) {
                Turn::Now => self.held(slot, now).unwrap_or(Standing::Fetches(version)),
                Turn::From(at) => Standing::Waits(Some(at)),
                Turn::NotYet => Standing::Waits(None),
                Turn::Paused => Standing::Paused,
            },
        }
    }

    /// Why the bundle that is current cannot be taken, as far as that still holds.
    fn held(&self, slot: Slot, now: &Now) -> Option<Standing> {
        let (_, refusal) = self.held.as_ref().filter(|(held, _)| *held == slot)?;
        let (time, why) = (self.trust.time_of(now), &refusal.why);
        if let Why::TooEarly { at, .. } = why {
            return (time < *at).then_some(Standing::Waits(Some(*at)));
        }
        if let Why::NotAMember { group, .. } = why {
            return Some(Standing::NotListed(slot.version, group.clone()));
        }
        let is_over = matches!(why, Why::Expired { at } if time < *at);
        (!is_over).then(|| Standing::Refused(slot.version, why.to_string()))
    }

    /// Whether it is known that the last word is still good.
    pub fn freshness(&self) -> Option<Freshness> {
        self.current.as_ref().map(|(current, _)| current.freshness())
    }

    fn root(&mut self, bytes: &[u8], change: &Change, now: &Now) -> Result<(), Refusal> {
        if !self.trust.root_offered(bytes)? {
            return Ok(());
        }
        // What the old keys vouched for is asked for and judged again by the new ones.
        (self.asked, self.held, self.verified) = (None, None, None);
        self.actions.push_back(Action::KeepRoot(bytes.to_vec()));
        self.withdraw(Withdrawn::Unverified, change);
        self.actions.extend(self.wanted().into_iter().map(Action::Want));
        let latest = self.current.take();
        for (_, early) in [self.early.root.take(), self.early.clock.take()].into_iter().flatten() {
            self.judge_again(&early, now);
        }
        if let Some((_, latest)) = latest {
            // Refused, it is what the new root was made for; or a newer one has come before it.
            let _ = self.believe(&latest, now);
        }
        Ok(())
    }

    fn timestamp(&mut self, bytes: &[u8], now: &Now) -> Result<(), Refusal> {
        self.believe(bytes, now).or_else(|refusal| {
            let place = if is_before_its_root(&refusal) {
                &mut self.early.root
            } else if is_before_its_time(&refusal) {
                &mut self.early.clock
            } else {
                return Err(refusal);
            };
            let version = version_of(bytes);
            if place.as_ref().is_none_or(|(other, _)| *other <= version) {
                *place = Some((version, bytes.to_vec()));
            }
            // The roots between are on their way, or the next timestamp says it again.
            if is_before_its_root(&refusal) { Ok(()) } else { Err(refusal) }
        })
    }

    /// A timestamp that came before it could be judged. If it is refused now, what is retained is asked for
    /// anew, as this one may have stood in its way.
    fn judge_again(&mut self, bytes: &[u8], now: &Now) {
        if let Err(refusal) = self.timestamp(bytes, now) {
            // Or a newer one has come since.
            let is_older = matches!(refusal.why, Why::Rollback { .. });
            if !is_older && !is_before_its_time(&refusal) {
                self.actions.push_back(Action::Refuse(refusal));
                self.actions.push_back(Action::Want(Which::Timestamp));
            }
        }
    }

    fn believe(&mut self, bytes: &[u8], now: &Now) -> Result<(), Refusal> {
        let before = self.trust.marks().clone();
        let current = self.trust.timestamp_offered(bytes, now)?;
        if *self.trust.marks() != before {
            self.actions.push_back(Action::See);
        }
        if self.current.as_ref().is_none_or(|(before, _)| slot_of(before) != slot_of(&current)) {
            self.losses = None;
        }
        self.current = Some((current, bytes.to_vec()));
        Ok(())
    }

    fn bundle(&mut self, bytes: &[u8], change: &Change, now: &Now) -> Result<(), Refusal> {
        let Some((current, _)) = self.current.clone() else { return Ok(()) };
        let slot = slot_of(&current);
        let is_wanted = matches!(self.standing(change, now), Standing::Fetches(_));
        let is_the_head = Digest::of(bytes) == slot.sha256;
        // A bundle that another one followed, or that came before its turn: it is asked for when it is.
        if !is_wanted || (!is_the_head && self.asked != Some(slot)) {
            return Ok(());
        }
        match self.trust.bundle_offered(bytes, &current, now) {
            Ok(verified) => self.take(slot, &verified, bytes, change),
            Err(refusal) => {
                // Other bytes say nothing of the bundle: it may still come.
                if is_the_head {
                    self.held = Some((slot, refusal.clone()));
                }
                return Err(refusal);
            }
        }
        Ok(())
    }

    fn take(&mut self, slot: Slot, verified: &Verified, bytes: &[u8], change: &Change) {
        let Some(to) = verified.transfer_of(&self.gateway).map(str::to_owned) else {
            let bundle = verified.bundle();
            self.verified = Some((slot, bundle.not_before.0, bundle.expires.0));
            self.actions.push_back(Action::Stage(slot, bytes.to_vec()));
            return;
        };
        self.trust.transferred(&to);
        (self.current, self.asked, self.held, self.verified) = (None, None, None, None);
        self.early = Early::default();
        self.withdraw(Withdrawn::Replaced, change);
        let want = Action::Want(Which::Timestamp);
        self.actions.extend([Action::See, Action::Transfer(to), want]);
    }

    /// Withdraws what may not begin, begins what may, and asks for the bundle when it is its turn.
    fn go_on(&mut self, change: &Change, now: &Now) {
        let contradicted = self.trust.contradicted_by(now);
        if let Some(floor) = contradicted.filter(|_| self.contradicted.is_none()) {
            self.actions.push_back(Action::ClockContradicts(floor));
        }
        self.contradicted = contradicted;
        let may = self.may_begin(change, now);
        if self.lock.handle_wait(matches!(may, Some(Ok(_))), now.mono)
            && let Some(Ok(slot)) = may
        {
            self.push_once(Action::Begin(slot));
        }
        if let Some(Err(why)) = may {
            self.withdraw(why, change);
        }
        let slot = self.current.as_ref().map(|(current, _)| slot_of(current));
        if !matches!(self.standing(change, now), Standing::Fetches(_)) {
            self.asked = None;
        } else if self.asked != slot && self.losses.is_none_or(|(_, until)| until <= now.mono) {
            self.asked = slot;
            self.actions.extend(slot.map(|slot| Action::Want(Which::Bundle(slot.version))));
        }
    }

    /// What is staged, if it may begin, or why it is withdrawn. None: nothing is staged, or nothing is known yet.
    fn may_begin(&self, change: &Change, now: &Now) -> Option<Result<Slot, Withdrawn>> {
        let (staged, (current, _)) = (change.staged()?, self.current.as_ref()?);
        let time = self.trust.time_of(now);
        let is_early = |not_before| self.trust.is_time_known(now) && time < not_before;
        Some(if staged != slot_of(current) {
            Err(Withdrawn::Replaced)
        } else if time >= current.expires() {
            Err(Withdrawn::Stale)
        } else if self.turn(current, now) != Turn::Now {
            Err(Withdrawn::NoTurn)
        } else {
            let found = self.verified.filter(|(slot, ..)| *slot == staged);
            found
                .filter(|(_, not_before, expires)| !is_early(*not_before) && time < *expires)
                .map_or(Err(Withdrawn::Unverified), |_| Ok(staged))
        })
    }

    fn withdraw(&mut self, why: Withdrawn, change: &Change) {
        if change.staged().is_some()
            && !self.actions.iter().any(|action| matches!(action, Action::Unstage(_)))
        {
            self.actions.push_back(Action::Unstage(why));
        }
    }

    fn push_once(&mut self, action: Action) {
        if !self.actions.contains(&action) {
            self.actions.push_back(action);
        }
    }

    fn turn(&self, current: &Current, now: &Now) -> Turn {
        turn(current.rollout(), &self.gateway, self.trust.time_of(now))
    }
}

const fn is_before_its_root(refusal: &Refusal) -> bool {
    matches!(refusal.why, Why::NeedsRoot { .. })
}

const fn is_before_its_time(refusal: &Refusal) -> bool {
    matches!(refusal.why, Why::ClockUnknown | Why::IssuedAhead { .. })
}

/// The version of a timestamp whose signature was found to be good.
fn version_of(timestamp: &[u8]) -> u64 {
    let envelope = Envelope::parse(timestamp, Timestamp::CAP).ok();
    let read = envelope.and_then(|envelope| Timestamp::read(envelope.payload()).ok());
    read.map_or(0, |timestamp| timestamp.version)
}

const fn slot_of(current: &Current) -> Slot {
    Slot { version: current.head().version, sha256: current.head().sha256 }
}
