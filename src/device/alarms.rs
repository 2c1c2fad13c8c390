//! Alarm edges out of alarm levels: what began, what changed, what ended.
//!
//! In: everything that a device says is on at one moment, by the device's own code. Out: one
//! observation for each difference to what was on before. Devices repeat their alarms with every
//! answer; an alarm is told when it begins, when its urgency or its silence changes, and when it
//! ends, and at no other time.

use std::collections::BTreeMap;

use super::nomenclature as mdc;
use super::nomenclature::Metric;
use super::observation::{Alarm, Kind, Observation, Phase, Priority, Quality, Status, Value};

/// One alarm condition that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The event's code, [`mdc::EVT_ALARM`] where none says the same.
    pub metric: &'static Metric,
    /// How urgent the device says it is.
    pub priority: Priority,
    /// In words, for a person. A change of the words alone is no change of the alarm.
    pub text: String,
    /// Whether somebody has silenced it at the device.
    pub is_silenced: bool,
}

/// Everything that is on at one moment, by the device's own code.
pub type Level = BTreeMap<String, Raised>;

/// The alarms that are on, as far as the device has told.
#[derive(Clone, Debug, Default)]
pub struct AlarmEdges {
    on: Level,
}

impl AlarmEdges {
    /// Whether any is on.
    pub fn is_any_on(&self) -> bool {
        !self.on.is_empty()
    }

    /// What is on.
    pub const fn on(&self) -> &Level {
        &self.on
    }

    /// Forgets all: they were another device's.
    pub fn forget(&mut self) {
        self.on.clear();
    }

    /// Takes one that was told to be on by a driver before this one.
    pub fn recall(&mut self, code: String, raised: Raised) {
        self.on.insert(code, raised);
    }

    /// Takes all that is on now; gives what ended, what changed and what began, in this order.
    pub fn handle_level(&mut self, level: Level) -> Vec<Observation> {
        let gone = self.on.iter().filter(|(code, _)| !level.contains_key(*code));
        let ended = gone.map(|(code, raised)| edge(code, raised, Phase::End));
        let changed = level.iter().filter_map(|(code, raised)| {
            let before = self.on.get(code)?;
            let is_changed = (before.priority, before.is_silenced) != (raised.priority, raised.is_silenced);
            is_changed.then(|| edge(code, raised, Phase::Update))
        });
        let fresh = level.iter().filter(|(code, _)| !self.on.contains_key(*code));
        let began = fresh.map(|(code, raised)| edge(code, raised, Phase::Start));
        let edges = ended.chain(changed).chain(began).collect();
        self.on = level;
        edges
    }

    /// Takes word of one alarm alone: on (`Some`) or off; the others stay as they are.
    pub fn handle_one(&mut self, code: &str, raised: Option<Raised>) -> Vec<Observation> {
        let mut level = self.on.clone();
        match raised {
            Some(raised) => drop(level.insert(code.to_owned(), raised)),
            None => drop(level.remove(code)),
        }
        self.handle_level(level)
    }
}

/// The order of urgencies. What has none may be anything: as urgent as the most urgent.
pub const fn rank(priority: Priority) -> u8 {
    match priority {
        Priority::Low => 0,
        Priority::Medium => 1,
        Priority::High | Priority::Unstated => 2,
    }
}

/// One edge of one alarm.
pub fn edge(code: &str, raised: &Raised, phase: Phase) -> Observation {
    let Raised { metric, priority, text, is_silenced } = raised;
    let (code, text) = (code.to_owned(), text.clone());
    let alarm = Alarm { code, text, phase, priority: *priority, is_silenced: *is_silenced };
    Observation {
        metric,
        channel: 0,
        value: Value::Alarm(alarm),
        unit: &mdc::DIMENSIONLESS,
        modality: 0,
        kind: Kind::Alarm,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(priority: Priority, is_silenced: bool) -> Raised {
        Raised { metric: &mdc::EVT_OCCL, priority, text: "occlusion".to_owned(), is_silenced }
    }

    fn level(of: &[(&str, Priority, bool)]) -> Level {
        of.iter()
            .map(|(code, priority, silenced)| ((*code).to_owned(), raised(*priority, *silenced)))
            .collect()
    }

    fn told(observations: &[Observation]) -> Vec<(String, Phase, bool)> {
        let alarm = |said: &Observation| match &said.value {
            Value::Alarm(alarm) => (alarm.code.clone(), alarm.phase, alarm.is_silenced),
            Value::Decimal(_) | Value::Absent(_) | Value::Text(_) | Value::Bits(_) | Value::Samples(_) => {
                panic!("{said:?} is no alarm")
            }
        };
        observations.iter().map(alarm).collect()
    }

    #[test]
    fn each_alarm_is_told_at_its_edges_and_at_no_other_time() {
        let mut alarms = AlarmEdges::default();
        let on = level(&[("A", Priority::High, false), ("B", Priority::Low, false)]);
        let began = [("A".to_owned(), Phase::Start, false), ("B".to_owned(), Phase::Start, false)];
        assert_eq!(told(&alarms.handle_level(on.clone())), began);
        assert_eq!(alarms.handle_level(on), []);
        let silenced = level(&[("A", Priority::High, true), ("C", Priority::Low, false)]);
        assert_eq!(
            told(&alarms.handle_level(silenced)),
            [
                ("B".to_owned(), Phase::End, false),
                ("A".to_owned(), Phase::Update, true),
                ("C".to_owned(), Phase::Start, false)
            ]
        );
        assert_eq!(told(&alarms.handle_one("A", None)), [("A".to_owned(), Phase::End, true)]);
        assert_eq!(told(&alarms.handle_one("C", Some(raised(Priority::High, false)))).len(), 1);
        assert!(alarms.is_any_on());
        alarms.forget();
        assert_eq!(alarms.handle_level(Level::new()), []);
    }
}
