//! A simulated Dräger ventilator that speaks MEDIBUS: replies, commands of its own, a stream in between.
//!
//! It answers what asks, refuses and counts what would configure it, says NOP and asks the host who it is,
//! now and then within a reply, and ends the communication when it hears nothing for some seconds. Bytes of
//! a real-time stream stand between all others when that is wanted.

use std::path::PathBuf;
use std::time::Duration;

use super::pty::Pty;
use super::{Control, Minute, Plays, Running, Shown, Sim};

/// The language of phrases, texts and months.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// German.
    German,
}

/// How the simulated device is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// What it says of itself: number, name, revisions.
    pub identity: String,
    /// Bits per second; each byte is eleven bits long (8E1).
    pub baud: u32,
    /// How long it waits before it answers.
    pub think: Duration,
    /// How long the host may be silent before the communication is over.
    pub patience: Duration,
    /// How often it says something of its own.
    pub initiative: Duration,
    /// Whether the bytes of a real-time stream stand between the others.
    pub has_stream: bool,
    /// The language.
    pub language: Language,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            link: None,
            identity: "8056'Primus'04.53:04.03".to_owned(),
            baud: 9_600,
            think: Duration::from_millis(20),
            patience: Duration::from_secs(3),
            initiative: Duration::from_secs(1),
            has_stream: false,
            language: Language::English,
        }
    }
}

/// What the device shows; `None` is blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// Peak pressure in mbar.
    pub peak: Option<u16>,
    /// Tidal volume in mL.
    pub volume: Option<u16>,
    /// Oxygen saturation in percent.
    pub spo2: Option<u16>,
    /// Pulse rate per minute.
    pub pulse: Option<u16>,
    /// The code of the alarm of code page 1 that is on.
    pub alarm: Option<u8>,
}

impl Default for Values {
    fn default() -> Self {
        Self { peak: Some(25), volume: Some(500), spo2: Some(97), pulse: Some(61), alarm: None }
    }
}

/// The simulator's row.
pub static SIM: Sim = Sim {
    name: "draeger-medibus",
    title: "Dräger ventilator, MEDIBUS",
    identities: ["8056'Primus'04.53:04.03", "8057'Evita4'04.10:04.03"],
    start: |start| {
        let usual = Setup::default();
        let setup = Setup {
            link: start.link.clone(),
            identity: start.identity.clone().unwrap_or(usual.identity),
            baud: start.baud.unwrap_or(usual.baud),
            has_stream: true,
            ..Setup::default()
        };
        Ok(Running::new(ventilator(setup, Values::default())?))
    },
};

impl Plays for Values {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 300 by the recording")]
    fn play(&mut self, minute: &Minute) {
        let whole = |value: Option<f32>| value.map(|value| value.round() as u16);
        (self.spo2, self.pulse) = (whole(minute.spo2), whole(minute.pulse));
    }

    fn shown(&self) -> Vec<Shown> {
        let shown = |reference, value: Option<String>| Some(Shown::new(reference, value?));
        [
            shown("MDC_PULS_OXIM_SAT_O2", self.spo2.map(|value| value.to_string())),
            shown("MDC_PULS_OXIM_PULS_RATE", self.pulse.map(|value| value.to_string())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Makes a ventilator: a future to run, and its control. The port exists as soon as this returns. Wants a tokio
/// runtime around it.
pub fn ventilator(
    setup: Setup,
    values: Values,
) -> std::io::Result<(impl Future<Output = std::io::Result<()>> + Send, Control<Values>)> {
    let pty = Pty::open(setup.link.as_deref())?;
    let control = Control::new(values, setup.identity.clone(), pty.path().to_owned());
    let ventilator = Ventilator {
        known_as: setup.identity.clone(),
        setup,
        control: control.clone(),
        heard: Vec::new(),
        has_begun: false,
        silent: 0,
        awaited: Vec::new(),
        overtaken: Vec::new(),
        turn: 0,
        replies: 0,
        seconds: 0,
    };
    Ok((ventilator.run(pty), control))
}

struct Ventilator {
    setup: Setup,
    control: Control<Values>,
    /// Who it was when the communication began.
    known_as: String,
    /// The frame that is coming in.
    heard: Vec<u8>,
    has_begun: bool,
    /// Turns of its own since it heard the host.
    silent: u32,
    /// Its own commands without a reply yet.
    awaited: Vec<u8>,
    /// Those of them that a new beginning overtook: the host may have been about to answer, once each.
    overtaken: Vec<u8>,
    turn: u32,
    replies: u32,
    /// The device's own clock, in seconds since midnight of its day.
    seconds: u32,
}

/// The longest frame that the device listens to.
const HEARD_MAX: usize = 256;

/// The most answers to what was asked before a new beginning.
const OVERTAKEN_MAX: usize = 32;

impl Ventilator {
    async fn run(mut self, pty: Pty) -> std::io::Result<()> {
        let mut pty = Some(pty);
        let mut ticks = tokio::time::interval(self.setup.initiative);
        while !self.control.is_stopped() {
            let had_power = self.control.state().power_cycle.is_none();
            self.control.cycle_power(&mut pty, self.setup.link.as_deref()).await?;
            if !had_power {
                self.end();
            }
            let Some(port) = &pty else { return Ok(()) };
            let mut buffer = [0; 256];
            let count = tokio::select! {
                count = port.get(&mut buffer) => count?,
                () = self.control.changed() => {
                    self.control.state().sets.clear();
                    continue;
                }
                _ = ticks.tick() => {
                    self.take_turn(port).await;
                    continue;
                }
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            self.control.take_received(bytes);
            for &byte in bytes {
                self.hear(port, byte).await;
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        self.has_begun = false;
        self.overtake();
        self.heard.clear();
    }

    /// Waits for nothing any more, but takes what is on its way.
    fn overtake(&mut self) {
        self.overtaken.append(&mut self.awaited);
        let all = self.overtaken.len();
        self.overtaken.drain(..all.saturating_sub(OVERTAKEN_MAX));
    }

    /// What the device does of itself.
    async fn take_turn(&mut self, port: &Pty) {
        self.seconds += 1;
        self.turn += 1;
        self.silent += 1;
        let is_deserted = self.setup.initiative * self.silent > self.setup.patience + self.setup.initiative;
        if self.has_begun && is_deserted {
            self.end();
            // The host was silent for too long: that is told as a refusal.
            self.control.refuse();
        }
        let code = match self.turn % 4 {
            _ if !self.has_begun => 0x51,
            1 => 0x2A,
            3 => 0x52,
            _ => 0x30,
        };
        // One at a time: the host may still be about to answer.
        if !self.has_begun || self.awaited.is_empty() {
            self.awaited.push(code);
            let frame = self.mixed(&framed(0x1B, code, ""), None);
            super::paced(port, self.pace(), &frame).await;
        }
    }

    /// Puts a frame together, byte by byte.
    async fn hear(&mut self, port: &Pty, byte: u8) {
        match byte {
            0x1B | 0x01 => self.heard = vec![byte],
            b'\r' => {
                let frame = std::mem::take(&mut self.heard);
                self.understand(port, &frame).await;
            }
            _ if self.heard.len() < HEARD_MAX => self.heard.push(byte),
            _ => {}
        }
    }

    async fn understand(&mut self, port: &Pty, frame: &[u8]) {
        let Some((body, sum)) = frame.len().checked_sub(2).map(|at| frame.split_at(at)) else {
            return self.control.refuse();
        };
        let [start, code, rest @ ..] = body else { return self.control.refuse() };
        if checksum(body).as_bytes() != sum {
            return self.control.refuse();
        }
        self.silent = 0;
        if self.known_as != self.control.state().identity {
            // Another device stands here: nobody has begun with it.
            self.known_as.clone_from(&self.control.state().identity);
            self.end();
        }
        if *start == 0x01 {
            return self.take_reply(*code, rest);
        }
        if *code == 0x51 {
            self.end();
            self.has_begun = true;
        }
        let data = if self.has_begun && rest.is_empty() { self.reply(*code) } else { None };
        let (code, data) = if let Some(data) = data {
            (*code, data)
        } else {
            self.control.refuse();
            (0x15, String::new())
        };
        tokio::time::sleep(self.setup.think).await;
        self.replies += 1;
        // Every fifth reply with data has a question in it.
        let is_nested = self.replies.is_multiple_of(5) && !data.is_empty() && self.awaited.is_empty();
        let inner = is_nested.then(|| framed(0x1B, 0x52, ""));
        if is_nested {
            self.awaited.push(0x52);
        }
        let frame = self.mixed(&framed(0x01, code, &data), inner.as_deref());
        let message = format!("{code:02X} {data}");
        self.control.send(port, self.pace(), &message, &frame).await;
    }

    /// A reply of the host: exactly one for each command, with its name where it was asked for.
    fn take_reply(&mut self, code: u8, data: &[u8]) {
        // The answer to the older question comes first.
        let places = [&mut self.overtaken, &mut self.awaited];
        let is_awaited = places.into_iter().any(|place| {
            let at = place.iter().position(|awaited| *awaited == code);
            at.map(|at| place.remove(at)).is_some()
        });
        if !is_awaited {
            return self.control.refuse();
        }
        let is_named = data.get(4) == Some(&b'\'') && data.get(5..).is_some_and(|rest| rest.contains(&b'\''));
        if (code == 0x52) != is_named || (code != 0x52 && !data.is_empty()) {
            self.control.refuse();
        }
        if code == 0x51 {
            self.overtake();
            self.has_begun = true;
        }
    }

    fn reply(&mut self, code: u8) -> Option<String> {
        let values = self.control.values();
        if std::mem::take(&mut self.control.state().is_clock_restarted) {
            self.seconds = 0;
        }
        let four = |value: Option<u16>| value.map_or("    ".to_owned(), |value| format!("{value:>4}"));
        Some(match code {
            0x51 | 0x30 | 0x55 | 0x2E | 0x25 | 0x26 | 0x2C | 0x2D => String::new(),
            0x52 => self.control.state().identity.clone(),
            0x24 => format!(
                "7D{}88{}D6  12B9 7.5E1{}EB{}",
                four(values.peak),
                four(values.volume),
                four(values.pulse),
                four(values.spo2)
            ),
            0x2B => format!("21{}", four(values.volume)),
            0x29 => "01   400B    54B   80".to_owned(),
            0x27 => self.alarm(&values),
            0x2A => match self.setup.language {
                Language::English => "0E5BIPAP\x0320;Mode Adults\x03".to_owned(),
                Language::German => "0E;Modus BIPAP\x0320:Erwachsene\x03".to_owned(),
            },
            0x28 => self.clock(),
            _ => return None,
        })
    }

    fn alarm(&self, values: &Values) -> String {
        let alarm = match self.control.is_flooded() {
            Some(left) if left % 2 == 0 => Some(0x10),
            Some(_) => Some(0x4B),
            None => values.alarm,
        };
        let phrase = match (alarm, self.setup.language) {
            (None, _) => return String::new(),
            (Some(0x10), Language::English) => "PAW HIGH",
            (Some(0x10), Language::German) => "PAW HOCH",
            (Some(0x4B), Language::English) => "BATTERY LOW",
            (Some(0x4B), Language::German) => "BATT. LEER",
            (Some(_), Language::English) => "ALARM",
            (Some(_), Language::German) => "STOERUNG",
        };
        // Priorities: '0' and 28 or 15.
        let priority = if alarm == Some(0x10) { 'L' } else { '?' };
        format!("{priority}{:02X}{phrase:<12}", alarm.unwrap_or_default())
    }

    fn clock(&self) -> String {
        let (hour, minute, second) = (self.seconds / 3_600 % 24, self.seconds / 60 % 60, self.seconds % 60);
        match self.setup.language {
            Language::English => format!("{hour:02}:{minute:02}:{second:02}07-OCT-14"),
            // An Evita XL leaves the seconds out.
            Language::German => format!("{hour:>2}:{minute:02} 7-OKT-14"),
        }
    }

    /// A frame with what stands in its midst: a command of the device, and the stream.
    fn mixed(&self, frame: &[u8], inner: Option<&[u8]>) -> Vec<u8> {
        let (head, tail) = frame.split_at(frame.len() / 2);
        let slow = [head, inner.unwrap_or_default(), tail].concat();
        if !self.setup.has_stream {
            return slow;
        }
        let fast = [0xD3, 0x8A, 0xBF, 0x91, 0x80, 0xFF, 0xC6, 0xC0];
        slow.iter().zip(fast.iter().cycle()).flat_map(|(slow, fast)| [*fast, *slow]).collect()
    }

    /// A byte has eleven bits here, not ten.
    const fn pace(&self) -> u32 {
        self.setup.baud / 11 * 10
    }
}

fn framed(start: u8, code: u8, data: &str) -> Vec<u8> {
    let body = [&[start, code], data.as_bytes()].concat();
    let sum = checksum(&body);
    [body.as_slice(), sum.as_bytes(), b"\r"].concat()
}

/// The sum of all bytes, as an adder makes it: sum bits and carries, eight wide.
fn checksum(bytes: &[u8]) -> String {
    let mut sum = 0u8;
    for byte in bytes {
        let mut carry = *byte;
        while carry != 0 {
            let next = (sum & carry) << 1;
            sum ^= carry;
            carry = next;
        }
    }
    format!("{sum:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_published_frames() {
        for (start, code, published) in [
            (0x1B, 0x51, b"\x1BQ6C\r"),
            (0x1B, 0x30, b"\x1B04B\r"),
            (0x1B, 0x52, b"\x1BR6D\r"),
            (0x01, 0x51, b"\x01Q52\r"),
            (0x01, 0x30, b"\x01031\r"),
        ] {
            assert_eq!(framed(start, code, ""), published);
        }
    }
}
