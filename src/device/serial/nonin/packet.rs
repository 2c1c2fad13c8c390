//! The packets of Nonin's data formats 2 and 7: 25 frames of five bytes, three packets a second.
//!
//! In: bytes. Out: a [`Packet`], when all 25 frames of it are right. A frame of format 2 is 01, status,
//! pleth, parameter, checksum; one of format 7 is status, pleth (two bytes), parameter, checksum. The
//! checksum is the sum of the first four bytes, modulo 256. Bit 7 of the status is always set, bit 0 in
//! the first frame of a packet alone; which parameter a frame carries follows from its place. The two
//! formats differ in the first byte's bit 7, so the stream itself says which it is.
//!
//! What never happens: a packet of which one frame is wrong is read. Its halves could be of two packets,
//! and the two bytes of a rate of two rates.

use crate::device::framing::Measure;

/// The length of a frame.
const FRAME: usize = 5;

/// The frames of a packet.
const FRAMES: usize = 25;

/// The length of a packet.
pub(super) const PACKET: usize = FRAME * FRAMES;

/// What the packet at the front of the bytes is.
pub(super) fn measure(bytes: &[u8]) -> Measure {
    if bytes.is_empty() {
        return Measure::More;
    }
    let is_right = bytes.chunks(FRAME).take(FRAMES).enumerate().all(|(at, frame)| is_frame(at, frame, bytes));
    match (is_right, bytes.len() >= PACKET) {
        (false, _) => Measure::Nothing,
        (true, false) => Measure::More,
        (true, true) => Measure::Frame(PACKET),
    }
}

/// Whether a frame, or its beginning, is right at its place.
fn is_frame(at: usize, frame: &[u8], packet: &[u8]) -> bool {
    let is_format_2 = packet.first() == Some(&0x01);
    let status = if is_format_2 { frame.get(1) } else { frame.first() };
    let begins = !is_format_2 || frame.first() == Some(&0x01);
    let has_status = status.is_none_or(|status| status & 0x80 != 0 && (status & 0x01 != 0) == (at == 0));
    let has_checksum = match frame {
        [a, b, c, d, sum] => [b, c, d].into_iter().fold(*a, |sum, byte| sum.wrapping_add(*byte)) == *sum,
        _ => true,
    };
    begins && has_status && has_checksum
}

/// The bits of the status.
pub(super) mod status {
    /// The sensor is not connected.
    pub(crate) const DISCONNECT: u8 = 0x40;
    /// A pulse that is no pulse.
    pub(crate) const ARTIFACT: u8 = 0x20;
    /// No good pulses one after the other.
    pub(crate) const OUT_OF_TRACK: u8 = 0x10;
    /// What the sensor gives cannot be used.
    pub(crate) const SENSOR_ALARM: u8 = 0x08;
    /// During a pulse: a weak one; with [`GREEN`], a middling one.
    pub(crate) const RED: u8 = 0x04;
    /// During a pulse: a good one.
    pub(crate) const GREEN: u8 = 0x02;
}

/// How strong the weakest pulse of a packet was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pulse {
    /// Good.
    Green,
    /// Middling.
    Yellow,
    /// Weak or none.
    Red,
}

impl Pulse {
    /// In the maker's word.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
        }
    }
}

/// A whole packet. Only what is for recording: what is for a display is held for 10 s after the finger is
/// gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Every bit that any of the frames has.
    pub(super) status: u8,
    /// The weakest pulse, if there was one.
    pub(super) pulse: Option<Pulse>,
    /// Pulse rate, average of 4 beats; none: missing.
    pub(super) rate: Option<u16>,
    /// Pulse rate, average of 8 beats.
    pub(super) rate_extended: Option<u16>,
    /// SpO2, average of 4 beats.
    pub(super) spo2: Option<u8>,
    /// SpO2, average of 4 beats, quick to respond.
    pub(super) spo2_fast: Option<u8>,
    /// SpO2 of the last beat.
    pub(super) spo2_beat: Option<u8>,
    /// SpO2, average of 8 beats.
    pub(super) spo2_extended: Option<u8>,
    /// The revision of the firmware.
    pub(super) revision: u8,
    /// Whether the battery is low.
    pub(super) is_battery_low: bool,
}

impl Packet {
    /// Reads what [`measure`] found to be a packet.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let status_at = usize::from(bytes.first() == Some(&0x01));
        let parameter = |at: usize| bytes.get(at * FRAME + 3).copied();
        let states = || bytes.chunks(FRAME).filter_map(|frame| frame.get(status_at).copied());
        let pulse = |status: u8| match (status & status::RED != 0, status & status::GREEN != 0) {
            (true, true) => Some(Pulse::Yellow),
            (true, false) => Some(Pulse::Red),
            (false, true) => Some(Pulse::Green),
            (false, false) => None,
        };
        // Bits 8 and 7 stand in the lowest two of the first byte.
        let rate = |at| {
            let rate = u16::from(parameter(at)? & 0x03) << 7 | u16::from(parameter(at + 1)? & 0x7F);
            (rate != 511).then_some(rate)
        };
        let saturation = |at| parameter(at).map(|value| value & 0x7F).filter(|value| *value <= 100);
        Some(Self {
            status: states().fold(0, |all, status| all | status),
            pulse: states().filter_map(pulse).max(),
            rate: rate(0),
            rate_extended: rate(13),
            spo2: saturation(2),
            spo2_fast: saturation(9),
            spo2_beat: saturation(10),
            spo2_extended: saturation(15),
            revision: parameter(3)?,
            is_battery_low: parameter(7)? & 0x01 != 0,
        })
    }

    /// Whether one of these bits is set.
    pub(super) const fn has(&self, bits: u8) -> bool {
        self.status & bits != 0
    }
}
