//! `muster session`: the holders of locks.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Failure;
use super::client::Ask;
use super::console::{Console, items, text};

/// Create, list, renew and destroy sessions.
#[derive(Debug, Subcommand)]
pub enum Session {
    /// All sessions, or those of a node.
    List {
        /// The node.
        #[arg(long)]
        node: Option<String>,
    },
    /// One session.
    Info {
        /// Its id.
        id: String,
    },
    /// A new session; prints its id.
    Create(Create),
    /// Renew a session with a ttl.
    Renew {
        /// Its id.
        id: String,
    },
    /// Destroy a session, which releases its locks.
    Destroy {
        /// Its id.
        id: String,
    },
}

/// Flags of `session create`.
#[derive(Debug, Args)]
pub struct Create {
    /// A name, for people.
    #[arg(long)]
    name: Option<String>,
    /// The node it is bound to; the agent's own if not given.
    #[arg(long)]
    node: Option<String>,
    /// Expire unless renewed within this: 10s to 24h.
    #[arg(long)]
    ttl: Option<String>,
    /// What becomes of its pairs when it ends: release or delete.
    #[arg(long)]
    behavior: Option<String>,
    /// How long its locks stay closed when it ends badly.
    #[arg(long)]
    lock_delay: Option<String>,
}

impl Session {
    /// Does what was asked.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let client = console.client.clone();
        match self {
            Session::List { node } => {
                let path = match node {
                    Some(node) => format!("/v1/session/node/{node}"),
                    None => "/v1/session/list".into(),
                };
                show(&client.json(Ask::get(path)).await?, console)
            }
            Session::Info { id } => {
                let found = client.json(Ask::get(format!("/v1/session/info/{id}"))).await?;
                if items(&found).is_empty() {
                    return Err(Failure::new(format!("No session with id {id}")));
                }
                show(&found, console)
            }
            Session::Create(create) => {
                let ask = Ask::put("/v1/session/create").body(create.body().to_string());
                let made = client.json(ask).await?;
                if console.is_json() {
                    console.json(&made)
                } else {
                    console.line(text(&made, "ID"))
                }
            }
            Session::Renew { id } => {
                let renewed = client.json(Ask::put(format!("/v1/session/renew/{id}"))).await?;
                show(&renewed, console)
            }
            Session::Destroy { id } => {
                client.done(Ask::put(format!("/v1/session/destroy/{id}"))).await?;
                console.line(format!("Success! Destroyed session: {id}"))
            }
        }
    }
}

impl Create {
    fn body(&self) -> Value {
        let given = [
            ("Name", &self.name),
            ("Node", &self.node),
            ("TTL", &self.ttl),
            ("Behavior", &self.behavior),
            ("LockDelay", &self.lock_delay),
        ];
        let mut body = Map::new();
        for (key, value) in given {
            if let Some(value) = value {
                body.insert(key.to_owned(), json!(value));
            }
        }
        Value::Object(body)
    }
}

fn show(sessions: &Value, console: &mut Console<'_>) -> Result<(), Failure> {
    if console.is_json() {
        return console.json(sessions);
    }
    let row = |session: &Value| {
        ["ID", "Name", "Node", "TTL", "Behavior"].map(|field| text(session, field)).to_vec()
    };
    let rows = items(sessions).iter().map(row).collect();
    console.table(&["ID", "Name", "Node", "TTL", "Behavior"], rows)
}
