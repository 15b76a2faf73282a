//! What travels between agents arrives as it was sent, whichever variant it is; and no bytes make
//! the reader panic.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use minicbor::{Decode, Encode};
use muster_model::answer::{
    Answer, Body, CheckDetail, EncodingKey, InstanceDetail, NodeDetail, PreparedAnswer, Usage,
};
use muster_model::ca::CaRoot;
use muster_model::command::{Operation, PairOperation, PairVerb, PutTerms, Registration};
use muster_model::coordinate::NodeCoordinate;
use muster_model::outcome::{Denial, StepResult};
use muster_model::prepared::PreparedQuery;
use muster_model::query::{
    CheckFilter, CheckSubject, Health, InstanceFilter, NodeFilter, OperationKey,
};
use muster_model::scope::{Change, ChangeKind, Object};
use muster_model::settings::Setting;
use muster_model::{
    Check, Command, Indexed, Instance, Meta, Node, Outcome, Pair, Query, Scope, Session, Status,
    Text, decode, encode,
};
use proptest::prelude::*;

/// Encodes, decodes and compares; the printed form shows all of a value.
fn arrives<T: Encode<()> + for<'b> Decode<'b, ()> + Debug>(sent: &T) {
    let bytes = encode(sent);
    let came: T = decode(&bytes).unwrap_or_else(|error| panic!("{sent:?}: {error}"));
    assert_eq!(format!("{came:?}"), format!("{sent:?}"));
    assert_eq!(encode(&came), bytes);
}

fn row<T>(value: T) -> Arc<Indexed<T>> {
    Arc::new(Indexed { value, create_index: 3, modify_index: 9 })
}

fn node() -> Node {
    let meta = [("zone", "b")].into_iter().collect();
    Node { name: "n1".into(), address: "10.0.0.1".into(), meta, ..Node::default() }
}

fn instance() -> Instance {
    Instance { id: "web-1".into(), service: "web".into(), ..Instance::default() }
}

fn check() -> Check {
    Check { id: "alive".into(), status: Status::Warning, ..Check::default() }
}

fn pair() -> Pair {
    Pair { key: "a/b".into(), value: b"\x00\xff"[..].into(), flags: 7, ..Pair::default() }
}

fn session() -> Session {
    let ttl = Duration::from_secs(15);
    Session { id: "s".into(), node: "n1".into(), ttl, ..Session::default() }
}

fn operation() -> Operation {
    let verb = PairVerb::Put(PutTerms::IfIndex(4));
    let (key, value) = ("k".into(), b"v"[..].into());
    Operation::Pair(PairOperation { verb, key, value, flags: 1 })
}

fn details() -> Vec<InstanceDetail> {
    let (node, instance, check) = (row(node()), row(instance()), row(check()));
    vec![InstanceDetail { node, instance, checks: vec![check] }]
}

/// One of every variant, and of those that hold nothing or something, both.
fn bodies() -> Vec<Body> {
    let check_detail = |instance| CheckDetail { node: row(node()), instance, check: row(check()) };
    let with_checks = NodeDetail {
        node: row(node()),
        instances: vec![row(instance())],
        checks: vec![check_detail(None), check_detail(Some(row(instance())))],
    };
    let prepared = PreparedAnswer { query: PreparedQuery::default(), instances: details() };
    let denied = vec![(2, Denial::LockHeld("k".into(), "s".into()))];
    let stepped = vec![StepResult::Node(Indexed::clone(&row(node())))];
    let usage = Usage {
        n_nodes: 1,
        n_instances_by_kind: vec![("connect-proxy".into(), 2)],
        ..Usage::default()
    };
    vec![
        Body::Nodes(vec![row(node()), row(node())]),
        Body::Node(None),
        Body::Node(Some(with_checks)),
        Body::Services(vec![("web".into(), vec!["v1".into()])]),
        Body::Instances(details()),
        Body::Checks(vec![check_detail(Some(row(instance())))]),
        Body::Pair(None),
        Body::Pair(Some(row(pair()))),
        Body::Pairs(vec![row(pair())]),
        Body::Keys(vec!["a".into(), Text::default()]),
        Body::Transacted(Ok(stepped)),
        Body::Transacted(Err(denied)),
        Body::Sessions(vec![row(session())]),
        Body::PreparedQueries(vec![row(PreparedQuery::default())]),
        Body::Prepared(None),
        Body::Prepared(Some(prepared)),
        Body::Coordinates(vec![NodeCoordinate::default()]),
        Body::Owners { nodes: vec![row(node())], instances: vec![row(instance())] },
        Body::Roots(vec![Indexed::clone(&row(CaRoot::default()))]),
        Body::Settings(vec![row(Setting::default())]),
        Body::Usage(usage),
    ]
}

fn queries() -> Vec<Query> {
    let meta = || -> Meta { [("a", "b")].into_iter().collect() };
    let (text, near) = (|| Text::from("x"), Some(Text::from("n1")));
    let instances = InstanceFilter {
        service: text(),
        tags: vec![text()],
        node_meta: meta(),
        health: Health::Passing,
        near: near.clone(),
    };
    let subjects = [
        CheckSubject::All,
        CheckSubject::WithStatus(Status::Critical),
        CheckSubject::Node(text()),
        CheckSubject::Service(text()),
    ];
    let checks = subjects
        .map(|subject| Query::Checks(CheckFilter { subject, node_meta: meta(), near: None }));
    let mut queries = vec![
        Query::Nodes(NodeFilter { meta: meta(), near: near.clone() }),
        Query::Node { name_or_id: text() },
        Query::Services { node_meta: meta() },
        Query::Instances(instances),
        Query::AllInstances { node_meta: meta() },
        Query::Pair { key: text() },
        Query::PairsUnder { prefix: text() },
        Query::KeysUnder { prefix: text(), separator: "/".into() },
        Query::Transact { operations: vec![OperationKey(operation())] },
        Query::Session { id: text() },
        Query::Sessions { node: None },
        Query::Sessions { node: Some(text()) },
        Query::PreparedQueries { id: None },
        Query::ExecutePrepared { id_or_name: text(), agent: text(), near },
        Query::ExplainPrepared { id_or_name: text() },
        Query::Coordinates { node: Some(text()) },
        Query::AddressOwners { address: text() },
        Query::Roots,
        Query::Settings { kind: text(), name: None },
        Query::Usage,
    ];
    queries.extend(checks);
    queries
}

fn objects() -> Vec<Object> {
    let text = || Text::from("x");
    vec![
        Object::Node(text()),
        Object::Instance { node: text(), service: text(), id: text() },
        Object::Check { node: text(), id: text() },
        Object::Pair(text()),
        Object::Session(text()),
        Object::PreparedQuery(text()),
        Object::Coordinate(text()),
        Object::Root(text()),
        Object::Setting { kind: text(), name: text() },
    ]
}

#[test]
fn every_kind_of_answer_arrives() {
    for body in bodies() {
        let scopes = vec![Scope::Services, Scope::Service("web".into())];
        arrives(&Answer::new(12, scopes, body));
    }
    let once = Answer::new(12, Vec::new(), Body::Keys(Vec::new())).for_once();
    assert!(!decode::<Answer>(&encode(&once)).unwrap().is_lasting);
}

#[test]
fn what_fronts_made_of_an_answer_stays_behind() {
    let answer = Answer::new(12, Vec::new(), Body::Keys(vec!["a".into()]));
    let plain = encode(&answer);
    let key = EncodingKey { front: "test", form: 0 };
    answer.encoded(key, |_| bytes::Bytes::from_static(b"encoded"));
    assert_eq!(encode(&answer), plain);
    assert_eq!(decode::<Answer>(&plain).unwrap().encoded_bytes(), 0);
}

#[test]
fn every_query_arrives() {
    for query in queries() {
        assert_eq!(decode::<Query>(&encode(&query)).unwrap(), query);
    }
}

#[test]
fn every_change_arrives() {
    for object in objects() {
        for kind in [ChangeKind::Created, ChangeKind::Changed, ChangeKind::Removed] {
            let scopes = vec![Scope::Pair("k".into()), Scope::Checks(Status::Passing)];
            arrives(&Change { scopes, object: object.clone(), kind });
        }
    }
}

#[test]
fn a_batch_within_a_batch_is_not_read_however_deep_it_goes() {
    let plain = Command::Register(Registration::default());
    let batch = Command::Batch { commands: vec![plain] };
    arrives(&batch);
    arrives(&Outcome::Batch(vec![Outcome::Done, Outcome::Unmet]));
    let nested = Command::Batch { commands: vec![batch] };
    let bytes = encode(&nested);
    let refused = decode::<Command>(&bytes).unwrap_err();
    assert!(refused.to_string().contains("a batch holds no batch"), "{refused}");
    // The same four bytes open each level.
    let deep = bytes[..4].repeat(1 << 20);
    assert!(decode::<Command>(&deep).is_err());
    let nested = Outcome::Batch(vec![Outcome::Batch(Vec::new())]);
    assert!(decode::<Outcome>(&encode(&nested)).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = decode::<Query>(&bytes);
        let _ = decode::<Answer>(&bytes);
        let _ = decode::<Command>(&bytes);
        let _ = decode::<Outcome>(&bytes);
        let _ = decode::<Change>(&bytes);
    }

    #[test]
    fn no_damaged_answer_makes_a_reader_panic(
        which in 0..bodies().len(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let body = bodies().swap_remove(which);
        let mut bytes = encode(&Answer::new(1, vec![Scope::Nodes], body)).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode::<Answer>(&bytes);
        let _ = decode::<Answer>(&bytes[..at]);
    }
}
