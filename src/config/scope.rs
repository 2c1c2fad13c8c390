//! One table of the configuration while it is judged: its values, where they were written, and the
//! problems found so far.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::problem::Problems;
use super::{layers, peel, suggest, units};
use crate::envelope::keys::{KeyPlace, Purpose, TOKEN_SCHEME, TokenKey};
use crate::fleet::documents::{MAX_NAME, is_name};

/// Where systemd keeps the credentials of the unit, for a person who runs `check` beside it.
const CREDENTIALS: &str = "/run/credentials/wardline.service";
/// What a path begins with that names a credential of the unit.
const CREDENTIAL_SCHEME: &str = "credential:";

/// What paths are resolved against.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The configuration folder, absolute.
    pub(super) folder: PathBuf,
    /// Where the unit's credentials are.
    pub(super) credentials: PathBuf,
}

impl Places {
    pub(super) fn new(folder: &Path, credentials: Option<&str>) -> Self {
        Self {
            folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()),
            credentials: PathBuf::from(credentials.unwrap_or(CREDENTIALS)),
        }
    }

    /// Where a credential is; `None` when that is no name of one.
    pub(super) fn credential(&self, name: &str) -> Option<PathBuf> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_name =
            !name.is_empty() && name.len() <= 255 && name.chars().all(fits) && !name.starts_with('.');
        is_name.then(|| self.credentials.join(name))
    }
}

/// One table while it is judged.
pub(super) struct Scope<'a> {
    figment: &'a Figment,
    values: Value,
    /// The file in which what is missing belongs.
    home: &'a str,
    /// What stands before each key in a message, for instance `device[0].`.
    prefix: String,
    problems: &'a mut Problems,
}

impl<'a> Scope<'a> {
    pub(super) const fn new(
        figment: &'a Figment,
        values: Value,
        home: &'a str,
        prefix: String,
        problems: &'a mut Problems,
    ) -> Self {
        Self { figment, values, home, prefix, problems }
    }

    /// The table at a place of a list of tables, for instance `part.2`.
    pub(super) fn table(&mut self, key: &str, place: usize) -> Scope<'_> {
        let list = self.values.as_dict().and_then(|dict| dict.get(key)).and_then(Value::as_array);
        let values = list.and_then(|list| list.get(place)).cloned();
        Scope {
            figment: self.figment,
            values: values.unwrap_or_else(|| Value::from(Dict::new())),
            home: self.home,
            prefix: format!("{}{key}.{place}.", self.prefix),
            problems: self.problems,
        }
    }

    /// Reads the raw struct, reporting every key that does not fit.
    pub(super) fn read<T: DeserializeOwned + Default>(&mut self) -> T {
        peel::peel(self.values.clone(), |path, value, reason| {
            let file = value.and_then(|value| layers::origin(self.figment, value));
            let key = format!("{}{}", self.prefix, path.join("."));
            let key = key.trim_end_matches('.');
            self.problems.push(file.as_deref().unwrap_or(self.home), key, reason);
        })
    }

    /// Something is wrong with this key.
    pub(super) fn problem(&mut self, key: &str, reason: impl Into<String>) {
        let value = self.values.find_ref(key);
        let file = value.and_then(|value| layers::origin(self.figment, value));
        let key = format!("{}{key}", self.prefix);
        self.problems.push(file.as_deref().unwrap_or(self.home), &key, reason);
    }

    /// Whether nothing was found wrong in this table.
    pub(super) fn is_well(&self) -> bool {
        !self.problems.touches(self.home, self.prefix.trim_end_matches('.'))
    }

    /// Whether a problem is known of this key, of a table that holds it, or of something in it.
    pub(super) fn is_known_wrong(&self, key: &str) -> bool {
        self.problems.touches(self.home, &format!("{}{key}", self.prefix))
    }

    /// The key must be there and is not. Silent when it (or its table, or its whole file) was found
    /// wrong before.
    pub(super) fn missing(&mut self, key: &str, what: &str) {
        let full = format!("{}{key}", self.prefix);
        if !self.problems.covers(self.home, &full) && !self.problems.covers_file(self.home) {
            self.problems.push(self.home, &full, format!("is missing: {what}"));
        }
    }

    /// The table's full name in messages.
    pub(super) fn name(&self) -> String {
        format!("{}: {}", self.home, self.prefix.trim_end_matches('.'))
    }

    /// A value that must be there.
    pub(super) fn required<T>(&mut self, key: &str, value: Option<T>, what: &str) -> Option<T> {
        if value.is_none() {
            self.missing(key, what);
        }
        value
    }

    /// A name of topics and commands.
    pub(super) fn id(&mut self, key: &str, value: Option<String>, what: &str) -> Option<String> {
        let value = self.required(key, value, what)?;
        if is_name(&value) {
            return Some(value);
        }
        self.problem(key, format!("{value:?} must be 1 to {MAX_NAME} of the characters a-z, 0-9 and -"));
        None
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, key: &str, value: Option<&str>, words: &[(&str, T)]) -> Option<T> {
        let known = || words.iter().map(|(word, _)| *word);
        let Some(value) = value else {
            self.missing(key, &format!("one of {}", known().collect::<Vec<_>>().join(", ")));
            return None;
        };
        let found = words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
        if found.is_none() {
            self.problem(key, format!("{value:?} is not known here{}", suggest::nearest(value, known())));
        }
        found
    }

    /// A whole number within bounds.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        value: Option<i64>,
        bounds: (i64, i64),
    ) -> Option<T> {
        let (least, most) = bounds;
        let value = self.required(key, value, &format!("a whole number from {least} to {most}"))?;
        let fits = (least..=most).contains(&value).then(|| T::try_from(value).ok()).flatten();
        if fits.is_none() {
            self.problem(key, format!("{value} is not from {least} to {most}"));
        }
        fits
    }

    /// A duration within bounds, which are written like the value itself.
    pub(super) fn duration(
        &mut self,
        key: &str,
        value: Option<&str>,
        bounds: (&str, &str),
    ) -> Option<Duration> {
        let (least, most) = bounds;
        let text = self.required(key, value, "a duration, for instance \"5s\"")?;
        let read = units::duration(text).map_err(|reason| self.problem(key, reason)).ok()?;
        let within = units::duration(least).is_ok_and(|least| read >= least)
            && units::duration(most).is_ok_and(|most| read <= most);
        if !within {
            self.problem(key, format!("{text:?} is not from {least} to {most}"));
        }
        within.then_some(read)
    }

    /// A size.
    pub(super) fn size(&mut self, key: &str, value: Option<&str>) -> Option<u64> {
        let text = self.required(key, value, "a size, for instance \"4GiB\"")?;
        units::size(text).map_err(|reason| self.problem(key, reason)).ok()
    }

    /// A file or folder: absolute, relative to the configuration folder, or a credential.
    pub(super) fn path(&mut self, key: &str, value: Option<&str>, places: &Places) -> Option<PathBuf> {
        let text = self.required(key, value, "the path of a file")?;
        if let Some(name) = text.strip_prefix(CREDENTIAL_SCHEME) {
            let credential = places.credential(name);
            if credential.is_some() {
                return credential;
            }
            self.problem(
                key,
                format!("{text:?} does not name a credential: letters, digits, - and _ after the colon"),
            );
            return None;
        }
        if text.trim().is_empty() || text.contains('\0') {
            self.problem(key, format!("{text:?} is not a path"));
            return None;
        }
        Some(places.folder.join(text))
    }

    /// The place of a store's key: a path like any other, or the PKCS#11 URI of a token's key.
    pub(super) fn key(&mut self, key: &str, value: Option<&str>, places: &Places) -> Option<KeyPlace> {
        self.key_for(Purpose::Kek, (key, value), places)
    }

    /// The place of a certificate's key: the same.
    pub(super) fn client_key(&mut self, key: &str, value: Option<&str>, places: &Places) -> Option<KeyPlace> {
        self.key_for(Purpose::Client, (key, value), places)
    }

    fn key_for(
        &mut self,
        purpose: Purpose,
        (key, value): (&str, Option<&str>),
        places: &Places,
    ) -> Option<KeyPlace> {
        let Some(uri) = value.filter(|text| text.starts_with(TOKEN_SCHEME)) else {
            let is_credential = value.is_some_and(|text| text.starts_with(CREDENTIAL_SCHEME));
            let path = self.path(key, value, places)?;
            return Some(if is_credential { KeyPlace::Credential(path) } else { KeyPlace::File(path) });
        };
        match TokenKey::parse_for(purpose, uri, |name| places.credential(name)) {
            Ok(token) => Some(KeyPlace::Token(token)),
            Err(error) => {
                self.problem(key, error.to_string());
                None
            }
        }
    }

    /// A host name or an address; nothing of a URL around it.
    pub(super) fn host(&mut self, key: &str, value: Option<String>) -> Option<String> {
        let host = self.required(key, value, "the broker's host name, as its certificate says it")?;
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let name = host.len() <= 253 && host.split('.').all(label);
        if name || host.parse::<IpAddr>().is_ok() {
            return Some(host);
        }
        let way_out = if host.contains("://") || host.contains('/') {
            ": write the bare host name, TLS is always on"
        } else if host.contains(':') {
            ": write the port as `port`"
        } else {
            ""
        };
        self.problem(key, format!("{host:?} is not a host name{way_out}"));
        None
    }
}
