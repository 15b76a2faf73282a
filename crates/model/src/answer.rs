//! An answer: what a query came to, at one version of the state.
//!
//! An answer is shared by everyone who asked the same, and remembers what fronts made of it: the
//! first of a thousand watchers that wake together pays for the encoding ([`Answer::encoded`]).

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::ca::CaRoot;
use crate::coordinate::NodeCoordinate;
use crate::outcome::{Denial, StepResult};
use crate::prepared::PreparedQuery;
use crate::settings::Setting;
use crate::{Check, Index, Indexed, Instance, Node, Pair, Scope, Session, Status, Text};

/// A row of the state, shared with it.
pub type Row<T> = Arc<Indexed<T>>;

/// What a query came to.
#[derive(Debug)]
pub struct Answer {
    /// The last index that touched what the answer depends on; at least 1. A watch that has seen
    /// this answer waits for its scopes to pass it.
    pub index: Index,
    /// What it depends on.
    pub scopes: Vec<Scope>,
    /// The result itself.
    pub body: Body,
    /// Whether it may be given again as long as none of its scopes is touched. Not so where its
    /// order depends on coordinates: they drift all the time, and their drift wakes nobody.
    pub is_lasting: bool,
    encoded: Mutex<Vec<(EncodingKey, Arc<dyn Any + Send + Sync>)>>,
    encoded_bytes: AtomicUsize,
}

/// Which front made an encoding, and in which of its forms. The form is the front's own: a number
/// for each variant, or a hash of what the variant depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EncodingKey {
    /// The front's name.
    pub front: &'static str,
    /// The form.
    pub form: u64,
}

/// An encoding that can say how large it is, for the bound of the memo.
pub trait Encoding: Any + Send + Sync {
    /// Bytes of memory it holds.
    fn n_bytes(&self) -> usize;
}

impl Encoding for bytes::Bytes {
    fn n_bytes(&self) -> usize {
        self.len()
    }
}

/// Encodings of one answer that are kept; beyond it a form is made anew each time.
const ENCODINGS_MAX: usize = 16;

impl Answer {
    /// An answer with this body.
    pub fn new(index: Index, scopes: Vec<Scope>, body: Body) -> Answer {
        Answer {
            index: index.max(1),
            scopes,
            body,
            is_lasting: true,
            encoded: Mutex::new(Vec::new()),
            encoded_bytes: AtomicUsize::new(0),
        }
    }

    /// The same answer as one that is not to be given again.
    pub fn for_once(self) -> Answer {
        Answer { is_lasting: false, ..self }
    }

    /// What `make` gives for this answer, made once for each key and shared from then on.
    pub fn encoded<T: Encoding>(
        &self,
        key: EncodingKey,
        make: impl FnOnce(&Answer) -> T,
    ) -> Arc<T> {
        if let Some(found) = self.kept(key) {
            return found;
        }
        let made = Arc::new(make(self));
        let mut kept = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < ENCODINGS_MAX && !kept.iter().any(|(own, _)| *own == key) {
            self.encoded_bytes.fetch_add(made.n_bytes(), Ordering::Relaxed);
            kept.push((key, made.clone()));
        }
        made
    }

    /// The encoding under `key`, if one is kept.
    fn kept<T: Encoding>(&self, key: EncodingKey) -> Option<Arc<T>> {
        let kept = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, found) = kept.iter().find(|(own, _)| *own == key)?;
        found.clone().downcast().ok()
    }

    /// Bytes that encodings of this answer hold.
    pub fn encoded_bytes(&self) -> usize {
        self.encoded_bytes.load(Ordering::Relaxed)
    }
}

/// The result of a query. Which variant answers which query is written at [`crate::Query`].
#[derive(Debug)]
// A body lives once, inside a shared answer: its size costs nothing.
#[allow(clippy::large_enum_variant)]
pub enum Body {
    /// For `Nodes`, in the order of their names.
    Nodes(Vec<Row<Node>>),
    /// For `Node`.
    Node(Option<NodeDetail>),
    /// For `Services`: each with its tags, both in ascending order.
    Services(Vec<(Text, Vec<Text>)>),
    /// For `Instances` and `AllInstances`, in the order of node name and instance id.
    Instances(Vec<InstanceDetail>),
    /// For `Checks`.
    Checks(Vec<CheckDetail>),
    /// For `Pair`.
    Pair(Option<Row<Pair>>),
    /// For `PairsUnder`.
    Pairs(Vec<Row<Pair>>),
    /// For `KeysUnder`.
    Keys(Vec<Text>),
    /// For `Transact`: as its outcome.
    Transacted(Result<Vec<StepResult>, Vec<(u32, Denial)>>),
    /// For `Session` and `Sessions`.
    Sessions(Vec<Row<Session>>),
    /// For `PreparedQueries` and `ExplainPrepared`.
    PreparedQueries(Vec<Row<PreparedQuery>>),
    /// For `ExecutePrepared`: nothing where no question fits.
    Prepared(Option<PreparedAnswer>),
    /// For `Coordinates`.
    Coordinates(Vec<NodeCoordinate>),
    /// For `AddressOwners`.
    Owners {
        /// Nodes with this address.
        nodes: Vec<Row<Node>>,
        /// Instances with this address of their own.
        instances: Vec<Row<Instance>>,
    },
    /// For `Roots`, without their keys.
    Roots(Vec<Indexed<CaRoot>>),
    /// For `Settings`.
    Settings(Vec<Row<Setting>>),
    /// For `Usage`.
    Usage(Usage),
}

/// A node with what it carries.
#[derive(Clone, Debug)]
pub struct NodeDetail {
    /// The node.
    pub node: Row<Node>,
    /// Its instances, by id.
    pub instances: Vec<Row<Instance>>,
    /// All checks on it, its own and those of its instances, by id.
    pub checks: Vec<CheckDetail>,
}

/// An instance with its node and all checks that decide its status.
#[derive(Clone, Debug)]
pub struct InstanceDetail {
    /// Its node.
    pub node: Row<Node>,
    /// The instance.
    pub instance: Row<Instance>,
    /// The checks of its node, then its own.
    pub checks: Vec<Row<Check>>,
}

impl InstanceDetail {
    /// The worst status of its checks; passing where it has none.
    pub fn status(&self) -> Status {
        self.checks.iter().map(|check| check.status).max().unwrap_or(Status::Passing)
    }
}

/// A check with its node and, if it is about one, its instance.
#[derive(Clone, Debug)]
pub struct CheckDetail {
    /// Its node.
    pub node: Row<Node>,
    /// Its instance.
    pub instance: Option<Row<Instance>>,
    /// The check.
    pub check: Row<Check>,
}

/// The answer of a prepared query.
#[derive(Clone, Debug)]
pub struct PreparedAnswer {
    /// The question, with its template filled in.
    pub query: PreparedQuery,
    /// What it found here; not shuffled.
    pub instances: Vec<InstanceDetail>,
}

/// Numbers over everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nodes.
    pub n_nodes: u64,
    /// Services.
    pub n_services: u64,
    /// Instances.
    pub n_instances: u64,
    /// Checks.
    pub n_checks: u64,
    /// Instances by kind of proxy or gateway, ascending; the ordinary ones are not in it.
    pub n_instances_by_kind: Vec<(Text, u64)>,
    /// Instances that count for a bill: ordinary ones outside the registry's own service.
    pub n_billable: u64,
    /// Pairs.
    pub n_pairs: u64,
    /// Sessions.
    pub n_sessions: u64,
    /// Instances of the mesh that need no proxy.
    pub n_connect_native: u64,
}
