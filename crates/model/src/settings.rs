//! Settings of the cluster and of front-ends, kept word for word.
//!
//! A front-end may need to keep documents of its protocol in the replicated state that nobody else
//! reads. They are named by kind and name; their body is theirs.

use minicbor::{Decode, Encode};

use crate::Text;

/// A document kept for a front-end or an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Setting {
    /// What sort of document it is.
    #[n(0)]
    pub kind: Text,
    /// Unique within its kind.
    #[n(1)]
    pub name: Text,
    /// Its author's words.
    #[n(2)]
    pub body: Text,
}
