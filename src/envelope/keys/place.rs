//! Where a key is, as the configuration says it.
//!
//! In: a path, a credential, or the URI of a token's key. Out: the [`KeySource`] that reads it, and the
//! [`KeyRing`] of a store. What never happens: the place that is to be used is guessed.

use std::fmt;
use std::path::{Path, PathBuf};

use super::kek::{Kek, KeyRing};
use super::patience::{self, TO_HANDLE};
use super::{KeyBytes, KeyError, KeyFile, KeySource, TokenKey, pkcs11};
use crate::envelope::wipe::cleanly;

/// How a key is protected where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// By the permissions of a file.
    File,
    /// By systemd: encrypted at rest, in the clear only for the running unit.
    Credential,
    /// By a token: the key that it is derived from cannot be read at all.
    Pkcs11,
}

impl Protection {
    /// The word of `status` and heartbeats.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Credential => "credential",
            Self::Pkcs11 => "pkcs11",
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The place of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// A file.
    File(PathBuf),
    /// A credential of the unit: where systemd puts it.
    Credential(PathBuf),
    /// A key in a token.
    Token(TokenKey),
}

impl KeyPlace {
    /// The file, when it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Credential(path) => Some(path),
            Self::Token(_) => None,
        }
    }

    /// How the key is protected there.
    pub const fn kept(&self) -> Protection {
        match self {
            Self::File(_) => Protection::File,
            Self::Credential(_) => Protection::Credential,
            Self::Token(_) => Protection::Pkcs11,
        }
    }

    /// The token's key, when it is one.
    pub const fn token(&self) -> Option<&TokenKey> {
        match self {
            Self::Token(key) => Some(key),
            Self::File(_) | Self::Credential(_) => None,
        }
    }

    /// Whether both name one key. Two URIs may say it differently; then the store notices.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Token(one), Self::Token(other)) => one.is_same(other),
            (one, other) => one.path().is_some() && one.path() == other.path(),
        }
    }
}

/// For people.
impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Credential(path) => write!(f, "credential {}", path.display()),
            Self::Token(key) => write!(f, "{key}"),
        }
    }
}

impl KeySource for KeyPlace {
    fn load(&self) -> Result<KeyBytes, KeyError> {
        match self {
            Self::File(path) | Self::Credential(path) => KeyFile::new(path).load(),
            Self::Token(key) => key.load(),
        }
    }

    fn protection(&self) -> Protection {
        self.kept()
    }
}

impl KeySource for TokenKey {
    fn load(&self) -> Result<KeyBytes, KeyError> {
        let key = self.clone();
        // Behind a pointer on its way between the threads: what is moved leaves a copy.
        let load = move || cleanly(|| pkcs11::Modules::default().load(&key).map(Box::new));
        patience::ask(self, TO_HANDLE, load).map(|bytes| KeyBytes::new(**bytes))
    }

    fn protection(&self) -> Protection {
        Protection::Pkcs11
    }
}

impl TokenKey {
    /// Makes the key in its token, so that it can never be read, and gives the KEK that comes of it.
    /// Refuses when there is one of the name.
    pub fn make(&self) -> Result<Kek, KeyError> {
        let key = self.clone();
        let make = move || cleanly(|| pkcs11::Modules::default().make(&key).map(Kek::from_bytes));
        patience::ask(self, TO_HANDLE, make)
    }
}

impl KeyRing {
    /// Loads the keys of a store. A module that both come from is set up once; at the first trouble
    /// nothing more is asked of any token.
    pub fn load(current: &KeyPlace, previous: Option<&KeyPlace>) -> Result<Self, KeyError> {
        let Some(key) = current.token().or_else(|| previous.and_then(KeyPlace::token)) else {
            return Self::asked(current, previous);
        };
        let (current, previous) = (current.clone(), previous.cloned());
        patience::ask(key, TO_HANDLE, move || Self::asked(&current, previous.as_ref()))
    }

    fn asked(current: &KeyPlace, previous: Option<&KeyPlace>) -> Result<Self, KeyError> {
        let mut modules = pkcs11::Modules::default();
        let mut load = |place: &KeyPlace| match place {
            KeyPlace::Token(key) => cleanly(|| modules.load(key).map(Kek::from_bytes)),
            KeyPlace::File(_) | KeyPlace::Credential(_) => Kek::load(place),
        };
        let current = load(current)?;
        let previous = previous.map(load).transpose()?;
        Ok(Self { current, previous })
    }
}
