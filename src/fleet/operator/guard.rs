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

#[cfg(test)]
mod tests {
    use super::super::diff::diff;
    use super::*;
    use crate::fleet::documents::Document as _;

    fn bundle(members: &str, rest: &str) -> Bundle {
        let text = format!(
            r#"{{"schema":1,"organisation":"st-anna","group":"icu-3","version":1,"min_agent":"0.1.0",
            "not_before":"2026-11-01T00:00:00Z","expires":"2027-11-01T00:00:00Z","members":{members}{rest}}}"#
        );
        Bundle::read(text.as_bytes()).unwrap()
    }

    fn register(gateways: &[(&str, &str)]) -> Register {
        let one = |(id, group): &(&str, &str)| super::super::folder::Gateway {
            id: (*id).to_owned(),
            group: (*group).to_owned(),
        };
        Register { organisation: "st-anna".to_owned(), gateway: gateways.iter().map(one).collect() }
    }

    /// What is said of a bundle, as far as the whole ward is concerned.
    fn found(bundle: &Bundle, group: &str, gateways: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let found = problems(bundle, group, &register(gateways), folder.path()).unwrap();
        assert!(folder.path().read_dir().unwrap().next().is_none(), "the stand-in is gone");
        found.into_iter().map(|problem| problem.reason).collect()
    }

    #[test]
    fn what_no_gateway_would_take_is_named_before_it_is_signed() {
        let one = bundle(r#"["gw-1"]"#, "");
        let ours = [("gw-1", "icu-3")];
        assert_eq!(found(&one, "icu-3", &ours), [""; 0]);
        let said = |bundle: &Bundle, group: &str, gateways: &[(&str, &str)], words: &str| {
            let found = found(bundle, group, gateways);
            assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
        };
        said(&bundle("[]", ""), "icu-3", &[], "has no members");
        said(&one, "icu-3", &[("gw-1", "icu-4")], "in group \"icu-4\" by fleet.toml");
        said(&one, "icu-3", &[], "gateway add gw-1 --group icu-3");
        let two = [("gw-1", "icu-3"), ("gw-2", "icu-3"), ("gw-3", "icu-4")];
        said(&one, "icu-3", &two, "\"gw-2\" of the group is no member");
        let leaves = bundle(r#"["gw-1"]"#, r#","transfers":[{"gateway":"gw-2","to":"icu-4"}]"#);
        assert_eq!(found(&leaves, "icu-3", &two), [""; 0], "one that is sent elsewhere is not left out");
        let wrong = found(&one, "icu-4", &[("gw-1", "icu-4")]);
        assert!(wrong.len() == 1 && wrong[0].contains("wrong folder"), "{wrong:?}");
    }

    #[test]
    fn more_than_half_of_the_devices_go_only_when_their_number_is_said() {
        let with = |devices: &[&str]| {
            let list: Vec<String> =
                devices.iter().map(|id| format!(r#"{{"id":"{id}","gateways":["gw-1"]}}"#)).collect();
            bundle(r#"["gw-1"]"#, &format!(r#","devices":[{}]"#, list.join(",")))
        };
        let four = with(&["a", "b", "c", "d"]);
        let to = |devices: &[&str]| diff(Some(&four), &with(devices));
        let words = |said: Result<(), Failure>| format!("{:?}", said.err());
        assert!(removal(&to(&["a", "b"]), None).is_ok(), "half of them is not more than half");
        assert!(words(removal(&to(&["a"]), None)).contains("say --yes-remove 3"));
        assert!(removal(&to(&["a"]), Some(3)).is_ok());
        assert!(words(removal(&to(&["a"]), Some(4))).contains("3 of 4 devices are removed"));
        assert!(words(removal(&to(&["a", "b", "c", "d"]), Some(1))).contains("0 of 4"), "a word too much");
        assert!(removal(&diff(None, &four), None).is_ok(), "the first bundle removes nothing");
    }

    #[test]
    fn a_document_has_to_hold_for_two_weeks_unless_that_is_meant() {
        let now = Wall::read("2026-11-22T12:00:00Z").unwrap();
        let says = |expires: &str, may_be_soon: bool| {
            let expires = Stamp(Wall::read(expires).unwrap());
            let said = expiry("bundle 7", expires, now, may_be_soon, "write a later date");
            said.err().map(|failure| format!("{failure:?}"))
        };
        assert_eq!(says("2026-12-06T12:00:00Z", false), None, "fourteen days are enough");
        assert!(says("2026-12-06T11:59:59Z", false).unwrap().contains("expires in 13 days"));
        assert_eq!(says("2026-11-22T12:00:01Z", true), None);
        for over in ["2026-11-22T12:00:00Z", "2026-11-21T12:00:00Z"] {
            assert!(says(over, true).unwrap().contains("no gateway would take it"), "{over}");
        }
    }
}
