//! `wardline-fleet rollout abort`: a bundle is stopped for good, and the content of an earlier one comes back.
//!
//! Gateways take no older bundle: the content before comes back as a new one. Which bundles were stopped is kept in
//! `g/GROUP/stopped`, a number a line, so that none of them is what comes back.

use std::collections::BTreeSet;

use clap::Args;

use super::draft::{self, Head};
use super::folder::{Fleet, read_text};
use super::rollout::Change;
use super::{after_days, at, refused, walk};
use crate::cli::exit::Failure;
use crate::cli::out;
use crate::fleet::documents::{Bundle, Document as _, Role, RoleKind, Stamp};
use crate::fleet::dsse::Envelope;
use crate::host::atomic_file;
use crate::time::Wall;

/// In the group's folder.
const STOPPED: &str = "stopped";

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wardline-fleet rollout abort --group icu-3 --restore --push /srv/fleet\n\n\
    Gateways take no older bundle: the content before comes back as a new bundle, signed like any other."
)]
pub(super) struct Abort {
    #[command(flatten)]
    change: Change,
    /// Write the content of an earlier bundle as the next draft: of the last that was not stopped itself.
    #[arg(long)]
    restore: bool,
    /// The content of this bundle.
    #[arg(long, value_name = "N", requires = "restore")]
    from: Option<u64>,
}

impl Abort {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { change, restore, from } = self;
        let fleet = Fleet::open_to_write(&change.folder, "rollout abort")?;
        let last = change.last(&fleet)?;
        let (group, version) = (&change.group, last.head.version);
        let mut stopped = stopped(&fleet, group)?;
        stopped.insert(version);
        let draft = if restore {
            Some(restored(&fleet, group, (from, &stopped), change.outgoing.now()?.wall)?)
        } else {
            None
        };
        let mut out = out::stdout();
        if !last.rollout.paused || change.outgoing.to().is_some() {
            let timestamp = change.sign(&fleet, &last, true)?;
            change.outgoing.tell(&fleet, &timestamp, None)?;
        } else {
            // Paused before: whether the broker was told is not known here.
            for line in change.outgoing.push(&fleet, group, None)? {
                out.line(format_args!("{line}"))?;
            }
        }
        write_stopped(&fleet, group, &stopped)?;
        let folder = change.folder.display();
        if change.outgoing.pushes() {
            out.line(format_args!(
                "the roll-out of bundle {version} of {group} is stopped: nobody begins; who runs it goes on"
            ))?;
        } else {
            out.line(format_args!(
                "the roll-out of bundle {version} of {group} is stopped in this folder; the broker does not have that \
                 from here, and may go on with it: wardline-fleet push --group {group} {folder}"
            ))?;
        }
        match draft {
            Some(draft) => {
                let file = fleet.draft_file(group)?;
                draft.write(&fleet, group)?;
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

/// The bundles of a group that were stopped.
fn stopped(fleet: &Fleet, group: &str) -> Result<BTreeSet<u64>, Failure> {
    let file = fleet.draft_file(group)?.with_file_name(STOPPED);
    let text = read_text(&file)?.unwrap_or_default();
    let numbers: Result<_, _> = text.lines().map(|line| line.trim().parse::<u64>()).collect();
    numbers.map_err(|_| refused(format!("{} is not one number a line: mend it", file.display())))
}

fn write_stopped(fleet: &Fleet, group: &str, stopped: &BTreeSet<u64>) -> Result<(), Failure> {
    let file = fleet.draft_file(group)?.with_file_name(STOPPED);
    let text: Vec<String> = stopped.iter().map(|number| format!("{number}\n")).collect();
    atomic_file::write(&file, text.concat().as_bytes()).map_err(at)
}

/// A draft of the content before.
struct Restored {
    from: u64,
    version: u64,
    text: String,
    /// The draft of what is stopped.
    old: Option<String>,
}

fn restored(
    fleet: &Fleet,
    group: &str,
    (from, stopped): (Option<u64>, &BTreeSet<u64>),
    now: Wall,
) -> Result<Restored, Failure> {
    let last = stopped.last().copied().unwrap_or(0);
    let is_there =
        |version: &u64| fleet.published().join(walk::bundle_file(group, *version)).symlink_metadata().is_ok();
    let before =
        from.or_else(|| (1..last).rev().find(|version| !stopped.contains(version) && is_there(version)));
    let from = before.ok_or_else(|| {
        refused(format!(
            "no bundle of {group} was published before {last} that was not stopped: there is no content to come back"
        ))
    })?;
    let bundle = published(fleet, group, from)?;
    let newest = fleet.newest(group)?.unwrap_or(last).max(last);
    let old = read_text(&fleet.draft_file(group)?)?;
    if let Some(old) = &old
        && !draft::version(old).is_ok_and(|version| version <= newest)
    {
        return Err(refused(
            "the draft is not signed yet: sign it or remove it first; nothing is overwritten",
        ));
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

/// A bundle as it went out, signed by the config keys of one of our roots.
fn published(fleet: &Fleet, group: &str, version: u64) -> Result<Bundle, Failure> {
    let file = walk::bundle_file(group, version);
    let bytes = walk::folder(&fleet.published())(&file, Bundle::CAP)?.ok_or_else(|| {
        refused(format!("bundle {version} of {group} was not published: {file} is not there"))
    })?;
    let roots = fleet.roots()?;
    let judge = || {
        let envelope = Envelope::parse(&bytes, Bundle::CAP).map_err(|fault| fault.to_string())?;
        let is_signed = roots.iter().any(|root| {
            let Role { keys, threshold } = root.role(RoleKind::Config);
            envelope.signers(keys).len() >= *threshold
        });
        if !is_signed || envelope.payload_type() != Bundle::PAYLOAD_TYPE {
            return Err("is not signed by enough config keys of this fleet".to_owned());
        }
        let bundle = Bundle::read(envelope.payload())?;
        let organisation = &fleet.register().organisation;
        if (bundle.version, bundle.group.as_str(), &bundle.organisation) != (version, group, organisation) {
            return Err(format!("holds bundle {} of {}", bundle.version, bundle.group));
        }
        Ok(bundle)
    };
    judge().map_err(|why: String| {
        refused(format!("published/{file} {why}: bring it back from a copy, or say another --from"))
    })
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
