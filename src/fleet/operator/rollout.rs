//! `wardline-fleet rollout`: a bundle reaches the gateways wave by wave, and stops when it does harm.
//!
//! A roll-out is a part of the timestamp: each of these commands signs a new one with the online key. With `--json`,
//! `status` prints one object of the shape of `progress::Progress`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::broker::{self, Broker, Connection};
use super::folder::Fleet;
use super::outgoing::Outgoing;
use super::progress::{Judge, Member, Progress, progress};
use super::proof::Authorities;
use super::publish::Release;
use super::restore::Abort;
use super::view::{Sight, View};
use super::waves::{self, Plan};
use super::{PROGRAM, refused};
use crate::cli::exit::{Exit, Failure};
use crate::cli::out::{self, Colour};
use crate::fleet::documents::{Bundle, Digest, Role, RoleKind, Timestamp};

const ORDER: &str = "Example, in this order:\n  \
    wardline-fleet rollout start --group icu-3 --canary gw-1 --push /srv/fleet\n  \
    wardline-fleet rollout status --group icu-3 /srv/fleet\n  \
    wardline-fleet rollout pause --group icu-3 --push /srv/fleet\n  \
    wardline-fleet rollout resume --group icu-3 --push /srv/fleet\n  \
    wardline-fleet rollout abort --group icu-3 --restore --push /srv/fleet";

/// Let a bundle reach the gateways wave by wave, and stop it when it does harm.
#[derive(Debug, Args)]
#[command(after_help = ORDER)]
pub(super) struct Rollouts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the newest bundle the current one: canaries at once, then 1 %, 5 %, 25 % and all.
    Start(Start),
    /// Let nobody begin who has not begun.
    Pause(Change),
    /// Go on after a pause; what had not begun is as far ahead as it was.
    Resume(Change),
    /// Stop for good, and say how the content before comes back.
    Abort(Abort),
    /// Say how far it has come; with --guard, pause it when it does harm.
    Status(Status),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wardline-fleet rollout start --group icu-3 --canary gw-1 --push /srv/fleet"
)]
struct Start {
    #[command(flatten)]
    release: Release,
    /// A gateway that goes first; as often as given. [default: the first member]
    #[arg(long, value_name = "GATEWAY")]
    canary: Vec<String>,
    /// The share of a wave in percent; as often as given. [default: 1 5 25 100]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u16).range(1..=100))]
    wave: Vec<u16>,
    /// Hours between the waves.
    #[arg(long, value_name = "HOURS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=168))]
    every: u16,
}

#[derive(Debug, Args)]
#[command(after_help = ORDER)]
pub(super) struct Change {
    /// The group: a ward.
    #[arg(long, value_name = "G")]
    pub(super) group: String,
    #[command(flatten)]
    pub(super) outgoing: Outgoing,
    /// The fleet's folder.
    pub(super) folder: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = format!("Examples:\n  \
    wardline-fleet rollout status --group icu-3 /srv/fleet\n  \
    wardline-fleet rollout status --group icu-3 --guard --passphrase-file /run/fleet/online.toml /srv/fleet    every minute, by a timer\n\n\
    With --guard it signs a pause and pushes it when 2 gateways and 5 % of those that tried the bundle have taken it \
    back, or when one gives no sign of life for 10 minutes (or two of the bundle's heartbeats) after its turn; it ends \
    with 6 then. Only what a gateway's key has signed counts as taken back, and as a canary's life.\n\n{}", broker::HELP))]
struct Status {
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    connection: Connection,
    /// Pause the roll-out when it does harm.
    #[arg(long)]
    guard: bool,
    /// A gateway that may be silent, because it is known to be off; as often as given.
    #[arg(long, value_name = "GATEWAY")]
    except: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Rollouts {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Start(start) => start.run(),
            Command::Pause(change) => change.run(true),
            Command::Resume(change) => change.run(false),
            Command::Abort(abort) => abort.run(),
            Command::Status(status) => status.run(),
        }
    }
}

impl Start {
    fn run(self) -> Result<(), Failure> {
        let Self { release, canary, wave, every } = &self;
        let plan = Plan { canaries: canary, shares: wave, every: *every, paused: false };
        release.run(&plan, |bundle| {
            let first = bundle.members.first().ok_or_else(|| refused("the bundle has no members"))?;
            out::remark_of(PROGRAM, format_args!("no --canary was named: {first} goes first"));
            Ok(vec![first.clone()])
        })
    }
}

impl Change {
    pub(super) fn last(&self, fleet: &Fleet) -> Result<Timestamp, Failure> {
        let group = &self.group;
        fleet.last(group)?.ok_or_else(|| {
            refused(format!("nothing of {group} is published yet: `rollout start` is the first step"))
        })
    }

    fn run(&self, pause: bool) -> Result<(), Failure> {
        let what = if pause { "rollout pause" } else { "rollout resume" };
        let fleet = Fleet::open_to_write(&self.folder, what)?;
        let last = self.last(&fleet)?;
        if last.rollout.paused != pause {
            let timestamp = self.sign(&fleet, &last, pause)?;
            return self.outgoing.tell(&fleet, &timestamp, None);
        }
        let word = if pause { "is paused already" } else { "is not paused" };
        let what = format!("the roll-out of bundle {} of {} {word}", last.head.version, self.group);
        if !self.outgoing.pushes() {
            return Err(refused(format!(
                "{what}: nothing was signed; `publish` signs it anew as it is, and --push or `push` tells the broker, \
                 which may not know it yet"
            )));
        }
        // It may have been signed without the broker's knowing.
        let mut out = out::stdout();
        out.line(format_args!("{what}: nothing was signed"))?;
        for line in self.outgoing.push(&fleet, &self.group, None)? {
            out.line(format_args!("{line}"))?;
        }
        Ok(out.finish()?)
    }

    /// The last roll-out again.
    pub(super) fn sign(&self, fleet: &Fleet, last: &Timestamp, paused: bool) -> Result<Timestamp, Failure> {
        let root = fleet.root()?;
        let (envelope, bundle) = fleet.bundle(&self.group, last.head.version)?;
        if Digest::of(&envelope.to_bytes()) != last.head.sha256 {
            return Err(refused(format!(
                "bundle-{}.json is not the bundle that was published: bring it back from {}",
                last.head.version,
                fleet.published().display()
            )));
        }
        let now = self.outgoing.now()?.wall;
        let Role { keys, threshold } = root.role(RoleKind::Config);
        let have = envelope.signers(keys).len();
        // A pause needs no more than the online key: least of all when another key was lost.
        if !paused && have < *threshold {
            return Err(refused(format!(
                "bundle {} of {} is signed by {have} of the {threshold} config keys that root {} wants: gateways would not \
                 take it; `bundle new`, sign, countersign and publish come next",
                last.head.version, self.group, root.version
            )));
        }
        let rollout = waves::again(last, now, paused);
        self.outgoing.release(fleet, &root, (&envelope, &bundle), rollout)
    }
}

impl Status {
    fn run(self) -> Result<(), Failure> {
        let Self { change, connection, guard, except, json } = self;
        let fleet = Fleet::open(&change.folder)?;
        let last = change.last(&fleet)?;
        let bundle = fleet.bundle(&change.group, last.head.version)?.1;
        let members = &bundle.members;
        let settings = connection.settings(fleet.path())?;
        let authorities = Authorities::read(settings.of_gateways())?;
        let organisation = &fleet.register().organisation;
        let mut broker = Broker::connect(&settings)?;
        let retained = broker.retained(&View::filters(organisation))?;
        drop(broker);
        let now = change.outgoing.now()?.wall;
        let mut view = View::new(organisation, members.iter().map(|id| (id.as_str(), change.group.as_str())));
        let prove = |bytes: &[u8], report: &_, now| authorities.prove(bytes, report, now);
        for (topic, bytes) in &retained {
            view.take(topic, bytes, &Sight { is_live: false, now, prove: &prove });
        }
        let unheard = |id| Member { id, proven: None, unproven: None, heard: None, signed: None };
        let members: Vec<Member<'_>> = members
            .iter()
            .map(|id| view.of(id).map_or_else(|| unheard(id), |known| known.member(id)))
            .collect();
        let progress =
            progress(&last, &members, &Judge { except: &except, now, heartbeat: heartbeat(&bundle) });
        tell(&progress, json)?;
        let Some(why) = progress.stop.filter(|_| guard) else { return Ok(()) };
        out::remark_of(PROGRAM, format_args!("{why}: the roll-out is paused"));
        // Not held while it looked: somebody may have paused it, or gone on to another bundle, meanwhile.
        let fleet = Fleet::open_to_write(&change.folder, "rollout status --guard")?;
        let now_last = change.last(&fleet)?;
        if now_last.head == last.head && !now_last.rollout.paused {
            change.sign(&fleet, &now_last, true)?;
        }
        // Also what was paused before: the broker may not have been told.
        for line in super::push::now(&fleet, &change.group, &settings, None)? {
            out::remark_of(PROGRAM, format_args!("{line}"));
        }
        Err(Failure::silent(Exit::Refused))
    }
}

/// The time between two heartbeats, where the bundle sets it.
fn heartbeat(bundle: &Bundle) -> Option<Duration> {
    let written = bundle.settings.0.get("uplink")?.get("heartbeat")?.as_str()?;
    crate::config::duration(written).ok()
}

fn tell(progress: &Progress, json: bool) -> Result<(), Failure> {
    let mut out = out::stdout();
    if json {
        out.json(progress)?;
        return Ok(out.finish()?);
    }
    let paused = if progress.paused { ", paused" } else { "" };
    out.line(format_args!("bundle {} of {}{paused}", progress.bundle, progress.group))?;
    for share in &progress.shares {
        let from = share.from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
        let mut parts = vec![format!("{:<9}{from}: {} of {} run it", share.name, share.run, share.members)];
        for (count, word) in [(share.claim, "say so without a proof"), (share.under_way, "under way")] {
            if count > 0 {
                parts.push(format!("{count} {word}"));
            }
        }
        let names = [
            (&share.failed, "took it back"),
            (&share.failed_unproven, "said to have taken it back, without a proof: look there"),
            (&share.silent, "silent"),
        ];
        for (names, word) in names {
            if !names.is_empty() {
                parts.push(out.paint(Colour::Bad, &format!("{word}: {}", names.join(", "))));
            }
        }
        out.line(format_args!("{}", parts.join(", ")))?;
    }
    let verdict = match &progress.stop {
        Some(why) => format!("{}: {why}", out.paint(Colour::Bad, "it does harm")),
        None => format!("{} tried it, {} took it back", progress.executed, progress.failures),
    };
    out.line(format_args!("{verdict}"))?;
    Ok(out.finish()?)
}
