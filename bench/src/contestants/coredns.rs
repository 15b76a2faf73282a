//! CoreDNS, built from its module.

use super::zone_server::ZoneServer;
use crate::install;
use crate::versions::COREDNS;

/// CoreDNS of [`COREDNS`].
pub(super) const COREDNS_SERVER: ZoneServer = ZoneServer {
    name: "CoreDNS",
    program: || install::go("github.com/coredns/coredns", COREDNS, ""),
    version: || Ok(COREDNS.into()),
    flag: "-conf",
    settings: |_, port| format!("consul.:{port} {{\n    bind 127.0.0.1\n    file zone\n}}\n"),
};
