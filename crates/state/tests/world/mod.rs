//! A small world of names, the commands and questions over it, and answers in plain form.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_model::answer::Body;
use muster_model::ca::CaRoot;
use muster_model::command::{
    ObjectVerb, Operation, PairOperation, PairVerb, PutTerms, Registration, Target,
};
use muster_model::coordinate::{Coordinate, NodeCoordinate};
use muster_model::instance::Extras;
use muster_model::node::Origin;
use muster_model::prepared::{PreparedQuery, PreparedService, Template};
use muster_model::query::{
    CheckFilter, CheckSubject, Health, InstanceFilter, NodeFilter, OperationKey,
};
use muster_model::session::{Behavior, Session, SessionEnd};
use muster_model::settings::Setting;
use muster_model::{Check, Command, Instance, Meta, Node, Query, Status, Text};
use muster_state::State;
use proptest::prelude::*;
use proptest::sample::select;

const NODES: [&str; 4] = ["n1", "N1", "n2", "n3"];
const SERVICES: [&str; 3] = ["web", "WEB", "db"];
const INSTANCES: [&str; 3] = ["i1", "i2", "i3"];
const CHECKS: [&str; 3] = ["c1", "c2", "serfHealth"];
const KEYS: [&str; 5] = ["a", "a/b", "a/c", "b", "ab"];
const SESSIONS: [&str; 3] = ["s1", "s2", "s3"];
const NODE_IDS: [&str; 4] = ["", "", "aa11", "aa22"];

/// Every kind of choice by status.
pub(crate) const HEALTHS: [Health; 3] = [Health::Any, Health::NotCritical, Health::Passing];

fn text(words: &'static [&'static str]) -> impl Strategy<Value = Text> + Clone {
    select(words).prop_map(Text::from)
}

fn status() -> impl Strategy<Value = Status> {
    select(&Status::ALL[..])
}

fn registration(ids: &'static [&'static str]) -> impl Strategy<Value = Command> {
    let node = (text(&NODES), text(ids), text(&["1.1.1.1", "2.2.2.2"]), any::<bool>());
    let instance = (text(&INSTANCES), text(&SERVICES), text(&["x", "y"]), 80..82_u16);
    let check = (text(&CHECKS), status(), text(&["", "", "i1", "i2"]));
    let checks = proptest::collection::vec(check, 0..3);
    (node, proptest::option::of(instance), checks, any::<bool>(), 0..3_u64).prop_map(
        |((name, id, address, is_agents), instance, checks, keep_node, ttl)| {
            let origin = if is_agents && !id.is_empty() {
                Origin::Agent
            } else if ttl > 0 && instance.is_some() {
                Origin::Lease
            } else {
                Origin::Catalog
            };
            let own_origin = if origin == Origin::Lease { origin } else { Origin::Catalog };
            let lease_ttl = Duration::from_secs(if own_origin == Origin::Lease { ttl } else { 0 });
            let meta: Meta = [("at", address.clone())].into_iter().collect();
            let node = Node { name, id, address, meta, origin, ..Node::default() };
            let instance = instance.map(|(id, service, tag, port)| Instance {
                id,
                service,
                tags: [tag].into(),
                port,
                origin: own_origin,
                ..Instance::default()
            });
            let extras = Extras { lease_ttl, ..Extras::default() };
            let instance = instance.map(|own| own.with_extras(extras));
            // Said twice in one wish, a check may change and change back, which only its author
            // could call nothing: each comes once.
            let once: BTreeMap<Text, (Status, Text)> =
                checks.into_iter().map(|(id, status, about)| (id, (status, about))).collect();
            let checks = once.into_iter().map(|(id, (status, instance_id))| Check {
                id,
                status,
                instance_id,
                ..Check::default()
            });
            let checks = checks.collect();
            Command::Register(Registration { node, keep_node, instance, checks })
        },
    )
}

fn removal() -> impl Strategy<Value = Command> {
    let target = prop_oneof![
        Just(Target::Node),
        text(&INSTANCES).prop_map(Target::Instance),
        text(&CHECKS).prop_map(Target::Check),
    ];
    (text(&NODES), target).prop_map(|(node, target)| Command::Deregister { node, target })
}

fn expiry() -> impl Strategy<Value = Command> {
    (text(&NODES), text(&INSTANCES), 0..40_u64)
        .prop_map(|(node, id, if_index)| Command::ExpireInstance { node, id, if_index })
}

fn observation() -> impl Strategy<Value = Command> {
    (text(&NODES), text(&CHECKS), status(), text(&["", "out"]))
        .prop_map(|(node, id, status, output)| Command::UpdateCheck { node, id, status, output })
}

fn terms() -> impl Strategy<Value = PutTerms> {
    prop_oneof![
        Just(PutTerms::Always),
        (0..12_u64).prop_map(PutTerms::IfIndex),
        text(&SESSIONS).prop_map(PutTerms::Acquire),
        text(&SESSIONS).prop_map(PutTerms::Release),
    ]
}

fn pair_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        6 => (text(&KEYS), text(&["1", "2"]), terms()).prop_map(|(key, value, terms)| {
            Command::PutPair { key, value: value.as_bytes().into(), flags: 0, terms }
        }),
        2 => (text(&KEYS), proptest::option::of(0..12_u64))
            .prop_map(|(key, if_index)| Command::DeletePair { key, if_index }),
        1 => text(&["a", "a/", "", "zz"]).prop_map(|prefix| Command::DeletePairsUnder { prefix }),
    ]
}

fn session_command() -> impl Strategy<Value = Command> {
    let create = (text(&SESSIONS), text(&NODES), any::<bool>(), 0..2_u64, any::<bool>());
    let create = create.prop_map(|(id, node, is_deleting, delay, rests)| {
        Command::CreateSession(Session {
            id,
            node,
            behavior: if is_deleting { Behavior::Delete } else { Behavior::Release },
            lock_delay: Duration::from_secs(delay),
            node_checks: if rests && delay == 0 { ["c1".into()].into() } else { [].into() },
            older_checks: if rests && delay > 0 { ["c1".into()].into() } else { [].into() },
            ..Session::default()
        })
    });
    let why = select(&[SessionEnd::Destroyed, SessionEnd::Expired][..]);
    let end = (text(&SESSIONS), why).prop_map(|(id, why)| Command::EndSession { id, why });
    prop_oneof![2 => create, 1 => end]
}

/// The commands that the naive implementation knows.
pub(crate) fn plain_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        6 => registration(&[""]),
        2 => removal(),
        2 => expiry(),
        4 => observation(),
        5 => pair_command(),
        3 => session_command(),
    ]
}

/// Any command at all.
pub(crate) fn any_command() -> impl Strategy<Value = Command> {
    let steps = proptest::collection::vec(step(), 1..5);
    prop_oneof![
        6 => registration(&NODE_IDS),
        2 => removal(),
        2 => expiry(),
        4 => observation(),
        4 => pair_command(),
        3 => session_command(),
        3 => steps.prop_map(|operations| Command::Transact { operations }),
        1 => (0..40_u64).prop_map(|up_to| Command::ReapTombstones { up_to }),
        1 => (text(&KEYS), 0..40_u64)
            .prop_map(|place| Command::EndLockDelays { keys: vec![place] }),
        2 => prepared(),
        1 => text(&["q1", "q2"]).prop_map(|id| Command::DeletePreparedQuery { id }),
        1 => coordinates(),
        1 => text(&["r1", "r2"]).prop_map(|id| {
            Command::PutRoot(CaRoot { id, key: "secret".into(), ..CaRoot::default() })
        }),
        1 => setting(),
        1 => proptest::collection::vec(plain_command(), 1..4)
            .prop_map(|commands| Command::Batch { commands }),
    ]
}

fn step() -> impl Strategy<Value = Operation> {
    let verb = prop_oneof![
        terms().prop_map(PairVerb::Put),
        Just(PairVerb::Delete),
        Just(PairVerb::DeleteUnder),
        Just(PairVerb::Get),
        Just(PairVerb::GetUnder),
        Just(PairVerb::RequireAbsent),
        (0..12_u64).prop_map(PairVerb::DeleteIfIndex),
    ];
    let pair = (verb, text(&KEYS)).prop_map(|(verb, key)| {
        Operation::Pair(PairOperation { verb, key, value: b"1"[..].into(), flags: 0 })
    });
    let object_verb = prop_oneof![
        Just(ObjectVerb::Put),
        Just(ObjectVerb::Delete),
        Just(ObjectVerb::Get),
        (0..12_u64).prop_map(ObjectVerb::PutIfIndex),
    ];
    let instance = (object_verb.clone(), text(&NODES), text(&INSTANCES), text(&SERVICES));
    let instance = instance.prop_map(|(verb, node, id, service)| {
        let instance = Instance { id, service, ..Instance::default() };
        Operation::Instance { verb, node, instance }
    });
    let node = (object_verb, text(&NODES), text(&NODE_IDS)).prop_map(|(verb, name, id)| {
        Operation::Node { verb, node: Node { name, id, ..Node::default() } }
    });
    prop_oneof![4 => pair, 2 => instance, 1 => node]
}

fn prepared() -> impl Strategy<Value = Command> {
    let query = (text(&["q1", "q2"]), text(&["", "front", "q"]), any::<bool>(), any::<bool>());
    let query = (query, text(&SERVICES), text(&["", "", "s1"]), any::<bool>());
    query.prop_map(|((id, name, is_template, only_passing), service, session, must_exist)| {
        let template = is_template.then(Template::default);
        let service = PreparedService { service, only_passing, ..PreparedService::default() };
        let query =
            PreparedQuery { id, name, session, template, service, ..PreparedQuery::default() };
        Command::PutPreparedQuery { query, must_exist }
    })
}

fn coordinates() -> impl Strategy<Value = Command> {
    (text(&NODES), 0..3_u8).prop_map(|(node, x)| {
        let mut coordinate = Coordinate::default();
        coordinate.vector[0] = f64::from(x);
        let place = NodeCoordinate { node, segment: Text::default(), coordinate };
        Command::PutCoordinates { coordinates: vec![place] }
    })
}

fn setting() -> impl Strategy<Value = Command> {
    let write = (text(&["ui", "dns"]), text(&["x", "y"]), text(&["1", "2"]), any::<bool>());
    write.prop_map(|(kind, name, body, is_removal)| {
        if is_removal {
            Command::DeleteSetting { kind, name, if_index: None }
        } else {
            Command::PutSetting { setting: Setting { kind, name, body }, if_index: None }
        }
    })
}

/// Questions of every kind.
pub(crate) fn questions() -> Vec<Query> {
    let at_one: Meta = [("at", "1.1.1.1")].into_iter().collect();
    let mut all = vec![
        Query::Nodes(NodeFilter::default()),
        Query::Nodes(NodeFilter { meta: at_one.clone(), near: None }),
        Query::Services { node_meta: Meta::default() },
        Query::Services { node_meta: at_one.clone() },
        Query::AllInstances { node_meta: Meta::default() },
        Query::AllInstances { node_meta: at_one.clone() },
        Query::Sessions { node: None },
        Query::PreparedQueries { id: None },
        Query::Coordinates { node: None },
        Query::AddressOwners { address: "1.1.1.1".into() },
        Query::Roots,
        Query::Usage,
    ];
    for word in ["n1", "n2", "n3", "aa11", "aa"] {
        all.push(Query::Node { name_or_id: word.into() });
        all.push(Query::Sessions { node: Some(word.into()) });
        all.push(Query::Coordinates { node: Some(word.into()) });
        all.push(checks_of(CheckSubject::Node(word.into()), Meta::default()));
    }
    for service in ["web", "db"] {
        let near = Some("n2".into());
        let filter = InstanceFilter { service: service.into(), ..InstanceFilter::default() };
        let node_meta = at_one.clone();
        all.push(Query::Instances(InstanceFilter { node_meta, ..filter.clone() }));
        all.push(Query::Instances(InstanceFilter { tags: vec!["X".into()], ..filter.clone() }));
        all.push(Query::Instances(InstanceFilter { near, ..filter.clone() }));
        for health in HEALTHS {
            all.push(Query::Instances(InstanceFilter { health, ..filter.clone() }));
        }
        all.push(checks_of(CheckSubject::Service(service.into()), Meta::default()));
    }
    for status in Status::ALL {
        all.push(checks_of(CheckSubject::WithStatus(status), Meta::default()));
    }
    all.push(checks_of(CheckSubject::All, at_one));
    for key in ["a", "a/", "a/b", "", "zz"] {
        all.push(Query::Pair { key: key.into() });
        all.push(Query::PairsUnder { prefix: key.into() });
        all.push(Query::KeysUnder { prefix: key.into(), separator: "/".into() });
        let verb = PairVerb::GetUnder;
        let step = PairOperation { verb, key: key.into(), value: b""[..].into(), flags: 0 };
        all.push(Query::Transact { operations: vec![OperationKey(Operation::Pair(step))] });
    }
    for word in ["q1", "front", "quest", "s1", "ui"] {
        let (name, agent) = (Text::from(word), Text::from("n1"));
        all.push(Query::Session { id: name.clone() });
        all.push(Query::ExecutePrepared { id_or_name: name.clone(), agent, near: None });
        all.push(Query::ExplainPrepared { id_or_name: name.clone() });
        all.push(Query::Settings { kind: name, name: None });
    }
    all
}

fn checks_of(subject: CheckSubject, node_meta: Meta) -> Query {
    Query::Checks(CheckFilter { subject, node_meta, near: None })
}

// ---------------------------------------------------------------------------------------------
// Answers in plain form
// ---------------------------------------------------------------------------------------------

/// `node/id:port` of the instances of a service.
pub(crate) fn instances(state: &State, service: &str, health: Health) -> Vec<String> {
    let filter = InstanceFilter { service: service.into(), health, ..InstanceFilter::default() };
    let answer = state.answer(&Query::Instances(filter));
    let Body::Instances(found) = &answer.body else { panic!("instances were asked for") };
    let plain = found
        .iter()
        .map(|own| format!("{}/{}:{}", own.node.name.folded(), own.instance.id, own.instance.port));
    plain.collect()
}

pub(crate) fn services(state: &State) -> Vec<(String, Vec<String>)> {
    let answer = state.answer(&Query::Services { node_meta: Meta::default() });
    let Body::Services(found) = &answer.body else { panic!("services were asked for") };
    let plain = found
        .iter()
        .map(|(name, tags)| (name.to_string(), tags.iter().map(ToString::to_string).collect()));
    plain.collect()
}

/// `node/id status about instance` of all checks.
pub(crate) fn checks(state: &State) -> Vec<String> {
    let answer = state.answer(&checks_of(CheckSubject::All, Meta::default()));
    let Body::Checks(found) = &answer.body else { panic!("checks were asked for") };
    let plain = found.iter().map(|own| {
        let about = own.instance.as_ref().map(|own| own.id.to_string()).unwrap_or_default();
        format!("{}/{} {} {about}", own.node.name.folded(), own.check.id, own.check.status)
    });
    plain.collect()
}

/// `key=value holder fence` of all pairs.
pub(crate) fn pairs(state: &State) -> Vec<String> {
    let answer = state.answer(&Query::PairsUnder { prefix: Text::default() });
    let Body::Pairs(found) = &answer.body else { panic!("pairs were asked for") };
    let plain = found.iter().map(|own| {
        format!(
            "{}={} {:?} {}",
            own.key,
            own.value.value.escape_ascii(),
            own.session,
            own.lock_index
        )
    });
    plain.collect()
}

pub(crate) fn sessions(state: &State) -> Vec<String> {
    let answer = state.answer(&Query::Sessions { node: None });
    let Body::Sessions(found) = &answer.body else { panic!("sessions were asked for") };
    found.iter().map(|own| own.id.to_string()).collect()
}

/// Nodes, services, instances, checks, pairs, sessions.
pub(crate) fn usage(state: &State) -> [u64; 6] {
    let answer = state.answer(&Query::Usage);
    let Body::Usage(own) = &answer.body else { panic!("numbers were asked for") };
    [own.n_nodes, own.n_services, own.n_instances, own.n_checks, own.n_pairs, own.n_sessions]
}
