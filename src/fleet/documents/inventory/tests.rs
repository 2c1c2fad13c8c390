use super::*;
use crate::fleet::advisories::inventory::{Gateway, KeyProtection};
use crate::fleet::documents::Stamp;
use crate::time::Wall;

fn inventoried(devices: usize) -> Inventoried {
    let gateway = Gateway {
        id: "gw-1".to_owned(),
        version: "0.1.0".to_owned(),
        build: "unknown".to_owned(),
        sbom: Some(Digest::of(b"")),
        hardware: "Raspberry Pi 4 Model B Rev 1.4".to_owned(),
        kernel: "6.12.25".to_owned(),
        key_protection: KeyProtection::File,
    };
    let device = |number: usize| PublishedDevice {
        id: format!("{number:032}"),
        make: Some("m".repeat(MAX_TEXT)),
        model: Some("m".repeat(MAX_TEXT)),
        serial: Some("s".repeat(MAX_TEXT)),
        ..PublishedDevice::default()
    };
    let at = Stamp(Wall::read("2026-11-22T12:00:00Z").unwrap());
    Inventoried {
        schema: 1,
        organisation: "st-anna".to_owned(),
        group: "icu-3".to_owned(),
        inventory: Published { at, gateway, devices: (0..devices).map(device).collect() },
        more: 0,
        advisories: Advisories { read: vec![Digest::of(b"a")], ..Advisories::default() },
        findings: Vec::new(),
        more_findings: 0,
        chain: Vec::new(),
    }
}

#[test]
fn what_is_written_is_read_back_and_what_finds_no_room_is_counted() {
    let few = inventoried(3);
    assert_eq!(Inventoried::read(&few.to_payload()).unwrap(), few);
    let payload = inventoried(1_024).to_payload();
    assert!(payload.len() <= MAX_PAYLOAD && payload.len() > MAX_PAYLOAD - 1_000, "{}", payload.len());
    let read = Inventoried::unproven(&sealed(payload, &"f".repeat(64), vec![0; 72])).unwrap();
    assert_eq!(read.inventory.devices.len() + usize::try_from(read.more).unwrap(), 1_024);
    assert!(read.more > 0 && read.inventory.devices[..3] == inventoried(3).inventory.devices);
}

#[test]
fn what_is_no_inventory_says_why() {
    let text = String::from_utf8(inventoried(1).to_payload()).unwrap();
    for (from, to, words) in [
        ("\"schema\":1", "\"schema\":2", "schema 2"),
        ("\"gw-1\"", "\"gw/1\"", "gateway"),
        ("\"id\":\"0000", "\"id\":\"A000", "devices.id"),
        ("\"unknown\"", "\"\\u001b[2J\"", "control characters in gateway"),
        ("\"make\":\"m", "\"make\":\"mm", "a devices of 97 bytes"),
        ("\"make\"", "\"patient\":\"x\",\"make\"", "patient"),
        ("\"file\"", "\"paper\"", "paper"),
    ] {
        assert!(text.contains(from), "{from}");
        let why = Inventoried::read(text.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(why.contains(words), "{to}: {why}");
    }
    // A report is no inventory, whoever signed it.
    let report =
        own::sealed::<crate::fleet::documents::reported::Reported>(text.into_bytes(), "key", Vec::new());
    assert!(matches!(Inventoried::unproven(&report), Err(OwnFault::Type(_))));
}
