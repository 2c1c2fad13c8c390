//! `wardline check`: everything that is wrong with the configuration, without running anything.
//!
//! With `--json`, one object: `{"valid": bool, "problems": [{"file", "key", "reason"}], "more": n,
//! "notes": ["..."], "settings": [{"key", "value", "source"}]}`; `more` counts problems past those
//! listed, `settings` is there with `--show`.

use std::io::ErrorKind;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::Folder;
use super::exit::{Exit, Failure};
use super::out::{self, Colour, Out};
use crate::config::{Config, Keys, Loaded, Problem, Setting};
use crate::envelope::keys::KeyPlace;
use crate::host::status::group_id;
use crate::store::volume_size;

/// Below this systemd keeps the credentials of its units.
const CREDENTIALS_ROOT: &str = "/run/credentials";

/// Say everything that is wrong with the configuration, without running anything.
#[derive(Debug, Args)]
#[command(after_help = "Ends with 0 when the configuration is valid and with 3 when it is not.")]
pub(super) struct Check {
    #[command(flatten)]
    folder: Folder,
    /// Also print every value that holds, with the layer it came from.
    #[arg(long)]
    show: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Verdict {
    valid: bool,
    problems: Vec<Problem>,
    more: usize,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<Vec<Setting>>,
    #[serde(skip)]
    devices: usize,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let verdict = self.judge();
        let mut out = out::stdout();
        if self.json {
            out.json(&verdict)?;
        } else {
            verdict.print(&mut out)?;
        }
        out.finish()?;
        if verdict.valid { Ok(()) } else { Err(Failure::silent(Exit::Config)) }
    }

    fn judge(&self) -> Verdict {
        match self.folder.load() {
            Ok(loaded) => {
                let (problem, note) = match too_large(&loaded) {
                    Some(Misfit::Here(problem)) => (Some(problem), None),
                    Some(Misfit::Perhaps(note)) => (None, Some(note)),
                    None => (None, None),
                };
                let notes = [loaded.notes, note.into_iter().collect(), not_here(&loaded.config)];
                Verdict {
                    valid: problem.is_none(),
                    problems: problem.into_iter().collect(),
                    more: 0,
                    notes: notes.concat(),
                    settings: self.show.then_some(loaded.settings),
                    devices: loaded.config.devices.len(),
                }
            }
            Err(problems) => {
                let listed: Vec<Problem> = problems.iter().cloned().collect();
                Verdict {
                    valid: false,
                    more: problems.count() - listed.len(),
                    problems: listed,
                    notes: Vec::new(),
                    settings: None,
                    devices: 0,
                }
            }
        }
    }
}

/// A store that does not fit.
enum Misfit {
    /// Its folder is here: the daemon would not start.
    Here(Problem),
    /// Its folder is not here yet: it may come on another volume, or on another machine.
    Perhaps(String),
}

/// Whether the store may grow larger than the volume that its folder is on, or would be made on.
fn too_large(loaded: &Loaded) -> Option<Misfit> {
    let store = &loaded.config.store;
    let (there, size) = store.folder.ancestors().find_map(|there| Some((there, volume_size(there).ok()?)))?;
    if store.cap <= size {
        return None;
    }
    let there_is = format!("{} bytes is more than the volume of {} has ({size})", store.cap, there.display());
    if there != store.folder {
        let folder = store.folder.display();
        return Some(Misfit::Perhaps(format!(
            "store.cap: {there_is}: where {folder} is on that volume, the daemon ends with 5 until it is lower"
        )));
    }
    let source = loaded.settings.iter().find(|setting| setting.key == "store.cap");
    Some(Misfit::Here(Problem {
        file: source.map_or_else(String::new, |setting| setting.source.clone()),
        key: "store.cap".to_owned(),
        reason: format!("{there_is}: set a lower one, or mount the volume that is meant"),
    }))
}

/// What the configuration names and this machine does not have. Not a mistake of the configuration,
/// which may be checked on another machine than it is for.
pub(super) fn not_here(config: &Config) -> Vec<String> {
    let uplink = &config.uplink;
    let files =
        [("uplink.authorities", uplink.authorities.as_path()), ("uplink.certificate", &uplink.certificate)];
    let Keys { kek, kek_previous, ward } = &config.keys;
    let keys = [
        ("uplink.key", Some(&uplink.key)),
        ("keys.kek", Some(kek)),
        ("keys.kek_previous", kek_previous.as_ref()),
        ("keys.ward", Some(ward)),
    ];
    let key_files = keys
        .into_iter()
        .flat_map(|(key, place)| place.into_iter().flat_map(files_of).map(move |path| (key, path)));
    let mut notes: Vec<String> = files
        .into_iter()
        .chain(key_files)
        // A credential is there only while the unit runs, and only for it.
        .filter(|(_, path)| !path.starts_with(CREDENTIALS_ROOT))
        .filter(|(_, path)| std::fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound))
        .map(|(key, path)| format!("{key}: {} is not on this machine", path.display()))
        .collect();
    if let Some(Err(error)) = config.socket_group.as_deref().map(group_id) {
        notes.push(format!(
            "status.group: {error}; until then only root and the daemon's own user get the status"
        ));
    }
    notes
}

/// The files that a key's place needs.
fn files_of(place: &KeyPlace) -> impl Iterator<Item = &Path> {
    let token = place.token().map(|key| [Some(key.module.as_path()), key.pin.as_deref()]);
    place.path().into_iter().chain(token.into_iter().flatten().flatten())
}

impl Verdict {
    fn print<W: std::io::Write>(&self, out: &mut Out<W>) -> std::io::Result<()> {
        for setting in self.settings.iter().flatten() {
            let source = out.paint(Colour::Faint, &format!("# {}", setting.source));
            out.line(format_args!("{} = {}  {source}", setting.key, setting.value))?;
        }
        for problem in &self.problems {
            out.line(format_args!("{problem}"))?;
        }
        for note in &self.notes {
            out.line(format_args!("note: {note}"))?;
        }
        if self.valid {
            let count = self.devices;
            let verdict = out.paint(Colour::Good, "valid");
            return out.line(format_args!("{verdict}: {count} device{}", if count == 1 { "" } else { "s" }));
        }
        let count = self.problems.len() + self.more;
        let verdict = out.paint(Colour::Bad, "not valid");
        out.line(format_args!("{verdict}: {count} problem{}", if count == 1 { "" } else { "s" }))
    }
}
