//! A simulated Alaris Asena syringe pump: `!` message `|` CRC CR, polled.
//!
//! It answers the protocol's queries, stays silent to everything else, and refuses what would change
//! it: starts, stops, rates, bolus, remote control. Every byte that it received is kept.

use std::path::PathBuf;
use std::time::Duration;

use super::pty::Pty;
use super::{Control, Minute, Plays, Running, Shown, Sim};

/// How the simulated pump is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// The serial number.
    pub serial: String,
    /// The protocol revision; `None` for a pump that does not know the query.
    pub protocol: Option<String>,
    /// Bits per second.
    pub baud: u32,
    /// How long the pump thinks before it answers.
    pub think: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            link: None,
            serial: "8002-51733".to_owned(),
            protocol: Some("Asena Rev 2.1.5".to_owned()),
            baud: 38_400,
            think: Duration::from_millis(20),
        }
    }
}

/// What the pump shows, digit for digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// `INF`, `HLD`, `SET`, ...
    pub mode: String,
    /// mL/h.
    pub rate: String,
    /// The drug's name; empty when none was chosen.
    pub drug: String,
    /// mL infused.
    pub volume: String,
    /// mL to be infused; `None` when there is no limit.
    pub vtbi: Option<String>,
    /// mmHg.
    pub pressure: String,
    /// `HH:MM:SS` or `24+`.
    pub time_left: String,
    /// The alarm's code.
    pub alarm: String,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            mode: "INF".to_owned(),
            rate: "3.50".to_owned(),
            drug: String::new(),
            volume: "0.969".to_owned(),
            vtbi: Some("11.000".to_owned()),
            pressure: "53.15".to_owned(),
            time_left: "02:50:00".to_owned(),
            alarm: "AL_NOALM".to_owned(),
        }
    }
}

/// The simulator's row.
pub static SIM: Sim = Sim {
    name: "alaris-asena",
    title: "Alaris Asena syringe pump",
    identities: ["8002-51733", "8002-51740"],
    start: |start| {
        let usual = Setup::default();
        let setup = Setup {
            link: start.link.clone(),
            serial: start.identity.clone().unwrap_or(usual.serial),
            baud: start.baud.unwrap_or(usual.baud),
            ..Setup::default()
        };
        Ok(Running::new(pump(setup, Values::default())?))
    },
};

impl Plays for Values {
    /// The recording has no pump in it: this one infuses on.
    fn play(&mut self, minute: &Minute) {
        let infused = 969 + u64::from(minute.minute) * 58;
        self.volume = format!("{}.{:03}", infused / 1_000, infused % 1_000);
    }

    fn shown(&self) -> Vec<Shown> {
        vec![Shown::new("MDC_VOL_FLUID_DELIV", &self.volume), Shown::new("MDC_FLOW_FLUID_PUMP", &self.rate)]
    }
}

/// Makes a pump: a future to run, and its control. The port exists as soon as this returns. Wants a tokio runtime around
/// it.
pub fn pump(
    setup: Setup,
    values: Values,
) -> std::io::Result<(impl Future<Output = std::io::Result<()>> + Send, Control<Values>)> {
    let pty = Pty::open(setup.link.as_deref())?;
    let control = Control::new(values, setup.serial.clone(), pty.path().to_owned());
    let pump = Pump { setup, control: control.clone(), heard: Vec::new(), is_inside: false, log: 214_725 };
    Ok((pump.run(pty), control))
}

struct Pump {
    setup: Setup,
    control: Control<Values>,
    /// The request that is coming in.
    heard: Vec<u8>,
    is_inside: bool,
    log: u64,
}

/// The longest request that the pump listens to.
const REQUEST_MAX: usize = 128;

impl Pump {
    async fn run(mut self, pty: Pty) -> std::io::Result<()> {
        let mut pty = Some(pty);
        while !self.control.is_stopped() {
            self.control.cycle_power(&mut pty, self.setup.link.as_deref()).await?;
            let Some(port) = &pty else { return Ok(()) };
            let mut buffer = [0; 256];
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
                if let Some(request) = self.hear(byte) {
                    self.answer(port, &request).await;
                }
            }
        }
        Ok(())
    }

    /// Puts a request together, byte by byte.
    fn hear(&mut self, byte: u8) -> Option<String> {
        match byte {
            b'!' => {
                self.heard.clear();
                self.is_inside = true;
            }
            0x1B => self.is_inside = false,
            b'\r' if self.is_inside => {
                self.is_inside = false;
                return self.understand();
            }
            _ if self.heard.len() == REQUEST_MAX => self.is_inside = false,
            _ => self.heard.push(byte),
        }
        None
    }

    fn understand(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.heard).into_owned();
        let request = text.rsplit_once('|').filter(|(message, sum)| checksum(message) == *sum);
        if request.is_none() {
            self.control.refuse();
        }
        Some(request?.0.to_owned())
    }

    async fn answer(&mut self, port: &Pty, request: &str) {
        let Some(message) = self.reply(request) else {
            self.control.refuse();
            return;
        };
        tokio::time::sleep(self.setup.think).await;
        let frame = format!("!{message}|{}\r", checksum(&message));
        self.control.send(port, self.setup.baud, &message, frame.as_bytes()).await;
    }

    fn reply(&mut self, request: &str) -> Option<String> {
        let values = self.control.values();
        let serial = self.control.state().identity.clone();
        if std::mem::take(&mut self.control.state().is_clock_restarted) {
            self.log = 0;
        }
        Some(match request {
            "INST_SERIALNO" => format!("INST_SERIALNO^{serial}"),
            "COMMS_PROTOCOL" => format!("COMMS_PROTOCOL^{}", self.setup.protocol.as_ref()?),
            "COMMS_RESPONSE_MAX" => "COMMS_RESPONSE_MAX^4000^ms".to_owned(),
            "SYRINGE_STATUS" => "SYRINGE_STATUS^BD PLASTIPAK^ 50^CONF".to_owned(),
            "INF_RATE_MAX_SYRINGE" => "INF_RATE_MAX_SYRINGE^1200.00^ml/h".to_owned(),
            "INF_RATE" => format!("INF_RATE^{}^ml/h", values.rate),
            "INF_VI" => format!("INF_VI^{}^ml", values.volume),
            "INF_VTBI" => match &values.vtbi {
                Some(volume) => format!("INF_VTBI^ACTIV^{volume}^ml^STOP"),
                None => "INF_VTBI^DEACT^^^".to_owned(),
            },
            "ALARM" => format!("ALARM^{}^ ^ ", self.alarm(&values)),
            "INF" => self.status(&serial, &values),
            _ => return None,
        })
    }

    fn alarm(&self, values: &Values) -> String {
        match self.control.is_flooded() {
            Some(left) if left % 2 == 0 => "AL_OCCLU".to_owned(),
            Some(_) => "AL_LWBAT".to_owned(),
            None => values.alarm.clone(),
        }
    }

    fn status(&mut self, serial: &str, values: &Values) -> String {
        self.log += 1;
        let Values { mode, rate, drug, volume, pressure, time_left, alarm, .. } = values;
        let flag = if alarm == "AL_NOALM" { "-" } else { "A" };
        let log = self.log;
        format!(
            "INF^{serial}^{flag}^{mode}^{rate}^ml/h^{drug}^{volume}^ml^{pressure}^mmHg^{time_left}^EVENT^{log}"
        )
    }
}

/// CRC-16/CCITT-FALSE by long division, a bit at a time: the message with two zero bytes behind it,
/// as its polynomial, with the initial value on its first two bytes.
fn checksum(message: &str) -> String {
    let mut remainder: u32 = 0xFFFF;
    for byte in message.bytes() {
        for place in (0..8).rev() {
            let top = (remainder >> 15) & 1;
            let bit = u32::from(byte >> place) & 1;
            remainder = (remainder << 1) & 0xFFFF;
            if top != bit {
                remainder ^= 0x1021;
            }
        }
    }
    format!("{remainder:04X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_published_frames() {
        for (message, sum) in [
            ("123456789", "29B1"),
            ("INF", "4961"),
            ("INST_SERIALNO^8002-51740", "050B"),
            ("ALARM^AL_NOALM^ ^ ", "C73B"),
            ("COMMS_RESPONSE_MAX^4000^ms", "DFDF"),
        ] {
            assert_eq!(checksum(message), sum);
        }
    }
}
