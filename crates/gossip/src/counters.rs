//! What a pool counted since it began: facts for whoever keeps metrics.

use crate::refused::RefusedCounts;

/// Counts since the pool began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that arrived, the refused included.
    pub packets_in: u64,
    /// Datagrams that were sent.
    pub packets_out: u64,
    /// Bytes of the datagrams that arrived.
    pub packet_bytes_in: u64,
    /// Bytes of the datagrams that were sent.
    pub packet_bytes_out: u64,
    /// Exchanges that this member began.
    pub exchanges_begun: u64,
    /// Exchanges that came to nothing.
    pub exchanges_failed: u64,
    /// Exchanges that others began and that were answered.
    pub exchanges_answered: u64,
    /// Probes that this member made.
    pub probes: u64,
    /// Probes that nobody answered, directly or through others.
    pub probes_failed: u64,
    /// Suspicions of this member that it refuted.
    pub refutations: u64,
    /// Times that this member could not run for so long that others got that time too.
    pub stalls: u64,
    /// Times that this member heard nobody for so long that others got that time too.
    pub silences: u64,
    /// Broadcasts that made room before they were told as often as they should.
    pub broadcasts_dropped: u64,
    /// Claims to a name or by a name that another member has, each told once.
    pub name_conflicts: u64,
    /// Exchanges with members whose wall clock has gone far off since they joined.
    pub clocks_off: u64,
    /// Wrong input.
    pub refused: RefusedCounts,
}

/// How a pool stands now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Members that take part, this one included.
    pub n_active: usize,
    /// Members that failed and are remembered.
    pub n_failed: usize,
    /// Members that are known, in whatever status, this one included.
    pub n_known: usize,
    /// Doubts of its own timing: 0 is none.
    pub awareness: u32,
    /// Broadcasts that wait.
    pub n_broadcasts: usize,
}
