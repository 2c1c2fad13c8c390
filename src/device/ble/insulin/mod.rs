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
//! nothing is taken, and what comes is refused. Then Status (2B21) and Annunciation Status (2B22), again
//! whenever Status Changed (2B20) says so; then, for each pump that knows them, the basal rate and the insulin
//! on board are asked for. If a pump leaves a question without an answer, no other is asked on that
//! connection. Whether a pump tells a change whose bit is already set is not stated in the facts at hand.
//!
//! Choices:
//! - *Protection.* A wrong checksum refuses a message. A gap in its counter is told and the message taken; a
//!   repeated counter refuses it.
//! - *Codes.* Numbers out of the Hamming sets ("Prohibited") refuse the message. Numbers of the sets without a
//!   meaning are kept as `unknown 0x..`. Flags without a meaning are ignored; octets after the known ones refuse
//!   the message, as they would belong to something that changes it.
//! - *Annunciations* are alarms under their type and the number that the pump gave them. Pending is on;
//!   snoozed is on and silenced; an unknown status is on. Confirmed is over: somebody has answered it at the
//!   pump, which states no other end, and announces anew what goes on (an inference). The pump shows one at a
//!   time, so that another one is shown ends nothing: an alarm ends when it is confirmed, or when the pump
//!   shows none at all. The status is told in words besides. The pump states no urgency.
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
mod status;

use std::collections::{BTreeSet, VecDeque};

use self::history::History;
use self::protection::{Counters, Features, Sent};
use self::status::{Annunciation, Changed};
use super::octets::Octets;
use crate::device::alarms::{AlarmEdges, Level, Raised};
use crate::device::catalogue::{BleProfile, Class, Decoder, Stored};
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{self as mdc, Metric, Unit};
use crate::device::observation::{Kind, Observation, Priority, Quality, Status, Value};
use crate::device::{Fault, FaultKind};
use crate::link::Characteristic;
use crate::link::gatt::{GattWrite, PUMP_STATUS_READER, PumpQuery};

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
    subscribes: &[CHANGED, PUMP_STATUS_READER, HISTORY],
    episodic: &[CHANGED, PUMP_STATUS_READER, HISTORY],
    stored: Some(Stored::Pump),
    reads: codes::READS,
    decoder: || Box::new(Pump::default()),
};

/// The decoder of one connection.
#[derive(Debug, Default)]
struct Pump {
    features: Option<Features>,
    /// The pump does not give its features: there is no use in asking again.
    is_featureless: bool,
    received: Counters,
    sent: Sent,
    alarms: AlarmEdges,
    history: History,
    asks: BTreeSet<Characteristic>,
    questions: Vec<PumpQuery>,
    /// A question was asked and has no answer yet.
    is_waiting: bool,
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
        self.asks.extend([STATUS, ANNUNCIATION]);
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

    fn handle_annunciation(&mut self, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        let Some(read) = status::annunciation(value)? else {
            let mut out = vec![text(&codes::ANNUNCIATION, "none".to_owned())];
            out.extend(self.alarms.handle_level(Level::new()));
            return Ok(out);
        };
        let mut out = vec![read.observed()];
        out.extend(self.alarms.handle_one(&read.code(), raised(&read)));
        Ok(out)
    }
}

impl Decoder for Pump {
    fn alarms(&mut self) -> Option<&mut AlarmEdges> {
        Some(&mut self.alarms)
    }

    fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        match (of, value) {
            (FEATURES, value) => self.handle_features(value),
            (STATUS, Some(value)) => status::status(self.open(of, value)?),
            (ANNUNCIATION, Some(value)) => {
                let value = self.open(of, value)?;
                self.handle_annunciation(value)
            }
            (STATUS | ANNUNCIATION, None) => Ok(Vec::new()),
            (other, _) => Err(super::not_of_this_profile(other, &PROFILE)),
        }
    }

    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        match of {
            CHANGED => {
                let value = self.open(of, value)?;
                self.handle_changed(value)
            }
            PUMP_STATUS_READER => {
                let value = self.open(of, value)?;
                self.is_waiting = false;
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
        self.asks.pop_first()
    }

    fn poll_write(&mut self) -> Option<GattWrite> {
        let features = self.features.as_ref().filter(|_| !self.is_waiting && !self.questions.is_empty())?;
        let counter = features.is_protected().then(|| self.sent.count());
        let write = GattWrite::pump_query(self.questions.remove(0), counter)?;
        self.is_waiting = true;
        Some(write)
    }

    fn poll_fault(&mut self) -> Option<Fault> {
        self.faults.pop_front()
    }
}

/// An annunciation as an alarm; `None` when it is over.
fn raised(of: &Annunciation) -> Option<Raised> {
    let is_silenced = of.is_snoozed();
    (!of.is_confirmed()).then(|| Raised {
        metric: of.metric(),
        priority: Priority::Unstated,
        text: of.name(),
        is_silenced,
    })
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
