//! From one key to another: while the store is open, and across any number of power cuts.
//!
//! In: a ring whose current key is not the one that the store is kept under. Out: a store under the
//! current key alone. The order is the whole of it: first the identity names both keys, and from then
//! on neither start nor command opens the store without both; then every segment's key is wrapped
//! anew, one at a time, its data untouched; then the cursors; and only when nothing is left under
//! the previous key does the identity name one key again. A cut anywhere leaves a store that goes
//! on from there. What can go wrong: the disk; then it goes on with the next attempt. What never
//! happens: a segment is taken for damaged because its key was not given.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::segment::{Header, Unsound};
use super::shared::{Shared, lock};
use super::state_file::{Identity, StateKeys};
use super::stats::Rotation;
use super::{StoreError, Writer};
use crate::device::observation::Lane;
use crate::envelope::keys::KeyRing;

/// Begins the move to the ring's current key when the store is under the other. When the disk does
/// not take even that, the store goes on under the key that it is under.
pub(super) fn begin(
    path: &Path,
    identity: Identity,
    ring: KeyRing,
    faults: &mut Vec<String>,
) -> (Identity, KeyRing) {
    if identity.kek == ring.current.id() {
        return (identity, ring);
    }
    let begun = Identity { kek: ring.current.id(), previous: Some(identity.kek), ..identity };
    match begun.write(path, &StateKeys::new(&ring)) {
        Ok(()) => (begun, ring),
        Err(error) => {
            faults.push(format!("the move to key {} cannot begin: {error}", ring.current.id()));
            let KeyRing { current, previous } = ring;
            (
                identity,
                match previous {
                    Some(previous) => KeyRing { current: previous, previous: Some(current) },
                    None => current.into(),
                },
            )
        }
    }
}

impl Writer {
    /// Wraps the key of one more segment anew; when none is left, ends the move. One at a time: each
    /// waits for the disk, and so do alarms behind it.
    pub(super) fn rotate_some(&mut self) -> Result<(), StoreError> {
        if lock(&self.shared.identity).previous.is_none() {
            return Ok(());
        }
        let failed = |e| StoreError::io("wrapping a segment's key anew", e);
        let mut trouble = None;
        for (lane, number) in self.shared.under_previous() {
            match self.rewrap(lane, number) {
                Ok(()) => return Ok(()),
                // The disk: the others do not wait for this one, and it is tried again.
                Err(error) => trouble = Some(error),
            }
        }
        match trouble {
            Some(error) => Err(failed(error)),
            None => self.shared.end_rotation().map_err(failed),
        }
    }

    fn rewrap(&self, lane: Lane, number: u64) -> std::io::Result<()> {
        let folder = self.shared.segment_folder(lane, number);
        match Header::rewrap(&folder, &self.shared.ring, &*self.random) {
            Ok(()) => {}
            Err(Unsound::Io(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                // Acknowledged and gone in the meantime, or the disk.
                if self.shared.lane(lane).segments.contains_key(&number) {
                    return Err(error);
                }
            }
            // The reader finds the same and tells of it.
            Err(why) => self.shared.note_damage(lane, number, &format!("its header: {why}")),
        }
        if let Some(entry) = self.shared.lane(lane).segments.get_mut(&number) {
            entry.is_under_previous = false;
        }
        Ok(())
    }
}

impl Shared {
    fn under_previous(&self) -> Vec<(Lane, u64)> {
        let of = |lane| {
            let state = self.lane(lane);
            let found = state.segments.iter().filter(|(_, entry)| entry.is_under_previous);
            found.map(|(number, _)| (lane, *number)).collect::<Vec<_>>()
        };
        Lane::ALL.into_iter().flat_map(of).collect()
    }

    fn end_rotation(&self) -> std::io::Result<()> {
        for lane in Lane::ALL {
            self.rewrite_cursor(lane)?;
        }
        // A mark that cannot be written is told of; the move does not wait for it.
        let _ = self.rewrite_anchor();
        // Not under the lock: whoever asks for the state must not wait for the disk.
        let ended = Identity { previous: None, ..*lock(&self.identity) };
        ended.write(&self.folder.join("identity"), &self.state_keys)?;
        *lock(&self.identity) = ended;
        Ok(())
    }

    /// How far the move from one key to another is.
    pub(super) fn rotation(&self) -> Option<Rotation> {
        let Identity { kek, previous, .. } = *lock(&self.identity);
        let previous = previous?;
        let left = Lane::ALL.map(|lane| {
            let state = self.lane(lane);
            state.segments.values().filter(|entry| entry.is_under_previous).count()
        });
        let segments_left = u64::try_from(left.iter().sum::<usize>()).unwrap_or(u64::MAX);
        Some(Rotation { to: kek, from: previous, segments_left })
    }

    /// A number that changes when something is to be told: for tests and statistics.
    pub(super) fn fault_count(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }
}
