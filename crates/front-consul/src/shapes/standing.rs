//! How a server stood when it answered, as the few endpoints have it that put it into the body.

use muster_registry::Standing;
use serde::Serialize;

/// The members that Go appends to an answer whose type carries them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StandingShape {
    index: u64,
    last_contact: u64,
    known_leader: bool,
    consistency_level: &'static str,
    not_modified: bool,
    backend: u8,
    #[serde(rename = "ResultsFilteredByACLs")]
    results_filtered_by_acls: bool,
}

impl StandingShape {
    /// The shape; most of these endpoints do not block, so their index is 1.
    pub(crate) fn new(standing: &Standing, consistency_level: &'static str) -> StandingShape {
        StandingShape {
            index: 1,
            last_contact: standing.last_contact.as_nanos() as u64,
            known_leader: standing.knows_leader,
            consistency_level,
            not_modified: false,
            backend: 0,
            results_filtered_by_acls: false,
        }
    }

    /// The same for an endpoint whose answers have an index.
    pub(crate) fn with_index(self, index: u64) -> StandingShape {
        StandingShape { index, ..self }
    }
}
