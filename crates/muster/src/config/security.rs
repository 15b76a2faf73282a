//! The sections about trust: tokens, certificates, audit. Read whole; enforced in a later release.

use std::time::Duration;

use muster_registry::call::Secret;

use super::setting::settings;

settings! {
    /// Tokens and policies.
    pub struct AclConfig {
        /// Whether tokens are asked for.
        enabled: bool = false,
        /// What a caller may do where no rule speaks: allow or deny.
        default_policy: String = "allow".into(),
        /// What to do while the primary datacenter cannot be asked: allow, deny, extend-cache or
        /// async-cache.
        down_policy: String = "extend-cache".into(),
        /// How long a resolved token is kept.
        token_ttl: Duration = Duration::from_secs(30),
        /// How long a policy is kept.
        policy_ttl: Duration = Duration::from_secs(30),
        /// How long a role is kept.
        role_ttl: Duration = Duration::ZERO,
        /// Ask for the list permission where a prefix of keys is read.
        enable_key_list_policy: bool = false,
        /// Copy tokens from the primary datacenter.
        enable_token_replication: bool = false,
        /// Keep tokens set over the API on disk.
        enable_token_persistence: bool = false,
        /// Tokens this agent uses.
        tokens: AclTokens = AclTokens::default(),
    }
    without_effect {
        "msp_disable_bootstrap": "An enterprise feature.",
    }
}

settings! {
    /// Tokens this agent uses. None is logged or shown.
    pub struct AclTokens {
        /// For callers that bring none.
        default: Secret = Secret::default(),
        /// For the agent's own upkeep of the catalog.
        agent: Secret = Secret::default(),
        /// For getting at the agent when no server can be asked.
        agent_recovery: Secret = Secret::default(),
        /// The first token with every right.
        initial_management: Secret = Secret::default(),
        /// For copying from the primary datacenter.
        replication: Secret = Secret::default(),
        /// For services and checks of configuration files.
        config_file_service_registration: Secret = Secret::default(),
        /// For DNS.
        dns: Secret = Secret::default(),
    }
    aliases {
        "master" => initial_management,
        "agent_master" => agent_recovery,
    }
    without_effect {
        "managed_service_provider": "An enterprise feature.",
    }
}

settings! {
    /// Certificates: a default, and what differs by listener.
    pub struct TlsConfig {
        /// For every listener that does not say otherwise.
        defaults: TlsListener = TlsListener::default(),
        /// For the HTTP API.
        https: TlsListener = TlsListener::default(),
        /// For gRPC.
        grpc: TlsListener = TlsListener::default(),
        /// Between agents.
        internal_rpc: TlsListener = TlsListener::default(),
    }
}

settings! {
    /// Certificates of one listener; null or empty means those of `defaults`.
    pub struct TlsListener {
        /// A file of trusted roots, PEM.
        ca_file: String = String::new(),
        /// A folder of trusted roots, PEM.
        ca_path: String = String::new(),
        /// The certificate, PEM.
        cert_file: String = String::new(),
        /// Its key, PEM.
        key_file: String = String::new(),
        /// The oldest version spoken: TLSv1_2 or TLSv1_3.
        tls_min_version: String = String::new(),
        /// Cipher suites, comma separated.
        tls_cipher_suites: String = String::new(),
        /// Demand a certificate of who connects.
        verify_incoming: Option<bool> = None,
        /// Check the certificate of who is connected to.
        verify_outgoing: Option<bool> = None,
        /// Demand that the other is a server of the datacenter by its certificate's name.
        verify_server_hostname: Option<bool> = None,
        /// Let auto_encrypt's certificates in without a client certificate.
        use_auto_cert: bool = false,
    }
}

settings! {
    /// Certificates for clients from the servers.
    pub struct AutoEncryptConfig {
        /// Ask for one (clients).
        tls: bool = false,
        /// Give them out (servers).
        allow_tls: bool = false,
        /// More DNS names for it.
        dns_san: Vec<String> = Vec::new(),
        /// More IP addresses for it.
        ip_san: Vec<String> = Vec::new(),
    }
}

settings! {
    /// A log of requests; an enterprise feature of Consul, not offered.
    pub struct AuditConfig {
        /// Whether to keep it; true is refused with a warning.
        enabled: bool = false,
    }
    without_effect {
        "sink": "Where it would go.",
        "rpc_enabled": "Whether calls between agents would count.",
    }
}
