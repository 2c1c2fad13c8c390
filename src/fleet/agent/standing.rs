//! What an agent asks of its caller, and where it says that the gateway stands.

use crate::fleet::change::Slot;
use crate::fleet::refusal::Refusal;
use crate::time::Wall;

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
    /// This document is wanted, and none of its kind before it any more. Each time it is to be asked for
    /// *anew*, also if it is asked for already: what is retained comes once for each subscription. A timestamp
    /// stays wanted for good.
    Want(Which),
    /// This root is trusted now: to be made durable, with what was seen.
    KeepRoot(Vec<u8>),
    /// What was seen has changed: to be made durable.
    See,
    /// This bundle is to be kept and staged.
    Stage(Slot, Vec<u8>),
    /// What is staged is not to begin, and why: `Change::unstage`.
    Unstage(Withdrawn),
    /// What is staged is to begin now: `start::begin`. Said again until the change has moved on.
    Begin(Slot),
    /// The gateway is sent to another group once the bundle that says so has been seen.
    Transfer(String),
    /// A document is not believed: to be told.
    Refuse(Refusal),
    /// The clock is synchronised and lies more than a day before this moment, at which a timestamp that was
    /// believed was issued: to be told.
    ClockContradicts(Wall),
}

/// Why a staged bundle is not to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// Another one is current.
    Replaced,
    /// It is no longer the gateway's turn: the roll-out is paused, or its waves have changed.
    NoTurn,
    /// The timestamp has expired.
    Stale,
    /// It was verified by other keys, before the last start, or its time has not come or has passed: it is
    /// asked for and judged again.
    Unverified,
}

/// Where a gateway stands with its fleet, for people and for the operator. Whatever it is: what runs goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No timestamp of its group was believed since the start, the last root, or the transfer.
    Unheard,
    /// What runs is what is current.
    Current,
    /// Another bundle is current, and it is not this gateway's turn yet; from when on, if that is known.
    Waits(Option<Wall>),
    /// The roll-out is paused.
    Paused,
    /// The bundle that is current is being fetched.
    Fetches(u64),
    /// The bundle that is current has come and is not believed; in words.
    Refused(u64, String),
    /// The bundle that is current neither lists this gateway nor sends it elsewhere: its version and group.
    NotListed(u64, String),
    /// This bundle is staged or on trial.
    UnderWay(u64),
    /// It is staged and does not begin while an alarm is active.
    UpdateLock {
        /// Its version.
        version: u64,
        /// Whether it waits for so long that somebody must look: see `lock::LONG`.
        is_long: bool,
    },
    /// It was tried and taken back.
    Failed(u64, String),
    /// The gateway is told nothing any more: the last word has expired.
    Stale(Wall),
}
