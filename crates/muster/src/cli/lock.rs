//! `muster lock`: run a program while holding a lock.
//!
//! A session with a ttl is made and renewed; with it the pair `PREFIX/.lock` is acquired, the program
//! runs, and the lock is released. If the lock is lost, the program is stopped. With `-n` above 1 it is
//! a semaphore: each contender holds `PREFIX/SESSION`, and `PREFIX/.lock` is a document `{Limit,
//! Holders}` changed by compare-and-set. Flags and documents are those that Consul's clients use, so
//! both may contend for the same lock.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use super::Failure;
use super::child::{Child, Start};
use super::client::{Ask, Client};
use super::console::{Console, items, text};
use crate::config::duration;

/// The mark of a pair that is a lock.
const LOCK_FLAG: u64 = 0x2ddc_cbc0_58a5_0c18;
/// The mark of a pair that belongs to a semaphore.
const SEMAPHORE_FLAG: u64 = 0xe0f6_9a2b_aa41_4de0;
/// The ttl of the session; it is renewed at half of it.
const SESSION_TTL: Duration = Duration::from_secs(15);
/// The pause after a lock that could not be had although nobody holds it (lock delay).
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How many compare-and-sets of a semaphore's document are tried before waiting.
const CONTENTION_MAX: usize = 64;

/// Run a program while holding a lock.
#[derive(Debug, Args)]
pub struct Lock {
    /// Where the lock is: the pair PREFIX/.lock.
    prefix: String,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    child: Vec<String>,
    /// How many may hold it at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    n: u32,
    /// The session's name.
    #[arg(long, default_value = "")]
    name: String,
    /// The longest to wait for the lock; 0 means for ever.
    #[arg(long, default_value = "0", value_parser = duration::parse)]
    timeout: Duration,
    /// The old name of -timeout.
    #[arg(long = "try", hide = true, value_parser = duration::parse)]
    attempt: Option<Duration>,
    /// How often an error while watching the lock is forgiven, a second apart.
    #[arg(long, default_value_t = 3)]
    monitor_retry: u32,
    /// Let the program read standard input.
    #[arg(long)]
    pass_stdin: bool,
    /// Exit with 2 if the program fails.
    #[arg(long)]
    child_exit_code: bool,
    /// Run the program in a shell.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set)]
    shell: bool,
    /// Say what happens.
    #[arg(long)]
    verbose: bool,
}

impl Lock {
    /// Acquires, runs, releases; the session ends in every case.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let client = console.client.clone();
        let prefix = self.prefix.trim_matches('/').to_owned();
        let name = match self.name.as_str() {
            "" => format!("Consul lock for '{}' at '{prefix}'", self.child.join(" ")),
            name => name.to_owned(),
        };
        let behavior = if self.n == 1 { "release" } else { "delete" };
        let body = json!({
            "Name": name,
            "TTL": duration::show(SESSION_TTL),
            "Behavior": behavior,
        });
        let ask = Ask::put("/v1/session/create").body(body.to_string());
        let session = text(&client.json(ask).await?, "ID");
        let holding =
            Holding { client: client.clone(), prefix, session: session.clone(), limit: self.n };
        let renewing = renew(client.clone(), session.clone());
        let working = self.work(&holding, console);
        let result = tokio::select! {
            lost = renewing => Err(lost),
            result = working => result,
        };
        // Ends whatever is still held, whichever way we got here.
        let ended = client.done(Ask::put(format!("/v1/session/destroy/{session}"))).await;
        result.and(ended.map(|_| ()))
    }

    async fn work(&self, holding: &Holding, console: &mut Console<'_>) -> Result<(), Failure> {
        let limit = self.attempt.unwrap_or(self.timeout);
        let until = (!limit.is_zero()).then(|| Instant::now() + limit);
        self.say(console, "Attempting lock acquisition")?;
        tokio::select! {
            acquired = holding.acquire(until) => acquired?,
            _ = tokio::signal::ctrl_c() => return Err(Failure::new("Shutdown triggered or timeout during lock acquisition")),
        }
        let mut child = Child::start(Start {
            args: &self.child,
            is_shell: self.shell,
            input: if self.pass_stdin { None } else { Some(b"") },
            is_captured: false,
            environment: &[
                ("CONSUL_LOCK_HELD", "true".into()),
                ("MUSTER_LOCK_HELD", "true".into()),
            ],
        })
        .await?;
        let outcome = tokio::select! {
            status = child.wait() => Some(status?),
            lost = holding.lost(self.monitor_retry) => {
                child.stop().await?;
                return Err(lost);
            }
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(status) = outcome else {
            child.stop().await?;
            holding.release().await?;
            return Err(Failure::new("interrupted; the program was stopped and the lock released"));
        };
        self.say(console, "Cleanup, releasing lock")?;
        holding.release().await?;
        match status.success() || !self.child_exit_code {
            true => Ok(()),
            false => Err(Failure::with_code(2, format!("the program failed: {status}"))),
        }
    }

    fn say(&self, console: &mut Console<'_>, what: &str) -> Result<(), Failure> {
        if self.verbose { console.line(what) } else { Ok(()) }
    }
}

/// Renews the session at half its ttl; returns only when that is no longer possible.
async fn renew(client: Client, session: String) -> Failure {
    let mut heard_at = Instant::now();
    loop {
        sleep(SESSION_TTL / 2).await;
        match client.send(Ask::put(format!("/v1/session/renew/{session}"))).await {
            Ok(reply) if reply.status.is_success() => heard_at = Instant::now(),
            Ok(reply) if reply.status == StatusCode::NOT_FOUND => {
                return Failure::new("the lock is lost: its session has expired");
            }
            _ if heard_at.elapsed() > SESSION_TTL => {
                return Failure::new("the lock is lost: its session could not be renewed in time");
            }
            _ => {}
        }
    }
}

/// A lock or a place in a semaphore, wanted or held by one session.
struct Holding {
    client: Client,
    prefix: String,
    session: String,
    limit: u32,
}

/// A semaphore's document and the index to change it by.
struct Places {
    index: u64,
    limit: u64,
    holders: Vec<String>,
}

impl Holding {
    fn lock_path(&self) -> String {
        format!("/v1/kv/{}/.lock", self.prefix)
    }

    fn own_path(&self) -> String {
        format!("/v1/kv/{}/{}", self.prefix, self.session)
    }

    async fn acquire(&self, until: Option<Instant>) -> Result<(), Failure> {
        let tries = async {
            if self.limit > 1 {
                self.contend().await?;
            }
            let mut index = 0;
            loop {
                let is_held = match self.limit {
                    1 => self.acquire_lock().await?,
                    _ => self.acquire_place().await?,
                };
                if is_held {
                    return Ok(());
                }
                index = self.wait_for_change(index).await?;
            }
        };
        match until {
            None => tries.await,
            Some(until) => timeout_at(until, tries)
                .await
                .unwrap_or_else(|_| Err(Failure::new("the lock could not be had in time"))),
        }
    }

    async fn acquire_lock(&self) -> Result<bool, Failure> {
        let ask =
            Ask::put(self.lock_path()).with("acquire", &self.session).with("flags", LOCK_FLAG);
        Ok(self.client.json(ask).await?.as_bool().unwrap_or(false))
    }

    /// Waits until the lock's pair changes, or it is free.
    async fn wait_for_change(&self, index: u64) -> Result<u64, Failure> {
        let ask = Ask::get(self.lock_path()).with("wait", "15s").with("consistent", "");
        let reply = self.client.send(ask.with("index", index)).await?;
        let pair = if reply.status.is_success() { reply.json()? } else { Value::Null };
        let flags = pair[0]["Flags"].as_u64();
        let wanted = if self.limit == 1 { LOCK_FLAG } else { SEMAPHORE_FLAG };
        if flags.is_some_and(|flags| flags != wanted) {
            let what = format!("{} exists and is not a lock of this kind", self.lock_path());
            return Err(Failure::new(what));
        }
        if self.limit == 1 && text(&pair[0], "Session").is_empty() {
            // Free, but not to be had: the pause after a forced release.
            sleep(RETRY_AFTER).await;
        }
        Ok(reply.index())
    }

    /// Makes the contender's own pair of a semaphore.
    async fn contend(&self) -> Result<(), Failure> {
        let ask =
            Ask::put(self.own_path()).with("acquire", &self.session).with("flags", SEMAPHORE_FLAG);
        match self.client.json(ask).await?.as_bool() {
            Some(true) => Ok(()),
            _ => Err(Failure::new("the semaphore's contender entry could not be made")),
        }
    }

    async fn acquire_place(&self) -> Result<bool, Failure> {
        for _ in 0..CONTENTION_MAX {
            let mut places = self.places().await?;
            if places.holders.contains(&self.session) {
                return Ok(true);
            }
            if places.limit != u64::from(self.limit) {
                let what =
                    format!("the semaphore is for {} holders, not {}", places.limit, self.limit);
                return Err(Failure::new(what));
            }
            if places.holders.len() as u64 >= places.limit {
                return Ok(false);
            }
            places.holders.push(self.session.clone());
            if self.set_places(&places).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The semaphore's document, without holders whose session is gone.
    async fn places(&self) -> Result<Places, Failure> {
        let ask = Ask::get(format!("/v1/kv/{}/", self.prefix)).flag("recurse", true);
        let reply = self.client.done(ask.with("consistent", "")).await?.json()?;
        let lock_key = format!("{}/.lock", self.prefix);
        let lock = items(&reply).iter().find(|pair| text(pair, "Key") == lock_key);
        let document = lock.map(|pair| STANDARD.decode(text(pair, "Value")).unwrap_or_default());
        let document: Value =
            document.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let alive: Vec<String> = items(&reply).iter().map(|pair| text(pair, "Session")).collect();
        let named = match &document["Holders"] {
            Value::Object(map) => map.keys().cloned().collect(),
            list => {
                items(list).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
            }
        };
        let holders: Vec<String> = named;
        Ok(Places {
            index: lock.and_then(|pair| pair["ModifyIndex"].as_u64()).unwrap_or(0),
            limit: document["Limit"].as_u64().unwrap_or(u64::from(self.limit)),
            holders: holders.into_iter().filter(|holder| alive.contains(holder)).collect(),
        })
    }

    async fn set_places(&self, places: &Places) -> Result<bool, Failure> {
        let holders = places.holders.iter().map(|holder| (holder.clone(), json!(true)));
        let holders = Value::Object(holders.collect());
        let document = json!({ "Limit": places.limit, "Holders": holders });
        let ask = Ask::put(self.lock_path())
            .with("cas", places.index)
            .with("flags", SEMAPHORE_FLAG)
            .body(document.to_string());
        Ok(self.client.json(ask).await?.as_bool().unwrap_or(false))
    }

    /// Returns when the lock is no longer held; errors in between are forgiven `retries` times.
    async fn lost(&self, retries: u32) -> Failure {
        let mut index = 0;
        let mut left = retries;
        loop {
            match self.is_held(index).await {
                Ok((true, next)) => {
                    (index, left) = (next, retries);
                }
                Ok((false, _)) => return Failure::new("Lock lost, killing child"),
                Err(failure) if left == 0 => return failure,
                Err(_) => {
                    left -= 1;
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn is_held(&self, index: u64) -> Result<(bool, u64), Failure> {
        let ask = Ask::get(self.lock_path()).with("wait", "15s").with("index", index);
        let reply = self.client.send(ask.with("consistent", "")).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok((false, 0));
        }
        if !reply.status.is_success() {
            return Err(self.client.refused(&reply));
        }
        let pair = reply.json()?;
        let is_held = match self.limit {
            1 => text(&pair[0], "Session") == self.session,
            _ => self.places().await?.holders.contains(&self.session),
        };
        Ok((is_held, reply.index()))
    }

    async fn release(&self) -> Result<(), Failure> {
        if self.limit == 1 {
            let ask =
                Ask::put(self.lock_path()).with("release", &self.session).with("flags", LOCK_FLAG);
            return self.client.done(ask).await.map(|_| ());
        }
        for _ in 0..CONTENTION_MAX {
            let mut places = self.places().await?;
            places.holders.retain(|holder| *holder != self.session);
            if self.set_places(&places).await? {
                break;
            }
        }
        self.client.done(Ask::new(Method::DELETE, &self.own_path())).await.map(|_| ())
    }
}
