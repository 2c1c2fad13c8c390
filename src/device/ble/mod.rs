//! BLE profiles: one file each, two lines here each.

use super::catalogue::BleProfile;
use super::observation::Observation;
use super::{Fault, FaultKind};

/// The table of BLE profiles.
pub(super) static PROFILES: &[&BleProfile] = &[];

/// Stub.
pub fn decode(uuid16: u16, bytes: &[u8]) -> Result<Vec<Observation>, Fault> {
    let _ = bytes;
    Err(Fault::new(FaultKind::Unexpected, format!("no profile here reads characteristic {uuid16:04X}")))
}
