//! The commands from outside, through the real binary: output, exit codes, behaviour in a pipe.

#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "every function of this file is a test or the helper of one"
)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use wardline::cli::exit::Exit;
use wardline::config::Catalogue;
use wardline::host::status::{Device, Lane, Radio, Snapshot, StatusSocket, Unlisted, Uplink};

const BINARY: &str = env!("CARGO_BIN_EXE_wardline");

/// Valid without any driver.
const GATEWAY: &str = r#"
devices = "none"
[gateway]
organisation = "org"
group = "ward"
id = "gw-1"
[uplink]
host = "broker.example.org"
authorities = "ca.pem"
certificate = "own.pem"
[status]
socket = "status.sock"
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    #[expect(clippy::disallowed_methods, reason = "a test's own file, read back at once")]
    fn new(gateway: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.path().join("gateway.toml"), gateway).unwrap();
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// The command in an environment of its own.
fn wardline(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> (i32, String, String) {
    shown(&command.output().unwrap())
}

fn shown(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn code(exit: Exit) -> i32 {
    i32::from(exit.code())
}

fn check(folder: &Path, more: &[&str]) -> (i32, String, String) {
    output(wardline(&["check", "--config", folder.to_str().unwrap()]).args(more))
}

#[test]
fn help_goes_to_standard_output_and_names_every_exit_code() {
    let (exit, out, err) = output(&mut wardline(&["--help"]));
    assert_eq!((exit, err.as_str()), (code(Exit::Ok), ""));
    for (_, number, meaning) in Exit::TABLE {
        assert!(out.contains(&format!("  {number}  {meaning}")), "{number} is not in the help:\n{out}");
    }
    let commands = [
        "run", "check", "status", "devices", "spool", "audit", "wipe", "drivers", "keys", "decode", "pair",
        "unpair", "metrics",
    ];
    for command in commands {
        assert!(out.contains(command));
        let (exit, out, _) = output(&mut wardline(&[command, "--help"]));
        assert_eq!(exit, code(Exit::Ok));
        assert!(out.contains("Usage:"), "{out}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in [
        &["no-such-command"][..],
        &["check", "--no-such-option"],
        &["decode", "ble", "xyz", "00"],
        &["decode", "ble", "2A37", "0"],
        &["decode", "ble", "2A37", "zz"],
        &["decode", "ble", "2A37"],
        &["decode", "serial", "no-such-driver", "-"],
        &["--json"],
        &[],
    ] {
        let (exit, out, err) = output(&mut wardline(arguments));
        assert_eq!((exit, out.as_str()), (code(Exit::Usage), ""), "{arguments:?}");
        assert!(!err.is_empty());
    }
}

#[test]
fn the_version_is_for_a_person_and_with_json_for_an_inventory() {
    for flag in ["--version", "-V"] {
        let (exit, out, _) = output(&mut wardline(&[flag]));
        assert_eq!((exit, out), (code(Exit::Ok), format!("wardline {}\n", env!("CARGO_PKG_VERSION"))));
    }
    let (exit, out, _) = output(&mut wardline(&["--version", "--json"]));
    let version: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(exit, code(Exit::Ok));
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["supported_until"].as_str().unwrap().len(), "2028-12-31".len());
    assert_eq!(version["serial_drivers"].as_array().unwrap().len(), Catalogue::shipped().serial.len());
}

#[test]
fn a_valid_configuration_is_said_to_be_valid_and_what_is_not_here_is_noted() {
    let folder = Folder::new(GATEWAY);
    for name in ["ca.pem", "own.pem"] {
        fs::File::create(folder.path().join(name)).unwrap();
    }
    let (exit, out, err) = check(folder.path(), &[]);
    assert_eq!((exit, out.as_str(), err.as_str()), (code(Exit::Ok), "valid: 0 devices\n", ""));
    let (exit, out, _) = check(folder.path(), &["--json"]);
    assert_eq!(exit, code(Exit::Ok));
    assert_eq!(out, "{\"valid\":true,\"problems\":[],\"more\":0,\"notes\":[]}\n");

    fs::remove_file(folder.path().join("own.pem")).unwrap();
    let mut command = wardline(&["check", "--config", folder.path().to_str().unwrap()]);
    let (exit, out, _) = output(command.env("WARDLINE_STATUS__GROUP", "no-such-group"));
    assert_eq!(exit, code(Exit::Ok), "it may be for another machine");
    assert!(
        out.contains("note: uplink.certificate: ") && out.contains("own.pem is not on this machine"),
        "{out}"
    );
    assert!(out.contains("note: status.group: there is no group \"no-such-group\""), "{out}");
}

#[test]
fn a_store_that_is_larger_than_its_volume_is_a_problem_where_the_volume_is_known() {
    let folder = Folder::new(GATEWAY);
    let store = folder.path().join("store");
    let mut command = wardline(&["check", "--config", folder.path().to_str().unwrap()]);
    command.env("WARDLINE_STORE__FOLDER", &store).env("WARDLINE_STORE__CAP", "9000000GiB");
    let (exit, out, _) = output(&mut command);
    assert_eq!(exit, code(Exit::Ok), "the folder may come on another volume\n{out}");
    let words = "bytes is more than the volume of";
    assert!(out.contains("note: store.cap: ") && out.contains(words), "{out}");

    fs::create_dir(&store).unwrap();
    let (exit, out, _) = output(&mut command);
    assert_eq!(exit, code(Exit::Config), "{out}");
    assert!(out.contains("WARDLINE_STORE__CAP: store.cap: ") && out.contains(words), "{out}");
    assert!(out.ends_with("not valid: 1 problem\n"), "{out}");
    let (exit, out, _) = output(command.env("WARDLINE_STORE__CAP", "1GiB"));
    assert_eq!(exit, code(Exit::Ok), "{out}");
    assert!(!out.contains("store.cap"), "{out}");
}

#[test]
fn show_names_the_layer_of_every_value() {
    let folder = Folder::new(GATEWAY);
    let folder = folder.path().to_str().unwrap();
    let mut command = wardline(&["check", "--show", "--config", folder]);
    let (exit, out, _) = output(command.env("WARDLINE_UPLINK__PORT", "1883"));
    assert_eq!(exit, code(Exit::Ok));
    for line in [
        "uplink.port = 1883  # WARDLINE_UPLINK__PORT",
        "uplink.host = \"broker.example.org\"  # gateway.toml",
        "store.cap = \"4GiB\"  # built-in default",
    ] {
        assert!(out.lines().any(|shown| shown == line), "{line:?} is not in\n{out}");
    }
    let (_, out, _) = output(&mut wardline(&["check", "--show", "--json", "--config", folder]));
    let shown: Value = serde_json::from_str(&out).unwrap();
    let settings = shown["settings"].as_array().unwrap();
    assert!(
        settings
            .iter()
            .any(|setting| setting["key"] == "store.cap" && setting["source"] == "built-in default")
    );
}

#[test]
fn a_configuration_with_many_mistakes_ends_with_3_and_names_them_all() {
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/config/many-mistakes");
    let (exit, out, _) = check(&fixture, &[]);
    assert_eq!(exit, code(Exit::Config));
    for problem in [
        "gateway.toml: uplink.port: 88830 is not from 1 to 65535",
        "devices.d/10-pumps.toml: device[0].port: \"/dev/ttyUSB0\" may name another device after a reboot",
        "devices.d/30-torn.toml: is not TOML, line 1",
    ] {
        assert!(out.contains(problem), "{problem:?} is not in\n{out}");
    }
    assert!(out.lines().last().unwrap().starts_with("not valid: "));
    let (exit, out, _) = check(&fixture, &["--json"]);
    let verdict: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, &verdict["valid"]), (code(Exit::Config), &Value::Bool(false)));
    let problems = verdict["problems"].as_array().unwrap();
    assert!(problems.len() >= 20);
    assert!(
        problems.iter().all(|p| p["file"].is_string() && p["key"].is_string() && p["reason"].is_string())
    );
}

#[test]
fn run_refuses_an_invalid_configuration_with_3_and_says_why() {
    let folder = Folder::new("[uplink]\nprot = 1\n");
    let (exit, out, err) = output(&mut wardline(&["run", "--config", folder.path().to_str().unwrap()]));
    assert_eq!((exit, out.as_str()), (code(Exit::Config), ""));
    assert!(
        err.contains("gateway.toml: uplink.prot: is not a key that is known here: did you mean \"port\"?"),
        "{err}"
    );
    let (exit, _, err) = output(&mut wardline(&["run", "--config", "/nonexistent"]));
    assert_eq!(exit, code(Exit::Config));
    assert!(err.contains("/nonexistent: cannot be read"), "{err}");
}

/// The keys that the configuration names do not exist.
#[test]
fn run_without_its_keys_ends_with_4() {
    let folder = Folder::new(GATEWAY);
    let mut command = wardline(&["run", "--config", folder.path().to_str().unwrap()]);
    command.env("WARDLINE_STORE__FOLDER", folder.path().join("store"));
    let (exit, _, err) = output(command.env("WARDLINE_KEYS__KEK", "missing.key"));
    assert_eq!(exit, code(Exit::Keys), "{err}");
    assert!(err.contains("missing.key"), "{err}");
}

/// Everything is there but the store: a file stands where its folder should be.
#[cfg(feature = "lab")]
#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own files, read back at once")]
fn run_with_a_store_that_cannot_be_used_ends_with_5() {
    let folder = Folder::new(GATEWAY);
    let own = rcgen::generate_simple_self_signed(vec!["gw-1".to_owned()]).unwrap();
    for (name, text) in [
        ("ca.pem", own.cert.pem()),
        ("own.pem", own.cert.pem()),
        ("own.key", own.signing_key.serialize_pem()),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    for name in ["kek", "ward"] {
        let key = folder.path().join(name);
        fs::write(&key, name.repeat(32).as_bytes().get(..32).unwrap()).unwrap();
        fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    }
    fs::write(folder.path().join("store"), "not a folder").unwrap();
    let mut command = wardline(&["run", "--config", folder.path().to_str().unwrap()]);
    for (name, value) in
        [("UPLINK__KEY", "own.key"), ("KEYS__KEK", "kek"), ("KEYS__WARD", "ward"), ("STORE__FOLDER", "store")]
    {
        command.env(format!("WARDLINE_{name}"), value);
    }
    let (exit, _, err) = output(&mut command);
    assert_eq!(exit, code(Exit::Store), "{err}");
}

#[test]
fn drivers_lists_the_whole_catalogue() {
    let (exit, out, _) = output(&mut wardline(&["drivers", "--json"]));
    let drivers: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(exit, code(Exit::Ok));
    let catalogue = Catalogue::shipped();
    assert_eq!(drivers["serial"].as_array().unwrap().len(), catalogue.serial.len());
    assert_eq!(drivers["ble"].as_array().unwrap().len(), catalogue.ble.len());
    let (exit, text, _) = output(&mut wardline(&["drivers"]));
    assert_eq!(exit, code(Exit::Ok));
    for model in catalogue.serial {
        assert!(text.contains(model.name) && text.contains(model.title));
        assert!(model.reads.iter().all(|metric| text.contains(metric.reference)));
    }
    for profile in catalogue.ble {
        assert!(text.contains(profile.name) && text.contains(&format!("0x{:04X}", profile.service)));
        let own = text.split("BLE profiles").nth(1).unwrap();
        let own = own.split(&format!("  {}  ", profile.name)).nth(1).unwrap();
        let own = own.split("service 0x").take(2).collect::<String>();
        for setting in profile.settings() {
            let line = format!("settings.{} = {}", setting.name, setting.default_text());
            assert!(own.contains(&line) && own.contains(setting.meaning), "{}: {line}", profile.name);
        }
    }
    assert!(text.starts_with("Serial drivers\n"), "no colours in a pipe");
}

#[test]
fn a_driver_that_the_site_describes_is_listed_and_decodes_where_its_folder_is_named() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/configs");
    let (exit, out, err) = output(&mut wardline(&["drivers", "--json", "--config", folder]));
    assert_eq!(exit, code(Exit::Ok), "{err}");
    let drivers: Value = serde_json::from_str(&out).unwrap();
    let serial = drivers["serial"].as_array().unwrap();
    assert_eq!(serial.len(), Catalogue::shipped().serial.len() + 1);
    assert_eq!(serial.last().unwrap()["name"], "site:acme-warmer");
    let capture = tempfile::NamedTempFile::new().unwrap();
    let line = |text: &str| format!("{text}{:02X}\r\n", text.bytes().fold(0, |sum, byte| sum ^ byte));
    let lines = line("ID,AW300417,") + &line("ST,371,38.0C,RUN,");
    Write::write_all(&mut capture.as_file(), lines.as_bytes()).unwrap();
    let path = capture.path().to_str().unwrap();
    let arguments = ["decode", "serial", "--config", folder, "site:acme-warmer", path];
    let (exit, out, err) = output(&mut wardline(&arguments));
    assert_eq!(exit, code(Exit::Ok), "{err}");
    assert!(err.contains("AW300417"), "{err}");
    let first: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["value"], &first["quality"][0]),
        (&Value::from("37.1"), &Value::from("site-configured"))
    );
    assert_eq!(out.lines().count(), 3, "{out}");
    let (exit, _, err) = output(&mut wardline(&["decode", "serial", "site:acme-warmer", path]));
    assert_eq!(exit, code(Exit::Usage));
    assert!(err.contains("name the folder that describes it with --config"), "{err}");
}

#[test]
fn decode_says_what_a_heart_rate_value_means() {
    // Flags 0x00: the rate in one byte (Heart Rate Service 1.0, 3.1).
    for characteristic in ["2A37", "0x2a37", "00002a37-0000-1000-8000-00805f9b34fb"] {
        let (exit, out, err) = output(&mut wardline(&["decode", "ble", characteristic, "00", "0x48"]));
        assert_eq!((exit, err.as_str()), (code(Exit::Ok), ""));
        let first: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&first["code"], &first["ref"], &first["value"], &first["unit"]),
            (
                &Value::from(147_842),
                &Value::from("MDC_ECG_HEART_RATE"),
                &Value::from("72"),
                &Value::from("/min")
            )
        );
        assert_eq!((&first["kind"], &first["status"]), (&Value::from("measurement"), &Value::from("final")));
    }
}

#[test]
fn a_payload_that_must_be_refused_ends_with_6_and_the_reason() {
    for arguments in [
        &["decode", "ble", "2A37", "00"][..],
        &["decode", "ble", "2A37", ""],
        &["decode", "ble", "FFFF", "00"],
    ] {
        let (exit, out, err) = output(&mut wardline(arguments));
        assert_eq!((exit, out.as_str()), (code(Exit::Refused), ""), "{arguments:?}: {err}");
        assert!(err.starts_with("wardline: "), "{err}");
    }
}

#[test]
fn a_capture_with_nothing_in_it_is_refused_and_an_absent_one_is_a_failure() {
    for model in Catalogue::shipped().serial {
        let (exit, out, err) = output(&mut wardline(&["decode", "serial", model.name, "-"]));
        assert_eq!((exit, out.as_str()), (code(Exit::Refused), ""));
        assert!(err.contains("is a whole frame of") || err.contains("refused: "), "{err}");
        let (exit, _, err) = output(&mut wardline(&["decode", "serial", model.name, "/nonexistent/capture"]));
        assert_eq!(exit, code(Exit::Failed));
        assert!(err.contains("/nonexistent/capture cannot be read"), "{err}");
    }
}

#[test]
fn status_without_a_daemon_ends_with_7() {
    let folder = Folder::new(GATEWAY);
    for arguments in [
        vec!["status", "--config", folder.path().to_str().unwrap()],
        vec!["status", "--json", "--socket", "/nonexistent/status.sock"],
    ] {
        let (exit, out, err) = output(&mut wardline(&arguments));
        assert_eq!((exit, out.as_str()), (code(Exit::NotRunning), ""));
        assert!(err.contains("is it running?"), "{err}");
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        version: "0.1.0".into(),
        gateway: "gw-1".into(),
        uptime_ms: 61_000,
        devices: vec![Device {
            id: "pump-1".into(),
            model: "alaris-asena".into(),
            link: "up".into(),
            quarantine: Some("pump-1 says\u{1b}[2J its serial is another".into()),
            last_reading_age_ms: Some(1_500),
            admitted: 42,
            ..Device::default()
        }],
        lanes: vec![Lane { lane: "alarm".into(), records: 7, bytes: 2_048, ..Lane::default() }],
        uplink: Uplink { state: "connected".into(), certificate_days_left: Some(80), ..Uplink::default() },
        radios: vec![Radio {
            adapter: "hci0".into(),
            last_advert_age_ms: Some(65_000),
            restarts: 3,
            power_cycles: 2,
            usb_resets_asked: 1,
            ..Radio::default()
        }],
        unlisted: vec![Unlisted { address: "AA:BB:CC:DD:EE:FF".into() }],
        warnings: vec!["look here".into()],
        ..Snapshot::default()
    }
}

/// Runs the command while a daemon's socket answers beside it.
#[expect(clippy::disallowed_methods, reason = "the command blocks, so it needs a thread beside the server's")]
fn beside_a_daemon(folder: &Folder, mut command: Command) -> (i32, String, String) {
    let path = folder.path().join("status.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = StatusSocket::bind(&path, None).await.unwrap();
        let client = tokio::task::spawn_blocking(move || output(&mut command));
        tokio::select! {
            () = socket.serve(snapshot) => unreachable!("it serves for ever"),
            answer = client => answer.unwrap(),
        }
    })
}

#[test]
fn status_shows_what_the_daemon_says() {
    let folder = Folder::new(GATEWAY);
    let config = folder.path().to_str().unwrap();
    let (exit, out, err) = beside_a_daemon(&folder, wardline(&["status", "--json", "--config", config]));
    assert_eq!((exit, err.as_str()), (code(Exit::Ok), ""));
    assert_eq!(serde_json::from_str::<Snapshot>(&out).unwrap(), snapshot());

    let (exit, out, _) = beside_a_daemon(&folder, wardline(&["status", "--config", config]));
    assert_eq!(exit, code(Exit::Ok));
    for part in [
        "gw-1",
        "running for 1 min 1 s",
        "connected",
        "80 days left",
        "pump-1",
        "WRONG",
        "42",
        "2 KiB",
        "hci0 scans, last heard a device 1 min 5 s ago; 3 scan restart(s), 2 power cycle(s), 1 USB reset(s)",
        "look here",
    ] {
        assert!(out.contains(part), "{part:?} is not in\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "neither colours in a pipe nor a device's control characters");
}

#[test]
fn metrics_are_a_page_for_each_reader_and_say_that_a_daemon_is_away() {
    let folder = Folder::new(GATEWAY);
    let config = folder.path().to_str().unwrap();
    let (exit, out, err) = beside_a_daemon(&folder, wardline(&["metrics", "--config", config]));
    assert_eq!((exit, err.as_str()), (code(Exit::Ok), ""));
    assert!(out.contains("wardline_daemon_up 1\n") && out.ends_with("# EOF\n"), "{out}");
    assert!(
        out.contains("wardline_device_quarantined{device=\"pump-1\",driver=\"alaris-asena\"} 1\n"),
        "{out}"
    );

    let page = folder.path().join("wardline.prom");
    let to_page = ["metrics", "--config", config, "--textfile", page.to_str().unwrap()];
    let (exit, out, _) = beside_a_daemon(&folder, wardline(&to_page));
    assert_eq!((exit, out.as_str()), (code(Exit::Ok), ""));
    assert!(fs::read_to_string(&page).unwrap().contains("wardline_device_admitted_observations_total{"));
    // The exporter is another user, whatever mask this one has.
    assert_eq!(fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o644);

    let (exit, _, err) = output(&mut wardline(&to_page));
    assert_eq!(exit, code(Exit::NotRunning));
    assert!(err.contains("is it running?"), "{err}");
    let away = fs::read_to_string(&page).unwrap();
    assert!(away.ends_with("\nwardline_daemon_up 0\n") && away.lines().count() == 3, "{away}");
}

#[test]
fn metrics_of_a_daemon_that_hangs_are_not_those_of_before() {
    let folder = Folder::new(GATEWAY);
    let config = folder.path().to_str().unwrap();
    let page = folder.path().join("wardline.prom");
    let to_page = ["metrics", "--config", config, "--textfile", page.to_str().unwrap()];
    let (exit, _, _) = beside_a_daemon(&folder, wardline(&to_page));
    assert_eq!(exit, code(Exit::Ok));
    let says =
        |up: &str| fs::read_to_string(&page).unwrap().contains(&format!("\nwardline_daemon_up {up}\n"));
    assert!(says("1"));
    // It takes every question and answers none.
    let hung = std::os::unix::net::UnixListener::bind(folder.path().join("status.sock")).unwrap();
    let (exit, _, err) = output(&mut wardline(&to_page));
    drop(hung);
    assert_eq!(exit, code(Exit::NotRunning), "{err}");
    assert!(err.contains("it hangs"), "{err}");
    assert!(says("0"));
    assert_eq!(fs::read_to_string(&page).unwrap().lines().count(), 3);
}

#[test]
fn devices_shows_the_allowlist_and_who_else_was_seen() {
    let folder = Folder::new(GATEWAY);
    let config = folder.path().to_str().unwrap();
    let (exit, out, err) = output(&mut wardline(&["devices", "--json", "--config", config]));
    assert_eq!(exit, code(Exit::Ok));
    assert!(err.contains("only the allowlist is known"), "{err}");
    assert_eq!(out, "{\"devices\":[],\"running\":false,\"unlisted\":null}\n");

    let (exit, out, err) = beside_a_daemon(&folder, wardline(&["devices", "--config", config]));
    assert_eq!((exit, err.as_str()), (code(Exit::Ok), ""));
    assert!(out.contains("AA:BB:CC:DD:EE:FF"), "{out}");
}

#[test]
fn a_reader_that_goes_away_is_not_an_error() {
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/config/many-mistakes");
    let mut child = wardline(&["check", "--config", fixture.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let (exit, _, err) = shown(&child.wait_with_output().unwrap());
    assert_eq!((exit, err.as_str()), (code(Exit::Config), ""), "the verdict stands, without a panic");
}

#[test]
fn standard_output_that_cannot_be_written_is_a_failure() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let (exit, _, err) = shown(&wardline(&["--version"]).stdout(full).output().unwrap());
    assert_eq!(exit, code(Exit::Failed));
    assert!(err.contains("No space left"), "{err}");
}

#[test]
fn a_capture_can_come_through_a_pipe() {
    for model in Catalogue::shipped().serial {
        let mut child = wardline(&["decode", "serial", model.name, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&vec![0x55; 70_000]).unwrap();
        let (exit, out, _) = shown(&child.wait_with_output().unwrap());
        assert_eq!((exit, out.as_str()), (code(Exit::Refused), ""), "noise says nothing");
    }
}
