//! Results that come again because the analyser could not know that they had arrived.
//!
//! An analyser whose transmission broke off sends the message again: whole, or its header, patient
//! and order and then what was not acknowledged. What was taken of the broken transmission is
//! kept here, and what comes again of it is acknowledged and not taken twice.
//!
//! What never happens: a result of a transmission that ended well counts as having been taken
//! already: the same reading twice is two readings.

use std::collections::VecDeque;

/// The most results that are kept; older go, and would be told twice.
const MOST: usize = 4_096;

/// What was taken.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// Of the transmission that is under way.
    current: VecDeque<u64>,
    /// Of transmissions that broke off.
    broken_off: VecDeque<u64>,
}

impl Again {
    /// Whether a result is to be taken. One without a key has nothing that tells it from another
    /// like it, and is always taken.
    pub(super) fn is_new(&mut self, key: Option<u64>) -> bool {
        let Some(key) = key else { return true };
        let place = self.broken_off.iter().position(|taken| *taken == key);
        if let Some(place) = place {
            self.broken_off.remove(place);
        }
        keep(&mut self.current, key);
        place.is_none()
    }

    /// The transmission ended, and the analyser knows that all of it arrived.
    pub(super) fn handle_end(&mut self) {
        self.current.clear();
    }

    /// Something of what was taken was refused and is not stored. Which of it is not known here, so nothing
    /// counts as taken: rather twice than not at all.
    pub(super) fn handle_refused(&mut self) {
        *self = Self::default();
    }

    /// What would come again, after the link is down.
    pub(super) fn told(&self) -> Vec<u64> {
        self.broken_off.iter().copied().collect()
    }

    /// What was taken by another driver.
    pub(super) fn handle_told(&mut self, keys: Vec<u64>) {
        for key in keys {
            keep(&mut self.broken_off, key);
        }
    }

    /// The transmission broke off, or may have for the analyser.
    pub(super) fn handle_break(&mut self) {
        for key in std::mem::take(&mut self.current) {
            keep(&mut self.broken_off, key);
        }
    }
}

fn keep(keys: &mut VecDeque<u64>, key: u64) {
    if keys.len() == MOST {
        keys.pop_front();
    }
    keys.push_back(key);
}
