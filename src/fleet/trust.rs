//! The one verifier: which documents of the fleet a gateway believes.
//!
//! In: the bytes of an envelope, wherever they came from (a retained topic, a folder), and the time.
//! Out: a document that may be acted on, or a [`Refusal`] that names what is wrong. What was seen is
//! kept in [`Marks`]: the caller makes them durable before it acts on what they vouch for. Pure: no
//! clock, no disk, no network. What never happens: a payload is read before enough keys have signed
//! it; a version goes down; a clock that nobody vouches for makes a document valid for ever.
//!
//! The steps are those of the TUF specification (1.0.33, section 5.3 to 5.6) for three documents in
//! place of four: a bundle is one object, so it needs no snapshot.

mod clock;
mod marks;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod time_tests;

use std::collections::BTreeSet;

use super::documents::{Bundle, Digest, Document, Head, Role, RoleKind, Rollout, Root, Timestamp};
use super::dsse::Envelope;
use super::key::PublicKey;
use super::refusal::{Refusal, Why};
use crate::time::{Now, Wall};

use clock::{Reference, Time};

pub use clock::{MAX_FIRST, MAX_STEP};
pub use marks::Marks;

/// The program's version, for [`Bundle::min_agent`].
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// Whether it is known that a document is still current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The clock follows a reference.
    Known,
    /// It does not: the document is newer than every one seen, no more is known.
    Unknown,
}

/// Whom the documents must be meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The organisation.
    pub organisation: String,
    /// The gateway's id.
    pub gateway: String,
}

/// A timestamp that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    head: Head,
    rollout: Rollout,
    expires: Wall,
    freshness: Freshness,
}

impl Current {
    /// The bundle that is current.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// How it is to reach the gateways.
    pub const fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// Until when it speaks.
    pub const fn expires(&self) -> Wall {
        self.expires
    }

    /// Whether it is known to be current.
    pub const fn freshness(&self) -> Freshness {
        self.freshness
    }
}

/// A bundle that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    bundle: Bundle,
    digest: Digest,
}

impl Verified {
    /// The bundle.
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The digest of its envelope.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The group that this bundle sends the gateway to, if it does.
    pub fn transfer_of(&self, gateway: &str) -> Option<&str> {
        let found = self.bundle.transfers.iter().find(|transfer| transfer.gateway == gateway);
        found.map(|transfer| transfer.to.as_str())
    }
}

/// What a gateway believes.
#[derive(Clone, Debug)]
pub struct Trust {
    recipient: Recipient,
    root: Root,
    marks: Marks,
    reference: Reference,
}

impl Trust {
    /// A gateway with the root that it was given when it was set up, by hand.
    pub fn enrol(recipient: Recipient, group: String, root: &[u8]) -> Result<Self, Refusal> {
        let (document, digest) = self_signed(root)?;
        same("organisation", &document.organisation, &recipient.organisation).map_err(of::<Root>)?;
        let marks = Marks::new(group, document.version, digest);
        Ok(Self { recipient, root: document, marks, reference: Reference::default() })
    }

    /// A gateway that starts again: the root that it kept, and what it had seen.
    pub fn resume(recipient: Recipient, root: &[u8], marks: Marks) -> Result<Self, Refusal> {
        let (document, digest) = self_signed(root)?;
        same("organisation", &document.organisation, &recipient.organisation).map_err(of::<Root>)?;
        // An older root in its place would bring back keys that were dropped.
        let (offered, seen) = (document.version, marks.root());
        if offered < seen {
            return Err(of::<Root>(Why::Rollback { offered, seen }));
        }
        if offered > seen {
            return Err(of::<Root>(Why::RootGap { offered, current: seen }));
        }
        if digest != marks.root_digest() {
            return Err(of::<Root>(Why::Equivocation { version: seen }));
        }
        Ok(Self { recipient, root: document, marks, reference: Reference::default() })
    }

    /// What was seen, to be made durable.
    pub const fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The root that is trusted.
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// The next root. `false`: it is the one that is trusted already.
    pub fn root_offered(&mut self, bytes: &[u8]) -> Result<bool, Refusal> {
        self.next_root(bytes).map_err(of::<Root>)
    }

    fn next_root(&mut self, bytes: &[u8]) -> Result<bool, Why> {
        let digest = Digest::of(bytes);
        if digest == self.marks.root_digest() {
            return Ok(false);
        }
        // 1. Not longer than such a document may be, an envelope, and of this type.
        let envelope = opened::<Root>(bytes)?;
        // 2. Enough of those who are trusted now have signed it.
        signed(&envelope, &self.root, RoleKind::Root)?;
        // 3. Only now is it read.
        let next = read::<Root>(&envelope)?;
        // 4. It is of this organisation.
        same("organisation", &next.organisation, &self.recipient.organisation)?;
        // 5. It is the very next: each root is judged by the one before it.
        let (offered, current) = (next.version, self.root.version);
        match offered.checked_sub(current) {
            None => return Err(Why::Rollback { offered, seen: current }),
            Some(0) => return Err(Why::Equivocation { version: current }),
            Some(1) => {}
            Some(_) => return Err(Why::RootGap { offered, current }),
        }
        // 6. Enough of those who will be trusted have signed it: they do have their keys.
        signed(&envelope, &next, RoleKind::Root)?;
        // 7. Whoever held the old timestamp keys may have run far ahead with them: their numbers and
        //    their time are forgotten with them (TUF section 5.3.11).
        let clockwork = |root: &Root| -> BTreeSet<_> {
            root.role(RoleKind::Timestamp).keys.iter().map(PublicKey::id).collect()
        };
        let is_new_clockwork = clockwork(&next) != clockwork(&self.root);
        self.marks.root_accepted(offered, digest, is_new_clockwork);
        self.root = next;
        Ok(true)
    }

    /// A timestamp of the gateway's group: a newer one, or the one that was seen last again.
    pub fn timestamp_offered(&mut self, bytes: &[u8], now: &Now) -> Result<Current, Refusal> {
        self.timestamp(bytes, now).map_err(of::<Timestamp>)
    }

    fn timestamp(&mut self, bytes: &[u8], now: &Now) -> Result<Current, Why> {
        // 1. Not longer than such a document may be, an envelope, and of this type.
        let envelope = opened::<Timestamp>(bytes)?;
        // 2. Enough of the timestamp keys have signed it.
        signed(&envelope, &self.root, RoleKind::Timestamp)?;
        // 3. Only now is it read.
        let timestamp = read::<Timestamp>(&envelope)?;
        // 4. It is of this organisation and group.
        same("organisation", &timestamp.organisation, &self.recipient.organisation)?;
        same("group", &timestamp.group, self.marks.group())?;
        // 5. The root that it was made under is here.
        let (needed, current) = (timestamp.head.root, self.root.version);
        if needed > current {
            return Err(Why::NeedsRoot { needed, current });
        }
        // 6. It is newer than every one before it, or the last one again.
        let digest = Digest::of(bytes);
        let version = timestamp.version;
        let most = self.time(now).widest_step(&self.marks, timestamp.issued_at.0);
        forward(version, self.marks.timestamp(), most)?;
        if version == self.marks.timestamp() && digest != self.marks.timestamp_digest() {
            return Err(Why::Equivocation { version });
        }
        // 7. The bundle that it names is not older than one that was seen, nor another of its number.
        let head = &timestamp.head;
        match forward(head.version, self.marks.bundle(), MAX_STEP) {
            Err(Why::Rollback { offered, seen }) => return Err(Why::HeadRollback { offered, seen }),
            other => other?,
        }
        if self.marks.is_another_bundle(head.version, head.sha256) {
            return Err(Why::Equivocation { version: head.version });
        }
        // 8. It is not too old, and not from a future that a stolen key would like to have.
        let freshness = self.fresh(&timestamp, now)?;
        self.marks.timestamp_accepted(version, digest, timestamp.issued_at.0, freshness);
        let Timestamp { head, rollout, expires, .. } = timestamp;
        Ok(Current { head, rollout, expires: expires.0, freshness })
    }

    fn fresh(&self, timestamp: &Timestamp, now: &Now) -> Result<Freshness, Why> {
        let time = self.time(now);
        // A root that is too old may have lost its keys since.
        for at in [timestamp.expires.0, self.root.expires.0] {
            if time.is_past(at) {
                return Err(Why::Expired { at });
            }
        }
        match time {
            Time::Is(now) => {
                let at = timestamp.issued_at.0;
                if at > clock::later(now, clock::CLOCKS_DIFFER_MS) {
                    return Err(Why::IssuedAhead { at, now });
                }
                Ok(Freshness::Known)
            }
            // After a gateway was set up anew nothing but the clock tells an old document.
            Time::NotBefore(_) if self.marks.timestamp() == 0 => Err(Why::ClockUnknown),
            Time::NotBefore(_) => Ok(Freshness::Unknown),
        }
    }

    /// The bundle that the timestamp names.
    pub fn bundle_offered(
        &mut self,
        bytes: &[u8],
        current: &Current,
        now: &Now,
    ) -> Result<Verified, Refusal> {
        self.bundle(bytes, &current.head, now).map_err(of::<Bundle>)
    }

    fn bundle(&mut self, bytes: &[u8], head: &Head, now: &Now) -> Result<Verified, Why> {
        // 1. Not longer than such a document may be, an envelope, and of this type.
        let envelope = opened::<Bundle>(bytes)?;
        // 2. It is the one that the timestamp names, byte by byte.
        let digest = Digest::of(bytes);
        if digest != head.sha256 {
            return Err(Why::NotTheHead { found: digest, named: head.sha256 });
        }
        // 3. Enough of the config keys have signed it: the timestamp's key alone can install nothing.
        signed(&envelope, &self.root, RoleKind::Config)?;
        // 4. Only now is it read.
        let bundle = read::<Bundle>(&envelope)?;
        // 5. It is of this organisation and group.
        same("organisation", &bundle.organisation, &self.recipient.organisation)?;
        same("group", &bundle.group, self.marks.group())?;
        // 6. It has the version that the timestamp says, which is not older than what was seen.
        if bundle.version != head.version {
            return Err(Why::HeadVersion { found: bundle.version, named: head.version });
        }
        forward(bundle.version, self.marks.bundle(), MAX_STEP)?;
        // 7. It is meant for this gateway.
        let gateway = &self.recipient.gateway;
        let verified = Verified { bundle, digest };
        let bundle = &verified.bundle;
        if !bundle.members.contains(gateway) && verified.transfer_of(gateway).is_none() {
            return Err(Why::NotAMember { group: bundle.group.clone(), gateway: gateway.clone() });
        }
        // 8. This program can do what it asks.
        if !is_at_least(PROGRAM, &bundle.min_agent) {
            return Err(Why::Program { needed: bundle.min_agent.clone(), own: PROGRAM.to_owned() });
        }
        // 9. It is its time.
        let time = self.time(now);
        if time.is_past(bundle.expires.0) {
            return Err(Why::Expired { at: bundle.expires.0 });
        }
        if let Time::Is(now) = time
            && bundle.not_before.0 > now
        {
            return Err(Why::TooEarly { at: bundle.not_before.0, now });
        }
        self.marks.bundle_accepted(bundle.version, digest);
        Ok(verified)
    }

    /// The gateway has left for another group: nothing of it was seen yet.
    pub fn transferred(&mut self, to: &str) {
        self.marks.transferred(to);
    }

    /// Time has passed: what a synchronised clock says is remembered for when it is none any more.
    pub fn handle_time(&mut self, now: &Now) {
        self.reference.look(&self.marks, now);
    }

    fn time(&self, now: &Now) -> Time {
        Time::of(&self.marks, self.reference, now)
    }

    /// What time it is, or before which it cannot be where no clock is to be believed.
    pub fn time_of(&self, now: &Now) -> Wall {
        self.time(now).at()
    }

    /// Whether the clock tells the time, so that what is too old is known to be.
    pub fn is_time_known(&self, now: &Now) -> bool {
        matches!(self.time(now), Time::Is(_))
    }

    /// A synchronised clock that lies more than a day before a timestamp that was believed: one of them is
    /// wrong, and a person should know. What then counts is told in `trust/clock.rs`.
    pub fn contradicted_by(&self, now: &Now) -> Option<Wall> {
        clock::contradicts(&self.marks, now).then(|| self.marks.floor())
    }
}

fn of<D: Document>(why: Why) -> Refusal {
    Refusal { document: D::NAME, why }
}

fn opened<D: Document>(bytes: &[u8]) -> Result<Envelope, Why> {
    let envelope = Envelope::parse(bytes, D::CAP)?;
    if envelope.payload_type() == D::PAYLOAD_TYPE {
        return Ok(envelope);
    }
    Err(Why::Type { found: envelope.payload_type().to_owned(), expected: D::PAYLOAD_TYPE })
}

fn signed(envelope: &Envelope, root: &Root, kind: RoleKind) -> Result<(), Why> {
    let Role { keys, threshold } = root.role(kind);
    let have = envelope.signers(keys).len();
    if have >= *threshold {
        return Ok(());
    }
    Err(Why::Signatures { role: kind, root: root.version, have, need: *threshold })
}

fn read<D: Document>(envelope: &Envelope) -> Result<D, Why> {
    D::read(envelope.payload()).map_err(Why::Shape)
}

/// A root by its own word: what a person put there, or what was verified before it was kept.
fn self_signed(bytes: &[u8]) -> Result<(Root, Digest), Refusal> {
    let judge = || {
        let envelope = opened::<Root>(bytes)?;
        let root = read::<Root>(&envelope)?;
        signed(&envelope, &root, RoleKind::Root)?;
        Ok((root, Digest::of(bytes)))
    };
    judge().map_err(of::<Root>)
}

fn same(field: &'static str, found: &str, own: &str) -> Result<(), Why> {
    if found == own {
        return Ok(());
    }
    Err(Why::Place { field, found: found.to_owned(), own: own.to_owned() })
}

/// Not back, and not too far ahead; the first one not beyond [`MAX_FIRST`].
fn forward(offered: u64, seen: u64, most: u64) -> Result<(), Why> {
    if offered < seen {
        return Err(Why::Rollback { offered, seen });
    }
    let most = if seen == 0 { MAX_FIRST } else { most };
    if offered - seen > most {
        return Err(Why::FastForward { offered, seen, most });
    }
    Ok(())
}

/// Compares versions number by number. What is no number is more than any program has.
fn is_at_least(own: &str, needed: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        core.split('.').map(|part| part.parse().unwrap_or(u64::MAX)).collect()
    };
    numbers(own) >= numbers(needed)
}
