//! `wardline-fleet rollout`: a bundle reaches the gateways wave by wave, and stops when it does harm.
//!
//! A roll-out is a part of the timestamp: each of these commands signs a new one with the online key. With `--json`,
//! `status` prints one object of the shape of `progress::Progress`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::broker::{self, Broker, Connection};
use super::draft::{self, Head};
use super::folder::{Fleet, read_text};
use super::outgoing::Outgoing;
use super::progress::{Member, Progress, progress};
use super::proof::Authorities;
use super::publish::Release;
use super::view::{Known, Sight, View};
use super::waves::{self, Plan};
use super::{PROGRAM, after_days, at, refused};
use crate::cli::exit::{Exit, Failure};
use crate::cli::out::{self, Colour};
use crate::fleet::documents::{Digest, Stamp, Timestamp};
use crate::host::atomic_file;
use crate::time::Wall;

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
struct Change {
    /// The group: a ward.
    #[arg(long, value_name = "G")]
    group: String,
    #[command(flatten)]
    outgoing: Outgoing,
    /// The fleet's folder.
    folder: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wardline-fleet rollout abort --group icu-3 --restore --push /srv/fleet\n\n\
    Gateways take no older bundle: the content before comes back as a new bundle, signed like any other."
)]
struct Abort {
    #[command(flatten)]
    change: Change,
    /// Write the content of the bundle before as the next draft.
    #[arg(long)]
    restore: bool,
}

#[derive(Debug, Args)]
#[command(after_help = format!("Examples:\n  \
    wardline-fleet rollout status --group icu-3 /srv/fleet\n  \
    wardline-fleet rollout status --group icu-3 --guard --passphrase-file /run/fleet/online.toml /srv/fleet    every minute, by a timer\n\n\
    With --guard it signs a pause and pushes it when 2 gateways and 5 % of those that tried the bundle have taken it \
    back, or when one gives no sign of life for 10 minutes after its turn; it ends with 6 then.\n\n{}", broker::HELP))]
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
    fn last(&self, fleet: &Fleet) -> Result<Timestamp, Failure> {
        let group = &self.group;
        fleet.last(group)?.ok_or_else(|| {
            refused(format!("nothing of {group} is published yet: `rollout start` is the first step"))
        })
    }

    fn run(&self, pause: bool) -> Result<(), Failure> {
        let fleet = Fleet::open(&self.folder)?;
        let last = self.last(&fleet)?;
        if last.rollout.paused == pause {
            let word = if pause { "is paused already" } else { "is not paused" };
            return Err(refused(format!(
                "the roll-out of bundle {} of {} {word}: nothing was signed; `publish` signs it anew as it is",
                last.head.version, self.group
            )));
        }
        let timestamp = self.sign(&fleet, last, pause)?;
        self.outgoing.tell(&fleet, &timestamp)
    }

    /// The last roll-out again.
    fn sign(&self, fleet: &Fleet, last: Timestamp, paused: bool) -> Result<Timestamp, Failure> {
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
        let rollout = waves::again(last.rollout, last.issued_at.0, now, paused);
        self.outgoing.release(fleet, &root, (&envelope, &bundle), rollout)
    }
}

impl Abort {
    fn run(self) -> Result<(), Failure> {
        let Self { change, restore } = self;
        let fleet = Fleet::open(&change.folder)?;
        let last = change.last(&fleet)?;
        let (group, version) = (change.group.clone(), last.head.version);
        let draft = if restore {
            Some(restored(&fleet, &group, version, change.outgoing.now()?.wall)?)
        } else {
            None
        };
        // What is paused stays so: nothing has to be signed for that.
        if !last.rollout.paused {
            let timestamp = change.sign(&fleet, last, true)?;
            change.outgoing.tell(&fleet, &timestamp)?;
        }
        let mut out = out::stdout();
        let folder = change.folder.display();
        out.line(format_args!(
            "the roll-out of bundle {version} of {group} is stopped: nobody begins; who runs it goes on"
        ))?;
        match draft {
            Some(draft) => {
                let file = fleet.draft_file(&group)?;
                draft.write(&fleet, &group)?;
                out.line(format_args!(
                    "{} has the content of bundle {} as bundle {}; next: bundle diff, sign, countersign, rollout start",
                    file.display(),
                    draft.from,
                    draft.version
                ))?;
            }
            None => out.line(format_args!(
                "the content before comes back as a new bundle: wardline-fleet rollout abort --group {group} --restore {folder}"
            ))?,
        }
        Ok(out.finish()?)
    }
}

/// A draft of the content before.
struct Restored {
    from: u64,
    version: u64,
    text: String,
    /// The draft of what is stopped.
    old: Option<String>,
}

fn restored(fleet: &Fleet, group: &str, stopped: u64, now: Wall) -> Result<Restored, Failure> {
    let before = (1..stopped).rev().find(|version| {
        let file = super::walk::bundle_file(group, *version);
        fleet.published().join(file).exists()
    });
    let from = before.ok_or_else(|| {
        refused(format!(
            "no bundle of {group} was published before {stopped}: there is no content to come back"
        ))
    })?;
    let (_, bundle) = fleet.bundle(group, from)?;
    let newest = fleet.newest(group)?.unwrap_or(stopped).max(stopped);
    let old = read_text(&fleet.draft_file(group)?)?;
    if let Some(old) = &old {
        let file = fleet.draft_file(group)?;
        let beside = file.parent().unwrap_or(fleet.path());
        let named = |name: &str| super::advisory::digest(beside, name);
        let version = draft::read(old, &fleet.register().organisation, &named).map(|draft| draft.version);
        if !version.is_ok_and(|version| version <= newest) {
            return Err(refused(
                "the draft is not signed yet: sign it or remove it first; nothing is overwritten",
            ));
        }
    }
    let version = newest.saturating_add(1);
    let head = Head {
        group,
        version,
        members: &bundle.members,
        not_before: Stamp(now),
        expires: after_days(now, super::bundle::LIFE_DAYS),
    };
    let text = draft::restored(&bundle, &head).map_err(refused)?;
    Ok(Restored { from, version, text, old })
}

impl Restored {
    fn write(&self, fleet: &Fleet, group: &str) -> Result<(), Failure> {
        let file = fleet.draft_file(group)?;
        if let Some(old) = &self.old {
            let kept = file.with_file_name(format!("draft-before-{}.toml", self.version));
            atomic_file::write(&kept, old.as_bytes()).map_err(at)?;
        }
        atomic_file::write(&file, self.text.as_bytes()).map_err(at)
    }
}

impl Status {
    fn run(self) -> Result<(), Failure> {
        let Self { change, connection, guard, except, json } = self;
        let fleet = Fleet::open(&change.folder)?;
        let last = change.last(&fleet)?;
        let members = fleet.bundle(&change.group, last.head.version)?.1.members;
        let settings = connection.settings(fleet.path())?;
        let authorities = Authorities::read(&settings.gateway_authorities)?;
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
        let members: Vec<Member<'_>> = members
            .iter()
            .map(|id| {
                let known = view.of(id);
                let (report, heard) = (known.and_then(Known::report), known.and_then(Known::heard));
                Member { id, report, heard }
            })
            .collect();
        let progress = progress(&last, &members, &except, now);
        tell(&progress, json)?;
        let Some(why) = progress.stop.filter(|_| guard) else { return Ok(()) };
        out::remark_of(PROGRAM, format_args!("{why}: the roll-out is paused"));
        if !last.rollout.paused {
            change.sign(&fleet, last, true)?;
        }
        // Also what was paused before: the broker may not have been told.
        for line in super::push::now(&fleet, &change.group, &settings)? {
            out::remark_of(PROGRAM, format_args!("{line}"));
        }
        Err(Failure::silent(Exit::Refused))
    }
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
        for (names, word) in [(&share.failed, "took it back"), (&share.silent, "silent")] {
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
