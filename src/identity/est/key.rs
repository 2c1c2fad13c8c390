//! A new key and the request for its certificate (PKCS#10, RFC 2986), signed by that key.
//!
//! ECDSA on P-256 with SHA-256. The key is made here, and kept in a file, or in a token, and its name is kept.
//! The names of the first request are those of the configuration; those of a
//! renewal must be those of the present certificate (RFC 7030 section 4.2.2).

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use x509_cert::Certificate;
use x509_cert::attr::{Attribute, Attributes};
use x509_cert::der::asn1::{Any, BitString, Ia5String, ObjectIdentifier, OctetString, SetOfVec};
use x509_cert::der::flagset::FlagSet;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{self, Decode as _, Encode, pem};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName};
use x509_cert::name::Name as Subject;
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};
use x509_cert::spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};
use zeroize::Zeroizing;

use super::EstError;
use crate::envelope::keys::TokenKey;
use crate::identity::name::Name;
use crate::uplink::tls::token::{name_line, named_in};

/// `id-ecPublicKey` and `secp256r1`, RFC 5480 section 2.1.1.
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// `ecdsa-with-SHA256`, RFC 5758 section 3.2.
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// `id-kp-clientAuth`, RFC 5280 section 4.2.1.12.
pub(super) const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

const KEY_LABEL: &str = "PRIVATE KEY";
const NOT_SIGNED: &str = "the request cannot be signed";
const REQUEST_LABEL: &str = "CERTIFICATE REQUEST";

/// What a certificate is to say of who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    subject: Subject,
    /// The value of the extension.
    alternative: Vec<u8>,
}

impl Names {
    /// Those of the configuration.
    pub fn of(name: &Name) -> der::Result<Self> {
        let subject = format!("CN={}", name.gateway).parse()?;
        let uri = GeneralName::UniformResourceIdentifier(Ia5String::new(&name.uri())?);
        Ok(Self { subject, alternative: SubjectAltName(vec![uri]).to_der()? })
    }

    /// Those of a certificate, as they stand in it.
    pub fn from_certificate(certificate: &[u8]) -> der::Result<Self> {
        let certificate = Certificate::from_der(certificate)?;
        let tbs = certificate.tbs_certificate();
        let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
        let alternative = extensions.iter().find(|extension| extension.extn_id == SubjectAltName::OID);
        let alternative = alternative.map(|extension| extension.extn_value.as_bytes().to_vec());
        Ok(Self { subject: tbs.subject().clone(), alternative: alternative.unwrap_or_default() })
    }
}

/// Where the private half is.
enum Private {
    /// Here: PKCS#8.
    Here(Zeroizing<Vec<u8>>),
    /// In a token.
    InToken(TokenKey),
}

/// A key and the request for its certificate: what must be kept while the server decides, as the same request
/// has to be sent again (RFC 7030 section 4.2.3).
pub struct Pending {
    key: Private,
    point: Vec<u8>,
    request: Vec<u8>,
}

impl Pending {
    /// A new key, and its request.
    pub fn make(names: &Names) -> Result<Self, EstError> {
        let random = SystemRandom::new();
        let no_random = |_| EstError::Key("the system gives no random numbers");
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(no_random)?;
        let key = Zeroizing::new(key.as_ref().to_vec());
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key, &random)
            .map_err(|_| EstError::Key("the new key cannot be read back"))?;
        let point = pair.public_key().as_ref().to_vec();
        let request = request(names, &point, |message| {
            let signature = pair.sign(&random, message).map_err(|_| EstError::Key(NOT_SIGNED))?;
            Ok(signature.as_ref().to_vec())
        })?;
        Ok(Self { key: Private::Here(key), point, request })
    }

    /// A new key in a token under this name, and its request.
    pub fn make_in_token(names: &Names, key: TokenKey) -> Result<Self, EstError> {
        let point = key.make_pair().map_err(EstError::Token)?;
        let request = request(names, &point, |message| key.sign(message).map_err(EstError::Token))?;
        Ok(Self { key: Private::InToken(key), point, request })
    }

    /// What [`Pending::to_pem`] wrote.
    pub fn from_pem(text: &[u8]) -> Result<Self, EstError> {
        let damaged = EstError::Key("the key of the request that waits is damaged");
        let Ok(request) = CertificateSigningRequestDer::from_pem_slice(text) else { return Err(damaged) };
        if let Some(key) = named_in(text) {
            let (Ok(key), Ok(read)) = (key, CertReq::from_der(&request)) else { return Err(damaged) };
            let point = read.info.public_key.subject_public_key.raw_bytes().to_vec();
            return Ok(Self { key: Private::InToken(key), point, request: request.to_vec() });
        }
        let Ok(key) = PrivatePkcs8KeyDer::from_pem_slice(text) else { return Err(damaged) };
        let key = Zeroizing::new(key.secret_pkcs8_der().to_vec());
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key, &SystemRandom::new());
        let Ok(pair) = pair else { return Err(damaged) };
        let point = pair.public_key().as_ref().to_vec();
        Ok(Self { key: Private::Here(key), point, request: request.to_vec() })
    }

    /// Whether it asks for these names and no others.
    pub fn is_for(&self, names: &Names) -> bool {
        let read = CertReq::from_der(&self.request).ok();
        let asked =
            read.and_then(|request| info(names, &self.point).ok().map(|wanted| (request.info, wanted)));
        asked.is_some_and(|(found, wanted)| found == wanted)
    }

    /// Key and request.
    pub fn to_pem(&self) -> Result<Zeroizing<Vec<u8>>, EstError> {
        let mut text = self.key_pem()?;
        text.extend(to_pem(REQUEST_LABEL, &self.request)?.iter());
        Ok(text)
    }

    /// Its name in its token, where it is in one.
    pub const fn token(&self) -> Option<&TokenKey> {
        match &self.key {
            Private::Here(_) => None,
            Private::InToken(key) => Some(key),
        }
    }

    /// The pair: the key, or its name, and the chain that was issued for it.
    pub fn pair_pem(&self, chain: &[impl AsRef<[u8]>]) -> Result<Zeroizing<Vec<u8>>, EstError> {
        let mut text = self.key_pem()?;
        for certificate in chain {
            text.extend(to_pem("CERTIFICATE", certificate.as_ref())?.iter());
        }
        Ok(text)
    }

    /// The request, DER.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// The public key as a certificate holds it: an uncompressed point.
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    fn key_pem(&self) -> Result<Zeroizing<Vec<u8>>, EstError> {
        match &self.key {
            Private::Here(key) => to_pem(KEY_LABEL, key),
            Private::InToken(key) => Ok(Zeroizing::new(name_line(key).into_bytes())),
        }
    }
}

/// PEM of any bytes.
pub(in crate::identity) fn to_pem(label: &str, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, EstError> {
    pem::encode_string(label, LineEnding::LF, bytes)
        .map(|text| Zeroizing::new(text.into_bytes()))
        .map_err(|_| EstError::Key("it cannot be written as PEM"))
}

/// The request, signed.
fn request(
    names: &Names,
    point: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, EstError>,
) -> Result<Vec<u8>, EstError> {
    let info = info(names, point).map_err(|_| EstError::Key("a name does not fit into a request"))?;
    let signature = sign(&info.to_der().map_err(|_| EstError::Key(NOT_SIGNED))?)?;
    let algorithm = AlgorithmIdentifier { oid: ECDSA_SHA256, parameters: None };
    let signed = BitString::from_bytes(&signature);
    signed
        .and_then(|signature| CertReq { info, algorithm, signature }.to_der())
        .map_err(|_| EstError::Key(NOT_SIGNED))
}

fn info(names: &Names, point: &[u8]) -> der::Result<CertReqInfo> {
    let usage = KeyUsage(FlagSet::from(KeyUsages::DigitalSignature)).to_der()?;
    let purpose = ExtendedKeyUsage(vec![CLIENT_AUTH]).to_der()?;
    let mut extensions =
        vec![extension(KeyUsage::OID, true, usage)?, extension(ExtendedKeyUsage::OID, false, purpose)?];
    if !names.alternative.is_empty() {
        // Critical where there is no subject: RFC 5280 section 4.2.1.6.
        let critical = names.subject.is_empty();
        extensions.push(extension(SubjectAltName::OID, critical, names.alternative.clone())?);
    }
    let attribute = Attribute::try_from(ExtensionReq(extensions))?;
    let public_key = SubjectPublicKeyInfo {
        algorithm: AlgorithmIdentifier { oid: EC_PUBLIC_KEY, parameters: Some(Any::from(P256)) },
        subject_public_key: BitString::from_bytes(point)?,
    };
    let attributes: Attributes = SetOfVec::try_from(vec![attribute])?;
    Ok(CertReqInfo { version: Version::V1, subject: names.subject.clone(), public_key, attributes })
}

fn extension(extn_id: ObjectIdentifier, critical: bool, value: Vec<u8>) -> der::Result<Extension> {
    Ok(Extension { extn_id, critical, extn_value: OctetString::new(value)? })
}
