//! Sockets and TLS for every kind of check: names resolved, streams opened through `World`.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use muster_model::definition::TlsOptions;
use muster_world::{Address, Stream, World, blocking};

use crate::tls::{Roots, TlsClient, Trust};

/// Opens streams for checks.
pub(super) struct Dial {
    pub(super) world: Arc<dyn World>,
    /// Read at the first check that verifies a certificate.
    roots: OnceLock<Roots>,
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
        Dial { world, roots: OnceLock::new() }
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
        let trust = match tls.options.skip_verify {
            true => Trust::Anyone,
            false => Trust::Roots(self.roots().await?),
        };
        TlsClient::new(trust, None, tls.protocol)?.secure(stream, name).await
    }

    async fn roots(&self) -> io::Result<Roots> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots.clone());
        }
        let world = self.world.clone();
        let read = blocking(&*self.world, move || Roots::of_system(world.files())).await;
        let roots = read.ok_or_else(|| io::Error::other("the agent is stopping"))?;
        Ok(self.roots.get_or_init(|| roots).clone())
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
pub(super) fn host_of(target: &str) -> &str {
    let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
