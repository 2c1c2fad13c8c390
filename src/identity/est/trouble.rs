//! Why there is no certificate, each time with the way out.

use std::io;
use std::time::Duration;

use super::issued::IssueFault;
use crate::envelope::keys::KeyError;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EstError {
    /// No connection.
    #[error("the certificate server {server} cannot be reached ({reason}): it is asked again")]
    Unreachable {
        /// Host and port.
        server: String,
        /// Why.
        reason: String,
    },
    /// Its certificate is not to be believed.
    #[error(
        "the certificate server {server} is not trusted ({reason}): the file of authorities must hold the one that \
         issued its certificate"
    )]
    NotTrusted {
        /// Host and port.
        server: String,
        /// Why.
        reason: String,
    },
    /// Its certificate is not valid at this time, which nobody vouches for.
    #[error(
        "the certificate server {server} shows a certificate that is not valid at the time of this gateway's clock \
         ({reason}), and nobody vouches for that clock: set it (a time server), or if it is right have the server's \
         certificate renewed"
    )]
    NotNow {
        /// Host and port.
        server: String,
        /// Why.
        reason: String,
    },
    /// It does not take our certificate.
    #[error(
        "the certificate server {server} does not take this gateway's present certificate ({alert}): enrol the \
         gateway again with a new token (wardline enrol)"
    )]
    CertificateRefused {
        /// Host and port.
        server: String,
        /// The TLS alert.
        alert: String,
    },
    /// It does not speak HTTP as it should.
    #[error("the certificate server's answer cannot be read ({0}): is it an EST server?")]
    Http(&'static str),
    /// It takes too long.
    #[error("the certificate server {server} gives no whole answer within {seconds} s: it is asked again")]
    Slow {
        /// Host and port.
        server: String,
        /// How long.
        seconds: u64,
    },
    /// 204.
    #[error("the certificate server has nothing at this path (204): correct the path in its address")]
    NothingThere,
    /// 3xx.
    #[error(
        "the certificate server sends this gateway elsewhere ({location}), which it does not follow: if that is right, \
         enrol with that address"
    )]
    Redirect {
        /// Where to.
        location: String,
    },
    /// 401.
    #[error(
        "the certificate server refuses the token (401): it was used before, has run out, or is for another gateway: ask \
         for a new one and run wardline enrol again"
    )]
    TokenRefused,
    /// 403.
    #[error("the certificate server does not allow this (403 {words}): have the gateway registered there")]
    Forbidden {
        /// Its words.
        words: String,
    },
    /// 404.
    #[error("there is no EST service at this path (404): correct the path in the server's address")]
    NoSuchPath,
    /// 5xx and what asks for another try.
    #[error("the certificate server cannot answer now ({status} {words}): it is asked again")]
    Busy {
        /// The status.
        status: u16,
        /// Its words.
        words: String,
        /// When it wants to be asked again.
        wait: Option<Duration>,
    },
    /// The rest of 4xx, and what is no status at all.
    #[error(
        "the certificate server does not accept the request ({status} {words}): see its log and its profile"
    )]
    NotAccepted {
        /// The status.
        status: u16,
        /// Its words.
        words: String,
    },
    /// 200, with something else in it.
    #[error("the certificate server's answer holds no certificates: {what}: is it an EST server (RFC 7030)?")]
    Content {
        /// What is wrong.
        what: String,
    },
    /// A certificate that is not ours.
    #[error("the certificate that was issued cannot be used: {0}")]
    Issued(IssueFault),
    /// A key cannot be made or read.
    #[error("no key for the new certificate: {0}")]
    Key(&'static str),
    /// A key in a token.
    #[error(transparent)]
    Token(KeyError),
    /// It is another key than the certificate's.
    #[error(
        "{0} is not the key of the certificate: enrol the gateway again with a new token (wardline enrol --again)"
    )]
    OtherTokenKey(String),
    /// The disk.
    #[error("the identity's folder cannot be used: {0}")]
    Folder(io::Error),
    /// The TLS library refuses.
    #[error("cannot set up TLS: {0}")]
    Setup(rustls::Error),
}

// By hand, as what is said in an error's own words is not also its source: it would be printed twice.
impl From<IssueFault> for EstError {
    fn from(fault: IssueFault) -> Self {
        Self::Issued(fault)
    }
}

impl From<io::Error> for EstError {
    fn from(error: io::Error) -> Self {
        Self::Folder(error)
    }
}

impl From<rustls::Error> for EstError {
    fn from(error: rustls::Error) -> Self {
        Self::Setup(error)
    }
}

impl EstError {
    /// Whether it may well go away by itself; otherwise somebody has to do something, and is told so.
    pub const fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::NotNow { .. }
            | Self::Slow { .. }
            | Self::Busy { .. }
            | Self::Folder(_) => true,
            // It may be plugged in again; its PIN is a person's to put right.
            Self::Token(error) => !error.must_not_be_tried_again(),
            Self::NotTrusted { .. }
            | Self::CertificateRefused { .. }
            | Self::Http(_)
            | Self::NothingThere
            | Self::Redirect { .. }
            | Self::TokenRefused
            | Self::Forbidden { .. }
            | Self::NoSuchPath
            | Self::NotAccepted { .. }
            | Self::Content { .. }
            | Self::Issued(_)
            | Self::Key(_)
            | Self::OtherTokenKey(_)
            | Self::Setup(_) => false,
        }
    }

    /// Whether the server may have seen the request and said nothing yet: then the same one is sent again.
    pub const fn leaves_the_request(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::NotTrusted { .. }
            | Self::NotNow { .. }
            | Self::CertificateRefused { .. }
            | Self::Http(_)
            | Self::Slow { .. }
            | Self::Busy { .. }
            | Self::Folder(_)
            | Self::Token(_)
            | Self::OtherTokenKey(_)
            | Self::Setup(_) => true,
            Self::NothingThere
            | Self::Redirect { .. }
            // What was asked for may have been the reason: another token goes with another request.
            | Self::TokenRefused
            | Self::Forbidden { .. }
            | Self::NoSuchPath
            | Self::NotAccepted { .. }
            | Self::Content { .. }
            | Self::Issued(_)
            | Self::Key(_) => false,
        }
    }
}
