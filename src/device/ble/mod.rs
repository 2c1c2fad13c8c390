//! BLE profiles: one file each, two lines here each.

use super::catalogue::BleProfile;

/// The table of BLE profiles.
pub(super) static PROFILES: &[&BleProfile] = &[];
