//! Any bytes, cut anywhere, at any time, into every serial driver and every BLE profile of the catalogue.
//!
//! cargo +nightly fuzz run drivers -- -max_len=4096 -rss_limit_mb=512
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    wardline::device::storm::converse(data);
});
