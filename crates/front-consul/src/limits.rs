//! The bound of everything a client can make this front-end hold. What may be kept in the registry
//! is bounded by `muster_model::limits`; what a connection may cost, by the listener.

use std::time::Duration;

/// Bytes of a request's body, where an endpoint has no bound of its own.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of a path with its query string, as they were sent.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;
/// Parameters in one query string.
pub const PARAMETERS_MAX: usize = 64;
/// How long a blocking query waits where the client does not say, unless configured otherwise.
pub const WAIT_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// How long a blocking query waits at most, unless configured otherwise.
pub const WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// A wait is lengthened by up to this fraction of itself, so that who began together does not
/// come back together.
pub const WAIT_JITTER_FRACTION: u32 = 16;
/// The shortest lease a session may have, unless configured otherwise.
pub const SESSION_TTL_MIN: Duration = Duration::from_secs(10);
/// The longest lease a session may have.
pub const SESSION_TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of the payload of a user event: it travels in a packet.
pub const EVENT_BYTES_MAX: usize = 300;
/// Bytes of a snapshot that is restored.
pub const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;
/// Pieces of a snapshot that wait for who takes them.
pub const SNAPSHOT_PIECES_WAITING_MAX: usize = 16;
/// How long a piece of a snapshot may be waited for.
pub const SNAPSHOT_PIECE_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long numbers are watched for a profile at most.
pub const PROFILE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Questions with `?cached` that are remembered.
pub const CACHED_QUESTIONS_MAX: usize = 8_192;
/// How often a stream of metrics tells them.
pub const METRICS_INTERVAL: Duration = Duration::from_secs(10);
/// Bytes of a body from which it is worth compressing.
pub const GZIP_BYTES_MIN: usize = 1400;

const _: () = assert!(WAIT_DEFAULT.as_secs() <= WAIT_MAX.as_secs());
const _: () = assert!(crate::filter::EXPRESSION_BYTES_MAX <= TARGET_BYTES_MAX);
