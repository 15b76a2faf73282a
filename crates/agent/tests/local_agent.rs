//! What an agent vouches for, over a registry without a log and a disk in memory. The clock is held
//! still by tokio and moves only where a test waits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_agent::checks::{Allowed, CheckTerms};
use muster_agent::local::{LocalSetup, Voucher};
use muster_agent::setup::Declared;
use muster_health::check::Settings;
use muster_model::answer::Body;
use muster_model::command::{Registration, Target};
use muster_model::definition::{CheckDefinition, Rule, Source};
use muster_model::node::Origin;
use muster_model::query::{CheckFilter, CheckSubject};
use muster_model::{Check, Command, Instance, Node, Query, Scope, Status, Text};
use muster_registry::local::{
    EVENTS_KEPT, Identity, LocalCheckRegistration, LocalRegistration, NewEvent,
};
use muster_registry::{Call, LocalAgent, Refusal, Registry};
use muster_testkit::Bench;
use muster_world::memory::Faults;
use muster_world::{Memory, Real};
use tokio::time::{Instant, timeout};

const MINUTE: Duration = Duration::from_secs(60);

struct House {
    bench: Arc<Bench>,
    disk: Memory,
    call: Call,
}

impl House {
    fn new() -> House {
        House { bench: Bench::new(), disk: Memory::new(), call: Call::default() }
    }

    async fn agent(&self) -> Voucher {
        self.agent_with(Declared::default()).await.expect("an empty or good disk is taken up")
    }

    async fn agent_with(&self, files: Declared) -> Result<Voucher, String> {
        let identity = Identity {
            node: "n1".into(),
            node_id: "11111111-2222-3333-4444-555555555555".into(),
            address: "127.0.0.1".into(),
            ..Identity::default()
        };
        let setup = LocalSetup {
            identity,
            folder: PathBuf::from("/data/local"),
            terms: CheckTerms::default(),
            spread: None,
        };
        let world = Arc::new(Real::with_files(Arc::new(self.disk.clone())));
        let started = Voucher::start(world, self.bench.clone(), setup, files).await;
        started.map_err(|error| error.to_string())
    }

    /// The catalog's checks of the node, once `is_it` says yes to them.
    async fn checks_once(&self, is_it: impl Fn(&[(Text, Status)]) -> bool) {
        let subject = CheckSubject::Node("n1".into());
        let query = Query::Checks(CheckFilter { subject, ..CheckFilter::default() });
        let waiting = async {
            loop {
                let answered = self.bench.answer(&query);
                let Body::Checks(rows) = &answered.answer.body else { panic!("not checks") };
                let now: Vec<_> =
                    rows.iter().map(|row| (row.check.id.clone(), row.check.status)).collect();
                if is_it(&now) {
                    return;
                }
                let scopes = [Scope::Node("n1".into())];
                let mut changes = self.bench.changes(&self.call, &scopes, answered.as_of);
                changes.touched().await;
            }
        };
        timeout(30 * MINUTE, waiting).await.expect("the catalog hears of it");
    }

    fn instances(&self) -> Vec<Text> {
        let answered = self.bench.answer(&Query::Node { name_or_id: "n1".into() });
        let Body::Node(Some(node)) = &answered.answer.body else { return Vec::new() };
        node.instances.iter().map(|row| row.id.clone()).collect()
    }
}

fn web(checks: Vec<LocalCheckRegistration>) -> LocalRegistration {
    let instance = Instance { service: "web".into(), port: 80, ..Instance::default() };
    LocalRegistration { instance, checks, ..LocalRegistration::default() }
}

fn ttl(id: &str, seconds: u64) -> LocalCheckRegistration {
    let rule = Rule::Ttl { ttl: Duration::from_secs(seconds) };
    LocalCheckRegistration {
        check: Check { id: id.into(), name: id.into(), ..Check::default() },
        definition: CheckDefinition { rule, ..CheckDefinition::default() },
        ..LocalCheckRegistration::default()
    }
}

fn alias(id: &str, of: &str) -> LocalCheckRegistration {
    let rule = Rule::Alias { node: Text::default(), instance_id: of.into() };
    LocalCheckRegistration {
        definition: CheckDefinition { rule, ..CheckDefinition::default() },
        ..ttl(id, 0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_is_in_the_catalog_when_it_is_granted_and_gone_when_withdrawn() {
    let house = House::new();
    let agent = house.agent().await;
    agent.register(&house.call, web(vec![ttl("", 10)])).await.unwrap();
    assert_eq!(house.instances(), ["web"]);
    assert!(agent.vouched().borrow().check("service:web").is_some());
    house.checks_once(|checks| checks == [("service:web".into(), Status::Critical)]).await;

    agent.deregister(&house.call, &"web".into()).await.unwrap();
    assert!(house.instances().is_empty());
    assert_eq!(agent.vouched().borrow().n_checks(), 0);
    let again = agent.deregister(&house.call, &"web".into()).await;
    assert!(matches!(again, Err(Refusal::Unknown(_))), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn many_registrations_at_once_are_few_entries_of_the_log() {
    let house = House::new();
    let agent = house.agent().await;
    agent.register(&house.call, web(vec![])).await.unwrap();
    let before = house.bench.state().index();
    let registering = (0..200).map(|number| {
        let mut registration = web(vec![]);
        registration.instance.id = format!("web-{number}").into();
        agent.register(&house.call, registration)
    });
    for granted in futures_util::future::join_all(registering).await {
        granted.unwrap();
    }
    assert_eq!(house.instances().len(), 201);
    let n_entries = house.bench.state().index() - before;
    assert!(n_entries < 10, "{n_entries} entries for 200 registrations");
}

#[tokio::test(start_paused = true)]
async fn a_ttl_check_follows_its_callers_word_and_expires_without_one() {
    let house = House::new();
    let agent = house.agent().await;
    agent.register(&house.call, web(vec![ttl("t", 10)])).await.unwrap();
    let id = Text::from("t");
    agent.renew_check(&house.call, &id, Status::Passing, "fine".into()).await.unwrap();
    house.checks_once(|checks| checks == [(id.clone(), Status::Passing)]).await;
    let before = house.bench.state().index();
    for _ in 0..5 {
        agent.renew_check(&house.call, &id, Status::Passing, "fine".into()).await.unwrap();
    }
    assert_eq!(
        house.bench.state().index(),
        before,
        "a renewal that says nothing new costs nothing"
    );
    house.checks_once(|checks| checks == [(id.clone(), Status::Critical)]).await;
    let vouched = agent.vouched().borrow().clone();
    let output = &vouched.check("t").unwrap().check.output;
    assert_eq!(output, "TTL expired (last output before timeout follows): fine");
}

#[tokio::test(start_paused = true)]
async fn what_clients_registered_survives_a_power_cut_and_so_does_an_unexpired_word() {
    let mut house = House::new();
    let agent = house.agent().await;
    agent.register(&house.call, web(vec![ttl("t", 600)])).await.unwrap();
    agent.renew_check(&house.call, &"t".into(), Status::Passing, "fine".into()).await.unwrap();
    agent.maintain(&house.call, None, Some("upgrade".into())).await.unwrap();
    drop(agent);
    house.disk = house.disk.power_cut(1);
    let agent = house.agent().await;
    let vouched = agent.vouched().borrow().clone();
    assert_eq!(vouched.instance("web").unwrap().instance.port, 80);
    assert_eq!(vouched.check("t").unwrap().check.status, Status::Passing);
    assert_eq!(vouched.check("_node_maintenance").unwrap().check.notes, "upgrade");
    agent.maintain(&house.call, None, None).await.unwrap();
    assert_eq!(house.instances(), ["web"]);
}

#[tokio::test(start_paused = true)]
async fn what_clients_registered_is_listed_right_after_a_restart() {
    let house = House::new();
    let agent = house.agent().await;
    agent.register(&house.call, web(Vec::new())).await.unwrap();
    drop(agent);

    let agent = house.agent().await;
    assert_eq!(agent.vouched().borrow().n_instances(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_catalog_is_repaired_and_what_others_wrote_there_stays() {
    let house = House::new();
    let agent = house.agent().await;
    agent.register(&house.call, web(vec![])).await.unwrap();
    let node = Node { name: "n1".into(), ..Node::default() };
    let put = |id: &str, origin| {
        let instance =
            Instance { id: id.into(), service: id.into(), origin, ..Instance::default() };
        let instance = Some(instance);
        let registration =
            Registration { node: node.clone(), keep_node: true, instance, checks: vec![] };
        house.bench.apply(Command::Register(registration));
    };
    put("external", Origin::Catalog);
    put("stray", Origin::Agent);
    let target = Target::Instance("web".into());
    house.bench.apply(Command::Deregister { node: "n1".into(), target });
    let repaired = async {
        while house.instances() != ["external", "web"] {
            let after = house.bench.state().index();
            let scopes = [Scope::Node("n1".into())];
            house.bench.changes(&house.call, &scopes, after).touched().await;
        }
    };
    timeout(3 * MINUTE, repaired).await.expect("everything is compared within two minutes");
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_a_registration_is_kept_and_told_later() {
    let house = House::new();
    let agent = house.agent().await;
    agent.register(&house.call, web(vec![])).await.unwrap();
    house.bench.refuse(Some(Refusal::NoLeader));
    let mut second = web(vec![]);
    second.instance.id = "web-2".into();
    agent.register(&house.call, second).await.unwrap();
    assert_eq!(house.instances(), ["web"]);
    house.bench.refuse(None);
    let told = async {
        while house.instances().len() < 2 {
            let after = house.bench.state().index();
            let scopes = [Scope::Node("n1".into())];
            house.bench.changes(&house.call, &scopes, after).touched().await;
        }
    };
    timeout(MINUTE, told).await.expect("it is told once there is a leader");
}

#[tokio::test(start_paused = true)]
async fn everything_is_compared_soon_after_servers_come_back_and_when_another_leads() {
    let house = House::new();
    let agent = house.agent().await;
    agent.register(&house.call, web(vec![])).await.unwrap();
    let wreck = || {
        house.bench.apply(Command::Deregister {
            node: "n1".into(),
            target: Target::Instance("web".into()),
        });
        assert!(house.instances().is_empty());
    };
    // Repaired in less time than passes between two comparisons.
    let is_repaired = || async {
        let scopes = [Scope::Node("n1".into())];
        while house.instances() != ["web"] {
            house.bench.changes(&house.call, &scopes, house.bench.state().index()).touched().await;
        }
    };
    wreck();
    agent.compare_anew();
    timeout(Duration::from_secs(6), is_repaired()).await.expect("another leads");

    house.bench.refuse(Some(Refusal::NoLeader));
    let mut other = web(vec![]);
    other.instance.id = "other".into();
    let call = Call { deadline: Some(Instant::now()), ..Call::default() };
    agent.register(&call, other).await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    wreck();
    house.bench.refuse(None);
    let both = async {
        let scopes = [Scope::Node("n1".into())];
        while house.instances().len() < 2 {
            house.bench.changes(&house.call, &scopes, house.bench.state().index()).touched().await;
        }
    };
    timeout(Duration::from_secs(10), both).await.expect("the servers are back");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_saved_is_said() {
    let house = House::new();
    let agent = house.agent().await;
    house.disk.set_faults(Faults { syncs_fail: true, ..Faults::default() });
    let refused = agent.register(&house.call, web(vec![])).await;
    assert!(matches!(refused, Err(Refusal::Internal(_))), "{refused:?}");
    house.disk.set_faults(Faults::default());
    agent.register(&house.call, web(vec![])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn files_read_again_replace_what_files_said_and_are_not_saved() {
    let house = House::new();
    let files = |port| {
        let mut registration = web(vec![ttl("t", 60)]);
        registration.instance.port = port;
        registration.source = Source::File;
        Declared { instances: vec![registration], checks: vec![] }
    };
    let agent = house.agent_with(files(1)).await.unwrap();
    agent.renew_check(&house.call, &"t".into(), Status::Passing, "".into()).await.unwrap();
    assert!(agent.reload(files(2), CheckTerms::default()).is_empty());
    let vouched = agent.vouched().borrow().clone();
    assert_eq!(vouched.instance("web").unwrap().instance.port, 2);
    assert_eq!(vouched.check("t").unwrap().check.status, Status::Passing);
    drop(agent);
    let agent = house.agent().await;
    assert_eq!(agent.vouched().borrow().n_instances(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_script_in_a_file_that_is_not_allowed_is_left_out_and_named() {
    let house = House::new();
    let agent = house.agent().await;
    let mut script = ttl("s", 0);
    script.definition.rule = Rule::Script { args: vec!["true".into()] };
    let files = Declared { instances: vec![web(vec![])], checks: vec![script] };
    let refused = agent.reload(files, CheckTerms::default());
    assert!(refused[0].to_string().contains("enable_local_script_checks"), "{refused:?}");
    assert_eq!(agent.vouched().borrow().n_instances(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_what_checks_may_do_and_how_much_they_say_is_kept() {
    let house = House::new();
    let agent = house.agent().await;
    agent.register(&house.call, web(vec![ttl("t", 600)])).await.unwrap();
    let mut script = ttl("s", 0);
    script.definition.rule = Rule::Script { args: vec!["true".into()] };
    let refused = agent.register_check(&house.call, script.clone()).await;
    assert!(matches!(refused, Err(Refusal::Invalid(_))), "{refused:?}");
    let say = "0123456789".repeat(100);
    let kept = || agent.vouched().borrow().check("t").unwrap().check.output.clone();
    agent
        .renew_check(&house.call, &"t".into(), Status::Passing, say.as_str().into())
        .await
        .unwrap();
    assert_eq!(kept().len(), say.len());

    let allowed = Allowed { scripts_of_clients: true, ..Allowed::default() };
    let settings = Settings { output_bytes_max: 100, ..Settings::default() };
    let terms = CheckTerms { allowed, settings };
    assert!(agent.reload(Declared::default(), terms).is_empty());
    assert_eq!(kept().len(), say.len(), "what was said before stays");
    agent
        .renew_check(&house.call, &"t".into(), Status::Warning, say.as_str().into())
        .await
        .unwrap();
    assert!(kept().len() <= 100, "{}", kept());
    agent.register_check(&house.call, script).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_alias_follows_its_target() {
    let house = House::new();
    let agent = house.agent().await;
    agent.register(&house.call, web(vec![ttl("t", 600)])).await.unwrap();
    agent.register_check(&house.call, alias("a", "web")).await.unwrap();
    let statuses =
        |t, a| move |checks: &[(Text, Status)]| *checks == [("a".into(), a), ("t".into(), t)];
    // The alias is about the node, and so about each of its instances: it does not see itself.
    agent.renew_check(&house.call, &"t".into(), Status::Passing, "".into()).await.unwrap();
    house.checks_once(statuses(Status::Passing, Status::Passing)).await;
    agent.renew_check(&house.call, &"t".into(), Status::Warning, "slow".into()).await.unwrap();
    house.checks_once(statuses(Status::Warning, Status::Warning)).await;
    agent.deregister(&house.call, &"web".into()).await.unwrap();
    house.checks_once(|checks| checks == [("a".into(), Status::Critical)]).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_events_are_kept_and_those_for_others_are_not() {
    let house = House::new();
    let agent = house.agent().await;
    let event = |name: String| NewEvent { name: name.into(), ..NewEvent::default() };
    let elsewhere = NewEvent { node_filter: "^other$".into(), ..event("elsewhere".into()) };
    agent.fire(&house.call, elsewhere).await.unwrap();
    for number in 0..EVENTS_KEPT + 10 {
        agent.fire(&house.call, event(number.to_string())).await.unwrap();
    }
    let kept = agent.events().borrow().clone();
    assert_eq!(kept.len(), EVENTS_KEPT);
    assert_eq!(kept[0].fired.name, "10");
    assert!(kept.windows(2).all(|pair| pair[0].lamport_time < pair[1].lamport_time));
    let broken = NewEvent { node_filter: "(".into(), ..event("broken".into()) };
    assert!(matches!(agent.fire(&house.call, broken).await, Err(Refusal::Invalid(_))));
}
