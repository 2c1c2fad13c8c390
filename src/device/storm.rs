//! Any bytes, cut anywhere, at any time, into any driver: what the fuzzer and its smoke test run.
//!
//! In: bytes that stand for a conversation. Out: nothing, or a panic that says which promise was
//! broken: no panic of the driver; no command that the model's allow set does not have; nothing but
//! listening before the link is up; no reading of a connection before its identity; texts and waves
//! within their bounds; an end to what one event makes the driver do.
//!
//! The form: the first byte picks the [`subject`] (modulo their number): a serial model, or a BLE device with one
//! profile, or with all. For a serial model the second byte is its settings; then operations: a byte below 0xC0
//! is so many bytes of what follows as they are, 0xC0 link up, 0xC1 link down, 0xC2 the next timeout, 0xC3 and a
//! byte so many times 100 ms, 0xC4 all that was observed is durable, 0xC5 and up: the same as the low six bits
//! plus one, bytes. For a BLE device see `storm/ble.rs`.

mod ble;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::device::catalogue::{BleProfile, IdentityProof, SerialModel, ble_profiles, serial_models};
use crate::device::nomenclature::Metric;
use crate::device::observation::{MAX_SAMPLES, MAX_TEXT, Observation, Value};
use crate::device::settings::{Settings, Values};
use crate::device::{Action, Driver, Part, Ticket};
use crate::link::{Characteristic, LinkCommand, LinkError, LinkEvent};
use crate::time::Now;

/// The most that one event may make a driver do: a frame of a rack of 96 pumps with 60 values each, many
/// of them in one piece of input.
const MOST_ACTIONS: usize = 100_000;

/// The most rounds of a timeout that is due at once.
const MOST_ROUNDS: usize = 100;

/// What a conversation is held with.
#[derive(Clone)]
pub enum Subject {
    /// A model on a serial line.
    Serial(&'static SerialModel),
    /// A device that lists these profiles.
    Ble(Vec<&'static BleProfile>),
}

/// The subject at a place: every serial model, every BLE profile alone, all profiles together.
pub fn subject(place: usize) -> Option<Subject> {
    let (serial, ble) = (serial_models(), ble_profiles());
    if let Some(model) = serial.get(place) {
        return Some(Subject::Serial(model));
    }
    let place = place.checked_sub(serial.len())?;
    match ble.get(place) {
        Some(profile) => Some(Subject::Ble(vec![profile])),
        None => (place == ble.len()).then(|| Subject::Ble(ble.to_vec())),
    }
}

/// How many subjects there are.
pub fn subjects() -> usize {
    serial_models().len() + ble_profiles().len() + 1
}

impl Subject {
    /// Its name in messages.
    pub fn name(&self) -> String {
        match self {
            Self::Serial(model) => model.name.to_owned(),
            Self::Ble(profiles) => profiles.iter().map(|row| row.name).collect::<Vec<_>>().join("+"),
        }
    }

    /// The characteristics that a conversation with it can name, by their place; none for a serial model.
    pub fn characteristics(&self) -> Vec<Characteristic> {
        match self {
            Self::Serial(_) => Vec::new(),
            Self::Ble(profiles) => ble::characteristics(profiles),
        }
    }
}

/// Runs one conversation; gives how many observations it held.
///
/// # Panics
///
/// When the driver breaks a promise.
pub fn converse(data: &[u8]) -> u64 {
    let Some((&pick, rest)) = data.split_first() else { return 0 };
    match subject(usize::from(pick) % subjects()) {
        None => 0,
        Some(Subject::Ble(profiles)) => ble::converse(profiles, rest),
        Some(Subject::Serial(model)) => {
            let Some((&set, script)) = rest.split_first() else { return 0 };
            let mut talk = Talk::new(Serial(model), (model.driver)(&settings(model, set)));
            talk.run(script);
            talk.observed
        }
    }
}

/// Every setting at one of its ends, by the bits of a byte.
fn settings(model: &SerialModel, bits: u8) -> Settings {
    let mut settings = Settings::defaults(model.settings);
    for (place, row) in model.settings.iter().enumerate() {
        let is_set = bits & (1 << (place % 8)) != 0;
        let outcome = match row.values {
            Values::Word(words) => {
                settings.set_word(row, words.last().filter(|_| is_set).or(words.first()).unwrap_or(&""))
            }
            Values::Number { least, default, .. } => {
                settings.set_number(row, if is_set { least } else { default })
            }
            // It is read from a file, by whom makes the session.
            Values::Secret => Ok(()),
        };
        assert!(outcome.is_ok(), "{}: {}: {outcome:?}", model.name, row.name);
    }
    settings
}

/// What is promised of one driver, besides what holds for all.
trait Promises {
    /// Its name in messages.
    fn name(&self) -> String;
    /// Takes a command that the driver gave (none to hang up): whether it may.
    fn handle_command(&mut self, command: LinkCommand) -> bool;
    /// Whether it may report this.
    fn reads(&self, metric: &'static Metric) -> bool;
    /// Whether nothing may be observed before it is said who it is of.
    fn must_be_named(&self) -> bool;
}

struct Serial(&'static SerialModel);

impl Promises for Serial {
    fn name(&self) -> String {
        self.0.name.to_owned()
    }

    fn handle_command(&mut self, command: LinkCommand) -> bool {
        self.0.requests.frame(command).is_some()
    }

    fn reads(&self, metric: &'static Metric) -> bool {
        self.0.reads.contains(&metric)
    }

    fn must_be_named(&self) -> bool {
        self.0.identity == IdentityProof::Reported
    }
}

struct Talk<P> {
    promises: P,
    driver: Box<dyn Driver>,
    now: Now,
    is_up: bool,
    /// The parts that said who they are on this connection.
    named: BTreeSet<Part>,
    observed: u64,
    /// Of these, those of the device itself.
    whole: u64,
}

impl Talk<Serial> {
    fn run(&mut self, mut script: &[u8]) {
        while let Some((&operation, rest)) = script.split_first() {
            script = rest;
            match operation {
                0xC0 => self.up(),
                0xC1 => self.down(),
                0xC2 => self.time_out(),
                0xC3 => self.wait(byte(&mut script)),
                0xC4 => self.durable(),
                other => {
                    let count = if other < 0xC0 { usize::from(other) } else { usize::from(other & 0x3F) + 1 };
                    let piece = piece(&mut script, count);
                    self.event(&LinkEvent::Bytes(piece));
                }
            }
        }
    }
}

/// The next byte of a script; 0 at its end.
fn byte(script: &mut &[u8]) -> u8 {
    let (first, rest) = script.split_first().map_or((0, *script), |(&first, rest)| (first, rest));
    *script = rest;
    first
}

/// So many bytes of a script, or what is left of it.
fn piece(script: &mut &[u8], count: usize) -> Bytes {
    let (piece, rest) = script.split_at(count.min(script.len()));
    *script = rest;
    Bytes::copy_from_slice(piece)
}

impl<P: Promises> Talk<P> {
    fn new(promises: P, driver: Box<dyn Driver>) -> Self {
        let (now, named) = (Now::default(), BTreeSet::new());
        Self { promises, driver, now, is_up: false, named, observed: 0, whole: 0 }
    }

    fn up(&mut self) {
        self.is_up = true;
        self.named.clear();
        self.event(&LinkEvent::Up);
    }

    fn down(&mut self) {
        self.event(&LinkEvent::Down(LinkError::HungUp));
        self.is_up = false;
    }

    fn wait(&mut self, tenths: u8) {
        self.now.mono = self.now.mono + Duration::from_millis(u64::from(tenths) * 100);
        self.driver.handle_timeout(self.now);
        self.act();
    }

    fn durable(&mut self) {
        self.driver.handle_durable(Ticket(self.whole), self.now);
        self.act();
    }

    fn event(&mut self, event: &LinkEvent) {
        self.driver.handle_event(event, self.now);
        self.act();
    }

    /// Goes on to the next timeout, and over those that are due at once.
    fn time_out(&mut self) {
        for round in 0.. {
            assert!(round < MOST_ROUNDS, "{}: its timeout is always due", self.promises.name());
            let Some(due) = self.driver.poll_timeout() else { return };
            let is_later = due > self.now.mono;
            if round > 0 && is_later {
                return;
            }
            self.now.mono = self.now.mono.max(due);
            self.driver.handle_timeout(self.now);
            self.act();
        }
    }

    fn act(&mut self) {
        for count in 0.. {
            assert!(count < MOST_ACTIONS, "{}: there is no end to what it wants done", self.name());
            match self.driver.poll_action() {
                None => return,
                // The size of what is to be remembered is bounded by its type.
                Some(Action::Commit | Action::Remember(_)) => {}
                Some(Action::Pin(_)) => {
                    self.whole += 1;
                    self.driver.handle_ticket(Ticket(self.whole));
                }
                Some(Action::Command(LinkCommand::HangUp)) => {
                    assert!(self.is_up, "{}: hangs up what is not up", self.name());
                }
                Some(Action::Command(command)) => {
                    assert!(self.is_up, "{}: writes on a line that is not up: {command:?}", self.name());
                    let may = self.promises.handle_command(command);
                    assert!(may, "{}: {command:?} is not allowed", self.name());
                }
                Some(Action::Identify(part, _)) => drop(self.named.insert(part)),
                Some(Action::Gone(part, _)) => drop(self.named.remove(&part)),
                Some(Action::Observe(part, said)) => {
                    let must_be_named = self.is_up && self.promises.must_be_named();
                    assert!(
                        !must_be_named || self.named.contains(&part),
                        "{}: {part:?} said {said:?} before who it is",
                        self.name()
                    );
                    self.judge(&said);
                    self.observed += 1;
                    if part == Part::WHOLE {
                        self.whole += 1;
                        self.driver.handle_ticket(Ticket(self.whole));
                    }
                }
                Some(Action::Report(fault)) => {
                    assert!(
                        fault.detail.len() < 1_000,
                        "{}: a fault of {} bytes",
                        self.name(),
                        fault.detail.len()
                    );
                }
            }
        }
    }

    fn name(&self) -> String {
        self.promises.name()
    }

    fn judge(&self, said: &Observation) {
        let name = || self.name();
        let is_listed = self.promises.reads(said.metric);
        assert!(is_listed, "{}: {} is not in its `reads`", name(), said.metric.reference);
        match &said.value {
            Value::Text(text) => {
                assert!(text.len() <= MAX_TEXT, "{}: a text of {} bytes", name(), text.len());
            }
            Value::Alarm(alarm) => {
                let longest = alarm.code.len().max(alarm.text.len());
                assert!(longest <= MAX_TEXT, "{}: an alarm of {longest} bytes", name());
            }
            Value::Samples(samples) => {
                assert!(samples.values.len() <= MAX_SAMPLES, "{}: {} samples", name(), samples.values.len());
            }
            Value::Decimal(_) | Value::Absent(_) | Value::Bits(_) => {}
        }
    }
}
