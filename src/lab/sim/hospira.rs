//! Simulated Hospira Plum A+ pumps in a chain at the `DataPort`: lines of fields with a CRC, polled.
//!
//! They answer the inquiries of the facts page, stay silent to everything else and count it. A pump that is
//! switched off passes nothing on: its number is not answered.

use std::path::PathBuf;
use std::time::Duration;

use super::pty::Pty;
use super::{Control, Minute, Plays, Running, Shown, Sim};

/// How the simulated chain is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// What the pumps' own ids are made of.
    pub identity: String,
    /// Bits per second.
    pub baud: u32,
    /// How long a pump thinks before it answers.
    pub think: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self { link: None, identity: "17".to_owned(), baud: 1_200, think: Duration::from_millis(50) }
    }
}

/// What one pump shows, digit for digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pump {
    /// mL/h.
    pub rate: String,
    /// The volume VT1.
    pub vt1: String,
    /// The volume TV1.
    pub tv1: String,
    /// The drug's name.
    pub drug: String,
    /// The alarm's code.
    pub alarm: String,
    /// The status words.
    pub status: String,
    /// Whether it sounds.
    pub is_sounding: bool,
}

impl Default for Pump {
    fn default() -> Self {
        Self {
            rate: "125".to_owned(),
            vt1: "500".to_owned(),
            tv1: "12.5".to_owned(),
            drug: "DOPAMINE".to_owned(),
            alarm: "OK".to_owned(),
            status: "PUMPING A".to_owned(),
            is_sounding: false,
        }
    }
}

/// What the chain shows: its three numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// The pumps, number 1 first.
    pub pumps: [Option<Pump>; 3],
}

impl Default for Values {
    fn default() -> Self {
        Self { pumps: [(); 3].map(|()| Some(Pump::default())) }
    }
}

/// The simulator's row.
pub static SIM: Sim = Sim {
    name: "hospira-plum-aplus",
    title: "Hospira Plum A+ pumps in a chain",
    identities: ["17", "18"],
    start: |start| {
        let usual = Setup::default();
        let setup = Setup {
            link: start.link.clone(),
            identity: start.identity.clone().unwrap_or(usual.identity),
            baud: start.baud.unwrap_or(usual.baud),
            ..Setup::default()
        };
        Ok(Running::new(chain(setup, Values::default())?))
    },
};

impl Plays for Values {
    /// The recording has no pump in it: these infuse on, 125 mL/h of 500 mL.
    fn play(&mut self, minute: &Minute) {
        let infused = (u64::from(minute.minute) * 125 / 60).min(500);
        for pump in self.pumps.iter_mut().flatten() {
            pump.vt1 = (500 - infused).to_string();
            pump.tv1 = infused.to_string();
        }
    }

    fn shown(&self) -> Vec<Shown> {
        let there = (1..).zip(&self.pumps).filter_map(|(number, pump)| Some((number, pump.as_ref()?)));
        there
            .map(|(number, pump): (u8, _)| Shown::at(number.to_string(), "MDC_VOL_FLUID_DELIV", &pump.tv1))
            .collect()
    }
}

/// Makes a chain: a future to run, and its control. The port exists as soon as this returns. Wants a tokio
/// runtime around it.
pub fn chain(
    setup: Setup,
    values: Values,
) -> std::io::Result<(impl Future<Output = std::io::Result<()>> + Send, Control<Values>)> {
    let pty = Pty::open(setup.link.as_deref())?;
    let control = Control::new(values, setup.identity.clone(), pty.path().to_owned());
    let chain = Chain { setup, control: control.clone(), heard: String::new() };
    Ok((chain.run(pty), control))
}

struct Chain {
    setup: Setup,
    control: Control<Values>,
    /// The request that is coming in.
    heard: String,
}

/// The longest message part that a pump takes.
const MESSAGE_MAX: usize = 22;

impl Chain {
    async fn run(mut self, pty: Pty) -> std::io::Result<()> {
        let mut pty = Some(pty);
        while !self.control.is_stopped() {
            self.control.cycle_power(&mut pty, self.setup.link.as_deref()).await?;
            let Some(port) = &pty else { return Ok(()) };
            let mut buffer = [0; 64];
            let count = tokio::select! {
                count = port.get(&mut buffer) => count?,
                () = self.control.changed() => {
                    self.control.state().sets.clear();
                    continue;
                }
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            self.control.take_received(bytes);
            for &byte in bytes {
                if byte != b'\r' {
                    self.heard.push(char::from(byte));
                    continue;
                }
                let request = std::mem::take(&mut self.heard);
                match self.understand(&request) {
                    Heard::Known(Some(message)) => {
                        // The request takes its time on the line too.
                        let bits = u64::try_from(request.len() + 1).unwrap_or_default() * 10;
                        let on_the_line =
                            Duration::from_millis(bits * 1_000 / u64::from(self.setup.baud.max(1)));
                        tokio::time::sleep(on_the_line + self.setup.think).await;
                        let line = format!("{message}{}\r", checksum(&message));
                        self.control.send(port, self.setup.baud, &message, line.as_bytes()).await;
                    }
                    Heard::Known(None) => {}
                    Heard::Unknown => self.control.refuse(),
                }
            }
        }
        Ok(())
    }

    fn understand(&self, request: &str) -> Heard {
        parse(request).map_or(Heard::Unknown, |(number, items)| self.reply(number, &items))
    }

    /// The reply of a number, its CRC left out.
    fn reply(&self, number: usize, items: &[&str]) -> Heard {
        let values = self.control.values();
        let own_id = format!("{}{number}", self.control.state().identity);
        let pump = number.checked_sub(1).and_then(|place| values.pumps.get(place)).and_then(Option::as_ref);
        let mark = |pump: &Pump| if pump.is_sounding { "R" } else { "" };
        match (number, items) {
            (0, ["ISTA"]) => {
                let is_any = values.pumps.iter().any(Option::is_some);
                Heard::Known(is_any.then(|| "F0;STA;PUMPING;".to_owned()))
            }
            (1..=3, ["IDV1", "VT1", "TV1", "DN1"]) => Heard::Known(pump.map(|pump| {
                let Pump { rate, vt1, tv1, drug, .. } = pump;
                format!("F{number};{own_id};{}{rate};{vt1};{tv1};{drug};", mark(pump))
            })),
            (1..=3, ["IALR", "STA"]) => Heard::Known(pump.map(|pump| {
                let alarm = match self.control.is_flooded() {
                    Some(left) if left % 2 == 0 => "OD1",
                    Some(_) => "AD1",
                    None => &pump.alarm,
                };
                format!("F{number};{own_id};{}{alarm};{};", mark(pump), pump.status)
            })),
            _ => Heard::Unknown,
        }
    }
}

/// What was heard.
enum Heard {
    /// A request, and the reply to it; none of a number that nobody has.
    Known(Option<String>),
    /// No request that is known.
    Unknown,
}

/// The number and the items of a request.
fn parse(request: &str) -> Option<(usize, Vec<&str>)> {
    let (message, sum) = request.split_at_checked(request.len().checked_sub(4)?)?;
    if checksum(message) != sum || message.len() > MESSAGE_MAX {
        return None;
    }
    let (to, items) = message.strip_suffix(';')?.split_once(';')?;
    Some((to.strip_prefix("T@")?.parse().ok()?, items.split(';').collect()))
}

/// CRC-16/KERMIT by a table of sixteen, half a byte at a time.
fn checksum(message: &str) -> String {
    let half =
        |rest: u16| (0..4).fold(rest, |rest, _| if rest % 2 == 1 { (rest / 2) ^ 0x8408 } else { rest / 2 });
    let table: Vec<u16> = (0..16).map(half).collect();
    let mut rest = 0u16;
    for byte in message.bytes() {
        for nibble in [byte % 16, byte / 16] {
            let place = usize::from((rest % 16) ^ u16::from(nibble));
            rest = (rest / 16) ^ table.get(place).copied().unwrap_or_default();
        }
    }
    format!("{rest:04X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_that_of_the_facts() {
        for (message, sum) in [
            ("123456789", "2189"),
            ("T@0;ISTA;", "2FAD"),
            ("T@1;IDV1;VT1;TV1;DN1;", "85E7"),
            ("T@1;IALR;STA;", "8097"),
            ("T@2;IDV1;VT1;TV1;DN1;", "382D"),
        ] {
            assert_eq!(checksum(message), sum, "{message}");
        }
    }
}
