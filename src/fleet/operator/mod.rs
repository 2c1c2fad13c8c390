//! `wardline-fleet`: the operator's side. Keys, bundles, and what is published; never on a gateway.
//!
//! In: a folder that people keep (`folder`), passphrases, the clock. Out: signed documents in the layout of
//! the topics, which a stick or a broker carries byte by byte. Only `broker` speaks to a network. What never
//! happens: a document goes out that a member would refuse; a file is overwritten that cannot be made again;
//! a passphrase or a key is printed.

mod advisory;
mod broker;
mod bundle;
#[cfg(feature = "lab")]
mod desk;
mod diff;
mod draft;
mod folder;
mod gateway;
mod guard;
mod hold;
mod inbox;
mod init;
mod inventory;
mod keyfile;
mod outgoing;
mod passphrase;
mod plain;
mod progress;
mod proof;
mod publish;
mod push;
mod read;
mod restore;
mod revocation;
mod rollout;
mod root;
mod table;
mod tidy;
mod verify;
mod view;
mod walk;
mod watch;
mod waves;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::cli::exit::{Exit, Failure};
use crate::fleet::documents::Stamp;
use crate::fleet::key::PrivateKey;
use crate::host::clock::SystemClock;
use crate::host::{atomic_file, process};
use crate::time::{Clock as _, ClockSync, Now, Wall};
use passphrase::Passphrases;

#[cfg(feature = "lab")]
pub(crate) use desk::Desk;

const PROGRAM: &str = "wardline-fleet";
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// The most bytes of a key's file.
const MAX_KEY_FILE: usize = 16 * 1_024;

const EXITS: &str = "Exit codes:\n  0  done\n  1  failed while running\n  2  the command line is wrong\n  \
    3  a draft or the register is not valid\n  4  a key or its passphrase cannot be used\n  \
    6  refused: a mistake that was caught, or a document that a gateway would not believe";

/// Signs what the gateways of a hospital run: keys, bundles, roll-outs. Only push, rollout, watch and inventory use the network.
#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    version,
    arg_required_else_help = true,
    after_help = format!("Examples:\n  \
        wardline-fleet init --organisation st-anna /srv/fleet\n  \
        wardline-fleet gateway add gw-1 --group icu-3 /srv/fleet\n  \
        wardline-fleet bundle new --group icu-3 /srv/fleet\n  \
        wardline-fleet rollout start --group icu-3 --canary gw-1 --push /srv/fleet\n  \
        wardline-fleet watch /srv/fleet\n  \
        wardline-fleet publish --group icu-3 --to /media/stick /srv/fleet    where there is no network\n  \
        wardline-fleet verify /media/stick --as gw-1\n\n{EXITS}")
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the keys of a fleet, and the root that says who may sign what.
    Init(init::Init),
    /// The gateways of the fleet.
    Gateway(gateway::Gateways),
    /// Write, check, compare and sign what a ward runs.
    Bundle(bundle::Bundles),
    /// Say who may sign what from now on: new keys, dropped keys, a later expiry.
    Root(root::Roots),
    /// Make a bundle the current one, and write everything that a gateway needs to know it.
    Publish(publish::Publish),
    /// Bring what is published to the broker, where the gateways fetch it.
    Push(push::Push),
    /// Let a bundle reach the gateways wave by wave, and stop it when it does harm.
    Rollout(rollout::Rollouts),
    /// Show how every gateway is, and go on showing it.
    Watch(watch::Watch),
    /// Show what stands on the wards: the gateways, their devices, and what the advisories say of them.
    Inventory(inventory::Inventory),
    /// Say of each document of a folder whether a gateway would believe it.
    Verify(verify::Verify),
}

/// The command line, for man pages and completions.
#[cfg(feature = "lab")]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Reads the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    crate::cli::start(PROGRAM, dispatch)
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    process::seal_off()?;
    match cli.command {
        Command::Init(init) => init.run(),
        Command::Gateway(gateways) => gateways.run(),
        Command::Bundle(bundles) => bundles.run(),
        Command::Root(roots) => roots.run(),
        Command::Publish(publish) => publish.run(),
        Command::Push(push) => push.run(),
        Command::Rollout(rollouts) => rollouts.run(),
        Command::Watch(watch) => watch.run(),
        Command::Inventory(inventory) => inventory.run(),
        Command::Verify(verify) => verify.run(),
    }
}

/// Where passphrases come from.
#[derive(Debug, Args)]
struct PassphraseFile {
    /// For scripts: a file with one line `NAME = "PASSPHRASE"` for each key, which only its owner may read.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseFile {
    fn path(&self) -> Option<&Path> {
        self.passphrase_file.as_deref()
    }
}

/// Who signs.
#[derive(Debug, Args)]
struct Signer {
    /// A key of the folder by its name (config-1), or the path of a key's file.
    #[arg(long, value_name = "KEY")]
    key: Option<PathBuf>,
    #[command(flatten)]
    passphrases: PassphraseFile,
}

impl Signer {
    fn path(&self) -> &Path {
        // The one key that is online; everything else is signed by a key that somebody names.
        self.key.as_deref().unwrap_or(Path::new("timestamp-1"))
    }

    /// What people call the key.
    fn name(&self) -> String {
        self.path().file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn open(&self, fleet: &Path) -> Result<PrivateKey, Failure> {
        let (path, name) = (self.path(), self.name());
        let is_name = path.components().count() == 1 && path.extension().is_none();
        let file =
            if is_name { fleet.join(folder::KEYS).join(format!("{name}.pem")) } else { path.to_owned() };
        let unusable =
            |error: anyhow::Error| Failure::new(Exit::Keys, error.context(format!("key {}", file.display())));
        let bytes = atomic_file::read(&file, MAX_KEY_FILE).map_err(|error| {
            if is_name && error.kind() == std::io::ErrorKind::NotFound {
                let why =
                    "is not there: --key wants the name of a key of this folder, such as config-1, or a path";
                return unusable(anyhow::anyhow!(why));
            }
            unusable(error.into())
        })?;
        let text = String::from_utf8(bytes).map_err(|_| unusable(keyfile::KeyFileFault::Shape.into()))?;
        let passphrase = Passphrases::from(self.passphrases.path())?.of(&name)?;
        keyfile::open(&text, &passphrase).map_err(|fault| unusable(fault.into()))
    }
}

/// Another moment than this one.
#[derive(Debug, Args)]
struct At {
    /// As if it were this moment (UTC, 2026-11-22T12:00:00Z): for rehearsals and scripts.
    #[arg(long = "at", value_name = "TIME", value_parser = moment)]
    at: Option<Wall>,
}

impl At {
    const fn moment(&self) -> Option<Wall> {
        self.at
    }
}

/// The moment at which something is signed that gateways take as the least time.
#[derive(Debug, Args)]
struct SignedAt {
    #[command(flatten)]
    at: At,
    /// Yes, though --at lies ahead: no gateway that believes it takes anything signed before that moment for current.
    #[arg(long, requires = "at")]
    future: bool,
}

impl SignedAt {
    /// How far ahead of this computer's clock a moment may be said.
    const AHEAD_MS: i64 = 10 * 60 * 1_000;

    fn now(&self) -> Result<Now, Failure> {
        let said = now(self.at.moment())?;
        let clock = SystemClock::default().now().wall;
        let ahead = said.wall.as_millis().saturating_sub(clock.as_millis());
        if ahead > Self::AHEAD_MS && !self.future {
            return Err(refused(format!(
                "--at {} lies {} minutes ahead: a gateway holds the moment of signing for one that has been, and from \
                 then on lets everything expire by it, for good; sign at most 10 minutes ahead, or say --future",
                said.wall,
                ahead / 60_000
            )));
        }
        Ok(said)
    }
}

/// What would be a mistake, were it not said.
#[derive(Debug, Default, Args)]
struct Yes {
    /// Yes, so many devices are taken off the allowlist.
    #[arg(long = "yes-remove", value_name = "N")]
    remove: Option<usize>,
    /// Yes, though the root or the bundle expires within 14 days.
    #[arg(long = "yes-expires-soon")]
    expires_soon: bool,
    /// Yes, though a gateway goes to a group that does not take it yet: no group has it until then.
    #[arg(long = "yes-transfer")]
    transfer: bool,
}

fn moment(text: &str) -> Result<Wall, String> {
    Wall::read(text).ok_or_else(|| "write it as 2026-11-22T12:00:00Z".to_owned())
}

/// The time that documents are judged by: a person's computer is taken to know it.
fn now(said: Option<Wall>) -> Result<Now, Failure> {
    let now = SystemClock::default().now();
    // A clock that was never set would sign documents that no gateway takes.
    let earliest = Wall::read("2026-01-01").unwrap_or_default();
    let wall = said.unwrap_or(now.wall);
    if wall < earliest {
        return Err(refused(format!("the clock says {wall}: set it first")));
    }
    Ok(Now { wall, sync: ClockSync::Synced, ..now })
}

/// A whole second so many days later.
fn after_days(wall: Wall, days: i64) -> Stamp {
    let later = wall.as_millis().saturating_add(days.saturating_mul(DAY_MS));
    Stamp(Wall::from_millis(later.saturating_sub(later.rem_euclid(1_000))))
}

/// A mistake that was caught.
fn refused(why: impl Into<String>) -> Failure {
    Failure::new(Exit::Refused, anyhow::anyhow!(why.into()))
}

/// What the disk says; the path is in it.
fn at(error: std::io::Error) -> Failure {
    error.into()
}
