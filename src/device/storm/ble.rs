//! Any values on any characteristic, any answers to anything, in any order and at any time, into the driver of
//! BLE devices and the decoders of their profiles.
//!
//! What is promised besides what holds for every driver: no reading of a connection before its identity; no read
//! or subscription but of Device Information and of what belongs to the listed profiles, and of the clock of a generic
//! health sensor (Current Elapsed Time 2BF2); no write but to the control point of a listed profile that has stored
//! records, and none that deletes; nothing of a serial line.
//!
//! The form: operations. 0x00 to 0x5F: a value of so many octets, of the characteristic at the place that the next
//! byte gives (modulo the number of [`characteristics`]). 0x60 to 0x9F: the answer to a read of it, of so many
//! octets less 0x60. Then, each with such a place: 0xA0 a read of what is not offered, 0xA1 a read that failed,
//! 0xA2 subscribed, 0xA3 a subscription to what is not offered, 0xA4 one that failed, 0xA5 written, 0xA6 a write
//! that failed. 0xA7 and a byte: so many bytes of no characteristic. 0xA8: all that waits is answered as a device
//! answers that has all characteristics and whose reads are empty. 0xA9 and a byte: the first that waits is answered, a read
//! with so many octets (modulo 64). 0xAA and two bytes: a value as long as they say (less than 1,024) of the
//! characteristic at the place that the next byte gives. 0xC0 to 0xC4 as for a serial model, but that the link
//! goes down before it comes up again. All else: nothing.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Promises, Talk, byte, piece};
use crate::device::ble::Collector;
use crate::device::catalogue::{BleProfile, Stored};
use crate::device::nomenclature::Metric;
use crate::link::gatt::{
    CURRENT_ELAPSED_TIME, DATABASE_HASH, DISCOVERED, GattWrite, HEALTH_SENSOR_CONTROL, PUMP_RECORD_ACCESS,
    PUMP_STATUS_READER, RECORD_ACCESS,
};
use crate::link::{Characteristic, LinkCommand, LinkEvent, NOT_OFFERED};

const DEVICE_INFORMATION: u16 = 0x180A;

/// What a device that answers everything does not answer any more: a driver that asks without end.
const MOST_ANSWERS: usize = 1_000;

/// So many commands are remembered to be answered; of more, the first are never answered.
const MOST_WAITING: usize = 64;

/// The op codes that delete records: of the Record Access Control Point, and of that of an insulin pump.
const DELETES: [u8; 2] = [0x02, 0x3C];

pub(super) fn converse(profiles: Vec<&'static BleProfile>, script: &[u8]) -> u64 {
    let driver = Box::new(Collector::new(profiles.clone()));
    let places = characteristics(&profiles);
    let mut talk = Talk::new(Device { profiles, places, waiting: VecDeque::new() }, driver);
    talk.run(script);
    talk.observed
}

/// What a script can name: all that the profiles ask for and subscribe to, their control points, Device
/// Information, and one of nobody.
pub(super) fn characteristics(profiles: &[&'static BleProfile]) -> Vec<Characteristic> {
    let of_profile = |row: &&'static BleProfile| {
        let service = row.service;
        let control = match row.stored {
            None => &[][..],
            Some(Stored::RecordAccess { .. }) => &[RECORD_ACCESS],
            Some(Stored::Pump) => &[PUMP_RECORD_ACCESS.uuid, PUMP_STATUS_READER.uuid],
        };
        let control = control.iter().map(move |uuid| Characteristic { service, uuid: *uuid });
        row.subscribes.iter().chain(row.asks).copied().chain(control)
    };
    let strings = [0x2A29, 0x2A24, 0x2A25, 0x2A26];
    let strings = strings.map(|uuid| Characteristic { service: DEVICE_INFORMATION, uuid });
    let nobody = Characteristic { service: 0x1234, uuid: 0x5678 };
    profiles.iter().flat_map(of_profile).chain(strings).chain([nobody]).collect()
}

struct Device {
    profiles: Vec<&'static BleProfile>,
    places: Vec<Characteristic>,
    /// What the driver wants and has not been answered.
    waiting: VecDeque<LinkCommand>,
}

impl Device {
    /// The characteristic that a byte names.
    fn at(&self, place: u8) -> Characteristic {
        let place = usize::from(place) % self.places.len().max(1);
        self.places.get(place).copied().unwrap_or(Characteristic { service: 0, uuid: 0 })
    }

    fn is_of_profile(&self, of: Characteristic) -> bool {
        self.profiles.iter().any(|row| row.service == of.service)
    }

    /// The clock by which a generic health sensor stamps is a service of its own (Elapsed Time Service 1.0).
    fn is_its_clock(&self, of: Characteristic) -> bool {
        of == CURRENT_ELAPSED_TIME
            && self.profiles.iter().any(|row| row.service == HEALTH_SENSOR_CONTROL.service)
    }

    fn may_write(&self, write: &GattWrite) -> bool {
        let to = write.to();
        if to == HEALTH_SENSOR_CONTROL {
            return self.profiles.iter().any(|row| row.service == to.service);
        }
        let is_control_point = |row: &&'static BleProfile| match row.stored {
            None => false,
            Some(Stored::RecordAccess { .. }) => to.uuid == RECORD_ACCESS,
            Some(Stored::Pump) => [PUMP_RECORD_ACCESS, PUMP_STATUS_READER].contains(&to),
        };
        let mut listed = self.profiles.iter().filter(|row| row.service == to.service);
        listed.any(is_control_point)
            && !write.octets().first().is_some_and(|code| to != PUMP_STATUS_READER && DELETES.contains(code))
    }
}

impl Promises for Device {
    fn name(&self) -> String {
        self.profiles.iter().map(|row| row.name).collect::<Vec<_>>().join("+")
    }

    fn handle_command(&mut self, command: LinkCommand) -> bool {
        if self.waiting.len() == MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(command);
        match command {
            LinkCommand::Read(of) => {
                of.service == DEVICE_INFORMATION
                    || [DATABASE_HASH, DISCOVERED].contains(&of)
                    || self.is_of_profile(of)
                    || self.is_its_clock(of)
            }
            LinkCommand::Subscribe(to) => self.is_of_profile(to),
            LinkCommand::Write(write) => self.may_write(&write),
            LinkCommand::Send(_) | LinkCommand::Fill(..) | LinkCommand::HangUp => false,
        }
    }

    fn reads(&self, metric: &'static Metric) -> bool {
        self.profiles.iter().any(|row| row.reads.contains(&metric))
    }

    fn must_be_named(&self) -> bool {
        true
    }
}

impl Talk<Device> {
    fn run(&mut self, mut script: &[u8]) {
        while let Some((&operation, rest)) = script.split_first() {
            script = rest;
            match operation {
                0x00..=0x9F => {
                    let of = self.promises.at(byte(&mut script));
                    let is_value = operation < 0x60;
                    let octets = piece(&mut script, usize::from(operation % 0x60));
                    self.event(&if is_value {
                        LinkEvent::Value(of, octets)
                    } else {
                        LinkEvent::ReadDone(of, Ok(octets))
                    });
                }
                0xA0..=0xA6 => {
                    let of = self.promises.at(byte(&mut script));
                    self.event(&outcome(operation, of));
                }
                0xA7 => {
                    let count = usize::from(byte(&mut script));
                    let octets = piece(&mut script, count);
                    self.event(&LinkEvent::Bytes(octets));
                }
                0xA8 => self.answer_all(),
                0xA9 => {
                    let count = usize::from(byte(&mut script) % 64);
                    let octets = piece(&mut script, count);
                    self.answer(octets);
                }
                0xAA => {
                    let count = u16::from_le_bytes([byte(&mut script), byte(&mut script)]) % 1_024;
                    let of = self.promises.at(byte(&mut script));
                    let octets = piece(&mut script, usize::from(count));
                    self.event(&LinkEvent::Value(of, octets));
                }
                0xC0 => {
                    if self.is_up {
                        self.down();
                    }
                    self.promises.waiting.clear();
                    self.up();
                }
                0xC1 => {
                    self.down();
                    self.promises.waiting.clear();
                }
                0xC2 => self.time_out(),
                0xC3 => self.wait(byte(&mut script)),
                0xC4 => self.durable(),
                _ => {}
            }
        }
    }

    /// Answers all that waits and all that follows from it.
    fn answer_all(&mut self) {
        for count in 0.. {
            assert!(count < MOST_ANSWERS, "{}: it asks without end", self.promises.name());
            if self.promises.waiting.is_empty() {
                return;
            }
            self.answer(Bytes::new());
        }
    }

    /// Answers the first that waits.
    fn answer(&mut self, octets: Bytes) {
        let Some(command) = self.promises.waiting.pop_front() else { return };
        match command {
            LinkCommand::Read(of) => self.event(&LinkEvent::ReadDone(of, Ok(octets))),
            LinkCommand::Subscribe(to) => self.event(&LinkEvent::Subscribed(to, Ok(()))),
            LinkCommand::Write(write) => self.event(&LinkEvent::Written(write.to(), Ok(()))),
            LinkCommand::Send(_) | LinkCommand::Fill(..) | LinkCommand::HangUp => {}
        }
    }
}

/// The event of an operation that names a characteristic and brings no octets.
fn outcome(operation: u8, of: Characteristic) -> LinkEvent {
    let (refused, failed) = (NOT_OFFERED.to_owned(), "Operation failed with ATT error: 0xfd".to_owned());
    match operation {
        0xA0 => LinkEvent::ReadDone(of, Err(refused)),
        0xA1 => LinkEvent::ReadDone(of, Err(failed)),
        0xA2 => LinkEvent::Subscribed(of, Ok(())),
        0xA3 => LinkEvent::Subscribed(of, Err(refused)),
        0xA4 => LinkEvent::Subscribed(of, Err(failed)),
        0xA5 => LinkEvent::Written(of, Ok(())),
        _ => LinkEvent::Written(of, Err(failed)),
    }
}
