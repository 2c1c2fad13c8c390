//! `wardline init`: makes of an installed program a gateway: folders, keys, credentials, configuration.
//!
//! A plan is made of what is wanted and what is there, shown, confirmed, and carried out one durable step after the
//! other. A second run finds what is done and goes on.
//!
//! `--json`: one object `{"protection", "worth", "keys_to_escrow": ["..."], "steps": [{"what", "file", "state",
//! "why"}], "next": ["..."]}`. `state` is `done` (before: untouched), `made`, `to-do` (`--dry-run`), `left` (to a
//! person), `blocked` or `failed`.
//!
//! What never happens: a key, a credential, a certificate or what the site wrote is overwritten; something is done
//! while a step is known to be impossible; a key is on a disk in the clear on its way into a credential.

mod answers;
mod carry;
mod complete;
mod look;
mod plan;
mod seal;
mod wants;

use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::out::{self, Colour};
use crate::host::credential::TPM;
use crate::identity::est::address::Address;
use answers::Answers;
use look::Site;
use plan::{State, Step};
use seal::Protection;

/// The longest text that is read.
const MAX_TEXT: usize = 1024 * 1024;

/// Set this gateway up: keys, credentials, configuration and folders; overwrites nothing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    wardline init                                       asks for what it has to know\n  \
    wardline init --dry-run                             says what it would do\n  \
    wardline init --yes --package /media/usb/gw-1 --host mqtt.st-anna.example --authorities ca.pem\n\n\
    Run it as root. A step that went wrong is repeated by the same command; what is there is never overwritten. Keys \
    are encrypted by systemd-creds where it works, with the TPM where there is one, and it says what that is worth.\n\
    Ends with 2 when something is not known and nobody is there to ask, with 6 when it is not confirmed, not run as \
    root, or something stands in the way (nothing was done then), and with 1 when a step went wrong.")]
pub(super) struct Init {
    /// The folder that `wardline-fleet gateway add` made: who this gateway is, and whose orders it takes.
    #[arg(long, value_name = "DIR")]
    package: Option<PathBuf>,
    /// The hospital or other organisation.
    #[arg(long, value_name = "NAME")]
    organisation: Option<String>,
    /// The ward or other group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// This gateway's id.
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// The broker's host name.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// The broker's port.
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// PEM file with the authorities that the broker's certificate may come from.
    #[arg(long, value_name = "FILE")]
    authorities: Option<PathBuf>,
    /// PEM file with this gateway's certificate, where there is one already.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// PEM file with its private key.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The certificate server (EST) that the certificate comes from; without it and --certificate, a request is made.
    #[arg(long, value_name = "URL", conflicts_with = "certificate")]
    server: Option<Address>,
    /// A file with the one-time token for the certificate server that only its owner can read.
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// Its devices: none (none yet, or the fleet lists them) or listed (in devices.d).
    #[arg(long, value_name = "WORD")]
    devices: Option<String>,
    /// A file with the ward key, which the gateways of one ward share; otherwise a new one is made.
    #[arg(long, value_name = "FILE")]
    ward_key: Option<PathBuf>,
    /// How keys are kept. auto: sealed where systemd-creds works, otherwise files; none are made below another --root.
    #[arg(long, value_enum, default_value = "auto")]
    keys: KeysAs,
    /// Below which folder everything is, for an image.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KeysAs {
    Auto,
    Sealed,
    Files,
}

#[derive(Serialize)]
struct Shown<'a> {
    what: &'static str,
    file: &'a std::path::Path,
    state: State,
    why: &'a str,
}

#[derive(Serialize)]
struct Report<'a> {
    protection: Option<&'static str>,
    worth: Option<&'static str>,
    keys_to_escrow: Vec<&'static str>,
    steps: Vec<Shown<'a>>,
    next: Vec<String>,
}

impl<'a> Shown<'a> {
    fn of(Step { task, file, state, why }: &'a Step) -> Self {
        Self { what: task.word(), file, state: *state, why }
    }
}

fn refused(error: anyhow::Error) -> Failure {
    Failure::new(Exit::Refused, error)
}

impl Init {
    pub(super) fn run(self) -> Result<(), Failure> {
        let site = Site::look(&self.root)?;
        let protection = self.protection(&site)?;
        let answers = answers::gather(&self, &site)?;
        let wants = wants::wants(&site, &answers, protection).map_err(refused)?;
        if let Some(remark) = wants::cap_remark(&site) {
            out::remark(format_args!("{remark}"));
        }
        let inventory = site.inventory(&self, &wants, protection);
        let mut steps = plan::plan(wants, &inventory);
        let is_blocked = steps.iter().any(|step| step.state == State::Blocked);
        if self.dry_run || is_blocked {
            self.print(&site, protection, &steps)?;
            if is_blocked {
                return Err(refused(anyhow!("something stands in the way (see above): nothing was done")));
            }
            return Ok(());
        }
        self.confirm(&answers, protection, &steps)?;
        let worker = carry::Worker { init: &self, site: &site, answers: &answers, protection };
        let error = worker.take(&mut steps);
        self.print(&site, protection, &steps)?;
        match error {
            None => Ok(()),
            Some(error) => Err(Failure::new(Exit::Failed, error)),
        }
    }

    /// How keys are kept; `None`: none are made, as every gateway of an image would have the same.
    fn protection(&self, site: &Site) -> Result<Option<Protection>, Failure> {
        if site.is_image() && self.keys == KeysAs::Auto {
            return Ok(None);
        }
        // Where all of them are there, nothing has to be possible.
        if let Some(kept) = site.kept(self.server.is_some()) {
            return Ok(Some(kept));
        }
        let has_tpm = site.at(TPM).symlink_metadata().is_ok();
        let choice = seal::choose(self.keys, has_tpm, &seal::works)
            .map_err(|reason| Failure::new(Exit::Keys, anyhow!(reason)))?;
        if let Some(remark) = choice.remark {
            out::remark(format_args!("{remark}"));
        }
        Ok(Some(choice.protection))
    }

    fn confirm(
        &self,
        answers: &Answers,
        protection: Option<Protection>,
        steps: &[Step],
    ) -> Result<(), Failure> {
        if self.yes || steps.iter().all(|step| step.state != State::ToDo) {
            return Ok(());
        }
        for (key, text) in &answers.texts {
            out::remark(format_args!("{key} = {text}"));
        }
        if let Some(root) = &answers.root {
            out::remark(format_args!(
                "the fleet's root.json has SHA-256 {}: compare it with whoever keeps the keys",
                answers::digest(root)
            ));
        }
        for step in steps.iter().filter(|step| step.state == State::ToDo) {
            out::remark(format_args!("{} {}: {}", step.task.word(), step.file.display(), step.why));
        }
        if let Some(protection) = protection {
            out::remark(format_args!("keys: {}", protection.worth()));
        }
        if answers::confirmed()? {
            Ok(())
        } else {
            Err(refused(anyhow!("it was not confirmed: nothing was done")))
        }
    }

    fn print(&self, site: &Site, protection: Option<Protection>, steps: &[Step]) -> Result<(), Failure> {
        let made =
            |name: &&str| steps.iter().any(|step| step.task.word() == *name && step.state == State::Made);
        // What is there may be kept worse than what is made now.
        let holds = protection.map(|made| site.weakest().map_or(made, |there| there.min(made)));
        let report = Report {
            protection: holds.map(Protection::word),
            worth: holds.map(Protection::worth),
            keys_to_escrow: ["kek", "ward"].into_iter().filter(made).collect(),
            steps: steps.iter().map(Shown::of).collect(),
            next: self.next(protection, steps),
        };
        let mut out = out::stdout();
        if self.json {
            out.json(&report)?;
            return Ok(out.finish()?);
        }
        for step in &report.steps {
            let (word, colour) = word(step.state);
            let word = out.paint(colour, word);
            out.line(format_args!("{word:8} {} {}: {}", step.what, step.file.display(), step.why))?;
        }
        if let Some(worth) = report.worth {
            out.line(format_args!("\nThe keys are {worth}."))?;
        }
        if !report.keys_to_escrow.is_empty() {
            out.line(format_args!("\n{}", escrow(site, protection)))?;
        }
        out.line(format_args!("\nNext:"))?;
        for next in &report.next {
            out.line(format_args!("  {next}"))?;
        }
        Ok(out.finish()?)
    }

    fn next(&self, protection: Option<Protection>, steps: &[Step]) -> Vec<String> {
        let unfinished = steps.iter().any(|step| matches!(step.state, State::Failed | State::ToDo));
        if unfinished {
            let with = if self.dry_run { "without --dry-run" } else { "again, once that is mended" };
            return vec![format!("wardline init    the same command {with}")];
        }
        if protection.is_none() {
            return vec![
                "wardline init    on each gateway that is made from the image: keys are made there".into(),
            ];
        }
        let left = steps.iter().filter(|step| step.state == State::Left);
        let left = left.map(|step| format!("{}: {}", step.file.display(), step.why));
        let commands = ["wardline check", "systemctl enable --now wardline", "wardline doctor"];
        left.chain(commands.map(str::to_owned)).collect()
    }
}

const fn word(state: State) -> (&'static str, Colour) {
    match state {
        State::Done => ("done", Colour::Faint),
        State::ToDo => ("to do", Colour::Strong),
        State::Made => ("made", Colour::Good),
        State::Left => ("left", Colour::Strong),
        State::Blocked => ("blocked", Colour::Bad),
        State::Failed => ("failed", Colour::Bad),
    }
}

/// What must be kept elsewhere, and how.
fn escrow(site: &Site, protection: Option<Protection>) -> String {
    let command = |name| {
        let file = site.key_place(name, protection.unwrap_or(Protection::Files));
        match protection {
            Some(Protection::Files) | None => format!("  od -An -v -tx1 {}", file.display()),
            Some(Protection::Tpm | Protection::Host) => {
                format!("  systemd-creds decrypt --name={name} --transcode=hex {} -", file.display())
            }
        }
    };
    format!(
        "Keep a copy of these two in the hospital's safe, away from this machine. Losing the kek means losing what the \
         store holds; losing the ward key means other pseudonyms for the same devices:\n{}\n{}",
        command("kek"),
        command("ward")
    )
}
