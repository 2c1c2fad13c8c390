//! The way back: what the fleet signs, and what a gateway does about it.
//!
//! ```text
//!  root ─▶ timestamp ─▶ bundle ─▶ verified ─▶ staged ─▶ trial ─▶ committed | rolled back
//! ```
//!
//! Pure, like every decision here: bytes and the time in, documents and refusals out.

pub mod advisories;
pub mod agent;
pub mod change;
pub mod documents;
pub mod dsse;
pub mod folder;
pub mod health;
mod hex;
pub mod kept;
pub mod key;
pub mod lock;
pub mod member;
#[cfg(feature = "operator")]
pub mod operator;
pub mod refusal;
pub mod share;
pub mod start;
mod strict;
pub mod topics;
pub mod trust;
pub mod turn;
#[cfg(test)]
mod workshop;
