//! `drill rescue`: two servers of three are lost for good, and the one that is left goes on.
//!
//! A round loses one server with its data, and once writes have gone on, so that all that was
//! acknowledged is on the two that are left, another. The survivor, which led or followed, grants
//! nothing then, and answers `stale` reads and DNS as before. It is stopped, its folder is made
//! that of the only voter by `muster operator raft rescue`, and it is started again: it has
//! everything, and takes writes. The lost ones come back with empty folders, follow, and vote.

use std::process::Command;
use std::time::{Duration, Instant};

use super::fleet::told;
use super::gaps::Gaps;
use super::lab::{Lab, Plan};
use super::load::{Load, under_load};
use super::{Chance, Order, Verdict};
use crate::process;

/// How long the cluster is left without a quorum.
const LOST_FOR: Duration = Duration::from_secs(3);
/// From the start of the survivor to its first acknowledged write.
const WRITES_WITHIN: Duration = Duration::from_secs(2);
/// Fresh writes that show that writes go on.
const N_FRESH: usize = 10;
/// How long the command may take.
const RESCUES_WITHIN: Duration = Duration::from_secs(30);

pub(super) fn run(order: &Order) -> Result<Verdict, String> {
    let mut lab = Lab::found(&order.binary, &order.scratch, Plan::usual(&order.scratch))?;
    let ((starts, wholes), line) = under_load(&mut lab, order.seed, |lab, load| {
        let mut chance = Chance(order.seed);
        let (mut starts, mut wholes) = (Gaps::default(), Gaps::default());
        for round in 1..=order.n_rounds {
            load.until_written(order.n_writes)?;
            let (start, whole) = lose_and_rescue(order, lab, load, &mut chance)
                .map_err(|why| format!("round {round} of seed {}: {why}", order.seed))?;
            starts.add(start);
            wholes.add(whole);
            load.check_witnesses(order)?;
        }
        Ok((starts, wholes))
    })?;
    let says = format!(
        "{} times two of three were lost; the survivor wrote again {starts} after its start; three \
         vote again after {wholes}",
        starts.len()
    );
    if order.is_too_long(starts.worst(), WRITES_WITHIN) {
        return Err(format!("{says}: too long, allowed is {WRITES_WITHIN:?}; {line}"));
    }
    Ok(Verdict::Kept(format!("{says}; {line}")))
}

fn lose_and_rescue(
    order: &Order,
    lab: &mut Lab,
    load: &Load,
    chance: &mut Chance,
) -> Result<(Duration, Duration), String> {
    let n_servers = lab.n_servers();
    let survivor = chance.below(n_servers as u64) as usize;
    let mut lost: Vec<usize> = (0..n_servers).filter(|at| *at != survivor).collect();
    if chance.below(2) == 1 {
        lost.reverse();
    }
    let led = lab.leader()?;
    for at in &lost {
        // Whoever has these has all that was acknowledged before them.
        load.writes.begin(Instant::now());
        load.until_fresh(N_FRESH)?;
        lab.kill(*at);
        clear(lab, *at)?;
    }
    load.writes.begin(Instant::now());
    grants_nothing(lab, load, survivor)?;
    lab.terminate(survivor)?;
    let says = make_only_voter(order, lab, survivor)?;
    let start = start_alone(lab, survivor)?;
    println!("server {} is left, server {} led; {says}", survivor + 1, led + 1);
    let came_at = Instant::now();
    for at in lost {
        lab.start_unopened(at)?;
    }
    lab.until_whole()?;
    println!("it wrote {start:?} after its start; three voted {:?} later", came_at.elapsed());
    Ok((start, came_at.elapsed()))
}

fn clear(lab: &Lab, at: usize) -> Result<(), String> {
    let folder = lab.data(at);
    std::fs::remove_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

/// One of three acknowledges no write and answers no `consistent` read; the witness asks it for the
/// rest.
fn grants_nothing(lab: &Lab, load: &Load, survivor: usize) -> Result<(), String> {
    let answer = lab.connect(survivor)?.ask("GET", "/v1/kv/mark?consistent", b"");
    let answer = answer.map_err(|error| format!("a consistent read of the survivor: {error}"))?;
    if answer.status == 200 {
        return Err("the survivor answers a consistent read".to_owned());
    }
    std::thread::sleep(LOST_FOR);
    if load.writes.n_fresh() > 0 {
        return Err("the survivor acknowledges writes".to_owned());
    }
    load.check()
}

/// The command of docs/operations.md; gives what it says.
fn make_only_voter(order: &Order, lab: &Lab, survivor: usize) -> Result<String, String> {
    let mut command = Command::new(&order.binary);
    command.args(["operator", "raft", "rescue", "-data-dir"]).arg(lab.data(survivor));
    let log = order.scratch.join("rescue.log");
    let ended = process::run(&mut command, RESCUES_WITHIN, &log);
    let says = process::tail(&log, 5);
    if !ended.map_err(|error| error.to_string())?.is_success() {
        return Err(format!("muster operator raft rescue: {says}"));
    }
    // The rest of it tells what to do next.
    Ok(says.split(". ").next().unwrap_or_default().to_owned())
}

/// Starts the survivor; gives how long it took until it acknowledged a write.
fn start_alone(lab: &mut Lab, survivor: usize) -> Result<Duration, String> {
    let started_at = Instant::now();
    lab.start_unopened(survivor)?;
    lab.until("the survivor acknowledges a write", || {
        let answer = lab.connect(survivor)?.ask("PUT", "/v1/kv/alone", b"x");
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(told(&answer)) }
    })?;
    let start = started_at.elapsed();
    lab.open(survivor);
    Ok(start)
}
