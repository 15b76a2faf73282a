//! Sockets and TLS for every kind of check: names resolved, streams opened through `World`.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use muster_model::definition::TlsOptions;
use muster_world::{Address, Stream, World, blocking};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
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
/// Bytes of such a file.
const ROOTS_BYTES_MAX: u64 = 16 << 20;

/// Opens streams for checks.
pub(super) struct Dial {
    pub(super) world: Arc<dyn World>,
    provider: Arc<CryptoProvider>,
    /// Read at the first check that verifies a certificate.
    roots: OnceLock<Arc<RootCertStore>>,
}

/// How TLS is spoken on a stream.
pub(super) struct Tls<'a> {
    /// What the check's author chose.
    pub(super) options: &'a TlsOptions,
    /// The protocol to agree on, or none.
    pub(super) protocol: &'static [u8],
}

impl Dial {
    pub(super) fn new(world: Arc<dyn World>) -> Dial {
        Dial { world, provider: Arc::new(ring::default_provider()), roots: OnceLock::new() }
    }

    /// The addresses of `host:port`.
    pub(super) async fn resolve(&self, target: &str) -> io::Result<Vec<SocketAddr>> {
        match target.parse() {
            Ok(address) => Ok(vec![address]),
            Err(_) => self.world.resolve(target).await,
        }
    }

    /// A stream to the first address that takes one.
    pub(super) async fn connect(&self, addresses: &[SocketAddr]) -> io::Result<Stream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match self.world.connect(&Address::Inet(*address)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
            }
        }
        Err(last)
    }

    /// A stream to `host:port`, with TLS if wished.
    pub(super) async fn open(&self, target: &str, tls: Option<Tls<'_>>) -> io::Result<Stream> {
        let stream = self.connect(&self.resolve(target).await?).await?;
        match tls {
            Some(tls) => self.secure(stream, host_of(target), tls).await,
            None => Ok(stream),
        }
    }

    /// Speaks TLS over a stream.
    pub(super) async fn secure(
        &self,
        stream: Stream,
        host: &str,
        tls: Tls<'_>,
    ) -> io::Result<Stream> {
        let own = &tls.options.server_name;
        let name = if own.is_empty() { host } else { own };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let mut config = match tls.options.skip_verify {
            true => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyServer(self.provider.clone())))
                .with_no_client_auth(),
            false => builder.with_root_certificates(self.roots().await).with_no_client_auth(),
        };
        if !tls.protocol.is_empty() {
            config.alpn_protocols = vec![tls.protocol.to_vec()];
        }
        Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }

    async fn roots(&self) -> Arc<RootCertStore> {
        if let Some(roots) = self.roots.get() {
            return roots.clone();
        }
        let world = self.world.clone();
        let read = blocking(&*self.world, move || Arc::new(system_roots(&*world))).await;
        let roots = read.unwrap_or_else(|| Arc::new(RootCertStore::empty()));
        self.roots.get_or_init(|| roots).clone()
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
pub(super) fn host_of(target: &str) -> &str {
    let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn system_roots(world: &dyn World) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for path in SYSTEM_ROOTS {
        let Ok(bundle) = world.files().read(Path::new(path), ROOTS_BYTES_MAX) else { continue };
        let certificates = CertificateDer::pem_slice_iter(&bundle).flatten();
        roots.add_parsable_certificates(certificates);
        break;
    }
    roots
}

/// Takes any certificate: for checks whose author said so.
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
