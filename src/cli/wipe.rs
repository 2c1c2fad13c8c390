//! `wardline wipe`: the end of a gateway's store. Destroys the keys, then the rest, and proves it.
//!
//! The receipt is one JSON object:
//!
//! | key | | |
//! | --- | --- | --- |
//! | `gateway`, `folder`, `at`, `uid`, `reason` | | what was wiped, when, by whom and why |
//! | `store`, `kek` | text | the ids of the store and of its key; left out when they were not authenticated |
//! | `lanes` | list | `lane`, `segments`, `records_lost` (not acknowledged; left out when nobody can say) |
//! | `headers` | list | `file`, `sha256`: every wrapped key that was overwritten |
//! | `keys` | list | `place`, `destroyed`, and the command that is `left_to_do` |
//! | `proof` | object | `files_left`, `headers_left`, `key_loads`, `tried`, `opened_before`, `opened_after`, `opened_with_old_headers` |
//! | `erased`, `final` | true, false | nothing is left on the box; and nothing opens whatever old copies are found |
//! | `copies_beside`, `errors`, `limits`, `left_alone` | lists | in words |
//! | `audited` | true, false | whether the audit log says so too |

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use ring::rand::SystemRandom;
use serde_json::{Map, Value, json};

use super::Folder;
use super::confirm;
use super::exit::{Exit, Failure};
use super::out;
use super::progress::Progress;
use super::spool::target::{Target, failure};
use super::status::age;
use crate::config::Config;
use crate::envelope::block::hex;
use crate::envelope::keys::KeyPlace;
use crate::host::atomic_file::NewFile;
use crate::host::audit::AuditLog;
use crate::host::clock::SystemClock;
use crate::store::erase::{Erasure, Proof, copies_beside, samples};
use crate::store::inspect::{Hold, Survey, survey};
use crate::time::{Clock, Wall};

/// What no program can promise.
const LIMITS: [&str; 2] = [
    "flash memory may keep old pages of an overwritten file where no program reaches them: what makes those \
     worthless is that the key is destroyed",
    "copies elsewhere (backups, images of the disk, copies of the key) are not reached from here",
];

/// More errors than these only say the same again.
const MOST_ERRORS: usize = 20;

/// Destroy the store and its keys: when the gateway leaves the hospital.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  systemctl stop wardline && wardline wipe\n  \
    wardline wipe --yes --gateway gw-icu-7 --receipt /root/wiped.json --reason \"J. Ortiz: device returned\"\n\n\
    Shows what will be lost and asks for the gateway's name. Cut off anywhere, run it again. The receipt, one \
    JSON object, goes to standard output or --receipt. The ward key and the TLS key are left alone.\n\
    Ends with 5 while the daemon runs, with 6 when the name is not typed, with 1 when something is left.")]
pub(super) struct Wipe {
    #[command(flatten)]
    folder: Folder,
    /// Do not ask: --gateway says which one is meant.
    #[arg(long, requires = "gateway")]
    yes: bool,
    /// The gateway's name, as its configuration says it.
    #[arg(long, value_name = "NAME", requires = "yes")]
    gateway: Option<String>,
    /// Leave the key where it is: the wipe then rests on the wrapped keys in the store.
    #[arg(long)]
    keep_kek: bool,
    /// Who does it, and why: stays in the audit log.
    #[arg(long, value_name = "TEXT", value_parser = confirm::reason)]
    reason: Option<String>,
    /// Write the receipt to this new file.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

/// The command that destroys a key, for a person, where it is not destroyed here.
fn left_to_do(place: &KeyPlace) -> String {
    match place {
        KeyPlace::File(path) => format!("shred -u {}", quoted(&path.display().to_string())),
        KeyPlace::Credential(path) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let sources = ["/etc/credstore.encrypted", "/etc/credstore"];
            let known: Vec<String> = sources
                .iter()
                .map(|folder| format!("{folder}/wardline.{name}"))
                .filter(|source| Path::new(source).exists())
                .collect();
            if known.is_empty() {
                format!("shred -u what `systemctl cat wardline` names as the source of the credential {name}")
            } else {
                format!("shred -u {}", known.join(" "))
            }
        }
        KeyPlace::Token(key) => {
            let mut command = format!("pkcs11-tool --module {}", quoted(&key.module.display().to_string()));
            let words = [("--token-label", &key.token.label), ("--label", &key.object)];
            for (option, word) in words {
                command.extend(word.iter().map(|word| format!(" {option} {}", quoted(word))));
            }
            command.extend(key.id.iter().map(|id| format!(" --id {}", hex(id))));
            command.push_str(" --login --delete-object --type secrkey");
            command
        }
    }
}

/// As a shell takes one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A wipe that was confirmed.
struct Work<'a> {
    wipe: &'a Wipe,
    config: &'a Config,
    target: &'a Target,
    places: Vec<&'a KeyPlace>,
    found: Option<Survey>,
    log: AuditLog,
}

impl Wipe {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.folder.load_or_fail()?.config;
        let target = Target::of(&config);
        let is_there = target.folder.is_dir();
        let owned = if is_there { Some(target.folder.as_path()) } else { target.folder.parent() };
        owned.filter(|folder| folder.exists()).map_or(Ok(()), confirm::owner)?;
        let hold = Hold::take(&target.folder).map_err(failure)?;
        let found = if is_there {
            Some(survey(&target.folder, target.keys.as_ref().ok(), false).map_err(failure)?)
        } else {
            None
        };
        let places = [Some(&config.keys.kek), config.keys.kek_previous.as_ref()];
        let places = places.into_iter().flatten().collect();
        let log = AuditLog::beside(&target.folder);
        let work = Work { wipe: &self, config: &config, target: &target, places, found, log };
        // Planned before anything is asked: what cannot be wiped is refused first.
        let plan = Erasure::plan(&target.folder, &work.keys()).map_err(failure)?;
        let receipt = self.receipt.as_deref().map(NewFile::create).transpose();
        let receipt = receipt.context("the receipt cannot be written there: name a new file");
        let receipt = receipt.map_err(|error| Failure::new(Exit::Refused, error))?;
        work.announce();
        let name = &config.uplink.gateway;
        match &self.gateway {
            Some(given) => confirm::same_name(name, given)?,
            None => confirm::by_name(name, "destroying all of this", "--yes --gateway NAME")?,
        }
        let done = work.erase(plan, hold)?;
        if let Some(mut file) = receipt {
            file.write_all(format!("{done}\n").as_bytes())?;
            file.finish()?;
        } else {
            let mut out = out::stdout();
            out.json(&done)?;
            out.finish()?;
        }
        conclude(&done)
    }
}

impl Work<'_> {
    /// The files of the keys that are to go.
    fn keys(&self) -> Vec<PathBuf> {
        let files = self.places.iter().filter_map(|place| match place {
            KeyPlace::File(path) if !self.wipe.keep_kek => Some(path.clone()),
            KeyPlace::File(_) | KeyPlace::Credential(_) | KeyPlace::Token(_) => None,
        });
        files.collect()
    }

    /// What will be lost.
    fn announce(&self) {
        let now = SystemClock::default().now().wall;
        let folder = self.target.folder.display();
        let Some(found) = &self.found else {
            out::remark(format_args!("there is no store in {folder}"));
            return;
        };
        out::remark(format_args!("the store in {folder} will be destroyed:"));
        for lane in &found.lanes {
            let ago = |at: Wall| age(u64::try_from(now.as_millis().saturating_sub(at.as_millis())).ok());
            let since = lane.span().map(|(first, _)| format!(", the oldest from {} ago", ago(first)));
            let since = since.unwrap_or_default();
            let lost = match lane.waiting() {
                Some(0) => "nothing that the broker does not have".to_owned(),
                Some(count) => format!("{count} records that were never sent{since}"),
                None => format!("nobody can say how many records{since}"),
            };
            out::remark(format_args!("  {}: {lost}", lane.lane));
        }
        for key in self.keys() {
            out::remark(format_args!("and the key in {}", key.display()));
        }
    }

    /// Erases, proves and writes it all down.
    fn erase(&self, mut plan: Erasure, hold: Hold) -> Result<Value, Failure> {
        let samples = samples(&self.target.folder);
        let before = Proof::before(&samples, self.target.keys.as_ref().ok());
        let begun = self.note("wipe", &self.about());
        if let Err(error) = &begun {
            // Keeping the readings because a log is full would be the worse of the two.
            out::remark(format_args!("the audit log cannot be written, the wipe goes on: {error:#}"));
        }
        let headers = std::mem::take(&mut plan.headers);
        let errors = take_steps(&mut plan);
        drop(hold);
        let keys = Target::of(self.config).keys;
        let proof = before.after(&self.target.folder, &samples, keys.as_ref().ok())?;
        let mut receipt = self.about();
        let mut put = |key: &str, value: Value| drop(receipt.insert(key.to_owned(), value));
        let headers = headers.iter().map(|header| json!({"file": header.file, "sha256": header.sha256}));
        put("headers", headers.collect());
        put("keys", self.fates());
        put(
            "proof",
            json!({
                "files_left": proof.files_left,
                "headers_left": proof.headers_left,
                "key_loads": proof.key_loads,
                "tried": proof.tried,
                "opened_before": proof.opened_before,
                "opened_after": proof.opened_after,
                "opened_with_old_headers": proof.opened_with_old_headers,
            }),
        );
        put("erased", json!(proof.is_erased()));
        put("final", json!(proof.is_final()));
        put("copies_beside", json!(copies_beside(&self.target.folder)));
        put("errors", json!(errors));
        put("limits", json!(LIMITS));
        put("left_alone", json!([self.config.keys.ward.to_string(), self.config.uplink.key]));
        let ended = self.note("wipe-end", &receipt);
        receipt.insert("audited".to_owned(), json!(begun.is_ok() && ended.is_ok()));
        Ok(Value::Object(receipt))
    }

    fn about(&self) -> Map<String, Value> {
        let mut about = Map::new();
        let mut put = |key: &str, value: Value| drop(about.insert(key.to_owned(), value));
        put("gateway", json!(self.config.uplink.gateway));
        put("folder", json!(self.target.folder));
        put("at", json!(SystemClock::default().now().wall.to_string()));
        put("uid", json!(rustix::process::getuid().as_raw()));
        if let Some(reason) = &self.wipe.reason {
            put("reason", json!(reason));
        }
        if let Some(store) = self.found.as_ref().and_then(|found| found.store) {
            put("store", json!(store.to_string()));
        }
        if let Ok(ring) = &self.target.keys {
            put("kek", json!(ring.current.id().to_string()));
        }
        let lanes = self.found.iter().flat_map(|found| &found.lanes).map(|lane| {
            let mut object = json!({"lane": lane.lane.as_str(), "segments": lane.segments.len()});
            if let (Some(waiting), Some(object)) = (lane.waiting(), object.as_object_mut()) {
                object.insert("records_lost".to_owned(), json!(waiting));
            }
            object
        });
        put("lanes", lanes.collect());
        about
    }

    /// What became of each key.
    fn fates(&self) -> Value {
        let fate = |place: &&KeyPlace| {
            let is_gone = |path: &PathBuf| path.symlink_metadata().is_err();
            if matches!(place, KeyPlace::File(path) if is_gone(path)) {
                return json!({"place": place.to_string(), "destroyed": true});
            }
            json!({"place": place.to_string(), "destroyed": false, "left_to_do": left_to_do(place)})
        };
        self.places.iter().map(fate).collect()
    }

    fn note(&self, action: &str, about: &Map<String, Value>) -> anyhow::Result<()> {
        let now = SystemClock::default().now().wall;
        let mut about = about.clone();
        // A line of the log has a longest length, and a store may have thousands of segments.
        if let Some(headers) = about.remove("headers") {
            let bytes = headers.to_string();
            let hash = ring::digest::digest(&ring::digest::SHA256, bytes.as_bytes());
            about.insert("headers_sha256".to_owned(), json!(hex(hash.as_ref())));
        }
        self.log.append(now, action, &about).with_context(|| format!("{}", self.log.path().display()))
    }
}

/// Does every step, also behind one that failed. Out: what failed.
fn take_steps(plan: &mut Erasure) -> Vec<String> {
    let random = SystemRandom::new();
    let bar = Progress::count("erasing");
    let total = plan.left();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let mut errors = Vec::new();
    while let Some(done) = plan.step(&random) {
        match done {
            Err(error) if errors.len() < MOST_ERRORS => errors.push(error.to_string()),
            Ok(_) | Err(_) => {}
        }
        bar.at(count(total - plan.left()), count(total));
    }
    errors
}

/// Says how it ended.
fn conclude(receipt: &Value) -> Result<(), Failure> {
    let is = |key: &str| receipt.get(key).and_then(Value::as_bool).unwrap_or_default();
    let errors = receipt.get("errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for error in errors {
        out::remark(format_args!("{}", error.as_str().unwrap_or_default()));
    }
    for copy in receipt.get("copies_beside").and_then(Value::as_array).into_iter().flatten() {
        out::remark(format_args!("{copy} looks like a copy of a store: it was not touched"));
    }
    if !is("erased") || !errors.is_empty() {
        let error = anyhow!("not everything is gone: see the reasons above, then run it again");
        return Err(Failure::new(Exit::Failed, error));
    }
    if is("final") {
        out::remark(format_args!("wiped: nothing is left, and no block opens any more"));
        return Ok(());
    }
    out::remark(format_args!(
        "the store is gone; its key is not, and until it is, an old copy of the store's headers would open what \
         was in it. Destroy it with:"
    ));
    for key in receipt.get("keys").and_then(Value::as_array).into_iter().flatten() {
        if let Some(command) = key.get("left_to_do").and_then(Value::as_str) {
            out::remark(format_args!("  {command}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::keys::{TokenKey, TokenName};

    #[test]
    fn the_command_that_destroys_a_key_can_be_pasted_into_a_shell() {
        let file = KeyPlace::File(PathBuf::from("/etc/wardline/the key's"));
        assert_eq!(left_to_do(&file), r"shred -u '/etc/wardline/the key'\''s'");
        let token = KeyPlace::Token(TokenKey {
            module: PathBuf::from("/usr/lib/p11.so"),
            token: TokenName { label: Some("ward 7".to_owned()), ..TokenName::default() },
            object: Some("wardline-kek".to_owned()),
            id: Some(vec![1, 0xff]),
            pin: None,
        });
        assert_eq!(
            left_to_do(&token),
            "pkcs11-tool --module /usr/lib/p11.so --token-label 'ward 7' --label wardline-kek --id 01ff --login \
             --delete-object --type secrkey"
        );
    }
}
