//! `drill leader-kill`: a leader that dies costs a moment, and nothing that was acknowledged.
//!
//! Three servers with default settings, clients at all of them. A round kills the leader in the
//! midst of it and measures the silence from the kill to the first acknowledged write at a
//! survivor; then the killed one is started again, and the next round begins when it has caught up
//! and votes.

use std::time::{Duration, Instant};

use super::gaps::Gaps;
use super::lab::{Lab, Plan};
use super::load::{Load, under_load};
use super::{Chance, Order, Verdict};

/// What half of all gaps and all of them stay below.
const MEDIAN_MAX: Duration = Duration::from_millis(500);
const WORST_MAX: Duration = Duration::from_millis(800);
/// Fresh writes that show that writes go on.
const N_FRESH: usize = 10;
/// A kill comes up to this long after enough was written.
const LATER_MAX_US: u64 = 200_000;
/// A killed server is down for up to this long once writes go on.
const DOWN_MAX_US: u64 = 1_000_000;

pub(super) fn run(order: &Order) -> Result<Verdict, String> {
    let mut lab = Lab::found(&order.binary, &order.scratch, Plan::usual(&order.scratch))?;
    let ((gaps, returns), line) =
        under_load(&mut lab, order.seed, |lab, load| kill_leaders(order, lab, load))?;
    let says =
        format!("{} leader kills; write gap {gaps}; whole again after {returns}", gaps.len());
    if order.is_too_long(gaps.median(), MEDIAN_MAX) || order.is_too_long(gaps.worst(), WORST_MAX) {
        let allowed = format!("median {MEDIAN_MAX:?}, worst {WORST_MAX:?}");
        return Err(format!("{says}: too long, allowed is {allowed}; {line}"));
    }
    Ok(Verdict::Kept(format!("{says}; {line}")))
}

fn kill_leaders(order: &Order, lab: &mut Lab, load: &Load) -> Result<(Gaps, Gaps), String> {
    let mut chance = Chance(order.seed);
    let (mut gaps, mut returns) = (Gaps::default(), Gaps::default());
    for round in 1..=order.n_rounds {
        let (gap, back) = kill_leader(order, lab, load, &mut chance)
            .map_err(|why| format!("round {round} of seed {}: {why}", order.seed))?;
        println!("round {round}: write gap {gap:?}, whole again after {back:?}");
        gaps.add(gap);
        returns.add(back);
        load.check_witnesses(order)?;
    }
    Ok((gaps, returns))
}

fn kill_leader(
    order: &Order,
    lab: &mut Lab,
    load: &Load,
    chance: &mut Chance,
) -> Result<(Duration, Duration), String> {
    load.until_written(order.n_writes)?;
    std::thread::sleep(Duration::from_micros(chance.below(LATER_MAX_US)));
    let leader = lab.leader()?;
    let killed_at = Instant::now();
    lab.kill(leader);
    load.writes.begin(killed_at);
    load.until_fresh(N_FRESH)?;
    let gap = load.writes.longest();
    std::thread::sleep(Duration::from_micros(chance.below(DOWN_MAX_US)));
    let started_at = Instant::now();
    lab.start_unopened(leader)?;
    lab.until_whole()?;
    Ok((gap, started_at.elapsed()))
}
