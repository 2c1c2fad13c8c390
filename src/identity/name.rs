//! The gateway's name as its certificate says it.

use std::fmt;

/// The organisation and the gateway's id, as the configuration has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The organisation.
    pub organisation: String,
    /// The gateway's id: the common name, which a broker may take as the user's name.
    pub gateway: String,
}

impl Name {
    /// The subject alternative name: `urn:wardline:st-anna:gw-icu-3-01`.
    pub fn uri(&self) -> String {
        format!("urn:wardline:{}:{}", self.organisation, self.gateway)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri())
    }
}
