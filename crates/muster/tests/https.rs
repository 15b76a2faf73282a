//! Commands against an agent behind TLS: what flags and environment say is obeyed, and what goes wrong
//! comes with advice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::path::PathBuf;
use std::sync::Arc;

use muster::cli::{Failure, parsed, run};
use muster::config::CalledAs;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// The name in the agent's certificate.
const NAME: &str = "agent.test";
/// What it answers.
const PAIR: &str = r#"[{"Key":"x","Value":"aGk=","Flags":0,"CreateIndex":1,"ModifyIndex":1}]"#;

/// An agent behind TLS that answers everything with one pair, and the files that its
/// clients need.
struct Secure {
    address: String,
    folder: PathBuf,
}

impl Secure {
    /// With a demand for the client's certificate, or without.
    async fn start(name: &str, demands_certificate: bool) -> Secure {
        let own = generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let client = generate_simple_self_signed(["client.test".to_owned()]).unwrap();
        let folder = std::env::temp_dir().join(format!("https-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("roots")).unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
        write("roots/ca.pem", own.cert.pem());
        write("client.pem", client.cert.pem());
        write("client.key", client.signing_key.serialize_pem());
        let acceptor = TlsAcceptor::from(Arc::new(config(&own, &client, demands_certificate)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust us hangs up in the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                let length = PAIR.len();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{PAIR}");
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Secure { address, folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Runs a command with these flags.
    async fn run(&self, flags: &str) -> Result<String, Failure> {
        let line = format!("muster kv get -http-addr=https://{} {flags} x", self.address);
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mut out = Vec::new();
        run(parsed(words).unwrap().command, CalledAs::Muster, &mut out).await?;
        Ok(String::from_utf8(out).unwrap())
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn config(
    own: &CertifiedKey<KeyPair>,
    client: &CertifiedKey<KeyPair>,
    demands_certificate: bool,
) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match demands_certificate {
        false => builder.with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(client.cert.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    builder.with_single_cert(vec![own.cert.der().clone()], key).unwrap()
}

#[tokio::test]
async fn flags_say_whom_to_trust_and_which_name_to_expect() {
    let agent = Secure::start("trust", false).await;
    let (ca, roots) = (agent.file("roots/ca.pem"), agent.file("roots"));
    let name = format!("-tls-server-name={NAME}");
    assert_eq!(agent.run(&format!("-ca-file={ca} {name}")).await.unwrap(), "hi\n");
    assert_eq!(agent.run(&format!("-ca-path={roots} {name}")).await.unwrap(), "hi\n");
    let unnamed = agent.run(&format!("-ca-file={ca}")).await.unwrap_err().to_string();
    assert!(unnamed.contains("not valid for name"), "{unnamed}");
    assert!(unnamed.contains("-tls-server-name"), "{unnamed}");
    let unknown = agent.run(&name).await.unwrap_err().to_string();
    assert!(unknown.contains("UnknownIssuer") && unknown.contains("-ca-file"), "{unknown}");
    let empty = agent.run(&format!("-ca-file={}", agent.file("client.key"))).await.unwrap_err();
    assert!(empty.to_string().contains("no roots to trust"), "{empty}");
}

#[tokio::test]
async fn a_certificate_is_shown_with_its_key_where_one_is_demanded() {
    let agent = Secure::start("own", true).await;
    let (certificate, key) = (agent.file("client.pem"), agent.file("client.key"));
    let trust = format!("-ca-file={} -tls-server-name={NAME}", agent.file("roots/ca.pem"));
    let shown = format!("{trust} -client-cert={certificate} -client-key={key}");
    assert_eq!(agent.run(&shown).await.unwrap(), "hi\n");
    assert!(agent.run(&trust).await.is_err());
    let half = agent.run(&format!("{trust} -client-cert={certificate}")).await.unwrap_err();
    assert!(half.to_string().contains("go together"), "{half}");
}

#[tokio::test]
async fn the_environment_says_the_same_under_consuls_names_and_ours() {
    let agent = Secure::start("environment", true).await;
    let ask = |variables: Vec<(&'static str, String)>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.args(["kv", "get", "x"]).env_clear().envs(variables);
        async move { command.output().await.unwrap() }
    };
    let variables = vec![
        ("CONSUL_HTTP_ADDR", agent.address.clone()),
        ("CONSUL_HTTP_SSL", "true".to_owned()),
        ("CONSUL_CACERT", agent.file("roots/ca.pem")),
        ("CONSUL_TLS_SERVER_NAME", NAME.to_owned()),
        ("CONSUL_CLIENT_CERT", agent.file("client.pem")),
        ("CONSUL_CLIENT_KEY", agent.file("client.key")),
    ];
    let told = ask(variables.clone()).await;
    assert_eq!(String::from_utf8_lossy(&told.stdout), "hi\n", "{told:?}");
    let mut unverified: Vec<_> = variables
        .iter()
        .filter(|(name, _)| !name.contains("CA") && !name.contains("TLS"))
        .cloned()
        .collect();
    unverified.push(("MUSTER_HTTP_SSL_VERIFY", "0".to_owned()));
    let told = ask(unverified).await;
    assert_eq!(String::from_utf8_lossy(&told.stdout), "hi\n", "{told:?}");
    let mut plain = variables;
    plain.push(("MUSTER_HTTP_SSL", "maybe".to_owned()));
    let told = ask(plain).await;
    assert!(String::from_utf8_lossy(&told.stderr).contains("neither true nor false"), "{told:?}");
}
