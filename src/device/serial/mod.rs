//! Drivers of devices on serial lines: one file each, two lines here each.

use super::catalogue::SerialModel;

/// The table of serial device models.
pub(super) static MODELS: &[&SerialModel] = &[];
