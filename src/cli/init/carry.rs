//! Carries a plan out: one step at a time, each durable before the next.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, anyhow};
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use super::answers::Answers;
use super::look::Site;
use super::plan::{State, Step, Task};
use super::seal::{self, Protection};
use super::wants::{FLEET, IDENTITY, ROOT};
use super::{Init, MAX_TEXT};
use crate::config::GATEWAY_FILE;
use crate::envelope::keys::{self, KeyFile, KeySource as _, open_secret};
use crate::host::atomic_file;
use crate::identity::est::key::{Names, Pending};
use crate::identity::name::Name;

const REQUEST: (&str, &str) = ("-----BEGIN CERTIFICATE REQUEST-----", "-----END CERTIFICATE REQUEST-----");

pub(super) struct Worker<'a> {
    pub(super) init: &'a Init,
    pub(super) site: &'a Site,
    pub(super) answers: &'a Answers,
    pub(super) protection: Option<Protection>,
}

impl Worker<'_> {
    /// Takes what is to do, in order; ends at the first that goes wrong, and says why.
    pub(super) fn take(&self, steps: &mut [Step]) -> Option<anyhow::Error> {
        for step in steps.iter_mut().filter(|step| step.state == State::ToDo) {
            match self.step(&step.task, &step.file) {
                Ok(()) => step.state = State::Made,
                Err(error) => {
                    (step.state, step.why) = (State::Failed, format!("{error:#}"));
                    return Some(anyhow!(
                        "{} {}: what was made stays, and the same command goes on from here",
                        step.task.word(),
                        step.file.display()
                    ));
                }
            }
        }
        None
    }

    fn step(&self, task: &Task, file: &Path) -> anyhow::Result<()> {
        match task {
            Task::Folder(owner) => Ok(atomic_file::folder_of(file, *owner)?),
            Task::File(bytes) => {
                // Of a drop-in, the unit's own folder may be missing.
                if let Some(folder) = file.parent().filter(|folder| !folder.is_dir()) {
                    atomic_file::folder_of(folder, atomic_file::Owner::ours(0o755))?;
                }
                Ok(atomic_file::create_for_all(file, bytes)?)
            }
            Task::Complete { from, to } => complete(file, from, to),
            Task::Key { name, from } => {
                let key = match from {
                    Some(from) => KeyFile::new(from).load()?,
                    None => keys::fresh(&SystemRandom::new())?,
                };
                self.keep(name, file, key.as_slice())
            }
            Task::TlsKey { from } => {
                let text = match from {
                    Some(from) => Zeroizing::new(atomic_file::read(from, MAX_TEXT)?),
                    // With its request, so that neither can be without the other.
                    None => Pending::make(&Names::of(&self.name())?)?.to_pem()?,
                };
                self.keep("tls-key", file, &text)
            }
            Task::Request => self.request(file),
            Task::Member => self.enrol(&[]),
            Task::Enrol { server } => self.enrol(&["--server", server]),
            Task::Certificate => Err(anyhow!("it is for a person to bring")),
        }
    }

    fn name(&self) -> Name {
        let text = |key| self.answers.texts.get(key).cloned().unwrap_or_default();
        Name { organisation: text("gateway.organisation"), gateway: text("gateway.id") }
    }

    fn keep(&self, name: &str, file: &Path, secret: &[u8]) -> anyhow::Result<()> {
        if let (true, Some(protection)) = (self.site.is_sealed(file), self.protection) {
            let sealed = seal::seal(protection, name, secret).map_err(|reason| anyhow!(reason))?;
            return Ok(atomic_file::create(file, &sealed)?);
        }
        anyhow::ensure!(self.protection.is_some(), "an image carries no keys");
        Ok(atomic_file::create(file, secret)?)
    }

    fn request(&self, file: &Path) -> anyhow::Result<()> {
        let key = self.site.key_file("tls-key").context("there is no TLS key")?;
        let kept = Zeroizing::new(atomic_file::read(&key, MAX_TEXT)?);
        let opened = if self.site.is_sealed(&key) {
            seal::open("tls-key", &kept).map_err(|reason| anyhow!(reason))?
        } else {
            kept
        };
        let text = std::str::from_utf8(&opened).unwrap_or_default();
        let (begin, end) = REQUEST;
        let request = text.find(begin).zip(text.find(end).map(|at| at + end.len()));
        let request = request.and_then(|(from, to)| text.get(from..to)).with_context(|| {
            format!(
                "{} holds a key that was not made here: put its certificate to pki/gateway.pem",
                key.display()
            )
        })?;
        let pending = Pending::from_pem(&opened)?;
        anyhow::ensure!(
            pending.is_for(&Names::of(&self.name())?),
            "the request in {} is for another name than {}: move that key away",
            key.display(),
            self.name()
        );
        Ok(atomic_file::create_for_all(file, format!("{request}\n").as_bytes())?)
    }

    /// `wardline enrol`, as the daemon's user: what it trusts is decided there alone.
    fn enrol(&self, server: &[&str]) -> anyhow::Result<()> {
        let config = self.site.config();
        let mut command = Command::new(program()?);
        command.arg("enrol").arg("--config").arg(&config).args(server);
        if server.is_empty() {
            command.arg("--root").arg(config.join(ROOT));
        }
        // Below another root the configuration's paths are not those of this machine.
        if self.site.is_image() {
            command.env("WARDLINE_FLEET__FOLDER", self.site.at(FLEET));
            if !server.is_empty() {
                for key in ["CERTIFICATE", "KEY"] {
                    command.env(format!("WARDLINE_UPLINK__{key}"), self.site.at(IDENTITY));
                }
            }
        }
        if let Some(file) = &self.init.token_file {
            command.stdin(Stdio::from(open_secret(file)?));
        }
        if rustix::process::geteuid().is_root() {
            let (user, group) = self.site.daemon;
            command.uid(user).gid(group);
        }
        // Standard output is the report's.
        let done = command.current_dir("/").stdout(Stdio::null()).status()?;
        anyhow::ensure!(done.success(), "wardline enrol did not do it ({done}): it says why above");
        Ok(())
    }
}

fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("this program's own file is not known")
}

/// What was read for the plan must be there still.
fn complete(file: &Path, from: &[u8], to: &[u8]) -> anyhow::Result<()> {
    if from.is_empty() {
        return Ok(atomic_file::create_for_all(file, to)?);
    }
    let there = atomic_file::read(file, MAX_TEXT)?;
    anyhow::ensure!(there == from, "{GATEWAY_FILE} was changed by somebody in the meantime");
    Ok(atomic_file::write_for_all(file, to)?)
}
