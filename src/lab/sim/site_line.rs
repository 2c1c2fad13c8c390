//! A simulated device for the drivers that a site describes: a blood warmer that answers two texts, as in
//! `configs/devices.d/site-line.toml`. It refuses and counts every other text.

use std::path::PathBuf;
use std::time::Duration;

use super::pty::Pty;
use super::{Control, Minute, Plays, Running, Sim};

/// How the simulated warmer is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// The serial number.
    pub serial: String,
    /// Bits per second.
    pub baud: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self { link: None, serial: "AW300417".to_owned(), baud: 9_600 }
    }
}

/// What the warmer shows, digit for digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// Tenths of a degree Celsius, or `---`.
    pub temperature: String,
    /// Degrees Celsius, set.
    pub target: String,
    /// `RUN`, `STOP`, `PRIME`.
    pub state: String,
}

impl Default for Values {
    fn default() -> Self {
        Self { temperature: "365".to_owned(), target: "37.0".to_owned(), state: "RUN".to_owned() }
    }
}

/// The simulator's row. Its name is not a driver's: the site names that, `site:acme-warmer` in the example.
pub static SIM: Sim = Sim {
    name: "site-line",
    title: "blood warmer for a driver that the site describes (configs/devices.d/site-line.toml)",
    identities: ["AW300417", "AW300418"],
    start: |start| {
        let usual = Setup::default();
        let setup = Setup {
            link: start.link.clone(),
            serial: start.identity.clone().unwrap_or(usual.serial),
            baud: start.baud.unwrap_or(usual.baud),
        };
        Ok(Running::new(warmer(setup, Values::default())?))
    },
};

impl Plays for Values {
    /// The recording has no warmer in it: this one wanders by tenths of a degree.
    fn play(&mut self, minute: &Minute) {
        self.temperature = (365 + minute.minute % 5).to_string();
    }
}

/// Makes a warmer: a future to run, and its control. The port exists as soon as this returns. Wants a tokio runtime
/// around it.
pub fn warmer(
    setup: Setup,
    values: Values,
) -> std::io::Result<(impl Future<Output = std::io::Result<()>> + Send, Control<Values>)> {
    let pty = Pty::open(setup.link.as_deref())?;
    let control = Control::new(values, setup.serial.clone(), pty.path().to_owned());
    let warmer = Warmer { setup, control: control.clone(), heard: String::new() };
    Ok((warmer.run(pty), control))
}

struct Warmer {
    setup: Setup,
    control: Control<Values>,
    /// The text that is coming in.
    heard: String,
}

impl Warmer {
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
                if byte == b'\r' {
                    let asked = std::mem::take(&mut self.heard);
                    self.answer(port, &asked).await;
                } else if self.heard.len() < 32 {
                    self.heard.push(char::from(byte));
                }
            }
        }
        Ok(())
    }

    async fn answer(&self, port: &Pty, asked: &str) {
        let message = match asked {
            "ID?" => format!("ID,{},", self.control.state().identity),
            "STAT?" => {
                let Values { temperature, target, state } = self.control.values();
                let state = match self.control.is_flooded() {
                    Some(left) if left % 2 == 0 => "STOP".to_owned(),
                    Some(_) | None => state,
                };
                format!("ST,{temperature},{target}C,{state},")
            }
            _ => {
                self.control.refuse();
                return;
            }
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
        // Exclusive or, bit by bit: a bit is set when an odd number of characters has it.
        let odd = |bit: u8| message.bytes().filter(|byte| byte >> bit & 1 == 1).count() % 2 == 1;
        let sum = (0..8).filter(|bit| odd(*bit)).fold(0u8, |sum, bit| sum | 1 << bit);
        let frame = format!("{message}{sum:02X}\r\n");
        self.control.send(port, self.setup.baud, &message, frame.as_bytes()).await;
    }
}
