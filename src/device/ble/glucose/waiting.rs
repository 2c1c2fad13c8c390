//! Records that are not whole yet: measurements and contexts, joined by their number.
//!
//! In: both, in any order. Out: records in the order in which the first half of each came. Bounded: of too many
//! the oldest is given as far as it has come.

use std::collections::VecDeque;

use super::{Context, Measurement};

/// So many records wait at most; behind these the oldest is given without its other half. Context is sent next to its
/// measurement; more than a few means that it does not come at all.
pub(super) const MOST_WAITING: usize = 64;

/// A record, as far as it has come.
pub(super) struct Record {
    pub(super) measurement: Option<Measurement>,
    pub(super) context: Option<Context>,
}

impl Record {
    fn number(&self) -> Option<u16> {
        let measured = self.measurement.as_ref().map(|measurement| measurement.number);
        measured.or(self.context.as_ref().map(|context| context.number))
    }

    fn is_whole(&self) -> bool {
        self.measurement.as_ref().is_some_and(|its| self.context.is_some() || !its.announces_context)
    }
}

/// The records that wait, the oldest first.
#[derive(Default)]
pub(super) struct Waiting(VecDeque<Record>);

impl Waiting {
    /// Whether a record of this number waits.
    pub(super) fn has(&self, number: u16) -> bool {
        self.0.iter().any(|record| record.number() == Some(number))
    }

    /// Joins it to its context where that came before it.
    pub(super) fn take_measurement(&mut self, measurement: Measurement) {
        let number = Some(measurement.number);
        let its = self.0.iter_mut().find(|waits| waits.measurement.is_none() && waits.number() == number);
        match its {
            Some(its) => its.measurement = Some(measurement),
            None => self.0.push_back(Record { measurement: Some(measurement), context: None }),
        }
    }

    /// Joins it to its measurement.
    pub(super) fn take_context(&mut self, context: Context) {
        let number = Some(context.number);
        let its = self.0.iter_mut().find(|waits| waits.context.is_none() && waits.number() == number);
        match its {
            Some(its) => its.context = Some(context),
            None => self.0.push_back(Record { measurement: None, context: Some(context) }),
        }
    }

    /// The next one that is whole, or one of too many.
    pub(super) fn poll_ready(&mut self) -> Option<Record> {
        let is_ready = self.0.front()?.is_whole() || self.0.len() > MOST_WAITING;
        if is_ready { self.poll() } else { None }
    }

    /// The next one, as far as it has come.
    pub(super) fn poll(&mut self) -> Option<Record> {
        self.0.pop_front()
    }
}
