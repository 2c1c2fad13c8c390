//! The chain of an issued certificate where an authority changed its key and kept its name; certificates by
//! `openssl`.

#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking; its own files"
)]

use std::path::Path;
use std::process::Command;

use wardline::identity::est::issued::{IssueFault, check};
use wardline::identity::est::key::{Names, Pending};
use wardline::identity::folder::chain;
use wardline::identity::name::Name;
use wardline::time::{ClockSync, Now, Wall};

const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";

struct Bench(tempfile::TempDir);

impl Bench {
    fn openssl(&self, arguments: &[&str]) {
        let done = Command::new("openssl").args(arguments).current_dir(self.0.path()).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn request(&self, name: &str, subject: &str) {
        let key = format!("{name}.key");
        self.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &key]);
        let csr = format!("{name}.csr");
        self.openssl(&["req", "-new", "-key", &key, "-subj", subject, "-out", &csr]);
    }

    fn sign(&self, name: &str, issuer: &str, extensions: &str) {
        std::fs::write(self.path("ext"), extensions).unwrap();
        let [csr, out] = ["csr", "pem"].map(|end| format!("{name}.{end}"));
        let [ca, key] = ["pem", "key"].map(|end| format!("{issuer}.{end}"));
        let mut arguments = vec!["x509", "-req", "-in", &csr, "-out", &out, "-days", "30", "-extfile", "ext"];
        if name == issuer {
            arguments.extend(["-signkey", &key]);
        } else {
            arguments.extend(["-CA", &ca, "-CAkey", &key, "-CAcreateserial"]);
        }
        self.openssl(&arguments);
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.0.path()).join(name)
    }

    fn read(&self, name: &str) -> rustls::pki_types::CertificateDer<'static> {
        let text = std::fs::read(self.path(&format!("{name}.pem"))).unwrap();
        chain(&text).unwrap().remove(0)
    }
}

fn now() -> Now {
    let text = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap().stdout;
    let wall = Wall::read(String::from_utf8(text).unwrap().trim()).unwrap();
    Now { wall, sync: ClockSync::Synced, ..Now::default() }
}

#[test]
fn of_two_authorities_with_one_name_the_one_that_signed_is_in_the_chain_in_any_order() {
    let bench = Bench(tempfile::tempdir().unwrap());
    bench.request("root", "/CN=root");
    bench.sign("root", "root", AUTHORITY);
    // The same name with two keys, and without key identifiers that would tell them apart.
    for name in ["old", "new"] {
        bench.request(name, "/CN=issuing");
        let plain = format!("{AUTHORITY}subjectKeyIdentifier=none\nauthorityKeyIdentifier=none\n");
        bench.sign(name, "root", &plain);
    }
    let name = Name { organisation: "st-anna".to_owned(), gateway: "gw-1".to_owned() };
    let pending = Pending::make(&Names::of(&name).unwrap()).unwrap();
    let csr = pending.request();
    std::fs::write(bench.path("leaf.der"), csr).unwrap();
    bench.openssl(&["req", "-inform", "DER", "-in", "leaf.der", "-out", "leaf.csr"]);
    bench.sign(
        "leaf",
        "new",
        "extendedKeyUsage=clientAuth\nsubjectAltName=URI:urn:wardline:st-anna:gw-1\nauthorityKeyIdentifier=none\n",
    );
    let [root, old, new, leaf] = ["root", "old", "new", "leaf"].map(|name| bench.read(name));
    let wanted = [leaf.clone(), new.clone()];
    for found in [
        vec![leaf.clone(), old.clone(), new.clone()],
        vec![new.clone(), old.clone(), leaf.clone()],
        vec![old.clone(), leaf.clone(), new.clone(), old.clone()],
    ] {
        assert_eq!(check(&found, std::slice::from_ref(&root), (&pending, &name), now()).unwrap(), wanted);
    }
    // Among the authorities in place of the answer.
    for authorities in [[root.clone(), old.clone(), new.clone()], [new.clone(), old.clone(), root.clone()]] {
        let found = std::slice::from_ref(&leaf);
        assert_eq!(check(found, &authorities, (&pending, &name), now()).unwrap(), wanted);
    }
    let fault = check(&[leaf, old], &[root], (&pending, &name), now()).unwrap_err();
    assert!(matches!(&fault, IssueFault::Unfit(why) if why.contains("none of the authorities")), "{fault}");
}
