//! `wardline wipe` in doubt: what is not the store's or not a key is left alone, and nothing is called final that was
//! not tried.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};
use wardline::cli::exit::Exit;
use wardline::host::atomic_file;

use crate::left_out::left_out;
use crate::support::{Done, Gateway, audited, finish, image, put};
use crate::wipe::{YES, begin, code, is_gone, wipe};

/// Runs the binary with something mounted, in a place of mounts of its own that ends with it.
fn run_mounted(gateway: &Gateway, script: &str, arguments: &[&str]) -> Done {
    let script = format!("cd \"$1\" && shift && {script} && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(gateway.path());
    command.arg(env!("CARGO_BIN_EXE_wardline")).args(arguments).arg("--config").arg(gateway.path());
    finish(command.stdin(Stdio::null()))
}

/// The unit is stopped, so its credential is not there: that nothing opens then says nothing.
#[test]
fn without_a_key_to_try_nothing_is_called_final() {
    let gateway = Gateway::filled();
    std::fs::rename(gateway.kek(), gateway.path().join("elsewhere")).unwrap();
    let mut command = gateway.command(&YES);
    command.env("WARDLINE_KEYS__KEK", "credential:kek");
    let done = finish(command.stdin(Stdio::null()));
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    let receipt = done.json();
    assert_eq!((&receipt["erased"], &receipt["final"]), (&json!(true), &json!(false)));
    assert!(receipt["not_proven"].as_str().unwrap().starts_with("not proven: no key was there to try"));
    assert_eq!(receipt["keys"][0]["destroyed"], json!(false));
    assert!(done.err.contains("not proven: no key was there to try"), "{}", done.err);
    assert!(done.err.contains("Destroy it with:\n") && done.err.contains("shred -u"), "{}", done.err);
    assert!(!done.err.contains("no block opens any more"), "{}", done.err);
}

/// A key that is on a disk which is not mounted looks like one that is gone.
#[test]
fn a_key_file_that_was_never_there_is_not_one_that_was_destroyed() {
    let gateway = Gateway::filled();
    std::fs::remove_file(gateway.kek()).unwrap();
    let done = wipe(&gateway, &[]);
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    assert_eq!(done.json()["final"], json!(false));
    assert!(done.err.contains("not proven: no key was there to try"), "{}", done.err);
}

#[test]
fn a_kept_key_that_others_can_read_is_not_called_destroyed() {
    let gateway = Gateway::filled();
    std::fs::set_permissions(gateway.kek(), PermissionsExt::from_mode(0o644)).unwrap();
    let done = wipe(&gateway, &["--keep-kek"]);
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    let receipt = done.json();
    assert_eq!((&receipt["final"], &receipt["proof"]["key_loads"]), (&json!(false), &json!(false)));
    assert!(receipt["not_proven"].as_str().unwrap().contains("no key was there to try"));
    assert!(done.err.contains(&format!("shred -u {}", gateway.kek().display())), "{}", done.err);
    assert!(gateway.kek().exists());
}

#[test]
fn a_receipt_in_the_store_is_refused() {
    let gateway = Gateway::filled();
    let before = gateway.image();
    let file = gateway.store().join("vital/receipt.json");
    let done = wipe(&gateway, &["--receipt", file.to_str().unwrap()]);
    assert_eq!(done.code, code(Exit::Refused), "{}", done.err);
    assert!(done.err.contains("would be erased with the store"), "{}", done.err);
    assert_eq!(gateway.image(), before);
}

#[test]
fn what_is_not_the_stores_is_found_at_any_depth() {
    for place in [
        "vital/thesis.txt",
        "vital/1/thesis.txt",
        "vital/1/sled/thesis.txt",
        "vital/1/sled/blobs/thesis.txt",
        "alarm/photos/one.jpg",
        "bulk/1.going/thesis.txt",
        "quarantine/thesis.txt",
        "quarantine/photos/header",
        "quarantine/vital-1-0/thesis.txt",
        "lost+found/#12",
    ] {
        let gateway = Gateway::filled();
        let file = gateway.store().join(place);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        put(&file, b"years of work");
        let before = gateway.image();
        let done = wipe(&gateway, &[]);
        assert_eq!(done.code, code(Exit::Store), "{place}: {}", done.err);
        assert!(done.err.contains("nothing was erased"), "{place}: {}", done.err);
        assert_eq!(gateway.image(), before, "{place}");
    }
    // A link with a name of the store's is not the store's either.
    let gateway = Gateway::filled();
    let (header, victim) = (gateway.store().join("vital/3/footer"), gateway.path().join("victim"));
    std::fs::rename(&header, &victim).unwrap();
    std::os::unix::fs::symlink(&victim, &header).unwrap();
    assert_eq!(wipe(&gateway, &[]).code, code(Exit::Store));
    assert!(victim.exists() && gateway.kek().exists());
}

/// Mounts need root; a place of mounts of its own keeps them from the rest of the machine.
#[test]
fn what_is_mounted_in_the_store_is_left_alone() {
    if !rustix::process::geteuid().is_root() {
        left_out("wipe_doubts::what_is_mounted_in_the_store_is_left_alone", "only root can mount");
        return;
    }
    for mount in ["-t tmpfs none", "--bind elsewhere"] {
        let gateway = Gateway::filled();
        let place = gateway.store().join("vital/1/sled/blobs");
        std::fs::create_dir_all(&place).unwrap();
        std::fs::create_dir_all(gateway.path().join("elsewhere")).unwrap();
        let before = gateway.image();
        let done = run_mounted(&gateway, &format!("mount {mount} state/store/vital/1/sled/blobs"), &YES);
        assert_eq!(done.code, code(Exit::Store), "{mount}: {}", done.err);
        assert!(done.err.contains("blobs") && done.err.contains("nothing was erased"), "{}", done.err);
        assert_eq!(gateway.image(), before, "{mount}");
    }
}

#[test]
fn what_is_not_a_key_is_not_shredded() {
    let refused = |gateway: &Gateway, word: &str| {
        let before = gateway.image();
        let done = wipe(gateway, &[]);
        assert_eq!(done.code, code(Exit::Store), "{}", done.err);
        assert!(done.err.contains(word) && done.err.contains("nothing was erased"), "{}", done.err);
        assert_eq!(gateway.image(), before);
    };
    let gateway = Gateway::filled();
    let victim = gateway.path().join("gateway.toml");
    std::fs::remove_file(gateway.kek()).unwrap();
    std::os::unix::fs::symlink(&victim, gateway.kek()).unwrap();
    refused(&gateway, &victim.canonicalize().unwrap().display().to_string());
    let gateway = Gateway::filled();
    put(&gateway.kek(), b"a letter");
    refused(&gateway, "too short");
    let gateway = Gateway::filled();
    std::fs::set_permissions(gateway.kek(), PermissionsExt::from_mode(0o644)).unwrap();
    refused(&gateway, "chmod 0400");
}

/// Cut off within the key itself: it is none any more, but the audit log knows it.
#[test]
fn a_key_that_is_half_overwritten_is_gone_on_with() {
    let gateway = Gateway::filled();
    begin(&gateway);
    atomic_file::write(&gateway.kek(), &[0xAA; 64]).unwrap();
    let done = wipe(&gateway, &[]);
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    assert_eq!(done.json()["final"], json!(true));
    is_gone(&gateway);
}

#[test]
fn the_folder_that_ext4_keeps_at_the_root_of_a_disk_is_no_stranger() {
    let gateway = Gateway::filled();
    let lost = gateway.store().join("lost+found");
    std::fs::create_dir(&lost).unwrap();
    let is_roots = rustix::process::geteuid().is_root();
    let verified = gateway.run(&["spool", "verify"]);
    assert_eq!(verified.code == code(Exit::Ok), is_roots, "{}{}", verified.out, verified.err);
    let done = wipe(&gateway, &[]);
    if !is_roots {
        assert_eq!(done.code, code(Exit::Store));
        return;
    }
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    assert_eq!((&done.json()["erased"], &done.json()["final"]), (&json!(true), &json!(true)));
    let left: Vec<PathBuf> = image(&gateway.store()).into_keys().collect();
    assert_eq!(left, [lost.join("")]);
    assert_eq!(wipe(&gateway, &[]).json()["final"], json!(true), "an empty disk is no store");
}

/// The disk of the receipt is full when everything is gone already.
#[test]
fn a_receipt_that_cannot_be_written_goes_to_standard_output() {
    if !rustix::process::geteuid().is_root() {
        left_out(
            "wipe_doubts::a_receipt_that_cannot_be_written_goes_to_standard_output",
            "only root can mount",
        );
        return;
    }
    let gateway = Gateway::filled();
    std::fs::create_dir(gateway.path().join("full")).unwrap();
    let file = gateway.path().join("full/receipt.json");
    let script = "mount -t tmpfs -o size=4k none full && head -c 4096 /dev/zero > full/other";
    let done = run_mounted(&gateway, script, &[&YES[..], &["--receipt", file.to_str().unwrap()]].concat());
    assert_eq!(done.code, code(Exit::Failed), "{}", done.err);
    assert!(done.err.contains("the receipt cannot be written"), "{}", done.err);
    let receipt: Json = done.json();
    assert_eq!((&receipt["final"], &receipt["audited"]), (&json!(true), &json!(true)));
    assert_eq!(audited(&gateway)[1]["action"], json!("wipe-end"));
    is_gone(&gateway);
}
