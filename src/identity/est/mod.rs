//! Enrolment over Secure Transport (RFC 7030, corrected by RFC 8951): what is asked and what an answer means.
//!
//! Pure but for [`client`]: requests and responses are values. Three of the protocol's operations are used:
//! `/cacerts`, `/simpleenroll` with a one-time token (HTTP Basic, RFC 7030 section 3.2.3), and
//! `/simplereenroll` with the present certificate (section 3.3.2). Proof that key and connection belong
//! together (`challengePassword` with `tls-unique`, section 3.5) is optional there and left out: TLS 1.3 has
//! no `tls-unique`.

pub mod address;
mod base64;
pub mod client;
pub mod issued;
pub mod key;
mod pkcs7;
pub mod retry_after;
pub mod trouble;
pub mod wire;

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use crate::time::Wall;
use address::Address;
use retry_after::retry_after;
pub use trouble::EstError;

/// The longest body of an answer that is read: a chain of ten certificates is a tenth of it.
pub const MAX_BODY: usize = 256 * 1024;
/// How long to wait where the server says "later" and not when.
const LATER: Duration = Duration::from_secs(3_600);
/// How much of the server's own words is shown.
const MAX_WORDS: usize = 200;

/// One HTTP request.
pub struct Request {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// From the first slash on.
    pub path: String,
    /// Beside `Host`, `Content-Length` and `Connection`, which the transport adds.
    pub headers: Vec<(&'static str, Zeroizing<String>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// One HTTP response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, decoded from its transfer coding.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What the server says to a request that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Certificates, in no order that could be relied on.
    Certificates(Vec<CertificateDer<'static>>),
    /// Somebody has to decide first: the same request again after this time (RFC 7030 section 4.2.3).
    Later(Duration),
}

/// Asks for the authority's certificates.
pub fn cacerts(address: &Address) -> Request {
    Request { method: "GET", path: address.operation("cacerts"), headers: Vec::new(), body: Vec::new() }
}

/// Asks for the first certificate. The token is a password for one time; the user is the gateway's id.
pub fn simpleenroll(address: &Address, csr: &[u8], user: &str, token: &str) -> Request {
    let user_and_token = Zeroizing::new(format!("{user}:{token}"));
    let basic = Zeroizing::new(format!("Basic {}", base64::encode(user_and_token.as_bytes()).as_str()));
    let mut request = enrolment(address.operation("simpleenroll"), csr);
    request.headers.push(("Authorization", basic));
    request
}

/// Asks for the next certificate; the present one is shown in the TLS handshake.
pub fn simplereenroll(address: &Address, csr: &[u8]) -> Request {
    enrolment(address.operation("simplereenroll"), csr)
}

fn enrolment(path: String, csr: &[u8]) -> Request {
    let headers = vec![
        ("Content-Type", Zeroizing::new("application/pkcs10".to_owned())),
        // RFC 8951 section 3.1: receivers ignore it. Receivers of before that ask for it.
        ("Content-Transfer-Encoding", Zeroizing::new("base64".to_owned())),
    ];
    Request { method: "POST", path, headers, body: base64::encode(csr).as_bytes().to_vec() }
}

/// What a response says. `now` is only asked where the server names a date and not its own time.
pub fn read(response: &Response, now: Wall) -> Result<Answer, EstError> {
    let wait = retry_after(response, now);
    match response.status {
        200 => certificates(response).map(Answer::Certificates),
        202 => Ok(Answer::Later(wait.unwrap_or(LATER))),
        204 => Err(EstError::NothingThere),
        300..=399 => {
            Err(EstError::Redirect { location: words(response.header("location").unwrap_or("?").as_bytes()) })
        }
        401 => Err(EstError::TokenRefused),
        403 => Err(EstError::Forbidden { words: words(&response.body) }),
        404 => Err(EstError::NoSuchPath),
        408 | 425 | 429 | 500..=599 => {
            Err(EstError::Busy { status: response.status, words: words(&response.body), wait })
        }
        status => Err(EstError::NotAccepted { status, words: words(&response.body) }),
    }
}

fn certificates(response: &Response) -> Result<Vec<CertificateDer<'static>>, EstError> {
    // RFC 7030 section 4.1.3 and 4.2.3; parameters (`smime-type=certs-only`) may follow.
    let kind = response.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/pkcs7-mime") {
        return Err(EstError::Content { what: format!("its content type is {:?}", words(kind.as_bytes())) });
    }
    let content = |what: &str| EstError::Content { what: what.to_owned() };
    let der = base64::decode(&response.body).ok_or_else(|| content("it is not base64"))?;
    let found = pkcs7::certificates(&der)
        .map_err(|error| EstError::Content { what: format!("it is not PKCS#7: {error}") })?;
    if found.is_empty() { Err(content("there is no certificate in it")) } else { Ok(found) }
}

/// The server's own words, fit for a log.
fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(4 * MAX_WORDS)).unwrap_or_default());
    let clean: String =
        text.chars().map(|c| if c.is_control() || is_hidden(c) { ' ' } else { c }).take(MAX_WORDS).collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What shows nothing, or turns the line around (Unicode Standard Annex #9, section 2).
const fn is_hidden(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests;
