//! What a driver wants to know again after a restart: a few bytes that only it can read.
//!
//! In: a [`Memo`] from a driver. Out: the same, when the driver is made anew. What can go wrong: it is lost or
//! torn. Then nothing is remembered, and a driver does what it does with a device that it never saw: what
//! it takes for lost is asked for twice, never left out.

use std::future::Future;
use std::pin::Pin;

/// At most [`Memo::MOST`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memo(Box<[u8]>);

impl Memo {
    /// The longest: room for what is known of a device and its records, and for the 32 alarms that a driver holds for
    /// on at most.
    pub const MOST: usize = 768;

    /// Of these bytes; `None` when they are too many.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= Self::MOST).then(|| Self(bytes.into()))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a [`Notebook`] is doing.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where the memo of one device is kept.
pub trait Notebook: Send {
    /// What was kept; `None` when there is nothing, or nothing that can be read.
    fn read(&mut self) -> Doing<'_, Option<Memo>>;

    /// Whether what was read last was kept under the entry of the allowlist under which the device is listed now. If
    /// not, what was told by then was told under another name, or was told to be over.
    fn is_of_entry(&self) -> bool {
        true
    }

    /// Whether anything is kept at all.
    fn keeps(&self) -> bool {
        true
    }

    /// Keeps a memo in place of the one before. What cannot be kept is only told in the log: it costs a record
    /// that is given twice, not one that is lost.
    fn write(&mut self, memo: Memo) -> Doing<'_, ()>;
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blank;

impl Notebook for Blank {
    fn keeps(&self) -> bool {
        false
    }

    fn read(&mut self) -> Doing<'_, Option<Memo>> {
        Box::pin(async { None })
    }

    fn write(&mut self, _: Memo) -> Doing<'_, ()> {
        Box::pin(async {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_is_bounded_and_keeps_its_bytes() {
        assert_eq!(Memo::new(&[7; Memo::MOST]).unwrap().bytes(), [7; Memo::MOST]);
        assert_eq!(Memo::new(&[]).unwrap().bytes(), [0; 0]);
        assert_eq!(Memo::new(&[0; Memo::MOST + 1]), None);
    }
}
