//! What the uplink says of itself, for the local status and for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use super::post::Counts;
use crate::device::observation::Lane;
use crate::time::{Mono, Wall};

/// The uplink at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Since when.
    pub since: Mono,
    /// Why it is not, or was last not, online; in words, with the way out. Gone after a while of
    /// health.
    pub trouble: Option<String>,
    /// Why the store cannot be read, when it cannot.
    pub store_trouble: Option<String>,
    /// How often a connection came up.
    pub connections: u64,
    /// Heartbeats that the broker has.
    pub heartbeats: u64,
    /// Publishes that wait for their PUBACK.
    pub in_flight: usize,
    /// How long the oldest of them has waited.
    pub oldest_unacknowledged: Option<Duration>,
    /// What went out, by lane.
    pub lanes: BTreeMap<Lane, LaneCounters>,
    /// Publishes that the broker did not take, by the reason code of their PUBACK. 0x10, nobody is subscribed, is among
    /// them only for what waits for a subscriber.
    pub refusals: BTreeMap<u8, u64>,
    /// Topics that the broker refuses at the moment, with its reason code; the first few.
    pub held: Vec<(String, u8)>,
    /// Data is held because nobody subscribes to it.
    pub no_consumer: bool,
    /// Data is held because the broker's access list forbids the topic. An alarm for people: nothing
    /// is lost, but nothing arrives.
    pub not_authorised: bool,
    /// Blocks that the broker refuses for good. They stay in the store.
    pub refused_blocks: u64,
    /// Blocks that could not be decoded or encoded. They stay in the store.
    pub unreadable_blocks: u64,
    /// Documents in, notices out.
    pub correspondence: Correspondence,
    /// Whole days until this gateway's certificate expires; negative when it has.
    pub certificate_days_left: Option<i64>,
    /// From when until when that certificate is valid.
    pub certificate_validity: Option<(Wall, Wall)>,
    /// Revocation lists that have run out, in words.
    pub outdated_lists: Vec<String>,
}

/// What the uplink is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing yet.
    #[default]
    Starting,
    /// On its way to the broker.
    Connecting,
    /// Connected.
    Online,
    /// Waiting before it tries again.
    Waiting {
        /// Until when.
        until: Mono,
        /// How often it failed since it was last healthy.
        failures: u32,
    },
    /// Ended in order.
    Stopped,
}

/// Documents that came and notices that went out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Correspondence {
    /// What came.
    pub came: Counts,
    /// Topics that the broker does not let us subscribe to, with the reason code of its SUBACK. Nothing of them
    /// arrives until its access list is mended.
    pub unreadable: Vec<(String, u8)>,
    /// Notices that the broker took; the same again after each connection.
    pub notices: u64,
    /// Topics whose notice the broker does not take, with the reason code of its PUBACK.
    pub refused: Vec<(String, u8)>,
}

/// Counters of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounters {
    /// Publishes started, repeats included.
    pub published: u64,
    /// Publishes that the broker has.
    pub acknowledged: u64,
    /// Records in them.
    pub records: u64,
    /// Blocks handed back to the store as delivered.
    pub blocks: u64,
}
