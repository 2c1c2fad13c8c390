//! Devices that keep records and give them by a Record Access Control Point (2A52).
//!
//! In: what is written to the control point, and the troubles that a test scripts. Out: indications,
//! notifications and disconnections, in order. Written from the published facts (GATT Specification
//! Supplement, Glucose Service, Pulse Oximeter Service 1.0.1); shares no code with the driver.

use std::collections::VecDeque;

use super::emulated::device_information;
use super::world::{Refusal, World};
use super::{Bluez, Emulated, EmulatedCharacteristic, EmulatedService};

const MEASUREMENT: u16 = 0x2A18;
const CONTEXT: u16 = 0x2A34;
const SPOT_CHECK: u16 = 0x2A5E;
const CONTROL: u16 = 0x2A52;

/// So many values go out in one turn of the double.
const VALUES_AT_ONCE: usize = 4;

/// What a device does of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// A value of a characteristic is sent.
    Send(u16, Vec<u8>),
    /// The device ends its connection.
    Disconnect,
}

/// What goes wrong with one procedure, the next one that asks for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The connection ends behind so many values.
    CutAfter(usize),
    /// Another procedure runs already (ATT 0xFE), until it is aborted.
    InProgress,
    /// The descriptors are said to be wrong (ATT 0xFD).
    NotSubscribed,
    /// The response comes so many values too early.
    ResponseEarly(usize),
    /// Response "no records found", although there are some.
    NoRecords,
    /// Response "operator not supported", unless all are asked for.
    OnlyAll,
    /// Response "op code not supported".
    NotAtAll,
    /// Every value comes twice.
    Twice,
    /// Nothing is ever said to it.
    Silent,
    /// Response "procedure not completed" behind so many values.
    NotCompleted(usize),
    /// Response "server busy".
    Busy,
    /// A response code that is reserved.
    Reserved,
}

/// One record: its number, what is sent for it in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number; 0 where there are none.
    pub number: u16,
    /// Characteristic and value.
    pub values: Vec<(u16, Vec<u8>)>,
}

/// The memory of a device and its control point.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about an emulated memory")]
pub(super) struct Memory {
    records: Vec<Stored>,
    /// Whether the control point knows numbers.
    has_numbers: bool,
    /// Whether a record is gone when it was sent.
    is_moved: bool,
    /// Whether it is asked how many there are at all.
    counts: bool,
    troubles: VecDeque<Trouble>,
    is_busy: bool,
    deletions: Vec<Vec<u8>>,
    reports: (usize, usize),
}

impl Memory {
    const fn new(has_numbers: bool) -> Self {
        Self {
            records: Vec::new(),
            has_numbers,
            is_moved: !has_numbers,
            counts: true,
            troubles: VecDeque::new(),
            is_busy: false,
            deletions: Vec::new(),
            reports: (0, 0),
        }
    }

    fn chosen(&self, operator: u8, operand: &[u8]) -> Option<Vec<Stored>> {
        let number = match operand {
            [0x01, low, high] => Some(u16::from_le_bytes([*low, *high])),
            _ => None,
        };
        let all = self.records.iter().cloned();
        match (operator, number) {
            (0x01, None) if operand.is_empty() => Some(all.collect()),
            (0x02, Some(last)) if self.has_numbers => {
                Some(all.filter(|record| record.number <= last).collect())
            }
            (0x03, Some(first)) if self.has_numbers => {
                Some(all.filter(|record| record.number >= first).collect())
            }
            _ => None,
        }
    }

    fn report(&mut self, chosen: &[Stored], operator: u8) -> Result<Vec<Effect>, u8> {
        let say = |code| Effect::Send(CONTROL, vec![0x06, 0x00, 0x01, code]);
        let trouble = self.troubles.front().copied();
        // What lasts is not taken away by one procedure.
        if !matches!(trouble, Some(Trouble::OnlyAll | Trouble::NotAtAll)) {
            self.troubles.pop_front();
        }
        let is_empty = chosen.is_empty();
        self.reports.0 += 1;
        self.reports.1 += usize::from(operator == 0x01);
        let mut effects: Vec<Effect> = chosen
            .iter()
            .flat_map(|record| record.values.iter())
            .map(|(uuid, value)| Effect::Send(*uuid, value.clone()))
            .collect();
        match trouble {
            Some(Trouble::InProgress) => {
                self.is_busy = true;
                return Err(0xFE);
            }
            Some(Trouble::NotSubscribed) => return Err(0xFD),
            Some(Trouble::Silent) => return Ok(Vec::new()),
            Some(Trouble::NoRecords) => return Ok(vec![say(0x06)]),
            Some(Trouble::OnlyAll) if operator != 0x01 => return Ok(vec![say(0x04)]),
            Some(Trouble::NotAtAll) => return Ok(vec![say(0x02)]),
            Some(Trouble::Busy) => return Ok(vec![say(0x0A)]),
            Some(Trouble::Reserved) => return Ok(vec![say(0x7F)]),
            Some(Trouble::Twice) => {
                effects = effects.into_iter().flat_map(|effect| [effect.clone(), effect]).collect();
            }
            Some(Trouble::CutAfter(count)) => {
                effects.truncate(count);
                if self.is_moved {
                    // What was confirmed is not sent again.
                    self.records.drain(..effects.len().min(self.records.len()));
                }
                effects.push(Effect::Disconnect);
                return Ok(effects);
            }
            Some(Trouble::NotCompleted(count)) => {
                effects.truncate(count);
                effects.push(say(0x08));
                return Ok(effects);
            }
            Some(Trouble::ResponseEarly(count)) => {
                let place = effects.len().saturating_sub(count);
                effects.insert(place, say(0x01));
                return Ok(effects);
            }
            Some(Trouble::OnlyAll) | None => {}
        }
        if self.is_moved {
            self.records.clear();
        }
        effects.push(say(if is_empty { 0x06 } else { 0x01 }));
        Ok(effects)
    }

    fn handle_control(&mut self, value: &[u8]) -> Result<Vec<Effect>, u8> {
        let [op_code, operator, operand @ ..] = value else { return Err(0x0D) };
        let say = |code| vec![Effect::Send(CONTROL, vec![0x06, 0x00, *op_code, code])];
        if self.is_busy && *op_code != 0x03 {
            return Err(0xFE);
        }
        let chosen = self.chosen(*operator, operand);
        match (*op_code, chosen) {
            (0x01, Some(chosen)) => self.report(&chosen, *operator),
            (0x02, Some(chosen)) => {
                self.deletions.push(value.to_vec());
                self.records.retain(|record| !chosen.contains(record));
                Ok(say(0x01))
            }
            (0x03, _) => {
                self.is_busy = false;
                Ok(say(0x01))
            }
            (0x04, _) if !self.counts => Ok(say(0x02)),
            (0x04, Some(chosen)) => {
                let count = u16::try_from(chosen.len()).unwrap_or(u16::MAX).to_le_bytes();
                Ok(vec![Effect::Send(CONTROL, [&[0x05, 0x00][..], &count].concat())])
            }
            (0x01 | 0x02 | 0x04, None) => Ok(say(0x04)),
            _ => Ok(say(0x02)),
        }
    }
}

impl Memory {
    /// A value is written to a characteristic: an ATT error, or what follows.
    fn handle_write(&mut self, uuid: u16, value: &[u8]) -> Result<Vec<Effect>, u8> {
        if uuid == CONTROL { self.handle_control(value) } else { Ok(Vec::new()) }
    }

    /// The connection has ended.
    const fn handle_end(&mut self) {
        self.is_busy = false;
    }
}

/// A glucose meter.
pub struct GlucoseMeter;

impl GlucoseMeter {
    /// The device: data, control point, who it is.
    pub fn emulated(address: &str, serial: &str) -> Emulated {
        let characteristic = |uuid, flags| EmulatedCharacteristic { uuid, flags, value: Vec::new() };
        let glucose = EmulatedService {
            uuid: 0x1808,
            characteristics: vec![
                characteristic(MEASUREMENT, &["notify"][..]),
                characteristic(CONTEXT, &["notify"]),
                characteristic(CONTROL, &["write", "indicate"]),
            ],
        };
        Emulated::new(address, "Meter", vec![glucose, device_information("Meter 1", serial)])
    }

    /// A measurement in capillary whole blood, in mg/dL, so many minutes after the beginning of 2026; every third
    /// with its context (a meal).
    pub fn record(number: u16, minutes: u32, milligrams: u16) -> Stored {
        let (days, minute) = (minutes / 1440, minutes % 1440);
        let octet = |number: u32| u8::try_from(number % 256).unwrap_or_default();
        let has_context = number.is_multiple_of(3);
        let [low, high] = number.to_le_bytes();
        let mut measurement = vec![if has_context { 0x12 } else { 0x02 }, low, high, 0xEA, 0x07];
        measurement.extend([
            octet(days / 28) + 1,
            octet(days % 28) + 1,
            octet(minute / 60),
            octet(minute % 60),
            0,
        ]);
        // Exponent -5: kg/L.
        measurement.extend((0xB000 | milligrams & 0x7FF).to_le_bytes());
        measurement.push(0x11);
        let mut values = vec![(MEASUREMENT, measurement)];
        if has_context {
            values.push((CONTEXT, vec![0x02, low, high, 1 + octet(u32::from(number) % 5)]));
        }
        Stored { number, values }
    }
}

/// A pulse oximeter with stored spot-checks.
pub struct StoredOximeter;

impl StoredOximeter {
    /// The device: spot-check, features (storage), control point, who it is.
    pub fn emulated(address: &str, serial: &str) -> Emulated {
        let characteristic =
            |uuid, flags, value: &[u8]| EmulatedCharacteristic { uuid, flags, value: value.to_vec() };
        let oximeter = EmulatedService {
            uuid: 0x1822,
            characteristics: vec![
                characteristic(SPOT_CHECK, &["indicate"][..], &[]),
                characteristic(0x2A60, &["read"], &[0x0C, 0x00]),
                characteristic(CONTROL, &["write", "indicate"], &[]),
            ],
        };
        Emulated::new(address, "Oximeter", vec![oximeter, device_information("Oximeter 1", serial)])
    }

    /// A spot-check with its time, so many seconds after noon.
    pub fn record(seconds: u16, saturation: u8, pulse: u8) -> Stored {
        let [minute, second] =
            [seconds / 60 % 60, seconds % 60].map(|part| u8::try_from(part).unwrap_or_default());
        let value = vec![0x01, saturation, 0, pulse, 0, 0xEA, 0x07, 11, 22, 12, minute, second];
        Stored { number: 0, values: vec![(SPOT_CHECK, value)] }
    }
}

/// Memories of devices.
impl Bluez {
    /// Gives a device a memory with these records. One whose records have numbers keeps what it sends.
    pub fn keep(&self, address: &str, has_numbers: bool, records: Vec<Stored>) {
        let memory = Memory { records, ..Memory::new(has_numbers) };
        self.shared.world().memories.insert(address.to_owned(), memory);
    }

    /// Lets the next procedure of a device that asks for records go wrong; more than one in their order.
    pub fn trouble(&self, address: &str, trouble: Trouble) {
        self.with_memory(address, |memory| memory.troubles.push_back(trouble));
    }

    /// Takes back the troubles that have not come yet.
    pub fn end_troubles(&self, address: &str) {
        self.with_memory(address, |memory| memory.troubles.clear());
    }

    /// The device no longer understands the question how many there are.
    pub fn stop_counting(&self, address: &str) {
        self.with_memory(address, |memory| memory.counts = false);
    }

    /// Changes what a device keeps.
    pub fn change_records(&self, address: &str, change: impl FnOnce(&mut Vec<Stored>)) {
        self.with_memory(address, |memory| change(&mut memory.records));
    }

    /// What a device keeps.
    pub fn records(&self, address: &str) -> Vec<Stored> {
        self.with_memory(address, |memory| memory.records.clone()).unwrap_or_default()
    }

    /// Every deletion that was asked of a device, as written.
    pub fn deletions(&self, address: &str) -> Vec<Vec<u8>> {
        self.with_memory(address, |memory| memory.deletions.clone()).unwrap_or_default()
    }

    /// How many procedures asked for records, and how many of them for all.
    pub fn reports(&self, address: &str) -> (usize, usize) {
        self.with_memory(address, |memory| memory.reports).unwrap_or_default()
    }

    fn with_memory<T>(&self, address: &str, with: impl FnOnce(&mut Memory) -> T) -> Option<T> {
        self.shared.world().memories.get_mut(address).map(with)
    }
}

/// What the world has to do for memories.
impl World {
    /// A write to the characteristic at a path.
    pub(super) fn handle_write(&mut self, path: &str, value: &[u8]) -> Result<(), Refusal> {
        let Some((address, uuid)) = self.address_and_uuid(path) else { return Ok(()) };
        let Some(memory) = self.memories.get_mut(&address) else { return Ok(()) };
        match memory.handle_write(uuid, value) {
            Ok(effects) => {
                self.due.extend(effects.into_iter().map(|effect| (address.clone(), effect)));
                Ok(())
            }
            Err(code) => {
                let text = format!("Operation failed with ATT error: 0x{code:02x}");
                Err(("org.bluez.Error.Failed".to_owned(), text))
            }
        }
    }

    /// Lets happen what is due: a few values at a time, as over the air.
    pub(super) fn let_memories_act(&mut self) {
        for _ in 0..VALUES_AT_ONCE {
            let Some((address, effect)) = self.due.pop_front() else { return };
            // What nobody is subscribed to is sent to nobody.
            let _ = match effect {
                Effect::Send(uuid, value) => self.notify(&address, uuid, &value),
                Effect::Disconnect => self.drop_connection(&address),
            };
        }
    }

    /// A connection has ended: what was to come does not.
    pub(super) fn end_remembering(&mut self, address: &str) {
        self.due.retain(|(of, _)| of != address);
        if let Some(memory) = self.memories.get_mut(address) {
            memory.handle_end();
        }
    }
}
