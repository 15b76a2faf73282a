//! A server of DNS that answers from a zone file: the same services, known from the start.

use std::path::{Path, PathBuf};

use super::consul_api::FIRST_QUESTION;
use crate::Result;
use crate::contestant::{Addresses, Connection, Contestant, Deed, Doing, Kind, Plan};
use crate::dns::{Resolver, zone};
use crate::process::{Launch, free_ports};

/// One of them.
pub(super) struct ZoneServer {
    pub(super) name: &'static str,
    /// Sees to it that it is on the machine, and gives the program.
    pub(super) program: fn() -> Result<PathBuf>,
    pub(super) version: fn() -> Result<String>,
    /// The flag before the name of the file with its settings.
    pub(super) flag: &'static str,
    /// Its settings in a folder, in which the zone is, and at a port.
    pub(super) settings: fn(&Path, u16) -> String,
}

impl Contestant for ZoneServer {
    fn name(&self) -> &str {
        self.name
    }

    fn can(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Ask | Kind::AskOverTcp)
    }

    fn install(&self) -> Result<String> {
        (self.program)()?;
        (self.version)()
    }

    fn plans(&self, folders: &[PathBuf]) -> Result<Vec<Plan>> {
        let ports = free_ports(folders.len())?;
        let program = (self.program)()?;
        let plan = |(folder, port): (&PathBuf, &u16)| {
            std::fs::write(folder.join("zone"), zone())?;
            std::fs::write(folder.join("settings"), (self.settings)(folder, *port))?;
            let arguments = [self.flag, "settings"].map(String::from).into();
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
