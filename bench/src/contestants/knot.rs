//! Knot DNS of Debian, an authoritative server, with the same services in a zone file.

use std::path::{Path, PathBuf};

use super::consul_api::FIRST_QUESTION;
use crate::Result;
use crate::contestant::{Addresses, Connection, Contestant, Deed, Doing, Kind, Plan};
use crate::dns::{Resolver, zone};
use crate::install;
use crate::process::{Launch, free_ports};

/// Knot DNS, in the version of the machine's Debian.
pub(crate) struct Knot;

const PROGRAM: &str = "/usr/sbin/knotd";

impl Contestant for Knot {
    fn name(&self) -> &str {
        "Knot"
    }

    fn can(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Ask | Kind::AskOverTcp)
    }

    fn install(&self) -> Result<String> {
        install::debian("knot", Path::new(PROGRAM))?;
        let said = install::said(std::process::Command::new(PROGRAM).arg("--version"))?;
        Ok(said.trim().rsplit(' ').next().unwrap_or_default().into())
    }

    fn plans(&self, folders: &[PathBuf]) -> Result<Vec<Plan>> {
        let ports = free_ports(folders.len())?;
        let plan = |(folder, port): (&PathBuf, &u16)| {
            std::fs::write(folder.join("zone"), zone())?;
            std::fs::write(folder.join("settings"), settings(folder, *port))?;
            let arguments = ["-c", "settings"].map(String::from).into();
            let (program, folder) = (PROGRAM.into(), folder.clone());
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

fn settings(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "server:\n  rundir: \"{folder}\"\n  listen: 127.0.0.1@{port}\n\
         database:\n  storage: \"{folder}\"\n\
         template:\n  - id: default\n    storage: \"{folder}\"\n    zonefile-load: whole\n\
         zone:\n  - domain: consul.\n    file: zone\n"
    )
}
