//! The address of a certificate server.

use std::fmt;
use std::str::FromStr;

/// RFC 7030 section 3.2.2.
const WELL_KNOWN: &str = "/.well-known/est";
const MAX_LENGTH: usize = 1_024;

/// `https://host[:port][/path]`. Without a path it is `/.well-known/est`; a label of the server's
/// (`/.well-known/est/wards`) is written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    base: String,
}

/// Text that is no address of a certificate server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the address of a certificate server ({why}): https://HOST[:PORT][/PATH]")]
pub struct NoAddress {
    text: String,
    why: &'static str,
}

impl Address {
    /// The host: a name or an IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as the `Host` header has them.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if *port == 443 { host } else { format!("{host}:{port}") }
    }

    /// The path of an operation.
    pub(super) fn operation(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority(), self.base)
    }
}

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let wrong = |why| NoAddress { text: text.chars().take(MAX_LENGTH).collect(), why };
        if text.len() > MAX_LENGTH {
            return Err(wrong("it is too long"));
        }
        let rest = text.strip_prefix("https://").ok_or_else(|| wrong("it does not begin with https://"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_path = |c: char| c.is_ascii_alphanumeric() || "/-._~%".contains(c);
        if !path.chars().all(is_path) {
            return Err(wrong("its path has a character that does not belong there"));
        }
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or_else(|| wrong("a bracket is missing"))?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong("it has no IPv6 address in brackets"))?;
            (host, port)
        } else {
            authority.split_at(authority.find(':').unwrap_or(authority.len()))
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(wrong("it has no host name"));
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => 443,
            None => return Err(wrong("something follows the host name")),
            Some(port) => {
                port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("its port is no port"))?
            }
        };
        let path = path.trim_end_matches('/');
        let base = if path.is_empty() { WELL_KNOWN } else { path }.to_owned();
        Ok(Self { host: host.to_owned(), port, base })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written() {
        for (text, shown) in [
            ("https://pki.example", "https://pki.example/.well-known/est"),
            ("https://pki.example/", "https://pki.example/.well-known/est"),
            (
                "https://pki.example:8443/.well-known/est/wards/",
                "https://pki.example:8443/.well-known/est/wards",
            ),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443/.well-known/est"),
            ("https://10.1.2.3:443/a", "https://10.1.2.3/a"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse(), Ok(address));
        }
        let address: Address = "https://pki.example/x".parse().unwrap();
        assert_eq!(address.operation("cacerts"), "/x/cacerts");
    }

    #[test]
    fn what_is_no_address_is_refused_in_words() {
        for (text, why) in [
            ("http://pki.example", "https"),
            ("pki.example", "https"),
            ("https://", "no host"),
            ("https:///x", "no host"),
            ("https://user@pki.example", "no host"),
            ("https://pki.example:0", "port"),
            ("https://pki.example:99999", "port"),
            ("https://pki.example/a b", "character"),
            ("https://pki.example/a\r\nX: y", "character"),
            ("https://pki.example/?q=1", "character"),
            ("https://pki.example?q", "no host"),
            ("https://[::1", "bracket"),
            ("https://[::1]x", "follows"),
            ("https://[zz]", "IPv6"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
