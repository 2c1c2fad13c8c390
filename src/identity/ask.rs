//! One attempt to get a certificate: from the authorities over the request to a pair in the folder.
//!
//! Every step can be repeated: the request is kept before it is sent, and sent again until it is answered.

use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::est::client::Client;
use super::est::issued;
use super::est::key::{Names, Pending};
use super::est::{self, Answer, EstError};
use super::folder::{Folder, Pair};
use super::name::Name;
use crate::time::Now;

/// What entitles the gateway to a certificate.
pub enum Proof<'a> {
    /// A token for one time.
    Token(&'a str),
    /// The present certificate, expired or not: that is the server's to judge.
    Present(&'a Pair),
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The next pair is in the folder.
    Issued,
    /// The same request again after this time.
    Later(Duration),
}

/// Asks once.
pub async fn ask(
    folder: &Folder,
    client: &Client,
    proof: &Proof<'_>,
    name: &Name,
    now: Now,
) -> Result<Outcome, EstError> {
    let authorities = authorities(client, now).await?;
    let pending = pending(folder, proof, name)?;
    match certificates(client, proof, &pending, (name, now)).await {
        Ok(Answer::Later(wait)) => Ok(Outcome::Later(wait)),
        Ok(Answer::Certificates(found)) => {
            let kept = issued::check(&found, &authorities, (&pending, name), now)
                .map_err(EstError::from)
                .and_then(|chain| folder.keep_next(&pending, &chain))
                // Only of a server that has proved to be ours; lost in a power cut, they come with the next one.
                .and_then(|()| folder.keep_authorities(&authorities));
            if let Err(EstError::Folder(error)) = kept {
                // The key is still there: the same request is sent again.
                return Err(error.into());
            }
            settle(folder, kept.map(|()| Outcome::Issued))
        }
        Err(error) => settle(folder, Err(error)),
    }
}

/// Forgets a request that was answered with a no: the next attempt takes a new key.
fn settle(folder: &Folder, outcome: Result<Outcome, EstError>) -> Result<Outcome, EstError> {
    if let Err(error) = &outcome
        && !error.leaves_the_request()
    {
        folder.drop_pending()?;
    }
    outcome
}

async fn authorities(client: &Client, now: Now) -> Result<Vec<CertificateDer<'static>>, EstError> {
    let response = client.ask(&est::cacerts(client.address()), None).await?;
    match est::read(&response, now.wall)? {
        Answer::Certificates(found) => Ok(found),
        Answer::Later(wait) => {
            Err(EstError::Busy { status: response.status, words: String::new(), wait: Some(wait) })
        }
    }
}

/// The request that waits, or a new one.
fn pending(folder: &Folder, proof: &Proof<'_>, name: &Name) -> Result<Pending, EstError> {
    // A damaged one is of no use to anybody.
    if let Ok(Some(pending)) = folder.pending() {
        return Ok(pending);
    }
    let names = match proof {
        Proof::Token(_) => Names::of(name),
        Proof::Present(pair) => Names::from_certificate(pair.leaf()),
    };
    let pending = Pending::make(&names.map_err(|_| EstError::Key("its names cannot be written"))?)?;
    folder.keep_pending(&pending)?;
    Ok(pending)
}

async fn certificates(
    client: &Client,
    proof: &Proof<'_>,
    pending: &Pending,
    (name, now): (&Name, Now),
) -> Result<Answer, EstError> {
    let address = client.address();
    let response = match proof {
        Proof::Token(token) => {
            let request = est::simpleenroll(address, pending.request(), &name.gateway, token);
            client.ask(&request, None).await?
        }
        Proof::Present(pair) => {
            let request = est::simplereenroll(address, pending.request());
            client.ask(&request, Some(pair.certified()?)).await?
        }
    };
    match (est::read(&response, now.wall), proof) {
        // No token was sent.
        (Err(EstError::TokenRefused), Proof::Present(_)) => {
            Err(EstError::CertificateRefused { server: address.authority(), alert: "401".to_owned() })
        }
        (answer, _) => answer,
    }
}
