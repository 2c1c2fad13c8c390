//! The devices that there are: what each measures, and how it says so. Written from the GATT Specification
//! Supplement and the services' own texts, never from the decoders.

use super::octets::{Stamp, decimal, float, protected, sfloat};
use crate::lab::disk::Draw;

/// How a device gives what it measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// It is there for seconds after a measurement, and indicates it; confirmed, it is forgotten.
    Shown,
    /// It sends without end, and keeps nothing.
    Streamed,
    /// It keeps records and gives them by its Record Access Control Point.
    Kept {
        /// By what they are counted.
        count: Count,
        /// Whether a new one is also sent by itself, and the device always there.
        is_live: bool,
    },
}

/// By what the records of a device are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// By nothing: it gives all, by indication, and forgets what was confirmed (PLXS 1.0.1).
    Nothing,
    /// By a sequence number of two octets.
    Sequence,
    /// By the minutes of its session.
    Minutes,
    /// By a record number of four octets; records are sent in segments.
    Record,
}

/// What a device knows while it measures or is read.
pub(super) struct Facts<'a> {
    pub(super) draw: &'a mut Draw,
    /// Its clock.
    pub(super) stamp: Stamp,
    /// The same in seconds after 1970; where it was lost, since it was switched on, more or less.
    pub(super) seconds: u64,
    /// The number of the next record.
    pub(super) number: u32,
    /// When its session began.
    pub(super) start: Stamp,
    /// What another device adds to its values, so that they cannot be taken for the right one's.
    pub(super) apart: i16,
}

/// One value of a characteristic, and what a person would read out of it: code of the nomenclature, number.
pub(super) struct Part {
    pub(super) of: u16,
    pub(super) octets: Vec<u8>,
    pub(super) says: Vec<(u32, String)>,
    /// By when, as it can be told from the value.
    pub(super) time: String,
}

/// One kind of device.
pub(super) struct Kind {
    /// For a person.
    pub(super) name: &'static str,
    /// The profile that reads it.
    pub(super) profile: &'static str,
    pub(super) service: u16,
    pub(super) manner: Manner,
    /// Seconds from one measurement to the next: at least, at most.
    pub(super) every: [u64; 2],
    /// Whether its records may be deleted when they are durable.
    pub(super) is_emptied: bool,
    /// How many stand in the ward.
    pub(super) pieces: usize,
    /// What it subscribes a gateway to.
    pub(super) sends: &'static [u16],
    pub(super) read: fn(u16, &mut Facts<'_>) -> Option<Vec<u8>>,
    pub(super) measure: fn(&mut Facts<'_>) -> Vec<Part>,
}

// IEEE 11073-10101 codes, as the HL7 PHD guide and open implementations have them.
const HEART_RATE: u32 = 147_842;
const SPO2: u32 = 150_456;
const PULSE: u32 = 149_530;
const TEMPERATURE: u32 = 150_364;
const SYSTOLIC: u32 = 150_021;
const DIASTOLIC: u32 = 150_022;
const MEAN: u32 = 150_023;
const PULSE_OF_CUFF: u32 = 149_546;
const WEIGHT: u32 = 188_736;
const FAT: u32 = 188_748;
const GLUCOSE_CAPILLARY: u32 = 160_184;
const GLUCOSE_INTERSTITIAL: u32 = 160_212;
const CARBOHYDRATE: u32 = 8_417_764;
const ROOM_TEMPERATURE: u32 = 188_508;
const HUMIDITY: u32 = 184_292;
/// `MDC_ATTR_TIME_ABS`: what Current Time gives.
pub(super) const CLOCK: u32 = 67_975;
/// What Battery Level gives.
pub(super) const BATTERY: u32 = 67_996;

/// Live Health Observations, and the control point by which they are begun.
pub(super) const LIVE: u16 = 0x2B8B;
pub(super) const SENSOR_CONTROL: u16 = 0x2BF4;
/// Seconds from 1970 to 2000.
const EPOCH_2000: u64 = 946_684_800;
/// Percent, by its term in partition 4.
const PERCENT: u16 = 544;

/// Where the glucose meter's number begins: near the end of what two octets can say.
pub(super) const FIRST_NUMBER: u32 = 65_528;

const USUAL: Kind = Kind {
    name: "",
    profile: "",
    service: 0,
    manner: Manner::Shown,
    every: [240, 900],
    is_emptied: false,
    pieces: 2,
    sends: &[],
    read: |_, _| None,
    measure: |_| Vec::new(),
};

/// Every kind.
pub(super) static KINDS: [Kind; 12] = [
    Kind {
        name: "heart rate belt",
        profile: "heart-rate",
        service: 0x180D,
        manner: Manner::Streamed,
        every: [1, 1],
        sends: &[0x2A37],
        measure: heart_rate,
        ..USUAL
    },
    Kind {
        name: "oximeter, worn",
        profile: "pulse-oximeter",
        service: 0x1822,
        manner: Manner::Streamed,
        every: [1, 1],
        sends: &[0x2A5F],
        read: |of, _| (of == 0x2A60).then(|| vec![0, 0]),
        measure: |facts| vec![oximeter(facts, false)],
        ..USUAL
    },
    Kind {
        name: "oximeter, spot checks",
        profile: "pulse-oximeter",
        service: 0x1822,
        manner: Manner::Kept { count: Count::Nothing, is_live: false },
        sends: &[0x2A5E],
        // Storage and time stamps.
        read: |of, _| (of == 0x2A60).then(|| vec![0x0C, 0]),
        measure: |facts| vec![oximeter(facts, true)],
        ..USUAL
    },
    Kind {
        name: "glucose meter",
        profile: "glucose",
        service: 0x1808,
        manner: Manner::Kept { count: Count::Sequence, is_live: false },
        sends: &[0x2A18, 0x2A34],
        measure: glucose,
        ..USUAL
    },
    Kind {
        name: "glucose meter, emptied",
        profile: "glucose",
        service: 0x1808,
        manner: Manner::Kept { count: Count::Sequence, is_live: false },
        is_emptied: true,
        pieces: 1,
        sends: &[0x2A18, 0x2A34],
        measure: glucose,
        ..USUAL
    },
    Kind {
        name: "glucose sensor",
        profile: "continuous-glucose",
        service: 0x181F,
        manner: Manner::Kept { count: Count::Minutes, is_live: true },
        every: [300, 300],
        sends: &[0x2AA7],
        read: read_glucose_sensor,
        measure: glucose_sensor,
        ..USUAL
    },
    Kind {
        name: "health sensor",
        profile: "generic-health-sensor",
        service: 0x1840,
        manner: Manner::Kept { count: Count::Record, is_live: true },
        every: [60, 300],
        pieces: 1,
        sends: &[LIVE, 0x2BDD, SENSOR_CONTROL],
        read: |of, _| (of == 0x2BF3).then(|| [&[0, 1][..], &SPO2.to_le_bytes()].concat()),
        measure: health_sensor,
        ..USUAL
    },
    Kind {
        name: "thermometer",
        profile: "health-thermometer",
        service: 0x1809,
        sends: &[0x2A1C],
        measure: thermometer,
        ..USUAL
    },
    Kind {
        name: "cuff",
        profile: "blood-pressure",
        service: 0x1810,
        sends: &[0x2A35],
        read: |of, _| (of == 0x2A49).then(|| vec![0, 0]),
        measure: cuff,
        ..USUAL
    },
    Kind {
        name: "scale",
        profile: "weight-scale",
        service: 0x181D,
        sends: &[0x2A9D],
        measure: scale,
        ..USUAL
    },
    Kind {
        name: "body composition scale",
        profile: "body-composition",
        service: 0x181B,
        sends: &[0x2A9C],
        measure: composition,
        ..USUAL
    },
    Kind {
        name: "air of a room",
        profile: "environmental-sensing",
        service: 0x181A,
        manner: Manner::Streamed,
        every: [10, 10],
        pieces: 1,
        sends: &[0x2A6E, 0x2A6F],
        measure: air,
        ..USUAL
    },
];

/// A number of a range of a hundred or less.
fn between(facts: &mut Facts<'_>, least: i16, range: u64) -> i16 {
    let drawn = facts.draw.below(range);
    least + facts.apart + i16::try_from(drawn).unwrap_or_default()
}

fn part(of: u16, octets: Vec<u8>, says: &[(u32, String)]) -> Part {
    Part { of, octets, says: says.to_vec(), time: String::new() }
}

fn timed(part: Part, facts: &Facts<'_>) -> Part {
    Part { time: facts.stamp.text.clone(), ..part }
}

fn heart_rate(facts: &mut Facts<'_>) -> Vec<Part> {
    let rate = between(facts, 50, 40);
    vec![part(0x2A37, vec![0, rate.to_le_bytes()[0]], &[(HEART_RATE, rate.to_string())])]
}

/// PLX Continuous (flags: nothing besides) or Spot-check (flags: a time stamp).
fn oximeter(facts: &mut Facts<'_>, is_spot: bool) -> Part {
    let (saturation, pulse) = (between(facts, 60, 30), between(facts, 50, 60));
    let mut octets = vec![u8::from(is_spot)];
    octets.extend(sfloat(saturation, 0));
    octets.extend(sfloat(pulse, 0));
    let says = [(SPO2, saturation.to_string()), (PULSE, pulse.to_string())];
    if !is_spot {
        return part(0x2A5F, octets, &says);
    }
    octets.extend(facts.stamp.octets);
    timed(part(0x2A5E, octets, &says), facts)
}

/// A capillary sample from a finger in kg/L, every second one with what was eaten, in a context of its own.
fn glucose(facts: &mut Facts<'_>) -> Vec<Part> {
    let (result, carbohydrate) = (between(facts, 60, 300), between(facts, 10, 80));
    let [low, high, ..] = facts.number.to_le_bytes();
    let has_context = facts.number.is_multiple_of(2);
    let mut octets = vec![0x03 | u8::from(has_context) << 4, low, high];
    octets.extend(facts.stamp.octets);
    octets.extend(30i16.to_le_bytes());
    octets.extend(sfloat(result, -5));
    octets.push(0x11);
    let says = [(GLUCOSE_CAPILLARY, result.to_string())];
    let mut made = vec![timed(part(0x2A18, octets, &says), facts)];
    if has_context {
        let mut octets = vec![0x01, low, high, 1];
        octets.extend(sfloat(carbohydrate, -3));
        made.push(timed(part(0x2A34, octets, &[(CARBOHYDRATE, carbohydrate.to_string())]), facts));
    }
    for part in &mut made {
        // The meter shows its user the base time and the offset.
        if !part.time.is_empty() {
            part.time += "+30";
        }
    }
    made
}

/// Interstitial fluid under the skin, with the checksum.
fn read_glucose_sensor(of: u16, facts: &mut Facts<'_>) -> Option<Vec<u8>> {
    let minute = u16::try_from(facts.number).unwrap_or(u16::MAX);
    let value = match of {
        0x2AA8 => vec![0x00, 0x10, 0x00, 0x59],
        0x2AA9 => [&minute.to_le_bytes()[..], &[0; 3]].concat(),
        0x2AAA => [&facts.start.octets[..], &[4, 0]].concat(),
        0x2AAB => vec![240, 0],
        _ => return None,
    };
    Some(protected(value))
}

fn glucose_sensor(facts: &mut Facts<'_>) -> Vec<Part> {
    let result = between(facts, 60, 300);
    let mut octets = vec![8, 0];
    octets.extend(sfloat(result, 0));
    octets.extend(facts.number.to_le_bytes().iter().take(2));
    vec![timed(part(0x2AA7, protected(octets), &[(GLUCOSE_INTERSTITIAL, result.to_string())]), facts)]
}

/// A stored numeric observation with its type and its time, of a local clock of whole seconds, or of a counter where
/// the clock was lost. As ST's example sensor has it: the length counts what is behind it.
fn health_sensor(facts: &mut Facts<'_>) -> Vec<Part> {
    let saturation = between(facts, 60, 40);
    let is_lost = facts.stamp.text.is_empty();
    let count = if is_lost { facts.seconds } else { facts.seconds.saturating_sub(EPOCH_2000) };
    let mut body = 0x0003u16.to_le_bytes().to_vec();
    body.extend(SPO2.to_le_bytes());
    body.push(0x20 | u8::from(is_lost));
    body.extend(count.to_le_bytes().iter().take(6));
    body.extend([1, 0]);
    body.extend(PERCENT.to_le_bytes());
    body.extend(float(saturation.into(), 0));
    let mut octets = facts.number.to_le_bytes().to_vec();
    octets.push(0x01);
    octets.extend(body.len().to_le_bytes().iter().take(2));
    octets.extend(body);
    vec![timed(part(0x2BDD, octets, &[(SPO2, saturation.to_string())]), facts)]
}

fn thermometer(facts: &mut Facts<'_>) -> Vec<Part> {
    let tenths = between(facts, 350, 60);
    let mut octets = vec![0x02];
    octets.extend(float(tenths.into(), -1));
    octets.extend(facts.stamp.octets);
    vec![timed(part(0x2A1C, octets, &[(TEMPERATURE, decimal(tenths.into(), 1))]), facts)]
}

fn cuff(facts: &mut Facts<'_>) -> Vec<Part> {
    let (systolic, diastolic) = (between(facts, 110, 60), between(facts, 50, 40));
    let (mean, pulse) = (between(facts, 92, 15), between(facts, 50, 60));
    let mut octets = vec![0x06];
    for pressure in [systolic, diastolic, mean] {
        octets.extend(sfloat(pressure, 0));
    }
    octets.extend(facts.stamp.octets);
    octets.extend(sfloat(pulse, 0));
    let says = [(SYSTOLIC, systolic), (DIASTOLIC, diastolic), (MEAN, mean), (PULSE_OF_CUFF, pulse)];
    let says = says.map(|(code, value)| (code, value.to_string()));
    vec![timed(part(0x2A35, octets, &says), facts)]
}

fn scale(facts: &mut Facts<'_>) -> Vec<Part> {
    let steps = between(facts, 8_000, 8_000);
    let mut octets = vec![0x02];
    octets.extend(steps.to_le_bytes());
    octets.extend(facts.stamp.octets);
    vec![timed(part(0x2A9D, octets, &[(WEIGHT, decimal(i64::from(steps) * 5, 3))]), facts)]
}

fn composition(facts: &mut Facts<'_>) -> Vec<Part> {
    let (fat, steps) = (between(facts, 100, 300), between(facts, 8_000, 8_000));
    let mut octets = 0x0402u16.to_le_bytes().to_vec();
    octets.extend(fat.to_le_bytes());
    octets.extend(facts.stamp.octets);
    octets.extend(steps.to_le_bytes());
    let says = [(FAT, decimal(fat.into(), 1)), (WEIGHT, decimal(i64::from(steps) * 5, 3))];
    vec![timed(part(0x2A9C, octets, &says), facts)]
}

fn air(facts: &mut Facts<'_>) -> Vec<Part> {
    let (temperature, humidity) = (between(facts, 1_800, 90), between(facts, 3_000, 90));
    let said = |code, steps: i16| (code, decimal(steps.into(), 2));
    vec![
        part(0x2A6E, temperature.to_le_bytes().to_vec(), &[said(ROOM_TEMPERATURE, temperature)]),
        part(0x2A6F, humidity.to_le_bytes().to_vec(), &[said(HUMIDITY, humidity)]),
    ]
}
