//! Stored questions: writing them, and finding the one that a name leads to.
//!
//! A name leads first to the question with that id, then to the one with that name, then to the
//! template with the longest name that the asked name starts with; a template without a name
//! catches all. Names compare without regard to case. So that nobody can put a question in front of
//! another's, names are unique and may not be another question's id.

use std::sync::Arc;

use imbl::OrdMap;
use muster_model::answer::Row;
use muster_model::outcome::{Denial, Outcome};
use muster_model::prepared::PreparedQuery;
use muster_model::scope::{ChangeKind, Object};
use muster_model::{Indexed, Scope, Text};

use crate::state::Writing;
use crate::template;

/// All stored questions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Questions {
    /// By folded id.
    by_id: OrdMap<Text, Row<PreparedQuery>>,
    /// Folded ids by folded name. The template that catches all has the empty name; a question with
    /// neither name nor template is not in it.
    by_name: OrdMap<Text, Text>,
}

impl Questions {
    /// The question with this id.
    pub(crate) fn find(&self, id: &Text) -> Option<&Row<PreparedQuery>> {
        self.by_id.get(&id.folded())
    }

    /// All questions by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row<PreparedQuery>> {
        self.by_id.values()
    }

    /// The question that a name leads to.
    pub(crate) fn resolve(&self, id_or_name: &Text) -> Option<&Row<PreparedQuery>> {
        let name = id_or_name.folded();
        if let Some(found) = self.by_id.get(&name).or_else(|| self.named(&name)) {
            return Some(found);
        }
        let starts = (0..=name.len()).rev().filter_map(|length| name.as_str().get(..length));
        starts.filter_map(|start| self.named(start)).find(|found| found.as_template().is_some())
    }

    fn named(&self, name: &str) -> Option<&Row<PreparedQuery>> {
        self.by_id.get(self.by_name.get(name)?)
    }

    /// Puts a question in its place.
    pub(crate) fn put(&mut self, row: Row<PreparedQuery>) {
        self.remove(&row.id);
        let id = row.id.folded();
        if has_place_by_name(&row) {
            self.by_name.insert(row.name.folded(), id.clone());
        }
        self.by_id.insert(id, row);
    }

    fn remove(&mut self, id: &Text) -> Option<Row<PreparedQuery>> {
        let row = self.by_id.remove(&id.folded())?;
        if has_place_by_name(&row) {
            self.by_name.remove(&row.name.folded());
        }
        Some(row)
    }
}

fn has_place_by_name(query: &PreparedQuery) -> bool {
    !query.name.is_empty() || query.as_template().is_some()
}

impl Writing<'_> {
    /// Creates or replaces a stored question.
    ///
    /// # Errors
    /// Where it is (not) there, its name is taken, its session is gone, or its template is faulty.
    pub(crate) fn put_prepared_query(
        &mut self,
        query: &PreparedQuery,
        must_exist: bool,
    ) -> Result<Outcome, Denial> {
        let old = self.state.questions.find(&query.id).cloned();
        match &old {
            None if must_exist => return Err(Denial::UnknownPreparedQuery(query.id.clone())),
            Some(_) if !must_exist => {
                let text = format!("prepared query {} exists already", query.id);
                return Err(Denial::Invalid(text.into()));
            }
            _ => {}
        }
        self.deny_prepared_query(query)?;
        if old.as_ref().is_some_and(|old| old.value == *query) {
            return Ok(Outcome::Done);
        }
        let kind = if old.is_some() { ChangeKind::Changed } else { ChangeKind::Created };
        let create_index = old.map_or(self.index, |old| old.create_index);
        let row = Indexed { value: query.clone(), create_index, modify_index: self.index };
        self.state.questions.put(Arc::new(row));
        self.record_prepared_query(&query.id, kind);
        Ok(Outcome::Done)
    }

    fn deny_prepared_query(&self, query: &PreparedQuery) -> Result<(), Denial> {
        if query.id.is_empty() {
            return Err(Denial::Invalid("a prepared query needs an id".into()));
        }
        let questions = &self.state.questions;
        let own_id = query.id.folded();
        let name = query.name.folded();
        let is_anothers = |id: &Text| *id != own_id;
        let name_is_taken = has_place_by_name(query)
            && questions.by_name.get(&name).is_some_and(is_anothers)
            || questions.by_id.contains_key(&name) && is_anothers(&name);
        if name_is_taken {
            return Err(Denial::PreparedQueryNameTaken(query.name.clone()));
        }
        if !query.session.is_empty() && self.state.sessions.find(&query.session).is_none() {
            return Err(Denial::UnknownSession(query.session.clone()));
        }
        template::fault(query).map_or(Ok(()), |fault| Err(Denial::Invalid(fault.into())))
    }

    /// Deletes a stored question.
    ///
    /// # Errors
    /// Where it is not there.
    pub(crate) fn delete_prepared_query(&mut self, id: &Text) -> Result<Outcome, Denial> {
        if self.state.questions.remove(id).is_none() {
            return Err(Denial::UnknownPreparedQuery(id.clone()));
        }
        self.record_prepared_query(id, ChangeKind::Removed);
        Ok(Outcome::Done)
    }

    /// Deletes the questions that live with a session.
    pub(crate) fn delete_prepared_queries_of(&mut self, session: &str) {
        let bound = self.state.questions.iter().filter(|row| *row.session == *session);
        let ids: Vec<Text> = bound.map(|row| row.id.clone()).collect();
        for id in ids {
            self.state.questions.remove(&id);
            self.record_prepared_query(&id, ChangeKind::Removed);
        }
    }

    fn record_prepared_query(&mut self, id: &Text, kind: ChangeKind) {
        self.record(Object::PreparedQuery(id.clone()), kind, vec![Scope::PreparedQueries]);
    }
}
