//! The one place where a caller is authorized.
//!
//! Whoever takes a command or a query to the state asks [`State::authorize`] first, for each of the
//! accesses that [`needed_by_command`] and [`needed_by_query`] name. Tokens and policies come with a
//! later issue; until then there is nothing to hold a token against, and every access is granted.
//! The shape is final: what is asked for, by whom, and what a refusal says.

use std::fmt;

use muster_model::command::{Operation, PairVerb};
use muster_model::query::CheckSubject;
use muster_model::{Command, LeaseId, Query, Text};

use crate::State;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Of which kind it is.
    pub resource: Resource,
    /// Its name; for lists, what the names start with.
    pub name: Text,
    /// What the caller wants to do with it.
    pub right: Right,
}

/// A kind of thing that rights are given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// What one agent vouches for and tells about itself.
    Agent,
    /// User events.
    Event,
    /// One pair.
    Key,
    /// All pairs under a prefix.
    KeyPrefix,
    /// A node with its checks and its coordinate.
    Node,
    /// The running of the cluster.
    Operator,
    /// A stored question.
    Query,
    /// A service with its instances and their checks.
    Service,
    /// The sessions of a node.
    Session,
}

/// What a caller wants to do with a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// See it.
    Read,
    /// See the names of all under a prefix.
    List,
    /// Change it.
    Write,
}

/// The caller may not do that. State untouched; the caller must show another token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token lacks permission '{}' on {}", .0.right, .0)]
pub struct Denied(pub Access);

impl State {
    /// Whether nobody is restricted, so that nobody needs to be asked who he is.
    pub fn is_open(&self) -> bool {
        // No policy is known to the state yet.
        true
    }

    /// Whether the bearer of `token` may do what `access` says.
    ///
    /// # Errors
    /// Names what is lacking.
    pub fn authorize(&self, token: &Text, access: &Access) -> Result<(), Denied> {
        // No token is known to the state yet, and the default policy is to allow.
        let _ = (token, access);
        Ok(())
    }
}

/// What a caller needs for a command.
pub fn needed_by_command(command: &Command) -> Vec<Access> {
    match command {
        Command::Register(wish) => {
            let services = wish.instance.iter().map(|own| write(Resource::Service, &own.service));
            services.chain([write(Resource::Node, &wish.node.name)]).collect()
        }
        Command::Deregister { node, .. } | Command::UpdateCheck { node, .. } => {
            vec![write(Resource::Node, node)]
        }
        Command::PutPair { key, .. } | Command::DeletePair { key, .. } => {
            vec![write(Resource::Key, key)]
        }
        Command::DeletePairsUnder { prefix } => vec![write(Resource::KeyPrefix, prefix)],
        Command::Transact { operations } => operations.iter().map(needed_by_step).collect(),
        Command::CreateSession(session) => vec![write(Resource::Session, &session.node)],
        Command::EndSession { .. } => vec![write(Resource::Session, &Text::default())],
        Command::PutPreparedQuery { query, .. } => vec![write(Resource::Query, &query.name)],
        Command::DeletePreparedQuery { id } => vec![write(Resource::Query, id)],
        Command::PutCoordinates { coordinates } => {
            coordinates.iter().map(|own| write(Resource::Node, &own.node)).collect()
        }
        Command::PutRoot(_)
        | Command::PutSetting { .. }
        | Command::DeleteSetting { .. }
        | Command::EndLockDelays { .. }
        | Command::ExpireInstance { .. }
        | Command::ReapTombstones { .. } => vec![write(Resource::Operator, &Text::default())],
        Command::Batch { commands } => commands.iter().flat_map(needed_by_command).collect(),
    }
}

/// What a caller needs for a query to be answered at all. What of a list a caller may see is
/// filtered from the answer.
pub fn needed_by_query(query: &Query) -> Vec<Access> {
    match query {
        Query::Node { name_or_id } => vec![read(Resource::Node, name_or_id)],
        Query::Instances(filter) => vec![read(Resource::Service, &filter.service)],
        Query::Checks(filter) => match &filter.subject {
            CheckSubject::Node(node) => vec![read(Resource::Node, node)],
            CheckSubject::Service(service) => vec![read(Resource::Service, service)],
            CheckSubject::All | CheckSubject::WithStatus(_) => Vec::new(),
        },
        Query::Pair { key } => vec![read(Resource::Key, key)],
        Query::PairsUnder { prefix } | Query::KeysUnder { prefix, .. } => {
            vec![Access { right: Right::List, ..read(Resource::KeyPrefix, prefix) }]
        }
        Query::Transact { operations } => {
            operations.iter().map(|own| needed_by_step(&own.0)).collect()
        }
        Query::Coordinates { node: Some(node) } => vec![read(Resource::Node, node)],
        Query::Settings { .. } | Query::Usage => vec![read(Resource::Operator, &Text::default())],
        Query::Nodes(_)
        | Query::Services { .. }
        | Query::AllInstances { .. }
        | Query::Session { .. }
        | Query::Sessions { .. }
        | Query::PreparedQueries { .. }
        | Query::ExecutePrepared { .. }
        | Query::ExplainPrepared { .. }
        | Query::Coordinates { node: None }
        | Query::AddressOwners { .. }
        | Query::Roots => Vec::new(),
    }
}

/// What a caller needs to keep a lease alive.
pub fn needed_by_renewal(lease: &LeaseId) -> Vec<Access> {
    match lease {
        LeaseId::Session(_) => Vec::new(),
        LeaseId::Instance { node, .. } => vec![write(Resource::Node, node)],
    }
}

fn needed_by_step(operation: &Operation) -> Access {
    let right = if operation.is_read() { Right::Read } else { Right::Write };
    let (resource, name) = match operation {
        Operation::Pair(step) => match step.verb {
            PairVerb::GetUnder | PairVerb::DeleteUnder => (Resource::KeyPrefix, &step.key),
            _ => (Resource::Key, &step.key),
        },
        Operation::Node { node, .. } => (Resource::Node, &node.name),
        Operation::Instance { instance, .. } => (Resource::Service, &instance.service),
        Operation::Check { node, .. } => (Resource::Node, node),
    };
    Access { resource, name: name.clone(), right }
}

fn write(resource: Resource, name: &Text) -> Access {
    Access { resource, name: name.clone(), right: Right::Write }
}

fn read(resource: Resource, name: &Text) -> Access {
    Access { resource, name: name.clone(), right: Right::Read }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.resource, self.name)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Right::Read => "read",
            Right::List => "list",
            Right::Write => "write",
        })
    }
}
