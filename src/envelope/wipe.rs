//! Removes what secrets leave behind where no allocator and no `Drop` reaches: keys of a library that
//! does not wipe them, and the stack.
//!
//! In: a place, or a piece of work. Out: the same place without its secret. What never happens: the
//! compiler leaves a store out because nobody reads it any more: each goes through
//! [`black_box`]. That is a promise of good will, not of the language; so
//! `tests/secrets` looks into the memory itself.

use std::hint::black_box;

/// How much of the stack below is overwritten. The deepest of what is called here, zstd's and the
/// cipher's functions with their tables, takes less than half of it.
const STACK: usize = 16 * 1024;

/// Puts something harmless over a value that cannot be wiped otherwise.
pub(super) fn overwrite<T>(place: &mut T, with: T) {
    *place = with;
    black_box(place);
}

/// Overwrites bytes. The allocator does it again when they are freed; this is for bytes that stay, and
/// much faster than a volatile write of each.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(bytes);
}

/// Does something with secrets and then overwrites the stack that it used. What it returns must
/// hold its secrets behind a pointer: the result itself is copied on its way.
pub fn cleanly<T>(work: impl FnOnce() -> T) -> T {
    let result = below(work);
    scrub();
    result
}

/// A frame of its own, at the place that [`scrub`] overwrites.
#[inline(never)]
fn below<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn scrub() {
    let mut room = [0_u8; STACK];
    black_box(&mut room);
}
