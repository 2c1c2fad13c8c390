//! `wardline keys`: where the local keys are and whether they can be used; and the making of new ones.
//!
//! `show --json`: one object `{"kek", "kek_previous", "ward", "store"}`. A key is `{"place", "protection",
//! "id", "problem"}`; `id` is there for the first two, `kek_previous` is `null` where the configuration
//! names none. `store` is `{"folder", "kek", "kek_previous", "problem"}`: the ids of the keys that it says
//! it is kept under, `null` where there is no store. `make --json`: `{"place", "protection", "id"}`.
//!
//! What never happens: a key is shown; a key is made over another, or in the place of the key of a store
//! that holds data: a lost key is a matter for a person; a token is asked again after it refused a PIN.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ring::rand::SystemRandom;
use serde::Serialize;

use super::Folder;
use super::exit::{Exit, Failure};
use super::out::{self, Colour, Out};
use super::status::{clean, print_table};
use crate::config::{Config, Environment, GATEWAY_FILE, token_key};
use crate::envelope::keys::{self, Kek, KekId, KeyError, KeyFile, KeyPlace, KeySource as _, WardKey};
use crate::host::atomic_file;
use crate::store::{self, Owner};

/// Show where the local keys are, or make a new one.
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say where each key is, how it is protected, its id, and what is wrong with it. Asks a token once.
    Show(Show),
    /// Make a new key: 32 random bytes in a file, or a key in a token that can never be read.
    Make(Make),
}

#[derive(Debug, Args)]
#[command(after_help = "Run it as root or as the daemon's user: nobody else can read the keys.\n\
    Ends with 4 when a key cannot be used, with 5 when the store is kept under another key, and with 8 when a \
    token refuses its PIN: each call is one try, and a token locks after a few wrong ones.")]
struct Show {
    #[command(flatten)]
    folder: Folder,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    wardline keys make /etc/wardline/kek-2027\n  \
    wardline keys make --pkcs11 'pkcs11:token=ward;object=wardline-kek?module-path=/usr/lib/softhsm/libsofthsm2.so&\
    pin-source=file:/etc/wardline/pin'\n\n\
    A key of the unit is a credential: make it in /run, encrypt it with systemd-creds, and shred the file; the \
    operating manual, Change the key, has each command.\n\n\
    To change the key of a store: make the new key at a new place; name that as keys.kek and the present one as \
    keys.kek_previous; restart the daemon; wait until `wardline status` says that the previous key is no longer \
    needed; remove keys.kek_previous, then the old key.\n\n\
    Ends with 6 when something is there already, or when the place is that of the key of a store with data.")]
struct Make {
    /// The file to make, for its owner alone.
    #[arg(required_unless_present = "pkcs11", conflicts_with = "pkcs11")]
    file: Option<PathBuf>,
    /// The PKCS#11 URI of the key to make in a token.
    #[arg(long, value_name = "URI")]
    pkcs11: Option<String>,
    #[command(flatten)]
    folder: Folder,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Keys {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Show(show) => show.run(),
            Command::Make(make) => make.run(),
        }
    }
}

/// One key, for people and scripts.
#[derive(Serialize)]
struct Shown {
    place: String,
    protection: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    problem: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

impl Shown {
    /// `id` is that of the key, or none to be told.
    fn of(place: &KeyPlace, loaded: Result<Option<KekId>, KeyError>) -> Self {
        let (place, protection) = (place.to_string(), place.protection().as_str());
        let (id, problem) = match loaded {
            Ok(id) => (id, None),
            Err(error) => (None, Some(error)),
        };
        let exit = problem.as_ref().map_or(Exit::Ok, exit_of);
        let problem = problem.map(|error| error.to_string());
        Self { place, protection, id: id.map(|id| id.to_string()), problem, exit }
    }
}

/// How a command ends on a key that cannot be used.
pub(super) const fn exit_of(error: &KeyError) -> Exit {
    if error.must_not_be_tried_again() { Exit::Pin } else { Exit::Keys }
}

/// The store, as it is without any key.
#[derive(Serialize)]
struct ShownStore {
    folder: PathBuf,
    kek: Option<String>,
    kek_previous: Option<String>,
    problem: Option<String>,
}

#[derive(Serialize)]
struct Report {
    kek: Shown,
    kek_previous: Option<Shown>,
    ward: Shown,
    store: ShownStore,
}

impl Show {
    fn run(self) -> Result<(), Failure> {
        let config = self.folder.load_or_fail()?.config;
        let report = Report::of(&config);
        let mut out = out::stdout();
        if self.json {
            out.json(&report)?;
        } else {
            report.print(&mut out)?;
        }
        out.finish()?;
        let exit = report.exit();
        if exit == Exit::Ok { Ok(()) } else { Err(Failure::silent(exit)) }
    }
}

impl Report {
    fn of(config: &Config) -> Self {
        let keys = &config.keys;
        let kek = Shown::of(&keys.kek, Kek::load(&keys.kek).map(|kek| Some(kek.id())));
        let asked = kek.exit != Exit::Pin;
        let kek_previous = keys.kek_previous.as_ref().map(|place| {
            if place.token().is_some() && !asked {
                let problem = "not asked, as a token has just refused a PIN".to_owned();
                return Shown { problem: Some(problem), ..Shown::of(place, Ok(None)) };
            }
            Shown::of(place, Kek::load(place).map(|kek| Some(kek.id())))
        });
        let ward = Shown::of(&keys.ward, WardKey::load(&keys.ward).map(|_| None));
        let store = ShownStore::of(&config.store.folder, [Some(&kek), kek_previous.as_ref()]);
        Self { kek, kek_previous, ward, store }
    }

    fn rows(&self) -> impl Iterator<Item = (&'static str, &Shown)> {
        let previous = self.kek_previous.as_ref().map(|previous| ("kek_previous", previous));
        [("kek", &self.kek)].into_iter().chain(previous).chain([("ward", &self.ward)])
    }

    /// The worst first: a PIN must not be tried again.
    fn exit(&self) -> Exit {
        let exits: Vec<Exit> = self.rows().map(|(_, shown)| shown.exit).collect();
        let of_store = if self.store.problem.is_some() { Exit::Store } else { Exit::Ok };
        let is_there = |exit: &Exit| exits.contains(exit);
        [Exit::Pin, Exit::Keys].into_iter().find(is_there).unwrap_or(of_store)
    }

    fn print<W: Write>(&self, out: &mut Out<W>) -> std::io::Result<()> {
        let mut rows = vec![["key", "protection", "id", "place"].map(str::to_owned).to_vec()];
        for (name, shown) in self.rows() {
            let id = shown.id.clone().unwrap_or_else(|| "-".to_owned());
            rows.push(vec![name.to_owned(), shown.protection.to_owned(), id, clean(&shown.place)]);
        }
        let place = |row: usize| row.checked_sub(1).and_then(|row| self.rows().nth(row));
        let is_well = |row: usize| place(row).is_none_or(|(_, shown)| shown.problem.is_none());
        print_table(out, &rows, |row| if is_well(row) { Colour::Good } else { Colour::Bad })?;
        let folder = self.store.folder.display();
        match (&self.store.kek, &self.store.kek_previous) {
            (Some(kek), None) => out.line(format_args!("\nstore {folder} is kept under key {kek}"))?,
            (Some(kek), Some(previous)) => out.line(format_args!(
                "\nstore {folder} is kept under key {kek}, and part of it still under {previous}"
            ))?,
            (None, _) => out.line(format_args!("\nstore {folder} is not there yet"))?,
        }
        let problems = self.rows().filter_map(|(name, shown)| Some((name, shown.problem.as_ref()?)));
        for (name, problem) in problems.chain(self.store.problem.iter().map(|problem| ("store", problem))) {
            let mark = out.paint(Colour::Bad, "!");
            out.line(format_args!("{mark} {name}: {}", clean(problem)))?;
        }
        Ok(())
    }
}

impl ShownStore {
    fn of(folder: &Path, keys: [Option<&Shown>; 2]) -> Self {
        let folder = folder.to_owned();
        let owner = match store::owner(&folder) {
            Ok(Some(owner)) => owner,
            Ok(None) => return Self { folder, kek: None, kek_previous: None, problem: None },
            Err(error) => {
                return Self { folder, kek: None, kek_previous: None, problem: Some(error.to_string()) };
            }
        };
        let Owner { kek, previous } = owner;
        let (kek, kek_previous) = (kek.to_string(), previous.map(|previous| previous.to_string()));
        // What is there is told apart from what cannot be known: a key that was not read.
        let ids: Vec<Option<&String>> = keys.into_iter().flatten().map(|shown| shown.id.as_ref()).collect();
        let missing = |id: &String| !ids.contains(&Some(id)) && !ids.contains(&None);
        let problem = [Some(&kek), kek_previous.as_ref()].into_iter().flatten().find(|id| missing(id)).map(|id| {
            format!(
                "the configuration names no key {id}: give the key that the store was kept under as keys.kek or \
                 keys.kek_previous, or move the whole store folder away to begin a new one (what it holds is then \
                 not sent)"
            )
        });
        Self { folder, kek: Some(kek), kek_previous, problem }
    }
}

/// A key that was made.
#[derive(Serialize)]
struct Made {
    place: String,
    protection: &'static str,
    id: String,
}

impl Make {
    fn run(self) -> Result<(), Failure> {
        let place = self.place()?;
        let config = self.config()?;
        if let Some(config) = &config {
            refuse_over_data(config, &place)?;
        } else {
            let folder = self.folder.config.display();
            out::remark(format_args!(
                "there is no configuration in {folder}: whether a store needs an older key is not known"
            ));
        }
        let kek = match &place {
            KeyPlace::Token(key) => key.make().map_err(key_failure)?,
            KeyPlace::File(path) | KeyPlace::Credential(path) => make_file(path)?,
        };
        let made = Made {
            place: place.to_string(),
            protection: place.protection().as_str(),
            id: kek.id().to_string(),
        };
        let mut out = out::stdout();
        if self.json {
            out.json(&made)?;
        } else {
            print_made(&mut out, &made, &place)?;
        }
        out.finish()?;
        Ok(())
    }

    fn place(&self) -> Result<KeyPlace, Failure> {
        let usage = |error: anyhow::Error| Failure::new(Exit::Usage, error);
        if let Some(uri) = &self.pkcs11 {
            let environment = Environment::new(std::env::vars_os());
            let key = token_key(uri, &self.folder.config, &environment);
            return key.map(KeyPlace::Token).map_err(|error| usage(anyhow::anyhow!("--pkcs11: {error}")));
        }
        let file = self.file.clone().unwrap_or_default();
        let path = std::path::absolute(&file).map_err(|error| usage(error.into()))?;
        Ok(KeyPlace::File(path))
    }

    /// The configuration, which says where the store is. `None` when there is none yet: keys are made
    /// before it. One that is not valid is no answer.
    fn config(&self) -> Result<Option<Config>, Failure> {
        match std::fs::symlink_metadata(self.folder.config.join(GATEWAY_FILE)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            _ => Ok(Some(self.folder.load_or_fail()?.config)),
        }
    }
}

fn key_failure(error: KeyError) -> Failure {
    let is_there = matches!(&error, KeyError::Token { trouble: keys::TokenTrouble::Exists, .. });
    Failure::new(if is_there { Exit::Refused } else { exit_of(&error) }, error)
}

/// A key in the place of one that a store needs would be taken for that one: the daemon would then say
/// that the key is wrong, and somebody would move the store away.
fn refuse_over_data(config: &Config, place: &KeyPlace) -> Result<(), Failure> {
    let owner = store::owner(&config.store.folder).map_err(|error| Failure::new(Exit::Store, error))?;
    let Some(Owner { kek, previous }) = owner else { return Ok(()) };
    let keys = &config.keys;
    let taken = [("keys.kek", Some(&keys.kek)), ("keys.kek_previous", keys.kek_previous.as_ref())];
    let Some((name, _)) =
        taken.into_iter().find(|(_, taken)| taken.is_some_and(|taken| is_same(taken, place)))
    else {
        return Ok(());
    };
    let needed = previous.map_or_else(|| kek.to_string(), |previous| format!("{kek} and {previous}"));
    let folder = config.store.folder.display();
    Err(Failure::new(
        Exit::Refused,
        anyhow::anyhow!(
            "no key is made: {place} is the place of {name}, and the store in {folder} is kept under key {needed}. \
             A new key cannot open it. If the key is lost, look for a copy of it, or move the whole store folder \
             away (what it holds is then not sent). To change the key, make the new one at another place, name \
             that as keys.kek and the present one as keys.kek_previous"
        ),
    ))
}

/// The same key, also where a file is reached by another path.
fn is_same(one: &KeyPlace, other: &KeyPlace) -> bool {
    let real = |path: &Path| {
        let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
        folder.zip(path.file_name()).map(|(folder, name)| folder.join(name))
    };
    let files = one.path().and_then(real).zip(other.path().and_then(real));
    one.is_same(other) || files.is_some_and(|(one, other)| one == other)
}

fn make_file(path: &Path) -> Result<Kek, Failure> {
    let bytes = keys::fresh(&SystemRandom::new()).map_err(key_failure)?;
    atomic_file::create(path, bytes.as_slice()).map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            let path = path.display();
            let text = format!(
                "no key is made: {path} is there, and a key is never made over another; give a new name"
            );
            return Failure::new(Exit::Refused, anyhow::anyhow!(text));
        }
        Failure::new(Exit::Failed, anyhow::Error::from(error).context("the key cannot be written"))
    })?;
    Kek::load(&KeyFile::new(path)).map_err(key_failure)
}

fn print_made<W: Write>(out: &mut Out<W>, made: &Made, place: &KeyPlace) -> std::io::Result<()> {
    let Made { place: shown, id, .. } = made;
    out.line(format_args!("made {shown}\nid   {id} (as the KEK)"))?;
    match place {
        KeyPlace::Token(_) => out.line(format_args!(
            "It cannot be read or copied: who destroys it destroys what a store under it holds."
        )),
        KeyPlace::File(_) | KeyPlace::Credential(_) => out.line(format_args!(
            "It belongs to the user who made it: the daemon reads it when that is the daemon's user, or by way of \
             a credential. Keep a copy where a fire or a thief at the gateway does not reach it."
        )),
    }
}
