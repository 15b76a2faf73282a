//! Local against catalog: which commands tell or repair it, and how often everything is compared.
//!
//! The agent is the authority for its node, within its own origin: what the catalog holds under
//! [`Origin::Agent`] and the agent does not vouch for is deregistered; what the agent vouches for
//! and the catalog lacks or has otherwise is registered again. What others wrote straight into the
//! catalog, or keep alive by a lease, is not touched. Neither are the registry's own service and
//! the check that stands for the agent being alive, which the leader looks after.
//!
//! An instance whose catalog entry may be retagged (`enable_tag_override`) takes its tags from there.
//! A check that has not run since the process began takes its word from there too: a restart of
//! the agent is no news about its services.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_model::check::AGENT_CHECK_ID;
use muster_model::command::{Registration, Target};
use muster_model::definition::Rule;
use muster_model::node::Origin;
use muster_model::{Check, Command, Instance, Node, Text};
use rand::Rng;

use crate::ledger::Taken;
use crate::local::{Local, LocalChange, OwnCheck};

/// The id and name of the registry's own service.
pub const OWN_SERVICE: &str = "consul";
/// Checks that travel in one command with their instance; the others follow.
const CHECKS_PER_COMMAND: usize = 64;
/// How often everything is compared in a small cluster, before chance adds up to as much.
const COMPARE_INTERVAL: Duration = Duration::from_secs(60);
/// Over what time the agents of a small cluster compare everything when all have reason to.
const COMPARE_ANEW_SPREAD: Duration = Duration::from_secs(5);
/// Nodes up to which a cluster is small.
const SMALL_CLUSTER: usize = 128;

/// A command with the targets whose present word it tells.
#[derive(Clone, Debug)]
pub struct Wish {
    /// To be submitted.
    pub command: Command,
    /// To be settled with its outcome.
    pub told: Vec<Taken>,
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The catalog has it.
    Granted,
    /// The catalog does not take it as things stand. The next comparison will look again.
    Denied,
    /// It did not get through, or may not have: it has to be told again.
    Undecided,
}

/// What the catalog says of this agent's node.
#[derive(Clone, Debug, Default)]
pub struct CatalogView<'a> {
    /// The node itself.
    pub node: Option<&'a Node>,
    /// Its instances.
    pub instances: Vec<&'a Instance>,
    /// Its checks and those of its instances.
    pub checks: Vec<&'a Check>,
}

impl Local {
    /// What [`Local::next_wish`] would begin with.
    pub fn next_target(&self) -> Option<&Target> {
        self.ledger.first()
    }

    /// The generator that all chance here comes from.
    pub fn chance(&mut self) -> &mut impl Rng {
        &mut self.chance
    }

    /// The next command that the catalog has to be told. Its targets are taken out of the ledger
    /// until they are settled.
    pub fn next_wish(&mut self, node: &Node) -> Option<Wish> {
        let first = self.ledger.take_first()?;
        let instance_id = match &first.target {
            Target::Node => return Some(register(node, None, Vec::new(), vec![first])),
            Target::Instance(id) => id.clone(),
            Target::Check(id) => match self.checks.get(id) {
                None => return Some(deregister(node, first)),
                Some(own) => {
                    // Its instance, if that has to be told too, must be there before it.
                    let instance = Target::Instance(own.check.instance_id.clone());
                    let Some(instance) = self.ledger.take(&instance) else {
                        return Some(self.tell_check(node, first));
                    };
                    return Some(self.tell_instance(node, vec![instance, first]));
                }
            },
        };
        match self.instances.contains_key(&instance_id) {
            true => Some(self.tell_instance(node, vec![first])),
            false => Some(deregister(node, first)),
        }
    }

    /// It is known what became of a wish.
    pub fn settle(&mut self, told: &[Taken], settlement: Settlement) {
        for Taken { target, .. } in told {
            if let Target::Check(id) = target
                && let Some(own) = self.checks.get_mut(id)
            {
                own.is_in_catalog = settlement == Settlement::Granted;
            }
            if settlement == Settlement::Undecided {
                self.ledger.mark_once(target.clone());
            }
        }
    }

    /// Compares with what the catalog says, and marks what has to be repaired there.
    pub fn compare(&mut self, own_node: &Node, view: &CatalogView<'_>) {
        if view.node.is_none_or(|node| !is_same_node(node, own_node)) {
            self.ledger.mark_once(Target::Node);
        }
        let seen: BTreeSet<&Text> = view.instances.iter().map(|instance| &instance.id).collect();
        for instance in &view.instances {
            self.compare_instance(instance);
        }
        self.mark_missing_instances(&seen);
        let seen: BTreeSet<&Text> = view.checks.iter().map(|check| &check.id).collect();
        for check in &view.checks {
            self.compare_check(check);
        }
        self.mark_missing_checks(&seen);
    }

    /// Whether the catalog has been told everything.
    pub fn is_in_sync(&self) -> bool {
        self.ledger.is_empty()
    }

    fn compare_instance(&mut self, theirs: &Instance) {
        let target = Target::Instance(theirs.id.clone());
        let Some(own) = self.instances.get_mut(&theirs.id) else {
            if theirs.origin == Origin::Agent && theirs.service != OWN_SERVICE {
                self.ledger.mark_once(target);
            }
            return;
        };
        if own.instance.enable_tag_override && own.instance.tags != theirs.tags {
            own.instance.tags = theirs.tags.clone();
            self.changes.push(LocalChange::Heard(target.clone()));
        }
        if vouched_instance(&own.instance) != *theirs {
            self.ledger.mark_once(target);
        }
    }

    fn compare_check(&mut self, theirs: &Check) {
        let target = Target::Check(theirs.id.clone());
        let Some(own) = self.checks.get_mut(&theirs.id) else {
            if theirs.origin == Origin::Agent && theirs.id != AGENT_CHECK_ID {
                self.ledger.mark_once(target);
            }
            return;
        };
        if own.takes_word_of_catalog() && theirs.origin == Origin::Agent {
            own.check.status = theirs.status;
            own.check.output = theirs.output.clone();
            self.changes.push(LocalChange::Heard(target.clone()));
        }
        let mut vouched = vouched_check(&own.check);
        if own.pulse.has_waiting_output() {
            vouched.output = theirs.output.clone();
        }
        own.is_in_catalog = vouched == *theirs;
        if !own.is_in_catalog {
            self.ledger.mark_once(target);
        }
    }

    fn mark_missing_instances(&mut self, seen: &BTreeSet<&Text>) {
        for id in self.instances.keys().filter(|id| !seen.contains(id)) {
            self.ledger.mark_once(Target::Instance(id.clone()));
        }
    }

    fn mark_missing_checks(&mut self, seen: &BTreeSet<&Text>) {
        for (id, own) in self.checks.iter_mut().filter(|(id, _)| !seen.contains(id)) {
            own.is_in_catalog = false;
            self.ledger.mark_once(Target::Check(id.clone()));
        }
    }

    /// Registers an instance, with those of its checks that have to be told too.
    fn tell_instance(&mut self, node: &Node, mut told: Vec<Taken>) -> Wish {
        let Target::Instance(id) = &told[0].target else { unreachable!("an instance goes first") };
        let id = id.clone();
        for check_id in self.check_ids_about(&id) {
            if told.len() > CHECKS_PER_COMMAND {
                break;
            }
            told.extend(self.ledger.take(&Target::Check(check_id)));
        }
        let checks = told.iter().filter_map(|taken| match &taken.target {
            Target::Check(id) => Some(vouched_check(&self.checks.get(id)?.check)),
            _ => None,
        });
        let checks = checks.collect();
        let instance = self.instances.get(&id).map(|own| vouched_instance(&own.instance));
        register(node, instance, checks, told)
    }

    /// Registers a check, or brings its new word where the catalog is known to have it.
    fn tell_check(&mut self, node: &Node, taken: Taken) -> Wish {
        let Target::Check(id) = &taken.target else { unreachable!("only checks come here") };
        let own = &self.checks[id];
        if !own.is_in_catalog {
            return register(node, None, vec![vouched_check(&own.check)], vec![taken]);
        }
        let command = Command::UpdateCheck {
            node: node.name.clone(),
            id: id.clone(),
            status: own.check.status,
            output: own.check.output.clone(),
        };
        Wish { command, told: vec![taken] }
    }
}

impl OwnCheck {
    fn takes_word_of_catalog(&self) -> bool {
        !self.is_heard && !matches!(self.definition.rule, Rule::Ttl { .. } | Rule::None)
    }
}

/// How long until everything is compared again.
pub fn compare_after(n_nodes: usize, chance: &mut impl Rng) -> Duration {
    COMPARE_INTERVAL.mul_f64(scale(n_nodes) * chance.random_range(1.0..2.0))
}

/// How long until everything is compared because another leads, or because servers are back that
/// could not be reached: every agent of the cluster has the same reason at the same time.
pub fn compare_anew_after(n_nodes: usize, chance: &mut impl Rng) -> Duration {
    COMPARE_ANEW_SPREAD.mul_f64(scale(n_nodes) * chance.random_range(0.0..1.0))
}

/// How much more time a cluster of this size takes for what all its agents do.
fn scale(n_nodes: usize) -> f64 {
    match n_nodes {
        0..=SMALL_CLUSTER => 1.0,
        _ => (n_nodes as f64 / SMALL_CLUSTER as f64).log2().ceil() + 1.0,
    }
}

/// An instance as the catalog shall hold it.
fn vouched_instance(own: &Instance) -> Instance {
    Instance { origin: Origin::Agent, ..own.clone() }
}

/// A check as the catalog shall hold it.
fn vouched_check(own: &Check) -> Check {
    Check { origin: Origin::Agent, ..own.clone() }
}

fn is_same_node(theirs: &Node, own: &Node) -> bool {
    theirs.id == own.id
        && theirs.address == own.address
        && theirs.tagged_addresses == own.tagged_addresses
        && theirs.meta == own.meta
}

/// Registers things on the node, and the node itself where it is what has to be told.
fn register(node: &Node, instance: Option<Instance>, checks: Vec<Check>, told: Vec<Taken>) -> Wish {
    let keep_node = told.iter().all(|taken| taken.target != Target::Node);
    let node = node.clone();
    Wish { command: Command::Register(Registration { node, keep_node, instance, checks }), told }
}

fn deregister(node: &Node, taken: Taken) -> Wish {
    let (node, target) = (node.name.clone(), taken.target.clone());
    Wish { command: Command::Deregister { node, target }, told: vec![taken] }
}

#[cfg(test)]
mod tests;
