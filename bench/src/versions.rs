//! The versions of all peers, in this one file.
//!
//! Peers of Debian come in the version that the machine's Debian has, and are named with the one
//! that they report. Those of Go are built from their modules at these versions, and Eureka by
//! Maven as `conformance/eureka/server/pom.xml` says.

/// Consul's module.
pub(crate) const CONSUL: &str = "1.22.6";

/// Modules that Consul's own manifest takes from its folders, in the nearest versions that are
/// published.
pub(crate) const CONSUL_MODULES: [(&str, &str); 2] = [
    ("github.com/hashicorp/consul/envoyextensions", "v0.9.2"),
    ("github.com/hashicorp/consul/troubleshoot", "v0.8.3"),
];

/// Versions that Consul's own manifest rules out.
pub(crate) const CONSUL_EXCLUDES: [(&str, &str); 2] =
    [("github.com/hashicorp/go-msgpack", "v1.1.5"), ("github.com/hashicorp/go-msgpack", "v1.1.6")];

/// CoreDNS's module.
pub(crate) const COREDNS: &str = "1.15.0";
