//! A simulated Masimo pulse oximeter with its output set to ASCII 1: pushes lines, listens to nobody.

use std::path::PathBuf;
use std::time::Duration;

use super::pty::Pty;
use super::{Control, Minute, Plays, Running, Shown, Sim, paced};

/// How the simulated oximeter is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// The serial number, ten characters.
    pub serial: String,
    /// Bits per second.
    pub baud: u32,
    /// When a line is pushed.
    pub cadence: Cadence,
    /// Whether the output is left at ASCII 2, which is not what the driver reads.
    pub output: Output,
}

/// When a line is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cadence {
    /// At this period; the real device: one second.
    Every(Duration),
    /// Once for each time that values are set: a recording played at any speed, no row left out.
    AtEachSet,
}

/// The output format that is chosen in the oximeter's menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// ASCII 1.
    Ascii1,
    /// Anything else; the exact form of ASCII 2 is not public, so this is only "not ASCII 1".
    Other,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            link: None,
            serial: "0000056661".to_owned(),
            baud: 9_600,
            cadence: Cadence::Every(Duration::from_secs(1)),
            output: Output::Ascii1,
        }
    }
}

/// What the oximeter shows; `None` is dashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// Percent.
    pub spo2: Option<u16>,
    /// Beats per minute.
    pub bpm: Option<u16>,
    /// Perfusion index in hundredths of a percent.
    pub pi: Option<u16>,
    /// The alarm word.
    pub alarm: u16,
    /// The exception word.
    pub exceptions: u32,
}

/// The simulator's row.
pub static SIM: Sim = Sim {
    name: "masimo-ascii1",
    title: "Masimo pulse oximeter, ASCII 1 output",
    identities: ["0000056661", "0000056662"],
    start: |start| {
        let usual = Setup::default();
        let setup = Setup {
            link: start.link.clone(),
            serial: start.identity.clone().unwrap_or(usual.serial),
            baud: start.baud.unwrap_or(usual.baud),
            ..Setup::default()
        };
        let values = Values { spo2: Some(97), bpm: Some(61), pi: Some(360), ..Values::default() };
        Ok(Running::new(oximeter(setup, values)?))
    },
};

impl Plays for Values {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 300 by the recording")]
    fn play(&mut self, minute: &Minute) {
        let whole = |value: Option<f32>| value.map(|value| value.round() as u16);
        (self.spo2, self.bpm) = (whole(minute.spo2), whole(minute.pulse));
    }

    fn shown(&self) -> Vec<Shown> {
        let shown = |reference, value: Option<u16>| Some(Shown::new(reference, value?.to_string()));
        [shown("MDC_PULS_OXIM_SAT_O2", self.spo2), shown("MDC_PULS_OXIM_PULS_RATE", self.bpm)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Makes an oximeter: a future to run, and its control. The port exists as soon as this returns. Wants a tokio runtime
/// around it.
pub fn oximeter(
    setup: Setup,
    values: Values,
) -> std::io::Result<(impl Future<Output = std::io::Result<()>> + Send, Control<Values>)> {
    let pty = Pty::open(setup.link.as_deref())?;
    let control = Control::new(values, setup.serial.clone(), pty.path().to_owned());
    let oximeter = Oximeter { setup, control: control.clone(), seconds: 0 };
    Ok((oximeter.run(pty), control))
}

struct Oximeter {
    setup: Setup,
    control: Control<Values>,
    /// The device's own clock: seconds since 2016-02-22 00:00:00, one for each line.
    seconds: u32,
}

impl Oximeter {
    async fn run(mut self, pty: Pty) -> std::io::Result<()> {
        let mut pty = Some(pty);
        let period = match self.setup.cadence {
            Cadence::Every(period) => period,
            // A day: the clock that is not used.
            Cadence::AtEachSet => Duration::from_secs(86_400),
        };
        let mut ticks = tokio::time::interval(period);
        while !self.control.is_stopped() {
            self.control.cycle_power(&mut pty, self.setup.link.as_deref()).await?;
            let Some(port) = &pty else { return Ok(()) };
            let mut ignored = [0; 64];
            tokio::select! {
                _ = ticks.tick() => {
                    if let Cadence::Every(_) = self.setup.cadence {
                        let values = self.control.values();
                        self.push(port, &values).await;
                    }
                }
                () = self.control.changed() => {
                    if self.setup.cadence == Cadence::AtEachSet {
                        self.push_all(port).await;
                    } else {
                        self.control.state().sets.clear();
                    }
                }
                count = port.get(&mut ignored) => {
                    self.control.take_received(ignored.get(..count?).unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    async fn push_all(&mut self, port: &Pty) {
        while let Some(values) = self.next_set() {
            self.push(port, &values).await;
        }
    }

    fn next_set(&self) -> Option<Values> {
        self.control.state().sets.pop_front()
    }

    async fn push(&mut self, port: &Pty, values: &Values) {
        if std::mem::take(&mut self.control.state().is_clock_restarted) {
            self.seconds = 0;
        }
        self.seconds += 1;
        if self.setup.output == Output::Other {
            paced(port, self.setup.baud, b"098,097,0360,0000,000800\r\n").await;
            return;
        }
        let line = self.line(values);
        let frame = format!("{line}\r\n");
        self.control.send(port, self.setup.baud, &line, frame.as_bytes()).await;
    }

    fn line(&self, values: &Values) -> String {
        let serial = self.control.state().identity.clone();
        let seconds = self.seconds;
        let (day, hour) = (22 + seconds / 86_400 % 7, seconds / 3_600 % 24);
        let (minute, second) = (seconds / 60 % 60, seconds % 60);
        let alarm = match self.control.is_flooded() {
            Some(left) => 0x10 | (1 << (left % 4)),
            None => values.alarm,
        };
        let exceptions = values.exceptions;
        let three = |value: Option<u16>| value.map_or("---".to_owned(), |value| format!("{value:03}"));
        let pi = values.pi.map_or("--.--".to_owned(), |pi| format!("{:02}.{:02}", pi / 100, pi % 100));
        format!(
            "02/{day:02}/16 {hour:02}:{minute:02}:{second:02} SN={serial} SPO2={}% BPM={} PI={pi}% \
             SPCO=--.-% SPMET=--.-% DESAT=-- PIDELTA=+-- ALARM={alarm:04X} EXC={exceptions:06X}",
            three(values.spo2),
            three(values.bpm),
        )
    }
}
