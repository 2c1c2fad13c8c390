//! Fifty gateways of one fleet at one broker: the promises of the fleet, with the real parts of it.

#![cfg(all(feature = "lab", feature = "operator"))]
#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]

use std::process::Command;

use serde_json::Value;

const GATEWAYS: u64 = 50;
/// With it two of the fifty are in the 1 % wave of bundle 2: `SHA-256(gw-0017, 0, r-2-48) mod 10000` and that of gw-0032
/// are below 100.
const SEED: &str = "48";

/// What must have been judged: a promise that is not there was not kept.
const PROMISES: [&str; 14] = [
    "every gateway connects",
    "good bundle 1 reaches all",
    "nobody begins before its turn",
    "the waves are as large as they say",
    "the guard stops the bad bundle",
    "a bad bundle reaches the canaries and the 1 % wave",
    "every one of them comes back by itself",
    "every bedside is heard after it",
    "every one of them says so",
    "all are back after 3 s without a broker",
    "no storm after 3 s without a broker",
    "good bundle 3 reaches all",
    "all reports prove bundle 3",
    "no part of a gateway ends",
];

#[test]
fn a_bad_bundle_stays_small_a_good_one_reaches_all_and_nobody_storms_the_broker() {
    let output = Command::new(env!("CARGO_BIN_EXE_wardline-lab"))
        .args(["swarm", "--gateways", &GATEWAYS.to_string(), "--seed", SEED, "--fast", "--json"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let figures: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    let promises = figures["promises"].as_array().unwrap();
    assert!(output.status.success(), "{promises:#?}");
    for name in PROMISES {
        let kept = promises.iter().filter(|promise| promise["name"] == name);
        let kept: Vec<bool> = kept.filter_map(|promise| promise["holds"].as_bool()).collect();
        assert_eq!(kept, [true], "{name}: {promises:#?}");
    }
    // Each gateway begins each bundle that is meant for it once, in its wave.
    let waves = figures["waves"].as_array().unwrap();
    let sum = |field: &str| waves.iter().filter_map(|wave| wave[field].as_u64()).sum::<u64>();
    assert_eq!((sum("members"), sum("began"), sum("early")), (GATEWAYS, GATEWAYS, 0), "{waves:#?}");
    assert_eq!(figures["reached"], 4, "two canaries and two in the first wave");
    for field in ["/memory_kib_per_gateway", "/bundle_bytes", "/returns/0/peak", "/phases/1/down_per_gateway"]
    {
        let value = figures.pointer(field).and_then(Value::as_f64);
        assert!(value.is_some_and(|value| value > 0.0), "{field}: {value:?}");
    }
}
