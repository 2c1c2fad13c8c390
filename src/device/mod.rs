//! From link events to observations: pure, no I/O, `now` is an argument.
//!
//! In: [`LinkEvent`]s. Out: [`Action`]s: a command for the link, an identity that the device
//! stated, an observation in the normal form, a fault. Noise is normal input: a driver counts it,
//! finds the next frame and goes on; it never ends the session for it and never panics.
//!
//! A new serial driver is one file under `serial/`, a new BLE profile one file under `ble/`, and
//! two lines in the table there.

pub mod alarms;
pub mod ble;
pub mod catalogue;
pub mod decimal;
pub mod framing;
pub mod medfloat;
pub mod memo;
pub mod nomenclature;
pub mod observation;
pub mod pin;
pub mod placing;
pub mod serial;
pub mod session;
pub mod settings;
#[cfg(feature = "storm")]
pub mod storm;

use crate::link::{LinkCommand, LinkEvent};
use crate::time::{Mono, Now};
use memo::Memo;
use observation::Observation;
use pin::Pin;

/// The protocol of one device on one link.
///
/// Its methods are of two kinds. `handle_*` takes what happened and the time. `poll_*` gives what
/// follows: after every `handle_*`, call [`Driver::poll_action`] until it gives `None`, then
/// arrange to call [`Driver::handle_timeout`] at [`Driver::poll_timeout`]. `now` never goes back.
pub trait Driver: Send {
    /// Takes one event of the link.
    fn handle_event(&mut self, event: &LinkEvent, now: Now);

    /// Takes the passing of the time that `poll_timeout` gave.
    fn handle_timeout(&mut self, now: Now);

    /// Takes word that nothing up to and including `through` is waited for any more: every observation is on
    /// durable storage, or the site did not list its element, or it was named by `handle_refused` before.
    /// For what was not refused, the moment at which a protocol with an acknowledgement may send it.
    fn handle_durable(&mut self, through: Ticket, now: Now) {
        let _ = (through, now);
    }

    /// Takes word that the observation of this ticket, and maybe some before it, was refused because of who the
    /// device is: it is not the one that is expected, or did not say who it is. It is not stored and never
    /// will be, so a protocol with an acknowledgement must not send it for anything that is not acknowledged
    /// yet. Comes before the `handle_durable` that passes over the ticket; also to a driver that was made
    /// after the ticket was given.
    fn handle_refused(&mut self, ticket: Ticket, now: Now) {
        let _ = (ticket, now);
    }

    /// As `handle_refused`, of a device that is the right one and in quarantine by an advisory: what it says is not
    /// stored, but which alarms of it are on is kept in mind until the quarantine is lifted.
    fn handle_held(&mut self, ticket: Ticket, now: Now) {
        self.handle_refused(ticket, now);
    }

    /// Takes the ticket of the observation or pin that `poll_action` gave last, if it is of the device itself.
    /// A driver that waits for `handle_durable` cannot count them on its own: tickets go on over
    /// connections, and over drivers that panicked.
    fn handle_ticket(&mut self, ticket: Ticket) {
        let _ = ticket;
    }

    /// Takes what this driver, or one before it, wanted remembered last: once, before everything else, if there
    /// is something. It may be of another device, of another version of this program, or older than what was
    /// last given.
    fn recall(&mut self, memo: &[u8]) {
        let _ = memo;
    }

    /// Takes word, behind `recall`, that what is remembered is of another entry of the allowlist: which alarms were
    /// told to be on says nothing of what is told from here on.
    fn handle_other_entry(&mut self) {}

    /// What was told of the device and would come again, as the device could not know that it had arrived: keys that
    /// only this kind of driver can read, each once for each time. `None`: such things do not come again. To be asked
    /// when the link is down and all that was told is durable.
    fn told(&self) -> Option<Vec<u64>> {
        None
    }

    /// Takes what another driver of the same kind, for the same device at the same place, had told: once, before
    /// everything else.
    fn handle_told(&mut self, keys: Vec<u64>) {
        let _ = keys;
    }

    /// When `handle_timeout` wants to be called, if at all.
    fn poll_timeout(&self) -> Option<Mono>;

    /// The next thing to do.
    fn poll_action(&mut self) -> Option<Action>;
}

/// The number of an observation within its session: 1, 2, 3, ...
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What became of a session's observations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Nothing up to and including this one is waited for any more: it is on durable storage, or it was
    /// refused. That the site did not list an element is its own choice, and counts as done. What was refused
    /// for who the device is, is named by `refused` as well, and what was for an advisory by `held`.
    pub through: Ticket,
    /// The last one that was refused because of who the device is.
    pub refused: Ticket,
    /// The last one that was refused because the device is in quarantine by an advisory.
    pub held: Ticket,
}

/// What a driver wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Have the link do this.
    Command(LinkCommand),
    /// The device, or a part of it, said who it is. Given before the first observation of a
    /// connection, and again whenever it says something else.
    Identify(Part, Identity),
    /// A reading, an alarm, a state.
    Observe(Part, Observation),
    /// What the device itself is, as far as it is not known from before. Taken like an observation.
    Pin(Pin),
    /// What the device itself observed so far shall be durable at once, without waiting for more: its sender
    /// forgets it, or waits for the answer.
    Commit,
    /// A part is not there any more, and why, in words for a person. Whatever is there next in its
    /// place has to say who it is.
    Gone(Part, String),
    /// Something was wrong with what came in. Counted, never the end of the session.
    Report(Fault),
    /// Keep this over a restart, in place of what was to be remembered before.
    Remember(Memo),
}

impl Action {
    /// The device itself said who it is.
    pub const fn identify(identity: Identity) -> Self {
        Self::Identify(Part::WHOLE, identity)
    }

    /// A reading, an alarm, a state of the device itself.
    pub const fn observe(observation: Observation) -> Self {
        Self::Observe(Part::WHOLE, observation)
    }
}

/// One of several devices behind one link that have an identity of their own: the pump in a slot of
/// a rack, the member of a daisy chain. Each is an asset of its own in the allowlist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part(pub u8);

impl Part {
    /// What stands at the other end of the link itself; for most models there is nothing else.
    pub const WHOLE: Self = Self(0);
}

/// What a device says of itself. Compared with the allowlist before anything is passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The maker's name (Device Information 2A29).
    pub maker: Option<String>,
    /// The model (Device Information 2A24, or the protocol's own).
    pub model: Option<String>,
    /// The serial number (Device Information 2A25, or the protocol's own).
    pub serial: Option<String>,
    /// The firmware revision (Device Information 2A26) or protocol revision.
    pub firmware: Option<String>,
}

/// Something wrong with what came in: bytes in, value or `Fault` out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct Fault {
    /// The kind, for counting.
    pub kind: FaultKind,
    /// What exactly, in words for a person. Holds no observation value.
    pub detail: String,
}

impl Fault {
    /// A fault of a kind with its detail.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

/// The kinds of faults, the same for every driver, so that they can be counted and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A checksum, CRC or parity did not match.
    Checksum,
    /// Bytes that belong to no frame, or a frame that never ended.
    Framing,
    /// A whole frame whose content cannot be read.
    Malformed,
    /// A well-formed frame that nobody asked for, or an answer to something else.
    Unexpected,
    /// No answer in time.
    Timeout,
    /// The device refused a request.
    Refused,
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Checksum => "checksum",
            Self::Framing => "framing",
            Self::Malformed => "malformed",
            Self::Unexpected => "unexpected",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
        })
    }
}

/// The place of a device in the allowlist of the running configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceIndex(pub u16);

/// What a session passes on to the right.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Whose session.
    pub device: DeviceIndex,
    /// When the gateway knew.
    pub at: Now,
    /// What.
    pub body: ReportBody,
}

/// The content of a [`Report`].
#[derive(Clone, Debug, PartialEq)]
pub enum ReportBody {
    /// The link came up: whatever was known of the device's identity is void.
    Up,
    /// The link is down, and why.
    Down(String),
    /// The link was refused because the keys that the device's rule demands are not there.
    Insecure,
    /// The device said who it is.
    Identity(Identity),
    /// A reading, an alarm, a state; with its number in the session.
    Observation(Ticket, Observation),
    /// What the device is, as far as that is new; with its number in the session.
    Pin(Ticket, Pin),
    /// What the device observed so far shall be durable at once.
    Commit,
    /// Something was wrong with what came in.
    Fault(Fault),
    /// A part that the allowlist does not have said something. It goes no further.
    Unlisted(Part),
}
