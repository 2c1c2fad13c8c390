//! The configuration from outside: folders in, a valid whole or every problem out.

#![expect(
    clippy::expect_used,
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "every function of this file is a test or the helper of one"
)]

#[path = "config/pushed.rs"]
mod pushed;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use wardline::config::{Catalogue, Connection, Environment, Loaded, LogLevel, Problems, load, set_from_text};
use wardline::device::Driver;
use wardline::device::catalogue::{BleProfile, Class, Decoder, IdentityProof, Parts, SerialModel};
use wardline::device::nomenclature::{
    DRUG_NAME, EVT_ALARM, EVT_OCCL, FLOW_FLUID_PUMP, HEART_RATE, PERFUSION, PRESS_FLUID_ACT, PULSE_OXIM_RATE,
    PUMP_MODE, SPO2, TIME_PD_REMAIN, VOL_FLUID_DELIV, VOL_FLUID_TBI,
};
use wardline::device::settings::{Setting, Settings, Values};
use wardline::device::{DeviceIndex, Part};
use wardline::envelope::keys::KeyPlace;
use wardline::envelope::keys::KeySource as _;
use wardline::link::ble::pairing::{BondClass, BondRule, Method};
use wardline::link::{AllowSet, Characteristic, Line, Parity};
use wardline::policy::Trust;

fn no_driver(_: &Settings) -> Box<dyn Driver> {
    unreachable!("a configuration never makes a driver")
}

fn no_decoder() -> Box<dyn Decoder> {
    unreachable!("a configuration never decodes")
}

const LINE: Line = Line { baud: 9_600, data_bits: 8, parity: Parity::None, stop_bits: 1 };

static PUMP: SerialModel = SerialModel {
    name: "alaris-asena",
    title: "fixture pump",
    class: Class::Therapy,
    line: LINE,
    requests: AllowSet::NONE,
    reads: &[
        &FLOW_FLUID_PUMP,
        &VOL_FLUID_DELIV,
        &VOL_FLUID_TBI,
        &PRESS_FLUID_ACT,
        &TIME_PD_REMAIN,
        &PUMP_MODE,
        &DRUG_NAME,
        &EVT_ALARM,
        &EVT_OCCL,
    ],
    identity: IdentityProof::Reported,
    parts: Parts::One,
    settings: &[],
    quiet: Duration::from_secs(15),
    driver: &no_driver,
};

static OXIMETER: SerialModel = SerialModel {
    name: "masimo-ascii1",
    title: "fixture oximeter",
    class: Class::Monitor,
    line: LINE,
    requests: AllowSet::NONE,
    reads: &[&SPO2, &PULSE_OXIM_RATE, &PERFUSION, &EVT_ALARM],
    identity: IdentityProof::Reported,
    parts: Parts::One,
    settings: &[],
    quiet: Duration::from_secs(15),
    driver: &no_driver,
};

static MUTE: SerialModel = SerialModel {
    name: "mute-monitor",
    title: "fixture without an identity",
    class: Class::Monitor,
    line: LINE,
    requests: AllowSet::NONE,
    reads: &[&SPO2],
    identity: IdentityProof::PortOnly,
    parts: Parts::One,
    settings: &[],
    quiet: Duration::from_secs(15),
    driver: &no_driver,
};

static RACK: SerialModel = SerialModel {
    name: "pump-rack",
    title: "fixture rack of pumps",
    class: Class::Therapy,
    line: LINE,
    requests: AllowSet::NONE,
    reads: &[&FLOW_FLUID_PUMP, &PRESS_FLUID_ACT, &EVT_OCCL],
    identity: IdentityProof::Reported,
    parts: Parts::Many { word: "slot", names: &["upper", "middle", "lower"] },
    settings: &[
        Setting {
            name: "poll",
            meaning: "seconds from one question to the next",
            values: Values::Number { least: 5, most: 60, default: 10 },
        },
        Setting { name: "checksum", meaning: "see the manual", values: Values::Word(&["exclusive", "sum"]) },
    ],
    quiet: Duration::from_secs(30),
    driver: &no_driver,
};

static BELT: BleProfile = BleProfile {
    name: "heart-rate",
    title: "Heart Rate",
    service: 0x180D,
    class: Class::Monitor,
    asks: &[],
    subscribes: &[],
    episodic: &[],
    stored: None,
    reads: &[&HEART_RATE],
    decoder: no_decoder,
};

/// Of a service whose devices ask for the consent of a user.
static SCALE: BleProfile = BleProfile { name: "weight-scale", service: 0x181D, ..BELT };

/// A clock that can be set, and a device whose clock must not be.
static CLOCK: BleProfile = BleProfile { name: "current-time", service: 0x1805, ..BELT };
static SENSOR: BleProfile = BleProfile { name: "continuous-glucose", service: 0x181F, ..BELT };

static CLIP: BleProfile = BleProfile {
    name: "pulse-oximeter",
    title: "Pulse Oximeter",
    service: 0x1822,
    class: Class::Monitor,
    asks: &[],
    subscribes: &[],
    episodic: &[],
    stored: None,
    reads: &[&SPO2, &PULSE_OXIM_RATE],
    decoder: no_decoder,
};

const FIXTURE: Catalogue =
    Catalogue { serial: &[&PUMP, &OXIMETER, &MUTE, &RACK], ble: &[&BELT, &CLIP, &SCALE, &CLOCK, &SENSOR] };

/// The least that a gateway needs.
const GATEWAY: &str = r#"
[gateway]
organisation = "org"
group = "ward"
id = "gw-1"
[uplink]
host = "broker.example.org"
authorities = "ca.pem"
certificate = "/etc/own.pem"
"#;

const PUMP_DEVICE: &str = r#"
[[device]]
id = "pump-1"
asset = "A1"
driver = "alaris-asena"
port = "/dev/serial/by-path/one"
elements = "all"
expects = { serial = "1" }
"#;

const BELT_DEVICE: &str = r#"
[[device]]
id = "belt-1"
asset = "A2"
profiles = ["heart-rate"]
address = "00:1c:05:00:43:21"
elements = ["MDC_ECG_HEART_RATE"]
expects = { model = "H10" }
"#;

/// Another pump than that, at another port.
fn numbered(number: u32) -> String {
    let id = PUMP_DEVICE.replace("pump-1", &format!("p-{number}"));
    id.replace("\"A1\"", &format!("\"B{number}\"")).replace("one", &number.to_string())
}

/// A configuration folder that is thrown away afterwards.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(gateway: &str, devices: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.put("gateway.toml", gateway);
        std::fs::create_dir(folder.path().join("devices.d")).unwrap();
        for (name, text) in devices {
            folder.put(&format!("devices.d/{name}"), text);
        }
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own file, read back at once")]
    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn mode(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path().join(name), PermissionsExt::from_mode(mode)).unwrap();
    }

    fn load(&self) -> Result<Loaded, Problems> {
        load(self.path(), &Environment::default(), &FIXTURE)
    }

    fn load_with(&self, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
        load(self.path(), &environment(variables), &FIXTURE)
    }

    /// The only problem there is, as `file: key: reason`.
    fn problem(&self) -> String {
        only(self.load())
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::new(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
}

fn only(result: Result<Loaded, Problems>) -> String {
    let problems = result.expect_err("must be refused");
    assert_eq!(problems.count(), 1, "{problems}");
    problems.iter().next().unwrap().to_string()
}

/// The only problem of a folder whose one device is this.
fn device_problem(device: &str) -> String {
    Folder::new(GATEWAY, &[("one.toml", device)]).problem()
}

/// The only problem of a folder whose `gateway.toml` has this after the least that it needs.
fn gateway_problem(more: &str) -> String {
    Folder::new(&format!("{GATEWAY}\n{more}"), &[("one.toml", PUMP_DEVICE)]).problem()
}

#[test]
fn the_least_that_is_needed_is_enough_and_defaults_fill_the_rest() {
    let folder = Folder::new(GATEWAY, &[("b.toml", BELT_DEVICE), ("a.toml", PUMP_DEVICE)]);
    let config = folder.load().unwrap().config;
    assert_eq!(config.uplink.port, 8883);
    assert_eq!(config.uplink.authorities, folder.path().join("ca.pem"), "relative to the folder");
    assert_eq!(config.uplink.certificate, PathBuf::from("/etc/own.pem"));
    assert_eq!(config.uplink.key, KeyPlace::Credential("/run/credentials/wardline.service/tls-key".into()));
    assert_eq!(config.store.cap, wardline::config::DEFAULT_CAP);
    assert_eq!(config.store.linger, Duration::from_millis(250));
    assert_eq!((config.log, config.shutdown_grace), (LogLevel::Info, Duration::from_secs(20)));
    assert_eq!(config.socket_group, None);
    let [pump, belt] = config.devices.as_slice() else { panic!("two devices, by file name") };
    assert_eq!((pump.rule.card.id.as_str(), pump.rule.card.security), ("pump-1", "serial"));
    assert_eq!((pump.rule.trust, pump.rule.elements.len()), (Trust::ReportedIdentity, PUMP.reads.len()));
    let Connection::Serial { line, model, .. } = &pump.connection else { panic!("serial") };
    assert_eq!((*line, model.name), (LINE, "alaris-asena"), "the driver's own line");
    assert_eq!((belt.rule.card.model.as_str(), belt.rule.card.security), ("heart-rate", "bonded"));
    let Connection::Ble { address, adapter, bond, .. } = &belt.connection else { panic!("BLE") };
    assert_eq!((address.as_str(), adapter.as_str()), ("00:1C:05:00:43:21", "hci0"));
    let strictest = BondRule { method: Method::Passkey, minimum: BondClass::A, protected: None };
    assert_eq!(*bond, Some(strictest), "what is not said is the strictest");
}

#[test]
fn an_adapter_is_named_by_its_index_or_by_its_address() {
    for (written, kept) in [("hci12", "hci12"), ("c0:de:00:00:00:01", "C0:DE:00:00:00:01")] {
        let belt = BELT_DEVICE.replace("address = ", &format!("adapter = \"{written}\"\naddress = "));
        let config = Folder::new(GATEWAY, &[("belt.toml", &belt)]).load().unwrap().config;
        let [belt] = config.devices.as_slice() else { panic!("one device") };
        let Connection::Ble { adapter, .. } = &belt.connection else { panic!("BLE") };
        assert_eq!(adapter, kept);
    }
}

#[test]
fn adapters_are_all_named_in_one_way() {
    let belt = BELT_DEVICE.replace("address = ", "adapter = \"C0:DE:00:00:00:01\"\naddress = ");
    let other = BELT_DEVICE
        .replace("belt-1", "belt-2")
        .replace("00:1c:05:00:43:21", "00:1c:05:00:43:22")
        .replace("\"A2\"", "\"A3\"");
    let problem = Folder::new(GATEWAY, &[("a.toml", &belt), ("b.toml", &other)]).problem();
    assert!(problem.contains("adapter") && problem.contains("each by its address"), "{problem}");
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let folder = Folder::new(&format!("{GATEWAY}port = 1000\nwindow = 7"), &[("a.toml", PUMP_DEVICE)]);
    let loaded = folder
        .load_with(&[
            ("WARDLINE_UPLINK__PORT", "2000"),
            ("WARDLINE_UPLINK__REQUIRE_SUBSCRIBER", "false"),
            ("WARDLINE_GATEWAY__ID", "\"0012\""),
            ("CREDENTIALS_DIRECTORY", "/run/credentials/other"),
            ("HOME", "/nowhere"),
        ])
        .unwrap();
    let uplink = loaded.config.uplink;
    assert_eq!((uplink.port, uplink.window, uplink.gateway.as_str()), (2000, 7, "0012"));
    assert_eq!(uplink.key, KeyPlace::Credential("/run/credentials/other/tls-key".into()));
    let source = |key: &str| {
        loaded
            .settings
            .iter()
            .find(|setting| setting.key == key)
            .map(|setting| setting.source.clone())
            .unwrap()
    };
    assert_eq!(source("uplink.port"), "WARDLINE_UPLINK__PORT");
    assert_eq!(source("uplink.window"), "gateway.toml");
    assert_eq!(source("uplink.keep_alive"), "built-in default");
    assert_eq!(source("devices.d/a.toml: device[0].expects.serial"), "devices.d/a.toml");
}

#[test]
fn a_mistake_in_the_environment_is_named_by_its_variable() {
    let folder = Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE)]);
    assert_eq!(
        only(folder.load_with(&[("WARDLINE_UPLINK__HOTS", "x")])),
        "WARDLINE_UPLINK__HOTS: uplink.hots: is not a key that is known here: did you mean \"host\"?"
    );
    assert_eq!(
        only(folder.load_with(&[("WARDLINE_UPLINK__PORT", "high")])),
        "WARDLINE_UPLINK__PORT: uplink.port: is the text \"high\", but must be a whole number"
    );
    assert!(
        only(folder.load_with(&[("WARDLINE_LOG", "debug")])).starts_with("WARDLINE_LOG: log: is not a key")
    );
    assert!(
        only(folder.load_with(&[("WARDLINE_STORE", "x")]))
            .contains("store: is the text \"x\", but must be a table")
    );
    assert!(only(folder.load_with(&[("WARDLINE_STORE__CAP", &"9".repeat(5_000))])).contains("longer than"));
}

#[test]
fn an_absent_or_unreadable_file_is_never_an_empty_one() {
    let absent = PathBuf::from("/nonexistent/wardline");
    assert!(
        only(load(&absent, &Environment::default(), &FIXTURE))
            .starts_with("/nonexistent/wardline: cannot be read")
    );

    let folder = Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE)]);
    std::fs::remove_file(folder.path().join("gateway.toml")).unwrap();
    assert_eq!(folder.problem(), "gateway.toml: is not there: an absent file is not an empty one");

    let folder = Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE)]);
    symlink("/nonexistent", folder.path().join("devices.d/b.toml")).unwrap();
    assert!(folder.problem().starts_with("devices.d/b.toml: is not there"));

    let folder = Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE)]);
    std::fs::create_dir(folder.path().join("devices.d/b.toml")).unwrap();
    assert_eq!(folder.problem(), "devices.d/b.toml: is not a regular file");

    let folder = Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE)]);
    folder.put("devices.d/b.toml", [0xFF, 0xFE]);
    assert_eq!(folder.problem(), "devices.d/b.toml: is not UTF-8 text");

    let folder = Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE)]);
    folder.put("devices.d/b.toml", "#".repeat(1024 * 1024 + 1));
    assert!(folder.problem().starts_with("devices.d/b.toml: is larger than"));

    let folder = Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE)]);
    let full = format!("#{}\n", "x".repeat(1024 * 1024 - 2));
    for number in 0..8 {
        let device = numbered(number);
        folder.put(&format!("devices.d/b{number}.toml"), full.clone() + &device);
    }
    assert!(folder.load().unwrap_err().to_string().contains("devices.d/b0.toml: is larger than"));
    for number in 0..8 {
        let device = numbered(number);
        let padding = full.get(..full.len() - device.len() - 1).unwrap();
        folder.put(&format!("devices.d/b{number}.toml"), format!("{padding}\n{device}"));
    }
    assert!(folder.problem().starts_with("devices.d/b7.toml: is too much"));
}

#[test]
fn what_anybody_may_change_is_refused() {
    let folder = Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE)]);
    folder.mode("gateway.toml", 0o646);
    assert_eq!(folder.problem(), "gateway.toml: anybody may change it: chmod o-w");
    folder.mode("gateway.toml", 0o640);
    folder.mode("devices.d/a.toml", 0o602);
    assert_eq!(folder.problem(), "devices.d/a.toml: anybody may change it: chmod o-w");
    folder.mode("devices.d/a.toml", 0o600);
    folder.mode("devices.d", 0o777);
    assert_eq!(folder.problem(), "devices.d: anybody may put files into it: chmod o-w");
    folder.mode("devices.d", 0o755);
    folder.load().unwrap();
}

#[test]
fn no_device_must_be_said_on_purpose() {
    assert!(Folder::new(GATEWAY, &[]).problem().starts_with("devices.d: lists no device"));
    let without_folder = Folder::new(GATEWAY, &[]);
    std::fs::remove_dir(without_folder.path().join("devices.d")).unwrap();
    assert!(without_folder.problem().starts_with("devices.d: lists no device"));
    let none = format!("devices = \"none\"\n{GATEWAY}");
    assert!(Folder::new(&none, &[]).load().unwrap().config.devices.is_empty());
    assert!(Folder::new(&none, &[("a.toml", PUMP_DEVICE)]).problem().contains("but devices.d lists 1"));
    assert!(
        Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE), ("b.toml", "# nothing")])
            .problem()
            .contains("lists no device")
    );
    // What an editor leaves behind is not a device file.
    Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE), ("a.toml~", "["), (".b.toml", "[")]).load().unwrap();
}

#[test]
fn a_file_that_is_not_toml_is_named_with_its_line_and_the_rest_is_still_judged() {
    let folder = Folder::new(
        &format!("{GATEWAY}port = 0"),
        &[("a.toml", "[[device]]\nid = "), ("b.toml", PUMP_DEVICE)],
    );
    let problems = folder.load().unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 2, "{problems}");
    assert_eq!(shown[0], "gateway.toml: uplink.port: 0 is not from 1 to 65535");
    assert_eq!(shown[1], "devices.d/a.toml: is not TOML, line 2: a value is missing or cannot be read");
}

#[test]
fn deep_nesting_is_refused_before_it_is_parsed() {
    let folder = Folder::new(&format!("{}x = 1", "a.".repeat(50_000)), &[("a.toml", PUMP_DEVICE)]);
    assert_eq!(folder.problem(), "gateway.toml: line 1 nests deeper than 64 levels");
    let folder = Folder::new(&format!("x = {}", "[".repeat(50_000)), &[("a.toml", PUMP_DEVICE)]);
    assert!(folder.problem().starts_with("gateway.toml: is not TOML, line 1"));
}

#[test]
fn devices_cannot_be_listed_in_the_gateway_file_nor_the_gateway_in_a_device_file() {
    assert!(gateway_problem("[[device]]\nid = \"x\"").contains("device: is not a key that is known here"));
    assert_eq!(
        device_problem(&format!("{PUMP_DEVICE}\n[uplink]\nhost = \"elsewhere\"")),
        "devices.d/one.toml: uplink: a file of devices.d holds only [[device]] and [[line_driver]] tables: it belongs in gateway.toml"
    );
    assert!(device_problem("[device]\nid = \"x\"").contains("must be written [[device]], with two brackets"));
}

#[test]
fn gateway_values_out_of_bounds_are_named_with_the_bound() {
    for (more, expected) in [
        ("port = 65536", "uplink.port: 65536 is not from 1 to 65535"),
        ("window = -1", "uplink.window: -1 is not from 1 to 1024"),
        ("keep_alive = \"1s\"", "uplink.keep_alive: \"1s\" is not from 5s to 30m"),
        ("stalled_after = \"soon\"", "uplink.stalled_after: \"soon\" is not a duration"),
        ("payload = \"json\"", "uplink.payload: \"json\" is not known here: known are fhir, cbor"),
        ("backoff_first = \"5m\"", "uplink.backoff_first: is longer than uplink.backoff_most"),
        ("[store]\ncap = \"95MiB\"", "store.cap: 99614720 bytes is less than the least, 96 MiB"),
        (
            "[store]\nalarm_reserve = \"15MiB\"",
            "store.alarm_reserve: 15728640 bytes is less than the least, 16 MiB",
        ),
        ("[store]\nalarm_reserve = \"3GiB\"", "store.alarm_reserve: is more than half of store.cap"),
        ("[store]\nlinger = \"11s\"", "store.linger: \"11s\" is not from 0ms to 10s"),
        ("[keys]\nkek = \"k\"\nward = \"./k\"", "keys.ward: is the same file as keys.kek"),
        (
            "[keys]\nkek_previous = \"credential:kek\"",
            "keys.kek_previous: is the same key as keys.kek: name the one that the store was kept under before",
        ),
        ("[keys]\nkek_previous = \"k\"\nward = \"k\"", "keys.ward: is the same file as keys.kek"),
        (
            "[keys]\nkek = \"pkcs11:token=t;object=o?module-path=p11.so\"",
            "keys.kek: is a PKCS#11 URI whose `module-path` must be an absolute path",
        ),
        (
            "[keys]\nkek = \"pkcs11:token=t;object=o?module-path=/p11.so&pin-source=credential:../pin\"",
            "keys.kek: is a PKCS#11 URI whose `pin-source` does not name a credential",
        ),
        (
            "[keys]\nward = \"pkcs11:token=t;object=o?module-path=/p11.so\"",
            "keys.ward: is a token's key: the gateways of a ward share it",
        ),
        ("[status]\ngroup = \"a b\"", "status.group: \"a b\" is not the name or number of a group"),
        ("[daemon]\nlog = \"inof\"", "daemon.log: \"inof\" is not known here: did you mean \"info\"?"),
    ] {
        let problem = gateway_problem(more);
        assert!(problem.starts_with(&format!("gateway.toml: {expected}")), "{more}: {problem}");
    }
    let long = format!("[status]\nsocket = \"/{}\"", "x".repeat(95));
    assert!(gateway_problem(&long).contains("status.socket: is 96 bytes long"));
}

#[test]
fn a_key_is_a_file_a_credential_or_a_key_in_a_token() {
    let token = "pkcs11:token=ward%207;object=kek?module-path=/p11.so&pin-source=credential:pin";
    let keys = format!("{GATEWAY}\n[keys]\nkek = \"{token}\"\nkek_previous = \"old/kek\"");
    let folder = Folder::new(&keys, &[("a.toml", PUMP_DEVICE)]);
    let loaded = folder.load_with(&[("CREDENTIALS_DIRECTORY", "/run/credentials/x")]).unwrap();
    let keys = loaded.config.keys;
    let protections = [Some(&keys.kek), keys.kek_previous.as_ref(), Some(&keys.ward)]
        .map(|place| place.unwrap().protection().as_str());
    assert_eq!(protections, ["pkcs11", "file", "credential"]);
    let key = keys.kek.token().unwrap();
    assert_eq!(key.token.label.as_deref(), Some("ward 7"));
    assert_eq!(key.pin.as_deref(), Some(Path::new("/run/credentials/x/pin")));
    assert_eq!(keys.kek_previous.unwrap().path(), Some(folder.path().join("old/kek").as_path()));
    assert_eq!(keys.ward.path(), Some(Path::new("/run/credentials/x/ward")));
}

/// Puts `to` where `device` has `from`, and expects one problem of its key and reason.
fn assert_refused(device: &str, from: &str, to: &str, expected: &str) {
    assert!(device.contains(from), "{from}");
    let problem = device_problem(&device.replace(from, to));
    assert!(
        problem.starts_with(&format!("devices.d/one.toml: device[0].{expected}")),
        "{expected}\n  {problem}"
    );
}

#[test]
fn serial_device_values_that_do_not_fit_are_named_with_the_way_out() {
    for (from, to, expected) in [
        ("\"pump-1\"", "\"Pump_1\"", "id: \"Pump_1\" must be 1 to 32 of the characters a-z, 0-9 and -"),
        ("\"A1\"", "\" \"", "asset: must be 1 to 64 bytes without control characters"),
        ("\"alaris-asena\"", "\"asena\"", "driver: \"asena\" is not a known driver"),
        ("driver = \"alaris-asena\"", "", "driver: is missing: a `driver` (serial) or `profiles` (BLE)"),
        ("/dev/serial/by-path/one", "/dev/ttyUSB0", "port: \"/dev/ttyUSB0\" may name another device after"),
        (
            "by-path/one",
            "by-path/../../mem",
            "port: \"/dev/serial/by-path/../../mem\" must be an absolute path",
        ),
        ("/dev/serial/by-path/one", "/dev/serial/by-path/", "port: \"/dev/serial/by-path/\" may name"),
        (
            "expects = { serial = \"1\" }",
            "",
            "expects.serial: is missing: what the device must say of itself",
        ),
        (
            "{ serial",
            "{ seriall = \"x\", serial",
            "expects.seriall: is not a key that is known here: did you mean",
        ),
        ("elements = \"all\"", "elements = \"al\"", "elements: \"al\" is not \"all\""),
        ("elements = \"all\"", "elements = []", "elements: is empty"),
        (
            "elements = \"all\"",
            "elements = 5",
            "elements: is 5, but must be \"all\" or a list of reference ids",
        ),
        ("elements = \"all\"", "", "elements: is missing"),
        (
            "elements = \"all\"",
            "elements = [\"MDC_FLOW_FLUID_PMP\"]",
            "elements.0: \"MDC_FLOW_FLUID_PMP\" is not a known element: did you mean \"MDC_FLOW_FLUID_PUMP\"?",
        ),
        (
            "elements = \"all\"",
            "elements = [\"MDC_PULS_OXIM_SAT_O2\"]",
            "elements.0: MDC_PULS_OXIM_SAT_O2 is not read by this device's driver, which reads MDC_FLOW_FLUID_PUMP",
        ),
        ("elements = \"all\"", "elements = \"all\"\nline = { baud = 0 }", "line.baud: 0 is not from 50 to"),
        ("elements = \"all\"", "elements = \"all\"\nsecurity = \"open\"", "security: is for BLE devices"),
        ("elements = \"all\"", "elements = \"all\"\npairing = \"passkey\"", "pairing: is for BLE devices"),
        ("elements = \"all\"", "elements = \"all\"\nminimum_class = \"A\"", "minimum_class: is for BLE"),
        ("elements = \"all\"", "elements = \"all\"\nprotected = \"180A/2A25\"", "protected: is for BLE"),
        ("elements = \"all\"", "elements = \"all\"\nlocation = \"x\"", "location: is for sensors of a place"),
    ] {
        assert_refused(PUMP_DEVICE, from, to, expected);
    }
}

#[test]
fn ble_device_values_that_do_not_fit_are_named_with_the_way_out() {
    for (from, to, expected) in [
        ("[\"heart-rate\"]", "[]", "profiles: is empty"),
        (
            "[\"heart-rate\"]",
            "[\"heart-rate\", \"heart-rate\"]",
            "profiles.1: \"heart-rate\" is listed twice",
        ),
        ("00:1c:05:00:43:21", "001c05004321", "address: \"001c05004321\" is not a device's address"),
        (
            "00:1c:05:00:43:21",
            "00:00:00:00:00:00",
            "address: \"00:00:00:00:00:00\" is not a device's address",
        ),
        ("address = ", "adapter = \"eth0\"\naddress = ", "adapter: \"eth0\" is not an adapter"),
        (
            "address = ",
            "adapter = \"00:00:00:00:00:00\"\naddress = ",
            "adapter: \"00:00:00:00:00:00\" is not an adapter",
        ),
        ("address = ", "security = \"yes\"\naddress = ", "security: \"yes\" is not known here"),
        ("address = ", "port = \"/dev/x\"\naddress = ", "port: is for serial devices"),
        (
            "address = ",
            "pairing = \"passkeys\"\naddress = ",
            "pairing: \"passkeys\" is not known here: did you mean \"passkey\"?",
        ),
        ("address = ", "minimum_class = \"a\"\naddress = ", "minimum_class: \"a\" is not known here"),
        (
            "address = ",
            "pairing = \"just-works\"\nminimum_class = \"A\"\naddress = ",
            "minimum_class: pairing = \"just-works\" never gives better than class B",
        ),
        (
            "address = ",
            "protected = \"2A25\"\naddress = ",
            "protected: \"2A25\" is not a characteristic: write the UUIDs of its service and its own",
        ),
        ("address = ", "protected = \"180A/2a2\"\naddress = ", "protected: \"180A/2a2\" is not a"),
        (
            "address = ",
            "security = \"open\"\npairing = \"passkey\"\naddress = ",
            "pairing: is for devices with a bond",
        ),
        (
            "address = ",
            "security = \"open\"\nminimum_class = \"D\"\naddress = ",
            "minimum_class: is for devices with a bond",
        ),
        (
            "address = ",
            "security = \"open\"\nprotected = \"180A/2A25\"\naddress = ",
            "protected: is for devices with a bond",
        ),
        ("expects = { model = \"H10\" }", "", "expects: is missing: what the device must say of itself"),
    ] {
        assert_refused(BELT_DEVICE, from, to, expected);
    }
}

#[test]
fn what_is_said_of_a_bond_holds_and_an_open_device_has_none() {
    let bond = |said: &str| {
        let device = BELT_DEVICE.replace("address = ", &format!("{said}\naddress = "));
        let config = Folder::new(GATEWAY, &[("a.toml", &device)]).load().unwrap().config;
        let Connection::Ble { bond, .. } = config.devices[0].connection else { panic!("BLE") };
        bond
    };
    let (method, minimum) = (Method::JustWorks, BondClass::B);
    let loosest = BondRule { method, minimum, protected: None };
    assert_eq!(bond("pairing = \"just-works\""), Some(loosest));
    let protected = Some(Characteristic { service: 0x180A, uuid: 0x2A25 });
    assert_eq!(
        bond("pairing = \"numeric\"\nminimum_class = \"C\"\nprotected = \"180a/2A25\""),
        Some(BondRule { method: Method::Numeric, minimum: BondClass::C, protected })
    );
    assert_eq!(bond("security = \"open\""), None);
}

#[test]
fn a_sensor_of_a_place_speaks_of_the_place_that_is_named_or_of_its_own() {
    let room = BELT_DEVICE.replace("heart-rate", "environmental-sensing");
    let room = room.replace("[\"MDC_ECG_HEART_RATE\"]", "\"all\"");
    let of = |device: &str| {
        let folder = Folder::new(GATEWAY, &[("a.toml", device)]);
        let loaded = load(folder.path(), &Environment::default(), &Catalogue::shipped());
        loaded.map(|loaded| loaded.config.devices[0].location.clone())
    };
    assert_eq!(of(&room).unwrap().as_deref(), Some("belt-1"));
    let named = room.replace("address = ", "location = \" cold store 2 \"\naddress = ");
    assert_eq!(of(&named).unwrap().as_deref(), Some("cold store 2"));
    assert_eq!(of(BELT_DEVICE).unwrap(), None);
    let empty = room.replace("address = ", "location = \"\"\naddress = ");
    assert!(of(&empty).unwrap_err().to_string().contains("location: must be 1 to 64 bytes"));
    let nameless = room.replace("id = \"belt-1\"", "");
    assert_eq!(of(&nameless).unwrap_err().count(), 1, "one problem, not a second for its place");
}

#[test]
fn a_link_alone_vouches_only_where_it_is_said_or_nothing_else_can() {
    let said = PUMP_DEVICE.replace("expects = { serial = \"1\" }", "trust = \"link-only\"");
    let config = Folder::new(GATEWAY, &[("a.toml", &said)]).load().unwrap().config;
    assert_eq!(config.devices[0].rule.trust, Trust::LinkOnly);

    let mute = said.replace("alaris-asena", "mute-monitor").replace("trust = \"link-only\"", "");
    let config = Folder::new(GATEWAY, &[("a.toml", &mute)]).load().unwrap().config;
    assert_eq!(config.devices[0].rule.trust, Trust::LinkOnly);

    assert!(
        device_problem(&format!("{mute}\ntrust = \"reported-identity\"")).contains("the port alone vouches")
    );
    assert!(device_problem(&format!("{mute}\nexpects = {{ serial = \"1\" }}")).contains("can never be met"));
}

#[test]
fn an_unstable_port_is_taken_where_it_is_said() {
    let device = PUMP_DEVICE.replace("/dev/serial/by-path/one\"", "/dev/pts/3\"\nallow_unstable_port = true");
    let config = Folder::new(GATEWAY, &[("a.toml", &device)]).load().unwrap().config;
    let Connection::Serial { port, .. } = &config.devices[0].connection else { panic!("serial") };
    assert_eq!(port, Path::new("/dev/pts/3"));
}

#[test]
fn the_same_mistake_in_two_files_is_named_in_both() {
    let nameless = PUMP_DEVICE.replace("id = \"pump-1\"\n", "");
    assert_ne!(nameless, PUMP_DEVICE);
    let second = nameless.replace("by-path/one", "by-path/two").replace("A1", "A3");
    let folder = Folder::new(GATEWAY, &[("a.toml", &nameless), ("b.toml", &second)]);
    let text = folder.load().unwrap_err().to_string();
    for file in ["a.toml", "b.toml"] {
        assert!(text.contains(&format!("devices.d/{file}: device[0].id: is missing")), "{text}");
    }
}

#[test]
fn no_two_devices_share_an_id_an_asset_a_port_or_an_address() {
    let second = PUMP_DEVICE.replace("by-path/one", "by-path/two").replace("A1", "A3");
    let folder = Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE), ("b.toml", &second)]);
    assert_eq!(
        folder.problem(),
        "devices.d/b.toml: device[0].id: id pump-1 is taken by devices.d/a.toml: device[0]"
    );
    let second = PUMP_DEVICE.replace("pump-1", "pump-2").replace("by-path/one", "by-path/two");
    let folder = Folder::new(GATEWAY, &[("a.toml", &format!("{PUMP_DEVICE}{second}"))]);
    assert_eq!(
        folder.problem(),
        "devices.d/a.toml: device[1].asset: asset A1 is taken by devices.d/a.toml: device[0]"
    );
    let second = second.replace("A1", "A3").replace("by-path/two", "by-path//one");
    let folder = Folder::new(GATEWAY, &[("a.toml", &format!("{PUMP_DEVICE}{second}"))]);
    assert!(folder.problem().contains("device[1].port: port /dev/serial/by-path/one is taken by"));
    let second = BELT_DEVICE.replace("belt-1", "belt-2").replace("A2", "A3").replace("1c", "1C");
    let folder = Folder::new(GATEWAY, &[("a.toml", &format!("{BELT_DEVICE}{second}"))]);
    assert!(folder.problem().contains("device[1].address: address 00:1C:05:00:43:21 is taken by"));

    // Two names of one port, as by-path and by-id are.
    let ports = tempfile::tempdir().unwrap();
    std::fs::File::create(ports.path().join("tty")).unwrap();
    symlink(ports.path().join("tty"), ports.path().join("by-id")).unwrap();
    symlink(ports.path().join("tty"), ports.path().join("by-path")).unwrap();
    let named = |id: &str, name: &str| {
        let port = ports.path().join(name);
        PUMP_DEVICE.replace("pump-1", id).replace("A1", id).replace(
            "/dev/serial/by-path/one\"",
            &format!("{}\"\nallow_unstable_port = true", port.display()),
        )
    };
    let both = format!("{}{}", named("pump-1", "by-id"), named("pump-2", "by-path"));
    assert!(Folder::new(GATEWAY, &[("a.toml", &both)]).problem().contains("device[1].port: port "));
}

const RACK_DEVICE: &str = r#"
[[device]]
id = "rack-1"
asset = "R1"
driver = "pump-rack"
port = "/dev/serial/by-path/rack"
trust = "link-only"
elements = "all"
[[device.part]]
at = "lower"
id = "pump-low"
asset = "R2"
elements = ["MDC_FLOW_FLUID_PUMP", "MDC_EVT_OCCL"]
expects = { serial = "7" }
[[device.part]]
at = "upper"
id = "pump-up"
asset = "R3"
elements = "all"
trust = "link-only"
"#;

#[test]
fn every_part_of_a_rack_is_a_device_of_its_own_behind_it() {
    let folder = Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE), ("b.toml", RACK_DEVICE)]);
    let Loaded { config, settings, notes, described: _ } = folder.load().unwrap();
    let [_, rack, low, up] = config.devices.as_slice() else { panic!("{:?}", config.devices) };
    assert_eq!((rack.rule.card.id.as_str(), rack.rule.behind), ("rack-1", None));
    assert_eq!((rack.rule.trust, rack.rule.elements.len()), (Trust::LinkOnly, 3));
    for (part, id, asset, at) in [(low, "pump-low", "R2", 3), (up, "pump-up", "R3", 1)] {
        assert_eq!((part.rule.card.id.as_str(), part.asset.as_str()), (id, asset));
        assert_eq!((part.rule.card.model.as_str(), part.rule.card.security), ("pump-rack", "serial"));
        assert_eq!(part.rule.behind, Some(DeviceIndex(1)), "the rack's place in the list");
        assert!(matches!(part.connection, Connection::Part { part, .. } if part == Part(at)));
    }
    assert_eq!(low.rule.expects.serial.as_deref(), Some("7"));
    assert_eq!((low.rule.trust, low.rule.elements.len()), (Trust::ReportedIdentity, 2));
    assert_eq!((up.rule.trust, up.rule.elements.len()), (Trust::LinkOnly, 3));
    assert_eq!((low.connection.place(), rack.connection.place()), ("slot lower".to_owned(), String::new()));
    let at = settings.iter().find(|setting| setting.key == "devices.d/b.toml: device[0].part.1.at").unwrap();
    assert_eq!((at.value.as_str(), at.source.as_str()), ("\"upper\"", "devices.d/b.toml"));
    assert!(notes.is_empty(), "{notes:?}");
    let bare = RACK_DEVICE.split("[[device.part]]").next().unwrap();
    let notes = Folder::new(GATEWAY, &[("a.toml", bare)]).load().unwrap().notes;
    assert!(notes[0].starts_with("rack-1: no slot of it is listed as a [[device.part]]"), "{notes:?}");
}

const WARMER: &str = r#"
[[line_driver]]
name = "warmer"
title = "a warmer"
class = "monitor"
baud = 4800
parity = "even"
data_bits = 7
frame = { ends = "\r\n", longest = 40 }
[[line_driver.line]]
starts = "T,"
split = "separator"
separator = ","
[[line_driver.line.field]]
at = 2
metric = "MDC_TEMP"
unit = "Cel"
kind = "measurement"
"#;

const WARMER_DEVICE: &str = r#"
[[device]]
id = "warmer-1"
asset = "W1"
driver = "site:warmer"
port = "/dev/serial/by-path/warmer"
elements = "all"
trust = "link-only"
"#;

/// All problems of these files, each as it is shown.
fn problems_of(files: &[(&str, &str)]) -> Vec<String> {
    let problems = Folder::new(GATEWAY, files).load().expect_err("must be refused");
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_device_of_any_file_has_a_driver_that_the_site_describes() {
    // The file with the description comes behind the one with the device.
    let folder = Folder::new(GATEWAY, &[("a.toml", WARMER_DEVICE), ("b.toml", WARMER)]);
    let Loaded { config, settings, notes, described } = folder.load().unwrap();
    let [device] = config.devices.as_slice() else { panic!("{:?}", config.devices) };
    assert_eq!(device.rule.card.model, "site:warmer");
    assert_eq!(device.rule.elements.iter().map(|metric| metric.reference).collect::<Vec<_>>(), ["MDC_TEMP"]);
    let Connection::Serial { line, model, .. } = &device.connection else { panic!("{device:?}") };
    assert_eq!(*line, Line { baud: 4_800, data_bits: 7, parity: Parity::Even, stop_bits: 1 });
    assert_eq!(model.identity, IdentityProof::PortOnly);
    assert_eq!(described.iter().map(|model| model.name).collect::<Vec<_>>(), ["site:warmer"]);
    assert!(notes.is_empty(), "{notes:?}");
    let baud =
        settings.iter().find(|setting| setting.key == "devices.d/b.toml: line_driver[0].baud").unwrap();
    assert_eq!((baud.value.as_str(), baud.source.as_str()), ("4800", "devices.d/b.toml"));
    // Reading it again makes no second driver.
    assert!(std::ptr::eq(described[0], folder.load().unwrap().described[0]));
}

#[test]
fn a_description_that_no_device_has_is_noted() {
    let notes = Folder::new(GATEWAY, &[("a.toml", WARMER), ("b.toml", PUMP_DEVICE)]).load().unwrap().notes;
    assert_eq!(notes, ["site:warmer: no [[device]] has this driver: nothing is read by this description"]);
    assert_eq!(
        problems_of(&[("a.toml", WARMER)]),
        [
            "devices.d: lists no device: add a file with a [[device]], or say devices = \"none\" in gateway.toml"
        ]
    );
}

#[test]
fn everything_that_is_wrong_with_descriptions_is_named_at_once_by_file_and_key() {
    let wrong = WARMER
        .replace("\"monitor\"", "\"toaster\"")
        .replace("4800", "\"4800\"")
        .replace("longest = 40", "longest = 40, parity = 1")
        .replace("MDC_TEMP", "MDC_TAMP");
    let other = WARMER.replace("\"warmer\"", "\"Warmer 2\"");
    let found = problems_of(&[("a.toml", &wrong), ("b.toml", &other), ("c.toml", WARMER_DEVICE)]);
    let expected = [
        "devices.d/a.toml: line_driver[0].baud: is the text \"4800\", but must be a whole number",
        "devices.d/a.toml: line_driver[0].frame.parity: is not a key that is known here",
        "devices.d/a.toml: line_driver[0].class: write \"monitor\"",
        "devices.d/a.toml: line_driver[0].line.0.field.0.metric: write the reference id",
        "devices.d/b.toml: line_driver[0].name: write 1 to 32 of the characters",
    ];
    // Nothing is said of the device: its description is what is wrong.
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for expected in expected {
        assert!(found.iter().any(|found| found.starts_with(expected)), "{expected}: {found:#?}");
    }
}

#[test]
fn an_entry_of_a_description_that_does_not_fit_is_named_once() {
    for (from, to, expected) in [
        (
            "class",
            "poll = [3]\npolls_change_nothing = true\nclass",
            "line_driver[0].poll.0: is 3, but must be a table",
        ),
        ("class", "ignore = [\"#\", 3]\nclass", "line_driver[0].ignore.1: is 3, but must be text"),
        (
            "at = 2",
            "columns = [1, \"x\"]",
            "field.0.columns.1: is the text \"x\", but must be a whole number",
        ),
        ("at = 2", "at = true", "field.0.at: is true, but must be a whole number"),
    ] {
        let text = WARMER.replacen(from, to, 1);
        let found = problems_of(&[("a.toml", &text), ("b.toml", WARMER_DEVICE)]);
        assert!(matches!(found.as_slice(), [one] if one.contains(expected)), "{expected}: {found:#?}");
    }
}

#[test]
fn the_names_of_descriptions_are_of_one_gateway() {
    let same = problems_of(&[("a.toml", WARMER), ("b.toml", WARMER), ("c.toml", WARMER_DEVICE)]);
    assert_eq!(
        same,
        [
            "devices.d/b.toml: line_driver[0].name: site:warmer is taken by devices.d/a.toml: line_driver[0]: give it another name"
        ]
    );
    let unknown = WARMER_DEVICE.replace("site:warmer", "site:wormer");
    assert_eq!(
        problems_of(&[("a.toml", WARMER), ("b.toml", &unknown)]),
        [
            "devices.d/b.toml: device[0].driver: \"site:wormer\" is not a known driver: did you mean \"site:warmer\"?"
        ]
    );
    assert_eq!(
        problems_of(&[("b.toml", WARMER_DEVICE)]),
        [
            "devices.d/b.toml: device[0].driver: \"site:warmer\" is not a known driver: no file has a [[line_driver]] with name = \"warmer\""
        ]
    );
    let single = WARMER.replace("[[line_driver]]", "[line_driver]");
    let found = problems_of(&[("a.toml", &single), ("b.toml", PUMP_DEVICE)]);
    assert!(
        found[0].contains("line_driver: must be written [[line_driver]], with two brackets"),
        "{found:?}"
    );
    let many: String = (0..65).map(|n| WARMER.replace("\"warmer\"", &format!("\"w-{n}\""))).collect();
    let found = problems_of(&[("a.toml", &many), ("b.toml", PUMP_DEVICE)]);
    assert_eq!(
        found,
        ["devices.d/a.toml: line_driver[64].name: is one too many: at most 64 descriptions on one gateway"]
    );
}

#[test]
fn values_of_a_part_that_do_not_fit_are_named_with_the_way_out() {
    for (from, to, expected) in [
        (
            "\"lower\"",
            "\"lowest\"",
            "part.0.at: \"lowest\" is not a slot of pump-rack: did you mean \"lower\"?",
        ),
        ("\"lower\"", "\"9\"", "part.0.at: \"9\" is not a slot of pump-rack: known are upper, middle, lower"),
        ("\"upper\"", "\"lower\"", "part.1.at: slot lower is listed twice"),
        ("at = \"lower\"", "", "part.0.at: is missing: the name of its slot: see `wardline drivers`"),
        ("at = \"lower\"", "at = 3", "part.0.at: is 3, but must be text in double quotes"),
        ("\"pump-low\"", "\"Low\"", "part.0.id: \"Low\" must be 1 to 32 of the characters"),
        (
            "\"pump-up\"",
            "\"pump-low\"",
            "part.1.id: id pump-low is taken by devices.d/one.toml: device[0].part.0",
        ),
        ("\"pump-up\"", "\"rack-1\"", "part.1.id: id rack-1 is taken by devices.d/one.toml: device[0]"),
        ("\"R3\"", "\"R1\"", "part.1.asset: asset R1 is taken by devices.d/one.toml: device[0]"),
        ("asset = \"R3\"", "", "part.1.asset: is missing"),
        (
            "\"MDC_EVT_OCCL\"",
            "\"MDC_EVT_OCLC\"",
            "part.0.elements.1: \"MDC_EVT_OCLC\" is not a known element: did",
        ),
        (
            "expects = { serial = \"7\" }",
            "",
            "part.0.expects.serial: is missing: what the device must say of",
        ),
        ("serial = \"7\"", "model = \"P\"", "part.0.expects.serial: is missing: what the device must say of"),
        (
            "serial = \"7\"",
            "serail = \"7\", serial = \"7\"",
            "part.0.expects.serail: is not a key that is known",
        ),
        (
            "at = \"upper\"",
            "at = \"upper\"\nport = \"/dev/x\"",
            "part.1.port: is not a key that is known here",
        ),
        (
            "trust = \"link-only\"\nelements",
            "elements",
            "expects: is missing: what the rack must say of itself (its model",
        ),
    ] {
        assert_refused(RACK_DEVICE, from, to, expected);
    }
    // A rack may prove itself by what it has.
    let model = RACK_DEVICE.replacen("trust = \"link-only\"", "expects = { model = \"Rack\" }", 1);
    let config = Folder::new(GATEWAY, &[("a.toml", &model)]).load().unwrap().config;
    assert_eq!(config.devices[0].rule.trust, Trust::ReportedIdentity);
}

#[test]
fn what_is_not_set_for_a_driver_has_its_default() {
    for (given, poll, checksum) in [
        ("", 10, "exclusive"),
        ("settings = {}", 10, "exclusive"),
        ("settings = { poll = 5 }", 5, "exclusive"),
        ("settings = { checksum = \"sum\", poll = 60 }", 60, "sum"),
    ] {
        let device = RACK_DEVICE.replacen("elements", &format!("{given}\nelements"), 1);
        let loaded = Folder::new(GATEWAY, &[("a.toml", &device)]).load().unwrap();
        let Connection::Serial { settings, .. } = &loaded.config.devices[0].connection else {
            panic!("serial")
        };
        assert_eq!((settings.number("poll"), settings.word("checksum")), (poll, checksum), "{given}");
    }
}

#[test]
fn the_end_of_support_of_a_device_is_a_day_and_nothing_else() {
    let ends = |text: &str| {
        let config = Folder::new(GATEWAY, &[("a.toml", text)]).load().unwrap().config;
        config
            .devices
            .iter()
            .map(|device| device.end_of_support.map(|day| day.to_string()))
            .collect::<Vec<_>>()
    };
    let day = || Some("2027-01-31".to_owned());
    assert_eq!(ends(PUMP_DEVICE), [None]);
    assert_eq!(ends(&format!("{PUMP_DEVICE}end_of_support = \"2027-01-31\"")), [day()]);
    let upper = "at = \"upper\"\nend_of_support = \"2027-01-31\"";
    assert_eq!(
        ends(&RACK_DEVICE.replace("at = \"upper\"", upper)).iter().filter(|one| **one == day()).count(),
        1
    );
    for given in ["2027-02-30", "31.1.2027", "2027-01-31T00:00:00Z", ""] {
        assert_refused(
            PUMP_DEVICE,
            "elements",
            &format!("end_of_support = {given:?}\nelements"),
            &format!("end_of_support: {given:?} is not a day: write \"2027-01-31\""),
        );
    }
}

#[test]
fn how_long_a_device_may_be_quiet_is_its_drivers_word_or_its_own() {
    let quiet = |text: &str| {
        let config = Folder::new(GATEWAY, &[("a.toml", text)]).load().unwrap().config;
        config.devices.iter().map(|device| device.rule.quiet.map(|quiet| quiet.as_secs())).collect::<Vec<_>>()
    };
    assert_eq!(quiet(PUMP_DEVICE), [Some(15)]);
    assert_eq!(quiet(&format!("{PUMP_DEVICE}quiet = \"2m\"")), [Some(120)]);
    assert_eq!(quiet(BELT_DEVICE), [None]);
    assert_eq!(quiet(&format!("{BELT_DEVICE}quiet = \"1h\"")), [Some(3_600)]);
    assert_eq!(quiet(RACK_DEVICE), [Some(30); 3]);
    assert_eq!(
        quiet(&RACK_DEVICE.replace("at = \"lower\"", "at = \"lower\"\nquiet = \"5m\"")),
        [Some(30), Some(300), Some(30)]
    );
    for (given, expected) in [
        ("\"4s\"", "\"4s\" is not from 5s to 7d"),
        ("\"never\"", "\"never\" is not a duration"),
        ("30", "is 30, but must be text"),
    ] {
        assert_refused(
            PUMP_DEVICE,
            "elements",
            &format!("quiet = {given}\nelements"),
            &format!("quiet: {expected}"),
        );
        assert_refused(
            RACK_DEVICE,
            "at = \"upper\"",
            &format!("at = \"upper\"\nquiet = {given}"),
            &format!("part.1.quiet: {expected}"),
        );
    }
}

#[test]
fn settings_that_do_not_fit_are_named_with_what_they_can_be() {
    for (given, expected) in [
        ("poll = 4", "settings.poll: is 4, but must be a whole number from 5 to 60"),
        ("poll = 61", "settings.poll: is 61, but must be"),
        ("poll = \"10\"", "settings.poll: is \"10\", but must be a whole number from 5 to 60"),
        ("poll = 1.5", "settings.poll: is 1.5, but must be a whole number, or a word in double quotes"),
        (
            "checksum = \"exclusiv\"",
            "settings.checksum: is \"exclusiv\", but must be one of exclusive, sum: did you mean \"exclusive\"?",
        ),
        ("checksum = \"crc\"", "settings.checksum: is \"crc\", but must be one of exclusive, sum"),
        ("checksum = 1", "settings.checksum: is 1, but must be one of exclusive, sum"),
        ("pol = 10", "settings.pol: is not a setting of pump-rack: did you mean \"poll\"?"),
        ("zzz = 10", "settings.zzz: is not a setting of pump-rack: known are poll, checksum"),
    ] {
        assert_refused(
            RACK_DEVICE,
            "trust = \"link-only\"\nelements = \"all\"\n[[",
            &format!("trust = \"link-only\"\nelements = \"all\"\nsettings = {{ {given} }}\n[["),
            expected,
        );
    }
    let all =
        RACK_DEVICE.replacen("elements", "settings = { poll = 1, checksum = \"x\", z = 1 }\nelements", 1);
    let problems = Folder::new(GATEWAY, &[("a.toml", &all)]).load().unwrap_err();
    assert_eq!(problems.count(), 3, "all at once: {problems}");
    assert_refused(
        PUMP_DEVICE,
        "elements",
        "settings = { poll = 1 }\nelements",
        "settings.poll: is not a setting of alaris-asena, which has none",
    );
    assert_refused(
        BELT_DEVICE,
        "elements",
        "settings = { poll = 1 }\nelements",
        "settings.poll: is not a setting of heart-rate, which has none",
    );
    assert_refused(PUMP_DEVICE, "elements", "settings = 3\nelements", "settings: is 3, but must be");
}

#[test]
fn the_clock_of_a_glucose_sensor_is_never_set() {
    let entry = |profiles: &str, word: &str| {
        let entry = BELT_DEVICE.replace("\"heart-rate\"", profiles);
        let settings = format!("settings = {{ set_clock = \"{word}\", clock_offset = 60 }}\n");
        Folder::new(GATEWAY, &[("one.toml", &format!("{entry}{settings}"))])
    };
    let folder = entry("\"heart-rate\", \"current-time\"", "when-wrong");
    let config = folder.load().unwrap().config;
    let Connection::Ble { settings, .. } = &config.devices[0].connection else { panic!() };
    assert_eq!((settings.word("set_clock"), settings.number("clock_offset")), ("when-wrong", 60));
    let with_sensor = "\"current-time\", \"continuous-glucose\"";
    assert!(entry(with_sensor, "never").load().is_ok());
    let problem = entry(with_sensor, "when-wrong").problem();
    let expected = "settings.set_clock: must be \"never\" for a device with `continuous-glucose`";
    assert!(problem.contains(expected), "{problem}");
}

#[test]
fn a_secret_is_given_by_the_place_of_its_file_and_never_repeated() {
    let scale = |settings: &str| {
        let entry = BELT_DEVICE.replace("\"heart-rate\"", "\"weight-scale\", \"current-time\"");
        Folder::new(GATEWAY, &[("one.toml", &format!("{entry}settings = {{ {settings} }}\n"))])
    };
    for (given, expected) in [("/etc/code", "/etc/code"), ("credential:scale-7", "/run/own/scale-7")] {
        let folder = scale(&format!("consent_user = 3, consent_code = \"{given}\""));
        let config = folder.load_with(&[("CREDENTIALS_DIRECTORY", "/run/own")]).unwrap().config;
        let Connection::Ble { settings, .. } = &config.devices[0].connection else { panic!() };
        assert_eq!(settings.file("consent_code"), Some(Path::new(expected)));
        assert_eq!(settings.number("consent_user"), 3);
    }
    let folder = scale("consent_code = \"code\"");
    let config = folder.load().unwrap().config;
    let Connection::Ble { settings, .. } = &config.devices[0].connection else { panic!() };
    assert_eq!(settings.file("consent_code"), Some(&*folder.path().join("code")), "relative to the folder");

    for (given, expected) in [
        ("consent_code = \"4815\"", "settings.consent_code: must be the path of a file"),
        ("consent_code = 4815", "settings.consent_code: must be the path of a file"),
        ("consent_code = \"4815 \"", "settings.consent_code: must be the path of a file"),
        ("consent_code = \" +4815\"", "settings.consent_code: must be the path of a file"),
        ("consent_code = \"48-15\"", "settings.consent_code: must be the path of a file"),
        ("consent_code = \"48 15\"", "settings.consent_code: must be the path of a file"),
        (
            "consent_code = \"credential:/x\"",
            "settings.consent_code: \"credential:/x\" does not name a credential",
        ),
        ("consent_code = \"\"", "settings.consent_code: "),
        ("consent_user = 255", "settings.consent_user: is 255, but must be a whole number from 0 to 254"),
    ] {
        let problem = scale(given).problem();
        let is_repeated = ["4815", "48-15", "48 15"].iter().any(|code| problem.contains(code));
        assert!(problem.contains(expected) && !is_repeated, "{given}: {problem}");
    }
    let untimed = BELT_DEVICE.replace("heart-rate", "weight-scale");
    let entry = format!("{untimed}settings = {{ consent_code = \"/etc/code\" }}\n");
    let problem = Folder::new(GATEWAY, &[("one.toml", &entry)]).problem();
    assert!(problem.contains("settings.consent_code: needs \"current-time\""), "{problem}");
    let entry = format!("{BELT_DEVICE}settings = {{ consent_code = \"/etc/code\" }}\n");
    let problem = Folder::new(GATEWAY, &[("one.toml", &entry)]).problem();
    assert!(problem.contains("is not a setting of heart-rate"), "{problem}");
}

#[test]
fn settings_on_a_command_line_are_judged_alike() {
    let mut settings = Settings::defaults(RACK.settings);
    for good in ["poll=5", "checksum=sum"] {
        set_from_text(&mut settings, &RACK, good).unwrap();
    }
    assert_eq!((settings.number("poll"), settings.word("checksum")), (5, "sum"));
    for (given, expected) in [
        ("poll", "\"poll\" is not NAME=VALUE"),
        ("poll=", "poll is \"\", but must be a whole number from 5 to 60"),
        ("poll=61", "poll is 61, but must be a whole number from 5 to 60"),
        (
            "checksum=exclusiv",
            "checksum is \"exclusiv\", but must be one of exclusive, sum: did you mean \"exclusive\"?",
        ),
        ("pol=1", "pol is not a setting of pump-rack: did you mean \"poll\"?"),
    ] {
        assert_eq!(set_from_text(&mut settings, &RACK, given), Err(expected.to_owned()));
    }
    assert_eq!(
        (settings.number("poll"), settings.word("checksum")),
        (5, "sum"),
        "what is wrong changes nothing"
    );
}

#[test]
fn parts_belong_to_drivers_that_have_places_for_them() {
    let part = "[[device.part]]\nat = \"upper\"\nid = \"x\"\nasset = \"X\"\nelements = \"all\"";
    assert_eq!(
        device_problem(&format!("{PUMP_DEVICE}{part}")),
        "devices.d/one.toml: device[0].part: alaris-asena reads one device at its port: it has no places for others"
    );
    assert!(device_problem(&format!("{BELT_DEVICE}{part}")).contains("part: is for serial devices"));
    let single = format!("{PUMP_DEVICE}{}", part.replace("[[device.part]]", "[device.part]"));
    assert!(device_problem(&single).contains("device[0].part: is a table, but must be a list"));
    // Nothing is said of the places of a driver that is not known.
    let unknown = RACK_DEVICE.replace("pump-rack", "pump-rock");
    assert!(device_problem(&unknown).contains("driver: \"pump-rock\" is not a known driver"));
}

#[test]
fn parts_count_as_devices_of_the_gateway() {
    let racks: String = (0..400)
        .map(|n| {
            let rack = RACK_DEVICE
                .replace("rack-1", &format!("rack-{n}"))
                .replace("path/rack", &format!("path/{n}"));
            let parts = rack.replace("pump-low", &format!("low-{n}")).replace("pump-up", &format!("up-{n}"));
            ["R1", "R2", "R3"].iter().fold(parts, |text, tag| text.replace(tag, &format!("{tag}-{n}")))
        })
        .collect();
    assert_eq!(
        Folder::new(GATEWAY, &[("a.toml", &racks)]).problem(),
        "devices.d/a.toml: device: more than 1024 devices on one gateway"
    );
}

#[test]
fn what_is_allowed_but_worth_a_word_is_noted() {
    let few = PUMP_DEVICE.replace("\"all\"", "[\"MDC_FLOW_FLUID_PUMP\", \"MDC_EVT_OCCL\"]");
    let open = BELT_DEVICE.replace("profiles", "security = \"open\"\nprofiles");
    let notes = Folder::new(GATEWAY, &[("a.toml", &few), ("b.toml", &open)]).load().unwrap().notes;
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert_eq!(notes[0], "pump-1: these alarms will not be passed on: MDC_EVT_ALARM");
    assert!(notes[1].starts_with("belt-1: its radio link is not encrypted"));
}

#[test]
fn a_problem_is_one_line_and_does_not_steer_the_terminal() {
    let folder = Folder::new(&format!("{GATEWAY}\n\"a\\u001b[2J\\nb\" = 1"), &[("a.toml", "[[device]\n")]);
    let problems = folder.load().unwrap_err();
    assert_eq!(problems.iter().count(), 2, "{problems}");
    for problem in problems.iter() {
        assert!(!problem.to_string().chars().any(char::is_control), "{problem:?}");
    }
}

#[test]
fn a_file_of_nothing_but_mistakes_is_cut_off() {
    let many = (0..5_000).map(|n| format!("nonsense{n} = 1")).collect::<Vec<_>>().join("\n");
    let problems = Folder::new(&many, &[("a.toml", PUMP_DEVICE)]).load().unwrap_err();
    assert!(problems.iter().count() <= 200 && problems.count() >= 200);
}

/// Every mistake of the fixture, once each, by file and key; the word is part of the reason.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("gateway.toml", "ward", "not a key"),
    ("gateway.toml", "devices", "listed, none"),
    ("gateway.toml", "gateway.organisation", "a-z, 0-9 and -"),
    ("gateway.toml", "gateway.id", "missing"),
    ("gateway.toml", "uplink.host", "bare host name"),
    ("gateway.toml", "uplink.port", "1 to 65535"),
    ("gateway.toml", "uplink.authorities", "not a path"),
    ("gateway.toml", "uplink.key", "credential"),
    ("gateway.toml", "uplink.payload", "\"fhir\""),
    ("gateway.toml", "uplink.require_subscriber", "true or false"),
    ("gateway.toml", "uplink.window", "1 to 1024"),
    ("gateway.toml", "uplink.keep_alive", "250ms"),
    ("gateway.toml", "uplink.stalled_after", "text in double quotes"),
    ("gateway.toml", "uplink.heartbeat", "1s to 1h"),
    ("gateway.toml", "uplink.backoff_first", "backoff_most"),
    ("gateway.toml", "uplink.keepalive", "\"keep_alive\""),
    ("gateway.toml", "store.cap", "4GiB"),
    ("gateway.toml", "store.alarm_reserve", "16 MiB"),
    ("gateway.toml", "store.linger", "10s"),
    ("gateway.toml", "keys.kek_previous", "a secret does not belong"),
    ("gateway.toml", "keys.ward", "same file"),
    ("gateway.toml", "status.group", "group"),
    ("gateway.toml", "daemon.log", "error, warn, info"),
    ("gateway.toml", "daemon.shutdown_grace", "duration"),
    ("devices.d/10-pumps.toml", "device[0].id", "a-z, 0-9 and -"),
    ("devices.d/10-pumps.toml", "device[0].driver", "\"alaris-asena\""),
    ("devices.d/10-pumps.toml", "device[0].port", "by-path"),
    ("devices.d/10-pumps.toml", "device[0].elements.0", "not a known element"),
    ("devices.d/10-pumps.toml", "device[0].elements.2", "text in double quotes"),
    ("devices.d/10-pumps.toml", "device[1].asset", "1 to 64 bytes"),
    ("devices.d/10-pumps.toml", "device[1].elements.0", "\"MDC_FLOW_FLUID_PUMP\""),
    ("devices.d/10-pumps.toml", "device[1].elements.1", "not read by"),
    ("devices.d/10-pumps.toml", "device[1].elements.3", "twice"),
    ("devices.d/10-pumps.toml", "device[1].line.baud", "50 to"),
    ("devices.d/10-pumps.toml", "device[1].line.parity", "none, even, odd"),
    ("devices.d/10-pumps.toml", "device[1].line.bits", "not a key"),
    ("devices.d/10-pumps.toml", "device[1].expects.serial", "link-only"),
    ("devices.d/10-pumps.toml", "device[3].elements", "\"all\""),
    ("devices.d/10-pumps.toml", "device[3].address", "BLE"),
    ("devices.d/10-pumps.toml", "device[3].id", "taken by"),
    ("devices.d/10-pumps.toml", "device[3].port", "taken by"),
    ("devices.d/10-pumps.toml", "device[4].port", "taken by"),
    ("devices.d/20-ble.toml", "uplink", "belongs in gateway.toml"),
    ("devices.d/20-ble.toml", "device[0].profiles.0", "\"heart-rate\""),
    ("devices.d/20-ble.toml", "device[0].profiles.2", "twice"),
    ("devices.d/20-ble.toml", "device[0].address", "00:1C:05:00:12:34"),
    ("devices.d/20-ble.toml", "device[0].adapter", "hci0"),
    ("devices.d/20-ble.toml", "device[0].security", "bonded, open"),
    ("devices.d/20-ble.toml", "device[0].elements", "empty"),
    ("devices.d/20-ble.toml", "device[1].driver", "not both"),
    ("devices.d/30-torn.toml", "", "not TOML, line 1"),
];

#[test]
fn a_config_with_many_mistakes_gets_all_of_them_reported_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config/many-mistakes");
    let problems = load(&folder, &Environment::default(), &FIXTURE).unwrap_err();
    let found: Vec<(&str, &str)> =
        problems.iter().map(|problem| (problem.file.as_str(), problem.key.as_str())).collect();
    let distinct: BTreeSet<_> = found.iter().copied().collect();
    assert_eq!(distinct.len(), found.len(), "one word for each: {problems}");
    let expected: BTreeSet<_> = MISTAKES.iter().map(|(file, key, _)| (*file, *key)).collect();
    assert!(expected.len() >= 20);
    assert_eq!(
        (
            distinct.difference(&expected).collect::<Vec<_>>(),
            expected.difference(&distinct).collect::<Vec<_>>()
        ),
        (Vec::new(), Vec::new()),
        "left: reported but not expected; right: expected but not reported\n{problems}"
    );
    for (file, key, word) in MISTAKES {
        let problem = problems.iter().find(|p| (p.file.as_str(), p.key.as_str()) == (*file, *key)).unwrap();
        assert!(problem.reason.contains(word), "{problem} does not say {word:?}");
    }
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs")
}

#[test]
fn every_shipped_config_is_valid() {
    let loaded = load(&shipped(), &Environment::default(), &Catalogue::shipped());
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let files = std::fs::read_dir(shipped().join("devices.d")).unwrap().count();
    assert!(loaded.config.devices.len() >= files && files >= 4);
}

#[test]
fn every_catalogue_row_has_a_shipped_example() {
    let loaded = load(&shipped(), &Environment::default(), &Catalogue::shipped()).unwrap();
    let shown: BTreeSet<String> = loaded
        .config
        .devices
        .iter()
        .flat_map(|d| d.rule.card.model.split('+').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let catalogue = Catalogue::shipped();
    let rows = catalogue.serial.iter().map(|row| row.name).chain(catalogue.ble.iter().map(|row| row.name));
    let missing: Vec<_> = rows.filter(|name| !shown.contains(*name)).collect();
    assert!(missing.is_empty(), "no example in configs/devices.d for {missing:?}");
}

/// `configs/gateway.toml` shows each default as `#key = value`. Uncommented, it must say exactly what
/// the built-in layer says, and leave none out.
#[test]
fn the_defaults_that_the_shipped_file_shows_are_the_built_in_ones() {
    let text = std::fs::read_to_string(shipped().join("gateway.toml")).unwrap();
    let shown: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let built_in = Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE)]).load().unwrap().settings;
    let written = Folder::new(&shown, &[("a.toml", PUMP_DEVICE)]).load().unwrap().settings;
    let mut compared = 0;
    for default in built_in.iter().filter(|setting| setting.source == "built-in default") {
        let found = written.iter().find(|setting| setting.key == default.key).unwrap();
        assert_eq!(found.value, default.value, "{}", default.key);
        assert_eq!(found.source, "gateway.toml", "{} is not shown", default.key);
        compared += 1;
    }
    assert!(compared > 15);
}

/// What `floor.toml` shows commented out is what holds without it.
#[test]
fn the_floor_that_the_shipped_file_shows_is_the_built_in_one() {
    let text = std::fs::read_to_string(shipped().join("floor.toml")).unwrap();
    let shown = text.lines().filter_map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")));
    let shown: Vec<&str> = shown.filter(|line| !line.starts_with("host_suffix")).collect();
    assert_eq!(shown.len(), 10, "{shown:?}");
    let folder = Folder::new(GATEWAY, &[("a.toml", PUMP_DEVICE)]);
    let built_in = folder.load().unwrap().config.floor;
    folder.put("floor.toml", shown.join("\n"));
    assert_eq!(folder.load().unwrap().config.floor, built_in);
}

mod any_text {
    use proptest::prelude::*;

    use super::{Environment, FIXTURE, Folder, load};

    const KEYS: &[&str] = &[
        "devices",
        "device",
        "gateway",
        "uplink",
        "store",
        "keys",
        "status",
        "daemon",
        "id",
        "asset",
        "driver",
        "port",
        "profiles",
        "address",
        "elements",
        "expects",
        "line",
        "host",
        "cap",
        "linger",
        "trust",
        "part",
        "at",
        "settings",
        "line_driver",
        "poll",
        "field",
        "columns",
        "name",
        "é.\"=\"",
    ];

    /// Text that looks enough like a configuration to get past the parser often.
    fn toml_like() -> impl Strategy<Value = String> {
        let key = prop::sample::select(KEYS);
        let value = prop_oneof![
            prop::sample::select(vec![
                "1",
                "-1",
                "1.5",
                "true",
                "\"\"",
                "\"all\"",
                "[]",
                "[1, \"x\"]",
                "{}",
                "{ serial = 1 }",
                "[[[]]]",
                "1979-05-27",
                "nan",
                "\"alaris-asena\"",
                "[\"heart-rate\"]",
                "\"4GiB\"",
                "\"\\u0000\"",
                "'''\n'''",
                "\"credential:x\"",
                "99999999999999999999",
                "{ a.b = 1 }",
            ])
            .prop_map(str::to_owned),
            "\\PC{0,12}",
        ];
        let line = prop_oneof![
            (key.clone(), value).prop_map(|(key, value)| format!("{key} = {value}")),
            key.clone().prop_map(|key| format!("[{key}]")),
            key.prop_map(|key| format!("[[{key}]]")),
            "\\PC{0,20}",
        ];
        prop::collection::vec(line, 0..14).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn never_panics_and_never_passes_without_what_is_required(gateway in toml_like(), device in toml_like()) {
            let folder = Folder::new(&gateway, &[("a.toml", &device)]);
            prop_assert!(load(folder.path(), &Environment::default(), &FIXTURE).is_err());
        }

        #[test]
        fn in_the_environment_never_panics(name in "[A-Z_]{0,12}", value in "\\PC{0,40}") {
            let folder = Folder::new(super::GATEWAY, &[("a.toml", super::PUMP_DEVICE)]);
            let variables = [(format!("WARDLINE_{name}").into(), value.into())];
            let _ = load(folder.path(), &Environment::new(variables), &FIXTURE);
        }
    }
}
