//! What is said of the bond with a BLE device, judged.

use super::raw;
use super::scope::Scope;
use crate::link::Characteristic;
use crate::link::ble::pairing::{BondClass, BondRule, Method};

/// Something is wrong, and has been reported.
pub(super) struct Reported;

/// What the bond must be; `None` for a device that is read without one. `security` is the device's, `None` when it is a mistake itself.
pub(super) fn judge(
    scope: &mut Scope<'_>,
    raw: &raw::Device,
    security: Option<&str>,
) -> Result<Option<BondRule>, Reported> {
    if security == Some("open") {
        let given = [
            ("pairing", raw.pairing.is_some()),
            ("minimum_class", raw.minimum_class.is_some()),
            ("protected", raw.protected.is_some()),
        ];
        let given: Vec<&str> = given.into_iter().filter_map(|(key, given)| given.then_some(key)).collect();
        for key in &given {
            scope.problem(key, "is for devices with a bond: this one has security = \"open\"");
        }
        return if given.is_empty() { Ok(None) } else { Err(Reported) };
    }
    let method = match raw.pairing.as_deref() {
        None => Some(Method::Passkey),
        given => scope.word("pairing", given, &Method::WORDS),
    };
    let minimum = match raw.minimum_class.as_deref() {
        None => method.map(Method::best),
        given => scope.word("minimum_class", given, &BondClass::WORDS),
    };
    let protected = raw.protected.as_deref().map(|text| characteristic(scope, text));
    if let (Some(method), Some(minimum)) = (method, minimum)
        && minimum < method.best()
    {
        let (method, best) = (method.as_str(), method.best());
        let reason =
            format!("pairing = {method:?} never gives better than class {best}: this can never be met");
        scope.problem("minimum_class", reason);
        return Err(Reported);
    }
    match (method, minimum, protected) {
        (Some(method), Some(minimum), None) => Ok(Some(BondRule { method, minimum, protected: None })),
        (Some(method), Some(minimum), Some(protected @ Some(_))) => {
            Ok(Some(BondRule { method, minimum, protected }))
        }
        (None, _, _) | (_, None, _) | (_, _, Some(None)) => Err(Reported),
    }
}

/// A characteristic by its service's and its own 16-bit UUID, `180A/2A25`.
fn characteristic(scope: &mut Scope<'_>, text: &str) -> Option<Characteristic> {
    let short = |part: &str| {
        let fits = part.len() == 4 && part.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then(|| u16::from_str_radix(part, 16).ok()).flatten()
    };
    let parts = text.split_once('/').map(|(service, uuid)| (short(service), short(uuid)));
    let Some((Some(service), Some(uuid))) = parts else {
        let reason = format!(
            "{text:?} is not a characteristic: write the UUIDs of its service and its own, for instance \"180A/2A25\""
        );
        scope.problem("protected", reason);
        return None;
    };
    Some(Characteristic { service, uuid })
}
