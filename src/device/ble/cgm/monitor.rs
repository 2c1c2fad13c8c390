//! The decoder of one connection: which session it is in, what is old, what is on.

use std::collections::VecDeque;

use super::annunciation::Annunciation;
use super::session::{SessionStart, time_of};
use super::values::{self, Feature, Record, Status as Said};
use super::{FEATURE, MEASUREMENT, PROFILE, RUN_TIME, SESSION_START, STATUS, codes};
use crate::device::alarms::AlarmEdges;
use crate::device::ble::not_of_this_profile;
use crate::device::catalogue::{Decoder, Numbering};
use crate::device::decimal::Decimal;
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit};
use crate::device::observation::{Absent, DeviceTime, Kind, Observation, Quality, Status, Value};
use crate::device::{Fault, FaultKind};
use crate::link::Characteristic;

/// The most records that wait for the start of their session. Reads are answered within seconds, so more than
/// that is no transfer but a flood: what is behind them is fetched again.
const MOST_WAITING: usize = 1024;

/// What is known of the sensor and its session.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each learned by itself")]
#[derive(Default)]
pub(super) struct Monitor {
    feature: Option<Feature>,
    /// What was last said of the start.
    start: Option<SessionStart>,
    /// The start was said anew, and differs, since the status was last read.
    is_start_new: bool,
    /// The start is not to be counted from: the session went back in time without it.
    is_start_wrong: bool,
    /// The sensor's "now", in minutes of its session, when the status was last read.
    now: Option<u16>,
    /// The newest record of the session.
    newest: Option<u16>,
    /// The last record that came.
    last: Option<u16>,
    /// A transfer of stored records has ended.
    is_settled: bool,
    /// Records that wait until it is known whose session they are of.
    waiting: Option<Vec<Record>>,
    /// More came than may wait, or than is told: what was let go has to be fetched again.
    has_let_go: bool,
    /// What it has learned of the session whose minutes number the records.
    numbering: VecDeque<Numbering>,
    /// What a read that failed set free: it goes out with what is told next.
    late: Vec<Observation>,
    alarms: AlarmEdges,
    wanted: VecDeque<Characteristic>,
}

impl Decoder for Monitor {
    fn alarms(&mut self) -> Option<&mut AlarmEdges> {
        Some(&mut self.alarms)
    }

    fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        let told = match of {
            FEATURE => self.handle_feature(value),
            SESSION_START => self.handle_start(value),
            STATUS => self.handle_status(value),
            RUN_TIME => self.handle_run_time(value),
            other => Err(not_of_this_profile(other, &PROFILE)),
        }?;
        Ok(self.late.drain(..).chain(told).collect())
    }

    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        if of != MEASUREMENT {
            return Err(not_of_this_profile(of, &PROFILE));
        }
        let feature = self.feature()?;
        let records = values::records(value, feature.is_protected())?;
        if self.now.is_none() {
            self.want(STATUS);
        }
        let mut told = std::mem::take(&mut self.late);
        for record in records {
            told.extend(self.take(record, feature));
        }
        Ok(told)
    }

    fn handle_end(&mut self) -> Vec<Observation> {
        self.is_settled = true;
        // Nobody has said whose session they are of. The sensor keeps them: they come again.
        self.waiting = None;
        self.has_let_go = false;
        std::mem::take(&mut self.late)
    }

    fn holds_back(&self) -> bool {
        self.has_let_go || self.waiting.as_ref().is_some_and(|waiting| !waiting.is_empty())
    }

    fn tells_stored(&self) -> bool {
        true
    }

    fn poll_numbering(&mut self) -> Option<Numbering> {
        self.numbering.pop_front()
    }

    fn poll_ask(&mut self) -> Option<Characteristic> {
        self.wanted.pop_front()
    }
}

impl Monitor {
    fn feature(&self) -> Result<Feature, Fault> {
        let detail = "the CGM feature (2AA8) is not known: whether a value must have an E2E-CRC, neither";
        self.feature.ok_or_else(|| Fault::new(FaultKind::Unexpected, detail))
    }

    fn want(&mut self, of: Characteristic) {
        if !self.wanted.contains(&of) {
            self.wanted.push_back(of);
        }
    }

    fn handle_feature(&mut self, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        self.feature = None;
        let feature = Feature::read(value.ok_or_else(|| not_given("feature (2AA8): no value can be read"))?)?;
        self.feature = Some(feature);
        let bits = Value::Bits(feature.all());
        Ok(vec![stated(&codes::FEATURES, bits, Kind::State)])
    }

    fn handle_start(&mut self, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        self.want(STATUS);
        let before = self.start.take();
        let Some(value) = value else { return Ok(Vec::new()) };
        let start = SessionStart::read(value, self.feature()?.is_protected())?;
        self.start = Some(start);
        self.numbering.push_back(Numbering::Session(start.hash()));
        if before == Some(start) {
            return Ok(Vec::new());
        }
        self.is_start_new = true;
        self.is_start_wrong = false;
        let clock = if start.on_calendar().is_some() { Quality::GOOD } else { Quality::CLOCK_NOT_SET };
        let text = Value::Text(start.at.to_string());
        let told = stated(&codes::SESSION_START, text, Kind::State);
        Ok(vec![Observation { device_time: start.stamp(), quality: clock, ..told }])
    }

    fn handle_run_time(&mut self, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        let Some(value) = value else { return Ok(Vec::new()) };
        let hours = values::run_time(value, self.feature()?.is_protected())?;
        let told = stated(&codes::RUN_TIME, Value::Decimal(Decimal::whole(hours)), Kind::Setting);
        Ok(vec![Observation { unit: &mdc::HOUR, ..told }])
    }

    fn handle_status(&mut self, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        let said = value
            .ok_or_else(|| {
                not_given("status (2AA9): alarms out of records wait for the end of their transfer")
            })
            .and_then(|value| Said::read(value, self.feature()?.is_protected()));
        match said {
            Ok(said) => {
                let mut told = self.take_status(said);
                told.extend(self.release(self.trusted_start()));
                Ok(told)
            }
            Err(fault) => {
                let free = self.release(self.trusted_start());
                self.late.extend(free);
                Err(fault)
            }
        }
    }

    /// The start, as far as it may be counted from.
    fn trusted_start(&self) -> Option<SessionStart> {
        self.start.filter(|_| !self.is_start_wrong)
    }

    fn take_status(&mut self, said: Said) -> Vec<Observation> {
        let Said { offset, annunciation } = said;
        let went_back = self.now.is_some_and(|before| offset < before);
        let is_behind = self.newest.is_some_and(|newest| offset < newest);
        if went_back || self.is_start_new && is_behind {
            self.newest = None;
            self.is_start_wrong |= !self.is_start_new;
        }
        self.is_start_new = false;
        self.now = Some(offset);
        if self.trusted_start().and_then(SessionStart::on_calendar).is_none() {
            // Nothing but its minutes tells this session from the one before.
            self.numbering.push_back(Numbering::Reaches(offset.into()));
        }
        let time = time_of(self.trusted_start(), offset);
        let bits = stated(&codes::STATUS, Value::Bits(annunciation.bits()), Kind::State);
        let mut told = vec![Observation { quality: annunciation.quality(), ..bits }];
        // A record that is newer knows better what is on.
        if self.newest.is_none_or(|newest| offset >= newest) {
            told.extend(self.alarms.handle_level(annunciation.level()));
        }
        told.into_iter().map(|one| Observation { device_time: Some(time), ..one }).collect()
    }

    /// Takes a record in the order in which they come.
    fn take(&mut self, record: Record, feature: Feature) -> Vec<Observation> {
        let is_back = self.last.is_some_and(|last| record.offset < last);
        self.last = Some(record.offset);
        if is_back && self.waiting.is_none() {
            self.want(SESSION_START);
            self.waiting = Some(Vec::new());
        }
        let Some(waiting) = &mut self.waiting else {
            return self.tell(record, feature, self.trusted_start());
        };
        if waiting.len() < MOST_WAITING {
            waiting.push(record);
        } else {
            self.has_let_go = true;
        }
        Vec::new()
    }

    /// Tells what waited.
    fn release(&mut self, start: Option<SessionStart>) -> Vec<Observation> {
        let Some(feature) = self.feature else { return Vec::new() };
        let waiting = self.waiting.take().unwrap_or_default();
        waiting.into_iter().flat_map(|record| self.tell(record, feature, start)).collect()
    }

    fn tell(&mut self, record: Record, feature: Feature, start: Option<SessionStart>) -> Vec<Observation> {
        let Record { glucose, offset, annunciation, trend, quality } = record;
        let is_newest = self.newest.is_none_or(|newest| offset > newest);
        let is_passed = self.now.is_some_and(|now| offset < now);
        let is_stored = is_passed || self.newest.is_some_and(|newest| offset < newest);
        let is_current = is_newest && !is_passed && (self.now.is_some() || self.is_settled);
        self.newest = self.newest.max(Some(offset));

        let said = annunciation.unwrap_or_default();
        let against = if is_stored { said.quality().with(Quality::STORED) } else { said.quality() };
        let told = readings(feature, glucose, trend, quality).chain(annunciation.map(state));
        let told = told.map(|one| Observation { quality: one.quality.with(against), ..one });
        let level = is_current.then(|| said.level());
        let edges = level.into_iter().flat_map(|level| self.alarms.handle_level(level));
        let device_time = Some(time_of(start, offset));
        // An edge is what is new against the record before: the record alone, asked for again, does not give it.
        let of_record = told.map(|one| Observation { record: Some(u32::from(offset)), ..one });
        of_record.chain(edges).map(|one| Observation { device_time, ..one }).collect()
    }
}

/// The numbers of a record.
fn readings(
    feature: Feature,
    glucose: Value,
    trend: Option<Value>,
    quality: Option<Value>,
) -> impl Iterator<Item = Observation> {
    let metric = metric_of(feature);
    let is_control = metric == &mdc::CONC_GLU_CONTROL;
    let measured = move |metric: &'static Metric, unit: &'static Unit, value: Value| {
        let is_number = matches!(value, Value::Decimal(_));
        let value = if is_control && is_number { Value::Absent(Absent::Error) } else { value };
        // Less than nothing is what a special value looks like to the wrong reader (0xFFFF is -0.1).
        let is_negative = metric.code != codes::TREND.code
            && matches!(&value, Value::Decimal(number) if number.mantissa < 0);
        let value = if is_negative { Value::Absent(Absent::Error) } else { value };
        let quality = if is_control { Quality::TEST } else { Quality::GOOD };
        let quality = if is_negative { quality.with(Quality::INVALID) } else { quality };
        Observation { unit, quality, ..stated(metric, value, Kind::Measurement) }
    };
    let glucose = measured(metric, &mdc::MILLIGRAM_PER_DECILITRE, glucose);
    let trend = trend.map(|value| measured(&codes::TREND, &mdc::MILLIGRAM_PER_DECILITRE_PER_MINUTE, value));
    let quality = quality.map(|value| measured(&codes::QUALITY, &mdc::PERCENT, value));
    [Some(glucose), trend, quality].into_iter().flatten()
}

fn state(annunciation: Annunciation) -> Observation {
    stated(&codes::STATUS, Value::Bits(annunciation.bits()), Kind::State)
}

/// The metric of the sample type.
fn metric_of(feature: Feature) -> &'static Metric {
    // The location, too, says that it was a control solution.
    if feature.sample >> 4 == 4 {
        return &mdc::CONC_GLU_CONTROL;
    }
    match feature.sample & 0x0F {
        1 => &mdc::CONC_GLU_CAPILLARY_WHOLEBLOOD,
        2 => &mdc::CONC_GLU_CAPILLARY_PLASMA,
        3 => &mdc::CONC_GLU_VENOUS_WHOLEBLOOD,
        4 => &mdc::CONC_GLU_VENOUS_PLASMA,
        5 => &mdc::CONC_GLU_ARTERIAL_WHOLEBLOOD,
        6 => &mdc::CONC_GLU_ARTERIAL_PLASMA,
        7 => &mdc::CONC_GLU_UNDETERMINED_WHOLEBLOOD,
        8 => &mdc::CONC_GLU_UNDETERMINED_PLASMA,
        9 => &mdc::CONC_GLU_ISF,
        10 => &mdc::CONC_GLU_CONTROL,
        _ => &mdc::CONC_GLU_GEN,
    }
}

fn not_given(what: &str) -> Fault {
    Fault::new(FaultKind::Refused, format!("it gives no CGM {what}"))
}

fn stated(metric: &'static Metric, value: Value, kind: Kind) -> Observation {
    Observation {
        metric,
        channel: 0,
        value,
        unit: &mdc::DIMENSIONLESS,
        modality: 0,
        kind,
        record: None,
        device_time: None::<DeviceTime>,
        status: Status::Final,
        quality: Quality::GOOD,
    }
}
