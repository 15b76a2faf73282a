//! The built-in certificate authority: makes roots, and is the one place that signs.
//!
//! A root is an ECDSA P-256 key with a self-signed certificate for the cluster's trust domain,
//! `spiffe://<cluster id>.consul` (SPIFFE ID, section 2), so that clients of the service mesh accept
//! it. The leader makes the first root when there is none and puts it into the replicated state,
//! from where its key never leaves in an answer.
//!
//! The key comes from the entropy of the operating system and not from the agent's seed: a
//! simulation that is to repeat itself runs without an authority.

use std::time::Duration;

use muster_model::Text;
use muster_model::ca::CaRoot;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};
use time::OffsetDateTime;

/// How long a root holds.
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How far a root's beginning is set back, for clocks that are behind ours.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Makes a root for a cluster at a moment of the wall clock.
///
/// # Errors
/// Says what the certificate library refused; only an odd cluster id can make it.
pub(crate) fn make_root(cluster_id: &str, serial: u64, now: Duration) -> Result<CaRoot, String> {
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let not_before = now.saturating_sub(CLOCK_TOLERANCE).as_secs();
    let not_after = (now + ROOT_LIFETIME).as_secs();
    let params = root_params(cluster_id, serial, not_before, not_after)?;
    let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
    Ok(CaRoot {
        id: fingerprint(certificate.der()),
        name: "Muster CA Root Cert".into(),
        serial,
        cluster_id: cluster_id.into(),
        certificate: certificate.pem().into(),
        key: key.serialize_pem().into(),
        not_before,
        not_after,
        is_active: true,
        key_id: hexadecimal(&params.key_identifier(&key)),
    })
}

fn root_params(
    cluster_id: &str,
    serial: u64,
    not_before: u64,
    not_after: u64,
) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::default();
    params.not_before = moment(not_before)?;
    params.not_after = moment(not_after)?;
    params.serial_number = Some(SerialNumber::from(serial));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let trust_domain = format!("spiffe://{cluster_id}.consul");
    let uri = trust_domain.try_into().map_err(|_| "the cluster id is not ASCII".to_string())?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    let short: String = cluster_id.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("muster-{serial}.ca.{short}"));
    Ok(params)
}

fn moment(seconds: u64) -> Result<OffsetDateTime, String> {
    let seconds = i64::try_from(seconds).map_err(|error| error.to_string())?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| error.to_string())
}

/// The first 20 bytes of the certificate's SHA-256, in the form in which roots are named.
fn fingerprint(der: &[u8]) -> Text {
    use sha2::Digest;
    hexadecimal(&sha2::Sha256::digest(der)[..20])
}

/// Lower-case hexadecimal with colons between the bytes.
fn hexadecimal(bytes: &[u8]) -> Text {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_names_its_trust_domain_and_hides_its_key() {
        let now = Duration::from_secs(1_800_000_000);
        let root = make_root("11111111-2222-3333-4444-555555555555", 7, now).unwrap();
        assert!(root.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        assert_eq!(root.id.len(), 20 * 3 - 1);
        assert!(root.key_id.contains(':'));
        assert!(root.not_before < now.as_secs() && now.as_secs() < root.not_after);
        assert!(!root.key.is_empty());
        assert!(root.without_key().key.is_empty());
        assert!(!format!("{root:?}").contains("PRIVATE"));
    }
}
