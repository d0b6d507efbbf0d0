//! One leaf certificate: what stands in it.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;

use crate::key::{P256Key, random_serial};
use crate::name::LeafName;
use crate::validity::Validity;
use crate::{CaError, RootCa};

/// How long a leaf is valid after it was issued: seven days.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a leaf is handed out before a new one is made: one day, so that six days of validity are always left.
pub const LEAF_REUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// Signs a leaf for `name`, and for the address `also`, over the process's leaf key.
///
/// # Errors
/// [`CaError::RootExpired`] when the root cannot vouch for anything any more, [`CaError::Clock`] and
/// [`CaError::Crypto`] as for a root.
pub(crate) fn issue(
    root: &RootCa,
    leaf_key: &P256Key,
    name: &LeafName,
    also: Option<IpAddr>,
    now: Timestamp,
) -> Result<CertificateDer<'static>, CaError> {
    if now >= root.expires_at() {
        return Err(CaError::RootExpired {
            at: root.expires_at(),
        });
    }
    let mut params = CertificateParams::default();
    Validity::around(now, LEAF_LIFETIME, Some(root.expires_at()))?.apply(&mut params);
    params.serial_number = Some(random_serial()?);
    // With an explicit "not a CA" comes the subject key identifier, which RFC 5280 section 4.2.1.2 recommends.
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = vec![name.san()?];
    if let Some(also) = also.map(LeafName::Ip).filter(|also| also != name) {
        params.subject_alt_names.push(also.san()?);
    }
    let mut subject = DistinguishedName::new();
    if let Some(common_name) = name.common_name() {
        subject.push(DnType::CommonName, common_name);
    }
    params.distinguished_name = subject;
    Ok(params.signed_by(leaf_key, root.issuer())?.into())
}
