//! What can go wrong with a key in a token, in words, each with the way out.

/// Why a token's key could not be had or made.
#[derive(Debug, thiserror::Error)]
pub enum TokenTrouble {
    /// The module is not there, or not one.
    #[error("its module cannot be loaded: {0}; install the token's PKCS#11 library or correct `module-path`")]
    Module(String),
    /// No token of that name.
    #[error(
        "no such token is there (there {present}); plug it in, or correct `token` or `serial` in the URI"
    )]
    NoToken {
        /// What is there instead.
        present: String,
    },
    /// Several of that name.
    #[error("{0} tokens have that name: add `serial` to the URI, or take the other one out")]
    ManyTokens(usize),
    /// The token wants a PIN and the URI has none.
    #[error(
        "its token wants a PIN: put it into a file or a credential, and name that as `pin-source` in the URI"
    )]
    NoPin,
    /// The PIN's own file.
    #[error("its PIN cannot be read: {0}; correct `pin-source` in the URI, or what it names")]
    PinFile(String),
    /// The wrong PIN.
    #[error(
        "its token refuses the PIN. It is not tried again by itself, as a token locks after a few wrong ones: \
         put the right PIN where `pin-source` says, then start the daemon by hand"
    )]
    PinRefused,
    /// The token was given the PIN and says something else than yes.
    #[error(
        "its token was given the PIN and did not take it: {0}. It is not tried again by itself, as that may have \
         been a wrong PIN, and a token locks after a few: see the log of the token's own software and put the \
         right PIN where `pin-source` says, then start the daemon by hand"
    )]
    LoginFailed(String),
    /// It refused the PIN of this key earlier in this run.
    #[error(
        "its token did not take the PIN before, and is not asked again by this run, as a token locks after a few \
         wrong ones: put the right PIN where `pin-source` says, then start the daemon by hand"
    )]
    PinHeld,
    /// One try is left.
    #[error(
        "its token has one try of the PIN left, and that is not taken here: log in once with the right PIN by \
         the vendor's own program, which gives the token its tries back, then start the daemon by hand"
    )]
    LastTry,
    /// No try is left.
    #[error(
        "its token is locked after wrong PINs: unlock it as its security officer by the vendor's own program, \
         then start the daemon by hand. The key in it is not lost by this"
    )]
    PinLocked,
    /// The PIN must be changed or was never set.
    #[error(
        "its token takes no PIN now ({0}): set a PIN by the vendor's own program, then start the daemon by hand"
    )]
    PinNotReady(&'static str),
    /// No object of that name.
    #[error(
        "there is no such object in its token: correct `object` or `id` in the URI, or `pin-source` where the PIN \
         is another's. A lost key is lost with what the store holds; never make a new one over old data"
    )]
    NoObject,
    /// No private key of that name.
    #[error(
        "there is no such private key in its token: correct `object` or `id` in the URI, or `pin-source` where the \
         PIN is another's. If it is lost enrol the gateway again with a new token (wardline enrol --again)"
    )]
    NoClientKey,
    /// A key pair that is no good for a certificate.
    #[error("it cannot be the key of a certificate: {0}; let wardline enrol make another in the token")]
    UnfitClientKey(String),
    /// There is nothing to tell a new key from others.
    #[error("no key can be made under this name: {0}")]
    Unnamed(&'static str),
    /// Several of that name.
    #[error("{0} keys in its token have that name: add `id` to the URI")]
    ManyObjects(usize),
    /// Something else has that name.
    #[error(
        "it is {0}, and must be a generic secret key for HMAC: make one with `wardline keys make --pkcs11`"
    )]
    WrongType(String),
    /// An attribute of the key that must not be so.
    #[error(
        "it has {name} {found}, and must have {wanted}: {why}; make another with `wardline keys make --pkcs11`"
    )]
    Attribute {
        /// The attribute.
        name: &'static str,
        /// As it is.
        found: String,
        /// As it must be.
        wanted: &'static str,
        /// What is wrong with that.
        why: &'static str,
    },
    /// The token cannot do it.
    #[error("its token cannot do {0} with it: use a token that can, or another key")]
    Mechanism(&'static str),
    /// It hangs.
    #[error(
        "its token does not answer: see that it is whole and reached, and the log of the token's own software; plug \
         it in again, or start that software anew. It is asked again once it has come back; if it never does, start \
         the daemon by hand"
    )]
    Silent,
    /// It went away.
    #[error("its token was taken out: plug it in again")]
    Removed,
    /// There is one.
    #[error("there is an object of that name already: a key is never made over another; give it a new name")]
    Exists,
    /// The module's own words.
    #[error("{step} failed: {reason}; see the log of the token's own software")]
    Failed {
        /// What was asked for.
        step: &'static str,
        /// What it said.
        reason: String,
    },
}

impl TokenTrouble {
    /// Whether it is the PIN: only a person may try again.
    pub const fn is_about_the_pin(&self) -> bool {
        matches!(
            self,
            Self::PinRefused
                | Self::LoginFailed(_)
                | Self::PinHeld
                | Self::LastTry
                | Self::PinLocked
                | Self::PinNotReady(_)
        )
    }
}
