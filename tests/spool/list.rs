//! `wardline spool list`: beside a running daemon and without one, with the key and without it.

use serde_json::json;
use wardline::cli::exit::Exit;
use wardline::device::observation::Lane;
use wardline::envelope::keys::load_kek;

use crate::support::{BLOCKS, Gateway, RECORDS, Ward, now};

fn code(exit: Exit) -> i32 {
    i32::from(exit.code())
}

#[test]
fn a_closed_store_is_listed_with_everything_that_waits() {
    let gateway = Gateway::filled();
    let before = gateway.image();
    let done = gateway.run(&["spool", "list", "--json"]);
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    assert_eq!(gateway.image(), before, "looking changes nothing");
    let page = done.json();
    assert_eq!((&page["gateway"], &page["cap"]), (&json!("gw-1"), &json!(256 << 20)));
    assert_eq!(page["store"].as_str().unwrap().len(), 32);
    assert_eq!(page["kek"], json!(load_kek(&gateway.kek()).unwrap().id().to_string()));
    assert_eq!((page.get("in_use_by"), &page["remarks"]), (None, &json!([])));
    let lanes = page["lanes"].as_array().unwrap();
    let waiting: Vec<_> = lanes.iter().map(|lane| lane["waiting"].as_u64().unwrap()).collect();
    assert_eq!(waiting, [6 * RECORDS, 9 * RECORDS, 2 * RECORDS + 1]);
    assert_eq!(lanes[1]["cursor"], json!({"segment": 2, "block": 5 - BLOCKS}));
    let segments = lanes[1]["segments"].as_array().unwrap();
    let numbers: Vec<_> = segments.iter().map(|segment| segment["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2, 3, 4], "the first is acknowledged and gone");
    assert!(segments.iter().all(|segment| segment["state"] == "closed"), "{segments:?}");
    assert_eq!(
        (&segments[0]["records"], &segments[0]["waiting"]),
        (&json!(BLOCKS * RECORDS), &json!(3 * RECORDS))
    );
    let bulk = &lanes[2]["segments"][0];
    assert_eq!((&bulk["gaps"], &bulk["told"]), (&json!(0), &json!(0)), "only the store's own telling counts");
    assert!(segments[0]["oldest"].as_str().unwrap() <= segments[0]["newest"].as_str().unwrap());
}

#[test]
fn the_list_for_a_person_fits_80_columns_and_is_what_comes_without_a_sub_command() {
    let gateway = Gateway::filled();
    let list = gateway.run(&["spool", "list"]);
    let plain = gateway.run(&["spool"]);
    assert_eq!((list.code, plain.code), (code(Exit::Ok), code(Exit::Ok)), "{}", plain.err);
    let shape = |text: &str| text.lines().count();
    assert_eq!(shape(&plain.out), shape(&list.out));
    for line in plain.out.lines().filter(|line| !line.starts_with("in ")) {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    for words in
        ["gw-1", "225 records wait", "of 256 MiB", "16 MiB are kept for alarms", "quarantine is empty"]
    {
        assert!(plain.out.contains(words), "{words:?} is not in\n{}", plain.out);
    }
}

#[test]
fn a_store_that_is_being_written_is_listed_too_and_says_by_whom() {
    let gateway = Gateway::filled();
    let (mut writer, mut reader) = gateway.open();
    let mut ward = Ward::new();
    writer.append(Lane::Vital, &ward.block(), now()).unwrap();
    let page = gateway.run(&["spool", "list", "--json"]).json();
    assert_eq!(page["in_use_by"], json!(std::process::id()));
    let vital = &page["lanes"][1];
    assert_eq!(vital["waiting"], json!(10 * RECORDS));
    let live = vital["segments"].as_array().unwrap().last().unwrap();
    assert_eq!((&live["state"], &live["blocks"]), (&json!("writing"), &json!(1)));
    assert_eq!(page["remarks"], json!([]));
    // What the daemon does meanwhile is not disturbed, and is seen.
    while let Some((seq, _)) = reader.read_next(Lane::Vital).unwrap() {
        reader.acknowledge(seq).unwrap();
    }
    reader.save().unwrap();
    let page = gateway.run(&["spool", "list", "--json"]).json();
    assert_eq!(page["lanes"][1]["waiting"], json!(RECORDS));
    gateway.abandon((writer, reader));
    let page = gateway.run(&["spool", "list", "--json"]).json();
    let segments = page["lanes"][1]["segments"].as_array().unwrap().clone();
    assert_eq!(segments.last().unwrap()["state"], "unclosed", "nobody writes it any more");
}

#[test]
fn without_the_key_it_lists_what_the_file_system_says_and_says_so() {
    let gateway = Gateway::filled();
    std::fs::remove_file(gateway.kek()).unwrap();
    let done = gateway.run(&["spool", "list", "--json"]);
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    let page = done.json();
    assert_eq!(page.get("store"), None);
    let segments = page["lanes"][1]["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 3);
    for segment in segments {
        assert_eq!(segment["state"], "unchecked");
        assert!(segment.get("records").is_none() && segment["bytes"].as_u64().unwrap() > 0, "{segment}");
        assert!(segment["oldest"].is_string());
    }
    assert_eq!(page["lanes"][1].get("waiting"), None);
    let remark = page["remarks"][0].as_str().unwrap();
    assert!(remark.contains("nothing was authenticated") && remark.contains("kek"), "{remark}");
    let shown = gateway.run(&["spool"]).out;
    assert!(shown.contains("not authenticated") && shown.contains("nobody can say how many"), "{shown}");
}

#[test]
fn another_key_and_a_folder_without_a_store_are_told_apart() {
    let gateway = Gateway::filled();
    let key = gateway.path().join("other");
    wardline::host::atomic_file::write(&key, b"another key, just as long, but..").unwrap();
    let store = gateway.store();
    let (store, key) = (store.to_str().unwrap(), key.to_str().unwrap());
    let bare = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wardline"));
        crate::support::finish(command.args(arguments).env_clear())
    };
    let listed = bare(&["spool", "list", "--store", store, "--kek", key, "--json"]);
    assert_eq!(listed.code, code(Exit::Ok), "{}", listed.err);
    let remark = listed.json()["remarks"][0].as_str().unwrap().to_owned();
    assert!(remark.contains("written under key"), "{remark}");
    let verified = bare(&["spool", "verify", "--store", store, "--kek", key]);
    assert_eq!(verified.code, code(Exit::Keys), "{}", verified.err);
    let nowhere = bare(&["spool", "list", "--store", "/nonexistent/store"]);
    assert_eq!(nowhere.code, code(Exit::Store));
    assert!(nowhere.err.contains("there is no store in /nonexistent/store"), "{}", nowhere.err);
}

#[test]
fn damage_that_shows_is_named_in_the_list() {
    let gateway = Gateway::filled();
    std::fs::remove_file(gateway.store().join("vital/3/header")).unwrap();
    let database = gateway.store().join("vital/4/sled/db");
    let length = std::fs::metadata(&database).unwrap().len();
    std::fs::File::options().write(true).open(&database).unwrap().set_len(length / 2).unwrap();
    std::fs::create_dir_all(gateway.store().join("quarantine/vital-1-0")).unwrap();
    let page = gateway.run(&["spool", "list", "--json"]).json();
    let segments = &page["lanes"][1]["segments"];
    assert_eq!((&segments[1]["state"], &segments[2]["state"]), (&json!("damaged"), &json!("damaged")));
    assert!(segments[1]["why"].as_str().unwrap().contains("header"), "{segments}");
    assert!(segments[2]["why"].as_str().unwrap().contains("bytes"), "{segments}");
    assert_eq!(page["quarantine"][0]["name"], "vital-1-0");
}
