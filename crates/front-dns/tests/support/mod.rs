//! A registry made by hand for the tests of this front: naive tables, read from lines of text.
//!
//! Lines: `node n1 10.0.0.1 meta.env=prod`, `service web node=n1 port=80 tags=a,b status=warning`,
//! `query geo service=web ttl=10s`, `forget web`. See `tests/scripts` for all of them in use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use muster_model::answer::{Answer, Body, InstanceDetail, NodeDetail, PreparedAnswer, Row};
use muster_model::instance::{Endpoint, Extras, NamedPort, Weights};
use muster_model::prepared::{PreparedQuery, PreparedService};
use muster_model::query::{Health, InstanceFilter};
use muster_model::{
    Check, Command, Index, Indexed, Instance, LeaseId, Node, Query, Scope, Status, Text,
};
use muster_registry::local::Identity;
use muster_registry::{
    Answered, Asking, Call, Changes, Freshness, Hub, Pending, Refusal, Registry, Standing,
    registry::Committed,
};

/// Tables behind the door.
#[derive(Default)]
pub(crate) struct Tables {
    rows: Mutex<Rows>,
    hub: Arc<Hub>,
    /// Whether nothing is at hand, so that everything has to be waited for.
    pub(crate) must_wait: bool,
}

#[derive(Default)]
struct Rows {
    nodes: Vec<Row<Node>>,
    details: Vec<InstanceDetail>,
    queries: Vec<PreparedQuery>,
    answers: HashMap<Query, Arc<Answer>>,
}

/// The agent in whose name tests ask.
pub(crate) fn identity() -> Identity {
    Identity { node: "n1".into(), datacenter: "dc1".into(), ..Identity::default() }
}

fn row<T>(value: T) -> Row<T> {
    Arc::new(Indexed { value, create_index: 1, modify_index: 1 })
}

/// The `key=value` words of a line.
struct Words<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Words<'a> {
    fn find(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(own, _)| *own == key).map(|(_, value)| *value)
    }

    fn text(&self, key: &str) -> Text {
        self.find(key).unwrap_or_default().into()
    }

    fn under(&self, prefix: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, *value)))
    }
}

impl Tables {
    /// Does what a line says; false where it says nothing about the registry.
    pub(crate) fn obey(&self, line: &str) -> bool {
        let words: Vec<&str> = line.split_whitespace().collect();
        let pairs = words.iter().skip(2).filter_map(|word| word.split_once('=')).collect();
        let told = Words(pairs);
        let mut rows = self.rows.lock().unwrap();
        rows.answers.clear();
        match words[0] {
            "node" => rows.nodes.push(row(Node {
                name: words[1].into(),
                address: told.text("address"),
                meta: told.under("meta.").collect(),
                tagged_addresses: told.under("tagged.").collect(),
                ..Node::default()
            })),
            "service" => {
                let detail = instance(words[1], &told, &rows.nodes);
                rows.details.push(detail);
            }
            "query" => rows.queries.push(PreparedQuery {
                id: told.text("id"),
                name: words[1].into(),
                dns_ttl: told.text("ttl"),
                service: PreparedService {
                    service: told.text("service"),
                    near: told.text("near"),
                    only_passing: told.find("only_passing").is_some(),
                    ..PreparedService::default()
                },
                ..PreparedQuery::default()
            }),
            "forget" => rows.details.retain(|detail| detail.instance.service != words[1]),
            _ => return false,
        }
        true
    }

    fn body(&self, rows: &Rows, query: &Query) -> Body {
        match query {
            Query::Instances(filter) => Body::Instances(select(rows, filter)),
            Query::Node { name_or_id } => {
                let node = rows.nodes.iter().find(|n| n.name.eq_ignore_ascii_case(name_or_id));
                Body::Node(node.map(|node| NodeDetail {
                    node: node.clone(),
                    instances: Vec::new(),
                    checks: Vec::new(),
                }))
            }
            Query::AddressOwners { address } => Body::Owners {
                nodes: rows.nodes.iter().filter(|n| n.address == *address).cloned().collect(),
                instances: (rows.details.iter().map(|detail| &detail.instance))
                    .filter(|instance| instance.address == *address)
                    .cloned()
                    .collect(),
            },
            Query::ExecutePrepared { id_or_name, near, .. } => {
                let is_it = |own: &&PreparedQuery| own.name == *id_or_name || own.id == *id_or_name;
                Body::Prepared(rows.queries.iter().find(is_it).map(|query| {
                    let only_passing = query.service.only_passing;
                    let health = if only_passing { Health::Passing } else { Health::NotCritical };
                    let service = query.service.service.clone();
                    let filter = InstanceFilter { service, health, ..InstanceFilter::default() };
                    let mut instances = select(rows, &filter);
                    // No coordinates here: the node itself is nearest, the others keep their order.
                    instances.sort_by_key(|own| Some(&own.node.name) != near.as_ref());
                    PreparedAnswer { query: query.clone(), instances }
                }))
            }
            other => panic!("no test asks {other:?}"),
        }
    }

    fn answered(&self, query: &Query) -> Answered {
        let mut rows = self.rows.lock().unwrap();
        if !rows.answers.contains_key(query) {
            let answer = Arc::new(Answer::new(1, Vec::new(), self.body(&rows, query)));
            rows.answers.insert(query.clone(), answer);
        }
        let answer = rows.answers[query].clone();
        Answered { answer, as_of: 1, standing: Standing::default() }
    }
}

fn instance(service: &str, told: &Words<'_>, nodes: &[Row<Node>]) -> InstanceDetail {
    let node = nodes.iter().find(|node| *node.name == *told.text("node")).expect("node= names one");
    let number = |text: &str| text.parse().expect("a number");
    let tagged = told.under("tagged.").map(|(purpose, place)| {
        let (address, port) = place.rsplit_once('@').unwrap_or((place, "0"));
        (purpose.into(), Endpoint { address: address.into(), port: number(port) })
    });
    let ports = told.find("ports").into_iter().flat_map(|all| all.split(','));
    let ports = ports.enumerate().map(|(i, named)| {
        let (name, port) = named.split_once(':').expect("ports=name:port");
        NamedPort { name: name.into(), port: number(port), is_default: i == 0 }
    });
    let extras =
        Extras { tagged_addresses: tagged.collect(), ports: ports.collect(), ..Extras::default() };
    let weights = told.find("weights").and_then(|all| all.split_once(','));
    let instance = Instance {
        id: told.text("id"),
        service: service.into(),
        tags: told
            .find("tags")
            .into_iter()
            .flat_map(|all| all.split(','))
            .map(Text::from)
            .collect(),
        address: told.text("address"),
        port: told.find("port").map_or(0, number),
        meta: told.under("meta.").collect(),
        weights: weights.map_or(Weights::default(), |(passing, warning)| Weights {
            passing: number(passing),
            warning: number(warning),
        }),
        ..Instance::default()
    };
    let status = told.find("status").map(|word| word.parse::<Status>().expect("a status"));
    let check = status.map(|status| row(Check { status, ..Check::default() }));
    InstanceDetail {
        node: node.clone(),
        instance: row(instance.with_extras(extras)),
        checks: check.into_iter().collect(),
    }
}

fn select(rows: &Rows, filter: &InstanceFilter) -> Vec<InstanceDetail> {
    let fits = |detail: &&InstanceDetail| {
        detail.instance.service.eq_ignore_ascii_case(&filter.service)
            && filter.tags.iter().all(|tag| detail.instance.has_tag(tag))
            && match filter.health {
                Health::Any => true,
                Health::NotCritical => detail.status() != Status::Critical,
                Health::Passing => detail.status() == Status::Passing,
            }
    };
    rows.details.iter().filter(fits).cloned().collect()
}

impl Registry for Tables {
    fn submit<'a>(&'a self, _: &'a Call, _: Command) -> Pending<'a, Result<Committed, Refusal>> {
        unreachable!("DNS writes nothing")
    }

    fn ask<'a>(&'a self, call: &'a Call, query: &'a Query, _: Freshness) -> Asking<'a> {
        let result = match &call.datacenter {
            Some(other) => Err(Refusal::NoDatacenter(other.clone())),
            None => Ok(self.answered(query)),
        };
        Asking::Waiting(Box::pin(std::future::ready(result)))
    }

    fn peek(&self, call: &Call, query: &Query) -> Option<Answered> {
        let is_at_hand = call.datacenter.is_none() && !self.must_wait;
        is_at_hand.then(|| self.answered(query))
    }

    fn changes(&self, _: &Call, scopes: &[Scope], after: Index) -> Changes {
        self.hub.changes(scopes, after)
    }

    fn renew<'a>(&'a self, _: &'a Call, _: &'a LeaseId) -> Pending<'a, Result<(), Refusal>> {
        unreachable!("DNS renews nothing")
    }
}
