//! TLS as a client: whom it trusts, what it shows of itself, and a stream made from a stream.
//!
//! For everything here that opens connections to what others run: checks, handlers of watches, the
//! commands. Certificates come as PEM, because that is what people have; the provider is `ring`
//! everywhere, so no default of the process is ever set.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use muster_world::{Files, Stream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Where systems keep the certificates they trust; the first that is there is taken.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Bytes of a file of certificates.
pub const CERTIFICATES_BYTES_MAX: u64 = 16 << 20;

/// Certificates that others may be signed by.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

/// Whose certificate will do.
#[derive(Clone, Debug)]
pub enum Trust {
    /// One that leads to these roots and has the expected name.
    Roots(Roots),
    /// Anybody's: for who said so.
    Anyone,
}

/// A certificate with its chain, and its key, both as PEM.
#[derive(Clone, Copy)]
pub struct OwnCertificate<'a> {
    /// The certificate, then those that lead to its root.
    pub chain: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
}

/// Makes secure streams of plain ones. Clones share everything.
#[derive(Clone)]
pub struct TlsClient(Arc<ClientConfig>);

impl Roots {
    /// Those that this machine trusts; none where its files are nowhere to be found. Blocks.
    pub fn of_system(files: &dyn Files) -> Roots {
        let mut roots = RootCertStore::empty();
        for path in SYSTEM_ROOTS {
            let Ok(bundle) = files.read(Path::new(path), CERTIFICATES_BYTES_MAX) else { continue };
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).flatten());
            break;
        }
        Roots(Arc::new(roots))
    }

    /// Those in a PEM file.
    ///
    /// # Errors
    /// If it holds none, or one that cannot be read: whoever named it must name another.
    pub fn from_pem(pem: &[u8]) -> io::Result<Roots> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(unusable)?;
            roots.add(certificate).map_err(unusable)?;
        }
        match roots.is_empty() {
            true => Err(unusable("there is no certificate in it")),
            false => Ok(Roots(Arc::new(roots))),
        }
    }
}

impl TlsClient {
    /// A client that agrees on this protocol (ALPN), or none where it is empty.
    ///
    /// # Errors
    /// If its own certificate cannot be used: whoever named it must name another.
    pub fn new(
        trust: Trust,
        own: Option<OwnCertificate<'_>>,
        protocol: &[u8],
    ) -> io::Result<TlsClient> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match trust {
            Trust::Roots(Roots(roots)) => builder.with_root_certificates(roots),
            Trust::Anyone => {
                let anyone = Arc::new(AnyServer(provider));
                builder.dangerous().with_custom_certificate_verifier(anyone)
            }
        };
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(own.chain).collect();
                let key = PrivateKeyDer::from_pem_slice(own.key).map_err(unusable)?;
                builder.with_client_auth_cert(chain.map_err(unusable)?, key).map_err(unusable)?
            }
        };
        if !protocol.is_empty() {
            config.alpn_protocols = vec![protocol.to_vec()];
        }
        Ok(TlsClient(Arc::new(config)))
    }

    /// Speaks TLS over a stream to whom this name belongs: a host name or an IP address.
    ///
    /// # Errors
    /// If the name is none, or the other is not trusted or does not speak TLS.
    pub async fn secure(&self, stream: Stream, name: &str) -> io::Result<Stream> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(self.0.clone()).connect(name, stream).await?))
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
    }
}

fn unusable(why: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

/// Takes any certificate.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_no_roots_and_one_with_them_is() {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        assert!(Roots::from_pem(made.cert.pem().as_bytes()).is_ok());
        assert!(Roots::from_pem(b"hello").is_err());
        assert!(Roots::from_pem(b"-----BEGIN CERTIFICATE-----\n????\n").is_err());
    }

    #[test]
    fn an_own_certificate_needs_its_key() {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let client = |chain: &str, key: &str| {
            let own = OwnCertificate { chain: chain.as_bytes(), key: key.as_bytes() };
            TlsClient::new(Trust::Anyone, Some(own), b"")
        };
        assert!(client(&chain, &key).is_ok());
        assert!(client(&chain, "").is_err());
        let other = rcgen::generate_simple_self_signed(["b.test".to_owned()]).unwrap();
        assert!(client(&chain, &other.signing_key.serialize_pem()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(pem in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Roots::from_pem(&pem);
            let own = OwnCertificate { chain: &pem, key: &pem };
            let _ = TlsClient::new(Trust::Anyone, Some(own), b"");
        }
    }
}
