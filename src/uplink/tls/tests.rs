use super::*;

#[test]
fn a_missing_file_is_named_with_the_way_out() {
    let nowhere = Path::new("/nowhere/gw.pem");
    let error = certificate_days_left(nowhere, Wall::default()).unwrap_err().to_string();
    assert!(error.contains("/nowhere/gw.pem") && error.contains("put the file there"), "{error}");
}

#[cfg(feature = "lab")]
mod with_certificates {
    use super::*;
    use crate::lab::pki::{Pair, Pki, Validity};

    /// Some time within the lab's certificates: their own validity, looked up.
    fn now_within(path: &Path, days: i64) -> Wall {
        let (from, _) = validity(path).unwrap();
        Wall::from_millis(from.as_millis() + days * MILLIS_PER_DAY)
    }

    struct Set {
        _folder: tempfile::TempDir,
        pki: Pki,
        pair: Pair,
    }

    fn set() -> Set {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(folder.path()).unwrap();
        let pair = pki.client("gw", Validity::Now).unwrap();
        Set { _folder: folder, pki, pair }
    }

    fn config(set: &Set, certificate: &Path, key: &Path, now: Now) -> Result<(), String> {
        let authorities = set.pki.authorities();
        let key = KeyPlace::File(key.to_owned());
        let files = Files { authorities: &authorities, certificate, key: &key };
        client_config(files, now).map(|_| ()).map_err(|error| error.to_string())
    }

    fn at(wall: Wall, sync: ClockSync) -> Now {
        Now { wall, sync, ..Now::default() }
    }

    #[test]
    fn a_good_pair_gives_a_configuration_and_its_days() {
        let set = set();
        let now = now_within(&set.pair.certificate, 1);
        assert_eq!(config(&set, &set.pair.certificate, &set.pair.key, at(now, ClockSync::Synced)), Ok(()));
        assert_eq!(certificate_days_left(&set.pair.certificate, now).unwrap(), 90);
        assert_eq!(
            certificate_days_left(&set.pair.certificate, now_within(&set.pair.certificate, 92)).unwrap(),
            -1
        );
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let set = set();
        let other = set.pki.client("other", Validity::Now).unwrap();
        let now = at(now_within(&set.pair.certificate, 1), ClockSync::Synced);
        let error = config(&set, &set.pair.certificate, &other.key, now).unwrap_err();
        assert!(
            error.contains("other.key") && error.contains("does not belong to") && error.contains("gw.pem"),
            "{error}"
        );
    }

    #[test]
    fn a_private_key_that_others_can_read_is_refused() {
        let set = set();
        let now = at(now_within(&set.pair.certificate, 1), ClockSync::Synced);
        let mode = |mode| {
            std::fs::set_permissions(&set.pair.key, std::os::unix::fs::PermissionsExt::from_mode(mode))
                .unwrap();
        };
        mode(0o644);
        let refused = config(&set, &set.pair.certificate, &set.pair.key, now).unwrap_err();
        assert!(refused.contains("mode 0644") && refused.contains("chmod 0400"), "{refused}");
        mode(0o400);
        assert_eq!(config(&set, &set.pair.certificate, &set.pair.key, now), Ok(()));
    }

    #[test]
    fn files_with_the_wrong_content_are_named() {
        let set = set();
        let now = at(now_within(&set.pair.certificate, 1), ClockSync::Synced);
        let error = config(&set, &set.pair.key, &set.pair.key, now).unwrap_err();
        assert!(error.contains("gw.key") && error.contains("no client certificate"), "{error}");
        let error = config(&set, &set.pair.certificate, &set.pair.certificate, now).unwrap_err();
        assert!(error.contains("gw.pem") && error.contains("no private key"), "{error}");
    }

    #[test]
    fn an_expired_certificate_says_since_when_unless_the_clock_is_unsure() {
        let set = set();
        let late = now_within(&set.pair.certificate, 91 + 12);
        let (_, until) = validity(&set.pair.certificate).unwrap();
        let error =
            config(&set, &set.pair.certificate, &set.pair.key, at(late, ClockSync::Synced)).unwrap_err();
        assert!(error.contains(&until.to_string()) && error.contains("(12 days ago)"), "{error}");
        assert_eq!(config(&set, &set.pair.certificate, &set.pair.key, at(late, ClockSync::Unsynced)), Ok(()));
    }

    #[test]
    fn a_clock_that_was_never_set_is_blamed_for_a_certificate_of_the_future() {
        let set = set();
        let error =
            config(&set, &set.pair.certificate, &set.pair.key, at(Wall::default(), ClockSync::Unsynced))
                .unwrap_err();
        assert!(error.contains("1970-01-01") && error.contains("time server"), "{error}");
    }

    #[test]
    fn an_exchange_that_fails_keeps_the_present_identity() {
        let set = set();
        let identity = Identity::read(&set.pair.certificate, &KeyPlace::File(set.pair.key.clone())).unwrap();
        let shown = || identity.resolve(&[], &[]).unwrap().cert.clone();
        let first = shown();
        let next = set.pki.client("next", Validity::Now).unwrap();
        assert!(identity.exchange(&next.certificate, &KeyPlace::File(set.pair.key.clone())).is_err());
        assert_eq!(shown(), first);
        identity.exchange(&next.certificate, &KeyPlace::File(next.key.clone())).unwrap();
        assert_ne!(shown(), first);
    }
}
