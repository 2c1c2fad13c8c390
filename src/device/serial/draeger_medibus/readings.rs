//! From one reply to what is told: identity, readings, edges of alarms, words, clock.
//!
//! In: a reply that was asked for, or any while the driver only listens. Out: actions. A code that nobody
//! knows is told once on a connection, by its number alone.

use super::codes::{self, Page};
use super::queries::{OWN_IDENTIFICATION, Query};
use super::replies::{self, Entry};
use super::texts::{self, Topic};
use super::wire::Frame;
use super::{Medibus, Phase, WHO_AGAIN, alarm_codes, metrics};
use crate::device::alarms::{Level, Raised};
use crate::device::nomenclature as mdc;
use crate::device::observation::{Absent, Kind, Observation, Priority, Quality, Value};
use crate::device::serial::{Faults, observation, text};
use crate::device::{Action, FaultKind};
use crate::time::Mono;

impl Medibus {
    /// Reads a reply by its code.
    pub(super) fn read(&mut self, frame: &Frame, now: Mono, faults: &mut Faults) {
        let data = frame.data.as_slice();
        let read = match frame.code {
            0x52 => self.read_identity(data, now),
            0x24 => self.read_values(Page::Measured1, data, faults),
            0x2B => self.read_values(Page::Measured2, data, faults),
            0x29 => self.read_values(Page::Settings, data, faults),
            0x27 => self.read_alarms(Page::Alarms1, data, faults),
            0x2E => self.read_alarms(Page::Alarms2, data, faults),
            0x2A => self.read_texts(data, faults),
            0x28 => self.read_clock(data),
            // Replies without data, to ICC, NOP, STOP; others are not asked for.
            _ => Ok(()),
        };
        if let Err(why) = read {
            faults.add(FaultKind::Malformed, format!("a reply to {:02X}: {why}", frame.code));
        }
    }

    fn read_identity(&mut self, data: &[u8], now: Mono) -> Result<(), &'static str> {
        if data.is_empty() && self.phase == Phase::Listening {
            return Ok(());
        }
        if data == OWN_IDENTIFICATION {
            // Such a line answers everything, also that no alarm is on.
            self.set_due(Query::Who, Some(now + WHO_AGAIN));
            return Err("the line sends back what it is sent: check the cable");
        }
        let Some(said) = replies::identity(data) else {
            self.set_due(Query::Who, Some(now + WHO_AGAIN));
            return Err("no number and name of a device");
        };
        self.is_identified = true;
        if self.alarms_of.as_ref().is_some_and(|owner| *owner != said) {
            self.alarms.forget();
        }
        self.alarms_of = Some(said.clone());
        if self.told.as_ref() != Some(&said) {
            if self.told.is_some() {
                self.quality = Quality::GOOD;
            }
            self.told = Some(said.clone());
            self.actions.push_back(Action::identify(said));
        }
        Ok(())
    }

    fn read_values(&mut self, page: Page, data: &[u8], faults: &mut Faults) -> Result<(), &'static str> {
        let (width, kind) = if page == Page::Settings { (5, Kind::Setting) } else { (4, Kind::Measurement) };
        for (code, value) in replies::readings(data, width)? {
            match (codes::find(page, self.profile, code), value) {
                (Some(row), Some(value)) => {
                    let said = observation(row.metric, value, row.unit, kind);
                    self.tell(Observation { channel: row.channel, quality: self.quality, ..said });
                }
                (Some(_), None) => {
                    if self.told_codes.insert((page, code)) {
                        let detail = format!("{}: the value of {code:02X} is no number", page.words());
                        faults.add(FaultKind::Malformed, detail);
                    }
                }
                (None, _) if codes::is_left_out(page, code) => {}
                (None, _) => self.tell_unknown(page, code, faults),
            }
        }
        Ok(())
    }

    fn read_alarms(&mut self, page: Page, data: &[u8], faults: &mut Faults) -> Result<(), &'static str> {
        let mark = if page == Page::Alarms2 { "CP2:" } else { "CP1:" };
        let entries = replies::alarms(data)?;
        // What the other code page said stays as it is.
        let mut level: Level = self.alarms.on().clone();
        level.retain(|code, _| !code.starts_with(mark));
        for entry in entries {
            if !alarm_codes::is_known(page == Page::Alarms2, entry.code) {
                self.tell_unknown(page, entry.code, faults);
            }
            let raised = self.raised(page, &entry);
            level.insert(format!("{mark}{:02X}", entry.code), raised);
        }
        for edge in self.alarms.handle_level(level) {
            self.tell(edge);
        }
        Ok(())
    }

    fn raised(&self, page: Page, entry: &Entry) -> Raised {
        let known = alarm_codes::find(page == Page::Alarms2, entry.code);
        let words = known.map_or("", |row| row.words);
        let words = [entry.phrase.as_str(), words, "alarm without a text"]
            .into_iter()
            .find(|words| !words.is_empty());
        let words = words.unwrap_or_default();
        let (priority, text_of) = match entry.priority {
            None => (Priority::Unstated, words.to_owned()),
            Some(priority) => {
                let urgency = if priority >= self.high {
                    Priority::High
                } else if priority >= self.medium {
                    Priority::Medium
                } else {
                    Priority::Low
                };
                (urgency, format!("{words} (priority {priority} of 31)"))
            }
        };
        let metric = known.map_or(&mdc::EVT_ALARM, |row| row.metric);
        Raised { metric, priority, text: text(&text_of), is_silenced: false }
    }

    fn read_texts(&mut self, data: &[u8], faults: &mut Faults) -> Result<(), &'static str> {
        let (known, unknown) = replies::texts(data)?;
        self.quality = texts::quality(&known, self.profile);
        for code in unknown {
            self.tell_unknown(Page::Texts, code, faults);
        }
        for (metric, topic) in [(&metrics::VENT_MODE, Topic::Mode), (&metrics::MESSAGES, Topic::State)] {
            let words = texts::joined(&known, topic);
            let value =
                if words.is_empty() { Value::Absent(Absent::Unknown) } else { Value::Text(text(&words)) };
            self.tell(observation(metric, value, &mdc::DIMENSIONLESS, Kind::State));
        }
        Ok(())
    }

    fn read_clock(&mut self, data: &[u8]) -> Result<(), &'static str> {
        if data.is_empty() {
            return Ok(());
        }
        let time = replies::clock(data).ok_or("no date and time")?;
        let value = Value::Text(time.to_string());
        let said = observation(&metrics::CLOCK, value, &mdc::DIMENSIONLESS, Kind::State);
        self.tell(Observation { device_time: Some(time), ..said });
        Ok(())
    }

    fn tell(&mut self, said: Observation) {
        self.actions.push_back(Action::observe(said));
    }

    fn tell_unknown(&mut self, page: Page, code: u8, faults: &mut Faults) {
        if self.told_codes.insert((page, code)) {
            let detail = format!("{}: the code {code:02X} is unknown", page.words());
            faults.add(FaultKind::Unexpected, detail);
        }
    }
}
