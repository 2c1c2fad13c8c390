//! The recorded numerics of an intensive-care monitor (`data/`), row by row.

use std::str::FromStr;

/// The recording, compiled in: the demo needs no file beside the program.
const RECORDING: &str = include_str!("../../data/icu-numerics-s00001.csv");

/// One minute of the recording. `None` where the monitor had no value or a zero, its way to say
/// that a probe is off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minute {
    /// Minute of the recording, from 0.
    pub minute: u32,
    /// Heart rate in beats per minute.
    pub heart_rate: Option<f32>,
    /// Pulse rate of the oximeter, per minute.
    pub pulse: Option<f32>,
    /// Oxygen saturation in percent.
    pub spo2: Option<f32>,
    /// Mean arterial pressure in mmHg.
    pub mean_pressure: Option<f32>,
}

/// All minutes of the recording, in order.
pub fn minutes() -> Vec<Minute> {
    RECORDING.lines().skip(1).filter_map(minute).collect()
}

fn minute(line: &str) -> Option<Minute> {
    let fields: Vec<&str> = line.split(',').collect();
    let value = |at: usize| fields.get(at).and_then(|text| f32::from_str(text).ok()).filter(|v| *v > 0.0);
    Some(Minute {
        minute: fields.first()?.parse().ok()?,
        heart_rate: value(1),
        mean_pressure: value(4),
        pulse: value(5),
        spo2: value(7),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_recording_is_read() {
        let minutes = minutes();
        assert_eq!(minutes.len(), 1_936);
        assert_eq!(minutes.first().map(|m| (m.heart_rate, m.spo2)), Some((None, None)));
        assert_eq!(minutes.get(1).and_then(|m| m.heart_rate), Some(62.8));
        let with_saturation = minutes.iter().filter(|m| m.spo2.is_some()).count();
        assert!(with_saturation > 1_000, "{with_saturation}");
    }
}
