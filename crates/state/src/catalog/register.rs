//! Registering: a node with, if wished, an instance and checks; all or nothing.

use muster_model::command::Registration;
use muster_model::outcome::{Denial, Outcome};

use super::instances::deny_instance;
use super::nodes::NodeFate;
use crate::state::Writing;

impl Writing<'_> {
    /// Registers what `wish` holds.
    ///
    /// # Errors
    /// Where anything of it cannot be granted; then nothing is written.
    pub(crate) fn register(&mut self, wish: &Registration) -> Result<Outcome, Denial> {
        let fate = self.registration_fate(wish)?;
        let node = wish.node.name.folded();
        self.put_node(&wish.node, fate);
        if let Some(instance) = &wish.instance {
            self.put_instance(&node, instance);
        }
        for check in &wish.checks {
            self.put_check(&node, check);
        }
        Ok(Outcome::Done)
    }

    /// Looks at the whole wish before anything is written.
    fn registration_fate(&self, wish: &Registration) -> Result<NodeFate, Denial> {
        let existing = self.state.catalog.node(&wish.node.name.folded());
        let fate = match existing {
            Some(_) if wish.keep_node => NodeFate::Stays,
            _ => self.state.node_fate(&wish.node)?,
        };
        if let Some(instance) = &wish.instance {
            let old = existing.and_then(|node| node.instance(&instance.id));
            deny_instance(instance, old.map(|old| &**old.row))?;
        }
        for check in &wish.checks {
            if check.id.is_empty() {
                return Err(Denial::Invalid("a check needs an id".into()));
            }
            let is_known = check.is_about_node()
                || wish.instance.as_ref().is_some_and(|own| own.id == check.instance_id)
                || existing.is_some_and(|node| node.instance(&check.instance_id).is_some());
            if !is_known {
                let (node, id) = (wish.node.name.clone(), check.instance_id.clone());
                return Err(Denial::UnknownInstance(node, id));
            }
        }
        Ok(fate)
    }
}
