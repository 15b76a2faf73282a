//! The limits of a simulation, in one place.

use std::time::Duration;

/// How far all hosts run before what they sent crosses: the finest step of tokio's clock. Nothing
/// travels faster.
pub const QUANTUM: Duration = Duration::from_millis(1);

/// Bytes that one direction of a stream holds, sent and not yet read.
pub const WINDOW: usize = 256 << 10;
/// Bytes read after which the sender is told that there is room again.
pub const CREDIT_AT: usize = 64 << 10;
/// Bytes that travel as one piece of a stream.
pub const PIECE_BYTES_MAX: usize = 64 << 10;
/// Streams that wait to be accepted at one listener.
pub const BACKLOG: usize = 1024;
/// Bytes of one datagram.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;
/// Bytes that a datagram socket holds for its owner.
pub const DATAGRAM_BUFFER_BYTES: usize = 4 << 20;
/// How late what was lost on a stream arrives: the least time after which TCP sends again.
pub const RETRANSMIT_AFTER: Duration = Duration::from_millis(200);
/// How long after a cut link is whole again a stream takes to notice, at most.
pub const HEAL_NOTICED_MAX: Duration = Duration::from_secs(2);
/// The first of the ports that are handed out where any will do.
pub const FIRST_FREE_PORT: u16 = 32_768;

/// How often the tasks of a host may be polled in one step. A busy server needs some hundreds.
pub const POLLS_OF_A_STEP_MAX: u64 = 50_000;
/// Of these, how many are looked at when there are too many.
pub const POLLS_LOOKED_AT: u64 = 1_000;

/// Lines of the story of a run.
pub const STORY_LINES_MAX: usize = 200_000;

const _: () = assert!(PIECE_BYTES_MAX <= WINDOW && CREDIT_AT <= WINDOW);
