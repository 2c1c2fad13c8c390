//! `wardline audit`: who took data out of the gateway or destroyed it, who paired and unpaired
//! devices, how the allowlist changed, and whether the log of that is whole.
//!
//! With `--json`, one object: `{"file", "sound": bool, "lines", "head" (SHA-256 of the last line), "entries":
//! [...], "troubles": [{"line", "what"}]}`. An entry is as it stands in the log: `at`, `uid`, `login_uid` (who
//! logged in, left out when nobody did), `pid`, `action`, `about`, `previous` (SHA-256 of the line before).

use std::io;

use anyhow::Context;
use clap::Args;
use serde_json::{Map, Value, json};

use super::Folder;
use super::exit::{Exit, Failure};
use super::out::{self, Colour};
use super::status::clean;
use crate::host::audit::AuditLog;

/// Show who took data out or destroyed it, who paired devices, how the allowlist changed, and whether a line is missing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  wardline audit\n  wardline audit --json\n\n\
    The daemon notes device-listed, device-removed and device-changed: what it reads by another allowlist than \
    before, after a reload, a bundle or a start. Who wrote the configuration, the log cannot know.\n\n\
    The head that it ends with stands for the whole log: noted elsewhere, it shows later whether the end was \
    cut off. Ends with 9 when a line was changed or is missing.")]
pub(super) struct Audit {
    #[command(flatten)]
    folder: Folder,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.folder.load_or_fail()?.config;
        let log = AuditLog::beside(&config.store.folder);
        let (mut entries, mut troubles) = (Vec::new(), Vec::new());
        let read = log.read(&mut |entry| {
            troubles.extend(entry.trouble.map(|trouble| (entry.line, trouble.to_string())));
            entries.extend(entry.says.map(|says| (entry.line, says)));
            Ok(())
        });
        let file = log.path().display().to_string();
        let (lines, head) = match read {
            Ok(read) => read,
            // Nobody did anything yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => (0, String::new()),
            Err(error) => {
                let error = Err::<(), _>(error).with_context(|| format!("{file} cannot be read"));
                return error.map_err(|error| Failure::new(Exit::Failed, error));
            }
        };
        let mut out = out::stdout();
        if self.json {
            let says: Vec<_> = entries.iter().map(|(_, says)| says).collect();
            let troubles: Vec<_> =
                troubles.iter().map(|(line, what)| json!({"line": line, "what": what})).collect();
            let sound = troubles.is_empty();
            out.json(&json!({
                "file": file, "sound": sound, "lines": lines, "head": head, "entries": says, "troubles": troubles,
            }))?;
        } else {
            for (line, says) in &entries {
                for text in shown(*line, says) {
                    out.line(format_args!("{}", clean(&text)))?;
                }
            }
            for (line, what) in &troubles {
                let mark = out.paint(Colour::Bad, "!");
                out.line(format_args!("{mark} line {line}: {what}"))?;
            }
            match lines {
                0 => {
                    out.line(format_args!(
                        "nothing was taken out, destroyed, paired or listed: there is no {file}"
                    ))?;
                }
                _ => out.line(format_args!("{lines} lines in {file}, head {head}"))?,
            }
        }
        out.finish()?;
        if troubles.is_empty() { Ok(()) } else { Err(Failure::silent(Exit::Damaged)) }
    }
}

/// An entry for a person: who, what and when, then what about it, one thing a line.
fn shown(line: u64, says: &Map<String, Value>) -> Vec<String> {
    let text = |key: &str| says.get(key).map_or_else(|| "?".to_owned(), plain);
    let login = says.get("login_uid").map(|uid| format!(", logged in as {uid}")).unwrap_or_default();
    let mut lines =
        vec![format!("{line}  {}  {}  by user {}{login}", text("at"), text("action"), text("uid"))];
    let about = says.get("about").and_then(Value::as_object);
    lines.extend(about.into_iter().flatten().map(|(key, value)| format!("     {key}: {}", plain(value))));
    lines
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
