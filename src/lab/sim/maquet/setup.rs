//! How the simulated ventilator is set up and what it shows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::super::{Minute, Plays, Shown};

/// How the simulated ventilator is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// The serial number.
    pub serial: String,
    /// The software.
    pub software: String,
    /// Bits per second.
    pub baud: u32,
    /// How long it thinks before it answers.
    pub think: Duration,
    /// The highest protocol version that it knows.
    pub highest: u8,
    /// Whether its clock has a year of four digits.
    pub has_long_year: bool,
    /// How long a breath takes in a stream.
    pub breath: Duration,
    /// Whether an earlier host has left it in EXTENDED mode, streaming.
    pub is_left_streaming: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            link: None,
            serial: "30114".to_owned(),
            software: "V8.00.01".to_owned(),
            baud: 9_600,
            think: Duration::from_millis(20),
            highest: 5,
            has_long_year: false,
            breath: Duration::from_secs(3),
            is_left_streaming: false,
        }
    }
}

/// What the ventilator shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// Measurements and settings by channel, in thousandths of their unit; the others have no value.
    pub channels: BTreeMap<u16, i64>,
    /// Alarm channels that are not 0: 1 on, 2 on and silenced.
    pub alarms: BTreeMap<u16, u8>,
    /// Whether it is in standby.
    pub is_standby: bool,
    /// Whether its buffer is full when it is to stream.
    pub is_buffer_full: bool,
}

impl Default for Values {
    fn default() -> Self {
        let channels = [
            (200, 16_700),
            (201, 480_000),
            (202, 475_000),
            (203, 8_000),
            (204, 8_100),
            (205, 20_800),
            (206, 9_500),
            (208, 5_000),
            (209, 40_000),
            (225, 5_100),
            (260, 39_000),
            (300, 15_000),
            (306, 15_000),
            (308, 5_000),
            (310, 2_000),
            (323, 40_000),
        ];
        Self {
            channels: BTreeMap::from(channels),
            alarms: BTreeMap::new(),
            is_standby: false,
            is_buffer_full: false,
        }
    }
}

impl Plays for Values {
    /// The recording has no ventilator in it: this one breathes on, a little different each minute.
    fn play(&mut self, minute: &Minute) {
        let wander = i64::from(minute.minute % 7);
        self.channels.insert(201, 480_000 + 1_000 * wander);
        self.channels.insert(205, 20_800 + 100 * wander);
    }

    fn shown(&self) -> Vec<Shown> {
        let volume = self.channels.get(&201).copied().unwrap_or_default();
        vec![Shown::new("MDC_VOL_AWAY_TIDAL", (volume / 1_000).to_string())]
    }
}
