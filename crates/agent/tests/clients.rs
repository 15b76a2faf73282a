//! Clients of real servers: what they vouch for is found everywhere, they go on when servers die, and
//! the catalog hears when they die or leave themselves.
#![allow(clippy::unwrap_used, reason = "this is test code")]

mod fleet;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fleet::{House, Server, ask, has, instances, leader, put, service, three, until};
use muster_front_dns::{Server as Names, Settings, Sockets};
use muster_model::answer::Body;
use muster_model::definition::{CheckDefinition, Rule};
use muster_model::{Check, Instance, Query, Status, Text};
use muster_registry::cluster::{Pool, ServerKey};
use muster_registry::local::{LocalCheckRegistration, LocalRegistration};
use muster_registry::{Call, Freshness, LocalAgent, Operator, Refusal, Registry};
use muster_world::{Real, World};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

/// A service with a check that somebody has to renew.
fn web() -> LocalRegistration {
    let rule = Rule::Ttl { ttl: Duration::from_secs(600) };
    let check = LocalCheckRegistration {
        check: Check { id: "alive".into(), name: "alive".into(), ..Check::default() },
        definition: CheckDefinition { rule, ..CheckDefinition::default() },
        ..LocalCheckRegistration::default()
    };
    let instance = Instance { service: "web".into(), port: 80, ..Instance::default() };
    LocalRegistration { instance, checks: vec![check], ..LocalRegistration::default() }
}

async fn register(house: &House) {
    house.voucher.register(&Call::default(), web()).await.unwrap();
    say(house, Status::Passing).await;
}

async fn say(house: &House, status: Status) {
    let id = "alive".into();
    house.voucher.renew_check(&Call::default(), &id, status, "so".into()).await.unwrap();
}

/// Waits until a registry tells these nodes' instances with these statuses.
async fn until_told(registry: &dyn Registry, wanted: &[(&str, Status)]) {
    until(&format!("{wanted:?} is told"), async || {
        let answered = ask(registry, &service("web"), Freshness::Default).await.ok()?;
        let told: Vec<_> =
            instances(&answered).into_iter().map(|(node, _, status)| (node, status)).collect();
        let is_it = told.len() == wanted.len()
            && told.iter().zip(wanted).all(|(told, wanted)| (&*told.0, told.1) == *wanted);
        is_it.then_some(())
    })
    .await;
}

/// How many addresses DNS at a client has for the service.
async fn look_up(socket: &UdpSocket) -> u16 {
    let mut question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in ["web", "service", "consul"] {
        question.push(label.len() as u8);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(b"\x00\x00\x01\x00\x01");
    let mut response = [0; 512];
    socket.send(&question).await.unwrap();
    let received = timeout(fleet::PATIENCE, socket.recv(&mut response)).await.unwrap();
    assert!(received.unwrap() >= 12);
    u16::from_be_bytes([response[6], response[7]])
}

/// DNS before a registry, for as long as the test runs, and a socket that asks it.
async fn names(registry: Arc<dyn Registry>, house: &House) -> UdpSocket {
    let world: Arc<dyn World> = Arc::new(Real::new());
    let udp = world.bind((Ipv4Addr::LOCALHOST, 0).into(), true).unwrap();
    let address: SocketAddr = udp.local_address().unwrap();
    let sockets = Sockets { udp: vec![udp], tcp: Vec::new() };
    let identity = house.voucher.identity();
    let names = Names::new(registry, identity, Settings::default(), world, &sockets);
    tokio::spawn(names.unwrap().run(sockets));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(address).await.unwrap();
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_vouches_for_is_found_at_servers_and_at_clients_and_follows_its_check() {
    let servers = three().await;
    let join = servers[0].gossip_address();
    let (house, other) = (House::start(1, join).await, House::start(2, join).await);
    register(&house).await;
    for server in &servers {
        until_told(&*server.agent, &[("c1", Status::Passing)]).await;
    }
    let at_server = names(servers[1].agent.clone(), &house).await;
    let at_client = names(other.client.registry().clone(), &other).await;
    // An answer that is kept may be of a moment before.
    until("DNS has it", async || (look_up(&at_server).await == 1).then_some(())).await;
    until("at a client too", async || (look_up(&at_client).await == 1).then_some(())).await;

    // Whoever waits at another client wakes for the check that turns at this one.
    let registry = other.client.registry().clone();
    let seen = ask(&*registry, &service("web"), Freshness::Default).await.unwrap();
    let waiting = tokio::spawn(async move {
        let (call, query) = (Call::default(), service("web"));
        let (fresh, at) = (Freshness::Default, Instant::now() + fleet::PATIENCE);
        let mut after = seen.answer.index;
        loop {
            let woken = muster_registry::watch(&*registry, &call, &query, fresh, after, at).await;
            let woken = woken.unwrap();
            // The leader's word on its node may come in between, and is a change too.
            if instances(&woken)[0].2 == Status::Critical {
                return;
            }
            assert!(woken.answer.index > after, "the time is up");
            after = woken.answer.index;
        }
    });
    say(&house, Status::Critical).await;
    timeout(fleet::PATIENCE, waiting).await.unwrap().unwrap();
    until_told(&*servers[2].agent, &[("c1", Status::Critical)]).await;
    until("DNS leaves it out", async || (look_up(&at_server).await == 0).then_some(())).await;
    until("at the client too", async || (look_up(&at_client).await == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_without_the_leader_and_without_any_server_and_is_fresh_when_they_are_back()
 {
    let mut servers = three().await;
    let house = House::start(1, servers[0].gossip_address()).await;
    let registry = house.client.registry().clone();
    let at_client = names(registry.clone(), &house).await;
    register(&house).await;
    until_told(&*registry, &[("c1", Status::Passing)]).await;
    assert_eq!(look_up(&at_client).await, 1);
    // Somebody takes what is at hand, so it is kept.
    let kept = until("a leader is known", async || {
        let kept = ask(&*registry, &service("web"), Freshness::Stale).await.ok()?;
        kept.standing.knows_leader.then_some(kept)
    })
    .await;
    assert_eq!(instances(&kept).len(), 1);

    let number = leader(&servers).await;
    let mut gone = vec![servers.remove(number).die().await];
    // A write that was on its way to who is gone may have been lost: its client asks again.
    until("a write is taken", async || put(&*registry, "after").await.ok()).await;
    assert!(has(&*servers[0].agent, "after").await && has(&*registry, "after").await);

    for server in servers.drain(..) {
        gone.push(server.die().await);
    }
    until("no server tells any more", async || (!registry.is_in_contact()).then_some(())).await;
    let last = ask(&*registry, &service("web"), Freshness::Stale).await.unwrap();
    assert_eq!(instances(&last), instances(&kept));
    assert!(!last.standing.knows_leader && last.standing.freshness == Freshness::Stale);
    let age = last.standing.last_contact;
    until("its age is told", async || {
        let peeked = registry.peek(&Call::default(), &service("web")).unwrap();
        (peeked.standing.last_contact > age).then_some(())
    })
    .await;
    assert_eq!(look_up(&at_client).await, 1);
    let soon = Some(Instant::now() + Duration::from_millis(200));
    let call = Call { deadline: soon, ..Call::default() };
    let refused = registry.ask(&call, &service("web"), Freshness::Default).await.unwrap_err();
    assert!(matches!(refused, Refusal::NoLeader | Refusal::Late), "{refused}");
    // What is vouched for meanwhile is told later.
    let call = Call { deadline: soon, ..Call::default() };
    house.voucher.deregister(&call, &"web".into()).await.unwrap();

    let mut back = Vec::new();
    for gone in gone {
        back.push(gone.come_back(0, Some(house.gossip)).await);
    }
    until_told(&*registry, &[]).await;
    assert!(has(&*registry, "after").await);
    until("stale answers are fresh", async || {
        let answered = ask(&*registry, &service("web"), Freshness::Stale).await.ok()?;
        (answered.standing.knows_leader && instances(&answered).is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_dies_turns_critical_and_one_that_leaves_is_deregistered() {
    let servers = three().await;
    let join = servers[0].gossip_address();
    let (dying, leaving) = (House::start(1, join).await, House::start(2, join).await);
    for house in [&dying, &leaving] {
        register(house).await;
    }
    let catalog = &*servers[1].agent;
    until_told(catalog, &[("c1", Status::Passing), ("c2", Status::Passing)]).await;
    drop(dying);
    until_told(catalog, &[("c1", Status::Critical), ("c2", Status::Passing)]).await;

    leaving.client.leave(&Call::default()).await.unwrap();
    until_told(catalog, &[("c1", Status::Critical)]).await;
    let query = Query::Node { name_or_id: "c2".into() };
    let left = ask(catalog, &query, Freshness::Default).await.unwrap();
    assert!(matches!(&left.answer.body, Body::Node(None)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_ask_of_a_client_servers_answer() {
    let servers = three().await;
    let house = House::start(1, servers[0].gossip_address()).await;
    let (client, call) = (&*house.client, Call::default());
    let id = |server: &Server| {
        let own = server.agent.members(Pool::Lan);
        let own = own.iter().find(|own| own.port == server.gossip_address().port());
        own.and_then(|own| own.tag("id")).cloned().unwrap()
    };
    for freshness in [Freshness::Default, Freshness::Stale] {
        let view = client.raft(&call, freshness).await.unwrap();
        let names: Vec<Text> = view.servers.iter().map(|server| server.node.clone()).collect();
        assert_eq!(names, ["s1", "s2", "s3"].map(Text::from));
        assert!(view.leader_address.is_some() && view.term > 0 && view.applied_index > 0);
    }
    let health = client.autopilot(&call).await.unwrap();
    assert_eq!(health.servers.len(), 3);
    assert_eq!(client.datacenters(&call).await.unwrap()[0].name, Text::from("dc1"));
    let roles: Vec<Option<Text>> =
        client.members(Pool::Lan).iter().map(|own| own.tag("role").cloned()).collect();
    assert_eq!(roles.iter().flatten().filter(|role| ***role == *"node").count(), 1);

    put(&*house.client.registry().clone(), "early").await.unwrap();
    let mut saved = client.save(&call, Freshness::Default).await.unwrap();
    let mut file = Vec::new();
    while let Some(block) = saved.blocks.recv().await {
        file.extend_from_slice(&block.unwrap());
    }
    let header = muster_agent::backup::inspect(&mut file.as_slice()).unwrap();
    assert!(header.index == saved.index && saved.index > 0);
    put(&*servers[0].agent, "late").await.unwrap();
    let restore = async |file: Vec<u8>| {
        let (pieces, blocks) = tokio::sync::mpsc::channel(4);
        pieces.send(Ok(file.into())).await.unwrap();
        drop(pieces);
        client.restore(&call, blocks).await
    };
    let cut = restore(file[..file.len() - 1].to_vec()).await;
    assert!(matches!(cut, Err(Refusal::Invalid(_))), "{cut:?}");
    restore(file).await.unwrap();
    let catalog = &*servers[2].agent;
    assert!(has(catalog, "early").await && !has(catalog, "late").await);

    // On a busy machine another may lead by then: it is asked again.
    until("the leadership is handed over", async || {
        let next = (servers.iter().position(Server::leads)? + 1) % 3;
        client.transfer_leadership(&call, Some(id(&servers[next]))).await.ok()
    })
    .await;
    let unknown = client.remove_server(&call, ServerKey::Id("nobody".into())).await;
    assert!(matches!(unknown, Err(Refusal::Unknown(_))), "{unknown:?}");
    let keys =
        client.keyring(&call, muster_registry::cluster::KeyringWish::List, Default::default());
    assert!(matches!(keys.await, Err(Refusal::Unsupported(_))));
}
