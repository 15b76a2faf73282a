//! Every bound of the crate in one place: nothing that arrives decides how much is kept.

use std::time::Duration;

/// Bytes of a datagram, sealed: fits an Ethernet frame with IPv6 and a tunnel or two around it.
pub const PACKET_BYTES_MAX: usize = 1_400;
/// Bytes of one side of a push-pull, sealed. 65,536 members with full tags would be 44 MB; with
/// the tags that agents really have they are less than half of this.
pub const EXCHANGE_BYTES_MAX: usize = 48 << 20;
/// Members that are known, the failed and the left included.
pub const MEMBERS_MAX: usize = 65_536;

/// Bytes of a member's name.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of all tags of a member, keys and values together.
pub const TAGS_BYTES_MAX: usize = 512;
/// Tags of a member.
pub const TAGS_MAX: usize = 64;
/// Bytes of a pool's label.
pub const LABEL_BYTES_MAX: usize = 64;

/// Bytes of an event, name and payload together.
pub const EVENT_BYTES_MAX: usize = 1_024;
/// Events whose content is kept for who asks for the recent ones and for push-pull.
pub const RECENT_EVENTS_MAX: usize = 256;
/// How far behind the clock an event or question may be and still be told from a repetition.
pub const SEEN_TIMES: u64 = 512;
/// Events or questions of one Lamport time that are told apart; more are dropped.
pub const SEEN_AT_A_TIME_MAX: usize = 64;

/// Broadcasts that wait to be spread. What has been sent most often makes room.
pub const BROADCASTS_MAX: usize = 4_096;
/// Broadcasts looked at to fill one packet, so that a backlog of large ones costs no time.
pub const BROADCASTS_TRIED_MAX: usize = 64;

/// Keys in a ring: the one in use and those still or already accepted.
pub const KEYS_MAX: usize = 8;
/// Bytes of a text that says why a member did not do what it was asked.
pub const REASON_BYTES_MAX: usize = 256;

/// Addresses in one call of join.
pub const JOIN_ADDRESSES_MAX: usize = 256;
/// Joins under way.
pub const JOINS_MAX: usize = 16;
/// Push-pulls that this side began and that have no answer yet.
pub const EXCHANGES_MAX: usize = 512;
/// Indirect probes made for others at a time.
pub const RELAYS_MAX: usize = 512;
/// The longest that an indirect probe is made for another.
pub const RELAY_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Questions under way, asked by this member.
pub const QUESTIONS_MAX: usize = 16;
/// The longest that a question is open.
pub const QUESTION_TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// Answers of this member that their askers have not confirmed.
pub const ANSWERS_MAX: usize = 64;
/// Members that a question is brought to directly at a time because they have not answered.
pub const ASKED_AGAIN_MAX: usize = 128;

/// Name conflicts that are remembered, so that each is told once.
pub const CONFLICTS_MAX: usize = 256;
/// Peers in a snapshot.
pub const SNAPSHOT_PEERS_MAX: usize = 1_024;
/// Timers due that one call runs; the rest is due at once.
pub const TIMERS_AT_A_TIME_MAX: usize = 100_000;
/// An incarnation beyond this is a lie: no member refutes that often.
pub const INCARNATION_MAX: u64 = 1 << 48;
/// A Lamport time beyond this is a lie.
pub const LAMPORT_TIME_MAX: u64 = 1 << 56;

/// How far apart the wall clocks of two members may be: certificates, times in logs and answers, and
/// those who compare them go by that clock.
pub const CLOCK_OFF_MAX: Duration = Duration::from_secs(300);
/// How often a member whose clock went off is told of; in between it is counted.
pub const CLOCK_OFF_TOLD_EVERY: Duration = Duration::from_secs(60);

/// How often a kind of wrong input is told; in between it is counted.
pub const REFUSED_TOLD_EVERY: Duration = Duration::from_secs(60);
