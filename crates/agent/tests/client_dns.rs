//! DNS on a node without state: answered from what is kept, also when every server is gone.

mod servers;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use muster_front_dns::{Server, Settings, Sockets};
use muster_registry::local::Identity;
use muster_testkit::Bench;
use muster_testkit::catalog::node;
use muster_world::{Real, World};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use servers::{House, Site, add_instance, service, until, within};

/// A question for the addresses of a service.
fn question(name: &str) -> Vec<u8> {
    let mut out = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in [name, "service", "consul"] {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.extend_from_slice(b"\x00\x00\x01\x00\x01");
    out
}

/// The code of the response, and how many addresses there are.
async fn look_up(socket: &UdpSocket, name: &str) -> (u8, u16) {
    let mut response = [0; 512];
    let received = within(async {
        socket.send(&question(name)).await.expect("sent");
        socket.recv(&mut response).await.expect("received")
    });
    assert!(received.await >= 12);
    (response[3] & 0x0F, u16::from_be_bytes([response[6], response[7]]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dns_is_answered_from_kept_answers_with_and_without_servers() {
    let bench = Bench::new();
    bench.register_node(node("n1", "10.0.0.1"));
    bench.register_node(node("n2", "10.0.0.2"));
    add_instance(&bench, "web", "web-1");
    let site = Site::start(bench.clone());
    let house = House::new(&[&site]).in_contact().await;

    let world: Arc<dyn World> = Arc::new(Real::new());
    let udp = world.bind((Ipv4Addr::LOCALHOST, 0).into(), true).expect("a free port");
    let address: SocketAddr = udp.local_address().expect("bound");
    let sockets = Sockets { udp: vec![udp], tcp: Vec::new() };
    let identity = Identity { node: "n1".into(), datacenter: "dc1".into(), ..Identity::default() };
    let client = house.client.clone();
    let server = Server::new(client, &identity, Settings::default(), world, &sockets);
    let mut tasks = JoinSet::new();
    tasks.spawn(server.expect("the settings are good").run(sockets));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    socket.connect(address).await.expect("an address");

    // The first question waits for a server; the next ones do not.
    assert_eq!(look_up(&socket, "web").await, (0, 1));
    assert_eq!(look_up(&socket, "api").await, (3, 0));
    let n_asked = bench.n_asked();
    for _ in 0..100 {
        assert_eq!(look_up(&socket, "web").await, (0, 1));
    }
    assert_eq!(bench.n_asked(), n_asked);

    let other = muster_testkit::catalog::instance("web-2", "web", 80);
    bench.register("n2", other, Vec::new());
    let kept = |query| house.peek(&query).map(|kept| format!("{:?}", kept.answer.body));
    // DNS asks for what is not critical.
    let query = match service("web") {
        muster_model::Query::Instances(filter) => {
            let health = muster_model::query::Health::NotCritical;
            muster_model::Query::Instances(muster_model::query::InstanceFilter { health, ..filter })
        }
        other => other,
    };
    until(|| kept(query.clone()).is_some_and(|body| body.contains("web-2"))).await;
    assert_eq!(look_up(&socket, "web").await, (0, 2));

    site.die().await;
    until(|| !house.client.is_in_contact()).await;
    for _ in 0..10 {
        assert_eq!(look_up(&socket, "web").await, (0, 2));
        assert_eq!(look_up(&socket, "api").await, (3, 0));
    }
}
