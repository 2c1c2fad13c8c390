//! What BlueZ tells of its objects, read.
//!
//! In: interfaces and their properties, from a signal or a list (BlueZ, `org.bluez.Adapter`,
//! `org.bluez.Device`). Out: the few facts that the central needs. What has another type than BlueZ
//! documents counts as not told.

use std::collections::HashMap;

use dbus::arg::{PropMap, prop_cast};

use super::Address;
use crate::link::Characteristic;

/// The interfaces of an object.
pub(super) type Interfaces = HashMap<String, PropMap>;

const ADAPTER: &str = "org.bluez.Adapter1";
const DEVICE: &str = "org.bluez.Device1";
const SERVICE: &str = "org.bluez.GattService1";
const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";

/// Properties that change with an advertisement and with nothing else. Services come after a
/// connection too.
const HEARD_BY: [&str; 3] = ["RSSI", "ManufacturerData", "ServiceData"];

/// An object, or what is new of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// An adapter.
    Adapter {
        /// Its address, when it was told.
        address: Option<Address>,
        /// Whether it is switched on, when it was told.
        powered: Option<bool>,
    },
    /// A device.
    Device(Facts),
}

/// What was told of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The property, not what the path says: BlueZ keeps the path of a private address after pairing.
    pub(super) address: Option<Address>,
    /// Whether it is connected.
    pub(super) connected: Option<bool>,
    /// An advertisement of it was heard.
    pub(super) is_heard: bool,
}

impl Seen {
    /// What a new object is; `None` when it is neither.
    pub(super) fn of(interfaces: &Interfaces) -> Option<Self> {
        [ADAPTER, DEVICE].into_iter().find_map(|name| Self::of_interface(name, interfaces.get(name)?))
    }

    /// What properties of one interface say.
    pub(super) fn of_interface(interface: &str, properties: &PropMap) -> Option<Self> {
        let address = prop_cast::<String>(properties, "Address").and_then(|text| text.parse().ok());
        let flag = |name: &str| prop_cast::<bool>(properties, name).copied();
        match interface {
            ADAPTER => Some(Self::Adapter { address, powered: flag("Powered") }),
            DEVICE => {
                let is_heard = HEARD_BY.iter().any(|name| properties.contains_key(*name));
                Some(Self::Device(Facts { address, connected: flag("Connected"), is_heard }))
            }
            _ => None,
        }
    }
}

/// Those of the wanted characteristics that a device is known to indicate, with their paths, in their order.
pub(super) fn indicated(
    objects: &HashMap<dbus::Path<'static>, Interfaces>,
    device: &str,
    wanted: &[Characteristic],
) -> Vec<(Characteristic, String)> {
    let text = |path: &str, interface: &str, name: &str| -> Option<String> {
        let properties = objects.get(&dbus::Path::new(path).ok()?)?.get(interface)?;
        prop_cast::<String>(properties, name).cloned()
    };
    let mut found = Vec::new();
    for (path, interfaces) in objects {
        let below = path.strip_prefix(device).and_then(|rest| rest.strip_prefix('/'));
        let Some((service, _)) = below.and_then(|below| below.split_once('/')) else { continue };
        let Some(properties) = interfaces.get(CHARACTERISTIC) else { continue };
        let flags = prop_cast::<Vec<String>>(properties, "Flags");
        if !flags.is_some_and(|flags| flags.iter().any(|flag| flag == "indicate")) {
            continue;
        }
        let service = text(&format!("{device}/{service}"), SERVICE, "UUID");
        let uuid = prop_cast::<String>(properties, "UUID");
        let Some((service, uuid)) = service.as_deref().and_then(short).zip(uuid.and_then(|uuid| short(uuid)))
        else {
            continue;
        };
        let characteristic = Characteristic { service, uuid };
        if wanted.contains(&characteristic) {
            found.push((characteristic, path.to_string()));
        }
    }
    found.sort();
    found
}

/// The 16 bits of a UUID that the Bluetooth SIG has given (Core specification, Vol 3 Part B, 2.5.1).
fn short(uuid: &str) -> Option<u16> {
    let digits = uuid.strip_suffix("-0000-1000-8000-00805f9b34fb")?.strip_prefix("0000")?;
    (digits.len() == 4).then(|| u16::from_str_radix(digits, 16).ok())?
}

/// The address in BlueZ's path of a device, `/org/bluez/hci0/dev_F1_00_00_00_00_01`.
pub(super) fn address_in(path: &str) -> Option<Address> {
    path.rsplit_once("/dev_")?.1.replace('_', ":").parse().ok()
}

#[cfg(test)]
mod tests {
    use dbus::arg::{RefArg, Variant};

    use super::*;

    fn properties(entries: Vec<(&str, Box<dyn RefArg>)>) -> PropMap {
        entries.into_iter().map(|(name, value)| (name.to_owned(), Variant(value))).collect()
    }

    fn device(entries: Vec<(&str, Box<dyn RefArg>)>) -> Facts {
        match Seen::of_interface(DEVICE, &properties(entries)) {
            Some(Seen::Device(facts)) => facts,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_device_is_heard_by_what_only_an_advertisement_changes() {
        for name in HEARD_BY {
            assert!(device(vec![(name, Box::new(-50i16))]).is_heard, "{name}");
        }
        for name in ["ServicesResolved", "UUIDs", "Connected", "Paired", "Name"] {
            assert!(!device(vec![(name, Box::new(true))]).is_heard, "{name}");
        }
    }

    #[test]
    fn what_has_another_type_or_is_no_address_counts_as_not_told() {
        let facts = device(vec![("Connected", Box::new(1u32)), ("Address", Box::new("hello".to_owned()))]);
        assert_eq!(facts, Facts::default());
        let facts = device(vec![
            ("Connected", Box::new(true)),
            ("Address", Box::new("F1:00:00:00:00:01".to_owned())),
        ]);
        assert_eq!((facts.connected, facts.address), (Some(true), "F1:00:00:00:00:01".parse().ok()));
    }

    #[test]
    fn other_objects_are_passed_over() {
        let characteristic =
            Interfaces::from([("org.bluez.GattCharacteristic1".to_owned(), properties(vec![]))]);
        assert_eq!(Seen::of(&characteristic), None);
    }

    #[test]
    fn what_a_device_indicates_is_found_among_the_objects_of_all() {
        let uuid =
            |short: &str| -> Box<dyn RefArg> { Box::new(format!("0000{short}-0000-1000-8000-00805f9b34fb")) };
        let flags = |flag: &str| -> Box<dyn RefArg> { Box::new(vec![flag.to_owned()]) };
        let object = |path: &str, interface: &str, entries| {
            let path = dbus::Path::from(format!("/org/bluez/hci0/{path}"));
            (path, Interfaces::from([(interface.to_owned(), properties(entries))]))
        };
        let characteristic = |path: &str, short: &str, flag: &str| {
            object(path, CHARACTERISTIC, vec![("UUID", uuid(short)), ("Flags", flags(flag))])
        };
        let objects = HashMap::from([
            object("dev_A", DEVICE, vec![]),
            object("dev_A/service0001", SERVICE, vec![("UUID", uuid("1809"))]),
            characteristic("dev_A/service0001/char0002", "2a1c", "indicate"),
            characteristic("dev_A/service0001/char0004", "2a1e", "notify"),
            characteristic("dev_A/service0001/char0006", "2a21", "indicate"),
            characteristic("dev_A/service0009/char000a", "2a1c", "indicate"),
            object("dev_AB/service0001", SERVICE, vec![("UUID", uuid("1809"))]),
            characteristic("dev_AB/service0001/char0002", "2a1c", "indicate"),
        ]);
        let wanted = [0x2A1C, 0x2A1E].map(|uuid| Characteristic { service: 0x1809, uuid });
        let found = indicated(&objects, "/org/bluez/hci0/dev_A", &wanted);
        assert_eq!(found, [(wanted[0], "/org/bluez/hci0/dev_A/service0001/char0002".to_owned())]);
    }

    #[test]
    fn the_address_of_a_stranger_is_read_from_its_path() {
        let read = |path| address_in(path).map(|address| address.to_string());
        assert_eq!(read("/org/bluez/hci0/dev_F1_00_00_00_00_01").as_deref(), Some("F1:00:00:00:00:01"));
        for path in
            ["/org/bluez/hci0", "/org/bluez/hci0/dev_", "/org/bluez/hci0/dev_F1_00_00_00_00_01/service0001"]
        {
            assert_eq!(read(path), None, "{path}");
        }
    }
}
