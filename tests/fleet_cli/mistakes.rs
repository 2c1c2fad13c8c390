//! What a person gets wrong at first, and the way out that is told.

use super::*;

#[test]
fn what_is_not_there_is_named_with_the_way_out() {
    let fleet = Fleet::new();
    fleet.refused("bundle diff --version 9", 6, "bundle 9 of icu-3 is not in this folder");
    fleet.done("bundle new");
    fleet.refused("bundle sign", 6, "timestamp-1 (key ");
    fleet.refused("bundle sign", 6, "name one with --key, such as config-1");
    fleet.refused("bundle sign --key config-9", 4, "is not there: --key wants the name of a key");
    fleet.refused("watch", 3, "broker.toml: is not there: it names the broker");
    fs::write(fleet.path("fleet/broker.toml"), "host = \"broker\"\n").unwrap();
    fleet.refused("watch", 3, "has no authorities: add it");
    let verify = |folder: &str| {
        let output = run(&["verify", fleet.path(folder).to_str().unwrap(), "--as", "gw-1"]);
        assert_eq!(output.status.code(), Some(6));
        text_of(&output)
    };
    assert!(verify("fleet").contains("is the fleet's own folder: gateways are given what is in"));
    assert!(verify("nowhere").contains("nowhere is no folder"));
}
