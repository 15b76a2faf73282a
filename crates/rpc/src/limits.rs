//! Every bound on what the other side may hold open, send, or take its time over.
//!
//! Both sides tell each other in their hello what they take ([`Terms`]), so two agents with
//! different limits get along: each keeps to the limits of the other.

use tokio::time::Duration;

/// Bytes of a name (datacenter, node) in a hello.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Bytes of a hello's `extra`.
pub(crate) const EXTRA_BYTES_MAX: usize = 1_024;
/// Bytes of the frame that carries a hello, or last words instead of it.
pub(crate) const HELLO_BYTES_MAX: usize = 4_096;
/// Bytes of the text with which a connection is closed.
pub(crate) const WORDS_BYTES_MAX: usize = 1_024;
/// What a frame has beside its body, at most.
pub(crate) const FRAME_EXTRA_BYTES: usize = 64;
/// No limit on bytes of bodies and windows may be set, or is taken from the other side, higher
/// than this, so that lengths and their sums fit their fields.
const BYTES_CEILING: u32 = 1 << 30;
/// Frames that wait without having asked for room (answers to pings, credits, cancels) before
/// nothing more is read.
pub(crate) const UNPAID_FRAMES_MAX: usize = 8_192;
/// Bytes of streamed items in one write, behind everything else that waits.
pub(crate) const STREAMED_BATCH_BYTES: usize = 128 << 10;
/// Bodies up to this size are copied: into the write they leave with, and out of the buffer they
/// came in, so that a small body that is kept does not keep a large buffer alive.
pub(crate) const COPIED_BYTES_MAX: usize = 16 << 10;
/// What is read at a time, at least and at most.
pub(crate) const READ_BYTES_MIN: usize = 2 << 10;
/// See [`READ_BYTES_MIN`].
pub(crate) const READ_BYTES_MAX: usize = 64 << 10;
/// Exchanges on one connection from which on a write waits for others that are ready.
pub(crate) const CROWD: usize = 4;
/// After so many reads what waits to be written has its turn.
pub(crate) const READS_AT_A_TIME: usize = 16;
/// How long last words may take to be sent and heard.
pub(crate) const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections beyond the limit that are being told so at a time; more are just closed.
pub(crate) const FAREWELLS_MAX: usize = 64;
/// The pause after a failed accept, which is mostly a lack of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What is wrong with one address is logged at most once in this time.
pub(crate) const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
/// Addresses whose complaints are remembered.
pub(crate) const COMPLAINERS_MAX: usize = 1_024;

/// The bounds of a pool, or of a port that accepts. All must be above zero.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one body or item that this side takes, at most 1 GiB. A connection's other
    /// traffic waits while one is on its way, so long things are better sent as many items.
    pub body_bytes_max: u32,
    /// Exchanges at a time on one connection; one more is answered [`crate::Fault::Busy`].
    pub exchanges_max: u32,
    /// Bytes of the first bodies of all exchanges that are being served on one connection; one
    /// more is answered [`crate::Fault::Busy`].
    pub bodies_bytes_max: usize,
    /// Bytes that wait to be written on one connection before senders wait: once for calls, and
    /// once for streamed items. A body that is larger than this waits until it is alone.
    pub queue_bytes_max: u32,
    /// Items of one exchange that may come before the first of them is read.
    pub window_items: u32,
    /// Bytes of those items. The last may go beyond, so the bound is this and one item.
    pub window_bytes: u32,
    /// Connections accepted, of all addresses.
    pub connections_max: usize,
    /// Connections accepted of one IP address.
    pub connections_per_address_max: usize,
    /// Targets and lanes that a pool keeps at a time.
    pub targets_max: usize,
    /// From the accept of a connection to the end of its hello.
    pub hello_timeout: Duration,
    /// From the start of a dial to the end of the other side's hello.
    pub dial_timeout: Duration,
    /// The pause after a failed dial; doubles with each that follows. Calls fail meanwhile.
    pub redial_pause_min: Duration,
    /// The longest such pause.
    pub redial_pause_max: Duration,
    /// A connection without exchanges is closed by the one who dialed it after this time, and by
    /// the other after twice this time.
    pub idle_timeout: Duration,
    /// While exchanges are open: how long nothing may come before the other side is asked.
    pub ping_interval: Duration,
    /// While exchanges are open: how long nothing may come, or go, before the connection is given
    /// up. Longer than `ping_interval`.
    pub ping_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 8 << 20,
            exchanges_max: 16_384,
            bodies_bytes_max: 64 << 20,
            queue_bytes_max: 1 << 20,
            window_items: 64,
            window_bytes: 1 << 20,
            connections_max: 32_768,
            connections_per_address_max: 256,
            targets_max: 4_096,
            hello_timeout: Duration::from_secs(5),
            dial_timeout: Duration::from_secs(2),
            redial_pause_min: Duration::from_millis(20),
            redial_pause_max: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(120),
            ping_interval: Duration::from_secs(5),
            ping_timeout: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Bytes of a frame that this side takes.
    pub(crate) fn frame_bytes_max(&self) -> usize {
        self.terms().body_bytes_max as usize + FRAME_EXTRA_BYTES
    }

    /// What the other side is told.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            body_bytes_max: self.body_bytes_max,
            exchanges_max: self.exchanges_max,
            window_items: self.window_items,
            window_bytes: self.window_bytes,
        }
        .clamped()
    }
}

/// What one side takes from the other, as it says in its hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) body_bytes_max: u32,
    pub(crate) exchanges_max: u32,
    pub(crate) window_items: u32,
    pub(crate) window_bytes: u32,
}

impl Terms {
    /// None is zero, and none is too large to be counted with.
    pub(crate) fn clamped(self) -> Self {
        Self {
            body_bytes_max: self.body_bytes_max.clamp(1, BYTES_CEILING),
            exchanges_max: self.exchanges_max.max(1),
            window_items: self.window_items.max(1),
            window_bytes: self.window_bytes.clamp(1, BYTES_CEILING),
        }
    }
}
