//! Whole servers in one process, over real sockets on loopback: they find each other, agree, and go
//! on without the one that is gone.
#![allow(clippy::unwrap_used, reason = "this is test code")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_agent::ports::PortSetup;
use muster_agent::{
    Agent, ConsensusSettings, Folder, GossipSettings, GossipSetup, GuardSettings, Joins, Ports,
    Setup, short_id, telemetry,
};
use muster_model::answer::Body;
use muster_model::command::PutTerms;
use muster_model::pair::Blob;
use muster_model::query::{CheckFilter, CheckSubject};
use muster_model::server_care::ServerCare;
use muster_model::session::Session;
use muster_model::{Command, LeaseId, Query, Status, Text};
use muster_registry::cluster::{MemberStatus, Pool, ServerKey};
use muster_registry::local::Identity;
use muster_registry::operator::{LogLevel, SettingValue};
use muster_registry::{Call, Freshness, Operator, Refusal, Registry};
use muster_world::{Memory, Real, World};
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take here before it counts as never.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(10);

/// Asks again and again until something holds.
async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(GLANCE).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{what}: not in {PATIENCE:?}"))
}

fn identity(number: u8) -> Identity {
    Identity {
        node: format!("s{number}").into(),
        node_id: format!("{number:02}000000-0000-4000-8000-000000000000").into(),
        datacenter: "dc1".into(),
        primary_datacenter: "dc1".into(),
        is_server: true,
        address: "127.0.0.1".into(),
        version: "test",
        ..Identity::default()
    }
}

fn setup(number: u8, expects: usize, join: Option<SocketAddr>) -> Setup {
    let quick = |settings: GossipSettings| GossipSettings {
        probe_interval: Duration::from_millis(200),
        probe_timeout: Duration::from_millis(100),
        ..settings
    };
    let joins = Joins {
        addresses: join.iter().map(ToString::to_string).collect(),
        interval: Duration::from_millis(500),
        tries_max: 0,
    };
    Setup {
        identity: identity(number),
        data_folder: PathBuf::from("/data"),
        consensus: ConsensusSettings { reserve_bytes: 0, ..ConsensusSettings::default() },
        expects,
        care: ServerCare { stabilization: Duration::from_millis(200), ..ServerCare::default() },
        gossip: GossipSetup {
            lan: quick(GossipSettings::lan()),
            lan_joins: joins,
            ..GossipSetup::default()
        },
        guard: GuardSettings::default(),
        authority: None,
        write_timeout: Duration::from_secs(7),
        reload: Arc::new(|| Box::pin(std::future::ready(Ok(Vec::new())))),
        settings: SettingValue::Absent,
        api_version: "1.22.6".into(),
    }
}

async fn start(setup: Setup) -> Arc<Agent> {
    start_on(&Memory::new(), setup).await
}

async fn start_on(disk: &Memory, setup: Setup) -> Arc<Agent> {
    let world: Arc<dyn World> = Arc::new(Real::with_files(Arc::new(disk.clone())));
    let id = uuid::Uuid::parse_str(&setup.identity.node_id).unwrap();
    let inside = world.clone();
    let folder = tokio::task::spawn_blocking(move || {
        Folder::open(inside, Path::new("/data"), Some(short_id(id.as_bytes())))
    });
    let at = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let ports = Ports::bind(&*world, &PortSetup { server: at, lan: at, wan: Some(at) }).unwrap();
    let logs = telemetry::start(world.clone(), LogLevel::Error, telemetry::Style::Plain);
    Agent::start(world, logs, folder.await.unwrap().unwrap(), setup, ports).await.unwrap()
}

fn gossip_address(agent: &Agent) -> SocketAddr {
    let own = agent.members(Pool::Lan).remove(0);
    SocketAddr::new(own.address.parse().unwrap(), own.port)
}

/// Three servers that found a group together.
async fn three() -> Vec<Arc<Agent>> {
    let first = start(setup(1, 3, None)).await;
    let join = Some(gossip_address(&first));
    let servers = vec![first, start(setup(2, 3, join)).await, start(setup(3, 3, join)).await];
    for server in &servers {
        until("a leader", async || server.leadership().borrow().leader.clone()).await;
    }
    servers
}

async fn put(agent: &Agent, key: &str, value: &str) -> Result<(), Refusal> {
    let (key, value) = (key.into(), Blob::from(value.as_bytes()));
    let command = Command::PutPair { key, value, flags: 0, terms: PutTerms::Always };
    agent.submit(&Call::default(), command).await.map(drop)
}

async fn value(agent: &Agent, key: &str, freshness: Freshness) -> Option<String> {
    let query = Query::Pair { key: key.into() };
    let answered = agent.ask(&Call::default(), &query, freshness).await.ok()?;
    match &answered.answer.body {
        Body::Pair(Some(pair)) => Some(String::from_utf8_lossy(&pair.value.value).into_owned()),
        _ => None,
    }
}

fn leader(servers: &[Arc<Agent>]) -> Option<usize> {
    servers.iter().position(|server| server.leadership().borrow().is_leader)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_agree_and_go_on_without_their_leader() {
    let mut servers = three().await;
    for (n, server) in servers.iter().enumerate() {
        put(server, &format!("from-{n}"), "1").await.unwrap();
    }
    for server in &servers {
        for n in 0..3 {
            let read = value(server, &format!("from-{n}"), Freshness::Default).await;
            assert_eq!(read.as_deref(), Some("1"));
        }
    }
    let gone = until("who leads", async || leader(&servers)).await;
    let dead = servers.remove(gone);
    let name = dead.members(Pool::Lan).iter().find(|m| m.status == MemberStatus::Alive).cloned();
    assert!(name.is_some());
    dead.shutdown().await;
    drop(dead);
    // A write that was on its way to who is gone may have been lost: its client asks again.
    until("a write is taken", async || put(&servers[0], "after", "2").await.ok()).await;
    assert_eq!(value(&servers[1], "after", Freshness::Default).await.as_deref(), Some("2"));

    let status = async |wanted: Status| {
        let subject = CheckSubject::WithStatus(wanted);
        let query = Query::Checks(CheckFilter { subject, ..CheckFilter::default() });
        let answered = servers[0].ask(&Call::default(), &query, Freshness::Default).await.ok()?;
        match &answered.answer.body {
            Body::Checks(rows) => rows.first().map(|row| row.node.name.clone()),
            _ => None,
        }
    };
    let failed: Text =
        until("the catalog says who failed", async || status(Status::Critical).await).await;
    assert_eq!(*failed, format!("s{}", gone + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_renewed_at_a_server_that_does_not_lead() {
    let servers = three().await;
    let follower =
        until("a follower", async || leader(&servers).map(|leader| &servers[(leader + 1) % 3]))
            .await;
    until("its node", async || {
        let query = Query::Node { name_or_id: "s1".into() };
        let answered = follower.ask(&Call::default(), &query, Freshness::Default).await.ok()?;
        matches!(&answered.answer.body, Body::Node(Some(_))).then_some(())
    })
    .await;
    let id = Text::from("00000000-0000-4000-8000-0000000000aa");
    let session = Session {
        id: id.clone(),
        node: "s1".into(),
        ttl: Duration::from_secs(10),
        ..Session::default()
    };
    follower.submit(&Call::default(), Command::CreateSession(session)).await.unwrap();
    let lease = LeaseId::Session(id);
    follower.renew(&Call::default(), &lease).await.unwrap();
    let unknown = LeaseId::Session("00000000-0000-4000-8000-0000000000bb".into());
    let refused = follower.renew(&Call::default(), &unknown).await.unwrap_err();
    assert!(matches!(refused, Refusal::Unknown(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_of_what_is_not_there_is_refused_by_a_leader_that_has_written_nothing_yet() {
    let disk = Memory::new();
    let first = start_on(&disk, setup(1, 1, None)).await;
    put(&first, "early", "1").await.unwrap();
    first.shutdown().await;
    drop(first);
    let again = start_on(&disk.kill(), setup(1, 1, None)).await;
    let unknown = LeaseId::Session("00000000-0000-4000-8000-0000000000bb".into());
    let renewed = tokio::spawn(async move { again.renew(&Call::default(), &unknown).await });
    let refused = timeout(PATIENCE, renewed).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(refused, Refusal::Unknown(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_joins_votes_hands_over_and_leaves() {
    let first = start(setup(1, 1, None)).await;
    put(&first, "early", "1").await.unwrap();
    let second = start(setup(2, 0, Some(gossip_address(&first)))).await;
    let call = Call::default();
    let voters = async || {
        let view = first.raft(&call, Freshness::Default).await.ok()?;
        Some(view.servers.iter().filter(|server| server.is_voter).count())
    };
    until("the second votes", async || (voters().await? == 2).then_some(())).await;
    assert_eq!(value(&second, "early", Freshness::Default).await.as_deref(), Some("1"));

    let next = identity(2).node_id;
    first.transfer_leadership(&call, Some(next)).await.unwrap();
    until("the second leads", async || second.leadership().borrow().is_leader.then_some(())).await;
    put(&first, "late", "2").await.unwrap();

    second.leave(&call).await.unwrap();
    until("the first is alone", async || (voters().await? == 1).then_some(())).await;
    let refused = first.remove_server(&call, ServerKey::Id(identity(1).node_id)).await;
    assert!(refused.unwrap_err().to_string().contains("the last server that votes"));
    assert_eq!(value(&first, "late", Freshness::Default).await.as_deref(), Some("2"));
    let members = first.members(Pool::Lan);
    let left = members.iter().find(|member| *member.name == *"s2").unwrap();
    assert_eq!(left.status, MemberStatus::Left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_servers_are_looked_after_is_changed_while_they_run() {
    let first = start(setup(1, 1, None)).await;
    let call = Call::default();
    let say = async |stabilization: Duration| {
        let care = ServerCare { stabilization, ..ServerCare::default() };
        let command = Command::PutSetting { setting: care.to_setting(), if_index: None };
        first.submit(&call, command).await.unwrap();
    };
    say(Duration::from_secs(3600)).await;
    let _second = start(setup(2, 0, Some(gossip_address(&first)))).await;
    let standing = async || {
        let view = first.autopilot(&call).await.ok()?;
        let second = view.servers.into_iter().find(|server| !server.is_leader)?;
        let now = Real::new().wall_clock();
        let stable_for = now.checked_sub(second.stable_since)?;
        Some((second.is_healthy, second.is_voter, stable_for))
    };
    // Five times as long as these servers were configured to wait.
    until("the second is well for a second", async || {
        let (is_well, is_voter, stable_for) = standing().await?;
        assert!(!is_voter, "it waits as was said last");
        (is_well && stable_for >= Duration::from_secs(1)).then_some(())
    })
    .await;
    say(Duration::ZERO).await;
    until("the second votes", async || standing().await?.1.then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_cluster_is_not_taken_in() {
    let first = start(setup(1, 1, None)).await;
    let other = start(setup(2, 1, None)).await;
    put(&first, "ours", "1").await.unwrap();
    put(&other, "theirs", "1").await.unwrap();
    let call = Call::default();
    other.join(&call, &gossip_address(&first).to_string(), Pool::Lan).await.unwrap();
    until("they see each other", async || (first.members(Pool::Lan).len() == 2).then_some(()))
        .await;
    // Long enough for several looks of the leader's care.
    let until_then = Instant::now() + Duration::from_secs(2);
    until("some time passes", async || (Instant::now() >= until_then).then_some(())).await;
    for (server, own, foreign) in [(&first, "ours", "theirs"), (&other, "theirs", "ours")] {
        let view = server.raft(&call, Freshness::Default).await.unwrap();
        assert_eq!(view.servers.len(), 1);
        assert!(value(server, own, Freshness::Default).await.is_some());
        assert!(value(server, foreign, Freshness::Default).await.is_none());
    }
}
