//! What every serial driver must do, whatever its protocol.

use super::*;
use crate::device::catalogue::{Class, IdentityProof, serial_models};
use proptest::prelude::*;
use std::time::Duration;

#[test]
fn names_are_unique_and_can_be_typed() {
    let mut names: Vec<&str> = serial_models().iter().map(|model| model.name).collect();
    assert!(names.iter().all(|name| {
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    }));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), serial_models().len());
}

#[test]
fn a_therapy_device_is_asked_for_who_it_is_and_never_told_anything_with_an_argument() {
    for model in serial_models().iter().filter(|model| model.class == Class::Therapy) {
        assert_eq!(model.identity, IdentityProof::Reported, "{}", model.name);
        for request in model.requests.requests() {
            assert!(!request.bytes.contains(&b'^'), "{}: {}", model.name, request.name);
        }
    }
}

#[test]
fn a_long_text_is_cut_at_a_character() {
    assert_eq!(text(&"é".repeat(200)).len(), MAX_TEXT);
    assert_eq!(text(&format!("x{}", "é".repeat(200))).len(), MAX_TEXT - 1);
    assert_eq!(text("short"), "short");
}

#[test]
fn text_that_is_not_utf8_is_latin1() {
    assert_eq!(printable(b"\xB5g/ml").as_deref(), Some("µg/ml"));
    assert_eq!(printable("µg/ml".as_bytes()).as_deref(), Some("µg/ml"));
    assert_eq!(printable(b"a\x07b"), None);
}

proptest! {
    #[test]
    fn no_driver_panics_or_hoards_or_asks_before_it_is_connected(
        events in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), 0u32..20_000, 0u8..12), 0..40)
    ) {
        for model in serial_models() {
            let mut driver = (model.driver)(&Settings::defaults(model.settings));
            let mut now = Now::default();
            let mut was_up = false;
            for (bytes, millis, what) in &events {
                let event = match what {
                    0 => LinkEvent::Up,
                    1 => LinkEvent::Down(LinkError::HungUp),
                    _ => LinkEvent::Bytes(Bytes::copy_from_slice(bytes)),
                };
                was_up |= *what == 0;
                driver.handle_event(&event, now);
                now.mono = now.mono + Duration::from_millis(u64::from(*millis));
                driver.handle_timeout(now);
                let actions: Vec<Action> = std::iter::from_fn(|| driver.poll_action()).collect();
                prop_assert!(actions.len() < 400, "{} actions", actions.len());
                for action in actions {
                    if let Action::Command(command) = action {
                        prop_assert!(was_up, "{command:?} before the line was up");
                    }
                }
                prop_assert!(driver.poll_timeout().is_none_or(|due| due > now.mono));
            }
        }
    }

    #[test]
    fn no_capture_panics(bytes in proptest::collection::vec(any::<u8>(), 0..3_000)) {
        for model in serial_models() {
            let Decoded { faults, identities, observations } =
                decode_capture(model, &Settings::defaults(model.settings), &bytes);
            prop_assert!(!faults.is_empty() || !identities.is_empty() || !observations.is_empty());
        }
    }
}
