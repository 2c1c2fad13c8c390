//! A ward of BLE devices in simulated time: some twenty peripherals for hours, with faults.
//!
//! In: minutes, a seed. Out: what became of every device, and a verdict: every value that a device showed and had
//! confirmed, or keeps as a record, came out behind the gate, exactly once by the rule of the consumer (device,
//! element, record number, device time, value); what is only sent came out whenever it came over the air; nothing
//! of another device at the same address; nothing before a device had said who it is; nothing more often than
//! it was sent. Real drivers, sessions and gatekeeper; the radio and the peripherals are in memory, so that hours
//! pass in minutes and every run of a seed is the same.
//!
//! What the peripherals do stands in `kinds` and `peripheral`, what goes wrong in `trouble`. A device whose
//! profile is not in the catalogue is left out with a word.
//!
//! Not here: insulin pumps, BlueZ (see `lab/bluez`), keys, power cuts of the gateway itself. A session that is ended and made
//! anew is here: what it remembered is what its notebook has.

mod account;
mod gatt;
mod kinds;
mod octets;
mod peripheral;
mod racp;
mod radio;
mod seat;
mod trouble;
mod ward;
mod wire;

use std::fmt::Write as _;

use serde::Serialize;

pub use account::Row;
pub use ward::live;

/// How the ward is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Simulated.
    pub minutes: u32,
    /// From which everything random is drawn.
    pub seed: u64,
    /// Only devices that are read by these profiles; all when empty.
    pub only: Vec<String>,
    /// No faults.
    pub calm: bool,
    /// Spoil it on purpose.
    pub spoil: Option<Spoil>,
}

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// An observation is lost.
    Lose,
    /// An observation is given twice.
    Double,
    /// An observation comes under another device's name.
    Mix,
}

/// What became of the ward.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// By device.
    pub devices: Vec<Row>,
    /// Profiles that this gateway does not have: their devices are not there.
    pub left_out: Vec<&'static str>,
    /// Simulated.
    pub minutes: u32,
    /// Observations that the gate refused for who the device is.
    pub refused: u64,
    /// What was wrong, the first of it.
    pub wrong: Vec<String>,
    /// How much was wrong.
    pub wrongs: u64,
}

/// The most wrong things that are told one by one.
const TOLD: usize = 20;

impl Outcome {
    /// Whether nothing was wrong.
    pub const fn is_well(&self) -> bool {
        self.wrongs == 0
    }

    fn tell(&mut self, wrong: String) {
        self.wrongs += 1;
        if self.wrong.len() < TOLD {
            self.wrong.push(wrong);
        }
    }

    /// For a person.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        writeln!(
            out,
            "  {:<31}{:<23}{:>8}{:>9}{:>8}{:>7}{:>9}{:>9}{:>7}{:>8}",
            "device", "profile", "due", "on air", "heard", "twice", "missing", "refused", "links", "faults"
        )?;
        for row in &self.devices {
            let Row { name, profile, due, arrived, heard, duplicates, missing, refused, connections, faults } =
                row;
            writeln!(
                out,
                "  {name:<31}{profile:<23}{due:>8}{arrived:>9}{heard:>8}{duplicates:>7}{missing:>9}{refused:>9}{connections:>7}{faults:>8}"
            )?;
        }
        writeln!(out)?;
        writeln!(
            out,
            "  due: values that had to be heard; twice: the same again, which a consumer takes out"
        )?;
        writeln!(
            out,
            "  {:.1} simulated hours; {} readings of devices that had not said who they are, or were others, refused",
            f64::from(self.minutes) / 60.0,
            self.refused
        )?;
        if !self.left_out.is_empty() {
            writeln!(out, "  left out, as this gateway has no such profile: {}", self.left_out.join(", "))?;
        }
        for wrong in &self.wrong {
            writeln!(out, "  WRONG {wrong}")?;
        }
        let verdict =
            if self.is_well() { "nothing was lost, nothing came twice" } else { "PROMISES WERE BROKEN" };
        writeln!(out, "\n{verdict}")?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
