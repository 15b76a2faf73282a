//! An answer: what a query came to, at one version of the state.
//!
//! An answer is shared by everyone who asked the same, and remembers what fronts made of it: the
//! first of a thousand watchers that wake together pays for the encoding ([`Answer::encoded`]).

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use minicbor::{Decode, Encode};

use crate::ca::CaRoot;
use crate::coordinate::NodeCoordinate;
use crate::outcome::{Denial, StepResult};
use crate::prepared::PreparedQuery;
use crate::row;
use crate::settings::Setting;
use crate::{Check, Index, Indexed, Instance, Node, Pair, Scope, Session, Status, Text};

/// A row of the state, shared with it.
pub type Row<T> = Arc<Indexed<T>>;

/// What a query came to. The numbers are those of the internal protocol; what fronts made of an
/// answer does not travel.
#[derive(Debug, Encode, Decode)]
pub struct Answer {
    /// The last index that touched what the answer depends on; at least 1. A watch that has seen
    /// this answer waits for its scopes to pass it.
    #[n(0)]
    pub index: Index,
    /// What it depends on.
    #[n(1)]
    pub scopes: Vec<Scope>,
    /// The result itself.
    #[n(2)]
    pub body: Body,
    /// Whether it may be given again as long as none of its scopes is touched. Not so where its
    /// order depends on coordinates: they drift all the time, and their drift wakes nobody.
    #[n(3)]
    pub is_lasting: bool,
    #[cbor(skip)]
    encoded: Mutex<Vec<(EncodingKey, Arc<dyn Any + Send + Sync>)>>,
    #[cbor(skip)]
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
#[derive(Debug, Encode, Decode)]
// A body lives once, inside a shared answer: its size costs nothing.
#[allow(clippy::large_enum_variant)]
pub enum Body {
    /// For `Nodes`, in the order of their names.
    #[n(0)]
    Nodes(#[cbor(n(0), with = "row")] Vec<Row<Node>>),
    /// For `Node`.
    #[n(1)]
    Node(#[n(0)] Option<NodeDetail>),
    /// For `Services`: each with its tags, both in ascending order.
    #[n(2)]
    Services(#[n(0)] Vec<(Text, Vec<Text>)>),
    /// For `Instances` and `AllInstances`, in the order of node name and instance id.
    #[n(3)]
    Instances(#[n(0)] Vec<InstanceDetail>),
    /// For `Checks`.
    #[n(4)]
    Checks(#[n(0)] Vec<CheckDetail>),
    /// For `Pair`.
    #[n(5)]
    Pair(#[cbor(n(0), with = "row")] Option<Row<Pair>>),
    /// For `PairsUnder`.
    #[n(6)]
    Pairs(#[cbor(n(0), with = "row")] Vec<Row<Pair>>),
    /// For `KeysUnder`.
    #[n(7)]
    Keys(#[n(0)] Vec<Text>),
    /// For `Transact`: as its outcome.
    #[n(8)]
    Transacted(#[n(0)] Result<Vec<StepResult>, Vec<(u32, Denial)>>),
    /// For `Session` and `Sessions`.
    #[n(9)]
    Sessions(#[cbor(n(0), with = "row")] Vec<Row<Session>>),
    /// For `PreparedQueries` and `ExplainPrepared`.
    #[n(10)]
    PreparedQueries(#[cbor(n(0), with = "row")] Vec<Row<PreparedQuery>>),
    /// For `ExecutePrepared`: nothing where no question fits.
    #[n(11)]
    Prepared(#[n(0)] Option<PreparedAnswer>),
    /// For `Coordinates`.
    #[n(12)]
    Coordinates(#[n(0)] Vec<NodeCoordinate>),
    /// For `AddressOwners`.
    #[n(13)]
    Owners {
        /// Nodes with this address.
        #[cbor(n(0), with = "row")]
        nodes: Vec<Row<Node>>,
        /// Instances with this address of their own.
        #[cbor(n(1), with = "row")]
        instances: Vec<Row<Instance>>,
    },
    /// For `Roots`, without their keys.
    #[n(14)]
    Roots(#[n(0)] Vec<Indexed<CaRoot>>),
    /// For `Settings`.
    #[n(15)]
    Settings(#[cbor(n(0), with = "row")] Vec<Row<Setting>>),
    /// For `Usage`.
    #[n(16)]
    Usage(#[n(0)] Usage),
}

/// A node with what it carries.
#[derive(Clone, Debug, Encode, Decode)]
pub struct NodeDetail {
    /// The node.
    #[cbor(n(0), with = "row")]
    pub node: Row<Node>,
    /// Its instances, by id.
    #[cbor(n(1), with = "row")]
    pub instances: Vec<Row<Instance>>,
    /// All checks on it, its own and those of its instances, by id.
    #[n(2)]
    pub checks: Vec<CheckDetail>,
}

/// An instance with its node and all checks that decide its status.
#[derive(Clone, Debug, Encode, Decode)]
pub struct InstanceDetail {
    /// Its node.
    #[cbor(n(0), with = "row")]
    pub node: Row<Node>,
    /// The instance.
    #[cbor(n(1), with = "row")]
    pub instance: Row<Instance>,
    /// The checks of its node, then its own.
    #[cbor(n(2), with = "row")]
    pub checks: Vec<Row<Check>>,
}

impl InstanceDetail {
    /// The worst status of its checks; passing where it has none.
    pub fn status(&self) -> Status {
        self.checks.iter().map(|check| check.status).max().unwrap_or(Status::Passing)
    }
}

/// A check with its node and, if it is about one, its instance.
#[derive(Clone, Debug, Encode, Decode)]
pub struct CheckDetail {
    /// Its node.
    #[cbor(n(0), with = "row")]
    pub node: Row<Node>,
    /// Its instance.
    #[cbor(n(1), with = "row")]
    pub instance: Option<Row<Instance>>,
    /// The check.
    #[cbor(n(2), with = "row")]
    pub check: Row<Check>,
}

/// The answer of a prepared query.
#[derive(Clone, Debug, Encode, Decode)]
pub struct PreparedAnswer {
    /// The question, with its template filled in.
    #[n(0)]
    pub query: PreparedQuery,
    /// What it found here; not shuffled.
    #[n(1)]
    pub instances: Vec<InstanceDetail>,
}

/// Numbers over everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Usage {
    /// Nodes.
    #[n(0)]
    pub n_nodes: u64,
    /// Services.
    #[n(1)]
    pub n_services: u64,
    /// Instances.
    #[n(2)]
    pub n_instances: u64,
    /// Checks.
    #[n(3)]
    pub n_checks: u64,
    /// Instances by kind of proxy or gateway, ascending; the ordinary ones are not in it.
    #[n(4)]
    pub n_instances_by_kind: Vec<(Text, u64)>,
    /// Instances that count for a bill: ordinary ones outside the registry's own service.
    #[n(5)]
    pub n_billable: u64,
    /// Pairs.
    #[n(6)]
    pub n_pairs: u64,
    /// Sessions.
    #[n(7)]
    pub n_sessions: u64,
    /// Instances of the mesh that need no proxy.
    #[n(8)]
    pub n_connect_native: u64,
}
