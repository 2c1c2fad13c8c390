//! What leaves the gateway, what is done about findings, and the end of support.

use ring::hmac;
use serde_json::{Value, json};

use super::super::inventory::{
    Day, Device, Disclosure, Gateway, Inventory, KeyProtection, Published, SerialNumber, Support,
};
use super::super::{Action, Finding, Measure, Policy, Scope, Verdict, Waiver, cyclonedx, judge};
use super::{advisory, device};
use crate::fleet::documents::{Digest, Stamp};
use crate::time::Wall;

const SERIAL: &str = "SN-4711-0815";

fn at(text: &str) -> Wall {
    Wall::read(text).expect("a moment")
}

fn inventory() -> Inventory {
    let gateway = Gateway {
        id: "gw-7".to_owned(),
        version: "0.1.0".to_owned(),
        build: "8a87377".to_owned(),
        sbom: Some(Digest([7; 32])),
        hardware: "Board, Model B \"4\"".to_owned(),
        key_protection: KeyProtection::HostTpm2,
    };
    let known = Device {
        id: "pump-1".to_owned(),
        serial: Some(SerialNumber::new(SERIAL)),
        driver: Some("alaris-asena".to_owned()),
        first_seen: Some(Stamp(at("2026-01-02T03:04:05Z"))),
        last_seen: Some(Stamp(at("2026-11-22T03:04:05Z"))),
        end_of_support: Day::read("2027-05-01"),
        ..device("Alaris", "Asena GH", "=cmd()")
    };
    Inventory { gateway, devices: vec![known, Device { id: "silent".to_owned(), ..Device::default() }] }
}

fn publish(disclosure: &Disclosure) -> Published {
    inventory().publish(disclosure, at("2026-11-22T12:00:00Z"))
}

fn exports(published: &Published) -> [String; 3] {
    [published.to_json().unwrap(), published.to_csv(), cyclonedx::to_json(published).unwrap()]
}

#[test]
fn a_serial_number_leaves_only_if_the_site_says_so() {
    for text in exports(&publish(&Disclosure::default())) {
        assert!(!text.contains(SERIAL) && !text.contains("seudonym\":"), "{text}");
    }
    assert!(!format!("{:?}", inventory()).contains(SERIAL));
    for text in exports(&publish(&Disclosure::Plain)) {
        assert!(text.contains(SERIAL), "{text}");
    }
    let key = |byte| hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32]);
    let hidden = publish(&Disclosure::Pseudonym(key(1)));
    let pseudonym = hidden.devices[0].serial_pseudonym.clone().unwrap();
    assert_eq!(pseudonym.len(), 32);
    for text in exports(&hidden) {
        assert!(!text.contains(SERIAL) && text.contains(&pseudonym), "{text}");
    }
    assert_eq!(publish(&Disclosure::Pseudonym(key(1))), hidden);
    assert_ne!(publish(&Disclosure::Pseudonym(key(2))), hidden);
    let mut other = inventory();
    other.devices[0].make = Some("Baxter".to_owned());
    assert_ne!(
        other.publish(&Disclosure::Pseudonym(key(1)), at("2026-11-22")).devices[0].serial_pseudonym,
        Some(pseudonym)
    );
}

#[test]
fn the_retained_topic_has_all_of_it_and_is_read_again() {
    let published = publish(&Disclosure::Plain);
    let text = published.to_json().unwrap();
    assert_eq!(serde_json::from_str::<Published>(&text).unwrap(), published);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["at"], "2026-11-22T12:00:00Z");
    assert_eq!(value["gateway"]["key_protection"], "host+tpm2");
    assert_eq!(value["gateway"]["sbom"], "07".repeat(32));
    assert_eq!(value["devices"][0]["end_of_support"], "2027-05-01");
    assert_eq!(value["devices"][1], json!({ "id": "silent" }));
    for kind in
        [KeyProtection::File, KeyProtection::HostCredential, KeyProtection::HostTpm2, KeyProtection::Pkcs11]
    {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
    for text in ["2027-5-1", "2027-02-30", "2027-05-01T00:00:00Z", ""] {
        assert!(Day::read(text).is_none(), "{text}");
    }
}

#[test]
fn the_table_is_quoted_and_runs_nothing() {
    let digest = "07".repeat(32);
    let expected = [
        "kind,id,make,model,serial,serial_pseudonym,version,driver,first_seen,last_seen,end_of_support,build,\
         sbom_sha256,hardware,key_protection"
            .to_owned(),
        format!("gateway,gw-7,,,,,0.1.0,,,,,8a87377,{digest},\"Board, Model B \"\"4\"\"\",host+tpm2"),
        "device,pump-1,Alaris,Asena GH,,,'=cmd(),alaris-asena,2026-01-02T03:04:05Z,2026-11-22T03:04:05Z,\
         2027-05-01,,,,"
            .to_owned(),
        "device,silent,,,,,,,,,,,,,".to_owned(),
        String::new(),
    ];
    assert_eq!(publish(&Disclosure::Withheld).to_csv(), expected.join("\r\n"));
}

#[test]
fn cyclonedx_has_the_names_of_the_specification() {
    let bom: Value =
        serde_json::from_str(&cyclonedx::to_json(&publish(&Disclosure::Withheld)).unwrap()).unwrap();
    let property = |name: &str, value: &str| json!({ "name": name, "value": value });
    let expected = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "timestamp": "2026-11-22T12:00:00Z", "component": {
            "type": "device", "bom-ref": "gateway:gw-7", "name": "gw-7", "version": "0.1.0",
            "properties": [
                property("wardline:gateway:build", "8a87377"),
                property("wardline:gateway:sbom-sha256", &"07".repeat(32)),
                property("wardline:gateway:hardware", "Board, Model B \"4\""),
                property("wardline:gateway:key-protection", "host+tpm2"),
            ],
        } },
        "components": [{
            "type": "device", "bom-ref": "device:pump-1", "manufacturer": { "name": "Alaris" }, "name": "Asena GH",
            "version": "=cmd()",
            "properties": [
                property("wardline:device:id", "pump-1"),
                property("wardline:device:driver", "alaris-asena"),
                property("wardline:device:first-seen", "2026-01-02T03:04:05Z"),
                property("wardline:device:last-seen", "2026-11-22T03:04:05Z"),
                property("wardline:device:end-of-support", "2027-05-01"),
            ],
        }, {
            "type": "device", "bom-ref": "device:silent", "name": "silent",
            "properties": [property("wardline:device:id", "silent")],
        }],
    });
    assert_eq!(bom, expected);
}

#[test]
fn the_end_of_support_is_a_finding_for_half_a_year_before_it() {
    let device = Device { end_of_support: Day::read("2027-05-01"), ..Device::default() };
    let table = [
        ("2026-11-01T23:59:59Z", None),
        // 180 days before.
        ("2026-11-02T00:00:00Z", Some(Support::Ending(180))),
        ("2026-11-02T00:00:01Z", Some(Support::Ending(180))),
        ("2027-04-30T23:59:59Z", Some(Support::Ending(1))),
        ("2027-05-01T00:00:00Z", Some(Support::Ended(0))),
        ("2027-05-03T12:00:00Z", Some(Support::Ended(2))),
    ];
    for (now, expected) in table {
        assert_eq!(device.support(at(now)), expected, "{now}");
    }
    assert_eq!(Device::default().support(at("2027-05-01")), None);
}

fn affected() -> (Device, Finding) {
    let device = device("BD", "Alaris 8015 PC unit", "9.7");
    let finding = judge(&device, &advisory("ICSMA-17-017-02"));
    assert_eq!(finding.verdict, Verdict::Affected);
    (device, finding)
}

fn waiver(scope: Scope, until: &str) -> Waiver {
    Waiver {
        advisory: "ICSMA-17-017-02".to_owned(),
        scope,
        until: Stamp(at(until)),
        reason: "no network in this bay".to_owned(),
        by: "M. Weber, biomedical engineering".to_owned(),
    }
}

#[test]
fn policy_says_what_is_done() {
    let (device, mut finding) = affected();
    let now = Some(at("2026-11-22"));
    let mut policy = Policy::default();
    assert_eq!(policy.decide(&finding, &device, now), Action::Quarantine);
    policy.affected = Measure::Warn;
    assert_eq!(policy.decide(&finding, &device, now), Action::Warn);
    finding.verdict = Verdict::Review;
    assert_eq!(policy.decide(&finding, &device, now), Action::Warn);
    policy.review = Measure::Quarantine;
    assert_eq!(policy.decide(&finding, &device, now), Action::Quarantine);
    finding.verdict = Verdict::Clear;
    assert_eq!(policy.decide(&finding, &device, now), Action::Nothing);
    assert_eq!(serde_json::from_str::<Policy>("{}").unwrap(), Policy::default());
    assert!(serde_json::from_str::<Policy>(r#"{"afected":"warn"}"#).is_err());
}

#[test]
fn a_waiver_counts_until_its_end_and_for_what_it_names() {
    let (device, finding) = affected();
    let now = Some(at("2026-11-22"));
    let by =
        |waivers: Vec<Waiver>, now| Policy { waivers, ..Policy::default() }.decide(&finding, &device, now);
    let mine = |until| waiver(Scope::Device("device-1".to_owned()), until);
    let waived = |waiver: &Waiver| Action::Waived {
        until: waiver.until,
        reason: waiver.reason.clone(),
        by: waiver.by.clone(),
    };
    assert_eq!(by(vec![mine("2026-11-23")], now), waived(&mine("2026-11-23")));
    // At its end, and behind it; and while nobody knows the time.
    for until in ["2026-11-22", "2026-11-21"] {
        assert_eq!(by(vec![mine(until)], now), Action::Quarantine);
    }
    assert_eq!(by(vec![mine("2026-11-23")], None), Action::Quarantine);
    // An expired one does not hide one that runs.
    assert_eq!(by(vec![mine("2026-11-21"), mine("2026-12-01")], now), waived(&mine("2026-12-01")));
    let model = |name: &str| waiver(Scope::Model(name.to_owned()), "2026-12-01");
    assert_eq!(by(vec![model("ALARIS PC unit 8015")], now), waived(&model("")));
    for other in ["Alaris", "8015", "", " "] {
        assert_eq!(by(vec![model(other)], now), Action::Quarantine, "{other}");
    }
    let other_device = waiver(Scope::Device("device-2".to_owned()), "2026-12-01");
    let other_advisory = Waiver { advisory: "ICSMA-19-164-01".to_owned(), ..mine("2026-12-01") };
    let unsigned = Waiver { by: " ".to_owned(), ..mine("2026-12-01") };
    assert!(
        Policy { waivers: vec![unsigned.clone()], ..Policy::default() }
            .check()
            .unwrap_err()
            .contains("a by of 1 bytes")
    );
    assert!(Policy { waivers: vec![mine("2026-12-01")], ..Policy::default() }.check().is_ok());
    assert_eq!(by(vec![other_device, other_advisory, unsigned], now), Action::Quarantine);
    let text = r#"{"waivers":[{"advisory":"ICSMA-17-017-02","for":{"device":"device-1"},"until":"2026-11-23T00:00:00Z",
        "reason":"no network in this bay","by":"M. Weber, biomedical engineering"}]}"#;
    assert_eq!(serde_json::from_str::<Policy>(text).unwrap().waivers, [mine("2026-11-23")]);
}
