//! `drill kill`: a process that is killed in the middle of writes loses nothing it acknowledged.
//!
//! A round starts the binary on the folder of the round before, lets the [`fleet`] write until
//! enough is acknowledged and a random while longer, and sends SIGKILL while all connections have a
//! write under way. Then it starts the binary again and holds all that was ever promised against
//! what is there. Every fifth round the start after the kill is killed too.
//!
//! A kill leaves the pages that the kernel holds: what a power cut leaves is shown by the tests of
//! `consensus`, which cut a simulated disk.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::fleet::{self, Compared, Memory};
use super::{Chance, Order, Verdict};
use crate::conformance::launch::Server;

/// How long a round may take to have its writes acknowledged.
const ROUND_WITHIN: Duration = Duration::from_secs(300);
/// How long after its start a server may refuse questions for want of a leader.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// How often the count of acknowledged writes is looked at.
const GLANCE: Duration = Duration::from_micros(200);
/// A kill comes up to this long after enough was acknowledged.
const LATER_MAX_US: u64 = 50_000;
/// A start that is killed is killed within this.
const START_MAX_US: u64 = 150_000;
/// Broken promises that are told in full.
const N_TOLD: usize = 20;

/// The figures of all rounds.
#[derive(Default)]
struct Figures {
    n_acknowledged: usize,
    n_cut_off: usize,
    n_landed: usize,
    n_kept: usize,
    starts: Vec<Duration>,
    wrote_for: Duration,
}

pub(super) fn run(order: &Order) -> Result<Verdict, String> {
    let mut chance = Chance(order.seed);
    let mut memories = fleet::memories(order.n_writes);
    let mut figures = Figures::default();
    let mut server = start(order)?;
    for round in 1..=order.n_rounds {
        write_until_killed(order, server, &mut memories, &mut chance, &mut figures)?;
        if round % 5 == 0 {
            let started = launch(order)?;
            std::thread::sleep(Duration::from_micros(chance.below(START_MAX_US)));
            drop(started);
        }
        let started_at = Instant::now();
        server = start(order)?;
        let found = look(&server)?;
        figures.starts.push(started_at.elapsed());
        let mut compared = Compared::default();
        for memory in &mut memories {
            memory.compare(&found, &mut compared);
        }
        if !compared.broken.is_empty() {
            return Err(tell(round, order.seed, &compared));
        }
        figures.n_cut_off += compared.n_cut_off;
        figures.n_landed += compared.n_landed;
        figures.n_kept = compared.n_kept;
    }
    Ok(Verdict::Kept(figures.line(order.n_rounds)))
}

/// Lets all clients write, and kills the server in the midst of it.
fn write_until_killed(
    order: &Order,
    server: Server,
    memories: &mut [Memory],
    chance: &mut Chance,
    figures: &mut Figures,
) -> Result<(), String> {
    let acknowledged = AtomicUsize::new(0);
    let address = server.http.clone();
    let started_at = Instant::now();
    let (in_time, ends) = std::thread::scope(|scope| {
        let clients: Vec<_> = memories
            .iter_mut()
            .map(|memory| scope.spawn(|| memory.write_on(&address, &acknowledged)))
            .collect();
        let mut in_time = true;
        while acknowledged.load(Ordering::Relaxed) < order.n_writes && in_time {
            std::thread::sleep(GLANCE);
            in_time = started_at.elapsed() < ROUND_WITHIN
                && !clients.iter().all(std::thread::ScopedJoinHandle::is_finished);
        }
        std::thread::sleep(Duration::from_micros(chance.below(LATER_MAX_US)));
        server.kill();
        let ends: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        (in_time, ends)
    });
    for end in ends {
        end.map_err(|_| "a client of the drill panicked".to_owned())??;
    }
    let n_acknowledged = acknowledged.load(Ordering::Relaxed);
    if !in_time {
        return Err(format!("only {n_acknowledged} writes were acknowledged before time ran out"));
    }
    figures.wrote_for += started_at.elapsed();
    figures.n_acknowledged += n_acknowledged;
    Ok(())
}

fn arguments(order: &Order) -> Vec<String> {
    let data = order.scratch.join("data").display().to_string();
    ["agent", "--server", "--bootstrap", "--bind", "127.0.0.1", "--node", "drill", "--data-dir"]
        .into_iter()
        .map(str::to_owned)
        .chain([data])
        .collect()
}

fn start(order: &Order) -> Result<Server, String> {
    Server::start_with(&order.binary, &arguments(order), &order.scratch)
}

fn launch(order: &Order) -> Result<crate::process::Group, String> {
    Server::launch(&order.binary, &arguments(order), &order.scratch)
}

/// All that is there, as soon as the server answers.
fn look(server: &Server) -> Result<fleet::Found, String> {
    let started_at = Instant::now();
    loop {
        let mut connection = Connection::open(&server.http).map_err(|error| error.to_string())?;
        match fleet::look(&mut connection) {
            Err(why) if started_at.elapsed() > ANSWERS_WITHIN => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
            found => return found,
        }
    }
}

fn tell(round: usize, seed: u64, compared: &Compared) -> String {
    let n_broken = compared.broken.len();
    let told: Vec<&str> = compared.broken.iter().take(N_TOLD).map(String::as_str).collect();
    let told = told.join("\n  ");
    format!("round {round} of seed {seed}: {n_broken} promises were broken:\n  {told}")
}

impl Figures {
    fn line(&self, n_rounds: usize) -> String {
        let worst = self.starts.iter().max().copied().unwrap_or_default();
        let sum: Duration = self.starts.iter().sum();
        let mean = sum.as_secs_f64() / self.starts.len().max(1) as f64;
        format!(
            "{n_rounds} kills, {} acknowledged writes ({:.0}/s), none lost; {} cut off, of which {} \
             landed; {} slots at the end; start to the last answer {:.0} ms (worst {} ms)",
            self.n_acknowledged,
            self.n_acknowledged as f64 / self.wrote_for.as_secs_f64(),
            self.n_cut_off,
            self.n_landed,
            self.n_kept,
            mean * 1e3,
            worst.as_millis(),
        )
    }
}
