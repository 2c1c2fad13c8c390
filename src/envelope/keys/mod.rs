//! Keys: the key-encryption key (KEK) from outside, and the data keys (DEK) wrapped by it.
//!
//! In: a [`KeyPlace`] for each key: a file, a systemd credential, or a key in a PKCS#11 token. Out: a
//! [`Kek`] that makes and unwraps the keys of segments, and a [`WardKey`] that makes pseudonyms. What
//! can go wrong: the key is not there, not readable, open to others, or not a key; a token is missing,
//! or refuses its PIN; each says the place and the way out. What never happens: a key is made here in
//! place of one that is missing; a refused PIN is tried again; a key is shown by `Debug`; key bytes
//! outlive their holder.
//!
//! A token also signs for the gateway's certificate ([`TokenKey::sign`]): there the private key of a pair is in it.
//! A token that hangs is waited for no longer than a bound, and said to be silent.
//!
//! A token's key never leaves the token. The KEK is the token's answer to one question, asked once at
//! the start: HMAC-SHA-256 of the label `wardline kek v1` under a key that cannot be read. So there is
//! no wrapped copy that could be lost, and destroying the token's key destroys the store.

mod client;
mod file;
mod kek;
mod patience;
mod pkcs11;
mod place;
mod trouble;
mod uri;

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub use file::{KeyFile, fresh, open_secret};
pub use kek::{Kek, KekId, KeyRing, MacKey, SegmentKeys, WardKey};
pub use place::{KeyPlace, Protection};
pub use trouble::TokenTrouble;
pub use uri::{Purpose, SCHEME as TOKEN_SCHEME, TokenKey, TokenName, UriError};

/// The bytes of a key, wiped when dropped.
pub type KeyBytes = Zeroizing<[u8; 32]>;

/// Why a key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be opened or read.
    #[error(
        "key file {path} cannot be read: {reason}; put the gateway's own key there (provisioning made it), \
         never a new one while the store holds data"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// It is a folder, a device, a pipe.
    #[error("key file {path} is not a regular file: name the file itself")]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Others may read or change it.
    #[error("key file {path} has mode {mode:04o}: others could read or change it; `chmod 0400 {path}`")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("key file {path} belongs to user {owner}: it must belong to root or to the daemon's own user")]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// It does not hold a key.
    #[error("key file {path} does not hold a key: {reason}; it must hold 32 bytes, raw or as 64 hex digits")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A token's key cannot be had.
    #[error("{key}: {trouble}")]
    Token {
        /// Which key: object, token and module.
        key: String,
        /// Why.
        trouble: TokenTrouble,
    },
    /// The library refused.
    #[error("the system gave no random bytes for a key: try again")]
    Random,
}

impl KeyError {
    /// Whether another try could lock the token, so that only a person may make it.
    pub const fn must_not_be_tried_again(&self) -> bool {
        matches!(self, Self::Token { trouble, .. } if trouble.is_about_the_pin())
    }
}

/// Where a key comes from. A file, a credential and a PKCS#11 token are there; a TPM fits beside them.
pub trait KeySource {
    /// The 32 bytes of the key.
    fn load(&self) -> Result<KeyBytes, KeyError>;

    /// How the key is protected, for `status` and heartbeats.
    fn protection(&self) -> Protection;
}

/// The same as [`KeyFile`] for callers that have only a path.
pub fn load_kek(path: &Path) -> Result<Kek, KeyError> {
    Kek::load(&KeyFile::new(path))
}
