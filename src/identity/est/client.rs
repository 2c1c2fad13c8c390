//! The way to the certificate server: one TLS connection for one request.
//!
//! TLS 1.3 alone, its name checked. What can go wrong is an [`EstError`]. What never happens: a connection
//! outlives [`PATIENCE`]; more is read than [`wire::MAX_READ`]; a request goes to a server that is not trusted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::wire::{self, Reader};
use super::{EstError, Request, Response};

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
        let config = self.config(identity)?;
        let server = self.address.authority();
        let slow = EstError::Slow { server, seconds: self.patience.as_secs() };
        tokio::time::timeout(self.patience, self.exchange(request, config)).await.unwrap_or(Err(slow))
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

    async fn exchange(&self, request: &Request, config: ClientConfig) -> Result<Response, EstError> {
        let (host, port) = (self.address.host(), self.address.port());
        let trouble = |error: io::Error| self.trouble(&error);
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
                (Err(error), Err(first)) if tls_error(&error).is_none() => return Err(self.trouble(first)),
                (Err(error), _) => return Err(trouble(error)),
            };
            if let Some(response) = reader.take(arrived.get(..count).unwrap_or_default(), count == 0)? {
                return Ok(response);
            }
        }
    }

    fn trouble(&self, error: &io::Error) -> EstError {
        let server = self.address.authority();
        match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(reason)) => {
                EstError::NotTrusted { server, reason: reason.to_string() }
            }
            Some(rustls::Error::AlertReceived(alert)) => {
                EstError::CertificateRefused { server, alert: format!("{alert:?}") }
            }
            Some(other) => EstError::Unreachable { server, reason: other.to_string() },
            None => EstError::Unreachable { server, reason: error.to_string() },
        }
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|held| held.downcast_ref::<rustls::Error>())
}
