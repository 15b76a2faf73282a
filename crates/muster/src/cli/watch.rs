//! `muster watch`: wait for something to change and run a program with it.
//!
//! Without a program the present answer is printed once. With one, it gets the answer as JSON on its
//! standard input and the index in `CONSUL_INDEX`, now and after each change, until it fails or the
//! watch is interrupted. Failing requests are tried again with growing pauses.

use std::time::Duration;

use clap::Args;
use http::StatusCode;
use serde_json::Value;
use tokio::time::sleep;

use super::Failure;
use super::child::{Child, Start};
use super::client::Ask;
use super::console::{Console, items, text};
use crate::config::definition::WatchDefinition;

/// The first pause after a request that failed; it grows with the square of the failures.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The longest such pause.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(180);

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
        if self.child.is_empty() {
            let seen = look(&definition, console, &Seen::default()).await?;
            return console.json(&seen.value);
        }
        tokio::select! {
            failed = self.repeat(&definition, console) => failed,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    }

    async fn repeat(
        &self,
        definition: &WatchDefinition,
        console: &Console<'_>,
    ) -> Result<(), Failure> {
        let mut before = Seen::default();
        let mut n_failures = 0u32;
        loop {
            let seen = match look(definition, console, &before).await {
                Ok(seen) => seen,
                Err(_) => {
                    n_failures = n_failures.saturating_add(1);
                    let pause = RETRY_AFTER.saturating_mul(n_failures.saturating_mul(n_failures));
                    sleep(pause.min(RETRY_AFTER_MAX)).await;
                    continue;
                }
            };
            n_failures = 0;
            let is_new = before.mark.is_empty() || seen.value != before.value;
            if is_new {
                self.hand(&seen).await?;
            }
            before = seen;
        }
    }

    async fn hand(&self, seen: &Seen) -> Result<(), Failure> {
        let input = format!("{}\n", seen.value);
        let mut child = Child::start(Start {
            args: &self.child,
            is_shell: self.shell,
            input: Some(input.as_bytes()),
            environment: &[("CONSUL_INDEX", seen.mark.clone())],
        })
        .await?;
        let status = child.wait().await?;
        match status.success() {
            true => Ok(()),
            false => Err(Failure::new(format!("Error executing handler: {status}"))),
        }
    }
}

/// An answer, and the index or hash to wait beyond.
#[derive(Debug, Default)]
struct Seen {
    value: Value,
    mark: String,
}

/// The request a watch makes, without its waiting.
fn ask(definition: &WatchDefinition) -> Ask {
    let WatchDefinition { key, prefix, service, service_id, state, .. } = definition;
    let filtered = |ask: Ask| {
        let filter = (!definition.filter.is_empty()).then_some(&definition.filter);
        ask.with_some("filter", filter)
    };
    match definition.kind.as_str() {
        "key" => Ask::get(format!("/v1/kv/{key}")),
        "keyprefix" => Ask::get(format!("/v1/kv/{prefix}")).flag("recurse", true),
        "services" => filtered(Ask::get("/v1/catalog/services")),
        "nodes" => filtered(Ask::get("/v1/catalog/nodes")),
        "service" => {
            let ask = Ask::get(format!("/v1/health/service/{service}"));
            let ask = ask.flag("passing", definition.passingonly);
            filtered(definition.tag.iter().fold(ask, |ask, tag| ask.with("tag", tag)))
        }
        "checks" if !service.is_empty() => {
            filtered(Ask::get(format!("/v1/health/checks/{service}")))
        }
        "checks" if !state.is_empty() => filtered(Ask::get(format!("/v1/health/state/{state}"))),
        "checks" => filtered(Ask::get("/v1/health/state/any")),
        "event" => {
            let name = (!definition.name.is_empty()).then_some(&definition.name);
            Ask::get("/v1/event/list").with_some("name", name)
        }
        "agent_service" => Ask::get(format!("/v1/agent/service/{service_id}")),
        "connect_leaf" => Ask::get(format!("/v1/agent/connect/ca/leaf/{service}")),
        _ => Ask::get("/v1/agent/connect/ca/roots"),
    }
}

async fn look(
    definition: &WatchDefinition,
    console: &Console<'_>,
    before: &Seen,
) -> Result<Seen, Failure> {
    let is_hashed = definition.kind == "agent_service";
    let waits_by = if is_hashed { "hash" } else { "index" };
    let mark = (!before.mark.is_empty()).then_some(&before.mark);
    let reply = console.client.send(ask(definition).with_some(waits_by, mark)).await?;
    let is_absence = definition.kind.starts_with("key") && reply.status == StatusCode::NOT_FOUND;
    if !reply.status.is_success() && !is_absence {
        return Err(console.client.refused(&reply));
    }
    let answer = if reply.status.is_success() { reply.json()? } else { Value::Null };
    let value = match definition.kind.as_str() {
        "key" => items(&answer).first().cloned().unwrap_or(Value::Null),
        _ => answer,
    };
    let mark = match is_hashed {
        true => text(&value, "ContentHash"),
        // An index that falls back means: start anew.
        false => {
            let last = before.mark.parse::<u64>().unwrap_or(0);
            let index = reply.index();
            if index < last && definition.kind != "event" { "0".into() } else { index.to_string() }
        }
    };
    Ok(Seen { value, mark })
}
