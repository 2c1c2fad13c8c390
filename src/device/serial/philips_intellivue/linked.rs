//! Answers in several parts, put together.
//!
//! In: what each part says. Out: what the whole answer says, once its last part is there. Behind the last
//! part the monitor sends an answer without objects, which is then nothing but the end.
//!
//! A part that is lost costs only its own readings; alerts are then not told, as a list with a hole
//! would end alerts that are still on.

use std::collections::BTreeMap;

use super::messages::Link;
use super::objects::Found;
use crate::device::FaultKind;
use crate::device::serial::Faults;

/// The most answers that are under way at the same time.
const OPEN_MAX: usize = 8;

/// The most readings of one answer. A monitor shows about a hundred.
const READINGS_MAX: usize = 2_048;

/// The most parts of one answer.
const PARTS_MAX: u32 = 64;

/// What an answer came to.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) found: Found,
    /// Whether nothing of it is missing.
    pub(super) is_whole: bool,
}

/// The answers whose last part is not there yet, by invoke id.
#[derive(Debug, Default)]
pub(super) struct Linked {
    open: BTreeMap<u16, Parts>,
}

#[derive(Debug, Default)]
struct Parts {
    found: Found,
    last: u8,
    count: u32,
    is_torn: bool,
}

impl Linked {
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }

    /// Takes an answer or a part of one; gives a whole answer.
    pub(super) fn take(
        &mut self,
        invoke: u16,
        link: Option<Link>,
        found: Found,
        faults: &mut Faults,
    ) -> Option<Whole> {
        let before = self.open.remove(&invoke);
        let Some(link) = link else {
            let Some(mut before) = before else { return Some(Whole { found, is_whole: true }) };
            faults.add(FaultKind::Malformed, "the last part of an answer is missing");
            before.found.merge(found);
            return Some(before.finish(true));
        };
        let mut parts = before.unwrap_or_default();
        if link.is_first && parts.last > 0 {
            faults.add(FaultKind::Malformed, "the last part of an answer is missing");
            (parts.last, parts.is_torn) = (0, true);
            // What the torn one said of alerts does not belong to this one.
            parts.found.alerts = super::alarms::Alerts::default();
        }
        if parts.last.checked_add(1) != Some(link.count) {
            faults.add(
                FaultKind::Malformed,
                format!("a part before part {} of an answer is missing", link.count),
            );
            parts.is_torn = true;
        }
        parts.last = link.count;
        parts.count += 1;
        if parts.count > PARTS_MAX {
            faults.add(FaultKind::Malformed, "an answer in parts does not end: thrown away");
            return None;
        }
        parts.found.merge(found);
        if parts.found.readings.len() > READINGS_MAX {
            faults.add(FaultKind::Malformed, "an answer has more readings than any monitor shows");
            parts.found.readings.truncate(READINGS_MAX);
        }
        if link.is_last {
            let is_torn = parts.is_torn;
            return Some(parts.finish(is_torn));
        }
        if self.open.len() >= OPEN_MAX {
            faults.add(FaultKind::Malformed, "too many answers in parts are under way");
            self.open.pop_first();
        }
        self.open.insert(invoke, parts);
        None
    }
}

impl Parts {
    fn finish(mut self, is_torn: bool) -> Whole {
        if is_torn {
            self.found.alerts = super::alarms::Alerts::default();
        }
        Whole { found: self.found, is_whole: !is_torn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::serial::philips_intellivue::alarms::Alerts;

    #[expect(clippy::unnecessary_wraps, reason = "as it is taken")]
    fn part(state: u8, count: u8) -> Option<Link> {
        Some(Link { is_first: state == 1, is_last: state == 3, count })
    }

    fn found(word: &str) -> Found {
        let alerts = Alerts { patient: Some(Vec::new()), technical: None };
        Found { strangers: [word.to_owned()].into(), alerts, ..Found::default() }
    }

    fn take(linked: &mut Linked, link: Option<Link>, word: &str) -> (Option<(String, bool)>, usize) {
        let mut faults = Faults::default();
        let whole = linked.take(5, link, found(word), &mut faults);
        let words = whole.map(|whole| {
            assert_eq!(whole.found.alerts.patient.is_some(), whole.is_whole);
            (whole.found.strangers.into_iter().collect::<String>(), whole.is_whole)
        });
        (words, faults.into_actions().count())
    }

    #[test]
    fn an_answer_is_told_with_its_last_part() {
        let mut linked = Linked::default();
        assert_eq!(take(&mut linked, part(1, 1), "a"), (None, 0));
        assert_eq!(take(&mut linked, part(2, 2), "b"), (None, 0));
        assert_eq!(take(&mut linked, part(3, 3), "c"), (Some(("abc".to_owned(), true)), 0));
        assert_eq!(take(&mut linked, None, "end"), (Some(("end".to_owned(), true)), 0));
    }

    #[test]
    fn a_part_that_is_lost_costs_only_itself_and_the_alerts() {
        for (parts, whole) in [
            (vec![part(1, 1), part(3, 3)], "ab"),
            (vec![part(2, 2), part(3, 3)], "ab"),
            (vec![part(3, 3)], "a"),
            (vec![part(1, 1), part(2, 2), None], "abc"),
            (vec![part(1, 1), part(1, 1), part(3, 2)], "abc"),
        ] {
            let mut linked = Linked::default();
            let (mut told, mut faults) = (None, 0);
            for (link, word) in parts.into_iter().zip(["a", "b", "c"]) {
                let (words, count) = take(&mut linked, link, word);
                (told, faults) = (words, faults + count);
            }
            assert_eq!((told, faults), (Some((whole.to_owned(), false)), 1));
        }
    }

    #[test]
    fn answers_that_never_end_do_not_pile_up() {
        let mut linked = Linked::default();
        for invoke in 0..100 {
            drop(linked.take(invoke, part(1, 1), found("a"), &mut Faults::default()));
            assert!(linked.open.len() <= OPEN_MAX);
        }
        for _ in 0..1_000 {
            drop(linked.take(5, part(2, 255), found("a"), &mut Faults::default()));
            assert!(linked.open.values().all(|parts| parts.count <= PARTS_MAX));
        }
    }
}
