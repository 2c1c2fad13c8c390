//! The alerts of the monitor: of the patient and of the technology.
//!
//! In: the lists of what is on. Out: edges. An empty list says that none is on; so does the alert
//! condition where a list is left out. A list that is left out without that says nothing of its alerts.
//!
//! The alert's text is the monitor's own, in its language. Layout and numbers: mindleaving
//! `DeviceAlarmEntry.cs`, `AlertType.cs`, `AlertState.cs`; mdrepo `intellivue.h`; `VSCaptureMP` for the
//! characters of the private area.

use std::collections::BTreeMap;

use super::codes;
use super::reader::Reader;
use crate::device::alarms::{AlarmEdges, Level, Raised};
use crate::device::observation::{Observation, Priority, Quality, Value};
use crate::device::serial::text;

/// The structure of an alert with a text of its own.
const WITH_TEXT: u16 = 516;

/// The bytes of an alert without a text.
const ENTRY_LENGTH: usize = 18;

const INHIBITED: u16 = 0x8000;
const SUSPENDED: u16 = 0x4000;
const LATCHED: u16 = 0x2000;
const SILENCED: u16 = 0x1000;
const TEST: u16 = 0x0400;
const DEMONSTRATION: u16 = 0x0100;

/// One alert that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    source: u16,
    code: u16,
    kind: u16,
    state: u16,
    object: (u16, u16),
    words: String,
}

/// The lists of one answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Alerts {
    pub(super) patient: Option<Vec<Entry>>,
    pub(super) technical: Option<Vec<Entry>>,
}

impl Alerts {
    /// Adds the lists of another part of the same answer.
    pub(super) fn merge(&mut self, other: Self) {
        for (mine, more) in [(&mut self.patient, other.patient), (&mut self.technical, other.technical)] {
            if let Some(more) = more {
                mine.get_or_insert_default().extend(more);
            }
        }
    }
}

/// Whether the alert condition says that none of the patient, none of the technology is on: state, count
/// of changes, and the highest kind of each that is on.
pub(super) fn none_of(condition: &[u8]) -> (bool, bool) {
    let mut reader = Reader::new(condition);
    let _state_and_count = reader.u32();
    (reader.u16() == Some(0), reader.u16() == Some(0))
}

/// Reads a list of alerts.
pub(super) fn entries(value: &[u8]) -> Option<Vec<Entry>> {
    let (count, mut list) = Reader::new(value).list()?;
    let entries = (0..count).map(|_| entry(&mut list)).collect::<Option<_>>()?;
    // One that is left out would end.
    list.is_spent(ENTRY_LENGTH).then_some(entries)
}

fn entry(list: &mut Reader<'_>) -> Option<Entry> {
    let (source, code, kind, state) = (list.u16()?, list.u16()?, list.u16()?, list.u16()?);
    let _class = list.u16()?;
    let object = (list.u16()?, list.u16()?);
    let structure = list.u16()?;
    let mut info = list.sized()?;
    let mut words = String::new();
    // Number of the instance, id of the text, priority within the monitor, flags; then the text.
    if structure == WITH_TEXT && info.take(10).is_some() {
        let length = usize::from(info.u16()?).min(info.rest().len());
        words = unicode(info.take(length)?);
    }
    Some(Entry { source, code, kind, state, object, words })
}

/// UTF-16, the high byte first, filled up with zeros and spaces. The monitor draws some characters from
/// the private area.
fn unicode(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| match pair {
        [high, low] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    });
    let shown = char::decode_utf16(units).filter_map(|unit| match unit.unwrap_or('?') {
        '\0' | '\u{FEFF}' => None,
        '\u{E40D}' => Some('*'),
        '\u{E145}' => Some('E'),
        '\u{E14C}' => Some('L'),
        '\u{E425}' => Some('V'),
        '\u{E000}'..='\u{F8FF}' => Some('?'),
        control if control.is_control() => Some(' '),
        other => Some(other),
    });
    text(shown.collect::<String>().trim())
}

/// The alerts that are on, as far as the monitor has told.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    edges: AlarmEdges,
    patient: Level,
    technical: Level,
    /// What speaks against each that is on.
    quality: BTreeMap<String, Quality>,
}

impl Alarms {
    /// Forgets all: they were another monitor's.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes the lists of one answer; gives what ended, what changed and what began.
    ///
    /// One that goes on and is no demonstration or test any more (or is one now) ends, and another begins.
    pub(super) fn handle(&mut self, alerts: Alerts) -> Vec<Observation> {
        let before = std::mem::take(&mut self.quality);
        let mut quality = before.clone();
        if let Some(entries) = alerts.patient {
            self.patient = level('P', entries, &mut quality);
        }
        if let Some(entries) = alerts.technical {
            self.technical = level('T', entries, &mut quality);
        }
        let all: Level = self.patient.clone().into_iter().chain(self.technical.clone()).collect();
        let is_other = |code: &str| before.get(code).is_some_and(|was| quality.get(code) != Some(was));
        let others: Vec<String> = self.edges.on().keys().filter(|code| is_other(code)).cloned().collect();
        let ended: Vec<Observation> =
            others.iter().flat_map(|code| self.edges.handle_one(code, None)).collect();
        let mut edges = judged(ended, &before);
        edges.extend(judged(self.edges.handle_level(all), &quality));
        let is_on = |code: &String| self.patient.contains_key(code) || self.technical.contains_key(code);
        quality.retain(|code, _| is_on(code));
        self.quality = quality;
        edges
    }
}

/// With what speaks against each.
fn judged(mut edges: Vec<Observation>, quality: &BTreeMap<String, Quality>) -> Vec<Observation> {
    for edge in &mut edges {
        if let Value::Alarm(alarm) = &edge.value {
            edge.quality = quality.get(&alarm.code).copied().unwrap_or_default();
        }
    }
    edges
}

fn level(list: char, entries: Vec<Entry>, quality: &mut BTreeMap<String, Quality>) -> Level {
    let mut level = Level::new();
    for entry in entries.into_iter().filter(|entry| entry.kind != 0) {
        let Entry { source, code, kind, state, object: (context, handle), words } = entry;
        let key = format!("{list}-{code}-{source}-{context}-{handle}");
        let is_set = |bit: u16| state & bit != 0;
        let flags = [(TEST, Quality::TEST), (DEMONSTRATION, Quality::DEMONSTRATION)];
        let flags = flags.into_iter().filter(|(bit, _)| is_set(*bit));
        let against = flags.fold(Quality::GOOD, |all, (_, flag)| all.with(flag));
        let raised = Raised {
            metric: codes::event(code),
            priority: priority(kind),
            text: shown(&words, code, source, state),
            is_silenced: is_set(INHIBITED | SUSPENDED | SILENCED),
        };
        // Two entries of the same alert: the more urgent one counts, and a real one first of all.
        let rank = |against: Option<&Quality>, raised: &Raised| {
            (against == Some(&Quality::GOOD), raised.priority as u8, !raised.is_silenced)
        };
        let is_outdone = |there: &Raised| rank(quality.get(&key), there) >= rank(Some(&against), &raised);
        if !level.get(&key).is_some_and(is_outdone) {
            quality.insert(key.clone(), against);
            level.insert(key, raised);
        }
    }
    level
}

/// The monitor's words, and what state the alert is in.
fn shown(words: &str, code: u16, source: u16, state: u16) -> String {
    const STATES: [(u16, &str); 4] =
        [(INHIBITED, "inhibited"), (SUSPENDED, "suspended"), (LATCHED, "latched"), (SILENCED, "silenced")];
    let words = if words.is_empty() { format!("alert {code} of {source}") } else { words.to_owned() };
    let states: Vec<&str> =
        STATES.into_iter().filter(|(bit, _)| state & bit != 0).map(|(_, name)| name).collect();
    if states.is_empty() { words } else { text(&format!("{words} ({})", states.join(", "))) }
}

/// Low, medium and high of the technology are 1, 2 and 4; of the patient 256, 512 and 1024.
const fn priority(kind: u16) -> Priority {
    if kind & 0x0404 != 0 {
        Priority::High
    } else if kind & 0x0202 != 0 {
        Priority::Medium
    } else if kind & 0x0101 != 0 {
        Priority::Low
    } else {
        Priority::Unstated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::observation::Phase;

    fn on(code: u16, kind: u16, state: u16) -> Entry {
        Entry { source: 16_770, code, kind, state, object: (1, 33_485), words: "** HR HIGH".to_owned() }
    }

    fn told(edges: &[Observation]) -> Vec<(String, Phase, Priority, bool, String)> {
        let alarm = |said: &Observation| {
            let Value::Alarm(alarm) = &said.value else { panic!("{said:?}") };
            (alarm.code.clone(), alarm.phase, alarm.priority, alarm.is_silenced, alarm.text.clone())
        };
        edges.iter().map(alarm).collect()
    }

    #[test]
    fn a_list_that_is_not_there_says_nothing_and_an_empty_one_says_that_none_is_on() {
        let mut alarms = Alarms::default();
        let both = Alerts { patient: Some(vec![on(10, 1024, 8)]), technical: Some(vec![on(194, 2, 0)]) };
        assert_eq!(alarms.handle(both).len(), 2);
        assert_eq!(alarms.handle(Alerts::default()), []);
        let none = Alerts { patient: Some(Vec::new()), technical: None };
        let ended =
            ("P-10-16770-1-33485".to_owned(), Phase::End, Priority::High, false, "** HR HIGH".to_owned());
        assert_eq!(told(&alarms.handle(none)), [ended]);
    }

    #[test]
    fn priority_silence_and_demonstration_are_told() {
        let kinds = [(1, Priority::Low), (2, Priority::Medium), (4, Priority::High), (256, Priority::Low)];
        for (kind, expected) in kinds.into_iter().chain([(512, Priority::Medium), (1024, Priority::High)]) {
            assert_eq!(priority(kind), expected);
        }
        let mut alarms = Alarms::default();
        let of = |state| Alerts { patient: Some(vec![on(10, 512, state)]), technical: None };
        let began = alarms.handle(of(DEMONSTRATION));
        assert_eq!(began[0].quality, Quality::DEMONSTRATION);
        let silenced = alarms.handle(of(SILENCED | LATCHED | DEMONSTRATION));
        assert_eq!(told(&silenced)[0].1, Phase::Update);
        assert_eq!(
            (told(&silenced)[0].3, told(&silenced)[0].4.as_str()),
            (true, "** HR HIGH (latched, silenced)")
        );
        let ended = alarms.handle(Alerts { patient: Some(Vec::new()), technical: None });
        assert_eq!(ended[0].quality, Quality::DEMONSTRATION);
        assert_eq!(alarms.handle(of(0))[0].quality, Quality::GOOD);
    }

    #[test]
    fn a_demonstration_that_turns_real_is_told_as_an_alarm_that_begins() {
        let mut alarms = Alarms::default();
        let of = |state| Alerts { patient: Some(vec![on(10, 1024, state)]), technical: None };
        alarms.handle(of(DEMONSTRATION));
        assert_eq!(alarms.handle(of(DEMONSTRATION)), []);
        let turned = alarms.handle(of(0));
        let edges: Vec<(Phase, Quality)> = turned
            .iter()
            .zip(told(&turned))
            .map(|(said, alarm)| (said.quality, alarm.1))
            .map(|(q, p)| (p, q))
            .collect();
        assert_eq!(edges, [(Phase::End, Quality::DEMONSTRATION), (Phase::Start, Quality::GOOD)]);
        assert_eq!(alarms.handle(of(0)), []);
        assert_eq!(told(&alarms.handle(of(SILENCED)))[0].1, Phase::Update);
    }

    #[test]
    fn of_two_entries_of_one_alert_the_more_urgent_one_counts() {
        let (high, low) = (on(10, 1024, 0), on(10, 256, SILENCED | DEMONSTRATION));
        for entries in [vec![high.clone(), low.clone()], vec![low, high]] {
            let mut alarms = Alarms::default();
            let began = alarms.handle(Alerts { patient: Some(entries), technical: None });
            assert_eq!((told(&began)[0].2, told(&began)[0].3), (Priority::High, false));
            assert_eq!((began[0].quality, began.len()), (Quality::GOOD, 1));
        }
    }

    #[test]
    fn a_list_that_says_of_fewer_alerts_than_it_holds_is_not_believed() {
        let entry = [0u8, 1, 0, 2, 4, 0, 0, 0, 0, 6, 0, 1, 0, 9, 2, 1, 0, 0];
        let list = |count: u8, entries: usize| {
            let body = entry.repeat(entries);
            [&[0, count, 0, u8::try_from(body.len()).unwrap()][..], &body].concat()
        };
        assert_eq!(entries(&list(2, 2)).unwrap().len(), 2);
        assert_eq!(entries(&list(0, 0)).unwrap().len(), 0);
        for (count, held) in [(0, 1), (1, 2), (3, 2)] {
            assert_eq!(entries(&list(count, held)), None, "{count} of {held}");
        }
    }

    #[test]
    fn the_text_is_what_the_monitor_shows() {
        let units: Vec<u8> = "\u{E40D}\u{E40D} SpO\u{2082} \u{FEFF}LOW\u{1}x\0"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        assert_eq!(unicode(&units), "** SpO\u{2082} LOW x");
        assert_eq!(unicode(&[0xD8, 0x00, 0x00, 0x41]), "?A");
        assert_eq!(unicode(&[0x00]), "");
    }
}
