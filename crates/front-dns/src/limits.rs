//! The bound of everything a DNS client can make us do or keep, and how the bounds relate.

use std::time::Duration;

/// Bytes of a name on the wire.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a label.
pub const LABEL_BYTES_MAX: usize = 63;
/// Labels of a name, without the root: each takes at least two bytes.
pub const LABELS_MAX: usize = 127;
/// Bytes of a response over UDP to a client that says nothing about its size.
pub const UDP_BYTES_DEFAULT: usize = 512;
/// Bytes of a response over UDP, whatever the client says.
pub const UDP_BYTES_MAX: usize = 65_467;
/// Bytes of a message over TCP.
pub const TCP_BYTES_MAX: usize = 65_535;
/// Answer records over UDP without EDNS, whatever is configured.
pub const PLAIN_UDP_ANSWERS_MAX: usize = 8;
/// Answer records of addresses in one response.
pub const ADDRESS_ANSWERS_MAX: usize = 4_096;
/// SRV records in one response.
pub const SRV_ANSWERS_MAX: usize = 1_024;
/// Name servers in one response.
pub const NAME_SERVERS_MAX: usize = 3;
/// Names that are followed one after the other when an address is a name.
pub const ALIAS_DEPTH_MAX: usize = 3;
/// Records that follow an alias in a response to a client without EDNS.
pub const PLAIN_ALIAS_RECORDS_MAX: usize = 5;
/// Records that follow an alias in any response.
pub const ALIAS_RECORDS_MAX: usize = 32;
/// SRV targets of one response that are names and looked up for its additional section.
pub const ALIAS_TARGETS_MAX: usize = 8;
/// Times one question may go back to waiting for what it lacks before it is given up.
pub const WAITS_MAX: usize = 16;
/// Records after the question that a query may carry: an OPT, a signature.
pub const QUERY_RECORDS_MAX: usize = 4;
/// TXT records made of one node's facts: as many as a node may have.
pub const TEXTS_MAX: usize = muster_model::limits::META_PAIRS_MAX;

/// Questions that wait for something (another server, the registry's leader) at one moment.
pub const WAITING_MAX: usize = 1_024;
/// Datagrams answered before the socket's task lets others run.
pub const DATAGRAMS_PER_TURN: usize = 64;
/// TCP connections at one moment.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Bytes of answers gathered for a TCP client before they are written.
pub const TCP_GATHERED_BYTES: usize = 128 * 1024;
/// How long a TCP client may stay silent, or take to accept an answer.
pub const TCP_IDLE: Duration = Duration::from_secs(10);
/// How long a question may wait for the registry.
pub const REGISTRY_WAIT: Duration = Duration::from_secs(5);

const _: () = assert!(UDP_BYTES_DEFAULT < UDP_BYTES_MAX && UDP_BYTES_MAX < TCP_BYTES_MAX);
const _: () = assert!(WAITS_MAX > ALIAS_DEPTH_MAX + ALIAS_TARGETS_MAX);
