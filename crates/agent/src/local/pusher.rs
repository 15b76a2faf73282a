//! The one task that tells the catalog what this agent vouches for.
//!
//! Everything that changed while the last command was on its way travels in the next one, so that
//! sixty registrations at once are one entry of the log, and an older word never overtakes a newer
//! one. Before anything is told after a start, everything is compared: a check that has not run
//! yet then keeps the word the catalog has.

use std::sync::Arc;
use std::time::Duration;

use muster_health::sync::{CatalogView, Wish, compare_after, compare_anew_after};
use muster_model::answer::Body;
use muster_model::query::{CheckFilter, CheckSubject};
use muster_model::{Command, Outcome, Query};
use muster_registry::call::Secret;
use muster_registry::{Answered, Call, Caller, Freshness, Refusal};
use rand::Rng;
use tokio::time::{Instant, sleep, sleep_until};

use super::core::Told;
use super::voucher::Shared;

/// Commands that travel as one.
const BATCH_COMMANDS_MAX: usize = 256;
/// Encoded bytes at which a batch is full.
const BATCH_BYTES: usize = 1 << 20;
/// The longest pause before a second try; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(250);
/// The longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// When everything is compared again after the catalog denied something.
const COMPARE_AFTER_DENIAL: Duration = Duration::from_secs(15);
/// How long one question or command may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Wishes that are written with the same token.
struct Batch {
    token: Secret,
    wishes: Vec<Wish>,
    n_bytes: usize,
}

/// Tells and compares for as long as the agent runs.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut plan = Plan {
        compare_at: Instant::now(),
        has_compared: false,
        n_nodes: 1,
        was_cut_off: false,
        retry_after: RETRY_MIN,
    };
    loop {
        if Instant::now() >= plan.compare_at {
            plan.compare(&shared).await;
        }
        if !plan.has_compared {
            sleep_until(plan.compare_at).await;
            continue;
        }
        let Some(batch) = next_batch(&shared) else {
            tokio::select! {
                () = sleep_until(plan.compare_at) => {}
                () = shared.has_untold.notified() => {}
                () = shared.has_new_leader.notified() => plan.compare_anew(&shared),
            }
            continue;
        };
        match push(&shared, batch).await {
            Told::Granted => plan.was_heard(&shared),
            Told::Denied(_) => {
                plan.was_heard(&shared);
                plan.compare_at = plan.compare_at.min(Instant::now() + COMPARE_AFTER_DENIAL);
            }
            Told::Undecided(_) => sleep(plan.was_not_heard(&shared)).await,
        }
    }
}

/// When to compare, and when to try again.
struct Plan {
    compare_at: Instant,
    has_compared: bool,
    /// Nodes in the catalog, when that was asked last.
    n_nodes: usize,
    /// The catalog could not be reached, and has not been compared since.
    was_cut_off: bool,
    retry_after: Duration,
}

impl Plan {
    async fn compare(&mut self, shared: &Shared) {
        match compare(shared).await {
            Ok(n_nodes) => {
                let after = shared.change(|core, _| compare_after(n_nodes, core.local.chance()));
                self.compare_at = Instant::now() + after;
                (self.has_compared, self.n_nodes) = (true, n_nodes);
                (self.was_cut_off, self.retry_after) = (false, RETRY_MIN);
            }
            Err(refusal) => {
                tracing::warn!("the catalog could not be compared: {refusal}");
                self.compare_at = Instant::now() + self.was_not_heard(shared);
            }
        }
    }

    /// The catalog may be another than it was: it is compared soon, but not by all agents at once.
    fn compare_anew(&mut self, shared: &Shared) {
        let n_nodes = self.n_nodes;
        let after = shared.change(|core, _| compare_anew_after(n_nodes, core.local.chance()));
        self.compare_at = self.compare_at.min(Instant::now() + after);
    }

    fn was_heard(&mut self, shared: &Shared) {
        self.retry_after = RETRY_MIN;
        if std::mem::take(&mut self.was_cut_off) {
            self.compare_anew(shared);
        }
    }

    /// The pause before the next try. Chance takes up to half of it, so that agents that lost the
    /// same server do not come back as one.
    fn was_not_heard(&mut self, shared: &Shared) -> Duration {
        self.was_cut_off = true;
        let longest = self.retry_after;
        self.retry_after = (longest * 2).min(RETRY_MAX);
        shared.change(|core, _| core.local.chance().random_range(longest / 2..longest))
    }
}

/// Takes what has to be told, as far as it is written with one token.
fn next_batch(shared: &Shared) -> Option<Batch> {
    let mut core = shared.lock();
    let mut batch: Option<Batch> = None;
    while let Some(target) = core.local.next_target() {
        let token = core.token_of(target);
        if batch.as_ref().is_some_and(|batch| batch.is_full() || batch.token != token) {
            break;
        }
        let wish = core.local.next_wish(&shared.node)?;
        let batch = batch.get_or_insert(Batch { token, wishes: Vec::new(), n_bytes: 0 });
        batch.n_bytes += muster_model::encode(&wish.command).len();
        batch.wishes.push(wish);
    }
    batch
}

impl Batch {
    fn is_full(&self) -> bool {
        self.wishes.len() >= BATCH_COMMANDS_MAX || self.n_bytes >= BATCH_BYTES
    }
}

/// Tells one batch, and settles it. Gives the worst of what the catalog said.
async fn push(shared: &Shared, batch: Batch) -> Told {
    let call = call_with(batch.token);
    let commands: Vec<Command> = batch.wishes.iter().map(|wish| wish.command.clone()).collect();
    let mut answers = submit(shared, &call, commands).await;
    if let Err(refusal) = &answers
        && is_callers_fault(refusal)
        && batch.wishes.len() > 1
    {
        // One that does not fit must not keep the others from the catalog.
        let mut each = Vec::with_capacity(batch.wishes.len());
        for wish in &batch.wishes {
            match submit(shared, &call, vec![wish.command.clone()]).await {
                Ok(told) => each.extend(told),
                Err(refusal) => each.push(told_of(refusal)),
            }
        }
        answers = Ok(each);
    }
    let answers = answers.unwrap_or_else(|refusal| {
        let told = told_of(refusal);
        vec![told; batch.wishes.len()]
    });
    settle(shared, &batch.wishes, answers)
}

fn settle(shared: &Shared, wishes: &[Wish], answers: Vec<Told>) -> Told {
    let mut worst = Told::Granted;
    let mut core = shared.lock();
    for (wish, told) in wishes.iter().zip(answers) {
        core.settle(&wish.told, &told);
        match (&told, &worst) {
            (Told::Granted, _) => {
                tracing::debug!("the catalog was told of {:?}", wish.told[0].target);
            }
            (Told::Denied(_), Told::Undecided(_)) => {}
            (Told::Denied(why), _) => {
                tracing::warn!("the catalog does not take {:?}: {why}", wish.told[0].target);
                worst = told;
            }
            (Told::Undecided(why), Told::Undecided(_)) => {
                tracing::debug!("the catalog was not told of {:?}: {why}", wish.told[0].target);
            }
            (Told::Undecided(why), _) => {
                tracing::warn!("the catalog was not told of {:?}: {why}", wish.told[0].target);
                worst = told;
            }
        }
    }
    worst
}

/// Submits commands as one entry of the log; gives what was said to each.
async fn submit(
    shared: &Shared,
    call: &Call,
    mut commands: Vec<Command>,
) -> Result<Vec<Told>, Refusal> {
    let n_commands = commands.len();
    let command = match n_commands {
        1 => commands.remove(0),
        _ => Command::Batch { commands },
    };
    let outcomes = match shared.registry.submit(call, command).await?.outcome {
        Outcome::Batch(outcomes) if n_commands > 1 => outcomes,
        outcome => vec![outcome],
    };
    if outcomes.len() != n_commands {
        let n_outcomes = outcomes.len();
        let why = format!("{n_outcomes} outcomes for {n_commands} commands");
        return Err(Refusal::Internal(why));
    }
    Ok(outcomes.into_iter().map(told_by).collect())
}

fn told_by(outcome: Outcome) -> Told {
    match outcome {
        Outcome::Done => Told::Granted,
        Outcome::Denied(denial) => Told::Denied(Refusal::Invalid(denial.to_string())),
        other => Told::Denied(Refusal::Internal(format!("unexpected outcome {other:?}"))),
    }
}

fn told_of(refusal: Refusal) -> Told {
    match is_callers_fault(&refusal) {
        true => Told::Denied(refusal),
        false => Told::Undecided(refusal),
    }
}

fn is_callers_fault(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Invalid(_)
            | Refusal::Forbidden(_)
            | Refusal::TooLarge { .. }
            | Refusal::Unsupported(_)
    )
}

/// Compares what this agent vouches for with what the catalog says of its node, and marks what has
/// to be repaired. Gives how many nodes there are.
async fn compare(shared: &Shared) -> Result<usize, Refusal> {
    let call = call_with(Secret::default());
    let name = shared.node.name.clone();
    let query = Query::Node { name_or_id: name.clone() };
    let node = ask(shared, &call, &query).await?;
    let filter = CheckFilter { subject: CheckSubject::Node(name), ..CheckFilter::default() };
    let checks = ask(shared, &call, &Query::Checks(filter)).await?;
    let usage = ask(shared, &call, &Query::Usage).await?;
    let mut view = CatalogView::default();
    if let Body::Node(Some(detail)) = &node.answer.body {
        view.node = Some(&detail.node.value);
        view.instances = detail.instances.iter().map(|row| &row.value).collect();
    }
    if let Body::Checks(rows) = &checks.answer.body {
        view.checks = rows.iter().map(|row| &row.check.value).collect();
    }
    let n_nodes = match &usage.answer.body {
        Body::Usage(usage) => usage.n_nodes as usize,
        _ => 1,
    };
    shared.change(|core, _| core.local.compare(&shared.node, &view));
    Ok(n_nodes)
}

async fn ask(shared: &Shared, call: &Call, query: &Query) -> Result<Answered, Refusal> {
    shared.registry.ask(call, query, Freshness::Default).await
}

fn call_with(token: Secret) -> Call {
    let deadline = Some(Instant::now() + PATIENCE);
    Call { caller: Caller { token }, datacenter: None, deadline }
}
