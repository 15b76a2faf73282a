//! What is kept for others: the roots of the certificate authority, and settings.

use std::sync::Arc;

use imbl::OrdMap;
use muster_model::answer::Row;
use muster_model::ca::CaRoot;
use muster_model::outcome::{Denial, Outcome};
use muster_model::scope::{ChangeKind, Object};
use muster_model::settings::Setting;
use muster_model::{Index, Indexed, Scope, Text};

use crate::state::{State, Writing};

/// Roots that are kept: who adds one beyond it must act first.
const ROOTS_MAX: usize = 64;

/// Roots and settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// By id. At most one is active.
    pub(crate) roots: OrdMap<Text, Row<CaRoot>>,
    /// By kind and name.
    pub(crate) settings: OrdMap<(Text, Text), Row<Setting>>,
}

impl Kept {
    /// The settings of a kind, by name.
    pub(crate) fn of_kind<'a>(&'a self, kind: &'a Text) -> impl Iterator<Item = &'a Row<Setting>> {
        let first = (kind.clone(), Text::default());
        self.settings
            .range(first..)
            .take_while(move |((own, _), _)| own == kind)
            .map(|(_, row)| row)
    }

    /// Puts a setting's row in its place.
    pub(crate) fn put_setting(&mut self, row: Row<Setting>) {
        self.settings.insert((row.kind.clone(), row.name.clone()), row);
    }
}

impl State {
    /// The root that issues now, with its key: for the leader alone, never for an answer.
    pub fn active_root(&self) -> Option<&Row<CaRoot>> {
        self.kept.roots.values().find(|root| root.is_active)
    }
}

impl Writing<'_> {
    /// Adds a root, which issues from now on; the one before stays known.
    ///
    /// # Errors
    /// Where there are too many, or it has no id.
    pub(crate) fn put_root(&mut self, root: &CaRoot) -> Result<Outcome, Denial> {
        if root.id.is_empty() {
            return Err(Denial::Invalid("a root needs an id".into()));
        }
        let roots = &self.state.kept.roots;
        let root = CaRoot { is_active: true, ..root.clone() };
        if roots.get(&root.id).is_some_and(|old| old.value == root) {
            return Ok(Outcome::Done);
        }
        if roots.len() >= ROOTS_MAX && !roots.contains_key(&root.id) {
            return Err(Denial::Invalid(format!("at most {ROOTS_MAX} roots are kept").into()));
        }
        let former: Vec<Row<CaRoot>> =
            roots.values().filter(|own| own.is_active && own.id != root.id).cloned().collect();
        for old in former {
            self.write_root(CaRoot { is_active: false, ..old.value.clone() });
        }
        self.write_root(root);
        Ok(Outcome::Done)
    }

    fn write_root(&mut self, root: CaRoot) {
        let old = self.state.kept.roots.get(&root.id).map(|old| old.create_index);
        let kind = if old.is_some() { ChangeKind::Changed } else { ChangeKind::Created };
        let create_index = old.unwrap_or(self.index);
        let id = root.id.clone();
        let row = Indexed { value: root, create_index, modify_index: self.index };
        self.state.kept.roots.insert(id.clone(), Arc::new(row));
        self.record(Object::Root(id), kind, vec![Scope::Roots]);
    }

    /// Writes a setting if its modify index is the one given (0: it is not there).
    pub(crate) fn put_setting(&mut self, setting: &Setting, if_index: Option<Index>) -> Outcome {
        let key = (setting.kind.clone(), setting.name.clone());
        let old = self.state.kept.settings.get(&key).cloned();
        let own_index = old.as_ref().map_or(0, |old| old.modify_index);
        if if_index.is_some_and(|index| index != own_index) {
            return Outcome::Unmet;
        }
        if old.as_ref().is_some_and(|old| old.value == *setting) {
            return Outcome::Done;
        }
        let kind = if old.is_some() { ChangeKind::Changed } else { ChangeKind::Created };
        let create_index = old.map_or(self.index, |old| old.create_index);
        let row = Indexed { value: setting.clone(), create_index, modify_index: self.index };
        self.state.kept.put_setting(Arc::new(row));
        self.record_setting(key, kind);
        Outcome::Done
    }

    /// Deletes a setting if its modify index is the one given. One that is not there is deleted
    /// already.
    pub(crate) fn delete_setting(
        &mut self,
        kind: &Text,
        name: &Text,
        if_index: Option<Index>,
    ) -> Outcome {
        let key = (kind.clone(), name.clone());
        let Some(old) = self.state.kept.settings.get(&key) else { return Outcome::Done };
        if if_index.is_some_and(|index| index != old.modify_index) {
            return Outcome::Unmet;
        }
        self.state.kept.settings.remove(&key);
        self.record_setting(key, ChangeKind::Removed);
        if self.state.kept.of_kind(kind).next().is_none() {
            self.vanish(&Scope::Settings(kind.clone()));
        }
        Outcome::Done
    }

    fn record_setting(&mut self, (kind, name): (Text, Text), change: ChangeKind) {
        let scopes = vec![Scope::Settings(kind.clone())];
        self.record(Object::Setting { kind, name }, change, scopes);
    }
}
