//! Status and Annunciation Status, which are both read and indicated: which of two values is the newer one, and which
//! annunciations are on.
//!
//! In: a value of 2B21 or 2B22 as it came. Out: observations; and a wish to read it once more, where it may have been
//! older than what is known.

use super::protection::Features;
use super::status::{self, Annunciation};
use super::{FEATURES, MOST, Pump, STATUS, codes, text};
use crate::device::alarms::{Level, Raised, rank};
use crate::device::observation::{Observation, Priority};
use crate::device::{Fault, FaultKind};
use crate::link::Characteristic;

/// A read of a characteristic that was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    /// It was wanted once more meanwhile, and is read again when it ends.
    is_again: bool,
    /// How much came by itself since.
    news: u8,
}

impl Pump {
    /// It is read now, or once more when the read that goes on has ended.
    pub(super) fn begin_read(&mut self, of: Characteristic) {
        if of != FEATURES {
            let going_on = self.asked.get(&of).map(|asked| Asked { is_again: true, ..*asked });
            self.asked.insert(of, going_on.unwrap_or_default());
        }
    }

    /// Takes the end of a read; what came by itself while it lasted.
    pub(super) fn end_of_read(&mut self, of: Characteristic) -> u8 {
        let asked = self.asked.remove(&of).unwrap_or_default();
        if asked.is_again {
            self.asked.insert(of, Asked::default());
        }
        asked.news
    }

    /// Takes a value of Status or Annunciation Status, which was read, or came by itself. BlueZ gives the answer
    /// to a read as a value too: what is the same message, or says by itself what is known, is no news.
    pub(super) fn handle_state(
        &mut self,
        of: Characteristic,
        value: &[u8],
        is_read: bool,
    ) -> Result<Vec<Observation>, Fault> {
        let is_same = self.last.get(&of).is_some_and(|last| last == value);
        let is_counted = self.features.as_ref().is_some_and(Features::is_protected);
        if is_read {
            let news = self.end_of_read(of);
            // Which of them is the older one, no counter tells. Of two, one may have been this answer.
            let is_older = !is_counted && !is_same && news > 0;
            if is_older || !is_counted && news > 1 {
                self.asks.insert(of);
            }
            if is_older {
                return Ok(Vec::new());
            }
        }
        if is_same && (is_counted || !is_read) {
            return Ok(Vec::new());
        }
        if !is_read && let Some(asked) = self.asked.get_mut(&of) {
            asked.news = asked.news.saturating_add(1);
        }
        let payload = self.open(of, value)?;
        self.last.insert(of, value.to_vec());
        if of == STATUS { status::status(payload) } else { self.handle_annunciation(payload) }
    }

    fn handle_annunciation(&mut self, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        let Some(read) = status::annunciation(value)? else {
            let mut out = vec![text(&codes::ANNUNCIATION, "none".to_owned())];
            out.extend(self.alarms.handle_level(Level::new()));
            return Ok(out);
        };
        let mut out = vec![read.observed()];
        let raised = raised(&read);
        if let Some(raised) = &raised {
            let Some(ended) = self.make_room(&read.code(), raised.priority) else { return Ok(out) };
            out.extend(ended);
        }
        out.extend(self.alarms.handle_one(&read.code(), raised));
        Ok(out)
    }

    /// Lets go of an alarm when there is no room for another. What ended takes no room. Of those that are on,
    /// the least urgent goes, and of these the oldest: it is told as ended, as its end would not be told any
    /// more, with a fault that says that the pump did not say so. `None`: all that are on are more urgent than the
    /// new one, which is told as a state only, with a fault.
    fn make_room(&mut self, code: &str, priority: Priority) -> Option<Vec<Observation>> {
        if self.alarms.on().contains_key(code) {
            return Some(Vec::new());
        }
        let on = self.alarms.on();
        self.began.retain(|began| on.contains_key(began));
        let mut out = Vec::new();
        if on.len() >= MOST {
            // What an earlier connection told is not in the list: older than all of it.
            let age = |code: &String| self.began.iter().position(|began| began == code);
            let oldest = on.iter().min_by_key(|(code, raised)| (rank(raised.priority), age(code)));
            if oldest.is_some_and(|(_, raised)| rank(raised.priority) > rank(priority)) {
                if self.left_out.as_deref() != Some(code) {
                    let detail = format!(
                        "more than {MOST} annunciations are on, all more urgent: {code} is told as a state only"
                    );
                    self.faults.push_back(Fault::new(FaultKind::Unexpected, detail));
                    self.left_out = Some(code.to_owned());
                }
                return None;
            }
            if let Some(oldest) = oldest.map(|(code, _)| code.clone()) {
                let detail = format!(
                    "more than {MOST} annunciations are on: {oldest} is told as ended, which the pump did not say"
                );
                self.faults.push_back(Fault::new(FaultKind::Unexpected, detail));
                out = self.alarms.handle_one(&oldest, None);
                self.began.retain(|began| *began != oldest);
            }
        }
        self.began.push_back(code.to_owned());
        Some(out)
    }
}

/// An annunciation as an alarm; `None` when it is over, or only informs.
fn raised(of: &Annunciation) -> Option<Raised> {
    let priority = of.priority()?;
    let (metric, text, is_silenced) = (of.metric(), of.name(), of.is_snoozed());
    (!of.is_confirmed()).then_some(Raised { metric, priority, text, is_silenced })
}
