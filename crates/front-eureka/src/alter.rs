//! Writing an instance: look, decide, write what was decided if nothing came between, else again.
//!
//! Everything that belongs together (the node, the instance, its checks) is one transaction, so it is
//! there, or gone, in the same index for every tongue. The instance's own modify index guards it:
//! each write alters the instance, if only the instant of its last change.

use std::sync::Arc;

use muster_model::answer::InstanceDetail;
use muster_model::command::{ObjectVerb, Operation};
use muster_model::limits::ORIGINAL_BYTES_MAX;
use muster_model::node::Origin;
use muster_model::outcome::Denial;
use muster_model::{Check, Command, Instance, Node, Outcome, Text};
use muster_registry::Call;

use crate::asked_check;
use crate::failure::Failure;
use crate::front::Front;
use crate::info::InstanceInfo;
use crate::limits::TRIES_MAX;
use crate::mapping::{self, Standing};
use crate::view::Entry;
use crate::word::Word;

/// What shall be written.
pub(crate) struct Decision {
    /// The instance with its words.
    pub(crate) standing: Standing,
    /// Whether a maintenance that another tongue began ends too, unless the words begin one.
    pub(crate) lifts_maintenance: bool,
}

impl Front {
    /// Writes what `decide` makes of an instance as it is now; nothing where that is nothing.
    ///
    /// # Errors
    /// Those of `decide`; where the catalog refuses it; where others write all the time.
    pub(crate) async fn alter(
        &self,
        call: &Call,
        app: &str,
        id: &str,
        decide: impl Fn(Option<&Entry>) -> Result<Option<Decision>, Failure>,
    ) -> Result<(), Failure> {
        let mut found = self.look(call, app, id).await?;
        for _ in 0..TRIES_MAX {
            let Some(decision) = decide(found.as_deref())? else { return Ok(()) };
            let operations = operations(found.as_deref(), &decision)?;
            let command = Command::Transact { operations };
            let committed = self.door().registry.submit(call, command).await?;
            match committed.outcome {
                Outcome::RolledBack(obstacles) => refuse_unless_outrun(obstacles)?,
                Outcome::Denied(denial) => return Err(denial.into()),
                _ => return Ok(()),
            }
            found = self.roll().view(call).await?.find(app, id).cloned();
        }
        let text = "the instance is written by others all the time; try again";
        Err(Failure::new(http::StatusCode::SERVICE_UNAVAILABLE, text))
    }

    /// An instance as this server knows it, or, where it knows none, as the leader does.
    pub(crate) async fn look(
        &self,
        call: &Call,
        app: &str,
        id: &str,
    ) -> Result<Option<Arc<Entry>>, Failure> {
        if let Some(found) = self.roll().at_hand().await?.find(app, id) {
            return Ok(Some(found.clone()));
        }
        Ok(self.roll().view(call).await?.find(app, id).cloned())
    }

    /// The same of an instance that a client of Eureka registered.
    ///
    /// # Errors
    /// 404 where there is none.
    pub(crate) async fn look_for_own(
        &self,
        call: &Call,
        app: &str,
        id: &str,
    ) -> Result<Arc<Entry>, Failure> {
        let found = self.look(call, app, id).await?;
        found.filter(|entry| entry.is_own()).ok_or_else(Failure::not_found)
    }

    /// The same of one that another tongue registered, if there is one.
    pub(crate) async fn look_for_foreign(
        &self,
        call: &Call,
        app: &str,
        id: &str,
    ) -> Result<Option<Arc<Entry>>, Failure> {
        Ok(self.look(call, app, id).await?.filter(|entry| !entry.is_own()))
    }
}

/// What an entry's own client may alter; 404 where there is none.
pub(crate) fn own(entry: Option<&Entry>) -> Result<&Entry, Failure> {
    entry.filter(|entry| entry.is_own()).ok_or_else(Failure::not_found)
}

/// Only that another write came first is a reason to try again.
fn refuse_unless_outrun(obstacles: Vec<(u32, Denial)>) -> Result<(), Failure> {
    let mut others = obstacles
        .into_iter()
        .map(|(_, denial)| denial)
        .filter(|denial| !matches!(denial, Denial::IndexIsAnother(..)));
    others.next().map_or(Ok(()), |denial| Err(denial.into()))
}

/// The steps that write what was decided.
fn operations(old: Option<&Entry>, decision: &Decision) -> Result<Vec<Operation>, Failure> {
    let standing = &decision.standing;
    let (node, instance) = (standing.node(), standing.instance());
    if instance.extras().original.len() > ORIGINAL_BYTES_MAX {
        let text = format!("metadata and addresses take more than {ORIGINAL_BYTES_MAX} bytes");
        return Err(Failure::bad_request(text));
    }
    let (name, id) = (node.name.clone(), instance.id.clone());
    let old = old.filter(|old| old.is_own()).map(Entry::detail);
    let moved = old.filter(|old| old.node.name.folded() != name.folded());
    let here = old.filter(|_| moved.is_none());
    let index = here.map_or(0, |old| old.instance.modify_index);
    let mut steps = vec![
        Operation::Node { verb: ObjectVerb::Put, node },
        Operation::Instance { verb: ObjectVerb::PutIfIndex(index), node: name.clone(), instance },
        check_step(ObjectVerb::Put, &name, standing.word_check(&id)),
    ];
    let maintenance = mapping::maintenance_check_id(&id);
    let present = here.and_then(|old| old.checks.iter().find(|check| check.id == maintenance));
    let is_off = standing.word() == Word::OutOfService;
    let is_ours = present.is_some_and(|check| check.origin == Origin::Lease);
    if is_off && !is_ours {
        steps.push(check_step(ObjectVerb::Put, &name, Standing::maintenance_check(&id)));
    }
    if let Some(check) = present
        && !is_off
        && (is_ours || decision.lifts_maintenance)
    {
        steps.push(check_step(ObjectVerb::Delete, &name, check.value.clone()));
    }
    steps.extend(asked_step(here, &name, &standing.info, &id)?);
    if let Some(moved) = moved {
        let instance = Instance { id: moved.instance.id.clone(), ..Instance::default() };
        let node = moved.node.name.clone();
        steps.push(Operation::Instance { verb: ObjectVerb::Delete, node, instance });
    }
    Ok(steps)
}

/// The step that sets or ends the check that an instance asks for; nothing where it stands already,
/// so that a registration does not make its result unknown.
fn asked_step(
    here: Option<&InstanceDetail>,
    node: &Text,
    info: &InstanceInfo,
    id: &Text,
) -> Result<Option<Operation>, Failure> {
    let check_id = asked_check::id_of(id);
    let present = here.and_then(|old| old.checks.iter().find(|check| check.id == check_id));
    Ok(match (asked_check::of(info, id)?, present) {
        (Some(asked), Some(present)) if asked.extras() == present.extras() => None,
        (Some(asked), _) => Some(check_step(ObjectVerb::Put, node, asked)),
        (None, Some(present)) => Some(check_step(ObjectVerb::Delete, node, present.value.clone())),
        (None, None) => None,
    })
}

fn check_step(verb: ObjectVerb, node: &Text, check: Check) -> Operation {
    Operation::Check { verb, node: node.clone(), check }
}

/// Names that the catalog has no place for. Empty ones were refused before.
pub(crate) fn refuse_unfit(node: &Node, instance: &Instance) -> Result<(), Failure> {
    use muster_model::limits::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX};
    let names =
        [("hostName", &node.name), ("app", &instance.service), ("instanceId", &instance.id)];
    for (what, name) in names {
        if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let text = format!("{what} has at most {NAME_BYTES_MAX} bytes, all of them printable");
            return Err(Failure::bad_request(text));
        }
    }
    if instance.service.contains('/') {
        return Err(Failure::bad_request("the name of an application has no slash"));
    }
    if instance.address.len() > ADDRESS_BYTES_MAX {
        return Err(Failure::bad_request(format!("ipAddr has at most {ADDRESS_BYTES_MAX} bytes")));
    }
    Ok(())
}
