use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::*;
use crate::fleet::dsse::{Envelope, EnvelopeFault};

/// A P-256 key's certificate and `SubjectPublicKeyInfo`, a payload and its signature, all by OpenSSL 3.0:
/// `openssl dgst -sha256 -sign` over `DSSEv1 41 <type> <length> <payload>`.
const CERTIFICATE: &[u8] = include_bytes!("../testdata/gateway.der");
const SPKI: &[u8] = include_bytes!("../testdata/spki.der");
const PAYLOAD: &[u8] = include_bytes!("../testdata/reported.json");
const SIGNATURE: &[u8] = include_bytes!("../testdata/reported.sig");
/// A key of another curve.
const P384: &[u8] = include_bytes!("../testdata/p384.der");

/// What a `SubjectPublicKeyInfo` of a P-256 key begins with (RFC 5480 section 2).
const HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86,
    0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

fn signature_of_another(payload: &[u8]) -> (ReportKey, Vec<u8>) {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).unwrap();
    let key = ReportKey::of_spki(&[&HEAD, pair.public_key().as_ref()].concat()).unwrap();
    let signature = pair.sign(&random, &pae(Reported::PAYLOAD_TYPE, payload)).unwrap();
    (key, signature.as_ref().to_vec())
}

fn changed(from: &str, to: &str) -> Result<Reported, String> {
    let text = std::str::from_utf8(PAYLOAD).unwrap();
    assert!(text.contains(from), "{from}");
    Reported::read(text.replacen(from, to, 1).as_bytes())
}

#[test]
fn what_openssl_signed_is_believed_under_its_key_alone() {
    let key = ReportKey::of_certificate(CERTIFICATE).unwrap();
    assert_eq!(key, ReportKey::of_spki(SPKI).unwrap());
    assert_eq!(key.id(), Digest::of(SPKI).to_string());
    let bytes = sealed(PAYLOAD.to_vec(), key.id(), SIGNATURE.to_vec());
    let report = Reported::verify(&bytes, &key).unwrap();
    assert_eq!((report.gateway.as_str(), report.standing.word), ("gw-1", Word::Failed));
    let (other, signature) = signature_of_another(PAYLOAD);
    let refused = Err(ReportFault::Signature { key: other.id().to_owned() });
    assert_eq!(Reported::verify(&bytes, &other), refused);
    // Under the name of the gateway's key, by another one.
    let forged = sealed(PAYLOAD.to_vec(), key.id(), signature.clone());
    assert_eq!(Reported::verify(&forged, &key), Err(ReportFault::Signature { key: key.id().to_owned() }));
    let theirs = sealed(PAYLOAD.to_vec(), other.id(), signature);
    assert!(Reported::verify(&theirs, &other).is_ok());
    let changed = sealed(PAYLOAD.to_ascii_lowercase(), key.id(), SIGNATURE.to_vec());
    assert!(matches!(Reported::verify(&changed, &key), Err(ReportFault::Signature { .. })));
    // Without a proof it can still be shown.
    assert_eq!(Reported::unproven(&forged).unwrap(), report);
}

#[test]
fn what_is_written_is_read_back_and_is_what_another_program_wrote() {
    let report = Reported::read(PAYLOAD).unwrap();
    assert_eq!(report.to_payload(), PAYLOAD);
    let silent = (0..MAX_SILENT).map(|number| format!("{number:032}")).collect();
    let most = Reported {
        standing: Standing {
            word: Word::Failed,
            detail: Some(text(&"\u{e4}\n\"\\".repeat(999), MAX_DETAIL)),
        },
        bad: Some(Bad {
            version: u64::MAX,
            sha256: Some(Digest([9; 32])),
            reason: text(&"\u{e4}".repeat(999), MAX_DETAIL),
        }),
        devices: Devices { listed: u32::MAX, silent, more: u32::MAX },
        health: vec![text(&"\"".repeat(999), MAX_HEALTH); MAX_HEALTH_LINES],
        certificate: Certificate { chain: vec!["A".repeat(2_048); 2], ..report.certificate.clone() },
        ..report
    };
    let bytes = sealed(most.to_payload(), &"f".repeat(64), vec![0; 72]);
    assert!(bytes.len() <= Reported::CAP, "{}", bytes.len());
    assert_eq!(Reported::unproven(&bytes).unwrap(), most);
}

#[test]
fn what_is_not_a_report_says_why() {
    for (from, to, words) in [
        ("\"schema\":1", "\"schema\":2", "schema 2"),
        ("\"gw-1\"", "\"GW/1\"", "gateway"),
        ("\"synced\":true", "\"synced\":true,\"synced\":true", "duplicate"),
        ("\"synced\":true", "\"synced\":true,\"extra\":1", "extra"),
        ("\"synced\":true,", "", "synced"),
        ("00112233", "0011223Z", "boot id"),
        ("pump-1", "pump 1", "devices.silent"),
        ("clock follows", "\\u001b[2J", "control characters"),
        ("bundle 8 was", &"x".repeat(MAX_DETAIL), "standing.detail"),
        ("12:00:00Z", "12:00:00+01:00", "is not a moment"),
        ("\"silent\":[", &format!("\"silent\":[{}", "\"a\",".repeat(MAX_SILENT)), "65 in devices.silent"),
        ("\"health\":[", &format!("\"health\":[{}", "\"a\",".repeat(16)), "17 in health"),
        (
            "\"not_after\"",
            &format!("\"chain\":[\"{}\"],\"not_after\"", "A".repeat(4_097)),
            "certificate.chain",
        ),
    ] {
        let why = changed(from, to).unwrap_err();
        assert!(why.contains(words), "{to}: {why}");
    }
    let key = ReportKey::of_spki(SPKI).unwrap();
    let mut other = Envelope::new("application/vnd.wardline.bundle.v1+json", PAYLOAD.to_vec());
    other.add(key.id().to_owned(), SIGNATURE.to_vec());
    assert!(matches!(Reported::verify(&other.to_bytes(), &key), Err(ReportFault::Type(_))));
    let long = vec![b' '; Reported::CAP + 1];
    assert!(matches!(Reported::unproven(&long), Err(ReportFault::Envelope(EnvelopeFault::TooLong { .. }))));
    for no_key in [P384, &SPKI[..50], b"", CERTIFICATE] {
        assert_eq!(ReportKey::of_spki(no_key), Err(ReportFault::Key));
    }
}

#[test]
fn a_word_of_a_newer_program_costs_the_word_and_not_the_report() {
    let report = changed("\"word\":\"failed\"", "\"word\":\"dreams\"").unwrap();
    assert_eq!((report.standing.word, report.gateway.as_str()), (Word::Unknown, "gw-1"));
    assert_eq!(report.standing.word.as_str(), "unknown");
}
