//! Knot DNS of Debian, an authoritative server.

use std::path::Path;
use std::process::Command;

use super::zone_server::ZoneServer;
use crate::install;

const PROGRAM: &str = "/usr/sbin/knotd";

/// Knot DNS, in the version of the machine's Debian.
pub(super) const KNOT_SERVER: ZoneServer = ZoneServer {
    name: "Knot",
    program: || install::debian("knot", Path::new(PROGRAM)).map(|()| PROGRAM.into()),
    version: || {
        let said = install::said(Command::new(PROGRAM).arg("--version"))?;
        Ok(said.trim().rsplit(' ').next().unwrap_or_default().into())
    },
    flag: "-c",
    settings,
};

fn settings(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "server:\n  rundir: \"{folder}\"\n  listen: 127.0.0.1@{port}\n\
         database:\n  storage: \"{folder}\"\n\
         template:\n  - id: default\n    storage: \"{folder}\"\n    zonefile-load: whole\n\
         zone:\n  - domain: consul.\n    file: zone\n"
    )
}
