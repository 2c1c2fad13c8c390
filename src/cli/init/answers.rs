//! What has to be known: from the command line, the enrolment package, the files that are there, and a person.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::{Init, MAX_TEXT, Site};
use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use crate::config::judge_text;
use crate::envelope::keys::{KeyFile, KeyPlace, KeySource as _};
use crate::fleet::documents::{Digest, Document as _, Root};
use crate::fleet::trust::{Recipient, Trust};
use crate::host::atomic_file;
use crate::identity::est::address::Address;
use crate::identity::folder::chain;
use crate::uplink::tls::Identity;

/// The longest line that is read as an answer.
const MAX_ANSWER: u64 = 4_096;
/// So often an answer is asked for before it is given up.
const TRIES: usize = 5;

/// The texts of `gateway.toml` that are asked for: key, flag, question.
const TEXTS: [(&str, &str, &str); 5] = [
    (
        "gateway.organisation",
        "--organisation",
        "the organisation (first level of every topic; a-z, 0-9 and -)",
    ),
    ("gateway.group", "--group", "the ward or other group"),
    ("gateway.id", "--id", "this gateway's id, as its certificate says it"),
    ("uplink.host", "--host", "the broker's host name, as its certificate says it"),
    ("uplink.port", "--port", "the broker's port"),
];

/// Where this gateway's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// The key is made here, and a request for the hospital's authority.
    Request,
    /// Both are there.
    Files { certificate: PathBuf, key: PathBuf },
    /// A certificate server.
    Server(String),
    /// The site wrote where it is: that is its own matter.
    AsWritten,
}

/// Everything that has to be known.
pub(super) struct Answers {
    pub(super) texts: BTreeMap<&'static str, String>,
    /// None: the site wrote where they are.
    pub(super) authorities: Option<Vec<u8>>,
    pub(super) own: Own,
    pub(super) ward_key: Option<PathBuf>,
    /// The fleet's root.
    pub(super) root: Option<Vec<u8>>,
}

/// What is known before anybody is asked.
struct Known {
    texts: BTreeMap<&'static str, String>,
    /// What the site wrote: it is not asked for.
    written: BTreeMap<String, String>,
    root: Option<Vec<u8>>,
}

/// Who answers: a person, or nobody.
struct Asker {
    is_person: bool,
    missing: Vec<String>,
}

fn usage(error: anyhow::Error) -> Failure {
    Failure::new(Exit::Usage, error)
}

/// All of it; a person at a terminal is asked for what is not known.
pub(super) fn gather(init: &Init, site: &Site) -> Result<Answers, Failure> {
    let known = known(init, site)?;
    let mut asker = Asker { is_person: !init.yes && io::stdin().is_terminal(), missing: Vec::new() };
    let mut texts = BTreeMap::new();
    for (key, flag, question) in TEXTS {
        let (given, default) = given(&known, key);
        let check = |text: &str| check_text(key, text);
        if let Some(text) = asker.ask((flag, question), given, default, &check)? {
            texts.insert(key, text);
        }
    }
    let devices = devices(init, site, &known, &mut asker)?;
    texts.insert("devices", devices);
    let authorities = authorities(init, site, &mut asker)?;
    let own = own(init, site, &mut asker)?;
    let ward_key = ward_key(init, site, &mut asker)?;
    if !asker.missing.is_empty() {
        return Err(usage(anyhow!(
            "nobody is at a terminal to ask; missing: {}; nothing was done. For instance: wardline init --yes --package \
             DIR --host mqtt.st-anna.example --authorities ca.pem",
            asker.missing.join(", ")
        )));
    }
    if let Some(root) = &known.root {
        trusted(root, &texts)?;
    }
    Ok(Answers { texts, authorities, own, ward_key, root: known.root })
}

/// What `wardline enrol` would refuse is refused before anything is done.
fn trusted(root: &[u8], texts: &BTreeMap<&'static str, String>) -> Result<(), Failure> {
    let text = |key| texts.get(key).cloned().unwrap_or_default();
    let recipient = Recipient { organisation: text("gateway.organisation"), gateway: text("gateway.id") };
    match Trust::enrol(recipient, text("gateway.group"), root) {
        Ok(_) => Ok(()),
        Err(refusal) => {
            Err(Failure::new(Exit::Refused, anyhow!("root.json of the package: {refusal}: nothing was done")))
        }
    }
}

/// The SHA-256 that whoever keeps the keys says too.
pub(super) fn digest(root: &[u8]) -> String {
    Digest::of(root).to_string()
}

fn known(init: &Init, site: &Site) -> Result<Known, Failure> {
    let mut texts = BTreeMap::new();
    let mut root = None;
    if let Some(package) = &init.package {
        let bad = |error: io::Error| usage(anyhow!("the enrolment package: {error}"));
        root = Some(atomic_file::read(&package.join("root.json"), Root::CAP).map_err(bad)?);
        let text = atomic_file::read(&package.join("gateway.toml"), MAX_TEXT).map_err(bad)?;
        let found = judge_text(&String::from_utf8_lossy(&text), package).values;
        for (key, ..) in TEXTS {
            if let Some(text) = found.get(key) {
                texts.insert(key, text.clone());
            }
        }
    }
    let flags = [
        ("gateway.organisation", &init.organisation),
        ("gateway.group", &init.group),
        ("gateway.id", &init.id),
        ("uplink.host", &init.host),
        ("uplink.port", &init.port),
    ];
    for (key, text) in flags {
        let Some(text) = text else { continue };
        if texts.get(key).is_some_and(|packaged| packaged != text) {
            return Err(usage(anyhow!(
                "{key}: {text:?} is not what the enrolment package says: nothing was done"
            )));
        }
        texts.insert(key, text.clone());
    }
    Ok(Known { texts, written: site.written(), root })
}

/// What is given and what would be the default.
fn given(known: &Known, key: &str) -> (Option<String>, Option<String>) {
    let given = known.texts.get(key).or_else(|| known.written.get(key)).cloned();
    let default = (key == "uplink.port").then(|| "8883".to_owned());
    (given, default)
}

fn check_text(key: &str, text: &str) -> Result<(), String> {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let is_number = key == "uplink.port" && text.parse::<u32>().is_ok();
    let value = if is_number { text.to_owned() } else { format!("{text:?}") };
    let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
    let judged = judge_text(&format!("{header}{name} = {value}\n"), Path::new("/"));
    judged.refusal(key).map_or(Ok(()), |reason| Err(reason.to_owned()))
}

fn devices(init: &Init, site: &Site, known: &Known, asker: &mut Asker) -> Result<String, Failure> {
    let mut files = std::fs::read_dir(site.config().join("devices.d")).into_iter().flatten().flatten();
    let has_files = files.any(|file| file.path().extension().is_some_and(|end| end == "toml"));
    let default = if has_files { "listed" } else { "none" };
    let given = init.devices.clone().or_else(|| known.written.get("devices").cloned());
    let question = "its devices: none (none yet, or the fleet lists them) or listed (in files of devices.d)";
    let answer = asker
        .ask(("--devices", question), given, Some(default.into()), &|text| check_text("devices", text))?;
    Ok(answer.unwrap_or_else(|| default.to_owned()))
}

fn authorities(init: &Init, site: &Site, asker: &mut Asker) -> Result<Option<Vec<u8>>, Failure> {
    if init.authorities.is_none() && site.wrote("uplink.authorities") {
        return Ok(None);
    }
    let there = site.authorities();
    let there = there.exists().then(|| there.display().to_string());
    let given = init.authorities.as_ref().map(|path| path.display().to_string());
    let question = "PEM file with the authorities that the broker's certificate may come from";
    let check = |text: &str| read_authorities(Path::new(text)).map(drop);
    match asker.ask(("--authorities", question), given, there, &check)? {
        Some(file) => read_authorities(Path::new(&file)).map(Some).map_err(|reason| usage(anyhow!(reason))),
        None => Ok(None),
    }
}

fn read_authorities(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = atomic_file::read(path, MAX_TEXT).map_err(|error| error.to_string())?;
    match chain(&bytes) {
        Ok(found) if !found.is_empty() => Ok(bytes),
        Ok(_) => Err(format!("{} holds no certificate", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn own(init: &Init, site: &Site, asker: &mut Asker) -> Result<Own, Failure> {
    if let (Some(certificate), Some(key)) = (&init.certificate, &init.key) {
        check_pair(certificate, key).map_err(|reason| usage(anyhow!(reason)))?;
        return Ok(Own::Files { certificate: certificate.clone(), key: key.clone() });
    }
    if let Some(server) = &init.server {
        return Ok(Own::Server(server.to_string()));
    }
    if site.wrote("uplink.certificate") {
        return Ok(Own::AsWritten);
    }
    // What was decided before is not asked for again.
    if !asker.is_person || site.has_tls_key() {
        return Ok(Own::Request);
    }
    let question = "where its own certificate comes from: request (the key is made here, and a request for the \
                    hospital's authority), server (EST, with a token that works once) or files (both are there)";
    let check = |text: &str| {
        let is_known = ["request", "server", "files"].contains(&text);
        if is_known { Ok(()) } else { Err(format!("{text:?} is not request, server or files")) }
    };
    let answer = asker.ask(("--server", question), None, Some("request".into()), &check)?;
    match answer.as_deref() {
        Some("server") => {
            let check = |text: &str| text.parse::<Address>().map(drop).map_err(|error| error.to_string());
            let server = asker.ask(
                ("--server", "the certificate server: https://HOST[:PORT][/PATH]"),
                None,
                None,
                &check,
            )?;
            Ok(Own::Server(server.unwrap_or_default()))
        }
        Some("files") => {
            let is_there = |text: &str| {
                atomic_file::read(Path::new(text), MAX_TEXT).map(drop).map_err(|e| e.to_string())
            };
            let certificate =
                asker.ask(("--certificate", "PEM file with its certificate"), None, None, &is_there)?;
            let certificate = PathBuf::from(certificate.unwrap_or_default());
            let fits = |text: &str| check_pair(&certificate, Path::new(text));
            let key = asker.ask(("--key", "PEM file with its private key"), None, None, &fits)?;
            Ok(Own::Files { key: PathBuf::from(key.unwrap_or_default()), certificate: certificate.clone() })
        }
        Some(_) | None => Ok(Own::Request),
    }
}

fn check_pair(certificate: &Path, key: &Path) -> Result<(), String> {
    Identity::read(certificate, &KeyPlace::File(key.to_owned())).map(drop).map_err(|error| error.to_string())
}

fn ward_key(init: &Init, site: &Site, asker: &mut Asker) -> Result<Option<PathBuf>, Failure> {
    let check = |text: &str| {
        if text == "new" {
            return Ok(());
        }
        KeyFile::new(text).load().map(drop).map_err(|error| error.to_string())
    };
    let given = init.ward_key.as_ref().map(|path| path.display().to_string());
    if given.is_none() && (!asker.is_person || site.key_file("ward").is_some()) {
        return Ok(None);
    }
    let question = "the ward key, from which pseudonyms are made; gateways of one ward share it: new, or the file that \
                    holds it";
    let answer = asker.ask(("--ward-key", question), given, Some("new".into()), &check)?;
    Ok(answer.filter(|text| text != "new").map(PathBuf::from))
}

impl Asker {
    /// What is given must be right; otherwise a person is asked until it is. `None`: nobody is there to ask.
    fn ask(
        &mut self,
        (flag, question): (&str, &str),
        given: Option<String>,
        default: Option<String>,
        check: &dyn Fn(&str) -> Result<(), String>,
    ) -> Result<Option<String>, Failure> {
        if let Some(text) = given {
            return match check(&text) {
                Ok(()) => Ok(Some(text)),
                Err(reason) => Err(usage(anyhow!("{flag}: {reason}: nothing was done"))),
            };
        }
        if !self.is_person {
            match default {
                Some(text) if check(&text).is_ok() => return Ok(Some(text)),
                Some(_) | None => self.missing.push(flag.to_owned()),
            }
            return Ok(None);
        }
        let shown = default.as_ref().map(|default| format!(" [{default}]")).unwrap_or_default();
        for _ in 0..TRIES {
            out::remark(format_args!("{question}{shown}:"));
            let mut line = String::new();
            if io::stdin().lock().take(MAX_ANSWER).read_line(&mut line)? == 0 {
                break;
            }
            let typed = line.trim();
            let text = if typed.is_empty() { default.clone().unwrap_or_default() } else { typed.to_owned() };
            match check(&text) {
                Ok(()) => return Ok(Some(text)),
                Err(reason) => out::remark(format_args!("that will not do: {reason}")),
            }
        }
        Err(Failure::new(Exit::Refused, anyhow!("no answer for {flag}: nothing was done")))
    }
}

/// A person says yes.
pub(super) fn confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let error = anyhow!("nobody is at a terminal to say yes: give --yes; nothing was done");
        return Err(Failure::new(Exit::Refused, error));
    }
    out::remark(format_args!("do this? type yes to go on:"));
    let mut line = String::new();
    io::stdin().lock().take(MAX_ANSWER).read_line(&mut line)?;
    Ok(line.trim() == "yes")
}
