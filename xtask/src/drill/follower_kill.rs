//! `drill follower-kill`: a follower that dies is hardly noticed.
//!
//! As `leader-kill`, but one that does not lead is killed, and the whole time from the kill until
//! it votes again counts: writes never stop for long.

use std::time::{Duration, Instant};

use super::gaps::Gaps;
use super::lab::{Lab, Plan};
use super::load::{Load, under_load};
use super::{Chance, Order, Verdict};

/// The longest silence of writes.
const GAP_MAX: Duration = Duration::from_millis(300);
/// A killed server is down for up to this long.
const DOWN_MAX_US: u64 = 1_500_000;

pub(super) fn run(order: &Order) -> Result<Verdict, String> {
    let mut lab = Lab::found(&order.binary, &order.scratch, Plan::usual(&order.scratch))?;
    let (gaps, line) = under_load(&mut lab, order.seed, |lab, load| {
        let mut chance = Chance(order.seed);
        let mut gaps = Gaps::default();
        for round in 1..=order.n_rounds {
            let gap = kill_follower(order, lab, load, &mut chance)
                .map_err(|why| format!("round {round} of seed {}: {why}", order.seed))?;
            println!("round {round}: longest silence of writes {gap:?}");
            gaps.add(gap);
            load.check_witnesses(order)?;
        }
        Ok(gaps)
    })?;
    let says = format!("{} follower kills; longest silence of writes {gaps}", gaps.len());
    if order.is_too_long(gaps.worst(), GAP_MAX) {
        return Err(format!("{says}: too long, allowed is {GAP_MAX:?}; {line}"));
    }
    Ok(Verdict::Kept(format!("{says}; {line}")))
}

fn kill_follower(
    order: &Order,
    lab: &mut Lab,
    load: &Load,
    chance: &mut Chance,
) -> Result<Duration, String> {
    load.until_written(order.n_writes)?;
    let leader = lab.leader()?;
    let step = 1 + chance.below(lab.n_servers() as u64 - 1) as usize;
    let follower = (leader + step) % lab.n_servers();
    load.writes.begin(Instant::now());
    lab.kill(follower);
    std::thread::sleep(Duration::from_micros(chance.below(DOWN_MAX_US)));
    lab.start_unopened(follower)?;
    lab.until_whole()?;
    Ok(load.writes.longest())
}
