//! What the simulated ventilator's numbers are worth, its curves and its checksums.

use std::time::Duration;

/// Samples of each curve in a second.
pub(super) const SAMPLES: u32 = 100;

/// A channel's gain in thousandths up to version 004 and from 005 on, its unit and its type.
pub(super) struct Worth {
    pub(super) old: i64,
    pub(super) new: i64,
    pub(super) unit: u8,
    pub(super) kind: &'static str,
}

/// The worth of a channel; `None` for one that this ventilator does not have.
pub(super) fn worth(channel: u16) -> Option<Worth> {
    let of = |old, new, unit, kind| Some(Worth { old, new, unit, kind });
    match channel {
        200 | 247 | 300 => of(100, 100, 6, "BT"),
        201 | 202 | 334 => of(1_000, 1_000, 1, "BT"),
        203 | 204 | 248 | 305 => of(100, 10, 8, "BT"),
        205..=208 | 245 | 254 | 306..=308 => of(100, 100, 4, "BT"),
        209 | 225 | 323 | 242 => of(100, 100, 7, "BT"),
        210 | 260 => of(100, 1_000, 10, "BT"),
        231 | 236 => of(100, 100, 9, "BT"),
        232 | 241 => of(100, 100, 5, "BT"),
        238 | 333 => of(10, 10, 20, "BT"),
        309 | 310 | 322 => of(1_000, 1_000, 20, "SE"),
        353..=358 | 364 | 365 => of(100, 100, 20, "SE"),
        100 => of(1_000, 1_000, 2, "CU"),
        101 => of(100, 100, 4, "CU"),
        _ => None,
    }
}

/// A breath of curves: a third each of inspiration, pause and expiration. The first sample of a curve
/// and each too great step is a value, the others are differences.
pub(super) fn curves(breath: Duration, count: usize) -> Vec<u8> {
    let samples = u32::try_from(breath.as_millis()).unwrap_or(0) * SAMPLES / 1_000;
    let mut bytes = Vec::new();
    let mut before: Vec<Option<u16>> = vec![None; count];
    for at in 0..samples {
        let phase = [0x10, 0x20, 0x30].into_iter().zip(0..).find(|(_, part)| at == part * samples / 3);
        if let Some((phase, _)) = phase {
            bytes.extend([0x81, phase]);
        }
        for (curve, before) in before.iter_mut().enumerate() {
            let part = at * 3 / samples.max(1);
            let base: u16 = match part {
                0 => 4_500,
                1 => 4_000,
                _ => 3_400,
            };
            let scale = if curve == 0 { 1 } else { 20 };
            let sample = base / scale + u16::try_from(at % 5).unwrap_or(0);
            let step = before.map(|before| i32::from(sample) - i32::from(before));
            let step = step.and_then(|step| i8::try_from(step).ok());
            if let Some(step) = step.filter(|step| (-126..=126).contains(step)) {
                bytes.extend(step.to_be_bytes());
            } else {
                bytes.push(0x80);
                bytes.extend(sample.to_be_bytes());
            }
            *before = Some(sample);
        }
    }
    bytes
}

/// A block with its end flag and the byte that makes the parity of all even.
pub(super) fn closed(mut block: Vec<u8>) -> Vec<u8> {
    block.push(0x7F);
    let sum = parity(&block);
    block.push(sum);
    block
}

/// The parity of each bit over all bytes, counted bit by bit.
pub(super) fn parity(bytes: &[u8]) -> u8 {
    let is_odd = |bit: u8| bytes.iter().filter(|byte| *byte >> bit & 1 == 1).count() % 2 == 1;
    (0..8).filter(|&bit| is_odd(bit)).map(|bit| 1u8 << bit).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_published_messages() {
        for (text, sum) in
            [("RCTY", 0x1C), ("RSEN", 0x0A), ("SSMP020", 0x2F), ("RADC", 0x14), ("*", 0x2A), ("ER20", 0x15)]
        {
            assert_eq!(parity(text.as_bytes()), sum, "{text}");
        }
        // A breath of a recorded stream.
        let breath = vec![b'B', 0x00, 0xA7, 0x00, 0xD0, 0x03, 0xE8];
        assert_eq!(closed(breath).last(), Some(&0xA1));
    }
}
