//! Operations that fail.

use wardline::lab::disk::run_as_root;
use wardline::lab::power::{FaultPlan, walk};

#[test]
fn whatever_operation_fails_nothing_goes_without_a_word() {
    if !run_as_root("faults::whatever_operation_fails_nothing_goes_without_a_word").unwrap() {
        return;
    }
    // Every operation, with both errors; other lives: `wardline-lab power-cuts --faults --seed N`.
    let walk = walk(&FaultPlan { seed: 1, every: 1, episode: None }, &|| {}).unwrap();
    assert!(walk.failures.is_empty(), "{walk}");
    assert!(walk.operations > 300 && walk.trials == walk.operations * 2, "{walk}");
    // Each call of the store met a fault, with each error.
    for error in ["EIO", "ENOSPC"] {
        for call in ["append", "acknowledge", "maintain", "close", "open"] {
            assert!(walk.answers.contains_key(&format!("{error} at first in: {call}")), "{call}: {walk}");
        }
    }
}
