//! Bytes to and from one physical device.
//!
//! In: what the session asks for ([`LinkCommand`]). Out: what happened ([`LinkEvent`]). A link
//! knows nothing of protocols: it opens, delivers, writes and closes.
//!
//! What never happens: a byte that is not in the device model's [`AllowSet`] is written. A driver
//! cannot hand bytes to a link at all; it names an entry of the set, and the link looks it up.

pub mod gatt;
pub mod replay;
pub mod serial;

use std::borrow::Cow;
use std::fmt;
use std::future::Future;

use bytes::Bytes;

#[cfg(target_os = "linux")]
pub mod ble;

/// The words with which a BLE link refuses to read or subscribe to a characteristic that the
/// peripheral does not have: normal for what a profile leaves optional, unlike any other failure.
pub const NOT_OFFERED: &str = "the device does not offer it";

/// Makes a frame of what is to be filled into it; `None` for what may not stand there.
pub type Fill = fn(&[u8]) -> Option<Vec<u8>>;

/// One request that a driver may send, with the exact bytes that go on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// What a person calls it, for instance the query's keyword.
    pub name: &'static str,
    /// The whole frame, checksum and terminator included; of a frame that is filled in, an example.
    pub bytes: &'static [u8],
    /// Makes the frame where a part of it is known only when it is sent (an address that the device
    /// gave, a number to be echoed). `None` for an argument that may not stand there.
    pub fill: Option<Fill>,
}

impl Request {
    /// A request that is always the same.
    pub const fn fixed(name: &'static str, bytes: &'static [u8]) -> Self {
        Self { name, bytes, fill: None }
    }

    /// A request with a place that is filled in. Everything else in it stays in the hands of `fill`,
    /// which belongs to the allow set and judges the argument.
    pub const fn filled(name: &'static str, example: &'static [u8], fill: Fill) -> Self {
        Self { name, bytes: example, fill: Some(fill) }
    }
}

/// What is filled into a request: at most [`Argument::MOST`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    bytes: [u8; Self::MOST],
    length: u8,
}

impl Argument {
    /// The longest.
    pub const MOST: usize = 32;

    /// Of these bytes; `None` when they are too many.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut all = [0; Self::MOST];
        all.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { bytes: all, length: u8::try_from(bytes.len()).ok()? })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// Every request that a device model may ever be sent. Written in the model's catalogue row and
/// nowhere else; an empty set is a device that is only listened to.
#[derive(Clone, Copy, Debug)]
pub struct AllowSet(&'static [Request]);

impl AllowSet {
    /// The set of a device that is only listened to.
    pub const NONE: Self = Self(&[]);

    /// Names the requests of one device model.
    pub const fn new(requests: &'static [Request]) -> Self {
        Self(requests)
    }

    /// The request behind an id, if the set has it.
    pub fn get(self, id: RequestId) -> Option<&'static Request> {
        self.0.get(usize::from(id.0))
    }

    /// The bytes that a command writes: `None` when it is not a request of this set, is filled in where
    /// nothing is to be filled in, or is not where something is.
    pub fn frame(self, command: LinkCommand) -> Option<Cow<'static, [u8]>> {
        match command {
            LinkCommand::Send(id) => {
                let request = self.get(id)?;
                request.fill.is_none().then_some(Cow::Borrowed(request.bytes))
            }
            LinkCommand::Fill(id, argument) => self.get(id)?.fill?(argument.bytes()).map(Cow::Owned),
            LinkCommand::Read(_)
            | LinkCommand::Subscribe(_)
            | LinkCommand::Write(_)
            | LinkCommand::HangUp => None,
        }
    }

    /// All requests, in the order of their ids.
    pub const fn requests(self) -> &'static [Request] {
        self.0
    }
}

/// The place of a request in its model's [`AllowSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u8);

/// A characteristic and the service it stands in: the same characteristic (2A52, say) occurs in
/// several services of one device. 16-bit UUIDs as assigned by the Bluetooth SIG.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Characteristic {
    /// The service's UUID.
    pub service: u16,
    /// The characteristic's UUID.
    pub uuid: u16,
}

impl fmt::Debug for Characteristic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}/{:04X}", self.service, self.uuid)
    }
}

/// The settings of a serial line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Bits per second.
    pub baud: u32,
    /// Data bits: 7 or 8.
    pub data_bits: u8,
    /// Parity.
    pub parity: Parity,
    /// Stop bits: 1 or 2.
    pub stop_bits: u8,
}

/// The parity of a serial line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Even parity.
    Even,
    /// Odd parity.
    Odd,
}

/// What happened on the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The port is open, or the peripheral is connected and its services are known. Whatever a
    /// driver remembered of an earlier connection is void.
    Up,
    /// Bytes came in on a serial line: any number, cut anywhere.
    Bytes(Bytes),
    /// A characteristic sent a notification or an indication.
    Value(Characteristic, Bytes),
    /// A read that was asked for has ended; the error is in words for a person.
    ReadDone(Characteristic, Result<Bytes, String>),
    /// A subscription that was asked for has ended; the error is in words for a person.
    Subscribed(Characteristic, Result<(), String>),
    /// A write that was asked for has ended; the error is in words for a person.
    Written(Characteristic, Result<(), String>),
    /// The link is gone. Nothing more comes until it is opened again.
    Down(LinkError),
}

/// What a driver may ask its link to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkCommand {
    /// Write one request of the model's allow set (serial).
    Send(RequestId),
    /// Write one request of the model's allow set with its place filled in (serial).
    Fill(RequestId, Argument),
    /// Read a characteristic (BLE).
    Read(Characteristic),
    /// Subscribe to notifications or indications, whichever it offers (BLE).
    Subscribe(Characteristic),
    /// Write one of the few things that may be written to a characteristic (BLE).
    Write(gatt::GattWrite),
    /// Close the link; the session opens it again after its back-off.
    HangUp,
}

/// Why a link is not there. Every text names the thing and, where there is one, the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The port or peripheral does not exist at the moment.
    #[error("{what} is not there")]
    Absent {
        /// The port's path or the peripheral's address.
        what: String,
    },
    /// It exists but may not be opened.
    #[error("{what} may not be opened: {reason}")]
    Denied {
        /// The port's path or the peripheral's address.
        what: String,
        /// The system's reason and what to do about it.
        reason: String,
    },
    /// It is there, and is not the kind of device that its entry says.
    #[error(
        "the device at {what} offers other services than its entry's profiles ({profiles}): it offers {offered}; correct its `profiles` or its `address`"
    )]
    OtherKind {
        /// The peripheral's address.
        what: String,
        /// The profiles of its entry, with what was looked for of them.
        profiles: String,
        /// The services that it offers.
        offered: String,
    },
    /// It is there, and the keys that its rule demands are not.
    #[error("{what} is not bonded as its rule demands: {reason}")]
    Insecure {
        /// The peripheral's address.
        what: String,
        /// What BlueZ says, and what to do about it.
        reason: String,
    },
    /// It was open and went away, or an operation on it failed.
    #[error("{what} was lost: {reason}")]
    Lost {
        /// The port's path or the peripheral's address.
        what: String,
        /// The system's reason.
        reason: String,
    },
    /// A driver named a request that its model's allow set does not have. Nothing was written.
    #[error("request {0:?} is not in the allow set, or may not be filled in like this: nothing was written")]
    NotAllowed(RequestId),
    /// The driver or the session asked for the end.
    #[error("closed by this side")]
    HungUp,
}

/// One physical link to one device.
///
/// `open` is tried again by the session after a back-off; `next` is cancel-safe; after
/// [`LinkEvent::Down`] only `open` makes sense.
pub trait Link: Send {
    /// Opens the port or connects to the peripheral. On success the session tells its driver `Up`.
    fn open(&mut self) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Waits for the next event. Cancel-safe: an event that was not returned is not lost.
    fn next(&mut self) -> impl Future<Output = LinkEvent> + Send;

    /// Does what the driver asked. Results of reads and subscriptions come back through `next`.
    fn perform(&mut self, command: LinkCommand) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// Lets go of the device.
    fn close(&mut self) -> impl Future<Output = ()> + Send;

    /// The same, and nothing that the device said and nobody was given comes out later. A link that keeps
    /// nothing beyond its connection only closes.
    fn abandon(&mut self) -> impl Future<Output = ()> + Send {
        self.close()
    }
}
