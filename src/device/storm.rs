//! Any bytes, cut anywhere, at any time, into any driver: what the fuzzer and its smoke test run.
//!
//! In: bytes that stand for a conversation. Out: nothing, or a panic that says which promise was
//! broken: no panic of the driver; no command that the model's allow set does not have; nothing but
//! listening before the link is up; no reading of a connection before its identity; texts and waves
//! within their bounds; an end to what one event makes the driver do.
//!
//! The form: the first byte picks the model (modulo their number), the second its settings; then
//! operations: a byte below 0xC0 is so many bytes of what follows as they are, 0xC0 link up, 0xC1 link
//! down, 0xC2 the next timeout, 0xC3 and a byte so many times 100 ms, 0xC4 all that was observed is
//! durable, 0xC5 and up: the same as the low six bits plus one, bytes.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::device::catalogue::{IdentityProof, SerialModel, serial_models};
use crate::device::observation::{MAX_SAMPLES, MAX_TEXT, Observation, Value};
use crate::device::settings::{Settings, Values};
use crate::device::{Action, Driver, Part, Ticket};
use crate::link::{LinkCommand, LinkError, LinkEvent};
use crate::time::Now;

/// The most that one event may make a driver do: a frame of a rack of 96 pumps with 60 values each, many
/// of them in one piece of input.
const MOST_ACTIONS: usize = 100_000;

/// The most rounds of a timeout that is due at once.
const MOST_ROUNDS: usize = 100;

/// Runs one conversation; gives how many observations it held.
///
/// # Panics
///
/// When the driver breaks a promise.
pub fn converse(data: &[u8]) -> u64 {
    let models = serial_models();
    let (Some((&pick, rest)), false) = (data.split_first(), models.is_empty()) else { return 0 };
    let Some((&set, script)) = rest.split_first() else { return 0 };
    let Some(model) = models.get(usize::from(pick) % models.len()) else { return 0 };
    let driver = (model.driver)(&settings(model, set));
    let mut talk = Talk {
        model,
        driver,
        now: Now::default(),
        is_up: false,
        named: BTreeSet::new(),
        observed: 0,
        whole: 0,
    };
    talk.run(script);
    talk.observed
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
        };
        assert!(outcome.is_ok(), "{}: {}: {outcome:?}", model.name, row.name);
    }
    settings
}

struct Talk {
    model: &'static SerialModel,
    driver: Box<dyn Driver>,
    now: Now,
    is_up: bool,
    /// The parts that said who they are on this connection.
    named: BTreeSet<Part>,
    observed: u64,
    /// Of these, those of the device itself.
    whole: u64,
}

impl Talk {
    fn run(&mut self, mut script: &[u8]) {
        while let Some((&operation, rest)) = script.split_first() {
            script = rest;
            match operation {
                0xC0 => {
                    self.is_up = true;
                    self.named.clear();
                    self.event(&LinkEvent::Up);
                }
                0xC1 => {
                    self.event(&LinkEvent::Down(LinkError::HungUp));
                    self.is_up = false;
                }
                0xC2 => self.time_out(),
                0xC3 => {
                    let (tenths, rest) = script.split_first().map_or((0, script), |(&n, rest)| (n, rest));
                    script = rest;
                    self.now.mono = self.now.mono + Duration::from_millis(u64::from(tenths) * 100);
                    self.driver.handle_timeout(self.now);
                    self.act();
                }
                0xC4 => {
                    self.driver.handle_durable(Ticket(self.whole), self.now);
                    self.act();
                }
                other => {
                    let count = if other < 0xC0 { usize::from(other) } else { usize::from(other & 0x3F) + 1 };
                    let (piece, rest) = script.split_at(count.min(script.len()));
                    script = rest;
                    self.event(&LinkEvent::Bytes(Bytes::copy_from_slice(piece)));
                }
            }
        }
    }

    fn event(&mut self, event: &LinkEvent) {
        self.driver.handle_event(event, self.now);
        self.act();
    }

    /// Goes on to the next timeout, and over those that are due at once.
    fn time_out(&mut self) {
        for round in 0.. {
            assert!(round < MOST_ROUNDS, "{}: its timeout is always due", self.model.name);
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
        let name = self.model.name;
        for count in 0.. {
            assert!(count < MOST_ACTIONS, "{name}: there is no end to what it wants done");
            match self.driver.poll_action() {
                None => return,
                // The size of what is to be remembered is bounded by its type.
                Some(Action::Commit | Action::Remember(_)) => {}
                Some(Action::Command(LinkCommand::HangUp)) => {
                    assert!(self.is_up, "{name}: hangs up what is not up");
                }
                Some(Action::Command(command)) => {
                    assert!(self.is_up, "{name}: writes on a line that is not up: {command:?}");
                    assert!(
                        self.model.requests.frame(command).is_some(),
                        "{name}: {command:?} is not allowed"
                    );
                }
                Some(Action::Identify(part, _)) => drop(self.named.insert(part)),
                Some(Action::Gone(part, _)) => drop(self.named.remove(&part)),
                Some(Action::Observe(part, said)) => {
                    let must_be_named = self.is_up && self.model.identity == IdentityProof::Reported;
                    assert!(
                        !must_be_named || self.named.contains(&part),
                        "{name}: {part:?} said {said:?} before who it is"
                    );
                    self.judge(&said);
                    self.observed += 1;
                    if part == Part::WHOLE {
                        self.whole += 1;
                        self.driver.handle_ticket(Ticket(self.whole));
                    }
                }
                Some(Action::Report(fault)) => {
                    assert!(fault.detail.len() < 1_000, "{name}: a fault of {} bytes", fault.detail.len());
                }
            }
        }
    }

    fn judge(&self, said: &Observation) {
        let name = self.model.name;
        assert!(
            self.model.reads.contains(&said.metric),
            "{name}: {} is not in its `reads`",
            said.metric.reference
        );
        match &said.value {
            Value::Text(text) => assert!(text.len() <= MAX_TEXT, "{name}: a text of {} bytes", text.len()),
            Value::Alarm(alarm) => {
                let longest = alarm.code.len().max(alarm.text.len());
                assert!(longest <= MAX_TEXT, "{name}: an alarm of {longest} bytes");
            }
            Value::Samples(samples) => {
                assert!(samples.values.len() <= MAX_SAMPLES, "{name}: {} samples", samples.values.len());
            }
            Value::Decimal(_) | Value::Absent(_) | Value::Bits(_) => {}
        }
    }
}
