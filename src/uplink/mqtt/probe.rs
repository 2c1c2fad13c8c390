//! Whether a broker would take us, as far as that can be known without CONNECT: a second connection with the same
//! client id would end the first one (MQTT 5, section 3.1.4).

use std::sync::Arc;
use std::time::Duration;

use rumqttc::tokio_rustls::TlsConnector;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{CONNECT_TIMEOUT, tls_cause};
use crate::uplink::Config;
use crate::uplink::trouble::{LinkError, classify_tls};

/// How long a broker may take to say that it does not take our certificate. In TLS 1.3 the client is through with
/// the handshake before the server has seen its certificate (RFC 8446, section 2), so that comes afterwards.
const SECOND_THOUGHTS: Duration = Duration::from_secs(1);

/// Looks the name up, connects, shakes hands, listens for a refusal and hangs up.
pub async fn probe(config: &Config, tls: Arc<ClientConfig>) -> Result<(), LinkError> {
    let broker = format!("{}:{}", config.host, config.port);
    match timeout(CONNECT_TIMEOUT, shake_hands(config, tls)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(match tls_cause(&error) {
            Some(tls) => classify_tls(tls, broker),
            None => LinkError::Unreachable { broker, detail: error.to_string() },
        }),
        Err(_) => Err(LinkError::NoAnswer { broker }),
    }
}

async fn shake_hands(config: &Config, tls: Arc<ClientConfig>) -> std::io::Result<()> {
    let name = ServerName::try_from(config.host.clone()).map_err(std::io::Error::other)?;
    let tcp = TcpStream::connect((config.host.as_str(), config.port)).await?;
    let mut stream = TlsConnector::from(tls).connect(name, tcp).await?;
    let mut byte = [0];
    match timeout(SECOND_THOUGHTS, stream.read(&mut byte)).await {
        Ok(Ok(0)) => Err(std::io::Error::other("it ends the connection at once")),
        Ok(Err(error)) => Err(error),
        // No broker speaks before CONNECT; one that does is the business of the connection.
        Ok(Ok(_)) | Err(_) => {
            // Whether it hears of our end is all the same.
            let _ = stream.shutdown().await;
            Ok(())
        }
    }
}
