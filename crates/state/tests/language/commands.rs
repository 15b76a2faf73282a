//! Commands of the script language.

use std::time::Duration;

use muster_model::ca::CaRoot;
use muster_model::command::{
    ObjectVerb, Operation, PairOperation, PairVerb, PutTerms, Registration, Target,
};
use muster_model::coordinate::{Coordinate, NodeCoordinate};
use muster_model::instance::Extras;
use muster_model::node::Origin;
use muster_model::prepared::{PreparedQuery, PreparedService, Template};
use muster_model::session::{Behavior, Session, SessionEnd};
use muster_model::settings::Setting;
use muster_model::{Check, Command, Instance, Node, Text};

use super::{Words, status};

/// Reads one command.
pub(crate) fn parse(line: &str) -> Command {
    if let Some(steps) = line.strip_prefix("transact ") {
        let operations = steps.split(" | ").map(|step| step_of(&Words::new(step))).collect();
        return Command::Transact { operations };
    }
    if let Some(commands) = line.strip_prefix("batch ") {
        return Command::Batch { commands: commands.split(" | ").map(parse).collect() };
    }
    let words = Words::new(line);
    match words.at(0) {
        "register" => Command::Register(registration(&words)),
        "deregister" => Command::Deregister { node: words.at(1).into(), target: target(&words) },
        "update" => Command::UpdateCheck {
            node: words.at(1).into(),
            id: words.at(2).into(),
            status: status(words.at(3)),
            output: words.text("output"),
        },
        "put" => Command::PutPair {
            key: words.at(1).into(),
            value: words.at(2).as_bytes().into(),
            flags: words.number("flags").unwrap_or(0),
            terms: terms(&words),
        },
        "delete" => Command::DeletePair { key: words.at(1).into(), if_index: words.number("if") },
        "delete-under" => Command::DeletePairsUnder { prefix: words.at(1).into() },
        "session" => Command::CreateSession(session(&words)),
        "end" => Command::EndSession {
            id: words.at(1).into(),
            why: match words.at(2) {
                "expired" => SessionEnd::Expired,
                _ => SessionEnd::Destroyed,
            },
        },
        "end-delay" => {
            let began_at = words.number("began").expect("the index at which it began");
            Command::EndLockDelays { keys: vec![(words.at(1).into(), began_at)] }
        }
        "expire" => Command::ExpireInstance {
            node: words.at(1).into(),
            id: words.at(2).into(),
            if_index: words.number("if").expect("the index it must have"),
        },
        "reap" => Command::ReapTombstones { up_to: words.at(1).parse().expect("an index") },
        "store" | "replace" => Command::PutPreparedQuery {
            query: prepared(&words),
            must_exist: words.at(0) == "replace",
        },
        "forget" => Command::DeletePreparedQuery { id: words.at(1).into() },
        "place" => Command::PutCoordinates { coordinates: vec![place(&words)] },
        "root" => {
            let key = "secret".into();
            Command::PutRoot(CaRoot { id: words.at(1).into(), key, ..CaRoot::default() })
        }
        "set" => {
            let (kind, name, body) = (words.at(1).into(), words.at(2).into(), words.at(3).into());
            let setting = Setting { kind, name, body };
            Command::PutSetting { setting, if_index: words.number("if") }
        }
        "unset" => Command::DeleteSetting {
            kind: words.at(1).into(),
            name: words.at(2).into(),
            if_index: words.number("if"),
        },
        other => panic!("{other:?} is no command"),
    }
}

fn registration(words: &Words) -> Registration {
    Registration {
        node: node(words),
        keep_node: words.has("keep"),
        instance: words.find("instance").map(|spec| instance(spec, words)),
        checks: words.all("check").iter().map(|spec| check(spec, words)).collect(),
    }
}

fn node(words: &Words) -> Node {
    Node {
        name: words.at(1).into(),
        id: words.text("id"),
        address: words.text("address"),
        meta: words.meta("node-meta"),
        origin: origin(words),
        ..Node::default()
    }
}

/// `id:service[:port]`.
fn instance(spec: &str, words: &Words) -> Instance {
    let mut parts = spec.split(':');
    let mut next = || parts.next().unwrap_or("");
    let (id, service, port) = (next(), next(), next());
    let lease_ttl = seconds(words, "lease");
    let extras = Extras { kind: words.text("kind"), lease_ttl, ..Extras::default() };
    let instance = Instance {
        id: id.into(),
        service: service.into(),
        port: port.parse().unwrap_or(0),
        tags: words.list("tags").into(),
        meta: words.meta("meta"),
        address: words.text("instance-address"),
        origin: origin(words),
        ..Instance::default()
    };
    instance.with_extras(extras)
}

/// `id:status[:instance]`.
fn check(spec: &str, words: &Words) -> Check {
    let mut parts = spec.split(':');
    let mut next = || parts.next().unwrap_or("");
    let (id, word, instance_id) = (next(), next(), next());
    Check {
        id: id.into(),
        name: id.into(),
        status: status(word),
        instance_id: instance_id.into(),
        output: words.text("output"),
        origin: origin(words),
        ..Check::default()
    }
}

fn origin(words: &Words) -> Origin {
    match words.find("origin") {
        Some("agent") => Origin::Agent,
        Some("lease") => Origin::Lease,
        _ => Origin::Catalog,
    }
}

fn target(words: &Words) -> Target {
    match (words.find("instance"), words.find("check")) {
        (Some(id), _) => Target::Instance(id.into()),
        (_, Some(id)) => Target::Check(id.into()),
        _ => Target::Node,
    }
}

fn terms(words: &Words) -> PutTerms {
    if let Some(index) = words.number("if") {
        return PutTerms::IfIndex(index);
    }
    match (words.find("acquire"), words.find("release")) {
        (Some(session), _) => PutTerms::Acquire(session.into()),
        (_, Some(session)) => PutTerms::Release(session.into()),
        _ => PutTerms::Always,
    }
}

fn session(words: &Words) -> Session {
    Session {
        id: words.at(1).into(),
        node: words.text("node"),
        ttl: seconds(words, "ttl"),
        lock_delay: seconds(words, "delay"),
        behavior: if words.has("delete") { Behavior::Delete } else { Behavior::Release },
        node_checks: words.list("checks").into(),
        ..Session::default()
    }
}

fn seconds(words: &Words, name: &str) -> Duration {
    Duration::from_secs(words.number(name).unwrap_or(0))
}

fn prepared(words: &Words) -> PreparedQuery {
    let template = || Template {
        kind: "name_prefix_match".into(),
        regexp: words.text("regexp"),
        ..Template::default()
    };
    PreparedQuery {
        id: words.at(1).into(),
        name: words.text("name"),
        session: words.text("session"),
        template: words.has("template").then(template),
        service: PreparedService {
            service: words.text("service"),
            only_passing: words.has("passing"),
            ignored_check_ids: words.list("ignore"),
            near: words.text("near"),
            tags: words.list("tags"),
            ..PreparedService::default()
        },
        ..PreparedQuery::default()
    }
}

/// `place NODE X`: X milliseconds from the origin along the first axis.
fn place(words: &Words) -> NodeCoordinate {
    let milliseconds: f64 = words.at(2).parse().expect("milliseconds");
    let mut coordinate = Coordinate::default();
    coordinate.vector[0] = milliseconds / 1000.0;
    NodeCoordinate { node: words.at(1).into(), segment: Text::default(), coordinate }
}

/// One step of a transaction.
pub(crate) fn step_of(words: &Words) -> Operation {
    let (word, name) = (words.at(0), Text::from(words.at(1)));
    let pair = |verb| {
        let value = words.at(2).as_bytes().into();
        Operation::Pair(PairOperation { verb, key: name.clone(), value, flags: 0 })
    };
    match word {
        "put" => pair(PairVerb::Put(terms(words))),
        "delete" => pair(match words.number("if") {
            Some(index) => PairVerb::DeleteIfIndex(index),
            None => PairVerb::Delete,
        }),
        "delete-under" => pair(PairVerb::DeleteUnder),
        "get" => pair(PairVerb::Get),
        "get-or-empty" => pair(PairVerb::GetOrEmpty),
        "get-under" => pair(PairVerb::GetUnder),
        "require-session" => pair(PairVerb::RequireSession(words.text("session"))),
        "require-index" => pair(PairVerb::RequireIndex(words.number("index").expect("an index"))),
        "require-absent" => pair(PairVerb::RequireAbsent),
        other => object_step(other, words),
    }
}

/// `VERB-node NODE`, `VERB-instance NODE instance=..`, `VERB-check NODE check=..`.
fn object_step(word: &str, words: &Words) -> Operation {
    let (verb, object) = word.split_once('-').unwrap_or_else(|| panic!("{word:?} is no step"));
    let index = words.number("if");
    let verb = match (verb, index) {
        ("get", _) => ObjectVerb::Get,
        ("put", None) => ObjectVerb::Put,
        ("put", Some(index)) => ObjectVerb::PutIfIndex(index),
        ("delete", None) => ObjectVerb::Delete,
        ("delete", Some(index)) => ObjectVerb::DeleteIfIndex(index),
        _ => panic!("{word:?} is no step"),
    };
    match object {
        "node" => Operation::Node { verb, node: node(words) },
        "instance" => {
            let spec = words.find("instance").expect("an instance");
            let (node, instance) = (words.at(1).into(), instance(spec, words));
            Operation::Instance { verb, node, instance }
        }
        "check" => {
            let spec = words.find("check").expect("a check");
            let (node, check) = (words.at(1).into(), check(spec, words));
            Operation::Check { verb, node, check }
        }
        other => panic!("{other:?} is no object"),
    }
}
