//! Members against catalog: which commands the leader gives so that the catalog says of every node
//! what gossip knows of its agent.
//!
//! | the member is | the catalog gets |
//! |---|---|
//! | alive or suspect | the node with its passing `serfHealth`; for a server the registry's own instance |
//! | failed | `serfHealth` critical; the checks of its instances keep their word |
//! | left, reaped | the node is deregistered with all it carries |
//! | not there any more | as failed after a while, then as reaped: see [`Settings`] |
//!
//! Consul's rules, with these differences, each for a reason:
//! - Only nodes that carry our own origin and `serfHealth` are ever failed or deregistered. What was
//!   written through the catalog's API or lives by a lease is nobody's member and stays.
//! - A failed node passes the [`Guard`] first. If it is doubted its status stays and its output says
//!   so, in words that every API, `explain` and the next leader read ([`is_marked_doubtful`]).
//! - Somebody missing from the list is not taken for gone at once. A server that starts alone knows
//!   no member yet, and must not empty the catalog before gossip has found them again.
//! - A node whose name a living member with another id bears is deregistered before the newcomer is
//!   registered: gossip settled whose name it is. Consul refuses the newcomer until the old agent is
//!   seen to fail, which for a machine that was set up anew is never.
//!
//! A member that goes by a new name under its id is registered and nothing else: the state takes
//! the old node away. Of several living members with one id the catalog's own stays, the others are
//! told as [`Conflict`]s and wait, for each registration would rename the other one away.
//!
//! An unchanged member costs a comparison and no command. Left out: voters (consensus looks after
//! them) and what an agent itself repairs of its node ([`crate::sync`]).

use std::collections::BTreeMap;
use std::time::Duration;

use muster_model::check::AGENT_CHECK_ID;
use muster_model::command::{Registration, Target};
use muster_model::node::Origin;
use muster_model::{Check, Command, Instance, Meta, Node, Status, Text};

use crate::Moment;
use crate::guard::{Guard, Share, Subject, Verdict};
use crate::sync::OWN_SERVICE;

mod parties;

pub use parties::CatalogNode;
use parties::Parties;

/// What `serfHealth` says of an agent that is alive.
pub const ALIVE_OUTPUT: &str = "Agent alive and reachable";
/// What `serfHealth` says of an agent that failed, or begins with if the guard doubts it.
pub const FAILED_OUTPUT: &str = "Agent not live or unreachable";
/// What follows [`FAILED_OUTPUT`] where the guard doubts it.
const DOUBT_MARK: &str = "; kept by the guard: ";
/// The name of the check that stands for an agent being alive.
const AGENT_CHECK_NAME: &str = "Serf Health Status";
/// Commands that travel as one.
const BATCH_COMMANDS_MAX: usize = 128;

/// What happens to nodes whose agent is on no list of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Missing for this long: failed. Shorter than it takes gossip to find everybody after a start
    /// makes a start look like a disaster.
    pub absent_fails_after: Duration,
    /// Missing for this long: deregistered. Longer than the guard doubts anybody.
    pub absent_reaped_after: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            absent_fails_after: Duration::from_secs(60),
            absent_reaped_after: Duration::from_secs(20 * 60),
        }
    }
}

/// An agent as gossip sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFact {
    /// The name of its node.
    pub name: Text,
    /// The id of its node, or empty where it did not say.
    pub node_id: Text,
    /// The address of its node, written as the agent itself registers it.
    pub address: Text,
    /// How it is.
    pub status: MemberStatus,
    /// What a server tells of itself; nothing for a client agent.
    pub server: Option<ServerFact>,
}

/// How a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberStatus {
    /// It answers.
    Alive,
    /// It has not answered lately; it is treated as alive until that is settled.
    Suspect,
    /// It does not answer.
    Failed,
    /// It said that it leaves, or somebody said so for it.
    Left,
    /// It failed or left so long ago that gossip forgets it.
    Reaped,
}

impl MemberStatus {
    fn is_living(self) -> bool {
        matches!(self, MemberStatus::Alive | MemberStatus::Suspect)
    }
}

/// What a server tells of itself: what its instance of the registry's own service shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFact {
    /// The port at which servers reach it.
    pub port: u16,
    /// Facts that other tools look for.
    pub meta: Meta,
}

/// Everything that is compared.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The name of the leader's own node, which is never failed or deregistered.
    pub own_node: &'a Text,
    /// All members, this agent included.
    pub members: &'a [MemberFact],
    /// All nodes.
    pub catalog: &'a [CatalogNode],
}

/// What a comparison came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Repair {
    /// To be submitted in this order. Each is a batch of at most 128, or a command alone.
    pub commands: Vec<Command>,
    /// To be told to the operator, who must act.
    pub conflicts: Vec<Conflict>,
}

/// Two living members with one node id: somebody copied a machine with its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The id.
    pub node_id: Text,
    /// The member whose node is in the catalog.
    pub kept: Text,
    /// The member that gets none until it has an id of its own.
    pub passed_over: Text,
}

/// Whether an output of `serfHealth` says that the guard keeps the node although it failed.
pub fn is_marked_doubtful(output: &str) -> bool {
    output.strip_prefix(FAILED_OUTPUT).is_some_and(|rest| rest.starts_with(DOUBT_MARK))
}

/// The comparison, with what it remembers between two of them. One for each term of leadership.
#[derive(Debug, Default)]
pub struct Reconcile {
    settings: Settings,
    /// Since when nodes have been missing among the members, by folded name. At most all nodes.
    absent_since: BTreeMap<Text, Moment>,
}

impl Reconcile {
    /// Begins a term of leadership.
    pub fn new(settings: Settings) -> Reconcile {
        Reconcile { settings, absent_since: BTreeMap::new() }
    }

    /// Compares everything once.
    pub fn compare(&mut self, sight: Sight<'_>, guard: &mut Guard<Subject>, now: Moment) -> Repair {
        let parties = Parties::of(&sight);
        let mut round = Round { parties: &parties, guard, now, commands: Vec::new() };
        let absent_since = std::mem::take(&mut self.absent_since);
        for (name, entry) in parties.absent() {
            let since = absent_since.get(name).copied().unwrap_or(now);
            self.absent_since.insert(name.clone(), since);
            round.repair_absent(entry, now.since(since), &self.settings);
        }
        for (name, member) in &parties.members {
            round.repair_member(name, member);
        }
        let commands = batches(round.commands);
        Repair { commands, conflicts: parties.conflicts }
    }

    /// When somebody who is missing comes due: a comparison is worth its while then, even if
    /// nothing else happened.
    pub fn next_deadline(&self, now: Moment) -> Option<Moment> {
        let Settings { absent_fails_after, absent_reaped_after } = self.settings;
        let dues = self
            .absent_since
            .values()
            .flat_map(|since| [*since + absent_fails_after, *since + absent_reaped_after]);
        dues.filter(|due| *due > now).min()
    }
}

/// One comparison under way.
struct Round<'a> {
    parties: &'a Parties<'a>,
    guard: &'a mut Guard<Subject>,
    now: Moment,
    commands: Vec<Command>,
}

// ------------------------------------------------------------------------------------------------
// What each member comes to
// ------------------------------------------------------------------------------------------------

impl Round<'_> {
    fn repair_absent(&mut self, entry: &CatalogNode, missing: Duration, settings: &Settings) {
        if missing >= settings.absent_reaped_after {
            self.deregister(&entry.node.name, Target::Node);
        } else if missing >= settings.absent_fails_after {
            self.fail(entry);
        }
    }

    fn repair_member(&mut self, name: &Text, member: &MemberFact) {
        let entry = self.parties.nodes.get(name).copied();
        if member.status.is_living() {
            self.guard.recover(&Subject::Node(name.clone()));
        }
        if !self.parties.may_have_node(name, member) {
            // The node is another member's by now, or will be by that one's registration.
            return;
        }
        if member.status.is_living() {
            return self.keep_alive(member, entry);
        }
        let Some(entry) = entry else { return };
        if entry.own_check().is_none() || !entry.is_of(member) || *name == self.parties.own_node {
            return;
        }
        match member.status {
            MemberStatus::Failed => self.fail(entry),
            _ => self.deregister(&entry.node.name, Target::Node),
        }
    }

    /// The catalog shall have a living member's node, passing.
    fn keep_alive(&mut self, member: &MemberFact, entry: Option<&CatalogNode>) {
        let mut entry = entry;
        if let Some(other) = entry.filter(|entry| !entry.is_of(member)) {
            entry = None;
            if other.own_check().is_some() {
                self.deregister(&other.node.name, Target::Node);
            }
        }
        let Some(entry) = entry else {
            let node = node_of(member, &Node::default());
            return self.register(node, false, own_instance(member), Some(alive_check()));
        };
        let node = node_of(member, &entry.node);
        let has_node = node == entry.node.value;
        let instance = own_instance(member)
            .filter(|own| entry.own_instance.as_ref().is_none_or(|theirs| theirs.value != *own));
        match &entry.alive {
            Some(check) if says_alive(check) => {
                if !has_node || instance.is_some() {
                    self.register(node, has_node, instance, None);
                }
            }
            Some(check) if has_node && instance.is_none() && check.origin == Origin::Agent => {
                self.say(entry, Status::Passing, ALIVE_OUTPUT.into());
            }
            _ => self.register(node, has_node, instance, Some(alive_check())),
        }
        let had_instance =
            entry.own_instance.as_ref().is_some_and(|own| own.origin == Origin::Agent);
        if member.server.is_none() && had_instance {
            self.deregister(&entry.node.name, Target::Instance(OWN_SERVICE.into()));
        }
    }

    /// A node's agent failed: believed or doubted.
    fn fail(&mut self, entry: &CatalogNode) {
        let Some(check) = entry.own_check().filter(|check| check.status != Status::Critical) else {
            return;
        };
        let subject = Subject::Node(entry.node.name.folded());
        let shares: Vec<Share> = self.parties.shares(entry).collect();
        let is_marked = is_marked_doubtful(&check.output);
        if is_marked && !self.guard.knows(&subject) {
            self.guard.inherit(&subject, &shares[0], self.now);
        }
        match self.guard.judge(&subject, &shares, self.now) {
            Verdict::Proceed => self.say(entry, Status::Critical, FAILED_OUTPUT.into()),
            Verdict::Doubted if is_marked => {}
            Verdict::Doubted => {
                let doubt = self.guard.doubt_of(&subject).expect("who is doubted has a doubt");
                let output = format!("{FAILED_OUTPUT}{DOUBT_MARK}{doubt}").into();
                self.say(entry, check.status, output);
            }
        }
    }

    fn say(&mut self, entry: &CatalogNode, status: Status, output: Text) {
        let (node, id) = (entry.node.name.clone(), AGENT_CHECK_ID.into());
        self.commands.push(Command::UpdateCheck { node, id, status, output });
    }

    fn register(
        &mut self,
        node: Node,
        keep_node: bool,
        instance: Option<Instance>,
        check: Option<Check>,
    ) {
        let checks = check.into_iter().collect();
        let registration = Registration { node, keep_node, instance, checks };
        self.commands.push(Command::Register(registration));
    }

    fn deregister(&mut self, node: &Text, target: Target) {
        if target == Target::Node {
            self.guard.recover(&Subject::Node(node.folded()));
        }
        self.commands.push(Command::Deregister { node: node.clone(), target });
    }
}

// ------------------------------------------------------------------------------------------------
// What the catalog shall hold
// ------------------------------------------------------------------------------------------------

/// The node of a member: what gossip knows of it, and for the rest what its agent vouched for.
fn node_of(member: &MemberFact, known: &Node) -> Node {
    let is_new = known.name.is_empty();
    let id = if member.node_id.is_empty() { &known.id } else { &member.node_id };
    Node {
        name: if is_new { member.name.clone() } else { known.name.clone() },
        id: id.clone(),
        address: member.address.clone(),
        origin: Origin::Agent,
        ..known.clone()
    }
}

/// The instance of the registry's own service, for servers.
fn own_instance(member: &MemberFact) -> Option<Instance> {
    let server = member.server.as_ref()?;
    Some(Instance {
        id: OWN_SERVICE.into(),
        service: OWN_SERVICE.into(),
        port: server.port,
        meta: server.meta.clone(),
        origin: Origin::Agent,
        ..Instance::default()
    })
}

/// The check that stands for a node's agent, of one that is alive.
pub fn alive_check() -> Check {
    Check {
        id: AGENT_CHECK_ID.into(),
        name: AGENT_CHECK_NAME.into(),
        status: Status::Passing,
        output: ALIVE_OUTPUT.into(),
        origin: Origin::Agent,
        ..Check::default()
    }
}

fn says_alive(check: &Check) -> bool {
    check.status == Status::Passing && check.output == ALIVE_OUTPUT && check.origin == Origin::Agent
}

fn batches(commands: Vec<Command>) -> Vec<Command> {
    let mut commands = commands.into_iter().peekable();
    let mut batches = Vec::new();
    while commands.peek().is_some() {
        let mut batch: Vec<Command> = commands.by_ref().take(BATCH_COMMANDS_MAX).collect();
        batches.push(match batch.len() {
            1 => batch.remove(0),
            _ => Command::Batch { commands: batch },
        });
    }
    batches
}
