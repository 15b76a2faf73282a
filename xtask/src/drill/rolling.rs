//! `drill rolling`: one server after the other is stopped and started again, and nobody minds.
//!
//! Three ways, each with a cluster of its own: a plain SIGTERM, after which the server is still one
//! of the group; `muster leave`; and a SIGTERM with `leave_on_terminate`. Who left is taken in
//! anew: it follows first and votes later. Clients try again, as clients do.

use std::process::Command;
use std::time::{Duration, Instant};

use super::gaps::Gaps;
use super::lab::{Lab, Plan};
use super::load::{Load, under_load};
use super::{Order, Verdict};
use crate::process;

/// The longest silence of writes around one restart.
const GAP_MAX: Duration = Duration::from_secs(1);
/// How long `muster leave` may take.
const LEAVES_WITHIN: Duration = Duration::from_secs(30);

/// How a server is stopped.
#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Leave,
    LeaveOnTerminate,
}

impl Way {
    const ALL: [Way; 3] = [Way::Plain, Way::Leave, Way::LeaveOnTerminate];

    fn says(self) -> &'static str {
        match self {
            Way::Plain => "SIGTERM",
            Way::Leave => "muster leave",
            Way::LeaveOnTerminate => "SIGTERM with leave_on_terminate",
        }
    }
}

pub(super) fn run(order: &Order) -> Result<Verdict, String> {
    let mut told = Vec::new();
    for way in Way::ALL {
        let scratch = order.scratch.join(format!("{way:?}").to_lowercase());
        std::fs::create_dir_all(&scratch).map_err(|error| error.to_string())?;
        let mut plan = Plan::usual(&scratch);
        if matches!(way, Way::LeaveOnTerminate) {
            plan.flags.push("--hcl=leave_on_terminate = true".to_owned());
        }
        let mut lab = Lab::found(&order.binary, &scratch, plan)?;
        let (gaps, line) =
            under_load(&mut lab, order.seed, |lab, load| roll(order, way, lab, load))
                .map_err(|why| format!("{}: {why}", way.says()))?;
        let says = format!("{} restarts by {}: write gap {gaps}", gaps.len(), way.says());
        println!("{says}; {line}");
        if order.is_too_long(gaps.worst(), GAP_MAX) {
            return Err(format!("{says}: too long, allowed is {GAP_MAX:?}"));
        }
        told.push(says);
    }
    Ok(Verdict::Kept(format!("{}; no acknowledged write lost", told.join("; "))))
}

fn roll(order: &Order, way: Way, lab: &mut Lab, load: &Load) -> Result<Gaps, String> {
    let mut gaps = Gaps::default();
    for round in 0..order.n_rounds * lab.n_servers() {
        let at = round % lab.n_servers();
        load.until_written(order.n_writes)?;
        let was_leader = lab.leader()? == at;
        load.writes.begin(Instant::now());
        stop(order, way, lab, at)?;
        let stopped_after = load.writes.longest();
        lab.start_unopened(at)?;
        let started_at = Instant::now();
        lab.until_whole()?;
        let gap = load.writes.longest();
        println!(
            "server {} by {}, it led: {was_leader}; write gap {gap:?} ({stopped_after:?} until it \
             had ended), whole again after {:?}",
            at + 1,
            way.says(),
            started_at.elapsed()
        );
        gaps.add(gap);
        load.check_witnesses(order)?;
    }
    Ok(gaps)
}

fn stop(order: &Order, way: Way, lab: &mut Lab, at: usize) -> Result<(), String> {
    match way {
        Way::Plain => lab.terminate(at).map(drop),
        Way::LeaveOnTerminate => {
            let status = lab.terminate(at)?;
            if status.success() { Ok(()) } else { Err(format!("it did not leave: {status}")) }
        }
        Way::Leave => {
            lab.close(at);
            let mut leave = Command::new(&order.binary);
            leave.arg("leave").arg(format!("--http-addr={}", lab.doors[at].http));
            let log = order.scratch.join("leave.log");
            let ended = process::run(&mut leave, LEAVES_WITHIN, &log);
            if !ended.map_err(|error| error.to_string())?.is_success() {
                return Err(format!("muster leave: {}", process::tail(&log, 5)));
            }
            lab.until_ended(at).map(drop)
        }
    }
}
