//! Roll-outs, the next root, and what of an earlier publication is believed.

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
    // A draft that is being written is not overwritten.
    fleet.done("bundle new");
    fleet.refused("rollout abort --restore --to out", 6, "the draft is not signed yet");
}

#[test]
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
