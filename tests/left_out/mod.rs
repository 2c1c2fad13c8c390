//! Tests that a machine cannot run: said by name, so that nobody takes them for passed.

use std::fs::OpenOptions;
use std::io::Write as _;

/// The variable that names the file of the list.
const LIST: &str = "TESTS_LEFT_OUT";

/// Says that something is not tested here, and why. The list is for whoever runs all tests: what a test that passes
/// prints is not shown.
pub(crate) fn left_out(what: &str, why: &str) {
    let line = format!("{what}: {why}");
    let Some(list) = std::env::var_os(LIST) else { return };
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&list)
        .and_then(|mut file| writeln!(file, "{line}"));
    assert!(written.is_ok(), "{line}, which cannot be written to {}: {written:?}", list.display());
}
