//! [`Config`]: everything an agent can be told, as one value.
//!
//! Each key is one field with one sentence and one default. Keys that Consul has and this agent does
//! not need yet are still read into fields when a later part will use them, and accepted by name when
//! not, so that a file written for Consul is understood whole. Where a default depends on how the
//! program was called, [`Config::starting`] sets it before any file is read.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_registry::call::Secret;

use super::cluster::{AutopilotConfig, CacheConfig, ConnectConfig, GossipConfig, GuardConfig};
use super::cluster::{PerformanceConfig, RaftLogConfig, RpcConfig};
use super::definition::{CheckDefinition, ServiceDefinition, WatchDefinition};
use super::dns::DnsConfig;
use super::listeners::UnixSocketsConfig;
use super::listeners::{AddressesConfig, HttpConfig, LimitsConfig, PortsConfig, UiConfig};
use super::security::{AclConfig, AuditConfig, AutoEncryptConfig, TlsConfig};
use super::setting::{Network, Port, settings};
use super::telemetry::TelemetryConfig;

settings! {
    /// Everything an agent can be told, by files, flags and environment together.
    pub struct Config {
        /// Who this node is in the catalog; empty means the host's name. Letters, digits, '-', '_' and
        /// '.' only, if DNS is to find it.
        node_name: String = String::new(),
        /// The node's id, a UUID; empty means the one kept in the data folder, made on first start.
        node_id: String = String::new(),
        /// Facts about the node that queries can filter by; at most 64 pairs, keys to 128 bytes, values
        /// to 512.
        node_meta: BTreeMap<String, String> = BTreeMap::new(),
        /// Derive no node id from the host; true keeps several agents on one host apart.
        disable_host_node_id: bool = true,
        /// The name of the datacenter this agent belongs to.
        datacenter: String = "dc1".into(),
        /// The datacenter that rules over tokens of all; empty means the own one.
        primary_datacenter: String = String::new(),
        /// Where the agent keeps what outlives it; empty only with -dev. One agent per folder.
        data_dir: String = String::new(),
        /// Whether this agent is a server, which keeps the replicated state. The default is false when
        /// the program is called consul.
        server: bool = true,
        /// Start a cluster of one without waiting for others. Never on more than one server.
        bootstrap: bool = false,
        /// How many servers to wait for before the first election; 0 joins an existing cluster.
        bootstrap_expect: u32 = 0,
        /// The address that other agents reach this one at. When called consul the default is 0.0.0.0.
        bind_addr: String = "127.0.0.1".into(),
        /// The addresses that clients reach HTTP and DNS at, separated by spaces.
        client_addr: String = "127.0.0.1".into(),
        /// The address told to other agents, if it is not the one bound to. Where all are bound
        /// (0.0.0.0, ::) and none is named, the machine's one private IPv4, or public IPv6, address.
        advertise_addr: String = String::new(),
        /// The IPv4 address told to other agents.
        advertise_addr_ipv4: String = String::new(),
        /// The IPv6 address told to other agents.
        advertise_addr_ipv6: String = String::new(),
        /// The address told to servers of other datacenters.
        advertise_addr_wan: String = String::new(),
        /// The IPv4 address told to servers of other datacenters.
        advertise_addr_wan_ipv4: String = String::new(),
        /// The IPv6 address told to servers of other datacenters.
        advertise_addr_wan_ipv6: String = String::new(),
        /// The address the LAN pool binds to; empty means bind_addr.
        serf_lan: String = String::new(),
        /// The address the WAN pool binds to; empty means bind_addr.
        serf_wan: String = String::new(),
        /// Addresses by kind (lan, wan, ...) that the node carries in the catalog.
        tagged_addresses: BTreeMap<String, String> = BTreeMap::new(),
        /// Addresses by listener, where they differ from client_addr.
        addresses: AddressesConfig = AddressesConfig::default(),
        /// Ports by listener.
        ports: PortsConfig = PortsConfig::default(),
        /// Mode and owner of unix sockets that listeners make.
        unix_sockets: UnixSocketsConfig = UnixSocketsConfig::default(),
        /// Bind addresses that others can reach although there is neither TLS, nor a token, nor a gossip
        /// key. Called consul, the agent does so anyway, with a warning.
        insecure_bind: bool = false,
        /// A file that is written, atomically, with the bound addresses once the agent serves; empty
        /// means none.
        ready_file: String = String::new(),
        /// A file that holds the process id while the agent runs; empty means none.
        pid_file: String = String::new(),

        /// How the HTTP API behaves.
        http_config: HttpConfig = HttpConfig::default(),
        /// The longest a blocking query may wait; more is cut to it.
        max_query_time: Duration = Duration::from_secs(600),
        /// How long a blocking query waits if it does not say.
        default_query_time: Duration = Duration::from_secs(300),
        /// Answer wide-area addresses to callers of other datacenters.
        translate_wan_addrs: bool = false,
        /// Make catalog and health reads stale by default as long as the answer is not older than this;
        /// 0 means strong answers by default.
        discovery_max_stale: Duration = Duration::ZERO,
        /// Take keys of pairs with unprintable characters or '..', which are refused otherwise.
        disable_kv_key_validation: bool = false,
        /// Serve debugging endpoints to everyone.
        enable_debug: bool = false,
        /// The web pages.
        ui_config: UiConfig = UiConfig::default(),
        /// Bounds on what clients may ask of this agent.
        limits: LimitsConfig = LimitsConfig::default(),

        /// The DNS domain this agent answers for.
        domain: String = "consul.".into(),
        /// A second domain answered for; empty means none.
        alt_domain: String = String::new(),
        /// DNS servers, host or host:port, that all other names are forwarded to, in order.
        recursors: Vec<String> = Vec::new(),
        /// How DNS answers.
        dns_config: DnsConfig = DnsConfig::default(),

        /// Services this agent registers at start and on reload.
        services: Vec<ServiceDefinition> = Vec::new(),
        /// Checks this agent runs from start and on reload.
        checks: Vec<CheckDefinition> = Vec::new(),
        /// Watches that run a handler when what they look at changes.
        watches: Vec<WatchDefinition> = Vec::new(),
        /// Allow checks that run programs, wherever they are defined, also over HTTP. With an open API
        /// that is remote execution for everyone who reaches it.
        enable_script_checks: bool = false,
        /// Allow checks that run programs if they come from configuration files.
        enable_local_script_checks: bool = false,
        /// Use the agent's certificate when a check speaks TLS.
        enable_agent_tls_for_checks: bool = false,
        /// How long a change of a check's output alone may stay unsynced; 0 syncs at once. A change of
        /// status never waits.
        check_update_interval: Duration = Duration::from_secs(300),
        /// The most bytes of a check's output that are kept; at least 1.
        check_output_max_size: u32 = 4096,
        /// Keep no output of checks: smaller catalog, fewer writes, less to debug by.
        discard_check_output: bool = false,
        /// The shortest ttl that a session may ask for.
        session_ttl_min: Duration = Duration::from_secs(10),

        /// Agents of the LAN pool to join, tried until one answers.
        retry_join: Vec<String> = Vec::new(),
        /// Servers of other datacenters to join, tried until one answers.
        retry_join_wan: Vec<String> = Vec::new(),
        /// The pause between tries to join the LAN pool; at least 1s.
        retry_interval: Duration = Duration::from_secs(30),
        /// The pause between tries to join the WAN pool; at least 1s.
        retry_interval_wan: Duration = Duration::from_secs(30),
        /// How often to try the LAN pool before giving up; 0 means for ever.
        retry_max: u32 = 0,
        /// How often to try the WAN pool before giving up; 0 means for ever.
        retry_max_wan: u32 = 0,
        /// Join again after a leave and a new start.
        rejoin_after_leave: bool = false,
        /// Leave the cluster on SIGTERM. A server that leaves takes a voter away; null means clients
        /// only.
        leave_on_terminate: Option<bool> = None,
        /// Stop without leaving on SIGINT; null means servers only.
        skip_leave_on_interrupt: Option<bool> = None,
        /// After how long a failed member is reaped; at least 8h.
        reconnect_timeout: Duration = Duration::from_secs(72 * 3600),
        /// The same for servers of other datacenters.
        reconnect_timeout_wan: Duration = Duration::from_secs(72 * 3600),
        /// Networks that members of the LAN pool may come from; empty means all.
        serf_lan_allowed_cidrs: Vec<Network> = Vec::new(),
        /// Networks that members of the WAN pool may come from; empty means all.
        serf_wan_allowed_cidrs: Vec<Network> = Vec::new(),
        /// Timing of the LAN pool.
        gossip_lan: GossipConfig = GossipConfig::lan(),
        /// Timing of the WAN pool.
        gossip_wan: GossipConfig = GossipConfig::wan(),
        /// The gossip key, base64 of 16, 24 or 32 bytes; empty means none.
        encrypt: Secret = Secret::default(),
        /// Refuse gossip that is not sealed; false while a key is being rolled out.
        encrypt_verify_incoming: bool = true,
        /// Seal outgoing gossip; false while a key is being rolled out.
        encrypt_verify_outgoing: bool = true,
        /// Keep gossip keys in memory only.
        disable_keyring_file: bool = false,
        /// Take no part in the map of round-trip times.
        disable_coordinates: bool = false,

        /// Timing of elections and of calls to servers.
        performance: PerformanceConfig = PerformanceConfig::default(),
        /// Automatic care of the servers.
        autopilot: AutopilotConfig = AutopilotConfig::default(),
        /// Doubt before mass failure.
        guard: GuardConfig = GuardConfig::default(),
        /// The log's storage.
        raft_logstore: RaftLogConfig = RaftLogConfig::default(),
        /// The version of the Raft protocol; only 3 is spoken.
        raft_protocol: u32 = 3,
        /// How many entries make a new snapshot due. Fewer: shorter replay, more writing.
        raft_snapshot_threshold: u64 = 16384,
        /// How often it is asked whether a snapshot is due.
        raft_snapshot_interval: Duration = Duration::from_secs(30),
        /// How many entries stay in the log behind a snapshot, for followers that lag.
        raft_trailing_logs: u64 = 10240,
        /// How the agent calls servers.
        rpc: RpcConfig = RpcConfig::default(),
        /// The agent's memory of answers.
        cache: CacheConfig = CacheConfig::default(),
        /// After how long off a server refuses to start with its old data; at least 6h.
        server_rejoin_age_max: Duration = Duration::from_secs(7 * 24 * 3600),

        /// The built-in certificate authority.
        connect: ConnectConfig = ConnectConfig::default(),
        /// Tokens and policies.
        acl: AclConfig = AclConfig::default(),
        /// Certificates.
        tls: TlsConfig = TlsConfig::default(),
        /// Certificates for clients from the servers.
        auto_encrypt: AutoEncryptConfig = AutoEncryptConfig::default(),
        /// A log of requests.
        audit: AuditConfig = AuditConfig::default(),

        /// Metrics.
        telemetry: TelemetryConfig = TelemetryConfig::default(),
        /// The least severe lines that are logged: trace, debug, info, warn or error.
        log_level: String = "info".into(),
        /// Log lines as JSON objects.
        log_json: bool = false,
        /// A file, or a folder ending in '/', that the log goes to as well; empty means none.
        log_file: String = String::new(),
        /// The most bytes of a log file before the next is begun; 0 means no bound.
        log_rotate_bytes: u64 = 0,
        /// The longest a log file is used before the next is begun.
        log_rotate_duration: Duration = Duration::from_secs(24 * 3600),
        /// How many old log files are kept; 0 means all, -1 none.
        log_rotate_max_files: i64 = 0,
        /// Log to syslog as well.
        enable_syslog: bool = false,
        /// The syslog facility.
        syslog_facility: String = "LOCAL0".into(),
        /// Reload by itself when a configuration file changes.
        auto_reload_config: bool = false,
    }
    aliases {
        "service" => services,
        "check" => checks,
        "acl_datacenter" => primary_datacenter,
        "recursor" => recursors,
        "start_join" => retry_join,
        "start_join_wan" => retry_join_wan,
        "ui" => ui_config.enabled,
        "ui_dir" => ui_config.dir,
        "ui_content_path" => ui_config.content_path,
        "ca_file" => tls.defaults.ca_file,
        "ca_path" => tls.defaults.ca_path,
        "cert_file" => tls.defaults.cert_file,
        "key_file" => tls.defaults.key_file,
        "tls_min_version" => tls.defaults.tls_min_version,
        "tls_cipher_suites" => tls.defaults.tls_cipher_suites,
        "verify_incoming" => tls.defaults.verify_incoming,
        "verify_outgoing" => tls.defaults.verify_outgoing,
        "verify_incoming_rpc" => tls.internal_rpc.verify_incoming,
        "verify_incoming_https" => tls.https.verify_incoming,
        "verify_server_hostname" => tls.internal_rpc.verify_server_hostname,
        "acl_token" => acl.tokens.default,
        "acl_agent_token" => acl.tokens.agent,
        "acl_agent_master_token" => acl.tokens.agent_recovery,
        "acl_master_token" => acl.tokens.initial_management,
        "acl_replication_token" => acl.tokens.replication,
        "acl_default_policy" => acl.default_policy,
        "acl_down_policy" => acl.down_policy,
        "acl_enable_key_list_policy" => acl.enable_key_list_policy,
        "enable_acl_replication" => acl.enable_token_replication,
        "acl_ttl" => acl.token_ttl,
        "acl_policy_ttl" => acl.policy_ttl,
    }
    without_effect {
        "version": "Which version wrote the file.",
        "segments": "Network segments are an enterprise feature.",
        "segment": "Network segments are an enterprise feature.",
        "partition": "Admin partitions are an enterprise feature.",
        "locality": "Region and zone of the node; kept for later.",
        "experiments": "Consul's own trials.",
        "peering": "Cluster peering belongs to the mesh.",
        "config_entries": "Configuration entries belong to the mesh.",
        "auto_config": "Certificates and keys by a signed token; not offered.",
        "license_path": "There is no licence to install.",
        "reporting": "Nothing is reported to anyone.",
        "cloud": "No hosted service is spoken to.",
        "xds": "Envoy's protocol is not served yet.",
        "disable_update_check": "No update is ever looked for.",
        "disable_anonymous_signature": "No update is ever looked for.",
        "disable_remote_exec": "Remote execution does not exist.",
        "disable_http_unprintable_char_filter": "Unprintable characters in paths are always refused.",
        "use_streaming_backend": "Changes are always streamed.",
        "raft_prevote_disabled": "Elections always ask beforehand.",
        "raft_boltdb": "The log is not kept in BoltDB.",
        "protocol": "One gossip protocol is spoken.",
        "acl_enforce_version_8": "Always enforced.",
        "non_voting_server": "Read replicas are an enterprise feature.",
        "read_replica": "Read replicas are an enterprise feature.",
        "snapshot_agent": "An enterprise feature.",
        "enable_central_service_config": "Belongs to the mesh.",
        "default_intention_policy": "Belongs to the mesh.",
    }
}

/// Under which name the program was started, which decides a few defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalledAs {
    /// As itself: safe defaults, refusals.
    Muster,
    /// As `consul`: Consul's defaults, warnings instead of refusals.
    Consul,
}

impl CalledAs {
    /// Reads the name from `argv[0]`.
    pub fn from_program(program: &str) -> Self {
        let name = program.rsplit(['/', '\\']).next().unwrap_or(program);
        match name.strip_suffix(".exe").unwrap_or(name) {
            "consul" => CalledAs::Consul,
            _ => CalledAs::Muster,
        }
    }
}

impl Config {
    /// The value that files and flags are applied to.
    pub fn starting(called_as: CalledAs, is_dev: bool) -> Config {
        let mut config = Config::default();
        if called_as == CalledAs::Consul {
            config.server = false;
            config.bind_addr = "0.0.0.0".into();
        }
        if is_dev {
            config.make_dev();
            // Who runs it in Consul's name expects no port that Consul has not.
            if called_as == CalledAs::Muster {
                config.ports.eureka = Port::on(8761);
            }
        }
        config
    }

    /// What `agent -dev` starts with: one server in memory on loopback, with everything switched on.
    pub fn dev() -> Config {
        Config::starting(CalledAs::Muster, true)
    }

    fn make_dev(&mut self) {
        self.server = true;
        self.bootstrap = true;
        self.bind_addr = "127.0.0.1".into();
        self.log_level = "debug".into();
        self.enable_debug = true;
        self.disable_keyring_file = true;
        self.ui_config.enabled = true;
        self.connect.enabled = true;
        self.ports.grpc = Port::on(8502);
        self.performance.raft_multiplier = 1;
    }

    /// Whether SIGINT means to stop without leaving.
    pub fn skips_leave_on_interrupt(&self) -> bool {
        self.skip_leave_on_interrupt.unwrap_or(self.server)
    }

    /// Whether SIGTERM means to leave first.
    pub fn leaves_on_terminate(&self) -> bool {
        self.leave_on_terminate.unwrap_or(!self.server)
    }
}
