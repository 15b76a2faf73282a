//! What a watch sees: asks an agent, waits until the answer is another one, asks again.
//!
//! Both `muster watch` and the watches of a configuration file are this loop with something run at its
//! end. A request that fails is made again after growing pauses; the answer seen before stays what the
//! next one is compared with.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tokio::time::sleep;

use super::Failure;
use super::client::{Ask, Client};
use super::console::{items, text};
use crate::config::definition::WatchDefinition;

/// The first pause after a request that failed; it grows with the square of the failures.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The longest such pause.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(180);

/// An answer, and the index or hash to wait beyond.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The answer's JSON; null where nothing is there.
    pub value: Value,
    /// Index or hash, as text.
    pub mark: String,
}

/// Looks at one thing again and again.
#[derive(Debug)]
pub struct Look {
    client: Client,
    definition: WatchDefinition,
    before: Seen,
}

impl Look {
    /// Nothing has been seen yet: the first answer is news.
    pub fn new(client: Client, definition: WatchDefinition) -> Look {
        Look { client, definition, before: Seen::default() }
    }

    /// The next answer that differs from the one before.
    pub async fn next(&mut self) -> Seen {
        let mut n_failures = 0u32;
        loop {
            let seen = match self.once().await {
                Ok(seen) => seen,
                Err(why) => {
                    tracing::warn!(kind = %self.definition.kind, %why, "a watch is not answered");
                    n_failures = n_failures.saturating_add(1);
                    let pause = RETRY_AFTER.saturating_mul(n_failures.saturating_mul(n_failures));
                    sleep(pause.min(RETRY_AFTER_MAX)).await;
                    continue;
                }
            };
            n_failures = 0;
            let is_new = self.before.mark.is_empty() || seen.value != self.before.value;
            self.before = seen.clone();
            if is_new {
                return seen;
            }
        }
    }

    /// One answer: at once if none was seen before, else when something happened or the agent's
    /// patience is over.
    pub async fn once(&self) -> Result<Seen, Failure> {
        let is_hashed = self.definition.kind == "agent_service";
        let waits_by = if is_hashed { "hash" } else { "index" };
        let mark = (!self.before.mark.is_empty()).then_some(&self.before.mark);
        let ask = ask(&self.definition).with_some(waits_by, mark);
        let reply = self.client.send(ask).await?;
        let may_be_absent = self.definition.kind.starts_with("key");
        let is_absence = may_be_absent && reply.status == StatusCode::NOT_FOUND;
        if !reply.status.is_success() && !is_absence {
            return Err(self.client.refused(&reply));
        }
        let answer = if reply.status.is_success() { reply.json()? } else { Value::Null };
        let value = match self.definition.kind.as_str() {
            "key" => items(&answer).first().cloned().unwrap_or(Value::Null),
            _ => answer,
        };
        let mark = match is_hashed {
            true => text(&value, "ContentHash"),
            // An index that falls back means: start anew.
            false => {
                let last = self.before.mark.parse::<u64>().unwrap_or(0);
                let index = reply.index();
                let has_fallen = index < last && self.definition.kind != "event";
                if has_fallen { "0".into() } else { index.to_string() }
            }
        };
        Ok(Seen { value, mark })
    }
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
