//! `wardline-fleet verify`: what a gateway would say of a folder of documents.
//!
//! With `--json`, one object: `{"gateway", "group", "believed": bool, "documents": [{"file", "believed",
//! "says", "attack"}], "bundle": version or null, "turn": "now" | "paused" | "no wave" | moment | null}`.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::folder::{PUBLISHED, REGISTER};
use super::walk::{self, Eyes, Said, Walk};
use super::{At, at, now, refused};
use crate::cli::exit::{Exit, Failure};
use crate::cli::out::{self, Colour};
use crate::fleet::documents::{Document as _, Root};
use crate::fleet::dsse::Envelope;
use crate::fleet::trust::Recipient;
use crate::fleet::turn::{Turn, turn};
use crate::host::atomic_file;
use crate::time::Wall;

/// Say of each document of a folder whether a gateway would believe it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    wardline-fleet verify /media/stick --as gw-1\n  \
    wardline-fleet verify /media/stick --as gw-1 --group icu-3 --root enrol/gw-1/root.json --json\n\n\
    Ends with 0 when the gateway believes all of it and with 6 when it does not.")]
pub(super) struct Verify {
    /// The folder: root/1.json, g/GROUP/ts.json, g/GROUP/bundle/7.json.
    folder: PathBuf,
    /// The gateway.
    #[arg(long = "as", value_name = "GATEWAY")]
    gateway: String,
    /// Its group; not needed when the folder has one.
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// The root that the gateway was given by hand; without it the folder's own is believed.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    #[command(flatten)]
    at: At,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Verdict {
    gateway: String,
    group: String,
    believed: bool,
    documents: Vec<Said>,
    bundle: Option<u64>,
    turn: Option<String>,
}

impl Verify {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (register, published) = (self.folder.join(REGISTER), self.folder.join(PUBLISHED));
        if register.exists() && published.is_dir() {
            return Err(refused(format!(
                "{} is the fleet's own folder: gateways are given what is in {}",
                self.folder.display(),
                published.display()
            )));
        }
        let now = now(self.at.moment())?;
        let root = match &self.root {
            Some(file) => Some(atomic_file::read(file, Root::CAP).map_err(at)?),
            None => None,
        };
        let group = self.group()?;
        let source = walk::folder(&self.folder);
        let first = match &root {
            Some(bytes) => Some(bytes.clone()),
            None => source(&walk::root_file(1), Root::CAP)?,
        };
        let organisation = first.as_deref().and_then(organisation).unwrap_or_default();
        let recipient = Recipient { organisation, gateway: self.gateway.clone() };
        let walk = walk::walk(&source, Eyes { recipient, group: group.clone(), root, now }).map_err(at)?;
        let believed = walk.refused().is_none();
        let verdict = Verdict {
            believed,
            turn: when(&walk, &self.gateway, now.wall),
            bundle: walk.verified.as_ref().map(|verified| verified.bundle().version),
            documents: walk.said,
            gateway: self.gateway,
            group,
        };
        tell(&verdict, self.json)?;
        if believed { Ok(()) } else { Err(Failure::silent(Exit::Refused)) }
    }

    /// The group that was named, or the only one there.
    fn group(&self) -> Result<String, Failure> {
        if let Some(group) = &self.group {
            return Ok(group.clone());
        }
        let mut found = Vec::new();
        match std::fs::read_dir(self.folder.join("g")) {
            Ok(entries) => {
                for entry in entries {
                    found.push(entry?.file_name().to_string_lossy().into_owned());
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound && !self.folder.is_dir() => {
                return Err(refused(format!("{} is no folder", self.folder.display())));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        found.sort();
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(refused(format!("{} has no group: it has no folder g", self.folder.display()))),
            several => Err(refused(format!(
                "there are several groups, name one with --group: {}",
                several.join(", ")
            ))),
        }
    }
}

/// Whose the root says it is: what a gateway that was given it would be of.
fn organisation(root: &[u8]) -> Option<String> {
    let envelope = Envelope::parse(root, Root::CAP).ok()?;
    Some(Root::read(envelope.payload()).ok()?.organisation)
}

fn when(walk: &Walk, gateway: &str, now: Wall) -> Option<String> {
    walk.verified.as_ref()?;
    Some(match turn(walk.current.as_ref()?.rollout(), gateway, now) {
        Turn::Now => "now".to_owned(),
        Turn::From(start) => start.to_string(),
        Turn::NotYet => "no wave".to_owned(),
        Turn::Paused => "paused".to_owned(),
    })
}

fn tell(verdict: &Verdict, json: bool) -> Result<(), Failure> {
    let mut out = out::stdout();
    if json {
        out.json(verdict)?;
        return Ok(out.finish()?);
    }
    for Said { file, believed, says, attack } in &verdict.documents {
        let word =
            if *believed { out.paint(Colour::Good, "believed") } else { out.paint(Colour::Bad, "REFUSED ") };
        let attack = attack.map(|attack| format!(" [{attack}]")).unwrap_or_default();
        out.line(format_args!("{word}  {file}  {says}{attack}"))?;
    }
    if let Some(turn) = &verdict.turn {
        out.line(format_args!("{} of {}: its turn: {turn}", verdict.gateway, verdict.group))?;
    }
    Ok(out.finish()?)
}
