//! Made-up devices against the real documents. Each verdict was worked out by reading the document; the number
//! is the line of the document that is the reason.

use super::super::{Verdict, judge};
use super::{DOCUMENTS, advisory, device};
use Verdict::{Affected, Clear, Review};

/// Advisory, make, model, firmware, verdict.
const TABLE: &[(&str, &str, &str, &str, Verdict)] = &[
    // 158: "9.7".
    ("ICSMA-17-017-02", "BD", "Alaris 8015 PC unit", "9.7", Affected),
    // 172: "<= 9.33"; the maker under its earlier name, the words in another order.
    ("ICSMA-17-017-02", "CareFusion", "Alaris PC Unit 8015", "9.12", Affected),
    // 198 and 172, with marks and case.
    ("ICSMA-17-017-02", "Becton, Dickinson and Company (BD)", "ALARIS® 8015 PC-Unit", "9.33", Affected),
    // 186: "<= 9.5".
    ("ICSMA-17-017-02", "Alaris", "8015 PC unit", "V9.1", Affected),
    // 172 and 186 are older, 158 is another: 12.1.2 is none of them.
    ("ICSMA-17-017-02", "BD", "Alaris 8015 PC unit", "12.1.2", Clear),
    // 186: by parts 9.40 is newer than 9.5, by decimals it is older.
    ("ICSMA-17-017-02", "BD", "Alaris 8015 PC unit", "9.40", Review),
    // 172: the version is not known.
    ("ICSMA-17-017-02", "BD", "Alaris 8015 PC unit", "", Review),
    // 172: a version that is not understood.
    ("ICSMA-17-017-02", "BD", "Alaris 8015 PC unit", "see label", Review),
    // 166: the name is known in part, the version is one of 172.
    ("ICSMA-17-017-02", "BD", "8015", "9.12", Review),
    // 166: the same name, the maker is not known.
    ("ICSMA-17-017-02", "", "Alaris 8015 PC unit", "9.12", Review),
    // 198: the same name of another maker.
    ("ICSMA-17-017-02", "Acme", "Alaris 8015 PC unit", "9.12", Review),
    // 198: nothing is known but the maker.
    ("ICSMA-17-017-02", "BD", "", "", Review),
    // 166: another product of the maker.
    ("ICSMA-17-017-02", "BD", "Alaris Gateway Workstation", "1.1.6", Clear),
    // 198: another maker, another product.
    ("ICSMA-17-017-02", "Philips", "IntelliVue MP70", "9.7", Clear),
    // 155: no bedside device is a compressor.
    ("ICSMA-18-144-01", "BD", "Alaris 8015 PC unit", "9.7", Clear),
    // 147: "<= 4107600010.23".
    ("ICSMA-18-144-01", "BeaconMedaes", "TotalAlert Scroll Medical Air Systems", "4107600010.22", Affected),
    // 147: one more.
    ("ICSMA-18-144-01", "BeaconMedaes", "TotalAlert Scroll Medical Air Systems", "4107600010.24", Clear),
    // 140: "vers:all/*", so the version need not be known.
    ("ICSMA-18-219-01", "Medtronic", "24950 MyCareLink Monitor", "", Affected),
    // 154: the other model.
    ("ICSMA-18-219-01", "Medtronic, Inc.", "MyCareLink 24952", "1.0", Affected),
    // 148 and 162: the name alone says not which of both.
    ("ICSMA-18-219-01", "Medtronic", "MyCareLink", "", Review),
    // 148: a number that is not listed beside a name that is.
    ("ICSMA-18-219-01", "Medtronic", "MyCareLink Relay 24960", "", Review),
    // 148: of the same maker, and nothing of the name.
    ("ICSMA-18-219-01", "Nellcor", "N-595", "", Clear),
    // 138: "2.3.6 and  below", with two spaces; 146.
    ("ICSMA-19-164-01", "BD", "Alaris Gateway Workstation Alaris GS", "2.3.6", Affected),
    // 138: newer than that; 160 and others are exact versions of the workstation alone.
    ("ICSMA-19-164-01", "BD", "Alaris Gateway Workstation Alaris GS", "2.3.7", Clear),
    // 152: "1.1.6".
    ("ICSMA-19-164-01", "BD", "Alaris Gateway Workstation", "1.1.6", Affected),
    // 208: "1.3.1 Build 13".
    ("ICSMA-19-164-01", "BD", "Alaris Gateway Workstation", "1.3.1 build 13", Affected),
    // 222: "1.1.3 MR Build 11".
    ("ICSMA-19-164-01", "CareFusion", "Gateway Workstation", "1.1.3 MR Build 11", Affected),
    // 222 and 278: which build of 1.1.3 it is, is not known.
    ("ICSMA-19-164-01", "BD", "Alaris Gateway Workstation", "1.1.3", Review),
    // 138: within "2.3.6 and below" of a longer name.
    ("ICSMA-19-164-01", "BD", "Alaris Gateway Workstation", "1.2.0", Review),
    // 138 to 278: newer than all of them.
    ("ICSMA-19-164-01", "BD", "Alaris Gateway Workstation", "2.4.0", Clear),
    // 188: a syringe pump of the line, named in part.
    ("ICSMA-19-164-01", "Alaris", "Asena GH", "", Review),
    // 166 of ICSMA-17-017-02 is not in this document.
    ("ICSMA-19-164-01", "BD", "Alaris 8015 PC unit", "9.7", Clear),
    // 141: "v8.x model 35700BAX2".
    ("ICSMA-20-170-04", "Baxter", "Spectrum 35700BAX2", "8.00.01", Affected),
    // 169: "v6.x model 35700BAX"; 177: Sigma Spectrum.
    ("ICSMA-20-170-04", "Sigma", "Sigma Spectrum 35700BAX", "v6.05", Affected),
    // 141: whether it is that model is not known.
    ("ICSMA-20-170-04", "Baxter", "Sigma Spectrum", "8.00.01", Review),
    // 155: which battery module it has is not known.
    ("ICSMA-20-170-04", "Baxter", "Sigma Spectrum LVP", "6.05", Review),
    // 141, 155, 169, 183, 197, 211: 6.x, 8.x and 9.x, and no 7.x.
    ("ICSMA-20-170-04", "Baxter", "Sigma Spectrum", "7.02", Clear),
    // 149: another product of the maker.
    ("ICSMA-20-170-04", "Baxter", "Novum", "8.00", Clear),
    // 139: "<= L81"; 169 for SpaceStation with SpaceCom 2.
    ("ICSMA-21-294-01", "B. Braun", "SpaceStation with SpaceCom 2", "L81", Affected),
    // 183: "<= 012U000061".
    ("ICSMA-21-294-01", "B. Braun Melsungen AG", "SpaceStation with SpaceCom 2", "012U000060", Affected),
    // 183: L82 is newer than L81, and in no order with 012U000061.
    ("ICSMA-21-294-01", "B. Braun", "SpaceStation with SpaceCom 2", "L82", Review),
    // 141: "installed in a Perfusor Space Infusomat Space or ...".
    ("ICSMA-21-294-01", "B. Braun Medical", "Infusomat Space", "686U", Review),
    // 141: no product is named so, and the whole name of one mentions it.
    ("ICSMA-21-294-01", "B. Braun", "Perfusor", "", Review),
    // 153: "A10 < A11" is no range.
    ("ICSMA-21-294-01", "B. Braun", "Data module compactPlus", "A12", Review),
    ("ICSMA-21-294-01", "B. Braun", "Data module compactPlus", "A10", Review),
    // 139: "Wi-Fi" and "WiFi" (203) are one word.
    ("ICSMA-21-294-01", "B. Braun", "Battery Pack SP with WiFi", "L80", Affected),
    // 147: nothing of the name.
    ("ICSMA-21-294-01", "B. Braun", "Dialog iQ", "1.0", Clear),
    // 154: "9.x model 35700BAX3"; 162.
    ("ICSMA-22-251-01", "Baxter", "Spectrum IQ 35700BAX3", "9.01", Affected),
    // 154 and 168: 9.x; 182 to 224 mean other names within this one, in 8.x and 6.x.
    ("ICSMA-22-251-01", "Baxter", "Spectrum IQ 35700BAX3", "10.01", Clear),
    // 168: which battery module it has is not known.
    ("ICSMA-22-251-01", "Baxter", "Baxter Spectrum IQ LVP", "9.01", Review),
    // 224: brackets that do not close.
    ("ICSMA-22-251-01", "Baxter", "Sigma Spectrum LVP", "6.02", Review),
    // 232: a pump of another maker.
    ("ICSMA-22-251-01", "Hospira", "Plum A+", "13.4", Clear),
];

#[test]
fn each_device_has_the_verdict_that_reading_the_document_gives() {
    let mut wrong = Vec::new();
    for &(id, make, model, firmware, expected) in TABLE {
        let found = judge(&device(make, model, firmware), &advisory(id));
        assert!(!found.reasons.is_empty() && found.reasons.iter().all(|reason| !reason.is_empty()));
        if found.verdict != expected {
            wrong.push(format!(
                "{id} {make} {model} {firmware:?}: {:?}, {expected:?} expected: {:#?}",
                found.verdict, found.reasons
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_document_has_a_device_of_the_table() {
    for (id, _) in DOCUMENTS {
        assert!(TABLE.iter().any(|row| row.0 == id && row.4 != Clear), "{id}");
    }
}

#[test]
fn a_finding_names_its_evidence_the_vulnerabilities_and_the_worst_score() {
    // Lines 296 and 461: CVE-2019-10962 has 7.3; 483 and 648: CVE-2019-10959 has 10.0.
    let found = judge(&device("BD", "Alaris Gateway Workstation", "1.1.6"), &advisory("ICSMA-19-164-01"));
    assert_eq!(found.cves, ["CVE-2019-10962", "CVE-2019-10959"]);
    assert_eq!(found.cvss.map(|score| score.to_string()).as_deref(), Some("10.0"));
    assert_eq!((found.advisory.as_str(), found.version.as_str()), ("ICSMA-19-164-01", "1"));
    assert_eq!(
        found.reasons,
        [
            r#"maker "BD" is "Becton, Dickinson and Company (BD)" (ICSMA-17-017-02, document.title), version "1.1.6" against "1.1.6" of "Alaris Gateway Workstation: 1.1.6": it is one of these"#
        ]
    );
    assert!(
        found
            .remediations
            .iter()
            .any(|remedy| remedy.details.contains("recommends the following mitigations"))
    );
    let clear = judge(&device("BD", "Alaris Gateway Workstation", "2.4.0"), &advisory("ICSMA-19-164-01"));
    assert!(clear.cves.is_empty() && clear.cvss.is_none());
    assert!(clear.reasons.iter().any(|reason| reason.contains(r#"version "2.4.0""#)), "{:?}", clear.reasons);
    let other = judge(&device("Philips", "MP70", ""), &advisory("ICSMA-19-164-01"));
    assert!(other.reasons[0].contains("Becton") && other.reasons[0].contains("MP70"), "{:?}", other.reasons);
}
