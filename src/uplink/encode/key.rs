//! Idempotency keys: `{store id}-{lane}-{segment}-{block}-{index}`. The same record has the same key
//! however often it is sent, and after every crash and reboot.

use crate::device::observation::Lane;
use crate::store::{Seq, StoreId};

/// The keys of one block's records.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The store.
    pub store: StoreId,
    /// The block.
    pub seq: Seq,
    prefix: String,
}

impl Keys {
    /// Of a block.
    pub fn new(store: StoreId, seq: Seq) -> Self {
        use std::fmt::Write as _;
        let mut prefix = String::with_capacity(64);
        for byte in store.0 {
            // Writing to a String cannot fail.
            let _ = write!(prefix, "{byte:02x}");
        }
        let _ = write!(prefix, "-{}-{}-{}-", seq.lane, seq.segment, seq.block);
        Self { store, seq, prefix }
    }

    /// Everything but the index.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Of one record.
    pub fn of(&self, index: usize) -> String {
        format!("{}{index}", self.prefix)
    }
}

/// A lane's number in CBOR payloads.
pub(super) const fn lane_number(lane: Lane) -> u8 {
    match lane {
        Lane::Alarm => 0,
        Lane::Vital => 1,
        Lane::Bulk => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_store_lane_segment_block_and_index() {
        let seq = Seq { lane: Lane::Alarm, segment: 12, block: 3 };
        let keys = Keys::new(StoreId([0x0a; 16]), seq);
        assert_eq!(keys.of(4095), "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a-alarm-12-3-4095");
    }
}
