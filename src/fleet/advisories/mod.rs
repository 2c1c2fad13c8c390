//! Advisories about medical devices, and the inventory that they are held against.
//!
//! ```text
//!  CSAF 2.0 ─▶ advisory ┐
//!                       ├─▶ finding (affected | review | clear) ─▶ action (warn | quarantine | waived)
//!        inventory ─────┘
//! ```
//!
//! Bytes, an inventory and the time in; findings, actions and exports out. Pure but for `library` and
//! `desk`, which keep the documents on the disk. They need no secrecy: they are public. Advisories about medical devices
//! name what they mean in words, without identifiers (all seven of `tests/data/csaf`), so makers, names
//! and versions are compared as text. What is not understood is for a person to read, never clear.

mod aliases;
pub mod csaf;
pub mod cyclonedx;
pub mod desk;
pub mod inventory;
pub mod library;
mod matching;
mod names;
mod policy;
mod product_tree;
mod standing;
#[cfg(test)]
mod tests;
pub mod told;
mod versions;

pub use matching::{Finding, Verdict, judge};
pub use policy::{Action, Policy, Quarantine, Scope, Waiver};
