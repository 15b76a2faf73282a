//! The server on real sockets of the loopback: both transports, waiting, recursors.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/mod.rs"]
mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::message_builder::MessageBuilder;
use domain::base::{Message, Name, ParsedName};
use domain::rdata::{A, AllRecordData, Cname};
use hickory_resolver::Resolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use muster_front_dns::metrics::Fate;
use muster_front_dns::settings::RecursorStrategy;
use muster_front_dns::{BadSettings, Server, Settings, Sockets, Transport};
use muster_listen::{Address, World};
use support::{Tables, identity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

// ------------------------------------------------------------------------------------ our server

/// A server that runs as long as this lives.
struct Running {
    server: Arc<Server>,
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

fn start(tables: Tables, settings: Settings) -> Running {
    start_on(bind(), tables, settings)
}

/// A UDP and a TCP socket with the same port.
fn bind() -> Sockets {
    let world = muster_world::Real::new();
    for _ in 0..100 {
        let udp = world.bind((Ipv4Addr::LOCALHOST, 0).into(), true).unwrap();
        let address = udp.local_address().unwrap();
        if let Ok(tcp) = world.listen(&Address::Inet(address)) {
            return Sockets { udp: vec![udp], tcp: vec![tcp] };
        }
    }
    panic!("no port is free for both");
}

fn start_on(sockets: Sockets, tables: Tables, settings: Settings) -> Running {
    let address = sockets.udp[0].local_address().unwrap();
    let world: Arc<dyn World> = Arc::new(muster_world::Real::new());
    let server = Server::new(Arc::new(tables), &identity(), settings, world, &sockets).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(server.clone().run(sockets));
    Running { server, address, _tasks: tasks }
}

fn web() -> Tables {
    let tables = Tables::default();
    for line in [
        "node n1 address=10.0.0.1",
        "node n2 address=10.0.0.2",
        "service web node=n1 port=80",
        "service web node=n2 port=81",
        "service away node=n1 address=www.example.org port=443",
    ] {
        assert!(tables.obey(line));
    }
    tables
}

// ------------------------------------------------------------------------------------ our client

fn query(name: &str, kind: Rtype) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(77);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((name.parse::<Name<Vec<u8>>>().unwrap(), kind, Class::IN)).unwrap();
    builder.finish()
}

async fn ask(server: SocketAddr, query: &[u8]) -> Message<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(query, server).await.unwrap();
    let mut buffer = vec![0; 65_535];
    let n = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("an answer").unwrap();
    buffer.truncate(n);
    Message::from_octets(buffer).unwrap()
}

fn answers(message: &Message<Vec<u8>>) -> Vec<String> {
    let records = message.answer().unwrap();
    let records = records.limit_to::<AllRecordData<&[u8], ParsedName<&[u8]>>>();
    let mut lines: Vec<String> = records.map(|record| record.unwrap().to_string()).collect();
    lines.sort();
    lines
}

// ---------------------------------------------------------------------------------- a recursor

/// How a recursor of these tests behaves.
#[derive(Clone, Copy)]
enum Manner {
    /// Knows that `www.example.org` is an alias of `edge.example.org`, at 192.0.2.1.
    Knows,
    /// The same, but says over UDP only that it has more.
    Truncates,
    /// Refuses everything.
    Refuses,
    /// Says nothing.
    IsSilent,
}

/// Sockets for datagrams and streams on one free port: a port that is free for one of them may be
/// taken for the other, and then another is tried.
async fn both_sockets() -> (UdpSocket, tokio::net::TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        if let Ok(tcp) = tokio::net::TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both datagrams and streams");
}

async fn recursor(manner: Manner) -> (SocketAddr, JoinSet<()>) {
    let (udp, tcp) = both_sockets().await;
    let address = udp.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut buffer = vec![0; 4_096];
        while let Ok((n, from)) = udp.recv_from(&mut buffer).await {
            if let Some(reply) = reply(manner, &buffer[..n], Transport::Udp) {
                udp.send_to(&reply, from).await.unwrap();
            }
        }
    });
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut query).await.unwrap();
            if let Some(reply) = reply(manner, &query, Transport::Tcp) {
                stream.write_u16(reply.len() as u16).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        }
    });
    (address, tasks)
}

fn reply(manner: Manner, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let query = Message::from_octets(query).unwrap();
    let rcode = match manner {
        Manner::IsSilent => return None,
        Manner::Refuses => Rcode::REFUSED,
        Manner::Knows | Manner::Truncates => Rcode::NOERROR,
    };
    let mut builder = MessageBuilder::new_vec().start_answer(&query, rcode).unwrap();
    builder.header_mut().set_ra(true);
    let is_cut = matches!((manner, transport), (Manner::Truncates, Transport::Udp));
    if is_cut {
        builder.header_mut().set_tc(true);
    } else if rcode == Rcode::NOERROR {
        let name = |text: &str| text.parse::<Name<Vec<u8>>>().unwrap();
        let edge = name("edge.example.org");
        builder.push((name("www.example.org"), 60, Cname::new(edge.clone()))).unwrap();
        builder.push((edge, 60, A::from_octets(192, 0, 2, 1))).unwrap();
    }
    Some(builder.finish())
}

fn with_recursors(recursors: &[SocketAddr]) -> Settings {
    let recursor_timeout = Duration::from_millis(300);
    Settings { recursors: recursors.to_vec(), recursor_timeout, ..Settings::default() }
}

const EDGE: [&str; 2] =
    ["edge.example.org. 60 IN A 192.0.2.1", "www.example.org. 60 IN CNAME edge.example.org."];

// --------------------------------------------------------------------------------------- tests

#[tokio::test]
async fn an_independent_resolver_finds_a_service_over_both_transports() {
    let running = start(web(), Settings::default());
    for protocol in [ProtocolConfig::Udp, ProtocolConfig::Tcp] {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = running.address.port();
        let server = NameServerConfig::new(running.address.ip(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let resolver =
            Resolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap();
        let found = resolver.lookup_ip("web.service.consul.").await.unwrap();
        let mut addresses: Vec<String> = found.iter().map(|ip| ip.to_string()).collect();
        addresses.sort();
        assert_eq!(addresses, ["10.0.0.1", "10.0.0.2"]);
        let found = resolver.srv_lookup("_web._tcp.service.consul.").await.unwrap();
        assert_eq!(found.answers().len(), 2);
    }
    assert_eq!(running.server.metrics().count(Fate::Refused), 0);
    assert!(running.server.metrics().count_by(Transport::Tcp) >= 2);
}

#[tokio::test]
async fn several_questions_in_one_piece_of_a_stream_are_answered_in_order() {
    let running = start(web(), Settings::default());
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let mut bytes = Vec::new();
    for id in 0..50u16 {
        let mut query = query("web.service.consul", Rtype::A);
        query[..2].copy_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&(query.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&query);
    }
    let (first, second) = bytes.split_at(bytes.len() / 2 + 1);
    stream.write_all(first).await.unwrap();
    stream.write_all(second).await.unwrap();
    for id in 0..50u16 {
        let mut response = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut response).await.unwrap();
        assert_eq!(response[..2], id.to_be_bytes());
    }
}

#[tokio::test]
async fn a_question_that_has_to_wait_for_the_registry_is_answered_all_the_same() {
    let mut tables = web();
    tables.must_wait = true;
    let running = start(tables, Settings::default());
    let response = ask(running.address, &query("web.service.consul", Rtype::A)).await;
    assert_eq!(answers(&response).len(), 2);
    let response = ask(running.address, &query("web.service.dc9.consul", Rtype::A)).await;
    assert_eq!(response.header().rcode(), Rcode::NXDOMAIN);
}

#[tokio::test]
async fn settings_are_replaced_while_questions_are_answered() {
    let running = start(web(), Settings::default());
    let ttl =
        |message: &Message<Vec<u8>>| answers(message)[0].split(' ').nth(1).unwrap().to_owned();
    let question = query("web.service.consul", Rtype::A);
    assert_eq!(ttl(&ask(running.address, &question).await), "0");
    let service_ttl = vec![("w*".into(), Duration::from_secs(30))];
    running.server.reload(Settings { service_ttl, ..Settings::default() }).unwrap();
    assert_eq!(ttl(&ask(running.address, &question).await), "30");
    let outside = query("www.example.org", Rtype::A);
    assert_eq!(ask(running.address, &outside).await.header().rcode(), Rcode::REFUSED);
    let (address, _tasks) = recursor(Manner::Knows).await;
    running.server.reload(with_recursors(&[address])).unwrap();
    assert_eq!(answers(&ask(running.address, &outside).await), EDGE);
}

#[tokio::test]
async fn a_recursor_that_refuses_or_is_silent_is_passed_over() {
    let (silent, _silent) = recursor(Manner::IsSilent).await;
    let (refusing, _refusing) = recursor(Manner::Refuses).await;
    let (knowing, _knowing) = recursor(Manner::Knows).await;
    let settings = with_recursors(&[silent, refusing, knowing]);
    for recursor_strategy in [RecursorStrategy::Sequential, RecursorStrategy::Random] {
        let running = start(web(), Settings { recursor_strategy, ..settings.clone() });
        let response = ask(running.address, &query("www.example.org", Rtype::A)).await;
        assert_eq!((response.header().id(), response.header().ra()), (77, true));
        assert_eq!(answers(&response), EDGE);
        assert_eq!(running.server.metrics().count(Fate::Forwarded), 1);
    }
}

#[tokio::test]
async fn where_no_recursor_settles_a_question_it_fails() {
    let (silent, _silent) = recursor(Manner::IsSilent).await;
    let (refusing, _refusing) = recursor(Manner::Refuses).await;
    let running = start(web(), with_recursors(&[silent, refusing]));
    let response = ask(running.address, &query("www.example.org", Rtype::A)).await;
    assert_eq!(response.header().rcode(), Rcode::SERVFAIL);
    assert!(response.header().ra());
}

#[tokio::test]
async fn a_truncated_reply_is_passed_on_and_the_client_comes_again_by_stream() {
    let (address, _tasks) = recursor(Manner::Truncates).await;
    let running = start(web(), with_recursors(&[address]));
    let question = query("www.example.org", Rtype::A);
    let response = ask(running.address, &question).await;
    assert!(response.header().tc());
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_u16(question.len() as u16).await.unwrap();
    stream.write_all(&question).await.unwrap();
    let mut response = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut response).await.unwrap();
    assert_eq!(answers(&Message::from_octets(response).unwrap()), EDGE);
}

#[tokio::test]
async fn an_alias_outside_is_looked_up_by_a_recursor_if_need_be_by_stream() {
    for manner in [Manner::Knows, Manner::Truncates] {
        let (address, _tasks) = recursor(manner).await;
        let running = start(web(), with_recursors(&[address]));
        let response = ask(running.address, &query("away.service.consul", Rtype::A)).await;
        let alias = "away.service.consul. 0 IN CNAME www.example.org.";
        assert_eq!(answers(&response), [alias, EDGE[0], EDGE[1]]);
        assert!(response.header().aa());
    }
}

#[tokio::test]
async fn a_circle_of_servers_ends_without_an_answer() {
    let (one, other) = (bind(), bind());
    let address = |sockets: &Sockets| sockets.udp[0].local_address().unwrap();
    let to_other = with_recursors(&[address(&other)]);
    let to_one = with_recursors(&[address(&one)]);
    let first = start_on(one, web(), to_other);
    let second = start_on(other, web(), to_one);
    let response = ask(first.address, &query("www.example.org", Rtype::A)).await;
    assert_eq!(response.header().rcode(), Rcode::SERVFAIL);
    let n_failed = |running: &Running| running.server.metrics().count(Fate::Failed);
    // The question of the client, and the one that came back: no more.
    assert!(n_failed(&first) <= 2 && n_failed(&second) <= 2);
}

#[tokio::test]
async fn a_recursor_that_is_this_server_is_refused() {
    let running = start(web(), Settings::default());
    let refused = running.server.reload(with_recursors(&[running.address]));
    assert_eq!(refused, Err(BadSettings::RecursorIsOurselves(running.address)));
}

#[tokio::test]
async fn a_response_sent_as_a_query_gets_no_word() {
    let running = start(web(), Settings::default());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut response = query("web.service.consul", Rtype::A);
    response[2] |= 0x80;
    socket.send_to(&response, running.address).await.unwrap();
    socket.send_to(b"short", running.address).await.unwrap();
    let mut question = query("web.service.consul", Rtype::A);
    question[..2].copy_from_slice(&[9, 9]);
    socket.send_to(&question, running.address).await.unwrap();
    let mut buffer = [0; 512];
    timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(buffer[..2], [9, 9]);
    assert_eq!(running.server.metrics().count(Fate::Dropped), 2);
}
