//! What BlueZ tells of its objects, read.
//!
//! In: interfaces and their properties, from a signal or a list (BlueZ, `org.bluez.Adapter`,
//! `org.bluez.Device`). Out: the few facts that the central needs. What has another type than BlueZ
//! documents counts as not told.

use std::collections::HashMap;

use dbus::arg::{PropMap, prop_cast};

use super::Address;

/// The interfaces of an object.
pub(super) type Interfaces = HashMap<String, PropMap>;

const ADAPTER: &str = "org.bluez.Adapter1";
const DEVICE: &str = "org.bluez.Device1";

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
