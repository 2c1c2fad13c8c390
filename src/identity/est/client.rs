//! The way to the certificate server: one TLS connection for one request.
//!
//! TLS 1.3 alone, its name checked. What can go wrong is an [`EstError`]. What never happens: a connection
//! outlives [`PATIENCE`]; more is read than [`wire::MAX_READ`]; a request goes to a server that is not trusted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::wire::{self, Reader};
use super::{EstError, Request, Response, words};

/// How long a request and its answer may take, from the look-up of the name to the last byte.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where to ask, and whom to believe there.
#[derive(Clone, Debug)]
pub struct Client {
    address: Address,
    authorities: Vec<CertificateDer<'static>>,
    patience: Duration,
}

impl Client {
    /// The authorities are those that the server's own certificate may come from.
    pub const fn new(address: Address, authorities: Vec<CertificateDer<'static>>) -> Self {
        Self { address, authorities, patience: PATIENCE }
    }

    /// The same with less patience.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same with other authorities.
    #[must_use]
    pub fn with_authorities(self, authorities: Vec<CertificateDer<'static>>) -> Self {
        Self { authorities, ..self }
    }

    /// Where it asks.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Asks once. `identity` is shown to a server that wants to see one.
    pub async fn ask(
        &self,
        request: &Request,
        identity: Option<Arc<CertifiedKey>>,
    ) -> Result<Response, EstError> {
        let shows = identity.is_some();
        let config = self.config(identity)?;
        let server = self.address.authority();
        let slow = EstError::Slow { server, seconds: self.patience.as_secs() };
        tokio::time::timeout(self.patience, self.exchange(request, config, shows)).await.unwrap_or(Err(slow))
    }

    fn config(&self, identity: Option<Arc<CertifiedKey>>) -> Result<ClientConfig, EstError> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots.add(authority.clone())?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(pair) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))),
            None => config.with_no_client_auth(),
        };
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }

    async fn exchange(
        &self,
        request: &Request,
        config: ClientConfig,
        shows: bool,
    ) -> Result<Response, EstError> {
        let (host, port) = (self.address.host(), self.address.port());
        let trouble = |error: io::Error| self.trouble(&error, shows);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| trouble(io::Error::other(error)))?;
        let stream = TcpStream::connect((host, port)).await.map_err(trouble)?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(trouble)?;
        let bytes = wire::encode(request, &self.address);
        // A server that refuses our certificate may hang up while it is still being written to: its alert
        // says more than the broken pipe.
        let written = match stream.write_all(&bytes).await {
            Ok(()) => stream.flush().await,
            Err(error) => Err(error),
        };
        let (mut reader, mut arrived) = (Reader::default(), vec![0; 16 * 1024]);
        loop {
            let count = match (stream.read(&mut arrived).await, &written) {
                (Ok(count), _) => count,
                (Err(error), Err(first)) if tls_error(&error).is_none() => {
                    return Err(self.trouble(first, shows));
                }
                (Err(error), _) => return Err(trouble(error)),
            };
            if let Some(response) = reader.take(arrived.get(..count).unwrap_or_default(), count == 0)? {
                return Ok(response);
            }
        }
    }

    /// `shows`: a certificate of ours was there to be shown.
    fn trouble(&self, error: &io::Error, shows: bool) -> EstError {
        let server = self.address.authority();
        match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(fault)) => {
                let reason = words(fault.to_string().as_bytes());
                if is_of_time(fault) {
                    EstError::NotNow { server, reason }
                } else {
                    EstError::NotTrusted { server, reason }
                }
            }
            Some(rustls::Error::AlertReceived(alert)) if shows && is_of_certificate(*alert) => {
                EstError::CertificateRefused { server, alert: format!("{alert:?}") }
            }
            Some(other) => EstError::Unreachable { server, reason: words(other.to_string().as_bytes()) },
            None => EstError::Unreachable { server, reason: error.to_string() },
        }
    }
}

fn is_of_time(fault: &CertificateError) -> bool {
    matches!(
        fault,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

/// Alerts that speak of the peer's certificate (RFC 8446 section 6.2).
fn is_of_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|held| held.downcast_ref::<rustls::Error>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_alert_of_a_certificate_that_was_shown_is_a_refusal_of_it() {
        let client = Client::new("https://pki.example".parse().unwrap(), Vec::new());
        let of = |error, shows| client.trouble(&io::Error::other(error), shows);
        let alert = rustls::Error::AlertReceived;
        for (description, shows, is_refused) in [
            (AlertDescription::CertificateExpired, true, true),
            (AlertDescription::UnknownCA, true, true),
            (AlertDescription::CertificateExpired, false, false),
            (AlertDescription::HandshakeFailure, true, false),
            (AlertDescription::ProtocolVersion, true, false),
            (AlertDescription::InternalError, true, false),
        ] {
            let error = of(alert(description), shows);
            assert_eq!(matches!(error, EstError::CertificateRefused { .. }), is_refused, "{error}");
            assert!(is_refused || matches!(error, EstError::Unreachable { .. }), "{error}");
            assert!(error.to_string().contains(&format!("{description:?}")), "{error}");
        }
        let of_time = of(rustls::Error::InvalidCertificate(CertificateError::NotValidYet), false);
        assert!(matches!(of_time, EstError::NotNow { .. }), "{of_time}");
    }
}
