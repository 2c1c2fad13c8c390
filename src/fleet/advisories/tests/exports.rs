//! What leaves the gateway, what is done about findings, and the end of support.

use ring::hmac;
use serde_json::{Value, json};

use super::super::inventory::{
    Day, Device, Disclosure, Entry, Gateway, Inventory, KeyProtection, Published, SerialNumber, Support,
    to_csv,
};
use super::super::told::{Done, Told, Word};
use super::super::{Action, Finding, Policy, Quarantine, Scope, Verdict, Waiver, cyclonedx, judge};
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
        kernel: "6.12.25+rpt-rpi-v8".to_owned(),
        key_protection: KeyProtection::Credential,
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

fn told() -> Told {
    Told {
        device: "pump-1".to_owned(),
        advisory: "ICSMA-17-017-02".to_owned(),
        version: "1".to_owned(),
        verdict: Word::Affected,
        action: Done::Warned,
        until: None,
        cvss: Some("7.7".to_owned()),
        cves: vec!["CVE-2016-8375".to_owned()],
        reason: "version 9.7".to_owned(),
    }
}

fn table(published: &Published) -> String {
    to_csv(&[Entry { published, is_proven: true, findings: &[told()] }])
}

fn bom(published: &Published) -> String {
    let stranger = Told { device: "not-listed".to_owned(), ..told() };
    let findings = [told(), stranger];
    cyclonedx::to_json("icu-3", published.at, &[Entry { published, is_proven: false, findings: &findings }])
        .unwrap()
}

fn exports(published: &Published) -> [String; 3] {
    [published.to_json().unwrap(), table(published), bom(published)]
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
    assert_eq!(value["gateway"]["key_protection"], "credential");
    assert_eq!(value["gateway"]["sbom"], "07".repeat(32));
    assert_eq!(value["devices"][0]["end_of_support"], "2027-05-01");
    assert_eq!(value["devices"][1], json!({ "id": "silent" }));
    for kind in [KeyProtection::File, KeyProtection::Credential, KeyProtection::Pkcs11] {
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
        "kind,gateway,id,make,model,serial,serial_pseudonym,version,driver,first_seen,last_seen,end_of_support,build,\
         sbom_sha256,hardware,kernel,key_protection,proven,advisories"
            .to_owned(),
        format!("gateway,gw-7,gw-7,,,,,0.1.0,,,2026-11-22T12:00:00Z,,8a87377,{digest},\"Board, Model B \"\"4\"\"\",6.12.25+rpt-rpi-v8,credential,yes,"),
        "device,gw-7,pump-1,Alaris,Asena GH,,,'=cmd(),alaris-asena,2026-01-02T03:04:05Z,2026-11-22T03:04:05Z,\
         2027-05-01,,,,,,yes,ICSMA-17-017-02 affected warned"
            .to_owned(),
        "device,gw-7,silent,,,,,,,,,,,,,,,yes,".to_owned(),
        String::new(),
    ];
    assert_eq!(table(&publish(&Disclosure::Withheld)), expected.join("\r\n"));
}

#[test]
fn cyclonedx_has_the_names_of_the_specification() {
    let bom: Value = serde_json::from_str(&bom(&publish(&Disclosure::Withheld))).unwrap();
    let property = |name: &str, value: &str| json!({ "name": name, "value": value });
    let expected = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "timestamp": "2026-11-22T12:00:00Z", "component": {
            "type": "platform", "bom-ref": "group:icu-3", "name": "icu-3",
        } },
        "components": [{
            "type": "device", "bom-ref": "gateway:gw-7", "name": "gw-7", "version": "0.1.0",
            "properties": [
                property("wardline:gateway:proven", "no"),
                property("wardline:gateway:at", "2026-11-22T12:00:00Z"),
                property("wardline:gateway:build", "8a87377"),
                property("wardline:gateway:sbom-sha256", &"07".repeat(32)),
                property("wardline:gateway:hardware", "Board, Model B \"4\""),
                property("wardline:gateway:kernel", "6.12.25+rpt-rpi-v8"),
                property("wardline:gateway:key-protection", "credential"),
            ],
            "components": [{
                "type": "device", "bom-ref": "device:gw-7/pump-1", "manufacturer": { "name": "Alaris" },
                "name": "Asena GH", "version": "=cmd()",
                "properties": [
                    property("wardline:device:id", "pump-1"),
                    property("wardline:device:driver", "alaris-asena"),
                    property("wardline:device:first-seen", "2026-01-02T03:04:05Z"),
                    property("wardline:device:last-seen", "2026-11-22T03:04:05Z"),
                    property("wardline:device:end-of-support", "2027-05-01"),
                ],
            }, {
                "type": "device", "bom-ref": "device:gw-7/silent", "name": "silent",
                "properties": [property("wardline:device:id", "silent")],
            }],
        }],
        "vulnerabilities": [{
            "bom-ref": "advisory:ICSMA-17-017-02:affected", "id": "ICSMA-17-017-02",
            "references": [{ "id": "CVE-2016-8375", "source": { "name": "CVE" } }],
            "analysis": { "state": "exploitable", "detail": "version 9.7" },
            "affects": [{ "ref": "device:gw-7/pump-1" }],
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

fn isolated(scope: Scope) -> Quarantine {
    let (reason, by) = ("isolated".to_owned(), "M. Weber".to_owned());
    Quarantine { advisory: Some("ICSMA-17-017-02".to_owned()), scope, also_review: false, reason, by }
}

fn quarantined() -> Action {
    Action::Quarantine { reason: "isolated".to_owned(), by: "M. Weber".to_owned() }
}

#[test]
fn an_advisory_alone_takes_nothing_away() {
    let (device, mut finding) = affected();
    let now = Some(at("2026-11-22"));
    let mut policy = Policy::default();
    assert_eq!(policy.decide(&finding, &device, now), Action::Warn);
    policy.quarantine = vec![isolated(Scope::Device("device-1".to_owned()))];
    assert_eq!(policy.decide(&finding, &device, now), quarantined());
    finding.verdict = Verdict::Review;
    assert_eq!(policy.decide(&finding, &device, now), Action::Warn);
    policy.quarantine[0].also_review = true;
    assert_eq!(policy.decide(&finding, &device, now), quarantined());
    policy.quarantine[0].advisory = Some("ICSMA-19-164-01".to_owned());
    assert_eq!(policy.decide(&finding, &device, now), Action::Warn);
    policy.quarantine[0].advisory = None;
    assert_eq!(policy.decide(&finding, &device, now), quarantined());
    finding.verdict = Verdict::Clear;
    assert_eq!(policy.decide(&finding, &device, now), Action::Nothing);
    assert!(policy.check().is_ok());
    policy.quarantine[0].reason = " ".to_owned();
    assert!(policy.check().unwrap_err().contains("quarantine of \"any\" has a reason of 1 bytes"));
    assert_eq!(serde_json::from_str::<Policy>("{}").unwrap(), Policy::default());
    assert!(serde_json::from_str::<Policy>(r#"{"quarantines":[]}"#).is_err());
}

#[test]
fn a_waiver_counts_until_its_end_and_for_what_it_names() {
    let (device, finding) = affected();
    let now = Some(at("2026-11-22"));
    let by = |waivers: Vec<Waiver>, now| {
        let quarantine = vec![isolated(Scope::Device("device-1".to_owned()))];
        Policy { quarantine, waivers }.decide(&finding, &device, now)
    };
    let mine = |until| waiver(Scope::Device("device-1".to_owned()), until);
    let waived = |waiver: &Waiver| Action::Waived {
        until: waiver.until,
        reason: waiver.reason.clone(),
        by: waiver.by.clone(),
    };
    assert_eq!(by(vec![mine("2026-11-23")], now), waived(&mine("2026-11-23")));
    // At its end, and behind it; and while nobody knows the time.
    for until in ["2026-11-22", "2026-11-21"] {
        assert_eq!(by(vec![mine(until)], now), quarantined());
    }
    // A clock that was not set yet takes nothing away.
    assert_eq!(by(vec![mine("2026-11-23")], None), Action::Warn);
    assert_eq!(by(Vec::new(), None), quarantined());
    // An expired one does not hide one that runs.
    assert_eq!(by(vec![mine("2026-11-21"), mine("2026-12-01")], now), waived(&mine("2026-12-01")));
    let model = |name: &str| waiver(Scope::Model(name.to_owned()), "2026-12-01");
    assert_eq!(by(vec![model("ALARIS PC unit 8015")], now), waived(&model("")));
    for other in ["Alaris", "8015", "", " "] {
        assert_eq!(by(vec![model(other)], now), quarantined(), "{other}");
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
    assert_eq!(by(vec![other_device, other_advisory, unsigned], now), quarantined());
    let text = r#"{"waivers":[{"advisory":"ICSMA-17-017-02","for":{"device":"device-1"},"until":"2026-11-23T00:00:00Z",
        "reason":"no network in this bay","by":"M. Weber, biomedical engineering"}]}"#;
    assert_eq!(serde_json::from_str::<Policy>(text).unwrap().waivers, [mine("2026-11-23")]);
}
