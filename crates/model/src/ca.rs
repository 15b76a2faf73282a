//! A root of the built-in certificate authority.

use minicbor::{Decode, Encode};

use crate::Text;

/// A root certificate with its key. The key is in no answer: [`CaRoot::without_key`] is what leaves
/// the state.
#[derive(Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct CaRoot {
    /// The fingerprint of the certificate, lower-case hexadecimal with colons.
    #[n(0)]
    pub id: Text,
    /// For people.
    #[n(1)]
    pub name: Text,
    /// The serial number in the certificate.
    #[n(2)]
    pub serial: u64,
    /// The cluster part of the trust domain.
    #[n(3)]
    pub cluster_id: Text,
    /// The certificate in PEM.
    #[n(4)]
    pub certificate: Text,
    /// The private key in PEM, or empty where it was taken out.
    #[n(5)]
    pub key: Text,
    /// Seconds since 1970 from which the certificate holds.
    #[n(6)]
    pub not_before: u64,
    /// Seconds since 1970 until which it holds.
    #[n(7)]
    pub not_after: u64,
    /// Whether it issues now: exactly one root does.
    #[n(8)]
    pub is_active: bool,
    /// The identifier of its key, lower-case hexadecimal with colons.
    #[n(9)]
    pub key_id: Text,
}

impl CaRoot {
    /// The root as it may be shown.
    pub fn without_key(&self) -> CaRoot {
        CaRoot { key: Text::default(), ..self.clone() }
    }
}

impl std::fmt::Debug for CaRoot {
    /// Never shows the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CaRoot({} active={})", self.id, self.is_active)
    }
}
