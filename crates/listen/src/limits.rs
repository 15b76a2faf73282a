//! Every bound on what a client may hold open, send, or take its time over.

use std::time::Duration;

/// The bounds of a listener, or of several that share one [`crate::Census`].
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time, of all clients. One more is answered 429 and closed.
    pub connections_max: usize,
    /// Connections at a time of one IP address, as Consul's `http_max_conns_per_client`. Unix
    /// sockets have no address and count in the total only.
    pub connections_per_client_max: usize,
    /// Bytes of a request's first line and headers; more is answered 431. At least 8,192. A
    /// connection's buffer begins at 8 KiB and grows to this only when needed.
    pub head_bytes_max: usize,
    /// From the first byte of a request to the end of its headers; slower is answered 408.
    pub head_timeout: Duration,
    /// How long a connection may stay without a request.
    pub idle_timeout: Duration,
    /// How long a body may take whatever its size; see `body_bytes_per_second_min`.
    pub body_timeout: Duration,
    /// Each so many bytes of a body that have come allow it one more second. Slower is answered
    /// 408. Never 0.
    pub body_bytes_per_second_min: u64,
    /// Requests at a time on one HTTP/2 connection.
    pub streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 65_536,
            connections_per_client_max: 200,
            head_bytes_max: 64 * 1024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
            body_timeout: Duration::from_secs(10),
            body_bytes_per_second_min: 1_024,
            streams_max: 250,
        }
    }
}
