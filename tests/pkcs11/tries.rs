//! How often a token is asked to take a PIN: the tries are few, and who uses them up locks the key away.

use std::process::Command;

use wardline::cli::exit::Exit;

use super::support::{Bench, PATIENCE};
use super::{MODULE, Said, Tokens, code, text, without_devices};

/// A token behind a module that counts the logins.
struct Watched {
    tokens: Tokens,
    bench: Bench,
    uri: String,
}

impl Watched {
    async fn new() -> Self {
        let (tokens, bench) = (Tokens::new(), without_devices().await);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pkcs11/witness.c");
        let module = tokens.path("witness.so");
        let built = Command::new("cc")
            .args([
                "-shared",
                "-fPIC",
                source,
                &format!("-DMODULE=\"{MODULE}\""),
                "-ldl",
                "-o",
                text(&module),
            ])
            .status()
            .unwrap();
        assert!(built.success());
        tokens.key("kek");
        let uri = tokens.uri_with("token=ward;object=kek", text(&module));
        Self { tokens, bench, uri }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.tokens.wardline(arguments);
        command.args(["--config", text(self.bench.path())]).env("WARDLINE_KEYS__KEK", &self.uri);
        command.env("PKCS11_TEST_LOGINS", self.tokens.path("logins"));
        command
    }

    /// What a command said, and how often it logged in.
    fn said(&self, command: &mut Command) -> (Said, usize) {
        let logins = self.tokens.path("logins");
        let _ = std::fs::remove_file(&logins);
        let said = Said::of(command);
        (said, std::fs::read(&logins).map_or(0, |logins| logins.len()))
    }

    /// A store under the token's key.
    async fn fill(&self) {
        let (config, logins) = (self.tokens.config(), self.tokens.path("logins").display().to_string());
        let mut daemon = self.bench.start_with(&[
            ("WARDLINE_KEYS__KEK", self.uri.as_str()),
            ("SOFTHSM2_CONF", config.as_str()),
            ("PKCS11_TEST_LOGINS", logins.as_str()),
        ]);
        self.bench.status("the daemon runs", |status| status.key_protection == "pkcs11").await;
        assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_asks_a_token_more_than_once_and_a_list_not_at_all() {
    let watched = Watched::new().await;
    watched.fill().await;
    watched.tokens.write("pin", "4321\n", 0o600);
    let gateway =
        watched.said(&mut watched.command(&["spool", "list", "--json"])).0.json()["gateway"].clone();
    let wipe = ["wipe", "--yes", "--gateway", gateway.as_str().unwrap()];
    let out = watched.tokens.path("out.jsonl");
    let export = ["spool", "export", "--yes", "--reason", "Dr. Meyer: recall 2026-4", "--out", text(&out)];

    for list in [&["spool"][..], &["spool", "list"]] {
        let (said, logins) = watched.said(&mut watched.command(list));
        assert_eq!((said.exit, logins), (0, 0), "{list:?}: {}", said.err);
        assert!(said.out.contains("--with-key") && said.out.contains("not authenticated"), "{}", said.out);
    }
    for command in [&["spool", "list", "--with-key"][..], &["spool", "verify"], &export, &wipe] {
        let (said, logins) = watched.said(&mut watched.command(command));
        assert_eq!((said.exit, logins), (code(Exit::Pin), 1), "{command:?}: {} {}", said.out, said.err);
        assert!(said.err.contains("refuses the PIN"), "{command:?}: {}", said.err);
    }
    assert!(watched.bench.path().join("store").exists() && !out.exists());

    watched.tokens.write("pin", "1234\n", 0o600);
    for command in [&["spool", "list", "--with-key"][..], &["spool", "verify"], &export, &wipe] {
        let (said, logins) = watched.said(&mut watched.command(command));
        assert_eq!((said.exit, logins), (0, 1), "{command:?}: {} {}", said.out, said.err);
    }
    assert!(!watched.bench.path().join("store").exists());
}

/// Without its PIN a token is not asked, and a store can still be brought to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_pin_nobody_knows_can_be_wiped() {
    let watched = Watched::new().await;
    watched.fill().await;
    let list = watched.said(&mut watched.command(&["spool", "list", "--json"])).0.json();
    let wipe = ["wipe", "--yes", "--gateway", list["gateway"].as_str().unwrap()];
    let uri = watched.uri.split("&pin-source").next().unwrap();
    let (said, logins) = watched.said(watched.command(&wipe).env("WARDLINE_KEYS__KEK", uri));
    assert_eq!((said.exit, logins), (0, 0), "{}", said.err);
    assert!(!watched.bench.path().join("store").exists());
}

#[tokio::test]
async fn a_module_that_has_other_words_for_a_wrong_pin_is_not_asked_again_either() {
    let watched = Watched::new().await;
    watched.tokens.write("pin", "4321\n", 0o600);
    // CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, CKR_DEVICE_ERROR, CKR_ARGUMENTS_BAD, one of a vendor, one of nobody.
    for answer in ["0x5", "0x6", "0x30", "0x7", "0x80000042", "0x7fff0001"] {
        let (said, logins) = watched.said(watched.command(&["run"]).env("PKCS11_TEST_REFUSAL", answer));
        assert_eq!((said.exit, logins), (code(Exit::Pin), 1), "{answer}: {}", said.err);
        assert!(said.err.contains("not tried again"), "{answer}: {}", said.err);
    }
    // CKR_DEVICE_REMOVED, CKR_SESSION_CLOSED: nothing was asked, and the next start may.
    for answer in ["0x32", "0xb0"] {
        let (said, _) = watched.said(watched.command(&["run"]).env("PKCS11_TEST_REFUSAL", answer));
        assert_eq!(said.exit, code(Exit::Keys), "{answer}: {}", said.err);
    }
}

#[tokio::test]
async fn a_pin_file_with_more_than_a_pin_costs_no_try() {
    let watched = Watched::new().await;
    for text in ["1234\r\n", "1234\r", "1234 \n", " 1234\n", "1234\t", "12\u{1b}34\n", "1234\0"] {
        watched.tokens.write("pin", text, 0o600);
        let (said, logins) = watched.said(&mut watched.command(&["run"]));
        assert_eq!((said.exit, logins), (code(Exit::Keys), 0), "{text:?}: {}", said.err);
        assert!(said.err.contains("/pin") && !said.err.contains("1234"), "{text:?}: {}", said.err);
    }
}
