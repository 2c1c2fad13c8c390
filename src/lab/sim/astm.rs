//! A simulated point-of-care analyser that sends its results by ASTM E1381 and E1394.
//!
//! It does what the standard has a sender do: asks for the line with ENQ, sends a record to a frame (or
//! the whole message cut into frames), waits for an answer, sends a refused frame up to six times,
//! gives up with EOT when there is no answer, and keeps a message until every frame of it was
//! acknowledged. It writes down which results were ([`Ledger`]): those it forgets, and whoever
//! acknowledged them has to have them.
//!
//! What the host says out of turn is refused and counted. Its records are full of names that must
//! never come out at the other end ([`PERSON`]).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::pty::Pty;
use super::{Control, Minute, Plays, Running, Shown, Sim, paced};

/// Stands wherever the analyser's records name a person.
pub const PERSON: &str = "Zeisig^Pirol";

/// How the simulated analyser is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// The serial number.
    pub serial: String,
    /// Bits per second.
    pub baud: u32,
    /// How long it waits for an answer; the standard: 15 s.
    pub reply: Duration,
    /// How long it waits when the host is busy; the standard: at least 10 s.
    pub busy: Duration,
    /// How long it waits before it sends a message again that it could not get rid of.
    pub rest: Duration,
    /// How records are put into frames.
    pub packing: Packing,
    /// What was acknowledged.
    pub ledger: Ledger,
}

/// How records are put into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Each in a frame of its own; of so many bytes, when longer.
    Records(usize),
    /// The message as one text, cut into frames of so many bytes.
    Message(usize),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            link: None,
            serial: "SN4711".to_owned(),
            baud: 9_600,
            reply: Duration::from_secs(15),
            busy: Duration::from_secs(10),
            rest: Duration::from_secs(5),
            packing: Packing::Records(240),
            ledger: Ledger::default(),
        }
    }
}

/// The results that were acknowledged, in order: `test=value unit`.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Vec<String>>>);

impl Ledger {
    /// What was acknowledged so far.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, results: &[String]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(results);
    }
}

/// What a message carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// The results of one specimen.
    pub results: Vec<Reading>,
    /// Whether it is a control.
    pub is_control: bool,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The analyser's name of the test.
    pub test: String,
    /// As printed.
    pub value: String,
    /// As printed.
    pub unit: String,
}

impl Reading {
    /// A result.
    pub fn new(test: &str, value: &str, unit: &str) -> Self {
        Self { test: test.to_owned(), value: value.to_owned(), unit: unit.to_owned() }
    }
}

/// The simulator's row.
pub static SIM: Sim = Sim {
    name: "astm-lis",
    title: "point-of-care analyser, ASTM E1381/E1394",
    identities: ["AN-000123", "AN-000124"],
    start: |start| {
        let usual = Setup::default();
        let setup = Setup {
            link: start.link.clone(),
            serial: start.identity.clone().unwrap_or(usual.serial),
            baud: start.baud.unwrap_or(usual.baud),
            ..Setup::default()
        };
        let (device, control) = analyser(setup)?;
        control.set(Values { results: vec![Reading::new("GLU", "98", "mg/dL")], is_control: false });
        Ok(Running::new((device, control)))
    },
};

impl Plays for Values {
    /// The recording has no blood in it: the glucose goes up and down by the minute.
    fn play(&mut self, minute: &Minute) {
        let value = 90 + u64::from(minute.minute) % 60;
        self.results = vec![Reading::new("GLU", &value.to_string(), "mg/dL")];
    }

    fn shown(&self) -> Vec<Shown> {
        self.results.iter().map(|reading| Shown::new("MDC_CONC_GLU_GEN", &reading.value)).collect()
    }
}

/// Makes an analyser: a future to run, and its control. Each time that values are set it has a message to
/// send. The port exists as soon as this returns. Wants a tokio runtime around it.
pub fn analyser(
    setup: Setup,
) -> std::io::Result<(impl Future<Output = std::io::Result<()>> + Send, Control<Values>)> {
    let pty = Pty::open(setup.link.as_deref())?;
    let control = Control::new(Values::default(), setup.serial.clone(), pty.path().to_owned());
    let analyser = Analyser { setup, control: control.clone(), waiting: VecDeque::new(), clock: 0, sent: 0 };
    Ok((analyser.run(pty), control))
}

struct Analyser {
    setup: Setup,
    control: Control<Values>,
    /// Messages that were not acknowledged to their end: the records from the patient on.
    waiting: VecDeque<Vec<Line>>,
    /// The device's own clock: seconds since 2026-11-22 00:00:00.
    clock: u32,
    sent: u32,
}

/// A record, and the result that it is.
#[derive(Clone, Debug)]
struct Line {
    text: String,
    result: Option<String>,
}

/// A piece of the message for one frame, and the results that are complete with it.
struct Load {
    text: String,
    goes_on: bool,
    results: Vec<String>,
}

/// What the host said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Ack,
    Nak,
    /// It wants the line.
    Enq,
    Nothing,
    /// There is something else to do: the power goes, or all ends.
    Interrupted,
}

const TRIES: u32 = 6;

impl Analyser {
    async fn run(mut self, pty: Pty) -> std::io::Result<()> {
        let mut pty = Some(pty);
        while !self.control.is_stopped() {
            self.control.cycle_power(&mut pty, self.setup.link.as_deref()).await?;
            let Some(port) = &pty else { return Ok(()) };
            self.measure();
            if self.waiting.is_empty() {
                let mut out_of_turn = [0; 64];
                tokio::select! {
                    count = port.get(&mut out_of_turn) => {
                        let heard = out_of_turn.get(..count?).unwrap_or_default();
                        self.control.take_received(heard);
                        for _ in heard {
                            self.control.refuse();
                        }
                    }
                    () = self.control.changed() => {}
                }
                continue;
            }
            match self.transmit(port).await {
                Reply::Ack => drop(self.waiting.pop_front()),
                Reply::Interrupted => {}
                Reply::Nak | Reply::Enq | Reply::Nothing => {
                    paced(port, self.setup.baud, &[4]).await;
                    tokio::time::sleep(self.setup.rest).await;
                }
            }
        }
        Ok(())
    }

    /// Makes a message of everything that was set.
    fn measure(&mut self) {
        let sets: Vec<Values> = self.control.state().sets.drain(..).collect();
        for values in sets {
            if std::mem::take(&mut self.control.state().is_clock_restarted) {
                self.clock = 0;
            }
            let action = if values.is_control { 'Q' } else { 'N' };
            let plain = |text: String| Line { text, result: None };
            let mut lines = vec![
                plain(format!("P|1|{PERSON}|{PERSON}||{PERSON}||19500101|F|||||{PERSON}")),
                plain(format!("O|1|{PERSON}||^^^ALL|R||||||{action}||||BLOOD|{PERSON}")),
            ];
            for (number, reading) in (1..).zip(&values.results) {
                self.clock += 1;
                let time = self.time();
                let Reading { test, value, unit } = reading;
                lines.push(Line {
                    text: format!("R|{number}|^^^{test}|{value}|{unit}||N||F||{PERSON}|{time}|{time}"),
                    result: Some(format!("{test}={value} {unit}")),
                });
                lines.push(plain(format!("C|1|I|of {PERSON}|I")));
            }
            lines.push(plain("L|1|N".to_owned()));
            self.waiting.push_back(lines);
        }
    }

    fn time(&self) -> String {
        let (hour, minute, second) = (self.clock / 3_600 % 24, self.clock / 60 % 60, self.clock % 60);
        format!("20261122{hour:02}{minute:02}{second:02}")
    }

    /// Sends the first message that waits. `Ack`: all of it was acknowledged.
    async fn transmit(&mut self, port: &Pty) -> Reply {
        self.sent += 1;
        let serial = self.control.state().identity.clone();
        let header = format!("H|\\^&|||GLX^2.1^{serial}|||||||P|1|20261123{:06}", self.sent % 240_000);
        let mut lines = vec![Line { text: header, result: None }];
        lines.extend(self.waiting.front().cloned().unwrap_or_default());
        match self.establish(port).await {
            Reply::Ack => {}
            other @ (Reply::Nak | Reply::Enq | Reply::Nothing | Reply::Interrupted) => return other,
        }
        for (number, load) in (1u8..).zip(loads(&lines, self.setup.packing)) {
            match self.hand_over(port, number % 8, &load).await {
                Reply::Ack => self.setup.ledger.add(&load.results),
                other @ (Reply::Nak | Reply::Enq | Reply::Nothing | Reply::Interrupted) => return other,
            }
        }
        paced(port, self.setup.baud, &[4]).await;
        Reply::Ack
    }

    /// Asks for the line until it has it.
    async fn establish(&self, port: &Pty) -> Reply {
        loop {
            // Troubles are for frames.
            paced(port, self.setup.baud, &[5]).await;
            match self.reply(port).await {
                // The analyser has priority: it waits a second where the host waits twenty.
                Reply::Enq => tokio::time::sleep(Duration::from_secs(1)).await,
                Reply::Nak => tokio::time::sleep(self.setup.busy).await,
                other @ (Reply::Ack | Reply::Nothing | Reply::Interrupted) => return other,
            }
        }
    }

    /// Sends a frame until it is acknowledged.
    async fn hand_over(&self, port: &Pty, number: u8, load: &Load) -> Reply {
        let end = if load.goes_on { '\u{17}' } else { '\u{3}' };
        let body = format!("{number}{}{end}", load.text);
        let frame = format!("\u{2}{body}{:02X}\r\n", modulo(&body));
        let message = load.text.replace('\r', "/");
        for _ in 0..TRIES {
            self.control.send(port, self.setup.baud, &message, frame.as_bytes()).await;
            match self.reply(port).await {
                // LIS1-A: anything but ACK is a refusal.
                Reply::Nak | Reply::Enq => {}
                other @ (Reply::Ack | Reply::Nothing | Reply::Interrupted) => return other,
            }
        }
        Reply::Nak
    }

    /// Waits for an answer. What was said before its time waits in the line, as it does in a UART.
    async fn reply(&self, port: &Pty) -> Reply {
        let mut byte = [0; 1];
        let answer = async {
            loop {
                tokio::select! {
                    count = port.get(&mut byte) => {
                        if count.is_err() {
                            return Reply::Interrupted;
                        }
                        self.control.take_received(&byte);
                        match byte {
                            [6] => return Reply::Ack,
                            [0x15] => return Reply::Nak,
                            [5] => return Reply::Enq,
                            _ => self.control.refuse(),
                        }
                    }
                    () = self.control.changed() => {
                        let state = self.control.state();
                        if state.is_stopped || state.power_cycle.is_some() {
                            return Reply::Interrupted;
                        }
                    }
                }
            }
        };
        tokio::time::timeout(self.setup.reply, answer).await.unwrap_or(Reply::Nothing)
    }
}

/// Puts records into frames.
fn loads(lines: &[Line], packing: Packing) -> Vec<Load> {
    let (most, groups): (usize, Vec<&[Line]>) = match packing {
        Packing::Records(most) => (most, lines.chunks(1).collect()),
        Packing::Message(most) => (most, vec![lines]),
    };
    let mut loads = Vec::new();
    for group in groups {
        // Where each record ends in the text of the group, and the result that is whole there.
        let mut text = String::new();
        let mut ends = Vec::new();
        for line in group {
            text.push_str(&line.text);
            text.push('\r');
            ends.push((text.len(), line.result.clone()));
        }
        let mut from = 0;
        while from < text.len() {
            let to = (from + most).min(text.len());
            let is_here = |(end, result): &(usize, Option<String>)| {
                result.clone().filter(|_| (from + 1..=to).contains(end))
            };
            loads.push(Load {
                text: text.get(from..to).unwrap_or_default().to_owned(),
                goes_on: to < text.len(),
                results: ends.iter().filter_map(is_here).collect(),
            });
            from = to;
        }
    }
    loads
}

/// The last two hex digits of the sum of all character codes.
fn modulo(body: &str) -> u32 {
    body.chars().map(u32::from).sum::<u32>() % 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_terminator_is_that_of_every_analyser() {
        // 'L|1|N' as frame 3, CR, ETX: 33+4C+7C+31+7C+4E+0D+03 = 206 hex.
        assert_eq!(modulo("3L|1|N\r\u{3}"), 0x06);
    }

    #[test]
    fn a_result_is_handed_over_with_the_frame_that_has_its_end() {
        let line = |text: &str, result: Option<&str>| Line {
            text: text.to_owned(),
            result: result.map(str::to_owned),
        };
        let lines = [line("H|", None), line("R|1|aaaa", Some("a")), line("R|2|b", Some("b"))];
        let results = |packing| -> Vec<Vec<String>> {
            loads(&lines, packing).into_iter().map(|load| load.results).collect()
        };
        assert_eq!(results(Packing::Records(240)), [vec![], vec!["a"], vec!["b"]]);
        assert_eq!(results(Packing::Message(8)), [vec![], vec!["a"], vec!["b"]]);
        assert_eq!(results(Packing::Message(240)), [vec!["a", "b"]]);
    }
}
