//! What is there: the user, the configuration, the keys.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::complete::SHIPPED;
use super::plan::{Found, Inventory, State, Task, Want};
use super::seal::{self, Protection};
use super::{Init, MAX_TEXT, refused};
use crate::cli::exit::{Exit, Failure};
use crate::config::{GATEWAY_FILE, judge_text};
use crate::envelope::keys::{KeyFile, KeySource as _};
use crate::host::atomic_file::{self, Owner};
use crate::host::credential::{SealedBy, sealed_by};
use crate::store;

/// The user that the daemon runs as, and its home: as `systemd/wardline.sysusers` has it.
const USER: &str = "wardline";
const SEALED: &str = "etc/credstore.encrypted";
const CLEAR: &str = "etc/credstore";
const KEYS: [&str; 3] = ["kek", "ward", "tls-key"];

/// The machine, or the image, that is set up.
pub(super) struct Site {
    root: PathBuf,
    /// The daemon's user and group.
    pub(super) daemon: (u32, u32),
    /// `gateway.toml`, where there is one.
    pub(super) text: Option<String>,
}

impl Site {
    pub(super) fn look(root: &Path) -> Result<Self, Failure> {
        let root = std::path::absolute(root)?;
        let users = std::fs::read_to_string(root.join("etc/passwd")).unwrap_or_default();
        let Some(daemon) = users.lines().find_map(daemon) else {
            return Err(refused(anyhow!(
                "{} lists no user {USER}, which everything here is made for: install the package, or \
                 systemd/wardline.sysusers and run systemd-sysusers; nothing was done",
                root.join("etc/passwd").display()
            )));
        };
        let user = rustix::process::geteuid().as_raw();
        let is_image = root != Path::new("/");
        if user != 0 && !(is_image && daemon.0 == user) {
            return Err(refused(anyhow!(
                "only root can give files to the user {USER}, and half of it is of no use: run it as root (sudo wardline \
                 init); nothing was done"
            )));
        }
        let mut site = Self { root, daemon, text: None };
        let file = site.config().join(GATEWAY_FILE);
        site.text = match atomic_file::read(&file, MAX_TEXT) {
            Ok(bytes) => Some(String::from_utf8(bytes).map_err(|_| {
                Failure::new(Exit::Config, anyhow!("{} is not UTF-8 text: nothing was done", file.display()))
            })?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::new(Exit::Config, error)),
        };
        Ok(site)
    }

    pub(super) fn is_image(&self) -> bool {
        self.root != Path::new("/")
    }

    /// An absolute path of the gateway, here.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(super) fn config(&self) -> PathBuf {
        self.at("/etc/wardline")
    }

    pub(super) fn authorities(&self) -> PathBuf {
        self.config().join("pki/broker-ca.pem")
    }

    /// Where a key is, sealed or in the clear.
    pub(super) fn key_file(&self, name: &str) -> Option<PathBuf> {
        [SEALED, CLEAR]
            .map(|folder| self.at(folder).join(format!("wardline.{name}")))
            .into_iter()
            .find(|file| file.symlink_metadata().is_ok())
    }

    /// Where it is, or is to be.
    pub(super) fn key_place(&self, name: &str, protection: Protection) -> PathBuf {
        let folder = match protection {
            Protection::Tpm | Protection::Host => SEALED,
            Protection::Files => CLEAR,
        };
        self.key_file(name).unwrap_or_else(|| self.at(folder).join(format!("wardline.{name}")))
    }

    /// How the weakest of the keys that are there is kept.
    pub(super) fn weakest(&self) -> Option<Protection> {
        KEYS.iter().filter_map(|name| self.key_file(name)).map(|file| self.kept_by(&file)).min()
    }

    /// The same where no key has to be made: each is there, or is the site's own matter.
    pub(super) fn kept(&self, is_from_server: bool) -> Option<Protection> {
        let is_elsewhere = |name: &str| match name {
            "kek" => self.says("keys.kek").is_some_and(|said| said != "credential:kek"),
            "ward" => self.says("keys.ward").is_some_and(|said| said != "credential:ward"),
            _ => is_from_server || self.wrote("uplink.certificate"),
        };
        let is_all = KEYS.iter().all(|name| self.key_file(name).is_some() || is_elsewhere(name));
        if is_all { self.weakest() } else { None }
    }

    fn kept_by(&self, file: &Path) -> Protection {
        let sealed = self.is_sealed(file).then(|| atomic_file::read(file, MAX_TEXT).ok()).flatten();
        match sealed.map(|text| sealed_by(&text)) {
            Some(SealedBy::Tpm) => Protection::Tpm,
            Some(SealedBy::Host) => Protection::Host,
            // What encrypts it is not known, or everybody has it.
            Some(SealedBy::Nothing | SealedBy::Unknown) | None => Protection::Files,
        }
    }

    pub(super) fn is_sealed(&self, file: &Path) -> bool {
        file.starts_with(self.at(SEALED))
    }

    pub(super) fn has_tls_key(&self) -> bool {
        self.key_file("tls-key").is_some()
    }

    /// What `gateway.toml` says.
    pub(super) fn says(&self, key: &str) -> Option<String> {
        self.text.as_ref().and_then(|text| judge_text(text, &self.config()).values.remove(key))
    }

    /// What the site wrote: not what was shipped.
    pub(super) fn written(&self) -> BTreeMap<String, String> {
        let shipped = judge_text(SHIPPED, &self.config()).values;
        let mut written =
            self.text.as_ref().map(|text| judge_text(text, &self.config()).values).unwrap_or_default();
        written.retain(|key, value| shipped.get(key) != Some(value));
        written
    }

    pub(super) fn wrote(&self, key: &str) -> bool {
        self.written().contains_key(key)
    }

    pub(super) fn inventory(&self, init: &Init, wants: &[Want], protection: Option<Protection>) -> Inventory {
        let found = wants.iter().map(|want| (want.file.clone(), self.found(want))).collect();
        let mut settled = BTreeMap::new();
        if let (Some(server), None, false) = (&init.server, &init.token_file, std::io::stdin().is_terminal())
        {
            let why = format!("its token is not here: sudo -u {USER} wardline enrol --server {server}");
            settled.insert("enrol", (State::Left, why));
        }
        if protection.is_none() {
            let why = "an image carries no keys, as all gateways made from it would have the same: they are made on each";
            for name in ["kek", "ward", "tls-key", "request", "certificate", "fleet", "enrol"] {
                settled.insert(name, (State::Left, why.to_owned()));
            }
        }
        if let Some(why) = self.store_holds_data() {
            settled.insert("kek", (State::Blocked, why));
        }
        for (name, key) in [("kek", "keys.kek"), ("ward", "keys.ward"), ("tls-key", "uplink.key")] {
            let said = self.says(key).filter(|said| *said != format!("credential:{name}"));
            if let Some(said) = said {
                let brought =
                    wants.iter().find_map(|want| brought(&want.task).filter(|_| want.task.word() == name));
                settled.insert(name, named_elsewhere(key, &said, brought));
            }
        }
        Inventory { found, settled }
    }

    fn found(&self, want: &Want) -> Found {
        match (found(want), brought(&want.task)) {
            (Found::File(_), Some(from)) => self.compare(want, from),
            (found, _) => found,
        }
    }

    /// A key is there, and one is brought: are they the same?
    fn compare(&self, want: &Want, from: &Path) -> Found {
        let name = want.task.word();
        let open = || -> anyhow::Result<Zeroizing<Vec<u8>>> {
            let kept = Zeroizing::new(atomic_file::read(&want.file, MAX_TEXT)?);
            if self.is_sealed(&want.file) {
                return seal::open(name, &kept).map_err(|reason| anyhow!(reason));
            }
            Ok(kept)
        };
        let read = || -> anyhow::Result<Zeroizing<Vec<u8>>> {
            if matches!(want.task, Task::Key { .. }) {
                return Ok(Zeroizing::new(KeyFile::new(from).load()?.as_slice().to_vec()));
            }
            Ok(Zeroizing::new(atomic_file::read(from, MAX_TEXT)?))
        };
        let from = from.display();
        match (open(), read()) {
            (Ok(kept), Ok(brought)) if is_same(&kept, &brought) => Found::File(Vec::new()),
            (Ok(_), Ok(_)) => Found::Other(format!("another key than that of {from}")),
            (Err(error), _) => Found::Other(format!(
                "a key that cannot be opened and compared with that of {from} ({error:#})"
            )),
            (Ok(_), Err(error)) => Found::Other(format!("a key, and {from} cannot be read ({error:#})")),
        }
    }

    /// The bytes that are free where a store is to be made; none: there is one, or this is an image for other disks.
    pub(super) fn room(&self) -> Option<u64> {
        let folder = self.store_folder();
        if self.is_image() || folder.exists() {
            return None;
        }
        folder.ancestors().find_map(|there| store::volume_free(there).ok())
    }

    fn store_folder(&self) -> PathBuf {
        self.at(&self.says("store.folder").unwrap_or_else(|| "/var/lib/wardline/store".into()))
    }

    fn store_holds_data(&self) -> Option<String> {
        let folder = self.store_folder();
        match store::owner(&folder) {
            Ok(None) => None,
            Ok(Some(owner)) => Some(format!(
                "the store in {} is kept under key {}, and a new one cannot open it: put that key back, or move the \
                 store away",
                folder.display(),
                owner.kek
            )),
            Err(error) => Some(format!(
                "whether the store in {} needs an older key cannot be said: {error}",
                folder.display()
            )),
        }
    }
}

/// The file from which a key is taken.
const fn brought(task: &Task) -> Option<&PathBuf> {
    match task {
        Task::Key { from, .. } | Task::TlsKey { from } => from.as_ref(),
        Task::Folder(_)
        | Task::File(_)
        | Task::Complete { .. }
        | Task::Request
        | Task::Certificate
        | Task::Member
        | Task::Enrol { .. } => None,
    }
}

fn named_elsewhere(key: &str, said: &str, brought: Option<&PathBuf>) -> (State, String) {
    let there = format!("{key} in {GATEWAY_FILE} names {said}");
    match brought {
        None => (State::Done, there),
        Some(from) => (
            State::Blocked,
            format!("{there}, and {} is brought: take that line out, or leave this file out", from.display()),
        ),
    }
}

/// As keys: a PEM file may have more in it, such as a request.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    match (PrivateKeyDer::from_pem_slice(one), PrivateKeyDer::from_pem_slice(other)) {
        (Ok(one), Ok(other)) => one == other,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        (Err(_), Err(_)) => one == other,
    }
}

fn daemon(line: &str) -> Option<(u32, u32)> {
    let mut fields = line.split(':');
    if fields.next() != Some(USER) {
        return None;
    }
    let user = fields.nth(1)?.parse().ok()?;
    Some((user, fields.next()?.parse().ok()?))
}

fn found(Want { task, file: path }: &Want) -> Found {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Found::Nothing,
        Err(error) => return Found::Other(format!("something that cannot be looked at ({error})")),
    };
    if metadata.is_dir() {
        let owner = Owner { user: metadata.uid(), group: metadata.gid(), mode: metadata.mode() & 0o7777 };
        return Found::Folder(owner);
    }
    if !metadata.is_file() {
        return Found::Other("something that is neither a file nor a folder".to_owned());
    }
    // Of a key that is made it is enough that it is there.
    if !matches!(task, Task::File(_) | Task::Complete { .. }) {
        return Found::File(Vec::new());
    }
    match atomic_file::read(path, MAX_TEXT) {
        Ok(bytes) => Found::File(bytes),
        Err(error) => Found::Other(format!("a file that cannot be read ({error})")),
    }
}
