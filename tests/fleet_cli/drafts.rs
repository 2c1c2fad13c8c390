//! What a draft names of the files beside it.

use base64ct::{Base64, Encoding as _};
use wardline::lab::pki::Pki;

use super::*;

fn der(pki: &Pki, days: (i64, i64)) -> Vec<u8> {
    pki.revocation_list(&[], days).unwrap()
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", Base64::encode_string(der))
}

impl Fleet {
    fn names(&self, revocations: &str) {
        let text = self.draft_text();
        let rest: String = text
            .lines()
            .filter(|line| !line.starts_with("revocations"))
            .fold(format!("revocations = {revocations}\n"), |text, line| text + line + "\n");
        self.write_draft(&rest);
    }
}

#[test]
fn revocation_lists_are_files_below_the_draft() {
    let fleet = Fleet::new();
    fleet.done("bundle new");
    fleet.draft(BOTH, &FOUR);
    let pki = Pki::create(&fleet.path("pki")).unwrap();
    let (one, two, old) = (der(&pki, (-1, 7)), der(&pki, (-2, 7)), der(&pki, (-9, -1)));
    let folder = fleet.path("fleet/g/icu-3/crl");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("ward-ca.crl"), &one).unwrap();
    fs::write(folder.join("both.pem"), pem(&one) + &pem(&two)).unwrap();
    fs::write(folder.join("old.crl"), pem(&old)).unwrap();
    fs::write(folder.join("ca.pem"), fs::read(pki.authorities()).unwrap()).unwrap();
    fs::write(folder.join("cut.crl"), &one[..one.len() - 1]).unwrap();
    fs::write(folder.join("long.crl"), vec![0x30; 140_000]).unwrap();
    fs::write(folder.join("long.pem"), pem(&vec![0x30; 60_000])).unwrap();
    for (entry, words) in [
        ("crl/none.crl", "put the list there"),
        ("crl/old.crl", "ran out at"),
        ("crl/ca.pem", "holds no revocation list"),
        ("crl/cut.crl", "is no revocation list"),
        ("crl/long.crl", "65536 bytes of lists in all"),
        ("crl/long.pem", "is no revocation list"),
        ("../icu-3/crl/ward-ca.crl", "below the draft's folder"),
        ("/etc/ssl/ward-ca.crl", "below the draft's folder"),
        ("", "below the draft's folder"),
        (&Base64::encode_string(&old), "ran out at"),
    ] {
        fleet.names(&format!("[\"{entry}\"]"));
        fleet.refused("bundle check", 3, words);
        fleet.refused("bundle sign --key config-1", 3, words);
    }
    fleet.names(&format!("[{}]", ["\"crl/both.pem\""; 5].join(", ")));
    fleet.refused("bundle check", 3, "has 10 revocations, at most 8");
    fleet.names(&format!("[\"crl/ward-ca.crl\", \"crl/both.pem\", \"{}\"]", Base64::encode_string(&two)));
    fleet.done("bundle sign --key config-1");
    let bytes = fs::read(fleet.path("fleet/g/icu-3/bundle-1.json")).unwrap();
    let envelope = Envelope::parse(&bytes, Bundle::CAP).unwrap();
    let lists = Bundle::read(envelope.payload()).unwrap().revocation_lists().unwrap();
    assert_eq!(lists, [one.clone(), one, two.clone(), two]);
    // What was signed is in the bundle: a file that has gone meanwhile holds up no next draft.
    fs::remove_file(folder.join("ward-ca.crl")).unwrap();
    assert!(fleet.done("bundle new").contains("bundle 2 of icu-3"));
}
