//! `drill pause`: a leader that stands still for a while is no leader when it wakes.
//!
//! A round stops the leader with SIGSTOP for one to ten seconds, sees that another leads and
//! writes go on, and wakes it with SIGCONT. Before it wakes, questions with `consistent` wait in
//! its sockets: it takes itself for the leader in that moment, and must not answer them from what
//! it has.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::connection::Connection;
use super::gaps::Gaps;
use super::lab::{Lab, Plan};
use super::ledger::Slot;
use super::load::{Load, found_in, path_of, under_load};
use super::{Chance, Order, Verdict};

/// The longest silence of writes when the leader stands still.
const GAP_MAX: Duration = Duration::from_millis(800);
/// How long the leader stands still.
const PAUSE_MIN_MS: u64 = 1_000;
const PAUSE_MAX_MS: u64 = 10_000;
/// Fresh writes that show that writes go on.
const N_FRESH: usize = 10;
/// Questions that wait for the leader when it wakes.
const N_QUESTIONS: usize = 32;

/// What all rounds came to.
#[derive(Default)]
struct Figures {
    gaps: Gaps,
    n_answered: usize,
    n_refused: usize,
}

pub(super) fn run(order: &Order) -> Result<Verdict, String> {
    let mut lab = Lab::found(&order.binary, &order.scratch, Plan::usual(&order.scratch))?;
    let (figures, line) = under_load(&mut lab, order.seed, |lab, load| {
        let mut chance = Chance(order.seed);
        let mut figures = Figures::default();
        for round in 1..=order.n_rounds {
            load.until_written(order.n_writes)?;
            pause(lab, load, &mut chance, &mut figures)
                .map_err(|why| format!("round {round} of seed {}: {why}", order.seed))?;
            load.check_witnesses(order)?;
        }
        Ok(figures)
    })?;
    let Figures { gaps, n_answered, n_refused } = figures;
    let says = format!(
        "{} pauses of the leader; write gap {gaps}; of the questions that waited for it {n_answered} \
         were answered, none stale, and {n_refused} not",
        gaps.len()
    );
    if order.is_too_long(gaps.worst(), GAP_MAX) {
        return Err(format!("{says}: too long, allowed is {GAP_MAX:?}; {line}"));
    }
    Ok(Verdict::Kept(format!("{says}; {line}")))
}

fn pause(
    lab: &mut Lab,
    load: &Load,
    chance: &mut Chance,
    figures: &mut Figures,
) -> Result<(), String> {
    let leader = lab.leader()?;
    let pause = PAUSE_MIN_MS + chance.below(PAUSE_MAX_MS - PAUSE_MIN_MS);
    let pause = Duration::from_millis(pause);
    let mut lines: Vec<Connection> =
        (0..N_QUESTIONS).map(|_| lab.connect(leader)).collect::<Result<_, _>>()?;
    let paused_at = Instant::now();
    lab.close(leader);
    lab.signal(leader, Signal::STOP);
    load.writes.begin(paused_at);
    load.until_fresh(N_FRESH)?;
    let gap = load.writes.longest();
    std::thread::sleep(pause.saturating_sub(paused_at.elapsed()));
    if lab.leader()? == leader {
        return Err("the others still take the one that stands still for their leader".to_owned());
    }
    let asked = ask_all(load, &mut lines, chance)?;
    lab.signal(leader, Signal::CONT);
    let mut n_answered = 0;
    for ((place, before), line) in asked.iter().zip(&mut lines) {
        let Ok(answer) = line.receive() else { continue };
        let Some(found) = found_in(before, &answer)? else { continue };
        n_answered += 1;
        let judged = load.ledger.judge(*place, before, found.0);
        judged.map_err(|why| format!("the one that woke answered a consistent read: {why}"))?;
    }
    figures.n_answered += n_answered;
    figures.n_refused += N_QUESTIONS - n_answered;
    println!("stood still for {pause:?}: write gap {gap:?}, {n_answered} answers afterwards");
    figures.gaps.add(gap);
    lab.until_whole()
}

/// Sends a question on each connection, and gives what each must at least find.
fn ask_all(
    load: &Load,
    lines: &mut [Connection],
    chance: &mut Chance,
) -> Result<Vec<(usize, Slot)>, String> {
    let mut asked = Vec::new();
    for line in lines {
        let place = chance.below(load.ledger.n_live() as u64) as usize;
        let before = load.ledger.slot(place);
        let sent = line.send("GET", &path_of(&before, "consistent"), b"");
        sent.map_err(|error| format!("a question for the one that stands still: {error}"))?;
        asked.push((place, before));
    }
    Ok(asked)
}
