//! `wardline doctor`: is this gateway well?
//!
//! With `--json`, one object: `{"well": bool, "checks": [{"check", "verdict", "says": [{"verdict", "text", "remedy"}]}]}`;
//! `verdict` is `ok`, `note`, `unchecked` or `wrong`, `remedy` is `null` where there is none. With `--list --json` a list
//! of `{"check", "about"}`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::out::{self, Colour, Out};
use super::status::clean;
use super::{Folder, check};
use crate::config::{Loaded, Membership, Problems, Pushed};
use crate::doctor::gather::{LIMIT, Place, Read, gather};
use crate::doctor::{Check, Facts, Finding, Unseen, Verdict, configuration};
use crate::fleet::folder::FolderError;
use crate::fleet::member::boot::{Kept, look};
use crate::fleet::trust::Recipient;
use crate::host::clock::SystemClock;
use crate::time::Clock as _;

/// Say whether this gateway is well: named checks, what is wrong and what to do about it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  wardline doctor\n  wardline doctor --only broker-tls,topic-rights\n  \
    wardline doctor --json\n\n\
    Works beside the running daemon and without it, and changes nothing. Run it as root: others cannot look at \
    everything, which is then said. It connects to the broker as GATEWAY-doctor, beside the daemon, and publishes a few \
    words there that are not kept and that no consumer waits for. Each look takes 5 s at most.\n\
    Ends with 10 when something is wrong or could not be checked.")]
pub(super) struct Doctor {
    #[command(flatten)]
    look: Look,
    /// Only these checks, by name.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = named)]
    only: Vec<Check>,
    /// List the checks, and do none.
    #[arg(long)]
    list: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Where to look.
#[derive(Debug, Args)]
pub(super) struct Look {
    #[command(flatten)]
    pub(super) folder: Folder,
    /// Publish on every topic of the gateway, its status, heartbeat and report too: those who listen get a message that is
    /// none. For the day on which it is set up.
    #[arg(long)]
    every_topic: bool,
    /// Look for the files of kernel and system below DIR.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub(super) root: PathBuf,
}

fn named(text: &str) -> Result<Check, String> {
    Check::named(text).ok_or_else(|| {
        let names: Vec<&str> = Check::TABLE.iter().map(|(_, name, _)| *name).collect();
        let near =
            names.iter().min_by_key(|name| strsim::levenshtein(name, text)).copied().unwrap_or_default();
        format!("there is no such check; did you mean {near:?}? wardline doctor --list names them all")
    })
}

impl Doctor {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut out = out::stdout();
        if self.list {
            list(&mut out, self.json)?;
            out.finish()?;
            return Ok(());
        }
        let all = Check::TABLE.map(|(check, ..)| check).to_vec();
        let wanted = if self.only.is_empty() { all } else { self.only };
        let (facts, _) = self.look.facts(&wanted)?;
        let findings = facts.judge(&wanted);
        let is_well = is_well(&findings);
        if self.json {
            out.json(&as_json(&findings))?;
        } else {
            print(&mut out, &findings)?;
        }
        out.finish()?;
        if is_well { Ok(()) } else { Err(Failure::silent(Exit::Unwell)) }
    }
}

/// Whether nothing is wrong and nothing was left unchecked.
pub(super) fn is_well(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.says.verdict() <= Verdict::Note)
}

/// Everything as one object.
pub(super) fn as_json(findings: &[Finding]) -> Value {
    let checks: Vec<Value> = findings.iter().map(Finding::as_json).collect();
    json!({ "well": is_well(findings), "checks": checks })
}

impl Look {
    /// The facts for these checks, and what was loaded.
    pub(super) fn facts(&self, wanted: &[Check]) -> Result<(Facts, Option<Loaded>), Failure> {
        let now = SystemClock::default().now();
        let place = Place {
            root: self.root.clone(),
            limit: LIMIT,
            every_topic: self.every_topic,
            wanted: wanted.to_vec(),
            now,
        };
        let (read, loaded) = self.read();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let facts = runtime.block_on(gather(&place, read));
        // What hangs on a thread is left behind: nobody waits for it.
        runtime.shutdown_background();
        Ok((facts, loaded))
    }

    /// The configuration as the daemon would run it: with what the fleet pushed.
    fn read(&self) -> (Read, Option<Loaded>) {
        let kept = self.folder.membership().map(|membership| kept(&membership));
        let pushed = kept.as_ref().and_then(|kept| kept.as_ref().ok()?.as_ref().ok()?.pushed.as_ref());
        let loaded = self.load(pushed);
        let mut told = configuration::Facts {
            folder: self.folder.config.display().to_string(),
            ..configuration::Facts::default()
        };
        match &loaded {
            Ok(loaded) => {
                told.notes = [loaded.notes.clone(), check::not_here(&loaded.config)].concat();
                told.devices = loaded.config.devices.len();
            }
            Err(problems) => told.problems = problems.iter().map(ToString::to_string).collect(),
        }
        let loaded = loaded.ok();
        (Read { told, config: loaded.as_ref().map(|loaded| loaded.config.clone()), fleet: kept }, loaded)
    }

    /// As a start does: the files alone where they do not load with what is pushed.
    fn load(&self, pushed: Option<&Pushed>) -> Result<Loaded, Problems> {
        match self.folder.load_with(pushed) {
            Err(_) if pushed.is_some() => self.folder.load(),
            loaded => loaded,
        }
    }
}

fn kept(membership: &Membership) -> Result<Result<Kept, String>, Unseen> {
    let Membership { folder, organisation, gateway } = membership;
    let recipient = Recipient { organisation: organisation.clone(), gateway: gateway.clone() };
    match look(folder, &recipient) {
        Ok(kept) => Ok(Ok(kept)),
        Err(FolderError::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => Err(Unseen::with(
            format!("the fleet's folder cannot be read: {error}"),
            "as root, or as the daemon's user",
        )),
        Err(error) => Ok(Err(error.to_string())),
    }
}

fn list<W: Write>(out: &mut Out<W>, as_json: bool) -> io::Result<()> {
    if as_json {
        let all: Vec<Value> =
            Check::TABLE.iter().map(|(_, name, about)| json!({ "check": name, "about": about })).collect();
        return out.json(&all);
    }
    for (_, name, about) in Check::TABLE {
        out.line(format_args!("{name:<14} {about}"))?;
    }
    Ok(())
}

fn print<W: Write>(out: &mut Out<W>, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        for (place, said) in finding.says.iter().enumerate() {
            let name = if place == 0 { finding.check.name() } else { "" };
            let colour = match said.verdict {
                Verdict::Ok => Colour::Good,
                Verdict::Note => Colour::Strong,
                Verdict::Unchecked | Verdict::Wrong => Colour::Bad,
            };
            let verdict = out.paint(colour, &format!("{:<9}", said.verdict.as_str()));
            out.line(format_args!("{name:<14} {verdict} {}", clean(&said.text)))?;
            if let Some(remedy) = &said.remedy {
                out.line(format_args!("{:<14} {:<9} -> {}", "", "", clean(remedy)))?;
            }
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.says.verdict() == verdict).count();
    let (wrong, unchecked) = (count(Verdict::Wrong), count(Verdict::Unchecked));
    let all = findings.len();
    let verdict =
        if is_well(findings) { out.paint(Colour::Good, "well") } else { out.paint(Colour::Bad, "not well") };
    out.line(format_args!("\n{verdict}: {all} checks, {wrong} wrong, {unchecked} could not be made"))
}
