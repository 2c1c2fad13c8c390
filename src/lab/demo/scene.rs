//! What happens at the bedside, minute by minute of the recording: pure.

use crate::lab::numerics::Minute;
use crate::lab::sim::{alaris, masimo};

/// The devices of the demo. Their names are their ids in configuration and topics.
pub(super) const PUMPS: [(&str, &str); 2] = [("pump-bed-7a", "8002-51733"), ("pump-bed-7b", "8002-51740")];
/// The oximeter on a serial line.
pub(super) const OXIMETER: (&str, &str) = ("spo2-bed-7", "0000056661");
/// The heart-rate belt.
pub(super) const BELT: (&str, &str, &str) = ("belt-bed-8", "F1:00:00:00:00:01", "HRM-0001");
/// The BLE oximeter.
pub(super) const CLIP: (&str, &str, &str) = ("oximeter-bed-8", "F2:00:00:00:00:02", "OXI-0002");
/// A pump on a port where the allowlist expects another one.
pub(super) const SWAPPED: (&str, &str, &str) = ("pump-bed-9", "8002-50001", "8002-50002");
/// A BLE device that nobody listed.
pub(super) const STRANGER: (&str, &str) = ("F3:00:00:00:00:03", "HRM-9999");

/// What the monitor shows in a minute: a low saturation rings.
pub(super) fn oximeter(minute: &Minute) -> masimo::Values {
    let spo2 = minute.spo2.map(whole);
    let low = spo2.is_some_and(|value| value < 90);
    masimo::Values {
        spo2,
        bpm: minute.pulse.or(minute.heart_rate).map(whole),
        pi: Some(120 + u16::try_from(minute.minute % 200).unwrap_or_default()),
        // Bit 1: SpO2 below its limit; bit 4: an alarm is active.
        alarm: if low { 0x0012 } else { 0 },
        // Bit 0: no sensor; bit 11: a SET monitor, always set.
        exceptions: if spo2.is_some() { 0x0800 } else { 0x0801 },
    }
}

/// What a pump shows in a minute: it runs at a steady rate, and occludes while `occluded`.
pub(super) fn pump(minute: &Minute, place: usize, occluded: bool) -> alaris::Values {
    let hundredths = 350 + 125 * u32::try_from(place).unwrap_or_default();
    // mL after so many minutes at mL/h, in thousandths.
    let infused = u64::from(hundredths) * u64::from(minute.minute) * 10 / 60;
    alaris::Values {
        mode: if occluded { "HLD" } else { "INF" }.to_owned(),
        rate: if occluded {
            "0.00".to_owned()
        } else {
            format!("{}.{:02}", hundredths / 100, hundredths % 100)
        },
        drug: "NORADRENALINE".to_owned(),
        volume: format!("{}.{:03}", infused / 1_000, infused % 1_000),
        vtbi: Some("250.000".to_owned()),
        pressure: if occluded { "530.15" } else { "53.15" }.to_owned(),
        time_left: "02:50:00".to_owned(),
        alarm: if occluded { "AL_OCCLU" } else { "AL_NOALM" }.to_owned(),
    }
}

/// Heart Rate Measurement (2A37): flags, then the rate in one octet.
pub(super) fn belt(minute: &Minute) -> Option<(u8, Vec<u8>)> {
    let rate = u8::try_from(whole(minute.heart_rate?)).ok()?;
    Some((rate, vec![0x00, rate]))
}

/// PLX Continuous Measurement (2A5F): flags, SpO2 and pulse rate as SFLOAT; NaN while the sensor
/// has nothing.
pub(super) fn clip(minute: &Minute) -> (Option<u16>, Option<u16>, Vec<u8>) {
    let (spo2, pulse) = (minute.spo2.map(whole), minute.pulse.or(minute.heart_rate).map(whole));
    let sfloat = |value: Option<u16>| value.unwrap_or(0x07FF).to_le_bytes();
    let [a, b] = sfloat(spo2);
    let [c, d] = sfloat(pulse);
    (spo2, pulse, vec![0x00, a, b, c, d])
}

/// The nearest whole number; vital signs are small and positive.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded to 0..=999 first")]
fn whole(value: f32) -> u16 {
    value.round().clamp(0.0, 999.0) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Minute =
        Minute { minute: 60, heart_rate: Some(62.4), pulse: None, spo2: Some(88.0), mean_pressure: None };

    #[test]
    fn a_minute_is_shown_as_the_devices_would() {
        let monitor = oximeter(&MINUTE);
        assert_eq!((monitor.spo2, monitor.bpm, monitor.alarm), (Some(88), Some(62), 0x12));
        assert_eq!(pump(&MINUTE, 0, false).volume, "3.500");
        assert_eq!(pump(&MINUTE, 0, true).alarm, "AL_OCCLU");
        assert_eq!(belt(&MINUTE), Some((62, vec![0, 62])));
        assert_eq!(clip(&MINUTE), (Some(88), Some(62), vec![0, 88, 0, 62, 0]));
    }

    #[test]
    fn a_sensor_that_is_off_shows_no_number() {
        let off = Minute { spo2: None, heart_rate: None, ..MINUTE };
        assert_eq!(oximeter(&off).exceptions & 1, 1);
        assert_eq!(belt(&off), None);
        assert_eq!(clip(&off).2, [0, 0xFF, 0x07, 0xFF, 0x07]);
    }
}
