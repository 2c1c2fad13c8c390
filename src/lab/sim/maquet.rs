//! A simulated Maquet Servo-i ventilator: the computer interface CIE in BASIC and EXTENDED mode.
//!
//! It answers the reads of the protocol, keeps tables of channels, streams curves with breaths between
//! them, and refuses what is no request that it knows: anything that sets something, the
//! patient's identification, wrong checksums, whatever but ESC while it streams. What its numbers are
//! worth depends on the protocol version, as with the ventilator itself.

mod bytes;
mod setup;

use std::collections::BTreeMap;

use tokio::time::{Interval, MissedTickBehavior};

use self::bytes::{SAMPLES, Worth, closed, curves, parity, worth};
use super::pty::Pty;
use super::{Control, Running, Sim};
pub use setup::{Setup, Values};

/// The simulator's row.
pub static SIM: Sim = Sim {
    name: "maquet-servo-i",
    title: "Maquet Servo-i ventilator",
    identities: ["30114", "30207"],
    start: |start| {
        let usual = Setup::default();
        let setup = Setup {
            link: start.link.clone(),
            serial: start.identity.clone().unwrap_or(usual.serial),
            baud: start.baud.unwrap_or(usual.baud),
            ..Setup::default()
        };
        Ok(Running::new(ventilator(setup, Values::default())?))
    },
};

/// Makes a ventilator: a future to run, and its control. The port exists as soon as this returns. Wants a tokio
/// runtime around it.
pub fn ventilator(
    setup: Setup,
    values: Values,
) -> std::io::Result<(impl Future<Output = std::io::Result<()>> + Send, Control<Values>)> {
    let pty = Pty::open(setup.link.as_deref())?;
    let control = Control::new(values, setup.serial.clone(), pty.path().to_owned());
    let mut ventilator = Ventilator {
        control: control.clone(),
        heard: Vec::new(),
        is_extended: false,
        version: 1,
        tables: BTreeMap::new(),
        stream: None,
        seconds: 0,
        breaths: 0,
        setup,
    };
    if ventilator.setup.is_left_streaming {
        ventilator.is_extended = true;
        ventilator.tables = BTreeMap::from([('B', vec![200, 205, 209]), ('C', vec![100])]);
        ventilator.stream = Some(ventilator.breathing());
    }
    Ok((ventilator.run(pty), control))
}

struct Ventilator {
    setup: Setup,
    control: Control<Values>,
    /// The request that is coming in.
    heard: Vec<u8>,
    is_extended: bool,
    version: u8,
    /// The channels of each table by its letter.
    tables: BTreeMap<char, Vec<u16>>,
    /// Ticks at the end of each breath of a stream.
    stream: Option<Interval>,
    /// Its clock: goes on whenever it is asked.
    seconds: u64,
    breaths: u32,
}

/// The longest request that it listens to.
const REQUEST_MAX: usize = 400;

/// "No value" in text and in a stream.
const NO_TEXT: &str = "9999";
const NO_VALUE: u16 = 0x7EFF;

impl Ventilator {
    async fn run(mut self, pty: Pty) -> std::io::Result<()> {
        let mut pty = Some(pty);
        while !self.control.is_stopped() {
            if self.control.state().power_cycle.is_some() || self.is_restarted() {
                self.restart();
            }
            self.control.cycle_power(&mut pty, self.setup.link.as_deref()).await?;
            let Some(port) = &pty else { return Ok(()) };
            let mut buffer = [0; 256];
            let count = tokio::select! {
                count = port.get(&mut buffer) => count?,
                () = self.control.changed() => {
                    self.control.state().sets.clear();
                    continue;
                }
                () = breath_end(&mut self.stream) => {
                    self.breathe(port).await;
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

    /// A clock that starts again is a ventilator that was switched off and on: its port stays, its
    /// interface has forgotten everything.
    fn is_restarted(&self) -> bool {
        std::mem::take(&mut self.control.state().is_clock_restarted)
    }

    fn restart(&mut self) {
        self.is_extended = false;
        self.version = 1;
        self.tables.clear();
        self.stream = None;
        self.heard.clear();
        self.seconds = 0;
    }

    async fn hear(&mut self, port: &Pty, byte: u8) {
        match byte {
            0x1B => {
                self.stream = None;
                self.heard.clear();
            }
            _ if self.stream.is_some() => self.control.refuse(),
            0x04 => {
                let heard = std::mem::take(&mut self.heard);
                let heard = String::from_utf8_lossy(&heard).into_owned();
                tokio::time::sleep(self.setup.think).await;
                let reply = self.understand(&heard);
                self.say(port, &heard, &reply).await;
            }
            _ if self.heard.len() < REQUEST_MAX => self.heard.push(byte),
            _ => self.control.refuse(),
        }
    }

    /// Sends a message: with a checksum in EXTENDED mode, and XON before it, as its flow control does.
    async fn say(&self, port: &Pty, asked: &str, reply: &str) {
        if reply.is_empty() {
            return;
        }
        let sum = if self.is_extended { format!("{:02X}", parity(reply.as_bytes())) } else { String::new() };
        let frame = format!("\x11{reply}{sum}\x04");
        let word = asked.get(..asked.len().saturating_sub(2)).unwrap_or_default();
        self.control.send(port, self.setup.baud, &format!("{word} {reply}"), frame.as_bytes()).await;
    }

    fn understand(&mut self, heard: &str) -> String {
        match heard {
            "" => return "*".to_owned(),
            "HO" => {
                self.restart();
                return "900PCI".to_owned();
            }
            _ => {}
        }
        let (text, sum) = heard.split_at_checked(heard.len().saturating_sub(2)).unwrap_or((heard, ""));
        if format!("{:02X}", parity(text.as_bytes())) != sum {
            self.control.refuse();
            return "ER18".to_owned();
        }
        if text == "RCTY" {
            self.restart_interface();
            return "Servo-i0".to_owned();
        }
        if !self.is_extended {
            return "ER10".to_owned();
        }
        self.extended(text).unwrap_or_else(|| {
            self.control.refuse();
            "ER10".to_owned()
        })
    }

    fn restart_interface(&mut self) {
        self.is_extended = true;
        self.version = 1;
        self.tables.clear();
    }

    /// The answer in EXTENDED mode; `None` for what it does not know.
    fn extended(&mut self, text: &str) -> Option<String> {
        let values = self.control.values();
        let serial = self.control.state().identity.clone();
        let is_alarm = !values.alarms.is_empty();
        Some(match text {
            "RSEN" => serial,
            "RSWV" => self.setup.software.clone(),
            "RHVE" => format!("{:03}", self.setup.highest),
            "RPVE" => format!("{:03}", self.version),
            "RTIM" => self.clock(),
            "RALO" => u8::from(is_alarm).to_string(),
            "RBAT" => "1".to_owned(),
            "RADAB" | "RADAS" | "RADAE" | "RADC" if values.is_standby => "ER17".to_owned(),
            "RADAB" => self.read('B', &values),
            "RADAS" => self.read('S', &values),
            "RADAE" => self.read('E', &values),
            "RADC" if values.is_buffer_full => "ER19".to_owned(),
            "RADC" if self.tables.is_empty() => "ER16".to_owned(),
            "RADC" => {
                self.stream = Some(self.breathing());
                String::new()
            }
            _ => self.with_channels(text)?,
        })
    }

    fn with_channels(&mut self, text: &str) -> Option<String> {
        let (word, rest) = text.split_at_checked(4)?;
        match word {
            "SPVE" => {
                let version: u8 = rest.parse().ok()?;
                if version == 0 || version > self.setup.highest {
                    return Some("ER12".to_owned());
                }
                self.restart_interface();
                self.version = version;
                Some("*".to_owned())
            }
            "RCCO" => Some(self.config(rest.parse().ok()?)),
            "SDAD" => {
                let letter = rest.chars().next().filter(|letter| "BSEC".contains(*letter))?;
                let digits = rest.get(1..)?;
                let channels: Vec<u16> = (0..digits.len())
                    .step_by(3)
                    .map(|at| digits.get(at..at + 3)?.parse().ok())
                    .collect::<Option<_>>()?;
                let most = if letter == 'C' { 4 } else { 50 };
                if channels.len() > most {
                    return Some("ER12".to_owned());
                }
                self.tables.insert(letter, channels);
                Some("*".to_owned())
            }
            _ => None,
        }
    }

    /// `sampling;channel,gain,offset,unit,type,id;`
    fn config(&self, channel: u16) -> String {
        let Some(worth) = worth(channel) else { return "ER12".to_owned() };
        let gain = self.gain(&worth);
        let places = match gain {
            10 => 5,
            100 => 4,
            _ => 3,
        };
        let offset = if channel == 100 { 4_000 } else { 0 };
        let Worth { unit, kind, .. } = worth;
        let sampling = 1_000 / SAMPLES;
        format!(
            "{sampling:03};{channel:03},+1000E-{places:03},+{offset:04}E+000,{unit:02},{kind},CH{channel};"
        )
    }

    fn gain(&self, worth: &Worth) -> i64 {
        if self.version >= 5 { worth.new } else { worth.old }
    }

    /// The raw number of a channel as the version in use has it.
    fn raw(&self, channel: u16, values: &Values) -> Option<i64> {
        let worth = worth(channel)?;
        Some(values.channels.get(&channel)? / self.gain(&worth))
    }

    fn alarm(channel: u16, values: &Values, flood: Option<u32>) -> u8 {
        match (flood, channel) {
            (Some(left), 410) => u8::from(left.is_multiple_of(2)),
            (Some(left), 411) => u8::from(!left.is_multiple_of(2)),
            (None, 498 | 499) => u8::from(!values.alarms.is_empty()),
            (Some(_) | None, _) => values.alarms.get(&channel).copied().unwrap_or(0),
        }
    }

    fn read(&self, letter: char, values: &Values) -> String {
        let Some(channels) = self.tables.get(&letter) else { return "ER16".to_owned() };
        let flood = if letter == 'E' { self.control.is_flooded() } else { None };
        let field = |&channel: &u16| match letter {
            'E' => format!("{:04}", Self::alarm(channel, values, flood)),
            _ => self.raw(channel, values).map_or(NO_TEXT.to_owned(), |raw| format!("{raw:04}")),
        };
        channels.iter().map(field).collect()
    }

    fn clock(&mut self) -> String {
        self.seconds += 4;
        let seconds = self.seconds;
        let year = if self.setup.has_long_year { "2016" } else { "16" };
        format!("{year}0401{:02}{:02}{:02}", 12 + seconds / 3_600 % 12, seconds / 60 % 60, seconds % 60)
    }

    /// One breath of the stream: its curves, then what it came to and the alarms.
    async fn breathe(&mut self, port: &Pty) {
        let values = self.control.values();
        if values.is_standby {
            self.stream = None;
            let end = closed(vec![0xE0, 17]);
            self.control.send(port, self.setup.baud, "stream standby", &end).await;
            return;
        }
        self.breaths += 1;
        if let Some(count) = self.tables.get(&'C').map(Vec::len).filter(|&count| count > 0) {
            let block = closed(curves(self.setup.breath, count));
            self.control.send(port, self.setup.baud, &format!("stream C {}", self.breaths), &block).await;
        }
        for letter in ['B', 'E'] {
            let Some(channels) = self.tables.get(&letter) else { continue };
            let flood = if letter == 'E' { self.control.is_flooded() } else { None };
            let word = |&channel: &u16| match letter {
                'E' => u16::from(Self::alarm(channel, &values, flood)),
                _ => self.raw(channel, &values).and_then(|raw| u16::try_from(raw).ok()).unwrap_or(NO_VALUE),
            };
            let words: Vec<u16> = channels.iter().map(word).collect();
            let bytes = words.iter().flat_map(|word| word.to_be_bytes());
            let block = closed([letter as u8].into_iter().chain(bytes).collect());
            let message = format!("stream {letter} {words:?}");
            self.control.send(port, self.setup.baud, &message, &block).await;
        }
    }

    fn breathing(&self) -> Interval {
        let mut breaths = tokio::time::interval(self.setup.breath);
        breaths.set_missed_tick_behavior(MissedTickBehavior::Delay);
        breaths.reset();
        breaths
    }
}

/// Waits for the end of a breath, without a stream for ever.
async fn breath_end(stream: &mut Option<Interval>) {
    match stream {
        Some(breaths) => drop(breaths.tick().await),
        None => std::future::pending().await,
    }
}
