//! Mistakes that are caught before they leave, each with the way out.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::diff::Diff;
use super::folder::{Fleet, REGISTER, Register};
use super::{at, refused};
use crate::cli::exit::Failure;
use crate::config::{Catalogue, Environment, FLOOR_FILE, GATEWAY_FILE, load_with};
use crate::fleet::documents::{Bundle, Stamp, Transfer};
use crate::fleet::share;
use crate::host::atomic_file;
use crate::time::Wall;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// A document that expires sooner leaves too little time to have the next one signed.
const SOON_DAYS: i64 = 14;

/// Something that a gateway would refuse, or that nobody wants.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    /// None: for the whole ward.
    pub(super) gateway: Option<String>,
    pub(super) reason: String,
}

/// Everything that is wrong with a bundle of a group.
pub(super) fn problems(
    bundle: &Bundle,
    group: &str,
    register: &Register,
    fleet: &Path,
) -> Result<Vec<Problem>, Failure> {
    let mut found = Vec::new();
    let mut whole = |reason: String| found.push(Problem { gateway: None, reason });
    if bundle.group != group {
        whole(format!(
            "is of group {:?}, not of {group:?}: it was put in the wrong folder, or names the wrong group",
            bundle.group
        ));
    }
    if bundle.members.is_empty() {
        whole("has no members: no gateway would take it".to_owned());
    }
    for member in &bundle.members {
        match register.group_of(member) {
            Some(known) if known == group => {}
            Some(other) => whole(format!(
                "member {member:?} is in group {other:?} by {REGISTER}: a gateway is in one group; take it out of the members"
            )),
            None => whole(format!(
                "member {member:?} is not in {REGISTER}: `wardline-fleet gateway add {member} --group {group}` adds it"
            )),
        }
    }
    for left_out in
        register.members(group).iter().filter(|id| !bundle.members.contains(id) && !leaves(bundle, id))
    {
        whole(format!(
            "gateway {left_out:?} of the group is no member: add it, transfer it, or take it out of {REGISTER}"
        ));
    }
    match bundle.members.iter().map(|member| share::of(bundle, member)).find_map(Result::err) {
        Some(reason) => whole(reason),
        None if found.is_empty() => found = by_gateway(bundle, fleet)?,
        None => {}
    }
    Ok(found)
}

/// Refuses a bundle of which a gateway would refuse something.
pub(super) fn valid(bundle: &Bundle, group: &str, fleet: &Fleet) -> Result<(), Failure> {
    let Some(problem) = problems(bundle, group, fleet.register(), fleet.path())?.into_iter().next() else {
        return Ok(());
    };
    let who = problem.gateway.map(|gateway| format!("{gateway}: ")).unwrap_or_default();
    Err(refused(format!("bundle {} is not valid: {who}{}", bundle.version, problem.reason)))
}

fn leaves(bundle: &Bundle, gateway: &str) -> bool {
    bundle.transfers.iter().any(|transfer| transfer.gateway == gateway)
}

/// What each gateway's own judge of configurations says.
fn by_gateway(bundle: &Bundle, fleet: &Path) -> Result<Vec<Problem>, Failure> {
    let mut found = Vec::new();
    for member in &bundle.members {
        let stand_in = StandIn::new(fleet, &bundle.organisation, &bundle.group, member)?;
        let share = share::of(bundle, member).map_err(refused)?;
        let outcome = load_with(&stand_in.0, &Environment::default(), &Catalogue::shipped(), Some(&share));
        if let Err(problems) = outcome {
            let reasons = problems.iter().map(ToString::to_string);
            found.extend(reasons.map(|reason| Problem { gateway: Some(member.clone()), reason }));
        }
    }
    Ok(found)
}

/// The configuration's folder of a gateway that says no more than it must; gone when it is dropped.
struct StandIn(PathBuf);

impl StandIn {
    fn new(fleet: &Path, organisation: &str, group: &str, id: &str) -> Result<Self, Failure> {
        let folder = Self(fleet.join(format!(".stand-in-{}", std::process::id())));
        atomic_file::create_folder(&folder.0).map_err(at)?;
        let gateway = format!(
            "[gateway]\norganisation = \"{organisation}\"\ngroup = \"{group}\"\nid = \"{id}\"\n\
             [uplink]\nhost = \"broker.example.org\"\nauthorities = \"/ca.pem\"\ncertificate = \"/own.pem\"\nkey = \"/key.pem\"\n\
             [keys]\nkek = \"/kek\"\nward = \"/ward\"\n"
        );
        atomic_file::write(&folder.0.join(GATEWAY_FILE), gateway.as_bytes()).map_err(at)?;
        // A copy of the gateways' floor, where the operator keeps one: what it lets through is no mistake.
        if let Some(floor) = super::folder::read_text(&fleet.join(FLOOR_FILE))? {
            atomic_file::write(&folder.0.join(FLOOR_FILE), floor.as_bytes()).map_err(at)?;
        }
        Ok(folder)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether every gateway that leaves is taken by the group where it goes: one that arrives nowhere is in no ward's hands.
pub(super) fn transfers(bundle: &Bundle, fleet: &Fleet, said: bool) -> Result<(), Failure> {
    if said {
        return Ok(());
    }
    for Transfer { gateway, to } in &bundle.transfers {
        let why = if fleet.register().members(to).is_empty() {
            format!("no gateway of {REGISTER} is in group {to:?}")
        } else {
            match fleet.last_bundle(to)? {
                None => format!("nothing of {to} is published yet"),
                Some(there) if there.members.contains(gateway) => continue,
                Some(there) => format!("bundle {} of {to} does not list it", there.version),
            }
        };
        return Err(refused(format!(
            "bundle {} transfers {gateway} to {to:?}, and {why}: publish there a bundle that lists it first; if that is \
             meant, say --yes-transfer",
            bundle.version
        )));
    }
    Ok(())
}

/// Whether a bundle takes away so much that it is rather a mistake.
pub(super) fn removal(diff: &Diff, said: Option<usize>) -> Result<(), Failure> {
    let (removed, before) = (diff.removed.len(), diff.devices_before);
    if let Some(said) = said.filter(|said| *said != removed) {
        return Err(refused(format!(
            "--yes-remove {said}, but {removed} of {before} devices are removed: look at `bundle diff`"
        )));
    }
    if said.is_none() && removed.saturating_mul(2) > before {
        return Err(refused(format!(
            "removes {removed} of {before} devices of group {:?} ({}): look at `bundle diff`; if that is meant, say --yes-remove {removed}",
            diff.group,
            diff.removed.join(", ")
        )));
    }
    Ok(())
}

/// Whether a document holds for long enough.
pub(super) fn expiry(
    what: &str,
    expires: Stamp,
    now: Wall,
    may_be_soon: bool,
    way_out: &str,
) -> Result<(), Failure> {
    let left = expires.0.as_millis().saturating_sub(now.as_millis());
    if left <= 0 {
        return Err(refused(format!("{what} expired at {}: no gateway would take it; {way_out}", expires.0)));
    }
    if left < SOON_DAYS * DAY_MS && !may_be_soon {
        let days = left / DAY_MS;
        return Err(refused(format!(
            "{what} expires in {days} days, at {}, sooner than in {SOON_DAYS}: {way_out}, or say --yes-expires-soon",
            expires.0
        )));
    }
    Ok(())
}
