//! `muster services`: register and deregister by hand or from definition files.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Failure;
use super::client::Ask;
use super::console::Console;
use crate::config::definition::json_of;
use crate::config::load::read_file;
use crate::config::setting::{Reader, Setting};
use crate::config::syntax::{self, Entry, Format, Node};
use crate::config::{Config, Problems};

/// Register and deregister services at the agent.
#[derive(Debug, Subcommand)]
pub enum Services {
    /// Register what flags or definition files say.
    Register(Register),
    /// Deregister by id or by definition files.
    Deregister {
        /// Definition files.
        files: Vec<PathBuf>,
        /// The instance's id.
        #[arg(long)]
        id: Option<String>,
    },
}

/// Flags of `services register`.
#[derive(Debug, Args)]
pub struct Register {
    /// Definition files, HCL or JSON, in place of flags.
    files: Vec<PathBuf>,
    /// The service's name.
    #[arg(long)]
    name: Option<String>,
    /// The instance's id; the name if not given.
    #[arg(long)]
    id: Option<String>,
    /// Its address.
    #[arg(long)]
    address: Option<String>,
    /// Its port.
    #[arg(long)]
    port: Option<u16>,
    /// A unix socket in place of address and port.
    #[arg(long)]
    socket: Option<String>,
    /// A tag; repeatable.
    #[arg(long)]
    tag: Vec<String>,
    /// A fact, KEY=VALUE; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    meta: Vec<String>,
    /// What kind of proxy or gateway it is.
    #[arg(long)]
    kind: Option<String>,
    /// An address by purpose, NAME=ADDRESS[:PORT]; repeatable.
    #[arg(long, value_name = "NAME=ADDRESS[:PORT]")]
    tagged_address: Vec<String>,
}

impl Services {
    /// Does what was asked.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self {
            Services::Register(register) => register.run(console).await,
            Services::Deregister { files, id } => deregister(files, id, console).await,
        }
    }
}

impl Register {
    async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let bodies = match (&self.name, self.files.is_empty()) {
            (Some(_), false) => {
                return Err(Failure::new("Services are named by flags or by files, not by both"));
            }
            (Some(_), true) => vec![self.body()?],
            (None, false) => definitions(&self.files)?,
            (None, true) => {
                return Err(Failure::new(
                    "Service registration requires at least one argument or flag",
                ));
            }
        };
        for body in bodies {
            let name = name_of(&body).to_owned();
            let ask = Ask::put("/v1/agent/service/register").body(body.to_string());
            console.client.done(ask).await.map_err(|failure| {
                failure.within(&format!("Error registering service {name:?}"))
            })?;
            console.line(format!("Registered service: {name}"))?;
        }
        Ok(())
    }

    fn body(&self) -> Result<Value, Failure> {
        let mut body = Map::new();
        let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
        put("Name", json!(self.name));
        if let Some(id) = &self.id {
            put("ID", json!(id));
        }
        if let Some(address) = &self.address {
            put("Address", json!(address));
        }
        if let Some(port) = self.port {
            put("Port", json!(port));
        }
        if let Some(socket) = &self.socket {
            put("SocketPath", json!(socket));
        }
        if let Some(kind) = &self.kind {
            put("Kind", json!(kind));
        }
        if !self.tag.is_empty() {
            put("Tags", json!(self.tag));
        }
        let mut meta = Map::new();
        for pair in &self.meta {
            let (key, value) = named(pair, "-meta")?;
            meta.insert(key.to_owned(), json!(value));
        }
        put("Meta", Value::Object(meta));
        let mut tagged = Map::new();
        for pair in &self.tagged_address {
            let (key, address) = named(pair, "-tagged-address")?;
            tagged.insert(key.to_owned(), endpoint(address, self.port));
        }
        if !tagged.is_empty() {
            put("TaggedAddresses", Value::Object(tagged));
        }
        Ok(Value::Object(body))
    }
}

fn named<'a>(pair: &'a str, flag: &str) -> Result<(&'a str, &'a str), Failure> {
    pair.split_once('=')
        .ok_or_else(|| Failure::new(format!("{flag} {pair:?}: expected NAME=VALUE")))
}

fn endpoint(address: &str, port: Option<u16>) -> Value {
    let split = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port): (&str, u16) = split.unwrap_or((address, port.unwrap_or(0)));
    json!({ "Address": host.trim_matches(['[', ']']), "Port": port })
}

async fn deregister(
    files: Vec<PathBuf>,
    id: Option<String>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let ids = match (id, files.is_empty()) {
        (Some(id), true) => vec![id],
        (None, false) => {
            let id_of = |body: &Value| match field(body, "id") {
                Some(id) => id.to_owned(),
                None => name_of(body).to_owned(),
            };
            definitions(&files)?.iter().map(id_of).collect()
        }
        _ => return Err(Failure::new("Services are named by -id or by files, one of them")),
    };
    for id in ids {
        console
            .client
            .done(Ask::put(format!("/v1/agent/service/deregister/{id}")))
            .await
            .map_err(|failure| failure.within(&format!("Error deregistering service {id:?}")))?;
        console.line(format!("Deregistered service: {id}"))?;
    }
    Ok(())
}

/// The service definitions of files, each as the body of a request, verified like configuration.
pub fn definitions(files: &[PathBuf]) -> Result<Vec<Value>, Failure> {
    let mut bodies = Vec::new();
    for file in files {
        let source = file.display().to_string();
        let wrong =
            |problem: crate::config::Problem| Failure::new(problem.within(&source).to_string());
        let text = match source.as_str() {
            "-" => String::from_utf8_lossy(&super::kv::input("-")?).into_owned(),
            _ => read_file(file).map_err(wrong)?,
        };
        let extension = file.extension().and_then(|extension| extension.to_str());
        let format = extension.and_then(Format::named).unwrap_or(Format::Hcl);
        let object = syntax::parse(&text, format).map_err(wrong)?;
        let mut reader = Reader::default();
        let whole = Node { line: 1, value: syntax::Value::Object(object.clone()) };
        Config::default().read(&whole, &mut reader);
        let problems = reader.finish(&source);
        if !problems.is_empty() {
            return Err(Failure::new(Problems(problems).to_string()));
        }
        for entry in object.entries.iter().filter(|entry| is_service(entry)) {
            match json_of(&entry.node) {
                Value::Array(items) => bodies.extend(items),
                body => bodies.push(labelled(body, entry)),
            }
        }
    }
    Ok(bodies)
}

fn is_service(entry: &Entry) -> bool {
    matches!(entry.key.to_lowercase().as_str(), "service" | "services")
}

/// The body of `service "web" { ... }`, whose label is the name.
fn labelled(body: Value, entry: &Entry) -> Value {
    let syntax::Value::Object(object) = &entry.node.value else { return body };
    let Some(label) = &object.label else { return body };
    let mut inner = body[label].clone();
    if name_of(&inner).is_empty() {
        inner["name"] = json!(label);
    }
    inner
}

fn field<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    let object = body.as_object()?;
    let found = object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    found.1.as_str()
}

fn name_of(body: &Value) -> &str {
    field(body, "name").unwrap_or_default()
}
