//! `cargo xtask drill`: the real binary under what machines do to it.
//!
//! A drill starts the binary as an operator would, does something to it that a test inside the
//! process cannot (a kill, a full disk), and says in its last line whether every promise was kept.
//! Adding a drill is adding a file and naming it in [`run`].

mod connection;
mod disk_full;
mod fleet;
mod kill;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Failure;
use crate::conformance::{self, Tally};

pub(crate) const SAYS: &str =
    "Puts the binary through `kill` or `disk-full` (--rounds, --writes, --seed, --binary).";

/// How a drill is run.
struct Order {
    binary: PathBuf,
    /// A folder of its own, removed afterwards unless the drill fails.
    scratch: PathBuf,
    /// How often the process is killed.
    n_rounds: usize,
    /// Acknowledged writes in a round.
    n_writes: usize,
    /// What everything random is drawn from: printed, so that a run can be asked for again.
    seed: u64,
}

/// What a drill found out, when nothing went wrong.
enum Verdict {
    /// Every promise was kept; the figures in one line.
    Kept(String),
    /// This machine cannot hold the drill.
    Skipped(String),
}

/// One drill.
type Drill = fn(&Order) -> Result<Verdict, String>;

/// Entry of the chore.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::Usage("name a drill: kill or disk-full".to_owned()));
    };
    let drill: Drill = match name.as_str() {
        "kill" => kill::run,
        "disk-full" => disk_full::run,
        unknown => {
            let says = format!("there is no drill {unknown:?}; there are: kill, disk-full");
            return Err(Failure::Usage(says));
        }
    };
    let order = Order::parse(name, rest)?;
    println!("drill {name}: seed {}", order.seed);
    match hold(&order, drill) {
        Ok(Verdict::Kept(figures)) => println!("drill {name}: held; {figures}"),
        Ok(Verdict::Skipped(why)) => println!("drill {name}: skipped: {why}"),
        Err(why) => return Err(Failure::NotInOrder(why)),
    }
    Ok(())
}

/// Both drills in a minute or less, for `cargo xtask test`.
pub(crate) fn quick(tally: &mut Tally) -> Result<(), Failure> {
    let binary = conformance::build(true)?;
    let drills: [(&str, Drill); 2] = [("kill", kill::run), ("disk-full", disk_full::run)];
    for (name, drill) in drills {
        let order = Order { n_rounds: 3, n_writes: 500, ..Order::usual(name, binary.clone()) };
        let named = format!("drill {name}");
        match hold(&order, drill) {
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
    fn usual(name: &str, binary: PathBuf) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let scratch = std::env::temp_dir().join(format!("drill-{name}-{}", std::process::id()));
        Self {
            binary,
            scratch,
            n_rounds: 50,
            n_writes: 10_000,
            seed: u64::from(since.subsec_nanos()),
        }
    }

    fn parse(name: &str, arguments: &[String]) -> Result<Self, Failure> {
        let mut order = Self::usual(name, PathBuf::new());
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
                _ => {
                    let says = "there are --rounds --writes --seed --binary";
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
        let parsed = Order::parse("kill", &words("--rounds 2 --writes 30 --seed 4 --binary /b"));
        let order = parsed.ok().expect("is an order");
        assert_eq!((order.n_rounds, order.n_writes, order.seed), (2, 30, 4));
        assert!(Order::parse("kill", &words("--rounds 0 --binary /b")).is_err());
        assert!(Order::parse("kill", &words("--what 1")).is_err());
    }

    #[test]
    fn a_failed_drill_leaves_its_folder_and_a_kept_one_does_not() {
        let mut order = Order::usual("folder", PathBuf::new());
        order.scratch.push("inner");
        assert!(hold(&order, |_| Err("broken".to_owned())).is_err());
        assert!(order.scratch.is_dir());
        assert!(hold(&order, |_| Ok(Verdict::Kept(String::new()))).is_ok());
        assert!(!order.scratch.exists());
        std::fs::remove_dir_all(order.scratch.parent().expect("it has one")).expect("is there");
    }
}
