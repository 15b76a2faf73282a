//! The bound of everything a client can make this front-end hold. What may be kept in the registry
//! is bounded by `muster_model::limits`; what a connection may cost, by the listener.

use std::time::Duration;

/// Bytes of a request's body, as sent and once it is decompressed.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// The same of a batch from an Eureka server: it sends up to 250 tasks in one.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Tasks in one batch.
pub const BATCH_TASKS_MAX: usize = 1_024;
/// Tasks of a batch that are under way at a time.
pub const BATCH_TASKS_AT_A_TIME: usize = 32;
/// Bytes of a path with its query string, as they were sent.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;
/// Parameters in one query string.
pub const PARAMETERS_MAX: usize = 128;
/// How deep the elements of an XML document may lie in each other.
pub const XML_DEPTH_MAX: usize = 16;
/// Elements and attributes of one XML document.
pub const XML_PARTS_MAX: usize = 65_536;
/// Times that a write is tried anew when another one came between its look and its deed.
pub const TRIES_MAX: usize = 8;
/// How long a change is told in deltas: what a client asks for each 30 s, six times over.
pub const DELTA_COVERS: Duration = Duration::from_secs(180);
/// How much longer than that a change may stay in them, so that they are not made anew each time
/// that one grows too old.
pub const DELTA_SLACK: Duration = Duration::from_secs(15);
/// How long a delta keeps its number though nothing changes: less than a client's interval.
pub const DELTA_NUMBER_HOLDS: Duration = Duration::from_secs(10);
/// Changes that are kept for deltas. Beyond it the oldest are dropped, and the hash code tells the
/// clients that missed them.
pub const RECENT_MAX: usize = 65_536;
/// Nodes that are looked at one by one when they changed; when more did, everything is.
pub const NODES_ONE_BY_ONE_MAX: usize = 256;
/// How often the roll is brought up to date when nobody asks, so that it misses no change.
pub const ROLL_INTERVAL: Duration = Duration::from_secs(10);
/// Documents that are kept encoded, beside the whole and the delta.
pub const DOCUMENTS_MAX: usize = 256;
/// Bytes of them.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A document is given again for so many times as long as it took to make, ...
pub const DOCUMENT_REST: u32 = 9;
/// ... but not longer than this, however much changes meanwhile.
pub const DOCUMENT_REST_MAX: Duration = Duration::from_secs(5);
/// Instances that are written into a document before others get their turn.
pub const INSTANCES_PER_TURN: usize = 256;
/// Instances that the page for people names; of the others it gives the number.
pub const PAGE_INSTANCES_MAX: usize = 2_000;
/// Bytes of a body from which it is worth compressing.
pub const GZIP_BYTES_MIN: usize = 1400;
/// How long a confirmed answer is waited for before the one at hand is given.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(2);

const _: () = assert!(BODY_BYTES_MAX <= BATCH_BYTES_MAX);
const _: () = assert!(DOCUMENT_REST_MAX.as_secs() < DELTA_COVERS.as_secs() / 6);
