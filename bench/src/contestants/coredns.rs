//! CoreDNS, built from its module, with the same services in a zone file.

use std::path::PathBuf;

use super::consul_api::FIRST_QUESTION;
use crate::Result;
use crate::contestant::{Addresses, Connection, Contestant, Deed, Doing, Kind, Plan};
use crate::dns::{Resolver, zone};
use crate::install;
use crate::process::{Launch, free_ports};
use crate::versions::COREDNS;

/// CoreDNS of [`COREDNS`].
pub(crate) struct CoreDns;

impl Contestant for CoreDns {
    fn name(&self) -> &str {
        "CoreDNS"
    }

    fn can(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Ask | Kind::AskOverTcp)
    }

    fn install(&self) -> Result<String> {
        program()?;
        Ok(COREDNS.into())
    }

    fn plans(&self, folders: &[PathBuf]) -> Result<Vec<Plan>> {
        let ports = free_ports(folders.len())?;
        let program = program()?;
        let plan = |(folder, port): (&PathBuf, &u16)| {
            std::fs::write(folder.join("zone"), zone())?;
            std::fs::write(folder.join("settings"), settings(*port))?;
            let arguments = ["-conf", "settings"].map(String::from).into();
            let (program, folder) = (program.clone(), folder.clone());
            let addresses = Addresses::from([("dns".into(), ([127, 0, 0, 1], *port).into())]);
            let launch = Launch { program, arguments, folder, ..Launch::default() };
            Ok(Plan { launch, addresses, ready_file: None })
        };
        folders.iter().zip(&ports).map(plan).collect()
    }

    fn first_deed(&self) -> Deed {
        FIRST_QUESTION
    }

    fn connect<'a>(&'a self, to: &'a Addresses) -> Doing<'a, Box<dyn Connection>> {
        Box::pin(async move {
            let at = *to.get("dns").ok_or("no address for DNS")?;
            Ok(Box::new(Resolver::new(at)) as Box<dyn Connection>)
        })
    }
}

fn program() -> Result<PathBuf> {
    install::go("github.com/coredns/coredns", COREDNS, "")
}

fn settings(port: u16) -> String {
    format!("consul.:{port} {{\n    bind 127.0.0.1\n    file zone\n}}\n")
}
