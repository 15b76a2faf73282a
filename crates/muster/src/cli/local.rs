//! Commands that ask no agent: validate, version, keygen, completion, man.

use std::path::PathBuf;

use base64::Engine;
use clap::{Args, Command};
use clap_complete::Shell;
use serde_json::json;

use super::console::{Console, Shape};
use super::{Failure, agent, files};
use crate::config::CalledAs;
use crate::config::load::{Sources, load};
use crate::config::syntax::Format;

/// The version of Consul's API that is served; clients compare it.
pub const API_VERSION: &str = "1.22.6";
/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Flags of `validate`.
#[derive(Debug, Args)]
pub struct Validate {
    /// Files and folders.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Read every file as this, whatever its name.
    #[arg(long, value_name = "hcl|json", value_parser = agent::format)]
    config_format: Option<Format>,
    /// Say nothing if all is well.
    #[arg(long)]
    quiet: bool,
}

impl Validate {
    /// Reads the files and says what is wrong with them.
    pub fn run(self, called_as: CalledAs, console: &mut Console<'_>) -> Result<(), Failure> {
        let sources = Sources {
            called_as,
            is_dev: false,
            paths: self.paths,
            format: self.config_format,
            fragments: Vec::new(),
        };
        let loaded = load(&sources, |_| Vec::new())
            .map_err(|problems| Failure::new(format!("Config validation failed: {problems}")))?;
        if self.quiet {
            return Ok(());
        }
        for warning in loaded.warnings {
            console.line(format!("warning: {warning}"))?;
        }
        console.line("Configuration is valid!")
    }
}

/// Shows the versions.
pub fn version(called_as: CalledAs, console: &mut Console<'_>) -> Result<(), Failure> {
    match (called_as, console.shape) {
        (CalledAs::Consul, Shape::Json) => console.json(&json!({
            "Version": API_VERSION,
            "Revision": "",
            "Prerelease": "",
            "RPC": { "Default": 2, "Min": 2, "Max": 3 },
            "Muster": VERSION,
        })),
        (CalledAs::Consul, Shape::Table) => {
            console.line(format!("Consul v{API_VERSION}"))?;
            console.line(format!("(muster {VERSION}, which serves this version of the API)"))
        }
        (CalledAs::Muster, Shape::Json) => {
            console.json(&json!({ "Version": VERSION, "ConsulApi": API_VERSION }))
        }
        (CalledAs::Muster, Shape::Table) => {
            console.line(format!("muster {VERSION}"))?;
            console.line(format!("serves the API of Consul {API_VERSION}"))
        }
    }
}

/// Makes a gossip key: 32 bytes of the system's randomness.
pub fn keygen(console: &mut Console<'_>) -> Result<(), Failure> {
    let key: [u8; 32] = files::randomness()?;
    console.line(base64::engine::general_purpose::STANDARD.encode(key))
}

/// Writes the completions of a shell.
pub fn completion(
    shell: Shell,
    mut command: Command,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    console.bytes(&script)
}

/// Writes the manual page of the program, or of a command, to the console; or all pages to a folder.
pub fn man(
    of: &[String],
    folder: Option<PathBuf>,
    command: Command,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let wrong =
        |error: std::io::Error| Failure::new(format!("the manual cannot be written: {error}"));
    if let Some(folder) = folder {
        return clap_mangen::generate_to(command, folder).map_err(wrong);
    }
    let mut found = &command;
    for name in of {
        found = found
            .find_subcommand(name)
            .ok_or_else(|| Failure::new(format!("there is no command {name:?}")))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(found.clone()).render(&mut page).map_err(wrong)?;
    console.bytes(&page)
}
