//! What a call of 1 KiB each way costs, beside the bare socket.
//!
//! ```text
//! cargo run --release -p muster-rpc --example calls
//! ```
//!
//! Caller and handler are in one process, over loopback, so every figure holds both sides. In one
//! run: a bare ping-pong of the same bytes between two tasks (the floor), calls one at a time and
//! 16 and 256 at a time, a stream of 64 KiB items, and what an idle connection keeps.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool that reports and stops")]

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use muster_rpc::{
    Handler, Hello, Lane, Limits, Opened, Peer, Plain, Pool, Running, Serving, Target, serve,
};
use muster_world::{Address, Real, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY: usize = 1 << 10;
const ECHO: u16 = 1;
const SINK: u16 = 2;

struct Echo;

impl Handler for Echo {
    fn admit(&self, _peer: &Peer) -> Result<(), String> {
        Ok(())
    }

    fn serve(self: Arc<Self>, _from: Arc<Peer>, mut opened: Opened) -> Serving {
        Box::pin(async move {
            if opened.method == SINK {
                while opened.exchange.next().await.unwrap().is_some() {}
            }
            let body = opened.body.clone();
            opened.answer(body).await.unwrap();
        })
    }
}

/// Processor time of this process, in microseconds (the system counts it in steps of 10 ms).
fn processor_us() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10_000
}

fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

struct Meter {
    started: Instant,
    processor: u64,
}

impl Meter {
    fn start() -> Meter {
        Meter { started: Instant::now(), processor: processor_us() }
    }

    fn report(&self, what: &str, n: u64) {
        let wall = self.started.elapsed().as_micros() as f64 / n as f64;
        let processor = (processor_us() - self.processor) as f64 / n as f64;
        println!("{what:<40} {processor:>7.1} us CPU  {wall:>7.1} us wall, each of {n}");
    }
}

/// The same bytes, there and back, between two tasks and nothing in between.
async fn floor(world: &dyn World, n: u64) {
    let listener = world.listen(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = listener.local_address().unwrap();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut body = [0; BODY];
        while stream.read_exact(&mut body).await.is_ok() {
            stream.write_all(&body).await.unwrap();
        }
    });
    let mut stream = world.connect(&address).await.unwrap();
    let mut body = [7; BODY];
    let meter = Meter::start();
    for _ in 0..n {
        stream.write_all(&body).await.unwrap();
        stream.read_exact(&mut body).await.unwrap();
    }
    meter.report("bare socket, one at a time", n);
    drop(stream);
    answering.await.unwrap();
}

async fn calls(pool: &Arc<Pool>, to: SocketAddr, callers: u64, n: u64) {
    let left = Arc::new(AtomicU64::new(n));
    let before = pool.counters();
    let meter = Meter::start();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (pool, left) = (pool.clone(), left.clone());
            tokio::spawn(async move {
                let body = Bytes::from(vec![7; BODY]);
                let take = |left: u64| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    let deadline = Instant::now() + Duration::from_secs(30);
                    pool.call(to, Lane::Call, ECHO, body.clone(), deadline).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    meter.report(&format!("call, {callers} at a time"), n);
    let after = pool.counters();
    let writes = (after.writes - before.writes) as f64;
    println!(
        "    {:.1} calls a write",
        (after.frames_written - before.frames_written) as f64 / writes
    );
}

async fn stream(pool: &Pool, to: SocketAddr, n: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let opened = pool.open(to, Lane::Bulk, SINK, Bytes::new(), deadline);
    let mut exchange = opened.await.unwrap();
    let item = Bytes::from(vec![7; 64 << 10]);
    let meter = Meter::start();
    for _ in 0..n {
        exchange.send(item.clone()).await.unwrap();
    }
    exchange.finish().unwrap();
    while exchange.next().await.unwrap().is_some() {}
    meter.report("streamed item of 64 KiB", n);
}

async fn idle(pool: &Pool, to: SocketAddr, n: u64) {
    let before = resident_bytes();
    for at in 0..n {
        let target = Target { address: to, name: Some(at.to_string().into()) };
        let deadline = Instant::now() + Duration::from_secs(30);
        pool.call(target, Lane::Call, ECHO, Bytes::new(), deadline).await.unwrap();
    }
    let each = (resident_bytes() - before) / n;
    println!("{n} idle connections: {each} bytes each, both ends");
    // Each clock looks once more before it believes that its connection is idle.
    pass(Duration::from_secs(6)).await;
    let meter = Meter::start();
    pass(Duration::from_secs(5)).await;
    println!("    {} us CPU in 5 s", processor_us() - meter.processor);
}

async fn pass(time: Duration) {
    let nothing = std::future::pending::<()>();
    let _elapsed = tokio::time::timeout(time, nothing).await;
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let world: Arc<dyn World> = Arc::new(Real::new());
    let listener = world.listen(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let hello = Hello {
        datacenter: "dc1".to_owned(),
        node_id: 1,
        node: "n1".to_owned(),
        is_server: true,
        extra: Bytes::new(),
    };
    let limits = Limits { connections_per_address_max: 10_000, ..Limits::default() };
    let security = Arc::new(Plain);
    let running: Running =
        serve(listener, Arc::new(Echo), hello.clone(), limits.clone(), security.clone()).unwrap();
    let Address::Inet(to) = *running.local_address() else { panic!("not over TCP") };
    let pool = Pool::new(world.clone(), hello, limits, security);
    floor(&*world, 50_000).await;
    calls(&pool, to, 1, 1_000).await;
    for (callers, n) in [(1, 50_000), (16, 200_000), (256, 400_000)] {
        calls(&pool, to, callers, n).await;
    }
    stream(&pool, to, 20_000).await;
    idle(&pool, to, 2_000).await;
}
