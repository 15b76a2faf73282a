//! `muster kv`: pairs, read, written and moved in bulk.

use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::Ask;
use super::console::{Console, items, progress, text};
use super::{Failure, files};

/// The longest value or import that is read from a file or standard input.
const INPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Read and write pairs.
#[derive(Debug, Subcommand)]
pub enum Kv {
    /// Read a pair, or all under a prefix.
    Get(Get),
    /// Write a pair, or acquire or release its lock.
    Put(Put),
    /// Delete a pair, or all under a prefix.
    Delete(Delete),
    /// Write all pairs under a prefix as JSON.
    Export {
        /// The prefix; nothing means all.
        prefix: Option<String>,
    },
    /// Read pairs from JSON as `export` writes it.
    Import(Import),
}

/// Flags of `kv get`.
#[derive(Debug, Args)]
pub struct Get {
    /// The key or prefix.
    key: Option<String>,
    /// All pairs under the prefix.
    #[arg(long)]
    recurse: bool,
    /// Keys only.
    #[arg(long)]
    keys: bool,
    /// Cut keys after this.
    #[arg(long, default_value = "/")]
    separator: String,
    /// Everything about each pair.
    #[arg(long)]
    detailed: bool,
    /// Values in base64.
    #[arg(long)]
    base64: bool,
}

/// Flags of `kv put`.
#[derive(Debug, Args)]
pub struct Put {
    /// The key.
    key: String,
    /// The value; @FILE reads a file, - standard input.
    #[arg(allow_hyphen_values = true)]
    value: Option<String>,
    /// Only if modify-index is still right (0: only if there is no such pair).
    #[arg(long)]
    cas: bool,
    /// The index for -cas.
    #[arg(long, default_value_t = 0)]
    modify_index: u64,
    /// A number kept with the pair.
    #[arg(long, default_value_t = 0)]
    flags: u64,
    /// Acquire the lock of the pair for -session.
    #[arg(long)]
    acquire: bool,
    /// Release the lock that -session holds.
    #[arg(long)]
    release: bool,
    /// The session's id.
    #[arg(long, default_value = "")]
    session: String,
    /// The value is base64.
    #[arg(long)]
    base64: bool,
}

/// Flags of `kv delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// The key or prefix.
    key: Option<String>,
    /// All pairs under the prefix.
    #[arg(long)]
    recurse: bool,
    /// Only if modify-index is still right.
    #[arg(long)]
    cas: bool,
    /// The index for -cas.
    #[arg(long, default_value_t = 0)]
    modify_index: u64,
}

/// Flags of `kv import`.
#[derive(Debug, Args)]
pub struct Import {
    /// The JSON itself, @FILE, or - for standard input.
    #[arg(default_value = "-", allow_hyphen_values = true)]
    data: String,
    /// A prefix put before every key.
    #[arg(long, default_value = "")]
    prefix: String,
}

impl Kv {
    /// Does what was asked.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self {
            Kv::Get(get) if get.keys => get.keys(console).await,
            Kv::Get(get) => get.pairs(console).await,
            Kv::Put(put) => put.run(console).await,
            Kv::Delete(delete) => delete.run(console).await,
            Kv::Export { prefix } => export(prefix.unwrap_or_default(), console).await,
            Kv::Import(import) => import.run(console).await,
        }
    }
}

fn path(key: &str) -> String {
    format!("/v1/kv/{}", key.strip_prefix('/').unwrap_or(key))
}

impl Get {
    async fn keys(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let ask = Ask::get(path(self.key.as_deref().unwrap_or_default()));
        let reply =
            console.client.send(ask.flag("keys", true).with("separator", self.separator)).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        if !reply.status.is_success() {
            return Err(console.client.refused(&reply));
        }
        let keys = reply.json()?;
        if console.is_json() {
            return console.json(&keys);
        }
        for key in items(&keys) {
            console.line(key.as_str().unwrap_or_default())?;
        }
        Ok(())
    }

    async fn pairs(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let key = self.key.clone().unwrap_or_default();
        if key.is_empty() && !self.recurse {
            return Err(Failure::new("Error! Missing KEY argument"));
        }
        let reply = console.client.send(Ask::get(path(&key)).flag("recurse", self.recurse)).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return match self.recurse {
                true => Ok(()),
                false => Err(Failure::new(format!("Error! No key exists at: {key}"))),
            };
        }
        if !reply.status.is_success() {
            return Err(console.client.refused(&reply));
        }
        let pairs = reply.json()?;
        if console.is_json() {
            return console.json(&pairs);
        }
        for (n, pair) in items(&pairs).iter().enumerate() {
            if self.detailed {
                if n > 0 {
                    console.line("")?;
                }
                self.detail(pair, console)?;
                continue;
            }
            if self.recurse {
                console.bytes(format!("{}:", text(pair, "Key")).as_bytes())?;
            }
            console.bytes(&self.value(pair))?;
            console.line("")?;
        }
        Ok(())
    }

    fn detail(&self, pair: &Value, console: &mut Console<'_>) -> Result<(), Failure> {
        let session = text(pair, "Session");
        let shown = [
            ("CreateIndex", text(pair, "CreateIndex")),
            ("Flags", text(pair, "Flags")),
            ("Key", text(pair, "Key")),
            ("LockIndex", text(pair, "LockIndex")),
            ("ModifyIndex", text(pair, "ModifyIndex")),
            ("Session", if session.is_empty() { "-".into() } else { session }),
        ];
        for (name, value) in shown {
            console.line(format!("{name:<17}{value}"))?;
        }
        console.bytes(b"Value            ")?;
        console.bytes(&self.value(pair))?;
        console.line("")
    }

    fn value(&self, pair: &Value) -> Vec<u8> {
        let encoded = text(pair, "Value");
        if self.base64 {
            encoded.into_bytes()
        } else {
            STANDARD.decode(encoded).unwrap_or_default()
        }
    }
}

impl Put {
    async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        if [self.cas, self.acquire, self.release].iter().filter(|is_set| **is_set).count() > 1 {
            return Err(Failure::new(
                "Error! Cannot specify more than one of -cas, -acquire, -release",
            ));
        }
        if (self.acquire || self.release) && self.session.is_empty() {
            return Err(Failure::new(
                "Error! Missing -session (required with -acquire and -release)",
            ));
        }
        let mut value = match &self.value {
            Some(value) => input(value)?,
            None => Vec::new(),
        };
        if self.base64 {
            value = STANDARD.decode(value.trim_ascii()).map_err(|error| {
                Failure::new(format!("Error! Cannot base 64 decode data: {error}"))
            })?;
        }
        let key = &self.key;
        let ask = Ask::put(path(key))
            .with_some("flags", (self.flags != 0).then_some(self.flags))
            .with_some("cas", self.cas.then_some(self.modify_index))
            .with_some("acquire", self.acquire.then_some(&self.session))
            .with_some("release", self.release.then_some(&self.session))
            .body(value);
        let is_done = console.client.json(ask).await?.as_bool().unwrap_or(false);
        let told = match (is_done, self.cas, self.acquire, self.release) {
            (true, _, true, _) => format!("Success! Lock acquired on: {key}"),
            (true, _, _, true) => format!("Success! Lock released on: {key}"),
            (true, ..) => format!("Success! Data written to: {key}"),
            (false, _, true, _) => format!("Error! Did not acquire lock on: {key}"),
            (false, _, _, true) => format!("Error! Did not release lock on: {key}"),
            (false, ..) => format!("Error! Did not write to {key}: CAS failed"),
        };
        if is_done { console.line(told) } else { Err(Failure::new(told)) }
    }
}

impl Delete {
    async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let key = self.key.clone().unwrap_or_default();
        if key.is_empty() && !self.recurse {
            return Err(Failure::new("Error! Missing KEY argument"));
        }
        if self.recurse && self.cas {
            return Err(Failure::new("Error! Cannot specify both -cas and -recurse"));
        }
        if self.cas && self.modify_index == 0 {
            return Err(Failure::new("Error! Must specify -modify-index with -cas"));
        }
        let ask = Ask::new(Method::DELETE, &path(&key))
            .flag("recurse", self.recurse)
            .with_some("cas", self.cas.then_some(self.modify_index));
        let is_done = console.client.json(ask).await?.as_bool().unwrap_or(false);
        match (is_done, self.recurse) {
            (false, _) => Err(Failure::new(format!("Error! Did not delete key {key}: CAS failed"))),
            (true, true) => console.line(format!("Success! Deleted keys with prefix: {key}")),
            (true, false) => console.line(format!("Success! Deleted key: {key}")),
        }
    }
}

async fn export(prefix: String, console: &mut Console<'_>) -> Result<(), Failure> {
    let reply = console.client.send(Ask::get(path(&prefix)).flag("recurse", true)).await?;
    if reply.status == StatusCode::NOT_FOUND {
        return console.line("[]");
    }
    if !reply.status.is_success() {
        return Err(console.client.refused(&reply));
    }
    let pairs = reply.json()?;
    let mut separator = "[\n";
    for pair in items(&pairs) {
        let (key, flags) = (&pair["Key"], &pair["Flags"]);
        let value = json!(text(pair, "Value"));
        console.bytes(separator.as_bytes())?;
        let fields =
            format!("\t\t\"key\": {key},\n\t\t\"flags\": {flags},\n\t\t\"value\": {value}");
        console.bytes(format!("\t{{\n{fields}\n\t}}").as_bytes())?;
        separator = ",\n";
    }
    console.line("\n]")
}

impl Import {
    async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let data = input(&self.data)?;
        let entries: Vec<Value> = serde_json::from_slice(&data)
            .map_err(|error| Failure::new(format!("Cannot unmarshal data: {error}")))?;
        let bar = progress("importing", Some(entries.len() as u64));
        for entry in &entries {
            let key = format!("{}{}", self.prefix, text(entry, "key"));
            let value = STANDARD.decode(text(entry, "value")).map_err(|error| {
                Failure::new(format!("Error base 64 decoding value for key {key}: {error}"))
            })?;
            let flags = entry["flags"].as_u64().unwrap_or(0);
            let ask = Ask::put(path(&key)).with("flags", flags).body(value);
            console.client.done(ask).await?;
            console.line(format!("Imported: {key}"))?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// What an argument stands for: a file after '@', standard input for '-', else itself.
pub fn input(argument: &str) -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    match argument.strip_prefix('@') {
        Some(file) => return files::read(Path::new(file), INPUT_BYTES_MAX),
        None if argument == "-" => {
            let stdin = std::io::stdin().lock().take(INPUT_BYTES_MAX).read_to_end(&mut data);
            stdin.map_err(|error| Failure::new(format!("Failed to read stdin: {error}")))?;
        }
        None => data.extend_from_slice(argument.as_bytes()),
    }
    Ok(data)
}
