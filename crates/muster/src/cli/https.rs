//! https for the commands: what flags and environment say about whom to trust and what to show.
//!
//! The names are Consul's (`-ca-file` or `CONSUL_CACERT`, ...), and so is their order: a flag before the
//! environment, a file of roots before a folder of them, and both before what the machine trusts.

use std::io;
use std::path::Path;

use muster_agent::tls::{CERTIFICATES_BYTES_MAX, OwnCertificate, Roots, TlsClient, Trust};
use muster_world::{Real, Stream, World};

use super::client::{ClientFlags, environment};
use super::{Failure, files};

/// How an agent is spoken to over https.
#[derive(Debug, Clone)]
pub struct Https {
    client: TlsClient,
    /// The name that is expected in its certificate.
    name: String,
}

/// Whether the agent at an address is to be asked over https: the address says so, or
/// `CONSUL_HTTP_SSL`.
pub fn is_wanted(address: &str) -> Result<bool, Failure> {
    Ok(address.starts_with("https://") || switch("HTTP_SSL")?.unwrap_or(false))
}

impl Https {
    /// What flags and environment say, for an agent on this host.
    pub fn new(flags: &ClientFlags, host: &str) -> Result<Https, Failure> {
        let or = |flag: &Option<String>, name| flag.clone().or_else(|| environment(name));
        let read = |path: &str| files::read(Path::new(path), CERTIFICATES_BYTES_MAX);
        let chain = or(&flags.client_cert, "CLIENT_CERT").map(|path| read(&path)).transpose()?;
        let key = or(&flags.client_key, "CLIENT_KEY").map(|path| read(&path)).transpose()?;
        let own = match (&chain, &key) {
            (Some(chain), Some(key)) => Some(OwnCertificate { chain, key }),
            (None, None) => None,
            _ => {
                return Err(Failure::new(
                    "a client certificate and its key go together: name both, with -client-cert and \
                     -client-key or CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY",
                ));
            }
        };
        let trust = match switch("HTTP_SSL_VERIFY")? {
            Some(false) => Trust::Anyone,
            _ => Trust::Roots(roots(or(&flags.ca_file, "CACERT"), or(&flags.ca_path, "CAPATH"))?),
        };
        let client = TlsClient::new(trust, own, b"http/1.1").map_err(|error| {
            Failure::new(format!("the client certificate or its key cannot be used: {error}"))
        })?;
        let name = or(&flags.tls_server_name, "TLS_SERVER_NAME");
        Ok(Https { client, name: name.unwrap_or_else(|| host.to_owned()) })
    }

    /// Speaks TLS over a connection.
    pub async fn secure(&self, stream: Stream) -> io::Result<Stream> {
        self.client.secure(stream, &self.name).await
    }
}

/// The roots in a file, else in a folder, else those of this machine.
fn roots(file: Option<String>, folder: Option<String>) -> Result<Roots, Failure> {
    let unusable = |path: &str, error: io::Error| {
        Failure::new(format!("{path}: no roots to trust can be read from it: {error}"))
    };
    if let Some(path) = file {
        let pem = files::read(Path::new(&path), CERTIFICATES_BYTES_MAX)?;
        return Roots::from_pem(&pem).map_err(|error| unusable(&path, error));
    }
    if let Some(folder) = folder {
        let mut pem = Vec::new();
        for path in files::in_folder(Path::new(&folder))? {
            pem.extend(files::read(&path, CERTIFICATES_BYTES_MAX)?);
            pem.push(b'\n');
        }
        return Roots::from_pem(&pem).map_err(|error| unusable(&folder, error));
    }
    Ok(Roots::of_system(Real::new().files()))
}

/// A yes or no of the environment, as Go reads it.
fn switch(name: &str) -> Result<Option<bool>, Failure> {
    let Some(value) = environment(name) else { return Ok(None) };
    match value.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
        other => Err(Failure::new(format!("CONSUL_{name}: {other:?} is neither true nor false"))),
    }
}
