//! What the gate says of safety: edges, and nothing that tells a device's serial number.

use super::*;
use crate::device::Ticket;
use crate::device::pin::{Pin, Pinned};
use crate::policy::event::{Detection, Event, MAX_DETAIL};

fn events(gate: &mut Gatekeeper) -> Vec<Event> {
    std::iter::from_fn(|| gate.poll_words())
        .filter_map(|word| match word {
            Word::Event(event) => Some(event),
            Word::Of(_) => None,
        })
        .collect()
}

fn says(serial: &str) -> ReportBody {
    ReportBody::Identity(identity(serial))
}

#[test]
fn another_device_is_one_event_and_the_right_one_ends_it() {
    let mut gate = gatekeeper();
    for (at, serial) in [(1, "800-9"), (2, "800-9"), (3, "800-7")] {
        says_at(&mut gate, PUMP, at, says(serial));
        says_at(&mut gate, PUMP, at, reading(&HEART_RATE, "70"));
    }
    let told = events(&mut gate);
    let [begun] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((begun.detection, begun.phase, begun.at), (Detection::Identity, Phase::Start, seconds(1)));
    assert_eq!(begun.device, "pump");
    // Unplugging and plugging is no end: the right device must speak.
    says_at(&mut gate, PUMP, 4, ReportBody::Down("unplugged".to_owned()));
    says_at(&mut gate, PUMP, 5, ReportBody::Up);
    assert_eq!(events(&mut gate), []);
    says_at(&mut gate, PUMP, 6, says("800-1"));
    says_at(&mut gate, PUMP, 7, says("800-1"));
    let told = events(&mut gate);
    let [over] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((over.phase, over.at), (Phase::End, seconds(6)));
    says_at(&mut gate, PUMP, 8, says("800-9"));
    assert_eq!(events(&mut gate).len(), 1, "again is a new event");
}

#[test]
fn the_right_device_is_no_event() {
    let mut gate = gatekeeper();
    says_at(&mut gate, PUMP, 1, says("800-1"));
    says_at(&mut gate, PUMP, 2, ReportBody::Down("unplugged".to_owned()));
    says_at(&mut gate, PUMP, 3, says("800-1"));
    assert_eq!(events(&mut gate), []);
}

#[test]
fn an_event_tells_no_serial_number_and_fits_its_place() {
    let mut gate = gatekeeper();
    says_at(&mut gate, PUMP, 1, says("800-9"));
    for event in events(&mut gate) {
        assert!(!event.detail.contains("800-"), "{event:?}");
        assert!(event.detail.len() <= MAX_DETAIL, "{event:?}");
    }
}

#[test]
fn a_missing_bond_is_one_event_until_the_device_is_connected_with_its_keys() {
    let mut gate = gatekeeper();
    for at in 1..4 {
        says_at(&mut gate, BELT, at, ReportBody::Insecure);
        says_at(&mut gate, BELT, at, ReportBody::Down("not bonded".to_owned()));
        let counts: Vec<_> =
            gate.snapshot().map(|(_, state)| (state.is_insecure(), state.insecure())).collect();
        assert_eq!(counts[usize::from(BELT.0)], (true, at), "each time is counted");
    }
    says_at(&mut gate, BELT, 5, ReportBody::Up);
    assert!(gate.snapshot().all(|(_, state)| !state.is_insecure()));
    says_at(&mut gate, BELT, 6, ReportBody::Down("it disconnected".to_owned()));
    says_at(&mut gate, BELT, 7, ReportBody::Up);
    let told: Vec<_> = events(&mut gate).into_iter().map(|e| (e.detection, e.phase, e.at)).collect();
    let expected = [(Phase::Start, seconds(1)), (Phase::End, seconds(5))];
    assert_eq!(told, expected.map(|(phase, at)| (Detection::Bond, phase, at)));
}

#[test]
fn a_change_of_the_right_device_is_told_and_of_a_refused_one_nothing() {
    let pinned = |change: Option<&str>| {
        let pin = Pin { of: Pinned::Firmware, change: change.map(str::to_owned) };
        ReportBody::Pin(Ticket(1), pin)
    };
    let mut gate = gatekeeper();
    let verdict = gate.handle_report(report(PUMP, pinned(Some("1.0 and 1.1"))));
    assert!(
        matches!(verdict, Verdict::Refuse(refusal) if refusal.is_of_identity()),
        "it has not said who it is"
    );
    says_at(&mut gate, PUMP, 1, says("800-1"));
    assert_eq!(gate.handle_report(report(PUMP, pinned(None))), Verdict::Noted);
    let verdict = gate.handle_report(report(PUMP, pinned(Some("1.0 and 1.1"))));
    let Verdict::Tell(event) = verdict else { panic!("{verdict:?}") };
    assert_eq!((event.detection, event.phase), (Detection::Firmware, Phase::Start));
    assert_eq!((event.device.as_str(), event.detail.as_str()), ("pump", "1.0 and 1.1"));
    says_at(&mut gate, PUMP, 2, says("800-9"));
    let verdict = gate.handle_report(report(PUMP, pinned(Some("1.0 and 1.1"))));
    assert!(matches!(verdict, Verdict::Refuse(Refusal::Mismatch { .. })));
}
