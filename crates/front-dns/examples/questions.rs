//! What an answer costs, against a bare echo on the same loop.
//!
//! `nice -n 10 cargo run --release -p muster-front-dns --example questions` prints, for each kind of
//! question, the CPU time of the serving thread for one answer (system calls included) and its
//! ratio to a socket that sends back what it got. The echo runs on the same kind of runtime, thread
//! and socket. The registry is a table that is ready: what is measured is this front, not the state.

#![allow(clippy::print_stdout, reason = "this is a program that prints figures")]
#![allow(clippy::unwrap_used, reason = "a measurement that cannot run has to stop")]
#![allow(clippy::disallowed_methods, reason = "this program starts its own threads")]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use muster_front_dns::{Server, Settings, Sockets};
use muster_listen::{Datagram, World};
use muster_model::answer::{Answer, Body, InstanceDetail};
use muster_model::query::{Health, InstanceFilter};
use muster_model::{Command, Index, Indexed, Instance, Node, Query, Scope, Text};
use muster_registry::local::Identity;
use muster_registry::registry::Committed;
use muster_registry::{
    Answered, Asking, Call, Changes, Freshness, Hub, Pending, Refusal, Registry, Standing,
};

/// Questions in flight at one moment: what keeps the server's loop busy without filling its buffer.
const WINDOW: usize = 8;
/// Questions of one measurement.
const QUESTIONS: usize = 40_000;
/// Measurements, taken in turn; the median counts.
const ROUNDS: usize = 5;

fn main() {
    let (srv, a) = (33, 1);
    let cases = [
        ("SRV, 10 instances, EDNS 4096", question("web10.service.consul", srv), 1.7),
        ("SRV, 10 instances, EDNS 1232", question_of("web10.service.consul", srv, 1_232), 1.7),
        ("A, 10 instances", question("web10.service.consul", a), 1.5),
        ("A, 1 instance", question("web1.service.consul", a), 1.5),
        ("no such name", question("nothing.service.consul", a), 1.4),
        ("SRV, 100 instances, EDNS 65k", question_of("web100.service.consul", srv, 65_000), 3.1),
    ];
    let echo = start(Kind::Echo);
    let server = start(Kind::Dns);
    let mut figures = vec![Vec::new(); cases.len() + 1];
    for _ in 0..ROUNDS {
        figures[0].push(measure(&echo, &cases[0].1));
        for (i, (_, question, _)) in cases.iter().enumerate() {
            figures[i + 1].push(measure(&server, question));
        }
    }
    let medians: Vec<f64> = figures.into_iter().map(median).collect();
    println!("{:32} {:6.2} us", "bare echo", medians[0]);
    for ((title, _, goal), cost) in cases.iter().zip(&medians[1..]) {
        println!("{title:32} {cost:6.2} us  {:5.2} x echo (goal {goal})", cost / medians[0]);
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[derive(Clone, Copy)]
enum Kind {
    Echo,
    Dns,
}

/// A serving thread: where it listens, and where its CPU time is read.
struct Running {
    address: SocketAddr,
    schedstat: String,
}

fn start(kind: Kind) -> Running {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world: Arc<dyn World> = Arc::new(muster_world::Real::new());
            let socket = world.bind((Ipv4Addr::LOCALHOST, 0).into(), true).unwrap();
            let thread = std::fs::read_link("/proc/thread-self").unwrap();
            let schedstat = format!("/proc/{}/schedstat", thread.display());
            tell.send(Running { address: socket.local_address().unwrap(), schedstat }).unwrap();
            match kind {
                Kind::Echo => echo(socket).await,
                Kind::Dns => {
                    let sockets = Sockets { udp: vec![socket], tcp: Vec::new() };
                    let registry = Arc::new(Ready::new());
                    let identity = Identity { datacenter: "dc1".into(), ..Identity::default() };
                    let server =
                        Server::new(registry, &identity, Settings::default(), world, &sockets)
                            .unwrap();
                    server.run(sockets).await;
                }
            }
        });
    });
    told.recv().unwrap()
}

async fn echo(socket: Box<dyn Datagram>) {
    let mut buffer = vec![0; 4_096];
    loop {
        let (n, from) = socket.receive(&mut buffer).await.unwrap();
        let _ = socket.try_send(&buffer[..n], from);
        for _ in 0..64 {
            let Ok((n, from)) = socket.try_receive(&mut buffer) else { break };
            let _ = socket.try_send(&buffer[..n], from);
        }
    }
}

/// Microseconds of the serving thread's CPU for one answer.
fn measure(server: &Running, question: &[u8]) -> f64 {
    let cpu = || {
        let text = std::fs::read_to_string(&server.schedstat).unwrap();
        text.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    };
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.connect(server.address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut buffer = vec![0; 65_535];
    let before = cpu();
    let mut n_answered = 0;
    for _ in 0..QUESTIONS / WINDOW {
        for _ in 0..WINDOW {
            client.send(question).unwrap();
        }
        for _ in 0..WINDOW {
            n_answered += usize::from(client.recv(&mut buffer).is_ok());
        }
    }
    assert!(n_answered > QUESTIONS / 2, "too few answers: {n_answered}");
    (cpu() - before) / 1_000.0 / n_answered as f64
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    question_of(name, kind, 4_096)
}

fn question_of(name: &str, kind: u16, udp_bytes: u16) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&[kind.to_be_bytes(), [0, 1]].concat());
    out.extend_from_slice(&[0, 0, 41]);
    out.extend_from_slice(&udp_bytes.to_be_bytes());
    out.extend_from_slice(&[0; 6]);
    out
}

/// Answers that are there already.
struct Ready {
    answers: HashMap<Query, Arc<Answer>>,
    hub: Arc<Hub>,
}

impl Ready {
    fn new() -> Ready {
        let all = [("web1", 1), ("web10", 10), ("web100", 100), ("nothing", 0)];
        let answers = all.map(|(service, n)| {
            let filter = InstanceFilter {
                service: service.into(),
                health: Health::NotCritical,
                ..InstanceFilter::default()
            };
            let details = (0..n).map(|i| detail(service, i)).collect();
            (Query::Instances(filter), Arc::new(Answer::new(1, vec![], Body::Instances(details))))
        });
        Ready { answers: answers.into_iter().collect(), hub: Arc::default() }
    }
}

fn detail(service: &str, i: u8) -> InstanceDetail {
    let address = Text::from(format!("10.0.0.{i}"));
    let node = Node { name: format!("node-{i}").into(), address, ..Node::default() };
    let instance = Instance { service: service.into(), port: 8_080, ..Instance::default() };
    InstanceDetail { node: row(node), instance: row(instance), checks: Vec::new() }
}

fn row<T>(value: T) -> Arc<Indexed<T>> {
    Arc::new(Indexed { value, create_index: 1, modify_index: 1 })
}

impl Registry for Ready {
    fn submit<'a>(&'a self, _: &'a Call, _: Command) -> Pending<'a, Result<Committed, Refusal>> {
        unreachable!("DNS writes nothing")
    }

    fn ask<'a>(&'a self, _: &'a Call, _: &'a Query, _: Freshness) -> Asking<'a> {
        unreachable!("everything is at hand")
    }

    fn peek(&self, _: &Call, query: &Query) -> Option<Answered> {
        let answer = self.answers.get(query)?.clone();
        Some(Answered { answer, as_of: 1, standing: Standing::default() })
    }

    fn changes(&self, _: &Call, scopes: &[Scope], after: Index) -> Changes {
        self.hub.changes(scopes, after)
    }

    fn renew<'a>(
        &'a self,
        _: &'a Call,
        _: &'a muster_model::LeaseId,
    ) -> Pending<'a, Result<(), Refusal>> {
        unreachable!("DNS renews nothing")
    }
}
