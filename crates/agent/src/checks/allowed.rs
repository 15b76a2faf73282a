//! What checks may do on this agent.
//!
//! A script check is a program that whoever can register a check makes this machine run, so both
//! kinds are off by default: from clients, and from definition files. A redirect of an HTTP check
//! can be used to look at what only this machine can reach, so it is not followed to addresses of
//! the local link, where clouds keep their instance metadata.

use std::net::IpAddr;

use muster_health::check::Settings;
use muster_model::definition::{CheckDefinition, Rule, Source};
use muster_registry::Refusal;

/// What holds for all checks of this agent. May change while they run.
#[derive(Clone, Debug, Default)]
pub struct CheckTerms {
    /// What they may do.
    pub allowed: Allowed,
    /// How much of what they say is kept.
    pub settings: Settings,
}

/// What checks may do on this agent.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// Whether clients may register checks that run programs.
    pub scripts_of_clients: bool,
    /// Whether definition files may.
    pub scripts_of_files: bool,
    /// Whether redirects may lead to link-local and metadata addresses.
    pub link_local_redirects: bool,
    /// The path of Docker's socket, if it is not the usual one.
    pub docker_socket: Option<std::path::PathBuf>,
}

/// Addresses outside the local link at which clouds keep instance metadata.
const METADATA_ADDRESSES: [&str; 3] = ["100.100.100.200", "192.0.0.192", "fd00:ec2::254"];

impl Allowed {
    /// Refuses a check that may not run here.
    pub fn admit(&self, definition: &CheckDefinition, source: Source) -> Result<(), Refusal> {
        match definition.rule {
            Rule::Script { .. } | Rule::Docker { .. } => self.admit_program(source),
            Rule::OsService { .. } => {
                Err(Refusal::Unsupported("os_service checks run on Windows only".into()))
            }
            _ => Ok(()),
        }
    }

    fn admit_program(&self, source: Source) -> Result<(), Refusal> {
        let (is_allowed, who, switch) = match source {
            Source::Client => (self.scripts_of_clients, "clients", "enable_script_checks"),
            Source::File => {
                let is_allowed = self.scripts_of_clients || self.scripts_of_files;
                (is_allowed, "definition files", "enable_local_script_checks")
            }
        };
        match is_allowed {
            true => Ok(()),
            false => Err(Refusal::Invalid(format!(
                "Scripts are disabled on this agent; to enable them from {who}, configure \
                 '{switch}' to true"
            ))),
        }
    }

    /// Whether a redirect may lead to this address.
    pub(super) fn may_redirect_to(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let is_metadata = || METADATA_ADDRESSES.iter().any(|own| own.parse() == Ok(address));
        self.link_local_redirects || !(is_link_local || is_metadata())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_run_only_for_whom_they_are_allowed() {
        let rule = Rule::Script { args: vec!["true".into()] };
        let script = CheckDefinition { rule, ..CheckDefinition::default() };
        let nobody = Allowed::default();
        assert!(nobody.admit(&script, Source::Client).is_err());
        assert!(nobody.admit(&script, Source::File).is_err());
        let files = Allowed { scripts_of_files: true, ..Allowed::default() };
        assert!(files.admit(&script, Source::Client).is_err());
        assert!(files.admit(&script, Source::File).is_ok());
        let all = Allowed { scripts_of_clients: true, ..Allowed::default() };
        assert!(all.admit(&script, Source::Client).is_ok());
        assert!(all.admit(&script, Source::File).is_ok());
    }

    #[test]
    fn redirects_do_not_lead_to_instance_metadata() {
        let allowed = Allowed::default();
        let addresses = ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254"];
        for address in addresses {
            assert!(!allowed.may_redirect_to(address.parse().unwrap()), "{address}");
        }
        assert!(allowed.may_redirect_to("10.0.0.1".parse().unwrap()));
        let told = Allowed { link_local_redirects: true, ..Allowed::default() };
        assert!(told.may_redirect_to("169.254.169.254".parse().unwrap()));
    }
}
