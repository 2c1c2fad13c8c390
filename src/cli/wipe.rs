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
//! | `key_files` | list | the files with a key that were to go, behind every link |
//! | `keys` | list | `place`, `destroyed`, and the command that is `left_to_do` |
//! | `proof` | object | `files_left`, `headers_left`, `mark_left`, `key_loads`, `tried`, `opened_before`, `opened_after`, `opened_with_old_headers` |
//! | `erased` | true, false | nothing is left on the box, and nothing went wrong |
//! | `not_proven` | text | why the proof is none; left out when it is one |
//! | `final` | true, false | erased, proven, and every key destroyed: nothing opens whatever old copies are found |
//! | `copies_beside`, `errors`, `limits` | lists | in words |
//! | `left_alone` | list | every key that the configuration points at and that is not destroyed |
//! | `audited` | true, false | whether the audit log says so too |

mod keys;

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
use crate::store::StoreError;
use crate::store::erase::{Erasure, KeyFiles, Proof, copies_beside, samples};
use crate::store::inspect::{Hold, Survey, survey};
use crate::time::{Clock, Wall};
use keys::Earlier;

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

/// A wipe that was confirmed.
struct Work<'a> {
    wipe: &'a Wipe,
    config: &'a Config,
    target: &'a Target,
    places: Vec<&'a KeyPlace>,
    found: Option<Survey>,
    log: AuditLog,
    earlier: Option<Earlier>,
    /// The files of the keys that are to go.
    keys: Vec<KeyFiles>,
}

impl Wipe {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.folder.load_or_fail()?.config;
        let target = Target::of(&config);
        target.must_not_be_refused()?;
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
        let places: Vec<&KeyPlace> = places.into_iter().flatten().collect();
        let log = AuditLog::beside(&target.folder);
        let earlier = keys::earlier(&log, &target.folder);
        let keys = self.key_files(&places, earlier.as_ref()).map_err(failure)?;
        let work = Work { wipe: &self, config: &config, target: &target, places, found, log, earlier, keys };
        // Planned before anything is asked: what cannot be wiped is refused first.
        let plan = Erasure::plan(&target.folder, &work.keys).map_err(failure)?;
        self.receipt.as_deref().map_or(Ok(()), |file| outside(&target.folder, file))?;
        let receipt = self.receipt.as_deref().map(NewFile::create).transpose();
        let receipt = receipt.context("the receipt cannot be written there: name a new file");
        let receipt = receipt.map_err(|error| Failure::new(Exit::Refused, error))?;
        work.announce();
        let name = &config.uplink.gateway;
        match &self.gateway {
            Some(given) => confirm::same_name(name, given)?,
            None => confirm::by_name(name, "destroying all of this", "--yes --gateway NAME")?,
        }
        let done = work.erase(plan, hold);
        let written = receipt.map(|file| write_receipt(file, &done)).transpose();
        if !matches!(written, Ok(Some(()))) {
            let mut out = out::stdout();
            out.json(&done)?;
            out.finish()?;
        }
        let concluded = conclude(&done);
        // Everything is gone by now: the receipt went to standard output instead.
        written
            .map_err(|error| Failure::new(Exit::Failed, error.context("the receipt cannot be written")))?;
        concluded
    }

    /// The files of the keys that are to go: each holds a key, or is gone already.
    fn key_files(
        &self,
        places: &[&KeyPlace],
        earlier: Option<&Earlier>,
    ) -> Result<Vec<KeyFiles>, StoreError> {
        let begun = earlier.map_or(&[][..], |earlier| &earlier.keys);
        let files = places.iter().filter_map(|place| match place {
            KeyPlace::File(path) if !self.keep_kek => Some(path),
            KeyPlace::File(_) | KeyPlace::Credential(_) | KeyPlace::Token(_) => None,
        });
        files.map(|path| KeyFiles::find(path, begun)).collect()
    }
}

impl Work<'_> {
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
        for key in self.keys.iter().filter_map(KeyFiles::resolved) {
            out::remark(format_args!("and the key in {}", key.display()));
        }
    }

    /// Erases, proves and writes it all down.
    fn erase(&self, mut plan: Erasure, hold: Hold) -> Value {
        let samples = samples(&self.target.folder);
        let before = Proof::before(&samples, self.target.keys.as_ref().ok());
        let begun = self.note("wipe", &self.about());
        if let Err(error) = &begun {
            // Keeping the readings because a log is full would be the worse of the two.
            out::remark(format_args!("the audit log cannot be written, the wipe goes on: {error:#}"));
        }
        let headers = std::mem::take(&mut plan.headers);
        let had_store = plan.has_store;
        let mut errors = take_steps(&mut plan);
        drop(hold);
        let now = Target::again(self.config);
        let keys = &now.as_ref().unwrap_or(self.target).keys;
        let proof = before.after(&self.target.folder, &samples, keys.as_ref().ok());
        // What cannot be looked at is not proven; but the receipt and the audit log still tell of the rest.
        let proof =
            proof.map_err(|error| errors.push(format!("what is left cannot be looked at: {error}"))).ok();
        let mut receipt = self.about();
        let mut put = |key: &str, value: Value| drop(receipt.insert(key.to_owned(), value));
        let headers = headers.iter().map(|header| json!({"file": header.file, "sha256": header.sha256}));
        put("headers", headers.collect());
        put("keys", self.places.iter().map(|place| keys::fate(place)).collect());
        put("proof", proof.as_ref().map_or(Value::Null, shown));
        let is_erased = errors.is_empty() && proof.as_ref().is_some_and(Proof::is_erased);
        let not_proven = if had_store { self.not_proven(proof.as_ref()) } else { None };
        let is_destroyed = self.places.iter().all(|place| keys::is_destroyed(place));
        let holds = is_erased && not_proven.is_none() && proof.as_ref().is_some_and(Proof::is_closed);
        put("erased", json!(is_erased));
        put("final", json!(holds && is_destroyed));
        if let Some(why) = not_proven {
            put("not_proven", json!(why));
        }
        put("copies_beside", json!(copies_beside(&self.target.folder)));
        put("errors", json!(errors));
        put("limits", json!(LIMITS));
        put("left_alone", json!(keys::left_alone(self.config)));
        let ended = self.note("wipe-end", &receipt);
        receipt.insert("audited".to_owned(), json!(begun.is_ok() && ended.is_ok()));
        Value::Object(receipt)
    }

    /// Why it proves nothing that no block opens: a key that was never there to try opens none either.
    fn not_proven(&self, proof: Option<&Proof>) -> Option<String> {
        let Some(proof) = proof else {
            return Some("not proven: what is left cannot be looked at".to_owned());
        };
        if proof.key_was_right || self.earlier.is_some() {
            return None;
        }
        Some(match &self.target.keys {
            Err(error) => format!("not proven: no key was there to try ({error})"),
            Ok(_) => "not proven: the key that was there opened no block before the wipe either".to_owned(),
        })
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
        let files: Vec<&Path> = self.keys.iter().filter_map(KeyFiles::resolved).collect();
        if !files.is_empty() {
            put("key_files", json!(files));
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

/// The proof, as the receipt has it.
fn shown(proof: &Proof) -> Value {
    json!({
        "files_left": proof.files_left,
        "headers_left": proof.headers_left,
        "mark_left": proof.mark_left,
        "key_loads": proof.key_loads,
        "tried": proof.tried,
        "opened_before": proof.opened_before,
        "opened_after": proof.opened_after,
        "opened_with_old_headers": proof.opened_with_old_headers,
    })
}

/// A receipt in the store's folder would go with it.
fn outside(store: &Path, receipt: &Path) -> Result<(), Failure> {
    let home = receipt.parent().filter(|home| !home.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(store), Ok(home)) = (store.canonicalize(), home.canonicalize()) else { return Ok(()) };
    if !home.starts_with(&store) {
        return Ok(());
    }
    let error =
        anyhow!("the receipt would be erased with the store: name a file outside of {}", store.display());
    Err(Failure::new(Exit::Refused, error))
}

fn write_receipt(mut file: NewFile, done: &Value) -> anyhow::Result<()> {
    file.write_all(format!("{done}\n").as_bytes())?;
    Ok(file.finish()?)
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
    if let Some(why) = receipt.get("not_proven").and_then(Value::as_str) {
        out::remark(format_args!("{why}"));
    }
    let keys = receipt.get("keys").and_then(Value::as_array).into_iter().flatten();
    let left: Vec<&str> = keys.filter_map(|key| key.get("left_to_do")?.as_str()).collect();
    if !left.is_empty() {
        out::remark(format_args!(
            "a key is not destroyed, and until it is, an old copy of the store's headers would open what was in \
             it. Destroy it with:"
        ));
        for command in left {
            out::remark(format_args!("  {command}"));
        }
    }
    if !is("erased") {
        let error = anyhow!("not everything is gone: see the reasons above, then run it again");
        return Err(Failure::new(Exit::Failed, error));
    }
    if is("final") {
        out::remark(format_args!("wiped: nothing is left, and no block opens any more"));
    } else {
        out::remark(format_args!("the store is gone, but this is not final: see above"));
    }
    Ok(())
}
