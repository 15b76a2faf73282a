//! A prepared query: a stored question with fail-over to other datacenters.

use std::time::Duration;

use minicbor::{Decode, Encode};

use crate::{Meta, Text};

/// A stored question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct PreparedQuery {
    /// A UUID in its usual text form.
    #[n(0)]
    pub id: Text,
    /// Unique where it is not empty.
    #[n(1)]
    pub name: Text,
    /// The session it lives with, or empty.
    #[n(2)]
    pub session: Text,
    /// The token it asks with, or empty.
    #[n(3)]
    pub token: Text,
    /// Answers for every name that fits, where it is a template.
    #[n(4)]
    pub template: Option<Template>,
    /// The service it asks for.
    #[n(5)]
    pub service: PreparedService,
    /// How long DNS clients may keep the answer, in its author's notation; empty: the usual.
    #[n(6)]
    pub dns_ttl: Text,
}

impl PreparedQuery {
    /// Its template, where it is one: what a client sends along without a kind is only kept.
    pub fn as_template(&self) -> Option<&Template> {
        self.template.as_ref().filter(|template| !template.kind.is_empty())
    }
}

/// A prepared query that answers for every name with its prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Template {
    /// The kind of template, `name_prefix_match`; empty: this is none, and answers for one name.
    #[n(0)]
    pub kind: Text,
    /// Splits the name into `${match(N)}`; empty: none.
    #[n(1)]
    pub regexp: Text,
    /// Whether tags that came out empty are left out.
    #[n(2)]
    pub remove_empty_tags: bool,
}

/// What a prepared query asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct PreparedService {
    /// The service's name.
    #[n(0)]
    pub service: Text,
    /// How many of the nearest other datacenters are tried.
    #[n(1)]
    pub failover_nearest: u32,
    /// Other datacenters, tried in this order after the nearest.
    #[n(2)]
    pub failover_datacenters: Vec<Text>,
    /// Whether instances that warn are left out too.
    #[n(3)]
    pub only_passing: bool,
    /// Ids of checks that do not count.
    #[n(4)]
    pub ignored_check_ids: Vec<Text>,
    /// The node whose neighbors come first; empty: none.
    #[n(5)]
    pub near: Text,
    /// Tags that must be there, or with `!` must not.
    #[n(6)]
    pub tags: Vec<Text>,
    /// Facts that the node must have.
    #[n(7)]
    pub node_meta: Meta,
    /// Facts that the instance must have.
    #[n(8)]
    pub meta: Meta,
    /// Whether proxies of the service are asked for instead.
    #[n(9)]
    pub connect: bool,
    /// Further fail-over targets, each a datacenter or a cluster peer.
    #[n(10)]
    pub failover_targets: Vec<FailoverTarget>,
}

/// One place to try when a service has no instance here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct FailoverTarget {
    /// A datacenter, or empty.
    #[n(0)]
    pub datacenter: Text,
    /// A cluster peer, or empty.
    #[n(1)]
    pub peer: Text,
}

/// How long the answer of a prepared query may be kept, where it says so.
pub type AnswerTtl = Option<Duration>;
