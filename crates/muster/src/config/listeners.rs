//! The sections about what clients connect to: ports, addresses, HTTP, limits.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use super::setting::{Network, Port, settings};
use super::verify::not_an_address;

settings! {
    /// Ports by listener: 0 takes any free one, -1 switches the listener off.
    pub struct PortsConfig {
        /// DNS over UDP and TCP.
        dns: Port = Port::on(8600),
        /// The HTTP API.
        http: Port = Port::on(8500),
        /// The HTTP API over TLS; needs a certificate.
        https: Port = Port::OFF,
        /// Eureka's REST protocol, which is also under /eureka on the HTTP API's port; 8761 with -dev.
        eureka: Port = Port::OFF,
        /// gRPC; kept for later.
        grpc: Port = Port::OFF,
        /// gRPC over TLS; kept for later.
        grpc_tls: Port = Port::OFF,
        /// Calls between agents, and Raft.
        server: Port = Port::on(8300),
        /// The LAN pool, UDP and TCP.
        serf_lan: Port = Port::on(8301),
        /// The WAN pool, UDP and TCP.
        serf_wan: Port = Port::on(8302),
    }
    without_effect {
        "sidecar_min_port": "Belongs to the mesh.",
        "sidecar_max_port": "Belongs to the mesh.",
        "expose_min_port": "Belongs to the mesh.",
        "expose_max_port": "Belongs to the mesh.",
        "proxy_min_port": "Belongs to the mesh.",
        "proxy_max_port": "Belongs to the mesh.",
        "rpc": "Not used since Consul 0.8.",
    }
}

settings! {
    /// Addresses by listener, separated by spaces; `unix:///path` is a unix socket. Empty means
    /// client_addr.
    pub struct AddressesConfig {
        /// DNS; no unix socket here.
        dns: String = String::new(),
        /// The HTTP API.
        http: String = String::new(),
        /// The HTTP API over TLS.
        https: String = String::new(),
        /// Eureka's REST protocol.
        eureka: String = String::new(),
        /// gRPC.
        grpc: String = String::new(),
        /// gRPC over TLS.
        grpc_tls: String = String::new(),
    }
}

settings! {
    /// Who may use a unix socket.
    pub struct UnixSocketsConfig {
        /// The owner's id or name; empty means the agent's own.
        user: String = String::new(),
        /// The group's id or name; empty means the agent's own.
        group: String = String::new(),
        /// The permission bits, in octal.
        mode: String = String::new(),
    }
}

settings! {
    /// How the HTTP API behaves.
    pub struct HttpConfig {
        /// Headers added to every answer.
        response_headers: BTreeMap<String, String> = BTreeMap::new(),
        /// Path prefixes, e.g. /v1/kv, that are answered with 403.
        block_endpoints: Vec<String> = Vec::new(),
        /// Networks that may write; empty means all, anyone else gets 403 on all but GET.
        allow_write_http_from: Vec<Network> = Vec::new(),
        /// Whether ?cached may be answered from the agent's memory.
        use_cache: bool = true,
        /// The most bytes of a request's headers; 0 means the listener's own limit.
        max_header_bytes: u32 = 0,
    }
}

settings! {
    /// The web pages.
    pub struct UiConfig {
        /// Serve them.
        enabled: bool = false,
        /// A folder to serve in their place; kept for later.
        dir: String = String::new(),
        /// The path they are under.
        content_path: String = "/ui/".into(),
    }
    without_effect {
        "metrics_provider": "Charts of the mesh are not offered.",
        "metrics_provider_files": "Charts of the mesh are not offered.",
        "metrics_provider_options_json": "Charts of the mesh are not offered.",
        "metrics_proxy": "Charts of the mesh are not offered.",
        "dashboard_url_templates": "Charts of the mesh are not offered.",
        "hcp_enabled": "No hosted service is spoken to.",
    }
}

settings! {
    /// Bounds on what clients may ask of this agent.
    pub struct LimitsConfig {
        /// How many HTTP connections one client address may hold; beyond it 429. 0 means no bound.
        http_max_conns_per_client: u32 = 200,
        /// The longest a TLS handshake of the HTTP API may take.
        https_handshake_timeout: Duration = Duration::from_secs(5),
        /// The most bytes of a pair's value; beyond it 413. Large values slow every server down.
        kv_max_value_size: u64 = 512 * 1024,
        /// The most bytes of a transaction's body; 0 means kv_max_value_size.
        txn_max_req_len: u64 = 0,
        /// The longest a TLS handshake between agents may take.
        rpc_handshake_timeout: Duration = Duration::from_secs(5),
        /// The longest a call to a server may take, waiting excepted.
        rpc_client_timeout: Duration = Duration::from_secs(60),
        /// How many connections one agent address may hold to a server; 0 means no bound.
        rpc_max_conns_per_client: u32 = 100,
        /// How many calls a second this agent makes to servers; -1 means no bound.
        rpc_rate: f64 = -1.0,
        /// How many calls may be made at once before rpc_rate counts.
        rpc_max_burst: u32 = 1000,
        /// Bounds on reads and writes of a server.
        request_limits: RequestLimitsConfig = RequestLimitsConfig::default(),
    }
}

settings! {
    /// Bounds on reads and writes of a server.
    pub struct RequestLimitsConfig {
        /// disabled, permissive (log only) or enforcing.
        mode: String = "disabled".into(),
        /// Reads a second; -1 means no bound.
        read_rate: f64 = -1.0,
        /// Writes a second; -1 means no bound.
        write_rate: f64 = -1.0,
    }
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a port; port 0 takes any free one.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The IP address, unless it is a unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            ListenAddress::Tcp(address) => Some(address.ip()),
            ListenAddress::Unix(_) => None,
        }
    }
}

impl Config {
    /// Where the HTTP API listens; nowhere if its port is off.
    pub fn http_listeners(&self) -> Vec<ListenAddress> {
        let found = listen_addresses(&self.addresses.http, &self.client_addr, self.ports.http);
        found.expect("addresses were verified when the configuration was loaded")
    }

    /// Where Eureka's protocol listens on a port of its own; nowhere if its port is off.
    pub fn eureka_listeners(&self) -> Vec<ListenAddress> {
        let found = listen_addresses(&self.addresses.eureka, &self.client_addr, self.ports.eureka);
        found.expect("addresses were verified when the configuration was loaded")
    }

    /// Where DNS listens, over UDP and TCP; nowhere if its port is off.
    pub fn dns_listeners(&self) -> Vec<SocketAddr> {
        let found = listen_addresses(&self.addresses.dns, &self.client_addr, self.ports.dns)
            .expect("addresses were verified when the configuration was loaded");
        let tcp = |address| match address {
            ListenAddress::Tcp(address) => Some(address),
            ListenAddress::Unix(_) => None,
        };
        found.into_iter().filter_map(tcp).collect()
    }
}

/// The addresses that `own`, or else `client`, stands for.
pub fn listen_addresses(own: &str, client: &str, port: Port) -> Result<Vec<ListenAddress>, String> {
    let text = if own.trim().is_empty() { client } else { own };
    if text.contains("{{") {
        return Err(not_an_address(text));
    }
    let mut found = Vec::new();
    for word in text.split_whitespace() {
        if let Some(path) = word.strip_prefix("unix://") {
            found.push(ListenAddress::Unix(path.into()));
            continue;
        }
        let ip = match word {
            "localhost" => IpAddr::from([127, 0, 0, 1]),
            word => word.parse().map_err(|_| not_an_address(word))?,
        };
        if let Port(Some(port)) = port {
            found.push(ListenAddress::Tcp(SocketAddr::new(ip, port)));
        }
    }
    Ok(found)
}
