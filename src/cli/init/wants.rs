//! What is wanted: from the answers to a list of tasks, each with its file, in the order of the steps.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::anyhow;

use super::MAX_TEXT;
use super::answers::{Answers, Own};
use super::complete::{SHIPPED, Value, complete, conflicts};
use super::look::Site;
use super::plan::{Task, Want};
use super::seal::Protection;
use crate::config::{DEFAULT_CAP, GATEWAY_FILE, show_size};
use crate::fleet::folder::PLACES;
use crate::host::atomic_file::{self, Owner};

/// Where the daemon keeps the certificate that it renews.
pub(super) const IDENTITY: &str = "/var/lib/wardline/identity/current.pem";
pub(super) const FLEET: &str = "/var/lib/wardline/fleet";
const FLOOR: &str = include_str!("../../../configs/floor.toml");

/// The file in the configuration's folder that the fleet's root is kept in: it is public.
pub(super) const ROOT: &str = "fleet-root.json";

pub(super) fn wants(
    site: &Site,
    answers: &Answers,
    protection: Option<Protection>,
) -> Result<Vec<Want>, anyhow::Error> {
    let config = site.config();
    let mut wants = folders(site, answers, protection);
    let mut want = |task, file: PathBuf| wants.push(Want { task, file });
    // The site's own floor is its own.
    let floor = config.join("floor.toml");
    want(Task::File(atomic_file::read(&floor, MAX_TEXT).unwrap_or_else(|_| FLOOR.into())), floor);
    if let Some(authorities) = &answers.authorities {
        want(Task::File(authorities.clone()), site.authorities());
    }
    let kept = protection.unwrap_or(Protection::Files);
    let mut names = vec!["kek", "ward"];
    want(Task::Key { name: "kek", from: None }, site.key_place("kek", kept));
    want(Task::Key { name: "ward", from: answers.ward_key.clone() }, site.key_place("ward", kept));
    let certificate = config.join("pki/gateway.pem");
    match &answers.own {
        Own::Server(_) | Own::AsWritten => {}
        Own::Request => {
            names.push("tls-key");
            want(Task::TlsKey { from: None }, site.key_place("tls-key", kept));
            if certificate.symlink_metadata().is_err() {
                want(Task::Request, config.join("pki/gateway.csr"));
            }
            want(Task::Certificate, certificate);
        }
        Own::Files { certificate: from, key } => {
            names.push("tls-key");
            want(Task::TlsKey { from: Some(key.clone()) }, site.key_place("tls-key", kept));
            want(Task::File(atomic_file::read(from, MAX_TEXT)?), certificate);
        }
    }
    if protection.is_some()
        && let Some(text) = drop_in(site, &names, kept)
    {
        want(Task::File(text.into_bytes()), site.at("/etc/systemd/system/wardline.service.d/keys.conf"));
    }
    want(configuration(site, answers)?, config.join(GATEWAY_FILE));
    if let Some(root) = &answers.root {
        want(Task::File(root.clone()), config.join(ROOT));
        let places = PLACES.map(|place| site.at(FLEET).join(place));
        let [first, _] = places.clone();
        want(Task::Member, places.into_iter().find(|place| place.exists()).unwrap_or(first));
    }
    if let Own::Server(server) = &answers.own {
        want(Task::Enrol { server: server.clone() }, site.at(IDENTITY));
    }
    Ok(wants)
}

/// As `systemd/wardline.tmpfiles` and the unit have them.
fn folders(site: &Site, answers: &Answers, protection: Option<Protection>) -> Vec<Want> {
    let (user, group) = site.daemon;
    let config = site.config();
    let ours = Owner::ours(0o750);
    let of_site = Owner { group, ..ours };
    let mut wants: Vec<Want> = [config.clone(), config.join("devices.d"), config.join("pki")]
        .map(|file| Want { task: Task::Folder(of_site), file })
        .into();
    if let Some(protection) = protection
        && let Some(folder) = site.key_place("new", protection).parent()
    {
        wants.push(Want { task: Task::Folder(Owner { mode: 0o700, ..ours }), file: folder.to_owned() });
    }
    // Otherwise the unit makes it.
    if protection.is_some() && (answers.root.is_some() || matches!(answers.own, Own::Server(_))) {
        let state = Owner { user, group, mode: 0o700 };
        wants.push(Want { task: Task::Folder(state), file: site.at("/var/lib/wardline") });
    }
    wants
}

/// The unit looks for encrypted credentials: which of them are in the clear it has to be told.
fn drop_in(site: &Site, names: &[&str], protection: Protection) -> Option<String> {
    let clear: Vec<&&str> =
        names.iter().filter(|name| !site.is_sealed(&site.key_place(name, protection))).collect();
    if clear.is_empty() {
        return None;
    }
    let mut text =
        "# Keys that are kept in the clear, for root alone. Made by wardline init.\n[Service]\n".to_owned();
    for name in clear {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "LoadCredential={name}:/etc/credstore/wardline.{name}");
    }
    Some(text)
}

fn configuration(site: &Site, answers: &Answers) -> Result<Task, anyhow::Error> {
    let mut values: Vec<Value> =
        answers.texts.iter().map(|(key, text)| Value { key, text: text.clone() }).collect();
    // What is the default need not be written.
    values
        .retain(|value| value.key != "uplink.port" || value.text != "8883" || site.says(value.key).is_some());
    let mut put = |key, text: &str| values.push(Value { key, text: text.to_owned() });
    if answers.authorities.is_some() {
        put("uplink.authorities", "pki/broker-ca.pem");
    }
    match &answers.own {
        Own::Server(_) => {
            put("uplink.certificate", IDENTITY);
            put("uplink.key", IDENTITY);
        }
        Own::AsWritten => {}
        Own::Request | Own::Files { .. } => put("uplink.certificate", "pki/gateway.pem"),
    }
    if answers.root.is_some() && !site.wrote("fleet.folder") {
        put("fleet.folder", FLEET);
    }
    if let Some(cap) = cap(site) {
        put("store.cap", &cap);
    }
    let (folder, file) = (site.config(), site.config().join(GATEWAY_FILE));
    let from = site.text.clone().unwrap_or_default();
    if let Some((key, there, wanted)) = conflicts(&from, &values, &folder).into_iter().next() {
        return Err(anyhow!(
            "{}: {key} is {there:?}, and {wanted:?} is wanted: what the site wrote is not overwritten; nothing was done",
            file.display()
        ));
    }
    let text = site.text.as_deref().unwrap_or(SHIPPED);
    let to = complete(text, &values, &folder)
        .map_err(|reason| anyhow!("{}: {reason}; nothing was done", file.display()))?;
    Ok(Task::Complete { from: from.into_bytes(), to: to.into_bytes() })
}

/// The `store.cap` that is written because this machine's disk has no room for the default. What the site decided of the
/// store's bounds is its own.
fn cap(site: &Site) -> Option<String> {
    let is_ours = !site.wrote("store.cap") && !site.wrote("store.alarm_reserve");
    site.room().and_then(|free| cap_that_fits(free).ok().flatten()).filter(|_| is_ours)
}

/// What a person should know of the room for the store.
pub(super) fn cap_remark(site: &Site) -> Option<String> {
    let free = site.room().filter(|_| !site.wrote("store.cap"))?;
    let short = format!("{} are free where the store will be", show_size(free));
    match (cap_that_fits(free), cap(site)) {
        (Ok(None), _) => None,
        (Ok(Some(_)), Some(cap)) => Some(format!("{short}: store.cap is {cap}, less than the default")),
        (Ok(Some(fits)), None) => Some(format!("{short}: store.cap should be no more than {fits}")),
        (Err(TooSmall), _) => Some(format!(
            "{short}: too little for any store, and store.cap is 4 GiB by default. Make room, or name another disk as \
             store.folder"
        )),
    }
}

/// No store that could keep its reserve for alarms has room.
#[derive(Debug, PartialEq, Eq)]
struct TooSmall;

/// What the store may have where the default is more than there is room for; `Ok(None)`: the default fits.
///
/// An eighth of what is free stays, and 256 MiB at least: for logs, upgrades, and what else grows on that disk.
fn cap_that_fits(free: u64) -> Result<Option<String>, TooSmall> {
    let fits = free.saturating_sub((free / 8).max(256 << 20));
    if fits >= DEFAULT_CAP {
        return Ok(None);
    }
    // Half of it may be kept for alarms, and has to be as much as the default's.
    let mib = (fits >> 20) / 64 * 64;
    if mib >= 128 { Ok(Some(format!("{mib}MiB"))) } else { Err(TooSmall) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::judge_text;

    #[test]
    fn a_small_disk_gets_a_cap_that_fits_and_is_valid() {
        const GIB: u64 = 1 << 30;
        for (free, cap) in [
            (100 * GIB, Ok(None)),
            (5 * GIB, Ok(None)),
            (4 * GIB, Ok(Some("3584MiB"))),
            (GIB, Ok(Some("768MiB"))),
            (400 << 20, Ok(Some("128MiB"))),
            (300 << 20, Err(&TooSmall)),
            (0, Err(&TooSmall)),
        ] {
            let found = cap_that_fits(free);
            assert_eq!(found.as_ref().map(Option::as_deref), cap, "{free}");
            let cap = found.ok().flatten();
            let text = cap.map(|cap| format!("[store]\ncap = {cap:?}\n")).unwrap_or_default();
            let judged = judge_text(&text, std::path::Path::new("/"));
            assert!(judged.refusal("store.cap").is_none() && judged.refusal("store.alarm_reserve").is_none());
        }
    }
}
