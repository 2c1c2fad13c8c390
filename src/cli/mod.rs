//! The commands of `wardline`, one file each.
//!
//! In: the command line and the environment, read here once. Out: what was asked for on standard
//! output (text for a person, JSON with `--json`), remarks on standard error, and an exit code of
//! the table in [`exit`]. JSON shapes are stable: fields are added, never renamed or given another
//! meaning.

mod audit;
mod check;
mod confirm;
mod dashboard;
mod decode;
mod devices;
mod diag;
mod doctor;
mod drivers;
mod enrol;
pub mod exit;
mod init;
mod keys;
pub(crate) mod lookout;
mod metrics;
pub(crate) mod out;
mod pair;
mod progress;
mod run;
pub(crate) mod screen;
mod spool;
mod status;
mod unpair;
mod version;
pub(crate) mod view;
mod wipe;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Catalogue, Environment, Loaded, Membership, Problems, Pushed, load_with, membership};
use crate::host::process;
use exit::{Exit, Failure};
#[cfg(feature = "dashboard")]
pub(crate) use status::Asked;

/// Where the configuration is when nobody says.
const CONFIG_FOLDER: &str = "/etc/wardline";

/// The line from the ward to the cloud: reads bedside devices over BLE and RS-232, keeps what it read
/// encrypted until the cloud has it.
#[derive(Debug, Parser)]
#[command(
    name = "wardline",
    disable_version_flag = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        wardline init                              set this gateway up\n  \
        wardline check --config /etc/wardline      is the configuration valid?\n  \
        wardline run                               run the daemon\n  \
        wardline status                            how is it doing?\n  \
        wardline doctor                            what is wrong, and what to do?\n  \
        wardline decode ble 2A37 \"16 48 40 03\"     what does this payload say?",
    after_long_help = long_help()
)]
struct Cli {
    /// Print the version; with --json also what it can do and until when it is supported.
    #[arg(short = 'V', long)]
    version: bool,
    /// With --version: as JSON.
    #[arg(long, requires = "version")]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set this gateway up: keys, credentials, configuration and folders; overwrites nothing.
    Init(Box<init::Init>),
    /// Run the daemon until it is told to stop.
    Run(run::Run),
    /// Say everything that is wrong with the configuration, without running anything.
    Check(check::Check),
    /// Ask the running daemon how it is doing.
    Status(status::Status),
    /// Say whether this gateway is well: named checks, what is wrong and what to do about it.
    Doctor(doctor::Doctor),
    /// Write what support needs to know, with no reading, key or name of a device in it.
    Diag(diag::Diag),
    /// Show in a browser how this gateway is doing: on the loopback only, to look at and nothing else.
    Dashboard(dashboard::Dashboard),
    /// Show the daemon's figures for monitoring: a page for Prometheus, or for the node exporter.
    Metrics(metrics::Metrics),
    /// List the allowed devices, and what the running daemon has seen of them and of others.
    Devices(devices::Devices),
    /// Pair a BLE device of the allowlist, and prove that the bond holds.
    Pair(pair::Pair),
    /// Remove the keys that a BLE device and this gateway share.
    Unpair(unpair::Unpair),
    /// Look into the store: what is in it, whether it is sound.
    Spool(spool::Spool),
    /// Show who took data out of the gateway or destroyed it, and who paired devices.
    Audit(audit::Audit),
    /// Destroy the store and its keys: when the gateway leaves the hospital.
    Wipe(wipe::Wipe),
    /// List what this program can read: every serial driver and every BLE profile.
    Drivers(drivers::Drivers),
    /// Show where the local keys are and whether they can be used, or make a new one.
    Keys(keys::Keys),
    /// Get this gateway its certificate, and make it a member of its fleet.
    Enrol(enrol::Enrol),
    /// Say what a captured payload means: one JSON object a line and observation.
    Decode(decode::Decode),
}

/// The configuration's folder.
#[derive(Clone, Debug, Args)]
struct Folder {
    /// The folder that holds gateway.toml and devices.d.
    #[arg(long, value_name = "DIR", default_value = CONFIG_FOLDER)]
    config: PathBuf,
}

impl Folder {
    fn load(&self) -> Result<Loaded, Problems> {
        self.load_with(None)
    }

    /// With what the fleet pushed.
    fn load_with(&self, pushed: Option<&Pushed>) -> Result<Loaded, Problems> {
        load_with(&self.config, &Environment::new(std::env::vars_os()), &Catalogue::shipped(), pushed)
    }

    /// Whether the gateway takes anything from a fleet.
    fn membership(&self) -> Option<Membership> {
        membership(&self.config, &Environment::new(std::env::vars_os()))
    }

    fn load_or_fail(&self) -> Result<Loaded, Failure> {
        self.load().map_err(|problems| Failure::new(Exit::Config, problems))
    }
}

fn long_help() -> String {
    format!(
        "Examples:\n  \
         wardline check --config /etc/wardline --show   is it valid, and what holds?\n  \
         wardline run --config /etc/wardline            run the daemon\n  \
         wardline status --json                         how is it doing, for a script\n  \
         wardline pair oximeter-bed-8                   share keys with a BLE device\n  \
         wardline spool                                 what is in the store?\n  \
         wardline spool verify                          is it sound?\n  \
         wardline drivers                               what can it read?\n  \
         wardline keys show                             are the keys there, and which?\n  \
         wardline enrol --server https://pki.example    get this gateway its certificate\n  \
         wardline decode ble 2A37 \"16 48 40 03\"         what does this payload say?\n  \
         wardline decode serial alaris-asena dump.bin   what does this capture say?\n\n\
         Environment:\n  \
         WARDLINE_SECTION__KEY   overrides a key of gateway.toml: WARDLINE_UPLINK__HOST\n  \
         CREDENTIALS_DIRECTORY   where `credential:NAME` paths point; set by systemd\n  \
         NO_COLOR                no colours on a terminal\n\n{}",
        exit::help()
    )
}

/// The command line, for man pages and completions.
#[cfg(feature = "lab")]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Reads the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    start("wardline", dispatch)
}

/// The same for any program whose command line is `C`.
pub(crate) fn start<C: Parser>(program: &str, dispatch: impl FnOnce(C) -> Result<(), Failure>) -> ExitCode {
    let cli = match C::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no error; the rest is a wrong command line.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            let _ = error.print();
            return exit.into();
        }
    };
    match dispatch(cli) {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            if let Some(error) = failure.error {
                out::remark_of(program, format_args!("{error:#}"));
            }
            failure.exit.into()
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    if cli.version {
        return version::print(cli.json);
    }
    // Before anything that holds a secret. Nothing that could be dumped is run, not even what loads no key:
    // which commands do is not to be remembered here.
    process::seal_off().map_err(|error| {
        let what = "the kernel refuses to keep this process's memory from core dumps and debuggers";
        Failure::new(Exit::Failed, anyhow::Error::new(error).context(what))
    })?;
    match cli.command {
        None => Err(Failure::new(Exit::Usage, anyhow::anyhow!("name a command: see wardline --help"))),
        Some(Command::Init(init)) => init.run(),
        Some(Command::Run(run)) => run.run(),
        Some(Command::Check(check)) => check.run(),
        Some(Command::Status(status)) => status.run(),
        Some(Command::Doctor(doctor)) => doctor.run(),
        Some(Command::Diag(diag)) => diag.run(),
        Some(Command::Dashboard(dashboard)) => dashboard.run(),
        Some(Command::Metrics(metrics)) => metrics.run(),
        Some(Command::Devices(devices)) => devices.run(),
        Some(Command::Pair(pair)) => pair.run(),
        Some(Command::Unpair(unpair)) => unpair.run(),
        Some(Command::Spool(spool)) => spool.run(),
        Some(Command::Audit(audit)) => audit.run(),
        Some(Command::Wipe(wipe)) => wipe.run(),
        Some(Command::Drivers(drivers)) => drivers.run(),
        Some(Command::Keys(keys)) => keys.run(),
        Some(Command::Enrol(enrol)) => enrol.run(),
        Some(Command::Decode(decode)) => decode.run(),
    }
}
