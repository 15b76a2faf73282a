//! Which crate may name which: the drawing of ARCHITECTURE.md as a table, checked against
//! `cargo metadata`.
//!
//! An arrow that is not in [`ARROWS`] is refused, so a new one is a change to this file and is
//! seen in review. Tests may look further (`dev-dependencies` are not arrows), with one wall left
//! standing: a front never names another front, not even in a test.
//!
//! [`HOMES`] keeps third-party crates in their rooms: what carries the consensus, the gossip, the
//! wire format of one protocol, or the runtime, is named where it belongs and nowhere else.

use serde_json::Value;

use super::Complaint;
use crate::process::cargo;
use crate::{Failure, repository};

/// For each crate of the house, the crates that it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("base2histogram", &[]),
    ("world", &[]),
    ("listen", &["world"]),
    ("model", &[]),
    ("state", &["model"]),
    ("health", &["model"]),
    ("gossip", &[]),
    ("rpc", &["world"]),
    ("consensus", &["rpc", "world"]),
    ("registry", &["model"]),
    ("front-consul", FRONT),
    ("front-dns", FRONT),
    ("front-eureka", FRONT),
    ("front-zookeeper", FRONT),
    ("front-ui", FRONT),
    ("router", FRONT),
    (
        "agent",
        &["consensus", "gossip", "health", "listen", "model", "registry", "rpc", "state", "world"],
    ),
    (
        "muster",
        &[
            "agent",
            "front-consul",
            "front-dns",
            "front-eureka",
            "front-ui",
            "front-zookeeper",
            "listen",
            "model",
            "registry",
            "router",
            "world",
        ],
    ),
    ("client", &[]),
    (
        "sim",
        &[
            "agent",
            "consensus",
            "gossip",
            "health",
            "listen",
            "model",
            "registry",
            "rpc",
            "state",
            "testkit",
            "world",
        ],
    ),
    ("testkit", &["model", "registry", "state"]),
];

const FRONT: &[&str] = &["listen", "model", "registry"];

/// Third-party crates and the only crates of the house that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("openraft", &["consensus"]),
    ("foca", &["gossip"]),
    ("domain", &["front-dns"]),
    ("hickory-resolver", &["front-dns"]),
    ("askama", &["front-ui"]),
    ("clap", &["muster"]),
    ("hcl-edit", &["muster"]),
];

/// Third-party crates that a pure crate may not name: the runtime, sockets, shapes of a wire.
const NOT_PURE: &[&str] = &["hyper", "mio", "rustix", "serde_json", "socket2", "tokio"];

/// Crates that do no IO, read no clock and take chance as a parameter.
pub(super) const PURE: &[&str] = &["gossip", "health", "model", "state"];

/// Tools around the house: they may name whatever they measure or check.
const TOOLS: &[&str] = &["bench", "xtask"];

/// A package of the workspace with what its manifest names.
pub(super) struct Package {
    /// The name of its folder: `state` for `muster-state`.
    pub(super) name: String,
    manifest: String,
    needs: Vec<Need>,
}

impl Package {
    #[cfg(test)]
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), manifest: String::new(), needs: Vec::new() }
    }
}

struct Need {
    name: String,
    is_of_the_house: bool,
    is_for_tests: bool,
}

/// The packages of the workspace, asked of cargo.
pub(super) fn packages() -> Result<Vec<Package>, Failure> {
    let root = repository::root();
    let asked = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(&root)
        .output()
        .map_err(|error| Failure::NotInOrder(format!("cargo metadata: {error}")))?;
    let told: Value = serde_json::from_slice(&asked.stdout)
        .map_err(|error| Failure::NotInOrder(format!("cargo metadata is no JSON: {error}")))?;
    Ok(parse(&told, &root.to_string_lossy()))
}

fn parse(told: &Value, root: &str) -> Vec<Package> {
    let packages = told["packages"].as_array().map_or(&[][..], Vec::as_slice);
    packages
        .iter()
        .map(|package| {
            let manifest = package["manifest_path"].as_str().unwrap_or_default();
            let needs = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
            Package {
                name: short(package["name"].as_str().unwrap_or_default()).to_owned(),
                manifest: manifest.trim_start_matches(root).trim_start_matches('/').to_owned(),
                needs: needs.iter().map(parse_need).collect(),
            }
        })
        .collect()
}

fn parse_need(told: &Value) -> Need {
    let name = told["name"].as_str().unwrap_or_default();
    Need {
        name: short(name).to_owned(),
        is_of_the_house: told["path"].is_string(),
        is_for_tests: told["kind"] == "dev",
    }
}

fn short(name: &str) -> &str {
    name.strip_prefix("muster-").unwrap_or(name)
}

/// Arrows that are not in the drawing.
pub(super) fn forbidden_arrows(packages: &[Package]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for package in packages.iter().filter(|package| !TOOLS.contains(&package.name.as_str())) {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            let says = format!("crate {} has no row in the table of arrows", package.name);
            complaints.push(Complaint::new(&package.manifest, 0, says));
            continue;
        };
        for need in package.needs.iter().filter(|need| need.is_of_the_house) {
            let is_front = package.name.starts_with("front-") && need.name.starts_with("front-");
            let is_forbidden =
                if need.is_for_tests { is_front } else { !allowed.contains(&need.name.as_str()) };
            if is_forbidden {
                let says = format!("{} may not name {}", package.name, need.name);
                complaints.push(Complaint::new(&package.manifest, 0, says));
            }
        }
    }
    complaints
}

/// Third-party crates outside their rooms.
pub(super) fn strangers(packages: &[Package]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for package in packages.iter().filter(|package| !TOOLS.contains(&package.name.as_str())) {
        let is_pure = PURE.contains(&package.name.as_str());
        for need in package.needs.iter().filter(|need| !need.is_of_the_house && !need.is_for_tests)
        {
            let home = HOMES.iter().find(|(name, _)| *name == need.name);
            if let Some((_, rooms)) = home
                && !rooms.contains(&package.name.as_str())
            {
                let says = format!("{} is named only in {}", need.name, rooms.join(", "));
                complaints.push(Complaint::new(&package.manifest, 0, says));
            }
            if is_pure && NOT_PURE.contains(&need.name.as_str()) {
                let says = format!("{} is pure and may not name {}", package.name, need.name);
                complaints.push(Complaint::new(&package.manifest, 0, says));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, needs: &[(&str, bool, bool)]) -> Package {
        let needs: Vec<Value> = needs
            .iter()
            .map(|(name, is_of_the_house, is_for_tests)| {
                json!({
                    "name": name,
                    "path": is_of_the_house.then_some("/r/crates/x"),
                    "kind": is_for_tests.then_some("dev"),
                })
            })
            .collect();
        let told = json!({"packages": [{
            "name": name, "manifest_path": "/r/crates/x/Cargo.toml", "dependencies": needs,
        }]});
        parse(&told, "/r").remove(0)
    }

    #[test]
    fn an_arrow_that_is_not_drawn_is_refused() {
        let bad = package("muster-state", &[("muster-world", true, false)]);
        let complaints = forbidden_arrows(&[bad]);
        assert_eq!(complaints[0].says, "state may not name world");
        assert_eq!(complaints[0].path, "crates/x/Cargo.toml");
    }

    #[test]
    fn a_test_may_look_further_but_no_front_at_another() {
        let good = package("muster-front-dns", &[("muster-testkit", true, true)]);
        assert!(forbidden_arrows(&[good]).is_empty());
        let bad = package("muster-front-dns", &[("muster-front-consul", true, true)]);
        assert_eq!(forbidden_arrows(&[bad]).len(), 1);
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        assert_eq!(forbidden_arrows(&[package("muster-attic", &[])]).len(), 1);
    }

    #[test]
    fn every_arrow_of_the_table_leads_to_a_row() {
        for (_, allowed) in ARROWS {
            for name in *allowed {
                assert!(ARROWS.iter().any(|(row, _)| row == name), "{name} has no row");
            }
        }
    }

    #[test]
    fn a_library_outside_its_room_is_refused() {
        assert_eq!(strangers(&[package("muster-agent", &[("openraft", false, false)])]).len(), 1);
        assert_eq!(strangers(&[package("muster-state", &[("tokio", false, false)])]).len(), 1);
        assert!(
            strangers(&[package("muster-consensus", &[("openraft", false, false)])]).is_empty()
        );
    }
}
