use super::key::{Names, Pending};
use super::*;
use crate::identity::name::Name;

fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Response { status, headers, body: body.to_vec() }
}

fn address() -> Address {
    "https://pki.example/.well-known/est/wards".parse().unwrap()
}

#[test]
fn requests_have_the_shape_of_the_specification() {
    let request = cacerts(&address());
    assert_eq!((request.method, request.path.as_str()), ("GET", "/.well-known/est/wards/cacerts"));
    let request = simpleenroll(&address(), b"\x30\x00", "gw-1", "open sesame");
    assert_eq!((request.method, request.path.as_str()), ("POST", "/.well-known/est/wards/simpleenroll"));
    assert_eq!(request.body, b"MAA=");
    let header = |name: &str| {
        request.headers.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    };
    assert_eq!(header("Content-Type"), Some("application/pkcs10"));
    // printf 'gw-1:open sesame' | base64
    assert_eq!(header("Authorization"), Some("Basic Z3ctMTpvcGVuIHNlc2FtZQ=="));
    let request = simplereenroll(&address(), b"\x30\x00");
    assert!(request.path.ends_with("/simplereenroll"));
    assert!(request.headers.iter().all(|(name, _)| *name != "Authorization"));
}

#[test]
fn each_status_is_its_own_trouble() {
    let of = |status, headers: &[(&str, &str)]| {
        read(&response(status, headers, b"see\r\n\x1b[31m the log"), Wall::default())
    };
    assert!(matches!(of(202, &[("retry-after", "7")]), Ok(Answer::Later(wait)) if wait.as_secs() == 7));
    assert!(matches!(of(202, &[]), Ok(Answer::Later(LATER))));
    let hidden =
        read(&response(400, &[], "a\u{202e}b\u{2066}c\u{200f}d\u{feff}e".as_bytes()), Wall::default());
    assert!(hidden.unwrap_err().to_string().contains("(400 a b c d e)"));
    for (status, words, passes) in [
        (204, "204", false),
        (301, "does not follow", false),
        (400, "400 see [31m the log", false),
        (401, "token", false),
        (403, "registered", false),
        (404, "path", false),
        (418, "418", false),
        (429, "asked again", true),
        (500, "asked again", true),
        (503, "asked again", true),
        (999, "999", false),
    ] {
        let error = of(status, &[]).unwrap_err();
        assert!(error.to_string().contains(words), "{status}: {error}");
        assert_eq!(error.passes(), passes, "{status}");
    }
    let busy = of(503, &[("retry-after", "30")]).unwrap_err();
    assert!(matches!(busy, EstError::Busy { wait: Some(wait), .. } if wait.as_secs() == 30));
}

/// `openssl crl2pkcs7 -nocrl -certfile ca.pem -outform DER | base64`, with a P-256 authority of one day.
const CERTS_ONLY: &str = include_str!("tests/certs-only.b64");

#[test]
fn certificates_come_in_base64_however_it_is_broken() {
    let kind = ("content-type", "application/pkcs7-mime; smime-type=certs-only");
    let one_line: String = CERTS_ONLY.split_whitespace().collect();
    for text in [CERTS_ONLY.to_owned(), one_line.clone(), CERTS_ONLY.replace('\n', "\r\n \t")] {
        let answer = read(&response(200, &[kind], text.as_bytes()), Wall::default()).unwrap();
        let Answer::Certificates(found) = answer else { panic!("{answer:?}") };
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with(&[0x30, 0x82]));
    }
    let refused = |headers: &[(&str, &str)], body: &[u8]| {
        read(&response(200, headers, body), Wall::default()).unwrap_err().to_string()
    };
    assert!(refused(&[], one_line.as_bytes()).contains("content type"));
    assert!(refused(&[("content-type", "text/html")], b"<html>").contains("text/html"));
    assert!(refused(&[kind], b"*").contains("not base64"));
    assert!(refused(&[kind], b"").contains("not PKCS#7"));
    // A bag with nothing in it, by hand: version 1, no algorithms, id-data, no signers.
    let empty = [
        0x30, 0x23, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2, 0xa0, 0x16, 0x30, 0x14, 2, 1, 1, 0x31,
        0, 0x30, 0x0b, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1, 0x31, 0,
    ];
    assert!(refused(&[kind], base64::encode(&empty).as_bytes()).contains("no certificate in it"));
}

/// `openssl cms -sign -stream -nodetach -binary -outform DER | base64`: signed data in BER, with wrappers that have
/// an end and no length, by a P-256 authority of one day.
const INDEFINITE: &str = include_str!("tests/indefinite.b64");

#[test]
fn wrappers_without_a_length_are_read_and_their_certificates_are_as_they_came() {
    let der = base64::decode(INDEFINITE.as_bytes()).unwrap();
    assert_eq!(der[..2], [0x30, 0x80]);
    let found = pkcs7::certificates(&der).unwrap();
    assert_eq!(found.len(), 1);
    assert!(der.windows(found[0].len()).any(|part| part == found[0].as_ref()));
    // All of the wrappers, as some libraries write them, around the certificate of the other vector.
    let plain = pkcs7::certificates(&base64::decode(CERTS_ONLY.as_bytes()).unwrap()).unwrap().remove(0);
    let oid = |last| [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, last];
    let open = |tag: u8, content: &[u8]| [&[tag, 0x80], content, &[0, 0]].concat();
    let bag = open(0xa0, &[plain.as_ref(), plain.as_ref()].concat());
    let signed = [&[2, 1, 1, 0x31, 0][..], &open(0x30, &oid(1)), &bag, &[0x31, 0]].concat();
    let whole = open(0x30, &[&oid(2)[..], &open(0xa0, &open(0x30, &signed))].concat());
    assert_eq!(pkcs7::certificates(&whole).unwrap(), [plain.clone(), plain]);
    assert!(pkcs7::certificates(&[&whole[..], &[0]].concat()).is_err(), "nothing follows");
    assert!(pkcs7::certificates(&[0x30, 0x80].repeat(100_000)).is_err());
}

#[test]
fn no_cut_and_no_flipped_byte_of_an_answer_panics() {
    for der in [CERTS_ONLY, INDEFINITE].map(|text| base64::decode(text.as_bytes()).unwrap()) {
        for length in 0..der.len() {
            assert!(pkcs7::certificates(&der[..length]).is_err(), "{length}");
        }
        for place in 0..der.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut other = der.clone();
                other[place] ^= flip;
                let _ = pkcs7::certificates(&other);
            }
        }
    }
}

#[test]
fn a_request_is_kept_as_it_was_and_its_key_is_another_each_time() {
    let name = Name { organisation: "st-anna".to_owned(), gateway: "gw-1".to_owned() };
    let names = Names::of(&name).unwrap();
    let pending = Pending::make(&names).unwrap();
    let again = Pending::from_pem(&pending.to_pem().unwrap()).unwrap();
    assert_eq!((again.request(), again.point()), (pending.request(), pending.point()));
    assert_ne!(Pending::make(&names).unwrap().point(), pending.point());
    let text = pending.to_pem().unwrap();
    for length in [0, 10, 200, text.len() - 40] {
        assert!(Pending::from_pem(&text[..length]).is_err(), "{length}");
    }
}
