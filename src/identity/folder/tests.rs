use super::*;
use crate::envelope::keys::Purpose;
use crate::identity::est::key::Names;
use crate::identity::name::Name;
use crate::uplink::tls::token::name_line;

/// A request of ours, with a certificate for its key in place of an authority's: what a folder holds does not
/// depend on who signed it. Made with the fixed shape of X.509, as the library that is tested makes none.
fn pending() -> Pending {
    let name = Name { organisation: "st-anna".to_owned(), gateway: "gw-1".to_owned() };
    Pending::make(&Names::of(&name).unwrap()).unwrap()
}

fn certificate(pending: &Pending, serial: u8) -> CertificateDer<'static> {
    use x509_cert::der::asn1::{Any, BitString, ObjectIdentifier};
    use x509_cert::der::{Encode as _, Tag};
    use x509_cert::request::CertReq;

    fn sequence(content: &[u8]) -> Vec<u8> {
        Any::new(Tag::Sequence, content).unwrap().to_der().unwrap()
    }
    let request = CertReq::from_der(pending.request()).unwrap();
    let algorithm = sequence(&ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2").to_der().unwrap());
    let name = request.info.subject.to_der().unwrap();
    let times = [&b"\x17\x0d260101000000Z"[..], b"\x17\x0d260401000000Z"].concat();
    let key = request.info.public_key.to_der().unwrap();
    let version = [0xa0, 3, 2, 1, 2];
    let tbs = [&version[..], &[2, 1, serial], &algorithm, &name, &sequence(&times), &name, &key].concat();
    let signature = BitString::from_bytes(&[0]).unwrap().to_der().unwrap();
    let all = sequence(&[sequence(&tbs), algorithm, signature].concat());
    CertificateDer::from(all)
}

fn folder() -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path().join("identity"));
    let server = Server { address: "https://pki.example".parse().unwrap(), authorities: Vec::new() };
    folder.make().unwrap();
    folder.keep_server(&server).unwrap();
    (place, folder)
}

#[test]
fn a_pair_goes_from_request_to_use() {
    use std::os::unix::fs::PermissionsExt as _;

    let (_place, folder) = folder();
    assert!(folder.current().unwrap().is_none() && folder.pending().unwrap().is_none());
    let first = pending();
    folder.keep_pending(&first).unwrap();
    assert_eq!(folder.pending().unwrap().unwrap().request(), first.request());
    let issued = certificate(&first, 1);
    folder.keep_next(&first, std::slice::from_ref(&issued)).unwrap();
    assert!(folder.pending().unwrap().is_none() && folder.current().unwrap().is_none());
    folder.promote().unwrap();
    let current = folder.current().unwrap().unwrap();
    assert_eq!(current.leaf(), issued.as_ref());
    assert_eq!(current.lifetime().until, Wall::read("2026-04-01").unwrap());
    assert!(folder.next().unwrap().is_none());
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}

#[test]
fn a_certificate_for_another_key_is_not_kept() {
    let (_place, folder) = folder();
    let (ours, other) = (pending(), pending());
    let error = folder.keep_next(&ours, &[certificate(&other, 1)]).unwrap_err();
    assert!(matches!(error, EstError::Setup(rustls::Error::InconsistentKeys(_))), "{error}");
    assert!(folder.next().unwrap().is_none());
}

#[test]
fn a_certificate_that_cannot_be_written_leaves_its_key() {
    let (_place, folder) = folder();
    let request = pending();
    folder.keep_pending(&request).unwrap();
    let in_the_way = folder.path().join(format!("{NEXT}{}", atomic_file::UNFINISHED));
    std::fs::create_dir(&in_the_way).unwrap();
    assert!(matches!(folder.keep_next(&request, &[certificate(&request, 1)]), Err(EstError::Folder(_))));
    assert_eq!(folder.pending().unwrap().unwrap().point(), request.point());
    // And one that cannot take its place leaves the present one.
    std::fs::remove_dir(in_the_way).unwrap();
    folder.keep_next(&request, &[certificate(&request, 1)]).unwrap();
    folder.promote().unwrap();
    assert!(folder.promote().is_err(), "there is no next one");
    assert!(folder.current().unwrap().is_some());
}

/// The bytes of every file, by name.
type Disk = std::collections::BTreeMap<std::ffi::OsString, Vec<u8>>;

fn disk(folder: &Folder) -> Disk {
    std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), atomic_file::read(&entry.path(), MAX_FILE).unwrap()))
        .collect()
}

/// What a power cut may leave between two states of the disk: one file after the other has changed, in the
/// order of the step, or what was being written lies beside it unfinished.
fn between(before: &Disk, after: &Disk, order: &[&str]) -> Vec<Disk> {
    let mut states = vec![before.clone()];
    let mut now = before.clone();
    for name in order {
        let name = std::ffi::OsString::from(name);
        if let Some(bytes) = after.get(&name) {
            let mut torn = now.clone();
            let mut unfinished = name.clone();
            unfinished.push(atomic_file::UNFINISHED);
            torn.insert(unfinished, bytes[..bytes.len() / 2].to_vec());
            states.push(torn);
            now.insert(name, bytes.clone());
        } else {
            now.remove(&name);
        }
        states.push(now.clone());
    }
    assert_eq!(now, *after, "the order names every file that changes");
    states
}

fn restore(disk: &Disk) -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().unwrap();
    for (name, bytes) in disk {
        atomic_file::write(&place.path().join(name), bytes).unwrap();
    }
    let folder = Folder::new(place.path());
    (place, folder)
}

#[test]
fn a_power_cut_at_any_step_leaves_a_pair_and_a_way_on() {
    let (_place, folder) = folder();
    let mut had_one = false;
    for serial in 1..4 {
        let (request, start) = (pending(), disk(&folder));
        folder.keep_pending(&request).unwrap();
        let asked = disk(&folder);
        folder.keep_next(&request, &[certificate(&request, serial)]).unwrap();
        let issued = disk(&folder);
        folder.promote().unwrap();
        let promoted = disk(&folder);
        // A rename is one step.
        let states = [
            between(&start, &asked, &["pending.pem"]),
            between(&asked, &issued, &["next.pem", "pending.pem"]),
            vec![promoted],
        ];
        for (number, state) in states.iter().flatten().enumerate() {
            let (_place, left) = restore(state);
            left.recover().unwrap();
            let current = left.current().unwrap();
            assert!(current.is_some() || !had_one, "serial {serial}, state {number}: no pair");
            if let Some(pair) = current {
                pair.certified().unwrap();
            }
            // The way on: the whole of a renewal from here.
            let request = left.pending().unwrap().unwrap_or_else(pending);
            left.keep_pending(&request).unwrap();
            left.keep_next(&request, &[certificate(&request, 99)]).unwrap();
            left.promote().unwrap();
            left.current().unwrap().unwrap().certified().unwrap();
        }
        had_one = true;
    }
}

#[test]
fn a_first_pair_that_was_not_taken_is_taken_at_the_next_start() {
    let (_place, folder) = folder();
    assert!(!folder.recover().unwrap());
    let first = pending();
    folder.keep_next(&first, &[certificate(&first, 1)]).unwrap();
    assert!(folder.recover().unwrap());
    assert!(folder.current().unwrap().is_some());
    // With one in use, the next one has to win a CONNACK first.
    folder.keep_next(&first, &[certificate(&first, 2)]).unwrap();
    assert!(!folder.recover().unwrap() && folder.next().unwrap().is_some());
}

#[test]
fn what_is_no_pair_is_said_with_its_file() {
    let (_place, folder) = folder();
    for text in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        atomic_file::write(&folder.path().join(CURRENT), text.as_bytes()).unwrap();
        let Err(error) = folder.current() else { panic!("{text:?}") };
        assert!(error.to_string().contains("current.pem"), "{error}");
    }
}

#[test]
fn the_server_is_remembered_with_what_it_named() {
    let (_place, folder) = folder();
    let (given, named) = (certificate(&pending(), 1), certificate(&pending(), 2));
    let address: Address = "https://pki.example:8443/est".parse().unwrap();
    folder.keep_server(&Server { address: address.clone(), authorities: vec![given.clone()] }).unwrap();
    let believed = || folder.server().unwrap().unwrap();
    assert_eq!((believed().address, believed().authorities), (address, vec![given.clone()]));
    folder.keep_authorities(std::slice::from_ref(&named)).unwrap();
    assert_eq!(believed().authorities, [named], "those that were named last, alone");
    let again = Server { authorities: vec![given.clone()], ..believed() };
    folder.keep_server(&again).unwrap();
    assert_eq!(believed().authorities, [given], "a person's word");
}

#[test]
fn authorities_that_cannot_be_read_do_not_end_the_renewal() {
    let (_place, folder) = folder();
    let (given, named) = (certificate(&pending(), 1), certificate(&pending(), 2));
    let address: Address = "https://pki.example:8443/est".parse().unwrap();
    folder.keep_server(&Server { address, authorities: vec![given.clone()] }).unwrap();
    let believed = || folder.server().unwrap().unwrap().authorities;
    for text in ["-----BEGIN CERTIFICATE-----\nAAAA\n", "", "\u{0}garbage"] {
        folder.keep_authorities(std::slice::from_ref(&named)).unwrap();
        atomic_file::write(&folder.path().join(AUTHORITIES), text.as_bytes()).unwrap();
        assert_eq!(believed(), std::slice::from_ref(&given), "{text:?}: those that a person gave");
        folder.keep_authorities(std::slice::from_ref(&named)).unwrap();
        assert_eq!(believed(), std::slice::from_ref(&named), "{text:?}: and then the new ones");
    }
    // Nobody is believed without a word of anybody.
    atomic_file::write(&folder.path().join(SERVER_AUTHORITIES), b"-----BEGIN CERTIFICATE-----\nAAAA\n")
        .unwrap();
    atomic_file::write(&folder.path().join(AUTHORITIES), b"-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    assert!(folder.server().is_err());
}

#[test]
fn a_folder_that_others_can_enter_is_refused_with_the_way_out() {
    use std::os::unix::fs::PermissionsExt as _;

    let (_place, folder) = folder();
    for mode in [0o755, 0o710, 0o770, 0o701] {
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let error = folder.make().unwrap_err().to_string();
        assert!(error.contains("chmod 700") && error.contains(&format!("{mode:04o}")), "{error}");
    }
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    folder.make().unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder.path(), Some(1), None).unwrap();
        let error = folder.make().unwrap_err().to_string();
        assert!(error.contains("user 1 ") && error.contains("chown"), "{error}");
    }
}

#[test]
fn a_damaged_pair_is_set_aside_for_the_next_one_or_for_none() {
    let (_place, folder) = folder();
    let (first, second, other) = (pending(), pending(), pending());
    let aside = || std::fs::read(folder.path().join(DAMAGED)).unwrap();
    // Torn, with nothing to take its place.
    atomic_file::write(&folder.path().join(CURRENT), b"torn").unwrap();
    assert!(!folder.recover().unwrap());
    assert_eq!((aside().as_slice(), folder.current().unwrap().is_none()), (&b"torn"[..], true));
    // A key of another certificate, with a next pair.
    let mixed = other.pair_pem(&[certificate(&first, 1)]).unwrap();
    atomic_file::write(&folder.path().join(CURRENT), &mixed).unwrap();
    folder.keep_next(&second, &[certificate(&second, 2)]).unwrap();
    assert!(folder.recover().unwrap());
    assert_eq!(aside(), *mixed);
    assert!(folder.current().unwrap().unwrap().has_key(second.point()) && folder.next().unwrap().is_none());
    // Both.
    atomic_file::write(&folder.path().join(CURRENT), b"torn").unwrap();
    atomic_file::write(&folder.path().join(NEXT), b"torn too").unwrap();
    assert!(!folder.recover().unwrap() && folder.current().unwrap().is_none());
}

#[test]
fn one_at_a_time_is_at_the_folder() {
    let (_place, folder) = folder();
    let held = folder.lock().unwrap().expect("nobody is at it");
    assert!(folder.lock().unwrap().is_none());
    drop(held);
    assert!(folder.lock().unwrap().is_some());
    let missing = Folder::new(folder.path().join("missing"));
    assert_eq!(missing.lock().unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn what_is_known_of_time_is_kept_and_what_cannot_be_read_is_nothing() {
    use std::time::Duration;

    let (_place, folder) = folder();
    let of = |draw| Lifetime { from: Wall::from_millis(0), until: Wall::from_millis(86_400_000), draw };
    assert_eq!((folder.renewed(), folder.age(of(1))), (None, Duration::ZERO));
    let renewed = crate::identity::gate::Renewed::new(of(1), crate::time::Now::default());
    folder.keep_renewed(&renewed).unwrap();
    folder.keep_age(of(1), Duration::from_secs(70)).unwrap();
    assert_eq!((folder.renewed(), folder.age(of(1)).as_secs()), (Some(renewed), 70));
    assert_eq!(folder.age(of(2)), Duration::ZERO, "another certificate");
    for name in ["renewed.json", "age.json"] {
        atomic_file::write(&folder.path().join(name), b"{").unwrap();
    }
    assert_eq!((folder.renewed(), folder.age(of(1))), (None, Duration::ZERO));
}

#[test]
fn a_next_pair_that_has_run_out_is_removed_where_the_clock_is_good() {
    use crate::time::{ClockSync, Now};

    let (_place, folder) = folder();
    let request = pending();
    folder.keep_next(&request, &[certificate(&request, 1)]).unwrap();
    let at = |text, sync| Now { wall: Wall::read(text).unwrap(), sync, ..Now::default() };
    for (text, sync, is_there) in [
        ("2026-03-31", ClockSync::Synced, true),
        ("2026-04-02", ClockSync::Unsynced, true),
        ("2026-04-02", ClockSync::Synced, false),
    ] {
        assert_eq!(folder.next_in_time(at(text, sync)).unwrap().is_some(), is_there, "{text}");
        assert_eq!(folder.next().unwrap().is_some(), is_there, "{text}");
    }
}

#[test]
fn a_name_in_place_of_the_key_is_a_pair_that_only_its_token_can_show() {
    let token = |text: &str| TokenKey::parse_for(Purpose::Client, text, |_| None).unwrap();
    let base = token("pkcs11:token=t;object=o?module-path=/m.so");
    let place = tempfile::tempdir().unwrap();
    let current = place.path().join(CURRENT);
    let (in_file, in_token) = (KeyPlace::File(current.clone()), KeyPlace::Token(base.clone()));
    let without = Folder::named_by(&current, &in_file).unwrap();
    let folder = Folder::named_by(&current, &in_token).unwrap();
    assert_eq!((without.token(), folder.token()), (None, Some(&base)));
    for (certificate, key) in [
        (current.clone(), KeyPlace::File(place.path().join("other.pem"))),
        (current.clone(), KeyPlace::Credential(current.clone())),
        (place.path().join("own.pem"), in_token),
    ] {
        assert_eq!(Folder::named_by(&certificate, &key), None, "{key}");
    }

    let chain =
        String::from_utf8(to_pem("CERTIFICATE", &certificate(&pending(), 1)).unwrap().to_vec()).unwrap();
    let mine = TokenKey { id: Some(vec![1, 2]), ..base.clone() };
    let text = name_line(&mine) + &chain;
    atomic_file::write(&current, text.as_bytes()).unwrap();
    let pair = folder.current().unwrap().unwrap();
    assert_eq!((pair.token(), pair.protection()), (Some(&mine), Protection::Pkcs11));
    // A token that is not there is no damage, and what is named in a file that is used is not destroyed.
    assert!(!folder.recover().unwrap());
    folder.keep_made(&mine).unwrap();
    assert_eq!(folder.sweep().unwrap(), 0);
    let error = without.current().unwrap().unwrap().certified().unwrap_err().to_string();
    assert!(error.contains("let uplink.key be the pkcs11: URI"), "{error}");
    // What nothing names is: here there is no token to do it, so it stays known.
    folder.keep_made(&TokenKey { id: Some(vec![3]), ..base }).unwrap();
    for _ in 0..2 {
        let error = folder.sweep().unwrap_err();
        assert!(matches!(error, EstError::Token(_)) && error.to_string().contains("id 03"), "{error}");
    }
    // One of a token that was replaced stays known too, and keeps nothing waiting.
    let replaced = token("pkcs11:token=new;object=o?module-path=/m.so");
    let folder = Folder::named_by(&current, &KeyPlace::Token(replaced.clone())).unwrap();
    assert_eq!(folder.sweep().unwrap(), 0);
    folder.keep_made(&TokenKey { id: Some(vec![4]), ..replaced }).unwrap();
    let error = folder.sweep().unwrap_err();
    assert!(error.to_string().contains("id 04"), "its own is asked for: {error}");
    // Where a file cannot be read nobody knows what is used.
    atomic_file::write(&place.path().join("next.pem"), b"pkcs11:token=t").unwrap();
    assert!(matches!(folder.sweep().unwrap_err(), EstError::Folder(_)));
}
