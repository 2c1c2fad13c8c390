use super::*;
use crate::fleet::advisories::{Quarantine, Scope};

const PUMP: &[u8] = include_bytes!("../../../../tests/data/csaf/icsma-17-017-02.json");
const OTHER: &[u8] = include_bytes!("../../../../tests/data/csaf/icsma-22-251-01.json");

fn device(id: &str, make: &str, model: &str, firmware: &str) -> Device {
    let known = |text: &str| Some(text.to_owned());
    Device {
        id: id.to_owned(),
        make: known(make),
        model: known(model),
        firmware: known(firmware),
        ..Device::default()
    }
}

fn named(documents: &[&[u8]]) -> Library {
    let mut library = Library::default();
    library.name(&documents.iter().map(|bytes| Digest::of(bytes)).collect::<Vec<_>>());
    library
}

#[test]
fn only_what_a_bundle_names_is_taken_and_once() {
    let mut library = named(&[PUMP]);
    assert_eq!(library.wanted().collect::<Vec<_>>(), [Digest::of(PUMP)]);
    assert_eq!(library.handle_document(OTHER), Err(NotTaken::Unnamed(Digest::of(OTHER))));
    assert_eq!(library.handle_document(PUMP), Ok(true));
    assert_eq!(library.handle_document(PUMP), Ok(false));
    assert_eq!(library.wanted().count(), 0);
    // Another bundle: what was read stays read.
    library.name(&[Digest::of(OTHER), Digest::of(PUMP)]);
    assert_eq!(library.wanted().collect::<Vec<_>>(), [Digest::of(OTHER)]);
    library.name(&[]);
    assert_eq!(library.entries().count(), 0);
}

#[test]
fn what_is_too_long_or_no_advisory_is_told_and_not_wanted_again() {
    let long = vec![b' '; MAX_DOCUMENT + 1];
    let mut library = named(&[&long, b"{}"]);
    assert_eq!(library.handle_document(&long), Err(NotTaken::TooLong(MAX_DOCUMENT + 1)));
    let why = library.handle_document(b"{}").unwrap_err();
    assert!(matches!(&why, NotTaken::Unreadable(words) if words.contains("CSAF")), "{why}");
    assert_eq!(library.handle_document(b"{}"), Err(why));
    assert_eq!(library.wanted().collect::<Vec<_>>(), [Digest::of(&long)]);
    let many: Vec<Digest> = (0..100_u8).map(|one| Digest::of(&[one])).collect();
    library.name(&many);
    assert_eq!(library.wanted().count(), MAX_DOCUMENTS);
}

#[test]
fn what_was_kept_is_there_after_a_restart_and_what_decayed_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut library = named(&[PUMP, OTHER]);
    assert_eq!(library.keep(folder.path(), PUMP).unwrap(), Ok(true));
    assert_eq!(library.keep(folder.path(), OTHER).unwrap(), Ok(true));
    let mut again = named(&[PUMP, OTHER]);
    assert_eq!(again.load(folder.path()), Vec::<String>::new());
    assert_eq!(again.wanted().count(), 0);
    let path = folder.path().join(file(Digest::of(PUMP)));
    atomic_file::write(&path, &PUMP[1..]).unwrap();
    let mut again = named(&[PUMP, OTHER]);
    let wrong = again.load(folder.path());
    assert!(matches!(wrong.as_slice(), [one] if one.contains("changed on the disk")), "{wrong:?}");
    assert_eq!(again.wanted().collect::<Vec<_>>(), [Digest::of(PUMP)]);
    // What is not named any more goes; what is not ours stays.
    atomic_file::write(&folder.path().join("state.a"), b"x").unwrap();
    assert_eq!(named(&[]).load(folder.path()), Vec::<String>::new());
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(left, ["state.a"]);
}

#[test]
fn an_advisory_alone_warns_and_a_rule_of_the_bundle_quarantines() {
    let mut library = named(&[PUMP, OTHER]);
    library.handle_document(PUMP).unwrap();
    library.handle_document(OTHER).unwrap();
    let devices = [
        device("belt", "Polar", "H10", "3.1"),
        device("pc-unit", "Alaris", "8015 PC unit", "9.7"),
        device("unknown-version", "Alaris", "8015 PC unit", ""),
    ];
    let judged = library.judge(&devices, &Policy::default(), None);
    let shown: Vec<_> = judged
        .iter()
        .map(|one| (one.finding.device.as_str(), one.finding.verdict, one.action.clone()))
        .collect();
    assert_eq!(
        shown,
        [("pc-unit", Verdict::Affected, Action::Warn), ("unknown-version", Verdict::Review, Action::Warn),]
    );
    let rule = |scope, also_review| Policy {
        quarantine: vec![Quarantine {
            advisory: None,
            scope,
            also_review,
            reason: "isolated".to_owned(),
            by: "M. Weber".to_owned(),
        }],
        ..Policy::default()
    };
    let isolated = |policy: &Policy| -> Vec<String> {
        let judged = library.judge(&devices, policy, None);
        let isolated = judged.into_iter().filter(|one| matches!(one.action, Action::Quarantine { .. }));
        isolated.map(|one| one.finding.device).collect()
    };
    assert_eq!(isolated(&rule(Scope::Maker("CareFusion".to_owned()), false)), ["pc-unit"]);
    assert_eq!(isolated(&rule(Scope::Maker("BD".to_owned()), true)), ["pc-unit", "unknown-version"]);
    assert_eq!(isolated(&rule(Scope::Maker("Baxter".to_owned()), true)), Vec::<String>::new());
    assert_eq!(isolated(&rule(Scope::Device("unknown-version".to_owned()), false)), Vec::<String>::new());
    assert_eq!(isolated(&rule(Scope::Device("belt".to_owned()), true)), Vec::<String>::new());
}
