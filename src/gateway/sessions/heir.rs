//! Which entry goes on with what was told under another.

use crate::config::{Connection, Device};

/// What was told of a device, of that which was told under the entry before.
pub(super) fn of<T: Default>(device: &Device, before: Option<(Device, T)>) -> T {
    before.filter(|(before, _)| is_heir(device, before)).map(|(_, told)| told).unwrap_or_default()
}

/// Whether what was told of the one device need not be told of the other: it is the same asset at the same port, and
/// everything that may leave now might leave before. Otherwise it is told twice rather than not at all.
fn is_heir(device: &Device, before: &Device) -> bool {
    let (rule, known) = (&device.rule, &before.rule);
    let is_same_place = match (&device.connection, &before.connection) {
        (Connection::Serial { port, model, .. }, Connection::Serial { port: other, model: known, .. }) => {
            port == other && model.name == known.name
        }
        // What is told over the air is remembered in a file, and of parts nothing comes again.
        (Connection::Serial { .. } | Connection::Part { .. } | Connection::Ble { .. }, _) => false,
    };
    let is_same_asset = rule.card.id == known.card.id
        && rule.card.pseudonym == known.card.pseudonym
        && rule.card.location == known.card.location
        && rule.expects == known.expects;
    let might_leave = |code: u32| known.elements.iter().any(|element| element.code == code);
    is_same_place && is_same_asset && rule.elements.iter().all(|element| might_leave(element.code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::nomenclature::{PULSE_OXIM_RATE, SPO2};
    use crate::gateway::change::tests::device;

    #[test]
    fn only_the_same_asset_at_the_same_port_goes_on_and_only_with_what_might_leave_before() {
        let mut before = device("a", "1", None);
        before.rule.card.pseudonym = "p".to_owned();
        before.rule.elements = vec![&SPO2, &PULSE_OXIM_RATE];
        let with = |change: &dyn Fn(&mut Device)| {
            let mut after = before.clone();
            change(&mut after);
            is_heir(&after, &before)
        };
        assert!(with(&|_| {}));
        assert!(with(&|after| after.rule.quiet = Some(std::time::Duration::from_secs(7))));
        assert!(with(&|after| after.rule.elements.truncate(1)));
        assert!(!with(&|after| after.rule.card.pseudonym = "q".to_owned()));
        assert!(!with(&|after| after.rule.expects.serial = Some("2".to_owned())));
        assert!(!with(&|after| {
            if let Connection::Serial { port, .. } = &mut after.connection {
                *port = "/dev/other".into();
            }
        }));
        let mut fewer = before.clone();
        fewer.rule.elements.truncate(1);
        assert!(!is_heir(&before, &fewer), "what might not leave before was not told");
        assert_eq!(of(&fewer, Some((before.clone(), vec![7]))), [7]);
        assert_eq!(of(&before, Some((fewer, vec![7]))), [0_u8; 0]);
        assert!(of::<Vec<u8>>(&before, None).is_empty());
    }
}
