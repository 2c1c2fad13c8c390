//! `wardline-fleet publish`: a bundle that enough keys have signed becomes the one that is current.
//!
//! What goes out is looked at through the eyes of every member before it does, by the gateway's own verifier.

use std::path::PathBuf;

use clap::Args;

use super::folder::Fleet;
use super::outgoing::Outgoing;
use super::waves::{self, Plan};
use super::{Yes, guard, refused};
use crate::cli::exit::Failure;
use crate::fleet::documents::{Bundle, Digest, Role, RoleKind, Root};
use crate::fleet::dsse::Envelope;
use crate::time::Wall;

/// Make a bundle the current one, and write everything that a gateway needs to know it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    wardline-fleet publish --group icu-3 --canary gw-1 --to /media/stick /srv/fleet\n  \
    wardline-fleet publish --group icu-3 --push /srv/fleet    the same bundle again, before 48 hours are over\n\n\
    The folder has the layout of the topics: root/1.json, g/icu-3/ts.json, g/icu-3/bundle/7.json. A roll-out that is \
    paused stays so: `rollout resume` ends that.")]
pub(super) struct Publish {
    #[command(flatten)]
    release: Release,
    /// A gateway that goes first; as often as given.
    #[arg(long, value_name = "GATEWAY")]
    canary: Vec<String>,
    /// The share of a wave in percent; as often as given. [default: 1 5 25 100]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u16).range(1..=100))]
    wave: Vec<u16>,
    /// Hours between the waves.
    #[arg(long, value_name = "HOURS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=168))]
    every: u16,
    /// Whoever has not begun waits.
    #[arg(long)]
    paused: bool,
}

/// Which bundle, and what goes out with it.
#[derive(Debug, Args)]
pub(super) struct Release {
    /// The group: a ward.
    #[arg(long, value_name = "G")]
    pub(super) group: String,
    /// The bundle; the newest when nothing is said.
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    #[command(flatten)]
    pub(super) outgoing: Outgoing,
    #[command(flatten)]
    yes: Yes,
    /// The fleet's folder.
    folder: PathBuf,
}

impl Publish {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { release, canary, wave, every, paused } = &self;
        let plan = Plan { canaries: canary, shares: wave, every: *every, paused: *paused };
        release.run(&plan, |_| Ok(Vec::new()))
    }
}

impl Release {
    /// Publishes the bundle under a plan; `first` names canaries when the plan has none and begins.
    pub(super) fn run(
        &self,
        plan: &Plan<'_>,
        first: impl FnOnce(&Bundle) -> Result<Vec<String>, Failure>,
    ) -> Result<(), Failure> {
        let fleet = Fleet::open_to_write(&self.folder, "publish")?;
        let root = fleet.root()?;
        let group = &self.group;
        let version = self.version.or(fleet.newest(group)?).ok_or_else(|| {
            refused(format!(
                "no bundle of {group} was signed yet: bundle new, sign and countersign come first"
            ))
        })?;
        let (envelope, bundle) = fleet.bundle(group, version)?;
        if bundle.version != version {
            return Err(refused(format!(
                "bundle-{version}.json holds bundle {}: it was renamed",
                bundle.version
            )));
        }
        let now = self.outgoing.now()?.wall;
        let last = fleet.last(group)?.filter(|last| last.head.version == version);
        if last.as_ref().is_some_and(|last| last.head.sha256 != Digest::of(&envelope.to_bytes())) {
            return Err(refused(format!(
                "bundle-{version}.json is not the bundle that was published: bring it back from {}",
                fleet.published().display()
            )));
        }
        // The same one again is not held up by a register that has changed since.
        if last.is_none() {
            guard::valid(&bundle, group, &fleet)?;
        }
        self.judge(&fleet, &root, (&envelope, &bundle), now)?;
        if last.is_none() {
            self.leaving(&fleet, &bundle)?;
        }
        if let Some(stranger) = plan.canaries.iter().find(|canary| !bundle.members.contains(canary)) {
            return Err(refused(format!("canary {stranger:?} is no member of bundle {version}")));
        }
        let is_new = !plan.canaries.is_empty() || !plan.shares.is_empty();
        if is_new && !plan.paused && last.as_ref().is_some_and(|last| last.rollout.paused) {
            return Err(refused(format!(
                "the roll-out of bundle {version} of {group} is paused: use `rollout resume` to go on; a new plan must \
                 not end a pause"
            )));
        }
        let rollout = match &last {
            // The same bundle once more: whoever had his turn keeps it.
            Some(last) if !is_new => waves::again(last, now, plan.paused || last.rollout.paused),
            Some(_) | None => {
                let named = if plan.canaries.is_empty() { first(&bundle)? } else { plan.canaries.to_vec() };
                let plan = Plan { canaries: &named, ..plan.clone() };
                waves::rollout(&plan, version, now).map_err(refused)?
            }
        };
        let timestamp = self.outgoing.release(&fleet, &root, (&envelope, &bundle), rollout)?;
        self.outgoing.tell(&fleet, &timestamp, self.yes.remove)
    }

    /// What a bundle that was not published yet takes away.
    fn leaving(&self, fleet: &Fleet, bundle: &Bundle) -> Result<(), Failure> {
        guard::transfers(bundle, fleet, self.yes.transfer)?;
        let diff = super::diff::diff(fleet.last_bundle(&self.group)?.as_ref(), bundle);
        guard::removal(&diff, self.yes.remove)
    }

    /// Mistakes that are caught before a gateway sees them.
    fn judge(
        &self,
        fleet: &Fleet,
        root: &Root,
        (envelope, bundle): (&Envelope, &Bundle),
        now: Wall,
    ) -> Result<(), Failure> {
        let Role { keys, threshold } = root.role(RoleKind::Config);
        let have = envelope.signers(keys).len();
        if have < *threshold {
            return Err(refused(format!(
                "bundle {} is signed by {have} of the {threshold} config keys that root {} wants: `bundle countersign` with {} more",
                bundle.version,
                root.version,
                threshold.saturating_sub(have)
            )));
        }
        let soon = self.yes.expires_soon;
        let what = format!("root {}", root.version);
        guard::expiry(&what, root.expires, now, soon, "`root new`, and the root keys sign it")?;
        let what = format!("bundle {}", bundle.version);
        guard::expiry(&what, bundle.expires, now, soon, "`bundle new` with a later `expires`")?;
        let there = self.outgoing.there(&self.group, root)?;
        for (whose, last) in [("the fleet", fleet.last(&self.group)?), ("the folder", there)] {
            if let Some(last) = last.filter(|last| last.head.version > bundle.version) {
                return Err(refused(format!(
                    "bundle {} is not higher than {}, the last one published in {whose}: gateways take no older one; \
                     put the old content into a new draft",
                    bundle.version, last.head.version
                )));
            }
        }
        if bundle.not_before.0 > now {
            return Err(refused(format!(
                "bundle {} holds from {} on: publish it then, or give the next draft an earlier `not_before`",
                bundle.version, bundle.not_before.0
            )));
        }
        Ok(())
    }
}
