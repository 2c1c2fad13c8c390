//! A throw-away PKI: an authority that lives as long as its value, and certificates in a folder.
//! Also the wrong ones: expired, for another name, from another authority (a second [`Pki`]).

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use time::{Duration, OffsetDateTime};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// PEM file with the certificate.
    pub certificate: PathBuf,
    /// PEM file with the key.
    pub key: PathBuf,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// From yesterday, for 90 days.
    Now,
    /// Until ten days ago.
    Expired,
    /// From ten days ahead.
    Future,
}

/// The authority and its folder.
pub struct Pki {
    folder: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    /// Makes an authority and writes its certificate to `ca.pem` in the folder, which is made if need
    /// be.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make folder {}", folder.display()))?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Wardline lab authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, Validity::Now);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        write(&folder.join("ca.pem"), &authority.pem())?;
        Ok(Self { folder: folder.to_owned(), authority })
    }

    /// The authority's certificate.
    pub fn authorities(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for a server with these names and addresses, as `{name}.pem` and `{name}.key`.
    pub fn server(&self, name: &str, hosts: &[&str], validity: Validity) -> anyhow::Result<Pair> {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        self.issue(name, CertificateParams::new(hosts)?, ExtendedKeyUsagePurpose::ServerAuth, validity)
    }

    /// A certificate for a client; `name` is its common name. As `{name}.pem` and `{name}.key`.
    pub fn client(&self, name: &str, validity: Validity) -> anyhow::Result<Pair> {
        self.issue(name, CertificateParams::default(), ExtendedKeyUsagePurpose::ClientAuth, validity)
    }

    /// A revocation list of the authority that takes these back, in DER: made and running out so many days from now.
    pub fn revocation_list(&self, revoked: &[&Pair], (made, ends): (i64, i64)) -> anyhow::Result<Vec<u8>> {
        let at = |days| OffsetDateTime::now_utc() + Duration::days(days);
        let revoked = revoked.iter().map(|pair| {
            let certificate = CertificateDer::from_pem_file(&pair.certificate)?;
            let certificate = Certificate::from_der(&certificate)?;
            let serial = certificate.tbs_certificate().serial_number();
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial.as_bytes()),
                revocation_time: at(made),
                reason_code: None,
                invalidity_date: None,
            })
        });
        let params = CertificateRevocationListParams {
            this_update: at(made),
            next_update: at(ends),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect::<anyhow::Result<_>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.authority)?.der().to_vec())
    }

    fn issue(
        &self,
        name: &str,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
        validity: Validity,
    ) -> anyhow::Result<Pair> {
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, validity);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.authority)?;
        let pair = Pair {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
        };
        write(&pair.certificate, &certificate.pem())?;
        write(&pair.key, &key.serialize_pem())?;
        Ok(pair)
    }
}

fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let now = OffsetDateTime::now_utc();
    let (from, until) = match validity {
        Validity::Now => (-1, 90),
        Validity::Expired => (-100, -10),
        Validity::Future => (10, 100),
    };
    params.not_before = now + Duration::days(from);
    params.not_after = now + Duration::days(until);
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
