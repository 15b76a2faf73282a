//! What 100,000 instances cost: bytes of memory each, and the time to apply, answer, save and load.
//!
//! The fleet is that of the project's targets: 1,000 services on 1,000 nodes, each instance with two
//! tags, two facts and one check with 60 bytes of output. Memory is what the process holds resident,
//! with the allocator that the binary uses; time is that of the processor, so a busy machine does not
//! spoil it.
//!
//! `cargo run --release -p muster-state --example footprint`

#![allow(clippy::print_stdout, reason = "it is a program for a terminal")]

use bytes::Bytes;
use muster_model::command::Registration;
use muster_model::query::{Health, InstanceFilter};
use muster_model::{Check, Command, Instance, Node, Query, Status};
use muster_state::State;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_INSTANCES: usize = 100_000;
const N_NODES: usize = 1_000;
const N_SERVICES: usize = 1_000;

fn main() {
    let empty = resident_bytes();
    let mut state = State::default();
    let started = cpu_ns();
    let mut n_changes = 0;
    for number in 0..N_INSTANCES {
        // As in the house, a command comes as bytes and goes when it was applied.
        let bytes = muster_model::encode(&registration(number));
        let command = muster_model::decode(&bytes).expect("it was just encoded");
        n_changes += state.apply(number as u64 + 1, &command).1.len();
    }
    per_item("apply a registration, decoding included", started, N_INSTANCES);
    report_memory("after registering", empty);
    assert!(n_changes >= 2 * N_INSTANCES, "every instance and check was created");

    updates(&mut state);
    questions(&state);
    let started = cpu_ns();
    let blocks: Vec<Bytes> = state.save().collect();
    let n_bytes: usize = blocks.iter().map(Bytes::len).sum();
    println!("save: {:.0} ms, {} bytes in {} blocks", ms(started), n_bytes, blocks.len());
    let started = cpu_ns();
    let hash = state.hash();
    println!("hash: {:.0} ms", ms(started));
    drop(state);
    load(&blocks, hash);
}

fn updates(state: &mut State) {
    let n_updates = 20_000;
    let first = state.index() + 1;
    let started = cpu_ns();
    for number in 0..n_updates {
        let id = number * 5;
        let command = Command::UpdateCheck {
            node: format!("node-{:04}", id % N_NODES).into(),
            id: format!("service:instance-{id:06}").into(),
            status: Status::Warning,
            output: format!("{:60}", "slow").into(),
        };
        // The published version is held while the next is made.
        let published = state.clone();
        state.apply(first + number as u64, &command);
        drop(published);
    }
    per_item("apply an observation, a version being held", started, n_updates);
}

fn questions(state: &State) {
    for (n_rounds, health) in [(20_000, Health::Any), (20_000, Health::Passing)] {
        let started = cpu_ns();
        let mut n_found = 0;
        for round in 0..n_rounds {
            let service = format!("service-{:03}", round % N_SERVICES).into();
            let filter = InstanceFilter { service, health, ..InstanceFilter::default() };
            let answer = state.answer(&Query::Instances(filter));
            n_found += usize::from(answer.index > 1);
        }
        assert_eq!(n_found, n_rounds, "every service is there");
        per_item(&format!("answer a service of 100 ({health:?})"), started, n_rounds);
    }
    let mut ten = State::default();
    for number in 0..10 {
        let Command::Register(mut wish) = registration(number) else { continue };
        wish.instance.iter_mut().for_each(|own| own.service = "web".into());
        ten.apply(number as u64 + 1, &Command::Register(wish));
    }
    let started = cpu_ns();
    let filter = InstanceFilter { service: "web".into(), ..InstanceFilter::default() };
    let query = Query::Instances(filter);
    for _ in 0..100_000 {
        assert_eq!(ten.answer(&query).index, 10);
    }
    per_item("answer a service of 10 on 10 nodes", started, 100_000);
}

fn load(blocks: &[Bytes], hash: u64) {
    let before = resident_bytes();
    let started = cpu_ns();
    let loaded = State::load(blocks).expect("it was just saved");
    println!("load: {:.0} ms", ms(started));
    println!("resident before loading: {} kB", before / 1024);
    assert_eq!(loaded.hash(), hash, "what was loaded is what was saved");
}

/// The `number`-th instance with its node and its check.
fn registration(number: usize) -> Command {
    let (node, service) = (number % N_NODES, (number / 100 + number) % N_SERVICES);
    let id = format!("instance-{number:06}");
    let address = format!("10.0.{}.{}", node / 250, node % 250);
    Command::Register(Registration {
        node: Node {
            name: format!("node-{node:04}").into(),
            address: address.clone().into(),
            ..Node::default()
        },
        keep_node: false,
        instance: Some(Instance {
            id: id.clone().into(),
            service: format!("service-{service:03}").into(),
            tags: [format!("v{}", service % 7), "production".into()].map(Into::into).into(),
            address: address.clone().into(),
            port: 20_000 + (number % 10_000) as u16,
            meta: [("env", "production".into()), ("rack", format!("rack-{}", node % 40))]
                .into_iter()
                .collect(),
            ..Instance::default()
        }),
        checks: vec![Check {
            id: format!("service:{id}").into(),
            name: format!("Service 'service-{service:03}' check").into(),
            status: Status::Passing,
            output: format!("HTTP GET http://{address}:20000/health: 200 OK {number:<40}")[..60]
                .into(),
            instance_id: id.into(),
            kind: "http".into(),
            ..Check::default()
        }],
    })
}

fn report_memory(what: &str, empty: usize) {
    let grown = resident_bytes() - empty;
    println!("{what}: {} bytes an instance", grown / N_INSTANCES);
}

fn per_item(what: &str, started: u64, n_items: usize) {
    println!("{what}: {:.2} us", ms(started) * 1000.0 / n_items as f64);
}

fn ms(started: u64) -> f64 {
    (cpu_ns() - started) as f64 / 1e6
}

/// What the process holds in memory, read from the kernel.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells its pages");
    let pages = statm.split(' ').nth(1).expect("the second number is the resident set");
    pages.parse::<usize>().expect("it is a number") * 4096
}

/// Nanoseconds of processor time that this thread has had.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells its use");
    let first = stat.split(' ').next().expect("the first number is the time on a processor");
    first.parse().expect("it is a number")
}
