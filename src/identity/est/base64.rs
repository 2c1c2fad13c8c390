//! Base64 as RFC 8951 section 3.1 has it: the bodies are base64, whatever their headers say, with white space
//! wherever a line was broken.

use base64ct::{Base64, Encoding as _};
use zeroize::Zeroizing;

pub(super) fn encode(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(Base64::encode_string(bytes))
}

pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text: String =
        text.iter().filter(|byte| !byte.is_ascii_whitespace()).map(|&b| char::from(b)).collect();
    Base64::decode_vec(&text).ok()
}
