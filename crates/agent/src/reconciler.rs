//! The leader tells the catalog what gossip knows: the rules are `health`'s, this is their clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_gossip::{Member, Status as Gossiped};
use muster_health::guard::{self, Guard, Subject};
use muster_health::reconcile::{
    CatalogNode, MemberFact, MemberStatus, Reconcile, ServerFact, Settings, Sight,
};
use muster_model::answer::{Body, NodeDetail};
use muster_model::query::NodeFilter;
use muster_model::{Command, Query, Text};
use muster_registry::Refusal;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use crate::agent::Agent;
use crate::leader::server_facts;
use crate::tags;

/// Everything is compared again after this long, whatever happens.
const COMPARE_INTERVAL: Duration = Duration::from_secs(60);
/// The pause before a repair that was refused is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How many refusals in a row go by before one is said, and how many of them make one line: nothing
/// of what a moment cures, and then every ten seconds.
const REFUSALS_UNSAID: u32 = 10;
const REFUSALS_A_LINE: u32 = 100;
/// Changes of members within this time are compared together.
const GATHER: Duration = Duration::from_millis(20);

/// The guard over nodes and over instances that live by a lease, as this leader keeps it.
pub(crate) struct FailureGuard(Mutex<Guard<Subject>>);

impl FailureGuard {
    pub(crate) fn new(settings: guard::Settings) -> FailureGuard {
        FailureGuard(Mutex::new(Guard::new(settings)))
    }

    pub(crate) fn inner(&self) -> &Mutex<Guard<Subject>> {
        &self.0
    }

    /// Held for one comparison; nothing is awaited meanwhile.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Guard<Subject>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a term of leadership: nobody is doubted yet.
    pub(crate) fn begin(&self, settings: guard::Settings) {
        *self.lock() = Guard::new(settings);
    }
}

/// Compares and repairs for as long as this server leads in `term`.
pub(crate) async fn run(agent: &Agent, term: u64) {
    let mut members = agent.lan.members();
    let mut reconcile = Reconcile::new(Settings::default());
    let (mut n_doubted, mut n_refused) = (0, 0_u32);
    loop {
        let now = agent.leases.now();
        let seen = members.borrow_and_update().clone();
        let facts: Vec<MemberFact> = seen.iter().map(|member| fact(agent, member)).collect();
        let catalog = catalog_of(agent);
        let sight =
            Sight { own_node: &agent.setup.identity.node, members: &facts, catalog: &catalog };
        let (repair, guard_due) = {
            let mut guard = agent.guard.lock();
            // Who is released fails at the comparison that follows.
            guard.release(now);
            let repair = reconcile.compare(sight, &mut guard, now);
            (repair, guard.next_deadline())
        };
        let is_node = |subject: &Subject| matches!(subject, Subject::Node(_));
        let doubts = agent.guard.lock().doubted().filter(|(own, _)| is_node(own)).count();
        if doubts != n_doubted {
            warn!(
                n_doubted = doubts,
                "the guard keeps nodes that seem to have failed with too many others: is the \
                 network well?"
            );
            n_doubted = doubts;
        }
        agent.conflicts.set_node_ids(repair.conflicts.len());
        for conflict in repair.conflicts {
            warn!(
                node_id = %conflict.node_id, kept = %conflict.kept,
                "member {} has the node id of another: give it a node_id of its own",
                conflict.passed_over
            );
        }
        if let Err(refusal) = submit_all(agent, repair.commands, term).await {
            n_refused += 1;
            if n_refused % REFUSALS_A_LINE == REFUSALS_UNSAID {
                warn!(%refusal, "the catalog cannot be told of members; tries again");
            }
            sleep(RETRY_AFTER).await;
            continue;
        }
        n_refused = 0;
        let dues = [reconcile.next_deadline(now), guard_due].into_iter().flatten().min();
        let due = dues.map(|due| agent.leases.instant(due));
        let next = Instant::now() + COMPARE_INTERVAL;
        tokio::select! {
            biased;
            changed = members.changed() => match changed {
                Ok(()) => sleep(GATHER).await,
                Err(_) => return,
            },
            () = sleep_until(due.unwrap_or(next).min(next)) => {}
        }
    }
}

async fn submit_all(agent: &Agent, commands: Vec<Command>, term: u64) -> Result<(), Refusal> {
    for command in commands {
        agent.submit_as_leader(command, term).await?;
    }
    Ok(())
}

fn fact(agent: &Agent, member: &Member) -> MemberFact {
    let server = tags::server_of(member);
    MemberFact {
        name: member.name().as_str().into(),
        node_id: member.profile.tags.value("id").unwrap_or_default().into(),
        address: member.address().ip().to_string().into(),
        status: match member.status {
            Gossiped::Alive | Gossiped::Leaving => MemberStatus::Alive,
            Gossiped::Suspect => MemberStatus::Suspect,
            Gossiped::Failed => MemberStatus::Failed,
            Gossiped::Left => MemberStatus::Left,
        },
        server: server
            .map(|server| ServerFact { port: server.address.port(), meta: server_facts(agent) }),
    }
}

fn catalog_of(agent: &Agent) -> Vec<CatalogNode> {
    let state = agent.shared.state.load();
    let answer = state.answer(&Query::Nodes(NodeFilter::default()));
    let Body::Nodes(nodes) = answer.body else { return Vec::new() };
    let detail = |name: &Text| -> Option<NodeDetail> {
        match state.answer(&Query::Node { name_or_id: name.clone() }).body {
            Body::Node(detail) => detail,
            _ => None,
        }
    };
    nodes.iter().filter_map(|node| detail(&node.name)).map(|it| CatalogNode::of(&it)).collect()
}
