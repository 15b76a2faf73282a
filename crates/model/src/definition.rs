//! The rule by which a check is run: what to try, how often, and how many results make a status.
//!
//! One rule, one kind: a definition that names several kinds at once is settled where it is parsed.
//! The consecutive-result thresholds are decided by `health`, the trying is done by the agent's
//! runners.

use std::time::Duration;

use minicbor::{Decode, Encode};

use crate::Text;

/// How a check is run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct CheckDefinition {
    /// What is tried.
    #[n(0)]
    pub rule: Rule,
    /// The pause between the end of one run and the start of the next. Zero for rules that do not
    /// run ([`Rule::Ttl`], [`Rule::Alias`], [`Rule::None`]).
    #[n(1)]
    pub interval: Duration,
    /// How long one run may take; zero means the rule's usual time.
    #[n(2)]
    pub timeout: Duration,
    /// Consecutive good results before passing, at least 1.
    #[n(3)]
    pub success_before_passing: u16,
    /// Consecutive bad results before warning; at most `failures_before_critical`.
    #[n(4)]
    pub failures_before_warning: u16,
    /// Consecutive bad results before critical, at least 1.
    #[n(5)]
    pub failures_before_critical: u16,
    /// How long the check may stay critical before its instance is deregistered; zero: for ever.
    #[n(6)]
    pub deregister_critical_after: Duration,
    /// Bytes of output kept; zero means the agent's limit.
    #[n(7)]
    pub output_max: u32,
}

/// What a check tries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub enum Rule {
    /// Nothing: somebody else writes the status.
    #[default]
    #[n(0)]
    None,
    /// Passing while told so within `ttl`.
    #[n(1)]
    Ttl {
        /// How long one word holds.
        #[n(0)]
        ttl: Duration,
    },
    /// A request over HTTP: 2xx passes, 429 warns.
    #[n(2)]
    Http {
        /// The whole URL.
        #[n(0)]
        url: Text,
        /// `GET` where nobody chose another.
        #[n(1)]
        method: Text,
        /// Header lines, several values each, in the order given.
        #[n(2)]
        headers: Vec<(Text, Vec<Text>)>,
        /// Sent as it is.
        #[n(3)]
        body: Text,
        /// Whether an answer that points elsewhere is the result itself.
        #[n(4)]
        disable_redirects: bool,
        /// For `https`.
        #[n(5)]
        tls: TlsOptions,
    },
    /// A connection that opens passes.
    #[n(3)]
    Tcp {
        /// `host:port`.
        #[n(0)]
        address: Text,
        /// Whether a TLS handshake has to succeed too.
        #[n(1)]
        use_tls: bool,
        /// For `use_tls`.
        #[n(2)]
        tls: TlsOptions,
    },
    /// A datagram that is not refused passes.
    #[n(4)]
    Udp {
        /// `host:port`.
        #[n(0)]
        address: Text,
    },
    /// gRPC's health protocol: SERVING passes.
    #[n(5)]
    Grpc {
        /// `host:port`, or `host:port/service`.
        #[n(0)]
        target: Text,
        /// Whether it speaks TLS.
        #[n(1)]
        use_tls: bool,
        /// For `use_tls`.
        #[n(2)]
        tls: TlsOptions,
    },
    /// A ping of HTTP/2 that is acknowledged passes.
    #[n(6)]
    H2ping {
        /// `host:port`.
        #[n(0)]
        address: Text,
        /// Whether it speaks TLS.
        #[n(1)]
        use_tls: bool,
        /// For `use_tls`.
        #[n(2)]
        tls: TlsOptions,
    },
    /// A program's exit code: 0 passes, 1 warns.
    #[n(7)]
    Script {
        /// The program and its arguments; no shell.
        #[n(0)]
        args: Vec<Text>,
    },
    /// A program inside a container.
    #[n(8)]
    Docker {
        /// The container.
        #[n(0)]
        container_id: Text,
        /// The shell to run it with; empty: none.
        #[n(1)]
        shell: Text,
        /// The program and its arguments.
        #[n(2)]
        args: Vec<Text>,
    },
    /// A service of the operating system.
    #[n(9)]
    OsService {
        /// Its name there.
        #[n(0)]
        name: Text,
    },
    /// The worst status of another instance or node.
    #[n(10)]
    Alias {
        /// The other node; empty: this one.
        #[n(0)]
        node: Text,
        /// The other instance's id; empty: the node itself.
        #[n(1)]
        instance_id: Text,
    },
}

/// Where a declaration to an agent came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Source {
    /// A client asked for it; it is kept on disk.
    #[default]
    #[n(0)]
    Client,
    /// A definition file; it is read again at a reload.
    #[n(1)]
    File,
}

/// How a check speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TlsOptions {
    /// The name expected in the certificate; empty: the host of the address.
    #[n(0)]
    pub server_name: Text,
    /// Whether any certificate will do.
    #[n(1)]
    pub skip_verify: bool,
}

impl Rule {
    /// The word for this kind of rule, as it stands in the catalog.
    pub fn kind(&self) -> &'static str {
        match self {
            Rule::None => "",
            Rule::Ttl { .. } => "ttl",
            Rule::Http { .. } => "http",
            Rule::Tcp { .. } => "tcp",
            Rule::Udp { .. } => "udp",
            Rule::Grpc { .. } => "grpc",
            Rule::H2ping { .. } => "h2ping",
            Rule::Script { .. } => "script",
            Rule::Docker { .. } => "docker",
            Rule::OsService { .. } => "os_service",
            Rule::Alias { .. } => "alias",
        }
    }
}
