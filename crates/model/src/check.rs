//! A check in the catalog: the present word on a node or an instance.
//!
//! How a check is run is its [`crate::definition::CheckDefinition`], which stays with the agent that
//! runs it. The catalog holds the result.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

use crate::Text;
use crate::node::Origin;

/// The id of the check that stands for a node's agent being alive.
pub const AGENT_CHECK_ID: &str = "serfHealth";
/// The id of the check that switches a whole node off.
pub const NODE_MAINTENANCE_ID: &str = "_node_maintenance";
/// What the id of the check starts with that switches one instance off.
pub const INSTANCE_MAINTENANCE_PREFIX: &str = "_service_maintenance:";
/// What the id of the check starts with that says of an instance that its lease ran out with too many
/// others, and that it is kept for now.
pub const GUARD_PREFIX: &str = "_guard:";

/// How an instance or a node is. The order is from well to ill: the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Status {
    /// Well.
    #[n(0)]
    Passing,
    /// Still handed out, but not well.
    #[n(1)]
    Warning,
    /// Not handed out.
    #[n(2)]
    Critical,
}

impl Status {
    /// All of them, from well to ill.
    pub const ALL: [Status; 3] = [Status::Passing, Status::Warning, Status::Critical];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Passing => "passing",
            Status::Warning => "warning",
            Status::Critical => "critical",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(word: &str) -> Result<Status, UnknownStatus> {
        Status::ALL.into_iter().find(|status| status.as_str() == word).ok_or(UnknownStatus)
    }
}

/// A word that is not a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of: passing, warning, critical")]
pub struct UnknownStatus;

/// The present word on a node (`instance_id` empty) or on one of its instances.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Check {
    /// Unique on its node.
    #[n(0)]
    pub id: Text,
    /// For people.
    #[n(1)]
    pub name: Text,
    /// The present status.
    #[n(2)]
    pub status: Status,
    /// What its author wants readers to know.
    #[n(3)]
    pub notes: Text,
    /// What the last observation said; bounded by `limits::CHECK_OUTPUT_BYTES_MAX`.
    #[n(4)]
    pub output: Text,
    /// The instance it is about, or empty: it is about the node.
    #[n(5)]
    pub instance_id: Text,
    /// The kind of rule behind it (`http`, `ttl`, ...), or empty.
    #[n(6)]
    pub kind: Text,
    /// Who vouches for it.
    #[n(7)]
    pub origin: Origin,
    /// What few checks have.
    #[n(8)]
    pub extras: Option<Box<CheckExtras>>,
}

impl Default for Check {
    /// A check that has not been heard of is critical.
    fn default() -> Check {
        Check {
            id: Text::default(),
            name: Text::default(),
            status: Status::Critical,
            notes: Text::default(),
            output: Text::default(),
            instance_id: Text::default(),
            kind: Text::default(),
            origin: Origin::default(),
            extras: None,
        }
    }
}

/// What few checks have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct CheckExtras {
    /// How often it runs, in its author's notation; empty where it does not.
    #[n(0)]
    pub interval: Text,
    /// How long one run may take, likewise.
    #[n(1)]
    pub timeout: Text,
    /// The port at which a proxy exposes it; 0 where none does.
    #[n(2)]
    pub exposed_port: u16,
    /// A definition registered with it in the catalog, for whoever runs it from there.
    #[n(3)]
    pub definition: Option<Box<crate::definition::CheckDefinition>>,
    /// The word that its author has for its status, where that is none of ours; else empty. A check
    /// with a word of its own stands as [`Status::Warning`]: it is not passing, and does not take
    /// its instance out of the answer.
    #[n(4)]
    #[cbor(default)]
    pub status_word: Text,
}

impl Check {
    /// What few checks have, or its default for those that have none of it.
    pub fn extras(&self) -> &CheckExtras {
        static NONE: std::sync::LazyLock<CheckExtras> =
            std::sync::LazyLock::new(CheckExtras::default);
        self.extras.as_deref().unwrap_or(&NONE)
    }

    /// Keeps `extras`, or nothing at all where they say nothing.
    pub fn with_extras(mut self, extras: CheckExtras) -> Check {
        self.extras = (extras != CheckExtras::default()).then(|| Box::new(extras));
        self
    }

    /// The word for its status: its author's own, or ours.
    pub fn status_word(&self) -> &str {
        match &*self.extras().status_word {
            "" => self.status.as_str(),
            own => own,
        }
    }

    /// The same with another status and output; a word of its author's goes with the status.
    pub fn with_status(&self, status: Status, output: Text) -> Check {
        let extras = CheckExtras { status_word: Text::default(), ..self.extras().clone() };
        Check { status, output, ..self.clone() }.with_extras(extras)
    }

    /// Whether it speaks of the whole node.
    pub fn is_about_node(&self) -> bool {
        self.instance_id.is_empty()
    }

    /// Whether it is an operator's switch, of a node or of an instance.
    pub fn is_maintenance(&self) -> bool {
        &*self.id == NODE_MAINTENANCE_ID || self.id.starts_with(INSTANCE_MAINTENANCE_PREFIX)
    }
}
