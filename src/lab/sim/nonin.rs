//! A simulated Nonin pulse oximeter: three packets a second in data format 2 or 7, listens to nobody.

use std::path::PathBuf;
use std::time::Duration;

use super::pty::Pty;
use super::{Control, Minute, Plays, Running, Shown, Sim};

/// The data format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Frames of 01, status, pleth, parameter, checksum.
    Two,
    /// Frames of status, pleth (two bytes), parameter, checksum.
    Seven,
}

/// How the simulated oximeter is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// The firmware's revision, a number below 128: all that it says of itself.
    pub revision: String,
    /// Bits per second.
    pub baud: u32,
    /// The data format.
    pub format: Format,
}

impl Default for Setup {
    fn default() -> Self {
        Self { link: None, revision: "41".to_owned(), baud: 9_600, format: Format::Two }
    }
}

/// What the oximeter shows; `None` is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// Percent.
    pub spo2: Option<u8>,
    /// Beats per minute.
    pub rate: Option<u16>,
    /// Bits of the status byte besides the highest and the lowest.
    pub status: u8,
}

/// The simulator's row.
pub static SIM: Sim = Sim {
    name: "nonin",
    title: "Nonin pulse oximeter, data format 2",
    identities: ["41", "42"],
    start: |start| {
        let usual = Setup::default();
        let setup = Setup {
            link: start.link.clone(),
            revision: start.identity.clone().unwrap_or(usual.revision),
            baud: start.baud.unwrap_or(usual.baud),
            ..Setup::default()
        };
        let values = Values { spo2: Some(97), rate: Some(61), status: 0x02 };
        Ok(Running::new(oximeter(setup, values)?))
    },
};

impl Plays for Values {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 300 by the recording")]
    fn play(&mut self, minute: &Minute) {
        self.spo2 = minute.spo2.map(|value| value.round() as u8);
        self.rate = minute.pulse.map(|value| value.round() as u16);
    }

    fn shown(&self) -> Vec<Shown> {
        let shown = |reference, value: Option<String>| Some(Shown::new(reference, value?));
        [
            shown("MDC_PULS_OXIM_SAT_O2", self.spo2.map(|value| value.to_string())),
            shown("MDC_PULS_OXIM_PULS_RATE", self.rate.map(|value| value.to_string())),
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
    let control = Control::new(values, setup.revision.clone(), pty.path().to_owned());
    let oximeter = Oximeter { setup, control: control.clone(), thirds: 0 };
    Ok((oximeter.run(pty), control))
}

struct Oximeter {
    setup: Setup,
    control: Control<Values>,
    /// The device's own timer: thirds of a second.
    thirds: u16,
}

impl Oximeter {
    async fn run(mut self, pty: Pty) -> std::io::Result<()> {
        let mut pty = Some(pty);
        let mut ticks = tokio::time::interval(Duration::from_millis(333));
        while !self.control.is_stopped() {
            self.control.cycle_power(&mut pty, self.setup.link.as_deref()).await?;
            let Some(port) = &pty else { return Ok(()) };
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
            self.thirds = 0;
        }
        self.thirds = (self.thirds + 1) & 0x3FFF;
        let mut values = self.control.values();
        if let Some(left) = self.control.is_flooded() {
            // The sensor goes off and on again.
            values.status = if left % 2 == 0 { values.status | 0x40 } else { values.status & !0x40 };
        }
        let message = format!("{:?} {:?} {:02X}", values.spo2, values.rate, values.status);
        let packet = self.packet(&values);
        self.control.send(port, self.setup.baud, &message, &packet).await;
    }

    fn packet(&self, values: &Values) -> Vec<u8> {
        let revision = self.control.state().identity.parse().unwrap_or(0x7F);
        let [high, low] = seven_bits(values.rate.unwrap_or(511));
        let [timer_high, timer_low] = seven_bits(self.thirds);
        let spo2 = values.spo2.unwrap_or(127);
        // By place: 4-beat rate, saturation, revision, timer, then the other averages, and again for a display.
        let parameters = [
            high, low, spo2, revision, 0, timer_high, timer_low, 0, spo2, spo2, spo2, 0, 0, high, low, spo2,
            spo2, 0, 0, high, low, high, low, 0, 0,
        ];
        let mut packet = Vec::new();
        for (at, parameter) in parameters.into_iter().enumerate() {
            let status = 0x80 | values.status | u8::from(at == 0);
            let frame = match self.setup.format {
                Format::Two => [0x01, status, 0x55, parameter],
                Format::Seven => [status, 0x12, 0x55, parameter],
            };
            packet.extend(frame);
            packet.push(checksum(frame));
        }
        packet
    }
}

/// The upper and the lower seven bits.
fn seven_bits(number: u16) -> [u8; 2] {
    let [_, low] = (number & 0x7F).to_be_bytes();
    let [_, high] = (number >> 7 & 0x7F).to_be_bytes();
    [high, low]
}

/// What is missing from the sum to the next multiple of 256, turned round.
fn checksum(frame: [u8; 4]) -> u8 {
    let missing = frame.into_iter().fold(0u8, u8::wrapping_sub);
    missing.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_published_frames() {
        for frame in
            [[0x01, 0x81, 0x00, 0x00, 0x82], [0x01, 0x80, 0x00, 0x3D, 0xBE], [0x01, 0x80, 0x00, 0x61, 0xE2]]
        {
            let [a, b, c, d, sum] = frame;
            assert_eq!(checksum([a, b, c, d]), sum);
        }
    }
}
