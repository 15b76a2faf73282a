//! What can be tuned, with the trade that each setting is.
//!
//! The presets follow what Consul's operators know from memberlist, except for the suspicion,
//! which is shorter here: nacks, awareness and the notice of one's own stalls pay for it
//! (docs/decisions/gossip-engine.md).

use std::time::Duration;

/// How a pool behaves. Any value is legal; [`Settings::bounded`] is applied by the pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Between two probes that a member makes. Shorter finds failures sooner and costs two packets
    /// more a probe. At least 10 ms.
    pub probe_interval: Duration,
    /// How long a direct probe waits before others are asked to try. Above the round trip of the
    /// slowest pair; less than the interval.
    pub probe_timeout: Duration,
    /// Others that are asked to try. More find a way around a broken link, at two packets each.
    pub indirect_probes: usize,
    /// The shortest suspicion, in probe intervals, for each power of ten of members. More gives the
    /// slow more time to refute and the failed more time to go unnoticed.
    pub suspicion_mult: f64,
    /// The shortest suspicion in a pool so small that the above would be less.
    pub suspicion_min: Duration,
    /// The rules that keep a slow member from accusing healthy ones.
    pub lifeguard: Lifeguard,
    /// Between two rounds of telling rumors, when there are any.
    pub gossip_interval: Duration,
    /// Members told in a round.
    pub gossip_nodes: usize,
    /// How long a failed member is still told rumors, so that it can refute if it only was away.
    pub gossip_to_failed_for: Duration,
    /// Times that a rumor is told by each member, for each power of ten of members.
    pub retransmit_mult: u32,
    /// Between two push-pulls that a member begins, up to 32 members; grows with the logarithm.
    /// Zero switches them off.
    pub push_pull_interval: Duration,
    /// How soon others follow a push-pull that taught much, which a pool that begins at once needs.
    /// Zero switches this off.
    pub catch_up_interval: Duration,
    /// How long a push-pull may take.
    pub exchange_timeout: Duration,
    /// Times that an address is tried in a join that nobody has answered yet.
    pub join_attempts: u32,
    /// Between two of them.
    pub join_retry_interval: Duration,
    /// Between two attempts to reach a failed member: a partition heals by this.
    pub reconnect_interval: Duration,
    /// How long a failed member is remembered.
    pub reap_failed_after: Duration,
    /// How long a member that left is remembered.
    pub reap_left_after: Duration,
    /// How long a failed member's name is kept for it against another address with another id.
    pub name_reclaim_after: Duration,
    /// How long the announcement of leaving is spread before the member counts as left.
    pub leave_announce: Duration,
    /// How long having left is spread before the process may end.
    pub leave_spread: Duration,
}

/// Local health: awareness of one's own slowness, after Dadgar, Phillips and Currey, "Lifeguard:
/// Local Health Awareness for More Accurate Failure Detection" (2018).
#[derive(Clone, Debug, PartialEq)]
pub struct Lifeguard {
    /// How far awareness may stretch this member's own timing: by up to this factor. 1 is off.
    pub awareness_max: u32,
    /// Whether who probes for another says so when there was no answer.
    pub nacks: bool,
    /// How many times the shortest suspicion the longest is. 1 is off: all are the shortest.
    pub suspicion_max_mult: f64,
    /// Independent suspecters that shorten a suspicion to the shortest.
    pub confirmations: u32,
    /// Whether a suspected member is told with the very probe that may clear it.
    pub buddy: bool,
    /// Whether a member that could not run, or heard nobody, for a while gives others that time.
    pub stall_grace: bool,
    /// Whether news is told at once, if the last round is long enough ago, and not at the next
    /// tick: a suspicion then gets out before who has it stands still.
    pub prompt: bool,
}

impl Settings {
    /// For one datacenter: round trips of milliseconds.
    pub fn lan() -> Settings {
        Settings {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_probes: 3,
            suspicion_mult: 1.8,
            suspicion_min: Duration::from_secs(3),
            lifeguard: Lifeguard::on(),
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            gossip_to_failed_for: Duration::from_secs(30),
            retransmit_mult: 4,
            push_pull_interval: Duration::from_secs(30),
            catch_up_interval: Duration::from_millis(500),
            exchange_timeout: Duration::from_secs(10),
            join_attempts: 3,
            join_retry_interval: Duration::from_secs(1),
            reconnect_interval: Duration::from_secs(15),
            reap_failed_after: Duration::from_secs(72 * 3600),
            reap_left_after: Duration::from_secs(24 * 3600),
            name_reclaim_after: Duration::from_secs(30),
            leave_announce: Duration::from_millis(600),
            leave_spread: Duration::from_secs(3),
        }
    }

    /// Between datacenters: round trips of up to a second, and loss.
    pub fn wan() -> Settings {
        Settings {
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            suspicion_mult: 3.0,
            suspicion_min: Duration::from_secs(15),
            gossip_interval: Duration::from_millis(500),
            gossip_nodes: 4,
            gossip_to_failed_for: Duration::from_secs(60),
            push_pull_interval: Duration::from_secs(60),
            catch_up_interval: Duration::from_secs(2),
            exchange_timeout: Duration::from_secs(30),
            leave_announce: Duration::from_millis(1500),
            ..Settings::lan()
        }
    }

    /// For agents on one machine that come and go while someone waits: all is ten times faster.
    pub fn loopback() -> Settings {
        Settings {
            probe_interval: Duration::from_millis(100),
            probe_timeout: Duration::from_millis(50),
            suspicion_mult: 4.0,
            suspicion_min: Duration::from_millis(300),
            gossip_interval: Duration::from_millis(20),
            push_pull_interval: Duration::from_secs(3),
            catch_up_interval: Duration::from_millis(50),
            exchange_timeout: Duration::from_secs(2),
            join_retry_interval: Duration::from_millis(100),
            reconnect_interval: Duration::from_millis(1500),
            name_reclaim_after: Duration::from_secs(3),
            leave_announce: Duration::from_millis(60),
            leave_spread: Duration::from_millis(300),
            ..Settings::lan()
        }
    }

    /// The same with every number where it can work.
    pub fn bounded(self) -> Settings {
        let shortest = Duration::from_millis(1);
        let probe_interval = self.probe_interval.max(10 * shortest);
        Settings {
            probe_interval,
            probe_timeout: self.probe_timeout.clamp(shortest, probe_interval * 9 / 10),
            indirect_probes: self.indirect_probes.min(16),
            suspicion_mult: finite(self.suspicion_mult).clamp(0.1, 1_000.0),
            lifeguard: self.lifeguard.bounded(),
            gossip_interval: self.gossip_interval.max(shortest),
            gossip_nodes: self.gossip_nodes.clamp(1, 64),
            retransmit_mult: self.retransmit_mult.clamp(1, 100),
            exchange_timeout: self.exchange_timeout.max(10 * shortest),
            join_attempts: self.join_attempts.clamp(1, 1_000),
            join_retry_interval: self.join_retry_interval.max(shortest),
            reconnect_interval: self.reconnect_interval.max(10 * shortest),
            ..self
        }
    }
}

impl Lifeguard {
    /// All of it.
    pub fn on() -> Lifeguard {
        Lifeguard {
            awareness_max: 8,
            nacks: true,
            suspicion_max_mult: 6.0,
            confirmations: 3,
            buddy: true,
            stall_grace: true,
            prompt: true,
        }
    }

    /// Plain SWIM, to measure against.
    pub fn off() -> Lifeguard {
        Lifeguard {
            awareness_max: 1,
            nacks: false,
            suspicion_max_mult: 1.0,
            confirmations: 0,
            buddy: false,
            stall_grace: false,
            prompt: false,
        }
    }

    fn bounded(self) -> Lifeguard {
        Lifeguard {
            awareness_max: self.awareness_max.clamp(1, 64),
            suspicion_max_mult: finite(self.suspicion_max_mult).clamp(1.0, 100.0),
            confirmations: self.confirmations.min(16),
            ..self
        }
    }
}

fn finite(number: f64) -> f64 {
    if number.is_finite() { number } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_within_their_bounds() {
        for preset in [Settings::lan(), Settings::wan(), Settings::loopback()] {
            assert_eq!(preset.clone().bounded(), preset);
        }
    }

    #[test]
    fn nonsense_is_brought_within_bounds() {
        let nonsense = Settings {
            probe_interval: Duration::ZERO,
            probe_timeout: Duration::MAX,
            suspicion_mult: f64::NAN,
            gossip_interval: Duration::ZERO,
            gossip_nodes: 0,
            ..Settings::lan()
        };
        let bounded = nonsense.bounded();
        assert!(bounded.probe_timeout < bounded.probe_interval);
        assert_eq!(bounded.suspicion_mult, 1.0);
        assert_eq!(bounded.gossip_nodes, 1);
        assert!(bounded.gossip_interval > Duration::ZERO);
    }
}
