//! Canonical records, blocks, keys and the seal.
//!
//! In: [`Admitted`](crate::policy::Admitted) observations. Out: [`Sealed`](seal::Sealed) blocks, and
//! on the way back the [`Entry`](record::Entry)s that were in them. `FORMAT.md` beside this file
//! holds every byte of it. The cipher is named in `seal.rs` only.

pub mod block;
pub mod keys;
pub mod record;
pub mod seal;
