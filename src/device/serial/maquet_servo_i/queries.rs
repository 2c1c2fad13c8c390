//! Everything that this gateway ever writes to a Servo ventilator.
//!
//! Reads, and what changes the serial interface alone: its mode (`RCTY`), its protocol version
//! (`SPVE`), which channels it reads (`SDAD`). What would change the ventilator or stays over a power
//! cycle has no representation here: its clock (`STTX`), the sampling (`SSMP`), time-outs (`STOU`), the
//! older commands of BASIC mode. The patient's identification (`RPAI`) is never asked for.
//!
//! Three requests are filled in. Their arguments are not text but places in a fixed table or the numbers of
//! curves, so whatever is asked for, only channels can come out.

use super::alarms;
use super::channels::{BREATH, Channel, SETTINGS};
use super::wire::message;
use crate::link::{Argument, LinkCommand, Request, RequestId};

/// Everything that may ever be written to the ventilator.
pub(super) static REQUESTS: [Request; 23] = [
    Request::fixed("ESC", b"\x1B"),
    Request::fixed("EOT", b"\x04"),
    Request::fixed("RCTY", b"RCTY1C\x04"),
    Request::fixed("RSEN", b"RSEN0A\x04"),
    Request::fixed("RSWV", b"RSWV00\x04"),
    Request::fixed("RHVE", b"RHVE09\x04"),
    Request::fixed("RPVE", b"RPVE11\x04"),
    Request::fixed("SPVE001", b"SPVE00121\x04"),
    Request::fixed("SPVE002", b"SPVE00222\x04"),
    Request::fixed("SPVE003", b"SPVE00323\x04"),
    Request::fixed("SPVE004", b"SPVE00424\x04"),
    Request::fixed("SPVE005", b"SPVE00525\x04"),
    Request::fixed("RTIM", b"RTIM02\x04"),
    Request::fixed("RALO", b"RALO10\x04"),
    Request::fixed("RADAB", b"RADAB54\x04"),
    Request::fixed("RADAS", b"RADAS45\x04"),
    Request::fixed("RADAE", b"RADAE53\x04"),
    Request::fixed("RADC", b"RADC14\x04"),
    Request::filled("RCCO", b"RCCO2002F\x04", config),
    Request::filled("SDADB", b"SDADB20062\x04", |mask| define("SDADB", &numbers(&BREATH), mask)),
    Request::filled("SDADS", b"SDADS30072\x04", |mask| define("SDADS", &numbers(&SETTINGS), mask)),
    Request::filled("SDADE", b"SDADE40063\x04", |mask| define("SDADE", &alarm_numbers(), mask)),
    Request::filled("SDADC", b"SDADC10060\x04", define_curves),
];

/// The numbers that curves can have.
pub(super) const CURVES: std::ops::RangeInclusive<u8> = 100..=199;

/// The most curves at once (CIE manual, `SDADC`).
pub(super) const CURVES_MAX: usize = 4;

/// The newest protocol version that is known here.
pub(super) const VERSION_MAX: u8 = 5;

/// What is read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Breath,
    Setting,
    Alarm,
    Curve,
}

/// Something that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Whether the interface listens (EOT).
    Wake,
    Type,
    Serial,
    Software,
    Highest,
    SetVersion(u8),
    Version,
    Time,
    Overview,
    Config(u16),
    Define(Group),
    Read(Group),
    Stream,
    /// Something that this gateway does not ask, found in a capture.
    Other,
}

impl Asked {
    /// Its name, for a person.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Wake => "EOT",
            Self::Type => "RCTY",
            Self::Serial => "RSEN",
            Self::Software => "RSWV",
            Self::Highest => "RHVE",
            Self::SetVersion(_) => "SPVE",
            Self::Version => "RPVE",
            Self::Time => "RTIM",
            Self::Overview => "RALO",
            Self::Config(_) => "RCCO",
            Self::Define(Group::Breath) => "SDADB",
            Self::Define(Group::Setting) => "SDADS",
            Self::Define(Group::Alarm) => "SDADE",
            Self::Define(Group::Curve) => "SDADC",
            Self::Read(Group::Breath) => "RADAB",
            Self::Read(Group::Setting) => "RADAS",
            Self::Read(Group::Alarm) => "RADAE",
            Self::Read(Group::Curve) | Self::Stream => "RADC",
            Self::Other => "another command",
        }
    }

    /// Whether the conversation goes on without a right answer.
    pub(super) const fn is_optional(self) -> bool {
        matches!(
            self,
            Self::Highest
                | Self::SetVersion(_)
                | Self::Version
                | Self::Time
                | Self::Overview
                | Self::Config(_)
                | Self::Define(Group::Curve)
        )
    }

    /// The command that asks it, of these channels where it defines a table.
    pub(super) fn command(self, channels: &[u16]) -> Option<LinkCommand> {
        let fixed = |name: &str| place(name).map(LinkCommand::Send);
        let filled = |argument: &[u8]| Some(LinkCommand::Fill(place(self.name())?, Argument::new(argument)?));
        match self {
            Self::SetVersion(version) => fixed(&format!("SPVE{version:03}")),
            Self::Config(channel) => filled(&channel.to_be_bytes()),
            Self::Define(Group::Breath) => filled(&mask(&numbers(&BREATH), channels)),
            Self::Define(Group::Setting) => filled(&mask(&numbers(&SETTINGS), channels)),
            Self::Define(Group::Alarm) => filled(&mask(&alarm_numbers(), channels)),
            Self::Define(Group::Curve) => {
                let numbers: Option<Vec<u8>> =
                    channels.iter().map(|&number| u8::try_from(number).ok()).collect();
                filled(&numbers?)
            }
            Self::Wake
            | Self::Type
            | Self::Serial
            | Self::Software
            | Self::Highest
            | Self::Version
            | Self::Time
            | Self::Overview
            | Self::Read(_)
            | Self::Stream
            | Self::Other => fixed(self.name()),
        }
    }

    /// What a message asks, when it is a host's, and the channels that it names.
    pub(super) fn read(text: &str) -> Option<(Self, Vec<u16>)> {
        let (keyword, rest) = text.split_at_checked(4).unwrap_or((text, ""));
        let asked = match (keyword, rest) {
            ("RCTY", "") => Self::Type,
            ("RSEN", "") => Self::Serial,
            ("RSWV", "") => Self::Software,
            ("RHVE", "") => Self::Highest,
            ("RPVE", "") => Self::Version,
            ("RTIM", "") => Self::Time,
            ("RALO", "") => Self::Overview,
            ("RADC", "") => Self::Stream,
            ("RADA", "B") => Self::Read(Group::Breath),
            ("RADA", "S") => Self::Read(Group::Setting),
            ("RADA", "E") => Self::Read(Group::Alarm),
            ("SPVE", _) => Self::SetVersion(0),
            ("RCCO", _) => Self::Config(0),
            ("SDAD", _) => {
                let (letter, channels) = rest.split_at_checked(1)?;
                let group = match letter {
                    "B" => Group::Breath,
                    "S" => Group::Setting,
                    "E" => Group::Alarm,
                    "C" => Group::Curve,
                    _ => return Some((Self::Other, Vec::new())),
                };
                let (triples, _) = channels.as_bytes().as_chunks::<3>();
                let number = |digits: &[u8; 3]| std::str::from_utf8(digits).ok()?.parse().ok();
                return Some((Self::Define(group), triples.iter().map(number).collect::<Option<_>>()?));
            }
            ("HO" | "RSTI" | "SSMP" | "RPAI" | "RBAT" | "RDAD" | "RADA" | "STOU" | "STTX" | "SSTI", _) => {
                Self::Other
            }
            _ => return None,
        };
        Some((asked, Vec::new()))
    }
}

/// Which channels the interface reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) breath: Vec<u16>,
    pub(super) setting: Vec<u16>,
    pub(super) alarm: Vec<u16>,
    pub(super) curve: Vec<u16>,
}

impl Tables {
    /// Puts channels into the table of a group.
    pub(super) fn set(&mut self, group: Group, channels: Vec<u16>) {
        *self.of(group) = channels;
    }

    /// The table of a group.
    pub(super) fn of(&mut self, group: Group) -> &mut Vec<u16> {
        match group {
            Group::Breath => &mut self.breath,
            Group::Setting => &mut self.setting,
            Group::Alarm => &mut self.alarm,
            Group::Curve => &mut self.curve,
        }
    }
}

fn place(name: &str) -> Option<RequestId> {
    let place = REQUESTS.iter().position(|request| request.name == name)?;
    u8::try_from(place).ok().map(RequestId)
}

fn numbers(channels: &[Channel]) -> Vec<u16> {
    channels.iter().map(|channel| channel.number).collect()
}

/// The numbers of all alarm channels.
pub(super) fn alarm_numbers() -> Vec<u16> {
    alarms::TABLE.iter().map(|row| row.number).collect()
}

/// The places of some channels in their table, a bit each.
fn mask(table: &[u16], channels: &[u16]) -> [u8; 8] {
    let bits = table.iter().zip(0u32..).filter(|(number, _)| channels.contains(number));
    bits.fold(0u64, |mask, (_, place)| mask | 1u64.checked_shl(place).unwrap_or(0)).to_be_bytes()
}

fn define(keyword: &str, table: &[u16], argument: &[u8]) -> Option<Vec<u8>> {
    let mask = u64::from_be_bytes(argument.try_into().ok()?);
    let is_in = |place: u32| mask.checked_shr(place).unwrap_or(0) & 1 == 1;
    let length = u32::try_from(table.len()).ok()?;
    if mask == 0 || mask.checked_shr(length).unwrap_or(0) != 0 {
        return None;
    }
    let chosen = table.iter().zip(0u32..).filter(|(_, place)| is_in(*place));
    let channels: Vec<String> = chosen.map(|(number, _)| format!("{number:03}")).collect();
    Some(message(&format!("{keyword}{}", channels.concat())))
}

fn define_curves(argument: &[u8]) -> Option<Vec<u8>> {
    let is_sound = !argument.is_empty()
        && argument.len() <= CURVES_MAX
        && argument.iter().all(|number| CURVES.contains(number))
        && argument.is_sorted_by(|one, next| one < next);
    let channels: Vec<String> = argument.iter().map(|number| format!("{number:03}")).collect();
    is_sound.then(|| message(&format!("SDADC{}", channels.concat())))
}

fn config(argument: &[u8]) -> Option<Vec<u8>> {
    let number = u16::from_be_bytes(argument.try_into().ok()?);
    let is_curve = u8::try_from(number).is_ok_and(|number| CURVES.contains(&number));
    let is_known = BREATH.iter().chain(&SETTINGS).any(|channel| channel.number == number);
    (is_curve || is_known).then(|| message(&format!("RCCO{number:03}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::AllowSet;
    use proptest::prelude::*;

    /// Every command of the protocol that sets something at the ventilator, outlives a power cycle, asks for
    /// the patient, or belongs to the older interface (facts page 3.1; CIE manual 65 43 388).
    const FORBIDDEN: [&str; 12] =
        ["ST", "SS", "SP0", "RPAI", "HO", "CT", "DB", "DC", "RB", "RC0", "SDADT", "STOU"];

    fn text_of(frame: &[u8]) -> Option<String> {
        match frame {
            b"\x1B" | b"\x04" => None,
            _ => {
                let (end, framed) = frame.split_last().unwrap();
                assert_eq!(*end, 0x04);
                let (text, sum) = framed.split_at(framed.len() - 2);
                let xor = text.iter().fold(0u8, |sum, byte| sum ^ byte);
                assert_eq!(sum, format!("{xor:02X}").as_bytes());
                Some(String::from_utf8(text.to_vec()).unwrap())
            }
        }
    }

    fn assert_reads_only(frame: &[u8]) {
        let Some(text) = text_of(frame) else { return };
        assert!(!FORBIDDEN.iter().any(|word| text.starts_with(word)), "{text}");
        let reads =
            ["RCTY", "RSEN", "RSWV", "RHVE", "RPVE", "RTIM", "RALO", "RADAB", "RADAS", "RADAE", "RADC"];
        let digits = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
        let is_interface = ["RCCO", "SPVE00", "SDADB", "SDADS", "SDADE", "SDADC"]
            .iter()
            .any(|word| text.strip_prefix(word).is_some_and(digits));
        assert!(reads.contains(&text.as_str()) || is_interface, "{text}");
    }

    #[test]
    fn nothing_that_sets_anything_can_be_written() {
        for request in &REQUESTS {
            assert_reads_only(request.bytes);
        }
    }

    #[test]
    fn what_is_asked_has_its_frame() {
        let set = AllowSet::new(&REQUESTS);
        let frame = |asked: Asked, channels: &[u16]| {
            let frame = set.frame(asked.command(channels)?)?.into_owned();
            Some(text_of(&frame).unwrap_or_else(|| format!("{frame:?}")))
        };
        assert_eq!(frame(Asked::Define(Group::Breath), &[200, 209]).as_deref(), Some("SDADB200209"));
        assert_eq!(frame(Asked::Define(Group::Setting), &[365]).as_deref(), Some("SDADS365"));
        assert_eq!(frame(Asked::Define(Group::Alarm), &[400, 452]).as_deref(), Some("SDADE400452"));
        assert_eq!(frame(Asked::Define(Group::Curve), &[100, 101]).as_deref(), Some("SDADC100101"));
        assert_eq!(frame(Asked::Config(204), &[]).as_deref(), Some("RCCO204"));
        assert_eq!(frame(Asked::SetVersion(5), &[]).as_deref(), Some("SPVE005"));
        assert_eq!(frame(Asked::SetVersion(6), &[]), None);
        assert_eq!(frame(Asked::Config(400), &[]), None);
        assert_eq!(frame(Asked::Define(Group::Breath), &[]), None);
        assert_eq!(frame(Asked::Define(Group::Curve), &[100, 100]), None);
        assert_eq!(frame(Asked::Define(Group::Curve), &[99]), None);
        assert_eq!(frame(Asked::Other, &[]), None);
    }

    #[test]
    fn an_example_is_a_frame_of_its_own_request() {
        for request in REQUESTS.iter().filter(|request| request.fill.is_some()) {
            let text = text_of(request.bytes).unwrap();
            let (asked, channels) = Asked::read(&text).unwrap();
            let channels = if channels.is_empty() { vec![200] } else { channels };
            let asked = if asked == Asked::Config(0) { Asked::Config(200) } else { asked };
            let frame = AllowSet::new(&REQUESTS).frame(asked.command(&channels).unwrap()).unwrap();
            assert_eq!(frame, request.bytes);
        }
    }

    proptest! {
        #[test]
        fn no_argument_makes_anything_but_a_read(argument in proptest::collection::vec(any::<u8>(), 0..=32)) {
            for frame in REQUESTS.iter().filter_map(|request| (request.fill?)(&argument)) {
                assert_reads_only(&frame);
            }
        }

        #[test]
        fn no_curves_but_curves(argument in proptest::collection::vec(90u8..=210, 0..6)) {
            if let Some(frame) = define_curves(&argument) {
                assert_reads_only(&frame);
                prop_assert!(argument.len() <= CURVES_MAX);
            }
        }
    }
}
