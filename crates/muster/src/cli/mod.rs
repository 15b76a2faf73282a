//! The command line: one definition, from which parser, help, manual and completions are made.
//!
//! Commands, flags and what they print are Consul's where Consul has the command, so that scripts go
//! on working; long flags take one dash or two. Each family of commands is a file: its flags as a
//! struct, its deeds in `run`. All write through a [`console::Console`] and talk to the agent through
//! a [`client::Client`]. `muster agent` itself is only parsed here; running it is handed to `main.rs`.
//!
//! Exit codes: 0 done, 1 failed or misused, 2 where Consul has it (no members match; a locked program
//! that fails with -child-exit-code).

pub mod agent;
pub mod autopilot;
pub mod catalog;
pub mod child;
pub mod client;
pub mod console;
pub mod debug;
pub mod dev_cluster;
pub mod explain;
pub mod files;
pub mod goflags;
pub mod https;
pub mod keyring;
pub mod kv;
pub mod local;
pub mod lock;
pub mod look;
pub mod members;
pub mod node;
pub mod operator;
pub mod services;
pub mod session;
pub mod snapshot;
pub mod watch;

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::CalledAs;
use crate::config::load::Loaded;
use client::{Client, ClientFlags};
use console::{Console, Shape, ShapeFlag};

/// A service registry: services register, are checked, and are found.
#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version = local::VERSION,
    propagate_version = false,
    disable_help_subcommand = false,
    args_override_self = true,
    max_term_width = 100
)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an agent.
    Agent(agent::AgentFlags),
    /// Register and deregister services at the agent.
    Services(Asking<Of<services::Services>>),
    /// What is registered.
    Catalog(Asking<Of<catalog::Catalog>>),
    /// How what is registered is.
    Health(Asking<Of<catalog::Health>>),
    /// Why is each instance of a service in or out of the answer?
    Explain(Asking<explain::Explain>),
    /// Read and write pairs.
    Kv(Asking<Of<kv::Kv>>),
    /// Create, list, renew and destroy sessions.
    Session(Asking<Of<session::Session>>),
    /// Run a program while holding a lock.
    Lock(Asking<lock::Lock>),
    /// Wait for something to change and run a program with it.
    Watch(Asking<watch::Watch>),
    /// Fire a user event.
    Event(Asking<node::Event>),
    /// The members this agent knows.
    Members(Asking<members::Members>),
    /// The agent's numbers about itself.
    Info(Asking<Nothing>),
    /// Switch a node or an instance off, and on again.
    Maint(Asking<node::Maint>),
    /// Have the agent read its configuration again.
    Reload(Asking<Nothing>),
    /// Have the agent leave and stop.
    Leave(Asking<Nothing>),
    /// Have the agent join others.
    Join(Asking<members::Join>),
    /// Have a failed member count as left.
    ForceLeave(Asking<members::ForceLeave>),
    /// The keys with which gossip is sealed.
    Keyring(Asking<keyring::Keyring>),
    /// The agent's log as it is written.
    Monitor(Asking<node::Monitor>),
    /// The round-trip time between two nodes.
    Rtt(Asking<node::Rtt>),
    /// Save, restore and inspect the whole state.
    Snapshot(Asking<Of<snapshot::Snapshot>>),
    /// Tools for the people who run the servers.
    Operator(Asking<Of<operator::Operator>>),
    /// Collect what an agent knows of itself into an archive.
    Debug(Asking<debug::Debug>),
    /// Run a whole cluster on this machine, for trying things out.
    DevCluster(dev_cluster::DevCluster),
    /// Verify configuration files.
    Validate(local::Validate),
    /// Make a gossip key.
    Keygen,
    /// The versions of this program and of the API it serves.
    Version(ShapeFlag),
    /// Write the completions of a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual page of a command, or all pages into a folder.
    Man {
        /// The command.
        of: Vec<String>,
        /// A folder for all pages.
        #[arg(long)]
        folder: Option<PathBuf>,
    },
}

/// A command that asks an agent: its own flags, and those of every such command.
#[derive(Debug, Args)]
pub struct Asking<T: Args> {
    /// The command's own.
    #[command(flatten)]
    pub what: T,
    /// How the agent is reached.
    #[command(flatten)]
    pub client: ClientFlags,
    /// For whom to write.
    #[command(flatten)]
    pub shape: ShapeFlag,
}

/// A family of commands.
#[derive(Debug, Args)]
pub struct Of<T: Subcommand> {
    /// Which of them.
    #[command(subcommand)]
    pub which: T,
}

/// No flags of its own.
#[derive(Debug, Args)]
pub struct Nothing {}

/// What `muster agent` was told, for whoever runs it.
#[derive(Debug)]
pub struct Launch {
    /// The flags, to read everything anew at a reload.
    pub flags: agent::AgentFlags,
    /// Under which name the program was called.
    pub called_as: CalledAs,
    /// The configuration in effect.
    pub loaded: Loaded,
}

/// Why a command failed: a text for the person, and the exit code.
#[derive(Debug)]
pub struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    /// A failure with exit code 1.
    pub fn new(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), code: 1 }
    }

    /// A failure with another exit code.
    pub fn with_code(code: u8, text: impl Into<String>) -> Failure {
        Failure { text: text.into(), code }
    }

    /// An exit code without words.
    pub fn silent(code: u8) -> Failure {
        Failure { text: String::new(), code }
    }

    /// The same failure with what was being done.
    pub fn within(self, doing: &str) -> Failure {
        Failure { text: format!("{doing}: {}", self.text), ..self }
    }

    /// Writing failed: a reader that went away is no failure to speak of.
    fn from_output(error: std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::silent(0),
            _ => Failure::new(format!("the output cannot be written: {error}")),
        }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Parses the process's arguments and does what they say; an agent is run by `run_agent`.
pub fn main(run_agent: impl FnOnce(Launch) -> ExitCode) -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let called_as = CalledAs::from_program(arguments.first().map_or("", String::as_str));
    let command_line = match parsed(arguments) {
        Ok(command_line) => command_line,
        Err(error) => {
            // Help and version go to standard output and are no failure.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let result = match command_line.command {
        Command::Agent(flags) => match flags.load(called_as) {
            Ok(loaded) => return run_agent(Launch { flags, called_as, loaded }),
            Err(problems) => Err(Failure::new(problems.to_string())),
        },
        command => blocking(command, called_as),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text.is_empty() {
                let _ = writeln!(std::io::stderr(), "{failure}");
            }
            ExitCode::from(failure.code)
        }
    }
}

/// The command line of an agent, and of nothing else.
#[derive(Debug, Parser)]
#[command(name = "muster", args_override_self = true)]
struct AgentLine {
    #[command(subcommand)]
    command: AgentAlone,
}

#[derive(Debug, Subcommand)]
enum AgentAlone {
    Agent(agent::AgentFlags),
}

/// Parses arguments, Go-style flags included.
pub fn parsed(arguments: Vec<String>) -> Result<CommandLine, clap::Error> {
    // An agent runs for months: it is not to keep what defining all other commands takes (1.4 MB). What
    // is wrong with its flags, and help, is said with the whole definition in sight.
    if arguments.get(1).is_some_and(|word| word == "agent")
        && let Ok(line) = parsed_as::<AgentLine>(arguments.clone())
    {
        let AgentAlone::Agent(flags) = line.command;
        return Ok(CommandLine { command: Command::Agent(flags) });
    }
    parsed_as(arguments)
}

fn parsed_as<T: Parser>(arguments: Vec<String>) -> Result<T, clap::Error> {
    let mut definition = T::command();
    definition.build();
    let arguments = goflags::normalized(arguments, &definition);
    let matches = definition.try_get_matches_from(arguments)?;
    T::from_arg_matches(&matches)
}

fn blocking(command: Command, called_as: CalledAs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("no runtime can be had: {error}")))?;
    let mut out = std::io::stdout();
    runtime.block_on(Box::pin(run(command, called_as, &mut out)))
}

/// Does what a command says, writing to `out`. `agent` is not run here.
pub async fn run(
    command: Command,
    called_as: CalledAs,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    match command {
        Command::Services(ask) => {
            ask.what.which.run(&mut console(&ask.client, &ask.shape, out)?).await
        }
        Command::Catalog(ask) => {
            ask.what.which.run(&mut console(&ask.client, &ask.shape, out)?).await
        }
        Command::Health(ask) => {
            ask.what.which.run(&mut console(&ask.client, &ask.shape, out)?).await
        }
        Command::Explain(ask) => ask.what.run(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Kv(ask) => ask.what.which.run(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Session(ask) => {
            ask.what.which.run(&mut console(&ask.client, &ask.shape, out)?).await
        }
        Command::Lock(ask) => ask.what.run(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Watch(ask) => ask.what.run(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Event(ask) => ask.what.run(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Members(ask) => ask.what.run(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Info(ask) => node::info(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Maint(ask) => ask.what.run(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Reload(ask) => node::reload(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Leave(ask) => members::leave(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Join(ask) => ask.what.run(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::ForceLeave(ask) => ask.what.run(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Keyring(ask) => ask.what.run(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Monitor(ask) => ask.what.run(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Rtt(ask) => ask.what.run(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::Snapshot(ask) => {
            ask.what.which.run(&mut console(&ask.client, &ask.shape, out)?).await
        }
        Command::Operator(ask) => {
            ask.what.which.run(&mut console(&ask.client, &ask.shape, out)?).await
        }
        Command::Debug(ask) => ask.what.run(&mut console(&ask.client, &ask.shape, out)?).await,
        Command::DevCluster(plan) => {
            let shape = plan.shape.format;
            plan.run(&mut Console::new(Client::local(), shape, out)).await
        }
        local => alone(local, called_as, out),
    }
}

/// The commands that ask no agent.
fn alone(
    command: Command,
    called_as: CalledAs,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let shape = if let Command::Version(shape) = &command { shape.format } else { Shape::Table };
    let mut console = Console::new(Client::local(), shape, out);
    let definition = CommandLine::command();
    match command {
        Command::Validate(validate) => validate.run(called_as, &mut console),
        Command::Keygen => local::keygen(&mut console),
        Command::Version(_) => local::version(called_as, &mut console),
        Command::Completion { shell } => local::completion(shell, definition, &mut console),
        Command::Man { of, folder } => local::man(&of, folder, definition, &mut console),
        _ => Err(Failure::new("an agent is run by the program, not by a command")),
    }
}

fn console<'a>(
    client: &ClientFlags,
    shape: &ShapeFlag,
    out: &'a mut (dyn Write + Send),
) -> Result<Console<'a>, Failure> {
    Ok(Console::new(Client::new(client)?, shape.format, out))
}

#[cfg(test)]
mod tests;
