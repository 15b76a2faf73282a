//! Consul, built from its module, as its manual has it run in production.
//!
//! `raft_multiplier` is 1, which the manual asks for in production, and not the 5 it is shipped
//! with; the mesh, which nobody here uses, is off.

use std::path::PathBuf;

use super::consul_api;
use crate::Result;
use crate::contestant::{Addresses, Connection, Contestant, Doing, Kind, Plan};
use crate::install;
use crate::process::{Launch, free_ports};
use crate::versions::{CONSUL, CONSUL_EXCLUDES, CONSUL_MODULES};

/// Consul of [`CONSUL`].
pub(crate) struct Consul;

/// The listeners, as their flags name them.
const LISTENERS: [&str; 5] = ["http", "dns", "server", "serf-lan", "serf-wan"];

/// As muster's: all watchers come from one address. Servers look for each other again soon, which
/// muster's do unasked.
/// Consul refuses to start with more connections than the machine allows open files.
const SETTINGS: &str = "retry_interval = \"1s\" performance { raft_multiplier = 1 } \
    connect { enabled = false } disable_update_check = true \
    limits { http_max_conns_per_client = 15000 }";

impl Contestant for Consul {
    fn name(&self) -> &str {
        "Consul"
    }

    fn can(&self, kind: Kind) -> bool {
        consul_api::can(kind)
    }

    fn install(&self) -> Result<String> {
        program()?;
        Ok(CONSUL.into())
    }

    fn plans(&self, folders: &[PathBuf]) -> Result<Vec<Plan>> {
        let ports = free_ports(folders.len() * LISTENERS.len())?;
        let ports: Vec<&[u16]> = ports.chunks(LISTENERS.len()).collect();
        let program = program()?;
        let plan = |(number, folder): (usize, &PathBuf)| {
            let mut words: Vec<String> =
                ["agent", "-server", "-bind=127.0.0.1", "-disable-host-node-id"]
                    .map(String::from)
                    .into();
            words.extend([
                format!("-data-dir={}", folder.join("data").display()),
                format!("-node=bench-{number}"),
                format!("-bootstrap-expect={}", folders.len()),
                format!("-hcl={SETTINGS}"),
                "-log-level=warn".into(),
            ]);
            words.extend(["-grpc-port=-1", "-grpc-tls-port=-1"].map(String::from));
            let mut addresses = Addresses::new();
            for (listener, port) in LISTENERS.iter().zip(ports[number]) {
                words.push(format!("-{listener}-port={port}"));
                addresses.insert((*listener).into(), ([127, 0, 0, 1], *port).into());
            }
            for others in ports.iter().filter(|_| ports.len() > 1) {
                words.push(format!("-retry-join=127.0.0.1:{}", others[3]));
            }
            let (program, folder) = (program.clone(), folder.clone());
            let launch = Launch { program, arguments: words, folder, ..Launch::default() };
            Plan { launch, addresses, ready_file: None }
        };
        Ok(folders.iter().enumerate().map(plan).collect())
    }

    fn connect<'a>(&'a self, to: &'a Addresses) -> Doing<'a, Box<dyn Connection>> {
        Box::pin(consul_api::connect(to))
    }

    fn leads<'a>(&'a self, server: &'a Addresses) -> Doing<'a, bool> {
        Box::pin(consul_api::leads(server))
    }
}

fn program() -> Result<PathBuf> {
    let mut lines = String::new();
    for (module, version) in CONSUL_MODULES {
        lines.push_str(&format!("replace {module} => {module} {version}\n"));
    }
    for (module, version) in CONSUL_EXCLUDES {
        lines.push_str(&format!("exclude {module} {version}\n"));
    }
    install::go("github.com/hashicorp/consul", CONSUL, &lines)
}
