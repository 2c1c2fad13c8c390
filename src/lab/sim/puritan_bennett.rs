//! A simulated Puritan Bennett 840 ventilator: `SNDA` and `SNDF`, answered with `MISCA` and `MISCF`.
//!
//! It answers the two requests, calls every other line an unknown command, and counts that as refused. `RSET`
//! is taken without an answer and counted as refused too: no host of ours sends it.

use std::path::PathBuf;
use std::time::Duration;

use super::pty::Pty;
use super::{Control, Minute, Plays, Running, Shown, Sim};

/// How the simulated ventilator is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// The model and the number, at most 18 characters.
    pub id: String,
    /// Bits per second.
    pub baud: u32,
    /// How long the ventilator thinks before it answers.
    pub think: Duration,
    /// Whether it knows `SNDF`.
    pub knows_full: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            link: None,
            id: "840 3510012345".to_owned(),
            baud: 9_600,
            think: Duration::from_millis(50),
            knows_full: true,
        }
    }
}

/// What the ventilator shows, digit for digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// Breaths a minute.
    pub rate: String,
    /// Exhaled tidal volume in litres.
    pub tidal: String,
    /// Exhaled minute volume in litres a minute.
    pub minute_volume: String,
    /// cmH2O.
    pub peak: String,
    /// cmH2O.
    pub mean: String,
    /// cmH2O, measured.
    pub peep: String,
    /// Percent, set.
    pub oxygen: String,
    /// The word of the alarm field of high inspiratory pressure in `MISCF`: `NORMAL`, `HIGH`, `RESET`, ...
    pub high_pressure: String,
    /// `ON` or `OFF`.
    pub silence: String,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            rate: "14.0".to_owned(),
            tidal: "0.378".to_owned(),
            minute_volume: "5.290".to_owned(),
            peak: "24.0".to_owned(),
            mean: "8.6".to_owned(),
            peep: "5.8".to_owned(),
            oxygen: "21".to_owned(),
            high_pressure: "NORMAL".to_owned(),
            silence: "OFF".to_owned(),
        }
    }
}

/// The simulator's row.
pub static SIM: Sim = Sim {
    name: "puritan-bennett-840",
    title: "Puritan Bennett 840 ventilator",
    identities: ["840 3510012345", "840 3510099999"],
    start: |start| {
        let usual = Setup::default();
        let setup = Setup {
            link: start.link.clone(),
            id: start.identity.clone().unwrap_or(usual.id),
            baud: start.baud.unwrap_or(usual.baud),
            ..Setup::default()
        };
        Ok(Running::new(ventilator(setup, Values::default())?))
    },
};

impl Plays for Values {
    /// The recording has no ventilator in it: the rate wanders with the minute.
    fn play(&mut self, minute: &Minute) {
        self.rate = format!("{}.0", 12 + minute.minute % 6);
    }

    fn shown(&self) -> Vec<Shown> {
        vec![Shown::new("MDC_RESP_RATE", &self.rate)]
    }
}

/// Makes a ventilator: a future to run, and its control. The port exists as soon as this returns. Wants a tokio runtime
/// around it.
pub fn ventilator(
    setup: Setup,
    values: Values,
) -> std::io::Result<(impl Future<Output = std::io::Result<()>> + Send, Control<Values>)> {
    let pty = Pty::open(setup.link.as_deref())?;
    let control = Control::new(values, setup.id.clone(), pty.path().to_owned());
    let ventilator =
        Ventilator { setup, control: control.clone(), heard: String::new(), minutes: 14 * 60 + 51 };
    Ok((ventilator.run(pty), control))
}

struct Ventilator {
    setup: Setup,
    control: Control<Values>,
    /// The request that is coming in.
    heard: String,
    /// The ventilator's own clock: minutes of the day, one for each report.
    minutes: u32,
}

impl Ventilator {
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
                    let request = std::mem::take(&mut self.heard);
                    self.answer(port, &request).await;
                } else if self.heard.len() < 32 {
                    self.heard.push(char::from(byte));
                }
            }
        }
        Ok(())
    }

    async fn answer(&mut self, port: &Pty, request: &str) {
        let message = match request {
            "SNDF" if self.setup.knows_full => self.full(),
            "SNDA" => self.short(),
            "RSET" => {
                self.control.refuse();
                return;
            }
            _ => {
                self.control.refuse();
                "UNKNOWN CMD".to_owned()
            }
        };
        tokio::time::sleep(self.setup.think).await;
        let frame = format!("{message}\r");
        self.control.send(port, self.setup.baud, &message, frame.as_bytes()).await;
    }

    /// The time of the next report.
    fn clock(&mut self) -> String {
        if std::mem::take(&mut self.control.state().is_clock_restarted) {
            self.minutes = 0;
        }
        self.minutes = (self.minutes + 1) % 1_440;
        format!("{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }

    /// The word of the alarm, or that of a flood.
    fn alarm(&self, values: &Values, on: &str) -> String {
        match self.control.is_flooded() {
            Some(left) if left % 2 == 0 => on.to_owned(),
            Some(_) => "RESET".to_owned(),
            None if values.high_pressure == "NORMAL" || values.high_pressure == "RESET" => {
                values.high_pressure.clone()
            }
            None if on == "ALARM" => on.to_owned(),
            None => values.high_pressure.clone(),
        }
    }

    fn full(&mut self) -> String {
        let values = self.control.values();
        let id = self.control.state().identity.clone();
        let alarm = self.alarm(&values, "HIGH");
        let mut fields = Fields::new(173);
        fields.put(5, 6, &self.clock());
        fields.put(6, 18, &id);
        fields.put(7, 12, "NOV 22 2016");
        fields.put(8, 9, "INVASIVE");
        for (number, word) in
            [(9, "A/C"), (10, "VC"), (12, "V-Trig"), (13, "14.0"), (14, "0.365"), (15, "55.0")]
        {
            fields.put(number, 6, word);
        }
        for (number, width) in [(50, 9), (53, 18), (55, 9), (66, 9)] {
            fields.put(number, width, "");
        }
        fields.put(66, 9, "ADULT");
        fields.put(16, 6, &values.oxygen);
        fields.put(18, 6, "5.0");
        fields.put(34, 6, "50");
        fields.put(42, 6, "OFF");
        fields.put(60, 6, "50.0");
        let measured = [
            (70, &values.rate),
            (71, &values.tidal),
            (72, &values.minute_volume),
            (73, &values.peak),
            (74, &values.mean),
            (87, &values.peep),
            (105, &values.silence),
        ];
        for (number, value) in measured {
            fields.put(number, 6, value);
        }
        for number in 106..=153 {
            fields.put(number, 6, "NORMAL");
        }
        fields.put(110, 6, &alarm);
        fields.framed("MISCF")
    }

    fn short(&mut self) -> String {
        let values = self.control.values();
        let id = self.control.state().identity.clone();
        let alarm = self.alarm(&values, "ALARM");
        let clock = self.clock();
        let mut fields = Fields::new(101);
        fields.put(6, 18, &id);
        for number in [8, 62] {
            fields.put(number, 12, "NOV 22 2016");
        }
        for number in [5, 60] {
            fields.put(number, 6, &clock);
        }
        fields.put(100, 9, "");
        for (number, word) in [(9, "CMV"), (10, "14.0"), (11, "0.36"), (12, "55"), (15, "5.0"), (42, "50")] {
            fields.put(number, 6, word);
        }
        let measured = [(34, &values.rate), (35, &values.tidal), (36, &values.minute_volume)];
        for (number, value) in measured {
            fields.put(number, 6, value);
        }
        for (number, value) in
            [(13, &values.oxygen), (38, &values.peak), (39, &values.mean), (93, &values.silence)]
        {
            fields.put(number, 6, value);
        }
        for number in [51, 52, 53, 54, 55, 57, 94, 95] {
            fields.put(number, 6, "NORMAL");
        }
        fields.put(48, 6, &alarm);
        fields.framed("MISCA")
    }
}

/// The fields of a report as text, comma and all; the first is number 5.
struct Fields(Vec<String>);

impl Fields {
    fn new(last: usize) -> Self {
        Self((5..=last).map(|_| " ".repeat(6) + ",").collect())
    }

    fn put(&mut self, number: usize, width: usize, value: &str) {
        let mut text: String = value.chars().take(width).collect();
        while text.len() < width {
            text.push(' ');
        }
        text.push(',');
        if let Some(field) = number.checked_sub(5).and_then(|at| self.0.get_mut(at)) {
            *field = text;
        }
    }

    fn framed(&self, keyword: &str) -> String {
        let body = self.0.concat();
        let blank = if keyword == "MISCF" { " " } else { "" };
        format!("{keyword},{},{}{blank},\u{2}{body}\u{3}", body.len(), self.0.len())
    }
}
