//! The advisories that a bundle names come, from a broker or a stick.

use super::*;
use crate::fleet::documents::Digest;

const DOCUMENTS: [&[u8]; 6] = [
    include_bytes!("../../../../tests/data/csaf/icsma-17-017-02.json"),
    include_bytes!("../../../../tests/data/csaf/icsma-18-144-01.json"),
    include_bytes!("../../../../tests/data/csaf/icsma-18-219-01.json"),
    include_bytes!("../../../../tests/data/csaf/icsma-19-164-01.json"),
    include_bytes!("../../../../tests/data/csaf/icsma-20-170-04.json"),
    include_bytes!("../../../../tests/data/csaf/icsma-22-251-01.json"),
];

fn topic(document: &[u8]) -> String {
    format!("c/v1/st-anna/advisory/{}", Digest::of(document))
}

impl Bench {
    /// A bundle that names these is published, and tried.
    fn name(&mut self, version: u64, documents: &[&[u8]]) {
        let digests: Vec<String> = documents.iter().map(|bytes| Digest::of(bytes).to_string()).collect();
        let devices = json!([pump("a")]);
        self.deliver(&published(version, &devices, |bundle| bundle["advisories"] = json!(digests)));
    }

    fn asked(&self) -> Vec<String> {
        let of = |(topic, _): &(String, u64)| topic.contains("/advisory/").then(|| topic.clone());
        self.wanted.iter().filter_map(of).collect()
    }

    fn bring(&mut self, topic: &str, bytes: &[u8]) {
        self.turn(|member, signs, now| member.handle_letter(topic, bytes, signs, now));
    }

    fn kept(&self) -> usize {
        let entries = std::fs::read_dir(self.place.path().join("fleet")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("advisory-")).count()
    }
}

#[test]
fn they_are_asked_for_once_the_bundle_has_stood_its_trial_few_at_a_time_and_kept() {
    let mut bench = Bench::new();
    bench.name(7, &DOCUMENTS);
    bench.pass(100);
    assert_eq!(bench.asked(), Vec::<String>::new(), "it may still go back");
    bench.pass(201);
    assert_eq!(bench.running(), Some(7));
    let mut topics: Vec<String> = DOCUMENTS.iter().map(|bytes| topic(bytes)).collect();
    topics.sort();
    assert_eq!(bench.asked(), topics[..4]);
    for document in DOCUMENTS {
        assert!(bench.asked().len() <= 4);
        bench.bring(&topic(document), document);
        assert!(!bench.asked().contains(&topic(document)), "it is read");
    }
    assert_eq!((bench.asked().len(), bench.kept()), (0, 6));
    bench.restart_desk();
    bench.start();
    assert_eq!((bench.asked().len(), bench.desk.wanted(9).len()), (0, 0), "they are kept");
    // Of another bundle that names two of them, the others go.
    bench.name(8, &DOCUMENTS[..2]);
    assert_eq!(bench.kept(), 6, "while it is tried the one before counts");
    bench.pass(301);
    assert_eq!((bench.running(), bench.kept(), bench.asked().len()), (Some(8), 2, 0));
}

#[test]
fn rubbish_is_dropped_and_told_once_and_the_others_have_their_turn() {
    let mut bench = Bench::new();
    bench.name(7, &DOCUMENTS);
    bench.pass(301);
    let first = bench.asked();
    for (place, topic) in first.iter().enumerate() {
        bench.bring(topic, b"");
        bench.bring(topic, b"{}");
        bench.bring(topic, &vec![b' '; 240 * 1_024 + 1 + place]);
    }
    assert_eq!((bench.asked(), bench.kept()), (first.clone(), 0));
    assert_eq!((bench.said("no bundle names"), bench.said("at most 245760 are read")), (1, 4));
    let stranger = topic(DOCUMENTS[0]).replace("st-anna", "st-otto");
    bench.bring(&stranger, DOCUMENTS[0]);
    assert_eq!(bench.kept(), 0, "another organisation's topic is none of ours");
    bench.pass(31);
    let second = bench.asked();
    assert_eq!(second.len(), 4);
    assert!(DOCUMENTS.iter().all(|bytes| first.contains(&topic(bytes)) || second.contains(&topic(bytes))));
    bench.turn(|member, signs, now| {
        member.handle_lost();
        member.handle_time(signs, now);
    });
    assert!(bench.wanted.iter().all(|(topic, ask)| !topic.contains("/advisory/") || *ask == 1));
}

#[test]
fn a_stick_brings_them_too() {
    let mut bench = Bench::new();
    bench.name(7, &DOCUMENTS);
    let stick = bench.place.path().join("stick/advisory");
    std::fs::create_dir_all(&stick).unwrap();
    for document in DOCUMENTS {
        atomic_file::write(&stick.join(format!("{}.json", Digest::of(document))), document).unwrap();
    }
    bench.pass(301);
    // One that is not what its name says.
    let other = stick.join(format!("{}.json", Digest::of(DOCUMENTS[5])));
    atomic_file::write(&other, b"{}").unwrap();
    bench.turn(Member::handle_import);
    assert_eq!((bench.kept(), bench.asked()), (5, vec![topic(DOCUMENTS[5])]));
    assert_eq!(bench.said("no bundle names"), 1);
}
