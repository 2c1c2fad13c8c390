//! One attempt to get a certificate: from the authorities over the request to a pair in the folder.
//!
//! Every step can be repeated: the request is kept before it is sent, and sent again until it is answered.

use std::time::Duration;

use ring::rand::SystemRandom;
use rustls::pki_types::CertificateDer;

use super::est::client::Client;
use super::est::issued;
use super::est::key::{Names, Pending};
use super::est::{self, Answer, EstError};
use super::folder::{Folder, Pair};
use super::gate::Renewed;
use super::name::Name;
use super::renewal::Lifetime;
use crate::time::{ClockSync, Now};

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
                .and_then(|chain| keep(folder, (proof, &pending), &chain, now));
            if kept.is_ok() {
                keep_authorities(folder, client, authorities).await;
            }
            if let Err(EstError::Folder(error)) = kept {
                // The key is still there: the same request is sent again.
                return Err(error.into());
            }
            settle(folder, kept.map(|()| Outcome::Issued))
        }
        Err(error) => settle(folder, Err(error)),
    }
}

/// Keeps what was issued. That it was renewed is kept first: what a power cut leaves out is not asked for at once.
fn keep(
    folder: &Folder,
    (proof, pending): (&Proof<'_>, &Pending),
    chain: &[CertificateDer<'static>],
    now: Now,
) -> Result<(), EstError> {
    if let (Proof::Present(_), Some(leaf)) = (proof, chain.first()) {
        folder.keep_renewed(&Renewed::new(Lifetime::of(leaf)?, now))?;
    }
    folder.keep_next(pending, chain)
}

/// Keeps the authorities that a server named which has proved to be ours, where it can be reached under them alone:
/// its own certificate may come from elsewhere. Lost in a power cut, they come with the next certificate.
async fn keep_authorities(folder: &Folder, client: &Client, authorities: Vec<CertificateDer<'static>>) {
    let under = client.clone().with_authorities(authorities.clone());
    let kept = match under.ask(&est::cacerts(client.address()), None).await {
        Ok(_) => folder.keep_authorities(&authorities),
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        tracing::info!(%error, "the authorities that the certificate server names are not believed for the server itself");
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
    let response = match client.ask(&est::cacerts(client.address()), None).await {
        // By a clock that somebody vouches for it is the server that is wrong.
        Err(EstError::NotNow { server, reason }) if now.sync == ClockSync::Synced => {
            return Err(EstError::NotTrusted { server, reason });
        }
        response => response?,
    };
    match est::read(&response, now.wall)? {
        Answer::Certificates(found) => Ok(found),
        Answer::Later(wait) => {
            Err(EstError::Busy { status: response.status, words: String::new(), wait: Some(wait) })
        }
    }
}

/// The request that waits, or a new one.
fn pending(folder: &Folder, proof: &Proof<'_>, name: &Name) -> Result<Pending, EstError> {
    let names = match proof {
        Proof::Token(_) => Names::of(name),
        Proof::Present(pair) => Names::from_certificate(pair.leaf()),
    };
    let names = names.map_err(|_| EstError::Key("its names cannot be written"))?;
    // One that is damaged, that asks for other names, that was answered before a power cut, or whose key is in
    // another place than keys are in now is of no use.
    if let Ok(Some(pending)) = folder.pending()
        && pending.is_for(&names)
        && !folder.has_key(pending.point())
        && is_in_place(&pending, folder)
    {
        return Ok(pending);
    }
    let pending = match folder.token() {
        None => Pending::make(&names)?,
        Some(token) => {
            folder.drop_pending()?;
            // Before there is another.
            folder.sweep()?;
            let key = token.fresh(&SystemRandom::new()).map_err(EstError::Token)?;
            folder.keep_made(&key)?;
            Pending::make_in_token(&names, key)?
        }
    };
    folder.keep_pending(&pending)?;
    Ok(pending)
}

/// Whether its key is where the configuration wants new keys: in this token, under this label, or in the folder.
fn is_in_place(pending: &Pending, folder: &Folder) -> bool {
    match (pending.token(), folder.token()) {
        (None, None) => true,
        (Some(key), Some(wanted)) => (&key.token, &key.object) == (&wanted.token, &wanted.object),
        (None, Some(_)) | (Some(_), None) => false,
    }
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
