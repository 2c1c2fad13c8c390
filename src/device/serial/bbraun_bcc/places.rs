//! The places of a rack: the rack itself, and its slots by pillar and number.
//!
//! An address is `501`, the pillar (0 to 3) and the slot (1 to 9, then A to O, counted from the
//! bottom); `50100` is the rack. Racks with BCC 3.30 also give the slot in two digits: `501112` is
//! `5011C`. Here a slot is called by its pillar and its character: `1-3`, `2-A`.

use crate::device::Part;

/// The slots of a pillar.
const SLOTS: u8 = 24;

/// The characters of the slots, from the bottom.
const CHARACTERS: &[u8; 24] = b"123456789ABCDEFGHIJKLMNO";

/// The names of all slots; `Part(1)` is the first.
pub(super) static NAMES: &[&str] = &[
    "0-1", "0-2", "0-3", "0-4", "0-5", "0-6", "0-7", "0-8", "0-9", "0-A", "0-B", "0-C", "0-D", "0-E", "0-F",
    "0-G", "0-H", "0-I", "0-J", "0-K", "0-L", "0-M", "0-N", "0-O", "1-1", "1-2", "1-3", "1-4", "1-5", "1-6",
    "1-7", "1-8", "1-9", "1-A", "1-B", "1-C", "1-D", "1-E", "1-F", "1-G", "1-H", "1-I", "1-J", "1-K", "1-L",
    "1-M", "1-N", "1-O", "2-1", "2-2", "2-3", "2-4", "2-5", "2-6", "2-7", "2-8", "2-9", "2-A", "2-B", "2-C",
    "2-D", "2-E", "2-F", "2-G", "2-H", "2-I", "2-J", "2-K", "2-L", "2-M", "2-N", "2-O", "3-1", "3-2", "3-3",
    "3-4", "3-5", "3-6", "3-7", "3-8", "3-9", "3-A", "3-B", "3-C", "3-D", "3-E", "3-F", "3-G", "3-H", "3-I",
    "3-J", "3-K", "3-L", "3-M", "3-N", "3-O",
];

/// What an address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The rack itself.
    Rack,
    /// A slot.
    Slot(Part),
}

impl Place {
    /// Reads an address in either spelling.
    pub(super) fn read(address: &[u8]) -> Option<Self> {
        let (&pillar, slot) = address.strip_prefix(b"501")?.split_first()?;
        let pillar = pillar.checked_sub(b'0').filter(|pillar| *pillar <= 3)?;
        let slot = match slot {
            [b'0'] => return (pillar == 0).then_some(Self::Rack),
            [one] => CHARACTERS.iter().position(|known| known == one)?.checked_add(1)?,
            [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => usize::from((tens - b'0') * 10 + (ones - b'0')),
            _ => return None,
        };
        let slot = u8::try_from(slot).ok().filter(|slot| (1..=SLOTS).contains(slot))?;
        Some(Self::Slot(Part(pillar * SLOTS + slot)))
    }

    /// The part that it is.
    #[cfg(test)]
    pub(super) const fn part(self) -> Option<Part> {
        match self {
            Self::Rack => None,
            Self::Slot(part) => Some(part),
        }
    }
}

/// A slot's name, for a person.
pub(super) fn name(part: Part) -> &'static str {
    usize::from(part.0).checked_sub(1).and_then(|place| NAMES.get(place)).copied().unwrap_or("?")
}

/// The digit of a slot's pillar and its character, as in `MEM:GETSLOT#1C`.
pub(super) fn address(part: Part) -> Option<[u8; 2]> {
    let place = part.0.checked_sub(1)?;
    let (pillar, slot) = (place / SLOTS, place % SLOTS);
    (pillar <= 3).then_some(())?;
    Some([b'0' + pillar, *CHARACTERS.get(usize::from(slot))?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_the_same_slot() {
        let named = |address: &str| Place::read(address.as_bytes()).map(|place| place.part().map(name));
        assert_eq!(named("50100"), Some(None));
        for (address, expected) in [
            ("50111", "1-1"),
            ("50119", "1-9"),
            ("5011B", "1-B"),
            ("5011O", "1-O"),
            ("501112", "1-C"),
            ("501110", "1-A"),
            ("501101", "1-1"),
            ("501324", "3-O"),
            ("50101", "0-1"),
        ] {
            assert_eq!(named(address), Some(Some(expected)), "{address}");
        }
        for wrong in [
            "", "501", "5011", "50110", "50141", "5011P", "5011a", "501100", "501125", "50200", "5011:1",
            "5011111",
        ] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_name_is_its_address() {
        assert_eq!(NAMES.len(), 96);
        for (place, name) in NAMES.iter().enumerate() {
            let part = Part(u8::try_from(place).unwrap() + 1);
            let [pillar, slot] = address(part).unwrap();
            assert_eq!(*name, format!("{}-{}", char::from(pillar), char::from(slot)));
            assert_eq!(Place::read(&[b'5', b'0', b'1', pillar, slot]), Some(Place::Slot(part)));
        }
        assert_eq!((address(Part::WHOLE), address(Part(97))), (None, None));
    }
}
