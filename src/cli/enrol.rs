//! `wardline enrol`: gets the gateway its certificate, and makes it a member of its fleet.
//!
//! `--json`: one object `{"outcome", "identity", "valid_until", "again_after_s", "fleet_root"}`. `outcome` is
//! `issued` (the certificate is in use at the next connection), `on-trial` (the daemon shows it to the broker
//! first), `waiting` (the server decides later) or `member` (no certificate was asked for, only the fleet was
//! joined); what does not apply is `null`.
//!
//! Every step can be repeated. What never happens: a certificate or a fleet's folder that is in use is
//! overwritten; a token is taken from the command line.

mod member;
mod token;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use serde::Serialize;

use super::Folder as ConfigFolder;
use super::exit::{Exit, Failure};
use super::out;
use crate::config::Config;
use crate::host::atomic_file;
use crate::host::clock::SystemClock;
use crate::host::lock::Lock;
use crate::identity::ask::{Outcome, Proof, ask};
use crate::identity::est::EstError;
use crate::identity::est::address::Address;
use crate::identity::est::client::Client;
use crate::identity::folder::{CURRENT, DAMAGED, Folder, Server, chain};
use crate::identity::name::Name;
use crate::identity::renewal::Alarm;
use crate::time::{Clock as _, ClockSync, Now};

const MAX_AUTHORITIES: usize = 1024 * 1024;
/// The folder's lock is waited for this often, so long each time.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Get this gateway its certificate from the hospital's certificate server (EST, RFC 7030), and make it a member of
/// its fleet.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sudo -u wardline wardline enrol --server https://pki.st-anna.example\n  \
    sudo -u wardline wardline enrol --server https://pki.st-anna.example/.well-known/est/wards --root root.json\n  \
    sudo -u wardline wardline enrol --root root.json    where certificates come from elsewhere\n  \
    sudo -u wardline wardline enrol --server https://pki.st-anna.example --token-file /run/token --json\n\n\
    The token is asked for, read as one line of standard input, or out of a file: it is never an argument.\n\
    The certificate and its key go into one file, which uplink.certificate and uplink.key both have to name, such as \
    /var/lib/wardline/identity/current.pem: beside it is what the daemon needs to renew it.\n\
    Where uplink.key is the pkcs11: URI of a token (pkcs11:token=ward;object=wardline-client?module-path=...) each key \
    is made in it and never leaves it, with that label and an id of its own; the file then holds the key's name.\n\
    The name is that of the configuration: urn:wardline:ORGANISATION:GATEWAY, and the gateway's id as common name.\n\
    A step that went wrong is repeated by the same command. A gateway whose certificate has expired is enrolled \
    again in the same way, with a new token.\n\
    Ends with 4 when a key in a token cannot be made or used, with 8 when the token refuses its PIN, with 6 when the server refuses the token or the gateway, or when there is a valid certificate already, and \
    with 1 when it cannot be reached or takes its time.")]
pub(super) struct Enrol {
    /// The certificate server: `https://HOST[:PORT][/PATH]`; without a path `/.well-known/est`.
    #[arg(long, value_name = "URL", required_unless_present = "root")]
    server: Option<Address>,
    /// PEM file with the authorities that its certificate may come from; otherwise uplink.authorities.
    #[arg(long, value_name = "FILE", requires = "server")]
    authorities: Option<PathBuf>,
    /// A file with the one-time token that only its owner can read; otherwise it is asked for.
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// The fleet's root.json: whose orders this gateway takes from then on. It goes to fleet.folder.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// The ward's newest ts.json, brought by hand with the root: by the person at the gateway this gateway's clock is
    /// right now. Only where it follows no time server; without one it takes no first word of its fleet.
    #[arg(long, value_name = "FILE", requires = "root")]
    timestamp: Option<PathBuf>,
    /// Ask for another certificate although the present one is valid. The daemon shows it to the broker first.
    #[arg(long, requires = "server")]
    again: bool,
    #[command(flatten)]
    folder: ConfigFolder,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    outcome: &'static str,
    identity: String,
    valid_until: Option<String>,
    again_after_s: Option<u64>,
    fleet_root: Option<u64>,
}

impl Enrol {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.folder.load_or_fail()?.config;
        let name =
            Name { organisation: config.uplink.organisation.clone(), gateway: config.uplink.gateway.clone() };
        let now = SystemClock::default().now();
        let Some(address) = &self.server else { return self.join(&config, &name, now) };
        let folder = identity_folder(&config)?;
        own(folder.path())?;
        let fleet_root = self.member(&config, now)?;
        // Said before the token is asked for, and looked at again once nobody else is at the folder.
        self.has_present(&folder, now)?;
        let server = Server { address: address.clone(), authorities: self.read_authorities(&config)? };
        let token = token::read(self.token_file.as_deref())?;
        folder.make()?;
        let _lock = lock(&folder)?;
        repair(&folder)?;
        let has_present = self.has_present(&folder, now)?;
        let client = Client::new(server.address.clone(), server.authorities.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome =
            runtime.block_on(ask(&folder, &client, &Proof::Token(&token), &name, now)).map_err(failure)?;
        let mut report = Report {
            outcome: "waiting",
            identity: name.uri(),
            valid_until: None,
            again_after_s: None,
            fleet_root,
        };
        match outcome {
            Outcome::Later(wait) => {
                if !has_present {
                    folder.keep_server(&server).map_err(failure)?;
                }
                report.again_after_s = Some(wait.as_secs());
            }
            Outcome::Issued => {
                // Now that this server has proved to be one.
                folder.keep_server(&server).map_err(failure)?;
                if !has_present {
                    folder.promote()?;
                }
                let issued = if has_present { folder.next()? } else { folder.current()? };
                report.valid_until = issued.map(|pair| pair.lifetime().until.to_string());
                report.outcome = if has_present { "on-trial" } else { "issued" };
            }
        }
        // The key of what was replaced, if there was one, and that of an attempt that came to nothing.
        if let Err(error) = folder.sweep() {
            out::remark(format_args!("a key that is not used any more is still in the token: {error}"));
        }
        self.print(&report, folder.path())
    }

    /// Becomes a member of the fleet and no more: certificates come from elsewhere.
    fn join(&self, config: &Config, name: &Name, now: Now) -> Result<(), Failure> {
        let fleet_root = self.member(config, now)?;
        let (outcome, identity) = ("member", name.uri());
        let report = Report { outcome, identity, valid_until: None, again_after_s: None, fleet_root };
        self.print(&report, &config.uplink.certificate)
    }

    /// Makes the gateway a member, if a root is given; the version of the root that it trusts.
    fn member(&self, config: &Config, now: Now) -> Result<Option<u64>, Failure> {
        let enrol = |root: &PathBuf| member::enrol(config, root, self.timestamp.as_deref(), now);
        self.root.as_ref().map(enrol).transpose()
    }

    /// Whether there is a certificate that must not be replaced before the broker took another.
    fn has_present(&self, folder: &Folder, now: Now) -> Result<bool, Failure> {
        let present = match folder.current() {
            Ok(Some(present)) => present,
            Ok(None) => return Ok(false),
            // It is set aside once nobody else is at the folder.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if present.lifetime().alarm(now) == Alarm::Expired {
            return Ok(false);
        }
        // By a clock that nobody vouches for: the broker is shown the new one before the present one goes.
        if self.again || present.lifetime().is_past(now) {
            return Ok(true);
        }
        let (until, wall) = (present.lifetime().until, now.wall);
        let error = if now.sync == ClockSync::Synced {
            anyhow!(
                "there is a certificate already, valid until {until}, which the daemon renews by itself: nothing was \
                 done; --again asks for another one"
            )
        } else {
            anyhow!(
                "there is a certificate already, until {until}; whether it is valid still cannot be said, as nobody \
                 vouches for this gateway's clock ({wall}): nothing was done; --again asks for another one"
            )
        };
        Err(Failure::new(Exit::Refused, error))
    }

    fn read_authorities(
        &self,
        config: &Config,
    ) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, Failure> {
        let path = self.authorities.as_ref().unwrap_or(&config.uplink.authorities);
        let found = atomic_file::read(path, MAX_AUTHORITIES).and_then(|text| chain(&text));
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) => Err(Failure::new(Exit::Usage, anyhow!("{} holds no certificate", path.display()))),
            Err(error) => {
                let what = format!("the authorities of the certificate server in {}", path.display());
                Err(Failure::new(Exit::Usage, anyhow::Error::new(error).context(what)))
            }
        }
    }

    fn print(&self, report: &Report, folder: &Path) -> Result<(), Failure> {
        let mut out = out::stdout();
        let current = folder.join(CURRENT);
        if self.json {
            out.json(report)?;
        } else {
            if let Some(version) = report.fleet_root {
                out.line(format_args!("the fleet's root, version {version}, is trusted"))?;
            }
            let until = report.valid_until.as_deref().unwrap_or("-");
            match report.outcome {
                "issued" => out.line(format_args!(
                    "{}: the certificate is in {}, valid until {until}",
                    report.identity,
                    current.display()
                ))?,
                "on-trial" => out.line(format_args!(
                    "{}: a certificate valid until {until} is there; the daemon takes it once the broker does",
                    report.identity
                ))?,
                _ => {}
            }
        }
        out.finish()?;
        let Some(seconds) = report.again_after_s else { return Ok(()) };
        let error = anyhow!(
            "the certificate server has the request and decides later: run the same command again after {seconds} s"
        );
        Err(if self.json { Failure::silent(Exit::Failed) } else { Failure::new(Exit::Failed, error) })
    }
}

/// The folder of the one file that holds certificate and key.
fn identity_folder(config: &Config) -> Result<Folder, Failure> {
    let (certificate, key) = (&config.uplink.certificate, &config.uplink.key);
    Folder::named_by(certificate, key).ok_or_else(|| {
        let error = anyhow!(
            "a certificate that is renewed and its key are in one file: let uplink.certificate and uplink.key both name \
             /var/lib/wardline/identity/{CURRENT}, or uplink.key a token by its pkcs11: URI (now: {} and {key})",
            certificate.display()
        );
        Failure::new(Exit::Config, error)
    })
}

/// Puts right what a power cut or a bad disk left.
fn repair(folder: &Folder) -> Result<(), Failure> {
    let damage = folder.current().err();
    let is_taken = folder.recover()?;
    if let Some(error) = damage {
        let then = if is_taken { ": the renewed one is in use now" } else { "" };
        out::remark(format_args!("{error}: it was set aside as {DAMAGED}{then}"));
    }
    Ok(())
}

/// One at a time; the daemon is at it for a moment every minute, and for longer when it renews.
fn lock(folder: &Folder) -> Result<Lock, Failure> {
    for _ in 0..LOCK_TRIES {
        if let Some(lock) = folder.lock()? {
            return Ok(lock);
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    let error = anyhow!(
        "somebody else asks for a certificate just now, perhaps the daemon: nothing was done; try again in a minute"
    );
    Err(Failure::new(Exit::Failed, error))
}

/// Files of another user than the folder's owner are of no use to the daemon.
fn own(folder: &Path) -> Result<(), Failure> {
    let found = folder.ancestors().find_map(|at| std::fs::metadata(at).ok().map(|meta| (at, meta.uid())));
    let user = rustix::process::geteuid().as_raw();
    match found {
        Some((at, owner)) if owner != user => {
            let error = anyhow!(
                "{} belongs to user {owner}, and the daemon could not read what user {user} puts there: run it as that \
                 user (sudo -u wardline wardline enrol ...)",
                at.display()
            );
            Err(Failure::new(Exit::Refused, error))
        }
        Some(_) | None => Ok(()),
    }
}

fn failure(error: EstError) -> Failure {
    let exit = match &error {
        EstError::Token(error) if error.must_not_be_tried_again() => Exit::Pin,
        EstError::Token(_) => Exit::Keys,
        EstError::TokenRefused | EstError::Forbidden { .. } | EstError::CertificateRefused { .. } => {
            Exit::Refused
        }
        EstError::Unreachable { .. }
        | EstError::NotTrusted { .. }
        | EstError::NotNow { .. }
        | EstError::Http(_)
        | EstError::Slow { .. }
        | EstError::NothingThere
        | EstError::Redirect { .. }
        | EstError::NoSuchPath
        | EstError::Busy { .. }
        | EstError::NotAccepted { .. }
        | EstError::Content { .. }
        | EstError::Issued(_)
        | EstError::Key(_)
        | EstError::OtherTokenKey(_)
        | EstError::Folder(_)
        | EstError::Setup(_) => Exit::Failed,
    };
    Failure::new(exit, error)
}
