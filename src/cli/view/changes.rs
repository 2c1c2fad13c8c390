//! What a person would want to have been told between two looks.

use super::{Mark, Said, View};

/// Each with how it stands since.
pub(super) fn changes(before: &View, after: &View) -> Vec<(Mark, String)> {
    let mut found = Vec::new();
    let mut compare = |what: &str, before: Option<&Said>, after: Option<&Said>| {
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            found.push((after.mark, format!("{what}: {}", after.words)));
        }
    };
    compare("daemon", Some(&before.daemon), Some(&after.daemon));
    // Of a daemon that was or is away nothing is known, so nothing has changed.
    if before.daemon.mark != Mark::Good || after.daemon.mark != Mark::Good {
        return found;
    }
    compare("uplink", Some(&before.uplink), Some(&after.uplink));
    compare("clock", Some(&before.clock), Some(&after.clock));
    compare("certificate", before.certificate.as_ref(), after.certificate.as_ref());
    compare("fleet", before.fleet.as_ref(), after.fleet.as_ref());
    // The store's size changes all the time.
    if before.store.mark != after.store.mark {
        compare("store", Some(&before.store), Some(&after.store));
    }
    for (before, after) in before.radios.iter().zip(&after.radios) {
        compare("radio", Some(before), Some(after));
    }
    for device in &after.devices {
        match before.devices.iter().find(|known| known.id == device.id) {
            Some(known) => {
                compare(&device.id, Some(&known.link), Some(&device.link));
                compare(&device.id, Some(&known.security), Some(&device.security));
            }
            None => {
                compare(&device.id, Some(&Said::default()), Some(&Said::new(Mark::Look, "is listed now")));
            }
        }
    }
    for device in &before.devices {
        if after.devices.iter().all(|known| known.id != device.id) {
            compare(&device.id, Some(&device.link), Some(&Said::new(Mark::Look, "is no longer listed")));
        }
    }
    for warning in after.warnings.iter().filter(|warning| !before.warnings.contains(warning)) {
        compare("warning", Some(&Said::default()), Some(warning));
    }
    found
}
