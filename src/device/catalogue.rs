//! What this gateway can read: a row for every serial device model and every BLE profile.

use std::time::Duration;

use super::alarms::AlarmEdges;
use super::nomenclature::Metric;
use super::observation::Observation;
use super::settings::{Setting, Settings};
use super::{Driver, Fault, Part};
use crate::link::gatt::{CURRENT_TIME, Filter, GattWrite};
use crate::link::{AllowSet, Characteristic, Line};
use crate::time::Mono;

/// A device model on a serial line.
pub struct SerialModel {
    /// The name in configuration and commands: `<maker>-<model>` in lower case.
    pub name: &'static str,
    /// The maker and model, for a person.
    pub title: &'static str,
    /// Whether it treats a patient: then nothing may be written but what is in `requests`, and the
    /// test-suite holds that set against the protocol's list of writes.
    pub class: Class,
    /// How the port is to be set when the configuration does not say.
    pub line: Line,
    /// Everything that may ever be written to it.
    pub requests: AllowSet,
    /// Everything that it can report.
    pub reads: &'static [&'static Metric],
    /// How it proves who it is.
    pub identity: IdentityProof,
    /// What stands behind the port: one device, or several with an identity each.
    pub parts: Parts,
    /// What can be set for it: above all what its public facts leave open.
    pub settings: &'static [Setting],
    /// How long a device that is well may say nothing. Longer, and it is told to be silent and its
    /// port is opened again.
    pub quiet: Duration,
    /// Makes the driver. Not a plain function: a model that the configuration describes carries its
    /// description.
    pub driver: &'static (dyn Fn(&Settings) -> Box<dyn Driver> + Send + Sync),
}

impl std::fmt::Debug for SerialModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What stands behind one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// One device.
    One,
    /// Several devices with an identity each.
    Many {
        /// What the place of one is called, for instance `slot`.
        word: &'static str,
        /// The names of the places; `Part(1)` is the first.
        names: &'static [&'static str],
    },
}

impl Parts {
    /// The part at the place of a name.
    pub fn find(self, name: &str) -> Option<Part> {
        let Self::Many { names, .. } = self else { return None };
        let place = names.iter().position(|known| *known == name)?;
        u8::try_from(place.saturating_add(1)).ok().map(Part)
    }

    /// The name of a part's place.
    pub fn name(self, part: Part) -> Option<&'static str> {
        let Self::Many { names, .. } = self else { return None };
        names.get(usize::from(part.0).checked_sub(1)?).copied()
    }
}

/// What a device does to the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It only watches.
    Monitor,
    /// It treats: read-only, without exception.
    Therapy,
}

/// How a device proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityProof {
    /// It states a serial number in its protocol.
    Reported,
    /// Its protocol has none: the port alone says who it is, and every record says so.
    PortOnly,
}

/// A BLE profile: one service whose characteristics are read or subscribed to.
pub struct BleProfile {
    /// The name in configuration and commands, for instance `heart-rate`.
    pub name: &'static str,
    /// The service's name, for a person.
    pub title: &'static str,
    /// The service's 16-bit UUID.
    pub service: u16,
    /// Whether it treats a patient: then nothing may be written but questions, and the test-suite holds
    /// the sources against that.
    pub class: Class,
    /// What is read on every connection before anything is subscribed to: features, what is fixed, the
    /// start of a session. What the device does not offer is told to the decoder as such.
    pub asks: &'static [Characteristic],
    /// What is subscribed to (notify or indicate).
    pub subscribes: &'static [Characteristic],
    /// Of these, what speaks only when somebody measures or asks: its silence means nothing.
    pub episodic: &'static [Characteristic],
    /// How the records are fetched that the device keeps, if its service has such; by its own control point,
    /// which is not among `subscribes`.
    pub stored: Option<Stored>,
    /// Everything that it can report.
    pub reads: &'static [&'static Metric],
    /// Makes the decoder of one connection.
    pub decoder: fn() -> Box<dyn Decoder>,
}

impl BleProfile {
    /// What can be set for a device that offers it.
    pub const fn settings(&self) -> &'static [Setting] {
        match self.stored {
            Some(Stored::RecordAccess { filter: Filter::Short | Filter::Long }) => {
                &super::ble::RECORD_SETTINGS
            }
            None if super::ble::asks_for_consent(self.service) => &super::ble::CONSENT_SETTINGS,
            None if self.service == CURRENT_TIME.service => &super::ble::CLOCK_SETTINGS,
            // What has no numbers cannot be deleted up to one; an insulin pump's history is never deleted.
            Some(Stored::RecordAccess { filter: Filter::None } | Stored::Pump) | None => &[],
        }
    }
}

/// How a service gives the records that it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// By a Record Access Control Point (2A52).
    RecordAccess {
        /// By what records are counted.
        filter: Filter,
    },
    /// By the Record Access Control Point of an insulin pump (2B27).
    Pump,
}

/// What a device says of the numbers of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// By now no record has a greater one. A greater one that is known is of numbers that are over.
    Reaches(u32),
    /// Of which session they are, as a hash: in another one they began anew.
    Session(u32),
}

/// Makes observations of what one service of one connected device says. Made anew for every connection.
pub trait Decoder: Send {
    /// Takes the answer to one of the profile's `asks`; `None`: the device does not offer it, or did not
    /// give it. What is given back says what it states besides (a battery, a run time).
    fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        let _ = (of, value);
        Ok(Vec::new())
    }

    /// Whether the device keeps records, as far as its features say: asked before its control point is subscribed to.
    fn keeps_records(&self) -> bool {
        true
    }

    /// Takes one value of a characteristic that was subscribed to. An observation that came out of a record
    /// of the device carries the record's number.
    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault>;

    /// Takes the end of a transfer of records, or of the connection: gives what still waited for its other
    /// half.
    fn handle_end(&mut self) -> Vec<Observation> {
        Vec::new()
    }

    /// Whether it holds back records, or let some go, that it could not tell as they are: the end of the transfer
    /// drops them, and they are fetched again. Asked before `handle_end`.
    fn holds_back(&self) -> bool {
        false
    }

    /// Whether it flags what was stored itself, because what comes by itself has a record's number too.
    fn tells_stored(&self) -> bool {
        false
    }

    /// The number of a record of which something was given just now and the main part did not come, if any: what
    /// was given of it does not count as the record.
    fn poll_lone(&mut self) -> Option<u32> {
        None
    }

    /// What it has learned of how the device counts its records, if anything.
    fn poll_numbering(&mut self) -> Option<Numbering> {
        None
    }

    /// The alarms that it holds for told. They are the device's, not the connection's: the decoder of the next
    /// connection goes on with them.
    fn alarms(&mut self) -> Option<&mut AlarmEdges> {
        None
    }

    /// Something to be read because of what was said just now (a status that changed), if anything. Its
    /// answer comes by `handle_read`.
    fn poll_ask(&mut self) -> Option<Characteristic> {
        None
    }

    /// Takes the time: once when the subscriptions stand, and again whenever [`Decoder::poll_timeout`] says.
    /// What it wants read or written then is given by `poll_ask` and `poll_write`.
    fn handle_timeout(&mut self, now: Mono) {
        let _ = now;
    }

    /// When it is to be told the time again; `None`: never. Asked only while the subscriptions stand.
    fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    /// Something to be written once the subscriptions stand (a sensor that sends nothing live until it is
    /// told to), if anything. How the write ended is not told to the decoder.
    fn poll_write(&mut self) -> Option<GattWrite> {
        None
    }

    /// Something wrong beside what the last call gave: a part of a value that could not be read, a segment
    /// that was lost. What made the whole value useless is the error of that call itself.
    fn poll_fault(&mut self) -> Option<Fault> {
        None
    }
}

/// The decoder of a profile whose values each stand alone.
pub struct Plain(pub fn(Characteristic, &[u8]) -> Result<Vec<Observation>, Fault>);

impl Decoder for Plain {
    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        (self.0)(of, value)
    }
}

/// Every serial device model, by name.
pub fn serial_models() -> &'static [&'static SerialModel] {
    super::serial::MODELS
}

/// Every BLE profile, by name.
pub fn ble_profiles() -> &'static [&'static BleProfile] {
    super::ble::PROFILES
}

/// The serial model of a name.
pub fn serial_model(name: &str) -> Option<&'static SerialModel> {
    serial_models().iter().copied().find(|row| row.name == name)
}

/// The BLE profile of a name.
pub fn ble_profile(name: &str) -> Option<&'static BleProfile> {
    ble_profiles().iter().copied().find(|row| row.name == name)
}
