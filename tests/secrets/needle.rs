//! What is searched for, in every form in which it could lie around, and the search itself.

use wardline::envelope::block::hex;

/// One byte string that must not be found, and what it is.
#[derive(Clone)]
pub(crate) struct Needle {
    pub(crate) what: String,
    pub(crate) bytes: Vec<u8>,
}

fn needle(what: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Needle {
    Needle { what: what.into(), bytes: bytes.into() }
}

/// A text: as it is, in UTF-16, in hex and in base64.
pub(crate) fn text(text: &str) -> Vec<Needle> {
    let mut needles = encoded(text, text.as_bytes());
    let wide = |turn: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(turn).collect::<Vec<_>>();
    needles.push(needle(format!("{text} in UTF-16LE"), wide(u16::to_le_bytes)));
    needles.push(needle(format!("{text} in UTF-16BE"), wide(u16::to_be_bytes)));
    needles
}

/// A key: as it is, its front half alone, and as HMAC holds it; in hex and in base64 too.
pub(crate) fn key(what: &str, key: &[u8; 32]) -> Vec<Needle> {
    let mut needles = encoded(what, key);
    needles.push(needle(format!("the front half of {what}"), &key[..16]));
    needles.push(needle(format!("the back half of {what}"), &key[16..]));
    for (pad, name) in [(0x36, "inner"), (0x5C, "outer")] {
        let padded: Vec<u8> = key.iter().map(|byte| byte ^ pad).collect();
        needles.push(needle(format!("{what} under the {name} pad"), padded));
    }
    needles
}

fn encoded(what: &str, bytes: &[u8]) -> Vec<Needle> {
    let mut needles = vec![
        needle(what, bytes),
        needle(format!("{what} in hex"), hex(bytes)),
        needle(format!("{what} in upper-case hex"), hex(bytes).to_uppercase()),
    ];
    // Base64 of a text within a longer one depends on where it begins: three forms, without the
    // characters at either end that hold bits of its neighbours.
    for offset in 0..3 {
        let padded: Vec<u8> = std::iter::repeat_n(0, offset).chain(bytes.iter().copied()).collect();
        let whole = base64(&padded[..padded.len() / 3 * 3]);
        let from = [0, 2, 3][offset];
        needles.push(needle(format!("{what} in base64"), &whole.as_bytes()[from..]));
    }
    needles
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks_exact(3)
        .flat_map(|three| {
            let bits = three.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
            [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
        })
        .collect()
}

/// All needles, sorted by their first two bytes, so that hundreds cost hardly more than one.
pub(crate) struct Search {
    by_front: Vec<Vec<usize>>,
    needles: Vec<Needle>,
}

impl Search {
    pub(crate) fn new(needles: Vec<Needle>) -> Self {
        let mut by_front = vec![Vec::new(); 1 << 16];
        for (place, needle) in needles.iter().enumerate() {
            assert!(needle.bytes.len() >= 8, "{} is too short to mean anything", needle.what);
            by_front[front(&needle.bytes)].push(place);
        }
        Self { by_front, needles }
    }

    /// Everything that is found: where, and what.
    pub(crate) fn find(&self, hay: &[u8]) -> Vec<(usize, &Needle)> {
        const STEP: usize = 4_096;
        static ZEROS: [u8; STEP] = [0; STEP];
        let mut found = Vec::new();
        for (block, page) in hay.chunks(STEP).enumerate() {
            // Most of a process is untouched. No needle begins with a zero.
            if page == &ZEROS[..page.len()] {
                continue;
            }
            for at in block * STEP..block * STEP + page.len() {
                let Some(two) = hay.get(at..at + 2) else { break };
                for place in &self.by_front[front(two)] {
                    let needle = &self.needles[*place];
                    if hay[at..].starts_with(&needle.bytes) {
                        found.push((at, needle));
                    }
                }
            }
        }
        found
    }
}

fn front(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

#[test]
fn a_needle_is_found_in_every_form_and_at_every_place() {
    let all = text("CANARY-needle").into_iter().chain(key("a key", b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"));
    let search = Search::new(all.clone().collect());
    for needle in all {
        for at in [0, 1, 4_090, 4_096, 9_000] {
            let mut hay = vec![0; at + needle.bytes.len() + 3];
            hay[at..at + needle.bytes.len()].copy_from_slice(&needle.bytes);
            assert!(search.find(&hay).iter().any(|(place, _)| *place == at), "{}", needle.what);
        }
    }
    assert!(search.find(&[b'C'; 10_000]).is_empty());
    // As other programs write it: `printf 'xxCANARY-needle-y' | base64`.
    assert!(!search.find(b"eHhDQU5BUlktbmVlZGxlLXk=").is_empty());
}
