//! What stands here is published: signed with the key of the certificate that is in force.

use std::path::Path;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert as _;

use super::{Part, Stock};
use crate::config::InventoryLevel;
use crate::envelope::keys::KeyPlace;
use crate::fleet::advisories::inventory::{Device, Disclosure, Inventory};
use crate::fleet::advisories::told::Told;
use crate::fleet::documents::inventory::{Advisories, Inventoried, MAX_FINDINGS, sealed};
use crate::fleet::documents::{Digest, Document as _, SCHEMA};
use crate::fleet::dsse::{base64, pae};
use crate::fleet::topics::{Topic, What};
use crate::host::supervisor::blocking;
use crate::time::Now;
use crate::uplink::post::Notice;
use crate::uplink::tls;

impl Stock {
    pub(super) async fn publish(
        &mut self,
        (devices, told, advisories): (Vec<Device>, Vec<Told>, Advisories),
        now: Now,
    ) {
        let Some(notices) = self.means.notices.clone().filter(|_| self.place.level != InventoryLevel::Off)
        else {
            return;
        };
        let disclosure = match self.place.level {
            InventoryLevel::Full => Disclosure::Plain,
            InventoryLevel::NoSerials | InventoryLevel::Off => Disclosure::Withheld,
        };
        let inventory = Inventory { gateway: self.place.gateway.clone(), devices };
        let Part { organisation, group, certificate, key } = self.part();
        let what = What::Inventory { gateway: self.place.gateway.id.clone() };
        let topic = Topic::new(&organisation, what).map(|topic| topic.to_string());
        let document = Inventoried {
            schema: SCHEMA,
            organisation,
            group,
            inventory: inventory.publish(&disclosure, now.wall),
            more: 0,
            advisories,
            more_findings: u32::try_from(told.len().saturating_sub(MAX_FINDINGS)).unwrap_or(u32::MAX),
            findings: told.into_iter().take(MAX_FINDINGS).collect(),
            chain: Vec::new(),
        };
        let signed = blocking(move || sign(document, &certificate, &key)).await;
        let error = match (signed, topic) {
            (Some(Ok(payload)), Some(topic)) => {
                notices.notice(Notice { topic, payload: payload.into() });
                None
            }
            (Some(Err(error)), _) => Some(error),
            (None, _) => Some("signing it panicked".to_owned()),
            (_, None) => Some("the gateway has no topic".to_owned()),
        };
        if let (Some(error), false) = (&error, self.times.is_owed[1]) {
            tracing::warn!(error, "the inventory cannot be published: tried again");
        }
        self.times.is_owed[1] = error.is_some();
    }
}

/// Of documents that say nothing, in lines: what they mean is for a person to find out.
pub(super) fn lines(advisories: &Advisories) -> Vec<String> {
    let unreadable = advisories
        .unreadable
        .iter()
        .map(|digest| format!("advisory {digest} cannot be read: a person has to review it"));
    let missing = advisories.missing.len();
    let missing =
        (missing > 0).then(|| format!("{missing} advisories that the fleet names have not come yet"));
    unreadable.chain(missing).collect()
}

/// The signed document, with the chain of the certificate that is there now: it is renewed every few weeks.
fn sign(mut document: Inventoried, certificate: &Path, key: &KeyPlace) -> Result<Vec<u8>, String> {
    let identity = tls::Identity::read(certificate, key).map_err(|error| error.to_string())?;
    let shown = identity.resolve(&[], &[]).ok_or("there is no certificate")?;
    document.chain = shown.cert.iter().map(|one| base64(one)).collect();
    let signer = shown
        .key
        .choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256])
        .ok_or("the certificate's key is no ECDSA P-256 key")?;
    let spki = shown.key.public_key().ok_or("the key does not say its public half")?;
    let payload = document.to_payload();
    let signature =
        signer.sign(&pae(Inventoried::PAYLOAD_TYPE, &payload)).map_err(|error| error.to_string())?;
    Ok(sealed(payload, &Digest::of(&spki).to_string(), signature))
}
