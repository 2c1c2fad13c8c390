//! The judge of the power cuts says what does not hold, and only that.

use super::*;
use crate::host::status::Lane;
use crate::lab::payload::Reading;

const FIRST: &str = "run-1";
const SECOND: &str = "run-2";

/// A reading that arrived, in a lane of a run.
fn arrived(device: &str, run: &str, lane: &str, code: u32, value: &str) -> (String, Reading) {
    let reading = Reading {
        key: format!("5f-{lane}-1-2-3"),
        run: run.to_owned(),
        code,
        value: value.to_owned(),
        seq: None,
        at: String::new(),
    };
    (device.to_owned(), reading)
}

fn result(run: &str, number: u64) -> (String, Reading) {
    arrived(ANALYSER, run, "vital", CONC_GLU_GEN.code, &number.to_string())
}

/// Two runs with a cut between them: three results, each acknowledged, and two values of the oximeter.
fn sound() -> (Ledger, BTreeMap<String, BTreeMap<String, u64>>, Vec<String>) {
    let kept = vec![
        result(FIRST, 1),
        result(FIRST, 2),
        arrived("oximeter", FIRST, "alarm", 7, "on"),
        result(SECOND, 3),
        arrived("oximeter", SECOND, "vital", 7, "97"),
    ];
    let mut ledger = Ledger::default();
    (ledger.records, ledger.publishes, ledger.kept) = (5, 4, kept);
    let lanes =
        |pairs: &[(&str, u64)]| pairs.iter().map(|(lane, most)| ((*lane).to_owned(), *most)).collect();
    let promised = BTreeMap::from([
        (FIRST.to_owned(), lanes(&[("vital", 2), ("alarm", 1)])),
        // More than was called durable may arrive.
        (SECOND.to_owned(), lanes(&[("vital", 1), ("bulk", 0)])),
    ]);
    let acknowledged = [1, 2, 3].map(|number| format!("GLU={number} mg/dL")).to_vec();
    (ledger, promised, acknowledged)
}

#[test]
fn what_arrived_whole_holds() {
    let (ledger, promised, acknowledged) = sound();
    let verdict = judge(&ledger, &promised, &acknowledged);
    assert!(verdict.holds, "{verdict:?}");
    assert_eq!((verdict.acknowledged, verdict.lives.len(), verdict.said_again), (3, 2, 0));
}

#[test]
fn a_lane_of_a_life_that_arrived_shorter_than_promised_is_named() {
    let (ledger, mut promised, acknowledged) = sound();
    // In sum as many arrived as were promised: each lane counts for itself.
    promised.get_mut(FIRST).unwrap().insert("alarm".to_owned(), 2);
    promised.get_mut(SECOND).unwrap().insert("vital".to_owned(), 1);
    let verdict = judge(&ledger, &promised, &acknowledged);
    assert!(!verdict.holds && verdict.short == [FIRST], "{verdict:?}");
    // So does a life of which nothing arrived at all.
    promised.insert("run-3".to_owned(), BTreeMap::from([("vital".to_owned(), 1)]));
    assert_eq!(judge(&ledger, &promised, &acknowledged).short, [FIRST, "run-3"]);
}

#[test]
fn a_result_that_was_acknowledged_and_did_not_arrive_is_named() {
    let (ledger, promised, mut acknowledged) = sound();
    acknowledged.push("GLU=44 mg/dL".to_owned());
    let verdict = judge(&ledger, &promised, &acknowledged);
    assert!(!verdict.holds && verdict.missing == ["44"], "{verdict:?}");
    // The same value from another device, or another of the analyser's, is not it.
    let (mut ledger, ..) = sound();
    ledger.kept.push(arrived("oximeter", SECOND, "vital", CONC_GLU_GEN.code, "44"));
    ledger.kept.push(arrived(ANALYSER, SECOND, "vital", CONC_GLU_GEN.code + 1, "44"));
    assert_eq!(judge(&ledger, &promised, &acknowledged).missing, ["44"]);
}

#[test]
fn one_result_for_each_cut_may_be_said_again_and_no_more() {
    let (mut ledger, promised, acknowledged) = sound();
    ledger.kept.push(result(SECOND, 2));
    let verdict = judge(&ledger, &promised, &acknowledged);
    assert!(verdict.holds && verdict.said_again == 1, "{verdict:?}");
    ledger.kept.push(result(SECOND, 1));
    let verdict = judge(&ledger, &promised, &acknowledged);
    assert!(!verdict.holds && verdict.said_again == 2, "{verdict:?}");
}

#[test]
fn each_other_promise_that_is_broken_breaks_the_whole() {
    let broken: [fn(&mut Ledger); 6] = [
        |ledger| ledger.gaps = 1,
        |ledger| ledger.complaints.push("not FHIR".to_owned()),
        |ledger| ledger.setbacks.push("went backwards".to_owned()),
        |ledger| ledger.devices.entry("oximeter".to_owned()).or_default().doubled = 1,
        |ledger| ledger.records = 0,
        |ledger| ledger.kept.clear(),
    ];
    for (number, breaks) in broken.into_iter().enumerate() {
        let (mut ledger, promised, acknowledged) = sound();
        breaks(&mut ledger);
        let verdict = judge(&ledger, &promised, &acknowledged);
        assert!(!verdict.holds, "{number}: {verdict:?}");
    }
    // A bench on which nothing was acknowledged proves nothing.
    let (ledger, promised, _) = sound();
    assert!(!judge(&ledger, &promised, &[]).holds);
}

#[test]
fn the_last_word_of_a_life_is_its_highest() {
    let ward = Ward::new();
    let status = |durable| {
        let mut status = Snapshot { run: FIRST.to_owned(), ..Snapshot::default() };
        status.lanes.push(Lane { lane: "vital".to_owned(), durable_total: durable, ..Lane::default() });
        format!("status {}", serde_json::to_string(&status).unwrap())
    };
    for durable in [5, 9, 7] {
        ward.answer(&status(durable)).unwrap();
    }
    let verdict: serde_json::Value = serde_json::from_str(&ward.answer("look").unwrap()).unwrap();
    assert_eq!(verdict["lives"][FIRST]["promised"]["vital"], 9);
    assert_eq!(verdict["short"], serde_json::json!([FIRST]), "nothing arrived");
    assert!(ward.answer("status nonsense").is_err() && ward.answer("what").is_err());
}
