//! Why there is no connection to the broker, in words for the person who must mend it.
//!
//! In: an error. Out: a [`LinkError`] that names the broker and the way out.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's error enums are long and grow; what is not named here is said in its words"
)]

use rustls::{AlertDescription, CertificateError};

/// Why there is no connection, or no longer one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nobody there.
    #[error("cannot reach broker {broker}: {detail}: check its address, the network and the firewall")]
    Unreachable {
        /// Host and port.
        broker: String,
        /// What the system says.
        detail: String,
    },
    /// Somebody there who says nothing.
    #[error("broker {broker} does not answer: it hangs, or the network swallows what is sent")]
    NoAnswer {
        /// Host and port.
        broker: String,
    },
    /// The broker's certificate is not good.
    #[error("broker {broker} is not trusted: {problem}: {remedy}")]
    BrokerCertificate {
        /// Host and port.
        broker: String,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The broker speaks only older versions of TLS, or none at all.
    #[error(
        "broker {broker} does not speak TLS 1.3 ({detail}): enable it at the broker, older versions are not spoken"
    )]
    OldTls {
        /// Host and port.
        broker: String,
        /// What came.
        detail: String,
    },
    /// The broker does not take our certificate.
    #[error(
        "broker {broker} refuses this gateway's certificate ({alert}): check that it is valid, not revoked and from an authority that the broker trusts, or enrol again"
    )]
    CertificateRefused {
        /// Host and port.
        broker: String,
        /// The TLS alert.
        alert: String,
    },
    /// The broker does not take the connection.
    #[error("broker {broker} refuses the connection: {reason}")]
    Refused {
        /// Host and port.
        broker: String,
        /// Its reason.
        reason: String,
    },
    /// The broker does not take the connection at the moment, whoever asks.
    #[error("broker {broker} refuses the connection: {reason}")]
    Busy {
        /// Host and port.
        broker: String,
        /// Its reason.
        reason: String,
    },
    /// There was a connection.
    #[error("connection to broker {broker} lost: {detail}")]
    Lost {
        /// Host and port.
        broker: String,
        /// How.
        detail: String,
    },
}

impl LinkError {
    /// Whether a broker was there that we trust, and would not have us: a connection that ends before CONNACK
    /// without a word counts as that.
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::CertificateRefused { .. } | Self::Refused { .. } | Self::Lost { .. } => true,
            Self::Unreachable { .. }
            | Self::NoAnswer { .. }
            | Self::BrokerCertificate { .. }
            | Self::OldTls { .. }
            | Self::Busy { .. } => false,
        }
    }
}

/// Says in words what an error of the TLS library means and what to do about it.
pub(super) fn classify_tls(error: &rustls::Error, broker: String) -> LinkError {
    match error {
        rustls::Error::InvalidCertificate(problem) => {
            let remedy = certificate_remedy(problem);
            LinkError::BrokerCertificate { broker, problem: problem.to_string(), remedy }
        }
        rustls::Error::InvalidCertRevocationList(problem) => LinkError::BrokerCertificate {
            broker,
            problem: format!("a revocation list cannot be used: {problem:?}"),
            remedy: "put the list there that the authority itself published, newly fetched",
        },
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_)
        | rustls::Error::InvalidMessage(_) => LinkError::OldTls { broker, detail: error.to_string() },
        rustls::Error::AlertReceived(alert) => {
            LinkError::CertificateRefused { broker, alert: format!("{alert:?}") }
        }
        other => LinkError::Lost { broker, detail: other.to_string() },
    }
}

fn certificate_remedy(problem: &CertificateError) -> &'static str {
    match problem {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its authority is not among `authorities`: put the right one there, or check that this is the right broker"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name: correct `host`, or have one issued for this name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew the broker's certificate, and check this gateway's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "check this gateway's clock: it may not have been set yet"
        }
        CertificateError::Revoked => {
            "its authority has taken its certificate back: check that this is the right broker, and have a new one issued"
        }
        CertificateError::UnknownRevocationStatus => {
            "no revocation list is from its authority: add that authority's list to uplink.revocation_lists or to the \
             ward's bundle"
        }
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "the revocation list of its authority has run out: put a fresh one there by hand, and check this gateway's \
             clock"
        }
        _ => "have the broker's certificate issued anew",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(error: &rustls::Error) -> (String, bool) {
        let error = classify_tls(error, "b:8883".to_owned());
        (error.to_string(), error.is_refusal())
    }

    #[test]
    fn what_revocation_lists_stop_is_said_with_the_way_out_and_is_no_refusal_of_ours() {
        let of = |problem| words(&rustls::Error::InvalidCertificate(problem));
        for (said, wanted) in [
            (of(CertificateError::Revoked), "taken its certificate back"),
            (of(CertificateError::UnknownRevocationStatus), "uplink.revocation_lists"),
            (of(CertificateError::ExpiredRevocationList), "has run out"),
            (
                words(&rustls::Error::InvalidCertRevocationList(
                    rustls::CertRevocationListError::BadSignature,
                )),
                "BadSignature",
            ),
        ] {
            assert!(said.0.contains("b:8883 is not trusted") && said.0.contains(wanted), "{said:?}");
            assert!(!said.1, "{said:?}");
        }
        let alert = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
        assert!(words(&alert).1);
    }
}
