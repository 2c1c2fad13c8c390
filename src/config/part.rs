//! The `[[device.part]]` of one device judged: what stands at the places of a rack.
//!
//! Each is a device of its own: its id, its asset, what it must say of itself, what of it may leave.

use super::device::Claims;
use super::rule::{self, Proof};
use super::scope::Scope;
use super::{Connection, Device, raw, suggest};
use crate::device::Part;
use crate::device::catalogue::{Parts, SerialModel};
use crate::policy::{DeviceCard, DeviceRule};

/// What came of the parts of one device.
#[derive(Default)]
pub(super) struct Judged {
    /// What no other device may have, by the key that says it, from the device on.
    pub(super) claims: Claims,
    /// Those that are well.
    pub(super) devices: Vec<Device>,
}

/// Judges every part of a device. `model` is `None` when its driver is not known: then nothing is said of the
/// places.
pub(super) fn judge(
    scope: &mut Scope<'_>,
    raw: Option<&[Option<raw::Part>]>,
    model: Option<&'static SerialModel>,
) -> Judged {
    let mut judged = Judged::default();
    let Some(raw) = raw else { return judged };
    if let Some(model) = model
        && model.parts == Parts::One
    {
        scope.problem(
            "part",
            format!("{} reads one device at its port: it has no places for others", model.name),
        );
        return judged;
    }
    let mut taken: Vec<Part> = Vec::new();
    for (place, raw) in raw.iter().enumerate() {
        let Some(raw) = raw else { continue };
        let key = format!("part.{place}");
        let (claims, found) = judge_one(&mut scope.table("part", place), raw, (model, &mut taken));
        judged.claims.extend(claims.into_iter().map(|(of, claim)| (format!("{key}.{of}"), claim)));
        judged.devices.extend(found);
    }
    judged
}

/// What is on the other end of the port, and which of its places are taken.
type Rack<'a> = (Option<&'static SerialModel>, &'a mut Vec<Part>);

fn judge_one(scope: &mut Scope<'_>, raw: &raw::Part, (model, taken): Rack<'_>) -> (Claims, Option<Device>) {
    let mut claims = Claims::new();
    let part = at(scope, raw.at.as_deref(), (model, taken));
    let id = scope.id("id", raw.id.clone(), "its name in topics and commands");
    claims.extend(id.iter().map(|id| ("id".to_owned(), format!("id {id}"))));
    let asset = rule::asset(scope, raw.asset.clone());
    claims.extend(asset.iter().map(|asset| ("asset".to_owned(), format!("asset {asset}"))));
    let expects = rule::expects(scope, raw.expects.as_ref());
    let trust = rule::trust(scope, raw.trust.as_deref(), model.map(Proof::of_part), &expects);
    let elements = rule::elements(scope, raw.elements.as_ref(), model.map(|model| model.reads.to_vec()));
    let quiet = rule::quiet(scope, raw.quiet.as_deref(), model.map(|model| model.quiet));
    let end_of_support = rule::end_of_support(scope, raw.end_of_support.as_deref());
    let device = (|| {
        let (model, part) = (model?, part?);
        let card = DeviceCard {
            id: id?,
            model: model.name.to_owned(),
            pseudonym: String::new(),
            location: None,
            security: "serial",
        };
        // Behind which device is said when that has its place in the list.
        let rule = DeviceRule { card, expects, trust: trust?, elements: elements?, behind: None, quiet };
        let connection = Connection::Part { model, part };
        Some(Device { rule, asset: asset?, location: None, connection, end_of_support })
    })();
    (claims, device)
}

/// The place, which no other part of this device may have.
fn at(scope: &mut Scope<'_>, raw: Option<&str>, (model, taken): Rack<'_>) -> Option<Part> {
    let Some(model) = model else {
        return scope.required("at", raw, "the name of its place").and(None);
    };
    let Parts::Many { word, names } = model.parts else { return None };
    let given = scope.required("at", raw, &format!("the name of its {word}: see `wardline drivers`"))?;
    let Some(part) = model.parts.find(given) else {
        let near = suggest::nearest(given, names.iter().copied());
        scope.problem("at", format!("{given:?} is not a {word} of {}{near}", model.name));
        return None;
    };
    if taken.contains(&part) {
        scope.problem("at", format!("{word} {given} is listed twice"));
        return None;
    }
    taken.push(part);
    Some(part)
}
