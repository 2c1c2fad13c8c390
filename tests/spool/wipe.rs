//! `wardline wipe`: nothing opens afterwards, wherever it was cut off; and without the right word nothing is
//! touched.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value as Json, json};
use wardline::cli::exit::Exit;
use wardline::envelope::keys::load_kek;
use wardline::host::atomic_file;
use wardline::host::audit::AuditLog;
use wardline::store::erase::{Erasure, KeyFiles, Step};
use wardline::store::inspect::{Hold, Wanted, read_blocks};
use wardline::store::{StoreError, erase};
use wardline::time::Wall;

use crate::support::{Done, Gateway, RECORDS, audited, copy, image, put, sha256, typed};

pub(crate) fn code(exit: Exit) -> i32 {
    i32::from(exit.code())
}

pub(crate) const YES: [&str; 4] = ["wipe", "--yes", "--gateway", "gw-1"];

pub(crate) fn wipe(gateway: &Gateway, more: &[&str]) -> Done {
    gateway.run(&[&YES[..], more].concat())
}

/// A copy of a gateway as it was.
fn twin(gateway: &Gateway) -> Gateway {
    let twin = Gateway::new();
    copy(gateway.store().parent().unwrap(), twin.store().parent().unwrap());
    twin
}

pub(crate) fn is_gone(gateway: &Gateway) {
    assert!(image(&gateway.store()).is_empty(), "{:?}", image(&gateway.store()).keys());
    assert!(!wardline::store::anchor_beside(&gateway.store()).exists(), "the mark is there");
    let inventory = wardline::store::inventory_beside(&gateway.store());
    assert!(!inventory.exists(), "what is known of the devices is there");
    let allowlist = wardline::store::allowlist_beside(&gateway.store());
    assert!(!allowlist.exists(), "what the allowlist was is there");
    assert!(!gateway.kek().exists(), "the key is there");
}

/// How many blocks of a folder open with the key that the tests use everywhere.
fn opens(store: &Path) -> Result<usize, StoreError> {
    let home = tempfile::tempdir().unwrap();
    let kek = home.path().join("kek");
    atomic_file::write(&kek, b"0123456789abcdef0123456789ABCDEF").unwrap();
    let ring = load_kek(&kek).unwrap().into();
    let mut count = 0;
    let wanted = Wanted { lanes: wardline::device::observation::Lane::ALL.to_vec() };
    read_blocks(store, &ring, &wanted, &mut |_, _| (), &mut |_| -> Result<(), StoreError> {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

#[test]
fn a_wiped_store_is_gone_with_its_key_and_the_receipt_proves_it() {
    let gateway = Gateway::filled();
    put(&wardline::store::inventory_beside(&gateway.store()), b"serial numbers");
    put(&wardline::store::allowlist_beside(&gateway.store()), b"hashes of them");
    let before = image(&gateway.store());
    let done = wipe(&gateway, &["--reason", "J. Ortiz: device returned"]);
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    is_gone(&gateway);
    assert!(done.err.contains("vital: 225 records that were never sent"), "{}", done.err);
    assert!(done.err.contains("wiped: nothing is left, and no block opens any more"), "{}", done.err);
    let receipt = done.json();
    let proof = &receipt["proof"];
    assert_eq!((&receipt["erased"], &receipt["final"]), (&json!(true), &json!(true)));
    assert_eq!(
        proof,
        &json!({
            "files_left": 0, "headers_left": 0, "mark_left": false, "key_loads": false, "tried": 6, "opened_before": 6,
            "opened_after": 0, "opened_with_old_headers": 0,
        })
    );
    let lost: Vec<_> =
        receipt["lanes"].as_array().unwrap().iter().map(|l| l["records_lost"].clone()).collect();
    assert_eq!(lost, [json!(6 * RECORDS), json!(9 * RECORDS), json!(2 * RECORDS + 1)]);
    let headers = receipt["headers"].as_array().unwrap();
    assert_eq!(headers.len(), 6);
    for header in headers {
        let file = gateway.store().join(header["file"].as_str().unwrap());
        assert_eq!(header["sha256"], json!(sha256(&before[&file])), "{header}");
    }
    assert!(receipt["limits"][0].as_str().unwrap().contains("flash memory"));
    let log = audited(&gateway);
    assert_eq!((&log[0]["action"], &log[1]["action"]), (&json!("wipe"), &json!("wipe-end")));
    assert_eq!(log[1]["about"]["proof"], *proof);
    assert_eq!(log[0]["about"]["reason"], json!("J. Ortiz: device returned"));
    assert_eq!(gateway.run(&["audit"]).code, code(Exit::Ok));
    // Once more is no error: there is nothing left to do.
    let again = wipe(&gateway, &[]);
    assert_eq!(again.code, code(Exit::Ok), "{}", again.err);
    assert_eq!(again.json()["final"], json!(true));
}

#[test]
fn an_image_of_the_disk_opens_with_nothing_that_is_left() {
    let gateway = Gateway::filled();
    let stolen = twin(&gateway);
    assert!(opens(&stolen.store()).unwrap() > 10, "the image is good");
    assert_eq!(wipe(&gateway, &[]).code, code(Exit::Ok));
    // The image is put back where it was: the key is gone.
    copy(&stolen.store(), &gateway.store());
    assert_eq!(gateway.run(&["spool", "verify"]).code, code(Exit::Keys));
    // Any other key is told from the right one.
    atomic_file::write(&gateway.kek(), b"another key, just as long, but..").unwrap();
    let done = gateway.run(&["spool", "verify"]);
    assert_eq!(done.code, code(Exit::Keys));
    assert!(done.err.contains("written under key"), "{}", done.err);
}

/// With the key kept, everything hangs on the headers: an image of all but these is worthless.
#[test]
fn the_sealed_blocks_alone_open_with_nothing_even_when_the_key_is_kept() {
    let gateway = Gateway::filled();
    let stolen = twin(&gateway);
    let done = wipe(&gateway, &["--keep-kek"]);
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    assert!(image(&gateway.store()).is_empty() && gateway.kek().exists());
    let receipt = done.json();
    assert_eq!((&receipt["erased"], &receipt["final"]), (&json!(true), &json!(false)));
    let proof = &receipt["proof"];
    assert_eq!((&proof["opened_after"], &proof["key_loads"]), (&json!(0), &json!(true)));
    assert_eq!(proof["opened_with_old_headers"], proof["tried"], "it says what an old copy would open");
    assert_eq!(receipt["keys"][0]["left_to_do"], json!(format!("shred -u {}", gateway.kek().display())));
    assert!(done.err.contains("until it is, an old copy"), "{}", done.err);
    for path in image(&stolen.store()).into_keys().filter(|path| path.ends_with("header")) {
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(opens(&stolen.store()).unwrap(), 0, "blocks without their headers");
}

fn key(gateway: &Gateway) -> KeyFiles {
    KeyFiles::find(&gateway.kek(), &[]).unwrap()
}

/// What the command notes before its first step.
pub(crate) fn begin(gateway: &Gateway) {
    let about = json!({"folder": gateway.store(), "kek": "0011223344556677", "key_files": [gateway.kek()]});
    let log = AuditLog::beside(&gateway.store());
    log.append(Wall::from_millis(1_000), "wipe", about.as_object().unwrap()).unwrap();
}

#[test]
fn a_wipe_that_is_cut_off_after_any_step_is_finished_by_the_next() {
    let random = ring::rand::SystemRandom::new();
    let origin = Gateway::filled();
    std::fs::create_dir_all(origin.store().join("quarantine/vital-1-0/sled")).unwrap();
    put(&origin.store().join("quarantine/vital-1-0/header"), b"once a header");
    put(&origin.store().join("quarantine/vital-1-0/sled/db"), b"blocks");
    std::fs::create_dir_all(origin.store().join("bulk/7.going")).unwrap();
    put(&origin.store().join("bulk/7.going/header"), b"going");
    put(&origin.store().join("vital/cursor.unfinished"), b"half");
    let total = Erasure::plan(&origin.store(), &[key(&origin)]).unwrap().left();
    assert!(total > 20, "{total} steps");
    for cut in 0..=total {
        let gateway = twin(&origin);
        let store = gateway.store();
        let hold = Hold::take(&store).unwrap();
        let mut plan = Erasure::plan(&store, &[key(&gateway)]).unwrap();
        begin(&gateway);
        let mut headers_are_gone = false;
        for _ in 0..cut {
            let step = plan.step(&random).unwrap().unwrap();
            // The order is the promise: no block goes before every key.
            let left = image(&store).into_keys().filter(|path| path.ends_with("header")).count();
            headers_are_gone |= left == 0;
            assert!(headers_are_gone || matches!(step, Step::Shred(_)), "{step:?} with {left} headers");
            assert!(!gateway.kek().exists(), "the key goes first: {step:?}");
        }
        drop((plan, hold));
        gateway.settle();
        let done = wipe(&gateway, &[]);
        assert_eq!(done.code, code(Exit::Ok), "cut after {cut} of {total}: {}", done.err);
        assert_eq!(done.json()["final"], json!(true), "cut after {cut}");
        is_gone(&gateway);
    }
}

/// Half of a header is overwritten, half of a folder is gone.
#[test]
fn a_wipe_that_is_cut_off_within_a_step_is_finished_by_the_next() {
    let gateway = Gateway::filled();
    std::fs::remove_file(gateway.kek()).unwrap();
    let header = gateway.store().join("alarm/1/header");
    let mut bytes = std::fs::read(&header).unwrap();
    bytes[..60].fill(0xAA);
    put(&header, &bytes);
    std::fs::remove_file(gateway.store().join("alarm/2/sled/db")).unwrap();
    std::fs::remove_file(gateway.store().join("identity")).unwrap();
    let done = wipe(&gateway, &[]);
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    is_gone(&gateway);
    assert!(done.err.contains("nobody can say how many"), "{}", done.err);
}

/// The real thing: SIGKILL as soon as the first header is gone, again and again.
#[test]
fn a_wipe_that_is_killed_is_finished_by_the_next() {
    let origin = Gateway::filled();
    // Many segments, so that it takes a while.
    for number in 100..180 {
        copy(&origin.store().join("vital/3"), &origin.store().join(format!("vital/{number}")));
    }
    let headers = |gateway: &Gateway| {
        let header = |number: &i32| gateway.store().join(format!("vital/{number}/header"));
        (100..180).filter(|number| header(number).exists()).count()
    };
    let mut was_cut = 0;
    for share in [2, 6] {
        let gateway = twin(&origin);
        let mut child = gateway.command(&YES).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() && headers(&gateway) > 80 * share / 8 {}
        child.kill().unwrap();
        child.wait().unwrap();
        was_cut += usize::from(!image(&gateway.store()).is_empty());
        assert!(!gateway.kek().exists(), "the key goes first");
        let done = wipe(&gateway, &[]);
        assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
        is_gone(&gateway);
    }
    assert!(was_cut > 0, "at least one was killed in the middle");
}

#[test]
fn without_the_right_name_nothing_changes() {
    let gateway = Gateway::filled();
    let before = gateway.image();
    let refused = |done: Done, exit: Exit, word: &str| {
        assert_eq!(done.code, code(exit), "{}", done.err);
        assert!(done.err.contains(word), "{word:?} is not in {}", done.err);
        assert_eq!(gateway.image(), before);
    };
    refused(typed(&mut gateway.command(&["wipe"]), "gw-2"), Exit::Refused, "nothing was done");
    refused(typed(&mut gateway.command(&["wipe"]), "yes"), Exit::Refused, "nothing was done");
    refused(gateway.run(&["wipe"]), Exit::Refused, "--yes --gateway NAME");
    refused(gateway.run(&["wipe", "--yes"]), Exit::Usage, "--gateway");
    refused(gateway.run(&["wipe", "--yes", "--gateway", "gw-7"]), Exit::Refused, "\"gw-7\" is not the name");
    let open = Hold::take(&gateway.store()).unwrap();
    refused(wipe(&gateway, &[]), Exit::Store, "in use by another process");
    drop(open);
    gateway.settle();
    let taken = gateway.path().join("gateway.toml");
    refused(wipe(&gateway, &["--receipt", taken.to_str().unwrap()]), Exit::Refused, "exists already");
    let done = typed(&mut gateway.command(&["wipe"]), "gw-1");
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    is_gone(&gateway);
}

#[test]
fn a_folder_that_is_not_a_store_is_left_alone() {
    let gateway = Gateway::filled();
    put(&gateway.store().join("thesis.txt"), b"years of work");
    let before = gateway.image();
    let done = wipe(&gateway, &[]);
    assert_eq!(done.code, code(Exit::Store));
    assert!(done.err.contains("thesis.txt") && done.err.contains("nothing was erased"), "{}", done.err);
    assert_eq!(gateway.image(), before);
    std::fs::remove_file(gateway.store().join("thesis.txt")).unwrap();
    // A lane that is a link to somewhere else is not followed.
    let elsewhere = gateway.path().join("elsewhere");
    std::fs::rename(gateway.store().join("bulk"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, gateway.store().join("bulk")).unwrap();
    assert_eq!(wipe(&gateway, &[]).code, code(Exit::Store));
    assert!(!image(&elsewhere).is_empty() && gateway.kek().exists());
}

#[test]
fn a_key_that_is_a_credential_is_named_with_what_destroys_it() {
    let gateway = Gateway::filled();
    let credentials = gateway.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::rename(gateway.kek(), credentials.join("kek")).unwrap();
    let mut command = gateway.command(&YES);
    command.env("CREDENTIALS_DIRECTORY", &credentials).env("WARDLINE_KEYS__KEK", "credential:kek");
    let done = crate::support::finish(command.stdin(Stdio::null()));
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    let receipt = done.json();
    assert_eq!((&receipt["erased"], &receipt["final"]), (&json!(true), &json!(false)));
    assert_eq!(receipt["keys"][0]["destroyed"], json!(false));
    let left = receipt["keys"][0]["left_to_do"].as_str().unwrap();
    assert!(left.contains("shred -u") && left.contains("kek"), "{left}");
    assert!(credentials.join("kek").exists());
    assert!(image(&gateway.store()).is_empty());
}

#[test]
fn a_receipt_in_a_file_is_its_owners_alone_and_copies_beside_are_named() {
    let gateway = Gateway::filled();
    copy(&gateway.store(), &gateway.store().with_file_name("store.bak"));
    let file = gateway.path().join("receipt.json");
    let done = wipe(&gateway, &["--receipt", file.to_str().unwrap()]);
    assert_eq!((done.code, done.out.as_str()), (code(Exit::Ok), ""), "{}", done.err);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let receipt: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let copies = receipt["copies_beside"].as_array().unwrap();
    assert_eq!(copies.len(), 1);
    assert!(done.err.contains("store.bak") && done.err.contains("not touched"), "{}", done.err);
}

#[test]
fn a_key_behind_a_link_goes_with_the_link() {
    let gateway = Gateway::filled();
    let real = gateway.path().join("real-key");
    std::fs::rename(gateway.kek(), &real).unwrap();
    std::os::unix::fs::symlink(&real, gateway.kek()).unwrap();
    assert_eq!(wipe(&gateway, &[]).code, code(Exit::Ok));
    assert!(!real.exists() && gateway.kek().symlink_metadata().is_err());
}

/// The proof is one: it notices a header that was not erased.
#[test]
fn the_proof_can_fail() {
    let gateway = Gateway::filled();
    let ring = load_kek(&gateway.kek()).unwrap().into();
    let store = gateway.store();
    let samples = erase::samples(&store);
    let before = erase::Proof::before(&samples, Some(&ring));
    assert_eq!((before.tried, before.opened_before), (6, 6));
    let untouched = before.clone().after(&store, &samples, Some(&ring)).unwrap();
    assert_eq!((untouched.opened_after, untouched.headers_left), (6, 6));
    assert!(!untouched.is_erased() && !untouched.is_closed());
    // Everything goes but one header.
    let kept = std::fs::read(store.join("vital/3/header")).unwrap();
    std::fs::remove_dir_all(&store).unwrap();
    let place: PathBuf = store.join("vital/3");
    std::fs::create_dir_all(&place).unwrap();
    put(&place.join("header"), &kept);
    let nearly = before.after(&store, &samples, Some(&ring)).unwrap();
    assert_eq!((nearly.files_left, nearly.headers_left, nearly.opened_after), (1, 1, 1));
    assert!(!nearly.is_erased());
    // Everything goes but the mark beside it.
    std::fs::remove_dir_all(&store).unwrap();
    assert!(wardline::store::anchor_beside(&store).exists());
    let marked = erase::Proof::before(&samples, Some(&ring)).after(&store, &samples, None).unwrap();
    assert_eq!((marked.files_left, marked.mark_left, marked.is_erased()), (0, true, false));
}
