//! The name of a key in a token: a PKCS#11 URI (RFC 7512).
//!
//! In: `pkcs11:token=ward;object=wardline-kek?module-path=/usr/lib/p11.so&pin-source=file:/etc/pin`. Out:
//! a [`TokenKey`]. What can go wrong: [`UriError`], which names the part of the URI. What never happens: a
//! part that is not understood is passed over, as RFC 7512 allows: it might be the one that tells two
//! tokens apart; a PIN stands in the configuration.

use std::fmt;
use std::path::PathBuf;

use crate::envelope::block::hex;

/// What such a name begins with.
pub const SCHEME: &str = "pkcs11:";

/// The longest URI.
const MAX_URI: usize = 1_024;
/// What fits into the fields of a token (PKCS#11, `CK_TOKEN_INFO`): label and manufacturer, model and
/// serial number.
const LONG_FIELD: usize = 32;
const SHORT_FIELD: usize = 16;
/// Longer names of objects are somebody's mistake.
const MAX_NAME: usize = 255;

/// Which token. A field that is `None` may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenName {
    /// `token`: its label.
    pub label: Option<String>,
    /// `serial`.
    pub serial: Option<String>,
    /// `manufacturer`.
    pub manufacturer: Option<String>,
    /// `model`.
    pub model: Option<String>,
}

/// One key in one token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenKey {
    /// The PKCS#11 library: absolute.
    pub module: PathBuf,
    /// The token.
    pub token: TokenName,
    /// `object`: the key's label.
    pub object: Option<String>,
    /// `id`: the key's `CKA_ID`.
    pub id: Option<Vec<u8>>,
    /// The file that holds the PIN.
    pub pin: Option<PathBuf>,
}

/// What is wrong with a URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is a PKCS#11 URI whose `{part}` {reason}")]
pub struct UriError {
    /// The part.
    pub part: String,
    /// What is wrong with it.
    pub reason: String,
}

fn wrong(part: &str, reason: impl Into<String>) -> UriError {
    UriError { part: part.to_owned(), reason: reason.into() }
}

/// What a key is for; `type` in its URI, where that stands there, has to say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A store's KEK: a `secret-key`.
    Kek,
    /// A client certificate's key: `private`.
    Client,
}

impl TokenKey {
    /// Reads the URI of a KEK. `credential` says where a credential of a given name is, or `None` when that is no
    /// name of one.
    pub fn parse(text: &str, credential: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, UriError> {
        Self::parse_for(Purpose::Kek, text, credential)
    }

    /// Reads a URI of a key for this purpose.
    pub fn parse_for(
        purpose: Purpose,
        text: &str,
        credential: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<Self, UriError> {
        let key = Self::read(purpose, text, &credential)?;
        if key.module.as_os_str().is_empty() {
            return Err(wrong(
                "module-path",
                "is missing: name the token's PKCS#11 library by its absolute path",
            ));
        }
        Ok(key)
    }

    /// Reads what [`TokenKey::name`] wrote: which client's key in which token. By which library it is reached, and
    /// with which PIN, is the configuration's to say: see [`TokenKey::reached_as`].
    pub fn named(text: &str) -> Result<Self, UriError> {
        if text.contains('?') {
            return Err(wrong("query", "is not for the name of a key alone"));
        }
        Self::read(Purpose::Client, text, &|_| None)
    }

    /// The same key, reached by the library and with the PIN of another.
    #[must_use]
    pub fn reached_as(&self, other: &Self) -> Self {
        Self { module: other.module.clone(), pin: other.pin.clone(), ..self.clone() }
    }

    /// The URI that tells it from every other key: without a library and a PIN.
    pub fn name(&self) -> String {
        let TokenName { label, serial, manufacturer, model } = &self.token;
        let texts = [
            ("token", label),
            ("serial", serial),
            ("manufacturer", manufacturer),
            ("model", model),
            ("object", &self.object),
        ];
        let mut parts: Vec<String> = texts
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))))
            .collect();
        parts.extend(self.id.as_ref().map(|id| format!("id={}", percent(id))));
        format!("{SCHEME}{}", parts.join(";"))
    }

    fn read(
        purpose: Purpose,
        text: &str,
        credential: &impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<Self, UriError> {
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| wrong("scheme", "is not `pkcs11:`"))?;
        if rest.len() > MAX_URI {
            return Err(wrong("scheme", format!("is followed by more than {MAX_URI} bytes")));
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parts = Parts::default();
        parts.read(path, ';', &PATH, "path")?;
        parts.read(query, '&', &QUERY, "query")?;
        let mut key = Self::default();
        for (name, value) in parts.0 {
            key.set(name, value, (purpose, credential))?;
        }
        if key.token.label.is_none() && key.token.serial.is_none() {
            return Err(wrong("token", "is missing: name the token, or give its `serial`"));
        }
        if key.object.is_none() && key.id.is_none() {
            return Err(wrong("object", "is missing: name the key in the token, or give its `id`"));
        }
        Ok(key)
    }

    fn set(
        &mut self,
        name: &'static str,
        value: Vec<u8>,
        (purpose, credential): (Purpose, &impl Fn(&str) -> Option<PathBuf>),
    ) -> Result<(), UriError> {
        if name == "id" {
            self.id = Some(value);
            return Ok(());
        }
        let value = String::from_utf8(value).map_err(|_| wrong(name, "is not UTF-8 text"))?;
        if value.chars().any(char::is_control) {
            return Err(wrong(name, "holds a control character"));
        }
        let fits = |most: usize| {
            let length = value.len();
            if length > most {
                Err(wrong(name, format!("has {length} bytes, and {most} fit")))
            } else {
                Ok(())
            }
        };
        match name {
            "token" => (fits(LONG_FIELD)?, self.token.label = Some(value)).1,
            "manufacturer" => (fits(LONG_FIELD)?, self.token.manufacturer = Some(value)).1,
            "serial" => (fits(SHORT_FIELD)?, self.token.serial = Some(value)).1,
            "model" => (fits(SHORT_FIELD)?, self.token.model = Some(value)).1,
            "object" => (fits(MAX_NAME)?, self.object = Some(value)).1,
            "module-path" => self.module = absolute(name, &value)?,
            "pin-source" => self.pin = Some(pin_source(&value, credential)?),
            _ if value == purpose.class() => {}
            _ => return Err(wrong("type", format!("is {value:?}, and {}", purpose.must_be()))),
        }
        Ok(())
    }

    /// Whether both name one key, whatever PIN they come with.
    pub fn is_same(&self, other: &Self) -> bool {
        let named = |key: &Self| (key.module.clone(), key.token.clone(), key.object.clone(), key.id.clone());
        named(self) == named(other)
    }
}

impl Purpose {
    const fn class(self) -> &'static str {
        match self {
            Self::Kek => "secret-key",
            Self::Client => "private",
        }
    }

    const fn must_be(self) -> &'static str {
        match self {
            Self::Kek => "a KEK is a `secret-key`",
            Self::Client => "a certificate's key is a `private` one",
        }
    }
}

/// What is not unreserved (RFC 3986 section 2.3) as `%XX`.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { percent(&[byte]) })
        .collect()
}

fn percent(bytes: &[u8]) -> String {
    let digits = hex(bytes).to_ascii_uppercase();
    digits
        .as_bytes()
        .chunks(2)
        .flat_map(|two| std::iter::once('%').chain(two.iter().map(|c| char::from(*c))))
        .collect()
}

/// The parts of a path and of a query that mean something here.
const PATH: [&str; 7] = ["token", "serial", "manufacturer", "model", "object", "id", "type"];
const QUERY: [&str; 2] = ["module-path", "pin-source"];

/// Names and values, each name once.
#[derive(Default)]
struct Parts(Vec<(&'static str, Vec<u8>)>);

impl Parts {
    fn read(
        &mut self,
        text: &str,
        between: char,
        known: &[&'static str],
        which: &str,
    ) -> Result<(), UriError> {
        for part in text.split(between).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| wrong(part, "has no value"))?;
            if name == "pin-value" {
                let reason = "is not taken: a secret does not belong into the configuration; put the PIN into a file \
                              or a credential and name that as `pin-source`";
                return Err(wrong(name, reason));
            }
            let Some(known) = known.iter().find(|known| **known == name) else {
                let all = known.join(", ");
                return Err(wrong(name, format!("is not known here: its {which} may have {all}")));
            };
            if self.0.iter().any(|(taken, _)| taken == known) {
                return Err(wrong(name, "stands there twice"));
            }
            let value = decoded(value).map_err(|reason| wrong(name, reason))?;
            if value.is_empty() {
                return Err(wrong(name, "is empty"));
            }
            self.0.push((known, value));
        }
        Ok(())
    }
}

/// Takes `%XX` apart. What RFC 3986 wants written so is refused otherwise.
fn decoded(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
                let value = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
                bytes.push(value.ok_or("has a % without two hex digits after it")?);
            }
            b'!'..=b'~' => bytes.push(byte),
            _ => return Err(format!("must have its {:?} written %{byte:02X}", char::from(byte))),
        }
    }
    Ok(bytes)
}

fn absolute(name: &str, text: &str) -> Result<PathBuf, UriError> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(wrong(name, "must be an absolute path")) }
}

/// `file:/path` or `credential:NAME`.
fn pin_source(text: &str, credential: &impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, UriError> {
    const NAME: &str = "pin-source";
    if let Some(name) = text.strip_prefix("credential:") {
        return credential(name).ok_or_else(|| {
            wrong(NAME, "does not name a credential: letters, digits, - and _ after the colon")
        });
    }
    if let Some(path) = text.strip_prefix("file:") {
        return absolute(NAME, path.strip_prefix("//").unwrap_or(path));
    }
    if text.starts_with('|') {
        return Err(wrong(NAME, "names a command, and none is run here: write `file:` or `credential:`"));
    }
    Err(wrong(NAME, "must begin with `file:` or `credential:`"))
}

/// For people: no more than tells it apart.
impl fmt::Display for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("key")?;
        if let Some(object) = &self.object {
            write!(f, " {object}")?;
        }
        if let Some(id) = &self.id {
            write!(f, " with id {}", hex(id))?;
        }
        f.write_str(" in token")?;
        for field in [&self.token.label, &self.token.manufacturer, &self.token.model].into_iter().flatten() {
            write!(f, " {field}")?;
        }
        if let Some(serial) = &self.token.serial {
            write!(f, " with serial number {serial}")?;
        }
        write!(f, " by {}", self.module.display())
    }
}

#[cfg(test)]
mod tests;
