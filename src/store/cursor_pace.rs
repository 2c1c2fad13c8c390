//! When the cursor of a lane is written.
//!
//! In: how far the lane is, and how urgent it is to write it. Out: the file, durable, or nothing when it
//! may wait. Each write wears the disk, and what one more would spare is only sending a few blocks again,
//! so it is written seldom; but before a segment's folder goes, always.

use std::io;
use std::sync::atomic::Ordering;

use super::folders::cursor_file;
use super::shared::{Shared, lock};
use super::state_file::Cursor;
use crate::device::observation::Lane;
use crate::envelope::record::lane_code;

/// When a cursor is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Before something that depends on it.
    AtOnce,
    /// At most once a second.
    Lazy,
    /// At most once a minute: how much was promised, in case the file is damaged before it is closed.
    Seldom,
}

/// How far a lane's cursor file is.
#[derive(Default)]
pub(super) struct CursorFile {
    written: Option<Cursor>,
    /// When, in the time of [`Shared::now`].
    at: u64,
}

/// A cursor is written at most once in this time.
const CURSOR_PACE_NANOS: u64 = 1_000_000_000;
/// While it has not moved on by [`CURSOR_STEP`], at most once in this time: each write wears the
/// disk, and what it spares is only sending a few blocks again.
const CURSOR_SLOW_PACE_NANOS: u64 = 5_000_000_000;
/// While nothing is acknowledged, at most once in this time.
const CURSOR_SELDOM_NANOS: u64 = 60_000_000_000;
/// Blocks after which it is written without waiting for the slow pace.
const CURSOR_STEP: u32 = 64;

impl Shared {
    /// Writes a lane's cursor when it moved.
    pub(super) fn save_cursor(&self, lane: Lane, pace: Pace) -> io::Result<()> {
        if self.is_untold(lane) {
            return Ok(());
        }
        let now = self.now.load(Ordering::Relaxed);
        let slot = self.cursors.get(usize::from(lane_code(lane)));
        let Some(slot) = slot else { return Ok(()) };
        let mut file = match pace {
            Pace::AtOnce => lock(slot),
            // Whoever holds it is writing it: the next acknowledgement asks again.
            Pace::Lazy | Pace::Seldom => match slot.try_lock() {
                Ok(file) => file,
                Err(_) => return Ok(()),
            },
        };
        let age = now.saturating_sub(file.at);
        let least = match pace {
            Pace::AtOnce => 0,
            Pace::Lazy => CURSOR_PACE_NANOS,
            Pace::Seldom => CURSOR_SELDOM_NANOS,
        };
        if age < least {
            return Ok(());
        }
        let cursor = self.lane(lane).cursor();
        let is_near = |written: Cursor| {
            written.segment == cursor.segment && cursor.block.saturating_sub(written.block) < CURSOR_STEP
        };
        let may_wait =
            pace == Pace::Lazy && age < CURSOR_SLOW_PACE_NANOS && file.written.is_some_and(is_near);
        if may_wait || file.written == Some(cursor) {
            return Ok(());
        }
        cursor.write(&cursor_file(&self.folder, lane), self.store, lane, &self.state_keys)?;
        *file = CursorFile { written: Some(cursor), at: now };
        Ok(())
    }

    /// Writes a lane's cursor under the current key, moved or not.
    pub(super) fn rewrite_cursor(&self, lane: Lane) -> io::Result<()> {
        if let Some(slot) = self.cursors.get(usize::from(lane_code(lane))) {
            lock(slot).written = None;
        }
        self.save_cursor(lane, Pace::AtOnce)
    }
}
