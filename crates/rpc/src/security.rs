//! Where a stream becomes a secured stream, on both sides.
//!
//! [`Plain`] changes nothing and proves nothing. TLS will be another body of the trait; nothing
//! else of the crate will notice.

use std::future::Future;
use std::io;
use std::pin::Pin;

use muster_world::Stream;

use crate::hello::Target;

/// A stream that is being secured. The caller bounds the time.
pub type Secured<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// What a certificate says of the one who showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The names that it may go by, at least one.
    pub names: Vec<String>,
}

/// Secures streams.
pub trait Security: Send + Sync + 'static {
    /// Secures a stream that was opened to the target. If the target has a name, whoever is there
    /// has to prove it; an error says what an operator can do.
    fn connect(&self, stream: Stream, to: &Target) -> Secured<Stream>;

    /// Secures a stream that was accepted, and tells who is there if a certificate was shown.
    fn accept(&self, stream: Stream) -> Secured<(Stream, Option<PeerIdentity>)>;
}

/// No security: bytes as they are, nobody is proved to be anybody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl Security for Plain {
    fn connect(&self, stream: Stream, _to: &Target) -> Secured<Stream> {
        Box::pin(std::future::ready(Ok(stream)))
    }

    fn accept(&self, stream: Stream) -> Secured<(Stream, Option<PeerIdentity>)> {
        Box::pin(std::future::ready(Ok((stream, None))))
    }
}
