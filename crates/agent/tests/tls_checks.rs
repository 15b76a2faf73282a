//! Checks that speak TLS, against servers whose certificate was made for the test: trusted by nobody, by
//! this machine, or by those who do not look.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{House, scripts_allowed};
use muster_health::check::Observation;
use muster_model::definition::{Rule, TlsOptions};
use muster_model::{Status, Text};
use muster_world::{Files, Memory, Real};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

/// The name in the certificate.
const NAME: &str = "web.test";

/// A server, and the certificate that it shows.
struct Server {
    address: SocketAddr,
    certificate: String,
}

/// Takes connections, each a stream of `talk`'s after its handshake.
async fn serve<F, T>(protocol: &[u8], talk: F) -> Server
where
    F: Fn(TlsStream<TcpStream>) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us hangs up in the handshake.
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(talk(stream));
            }
        }
    });
    Server { address, certificate: made.cert.pem() }
}

async fn web() -> Server {
    serve(b"http/1.1", |mut stream| async move {
        let mut request = vec![0; 4_096];
        let _ = stream.read(&mut request).await;
        let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nall well";
        let _ = stream.write_all(reply).await;
        let _ = stream.shutdown().await;
    })
    .await
}

/// gRPC's health protocol, always SERVING.
async fn grpc() -> Server {
    serve(b"h2", |stream| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let head = http::Response::builder().header("content-type", "application/grpc");
            let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
            let frame = bytes::Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]);
            body.send_data(frame, false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            body.send_trailers(trailers).unwrap();
        }
    })
    .await
}

/// A world whose system trusts this certificate, and nothing else.
fn world_that_trusts(certificate: &str) -> Arc<Real> {
    let disk = Memory::new();
    let bundle = Path::new("/etc/ssl/certs/ca-certificates.crt");
    let files: &dyn Files = &disk;
    files.create_folder(bundle.parent().unwrap()).unwrap();
    files.replace(bundle, certificate.as_bytes()).unwrap();
    Arc::new(Real::with_files(Arc::new(disk)))
}

async fn found(world: Arc<Real>, rule: Rule) -> Observation {
    let mut house = House::new(world, scripts_allowed());
    house.run(rule, Duration::from_secs(5));
    house.next().await
}

fn tls(server_name: &str, skip_verify: bool) -> TlsOptions {
    TlsOptions { server_name: server_name.into(), skip_verify }
}

/// Each kind of check that speaks TLS, with a server for it.
async fn kinds() -> Vec<(Server, fn(SocketAddr, TlsOptions) -> Rule)> {
    let https: fn(SocketAddr, TlsOptions) -> Rule = |address, tls| Rule::Http {
        url: format!("https://{address}/").into(),
        method: Text::default(),
        headers: Vec::new(),
        body: Text::default(),
        disable_redirects: false,
        tls,
    };
    let tcp: fn(SocketAddr, TlsOptions) -> Rule =
        |address, tls| Rule::Tcp { address: address.to_string().into(), use_tls: true, tls };
    let health: fn(SocketAddr, TlsOptions) -> Rule =
        |address, tls| Rule::Grpc { target: address.to_string().into(), use_tls: true, tls };
    let ping: fn(SocketAddr, TlsOptions) -> Rule =
        |address, tls| Rule::H2ping { address: address.to_string().into(), use_tls: true, tls };
    vec![(web().await, https), (web().await, tcp), (grpc().await, health), (grpc().await, ping)]
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_critical_unless_nobody_looks() {
    for (server, rule) in kinds().await {
        let found_by = |tls| found(Arc::new(Real::new()), rule(server.address, tls));
        let refused = found_by(tls(NAME, false)).await;
        assert_eq!(refused.status, Status::Critical, "{}", refused.output);
        assert!(refused.output.contains("invalid peer certificate"), "{}", refused.output);
        let taken = found_by(tls("", true)).await;
        assert_eq!(taken.status, Status::Passing, "{}", taken.output);
    }
}

#[tokio::test]
async fn a_certificate_is_looked_at_for_the_name_that_is_expected() {
    for (server, rule) in kinds().await {
        let world = world_that_trusts(&server.certificate);
        let found_by = |tls| found(world.clone(), rule(server.address, tls));
        let taken = found_by(tls(NAME, false)).await;
        assert_eq!(taken.status, Status::Passing, "{}", taken.output);
        let other = found_by(tls("other.test", false)).await;
        assert_eq!(other.status, Status::Critical, "{}", other.output);
        let by_address = found_by(tls("", false)).await;
        assert_eq!(by_address.status, Status::Critical, "{}", by_address.output);
    }
}
