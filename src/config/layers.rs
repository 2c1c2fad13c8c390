//! The layers: built-in defaults, `gateway.toml`, the environment; and the files of `devices.d`.
//!
//! In: a folder and the environment. Out: figment values that remember where each of them was
//! written. An absent or unreadable file is a problem, never an empty layer (figment would take it
//! for one); so is a file that anybody may change.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::problem::Problems;

/// The file with everything but the devices.
pub const GATEWAY_FILE: &str = "gateway.toml";
/// The folder with the files of the devices.
pub const DEVICES_FOLDER: &str = "devices.d";
/// What the names of the environment's variables begin with.
pub const PREFIX: &str = "WARDLINE_";
/// What separates a section from a key in the name of a variable.
const NESTING: &str = "__";

/// The largest file that is read: a thousand devices with room to spare.
const MAX_FILE: u64 = 1024 * 1024;
/// The most files of `devices.d`, and the most bytes in all of them.
const MAX_FILES: usize = 1_024;
const MAX_DEVICES_BYTES: u64 = 8 * 1024 * 1024;
/// The most dots on one line outside comments: past any key that makes sense here, and a bound on
/// what the parser nests.
const MAX_DEPTH: usize = 64;
/// The longest value of a variable.
const MAX_VARIABLE: usize = 4_096;

/// What the program reads of its environment, read once by the caller.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: Vec<(String, String)>,
    credentials: Option<String>,
}

impl Environment {
    /// Keeps what concerns the configuration. `WARDLINE_` variables that are not UTF-8 are kept with
    /// replacement characters: their value is then refused by whatever it is for.
    pub fn new(variables: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            let (name, value) = (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned());
            if name == "CREDENTIALS_DIRECTORY" {
                environment.credentials = Some(value);
            } else if name.starts_with(PREFIX) {
                environment.variables.push((name, value));
            }
        }
        environment.variables.sort();
        environment
    }

    /// Where systemd put the credentials of this unit.
    pub(super) fn credentials(&self) -> Option<&str> {
        self.credentials.as_deref()
    }
}

/// Defaults, `gateway.toml`, what was pushed and environment, merged; later ones win key by key.
pub(super) fn gateway(
    folder: &Path,
    environment: &Environment,
    pushed: Option<(&str, Dict)>,
    problems: &mut Problems,
) -> Figment {
    let mut figment = defaults(problems);
    if let Some(dict) = read_toml(&folder.join(GATEWAY_FILE), GATEWAY_FILE, &mut { MAX_FILE }, problems) {
        figment = figment.merge(Layer { name: GATEWAY_FILE.to_owned(), dict });
    }
    if let Some((name, dict)) = pushed {
        figment = figment.merge(Layer { name: name.to_owned(), dict });
    }
    for (name, value) in &environment.variables {
        if value.len() > MAX_VARIABLE {
            problems.push(name, "", format!("is longer than {MAX_VARIABLE} bytes"));
            continue;
        }
        let dict = nested(name.strip_prefix(PREFIX).unwrap_or(name), scalar(value));
        figment = figment.merge(Layer { name: name.clone(), dict });
    }
    figment
}

fn defaults(problems: &mut Problems) -> Figment {
    match Toml::from_str::<Dict>(include_str!("defaults.toml")) {
        Ok(dict) => Figment::from(Layer { name: "built-in default".to_owned(), dict }),
        Err(error) => {
            problems.push("built-in defaults", "", error.message());
            Figment::new()
        }
    }
}

/// Defaults, and over them what a text of `gateway.toml` holds.
pub(super) fn text(dict: Dict, problems: &mut Problems) -> Figment {
    defaults(problems).merge(Layer { name: GATEWAY_FILE.to_owned(), dict })
}

/// What is not read from a file, under a name of its own.
pub(super) fn named(name: &str, dict: Dict) -> (String, Figment) {
    (name.to_owned(), Figment::from(Layer { name: name.to_owned(), dict }))
}

/// A file that need not be there, as a layer of its own; empty when it is not.
pub(super) fn optional(folder: &Path, name: &str, problems: &mut Problems) -> Figment {
    let path = folder.join(name);
    let is_absent =
        std::fs::symlink_metadata(&path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    let dict = if is_absent { None } else { read_toml(&path, name, &mut { MAX_FILE }, problems) };
    Figment::from(Layer { name: name.to_owned(), dict: dict.unwrap_or_default() })
}

/// The files of `devices.d` in the order of their names, each with where it was written. `None` when
/// there is no such folder.
pub(super) fn devices(folder: &Path, problems: &mut Problems) -> Option<Vec<(String, Figment)>> {
    let folder = folder.join(DEVICES_FOLDER);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            problems.push(DEVICES_FOLDER, "", format!("cannot be read: {error}"));
            return Some(Vec::new());
        }
    };
    refuse_writable_folder(&folder, DEVICES_FOLDER, problems);
    let mut names = Vec::new();
    for entry in entries.take(MAX_FILES + 1) {
        match entry {
            Ok(entry) => names.push(entry.file_name().to_string_lossy().into_owned()),
            Err(error) => problems.push(DEVICES_FOLDER, "", format!("cannot be read: {error}")),
        }
    }
    if names.len() > MAX_FILES {
        problems.push(DEVICES_FOLDER, "", format!("holds more than {MAX_FILES} files"));
    }
    names.retain(|name| is_device_file(name));
    names.sort();
    let mut left = MAX_DEVICES_BYTES;
    let read = names.into_iter().filter_map(|name| {
        let shown = format!("{DEVICES_FOLDER}/{name}");
        let dict = read_toml(&folder.join(&name), &shown, &mut left, problems)?;
        Some((shown.clone(), Figment::from(Layer { name: shown, dict })))
    });
    Some(read.collect())
}

/// Says so when the folder is not there or anybody may put files into it.
pub(super) fn check_folder(folder: &Path, problems: &mut Problems) -> bool {
    let shown = folder.display().to_string();
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => {
            refuse_writable_folder(folder, &shown, problems);
            true
        }
        Ok(_) => {
            problems.push(&shown, "", "is not a folder: name the folder that holds gateway.toml");
            false
        }
        Err(error) => {
            problems.push(&shown, "", format!("cannot be read: {error}"));
            false
        }
    }
}

/// Where the value was written.
pub(super) fn origin(figment: &Figment, value: &Value) -> Option<String> {
    figment.get_metadata(value.tag()).map(|found| found.name.to_string())
}

/// Editors leave hidden files and `*.toml~` behind; only `*.toml` counts.
fn is_device_file(name: &str) -> bool {
    !name.starts_with('.') && Path::new(name).extension().is_some_and(|extension| extension == "toml")
}

fn refuse_writable_folder(folder: &Path, shown: &str, problems: &mut Problems) {
    if let Ok(found) = std::fs::metadata(folder)
        && found.mode() & 0o002 != 0
    {
        problems.push(shown, "", "anybody may put files into it: chmod o-w");
    }
}

/// `left` is how many bytes may still be read; what was read is taken off.
fn read_toml(path: &Path, shown: &str, left: &mut u64, problems: &mut Problems) -> Option<Dict> {
    let text = read_text(path, left).map_err(|reason| problems.push(shown, "", reason)).ok()?;
    parse(&text).map_err(|reason| problems.push(shown, "", reason)).ok()
}

/// What a text holds, or why it is none.
pub(super) fn parse(text: &str) -> Result<Dict, String> {
    if let Some(line) = too_deep(text) {
        return Err(format!("line {line} nests deeper than {MAX_DEPTH} levels"));
    }
    Toml::from_str::<Dict>(text).map_err(|error| {
        let line = error.span().map(|span| text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1);
        let place = line.map_or(String::new(), |line| format!(", line {line}"));
        // The parser has no words for a value that is not there.
        let message = match error.message().trim() {
            "" => "a value is missing or cannot be read",
            message => message,
        };
        format!("is not TOML{place}: {message}")
    })
}

/// Everything is asked of the open file, so that it cannot be another one by the time it is read.
fn read_text(path: &Path, left: &mut u64) -> Result<String, String> {
    let absent = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return "is not there: an absent file is not an empty one".to_owned();
        }
        format!("cannot be read: {error}")
    };
    // Opening a pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(absent)?.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut file = File::open(path).map_err(absent)?;
    let found = file.metadata().map_err(absent)?;
    if !found.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if found.mode() & 0o002 != 0 {
        return Err("anybody may change it: chmod o-w".to_owned());
    }
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(absent)?;
    let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if count > MAX_FILE {
        return Err(format!("is larger than {MAX_FILE} bytes"));
    }
    *left = left.checked_sub(count).ok_or_else(|| {
        format!("is too much: {DEVICES_FOLDER} may hold {MAX_DEVICES_BYTES} bytes, and those before it had the rest")
    })?;
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}

/// The first line that could nest tables deeper than [`MAX_DEPTH`]. The parser bounds lists itself
/// but not dotted keys, and what is nested is freed by recursion. A key stands on one line.
fn too_deep(text: &str) -> Option<usize> {
    text.lines()
        .position(|line| !line.trim_start().starts_with('#') && line.matches('.').count() > MAX_DEPTH)
        .map(|place| place + 1)
}

/// `UPLINK__HOST` is `{ uplink: { host: value } }`.
fn nested(name: &str, value: Value) -> Dict {
    let name = name.to_ascii_lowercase();
    let (section, key) = name.split_once(NESTING).unwrap_or((&name, ""));
    let value = if key.is_empty() { value } else { Value::from(Dict::from([(key.to_owned(), value)])) };
    Dict::from([(section.to_owned(), value)])
}

/// `true`, `false` and whole numbers are what they look like; anything else is text, and so is
/// what stands between double quotes.
fn scalar(text: &str) -> Value {
    if let Some(quoted) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return Value::from(quoted);
    }
    match (text, text.parse::<i64>()) {
        ("true", _) => Value::from(true),
        ("false", _) => Value::from(false),
        (_, Ok(number)) => Value::from(number),
        (_, Err(_)) => Value::from(text),
    }
}

/// One layer with the name that problems and `check --show` call it by.
struct Layer {
    name: String,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}
