//! A throw-away certificate authority for upstreams, and client configurations that trust it.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A certificate authority that lives as long as its test.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate chain and its key.
#[derive(Debug)]
pub struct Identity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: PrivateKeyDer<'static>,
}

/// When a certificate is valid, in whole days from today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First day.
    pub from_days: i32,
    /// Last day.
    pub to_days: i32,
}

impl Validity {
    /// Yesterday until in a month.
    pub const CURRENT: Self = Self {
        from_days: -1,
        to_days: 30,
    };
    /// From in ten days on.
    pub const FUTURE: Self = Self {
        from_days: 10,
        to_days: 40,
    };
    /// Over since ten days.
    pub const EXPIRED: Self = Self {
        from_days: -40,
        to_days: -10,
    };
}

impl TestCa {
    /// Makes an authority with a name of its own.
    ///
    /// # Panics
    /// When the certificate cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key pair");
        let id: String = hex::encode(key.public_key_raw())
            .chars()
            .rev()
            .take(8)
            .collect();
        let mut params = dated(Validity::CURRENT);
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Test Upstream CA {id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("a root certificate"),
        }
    }

    /// The root certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a server certificate for `names` (DNS names and IP addresses).
    ///
    /// # Panics
    /// When a name is neither.
    #[must_use]
    pub fn issue(&self, names: &[String], validity: Validity) -> Identity {
        self.sign(&leaf(names, validity))
    }

    /// Issues a certificate for `names` that is meant for clients, not for servers.
    ///
    /// # Panics
    /// When a name is neither a DNS name nor an IP address.
    #[must_use]
    pub fn issue_for_clients(&self, names: &[String]) -> Identity {
        let mut params = leaf(names, Validity::CURRENT);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key pair");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a leaf certificate");
        Identity {
            chain: vec![certificate.der().clone()],
            key: key_der(&key),
        }
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// A certificate for `names` that signed itself, so that nobody trusts it.
    ///
    /// # Panics
    /// When a name is neither a DNS name nor an IP address.
    #[must_use]
    pub fn self_signed(names: &[String]) -> Self {
        let key = KeyPair::generate().expect("a key pair");
        let certificate = leaf(names, Validity::CURRENT)
            .self_signed(&key)
            .expect("a certificate");
        Self {
            chain: vec![certificate.der().clone()],
            key: key_der(&key),
        }
    }

    /// Chain and key as PEM, for programs that read files.
    #[must_use]
    pub fn to_pem(&self) -> (String, String) {
        let chain = self.chain.iter().map(|der| pem("CERTIFICATE", der));
        (chain.collect(), pem("PRIVATE KEY", self.key.secret_der()))
    }

    /// A server configuration that offers `alpn`, best first.
    ///
    /// # Panics
    /// When key and certificate do not fit.
    #[must_use]
    pub fn server_config(self, alpn: &[&str]) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .expect("a key that fits its certificate");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// A client configuration that trusts exactly the roots in `pem` and offers `alpn`, best first.
///
/// # Panics
/// When `pem` holds no valid certificate.
#[must_use]
pub fn client_config(pem: &str, alpn: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots
            .add(certificate.expect("a PEM certificate"))
            .expect("a root certificate");
    }
    assert!(!roots.is_empty(), "no certificate in the PEM");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

fn leaf(names: &[String], validity: Validity) -> CertificateParams {
    let mut params = dated(validity);
    if let Some(first) = names.first() {
        params
            .distinguished_name
            .push(DnType::CommonName, first.as_str());
    }
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse::<IpAddr>() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(name.as_str().try_into().expect("a DNS name")),
        })
        .collect();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

fn dated(validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let (year, month, first) = day(validity.from_days);
    params.not_before = date_time_ymd(year, month, first);
    let (year, month, last) = day(validity.to_days);
    params.not_after = date_time_ymd(year, month, last);
    params
}

/// Calendar day `offset` days from today, in UTC.
fn day(offset: i32) -> (i32, u8, u8) {
    let date = Timestamp::now()
        .to_zoned_datetime(TimeZone::UTC)
        .date()
        .checked_add(offset.days())
        .expect("a date in our time");
    (
        date.year().into(),
        date.month().unsigned_abs(),
        date.day().unsigned_abs(),
    )
}

fn key_der(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}
