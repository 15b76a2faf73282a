//! `cargo xtask drill`: the real binary under what machines do to it.
//!
//! A drill starts the binary as an operator would, does something to it that a test inside the
//! process cannot (a kill, a full disk), and says in its last line whether every promise was kept.
//! Drills of one process have the clients of [`fleet`]; drills of a cluster start its servers in
//! [`lab`] and have the clients of [`load`]. Adding a drill is adding a file and a line of
//! [`DRILLS`].

mod cluster_disk_full;
mod connection;
mod corrupt;
mod disk_full;
mod fleet;
mod follower_kill;
mod gaps;
mod kill;
mod lab;
mod leader_kill;
mod ledger;
mod load;
mod partition;
mod pause;
mod pulse;
mod rescue;
mod rolling;
mod stall;
mod wires;
mod witness;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Failure;
use crate::conformance::{self, Tally};

pub(crate) const SAYS: &str = "Puts the binary through what machines do; alone lists the drills (--rounds, --writes, --seed).";

/// How a drill is run.
struct Order {
    binary: PathBuf,
    /// A folder of its own, removed afterwards unless the drill fails.
    scratch: PathBuf,
    /// How often it is done to the process.
    n_rounds: usize,
    /// Acknowledged writes in a round.
    n_writes: usize,
    /// What everything random is drawn from: printed, so that a run can be asked for again.
    seed: u64,
    /// Whether what takes longer than it may breaks the drill: a machine that is busy with tests, and
    /// a binary that is not optimized, show what is safe and not how long it takes.
    is_timed: bool,
}

/// What a drill found out, when nothing went wrong.
enum Verdict {
    /// Every promise was kept; the figures in one line.
    Kept(String),
    /// This machine cannot hold the drill.
    Skipped(String),
}

/// One drill, and how it is run unless somebody says otherwise.
struct Drill {
    name: &'static str,
    says: &'static str,
    run: fn(&Order) -> Result<Verdict, String>,
    n_rounds: usize,
    n_writes: usize,
}

impl Drill {
    const fn of_one(name: &'static str, says: &'static str, run: Run) -> Self {
        Self { name, says, run, n_rounds: 50, n_writes: 10_000 }
    }

    const fn of_three(name: &'static str, says: &'static str, run: Run, n_rounds: usize) -> Self {
        Self { name, says, run, n_rounds, n_writes: 1_000 }
    }
}

type Run = fn(&Order) -> Result<Verdict, String>;

const DRILLS: &[Drill] = &[
    Drill::of_one("kill", "one process, killed in the midst of writes", kill::run),
    Drill::of_one("disk-full", "one process without space", disk_full::run),
    Drill::of_three("leader-kill", "three servers, the leader killed", leader_kill::run, 5),
    Drill::of_three("follower-kill", "three servers, a follower killed", follower_kill::run, 5),
    Drill::of_three("pause", "three servers, the leader stands still", pause::run, 5),
    Drill::of_three("rolling", "three servers, restarted in turn", rolling::run, 1),
    Drill::of_three(
        "cluster-disk-full",
        "three servers, one without space",
        cluster_disk_full::run,
        4,
    ),
    Drill::of_three("partition", "three servers, the network split", partition::run, 4),
    Drill::of_three("corrupt", "three servers, the data of one damaged", corrupt::run, 4),
    Drill::of_three("rescue", "three servers, two lost for good", rescue::run, 3),
    Drill::of_three("stall", "three servers, disks that hang, busy processors", stall::run, 1),
];

/// The drills that `cargo xtask test` holds, with rounds and writes.
const QUICK: [(&str, usize, usize); 4] =
    [("kill", 3, 500), ("disk-full", 3, 500), ("leader-kill", 2, 200), ("follower-kill", 2, 200)];

/// Entry of the chore.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::Usage(format!("name a drill:\n{}", listed())));
    };
    let Some(drill) = DRILLS.iter().find(|drill| drill.name == name) else {
        return Err(Failure::Usage(format!("there is no drill {name:?}:\n{}", listed())));
    };
    let order = Order::parse(drill, rest)?;
    println!("drill {name}: seed {}", order.seed);
    match hold(&order, drill.run) {
        Ok(Verdict::Kept(figures)) => println!("drill {name}: held; {figures}"),
        Ok(Verdict::Skipped(why)) => println!("drill {name}: skipped: {why}"),
        Err(why) => return Err(Failure::NotInOrder(why)),
    }
    Ok(())
}

fn listed() -> String {
    let lines: Vec<String> =
        DRILLS.iter().map(|drill| format!("  {:<18} {}", drill.name, drill.says)).collect();
    lines.join("\n")
}

/// The quick drills with few rounds, for `cargo xtask test`.
pub(crate) fn quick(tally: &mut Tally) -> Result<(), Failure> {
    let binary = conformance::build(true)?;
    for (name, n_rounds, n_writes) in QUICK {
        let drill = DRILLS.iter().find(|drill| drill.name == name);
        let drill = drill.expect("every quick drill is one, which a test checks");
        let usual = Order::usual(drill, binary.clone());
        let order = Order { n_rounds, n_writes, is_timed: false, ..usual };
        let named = format!("drill {name}");
        match hold(&order, drill.run) {
            Ok(Verdict::Kept(figures)) => {
                println!("{named}: held; {figures}");
                tally.n_passed += 1;
            }
            Ok(Verdict::Skipped(why)) => tally.skipped.push((named, why)),
            Err(why) => {
                println!("{named} (seed {}): {why}", order.seed);
                tally.n_failed += 1;
            }
        }
    }
    Ok(())
}

/// Runs a drill in its folder, which is kept for a look if a promise was broken.
fn hold(
    order: &Order,
    drill: impl Fn(&Order) -> Result<Verdict, String>,
) -> Result<Verdict, String> {
    let folder = order.scratch.display();
    std::fs::create_dir_all(&order.scratch).map_err(|error| format!("{folder}: {error}"))?;
    let verdict = drill(order).map_err(|why| format!("{why}\nIts files are left in {folder}."))?;
    std::fs::remove_dir_all(&order.scratch).map_err(|error| format!("{folder}: {error}"))?;
    Ok(verdict)
}

impl Order {
    fn usual(drill: &Drill, binary: PathBuf) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let folder = format!("drill-{}-{}", drill.name, std::process::id());
        Self {
            binary,
            scratch: std::env::temp_dir().join(folder),
            n_rounds: drill.n_rounds,
            n_writes: drill.n_writes,
            seed: u64::from(since.subsec_nanos()),
            is_timed: true,
        }
    }

    fn parse(drill: &Drill, arguments: &[String]) -> Result<Self, Failure> {
        let mut order = Self::usual(drill, PathBuf::new());
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let value =
                rest.next().ok_or_else(|| Failure::Usage(format!("{flag} needs a value")))?;
            let number = || {
                let parsed = value.parse::<u64>().ok().filter(|number| *number > 0);
                parsed.ok_or_else(|| Failure::Usage(format!("{flag} needs a number above 0")))
            };
            match flag.as_str() {
                "--rounds" => order.n_rounds = usize::try_from(number()?).unwrap_or(usize::MAX),
                "--writes" => order.n_writes = usize::try_from(number()?).unwrap_or(usize::MAX),
                "--seed" => order.seed = number()?,
                "--binary" => order.binary = PathBuf::from(value),
                "--timed" => order.is_timed = yes_or_no(flag, value)?,
                _ => {
                    let says = "there are --rounds --writes --seed --binary --timed";
                    return Err(Failure::Usage(format!("unknown flag {flag}; {says}")));
                }
            }
        }
        if order.binary == Path::new("") {
            order.binary = conformance::build(false)?;
        }
        // The server may be started in another folder.
        order.binary = std::path::absolute(&order.binary).unwrap_or(order.binary);
        Ok(order)
    }

    /// Whether something took longer than it may.
    fn is_too_long(&self, took: Duration, max: Duration) -> bool {
        self.is_timed && took > max
    }
}

fn yes_or_no(flag: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => Err(Failure::Usage(format!("{flag} is yes or no, not {other:?}"))),
    }
}

/// Chance from a seed (splitmix64): the same for the same seed.
struct Chance(u64);

impl Chance {
    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn an_order_says_how_often_and_from_which_seed() {
        let parsed =
            Order::parse(&DRILLS[0], &words("--rounds 2 --writes 30 --seed 4 --binary /b"));
        let order = parsed.ok().expect("is an order");
        assert_eq!((order.n_rounds, order.n_writes, order.seed), (2, 30, 4));
        assert!(order.is_too_long(Duration::from_secs(2), Duration::from_secs(1)));
        let untimed = Order::parse(&DRILLS[0], &words("--timed no --binary /b"));
        let untimed = untimed.ok().expect("is an order");
        assert!(!untimed.is_too_long(Duration::from_secs(2), Duration::from_secs(1)));
        assert!(Order::parse(&DRILLS[0], &words("--timed maybe --binary /b")).is_err());
        assert!(Order::parse(&DRILLS[0], &words("--rounds 0 --binary /b")).is_err());
        assert!(Order::parse(&DRILLS[0], &words("--what 1")).is_err());
    }

    #[test]
    fn every_quick_drill_is_a_drill() {
        for (name, _, _) in QUICK {
            assert!(DRILLS.iter().any(|drill| drill.name == name), "{name}");
        }
    }

    #[test]
    fn a_failed_drill_leaves_its_folder_and_a_kept_one_does_not() {
        let mut order = Order::usual(&DRILLS[0], PathBuf::new());
        order.scratch.push("inner");
        assert!(hold(&order, |_| Err("broken".to_owned())).is_err());
        assert!(order.scratch.is_dir());
        assert!(hold(&order, |_| Ok(Verdict::Kept(String::new()))).is_ok());
        assert!(!order.scratch.exists());
        std::fs::remove_dir_all(order.scratch.parent().expect("it has one")).expect("is there");
    }
}
