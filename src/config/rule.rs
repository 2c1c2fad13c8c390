//! What the rule of a device holds, judged: the same for a device and for a part of one.

use std::time::Duration;

use super::scope::Scope;
use super::{raw, suggest};
use crate::device::Identity;
use crate::device::catalogue::{IdentityProof, Parts, SerialModel};
use crate::device::nomenclature::{Metric, metric_by_reference};
use crate::fleet::advisories::inventory::Day;
use crate::policy::Trust;

/// The longest asset tag and identity text, in bytes: past any label that fits on a device.
const MAX_TEXT: usize = 64;

/// What it must say of itself.
pub(super) fn expects(scope: &mut Scope<'_>, raw: Option<&raw::Identity>) -> Identity {
    let Some(given) = raw else { return Identity::default() };
    Identity {
        maker: text(scope, "expects.maker", given.maker.clone(), false),
        model: text(scope, "expects.model", given.model.clone(), false),
        serial: text(scope, "expects.serial", given.serial.clone(), false),
        firmware: text(scope, "expects.firmware", given.firmware.clone(), false),
    }
}

/// The tag on the housing.
pub(super) fn asset(scope: &mut Scope<'_>, raw: Option<String>) -> Option<String> {
    text(scope, "asset", raw, true)
}

/// The name of a place.
pub(super) fn location(scope: &mut Scope<'_>, raw: Option<String>) -> Option<String> {
    text(scope, "location", raw, true)
}

fn text(scope: &mut Scope<'_>, key: &str, value: Option<String>, required: bool) -> Option<String> {
    if value.is_none() && !required {
        return None;
    }
    let value = scope.required(key, value, "the tag on the device, from which its pseudonym is made")?;
    let value = value.trim().to_owned();
    if value.is_empty() || value.len() > MAX_TEXT || value.chars().any(char::is_control) {
        scope.problem(key, format!("must be 1 to {MAX_TEXT} bytes without control characters"));
        return None;
    }
    Some(value)
}

/// How a device can prove who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// By nothing: the protocol of this driver states no identity.
    Nothing(&'static str),
    /// By its serial number.
    SerialNumber,
    /// By whatever of its identity is expected.
    Anything,
    /// A rack: by whatever of its identity is expected, as many have no serial number of their own.
    Rack,
}

impl Proof {
    /// What the device at the other end of a port can prove itself by.
    pub(super) const fn of(model: &SerialModel) -> Self {
        match (model.identity, model.parts) {
            (IdentityProof::PortOnly, _) => Self::Nothing(model.name),
            (IdentityProof::Reported, Parts::One) => Self::SerialNumber,
            (IdentityProof::Reported, Parts::Many { .. }) => Self::Rack,
        }
    }

    /// What a part of it can prove itself by.
    pub(super) const fn of_part(model: &SerialModel) -> Self {
        match model.identity {
            IdentityProof::PortOnly => Self::Nothing(model.name),
            IdentityProof::Reported => Self::SerialNumber,
        }
    }

    /// The key that is missing when this is all that is expected, and what belongs there.
    fn lacks(self, expects: &Identity) -> Option<(&'static str, &'static str)> {
        let device =
            "what the device must say of itself, or trust = \"link-only\" to let its link alone vouch";
        let rack = "what the rack must say of itself (its model or firmware where it has no serial number), \
                    or trust = \"link-only\" to let its port alone vouch";
        let nothing = *expects == Identity::default();
        match self {
            Self::Nothing(_) => None,
            Self::SerialNumber => expects.serial.is_none().then_some(("expects.serial", device)),
            Self::Anything => nothing.then_some(("expects", device)),
            Self::Rack => nothing.then_some(("expects", rack)),
        }
    }
}

/// What vouches for the device. Where its protocol states who it is, that must be asked for, or
/// `trust = "link-only"` must say that the port, place or address alone is enough.
pub(super) fn trust(
    scope: &mut Scope<'_>,
    raw: Option<&str>,
    proof: Option<Proof>,
    expects: &Identity,
) -> Option<Trust> {
    let words = [("reported-identity", Trust::ReportedIdentity), ("link-only", Trust::LinkOnly)];
    let said = match raw {
        None => None,
        given => Some(scope.word("trust", given, &words)?),
    };
    let proof = proof?;
    if let Proof::Nothing(name) = proof {
        let why = format!("{name} states no identity in its protocol");
        if said == Some(Trust::ReportedIdentity) {
            scope.problem("trust", format!("{why}: the port alone vouches"));
            return None;
        }
        if *expects != Identity::default() {
            scope.problem("expects", format!("{why}: this can never be met"));
            return None;
        }
        return Some(Trust::LinkOnly);
    }
    let said = said.unwrap_or(Trust::ReportedIdentity);
    if let (Trust::ReportedIdentity, Some((key, what))) = (said, proof.lacks(expects)) {
        scope.missing(key, what);
        return None;
    }
    Some(said)
}

/// How long it may give no reading: what is said, else what is usual for its driver; `None` is for ever, and
/// what comes of a mistake, which has been reported.
pub(super) fn quiet(scope: &mut Scope<'_>, raw: Option<&str>, usual: Option<Duration>) -> Option<Duration> {
    match raw {
        None => usual,
        given => scope.duration("quiet", given, ("5s", "7d")),
    }
}

/// From when on its maker no longer looks after it. A mistake was reported.
pub(super) fn end_of_support(scope: &mut Scope<'_>, raw: Option<&str>) -> Option<Day> {
    let day = Day::read(raw?);
    if day.is_none() {
        scope
            .problem("end_of_support", format!("{:?} is not a day: write \"2027-01-31\"", raw.unwrap_or("")));
    }
    day
}

/// What may leave: everything that its driver reads, or those that are listed.
pub(super) fn elements(
    scope: &mut Scope<'_>,
    raw: Option<&raw::Elements>,
    reads: Option<Vec<&'static Metric>>,
) -> Option<Vec<&'static Metric>> {
    match scope.required("elements", raw, "\"all\" or a list of reference ids")? {
        raw::Elements::Word(word) if word == "all" => reads,
        raw::Elements::Word(word) => {
            scope.problem(
                "elements",
                format!("{word:?} is not \"all\": write \"all\" or a list of reference ids"),
            );
            None
        }
        raw::Elements::List(list) if list.is_empty() => {
            scope.problem("elements", "is empty: nothing of the device could leave");
            None
        }
        raw::Elements::List(list) => listed(scope, list, reads.as_deref()),
    }
}

/// `reads` is `None` when the driver is not known: then only the reference ids are judged.
fn listed(
    scope: &mut Scope<'_>,
    list: &[Option<String>],
    reads: Option<&[&'static Metric]>,
) -> Option<Vec<&'static Metric>> {
    let mut found: Vec<&'static Metric> = Vec::new();
    for (place, name) in list.iter().enumerate() {
        let Some(name) = name else { continue };
        let key = format!("elements.{place}");
        let known = reads.and_then(|reads| reads.iter().copied().find(|metric| metric.reference == name));
        match known.or_else(|| metric_by_reference(name)) {
            None => {
                let near = reads.unwrap_or_default().iter().map(|metric| metric.reference);
                scope.problem(
                    &key,
                    format!("{name:?} is not a known element{}", suggest::nearest(name, near)),
                );
            }
            Some(_) if reads.is_some() && known.is_none() => {
                let near = reads.unwrap_or_default().iter().map(|metric| metric.reference);
                let near = near.collect::<Vec<_>>().join(", ");
                scope
                    .problem(&key, format!("{name} is not read by this device's driver, which reads {near}"));
            }
            Some(metric) if found.iter().any(|other| other.code == metric.code) => {
                scope.problem(&key, format!("{name} is listed twice"));
            }
            Some(metric) => found.push(metric),
        }
    }
    (found.len() == list.len() && reads.is_some()).then_some(found)
}
