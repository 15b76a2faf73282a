//! `drill partition`: a network that splits, wholly or in one direction, and heals.
//!
//! Three servers on [`Wires`]. The rounds take turns: the leader is cut off; nobody hears the
//! leader; the leader hears nobody; a follower hears nobody. While it lasts, the others write on,
//! the server on the other side acknowledges no write and answers no `consistent` read, yet answers
//! `stale` ones. After it heals there is one leader, and nothing is lost. A follower that hears
//! nobody must not cost the leader its place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::fleet::told;
use super::gaps::Gaps;
use super::lab::Lab;
use super::load::{Load, under_load};
use super::wires::Wires;
use super::{Chance, Order, Verdict};

/// The longest silence of writes when the leader is lost, and when a follower is.
const LEADER_GAP_MAX: Duration = Duration::from_millis(1_500);
const FOLLOWER_GAP_MAX: Duration = Duration::from_millis(300);
/// How long a split lasts at least, and how much longer it may.
const LASTS: Duration = Duration::from_secs(4);
const LONGER_MAX_MS: u64 = 4_000;
/// Fresh writes that show that writes go on.
const N_FRESH: usize = 10;
/// How long one probe of the lost server waits for an answer.
const PROBE_WAITS: Duration = Duration::from_secs(2);

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Leader,
    FromLeader,
    ToLeader,
    ToFollower,
}

impl Cut {
    const ALL: [Cut; 4] = [Cut::Leader, Cut::FromLeader, Cut::ToLeader, Cut::ToFollower];

    fn says(self) -> &'static str {
        match self {
            Cut::Leader => "the leader is cut off",
            Cut::FromLeader => "nobody hears the leader",
            Cut::ToLeader => "the leader hears nobody",
            Cut::ToFollower => "a follower hears nobody",
        }
    }

    fn gap_max(self) -> Duration {
        if self == Cut::ToFollower { FOLLOWER_GAP_MAX } else { LEADER_GAP_MAX }
    }
}

pub(super) fn run(order: &Order) -> Result<Verdict, String> {
    // A thread of its own, for it moves into another namespace.
    std::thread::scope(|scope| {
        let drill = scope.spawn(|| match Wires::lay(3) {
            Ok(wires) => split(order, &wires),
            Err(why) => Ok(Verdict::Skipped(why)),
        });
        drill.join().unwrap_or_else(|_| Err("the drill panicked".to_owned()))
    })
}

fn split(order: &Order, wires: &Wires) -> Result<Verdict, String> {
    let mut lab = Lab::found(&order.binary, &order.scratch, wires.plan(&order.scratch))?;
    let ((gaps, heals), line) = under_load(&mut lab, order.seed, |lab, load| {
        let mut chance = Chance(order.seed);
        let (mut gaps, mut heals) = (Gaps::default(), Gaps::default());
        for round in 0..order.n_rounds {
            let cut = Cut::ALL[round % Cut::ALL.len()];
            load.until_written(order.n_writes)?;
            let (gap, healed) = split_once(lab, load, wires, cut, &mut chance)
                .map_err(|why| format!("round {}, {}: {why}", round + 1, cut.says()))?;
            println!("{}: longest silence of writes {gap:?}, healed after {healed:?}", cut.says());
            if order.is_too_long(gap, cut.gap_max()) {
                return Err(format!("{}: {gap:?} without a write is too long", cut.says()));
            }
            gaps.add(gap);
            heals.add(healed);
            load.check_witnesses(order)?;
        }
        Ok((gaps, heals))
    })?;
    Ok(Verdict::Kept(format!(
        "{} splits; longest silence of writes {gaps}; whole again after {heals}; nothing \
         acknowledged on the other side; {line}",
        gaps.len()
    )))
}

fn split_once(
    lab: &Lab,
    load: &Load,
    wires: &Wires,
    cut: Cut,
    chance: &mut Chance,
) -> Result<(Duration, Duration), String> {
    let (leader, term) = (lab.leader()?, lab.term()?);
    let lost = if cut == Cut::ToFollower { (leader + 1) % lab.n_servers() } else { leader };
    let cut_at = Instant::now();
    lab.close(lost);
    make(lab, wires, cut, lost)?;
    load.writes.begin(cut_at);
    let lasts = LASTS + Duration::from_millis(chance.below(LONGER_MAX_MS));
    let has_healed = AtomicBool::new(false);
    let gap = std::thread::scope(|scope| {
        let probe = scope.spawn(|| probe(lab, lost, &has_healed));
        let went_on = load.until_fresh(N_FRESH);
        std::thread::sleep(lasts.saturating_sub(cut_at.elapsed()));
        has_healed.store(true, Ordering::Relaxed);
        let probed = probe.join().unwrap_or_else(|_| Err("the probe panicked".to_owned()));
        went_on.and(probed)?;
        Ok::<_, String>(load.writes.longest())
    })?;
    let led = lab.leader()?;
    wires.heal()?;
    let healed_at = Instant::now();
    lab.until_whole()?;
    let healed = healed_at.elapsed();
    let (leads, term_now) = (lab.leader()?, lab.term()?);
    if cut == Cut::ToFollower && (leads, term_now) != (leader, term) {
        return Err(format!("the leader of term {term} lost its place; now it is {term_now}"));
    }
    if cut != Cut::ToFollower && led == leader {
        return Err("the others still follow the one that they do not hear".to_owned());
    }
    Ok((gap, healed))
}

fn make(lab: &Lab, wires: &Wires, cut: Cut, lost: usize) -> Result<(), String> {
    let mut others = (0..lab.n_servers()).filter(|at| *at != lost);
    match cut {
        Cut::Leader => wires.cut(lost),
        Cut::FromLeader => others.try_for_each(|other| wires.mute(lost, other)),
        Cut::ToLeader | Cut::ToFollower => others.try_for_each(|other| wires.mute(other, lost)),
    }
}

/// Asks the lost server until it is found again: it answers what needs nobody else, and that alone.
fn probe(lab: &Lab, lost: usize, has_healed: &AtomicBool) -> Result<(), String> {
    let http = &lab.doors[lost].http;
    let mut n = 0;
    while !has_healed.load(Ordering::Relaxed) {
        n += 1;
        let write = format!("/v1/kv/other-side/{n}");
        let ask = |method: &str, path: &str| {
            let mut connection = Connection::open_within(http, PROBE_WAITS).ok()?;
            connection.ask(method, path, b"x").ok()
        };
        for (method, path) in [("PUT", write.as_str()), ("GET", "/v1/kv/mark?consistent")] {
            if let Some(answer) = ask(method, path)
                && answer.status == 200
                && !has_healed.load(Ordering::Relaxed)
            {
                return Err(format!("the lost server granted {method} {path}: {}", told(&answer)));
            }
        }
        match ask("GET", "/v1/kv/mark?stale") {
            Some(answer) if answer.status == 200 => {}
            Some(answer) => {
                return Err(format!("a stale read of the lost server: {}", told(&answer)));
            }
            None => return Err("the lost server does not answer a stale read".to_owned()),
        }
    }
    Ok(())
}
