//! Roll-outs, the next root, and what of an earlier publication is believed.

use wardline::fleet::documents::Digest;

use super::*;

/// The newest timestamp of a folder.
fn stamp(folder: &Path) -> Value {
    let bytes = fs::read(folder.join("g/icu-3/ts.json")).unwrap();
    serde_json::from_slice(Envelope::parse(&bytes, 65_536).unwrap().payload()).unwrap()
}

#[test]
fn a_number_that_the_online_key_has_not_signed_counts_for_nothing() {
    let fleet = Fleet::published();
    // A stick on which somebody has written: the same timestamp with a far higher number.
    let file = fleet.path("out/g/icu-3/ts.json");
    let text = fs::read_to_string(&file).unwrap();
    let envelope = Envelope::parse(text.as_bytes(), 65_536).unwrap();
    let payload = String::from_utf8(envelope.payload().to_vec()).unwrap();
    let forged = payload.replace("\"version\": 1,", "\"version\": 9000,");
    assert_ne!(forged, payload);
    let forged = Envelope::new(envelope.payload_type(), forged.into_bytes());
    let bytes = forged.to_bytes();
    fs::write(&file, &bytes).unwrap();
    let output = fleet.run("publish --to out");
    assert!(output.status.success(), "{}", text_of(&output));
    assert!(text_of(&output).contains("is not signed by the online key of this fleet: it is replaced"));
    assert_eq!(
        (&stamp(&fleet.path("out"))["version"], &stamp(&fleet.path("fleet/published"))["version"]),
        (&json!(2), &json!(2))
    );
    // In the fleet's own folder nothing is built on it.
    fs::write(fleet.path("fleet/published/g/icu-3/ts.json"), &bytes).unwrap();
    fleet.refused(
        "publish --to out",
        6,
        "is not signed by the online key of this fleet: bring it back from a copy",
    );
}

#[test]
fn every_place_is_looked_at_before_anything_is_written() {
    let fleet = Fleet::published();
    fleet.signed(&FOUR[..3], "");
    fs::create_dir_all(fleet.path("out/g/icu-3/bundle")).unwrap();
    fs::write(fleet.path("out/g/icu-3/bundle/2.json"), "{}").unwrap();
    // `refused` compares the fleet's own copy too.
    fleet.refused("publish --to out", 6, "has another content than what is published");
}

#[test]
fn what_is_signed_ahead_of_time_needs_the_word() {
    let fleet = Fleet::published();
    let now = fleet.draft_text();
    let now =
        now.lines().find_map(|line| line.strip_prefix("not_before = \"")).unwrap().trim_end_matches('"');
    let ahead = before(now, -2);
    fleet.refused(&format!("publish --to out --at {ahead}"), 6, "lets everything expire by it, for good");
    fleet.refused("publish --to out --future", 2, "--at");
    fleet.done(&format!("publish --to out --at {ahead} --future"));
}

#[test]
fn a_rollout_is_paused_and_goes_on_as_it_was() {
    let fleet = Fleet::new();
    fleet.refused("rollout pause", 6, "nothing of icu-3 is published yet");
    fleet.signed(&FOUR, "");
    fleet.refused("rollout start --every 0", 2, "1..=168");
    let output = fleet.run("rollout start --to out");
    assert!(text_of(&output).contains("no --canary was named: gw-1 goes first"), "{}", text_of(&output));
    let first = stamp(&fleet.path("out"));
    assert_eq!(
        (&first["rollout"]["canaries"], first["rollout"]["waves"].as_array().unwrap().len()),
        (&json!(["gw-1"]), 4)
    );
    fleet.refused("rollout resume --to out", 6, "is not paused");
    assert!(fleet.done("rollout pause --to out").contains("paused: whoever has not begun waits"));
    assert_eq!(fleet.verify("--as gw-1").1["turn"], "paused");
    fleet.refused("rollout pause --to out", 6, "is paused already");
    // Signed anew it stays paused.
    fleet.done("publish --to out");
    let paused = stamp(&fleet.path("out"));
    assert_eq!((&paused["version"], &paused["rollout"]["paused"]), (&json!(3), &json!(true)));
    fleet.done("rollout resume --to out");
    assert_eq!(fleet.verify("--as gw-1").1["turn"], "now");
    assert_eq!(stamp(&fleet.path("out"))["rollout"]["id"], first["rollout"]["id"]);
}

#[test]
fn a_new_plan_does_not_end_a_pause() {
    let fleet = Fleet::published();
    fleet.done("rollout pause --to out");
    for plan in ["--canary gw-2", "--wave 100"] {
        fleet.refused(&format!("rollout start {plan} --to out"), 6, "use `rollout resume` to go on");
        fleet.refused(&format!("publish {plan} --to out"), 6, "use `rollout resume` to go on");
    }
    fleet.done("publish --canary gw-2 --paused --to out");
    let there = stamp(&fleet.path("out"));
    assert_eq!(
        (&there["rollout"]["canaries"], &there["rollout"]["paused"]),
        (&json!(["gw-2"]), &json!(true))
    );
}

#[test]
fn a_register_that_has_changed_holds_up_no_pause_and_no_renewal() {
    let fleet = Fleet::published();
    fleet.done("gateway add gw-3");
    fleet.done("rollout pause --to out");
    assert_eq!(stamp(&fleet.path("out"))["rollout"]["paused"], true);
    fleet.done("rollout resume --to out");
    fleet.done("publish --to out");
    assert_eq!(stamp(&fleet.path("out"))["version"], 4);
    // A new bundle is judged by it.
    fleet.done("bundle new");
    fleet.refused("bundle sign --key config-1", 6, "gateway \"gw-3\" of the group is no member");
}

#[test]
fn one_writes_at_a_time() {
    let fleet = Fleet::published();
    let lock = fs::File::options().write(true).open(fleet.path("fleet/.lock")).unwrap();
    lock.lock().unwrap();
    for writes in ["publish --to out", "rollout pause --to out", "bundle new", "gateway add gw-7"] {
        fleet.refused(writes, 6, "is being written to by `publish` (process ");
    }
    fleet.done("bundle diff --version 1");
    drop(lock);
    fleet.done("rollout pause --to out");
}

#[test]
fn nobody_signs_what_he_has_not_read() {
    let fleet = Fleet::published();
    fleet.done("bundle new");
    fleet.draft(BOTH, &FOUR[1..]);
    fleet.done("bundle sign --key config-1");
    // The draft says something harmless again; what was signed is what is shown.
    fleet.draft(BOTH, &FOUR);
    let said = fleet.done("bundle diff --version 2");
    assert!(said.contains("gw-1: pump-1 STOPS") && said.contains(&fleet.newest_digest("icu-3")), "{said}");
    assert!(!fleet.done("bundle diff").contains("STOPS"));
    let wrong = format!("bundle countersign --key config-2 --digest {}", "0".repeat(64));
    fleet.refused(&wrong, 6, "it is not what was read; nothing was signed");
    let blind = Command::new(BINARY)
        .args(
            "bundle countersign --group icu-3 --key config-2 --passphrase-file passphrases.toml fleet"
                .split(' '),
        )
        .current_dir(fleet.place.path())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(blind.status.code(), Some(6));
    assert!(text_of(&blind).contains("is to be read before it is signed"), "{}", text_of(&blind));
    fleet.done("bundle countersign --key config-2");
}

#[test]
fn a_gateway_goes_only_to_a_group_that_takes_it() {
    let fleet = Fleet::published();
    let transfers = |to: &str, from: &str| {
        let text = fleet.draft_text();
        let text = text.replace(r#"members = ["gw-1", "gw-2"]"#, r#"members = ["gw-1"]"#);
        let text = text.split("[[transfer]]").next().unwrap().to_owned();
        let text = text.replacen(
            "\n[[device]]",
            &format!("\n[[transfer]]\ngateway = \"gw-2\"\nto = \"{to}\"\n[[device]]"),
            1,
        );
        fleet.write_draft(&text.replace(from, to));
    };
    fleet.done("bundle new");
    fleet.draft(BOTH, &FOUR[..2]);
    transfers("icu-9", "icu-9");
    fleet.done("bundle sign --key config-1 --yes-remove 2");
    fleet.done("bundle countersign --key config-2");
    let start = "rollout start --yes-remove 2 --to out";
    fleet.refused(
        start,
        6,
        "no gateway of fleet.toml is in group \"icu-9\": publish there a bundle that lists it first",
    );
    // A group that is there, and has published nothing.
    let register = fleet.path("fleet/fleet.toml");
    let lines = fs::read_to_string(&register).unwrap();
    fs::write(&register, format!("{lines}\n[[gateway]]\nid = \"gw-8\"\ngroup = \"icu-9\"\n")).unwrap();
    fleet.refused(start, 6, "nothing of icu-9 is published yet");
    fleet.done(&format!("{start} --yes-transfer"));
}

#[test]
fn what_is_aborted_comes_back_as_a_new_bundle() {
    let fleet = Fleet::published();
    fleet.refused("rollout abort --restore --to out", 6, "no bundle of icu-3 was published before 1");
    fleet.signed(&FOUR[..2], "");
    fleet.done("rollout start --to out");
    let said = fleet.done("rollout abort --restore --to out");
    assert!(said.contains("has the content of bundle 1 as bundle 3"), "{said}");
    assert_eq!(stamp(&fleet.path("out"))["rollout"]["paused"], true);
    let diff: Value = serde_json::from_str(&fleet.done("bundle diff --json")).unwrap();
    let starts: Vec<&Value> = diff["gateways"].as_array().unwrap().iter().map(|one| &one["starts"]).collect();
    assert_eq!(starts, [&json!(["pump-4"]), &json!(["pump-3", "pump-4"])]);
    fleet.done("bundle sign --key config-1");
    fleet.done("bundle countersign --key config-2");
    fleet.done("rollout start --to out");
    let stamp = stamp(&fleet.path("out"));
    assert_eq!((&stamp["head"]["version"], &stamp["rollout"]["paused"]), (&json!(3), &json!(false)));
    // Bundle 2 was stopped: it is not what comes back when 3 is bad too; the one that a person names is.
    let said = fleet.done("rollout abort --restore --to out");
    assert!(said.contains("has the content of bundle 1 as bundle 4"), "{said}");
    fs::remove_file(fleet.path("fleet/g/icu-3/draft.toml")).unwrap();
    fleet.refused("rollout abort --restore --from 9 --to out", 6, "bundle 9 of icu-3 was not published");
    fleet.refused("rollout abort --from 2 --to out", 2, "--restore");
    let said = fleet.done("rollout abort --restore --from 2 --to out");
    assert!(said.contains("has the content of bundle 2 as bundle 4"), "{said}");
    // What was published is what comes back, and it is verified: what lies beside it counts for nothing.
    fs::remove_file(fleet.path("fleet/g/icu-3/draft.toml")).unwrap();
    fs::write(fleet.path("fleet/g/icu-3/bundle-1.json"), "{}").unwrap();
    fleet.done("rollout abort --restore --from 1 --to out");
    fs::remove_file(fleet.path("fleet/g/icu-3/draft.toml")).unwrap();
    let file = fleet.path("fleet/published/g/icu-3/bundle/1.json");
    let envelope = Envelope::parse(&fs::read(&file).unwrap(), 262_144).unwrap();
    let bare = Envelope::new(envelope.payload_type(), envelope.payload().to_vec()).to_bytes();
    let whole = fs::read(&file).unwrap();
    fs::write(&file, bare).unwrap();
    fleet.refused(
        "rollout abort --restore --from 1 --to out",
        6,
        "is not signed by enough config keys of this fleet",
    );
    fs::write(&file, whole).unwrap();
    // A draft that is being written is not overwritten.
    fleet.done("bundle new");
    fleet.refused("rollout abort --restore --to out", 6, "the draft is not signed yet");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn the_next_root_is_signed_by_the_old_and_by_its_own() {
    let fleet = Fleet::published();
    let file = fleet.path("passphrases.toml");
    let lines = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        format!("{lines}root-4 = \"a passphrase of root-4\"\nconfig-4 = \"a passphrase of config-4\"\n"),
    )
    .unwrap();
    let root = |arguments: &str| {
        let mut command = Command::new(BINARY);
        command.arg("root").args(arguments.split_whitespace()).current_dir(fleet.place.path());
        if !arguments.starts_with("show") {
            command.args(["--passphrase-file", "passphrases.toml"]);
        }
        if arguments.starts_with("sign")
            && !arguments.contains("--digest")
            && let Ok(bytes) = fs::read(fleet.path("fleet/root-2.json"))
        {
            let digest = Digest::of(Envelope::parse(&bytes, 65_536).unwrap().payload());
            command.args(["--digest", &digest.to_string()]);
        }
        let output = command.arg("fleet").output().unwrap();
        (output.status.code().unwrap(), text_of(&output))
    };
    let (_, shown) = root("show");
    let ids: Vec<&str> = shown.lines().filter(|line| line.starts_with("  ")).map(str::trim).collect();
    assert_eq!(ids.len(), 7, "{shown}");
    let refused = |arguments: &str, words: &str| {
        let (code, said) = root(arguments);
        assert!(code == 6 && said.contains(words), "{arguments}: {code} {said}");
    };
    refused("sign --key root-1", "`root new` draws it up");
    refused("new --drop 12345678", "names 0 keys");
    refused(&format!("new --drop {}", &ids[0][..7]), "names 0 keys");
    refused("new --threshold config=4", "wants 4 of 3 keys for role config");
    // Two of the three root keys stay, one is new; a config key is dropped and one is new.
    let new = format!("new --make root --drop {} --make config --drop {}", ids[2], ids[3]);
    let (code, said) = root(&new);
    assert!(code == 0 && said.contains("keys/root-4.pem") && said.contains("keys/config-4.pem"), "{said}");
    assert!(
        said.contains("root 2 wants 2 more of the root keys of root 1") && said.contains("of root 2: "),
        "{said}"
    );
    refused("new", "waits for signatures already");
    // What it changes is shown, and nobody signs what he has not read.
    let (_, said) = root("show");
    assert!(
        said.contains("config: ")
            && said.contains(" is NEW")
            && said.contains(&format!("root: {} is DROPPED", ids[2])),
        "{said}"
    );
    refused(&format!("sign --key root-1 --digest {}", "0".repeat(64)), "it is not what was read");
    refused("sign --key config-1", "is no root key of root 1 nor of root 2");
    let (_, said) = root("sign --key root-4");
    assert!(
        said.contains("wants 2 more of the root keys of root 1")
            && said.contains("wants 1 more of the root keys of root 2"),
        "{said}"
    );
    // By the third of the old keys: enough of the old ones are not enough of the new ones.
    let (_, said) = root("sign --key root-3");
    assert!(said.contains("wants 1 more of the root keys of root 1"), "{said}");
    assert!(!fleet.path("fleet/published/root/2.json").exists());
    let (code, said) = root("sign --key root-1");
    assert!(code == 0 && said.contains("root 2 is published"), "{said}");
    // config-1 is dropped: the bundle that it and config-3 have signed is one signature short.
    assert!(said.contains("bundle 1 of icu-3 has too few signatures under root 2"), "{said}");
    fleet.refused("publish --to out", 6, "signed by 1 of the 2 config keys that root 2 wants");
    fleet.done("bundle new");
    fleet.refused("bundle sign --key config-1", 6, "is no config key of root 2");
    fleet.done("bundle sign --key config-4");
    fleet.done("bundle countersign --key config-3");
    fleet.done("publish --to out");
    let (code, verdict) = fleet.verify("--as gw-1 --root fleet/enrol/gw-1/root.json");
    assert_eq!((code, &verdict["bundle"]), (Some(0), &json!(2)), "{verdict}");
}
