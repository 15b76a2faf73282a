//! Sessions: who holds locks, and what becomes of them when they end.
//!
//! A session ends when its holder asks for it, when its lease expires (told by the leader), when its
//! node is deregistered, and when one of the checks it rests on turns critical or goes. Then every
//! pair it holds is released or deleted, and, unless the holder itself ended it, the locks stay
//! closed for the session's lock delay. Stored questions bound to it go with it.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use muster_model::answer::Row;
use muster_model::limits::LOCK_DELAY_MAX;
use muster_model::node::Origin;
use muster_model::outcome::{Denial, Outcome};
use muster_model::scope::{ChangeKind, Object};
use muster_model::session::{Behavior, SessionEnd};
use muster_model::{Check, Indexed, Instance, Scope, Session, Status, Text};

use crate::kv::LockDelay;
use crate::state::{State, Writing};

/// All sessions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    rows: OrdMap<Text, Arc<SessionEntry>>,
    /// The ids of the sessions of each node that has any, by its folded name.
    by_node: OrdMap<Text, OrdSet<Text>>,
}

#[derive(Clone, Debug)]
struct SessionEntry {
    row: Row<Session>,
    /// The keys it holds the lock of.
    keys: OrdSet<Text>,
}

/// Whether the end of a session was its holder's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndKind {
    /// Locks are free at once.
    Wished,
    /// Locks stay closed for the session's lock delay.
    Forced,
}

impl From<SessionEnd> for EndKind {
    fn from(why: SessionEnd) -> EndKind {
        match why {
            SessionEnd::Destroyed => EndKind::Wished,
            SessionEnd::Expired => EndKind::Forced,
        }
    }
}

impl Sessions {
    pub(crate) fn find(&self, id: &str) -> Option<&Row<Session>> {
        self.rows.get(id).map(|entry| &entry.row)
    }

    /// All sessions by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row<Session>> {
        self.rows.values().map(|entry| &entry.row)
    }

    /// The sessions of the node with this folded name, by id.
    pub(crate) fn of_node<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Row<Session>> {
        let ids = self.by_node.get(node).into_iter().flat_map(|ids| ids.iter());
        ids.filter_map(|id| self.find(id))
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Puts a new session in its place.
    pub(crate) fn put(&mut self, row: Row<Session>) {
        let node = row.node.folded();
        self.by_node.entry(node).or_default().insert(row.id.clone());
        let entry = SessionEntry { row: row.clone(), keys: OrdSet::new() };
        self.rows.insert(row.id.clone(), Arc::new(entry));
    }

    /// Notes that a session holds a key; no session, no note.
    pub(crate) fn hold(&mut self, id: &str, key: &Text) {
        if let Some(entry) = self.rows.get_mut(id) {
            Arc::make_mut(entry).keys.insert(key.clone());
        }
    }

    /// Notes that a session no longer holds a key.
    pub(crate) fn let_go(&mut self, id: &str, key: &Text) {
        if let Some(entry) = self.rows.get_mut(id) {
            Arc::make_mut(entry).keys.remove(key);
        }
    }

    fn remove(&mut self, id: &str) -> Option<Arc<SessionEntry>> {
        let entry = self.rows.remove(id)?;
        let node = entry.row.node.folded();
        let ids = self.by_node.get_mut(&node).expect("a session is listed under its node");
        ids.remove(id);
        if ids.is_empty() {
            self.by_node.remove(&node);
        }
        Some(entry)
    }
}

impl State {
    /// The sessions that live with a lease, by id: what a new leader grants a full term.
    pub fn leased_sessions(&self) -> impl Iterator<Item = &Row<Session>> {
        self.sessions.iter().filter(|session| !session.ttl.is_zero())
    }

    /// The instances that live with a lease, each with its node's folded name: likewise.
    pub fn leased_instances(&self) -> impl Iterator<Item = (&Text, &Row<Instance>)> {
        let all = self.catalog.nodes().flat_map(|node| node.instances());
        let leased = all.filter(|entry| entry.row.lease_ttl().is_some());
        leased.map(|entry| (&entry.node, &entry.row))
    }

    /// The checks about an instance on the node with this folded name that live by its lease and say
    /// how they are run: what a leader runs.
    pub fn leased_checks<'a>(
        &'a self,
        node: &Text,
        instance_id: &str,
    ) -> impl Iterator<Item = &'a Row<Check>> + use<'a> {
        let instance = self.catalog.node(node).and_then(|node| node.instance(instance_id));
        let about = instance.into_iter().flat_map(|entry| entry.checks.iter());
        about.filter(|check| check.origin == Origin::Lease && check.extras().definition.is_some())
    }

    /// The instance with this id on the node with this folded name.
    pub fn instance(&self, node: &Text, id: &str) -> Option<&Row<Instance>> {
        Some(&self.catalog.node(node)?.instance(id)?.row)
    }

    /// How many instances the service with this folded name has.
    pub fn n_instances(&self, service: &Text) -> usize {
        self.catalog.service(service).map_or(0, |service| service.n_instances())
    }

    /// The check with this id on the node with this folded name.
    pub fn check(&self, node: &Text, id: &str) -> Option<&Row<Check>> {
        self.catalog.node(node)?.check(id)
    }

    /// The session with this id.
    pub fn session(&self, id: &str) -> Option<&Row<Session>> {
        self.sessions.find(id)
    }
}

impl Writing<'_> {
    /// Creates a session.
    ///
    /// # Errors
    /// Where its node or a check is not there, a check is critical, or the session is there already.
    pub(crate) fn create_session(&mut self, session: &Session) -> Result<Outcome, Denial> {
        if session.id.is_empty() {
            return Err(Denial::Invalid("a session needs an id".into()));
        }
        if self.state.sessions.find(&session.id).is_some() {
            return Err(Denial::SessionExists(session.id.clone()));
        }
        let node = session.node.folded();
        let unknown = || Denial::UnknownNode(session.node.clone());
        let entry = self.state.catalog.node(&node).ok_or_else(unknown)?;
        for id in session.check_ids() {
            let check = entry
                .check(id)
                .ok_or_else(|| Denial::UnknownCheck(session.node.clone(), id.clone()))?;
            if check.status == Status::Critical {
                return Err(Denial::CriticalCheck(id.clone()));
            }
        }
        let index = self.index;
        let row = Indexed { value: session.clone(), create_index: index, modify_index: index };
        self.state.sessions.put(Arc::new(row));
        let mut scopes = session_scopes(session);
        scopes.push(Scope::Usage);
        self.record(Object::Session(session.id.clone()), ChangeKind::Created, scopes);
        Ok(Outcome::Done)
    }

    /// Ends a session. One that is not there has ended already.
    pub(crate) fn end_session(&mut self, id: &str, kind: EndKind) {
        let Some(entry) = self.state.sessions.remove(id) else { return };
        let session = &entry.row;
        for key in &entry.keys {
            match session.behavior {
                Behavior::Release => self.release_pair(key),
                Behavior::Delete => self.delete_pair(key),
            }
            if kind == EndKind::Forced && !session.lock_delay.is_zero() {
                let delay = LockDelay {
                    began_at: self.index,
                    duration: session.lock_delay.min(LOCK_DELAY_MAX),
                };
                self.state.pairs.delays.insert(key.clone(), delay);
            }
        }
        self.delete_prepared_queries_of(id);
        let mut scopes = session_scopes(session);
        scopes.push(Scope::Usage);
        self.record(Object::Session(session.id.clone()), ChangeKind::Removed, scopes);
        self.vanish(&Scope::Session(session.id.clone()));
        let node = session.node.folded();
        if self.state.sessions.of_node(&node).next().is_none() {
            self.vanish(&Scope::SessionsOf(node));
        }
    }

    /// Ends the sessions of a node that goes.
    pub(crate) fn end_sessions_of(&mut self, node: &str) {
        for id in self.ids_of_sessions(node, |_| true) {
            self.end_session(&id, EndKind::Forced);
        }
    }

    /// Ends the sessions that rest on a check.
    pub(crate) fn end_sessions_on_check(&mut self, node: &str, check_id: &str) {
        let rests_on = |session: &Session| session.check_ids().any(|id| *id == *check_id);
        for id in self.ids_of_sessions(node, rests_on) {
            self.end_session(&id, EndKind::Forced);
        }
    }

    fn ids_of_sessions(&self, node: &str, chosen: impl Fn(&Session) -> bool) -> Vec<Text> {
        let sessions = self.state.sessions.of_node(node);
        sessions.filter(|row| chosen(row)).map(|row| row.id.clone()).collect()
    }
}

fn session_scopes(session: &Session) -> Vec<Scope> {
    vec![
        Scope::Session(session.id.clone()),
        Scope::SessionsOf(session.node.folded()),
        Scope::Sessions,
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use muster_model::command::{Command, PutTerms, Registration};
    use muster_model::{Node, Text};

    use super::*;
    use crate::State;

    #[test]
    fn a_lock_stays_closed_for_a_minute_at_most() {
        let node = Node { name: "n".into(), address: "10.0.0.1".into(), ..Node::default() };
        let (id, lock_delay) = (Text::from("s"), Duration::from_secs(3_600));
        let session =
            Session { id: id.clone(), node: "n".into(), lock_delay, ..Session::default() };
        let commands = [
            Command::Register(Registration { node, ..Registration::default() }),
            Command::CreateSession(session),
            Command::PutPair {
                key: "lock".into(),
                value: (&b""[..]).into(),
                flags: 0,
                terms: PutTerms::Acquire(id.clone()),
            },
            Command::EndSession { id, why: SessionEnd::Expired },
        ];
        let mut state = State::default();
        for (index, command) in (1..).zip(&commands) {
            assert_eq!(state.apply(index, command).0, Outcome::Done, "{command:?}");
        }
        let delays: Vec<_> = state.lock_delays().map(|(_, delay)| delay.duration).collect();
        assert_eq!(delays, [LOCK_DELAY_MAX]);
    }
}
