//! Insulin Delivery (0x183A): insulin pumps, read only.
//!
//! Sources: Insulin Delivery Service 1.0.2 and its profile; where it says so, ehealthinnovation's
//! `AndroidBLEParser` (MIT). No product that speaks this service was at hand: nothing here was seen on the
//! air but three values of a pump that uses the same layouts under identifiers of its own.
//!
//! **Read only by construction.** What can be written is made in [`crate::link::gatt`]: questions to the
//! Status Reader, reports of the history and their end. The characteristics that command a pump occur nowhere
//! in the sources, and a test of the architecture sees to that. Not even the bits of Status Changed are reset:
//! that is a write to a state that others share.
//!
//! On a connection Features (2B23) are read first, as they say how messages are protected: until they were read
//! nothing is taken, and what comes is refused. When the subscriptions stand, Status (2B21) and Annunciation
//! Status (2B22) are read, so that nothing changes unseen between the two; then, for each pump that knows them,
//! the basal rate and the insulin on board are asked for, one after the other. A question that has no answer
//! after [`QUESTIONS`] periods is told and given up; the next one is asked. An answer that cannot be read is one.
//!
//! **What follows from bits that are not reset.** A bit of Status Changed (2B20) stays set until somebody resets
//! it, and whether a pump tells a change whose bit is already set is not stated in the facts at hand: that
//! nothing is indicated proves nothing. So both are subscribed to where the pump indicates them; both are read
//! at once whenever Status Changed says so, and every [`PERIOD`] besides; and the questions are asked again every
//! [`QUESTIONS`]th time. A second annunciation is known within that period even where the pump indicates nothing.
//! No characteristic is read twice at a time, however often it is wanted. The answer to a read may be older than what
//! was indicated since it was asked for: one that says something else is dropped then, and read once more; of a
//! pump that protects its messages, the counter tells. Status Changed itself is not read: with
//! bits that stay it says nothing that the others do not.
//!
//! Choices:
//! - *Protection.* A wrong checksum refuses a message. A gap in its counter is told and the message taken; a
//!   counter that is repeated, or lies behind the last one, refuses it.
//! - *Codes.* Numbers out of the Hamming sets ("Prohibited") refuse the message. Numbers of the sets without a
//!   meaning are kept as `unknown 0x..`. Flags without a meaning are ignored; octets after the known ones refuse
//!   the message, as they would belong to something that changes it.
//! - *Annunciations* are alarms under their type and the number that the pump gave them, but those types that
//!   only inform: they are states. The urgency of a type is not the pump's word but this decoder's, see
//!   [`status`]. Pending is on;
//!   snoozed is on and silenced; an unknown status is on. Confirmed is over: somebody has answered it at the
//!   pump, which states no other end, and announces anew what goes on (an inference). The pump shows one at a
//!   time, so that another one is shown ends nothing: an alarm ends when it is confirmed, or when the pump
//!   shows none at all. The status is told in words besides. No more than [`MOST`] are held for on; see
//!   [`Pump::make_room`].
//! - *Amounts* are IU, exactly as sent; nothing is added up or multiplied. A temporary basal rate may be a
//!   factor: it is told as such.
//! - *History*: see [`history`]; its annunciations are states, never alarms.

mod codes;
pub(super) mod dialect;
mod events;
mod hamming;
mod history;
mod protection;
mod reader;
mod state;
mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use self::history::History;
use self::protection::{Counters, Features, Sent};
use self::state::Asked;
use self::status::Changed;
use super::octets::Octets;
use crate::device::alarms::AlarmEdges;
use crate::device::catalogue::{BleProfile, Class, Decoder, Stored};
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{self as mdc, Metric, Unit};
use crate::device::observation::{Kind, Observation, Quality, Status, Value};
use crate::device::{Fault, FaultKind};
use crate::link::Characteristic;
use crate::link::gatt::{GattWrite, PUMP_STATUS_READER, PumpQuery};
use crate::time::Mono;

const SERVICE: u16 = 0x183A;
const CHANGED: Characteristic = Characteristic { service: SERVICE, uuid: 0x2B20 };
const STATUS: Characteristic = Characteristic { service: SERVICE, uuid: 0x2B21 };
const ANNUNCIATION: Characteristic = Characteristic { service: SERVICE, uuid: 0x2B22 };
const FEATURES: Characteristic = Characteristic { service: SERVICE, uuid: 0x2B23 };
const HISTORY: Characteristic = Characteristic { service: SERVICE, uuid: 0x2B28 };

/// The catalogue row.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "insulin-delivery",
    title: "Insulin Delivery",
    service: SERVICE,
    class: Class::Therapy,
    asks: &[FEATURES],
    subscribes: &[CHANGED, STATUS, ANNUNCIATION, PUMP_STATUS_READER, HISTORY],
    episodic: &[CHANGED, STATUS, ANNUNCIATION, PUMP_STATUS_READER, HISTORY],
    stored: Some(Stored::Pump),
    reads: codes::READS,
    decoder: || Box::new(Pump::default()),
};

/// How often Status and Annunciation Status are read while the pump tells no change: no specification at hand
/// gives a rate; a minute is the longest that an annunciation may go unseen, for two short reads.
const PERIOD: Duration = Duration::from_secs(60);

/// Each time so many of these have passed, the questions are asked again: as often as the history is.
const QUESTIONS: u8 = 5;

/// No more annunciations than this are held for on: the service knows 22 types, and a pump that shows one after
/// the other without an end must not fill the memory.
const MOST: usize = 32;

/// The decoder of one connection.
#[derive(Debug, Default)]
struct Pump {
    features: Option<Features>,
    /// The pump does not give its features: there is no use in asking again.
    is_featureless: bool,
    received: Counters,
    sent: Sent,
    alarms: AlarmEdges,
    /// The codes of `alarms` that began on this connection, the oldest first.
    began: VecDeque<String>,
    history: History,
    /// The last value of each characteristic that is both read and subscribed to, as it came.
    last: BTreeMap<Characteristic, Vec<u8>>,
    asks: BTreeSet<Characteristic>,
    questions: Vec<PumpQuery>,
    /// The reads that have not ended.
    asked: BTreeMap<Characteristic, Asked>,
    /// An annunciation for which there was no room: told as such once.
    left_out: Option<String>,
    /// A question was asked and has no answer yet.
    is_waiting: bool,
    /// For how many periods it has had none.
    waited: u8,
    /// When the state is read next; `None` before the subscriptions stand.
    read_at: Option<Mono>,
    /// How often it was since the questions were asked.
    reads: u8,
    faults: VecDeque<Fault>,
}

impl Pump {
    /// Whether messages are protected. Unless that is known nothing can be read.
    fn is_protected(&mut self) -> Result<bool, Fault> {
        if let Some(features) = &self.features {
            return Ok(features.is_protected());
        }
        if !self.is_featureless {
            self.asks.insert(FEATURES);
        }
        let detail = "its features, which say how it protects its messages, were not read";
        Err(Fault::new(FaultKind::Unexpected, detail))
    }

    /// A value without its counter and checksum.
    fn open<'a>(&mut self, of: Characteristic, value: &'a [u8]) -> Result<&'a [u8], Fault> {
        const WHAT: &str = "IDD message";
        // Nothing longer than an attribute is looked at.
        let _ = Octets::new(WHAT, value)?;
        if !self.is_protected()? {
            return Ok(value);
        }
        if of == HISTORY {
            return protection::without_crc(WHAT, value);
        }
        let (payload, counter) = protection::without_counter(WHAT, value)?;
        self.faults.extend(self.received.take(of.uuid, counter)?);
        Ok(payload)
    }

    fn handle_features(&mut self, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        let Some(value) = value else {
            self.is_featureless = self.features.is_none();
            return Ok(Vec::new());
        };
        let (features, counter) = Features::read(value)?;
        if let Some(counter) = counter {
            self.faults.extend(self.received.take(FEATURES.uuid, counter)?);
        }
        // Before the subscriptions stand it would be read too early.
        if self.read_at.is_some() {
            self.asks.extend([STATUS, ANNUNCIATION]);
        }
        let out = vec![
            observed(
                &codes::CONCENTRATION,
                features.concentration.clone(),
                &mdc::INTL_UNIT_PER_MILLILITRE,
                Kind::Setting,
            ),
            state(&codes::FEATURES, Value::Bits(features.flags)),
        ];
        self.features = Some(features);
        self.question(true, true);
        Ok(out)
    }

    /// Asks, of what changed, what the pump knows.
    fn question(&mut self, basal_rate: bool, on_board: bool) {
        let Some(features) = &self.features else { return };
        let wanted = [
            (basal_rate && features.has_basal_rate(), PumpQuery::ActiveBasalRate),
            (on_board && features.has_on_board(), PumpQuery::InsulinOnBoard),
        ];
        for (is_wanted, query) in wanted {
            if is_wanted && !self.questions.contains(&query) {
                self.questions.push(query);
            }
        }
    }

    fn handle_changed(&mut self, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        let changed = Changed::read(value)?;
        if changed.is_of_status() {
            self.asks.insert(STATUS);
        }
        if changed.is_of_annunciation() {
            self.asks.insert(ANNUNCIATION);
        }
        // The insulin on board follows the basal rate and the boluses.
        let basal_rate = changed.is_of_basal_rate();
        self.question(basal_rate, basal_rate || changed.is_of_bolus());
        Ok(vec![state(&codes::CHANGED, Value::Bits(changed.0.into()))])
    }
}

impl Decoder for Pump {
    fn alarms(&mut self) -> Option<&mut AlarmEdges> {
        Some(&mut self.alarms)
    }

    fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        match (of, value) {
            (FEATURES, value) => self.handle_features(value),
            (STATUS | ANNUNCIATION, Some(value)) => self.handle_state(of, value, true),
            (STATUS | ANNUNCIATION, None) => {
                self.end_of_read(of);
                Ok(Vec::new())
            }
            (other, _) => Err(super::not_of_this_profile(other, &PROFILE)),
        }
    }

    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        match of {
            STATUS | ANNUNCIATION => self.handle_state(of, value, false),
            CHANGED => {
                let value = self.open(of, value)?;
                self.handle_changed(value)
            }
            PUMP_STATUS_READER => {
                self.is_waiting = false;
                let value = self.open(of, value)?;
                reader::read(value)
            }
            HISTORY => {
                let value = self.open(of, value)?;
                let mut faults = Vec::new();
                let out = self.history.take(value, &mut faults);
                self.faults.extend(faults);
                out
            }
            other => Err(super::not_of_this_profile(other, &PROFILE)),
        }
    }

    fn handle_end(&mut self) -> Vec<Observation> {
        self.history.end()
    }

    fn poll_ask(&mut self) -> Option<Characteristic> {
        let of = self.asks.pop_first()?;
        self.begin_read(of);
        Some(of)
    }

    fn handle_timeout(&mut self, now: Mono) {
        // The first time the questions have just been asked for.
        let is_first = self.read_at.replace(now + PERIOD).is_none();
        if self.is_waiting {
            self.waited += 1;
            if self.waited >= QUESTIONS {
                self.is_waiting = false;
                let detail =
                    format!("a question to the status reader has had no answer in {QUESTIONS} minutes");
                self.faults.push_back(Fault::new(FaultKind::Timeout, detail));
            }
        }
        if self.features.is_none() {
            // The answer is refused without them, and to ask for them is all that can be done.
            let _ = self.is_protected();
            return;
        }
        self.asks.extend([STATUS, ANNUNCIATION]);
        self.reads = if is_first { 0 } else { self.reads + 1 };
        if self.reads >= QUESTIONS {
            self.reads = 0;
            self.question(true, true);
        }
    }

    fn poll_timeout(&self) -> Option<Mono> {
        self.read_at
    }

    fn poll_write(&mut self) -> Option<GattWrite> {
        let features = self.features.as_ref().filter(|_| !self.is_waiting && !self.questions.is_empty())?;
        let counter = features.is_protected().then(|| self.sent.count());
        let write = GattWrite::pump_query(self.questions.remove(0), counter)?;
        (self.is_waiting, self.waited) = (true, 0);
        Some(write)
    }

    fn poll_fault(&mut self) -> Option<Fault> {
        self.faults.pop_front()
    }
}

fn observed(metric: &'static Metric, value: Value, unit: &'static Unit, kind: Kind) -> Observation {
    Observation {
        metric,
        channel: 0,
        value,
        unit,
        modality: 0,
        kind,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    }
}

fn state(metric: &'static Metric, value: Value) -> Observation {
    observed(metric, value, &mdc::DIMENSIONLESS, Kind::State)
}

fn text(metric: &'static Metric, words: String) -> Observation {
    state(metric, Value::Text(words))
}

/// A plain number of the pump's own: of a bolus, of a template.
fn number(metric: &'static Metric, value: impl Into<i64>) -> Observation {
    state(metric, Value::Decimal(Decimal::whole(value)))
}

/// Two octets of minutes.
fn minutes(
    metric: &'static Metric,
    kind: Kind,
    octets: &mut Octets<'_>,
    field: &'static str,
) -> Result<Observation, Fault> {
    let value = Value::Decimal(Decimal::whole(octets.u16(field)?));
    Ok(observed(metric, value, &mdc::MINUTE, kind))
}

#[cfg(test)]
mod tests;
