//! The body of [`LocalAgent`].
//!
//! A verb answers once what it changed is saved and the catalog has it. Where the catalog cannot be
//! reached in time the verb is granted all the same: the agent vouches for it from then on, has it
//! on disk, and tells the catalog as soon as it can. Only what the catalog does not take is refused.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_health::check::Observation;
use muster_health::local::{CheckDeclaration, FileDeclarations, InstanceDeclaration, Unfit};
use muster_health::{Local, Moment};
use muster_model::command::Target;
use muster_model::definition::Source;
use muster_model::node::Origin;
use muster_model::{Node, Status, Text};
use muster_registry::call::Secret;
use muster_registry::local::{
    CheckTimes, Event, Identity, LocalCheckRegistration, LocalRegistration, NewEvent, Vouched,
};
use muster_registry::{Call, LocalAgent, Pending, Refusal, Registry};
use muster_world::World;
use rand::rngs::{SmallRng, StdRng};
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::core::{Core, Told};
use super::events::Events;
use super::journal::{Journal, JournalError, Saving};
use super::pusher;
use super::saved::Saved;
use crate::checks::{CheckTerms, Runner};
use crate::membership::Membership;
use crate::setup::Declared;

/// How long a verb waits for the catalog if its caller did not say.
const USUAL_PATIENCE: Duration = Duration::from_secs(10);
/// Observations on their way from the runners; they wait beyond it.
const OBSERVATIONS_MAX: usize = 4_096;
/// Observations that are taken in at once.
const OBSERVATIONS_AT_ONCE: usize = 256;

/// How a local agent is set up.
#[derive(Clone)]
pub struct LocalSetup {
    /// Who it is.
    pub identity: Identity,
    /// Where it keeps what clients registered.
    pub folder: PathBuf,
    /// What holds for its checks.
    pub terms: CheckTerms,
    /// The pool that spreads its events; nothing: it keeps them to itself.
    pub spread: Option<Arc<Membership>>,
}

/// The body of [`LocalAgent`]. Its tasks end with it.
pub struct Voucher {
    shared: Arc<Shared>,
    tasks: Vec<AbortHandle>,
}

/// What the body and its tasks share.
pub(super) struct Shared {
    pub(super) registry: Arc<dyn Registry>,
    /// This agent's node, as the catalog shall hold it.
    pub(super) node: Node,
    /// The catalog has something to be told.
    pub(super) has_untold: Notify,
    /// The catalog may be another than it was.
    pub(super) has_new_leader: Notify,
    identity: Identity,
    world: Arc<dyn World>,
    core: Arc<Mutex<Core>>,
    vouched: watch::Sender<Arc<Vouched>>,
    journal: Arc<Journal>,
    runner: Runner,
    events: Events,
    spread: Option<Arc<Membership>>,
    event_ids: Mutex<StdRng>,
    /// Something follows from time alone, and earlier than was known.
    has_earlier_deadline: Notify,
    started_at: Instant,
}

// ------------------------------------------------------------------------------------------------
// Starting and reloading
// ------------------------------------------------------------------------------------------------

impl Voucher {
    /// Takes up what clients registered before and what files declare, and begins to run checks and
    /// to tell the catalog.
    ///
    /// # Errors
    /// If what was saved cannot be read. Nothing is touched then; the operator must act.
    pub async fn start(
        world: Arc<dyn World>,
        registry: Arc<dyn Registry>,
        setup: LocalSetup,
        files: Declared,
    ) -> Result<Voucher, JournalError> {
        let local = Local::new(setup.terms.settings, SmallRng::from_seed(world.seed()));
        let core = Arc::new(Mutex::new(Core::new(local)));
        let all = {
            let core = core.clone();
            move || lock(&core).everything_saved()
        };
        let (journal, saved, keeping) = Journal::open(world.clone(), setup.folder, all).await?;
        let (observed, observations) = mpsc::channel(OBSERVATIONS_MAX);
        let vouched = watch::Sender::new(Arc::<Vouched>::default());
        let node = node_of(&setup.identity);
        let runner = Runner::new(
            world.clone(),
            registry.clone(),
            setup.terms,
            node.name.clone(),
            vouched.subscribe(),
            observed,
        );
        let shared = Arc::new(Shared {
            registry,
            node,
            has_untold: Notify::new(),
            has_new_leader: Notify::new(),
            identity: setup.identity,
            event_ids: Mutex::new(StdRng::from_seed(world.seed())),
            world,
            core,
            vouched,
            journal,
            runner,
            events: Events::new(),
            spread: setup.spread,
            has_earlier_deadline: Notify::new(),
            started_at: Instant::now(),
        });
        shared.restore(saved, files);
        let heard = shared.spread.as_ref().map(|spread| spread.events());
        let mut tasks = vec![
            tokio::spawn(keeping).abort_handle(),
            tokio::spawn(pusher::run(shared.clone())).abort_handle(),
            tokio::spawn(keep_time(shared.clone())).abort_handle(),
            tokio::spawn(take_in(shared.clone(), observations)).abort_handle(),
        ];
        tasks.extend(heard.map(|heard| tokio::spawn(listen(shared.clone(), heard)).abort_handle()));
        Ok(Voucher { shared, tasks })
    }

    /// Compares everything with the catalog soon, within a time that grows with the cluster: another
    /// leads, or servers are back that could not be reached.
    pub fn compare_anew(&self) {
        self.shared.has_new_leader.notify_one();
    }

    /// Compares everything with the catalog soon after each step of a count of leaders.
    pub fn follow_leaders(&mut self, mut n_leaders: watch::Receiver<u64>) {
        let shared = self.shared.clone();
        let following = async move {
            n_leaders.mark_unchanged();
            while n_leaders.changed().await.is_ok() {
                shared.has_new_leader.notify_one();
            }
        };
        self.tasks.push(tokio::spawn(following).abort_handle());
    }

    /// Puts other terms into effect, and replaces what definition files declared before. Checks keep
    /// their status and their last output. What does not fit is left out and given back; nothing else
    /// is held up by it.
    pub fn reload(&self, files: Declared, terms: CheckTerms) -> Vec<Refusal> {
        self.shared.change(|core, _| core.local.set_settings(terms.settings));
        self.shared.runner.set_terms(terms);
        self.shared.declare_files(files)
    }
}

impl Drop for Voucher {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Withdraws and expires what time alone withdraws and expires.
async fn keep_time(shared: Arc<Shared>) {
    loop {
        let deadline = shared.lock().local.next_deadline();
        let is_due = async {
            match deadline {
                Some(at) => sleep_until(shared.started_at + at.since_start()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = is_due => shared.change(|core, now| core.local.advance(now)),
            () = shared.has_earlier_deadline.notified() => {}
        }
    }
}

/// Takes in what the runners observe.
async fn take_in(shared: Arc<Shared>, mut observations: mpsc::Receiver<(Text, Observation)>) {
    let mut many = Vec::new();
    while observations.recv_many(&mut many, OBSERVATIONS_AT_ONCE).await > 0 {
        shared.change(|core, now| {
            for (check_id, observation) in many.drain(..) {
                core.local.observe(&check_id, observation, now);
            }
        });
    }
}

// ------------------------------------------------------------------------------------------------
// Changing what is vouched for
// ------------------------------------------------------------------------------------------------

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    /// Lets `make` change what is vouched for, and carries out what follows.
    pub(super) fn change<T>(&self, make: impl FnOnce(&mut Core, Moment) -> T) -> T {
        self.change_and_save(make).0
    }

    /// The same; gives what has to be waited for where something has to be saved.
    fn change_and_save<T>(&self, make: impl FnOnce(&mut Core, Moment) -> T) -> (T, Option<Saving>) {
        let now = self.now();
        let mut core = self.lock();
        let deadline = core.local.next_deadline();
        let made = make(&mut core, now);
        let effects = core.absorb();
        if effects.has_changed {
            self.vouched.send_replace(Arc::new(core.vouched.clone()));
        }
        // Under the lock, so that the order is that of the changes.
        let saving = match effects.records.is_empty() {
            true => None,
            false => Some(self.journal.append(&effects.records)),
        };
        for (check_id, definition) in effects.runs {
            self.runner.set(check_id, definition);
        }
        let is_earlier = match (core.local.next_deadline(), deadline) {
            (Some(now), Some(before)) => now < before,
            (now, before) => now.is_some() && before.is_none(),
        };
        let has_untold = !core.local.is_in_sync();
        drop(core);
        if is_earlier {
            self.has_earlier_deadline.notify_one();
        }
        if has_untold {
            self.has_untold.notify_one();
        }
        (made, saving)
    }

    fn restore(&self, saved: Saved, files: Declared) {
        let Saved { instances, checks, words } = saved;
        self.change(|core, now| {
            for saved in instances.into_values() {
                let target = Target::Instance(saved.instance.id.clone());
                core.set_token(target, saved.token.into());
                let instance = saved.instance;
                let declaration = InstanceDeclaration { instance, ..Default::default() };
                log_unfit(core.local.declare_instance(declaration, now));
            }
            for saved in checks.into_values() {
                let mut check = saved.check;
                core.set_token(Target::Check(check.id.clone()), saved.token.into());
                check.status = Status::Critical;
                let (definition, source) = (saved.definition, Source::Client);
                let declaration = CheckDeclaration { check, definition, source };
                log_unfit(core.local.declare_check(declaration, now));
            }
            for (check_id, definition) in core.absorb_restored() {
                self.runner.set(check_id, definition);
            }
            self.vouched.send_replace(Arc::new(core.vouched.clone()));
        });
        for refusal in self.declare_files(files) {
            tracing::warn!("a declaration of a definition file does not fit: {refusal}");
        }
        let wall_clock = self.world.wall_clock();
        self.change(|core, now| {
            for word in words.into_values() {
                let Some(rest) = word.holds_until.checked_sub(wall_clock) else { continue };
                let said = Observation { status: word.status, output: word.output };
                core.local.restore_word(&word.check_id, said, rest, now);
            }
        });
    }

    fn declare_files(&self, files: Declared) -> Vec<Refusal> {
        let mut refused = Vec::new();
        let mut tokens = Vec::new();
        let mut declared = FileDeclarations::default();
        for registration in files.instances {
            match self.admitted(registration, &Secret::default(), Source::File, &mut tokens) {
                Ok(declaration) => declared.instances.push(declaration),
                Err(refusal) => refused.push(refusal),
            }
        }
        for check in files.checks {
            match self.admitted_check(check, &Secret::default(), Source::File, &mut tokens) {
                Ok(declaration) => declared.checks.push(declaration),
                Err(refusal) => refused.push(refusal),
            }
        }
        let unfit = self.change(|core, now| {
            let unfit = core.local.reload(declared, now);
            tokens.into_iter().for_each(|(target, token)| core.set_token(target, token));
            unfit
        });
        refused.extend(unfit.into_iter().map(refusal_of));
        refused
    }

    /// The declaration that a registration comes to, if its checks are allowed; with the tokens to
    /// write it with.
    fn admitted(
        &self,
        registration: LocalRegistration,
        callers: &Secret,
        source: Source,
        tokens: &mut Vec<(Target, Secret)>,
    ) -> Result<InstanceDeclaration, Refusal> {
        let LocalRegistration { instance, checks, replace_checks, token, .. } = registration;
        let token = if token.reveal().is_empty() { callers.clone() } else { token };
        let mut own = Vec::with_capacity(checks.len());
        let mut check_tokens = Vec::with_capacity(checks.len());
        for check in checks {
            self.runner.terms().allowed.admit(&check.definition, source)?;
            check_tokens.push(if check.token.reveal().is_empty() {
                token.clone()
            } else {
                check.token
            });
            let (check, definition) = (check.check, check.definition);
            own.push(CheckDeclaration { check, definition, source });
        }
        let mut declaration = InstanceDeclaration { instance, checks: own, replace_checks, source };
        declaration.name();
        tokens.push((Target::Instance(declaration.instance.id.clone()), token));
        let ids = declaration.checks.iter().map(|own| Target::Check(own.check.id.clone()));
        tokens.extend(ids.zip(check_tokens));
        Ok(declaration)
    }

    fn admitted_check(
        &self,
        registration: LocalCheckRegistration,
        callers: &Secret,
        source: Source,
        tokens: &mut Vec<(Target, Secret)>,
    ) -> Result<CheckDeclaration, Refusal> {
        let LocalCheckRegistration { check, definition, token, .. } = registration;
        self.runner.terms().allowed.admit(&definition, source)?;
        let token = if token.reveal().is_empty() { callers.clone() } else { token };
        let mut declaration = CheckDeclaration { check, definition, source };
        declaration.name();
        tokens.push((Target::Check(declaration.check.id.clone()), token));
        Ok(declaration)
    }

    /// Makes a change that a caller asked for, and waits until it is saved and the catalog knows.
    async fn grant(
        &self,
        call: &Call,
        make: impl FnOnce(&mut Core, Moment) -> Result<Target, Unfit>,
    ) -> Result<(), Refusal> {
        let (told, saving) = self.change_and_save(|core, now| {
            let target = make(core, now).map_err(refusal_of)?;
            Ok(core.wait_for(target))
        });
        let heard = match told? {
            Some(told) => heard_by_catalog(call, told).await,
            None => Ok(()),
        };
        // The catalog takes longer: whoever waits for it first is woken once.
        if let Some(saving) = saving {
            saved(saving).await?;
        }
        heard
    }

    fn now(&self) -> Moment {
        Moment::after_start(self.started_at.elapsed())
    }
}

async fn saved(saving: Saving) -> Result<(), Refusal> {
    match saving.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(Refusal::Internal(format!(
            "done, but it could not be saved and would not survive a restart: {why}"
        ))),
        Err(_) => Err(Refusal::Stopping),
    }
}

async fn heard_by_catalog(call: &Call, told: oneshot::Receiver<Told>) -> Result<(), Refusal> {
    let deadline = call.deadline.unwrap_or_else(|| Instant::now() + USUAL_PATIENCE);
    match timeout_at(deadline, told).await {
        Ok(Ok(Told::Denied(refusal))) => Err(refusal),
        Ok(Ok(Told::Granted | Told::Undecided(_))) | Err(_) => Ok(()),
        Ok(Err(_)) => Err(Refusal::Stopping),
    }
}

fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    // The rules do not leave their memory half changed, and nothing foreign runs under the lock.
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

fn log_unfit<T>(declared: Result<T, Unfit>) {
    if let Err(unfit) = declared {
        tracing::warn!("something that was saved does not fit: {unfit}");
    }
}

fn refusal_of(unfit: Unfit) -> Refusal {
    match unfit {
        Unfit::UnknownInstance(_) | Unfit::UnknownCheck(_) => Refusal::Unknown(unfit.to_string()),
        Unfit::NotTtl(_) | Unfit::Nameless(_) => Refusal::Invalid(unfit.to_string()),
        Unfit::TooMany { .. } => Refusal::Unsupported(unfit.to_string()),
    }
}

/// An agent's node as the catalog holds it.
pub fn node_of(identity: &Identity) -> Node {
    Node {
        name: identity.node.clone(),
        id: identity.node_id.clone(),
        address: identity.address.clone(),
        tagged_addresses: identity.tagged_addresses.clone(),
        meta: identity.node_meta.clone(),
        locality: identity.locality.clone(),
        origin: Origin::Agent,
    }
}

// ------------------------------------------------------------------------------------------------
// The verbs
// ------------------------------------------------------------------------------------------------

impl LocalAgent for Voucher {
    fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    fn vouched(&self) -> watch::Receiver<Arc<Vouched>> {
        self.shared.vouched.subscribe()
    }

    fn register<'a>(
        &'a self,
        call: &'a Call,
        registration: LocalRegistration,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let mut tokens = Vec::new();
            let (callers, source) = (&call.caller.token, registration.source);
            let declaration = self.shared.admitted(registration, callers, source, &mut tokens)?;
            let target = Target::Instance(declaration.instance.id.clone());
            let declare = |core: &mut Core, now| {
                core.local.declare_instance(declaration, now)?;
                tokens.into_iter().for_each(|(target, token)| core.set_token(target, token));
                Ok(target)
            };
            self.shared.grant(call, declare).await
        })
    }

    fn deregister<'a>(
        &'a self,
        call: &'a Call,
        instance_id: &'a Text,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(self.shared.grant(call, move |core, _| {
            core.local.withdraw_instance(instance_id)?;
            Ok(Target::Instance(instance_id.clone()))
        }))
    }

    fn register_check<'a>(
        &'a self,
        call: &'a Call,
        check: LocalCheckRegistration,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let mut tokens = Vec::new();
            let (callers, source) = (&call.caller.token, check.source);
            let declaration = self.shared.admitted_check(check, callers, source, &mut tokens)?;
            let declare = |core: &mut Core, now| {
                let id = core.local.declare_check(declaration, now)?;
                tokens.into_iter().for_each(|(target, token)| core.set_token(target, token));
                Ok(Target::Check(id))
            };
            self.shared.grant(call, declare).await
        })
    }

    fn deregister_check<'a>(
        &'a self,
        call: &'a Call,
        check_id: &'a Text,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(self.shared.grant(call, move |core, _| {
            core.local.withdraw_check(check_id)?;
            Ok(Target::Check(check_id.clone()))
        }))
    }

    fn renew_check<'a>(
        &'a self,
        call: &'a Call,
        check_id: &'a Text,
        status: Status,
        output: Text,
    ) -> Pending<'a, Result<(), Refusal>> {
        let wall_clock = self.shared.world.wall_clock();
        let said = Observation { status, output };
        Box::pin(self.shared.grant(call, move |core, now| {
            let heard = core.local.renew(check_id, said, now)?;
            let is_news = heard != muster_health::check::Heard::Nothing;
            if let Some(word) = core.word_everything_saved(check_id, is_news, now, wall_clock) {
                self.shared.journal.hint(&word);
            }
            Ok(Target::Check(check_id.clone()))
        }))
    }

    fn check_times(&self, check_id: &str) -> Option<CheckTimes> {
        let now = self.shared.now();
        let core = self.shared.lock();
        let own = core.local.check(check_id)?;
        let pulse = own.pulse();
        let ago = |at: Option<Moment>| at.map(|at| now.since(at));
        let after = |at: Option<Moment>| at.map(|at| at.since(now));
        let is_about_instance = !own.check.is_about_node();
        let deregisters_at = pulse.deregisters_at(&own.definition).filter(|_| is_about_instance);
        Some(CheckTimes {
            status_for: ago(pulse.status_since()),
            heard_ago: ago(pulse.heard_at()),
            expires_after: after(pulse.expires_at()),
            deregisters_after: after(deregisters_at),
        })
    }

    fn maintain<'a>(
        &'a self,
        call: &'a Call,
        instance_id: Option<&'a Text>,
        off: Option<Text>,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(self.shared.grant(call, move |core, now| {
            Ok(Target::Check(core.local.maintain(instance_id, off, now)?))
        }))
    }

    fn fire<'a>(
        &'a self,
        _call: &'a Call,
        event: NewEvent,
    ) -> Pending<'a, Result<Arc<Event>, Refusal>> {
        Box::pin(self.shared.fire(event))
    }

    fn events(&self) -> watch::Receiver<Arc<[Arc<Event>]>> {
        self.shared.events.watch()
    }
}

impl Shared {
    async fn fire(&self, event: NewEvent) -> Result<Arc<Event>, Refusal> {
        let bytes = {
            let mut chance = self.event_ids.lock().unwrap_or_else(PoisonError::into_inner);
            chance.random()
        };
        let id = Text::from(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string());
        let body = Events::pack(&event, &id)?;
        let Some(spread) = &self.spread else {
            let lamport_time = self.events.next_time();
            let fired = Arc::new(Event { id, fired: event, lamport_time });
            self.hear(fired.clone());
            return Ok(fired);
        };
        let lamport_time = spread.fire(&event.name, body).await?;
        Ok(Arc::new(Event { id, fired: event, lamport_time }))
    }

    fn hear(&self, event: Arc<Event>) {
        let vouched = self.vouched.borrow().clone();
        self.events.take_in(event, &self.identity, &vouched);
    }
}

/// Takes in what gossip brings, this agent's own events among it.
async fn listen(shared: Arc<Shared>, mut events: broadcast::Receiver<muster_gossip::event::Event>) {
    loop {
        match events.recv().await {
            Ok(event) => match Events::unpack(&event.name, &event.payload, event.time) {
                Some(event) => shared.hear(Arc::new(event)),
                None => tracing::debug!(name = event.name, "an event is not understood"),
            },
            Err(broadcast::error::RecvError::Lagged(n)) => {
                tracing::warn!(n, "events came faster than they were taken in");
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
