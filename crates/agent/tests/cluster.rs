//! Whole servers in one process, over real sockets on loopback: they find each other, agree, and go
//! on without the one that is gone.
#![allow(clippy::unwrap_used, reason = "this is test code")]

mod fleet;

use std::time::Duration;

use muster_agent::Agent;
use muster_model::answer::Body;
use muster_model::check::CheckExtras;
use muster_model::command::{PutTerms, Registration};
use muster_model::definition::{CheckDefinition, Rule, TlsOptions};
use muster_model::instance::Extras;
use muster_model::node::Origin;
use muster_model::pair::Blob;
use muster_model::query::{CheckFilter, CheckSubject};
use muster_model::server_care::ServerCare;
use muster_model::session::Session;
use muster_model::{Check, Command, Instance, LeaseId, Node, Query, Status, Text};
use muster_registry::cluster::{MemberStatus, Pool, ServerKey};
use muster_registry::{Call, Freshness, Operator, Refusal, Registry};
use muster_world::{Real, World};
use tokio::time::{Instant, timeout};

use fleet::{PATIENCE, Server, leader, node_id, three, until};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_agree_and_go_on_without_their_leader() {
    let mut servers = three().await;
    for (n, server) in servers.iter().enumerate() {
        put(&server.agent, &format!("from-{n}"), "1").await.unwrap();
    }
    for server in &servers {
        for n in 0..3 {
            let read = value(&server.agent, &format!("from-{n}"), Freshness::Default).await;
            assert_eq!(read.as_deref(), Some("1"));
        }
    }
    let gone = leader(&servers).await;
    servers.remove(gone).die().await;
    // A write that was on its way to who is gone may have been lost: its client asks again.
    until("a write is taken", async || put(&servers[0].agent, "after", "2").await.ok()).await;
    assert_eq!(value(&servers[1].agent, "after", Freshness::Default).await.as_deref(), Some("2"));

    let status = async |wanted: Status| {
        let subject = CheckSubject::WithStatus(wanted);
        let query = Query::Checks(CheckFilter { subject, ..CheckFilter::default() });
        let answered =
            servers[0].agent.ask(&Call::default(), &query, Freshness::Default).await.ok()?;
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
    let follower = &servers[(leader(&servers).await + 1) % 3].agent;
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
    let first = Server::start(1, 1, None).await;
    put(&first.agent, "early", "1").await.unwrap();
    let again = first.die().await.come_back(1, None).await;
    let unknown = LeaseId::Session("00000000-0000-4000-8000-0000000000bb".into());
    let agent = again.agent.clone();
    let renewed = tokio::spawn(async move { agent.renew(&Call::default(), &unknown).await });
    let refused = timeout(PATIENCE, renewed).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(refused, Refusal::Unknown(_)), "{refused}");
}

/// An instance that lives by a lease and asks for a check: that something listens at an address.
fn asking_for_a_check(address: &str) -> Command {
    let rule = Rule::Tcp { address: address.into(), use_tls: false, tls: TlsOptions::default() };
    let interval = Duration::from_secs(1);
    let definition = CheckDefinition { rule, interval, ..CheckDefinition::default() };
    let definition = Some(Box::new(definition));
    let check = Check {
        id: "asked".into(),
        instance_id: "web-1".into(),
        origin: Origin::Lease,
        ..Check::default()
    };
    let instance = Instance {
        id: "web-1".into(),
        service: "web".into(),
        origin: Origin::Lease,
        ..Instance::default()
    };
    let lease_ttl = Duration::from_secs(600);
    Command::Register(Registration {
        node: Node {
            name: "h1".into(),
            address: "10.0.0.1".into(),
            origin: Origin::Lease,
            ..Node::default()
        },
        instance: Some(instance.with_extras(Extras { lease_ttl, ..Extras::default() })),
        checks: vec![check.with_extras(CheckExtras { definition, ..CheckExtras::default() })],
        keep_node: false,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_of_who_lives_by_a_lease_is_run_by_whoever_leads() {
    let mut servers = three().await;
    let listening = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let command = asking_for_a_check(&listening.local_addr().unwrap().to_string());
    servers[0].agent.submit(&Call::default(), command).await.unwrap();
    let status = async |agent: &Agent| {
        let query = Query::Node { name_or_id: "h1".into() };
        let answered = agent.ask(&Call::default(), &query, Freshness::Stale).await.ok()?;
        let Body::Node(Some(found)) = &answered.answer.body else { return None };
        Some(found.checks.first()?.check.status)
    };
    let stands_at = async |agent: &Agent, wanted: Status| {
        until(wanted.as_str(), async || (status(agent).await == Some(wanted)).then_some(())).await;
    };
    stands_at(&servers[0].agent, Status::Passing).await;
    let gone = leader(&servers).await;
    servers.remove(gone).die().await;
    drop(listening);
    stands_at(&servers[0].agent, Status::Critical).await;
    stands_at(&servers[1].agent, Status::Critical).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_joins_votes_hands_over_and_leaves() {
    let first = Server::start(1, 1, None).await;
    put(&first.agent, "early", "1").await.unwrap();
    let second = Server::start(2, 0, Some(first.gossip_address())).await;
    let call = Call::default();
    let voters = async || {
        let view = first.agent.raft(&call, Freshness::Default).await.ok()?;
        Some(view.servers.iter().filter(|server| server.is_voter).count())
    };
    until("the second votes", async || (voters().await? == 2).then_some(())).await;
    assert_eq!(value(&second.agent, "early", Freshness::Default).await.as_deref(), Some("1"));

    let next = node_id(2);
    first.agent.transfer_leadership(&call, Some(next)).await.unwrap();
    until("the second leads", async || second.agent.leadership().borrow().is_leader.then_some(()))
        .await;
    put(&first.agent, "late", "2").await.unwrap();

    second.agent.leave(&call).await.unwrap();
    until("the first is alone", async || (voters().await? == 1).then_some(())).await;
    let refused = first.agent.remove_server(&call, ServerKey::Id(node_id(1))).await;
    assert!(refused.unwrap_err().to_string().contains("the last server that votes"));
    assert_eq!(value(&first.agent, "late", Freshness::Default).await.as_deref(), Some("2"));
    let members = first.agent.members(Pool::Lan);
    let left = members.iter().find(|member| *member.name == *"s2").unwrap();
    assert_eq!(left.status, MemberStatus::Left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_servers_are_looked_after_is_changed_while_they_run() {
    let first = Server::start(1, 1, None).await;
    let call = Call::default();
    let say = async |stabilization: Duration| {
        let care = ServerCare { stabilization, ..ServerCare::default() };
        let command = Command::PutSetting { setting: care.to_setting(), if_index: None };
        first.agent.submit(&call, command).await.unwrap();
    };
    say(Duration::from_secs(3600)).await;
    let _second = Server::start(2, 0, Some(first.gossip_address())).await;
    let standing = async || {
        let view = first.agent.autopilot(&call).await.ok()?;
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
    let first = Server::start(1, 1, None).await;
    let other = Server::start(2, 1, None).await;
    put(&first.agent, "ours", "1").await.unwrap();
    put(&other.agent, "theirs", "1").await.unwrap();
    let call = Call::default();
    other.agent.join(&call, &first.gossip_address().to_string(), Pool::Lan).await.unwrap();
    until("they see each other", async || {
        (first.agent.members(Pool::Lan).len() == 2).then_some(())
    })
    .await;
    // Long enough for several looks of the leader's care.
    let until_then = Instant::now() + Duration::from_secs(2);
    until("some time passes", async || (Instant::now() >= until_then).then_some(())).await;
    for (server, own, foreign) in [(&first, "ours", "theirs"), (&other, "theirs", "ours")] {
        let view = server.agent.raft(&call, Freshness::Default).await.unwrap();
        assert_eq!(view.servers.len(), 1);
        assert!(value(&server.agent, own, Freshness::Default).await.is_some());
        assert!(value(&server.agent, foreign, Freshness::Default).await.is_none());
    }
}
