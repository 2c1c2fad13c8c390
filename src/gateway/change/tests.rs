//! A plan carried out on the old list gives the new one, and an empty plan means that nothing differs.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::backoff::Bounds;
use crate::config::{Connection, Floor, Keys, LogLevel};
use crate::device::catalogue::serial_models;
use crate::device::settings::Settings;
use crate::device::{DeviceIndex, Identity, Part};
use crate::envelope::keys::KeyPlace;
use crate::policy::{DeviceCard, Trust};
use crate::uplink::{Payload, Subscriber};
use crate::{store, uplink};

/// A device on a port, or a place behind the device at `behind`.
pub(in crate::gateway) fn device(id: &str, asset: &str, behind: Option<(u16, u8)>) -> Device {
    let model = serial_models().first().copied().unwrap();
    let card = DeviceCard {
        id: id.to_owned(),
        model: model.name.to_owned(),
        pseudonym: String::new(),
        location: None,
        security: "serial",
    };
    let rule = DeviceRule {
        card,
        expects: Identity::default(),
        trust: Trust::LinkOnly,
        elements: Vec::new(),
        behind: behind.map(|(place, _)| DeviceIndex(place)),
        quiet: None,
    };
    let connection = match behind {
        Some((_, part)) => Connection::Part { model, part: Part(part) },
        None => Connection::Serial {
            port: format!("/dev/{id}").into(),
            line: model.line,
            model,
            settings: Settings::default(),
        },
    };
    Device { rule, asset: asset.to_owned(), location: None, connection, end_of_support: None }
}

/// A gateway with these devices.
pub(in crate::gateway) fn config(devices: Vec<Device>) -> Config {
    let backoff = Bounds {
        first: Duration::from_secs(1),
        most: Duration::from_secs(60),
        healthy_after: Duration::ZERO,
    };
    let file = |name: &str| KeyPlace::File(name.into());
    Config {
        store: store::Config {
            folder: "/store".into(),
            anchor: None,
            cap: 1 << 30,
            alarm_reserve: 1 << 24,
            linger: Duration::from_millis(250),
        },
        uplink: uplink::Config {
            host: "broker".to_owned(),
            port: 8883,
            organisation: "north".to_owned(),
            group: "icu".to_owned(),
            gateway: "gw".to_owned(),
            authorities: "/ca".into(),
            certificate: "/cert".into(),
            key: file("/key"),
            revocation: uplink::tls::Lists::default(),
            payload: Payload::Fhir,
            subscriber: Subscriber::Required,
            window: 50,
            keep_alive: Duration::from_secs(30),
            stalled_after: Duration::from_secs(30),
            heartbeat: Duration::from_secs(60),
            backoff,
        },
        keys: Keys { kek: file("/kek"), kek_previous: None, ward: file("/ward") },
        socket: "/status".into(),
        socket_group: None,
        log: LogLevel::Info,
        shutdown_grace: Duration::from_secs(20),
        import: None,
        trial: Duration::from_secs(300),
        fleet: None,
        inventory: crate::config::InventoryLevel::default(),
        floor: Floor::default(),
        devices,
    }
}

#[test]
fn another_end_of_support_is_looked_up_and_ends_no_session() {
    let old = config(vec![device("pump", "1", None)]);
    let mut new = old.clone();
    new.devices[0].end_of_support = Day::read("2027-01-31");
    let plan = Plan::between(&old, &new);
    assert_eq!(plan, Plan { others: true, ..Plan::default() });
}

type Mend = fn(&mut Config);

/// Puts groups one after the other, each part behind its own device.
fn list(groups: &[(Device, Vec<Device>)]) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    for (host, parts) in groups {
        let place = DeviceIndex(u16::try_from(devices.len()).unwrap());
        devices.push(host.clone());
        devices.extend(parts.iter().map(|part| {
            let mut part = part.clone();
            part.rule.behind = Some(place);
            part
        }));
    }
    devices
}

fn owned(config: &Config) -> Vec<(Device, Vec<Device>)> {
    groups(config)
        .into_iter()
        .map(|group| (group.host.clone(), group.parts.into_iter().cloned().collect()))
        .collect()
}

/// What the daemon does with a plan, on paper.
fn carried_out(plan: &Plan, old: &Config, new: &Config) -> Config {
    let stops: Vec<&str> = plan.stops().collect();
    let starts = plan.starts();
    let id = |group: &(Device, Vec<Device>)| group.0.rule.card.id.clone();
    let stay = owned(old).into_iter().filter(|group| !stops.contains(&id(group).as_str()));
    let begin = owned(new).into_iter().filter(|group| starts.contains(id(group).as_str()));
    let devices = list(&stay.chain(begin).collect::<Vec<_>>());
    let uplink = if plan.uplink { new.uplink.clone() } else { old.uplink.clone() };
    let of = if plan.others { new } else { old };
    Config { devices, uplink, shutdown_grace: of.shutdown_grace, floor: of.floor.clone(), ..old.clone() }
}

/// The same without the order of devices and parts.
fn in_order(config: &Config) -> Config {
    let mut groups = owned(config);
    for (_, parts) in &mut groups {
        parts.sort_by_key(|part| part.rule.card.id.clone());
    }
    groups.sort_by_key(|(host, _)| host.rule.card.id.clone());
    Config { devices: list(&groups), ..config.clone() }
}

/// Some of six devices, each in one of some forms, with some of three places, in any order.
fn some_config() -> impl Strategy<Value = Config> {
    let form = (0u8..3, prop::option::of(30u64..32), prop::collection::vec(0u8..3, 0..3));
    let groups = prop::collection::btree_map(0u8..6, form, 0..6);
    let order = prop::sample::select(vec![false, true]);
    (groups, order, prop::sample::select(vec![8883u16, 8884]), 20u64..22).prop_map(
        |(groups, is_reversed, port, grace)| {
            let mut all: Vec<(Device, Vec<Device>)> = groups
                .into_iter()
                .map(|(number, (asset, quiet, places))| {
                    let mut host = device(&format!("dev-{number}"), &format!("asset-{asset}"), None);
                    host.rule.quiet = quiet.map(Duration::from_secs);
                    let mut places = places;
                    places.sort_unstable();
                    places.dedup();
                    let part = |place: &u8| {
                        let id = format!("dev-{number}-{place}");
                        device(&id, &format!("asset-{asset}-{place}"), Some((0, *place)))
                    };
                    (host, places.iter().map(part).collect())
                })
                .collect();
            if is_reversed {
                all.reverse();
            }
            let mut config = config(list(&all));
            config.uplink.port = port;
            config.shutdown_grace = Duration::from_secs(grace);
            config
        },
    )
}

proptest! {
    #[test]
    fn a_plan_leads_from_the_old_to_the_new_and_is_empty_only_for_the_same(
        old in some_config(), new in some_config()
    ) {
        let plan = Plan::between(&old, &new);
        prop_assert_eq!(in_order(&carried_out(&plan, &old, &new)), in_order(&new));
        prop_assert_eq!(plan.is_empty(), in_order(&old) == in_order(&new));
        prop_assert!(Plan::between(&new, &new).is_empty());
        prop_assert_eq!(plan.restart, Vec::<&str>::new());
    }
}

#[test]
fn what_only_a_start_can_change_is_named_key_by_key() {
    let base = config(vec![device("pump", "1", None)]);
    let changes: [(&str, Mend); 9] = [
        ("gateway.id", |config| config.uplink.gateway = "other".to_owned()),
        ("store.folder", |config| config.store.folder = "/other".into()),
        ("store.folder", |config| config.store.anchor = Some("/other".into())),
        ("keys.kek", |config| config.keys.kek = KeyPlace::File("/other".into())),
        ("keys.kek_previous", |config| config.keys.kek_previous = Some(KeyPlace::File("/o".into()))),
        ("keys.ward", |config| config.keys.ward = KeyPlace::File("/other".into())),
        ("status.socket", |config| config.socket = "/other".into()),
        ("status.group", |config| config.socket_group = Some("adm".to_owned())),
        ("fleet.folder", |config| config.fleet = Some("/fleet".into())),
    ];
    for (key, change) in changes {
        let mut other = base.clone();
        change(&mut other);
        assert_eq!(Plan::between(&base, &other).restart, [key]);
    }
}

#[test]
fn a_place_of_a_rack_that_changes_takes_its_rack_with_it_and_nobody_else() {
    let rack = |asset: &str| {
        vec![
            device("a", "1", None),
            device("rack", "2", None),
            device("r-1", asset, Some((1, 1))),
            device("z", "3", None),
        ]
    };
    let plan = Plan::between(&config(rack("4")), &config(rack("5")));
    assert_eq!(plan, Plan { changed: vec!["rack".to_owned()], ..Plan::default() });
}

/// Nobody is there to start the daemon: such a bundle would be refused on every gateway, for ever.
#[test]
fn no_key_that_only_a_start_can_change_is_set_from_afar() {
    for (key, _) in AT_START {
        assert_eq!(crate::config::is_set_from_afar(key), Some(false), "{key}");
    }
}

#[test]
fn the_bounds_of_the_store_and_the_log_are_taken_without_a_start_or_a_session() {
    let base = config(vec![device("pump", "1", None)]);
    let changes: [Mend; 4] = [
        |config| config.store.cap += 1,
        |config| config.store.alarm_reserve += 1,
        |config| config.store.linger = Duration::ZERO,
        |config| config.log = LogLevel::Debug,
    ];
    for change in changes {
        let mut other = base.clone();
        change(&mut other);
        assert_eq!(Plan::between(&base, &other), Plan { others: true, ..Plan::default() });
    }
}

#[test]
fn who_comes_to_a_port_under_another_name_waits_for_who_is_there() {
    let at = |id: &str, name: &str| {
        let mut device = device(id, id, None);
        if let Connection::Serial { port, .. } = &mut device.connection {
            *port = Path::new("/dev/serial").join(name);
        }
        device
    };
    // All names lead to one port.
    let real = |_: &Path| PathBuf::from("/dev/ttyUSB0");
    let (old, new) = (config(vec![at("left", "by-path")]), config(vec![at("come", "by-id")]));
    let swaps = swaps(&Plan::between(&old, &new), (&old, &new), real);
    let comes = swaps.iter().find(|swap| swap.starts == ["come"]).unwrap();
    assert_eq!(comes.waits_for, BTreeSet::from(["left".to_owned()]));
}
