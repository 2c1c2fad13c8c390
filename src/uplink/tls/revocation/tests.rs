#![cfg(feature = "lab")]

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::CertificateError;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use time::{Duration, OffsetDateTime};

use super::*;

/// The serial number of the broker's certificate.
const BROKER: u64 = 7;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn broker(&self) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["mqtt.example".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(BROKER));
        params.use_authority_key_identifier_extension = true;
        params.signed_by(&KeyPair::generate().unwrap(), &self.0).unwrap().der().clone()
    }

    /// A list that names this serial number and runs out so many days from now.
    fn list(&self, revoked: u64, days: i64) -> CertificateRevocationListDer<'static> {
        let now = OffsetDateTime::now_utc();
        let params = CertificateRevocationListParams {
            this_update: now - Duration::days(30),
            next_update: now + Duration::days(days),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(revoked),
                revocation_time: now - Duration::days(1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().der().clone()
    }
}

fn revocation(list: CertificateRevocationListDer<'static>, rule: Rule) -> Revocation {
    Revocation::new(vec![list], rule, Path::new("bundle")).unwrap()
}

/// What is said to the broker of this authority.
fn verdict(authority: &Authority, revocation: &Revocation) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let name = ServerName::try_from("mqtt.example").unwrap();
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.try_into().unwrap()));
    let verifier = revocation.verifier(roots).unwrap();
    verifier.verify_server_cert(&authority.broker(), &[], &name, &[], now).map(|_| ())
}

fn refused(error: CertificateError) -> Result<(), rustls::Error> {
    Err(rustls::Error::InvalidCertificate(error))
}

#[test]
fn a_revoked_broker_and_one_that_no_list_speaks_of_are_refused() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    for rule in [Rule::Enforce, Rule::EnforceContent] {
        assert_eq!(verdict(&ours, &revocation(ours.list(99, 7), rule)), Ok(()));
        let revoked = verdict(&ours, &revocation(ours.list(BROKER, 7), rule));
        assert_eq!(revoked, refused(CertificateError::Revoked), "{rule:?}");
        let unknown = verdict(&ours, &revocation(other.list(99, 7), rule));
        assert_eq!(unknown, refused(CertificateError::UnknownRevocationStatus), "{rule:?}");
    }
    // Somebody else's list in our authority's name.
    let forged = Authority::new("ours").list(99, 7);
    let forged = verdict(&ours, &revocation(forged, Rule::EnforceContent));
    assert!(matches!(forged, Err(rustls::Error::InvalidCertRevocationList(_))), "{forged:?}");
}

#[test]
fn a_list_that_ran_out_stops_the_connection_or_not_as_the_rule_says_and_is_told() {
    let ours = Authority::new("ours");
    let stale = |revoked| ours.list(revoked, -2);
    assert!(matches!(
        verdict(&ours, &revocation(stale(99), Rule::Enforce)),
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredRevocationListContext { .. }))
    ));
    assert_eq!(verdict(&ours, &revocation(stale(99), Rule::EnforceContent)), Ok(()));
    let revoked = verdict(&ours, &revocation(stale(BROKER), Rule::EnforceContent));
    assert_eq!(revoked, refused(CertificateError::Revoked), "what it says still counts");
    let millis = OffsetDateTime::now_utc().unix_timestamp() * 1_000;
    let now = Now { wall: Wall::from_millis(millis), sync: ClockSync::Synced, ..Now::default() };
    let outdated = revocation(stale(99), Rule::Enforce).outdated(now);
    let words = outdated.iter().map(ToString::to_string).collect::<String>();
    assert!(words.contains("CN=ours ran out at") && words.contains("by hand"), "{words}");
    assert!(revocation(ours.list(99, 7), Rule::Enforce).outdated(now).is_empty());
    let unsure = Now { sync: ClockSync::Unsynced, ..now };
    assert!(revocation(stale(99), Rule::Enforce).outdated(unsure).is_empty());
}

#[test]
fn what_is_no_list_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crl.pem");
    let refused = |text: &str| {
        crate::host::atomic_file::write(&path, text.as_bytes()).unwrap();
        Revocation::read(&path, Rule::Enforce).unwrap_err().to_string()
    };
    assert!(refused("").contains("crl.pem") && refused("").contains("no list in it"));
    assert!(refused("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n").contains("revocation list"));
    let text = pem(&Authority::new("ours").list(99, 7));
    crate::host::atomic_file::write(&path, text.as_bytes()).unwrap();
    assert_eq!(Revocation::read(&path, Rule::Enforce).unwrap().lists.len(), 1);
    let list = Authority::new("ours").list(99, 7);
    let cut = CertificateRevocationListDer::from(list[..list.len() - 5].to_vec());
    assert!(refused(&pem(&cut)).contains("revocation list"));
}

fn pem(list: &CertificateRevocationListDer<'static>) -> String {
    use x509_cert::der::pem::{LineEnding, encode_string};
    encode_string("X509 CRL", LineEnding::LF, list.as_ref()).unwrap()
}

/// The verifier asks the first list that fits: an older one must neither stand before a newer one nor beside it.
#[test]
fn of_each_authority_and_scope_the_newest_list_alone_is_asked() {
    let validity = |issuer: &str, scope: Option<u8>, from: i64| Validity {
        issuer: issuer.to_owned(),
        scope: scope.map(|scope| vec![scope]),
        from: Wall::from_millis(from),
        until: None,
    };
    let (old, new, other) = (validity("a", None, 1), validity("a", None, 3), validity("a", Some(7), 2));
    let stranger = validity("b", None, 0);
    for lists in [[&old, &new, &other, &stranger], [&stranger, &other, &new, &old]] {
        let lists = lists.into_iter().map(|validity| (Vec::new().into(), validity.clone())).collect();
        let ordered = Revocation { lists, rule: Rule::Enforce }.in_order();
        let found: Vec<(&str, i64)> =
            ordered.lists.iter().map(|(_, one)| (one.issuer.as_str(), one.from.as_millis())).collect();
        assert_eq!(found, [("a", 3), ("a", 2), ("b", 0)]);
    }
}
