//! What a PUBACK asks for, and what became of it.

use crate::store::Seq;
use crate::uplink::Subscriber;
use crate::uplink::parcel::Stream;

/// What a PUBACK's reason code asks for (MQTT 5, section 3.4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The broker has it.
    Delivered,
    /// It may take it later: hold the topic, try again.
    Retry,
    /// It will never take this one: keep the block, skip it until the next start.
    Refuse,
}

impl Outcome {
    /// By reason code.
    pub const fn of(reason: u8, subscriber: Subscriber) -> Self {
        match (reason, subscriber) {
            (0x00, _) | (0x10, Subscriber::Optional) => Self::Delivered,
            // Topic name invalid, payload format invalid.
            (0x90 | 0x99, _) => Self::Refuse,
            // No subscriber, not authorised (a wrong ACL must not cost a ward its data), quota
            // exceeded, server busy, identifier in use, and whatever a future broker may say.
            _ => Self::Retry,
        }
    }

    /// Whether a PUBACK with this reason code refuses its publish. What waits for a subscriber is not taken with
    /// 0x10; for everything else that is as good as 0x00.
    pub const fn refuses(reason: u8, subscriber: Subscriber) -> bool {
        !matches!(Self::of(reason, subscriber), Self::Delivered)
    }
}

/// What became of a PUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of a publish of an earlier connection, or unknown.
    Stale,
    /// The records are the broker's.
    Delivered {
        /// The way that they went.
        stream: Stream,
        /// How many.
        count: u32,
    },
    /// Held: will be tried again.
    Held {
        /// The topic.
        topic: String,
    },
    /// Dead-lettered: the block stays in the store and is not read again until the next start.
    Refused {
        /// The block.
        block: Seq,
        /// The topic.
        topic: String,
    },
}
