//! The requests: everything that this gateway ever writes to a rack, and the two answers to a block.
//!
//! The protocol's four reading requests and nothing else. What is filled in is the bed id, judged by
//! its character set (which has no `>`, no `:` and no control character, so it cannot hold another
//! request), and the pillar and slot, judged digit by digit. Each request is here twice: as it goes
//! over a plain line, and with character stuffing.

use super::places::{Place, address};
use super::wire::{framed, is_bed, stuffed};
use crate::device::Part;
use crate::link::{Argument, LinkCommand, Request, RequestId};

/// Everything that may ever be written to the rack.
pub(super) static REQUESTS: [Request; 10] = [
    Request::fixed("ADMIN:ALIVE", b"\x0100031\x021/1/1>ADMIN:ALIVE\x0300061\x04"),
    Request::filled("ADMIN:VERSION", b"\x0100041\x02ComSystem/1/1>ADMIN:VERSION\x0300102\x04", |bed| {
        to_bed(bed, b"ADMIN:VERSION")
    }),
    Request::filled("MEM:GET", b"\x0100035\x02ComSystem/1/1>MEM:GET\x0300153\x04", |bed| {
        to_bed(bed, b"MEM:GET")
    }),
    Request::filled("MEM:GETSLOT", b"\x0100042\x02ComSystem/1/1>MEM:GETSLOT#11\x0300094\x04", to_slot),
    Request::fixed("ACK", b"\x06"),
    Request::fixed("NAK", b"\x15"),
    Request::fixed("ADMIN:ALIVE (stuffed)", b"\x0100031\x021/1/1>AEXMIN:ALIVEE\x0300061\x04"),
    Request::filled(
        "ADMIN:VERSION (stuffed)",
        b"\x0100041\x02ComSysteem/1/1>AEXMIN:VEERSION\x0300102\x04",
        |bed| to_bed(bed, b"ADMIN:VERSION").map(|frame| stuffed(&frame)),
    ),
    Request::filled("MEM:GET (stuffed)", b"\x0100035\x02ComSysteem/1/1>MEEM:GEET\x0300153\x04", |bed| {
        to_bed(bed, b"MEM:GET").map(|frame| stuffed(&frame))
    }),
    Request::filled(
        "MEM:GETSLOT (stuffed)",
        b"\x0100042\x02ComSysteem/1/1>MEEM:GEETSLOT#11\x0300094\x04",
        |argument| to_slot(argument).map(|frame| stuffed(&frame)),
    ),
];

/// Where the stuffed ones begin.
const STUFFED_FROM: u8 = 6;

pub(super) const ACK: LinkCommand = LinkCommand::Send(RequestId(4));
pub(super) const NAK: LinkCommand = LinkCommand::Send(RequestId(5));

/// What the rack is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Whether it is there, and its bed id.
    Alive,
    /// Its version.
    Version,
    /// Everything.
    Memory,
    /// One slot.
    Slot(Part),
}

impl Ask {
    /// What a person calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Alive => "ADMIN:ALIVE",
            Self::Version => "ADMIN:VERSION",
            Self::Memory => "MEM:GET",
            Self::Slot(_) => "MEM:GETSLOT",
        }
    }

    /// The command that sends it; `None` for a bed id or slot that cannot be.
    pub(super) fn command(self, bed: &[u8], is_stuffed: bool) -> Option<LinkCommand> {
        let id = |place: u8| RequestId(if is_stuffed { place.saturating_add(STUFFED_FROM) } else { place });
        Some(match self {
            Self::Alive => LinkCommand::Send(id(0)),
            Self::Version => LinkCommand::Fill(id(1), Argument::new(bed)?),
            Self::Memory => LinkCommand::Fill(id(2), Argument::new(bed)?),
            Self::Slot(part) => {
                let argument = [&address(part)?, bed].concat();
                LinkCommand::Fill(id(3), Argument::new(&argument)?)
            }
        })
    }
}

fn to_bed(bed: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    is_bed(bed).then(|| framed(bed, data))
}

/// The argument is the pillar's digit, the slot's character and the bed id.
fn to_slot(argument: &[u8]) -> Option<Vec<u8>> {
    let (slot, bed) = argument.split_at_checked(2)?;
    let is_slot = matches!(Place::read(&[b"501", slot].concat()), Some(Place::Slot(_)));
    if !is_slot {
        return None;
    }
    to_bed(bed, &[b"MEM:GETSLOT#", slot].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::AllowSet;

    #[test]
    fn every_example_is_what_is_made_for_its_argument() {
        let set = AllowSet::new(&REQUESTS);
        let slot = Place::read(b"50111").and_then(Place::part).unwrap();
        for is_stuffed in [false, true] {
            for (place, ask) in
                [Ask::Alive, Ask::Version, Ask::Memory, Ask::Slot(slot)].into_iter().enumerate()
            {
                let frame = set.frame(ask.command(b"ComSystem", is_stuffed).unwrap()).unwrap();
                let request = &REQUESTS[place + if is_stuffed { usize::from(STUFFED_FROM) } else { 0 }];
                assert_eq!((frame.as_ref(), request.name.starts_with(ask.name())), (request.bytes, true));
            }
        }
        assert_eq!(set.frame(ACK).unwrap().as_ref(), b"\x06");
        assert_eq!(set.frame(NAK).unwrap().as_ref(), b"\x15");
    }

    #[test]
    fn nothing_but_a_bed_id_and_a_slot_can_be_filled_in() {
        let fill = |at: usize, argument: &[u8]| REQUESTS[at].fill.unwrap()(argument);
        for bed in [&b""[..], b"a>MEM:SET", b"0123456789abcdef", b"a\x03", b"a\x1Eb", b"a:b", b"a b"] {
            for at in [1, 2, 7, 8] {
                assert_eq!(fill(at, bed), None);
            }
            assert_eq!(fill(3, &[b"11", bed].concat()), None);
        }
        for slot in [&b"00"[..], b"10", b"41", b"1P", b"1a", b"1", b"", b"#1", b"1:"] {
            assert_eq!((fill(3, &[slot, b"bed"].concat()), fill(9, &[slot, b"bed"].concat())), (None, None));
        }
        assert!(fill(3, b"3Obed").is_some() && fill(9, b"01bed").is_some());
    }

    #[test]
    fn no_request_is_anything_but_one_of_the_four_kinds() {
        for request in REQUESTS.iter().filter(|request| request.bytes.len() > 1) {
            let data = request.bytes.split(|&byte| byte == b'>').nth(1).unwrap();
            let words =
                [&b"ADMIN:ALIVE\x03"[..], b"ADMIN:VERSION\x03", b"MEM:GET\x03", b"MEM:GETSLOT#11\x03"];
            let is_one = words.iter().any(|word| data.starts_with(word) || data.starts_with(&stuffed(word)));
            assert!(is_one, "{}", request.name);
            assert_eq!(request.bytes.split(|&byte| byte == 1).count(), 2, "one frame, not two");
        }
    }
}
