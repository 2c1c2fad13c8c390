//! Canonical records, blocks, keys and the seal.
//!
//! In: [`Admitted`](crate::policy::Admitted) observations. Out: [`Sealed`](crate::envelope::seal::Sealed) blocks, and
//! on the way back the [`Entry`](crate::envelope::record::Entry)s that were in them. `FORMAT.md` beside this file
//! holds every byte of it and stands below. The cipher is named in `seal.rs` only,
//! the compressor in `pack.rs` only.
#![doc = include_str!("FORMAT.md")]

pub mod block;
pub mod keys;
mod pack;
pub mod record;
pub mod seal;
mod stamp;
pub mod wipe;
pub mod wire;
