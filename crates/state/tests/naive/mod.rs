//! A second implementation of the catalog, the pairs and the sessions: plain lists, searched from
//! end to end, with no thought for cost. It knows no node ids, no scopes, and no index but that of
//! a pair. It is the judge of what is answered.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::command::{PutTerms, Registration, Target};
use muster_model::node::Origin;
use muster_model::outcome::Denial;
use muster_model::query::Health;
use muster_model::session::{Behavior, Session, SessionEnd};
use muster_model::{Check, Command, Instance, Node, Outcome, Status, Text};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Naive {
    nodes: BTreeMap<String, Node>,
    instances: BTreeMap<(String, String), Instance>,
    /// When each instance was written last.
    written_at: BTreeMap<(String, String), u64>,
    checks: BTreeMap<(String, String), Check>,
    pairs: BTreeMap<String, NaivePair>,
    sessions: BTreeMap<String, Session>,
    closed: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct NaivePair {
    value: Vec<u8>,
    session: String,
    fence: u64,
    modified_at: u64,
}

impl Naive {
    /// Whether nothing was changed that a client can see.
    pub(crate) fn is_same_data(&self, other: &Naive) -> bool {
        Naive { closed: BTreeSet::new(), ..self.clone() }
            == Naive { closed: BTreeSet::new(), ..other.clone() }
    }

    pub(crate) fn apply(&mut self, index: u64, command: &Command) -> Outcome {
        match command {
            Command::Register(wish) => return self.register(index, wish),
            Command::Deregister { node, target } => {
                self.deregister(index, node.to_lowercase(), target);
            }
            Command::UpdateCheck { node, id, status, output } => {
                let name = node.to_lowercase();
                if !self.nodes.contains_key(&name) {
                    return Outcome::Denied(Denial::UnknownNode(node.clone()));
                }
                let Some(old) = self.checks.get(&(name.clone(), id.to_string())) else {
                    return Outcome::Denied(Denial::UnknownCheck(node.clone(), id.clone()));
                };
                let check = Check { status: *status, output: output.clone(), ..old.clone() };
                self.put_check(index, name, check);
            }
            Command::ExpireInstance { node, id, if_index } => {
                let name = node.to_lowercase();
                let own = self.written_at.get(&(name.clone(), id.to_string()));
                if own.is_some_and(|own| own != if_index) {
                    return Outcome::Unmet;
                }
                self.deregister(index, name, &Target::Instance(id.clone()));
            }
            Command::PutPair { key, value, terms, .. } => {
                return self.put_pair(index, key, value, terms);
            }
            Command::DeletePair { key, if_index } => {
                let own = self.pairs.get(key.as_str()).map(|pair| pair.modified_at);
                if own.is_some() && if_index.is_some() && own != *if_index {
                    return Outcome::Unmet;
                }
                self.pairs.remove(key.as_str());
            }
            Command::DeletePairsUnder { prefix } => {
                self.pairs.retain(|key, _| !key.starts_with(prefix.as_str()));
            }
            Command::CreateSession(session) => return self.create_session(session),
            Command::EndSession { id, why } => {
                self.end_session(index, id, *why == SessionEnd::Expired);
            }
            other => panic!("the judge does not know {other:?}"),
        }
        Outcome::Done
    }

    fn register(&mut self, index: u64, wish: &Registration) -> Outcome {
        let name = wish.node.name.to_lowercase();
        if let Some(own) = &wish.instance
            && own.origin == Origin::Lease
            && let Some(old) = self.instances.get(&(name.clone(), own.id.to_string()))
            && old.origin != Origin::Lease
        {
            return Outcome::Denied(Denial::NotYours(own.id.clone()));
        }
        for check in wish.checks.iter().filter(|check| !check.instance_id.is_empty()) {
            let is_new = wish.instance.as_ref().is_some_and(|own| own.id == check.instance_id);
            let place = (name.clone(), check.instance_id.to_string());
            if !is_new && !self.instances.contains_key(&place) {
                let (node, id) = (wish.node.name.clone(), check.instance_id.clone());
                return Outcome::Denied(Denial::UnknownInstance(node, id));
            }
        }
        let stays = self.nodes.get(&name).is_some_and(|old| {
            wish.keep_node || wish.node.origin == Origin::Lease && old.origin != Origin::Lease
        });
        if !stays {
            self.nodes.insert(name.clone(), wish.node.clone());
        }
        if let Some(own) = &wish.instance {
            let place = (name.clone(), own.id.to_string());
            if self.instances.insert(place.clone(), own.clone()).as_ref() != Some(own) {
                self.written_at.insert(place, index);
            }
        }
        for check in &wish.checks {
            self.put_check(index, name.clone(), check.clone());
        }
        Outcome::Done
    }

    fn put_check(&mut self, index: u64, node: String, check: Check) {
        let (id, status) = (check.id.to_string(), check.status);
        let old = self.checks.insert((node.clone(), id.clone()), check.clone());
        if status == Status::Critical && old.as_ref() != Some(&check) {
            self.end_sessions_on(index, &node, Some(&id));
        }
    }

    fn deregister(&mut self, index: u64, node: String, target: &Target) {
        let is_gone = |place: &(String, String), check: &Check| match target {
            Target::Node => place.0 == node,
            Target::Instance(id) => place.0 == node && check.instance_id == *id,
            Target::Check(id) => *place == (node.clone(), id.to_string()),
        };
        let gone = self.checks.iter().filter(|(place, check)| is_gone(place, check));
        let gone: Vec<(String, String)> = gone.map(|(place, _)| place.clone()).collect();
        if *target == Target::Node {
            self.end_sessions_on(index, &node, None);
            self.nodes.remove(&node);
            self.instances.retain(|place, _| place.0 != node);
            self.written_at.retain(|place, _| place.0 != node);
        }
        if let Target::Instance(id) = target {
            self.written_at.remove(&(node.clone(), id.to_string()));
            if self.instances.remove(&(node.clone(), id.to_string())).is_none() {
                return;
            }
        }
        for place in gone {
            self.checks.remove(&place);
            self.end_sessions_on(index, &node, Some(&place.1));
        }
        let is_leased = self.nodes.get(&node).is_some_and(|own| own.origin == Origin::Lease);
        if matches!(target, Target::Instance(_))
            && is_leased
            && !self.instances.keys().any(|place| place.0 == node)
        {
            self.deregister(index, node, &Target::Node);
        }
    }

    fn put_pair(&mut self, index: u64, key: &Text, value: &[u8], terms: &PutTerms) -> Outcome {
        let old = self.pairs.get(key.as_str()).cloned();
        let mut new = old.clone().unwrap_or_default();
        match terms {
            PutTerms::Always => {}
            PutTerms::IfIndex(wished) if *wished == new.modified_at => {}
            PutTerms::Acquire(session) if !self.sessions.contains_key(session.as_str()) => {
                return Outcome::Denied(Denial::UnknownSession(session.clone()));
            }
            PutTerms::Acquire(session) if *new.session == **session => {}
            PutTerms::Acquire(session)
                if new.session.is_empty() && !self.closed.contains(key.as_str()) =>
            {
                new.session = session.to_string();
                new.fence += 1;
            }
            PutTerms::Release(session) if *new.session == **session => {
                new.session = String::new();
            }
            _ => return Outcome::Unmet,
        }
        new.value = value.to_vec();
        if old.as_ref() != Some(&new) {
            new.modified_at = index;
            self.pairs.insert(key.to_string(), new);
        }
        Outcome::Done
    }

    fn create_session(&mut self, session: &Session) -> Outcome {
        if self.sessions.contains_key(session.id.as_str()) {
            return Outcome::Denied(Denial::SessionExists(session.id.clone()));
        }
        let node = session.node.to_lowercase();
        if !self.nodes.contains_key(&node) {
            return Outcome::Denied(Denial::UnknownNode(session.node.clone()));
        }
        for id in session.check_ids() {
            match self.checks.get(&(node.clone(), id.to_string())) {
                None => {
                    let denial = Denial::UnknownCheck(session.node.clone(), id.clone());
                    return Outcome::Denied(denial);
                }
                Some(check) if check.status == Status::Critical => {
                    return Outcome::Denied(Denial::CriticalCheck(id.clone()));
                }
                Some(_) => {}
            }
        }
        self.sessions.insert(session.id.to_string(), session.clone());
        Outcome::Done
    }

    /// Ends the sessions of a node that rest on a check, or all of them.
    fn end_sessions_on(&mut self, index: u64, node: &str, check: Option<&str>) {
        let rests = |session: &&Session| {
            let mut own = session.check_ids();
            *session.node.to_lowercase() == *node
                && check.is_none_or(|check| own.any(|id| **id == *check))
        };
        let ended: Vec<Text> =
            self.sessions.values().filter(rests).map(|session| session.id.clone()).collect();
        for id in ended {
            self.end_session(index, &id, true);
        }
    }

    fn end_session(&mut self, index: u64, id: &str, is_forced: bool) {
        let Some(session) = self.sessions.remove(id) else { return };
        let held = self.pairs.iter().filter(|(_, pair)| pair.session == *id);
        let held: Vec<String> = held.map(|(key, _)| key.clone()).collect();
        for key in held {
            if session.behavior == Behavior::Delete {
                self.pairs.remove(&key);
            } else if let Some(pair) = self.pairs.get_mut(&key) {
                pair.session = String::new();
                pair.modified_at = index;
            }
            if is_forced && !session.lock_delay.is_zero() {
                self.closed.insert(key);
            }
        }
    }

    // -----------------------------------------------------------------------------------------

    pub(crate) fn instances(&self, service: &str, health: Health) -> Vec<String> {
        let of_service =
            self.instances.iter().filter(|(_, own)| own.service.to_lowercase() == service);
        let mut found: Vec<String> = Vec::new();
        for ((node, id), own) in of_service {
            let of_place = self.checks.iter().filter(|((at, _), _)| at == node);
            let deciding =
                of_place.filter(|(_, own)| own.instance_id.is_empty() || own.instance_id == **id);
            let statuses: Vec<Status> = deciding.map(|(_, check)| check.status).collect();
            let is_wanted = match health {
                Health::Any => true,
                Health::NotCritical => !statuses.contains(&Status::Critical),
                Health::Passing => statuses.iter().all(|own| *own == Status::Passing),
            };
            if is_wanted {
                found.push(format!("{node}/{id}:{}", own.port));
            }
        }
        found
    }

    pub(crate) fn services(&self) -> Vec<(String, Vec<String>)> {
        let mut names: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
        for own in self.instances.values() {
            let name = own.service.to_lowercase();
            let listed =
                names.entry(name).or_insert_with(|| (own.service.to_string(), BTreeSet::new()));
            listed.1.extend(own.tags.iter().map(ToString::to_string));
        }
        names.into_values().map(|(name, tags)| (name, tags.into_iter().collect())).collect()
    }

    pub(crate) fn checks(&self) -> Vec<String> {
        let plain = self.checks.iter().map(|((node, id), check)| {
            format!("{node}/{id} {} {}", check.status, check.instance_id)
        });
        plain.collect()
    }

    pub(crate) fn pairs(&self) -> Vec<String> {
        let plain = self.pairs.iter().map(|(key, own)| {
            format!("{key}={} {:?} {}", own.value.escape_ascii(), own.session, own.fence)
        });
        plain.collect()
    }

    pub(crate) fn sessions(&self) -> Vec<String> {
        self.sessions.keys().cloned().collect()
    }

    pub(crate) fn usage(&self) -> [u64; 6] {
        let n_services = self.services().len();
        let sizes = [
            self.nodes.len(),
            n_services,
            self.instances.len(),
            self.checks.len(),
            self.pairs.len(),
            self.sessions.len(),
        ];
        sizes.map(|size| size as u64)
    }
}
