//! `muster watch`: wait for something to change and run a program with it.
//!
//! Without a program the present answer is printed once. With one, it gets the answer as JSON on its
//! standard input and the index in `CONSUL_INDEX`, now and after each change, until it fails or the
//! watch is interrupted. Failing requests are tried again with growing pauses.

use clap::Args;

use super::console::Console;
use super::look::{Look, Seen};
use super::{Failure, child};
use crate::config::definition::WatchDefinition;

/// Wait for something to change and run a program with it.
#[derive(Debug, Args)]
pub struct Watch {
    /// The program and its arguments; without one the answer is printed once.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    child: Vec<String>,
    /// key, keyprefix, services, nodes, service, checks, event, connect_roots, connect_leaf or
    /// agent_service.
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,
    /// The key of a watch on a pair.
    #[arg(long, default_value = "")]
    key: String,
    /// The prefix of a watch on pairs.
    #[arg(long, default_value = "")]
    prefix: String,
    /// The service of a watch on a service or its checks; the instance's id of agent_service.
    #[arg(long, default_value = "")]
    service: String,
    /// A tag that instances must have; repeatable.
    #[arg(long)]
    tag: Vec<String>,
    /// Only instances that pass.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    passingonly: bool,
    /// Only checks in this status.
    #[arg(long, default_value = "")]
    state: String,
    /// Only events of this name.
    #[arg(long, default_value = "")]
    name: String,
    /// A filter expression.
    #[arg(long, default_value = "")]
    filter: String,
    /// Run the program in a shell.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set)]
    shell: bool,
}

impl Watch {
    /// Watches until interrupted.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let definition = WatchDefinition {
            kind: self.kind.clone(),
            key: self.key.clone(),
            prefix: self.prefix.clone(),
            service: self.service.clone(),
            service_id: self.service.clone(),
            tag: self.tag.clone(),
            passingonly: self.passingonly,
            state: self.state.clone(),
            name: self.name.clone(),
            filter: self.filter.clone(),
            ..WatchDefinition::default()
        };
        definition.verified().map_err(Failure::new)?;
        let mut look = Look::new(console.client.clone(), definition);
        if self.child.is_empty() {
            let seen = look.once().await?;
            return console.json(&seen.value);
        }
        let repeat = async {
            loop {
                self.hand(&look.next().await).await?;
            }
        };
        tokio::select! {
            failed = repeat => failed,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    }

    async fn hand(&self, seen: &Seen) -> Result<(), Failure> {
        let status = child::hand(&self.child, self.shell, seen).await?;
        match status.success() {
            true => Ok(()),
            false => Err(Failure::new(format!("Error executing handler: {status}"))),
        }
    }
}
