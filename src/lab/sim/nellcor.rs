//! A simulated Nellcor pulse oximeter with its data port set to ASCII: pushes lines, listens to nobody.
//!
//! A heading comes first, before every 25th line and whenever a limit changes.

use std::path::PathBuf;
use std::time::Duration;

use super::pty::Pty;
use super::{Control, Minute, Plays, Running, Shown, Sim, paced};

/// How the simulated oximeter is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// The model in the heading; the protocol has no serial number.
    pub model: String,
    /// Bits per second.
    pub baud: u32,
    /// From one line to the next; the real device: two seconds.
    pub period: Duration,
    /// Whether somebody at a terminal has left it in its interactive mode.
    pub is_interactive: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            link: None,
            model: "N-395".to_owned(),
            baud: 9_600,
            period: Duration::from_secs(2),
            is_interactive: false,
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
    /// Pulse amplitude.
    pub amplitude: Option<u16>,
    /// The status codes.
    pub codes: String,
    /// The lower SpO2 limit, percent.
    pub limit: u16,
}

/// The simulator's row.
pub static SIM: Sim = Sim {
    name: "nellcor",
    title: "Nellcor pulse oximeter, ASCII output",
    identities: ["N-395", "N-595"],
    start: |start| {
        let usual = Setup::default();
        let setup = Setup {
            link: start.link.clone(),
            model: start.identity.clone().unwrap_or(usual.model),
            baud: start.baud.unwrap_or(usual.baud),
            ..Setup::default()
        };
        let values =
            Values { spo2: Some(97), bpm: Some(61), amplitude: Some(50), limit: 85, ..Values::default() };
        Ok(Running::new(oximeter(setup, values)?))
    },
};

impl Plays for Values {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 300 by the recording")]
    fn play(&mut self, minute: &Minute) {
        let whole = |value: Option<f32>| value.map(|value| value.round() as u16);
        (self.spo2, self.bpm) = (whole(minute.spo2), whole(minute.pulse));
        self.amplitude = self.bpm.map(|_| 50);
        self.codes = if self.spo2.is_none() { "SO".to_owned() } else { String::new() };
    }

    fn shown(&self) -> Vec<Shown> {
        let shown = |reference, value: Option<String>| Some(Shown::new(reference, value?));
        [
            shown("MDC_PULS_OXIM_SAT_O2", self.spo2.map(|value| value.to_string())),
            shown("MDC_PULS_OXIM_PULS_RATE", self.bpm.map(|value| value.to_string())),
        ]
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
    let control = Control::new(values, setup.model.clone(), pty.path().to_owned());
    let oximeter = Oximeter { setup, control: control.clone(), seconds: 0, lines: 0, headed: None };
    Ok((oximeter.run(pty), control))
}

struct Oximeter {
    setup: Setup,
    control: Control<Values>,
    /// The device's own clock: seconds since 1998-11-12 14:00:00.
    seconds: u32,
    /// Lines since the last heading.
    lines: u32,
    /// The last heading.
    headed: Option<String>,
}

impl Oximeter {
    async fn run(mut self, pty: Pty) -> std::io::Result<()> {
        let mut pty = Some(pty);
        let mut ticks = tokio::time::interval(self.setup.period);
        while !self.control.is_stopped() {
            let is_cycled = self.control.state().power_cycle.is_some();
            self.control.cycle_power(&mut pty, self.setup.link.as_deref()).await?;
            let Some(port) = &pty else { return Ok(()) };
            if is_cycled {
                (self.headed, self.seconds) = (None, 0);
            }
            let mut ignored = [0; 64];
            tokio::select! {
                _ = ticks.tick() => self.push(port).await,
                () = self.control.changed() => self.control.state().sets.clear(),
                count = port.get(&mut ignored) => {
                    self.control.take_received(ignored.get(..count?).unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    async fn push(&mut self, port: &Pty) {
        if std::mem::take(&mut self.control.state().is_clock_restarted) {
            self.seconds = 0;
        }
        self.seconds += 2;
        if self.setup.is_interactive {
            paced(port, self.setup.baud, b"\r\n    Command?\r\n").await;
            return;
        }
        let values = self.control.values();
        let heading = self.heading(&values);
        if self.headed.as_ref() != Some(&heading) || self.lines == 24 {
            paced(port, self.setup.baud, heading.as_bytes()).await;
            (self.headed, self.lines) = (Some(heading), 0);
        }
        self.lines += 1;
        let line = self.line(&values);
        let frame = format!("{line}\r\n");
        self.control.send(port, self.setup.baud, &line, frame.as_bytes()).await;
    }

    fn heading(&self, values: &Values) -> String {
        let model = self.control.state().identity.clone();
        let limit = values.limit;
        format!(
            "{model}    VERSION 2.0.0.0  CRC:A1B2  SpO2 Limit: {limit}-100%   PR Limit:  60-160BPM\r\n\
             TIME                  %SPO2    BPM     PA     Status\r\n"
        )
    }

    fn line(&self, values: &Values) -> String {
        let (minute, second) = (self.seconds / 60 % 60, self.seconds % 60);
        let hour = (14 + self.seconds / 3_600) % 24;
        let number = |value: Option<u16>| value.map_or("---".to_owned(), |value| value.to_string());
        let mut codes = values.codes.clone();
        if let Some(left) = self.control.is_flooded() {
            codes.push_str(if left % 2 == 0 { " PH" } else { " LP" });
        }
        let star = if values.spo2.is_some_and(|spo2| spo2 < values.limit) { "*" } else { " " };
        let (spo2, bpm, amplitude) = (number(values.spo2), number(values.bpm), number(values.amplitude));
        format!(
            "12-NOV-98 {hour:02}:{minute:02}:{second:02}    {spo2:>3}{star}   {bpm:>3}     {amplitude:>3}     {codes}"
        )
    }
}
