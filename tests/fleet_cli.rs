//! The operator's side from outside, through the real binary: keys, bundles, publishing, and every mistake that
//! is caught before it leaves.

#![cfg(feature = "operator")]
#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(
    clippy::disallowed_methods,
    clippy::format_collect,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too; its own files are read back at once"
)]

#[cfg(feature = "lab")]
#[path = "fleet_cli/drafts.rs"]
mod drafts;
#[path = "fleet_cli/mistakes.rs"]
mod mistakes;
#[path = "fleet_cli/rollouts.rs"]
mod rollouts;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::{Value, json};
use wardline::fleet::documents::{Bundle, Document as _};
use wardline::fleet::dsse::Envelope;

const BINARY: &str = env!("CARGO_BIN_EXE_wardline-fleet");
const NAMES: [&str; 7] = ["root-1", "root-2", "root-3", "config-1", "config-2", "config-3", "timestamp-1"];

fn passphrases(folder: &Path) -> PathBuf {
    let file = folder.join("passphrases.toml");
    let lines: String = NAMES.iter().map(|name| format!("{name} = \"a passphrase of {name}\"\n")).collect();
    fs::write(&file, lines).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().unwrap()
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).map(drop).unwrap();
        }
    }
}

/// Every file below a folder with its bytes.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// A fleet of two wards: `gw-1` and `gw-2` in `icu-3`, `gw-9` in `icu-4`.
struct Fleet {
    place: tempfile::TempDir,
}

impl Fleet {
    fn new() -> Self {
        static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
        let made = MADE.get_or_init(|| {
            let place = tempfile::tempdir().unwrap();
            let (file, folder) = (passphrases(place.path()), place.path().join("fleet"));
            let (file, folder) = (file.to_str().unwrap(), folder.to_str().unwrap());
            let made = run(&["init", "--organisation", "st-anna", "--passphrase-file", file, folder]);
            assert!(made.status.success(), "{}", text_of(&made));
            for (id, group) in [("gw-1", "icu-3"), ("gw-2", "icu-3"), ("gw-9", "icu-4")] {
                let added = run(&["gateway", "add", id, "--group", group, folder]);
                assert!(added.status.success(), "{}", text_of(&added));
            }
            place
        });
        let place = tempfile::tempdir().unwrap();
        copy(made.path(), place.path());
        Self { place }
    }

    fn path(&self, rest: &str) -> PathBuf {
        self.place.path().join(rest)
    }

    /// Runs a command about `icu-3` in the fleet's folder.
    fn run(&self, arguments: &str) -> Output {
        self.about("icu-3", arguments)
    }

    fn about(&self, group: &str, arguments: &str) -> Output {
        let mut command = Command::new(BINARY);
        command.args(arguments.split_whitespace()).args(["--group", group]).current_dir(self.place.path());
        let needs_key = ["sign", "countersign", "publish", "start", "pause", "resume", "abort"]
            .iter()
            .any(|word| arguments.split(' ').any(|one| one == *word));
        if needs_key {
            command.args(["--passphrase-file", "passphrases.toml"]);
        }
        if arguments.contains("countersign") && !arguments.contains("--digest") {
            command.args(["--digest", &self.newest_digest(group)]);
        }
        command.arg("fleet").output().unwrap()
    }

    /// The SHA-256 of what the newest bundle of a group signs; of nothing, when there is none.
    fn newest_digest(&self, group: &str) -> String {
        let newest = (1..100)
            .rev()
            .find_map(|number| fs::read(self.path(&format!("fleet/g/{group}/bundle-{number}.json"))).ok());
        let payload = newest.map(|bytes| Envelope::parse(&bytes, Bundle::CAP).unwrap().payload().to_vec());
        wardline::fleet::documents::Digest::of(&payload.unwrap_or_default()).to_string()
    }

    fn done(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Refused with this code and these words, and nothing of it has gone out.
    fn refused(&self, arguments: &str, code: i32, words: &str) {
        let before = (content(&self.path("out")), content(&self.path("fleet/published")));
        let output = self.run(arguments);
        let said = text_of(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert!(said.contains(words), "{arguments}: {said}");
        assert!(!said.contains("a passphrase of"), "{said}");
        assert!(
            before == (content(&self.path("out")), content(&self.path("fleet/published"))),
            "{arguments}: something went out"
        );
        assert!(
            !fs::read_dir(self.path("fleet"))
                .unwrap()
                .any(|entry| { entry.unwrap().file_name().to_string_lossy().starts_with(".stand-in") })
        );
    }

    /// Writes a draft of these devices, each with its gateways, and of these members.
    fn draft(&self, members: &str, devices: &[(&str, &str)]) {
        let text = self.draft_text();
        let head: String = text
            .split("\n[[device]]")
            .next()
            .unwrap()
            .split("\n# What gateway.toml sets")
            .next()
            .unwrap()
            .lines()
            .fold(String::new(), |text, line| {
                let line = if line.starts_with("members") {
                    format!("members = {members}")
                } else {
                    line.to_owned()
                };
                text + &line + "\n"
            });
        let devices: String = devices
            .iter()
            .map(|(id, gateways)| {
                format!(
                    "[[device]]\ngateways = {gateways}\nid = \"{id}\"\nasset = \"A-{id}\"\ndriver = \"alaris-asena\"\n\
                     port = \"/dev/serial/by-path/{id}\"\nelements = \"all\"\nexpects = {{ serial = \"{id}\" }}\n"
                )
            })
            .collect();
        self.write_draft(&(head + &devices));
    }

    fn draft_text(&self) -> String {
        fs::read_to_string(self.path("fleet/g/icu-3/draft.toml")).unwrap()
    }

    fn write_draft(&self, text: &str) {
        fs::write(self.path("fleet/g/icu-3/draft.toml"), text).unwrap();
    }

    /// A bundle with these devices that two keys have signed.
    fn signed(&self, devices: &[(&str, &str)], more: &str) {
        self.done("bundle new");
        self.draft(r#"["gw-1", "gw-2"]"#, devices);
        self.done(&format!("bundle sign --key config-1 {more}"));
        self.done("bundle countersign --key config-3");
    }

    /// Is published, as bundle 1.
    fn published() -> Self {
        let fleet = Self::new();
        fleet.signed(&FOUR, "");
        fleet.done("publish --to out --canary gw-1");
        fleet
    }

    /// What `verify` says of `out`.
    fn verify(&self, arguments: &str) -> (Option<i32>, Value) {
        let mut command = Command::new(BINARY);
        command.args(["verify", "out", "--json"]).args(arguments.split_whitespace());
        let output = command.current_dir(self.place.path()).output().unwrap();
        (
            output.status.code(),
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text_of(&output))),
        )
    }

    /// The refusal of the document whose file ends so.
    fn attack(&self, arguments: &str) -> (String, Value) {
        let (code, verdict) = self.verify(arguments);
        assert_eq!((code, &verdict["believed"]), (Some(6), &json!(false)), "{verdict}");
        let last = verdict["documents"]
            .as_array()
            .unwrap()
            .iter()
            .find(|said| said["believed"] == false)
            .unwrap()
            .clone();
        (last["file"].as_str().unwrap().to_owned(), last["attack"].clone())
    }
}

const BOTH: &str = r#"["gw-1", "gw-2"]"#;
const FOUR: [(&str, &str); 4] =
    [("pump-1", r#"["gw-1"]"#), ("pump-2", r#"["gw-1"]"#), ("pump-3", r#"["gw-2"]"#), ("pump-4", BOTH)];

#[test]
fn init_makes_keys_of_their_own_and_overwrites_nothing() {
    let fleet = Fleet::new();
    for name in NAMES {
        let file = fleet.path(&format!("fleet/keys/{name}.pem"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o400, "{name}");
        assert!(fs::read_to_string(&file).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    }
    let before = content(fleet.place.path());
    let (file, folder) = (fleet.path("passphrases.toml"), fleet.path("fleet"));
    let again = |file: &Path, folder: &Path| {
        let (file, folder) = (file.to_str().unwrap(), folder.to_str().unwrap());
        run(&["init", "--organisation", "st-anna", "--passphrase-file", file, folder])
    };
    let output = again(&file, &folder);
    assert_eq!(output.status.code(), Some(6));
    assert!(text_of(&output).contains("nothing is overwritten"), "{}", text_of(&output));
    // The keys alone are enough of a fleet not to be written over.
    fs::remove_file(fleet.path("fleet/fleet.toml")).unwrap();
    assert_eq!(again(&file, &folder).status.code(), Some(6));
    let after = content(fleet.place.path());
    assert!(before.iter().filter(|(path, _)| !path.ends_with("fleet.toml")).eq(&after));
    // Passphrases that protect nothing.
    let lines = fs::read_to_string(&file).unwrap();
    let other = fleet.path("other");
    for (lines, mode, words) in [
        (lines.replace("a passphrase of root-2", "short"), 0o600, "shorter than 12"),
        (lines.replace("a passphrase of root-2", "a passphrase of root-1"), 0o600, "that of another key"),
        (lines.replace("root-2 =", "root-7 ="), 0o600, "no line for root-2"),
        (lines.clone(), 0o644, "others than its owner can read it"),
        (format!("{lines}secret words"), 0o600, "not TOML"),
    ] {
        fs::write(&file, lines).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let output = again(&file, &other);
        assert!(
            !output.status.success() && text_of(&output).contains(words),
            "{words}: {}",
            text_of(&output)
        );
        assert!(!text_of(&output).contains("secret words") && !other.exists());
    }
}

#[test]
fn a_gateway_is_set_up_with_the_root_and_is_in_one_group() {
    let fleet = Fleet::new();
    let package = fleet.path("fleet/enrol/gw-1");
    assert_eq!(
        fs::read(package.join("root.json")).unwrap(),
        fs::read(fleet.path("fleet/published/root/1.json")).unwrap()
    );
    let lines = fs::read_to_string(package.join("gateway.toml")).unwrap();
    assert!(lines.contains("id = \"gw-1\"") && lines.contains("group = \"icu-3\""), "{lines}");
    let root =
        wardline::fleet::documents::Digest::of(&fs::read(package.join("root.json")).unwrap()).to_string();
    assert!(fs::read_to_string(package.join("README")).unwrap().contains(&root));
    fleet.refused("gateway add gw-9", 6, "in group \"icu-4\": a gateway is in one group");
    fleet.refused("gateway add GW-8", 6, "a-z, 0-9 and -");
    // By hand into two groups.
    let register = fleet.path("fleet/fleet.toml");
    let lines = fs::read_to_string(&register).unwrap();
    fs::write(&register, format!("{lines}[[gateway]]\nid = \"gw-1\"\ngroup = \"icu-4\"\n")).unwrap();
    fleet.refused("bundle new", 3, "listed twice, in group \"icu-3\" and in \"icu-4\"");
}

#[test]
fn what_two_people_signed_and_one_published_is_believed_by_its_gateways() {
    let fleet = Fleet::new();
    fleet.done("bundle new");
    fleet.refused("bundle new", 6, "not signed yet");
    fleet.draft(BOTH, &FOUR);
    assert!(fleet.done("bundle check").contains("valid: bundle 1, 2 gateways, 4 devices"));
    assert!(
        fleet.done("bundle sign --key config-1").contains("1 signatures of the 2 that root 1 wants; 1 more")
    );
    let counted = fleet.done("bundle countersign --key config-3");
    assert!(
        counted.contains("2 signatures of the 2") && counted.contains("gw-2: pump-3 starts"),
        "{counted}"
    );
    let said = fleet.done("publish --to out --canary gw-1");
    assert!(
        said.contains("at once: gw-1") && said.contains("\n1 % from") && said.contains("\n100 % from"),
        "{said}"
    );
    assert_eq!(content(&fleet.path("out")).len(), 3);
    let (code, verdict) = fleet.verify("--as gw-1 --group icu-3 --root fleet/enrol/gw-1/root.json");
    assert_eq!(
        (code, &verdict["bundle"], &verdict["turn"]),
        (Some(0), &json!(1), &json!("now")),
        "{verdict}"
    );
    let files: Vec<_> =
        verdict["documents"].as_array().unwrap().iter().map(|said| said["file"].clone()).collect();
    assert_eq!(files, ["root/1.json", "g/icu-3/ts.json", "g/icu-3/bundle/1.json"]);
    // The same bundle again: a newer timestamp, and whoever had his turn keeps it.
    let rollout = |fleet: &Fleet| {
        let envelope =
            Envelope::parse(&fs::read(fleet.path("out/g/icu-3/ts.json")).unwrap(), 65_536).unwrap();
        let stamp: Value = serde_json::from_slice(envelope.payload()).unwrap();
        (stamp["version"].as_u64().unwrap(), stamp["rollout"].clone())
    };
    let (first, before) = rollout(&fleet);
    fleet.done("publish --to out");
    let (second, after) = rollout(&fleet);
    assert_eq!((first, second, before), (1, 2, after));
    assert_eq!(fleet.verify("--as gw-2").0, Some(0));
    assert_eq!(content(&fleet.path("out")).len(), content(&fleet.path("fleet/published")).len());
}

#[test]
fn each_document_that_is_not_believed_is_named_with_its_attack() {
    let fleet = Fleet::published();
    let bundle = "g/icu-3/bundle/1.json";
    assert_eq!(fleet.attack("--as gw-3"), (bundle.to_owned(), json!("wrong recipient")));
    assert_eq!(
        fleet.attack("--as gw-1 --at 2036-01-01"),
        ("g/icu-3/ts.json".to_owned(), json!("indefinite freeze"))
    );
    let out = fleet.path("out");
    let whole = fs::read(out.join(bundle)).unwrap();
    let change = |bytes: &[u8]| {
        fs::remove_file(out.join(bundle)).unwrap();
        fs::write(out.join(bundle), bytes).unwrap();
    };
    let mut bytes = whole.clone();
    bytes.push(b' ');
    change(&bytes);
    assert_eq!(fleet.attack("--as gw-1"), (bundle.to_owned(), json!("mix-and-match")));
    change(&vec![b' '; Bundle::CAP + 10]);
    assert_eq!(fleet.attack("--as gw-1"), (bundle.to_owned(), json!("endless data")));
    fs::remove_file(out.join(bundle)).unwrap();
    assert_eq!(fleet.attack("--as gw-1"), (bundle.to_owned(), json!(null)));
    // The root of somebody else.
    let other = tempfile::tempdir().unwrap();
    let (file, folder) = (passphrases(other.path()), other.path().join("fleet"));
    run(&[
        "init",
        "--organisation",
        "st-anna",
        "--passphrase-file",
        file.to_str().unwrap(),
        folder.to_str().unwrap(),
    ]);
    let theirs = folder.join("published/root/1.json");
    assert_eq!(
        fleet.attack(&format!("--as gw-1 --root {}", theirs.display())),
        ("g/icu-3/ts.json".to_owned(), json!("arbitrary installation"))
    );
}

#[test]
fn a_bundle_with_too_few_signatures_does_not_leave() {
    let fleet = Fleet::new();
    fleet.refused("publish --to out", 6, "no bundle of icu-3 was signed yet");
    fleet.done("bundle new");
    fleet.draft(BOTH, &FOUR);
    fleet.refused("bundle countersign --key config-1", 6, "no bundle of icu-3 was signed yet");
    fleet.refused("bundle sign --key root-1", 6, "is no config key of root 1");
    fleet.done("bundle sign --key config-1");
    fleet.refused(
        "publish --to out",
        6,
        "signed by 1 of the 2 config keys that root 1 wants: `bundle countersign` with 1 more",
    );
    fleet.refused("bundle countersign --key config-1", 6, "config-1 has signed bundle 1 already");
    fleet.refused("bundle countersign --key timestamp-1", 6, "is no config key");
    fleet.done("bundle countersign --key config-2");
    fleet.refused("publish --to out --key config-1", 6, "config-1 is no timestamp key");
    fleet.refused("publish --to out --canary gw-9", 6, "canary \"gw-9\" is no member");
    fs::write(fleet.path("passphrases.toml"), "timestamp-1 = \"another passphrase\"\n").unwrap();
    fleet.refused("publish --to out", 4, "does not open with this passphrase");
}

#[test]
fn a_bundle_that_removes_more_than_half_needs_the_number() {
    let fleet = Fleet::published();
    fleet.done("bundle new");
    fleet.draft(BOTH, &FOUR[..2]);
    fleet.done("bundle check");
    fleet.draft(BOTH, &FOUR[..1]);
    fleet.refused(
        "bundle sign --key config-1",
        6,
        "removes 3 of 4 devices of group \"icu-3\" (pump-2, pump-3, pump-4)",
    );
    fleet.refused(
        "bundle sign --key config-1 --yes-remove 2",
        6,
        "--yes-remove 2, but 3 of 4 devices are removed",
    );
    fleet.draft(BOTH, &[]);
    fleet.refused("bundle sign --key config-1", 6, "say --yes-remove 4");
    fleet.done("bundle sign --key config-1 --yes-remove 4");
    fleet.done("bundle countersign --key config-2");
    fleet.refused("publish --to out", 6, "removes 4 of 4 devices");
    fleet.done("publish --to out --yes-remove 4");
    assert_eq!(fleet.verify("--as gw-1").1["bundle"], 2);
    // Half of them is no such case.
    let half = Fleet::published();
    half.signed(&FOUR[..2], "");
    half.done("publish --to out");
}

#[test]
fn what_expires_too_soon_does_not_leave() {
    let fleet = Fleet::new();
    fleet.done("bundle new");
    fleet.draft(BOTH, &FOUR);
    let text = fleet.draft_text();
    let expires = text.lines().find(|line| line.starts_with("expires = ")).unwrap().to_owned();
    let until = |when: &str| fleet.write_draft(&text.replace(&expires, &format!("expires = \"{when}\"")));
    // The draft begins now, so its end is told from now on.
    let now = text
        .lines()
        .find_map(|line| line.strip_prefix("not_before = \""))
        .unwrap()
        .trim_end_matches('"')
        .to_owned();
    until("2036-01-10T00:00:00Z");
    fleet.refused("bundle sign --key config-1 --at 2036-01-02", 6, "expires in 8 days");
    fleet.refused("bundle sign --key config-1 --at 2036-01-12", 6, "expired at 2036-01-10");
    fleet.done("bundle sign --key config-1 --at 2036-01-02 --yes-expires-soon");
    fleet.done("bundle countersign --key config-2");
    // The root holds for a year, and the bundle for longer.
    fleet.refused("publish --to out --at 2036-01-02 --future", 6, "root 1 expired at");
    let later = before(&now, -365);
    fleet.refused(&format!("publish --to out --future --at {}", before(&later, 3)), 6, "root 1 expires in");
    let early = Fleet::new();
    early.done("bundle new");
    early.draft(BOTH, &FOUR);
    let soon = before(&later, 200);
    let text = early.draft_text();
    let expires = text.lines().find(|line| line.starts_with("expires = ")).unwrap();
    early.write_draft(&text.replace(expires, &format!("expires = \"{soon}\"")));
    early.done("bundle sign --key config-1");
    early.done("bundle countersign --key config-2");
    let late = before(&soon, 5);
    early.refused(&format!("publish --to out --future --at {late}"), 6, "bundle 1 expires in 5 days");
    early.refused(&format!("publish --to out --future --at {}", before(&soon, -1)), 6, "bundle 1 expired");
    early.refused("publish --to out --at 2026-01-02", 6, "bundle 1 holds from");
    early.done(&format!("publish --to out --future --at {late} --yes-expires-soon"));
}

/// A moment so many days before another.
fn before(moment: &str, days: i64) -> String {
    let millis = wardline::time::Wall::read(moment).unwrap().as_millis() - days * 86_400_000;
    let text = wardline::time::Wall::from_millis(millis).to_string();
    format!("{}Z", text.split('.').next().unwrap())
}

#[test]
fn a_version_goes_up() {
    let fleet = Fleet::published();
    // The draft that was signed is still there.
    fleet.refused(
        "bundle sign --key config-1",
        6,
        "bundle 1 of icu-3 was signed already: `bundle new` gives it the next one",
    );
    fleet.refused("bundle countersign --key config-2", 6, "bundle 1 went out as it is");
    let far = fleet.draft_text().replace("version = 1", "version = 20000");
    fleet.write_draft(&far);
    fleet.refused("bundle sign --key config-1", 6, "a step of 10000 at most");
    fleet.write_draft(&far.replace("version = 20000", "version = 1"));
    fleet.signed(&FOUR, "");
    fleet.done("publish --to out");
    fleet.refused(
        "publish --to out --version 1",
        6,
        "bundle 1 is not higher than 2, the last one published in the fleet",
    );
    // A fleet's folder that was restored from an old copy.
    let old = Fleet::new();
    copy(&fleet.path("out"), &old.path("out"));
    old.signed(&FOUR, "");
    old.refused("publish --to out", 6, "not higher than 2, the last one published in the folder");
}

#[test]
fn members_and_devices_are_of_this_group_and_registered() {
    let fleet = Fleet::new();
    fleet.done("bundle new");
    for (members, devices, words) in [
        (
            r#"["gw-1", "gw-2", "gw-7"]"#,
            &FOUR[..],
            "member \"gw-7\" is not in fleet.toml: `wardline-fleet gateway add gw-7",
        ),
        (r#"["gw-1", "gw-2", "gw-9"]"#, &FOUR[..], "member \"gw-9\" is in group \"icu-4\" by fleet.toml"),
        (r#"["gw-1"]"#, &FOUR[..1], "gateway \"gw-2\" of the group is no member"),
        (BOTH, &[("pump-1", r#"["gw-9"]"#)], "\"pump-1\" is given to gateway \"gw-9\", which is no member"),
        (BOTH, &[("pump-1", "[]")], "\"pump-1\" does not say which gateways have it"),
        (BOTH, &[("pump-1", BOTH), ("pump-1", BOTH)], "pump-1"),
    ] {
        fleet.draft(members, devices);
        fleet.refused("bundle sign --key config-1", 6, words);
        fleet.refused("bundle check", 3, words);
    }
    fleet.refused("bundle check --json", 3, "\"valid\":false");
    let other = fleet.about("icu-7", "bundle new");
    assert!(
        text_of(&other).contains("no gateway of fleet.toml is in group \"icu-7\""),
        "{}",
        text_of(&other)
    );
}

#[test]
fn what_a_gateway_may_not_be_told_is_found_before() {
    let fleet = Fleet::new();
    fleet.done("bundle new");
    fleet.draft(BOTH, &FOUR);
    let text = fleet.draft_text();
    for (settings, words) in [
        ("[settings.uplink]\nhost = \"evil.example\"\n", "uplink.host"),
        ("[settings.keys]\nkek = \"/tmp/kek\"\n", "never set nor moved from afar"),
        ("[settings.store]\ncap = \"1MiB\"\n", "less than"),
    ] {
        fleet.write_draft(&format!("{text}\n{settings}"));
        fleet.refused("bundle check", 3, words);
        fleet.refused("bundle sign --key config-1", 6, words);
    }
    fleet.write_draft(&text.replace("alaris-asena", "alaris-asema"));
    fleet.refused("bundle check", 3, "alaris-asena");
}

#[test]
fn a_bundle_of_another_group_or_fleet_does_not_go_out() {
    let fleet = Fleet::published();
    fleet.done("bundle new");
    fleet.draft(BOTH, &FOUR);
    fleet.write_draft(&fleet.draft_text().replace("icu-3", "icu-4"));
    fleet.refused("bundle sign --key config-1", 6, "is of group \"icu-4\", not of \"icu-3\"");
    // The signed file in the wrong folder.
    fs::create_dir_all(fleet.path("fleet/g/icu-4")).unwrap();
    fs::copy(fleet.path("fleet/g/icu-3/bundle-1.json"), fleet.path("fleet/g/icu-4/bundle-1.json")).unwrap();
    let output = fleet.about("icu-4", "publish --to out");
    assert_eq!(output.status.code(), Some(6));
    assert!(text_of(&output).contains("is of group \"icu-3\", not of \"icu-4\""), "{}", text_of(&output));
    assert!(!fleet.path("out/g/icu-4").exists());
    // A stick that holds another fleet's root.
    fs::remove_file(fleet.path("out/root/1.json")).unwrap();
    fs::write(fleet.path("out/root/1.json"), "{}").unwrap();
    let output = fleet.run("publish --to out");
    assert_eq!(output.status.code(), Some(6));
    assert!(text_of(&output).contains("has another content than what is published"), "{}", text_of(&output));
    assert_eq!(fs::read(fleet.path("out/root/1.json")).unwrap(), b"{}");
}

#[test]
fn a_difference_is_told_for_scripts_too() {
    let fleet = Fleet::published();
    fleet.done("bundle new");
    fleet.draft(BOTH, &[("pump-1", r#"["gw-2"]"#), FOUR[1], FOUR[2], ("pump-5", BOTH)]);
    let diff: Value = serde_json::from_str(&fleet.done("bundle diff --json")).unwrap();
    assert_eq!((&diff["from"], &diff["to"], &diff["removed"]), (&json!(1), &json!(2), &json!(["pump-4"])));
    assert_eq!(
        diff["gateways"],
        json!([
            { "gateway": "gw-1", "starts": ["pump-5"], "stops": ["pump-1", "pump-4"], "changes": [] },
            { "gateway": "gw-2", "starts": ["pump-1", "pump-5"], "stops": ["pump-4"], "changes": [] },
        ])
    );
    assert!(fleet.done("bundle diff").contains("gw-1: pump-1 STOPS"));
}
