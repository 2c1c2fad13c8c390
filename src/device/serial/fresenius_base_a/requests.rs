//! Everything that this gateway ever writes to a base.
//!
//! Single characters (ACK, NAK with "checksum wrong", DC4), the commands that open a session and read,
//! and the echo that the protocol asks for of what a module says unasked. Each command is a function
//! of an address digit and, where it names variables, of small letters; the command's own letters
//! stand in the function. So a start, a stop, a rate, a mode, a bolus has no representation here:
//! `MO EN EP AP RZ OF SI PR PO PB PF PV RV PP PS` cannot be written, and neither can `DE AE DM AM`,
//! which change what the base sends to others.

use super::wire::framed;
use crate::link::{Argument, LinkCommand, Request, RequestId};

/// Everything that may ever be written, in the order of [`Write`].
pub(super) static REQUESTS: [Request; 9] = [
    Request::fixed("ACK", &[0x06]),
    Request::fixed("NAK 2", &[0x15, b'2']),
    Request::fixed("DC4", &[0x14]),
    Request::filled("DC", b"\x020DC48\x03", |to| addressed(to, b"DC")),
    Request::filled("LN", b"\x020LN35\x03", |to| addressed(to, b"LN")),
    Request::filled("LP", b"\x021LP32\x03", |to| addressed(to, b"LP")),
    Request::filled("LF", b"\x021LF;b9F\x03", |to| lettered(to, b"LF;", 1)),
    Request::filled("LE", b"\x021LE;dr2C\x03", |to| lettered(to, b"LE;", 16)),
    Request::filled("echo", b"\x021E89\x03", echo),
];

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// A frame was taken.
    Ack,
    /// A frame had a wrong checksum.
    NakChecksum,
    /// A life sign.
    Dc4,
    /// Opens the session with the base (0) or a module.
    Open(u8),
    /// Reads the identification.
    Id(u8),
    /// Reads the drug.
    Drug(u8),
    /// Reads a fixed variable.
    Fixed(u8, u8),
    /// Reads variables.
    Variables(u8, Vec<u8>),
    /// Confirms what was said unasked, with its status.
    Echo(u8, u8),
}

impl Write {
    /// The command for the link. `None` for what has no representation.
    pub(super) fn command(&self) -> Option<LinkCommand> {
        let digit = |address: &u8| b'0'.saturating_add(*address);
        let (place, argument) = match self {
            Self::Ack => (0, None),
            Self::NakChecksum => (1, None),
            Self::Dc4 => (2, None),
            Self::Open(to) => (3, Some(vec![digit(to)])),
            Self::Id(to) => (4, Some(vec![digit(to)])),
            Self::Drug(to) => (5, Some(vec![digit(to)])),
            Self::Fixed(to, letter) => (6, Some(vec![digit(to), *letter])),
            Self::Variables(to, letters) => (7, Some([&[digit(to)], letters.as_slice()].concat())),
            Self::Echo(to, status) => (8, Some(vec![digit(to), *status])),
        };
        Some(match argument {
            None => LinkCommand::Send(RequestId(place)),
            Some(bytes) => LinkCommand::Fill(RequestId(place), Argument::new(&bytes)?),
        })
    }
}

/// A command to an address: the base or one of its five places.
fn addressed(to: &[u8], command: &[u8]) -> Option<Vec<u8>> {
    let [address @ b'0'..=b'5'] = to else { return None };
    Some(framed(&[&[*address], command].concat()))
}

/// A command to an address that names variables by their letters.
fn lettered(argument: &[u8], command: &[u8], most: usize) -> Option<Vec<u8>> {
    let (address @ b'0'..=b'5', letters) = argument.split_first()? else { return None };
    let are_letters = (1..=most).contains(&letters.len()) && letters.iter().all(u8::is_ascii_lowercase);
    are_letters.then(|| framed(&[&[*address], command, letters].concat()))
}

fn echo(argument: &[u8]) -> Option<Vec<u8>> {
    let [origin @ b'0'..=b'5', status @ (b'E' | b'M')] = argument else { return None };
    Some(framed(&[*origin, *status]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::AllowSet;
    use proptest::prelude::*;

    /// What the facts page says must never be written, and what would change what others hear.
    const FORBIDDEN: [&str; 19] = [
        "MO", "EN", "EP", "AP", "RZ", "OF", "SI", "PR", "PO", "PB", "PF", "PV", "RV", "PP", "PS", "DE", "AE",
        "DM", "AM",
    ];

    /// What a base would take a frame for: its command and argument.
    fn command_of(frame: &[u8]) -> &str {
        let inner = frame.strip_prefix(&[2]).unwrap().strip_suffix(&[3]).unwrap();
        assert_eq!(inner.iter().filter(|byte| byte.is_ascii_control()).count(), 0, "one frame, not two");
        let (digit, words) = inner[..inner.len() - 2].split_first().unwrap();
        assert!((b'0'..=b'5').contains(digit));
        std::str::from_utf8(words).unwrap()
    }

    fn is_reading(command: &str) -> bool {
        let are_letters = |letters: &str| letters.bytes().all(|byte| byte.is_ascii_lowercase());
        match command {
            "DC" | "LN" | "LP" | "E" | "M" => true,
            _ => match command.split_once(';') {
                Some(("LE", letters)) => are_letters(letters),
                Some(("LF", letters)) => letters.len() == 1 && are_letters(letters),
                _ => false,
            },
        }
    }

    #[test]
    fn every_example_is_what_its_function_makes() {
        for (request, argument) in REQUESTS.iter().skip(3).zip(["0", "0", "1", "1b", "1dr", "1E"]) {
            let frame = request.fill.unwrap()(argument.as_bytes()).unwrap();
            assert_eq!(frame, request.bytes, "{}", request.name);
        }
    }

    #[test]
    fn single_characters_are_those_of_the_protocol() {
        let fixed: Vec<&[u8]> =
            REQUESTS.iter().filter(|request| request.fill.is_none()).map(|request| request.bytes).collect();
        assert_eq!(fixed, [&[0x06][..], &[0x15, b'2'], &[0x14]]);
    }

    #[test]
    fn no_argument_of_up_to_three_bytes_makes_a_start_a_stop_a_rate_a_mode_or_a_bolus() {
        for request in REQUESTS.iter().filter(|request| request.fill.is_some()) {
            let fill = request.fill.unwrap();
            let mut made = 0;
            for one in 0..=255u8 {
                for two in 0..=256u16 {
                    let argument = [&[one][..], &u8::try_from(two).map_or(vec![], |two| vec![two])].concat();
                    for argument in [argument.clone(), [argument.as_slice(), b";2"].concat()] {
                        if let Some(frame) = fill(&argument) {
                            let command = command_of(&frame);
                            assert!(is_reading(command), "{command}");
                            assert!(!FORBIDDEN.iter().any(|other| command.starts_with(other)), "{command}");
                            made += 1;
                        }
                    }
                }
            }
            assert!(made > 0, "{} can never be written", request.name);
        }
    }

    proptest! {
        #[test]
        fn no_argument_at_all_makes_anything_but_a_reading(
            place in 0usize..9, argument in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "[0-9]?[A-Z]{2}(;[0-9A-Fa-z]{0,8})?".prop_map(String::into_bytes),
                "[0-5][a-z;]{0,20}".prop_map(String::into_bytes),
            ]
        ) {
            if let Some(frame) = REQUESTS[place].fill.and_then(|fill| fill(&argument)) {
                prop_assert!(is_reading(command_of(&frame)), "{:?}", command_of(&frame));
            }
        }

        #[test]
        fn whatever_the_driver_names_is_a_request_or_nothing(to in any::<u8>(), letters in proptest::collection::vec(any::<u8>(), 0..40)) {
            let allow = AllowSet::new(&REQUESTS);
            let letter = letters.first().copied().unwrap_or_default();
            for write in [
                Write::Open(to), Write::Id(to), Write::Drug(to), Write::Fixed(to, letter),
                Write::Variables(to, letters.clone()), Write::Echo(to, letter),
            ] {
                if let Some(frame) = write.command().and_then(|command| allow.frame(command)) {
                    prop_assert!(to <= 5 && is_reading(command_of(&frame)));
                }
            }
        }
    }
}
