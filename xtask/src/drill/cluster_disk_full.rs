//! `drill cluster-disk-full`: one server of three has no space left, and the cluster goes on.
//!
//! The data of one server lies on a small tmpfs, which the drill fills and frees as in `disk-full`.
//! In one round that server follows, in the next it leads: then another has to. While it is full it
//! answers what needs no write; once there is space again it catches up by itself. Only root may
//! mount, so elsewhere the drill is skipped.

use std::time::{Duration, Instant};

use super::disk_full::Disk;
use super::fleet::{items, told};
use super::gaps::Gaps;
use super::lab::{Lab, Plan};
use super::load::{Load, under_load};
use super::{Order, Verdict};

/// The longest silence of writes when a follower is full, and when the leader is.
const FOLLOWER_GAP_MAX: Duration = Duration::from_millis(300);
const LEADER_GAP_MAX: Duration = Duration::from_secs(2);
/// The server whose disk is small.
const FULL: usize = 1;
/// What is written while it is full: more than was preallocated.
const N_BIG: usize = 32;
const BIG_BYTES: usize = 256 * 1024;

pub(super) fn run(order: &Order) -> Result<Verdict, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Verdict::Skipped("only root may mount a small disk".to_owned()));
    }
    let disk = match Disk::mount(order.scratch.join("disk")) {
        Ok(disk) => disk,
        Err(why) => return Ok(Verdict::Skipped(format!("no disk can be mounted: {why}"))),
    };
    let mut plan = Plan::usual(&order.scratch);
    plan.data[FULL] = disk.0.join("data");
    let mut lab = Lab::found(&order.binary, &order.scratch, plan)?;
    let ((follower, leader, backs), line) = under_load(&mut lab, order.seed, |lab, load| {
        let (mut follower, mut leader) = (Gaps::default(), Gaps::default());
        let mut backs = Gaps::default();
        for round in 0..order.n_rounds {
            load.until_written(order.n_writes)?;
            let leads = round % 2 == 1;
            let (gap, back) = fill_and_free(lab, load, &disk, leads)
                .map_err(|why| format!("round {}, it led: {leads}: {why}", round + 1))?;
            println!("round {}, it led: {leads}: gap {gap:?}, well after {back:?}", round + 1);
            if leads {
                leader.add(gap)
            } else {
                follower.add(gap)
            }
            backs.add(back);
            load.check_witnesses(order)?;
        }
        Ok((follower, leader, backs))
    })?;
    let says = format!(
        "filled {} times; write gap with a full follower {follower}, with a full leader {leader}; \
         well again with space after {backs}",
        backs.len()
    );
    if order.is_too_long(follower.worst(), FOLLOWER_GAP_MAX)
        || order.is_too_long(leader.worst(), LEADER_GAP_MAX)
    {
        let allowed = format!("{FOLLOWER_GAP_MAX:?} and {LEADER_GAP_MAX:?}");
        return Err(format!("{says}: too long, allowed are {allowed}; {line}"));
    }
    Ok(Verdict::Kept(format!("{says}; {line}")))
}

fn fill_and_free(
    lab: &mut Lab,
    load: &Load,
    disk: &Disk,
    leads: bool,
) -> Result<(Duration, Duration), String> {
    give_role(lab, leads)?;
    load.writes.begin(Instant::now());
    let ballast = disk.fill()?;
    let value = vec![b'x'; BIG_BYTES];
    for n in 0..N_BIG {
        lab.put(&format!("/v1/kv/big/{n}"), &value)?;
    }
    let leader = lab.leader()?;
    if leader == FULL {
        return Err("the server without space leads".to_owned());
    }
    for path in ["/v1/kv/mark?raw&stale", "/v1/catalog/nodes?stale"] {
        let answer = lab.connect(FULL)?.ask("GET", path, b"").map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("GET {path} without space: {}", told(&answer)));
        }
    }
    let gap = load.writes.longest();
    let removed = std::fs::remove_file(&ballast);
    removed.map_err(|error| error.to_string())?;
    let freed_at = Instant::now();
    lab.until_whole()?;
    if let Some(status) = lab.ended(FULL)? {
        return Err(format!("the full server has ended: {status}\n{}", lab.words(FULL)));
    }
    Ok((gap, freed_at.elapsed()))
}

/// Makes the server whose disk is small lead or follow.
fn give_role(lab: &Lab, leads: bool) -> Result<(), String> {
    lab.until("the roles are given", || {
        if (lab.leader()? == FULL) == leads {
            return Ok(());
        }
        let health = lab.read(0, "/v1/operator/autopilot/health")?;
        let name = format!("server-{}", if leads { FULL + 1 } else { 1 });
        let server = items(&health["Servers"]).iter().find(|server| server["Name"] == *name);
        let id = server.and_then(|server| server["ID"].as_str()).unwrap_or_default();
        let path = format!("/v1/operator/raft/transfer-leader?id={id}");
        let answer = lab.connect(0)?.ask("POST", &path, b"").map_err(|error| error.to_string())?;
        Err(told(&answer))
    })
}
