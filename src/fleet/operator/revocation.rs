//! The revocation lists of a draft: files beside it, PEM or DER, which travel in the bundle as base64 of their DER.
//!
//! What never happens: a list goes into a bundle that has run out, or a file that is none.

use std::path::{Component, Path};

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;

use crate::fleet::documents::MAX_REVOCATION_BYTES;
use crate::fleet::dsse;
use crate::host::atomic_file;
use crate::time::Wall;

/// What a list in DER begins with: a SEQUENCE.
const SEQUENCE: u8 = 0x30;
/// How much of a name is told.
const MOST_TOLD: usize = 60;

/// The lists that an entry of a draft means, each as base64 of its DER: the entry itself, or the file of that name.
pub(super) fn lists(folder: &Path, entry: &str, now: Wall) -> Result<Vec<String>, String> {
    let told: String = entry.chars().take(MOST_TOLD).collect();
    let wrong = |why: String| format!("revocation list {told:?}: {why}");
    let written = dsse::decode(entry).filter(|der| der.first() == Some(&SEQUENCE));
    let lists = match written {
        Some(der) => vec![der],
        None => read(folder, entry).map_err(wrong)?,
    };
    let judged = lists.into_iter().map(|der| judge(&der, now).map(|()| dsse::base64(&der)));
    judged.collect::<Result<_, String>>().map_err(wrong)
}

fn read(folder: &Path, name: &str) -> Result<Vec<Vec<u8>>, String> {
    let is_beside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_beside || name.is_empty() {
        return Err(
            "is neither a file below the draft's folder, such as \"crl/ward-ca.crl\", nor base64 of \
                    a list's DER"
                .to_owned(),
        );
    }
    // PEM is a third longer, and has lines about it.
    let bytes = atomic_file::read(&folder.join(name), MAX_REVOCATION_BYTES * 2).map_err(|error| {
        format!(
            "{error}: put the list there, its path is taken from the draft's folder; gateways take \
             {MAX_REVOCATION_BYTES} bytes of lists in all"
        )
    })?;
    if bytes.first() == Some(&SEQUENCE) {
        return Ok(vec![bytes]);
    }
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found.into_iter().map(|list| list.as_ref().to_vec()).collect()),
        Ok(_) => Err("holds no revocation list: neither DER nor \"-----BEGIN X509 CRL-----\"; ask the \
                      authority of the broker's certificate for its list"
            .to_owned()),
        Err(error) => Err(format!("is damaged PEM ({error}): fetch it again from its authority")),
    }
}

fn judge(der: &[u8], now: Wall) -> Result<(), String> {
    let list: CertificateList = CertificateList::from_der(der).map_err(|error| {
        format!("is no revocation list ({error}): ask the authority of the broker's certificate for its list")
    })?;
    let until = list.tbs_cert_list.next_update.map(|time| {
        Wall::from_millis(i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX))
    });
    match until {
        Some(until) if until <= now => Err(format!(
            "the list of {} ran out at {until}: fetch a fresh one from its authority and put it there",
            super::plain::plain(&list.tbs_cert_list.issuer.to_string())
        )),
        Some(_) | None => Ok(()),
    }
}
