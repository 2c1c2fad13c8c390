//! What a device is besides who it says it is: its revisions, and what it offers.
//!
//! In: what a driver read of them, and what it knew from before. Out: a [`Pin`] when the two differ. A firmware
//! may be updated, so a change is told and nothing is held back for it; from then on the new one is the known one.
//!
//! What never happens: a pin holds a serial number, or becomes the known one before it is durable, or although
//! the device was refused for who it is.

/// Something that was not known of a device until now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Of what.
    pub of: Pinned,
    /// What it was and what it is, in words for a person; `None` when nothing was known of it before.
    pub change: Option<String>,
}

/// What is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// The firmware, software and hardware revisions (Device Information 2A26, 2A28, 2A27).
    Firmware,
    /// The services and characteristics that it offers.
    GattDatabase,
}
