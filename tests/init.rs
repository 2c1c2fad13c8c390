//! `wardline init` from outside: the real program, below a folder of its own, with the `systemd-creds` of the machine
//! where there is one.

#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, its helpers too; its own files"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use left_out::left_out;

mod left_out;
#[cfg(target_os = "linux")]
#[path = "init/tpm.rs"]
mod tpm;

/// A machine's root folder, and beside it what a person brings.
struct Machine {
    place: tempfile::TempDir,
}

struct Done {
    exit: i32,
    out: String,
    err: String,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { place: tempfile::tempdir().unwrap() };
        machine.put_user();
        let brought = machine.place.path().join("ca.pem");
        self_signed("/CN=St Anna authority", Path::new("/dev/null"), &brought);
        // As hospitals bring it: to read.
        fs::set_permissions(&brought, fs::Permissions::from_mode(0o644)).unwrap();
        machine
    }

    fn put_user(&self) {
        let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let line = format!("wardline:x:{user}:{group}::/var/lib/wardline:/usr/sbin/nologin\n");
        self.put("etc/passwd", &line);
    }

    fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    fn ca(&self) -> String {
        self.place.path().join("ca.pem").display().to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
        command.arg("init").arg("--root").arg(self.root()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        finish(self.command(arguments).stdin(Stdio::null()))
    }

    /// With all that has to be known.
    fn command_with_all(&self, more: &[&str]) -> Command {
        let ca = self.ca();
        let given = [
            "--organisation",
            "st-anna",
            "--group",
            "icu-3",
            "--id",
            "gw-1",
            "--host",
            "mqtt.st-anna.example",
        ];
        self.command(&[&given[..], &["--authorities", &ca, "--yes"], more].concat())
    }

    fn unattended(&self, more: &[&str]) -> Done {
        finish(self.command_with_all(more).stdin(Stdio::null()))
    }

    /// Every file and folder below the root, with its mode and its bytes.
    fn all(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                let bytes = if metadata.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
                if metadata.is_dir() {
                    folders.push(path.clone());
                }
                found.insert(path, (metadata.mode() & 0o7777, bytes));
            }
        }
        found
    }
}

fn finish(command: &mut Command) -> Done {
    let done = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { exit: done.status.code().unwrap_or(-1), out: text(done.stdout), err: text(done.stderr) }
}

/// Each step's state by what it does; folders by their file.
fn states(done: &Done) -> BTreeMap<String, String> {
    let report: Value =
        serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{}{}", done.out, done.err));
    let steps = report["steps"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    steps.iter().map(|step| (text(&step["file"]), text(&step["state"]))).collect()
}

/// Whether this machine's own `systemd-creds` works.
fn seals() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    fs::write(&file, "x").unwrap();
    let mut command = Command::new("systemd-creds");
    command.arg("encrypt").arg("--name=x").arg(&file).arg("-").stdout(Stdio::null()).stderr(Stdio::null());
    let works = command.status().is_ok_and(|status| status.success());
    if !works {
        left_out("keys in credentials (tests/init.rs)", "systemd-creds does not work here");
    }
    works
}

#[test]
fn keys_in_files_with_a_request_and_a_configuration_that_is_valid() {
    let machine = Machine::new();
    let done = machine.unattended(&["--keys", "files", "--json"]);
    assert_eq!(done.exit, 0, "{}{}", done.out, done.err);
    let report: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(report["protection"], "file");
    assert!(report["worth"].as_str().unwrap().contains("NOT protected against theft"));
    assert_eq!(report["keys_to_escrow"], serde_json::json!(["kek", "ward"]));
    for (path, mode) in [
        ("etc/wardline", 0o750),
        ("etc/wardline/devices.d", 0o750),
        ("etc/credstore", 0o700),
        ("etc/credstore/wardline.kek", 0o400),
        ("etc/credstore/wardline.ward", 0o400),
        ("etc/credstore/wardline.tls-key", 0o400),
    ] {
        assert_eq!(machine.at(path).metadata().unwrap().mode() & 0o7777, mode, "{path}");
    }
    let kek = fs::read(machine.at("etc/credstore/wardline.kek")).unwrap();
    let ward = fs::read(machine.at("etc/credstore/wardline.ward")).unwrap();
    assert!(kek.len() == 32 && ward.len() == 32 && kek != ward);
    let unit = machine.read("etc/systemd/system/wardline.service.d/keys.conf");
    for name in ["kek", "ward", "tls-key"] {
        assert!(unit.contains(&format!("LoadCredential={name}:/etc/credstore/wardline.{name}\n")), "{unit}");
    }
    let mut check = Command::new(env!("CARGO_BIN_EXE_wardline"));
    let checked = finish(check.args(["check", "--config"]).arg(machine.at("etc/wardline")));
    assert_eq!(checked.exit, 0, "{}{}", checked.out, checked.err);
    let read = Command::new("openssl")
        .args(["req", "-verify", "-noout", "-text", "-in"])
        .arg(machine.at("etc/wardline/pki/gateway.csr"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(read.status.success() && text.contains("urn:wardline:st-anna:gw-1"), "{text}");
    assert!(!machine.read("etc/wardline/pki/gateway.csr").contains("PRIVATE"));
}

#[test]
fn a_second_run_changes_nothing() {
    let machine = Machine::new();
    assert_eq!(machine.unattended(&["--keys", "files"]).exit, 0);
    let before = machine.all();
    let again = machine.unattended(&["--keys", "files", "--json"]);
    assert_eq!(again.exit, 0, "{}{}", again.out, again.err);
    assert!(states(&again).values().all(|state| state == "done" || state == "left"), "{}", again.out);
    assert!(machine.all() == before, "a file is another one now");
}

#[test]
fn cut_off_after_any_step_the_same_command_goes_on() {
    let machine = Machine::new();
    let first = machine.unattended(&["--keys", "files", "--json"]);
    let report: Value = serde_json::from_str(&first.out).unwrap();
    let made = |step: &&Value| step["state"] == "made" && step["what"] != "folder";
    let steps: Vec<PathBuf> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(made)
        .map(|step| step["file"].as_str().unwrap().into())
        .collect();
    assert_eq!(steps.len(), 8, "{}", first.out);
    for cut in 0..steps.len() {
        for (place, file) in steps[cut..].iter().enumerate() {
            fs::remove_file(file).unwrap();
            // What a power cut leaves beside the one that it hit.
            if place == 0 {
                let mut name = file.clone().into_os_string();
                name.push(".unfinished");
                fs::write(name, "half").unwrap();
            }
        }
        let before = machine.all();
        let again = machine.unattended(&["--keys", "files", "--json"]);
        assert_eq!(again.exit, 0, "{cut}: {}{}", again.out, again.err);
        let (after, states) = (machine.all(), states(&again));
        for file in &steps[..cut] {
            assert!(before[file] == after[file], "{} is another one now", file.display());
            assert_eq!(states[file.to_str().unwrap()], "done");
        }
        for file in &steps[cut..] {
            assert_eq!(states[file.to_str().unwrap()], "made", "{}", file.display());
        }
    }
}

/// The program itself is killed, as soon as each step is seen to be done: the rest is up to the second run.
#[test]
fn killed_behind_any_step_the_same_command_goes_on_and_makes_no_second_key() {
    let machine = Machine::new();
    let first = machine.unattended(&["--keys", "files", "--json"]);
    let steps: Vec<PathBuf> =
        states(&first).into_keys().map(PathBuf::from).filter(|file| file.is_file()).collect();
    // How many of them cut it short is up to the machine's scheduler: over several rounds some do.
    let cut_short: usize =
        (0..5).map(|_| steps.iter().filter(|step| kill_behind(&machine, step, &steps)).count()).sum();
    assert!(cut_short > 0, "it was never killed before its end");
}

/// Whether it was killed before its end.
fn kill_behind(machine: &Machine, step: &Path, steps: &[PathBuf]) -> bool {
    fs::remove_dir_all(machine.at("etc")).unwrap();
    machine.put_user();
    let mut command = machine.command_with_all(&["--keys", "files", "--json"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    while !step.exists() && child.try_wait().unwrap().is_none() {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    let is_cut_short = !child.wait().unwrap().success();
    let before = machine.all();
    let again = machine.unattended(&["--keys", "files", "--json"]);
    assert_eq!(again.exit, 0, "behind {}: {}{}", step.display(), again.out, again.err);
    let after = machine.all();
    for step in steps {
        assert!(step.is_file(), "{} is missing", step.display());
        let is_same = before.get(step).is_none_or(|before| *before == after[step]);
        assert!(is_same, "{} is another one now", step.display());
    }
    let is_left = |file: &&PathBuf| file.to_string_lossy().contains("unfinished");
    let left: Vec<&PathBuf> = after.keys().filter(is_left).collect();
    assert!(left.is_empty(), "{left:?}");
    is_cut_short
}

#[test]
fn what_stands_there_is_never_overwritten() {
    let machine = Machine::new();
    machine.put("etc/wardline/pki/broker-ca.pem", "another authority");
    let before = machine.all();
    let done = machine.unattended(&["--keys", "files"]);
    assert!(done.exit == 6 && done.err.contains("nothing was done"), "{} {}", done.exit, done.err);
    assert!(
        done.out.contains("broker-ca.pem") && done.out.contains("nothing is overwritten"),
        "{}",
        done.out
    );
    assert!(machine.all() == before);

    let machine = Machine::new();
    machine.put("etc/wardline/gateway.toml", "[uplink]\nhost = \"mqtt.elsewhere.example\"\n");
    let before = machine.all();
    let done = machine.unattended(&["--keys", "files"]);
    assert!(done.exit == 6 && done.err.contains("mqtt.elsewhere.example"), "{} {}", done.exit, done.err);
    assert!(machine.all() == before);
}

#[test]
fn a_wrong_answer_is_told_at_once_and_nobody_to_ask_is_an_error_that_names_what_is_missing() {
    let machine = Machine::new();
    let before = machine.all();
    let done = machine.run(&["--keys", "files"]);
    assert_eq!(done.exit, 2, "{}", done.err);
    for flag in ["--organisation", "--group", "--id", "--host", "--authorities"] {
        assert!(done.err.contains(flag), "{}", done.err);
    }
    let done = machine.unattended(&["--keys", "files", "--port", "70000"]);
    assert!(done.exit == 2 && done.err.contains("65535"), "{}", done.err);
    // All is known, and nobody says yes.
    let ca = machine.ca();
    let given = ["--organisation", "st-anna", "--group", "icu-3", "--id", "gw-1", "--host", "mqtt.example"];
    let done = machine.run(&[&given[..], &["--authorities", &ca, "--keys", "files"]].concat());
    assert!(done.exit == 6 && done.err.contains("--yes"), "{} {}", done.exit, done.err);
    let dry = machine.unattended(&["--keys", "files", "--dry-run", "--json"]);
    assert!(dry.exit == 0 && states(&dry).values().any(|state| state == "to-do"), "{}{}", dry.out, dry.err);
    assert!(machine.all() == before, "something was done");
}

/// Both ends of a terminal: the person's and the program's.
fn terminal() -> (fs::File, fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let terminal = fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    (fs::File::from(person), terminal)
}

#[test]
fn a_person_is_asked_and_asked_again_where_an_answer_will_not_do() {
    let machine = Machine::new();
    let ca = machine.ca();
    let talk = |last: &str| {
        let (mut person, terminal) = terminal();
        for line in [
            "St. Anna",
            "st-anna",
            "icu-3",
            "gw-1",
            "https://mqtt",
            "mqtt.st-anna.example",
            "",
            "none",
            "/nowhere.pem",
            &ca,
            "",
            "new",
            last,
        ] {
            writeln!(person, "{line}").unwrap();
        }
        finish(machine.command(&["--keys", "files"]).stdin(Stdio::from(terminal)))
    };
    let before = machine.all();
    let done = talk("no");
    assert!(done.exit == 6 && done.err.contains("not confirmed"), "{} {}", done.exit, done.err);
    assert!(machine.all() == before);
    let done = talk("yes");
    assert_eq!(done.exit, 0, "{}{}", done.out, done.err);
    for words in ["a-z, 0-9 and -", "not a host name", "/nowhere.pem", "[8883]"] {
        assert!(done.err.contains(words), "{words}: {}", done.err);
    }
    assert!(machine.read("etc/wardline/gateway.toml").contains("organisation = \"st-anna\""));
    assert!(
        done.out.contains("wardline check") && done.out.contains("systemctl enable --now wardline"),
        "{}",
        done.out
    );
    assert!(done.out.contains("Losing the kek means losing what the store holds"), "{}", done.out);
}

#[test]
fn a_machine_without_the_daemons_user_is_refused() {
    let machine = Machine::new();
    machine.put("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    let done = machine.unattended(&["--keys", "files"]);
    assert!(done.exit == 6 && done.err.contains("systemd-sysusers"), "{} {}", done.exit, done.err);
    assert!(!machine.at("etc/wardline").exists());
}

#[test]
fn an_image_gets_no_keys_and_says_why() {
    let machine = Machine::new();
    let done = machine.unattended(&[]);
    assert_eq!(done.exit, 0, "{}{}", done.out, done.err);
    assert!(done.out.contains("an image carries no keys"), "{}", done.out);
    assert!(machine.at("etc/wardline/gateway.toml").exists());
    assert!(!machine.at("etc/credstore").exists() && !machine.at("etc/credstore.encrypted").exists());
}

/// Whoever brings a key has to learn that it is not used: with another one, the certificate would not fit, and the ward
/// would have other pseudonyms.
#[test]
fn a_key_that_is_brought_where_another_one_is_stands_in_the_way_and_the_same_one_does_not() {
    let machine = Machine::new();
    let (certificate, key) = pair(&machine, "own");
    let at = |name: &str| machine.place.path().join(name).display().to_string();
    for (name, first) in [("one", 1), ("two", 2u8)] {
        fs::write(at(name), (first..).take(32).collect::<Vec<u8>>()).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o400)).unwrap();
    }
    let files = ["--certificate", &certificate, "--key", &key, "--ward-key"];
    let sealed = if seals() { &["files", "sealed"][..] } else { &["files"] };
    for keys in sealed {
        let brings = |machine: &Machine, ward: &str| {
            machine.unattended(&[&["--keys", *keys][..], &files, &[at(ward).as_str()]].concat())
        };
        let machine = Machine::new();
        assert_eq!(machine.unattended(&["--keys", keys]).exit, 0);
        let before = machine.all();
        let done = brings(&machine, "one");
        assert!(done.exit == 6 && done.err.contains("nothing was done"), "{} {}", done.exit, done.err);
        for from in [&key, &at("one")] {
            assert!(done.out.contains(&format!("another key than that of {from}")), "{}", done.out);
        }
        assert!(machine.all() == before);

        let machine = Machine::new();
        assert_eq!(brings(&machine, "one").exit, 0);
        let before = machine.all();
        let done = brings(&machine, "one");
        assert_eq!(done.exit, 0, "{}{}", done.out, done.err);
        let done = brings(&machine, "two");
        assert!(done.exit == 6 && done.out.contains(&at("two")), "{} {}", done.exit, done.out);
        assert!(!done.out.contains(&format!("another key than that of {key}")), "{}", done.out);
        assert!(machine.all() == before);
    }
}

/// A line of the site's own names a key: the one that is brought is not it.
#[test]
fn a_key_that_is_brought_where_the_configuration_names_another_stands_in_the_way() {
    let machine = Machine::new();
    let ward = machine.place.path().join("one").display().to_string();
    fs::write(&ward, (1..=32).collect::<Vec<u8>>()).unwrap();
    fs::set_permissions(&ward, fs::Permissions::from_mode(0o400)).unwrap();
    machine.put("etc/wardline/gateway.toml", "[keys]\nward = \"/etc/wardline/ward\"\n");
    let done = machine.unattended(&["--keys", "files", "--ward-key", &ward]);
    assert!(
        done.exit == 6 && done.out.contains("keys.ward in gateway.toml names"),
        "{} {}",
        done.exit,
        done.out
    );
}

/// A certificate and its key, in files beside the machine.
fn pair(machine: &Machine, name: &str) -> (String, String) {
    let at = |end: &str| machine.place.path().join(format!("{name}.{end}"));
    let (certificate, key) = (at("pem"), at("key"));
    self_signed("/CN=gw-1", &key, &certificate);
    (certificate.display().to_string(), key.display().to_string())
}

fn self_signed(subject: &str, key: &Path, certificate: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days"])
        .args(["30", "-subj", subject, "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// What is there in the clear is no reason to keep the next key so.
#[test]
fn a_key_that_is_brought_later_is_kept_as_it_is_said() {
    if !seals() {
        return;
    }
    let machine = Machine::new();
    assert_eq!(machine.unattended(&["--keys", "files"]).exit, 0);
    fs::remove_file(machine.at("etc/credstore/wardline.tls-key")).unwrap();
    let (certificate, key) = pair(&machine, "own");
    // As the unit's drop-in, which names that key in the clear, is written anew.
    fs::remove_file(machine.at("etc/systemd/system/wardline.service.d/keys.conf")).unwrap();
    let done = machine.unattended(&["--keys", "sealed", "--certificate", &certificate, "--key", &key]);
    assert_eq!(done.exit, 0, "{}{}", done.out, done.err);
    assert!(machine.at("etc/credstore.encrypted/wardline.tls-key").exists());
    assert!(!machine.at("etc/credstore/wardline.tls-key").exists());
}

#[test]
fn sealed_keys_open_to_32_bytes_on_this_machine() {
    if !seals() {
        return;
    }
    let machine = Machine::new();
    let done = machine.unattended(&["--keys", "sealed", "--json"]);
    assert_eq!(done.exit, 0, "{}{}", done.out, done.err);
    let report: Value = serde_json::from_str(&done.out).unwrap();
    let worth = report["worth"].as_str().unwrap();
    match report["protection"].as_str().unwrap() {
        "credential-host" => assert!(worth.contains("NOT protected"), "{worth}"),
        other => assert_eq!(other, "credential-tpm2"),
    }
    for name in ["kek", "ward"] {
        let file = machine.at(&format!("etc/credstore.encrypted/wardline.{name}"));
        let opened = Command::new("systemd-creds")
            .arg("decrypt")
            .arg(format!("--name={name}"))
            .arg(&file)
            .arg("-")
            .output();
        assert_eq!(opened.unwrap().stdout.len(), 32, "{name}");
    }
    assert!(!machine.at("etc/systemd").exists(), "the unit looks there by itself");
    assert!(machine.read("etc/wardline/pki/gateway.csr").contains("CERTIFICATE REQUEST"));
    // The same request again, out of the key that is there.
    let request = machine.read("etc/wardline/pki/gateway.csr");
    fs::remove_file(machine.at("etc/wardline/pki/gateway.csr")).unwrap();
    assert_eq!(machine.unattended(&["--keys", "sealed"]).exit, 0);
    assert_eq!(machine.read("etc/wardline/pki/gateway.csr"), request);
}

#[cfg(feature = "operator")]
mod package {
    use super::*;

    fn fleet(place: &Path) -> PathBuf {
        let words = place.join("passphrases.toml");
        let keys = ["root-1", "root-2", "root-3", "config-1", "config-2", "config-3", "timestamp-1"];
        let text: String = keys.map(|key| format!("{key} = \"a passphrase for {key}\"\n")).concat();
        fs::write(&words, text).unwrap();
        fs::set_permissions(&words, fs::Permissions::from_mode(0o600)).unwrap();
        let folder = place.join("fleet");
        let run = |command: &mut Command| {
            let done = finish(command);
            assert_eq!(done.exit, 0, "{}{}", done.out, done.err);
        };
        let fleet = || Command::new(env!("CARGO_BIN_EXE_wardline-fleet"));
        run(fleet()
            .args(["init", "--organisation", "st-anna", "--passphrase-file"])
            .arg(&words)
            .arg(&folder));
        run(fleet().args(["gateway", "add", "gw-7", "--group", "icu-3"]).arg(&folder));
        folder.join("enrol/gw-7")
    }

    #[test]
    fn an_enrolment_package_sets_a_gateway_up_unattended_with_the_trust_of_enrol() {
        let machine = Machine::new();
        let package = fleet(machine.place.path()).display().to_string();
        let ca = machine.ca();
        let given = ["--package", &package, "--host", "mqtt.st-anna.example", "--authorities", &ca];
        let all = [&given[..], &["--yes", "--keys", "files", "--json"]].concat();
        let done = machine.run(&all);
        assert_eq!(done.exit, 0, "{}{}", done.out, done.err);
        let text = machine.read("etc/wardline/gateway.toml");
        assert!(
            text.contains("id = \"gw-7\"") && text.contains("folder = \"/var/lib/wardline/fleet\""),
            "{text}"
        );
        assert!(
            machine.at("var/lib/wardline/fleet/state.a").exists()
                || machine.at("var/lib/wardline/fleet/state.b").exists()
        );
        let before = machine.all();
        let again = machine.run(&all);
        assert_eq!(again.exit, 0, "{}{}", again.out, again.err);
        assert!(machine.all() == before);

        let other = Machine::new();
        fs::write(Path::new(&package).join("root.json"), "{}").unwrap();
        let done = other.run(&all);
        assert!(done.exit == 6 && done.err.contains("root.json"), "{} {}", done.exit, done.err);
        assert!(!other.at("etc/wardline").exists(), "nothing was done");
    }
}
