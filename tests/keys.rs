//! `wardline keys` from outside, with keys in files: what is made, what is shown, what is refused.

#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "every function of this file is a test or the helper of one"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use wardline::cli::exit::Exit;
use wardline::envelope::keys::load_kek;
use wardline::store;
use wardline::time::{BootId, Now};

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
[store]
folder = "store"
cap = "96MiB"
alarm_reserve = "16MiB"
[keys]
kek = "kek"
ward = "ward"
"#;

/// A configuration of one's own.
struct Home(tempfile::TempDir);

impl Home {
    #[expect(clippy::disallowed_methods, reason = "a test's own file, read back at once")]
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::write(home.path("gateway.toml"), GATEWAY).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn keys(&self, arguments: &[&str]) -> (u8, String, String) {
        self.keys_with(arguments, &[])
    }

    fn keys_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (u8, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
        command.env_clear().envs(variables.iter().copied()).stdin(Stdio::null()).current_dir(self.0.path());
        let output = command.arg("keys").args(arguments).args(["--config", "."]).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let exit = u8::try_from(output.status.code().unwrap()).unwrap();
        (exit, text(output.stdout), text(output.stderr))
    }

    /// Makes a key, and gives its id.
    fn make(&self, name: &str) -> String {
        let (exit, out, err) = self.keys(&["make", name, "--json"]);
        assert_eq!(exit, 0, "{err}");
        let made: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(made["protection"], "file");
        made["id"].as_str().unwrap().to_owned()
    }

    /// Makes a store under a key.
    fn store(&self, kek: &Path) {
        let config = store::Config {
            folder: self.path("store"),
            anchor: None,
            cap: 96 << 20,
            alarm_reserve: 16 << 20,
            linger: Duration::ZERO,
        };
        let (kek, random) = (load_kek(kek).unwrap(), Arc::new(ring::rand::SystemRandom::new()));
        let _ = store::open(&config, kek.into(), BootId([1; 16]), Now::default(), random).unwrap();
    }
}

#[test]
fn a_key_is_made_for_its_owner_alone_and_never_over_another() {
    let home = Home::new();
    let id = home.make("kek");
    let path = home.path("kek");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o400);
    assert_eq!(load_kek(&path).unwrap().id().to_string(), id);
    let before = std::fs::read(&path).unwrap();
    assert_eq!(before.len(), 32);
    let (exit, out, err) = home.keys(&["make", "kek"]);
    assert_eq!((exit, out.as_str()), (Exit::Refused.code(), ""));
    assert!(err.contains("never made over another"), "{err}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_ne!(home.make("another"), id);
    let (exit, _, err) = home.keys(&["make", "no-such-folder/kek"]);
    assert!(exit == Exit::Failed.code() && err.contains("no-such-folder"), "{exit}: {err}");
}

#[test]
fn the_keys_are_shown_by_place_protection_and_id_and_never_themselves() {
    let home = Home::new();
    let (id, _ward) = (home.make("kek"), home.make("ward"));
    let (exit, out, err) = home.keys(&["show", "--json"]);
    assert_eq!(exit, 0, "{err}");
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&shown["kek"]["id"], &shown["kek"]["protection"]), (&Value::from(id), &Value::from("file")));
    assert!(shown["kek"]["place"].as_str().unwrap().ends_with("/kek"));
    assert_eq!((&shown["kek_previous"], &shown["store"]["kek"]), (&Value::Null, &Value::Null));
    assert_eq!(shown["ward"].get("id"), None, "a ward's key has no name");
    let (exit, out, _) = home.keys(&["show"]);
    assert!(exit == 0 && out.contains("is not there yet"), "{out}");

    std::fs::set_permissions(home.path("ward"), PermissionsExt::from_mode(0o644)).unwrap();
    let (exit, out, _) = home.keys(&["show"]);
    assert_eq!(exit, Exit::Keys.code());
    assert!(out.contains("! ward: ") && out.contains("chmod 0400"), "{out}");
}

#[test]
fn a_credential_is_shown_as_one() {
    let home = Home::new();
    home.make("a");
    home.make("ward");
    let credentials = home.path("").display().to_string();
    let variables = [("WARDLINE_KEYS__KEK", "credential:a"), ("CREDENTIALS_DIRECTORY", credentials.as_str())];
    let (exit, out, err) = home.keys_with(&["show", "--json"], &variables);
    assert_eq!(exit, 0, "{err}");
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(shown["kek"]["protection"], "credential");
}

/// The key is lost; the store is not.
#[test]
fn no_key_is_made_in_the_place_of_a_lost_one_and_the_way_out_is_said() {
    let home = Home::new();
    let id = home.make("kek");
    home.make("ward");
    home.store(&home.path("kek"));
    std::fs::rename(home.path("kek"), home.path("found-later")).unwrap();
    for path in ["kek", "./store/../kek"] {
        let (exit, _, err) = home.keys(&["make", path]);
        assert_eq!(exit, Exit::Refused.code(), "{err}");
        for words in [id.as_str(), "copy", "keys.kek_previous", "move the whole store folder away"] {
            assert!(err.contains(words), "{words}: {err}");
        }
        assert!(!home.path("kek").exists());
    }
    // A place of its own is for a change of the key.
    home.make("kek-2");
    let (exit, out, _) = home.keys_with(
        &["show", "--json"],
        &[("WARDLINE_KEYS__KEK", "kek-2"), ("WARDLINE_KEYS__KEK_PREVIOUS", "found-later")],
    );
    assert_eq!(exit, 0, "{out}");
    let (exit, out, _) = home.keys_with(&["show"], &[("WARDLINE_KEYS__KEK", "kek-2")]);
    assert_eq!(exit, Exit::Store.code());
    assert!(out.contains(&format!("names no key {id}")), "{out}");
    // Nor in the place of the previous one.
    let variables = [("WARDLINE_KEYS__KEK", "kek-2"), ("WARDLINE_KEYS__KEK_PREVIOUS", "kek")];
    let (exit, _, err) = home.keys_with(&["make", "kek"], &variables);
    assert!(exit == Exit::Refused.code() && err.contains("keys.kek_previous"), "{err}");
}

#[test]
fn a_configuration_that_is_not_valid_is_no_answer_and_none_at_all_is_said() {
    let home = Home::new();
    #[expect(clippy::disallowed_methods, reason = "a test's own file, read back at once")]
    std::fs::write(home.path("gateway.toml"), "devices = 1").unwrap();
    let (exit, _, err) = home.keys(&["make", "kek"]);
    assert_eq!(exit, Exit::Config.code(), "{err}");
    assert!(!home.path("kek").exists());
    std::fs::remove_file(home.path("gateway.toml")).unwrap();
    let (exit, _, err) = home.keys(&["make", "kek"]);
    assert_eq!(exit, 0, "{err}");
    assert!(err.contains("there is no configuration"), "{err}");
}

#[test]
fn a_wrong_uri_is_named_by_its_part() {
    let home = Home::new();
    let (exit, _, err) = home.keys(&["make", "--pkcs11", "pkcs11:token=t;object=o?module-path=m.so"]);
    assert_eq!(exit, Exit::Usage.code());
    assert!(err.contains("`module-path` must be an absolute path"), "{err}");
    let (exit, ..) = home.keys(&["make"]);
    assert_eq!(exit, Exit::Usage.code());
}
