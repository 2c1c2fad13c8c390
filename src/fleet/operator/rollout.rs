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
use super::progress::{Judge, Member, Progress, Share, few, progress};
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
    for (text, colour) in lines(progress) {
        let text = colour.map_or_else(|| text.clone(), |colour| out.paint(colour, &text));
        out.line(format_args!("{text}"))?;
    }
    let verdict = match &progress.stop {
        Some(why) => format!("{}: {why}", out.paint(Colour::Bad, "it does harm")),
        None => format!("{} tried it, {} took it back", progress.executed, progress.failures),
    };
    out.line(format_args!("{verdict}"))?;
    Ok(out.finish()?)
}

/// The shares as a table that fits 80 columns; below each, who is to be looked at.
fn lines(progress: &Progress) -> Vec<(String, Option<Colour>)> {
    let paused = if progress.paused { ", paused" } else { "" };
    let line = |cells: [&str; 6]| {
        let [name, from, run, claim, way, silent] = cells;
        format!("{name:<10} {from:<24} {run:>12} {claim:>8} {way:>9} {silent:>7}")
    };
    let count = |count: usize| if count == 0 { "-".to_owned() } else { count.to_string() };
    let mut lines = vec![
        (format!("bundle {} of {}{paused}", progress.bundle, progress.group), None),
        (line(["SHARE", "FROM", "RUN IT", "UNPROVEN", "UNDER WAY", "SILENT"]), Some(Colour::Strong)),
    ];
    let is_all = |share: &Share| share.name == "canaries" && share.members > 0;
    let only_canaries = progress.shares.iter().all(|share| is_all(share) || share.members == 0);
    // Waves that nobody is in say nothing where nobody is in any.
    for share in progress.shares.iter().filter(|share| !only_canaries || share.members > 0) {
        let from = match (share.name.as_str(), &share.from) {
            (_, Some(from)) => from,
            ("canaries", None) => "at once",
            (_, None) => "-",
        };
        let run = match share.members {
            0 => "nobody".to_owned(),
            members => format!("{} of {members}", share.run),
        };
        let [claim, way, silent] = [share.claim, share.under_way, share.silent.len()].map(count);
        lines.push((line([&share.name, from, &run, &claim, &way, &silent]), None));
        let names = [
            (&share.failed, "took it back"),
            (&share.failed_unproven, "said to have taken it back, without a proof: look there"),
            (&share.silent, "silent"),
        ];
        for (names, word) in names.into_iter().filter(|(names, _)| !names.is_empty()) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            lines.push((format!("    {word}: {}", few(&names)), Some(Colour::Bad)));
        }
    }
    if only_canaries && progress.shares.iter().any(is_all) {
        lines.push(("    every gateway of the group is a canary: the waves have nobody".to_owned(), None));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_line_of_80_columns_and_who_is_to_be_looked_at_stands_below() {
        let share = Share {
            name: "100 %".to_owned(),
            from: Some("2026-11-22T13:00:00.000Z".to_owned()),
            members: 4_096,
            run: 3_000,
            claim: 1_000,
            failed: (0..300).map(|number| format!("gw-{number}")).collect(),
            ..Share::default()
        };
        let first = Share { name: "canaries".to_owned(), members: 1, run: 1, ..Share::default() };
        let progress = Progress {
            group: "icu-3".to_owned(),
            bundle: 8,
            paused: true,
            shares: vec![first, share],
            executed: 3_300,
            failures: 300,
            stop: None,
        };
        let text: Vec<String> = lines(&progress).into_iter().map(|(text, _)| text).collect();
        assert_eq!(
            text,
            [
                "bundle 8 of icu-3, paused",
                "SHARE      FROM                           RUN IT UNPROVEN UNDER WAY  SILENT",
                "canaries   at once                        1 of 1        -         -       -",
                "100 %      2026-11-22T13:00:00.000Z 3000 of 4096     1000         -       -",
                "    took it back: gw-0, gw-1, gw-2, gw-3, gw-4 and 295 more",
            ]
        );
        assert!(text.iter().all(|line| line.len() <= 80));
    }

    fn shown(shares: &[(&str, usize)]) -> Vec<String> {
        let share = |(name, members): &(&str, usize)| Share {
            name: (*name).to_owned(),
            from: (*name != "canaries").then(|| "2026-11-22T13:00:00.000Z".to_owned()),
            members: *members,
            ..Share::default()
        };
        let progress = Progress {
            group: "icu-3".to_owned(),
            bundle: 8,
            paused: false,
            shares: shares.iter().map(share).collect(),
            executed: 0,
            failures: 0,
            stop: None,
        };
        lines(&progress).into_iter().skip(2).map(|(text, _)| text).collect()
    }

    #[test]
    fn waves_that_nobody_is_in_are_said_to_be_so() {
        assert_eq!(
            shown(&[("canaries", 2), ("1 %", 0), ("100 %", 0)]),
            [
                "canaries   at once                        0 of 2        -         -       -",
                "    every gateway of the group is a canary: the waves have nobody",
            ]
        );
        assert_eq!(
            shown(&[("canaries", 1), ("1 %", 0), ("100 %", 3)])[1..],
            [
                "1 %        2026-11-22T13:00:00.000Z       nobody        -         -       -",
                "100 %      2026-11-22T13:00:00.000Z       0 of 3        -         -       -",
            ]
        );
    }
}
