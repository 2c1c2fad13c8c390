//! A disk that forgets: a file system in memory that writes down everything that is done to it, and
//! from that record gives every state that a power cut could have left behind.
//!
//! In: a [`Tree`] to begin with; then whatever programs do under the folder where it is mounted.
//! Out: the record ([`Op`], in the order in which the calls returned), and for any place in it and any
//! seed the [`Tree`] that a cut there leaves ([`Replay`]). What can go wrong: the machine does not let
//! this process mount; then [`Disk::mount`] says so and what is needed. What never happens: a `write(2)`
//! returns before it is in the record (there is no write-back cache in front of it); `sync_file_range`
//! counts as a sync (it never gets here); a state is given that the rules of `after.rs` do not allow.
//!
//! The disk can also fail: the operation whose turn it is answers `ENOSPC` or `EIO` ([`Fault`]), or
//! everything does from one moment on ([`Disk::freeze`]), as when the power goes.

mod after;
mod contents;
mod draw;
mod fault;
mod mount;
mod names;
mod record;
mod tree;

#[cfg(test)]
mod tests;

pub use after::{Replay, Rules, Survived};
pub use contents::Data;
pub use draw::Draw;
pub use fault::{Fault, Trouble};
pub use mount::{Disk, run_as_root};
pub use names::Names;
pub use record::{Kind, Op};
pub use tree::{Node, Number, ROOT, Tree};
