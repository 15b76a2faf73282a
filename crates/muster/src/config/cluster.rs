//! The sections about agents among themselves: Raft, gossip, autopilot, the certificate authority.

use std::time::Duration;

use super::setting::settings;

settings! {
    /// Timing of elections and of calls to servers.
    pub struct PerformanceConfig {
        /// Scales election timing, 1 to 10. Higher: calmer on slow machines, slower fail-over.
        raft_multiplier: u32 = 1,
        /// How long a server that leaves drains before it stops.
        leave_drain_time: Duration = Duration::from_secs(5),
        /// How long a call is retried while there is no leader.
        rpc_hold_timeout: Duration = Duration::from_secs(7),
        /// The period between keep-alives of gRPC.
        grpc_keepalive_interval: Duration = Duration::from_secs(30),
        /// How long an unanswered keep-alive of gRPC is waited for.
        grpc_keepalive_timeout: Duration = Duration::from_secs(20),
    }
}

settings! {
    /// Automatic care of the servers.
    pub struct AutopilotConfig {
        /// Remove a failed server's vote once a new server joins, never below a quorum.
        cleanup_dead_servers: bool = true,
        /// How long a server may go without contact to the leader and be healthy.
        last_contact_threshold: Duration = Duration::from_millis(200),
        /// How many entries a server may lag and be healthy.
        max_trailing_logs: u64 = 250,
        /// The fewest voters that cleaning up leaves; 0 means no bound.
        min_quorum: u32 = 0,
        /// How long a new server must be healthy before it votes.
        server_stabilization_time: Duration = Duration::from_secs(10),
    }
    without_effect {
        "redundancy_zone_tag": "An enterprise feature.",
        "disable_upgrade_migration": "An enterprise feature.",
        "upgrade_version_tag": "An enterprise feature.",
    }
}

settings! {
    /// The guard: when more than a third of all nodes, or half of a service, fail together, those
    /// beyond that bound keep their last status for a while, marked as doubted.
    pub struct GuardConfig {
        /// Whether there is one; false lets everything fail at once.
        enabled: bool = true,
        /// Failures within this time count together; longer sees slower bursts.
        window: Duration = Duration::from_secs(30),
        /// It never doubts fewer failures than this.
        failures_min: u32 = 5,
        /// How many of a hundred that are doubted are let go each minute, 1 to 100.
        release_percent: u32 = 10,
        /// Nobody is doubted for longer.
        doubt_max: Duration = Duration::from_secs(15 * 60),
    }
}

settings! {
    /// Timing of a gossip pool.
    pub struct GossipConfig {
        /// The period between gossip messages.
        gossip_interval: Duration = Duration::from_millis(200),
        /// How many members each is sent to.
        gossip_nodes: u32 = 3,
        /// The period between probes.
        probe_interval: Duration = Duration::from_secs(1),
        /// How long a probe waits for its ack; longer on slow networks.
        probe_timeout: Duration = Duration::from_millis(500),
        /// Scales how often a broadcast is repeated.
        retransmit_mult: u32 = 4,
        /// Scales how long a suspect may refute.
        suspicion_mult: u32 = 4,
    }
}

impl GossipConfig {
    /// Timing for one site.
    pub fn lan() -> Self {
        GossipConfig::default()
    }

    /// Timing between sites.
    pub fn wan() -> Self {
        GossipConfig {
            gossip_interval: Duration::from_millis(500),
            gossip_nodes: 4,
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            retransmit_mult: 4,
            suspicion_mult: 6,
        }
    }
}

settings! {
    /// The log's storage. Only the default is offered; Consul's backends are accepted by name.
    pub struct RaftLogConfig {
        /// default, wal or boltdb.
        backend: String = "default".into(),
    }
    without_effect {
        "disable_log_cache": "Recent entries are always in memory.",
        "verification": "Every record carries a checksum.",
        "boltdb": "The log is not kept in BoltDB.",
        "wal": "Segments have a fixed size.",
    }
}

settings! {
    /// How the agent calls servers.
    pub struct RpcConfig {
        /// Consul's switch for streamed changes.
        enable_streaming: bool = true,
    }
}

settings! {
    /// The agent's memory of answers.
    pub struct CacheConfig {
        /// How many questions a second may be asked of servers to fill it; -1 means no bound.
        entry_fetch_rate: f64 = -1.0,
        /// How many may be asked at once.
        entry_fetch_max_burst: u32 = 2,
    }
}

settings! {
    /// The built-in certificate authority.
    pub struct ConnectConfig {
        /// Whether there is one.
        enabled: bool = false,
        /// What it is told.
        ca_config: CaConfig = CaConfig::default(),
        /// Which authority; only the built-in one, `consul`, is offered.
        ca_provider: String = "consul".into(),
    }
    without_effect {
        "enable_mesh_gateway_wan_federation": "Belongs to the mesh.",
        "enable_serverless_plugin": "Belongs to the mesh.",
        "test_ca_leaf_root_change_spread": "A test hook of Consul's.",
        "proxy": "Belongs to the mesh.",
        "proxy_defaults": "Belongs to the mesh.",
    }
}

settings! {
    /// What the certificate authority is told.
    pub struct CaConfig {
        /// The cluster's id, a UUID, which the trust domain is made of; empty means a new one.
        cluster_id: String = String::new(),
        /// How long a leaf certificate is valid.
        leaf_cert_ttl: Duration = Duration::from_secs(72 * 3600),
        /// How long the root is valid.
        root_cert_ttl: Duration = Duration::from_secs(87600 * 3600),
        /// ec or rsa.
        private_key_type: String = "ec".into(),
        /// The length of a key.
        private_key_bits: u32 = 256,
    }
    without_effect {
        "csr_max_per_second": "Leaves are not yet issued.",
        "csr_max_concurrent": "Leaves are not yet issued.",
        "intermediate_cert_ttl": "There are no intermediates.",
        "rotation_period": "The root is not rotated by time.",
        "private_key": "The key is always made by the authority.",
        "root_cert": "The root is always made by the authority.",
    }
}
