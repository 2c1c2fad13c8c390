//! HTTP/1.1 (RFC 9112) as far as one request on one connection needs it: bytes out, bytes in.
//!
//! Strict: what is not plainly a response is none. Everything has a bound.

use zeroize::Zeroizing;

use super::address::Address;
use super::{EstError, MAX_BODY, Request, Response};

/// Status line and headers.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// Interim words before the response.
const MAX_INTERIM: u32 = 8;
/// The most that is read: a head, a body, and what chunks add.
pub const MAX_READ: usize = MAX_HEAD + 2 * MAX_BODY;

const END: &[u8] = b"\r\n\r\n";

/// The bytes of a request. The connection is for it alone.
pub fn encode(request: &Request, address: &Address) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(1_024 + request.body.len()));
    let Request { method, path, headers, body } = request;
    let host = address.authority();
    bytes.extend(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n").bytes());
    for (name, value) in headers {
        for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend(part);
        }
    }
    if *method == "POST" {
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    Close,
}

/// A response as it arrives.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// All that has arrived, also what is gone by now.
    arrived: usize,
    interim: u32,
    head: Option<(Response, Framing, usize)>,
}

impl Reader {
    /// Takes what has arrived; `is_end`: nothing follows. The response once it is whole.
    pub fn take(&mut self, arrived: &[u8], is_end: bool) -> Result<Option<Response>, EstError> {
        self.arrived = self.arrived.saturating_add(arrived.len());
        if self.arrived > MAX_READ {
            return Err(EstError::Http("it is too long"));
        }
        self.bytes.extend(arrived);
        while self.head.is_none() {
            let Some(end) = self.bytes.windows(END.len()).position(|part| part == END) else {
                if self.bytes.len() > MAX_HEAD {
                    return Err(EstError::Http("its headers are too long"));
                }
                return if is_end { Err(EstError::Http("it ends too early")) } else { Ok(None) };
            };
            let (response, framing) = head(self.bytes.get(..end).unwrap_or_default())?;
            if (100..200).contains(&response.status) {
                // An interim word (RFC 9110 section 15.2); the response follows.
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Err(EstError::Http("it says wait and nothing else"));
                }
                self.bytes.drain(..end + END.len());
            } else {
                self.head = Some((response, framing, end + END.len()));
            }
        }
        let Some((response, framing, start)) = &self.head else { return Ok(None) };
        let rest = self.bytes.get(*start..).unwrap_or_default();
        let body = match *framing {
            Framing::Length(length) => rest.get(..length).map(<[u8]>::to_vec),
            // Looked at where it can have ended.
            Framing::Chunked if is_end || rest.ends_with(b"\r\n") => chunks(rest)?,
            Framing::Close if is_end => Some(rest.to_vec()),
            Framing::Chunked | Framing::Close => None,
        };
        match body {
            Some(body) if body.len() <= MAX_BODY => Ok(Some(Response { body, ..response.clone() })),
            Some(_) => Err(EstError::Http("it is too long")),
            None if is_end => Err(EstError::Http("it ends too early")),
            None if rest.len() > MAX_BODY && *framing != Framing::Chunked => {
                Err(EstError::Http("it is too long"))
            }
            None => Ok(None),
        }
    }
}

fn head(bytes: &[u8]) -> Result<(Response, Framing), EstError> {
    let text = std::str::from_utf8(bytes).map_err(|_| EstError::Http("its headers are not text"))?;
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| status_line.strip_prefix("HTTP/1.0 "))
        .and_then(|rest| rest.split(' ').next())
        .filter(|code| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|code| code.parse().ok())
        .ok_or(EstError::Http("it has no status line"))?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(EstError::Http("a header has no colon"))?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty()
            || !name.chars().all(is_name)
            || value.contains(|c: char| c.is_control() && c != '\t')
        {
            return Err(EstError::Http("a header has a character that does not belong there"));
        }
        if headers.len() == MAX_HEADERS {
            return Err(EstError::Http("it has too many headers"));
        }
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let response = Response { status, headers, body: Vec::new() };
    let framing = framing(&response)?;
    Ok((response, framing))
}

fn framing(response: &Response) -> Result<Framing, EstError> {
    if response.status == 204 || response.status == 304 || response.status < 200 {
        return Ok(Framing::Length(0));
    }
    let all = |name: &str| -> Vec<&str> {
        response.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    };
    match (all("transfer-encoding").as_slice(), all("content-length").as_slice()) {
        ([], []) => Ok(Framing::Close),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        ([], [length]) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length = length.parse().ok().filter(|length| *length <= MAX_BODY);
            length.map(Framing::Length).ok_or(EstError::Http("it is too long"))
        }
        // Two lengths, or a length and a coding: somebody between us and the server disagrees with it.
        _ => Err(EstError::Http("it does not say how long it is")),
    }
}

/// A body in chunks; `None`: more is to come.
fn chunks(mut rest: &[u8]) -> Result<Option<Vec<u8>>, EstError> {
    let broken = || EstError::Http("its chunks are broken");
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|part| part == b"\r\n") else { return Ok(None) };
        let line = rest.get(..end).unwrap_or_default();
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let size = std::str::from_utf8(size).ok().filter(|size| (1..=8).contains(&size.len()));
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok()).ok_or_else(broken)?;
        rest = rest.get(end + 2..).unwrap_or_default();
        if size == 0 {
            // What may follow the last chunk is of no use here; its end is an empty line.
            let is_whole = rest.starts_with(b"\r\n") || rest.windows(END.len()).any(|part| part == END);
            return Ok(is_whole.then_some(body));
        }
        if body.len() + size > MAX_BODY {
            return Err(EstError::Http("it is too long"));
        }
        let Some(chunk) = rest.get(..size + 2) else { return Ok(None) };
        let chunk = chunk.strip_suffix(b"\r\n").ok_or_else(broken)?;
        body.extend(chunk);
        rest = rest.get(size + 2..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The response, however it was cut on the way; all the ways must agree.
    fn read(text: &str) -> Result<Response, String> {
        let whole = Reader::default().take(text.as_bytes(), true);
        let whole = whole.map_err(|error| error.to_string()).map(Option::unwrap);
        let mut reader = Reader::default();
        let mut slow = None;
        for byte in text.as_bytes() {
            match reader.take(&[*byte], false) {
                Ok(None) => {}
                Ok(Some(response)) => {
                    slow = Some(Ok(response));
                    break;
                }
                Err(error) => {
                    slow = Some(Err(error.to_string()));
                    break;
                }
            }
        }
        let slow = slow
            .unwrap_or_else(|| reader.take(&[], true).map(Option::unwrap).map_err(|error| error.to_string()));
        assert_eq!(whole, slow, "{text:?}");
        whole
    }

    #[test]
    fn a_body_ends_by_length_by_chunks_or_with_the_connection() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
            "HTTP/1.0 200\r\n\r\nhello",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello",
        ] {
            let response = read(text).unwrap();
            assert_eq!((response.status, response.body.as_slice()), (200, b"hello".as_slice()), "{text:?}");
        }
        let response = read("HTTP/1.1 204 No Content\r\nRetry-After:  7 \r\n\r\n").unwrap();
        assert_eq!((response.status, response.header("retry-after")), (204, Some("7")));
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap().body, b"");
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for (text, why) in [
            ("", "too early"),
            ("SSH-2.0-OpenSSH\r\n\r\n", "status line"),
            ("HTTP/2 200\r\n\r\n", "status line"),
            ("HTTP/1.1 2000 OK\r\n\r\n", "status line"),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "colon"),
            ("HTTP/1.1 200 OK\r\nna me: x\r\n\r\n", "character"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", "too early"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "how long"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "how long"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello", "how long"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "how long"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999999\r\n\r\n", "too long"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunks"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n", "chunks"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n", "too long"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "too early"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn nothing_is_read_without_a_bound() {
        for begin in ["", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
        {
            let mut reader = Reader::default();
            let mut read = reader.take(begin.as_bytes(), false).map(|_| ());
            let mut length = 0;
            while read.is_ok() {
                length += 1_000;
                assert!(length < MAX_READ + 2_000, "{begin:?}");
                read = reader.take(&[b'a'; 1_000], false).map(|_| ());
            }
        }
        let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert!(read(&format!("{}{whole}", interim.repeat(8))).is_ok());
        assert!(read(&format!("{}{whole}", interim.repeat(9))).unwrap_err().contains("says wait"));
        let many = "X: y\r\n".repeat(MAX_HEADERS + 1);
        let error = read(&format!("HTTP/1.1 200 OK\r\n{many}\r\n")).unwrap_err();
        assert!(error.contains("too many headers"), "{error}");
    }
}
