//! Services, checks and watches as files and `services register` define them.
//!
//! The keys are Consul's; what they mean in the words of the registry is decided in `declare.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_registry::call::Secret;
use muster_registry::operator::SettingValue;

use super::declare;
use super::setting::{Listed, Reader, Setting, settings};
use super::syntax::{Node, Value};

settings! {
    /// A service as a file defines it.
    pub struct ServiceDefinition {
        /// The service's name, under which instances are found.
        name: String = String::new(),
        /// The instance's id, unique on its node; empty means the name.
        id: String = String::new(),
        /// Labels.
        tags: Vec<String> = Vec::new(),
        /// An IP address or host name; empty means the node's.
        address: String = String::new(),
        /// Addresses by purpose (lan, wan, lan_ipv4, ...), each with a port.
        tagged_addresses: BTreeMap<String, EndpointDefinition> = BTreeMap::new(),
        /// The port; 0 means none.
        port: u16 = 0,
        /// Several named ports, in place of port.
        ports: Vec<PortDefinition> = Vec::new(),
        /// A unix socket in place of address and port.
        socket_path: String = String::new(),
        /// Facts about the instance: 64 pairs at most.
        meta: BTreeMap<String, String> = BTreeMap::new(),
        /// How much of the load it takes.
        weights: WeightsDefinition = WeightsDefinition::default(),
        /// Let tags changed in the catalog win over these.
        enable_tag_override: bool = false,
        /// Its checks.
        checks: Vec<CheckDefinition> = Vec::new(),
        /// The token it is registered with.
        token: Secret = Secret::default(),
        /// Where it stands.
        locality: LocalityDefinition = LocalityDefinition::default(),
        /// What kind of proxy or gateway it is; empty for an ordinary instance.
        kind: String = String::new(),
        /// The proxy's settings, kept word for word.
        proxy: Document = Document::default(),
        /// The mesh's settings, kept word for word.
        connect: Document = Document::default(),
    }
    aliases {
        "check" => checks,
        "service" => name,
        "service_name" => name,
        "service_id" => id,
    }
    without_effect {
        "namespace": "An enterprise feature.",
        "partition": "An enterprise feature.",
    }
}

settings! {
    /// An address with a port.
    pub struct EndpointDefinition {
        /// An IP address or host name.
        address: String = String::new(),
        /// The port; 0 means the instance's.
        port: u16 = 0,
    }
}

settings! {
    /// One of several ports.
    pub struct PortDefinition {
        /// Its name, unique in its instance.
        name: String = String::new(),
        /// The port.
        port: u16 = 0,
        /// Whether it answers where no port is named.
        default: bool = false,
    }
}

settings! {
    /// How much of the load an instance takes.
    pub struct WeightsDefinition {
        /// While passing: 1 to 65535.
        passing: u16 = 1,
        /// While warning: 0 to 65535.
        warning: u16 = 1,
    }
}

settings! {
    /// Where an instance stands.
    pub struct LocalityDefinition {
        /// For example us-west-1.
        region: String = String::new(),
        /// For example us-west-1a.
        zone: String = String::new(),
    }
}

settings! {
    /// A check as a file defines it. Which kind it is follows from the keys that are set.
    pub struct CheckDefinition {
        /// The check's id, unique on its node; empty means the name, or one made of the service's id.
        id: String = String::new(),
        /// Its name, for people.
        name: String = String::new(),
        /// What its author wants readers to know.
        notes: String = String::new(),
        /// The status before the first result: passing, warning or critical (the default).
        status: String = String::new(),
        /// The instance it is about; empty means the node.
        service_id: String = String::new(),
        /// The token it is registered with.
        token: Secret = Secret::default(),
        /// The pause between two runs; at least 1s.
        interval: Duration = Duration::ZERO,
        /// How long one run may take; 0 means the kind's usual time (10s, scripts 30s).
        timeout: Duration = Duration::ZERO,
        /// Passing as long as somebody says so once within this time.
        ttl: Duration = Duration::ZERO,
        /// A URL that answers 2xx while all is well.
        http: String = String::new(),
        /// The method of http; empty means GET.
        method: String = String::new(),
        /// Headers of http, each with a list of values.
        header: BTreeMap<String, Vec<String>> = BTreeMap::new(),
        /// The body of http.
        body: String = String::new(),
        /// Take a redirect for the result.
        disable_redirects: bool = false,
        /// The name expected in the certificate; empty means the address's host.
        tls_server_name: String = String::new(),
        /// Take any certificate.
        tls_skip_verify: bool = false,
        /// host:port that takes connections while all is well.
        tcp: String = String::new(),
        /// Whether tcp makes a TLS handshake too.
        tcp_use_tls: bool = false,
        /// host:port that does not refuse datagrams while all is well.
        udp: String = String::new(),
        /// host:port, or host:port/service, of gRPC's health protocol.
        grpc: String = String::new(),
        /// Whether grpc speaks TLS.
        grpc_use_tls: bool = false,
        /// host:port that answers pings of HTTP/2.
        h2ping: String = String::new(),
        /// Whether h2ping speaks TLS.
        h2ping_use_tls: bool = true,
        /// A program and its arguments: exit code 0 passes, 1 warns.
        args: Vec<String> = Vec::new(),
        /// The container that args runs in.
        docker_container_id: String = String::new(),
        /// The shell that args runs with in the container.
        shell: String = String::new(),
        /// A service of the operating system.
        os_service: String = String::new(),
        /// The node whose status this check copies; empty means this one.
        alias_node: String = String::new(),
        /// The instance whose status this check copies.
        alias_service: String = String::new(),
        /// Consecutive good results before passing.
        success_before_passing: u16 = 0,
        /// Consecutive bad results before warning; 0 means failures_before_critical.
        failures_before_warning: u16 = 0,
        /// Consecutive bad results before critical.
        failures_before_critical: u16 = 0,
        /// Deregister the instance after it was critical for so long; 0 means never, else at least 1m.
        deregister_critical_service_after: Duration = Duration::ZERO,
        /// The most bytes of output kept; 0 means check_output_max_size, more than that counts as that.
        output_max_size: u32 = 0,
    }
    aliases {
        "check_id" => id,
        "script_args" => args,
        "serviceid" => service_id,
        "scriptargs" => args,
        "dockercontainerid" => docker_container_id,
        "tlsservername" => tls_server_name,
        "tlsskipverify" => tls_skip_verify,
        "deregistercriticalserviceafter" => deregister_critical_service_after,
    }
    without_effect {
        "namespace": "An enterprise feature.",
        "partition": "An enterprise feature.",
        "expose_path": "Belongs to the mesh.",
        "session_name": "A check by session; not offered.",
    }
}

settings! {
    /// A watch: what it looks at, and what runs when that changes.
    pub struct WatchDefinition {
        /// key, keyprefix, services, nodes, service, checks, event, connect_roots, connect_leaf or
        /// agent_service.
        kind ("type"): String = String::new(),
        /// The key of a watch on a pair.
        key: String = String::new(),
        /// The prefix of a watch on pairs.
        prefix: String = String::new(),
        /// The service of a watch on a service or its checks.
        service: String = String::new(),
        /// The instance of a watch on an agent's service.
        service_id: String = String::new(),
        /// Tags that instances must have.
        tag: Vec<String> = Vec::new(),
        /// Only instances that pass.
        passingonly: bool = false,
        /// Only checks in this status.
        state: String = String::new(),
        /// Only events of this name.
        name: String = String::new(),
        /// A filter expression.
        filter: String = String::new(),
        /// Let any server answer.
        stale: bool = false,
        /// The datacenter that is asked; empty means the own one.
        datacenter: String = String::new(),
        /// The token it asks with.
        token: Secret = Secret::default(),
        /// script (args) or http (http_handler_config).
        handler_type: String = "script".into(),
        /// The program that gets the answer as JSON on its standard input; a string runs in a shell.
        args: Vec<String> = Vec::new(),
        /// A command line for the shell, in place of args.
        handler: String = String::new(),
        /// Where the answer is posted.
        http_handler_config: HttpHandlerConfig = HttpHandlerConfig::default(),
    }
    aliases {
        "passing_only" => passingonly,
    }
}

settings! {
    /// Where a watch posts what changed.
    pub struct HttpHandlerConfig {
        /// The URL.
        path: String = String::new(),
        /// The method.
        method: String = "POST".into(),
        /// Headers, each with a list of values.
        header: BTreeMap<String, Vec<String>> = BTreeMap::new(),
        /// How long it may take.
        timeout: Duration = Duration::from_secs(10),
        /// Take any certificate.
        tls_skip_verify: bool = false,
    }
}

impl WatchDefinition {
    /// Whether it says all that its kind needs.
    pub fn verified(&self) -> Result<(), String> {
        let missing = |what: &str| Err(format!("a watch of type {} needs {what}", self.kind));
        match self.kind.as_str() {
            "key" if self.key.is_empty() => missing("a key"),
            "keyprefix" if self.prefix.is_empty() => missing("a prefix"),
            "service" if self.service.is_empty() => missing("a service"),
            "agent_service" if self.service_id.is_empty() => missing("a service_id"),
            "checks" if !self.service.is_empty() && !self.state.is_empty() => {
                Err("a watch of type checks takes a service or a state, not both".into())
            }
            "key" | "keyprefix" | "services" | "nodes" | "service" | "checks" | "event"
            | "agent_service" | "connect_roots" | "connect_leaf" => Ok(()),
            "" => Err("a watch needs a type".into()),
            kind => Err(format!("there is no watch of type {kind:?}")),
        }
    }

    /// Whether it says what happens when something changes.
    pub fn verified_handler(&self) -> Result<(), String> {
        let url = &self.http_handler_config.path;
        match self.handler_type.as_str() {
            "script" if self.args.is_empty() && self.handler.is_empty() => {
                Err("a watch needs args, the program that is run".into())
            }
            "http" if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) => {
                Err(format!("http_handler_config.path {url:?}: write an http:// or https:// URL"))
            }
            "script" | "http" => Ok(()),
            other => Err(format!("handler_type {other:?} is neither script nor http")),
        }
    }
}

impl Listed for ServiceDefinition {
    const ITEM: &'static str = "a service";
    fn label(&mut self, label: &str) {
        label.clone_into(&mut self.name);
    }
    fn verify(&self) -> Result<(), String> {
        // Its checks have been verified one by one.
        let alone = ServiceDefinition { checks: Vec::new(), ..self.clone() };
        declare::service(&alone).map(|_| ())
    }
}

impl Listed for CheckDefinition {
    const ITEM: &'static str = "a check";
    fn label(&mut self, label: &str) {
        label.clone_into(&mut self.name);
    }
    fn verify(&self) -> Result<(), String> {
        declare::check(self).map(|_| ())
    }
}

impl Listed for PortDefinition {
    const ITEM: &'static str = "a port of a service";
    fn label(&mut self, label: &str) {
        label.clone_into(&mut self.name);
    }
}

impl Listed for WatchDefinition {
    const ITEM: &'static str = "a watch";
    fn label(&mut self, label: &str) {
        label.clone_into(&mut self.kind);
    }
}

/// Settings that are another part's to understand, kept as JSON; empty if there are none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document(pub String);

impl Setting for Document {
    const KIND: &'static str = "an object";
    fn read(&mut self, node: &Node, _: &mut Reader) {
        if node.value != Value::Null {
            self.0 = json_of(node).to_string();
        }
    }
    fn value(&self) -> SettingValue {
        if self.0.is_empty() { SettingValue::Absent } else { SettingValue::Text((&self.0).into()) }
    }
}

/// A tree as JSON; of a key that occurs twice the last is kept.
pub fn json_of(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(text) => {
            let number: Option<serde_json::Number> = serde_json::from_str(text).ok();
            number.map_or_else(|| text.clone().into(), serde_json::Value::Number)
        }
        Value::Text(text) => text.clone().into(),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Object(object) => {
            let pairs =
                object.entries.iter().map(|entry| (entry.key.clone(), json_of(&entry.node)));
            let inner = serde_json::Value::Object(pairs.collect());
            match &object.label {
                Some(label) => serde_json::json!({ label: inner }),
                None => inner,
            }
        }
    }
}
