//! What the ventilator's numbers say, in the normal form.
//!
//! In: the text of an answer or the values of a block, and the table of channels that it is of. Out:
//! observations, held until it is known whose they are, or told at once while a capture or a stream
//! is read. 9999 in text and 7EFF in a stream are "no value".

use super::super::{Faults, observation};
use super::channels::{self, MODE, Scale, curve_metric, metric_of};
use super::codes;
use super::queries::{Asked, Group};
use super::stream::{Curves, MISSING, curves};
use super::{MaquetServoI, Phase, alarms};
use crate::device::alarms::Level;
use crate::device::decimal::Decimal;
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit};
use crate::device::observation::{Absent, DeviceTime, Kind, MAX_SAMPLES, Observation, Samples, Value};
use crate::device::{Action, FaultKind};

/// "No value" in text.
const MISSING_TEXT: &str = "9999";

impl MaquetServoI {
    /// Takes the answer to a question for numbers. False: it has another form.
    pub(super) fn take_reading(&mut self, asked: Asked, text: &str, faults: &mut Faults) -> bool {
        match asked {
            Asked::Config(channel) => self.take_scales(channel, text, faults),
            Asked::Time => match time(text) {
                Some(time) => {
                    self.time = Some(time);
                    true
                }
                None => false,
            },
            Asked::Overview => match text.trim().parse::<u8>() {
                Ok(state @ 0..=2) => {
                    self.overview = Some(state);
                    let value = Value::Decimal(Decimal::whole(state));
                    self.hold(observation(&codes::ALARM_STATE, value, &mdc::DIMENSIONLESS, Kind::State));
                    true
                }
                Ok(_) | Err(_) => false,
            },
            Asked::Read(group) => {
                let table = self.tables.of(group).clone();
                match numbers(text, table.len(), group) {
                    Some(values) => {
                        let values: Vec<(u16, Option<i64>)> = table.into_iter().zip(values).collect();
                        self.take_group(group, &values, faults)
                    }
                    None => false,
                }
            }
            Asked::Wake
            | Asked::Type
            | Asked::Serial
            | Asked::Software
            | Asked::Highest
            | Asked::SetVersion(_)
            | Asked::Version
            | Asked::Define(_)
            | Asked::Stream
            | Asked::Other => true,
        }
    }

    fn take_scales(&mut self, channel: u16, text: &str, faults: &mut Faults) -> bool {
        let Some(all) = Scale::read_all(text) else { return false };
        // Asked for one channel, the answer has to be of that one; a captured host may ask for all.
        if channel != 0 && !matches!(all.as_slice(), [(number, _)] if *number == channel) {
            return false;
        }
        for (number, scale) in all {
            let Some(scale) = scale else {
                let detail =
                    format!("gain, offset or unit of channel {number} cannot be read: it is left out");
                faults.add(FaultKind::Malformed, detail);
                continue;
            };
            self.scales.insert(number, scale);
        }
        true
    }

    /// Takes the values of a group's channels. False: they cannot be what they should.
    fn take_group(&mut self, group: Group, values: &[(u16, Option<i64>)], faults: &mut Faults) -> bool {
        if group == Group::Alarm {
            let Some(level) = alarms::level(values) else { return false };
            self.is_standby = false;
            self.held_level = Some(level);
            return true;
        }
        for (number, raw) in values {
            let Some((metric, kind)) = metric_of(*number) else { continue };
            let Some(scale) = self.scales.get(number) else {
                let detail = format!("what channel {number} is worth was not said (RCCO): not passed on");
                faults.add(FaultKind::Malformed, detail);
                continue;
            };
            let (value, unit) = match raw {
                None => (Value::Absent(Absent::Unknown), scale.unit),
                Some(raw) if *number == MODE => (Value::Text(channels::mode(*raw)), &mdc::DIMENSIONLESS),
                Some(raw) => (scale.value(*raw), scale.unit),
            };
            self.hold(observation(metric, value, unit, kind));
        }
        true
    }

    /// A block of a stream that is no curve.
    pub(super) fn take_values(&mut self, letter: u8, values: &[u16], faults: &mut Faults) {
        let group = match letter {
            b'B' => Group::Breath,
            b'S' => Group::Setting,
            b'E' => Group::Alarm,
            // Trends and the older alarms are not asked for; the extended alarms say more.
            _ => return,
        };
        let table = self.tables.of(group).clone();
        let raws = values.iter().map(|&raw| (raw != MISSING).then_some(i64::from(raw)));
        let values: Vec<(u16, Option<i64>)> = table.iter().copied().zip(raws.clone()).collect();
        if raws.len() != table.len() || table.is_empty() || !self.take_group(group, &values, faults) {
            let detail = format!("a block of {} values does not fit its table of channels", raws.len());
            faults.add(FaultKind::Malformed, detail);
            return;
        }
        self.tell_said();
    }

    /// A block of curves of a stream.
    pub(super) fn take_curves(&mut self, content: &[u8], faults: &mut Faults) {
        let table = self.tables.curve.clone();
        let read = match curves(content, table.len(), self.breath_phase) {
            Ok(read) => read,
            Err(why) => {
                faults.add(FaultKind::Malformed, why);
                self.breath_phase = None;
                return;
            }
        };
        self.breath_phase = read.phases.last().copied().flatten();
        let mut period_us = None;
        for (place, number) in (0u8..).zip(&table) {
            let Some(scale) = self.scales.get(number).cloned() else {
                let detail = format!("what channel {number} is worth was not said (RCCO): not passed on");
                faults.add(FaultKind::Malformed, detail);
                continue;
            };
            if scale.sampling == 0 {
                faults.add(
                    FaultKind::Malformed,
                    format!("channel {number} has no sampling time: not passed on"),
                );
                continue;
            }
            let period = scale.sampling.saturating_mul(self.options.sample_unit_us);
            period_us = period_us.or(Some(period));
            let raws = read.samples.get(usize::from(place)).map_or(&[][..], Vec::as_slice);
            let (exponent, values) = scale.samples(raws).into_narrow(Samples::MISSING);
            let channel = place.saturating_add(1);
            let shape =
                Shape { metric: curve_metric(scale.unit), unit: scale.unit, period, exponent, channel };
            self.tell_samples(&shape, &values);
        }
        if let Some(period) = period_us {
            let shape = Shape {
                metric: &codes::CURVE_PHASE,
                unit: &mdc::DIMENSIONLESS,
                period,
                exponent: 0,
                channel: 0,
            };
            self.tell_samples(&shape, &phases(&read));
        }
    }

    fn tell_samples(&mut self, shape: &Shape, values: &[i16]) {
        let Shape { metric, unit, period, exponent, channel } = *shape;
        for values in values.chunks(MAX_SAMPLES) {
            let samples = Samples { period_us: period, exponent, values: values.to_vec() };
            let said = observation(metric, Value::Samples(samples), unit, Kind::Wave);
            self.actions.push_back(Action::observe(Observation { channel, ..said }));
        }
    }

    /// Keeps a reading until it is known whose it is.
    fn hold(&mut self, said: Observation) {
        self.held.push(said);
    }

    /// Tells what the round has said: it is known whose it is.
    pub(super) fn tell_held(&mut self) {
        if self.phase != Phase::Listening {
            self.tell_state();
        }
        self.tell_said();
    }

    fn tell_said(&mut self) {
        let edges = self.held_level.take().map(|level: Level| self.alarms.handle_level(level));
        let held = std::mem::take(&mut self.held);
        let time = self.time;
        let all = edges.into_iter().flatten().chain(held);
        self.actions.extend(all.map(|said| Action::observe(Observation { device_time: time, ..said })));
    }

    pub(super) fn tell_state(&mut self) {
        let word = if self.is_standby { "standby" } else { "operating" };
        let value = Value::Text(word.to_owned());
        let said = observation(&codes::STATE, value, &mdc::DIMENSIONLESS, Kind::State);
        self.actions.push_back(Action::observe(said));
    }

    /// Forgets what was held: nobody knows whose it is.
    pub(super) fn drop_held(&mut self) {
        self.held.clear();
        self.held_level = None;
    }
}

/// What is the same of all stretches of a curve.
struct Shape {
    metric: &'static Metric,
    unit: &'static Unit,
    period: u32,
    exponent: i8,
    channel: u8,
}

/// The phase at each sample: 1 inspiration, 2 pause, 3 expiration.
fn phases(read: &Curves) -> Vec<i16> {
    let phase = |phase: &Option<u8>| phase.map_or(Samples::MISSING, |phase| i16::from(phase >> 4));
    read.phases.iter().map(phase).collect()
}

/// The numbers of an answer, each as wide as the others: four digits; alarms may come with one.
fn numbers(text: &str, count: usize, group: Group) -> Option<Vec<Option<i64>>> {
    let width = text.len().checked_div(count)?;
    let is_wide = width == 4 || (group == Group::Alarm && width == 1);
    if !is_wide || width.checked_mul(count)? != text.len() || !text.is_ascii() {
        return None;
    }
    let number = |field: &[u8]| {
        let field = std::str::from_utf8(field).ok()?.trim();
        if field == MISSING_TEXT { Some(None) } else { field.parse().ok().map(Some) }
    };
    text.as_bytes().chunks(width).map(number).collect()
}

/// The ventilator's clock: `YYMMDDhhmmss`, or with a year of four digits as later software has it.
fn time(text: &str) -> Option<DeviceTime> {
    let text = text.trim();
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match text.len() {
        12 => (2_000 + text.get(..2)?.parse::<u16>().ok()?, text.get(2..)?),
        14 => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
    let time = DeviceTime {
        year,
        month: part(0)?,
        day: part(2)?,
        hour: part(4)?,
        minute: part(6)?,
        second: part(8)?,
        ..DeviceTime::default()
    };
    let is_sound =
        time.month <= 12 && time.day <= 31 && time.hour < 24 && time.minute < 60 && time.second < 60;
    is_sound.then_some(time)
}
