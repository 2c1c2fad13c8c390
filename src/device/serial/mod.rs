//! Drivers of devices on serial lines: one file each, two lines here each.

use super::catalogue::SerialModel;
use super::observation::Observation;
use super::{Fault, Identity};

/// The table of serial device models.
pub(super) static MODELS: &[&SerialModel] = &[];

/// Stub.
pub fn decode_capture(model: &SerialModel, bytes: &[u8]) -> (Vec<Observation>, Vec<Fault>, Option<Identity>) {
    let _ = (model, bytes);
    (Vec::new(), Vec::new(), None)
}
