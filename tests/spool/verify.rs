//! `wardline spool verify`: every sort of damage is found, named and weighed; a sound store is sound; nothing
//! is ever changed.

use std::path::Path;

use serde_json::{Value as Json, json};
use wardline::cli::exit::Exit;
use wardline::device::observation::Lane;
use wardline::envelope::block::PlainBlock;
use wardline::envelope::record::Entry;
use wardline::store::{Reader, Seq};

use crate::support::{BLOCKS, Done, Gateway, RECORDS, Ward, copy, flip, image, now, put};

fn code(exit: Exit) -> i32 {
    i32::from(exit.code())
}

fn verify(gateway: &Gateway) -> (Done, Json) {
    let before = gateway.image();
    let done = gateway.run(&["spool", "verify", "--json"]);
    assert_eq!(gateway.image(), before, "verifying changes nothing");
    let report = if done.out.is_empty() { Json::Null } else { done.json() };
    (done, report)
}

/// What is found after something was done to a store: sort and file of each finding that is damage.
fn found(harm: impl Fn(&Gateway)) -> (Vec<(String, String)>, Json) {
    let gateway = Gateway::filled();
    harm(&gateway);
    let (done, report) = verify(&gateway);
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("{}", done.err)).clone();
    let damage: Vec<_> = findings.iter().filter(|finding| finding["damage"] == true).collect();
    let expected = if damage.is_empty() { Exit::Ok } else { Exit::Damaged };
    assert_eq!((done.code, &report["sound"]), (code(expected), &json!(damage.is_empty())), "{report:#}");
    assert!(findings.iter().all(|finding| finding["meaning"].as_str().is_some_and(|m| !m.is_empty())));
    let text = |value: &Json| value.as_str().unwrap().to_owned();
    (damage.iter().map(|finding| (text(&finding["sort"]), text(&finding["file"]))).collect(), report)
}

fn names(sort: &str, file: &str) -> (String, String) {
    (sort.to_owned(), file.to_owned())
}

#[test]
fn a_sound_store_is_sound() {
    let (damage, report) = found(|_| ());
    assert_eq!(damage, []);
    assert_eq!(report["findings"], json!([]));
    assert_eq!(report["segments"], json!(2 + 3 + 1));
    // Of the vital lane the first segment is acknowledged and gone.
    assert_eq!(report["blocks"], json!(6 + 14 - BLOCKS + 3));
    assert_eq!(report["records"], json!((6 + 14 - BLOCKS + 2) * RECORDS + 1));
    let shown = Gateway::filled().run(&["spool", "verify"]);
    assert!(shown.out.contains("sound: everything authenticates"), "{}", shown.out);
    assert_eq!(shown.err, "", "no bar where there is no terminal");
}

#[test]
fn a_store_that_is_open_is_refused() {
    let gateway = Gateway::filled();
    let open = gateway.open();
    let done = gateway.run(&["spool", "verify"]);
    assert_eq!(done.code, code(Exit::Store));
    assert!(done.err.contains("in use by another process"), "{}", done.err);
    gateway.abandon(open);
    assert_eq!(gateway.run(&["spool", "verify"]).code, code(Exit::Ok));
}

#[test]
fn without_the_key_nothing_can_be_verified() {
    let gateway = Gateway::filled();
    std::fs::remove_file(gateway.kek()).unwrap();
    let done = gateway.run(&["spool", "verify"]);
    assert_eq!(done.code, code(Exit::Keys));
    assert!(done.err.contains("never a new one"), "{}", done.err);
}

#[test]
fn a_crash_leaves_a_sound_store() {
    let gateway = Gateway::filled();
    let (mut writer, reader) = gateway.open();
    let mut ward = Ward::new();
    writer.append(Lane::Vital, &ward.block(), now()).unwrap();
    gateway.abandon((writer, reader));
    let (done, report) = verify(&gateway);
    assert_eq!(done.code, code(Exit::Ok), "{report:#}");
    assert_eq!(report["findings"][0]["sort"], "unclosed");
    assert_eq!(report["blocks"], json!(6 + 14 - BLOCKS + 3 + 1));
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    for (file, sort) in [
        ("identity", "identity"),
        ("vital/cursor", "cursor"),
        ("vital/3/header", "header"),
        ("vital/3/footer", "footer"),
        ("vital/3/sled/db", "database"),
    ] {
        for third in 0..4 {
            let (damage, _) = found(|gateway| {
                let path = gateway.store().join(file);
                let length = usize::try_from(std::fs::metadata(&path).unwrap().len()).unwrap();
                flip(&path, (length * third / 3).min(length - 1));
            });
            assert!(damage.contains(&names(sort, file)), "{file}, behind {third} thirds: {damage:?}");
        }
    }
}

#[test]
fn every_byte_of_the_identity_is_watched() {
    let gateway = Gateway::filled();
    let path = gateway.store().join("identity");
    let good = std::fs::read(&path).unwrap();
    for place in 0..good.len() {
        flip(&path, place);
        let (done, report) = verify(&gateway);
        assert_eq!(done.code, code(Exit::Damaged), "byte {place}: {}", done.err);
        assert_eq!(report["findings"][0]["sort"], "identity", "byte {place}");
        assert_eq!(report["lost"], 0);
        put(&path, &good);
    }
}

/// Also where its header cannot be used and there is nothing to count by.
#[test]
fn a_database_that_is_no_file_is_found_and_the_rest_is_looked_into() {
    let (damage, verdict) = found(|gateway| {
        let segment = gateway.store().join("vital/3");
        flip(&segment.join("header"), 40);
        std::fs::remove_file(segment.join("sled/db")).unwrap();
        std::fs::create_dir(segment.join("sled/db")).unwrap();
    });
    assert_eq!(damage[0], names("header", "vital/3/header"), "{damage:?}");
    assert!(verdict.to_string().contains("not a regular file"), "{verdict}");
}

#[test]
fn a_cut_file_is_found_wherever_it_ends() {
    for (file, sort) in [
        ("identity", "identity"),
        ("bulk/cursor", "cursor"),
        ("alarm/1/header", "header"),
        ("alarm/1/footer", "footer"),
        ("alarm/1/sled/db", "database"),
    ] {
        for part in [0, 1, 2] {
            let cut = |gateway: &Gateway| {
                let path = gateway.store().join(file);
                let bytes = std::fs::read(&path).unwrap();
                put(&path, &bytes[..bytes.len() * part / 3]);
            };
            let (damage, _) = found(cut);
            assert!(damage.contains(&names(sort, file)), "{file}, {part} thirds: {damage:?}");
        }
    }
}

#[test]
fn a_removed_file_is_found() {
    for (file, finding) in [
        ("identity", names("identity", "identity")),
        ("alarm/cursor", names("cursor", "alarm/cursor")),
        ("vital/3/header", names("header", "vital/3/header")),
        ("vital/3/sled/db", names("database", "vital/3/sled/db")),
    ] {
        let (damage, _) = found(|gateway| std::fs::remove_file(gateway.store().join(file)).unwrap());
        assert!(damage.contains(&finding), "{file}: {damage:?}");
    }
    // Without its footer a segment is one that a crash left: the next one says what was in it.
    let (damage, report) =
        found(|gateway| std::fs::remove_file(gateway.store().join("vital/3/footer")).unwrap());
    assert_eq!((damage.len(), &report["findings"][0]["sort"]), (0, &json!("unclosed")));
}

#[test]
fn a_removed_segment_is_found_first_in_the_middle_and_last() {
    for number in [2, 3, 4] {
        let (damage, report) = found(|gateway| {
            std::fs::remove_dir_all(gateway.store().join(format!("vital/{number}"))).unwrap();
        });
        assert_eq!(damage, [names("missing", &format!("vital/{number}"))]);
        let lost = match number {
            2 => 3 * RECORDS,
            3 => BLOCKS * RECORDS,
            _ => 2 * RECORDS,
        };
        assert_eq!(report["lost"], json!(lost), "{report:#}");
    }
}

#[test]
fn the_blocks_that_are_lost_are_named_with_their_readings() {
    let gateway = Gateway::filled();
    spoil(&gateway.store().join("vital/3/sled/db"), &[1, 2]);
    let (done, report) = verify(&gateway);
    assert_eq!(done.code, code(Exit::Damaged));
    let findings = report["findings"].as_array().unwrap();
    let block = findings.iter().find(|finding| finding["sort"] == "block").unwrap();
    assert_eq!(
        (&block["lane"], &block["segment"], &block["first_block"], &block["last_block"]),
        (&json!("vital"), &json!(3), &json!(1), &json!(2))
    );
    assert_eq!((&block["lost"], &report["lost"]), (&json!(2 * RECORDS), &json!(2 * RECORDS)));
    let meaning = block["meaning"].as_str().unwrap();
    assert!(meaning.contains("50 records from 20") && meaning.contains("gap record"), "{meaning}");
    let shown = gateway.run(&["spool", "verify"]).out;
    assert!(shown.contains("blocks 1 to 2 of vital/3 are not all there"), "{shown}");
}

#[test]
fn damage_to_what_the_broker_has_is_no_loss() {
    let (_, report) = found(|gateway| spoil(&gateway.store().join("vital/2/sled/db"), &[0]));
    let findings = report["findings"].as_array().unwrap();
    let block = findings.iter().find(|finding| finding["sort"] == "block").unwrap();
    assert_eq!((&block["first_block"], &block["lost"]), (&json!(0), &json!(0)), "{report:#}");
    assert!(block["meaning"].as_str().unwrap().contains("acknowledged"));
}

#[test]
fn two_segments_that_changed_places_are_both_found() {
    let (damage, _) = found(|gateway| {
        let lane = gateway.store().join("vital");
        std::fs::rename(lane.join("3"), lane.join("x")).unwrap();
        std::fs::rename(lane.join("4"), lane.join("3")).unwrap();
        std::fs::rename(lane.join("x"), lane.join("4")).unwrap();
    });
    assert!(damage.contains(&names("header", "vital/3/header")), "{damage:?}");
    assert!(damage.contains(&names("header", "vital/4/header")), "{damage:?}");
}

#[test]
fn a_segment_of_another_gateway_is_found() {
    let (damage, report) = found(|gateway| {
        let other = Gateway::filled();
        copy(&other.store().join("vital/4"), &gateway.store().join("vital/5"));
    });
    assert_eq!(damage, [names("header", "vital/5/header")], "{report:#}");
    let what = report["findings"][0]["what"].as_str().unwrap();
    assert!(what.contains("another store"), "{what}");
    // The same in the place of one of its own.
    let (damage, _) = found(|gateway| {
        let other = Gateway::filled();
        std::fs::remove_dir_all(gateway.store().join("vital/3")).unwrap();
        copy(&other.store().join("vital/3"), &gateway.store().join("vital/3"));
    });
    assert_eq!(damage, [names("header", "vital/3/header")]);
}

#[test]
fn an_old_copy_of_a_segment_does_not_fit_the_chain() {
    let gateway = Gateway::new();
    let (mut writer, reader) = gateway.open();
    let mut ward = Ward::new();
    writer.append(Lane::Vital, &ward.block(), now()).unwrap();
    let old = image(&gateway.store().join("vital/1"));
    for _ in 0..4 {
        writer.append(Lane::Vital, &ward.block(), now()).unwrap();
    }
    drop(reader);
    writer.close().unwrap();
    gateway.settle();
    assert_eq!(verify(&gateway).0.code, code(Exit::Ok));
    std::fs::remove_dir_all(gateway.store().join("vital/1")).unwrap();
    for (path, bytes) in old.iter().filter(|(path, _)| !path.to_str().unwrap().ends_with('/')) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        put(path, bytes);
    }
    let (done, report) = verify(&gateway);
    assert_eq!(done.code, code(Exit::Damaged), "{report:#}");
    // The header of the next one says that four blocks were stored.
    assert_eq!(report["lost"], json!(3 * RECORDS), "{report:#}");
}

#[test]
fn what_does_not_belong_is_found_in_every_folder() {
    for place in ["notes.txt", "vital/x", "vital/03", "vital/3/y", "vital/3/sled/z", "vital/3/sled/blobs/1"] {
        let (damage, _) = found(|gateway| {
            let path = gateway.store().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            put(&path, b"x");
        });
        assert_eq!(damage, [names("stranger", place)], "{place}");
    }
}

#[test]
fn what_a_power_cut_leaves_is_told_of_and_is_no_damage() {
    let (damage, report) = found(|gateway| {
        let store = gateway.store();
        put(&store.join("vital/cursor.unfinished"), b"half");
        put(&store.join("vital/3/footer.unfinished"), b"half");
        std::fs::create_dir(store.join("bulk/7.going")).unwrap();
        std::fs::create_dir(store.join("bulk/9")).unwrap();
        std::fs::create_dir_all(store.join("quarantine/vital-1-0")).unwrap();
    });
    assert_eq!(damage, [], "{report:#}");
    let sorts: Vec<_> = report["findings"].as_array().unwrap().iter().map(|f| f["sort"].clone()).collect();
    assert_eq!(sorts.iter().filter(|sort| **sort == "unfinished").count(), 4, "{sorts:?}");
    assert_eq!(sorts.iter().filter(|sort| **sort == "quarantine").count(), 1);
}

/// The same store lived twice, on two copies of its disk: the segments of one authenticate in the other.
#[test]
fn a_segment_of_another_life_of_the_same_store_breaks_the_chain() {
    let write = |gateway: &Gateway, blocks: u64| {
        let (mut writer, reader) = gateway.open();
        let mut ward = Ward::new();
        for _ in 0..blocks {
            writer.append(Lane::Vital, &ward.block(), now()).unwrap();
        }
        drop(reader);
        writer.close().unwrap();
        gateway.settle();
    };
    let numbers = |gateway: &Gateway| -> Vec<u64> {
        let names = std::fs::read_dir(gateway.store().join("vital")).unwrap();
        let mut numbers: Vec<u64> =
            names.filter_map(|name| name.unwrap().file_name().to_str().unwrap().parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    };
    let (mut one, mut other) = (Gateway::new(), Gateway::new());
    write(&one, 1);
    copy(one.store().parent().unwrap(), other.store().parent().unwrap());
    write(&one, 1);
    write(&other, 1);
    // Numbers go on by a random step after each start: whichever went further is put behind the other.
    if numbers(&one).last() > numbers(&other).last() {
        (one, other) = (other, one);
    }
    assert_eq!(verify(&one).0.code, code(Exit::Ok));
    let place = format!("vital/{}", numbers(&other)[1]);
    copy(&other.store().join(&place), &one.store().join(&place));
    let (done, report) = verify(&one);
    assert_eq!(done.code, code(Exit::Damaged), "{report:#}");
    let finding = &report["findings"][0];
    assert_eq!((&finding["sort"], &finding["file"]), (&json!("chain"), &json!(format!("{place}/header"))));
    assert!(finding["what"].as_str().unwrap().contains("lies between"), "{finding}");
}

#[test]
fn an_older_copy_of_the_whole_store_is_found_by_the_mark_beside_it() {
    let gateway = Gateway::filled();
    let old = image(&gateway.store());
    let (mut writer, reader) = gateway.open();
    let mut ward = Ward::new();
    writer.append(Lane::Alarm, &ward.block(), now()).unwrap();
    drop(reader);
    writer.close().unwrap();
    gateway.settle();
    assert_eq!(verify(&gateway).0.code, code(Exit::Ok));
    std::fs::remove_dir_all(gateway.store()).unwrap();
    for (path, bytes) in old.iter().filter(|(path, _)| !path.to_str().unwrap().ends_with('/')) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        put(path, bytes);
    }
    let (done, report) = verify(&gateway);
    assert_eq!(done.code, code(Exit::Damaged), "{report:#}");
    let findings = report["findings"].as_array().unwrap();
    assert_eq!((findings.len(), &findings[0]["sort"]), (1, &json!("anchor")), "{report:#}");
    assert!(findings[0]["what"].as_str().unwrap().contains("lane alarm was put back"), "{report:#}");
}

#[test]
fn the_mark_beside_the_store_is_checked_itself() {
    let mark = |gateway: &Gateway| wardline::store::anchor_beside(&gateway.store());
    let (damage, _) = found(|gateway| flip(&mark(gateway), 30));
    assert_eq!(damage.len(), 1);
    assert_eq!(damage[0].0, "anchor");
    let (damage, report) =
        found(|gateway| put(&mark(gateway), &std::fs::read(mark(&Gateway::filled())).unwrap()));
    assert_eq!(damage.len(), 1, "{report:#}");
    assert!(report["findings"][0]["what"].as_str().unwrap().contains("another store"), "{report:#}");
    let (damage, report) = found(|gateway| std::fs::remove_file(mark(gateway)).unwrap());
    assert_eq!(damage, [], "a copy of the folder alone is no damage");
    assert_eq!(report["findings"][0]["sort"], "unmarked");
}

/// Verify looks ahead: it counts as lost what the daemon then tells of in gap records.
#[test]
fn what_is_said_to_be_lost_is_what_the_daemon_tells_of() {
    type Harm = fn(&Gateway);
    let harms: [(&str, Harm); 5] = [
        ("a segment in the middle", |g| std::fs::remove_dir_all(g.store().join("vital/3")).unwrap()),
        ("the last segment", |g| std::fs::remove_dir_all(g.store().join("alarm/2")).unwrap()),
        ("a header", |g| flip(&g.store().join("vital/4/header"), 50)),
        ("a whole database", |g| std::fs::remove_file(g.store().join("alarm/1/sled/db")).unwrap()),
        ("a block", |g| spoil(&g.store().join("vital/3/sled/db"), &[2])),
    ];
    for (what, harm) in harms {
        let gateway = Gateway::filled();
        harm(&gateway);
        let lost = verify(&gateway).1["lost"].as_u64().unwrap();
        assert!(lost > 0, "{what}");
        assert_eq!(told_of(&gateway), lost, "{what}");
    }
}

/// How many records the daemon says are lost, when it has read everything.
fn told_of(gateway: &Gateway) -> u64 {
    let (mut writer, mut reader) = gateway.open();
    let mut told = 0;
    loop {
        let mut is_new = false;
        for lane in Lane::ALL {
            while let Some((seq, block)) = next(&mut reader, lane) {
                is_new = true;
                for entry in block.read().unwrap().1 {
                    if let Entry::Gap(gap) = entry
                        && gap.reason != "a test"
                    {
                        told += gap.count;
                    }
                }
                reader.acknowledge(seq).unwrap();
            }
        }
        writer.maintain(now()).unwrap();
        if !is_new {
            return told;
        }
    }
}

fn next(reader: &mut Reader, lane: Lane) -> Option<(Seq, PlainBlock)> {
    match reader.read_next(lane).unwrap() {
        None if lane == Lane::Vital => reader.read_live().unwrap(),
        next => next,
    }
}

/// Breaks every copy of every chunk of some blocks: a block's index stands behind magic and checksum.
fn spoil(path: &Path, blocks: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let mut hits = 0;
    for at in 0..bytes.len() - 12 {
        let is_chunk = bytes[at..].starts_with(b"WLc1") && bytes[at + 9..at + 12] == [0; 3];
        if is_chunk && blocks.contains(&bytes[at + 8]) {
            bytes[at + 60] ^= 1;
            hits += 1;
        }
    }
    assert!(hits >= blocks.len(), "chunks of the blocks were found");
    put(path, &bytes);
}
