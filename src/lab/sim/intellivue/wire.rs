//! Octets of Data Export as the monitor builds and hears them. Nothing here is the driver's.

use super::Alert;

/// Refusal of an association.
pub(super) const REFUSE: [u8; 6] = [0x0C, 0x04, 0xC1, 0x02, 0x00, 0x00];

/// The answer to a release.
pub(super) const RELEASED: [u8; 26] = [
    0x0A, 0x18, 0xC1, 0x16, 0x61, 0x80, 0x30, 0x80, 0x02, 0x01, 0x01, 0xA0, 0x80, 0x63, 0x80, 0x80, 0x01,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
];

/// The end of an association without a word before.
pub(super) const ABORT: [u8; 48] = [
    0x19, 0x2E, 0x11, 0x01, 0x03, 0xC1, 0x29, 0xA0, 0x80, 0xA0, 0x80, 0x30, 0x80, 0x02, 0x01, 0x01, 0x06,
    0x02, 0x51, 0x01, 0x00, 0x00, 0x00, 0x00, 0x61, 0x80, 0x30, 0x80, 0x02, 0x01, 0x01, 0xA0, 0x80, 0x64,
    0x80, 0x80, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
];

/// The longest frame that is listened to.
const HEARD_MAX: usize = 1_024;

/// A frame whose checksum or length is wrong.
#[derive(Debug)]
pub(super) struct Wrong;

/// What an object is: its handle, and its attributes.
pub(super) type Object = (u16, Vec<Vec<u8>>);

/// Puts frames together, byte by byte.
#[derive(Default)]
pub(super) struct Ear {
    heard: Vec<u8>,
    is_inside: bool,
    is_escaped: bool,
}

impl Ear {
    /// The user data of a frame that has ended; an error for one that is wrong.
    pub(super) fn hear(&mut self, byte: u8) -> Option<Result<Vec<u8>, Wrong>> {
        match byte {
            0xC0 => {
                self.heard.clear();
                (self.is_inside, self.is_escaped) = (true, false);
            }
            0xC1 => {
                let was_inside = std::mem::replace(&mut self.is_inside, false);
                return was_inside
                    .then(|| if self.is_escaped { Err(Wrong) } else { user_data(&self.heard).ok_or(Wrong) });
            }
            _ if !self.is_inside || self.heard.len() == HEARD_MAX => self.is_inside = false,
            0x7D => self.is_escaped = true,
            other => {
                let flip = if std::mem::take(&mut self.is_escaped) { 0x20 } else { 0 };
                self.heard.push(other ^ flip);
            }
        }
        None
    }
}

fn user_data(heard: &[u8]) -> Option<Vec<u8>> {
    let (content, sum) = heard.split_last_chunk::<2>()?;
    let rest = content.strip_prefix(&[0x11, 0x01])?;
    let (length, user_data) = rest.split_first_chunk::<2>()?;
    let is_right = *sum == checksum(content) && usize::from(u16::from_be_bytes(*length)) == user_data.len();
    is_right.then(|| user_data.to_vec())
}

/// A frame around user data.
pub(super) fn frame(user_data: &[u8]) -> Vec<u8> {
    let content = [&[0x11, 0x01][..], &sized(user_data)].concat();
    let sum = checksum(&content);
    let mut bytes = vec![0xC0];
    for byte in content.into_iter().chain(sum) {
        if matches!(byte, 0xC0 | 0xC1 | 0x7D) {
            bytes.push(0x7D);
            bytes.push(byte ^ 0x20);
        } else {
            bytes.push(byte);
        }
    }
    bytes.push(0xC1);
    bytes
}

/// FCS-16 by long division: the octets with their lowest bit first, as a polynomial, the first sixteen turned
/// over, divided by `1_0001_0000_0010_0001`; the remainder turned over, its bits in the reverse order.
fn checksum(content: &[u8]) -> [u8; 2] {
    let mut bits: Vec<bool> =
        content.iter().flat_map(|byte| (0..8).map(move |place| byte >> place & 1 == 1)).collect();
    bits.iter_mut().take(16).for_each(|bit| *bit = !*bit);
    let mut remainder = 0_u32;
    for bit in bits.into_iter().chain([false; 16]) {
        remainder = remainder << 1 | u32::from(bit);
        if remainder >= 0x1_0000 {
            remainder ^= 0x1_1021;
        }
    }
    let [.., high, low] = (!remainder).to_be_bytes();
    [high.reverse_bits(), low.reverse_bits()]
}

/// A poll.
#[derive(Clone, Debug)]
pub(super) struct Poll {
    pub(super) invoke: u16,
    pub(super) number: u16,
    pub(super) class: u16,
    pub(super) group: u16,
    /// Of an extended poll: for how long, in eighths of a millisecond.
    pub(super) time: Option<u32>,
}

/// What the host said.
pub(super) enum Heard {
    Associate,
    Release,
    /// The confirmation of the event with this invoke id.
    Confirm(u16),
    Poll(Poll),
    /// Nothing that a host may say.
    Nonsense,
}

pub(super) fn understand(user_data: &[u8]) -> Heard {
    match user_data {
        [0x0D, 0xEC, ..] if user_data.len() == 238 => Heard::Associate,
        [0x09, 0x18, ..] if user_data.len() == 26 => Heard::Release,
        [0xE1, 0, 0, 2, 0, 2, 0, 20, a, b, 0, 1, 0, 14, 0, 33, _, _, _, _, _, _, _, _, 0x0D, 6, 0, 0] => {
            Heard::Confirm(u16::from_be_bytes([*a, *b]))
        }
        [0xE1, 0, 0, 2, 0, 1, 0, _, a, b, 0, 7, 0, _, 0, 33, 0, 0, 0, 0, 0, 0, 0, 0, action @ ..] => {
            poll(u16::from_be_bytes([*a, *b]), action)
        }
        _ => Heard::Nonsense,
    }
}

fn poll(invoke: u16, action: &[u8]) -> Heard {
    let (number, polled, time) = match action {
        [0x0C, 0x16, 0, 8, a, b, 0, 1, class, code, high, low] => {
            ([*a, *b], [*class, *code, *high, *low], None)
        }
        [0xF1, 0x3B, 0, 20, a, b, 0, 1, class, code, high, low, 0, 1, 0, 8, 0xF1, 0x3E, 0, 4, time @ ..] => {
            ([*a, *b], [*class, *code, *high, *low], time.try_into().ok().map(u32::from_be_bytes))
        }
        _ => return Heard::Nonsense,
    };
    let [class, code, high, low] = polled;
    let (class, group) = (u16::from_be_bytes([class, code]), u16::from_be_bytes([high, low]));
    Heard::Poll(Poll { invoke, number: u16::from_be_bytes(number), class, group, time })
}

/// The acceptance of an association, its user information built as the host's request has it.
pub(super) fn accept(is_extended: bool) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let extension = attribute(0xF001, &[words(&[0x8000_0000]), list(&[])].concat());
    let packages: Vec<Vec<u8>> = is_extended.then_some(extension).into_iter().collect();
    let agreed = words(&[0x8000_0000, 8_000, 1_000, 1_000, u32::MAX, 0x6000_0000]);
    let profile = attribute(0x0001, &[agreed, list(&packages)].concat());
    let versions = words(&[0x8000_0000, 0x4000_0000, 0, 0x0080_0000, 0x2000_0000]);
    let information = [versions, list(&[]), list(&[profile])].concat();
    let length = u8::try_from(information.len()).unwrap_or_default();
    let presentation = [
        &[0x31, 0x80, 0xA0, 0x80, 0x80, 0x01, 0x01, 0x00, 0x00, 0xA2, 0x80, 0x61, 0x80, 0x30, 0x80][..],
        &[0x02, 0x01, 0x01, 0xA0, 0x80, 0x61, 0x80, 0xBE, 0x80, 0x28, 0x80, 0x02, 0x01, 0x02, 0x81, length],
        &information,
        &[0; 16],
    ]
    .concat();
    let data = [0x05, 0x08, 0x13, 0x01, 0x00, 0x16, 0x01, 0x02, 0x80, 0x00, 0x14, 0x02, 0x00, 0x02];
    let body = [&data[..], &[0xC1], &indicated(presentation.len()), &presentation].concat();
    [&[0x0E][..], &indicated(body.len()), &body].concat()
}

fn indicated(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short) if short < 255 => vec![short],
        Ok(_) | Err(_) => [&[0xFF][..], &u16::try_from(length).unwrap_or_default().to_be_bytes()].concat(),
    }
}

/// The MDS-Create event.
pub(super) fn created(invoke: u16, relative: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
    let info = [&[0x00, 0x21, 0, 0, 0, 0][..], &list(attributes)].concat();
    let event =
        [&[0x00, 0x21, 0, 0, 0, 0][..], &relative.to_be_bytes(), &[0x0D, 0x06], &sized(&info)].concat();
    let invoked = [&invoke.to_be_bytes()[..], &[0, 1], &sized(&event)].concat();
    [&[0xE1, 0, 0, 2, 0, 1][..], &sized(&invoked)].concat()
}

/// The error of a remote operation.
pub(super) fn error(invoke: u16, code: u16) -> Vec<u8> {
    let body = [&invoke.to_be_bytes()[..], &code.to_be_bytes(), &[0, 0]].concat();
    [&[0xE1, 0, 0, 2, 0, 3][..], &sized(&body)].concat()
}

/// The answer to a poll, in as many parts as it takes; several end in an empty answer.
pub(super) fn answers(
    poll: &Poll,
    sequence: Option<u16>,
    relative: u32,
    objects: &[Object],
    longest: usize,
) -> Vec<Vec<u8>> {
    let encoded: Vec<Vec<u8>> = objects
        .iter()
        .map(|(handle, attributes)| [&handle.to_be_bytes()[..], &list(attributes)].concat())
        .collect();
    let mut parts: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
    let mut length = 0;
    for object in encoded {
        // What stands around the objects takes 54 bytes.
        if length + object.len() + 54 > longest && length > 0 {
            parts.push(Vec::new());
            length = 0;
        }
        length += object.len();
        if let Some(part) = parts.last_mut() {
            part.push(object);
        }
    }
    let reply = |objects: &[Vec<u8>]| {
        let contexts =
            if objects.is_empty() { Vec::new() } else { vec![[&[0, 1][..], &list(objects)].concat()] };
        let head =
            [&poll.number.to_be_bytes()[..], &sequence.map_or(Vec::new(), |s| s.to_be_bytes().to_vec())]
                .concat();
        let polled = [&[0, 1][..], &poll.class.to_be_bytes(), &poll.group.to_be_bytes()].concat();
        let content =
            [head, relative.to_be_bytes().to_vec(), vec![0xFF; 8], polled, list(&contexts)].concat();
        let action: &[u8] = if sequence.is_some() { &[0xF1, 0x3B] } else { &[0x0C, 0x16] };
        let result = [&[0x00, 0x21, 0, 0, 0, 0][..], action, &sized(&content)].concat();
        [&poll.invoke.to_be_bytes()[..], &[0, 7], &sized(&result)].concat()
    };
    let operation = |kind: u8, body: &[u8]| [&[0xE1, 0, 0, 2, 0, kind][..], &sized(body)].concat();
    if let [one] = parts.as_slice() {
        return vec![operation(2, &reply(one))];
    }
    let count = parts.len();
    let linked = parts.iter().enumerate().map(|(place, part)| {
        let state = if place == 0 {
            1
        } else if place + 1 == count {
            3
        } else {
            2
        };
        let number = u8::try_from(place + 1).unwrap_or_default();
        operation(5, &[&[state, number][..], &reply(part)].concat())
    });
    linked.chain([operation(2, &reply(&[]))]).collect()
}

/// One observed value.
pub(super) fn observed(physio: u16, state: u16, unit: u16, value: u32) -> Vec<u8> {
    [&physio.to_be_bytes()[..], &state.to_be_bytes(), &unit.to_be_bytes(), &value.to_be_bytes()].concat()
}

/// The specification of a metric of a category.
pub(super) fn specification(category: u16) -> Vec<u8> {
    [&8_192_u32.to_be_bytes()[..], &category.to_be_bytes(), &[0x40, 0, 0, 0, 0, 0]].concat()
}

/// One entry of a list of alerts.
pub(super) fn alert(alert: &Alert, state: u16) -> Vec<u8> {
    let Alert { source, code, kind, text, .. } = alert;
    let head: Vec<u8> = [*source, *code, *kind, state].iter().flat_map(|word| word.to_be_bytes()).collect();
    let object = [0x00, 0x06, 0x00, 0x01, 0x82, 0xCD];
    let general = [0, 1, 0, 2, 0x41, 0x82, 0, 5, 0x40, 0];
    let info = match text {
        Some(text) => [&[0x02, 0x04][..], &sized(&[&general[..], &unicode(text)].concat())].concat(),
        None => [&[0x02, 0x01][..], &sized(&general)].concat(),
    };
    [&head[..], &object, &info].concat()
}

/// The demographics of a patient, the same words in every field of text, a birth date, a weight.
pub(super) fn demographics(name: &str) -> Vec<Vec<u8>> {
    let texts = [0x095A, 0x095C, 0x095D, 0xF001, 0xF129, 0xF12A, 0x091E, 0x0927, 0x0928];
    let mut attributes: Vec<Vec<u8>> = texts.map(|id| attribute(id, &unicode(name))).to_vec();
    attributes.push(attribute(0x0958, &[0x19, 0x61, 0x07, 0x04, 0, 0, 0, 0]));
    attributes.push(attribute(0x09DF, &[0, 0, 0, 81, 0x06, 0xC3]));
    attributes.push(attribute(0x0950, &observed(16_770, 0, 2_720, 81)));
    attributes
}

/// Eight octets made of a serial number.
pub(super) fn system_id(serial: &str) -> [u8; 8] {
    let mut id = [0x00, 0x09, 0xFB, 0, 0, 0, 0, 0];
    for (place, byte) in serial.bytes().rev().take(5).enumerate() {
        if let Some(slot) = id.get_mut(7 - place) {
            *slot = byte;
        }
    }
    id
}

/// A text, with its zero at the end.
pub(super) fn unicode(text: &str) -> Vec<u8> {
    let units: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect();
    sized(&units)
}

/// An attribute.
pub(super) fn attribute(id: u16, value: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], &sized(value)].concat()
}

/// A list: how many, how long, and the elements.
pub(super) fn list(elements: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(elements.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&count[..], &sized(&elements.concat())].concat()
}

/// A length and so many octets.
pub(super) fn sized(octets: &[u8]) -> Vec<u8> {
    let length = u16::try_from(octets.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&length[..], octets].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_published_frames() {
        assert_eq!(checksum(&[0x3A, 0x71]), [0x9B, 0x26]);
        assert_eq!(checksum(&[0x3A, 0x91]), [0x95, 0xC1]);
    }

    #[test]
    fn a_published_request_is_heard() {
        let poll = [
            0xC0, 0x11, 0x01, 0x00, 0x24, 0xE1, 0x00, 0x00, 0x02, 0x00, 0x01, 0x00, 0x1C, 0x00, 0x00, 0x00,
            0x07, 0x00, 0x16, 0x00, 0x21, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0C, 0x16, 0x00,
            0x08, 0x00, 0x01, 0x00, 0x01, 0x00, 0x06, 0x00, 0x00, 0x8E, 0x95, 0xC1,
        ];
        let mut ear = Ear::default();
        let heard: Vec<_> = poll.iter().filter_map(|byte| ear.hear(*byte)).flatten().collect();
        assert!(matches!(
            understand(&heard[0]),
            Heard::Poll(Poll { number: 1, class: 6, group: 0, time: None, .. })
        ));
    }
}
