//! The command that runs simulations: many seeds in a row, or one with its story.
//!
//! `cargo xtask sim` builds it and passes on what it is asked. Each seed is one run; a run that
//! goes wrong ends the command with 1, after the one line that replays it.

#![allow(clippy::print_stdout, reason = "it speaks to a terminal")]
#![allow(clippy::disallowed_methods, reason = "it tells how long runs take on the real clock")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use muster_sim::Telling;
use muster_sim::plant::Plant;
use muster_sim::run::{Order, Report, run};

const HELP: &str = "Runs simulations.

  --seeds N      how many seeds [1]
  --from S       the first seed [0]
  --seed S       one seed, with its story
  --time T       simulated seconds of each [60]
  --servers N    servers of each [1]
  --tell WHAT    little, logs or everything [little; logs with --seed]
  --twice        runs each seed twice and compares the traces
  --plants       makes servers seem to make each known mistake, and demands that a seed shows it
";

/// After how many seeds progress is told.
const TELL_AFTER: u64 = 20;

struct Wish {
    seeds: std::ops::Range<u64>,
    order: Order,
    is_single: bool,
    is_twice: bool,
    are_plants: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match parse(&arguments) {
        Ok(wish) if wish.are_plants => find_plants(&wish),
        Ok(wish) => sweep(&wish),
        Err(why) => {
            println!("{why}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[String]) -> Result<Wish, String> {
    let (mut from, mut n_seeds, mut telling) = (0, 1, None);
    let mut wish = Wish {
        seeds: 0..1,
        order: Order::minute(0),
        is_single: false,
        is_twice: false,
        are_plants: false,
    };
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        match flag.as_str() {
            "--twice" => wish.is_twice = true,
            "--plants" => wish.are_plants = true,
            _ => {}
        }
        if matches!(flag.as_str(), "--twice" | "--plants") {
            continue;
        }
        let value = rest.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{flag} needs a number"));
        match flag.as_str() {
            "--seeds" => n_seeds = number()?,
            "--from" => from = number()?,
            "--seed" => (from, n_seeds, wish.is_single) = (number()?, 1, true),
            "--time" => wish.order.time = Duration::from_secs(number()?),
            "--servers" => {
                wish.order.n_servers = usize::try_from(number()?.clamp(1, 9)).unwrap_or(1);
            }
            "--tell" => telling = Some(parse_telling(value)?),
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    let usual = if wish.is_single { Telling::Logs } else { Telling::Little };
    wish.order.telling = telling.unwrap_or(usual);
    wish.seeds = from..from.saturating_add(n_seeds);
    Ok(wish)
}

fn parse_telling(word: &str) -> Result<Telling, String> {
    match word {
        "little" => Ok(Telling::Little),
        "logs" => Ok(Telling::Logs),
        "everything" => Ok(Telling::Everything),
        _ => Err(format!("there is no way of telling {word:?}")),
    }
}

fn sweep(wish: &Wish) -> ExitCode {
    let began = Instant::now();
    let (mut n_done, mut n_faults, mut n_operations, mut n_wrong) = (0, 0, 0, 0);
    for seed in wish.seeds.clone() {
        let report = run(Order { seed, ..wish.order });
        n_done += 1;
        n_faults += report.n_faults;
        n_operations += report.history.operations.len();
        let mut wrong = report.wrong.clone();
        if wish.is_twice {
            wrong.extend(compare(&report, &run(Order { seed, ..wish.order })));
        }
        if wish.is_single || !wrong.is_empty() {
            tell(wish, &report, &wrong);
        }
        n_wrong += u64::from(!wrong.is_empty());
        if n_done % TELL_AFTER == 0 || seed + 1 == wish.seeds.end {
            let minutes = wish.order.time.as_secs_f64() * n_done as f64 / 60.0;
            println!(
                "up to seed {seed}: {n_done} runs, {minutes:.0} simulated minutes, {n_faults} \
                 faults, {n_operations} operations, {n_wrong} went wrong; {:.1} s",
                began.elapsed().as_secs_f64()
            );
        }
    }
    if n_wrong > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs seeds with each mistake planted until one shows it.
fn find_plants(wish: &Wish) -> ExitCode {
    let mut n_hidden = 0;
    for plant in Plant::ALL {
        let planted = |seed| run(Order { seed, plant: Some(plant), ..wish.order });
        let found: Option<(u64, String)> = wish.seeds.clone().find_map(|seed| {
            let wrong = planted(seed).wrong;
            wrong.into_iter().next().map(|why| (seed, why))
        });
        match &found {
            Some((seed, why)) => println!("{plant:?}: shown by seed {seed}: {why}"),
            None => println!("{plant:?}: WRONG: no seed of {:?} shows it", wish.seeds),
        }
        n_hidden += u64::from(found.is_none());
    }
    if n_hidden > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What two runs of one seed differ in.
fn compare(first: &Report, second: &Report) -> Option<String> {
    let is_same = first.hash == second.hash && first.story == second.story;
    let at = first.story.iter().zip(&second.story).find(|(one, other)| one != other);
    let told = at.map_or_else(String::new, |(one, other)| format!("; first\n{one}\n{other}"));
    (!is_same).then(|| {
        let (one, other) = (first.hash, second.hash);
        format!("two runs of this seed differ: {one:016x} and {other:016x}{told}")
    })
}

fn tell(wish: &Wish, report: &Report, wrong: &[String]) {
    for line in &report.story {
        println!("{line}");
    }
    let seed = report.order.seed;
    println!(
        "seed {seed}: {} faults, {} operations, {} messages, {} changes of files, trace {:016x}",
        report.n_faults,
        report.history.operations.len(),
        report.work.n_messages,
        report.work.n_changes,
        report.hash
    );
    for why in wrong {
        println!("WRONG: {why}");
    }
    if !wrong.is_empty() && !wish.is_single {
        let (seconds, n) = (report.order.time.as_secs(), report.order.n_servers);
        println!("replay: cargo xtask sim --seed {seed} --time {seconds} --servers {n}");
    }
}
