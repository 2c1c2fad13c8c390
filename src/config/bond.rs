//! What is said of the bond with a BLE device, judged.

use super::raw;
use super::scope::Scope;
use crate::link::Characteristic;
use crate::link::ble::pairing::{BondRule, Class, Method};

/// What the bond must be; `Some(None)` for a device that is read without one; `None` after a mistake, which
/// has been reported. `security` is the device's, `None` when it is a mistake itself.
pub(super) fn judge(
    scope: &mut Scope<'_>,
    raw: &raw::Device,
    security: Option<&str>,
) -> Option<Option<BondRule>> {
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
        return given.is_empty().then_some(None);
    }
    let method = match raw.pairing.as_deref() {
        None => Some(Method::Passkey),
        given => scope.word("pairing", given, &Method::WORDS),
    };
    let minimum = match raw.minimum_class.as_deref() {
        None => method.map(Method::best),
        given => scope.word("minimum_class", given, &Class::WORDS),
    };
    let protected = match raw.protected.as_deref() {
        None => Some(None),
        Some(text) => characteristic(scope, text).map(Some),
    };
    if let (Some(method), Some(minimum)) = (method, minimum)
        && minimum < method.best()
    {
        let (method, best) = (method.as_str(), method.best());
        let reason =
            format!("pairing = {method:?} never gives better than class {best}: this can never be met");
        scope.problem("minimum_class", reason);
        return None;
    }
    Some(Some(BondRule { method: method?, minimum: minimum?, protected: protected? }))
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
