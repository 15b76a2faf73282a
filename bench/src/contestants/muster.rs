//! muster: this repository's binary, or an older one of it.

use std::path::{Path, PathBuf};

use super::{agent_api, consul_api, eureka_api};
use crate::Result;
use crate::contestant::{
    Addresses, Connection, Contestant, Deed, Doing, Instance, Kind, Plan, Service,
};
use crate::process::{Launch, free_ports};

/// muster, through one of the protocols that it speaks.
pub(crate) struct Muster {
    name: String,
    binary: PathBuf,
    speaks: Tongue,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tongue {
    Consul,
    Eureka,
    /// muster's own protocol between agents.
    Agents,
}

/// The listeners, by the word in their flag and that in the ready file.
const LISTENERS: [(&str, &str); 6] = [
    ("http", "http"),
    ("dns", "dns"),
    ("eureka", "eureka"),
    ("server", "server"),
    ("serf-lan", "serf_lan"),
    ("serf-wan", "serf_wan"),
];

/// All watchers of a bench come from one address.
const SETTINGS: &str = "limits { http_max_conns_per_client = 100000 }";

impl Muster {
    /// A binary, as clients of Consul and of DNS meet it.
    pub(crate) fn new(name: &str, binary: PathBuf) -> Muster {
        Muster { name: name.into(), binary, speaks: Tongue::Consul }
    }

    /// A binary, as clients of Eureka meet it.
    pub(crate) fn by_eureka(name: &str, binary: PathBuf) -> Muster {
        Muster { name: name.into(), binary, speaks: Tongue::Eureka }
    }

    /// A binary, as agents without state meet it.
    pub(crate) fn by_agents(name: &str, binary: PathBuf) -> Muster {
        Muster { name: name.into(), binary, speaks: Tongue::Agents }
    }

    fn plan(&self, folder: &Path, number: usize, ports: &[Vec<u16>]) -> Plan {
        let mut words = vec!["agent".to_string()];
        let ready_file = folder.join("ready.json");
        let mut options = vec![
            ("--data-dir".to_string(), folder.join("data").display().to_string()),
            ("--ready-file".into(), ready_file.display().to_string()),
            ("--log-level".into(), "warn".into()),
            ("--node".into(), format!("bench-{number}")),
            ("--bind".into(), "127.0.0.1".into()),
            ("--hcl".into(), SETTINGS.into()),
        ];
        for (listener, (flag, _)) in LISTENERS.iter().enumerate() {
            let port = ports.get(number).map_or(0, |ports| ports[listener]);
            options.push((format!("--{flag}-port"), port.to_string()));
        }
        match ports.len() {
            0 => words.push("--bootstrap".into()),
            n_servers => options.push(("--bootstrap-expect".into(), n_servers.to_string())),
        }
        for ports in ports {
            options.push(("--retry-join".into(), format!("127.0.0.1:{}", ports[4])));
        }
        words.extend(options.into_iter().flat_map(|(name, value)| [name, value]));
        let launch = Launch {
            program: self.binary.clone(),
            arguments: words,
            folder: folder.to_path_buf(),
            ..Launch::default()
        };
        Plan { launch, addresses: Addresses::new(), ready_file: Some(ready_file) }
    }
}

impl Contestant for Muster {
    fn name(&self) -> &str {
        &self.name
    }

    fn can(&self, kind: Kind) -> bool {
        match self.speaks {
            Tongue::Consul => consul_api::can(kind) || kind == Kind::WatchTogether,
            Tongue::Eureka => eureka_api::can(kind),
            Tongue::Agents => agent_api::can(kind),
        }
    }

    fn install(&self) -> Result<String> {
        let said = std::process::Command::new(&self.binary).arg("version").output();
        let said = said.map_err(|error| format!("{}: {error}", self.binary.display()))?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        Ok(text.lines().next().unwrap_or_default().trim_start_matches("muster ").into())
    }

    /// A single server takes any free port; several have to know where to find each other.
    fn plans(&self, folders: &[PathBuf]) -> Result<Vec<Plan>> {
        let ports = match folders.len() {
            1 => Vec::new(),
            n_servers => {
                let ports = free_ports(n_servers * LISTENERS.len())?;
                ports.chunks(LISTENERS.len()).map(<[u16]>::to_vec).collect()
            }
        };
        let plans = folders.iter().enumerate();
        Ok(plans.map(|(number, folder)| self.plan(folder, number, &ports)).collect())
    }

    fn first_deed(&self) -> Deed {
        match self.speaks {
            Tongue::Consul | Tongue::Agents => Deed::Put(0),
            Tongue::Eureka => {
                Deed::Register(Instance { service: Service::Fleet(0), number: 0, version: 0 })
            }
        }
    }

    fn connect<'a>(&'a self, to: &'a Addresses) -> Doing<'a, Box<dyn Connection>> {
        match self.speaks {
            Tongue::Consul => Box::pin(consul_api::connect(to)),
            Tongue::Eureka => Box::pin(eureka_api::connect(to)),
            Tongue::Agents => Box::pin(agent_api::connect(to)),
        }
    }

    fn leads<'a>(&'a self, server: &'a Addresses) -> Doing<'a, bool> {
        Box::pin(consul_api::leads(server))
    }
}
