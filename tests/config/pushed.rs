//! What the fleet pushed, as a layer of the configuration.

use serde_json::{Map, Value, json};
use wardline::config::{Pushed, load_with};

use super::*;

fn table(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn pump() -> Value {
    json!({
        "id": "pump-9", "asset": "A9", "driver": "alaris-asena", "elements": "all",
        "port": "/dev/serial/by-path/platform-nine", "expects": { "serial": "9" },
    })
}

fn bundle(settings: &Value, devices: &[Value]) -> Pushed {
    Pushed {
        name: "bundle 7".to_owned(),
        group: None,
        settings: table(settings),
        devices: devices.iter().map(table).collect(),
        line_drivers: Vec::new(),
        revocations: Vec::new(),
    }
}

fn push(folder: &Folder, variables: &[(&str, &str)], pushed: &Pushed) -> Result<Loaded, Problems> {
    load_with(folder.path(), &environment(variables), &FIXTURE, Some(pushed))
}

#[test]
fn settings_lie_between_the_file_and_the_environment_and_devices_in_place_of_the_files() {
    let gateway = format!("{GATEWAY}\n[daemon]\nlog = \"warn\"\nshutdown_grace = \"10s\"");
    let folder = Folder::new(&gateway, &[("one.toml", BELT_DEVICE)]);
    let settings =
        json!({ "daemon": { "log": "info", "shutdown_grace": "30s" }, "store": { "linger": "100ms" } });
    let variables = [("WARDLINE_DAEMON__SHUTDOWN_GRACE", "40s")];
    let loaded = push(&folder, &variables, &bundle(&settings, &[pump()])).unwrap();
    let config = &loaded.config;
    assert_eq!((config.log, config.shutdown_grace), (LogLevel::Info, Duration::from_secs(40)));
    assert_eq!(config.store.linger, Duration::from_millis(100));
    let ids: Vec<&str> = config.devices.iter().map(|device| device.rule.card.id.as_str()).collect();
    assert_eq!(ids, ["pump-9"], "the file is not read");
    assert!(
        loaded.notes.iter().any(|note| note.contains("its 1 files are not read: bundle 7")),
        "{:?}",
        loaded.notes
    );
    let source = |key: &str| {
        loaded.settings.iter().find(|setting| setting.key == key).map(|found| found.source.as_str())
    };
    assert_eq!(
        (source("daemon.log"), source("bundle 7: device[0].asset")),
        (Some("bundle 7"), Some("bundle 7"))
    );
    // Without it, all is as the files say.
    let alone = folder.load().unwrap().config;
    assert_eq!((alone.log, alone.devices.len()), (LogLevel::Warn, 1));
}

#[test]
fn a_bundle_may_leave_a_gateway_without_a_device() {
    let folder = Folder::new(GATEWAY, &[("one.toml", BELT_DEVICE)]);
    assert_eq!(push(&folder, &[], &bundle(&json!({}), &[])).unwrap().config.devices.len(), 0);
}

#[test]
fn what_is_wrong_with_a_bundle_is_named_by_its_name_and_key_all_at_once() {
    let folder = Folder::new(GATEWAY, &[]);
    let mut twice = pump();
    twice["porrt"] = json!("/dev/ttyUSB0");
    let settings = json!({ "keys": { "kek": "file" }, "store": { "cap": "512MiB", "linger": "1h" }, "daemon": { "log": 3 } });
    let problems = push(&folder, &[], &bundle(&settings, &[pump(), twice])).unwrap_err().to_string();
    for words in [
        "bundle 7: keys.kek: names a key of this gateway",
        "bundle 7: store.cap: 512 MiB is less than 1 GiB, the least that floor.toml allows",
        "bundle 7: store.linger: \"1h\" is not from 0ms to 10s",
        "bundle 7: daemon.log: is 3, but must be text in double quotes",
        "bundle 7: device[1].porrt: is not a key that is known here",
        "bundle 7: device[1].id: id pump-9 is taken by bundle 7: device[0]",
    ] {
        assert!(problems.contains(words), "{words}\n{problems}");
    }
}

#[test]
fn the_floor_is_this_gateways_own() {
    let folder = Folder::new(GATEWAY, &[]);
    let host = bundle(&json!({ "uplink": { "host": "mqtt.st-anna.example" } }), &[pump()]);
    assert!(only(push(&folder, &[], &host)).contains("names no host_suffix"));
    folder.put(
        "floor.toml",
        "host_suffix = \".st-anna.example\"\nlog = \"debug\"\ncap = \"2GiB\"\nremoved = 10",
    );
    let config = push(&folder, &[], &host).unwrap().config;
    assert_eq!((config.uplink.host.as_str(), config.floor.removed), ("mqtt.st-anna.example", 10));
    let debug = bundle(&json!({ "daemon": { "log": "debug" } }), &[pump()]);
    assert_eq!(push(&folder, &[], &debug).unwrap().config.log, LogLevel::Debug);
    let cap = bundle(&json!({ "store": { "cap": "1GiB" } }), &[pump()]);
    assert!(only(push(&folder, &[], &cap)).contains("less than 2 GiB"));
    for (floor, words) in [
        ("cap = \"much\"", "floor.toml: cap: \"much\" is not a size"),
        ("lg = \"info\"", "floor.toml: lg: is not a key that is known here"),
        ("link_only = \"yes\"", "floor.toml: link_only: is the text \"yes\", but must be true or false"),
        ("removed = 101", "floor.toml: removed: 101 is not from 0 to 100"),
        ("[", "floor.toml: is not TOML"),
    ] {
        folder.put("floor.toml", floor);
        let problems = push(&folder, &[], &host).unwrap_err().to_string();
        assert!(problems.contains(words), "{problems}");
        assert!(problems.contains("host_suffix"), "what cannot be read allows nothing: {problems}");
    }
    folder.put("floor.toml", "log = \"info\"");
    folder.mode("floor.toml", 0o666);
    assert!(folder.load().unwrap_err().to_string().contains("floor.toml: anybody may change it"));
}

#[test]
fn revocation_lists_lie_beside_those_of_the_file_and_the_rule_only_becomes_stricter() {
    use wardline::uplink::tls::{Lists, Rule};

    let gateway = GATEWAY.replacen("[uplink]", "[uplink]\nrevocation_lists = \"pki/crl\"", 1);
    let folder = Folder::new(&gateway, &[("one.toml", BELT_DEVICE)]);
    let of = |pushed: &Pushed| push(&folder, &[], pushed).map(|loaded| loaded.config.uplink.revocation);
    let plain = bundle(&json!({}), &[pump()]);
    let place = Some(folder.path().join("pki/crl"));
    let wanted = Lists { place: place.clone(), pushed: Vec::new(), rule: Rule::EnforceContent };
    assert_eq!(of(&plain).unwrap(), wanted);
    let strict = bundle(&json!({ "uplink": { "revocation": "enforce" } }), &[pump()]);
    let pushed = vec![vec![0x30, 0]];
    let strict = Pushed { revocations: pushed.clone(), ..strict };
    assert_eq!(of(&strict).unwrap(), Lists { place, pushed, rule: Rule::Enforce });
    for (key, value, words) in [
        ("revocation", "enforce-content", "only made stricter from afar"),
        ("revocation_lists", "/tmp", "only its own administrator"),
    ] {
        let weaker = bundle(&json!({ "uplink": { key: value } }), &[pump()]);
        let problems = of(&weaker).unwrap_err().to_string();
        assert!(problems.contains(words), "{problems}");
    }
    let unknown = gateway.replacen("[uplink]", "[uplink]\nrevocation = \"off\"", 1);
    let problems = Folder::new(&unknown, &[("one.toml", BELT_DEVICE)]).load().unwrap_err().to_string();
    assert!(problems.contains("uplink.revocation") && problems.contains("\"off\""), "{problems}");
}

/// A ward's readings go to the ward whose bundle runs, not to the one that the gateway was set up in.
#[test]
fn the_group_of_the_topics_is_that_of_the_bundle_and_without_one_that_of_the_file() {
    let folder = Folder::new(GATEWAY, &[]);
    let own = push(&folder, &[], &bundle(&json!({}), &[pump()])).unwrap().config.uplink.group;
    let moved = Pushed { group: Some("icu-9".to_owned()), ..bundle(&json!({}), &[pump()]) };
    let loaded = push(&folder, &[], &moved).unwrap();
    assert_eq!((loaded.config.uplink.group.as_str(), own == "icu-9"), ("icu-9", false));
    let shown = loaded.settings.iter().find(|setting| setting.key == "gateway.group").unwrap();
    assert_eq!((shown.value.as_str(), shown.source.as_str()), ("\"icu-9\"", "bundle 7"));
}
