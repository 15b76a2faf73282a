//! `drill corrupt`: what rots on one server's disk is told, never served, and made good by the others.
//!
//! A round kills one server of three, flips a bit of what it has written (in its log, a snapshot, the
//! vote) or cuts the log short, and starts it: it has to refuse, naming the file and the place in
//! it. Then its data folder is cleared, as its words suggest, and it joins anew, follows, votes.
//! The other two serve all the time.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::gaps::Gaps;
use super::lab::{Lab, Plan};
use super::load::{Load, under_load};
use super::{Chance, Order, Verdict};

/// The longest silence of writes, whoever was killed.
const GAP_MAX: Duration = Duration::from_millis(800);
/// How long a server may take to notice that its data is damaged.
const REFUSES_WITHIN: Duration = Duration::from_secs(30);
/// How long the first snapshot may take.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(20);
/// Entries after which a snapshot is due: few, so that there is one to be damaged.
const SNAPSHOT_AFTER: &str = "--hcl=raft_snapshot_threshold = 1000";
/// How often it is asked whether one is due.
const SNAPSHOT_INTERVAL: &str = "--hcl=raft_snapshot_interval = \"1s\"";
/// The beginning of a log segment, before its first record.
const SEGMENT_HEAD_BYTES: u64 = 64;
/// A disk cuts a file at a multiple of this; other ends were never left by a loss of power.
const SECTOR_BYTES: u64 = 512;
/// Where the vote lies: two slots of so many bytes, so far apart.
const VOTE_SLOT_BYTES: u64 = 64;
const VOTE_SLOT_DISTANCE: u64 = 4096;

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    LogBit,
    SnapshotBit,
    VoteBit,
    LogCut,
}

impl Damage {
    const ALL: [Damage; 4] = [Damage::LogBit, Damage::SnapshotBit, Damage::VoteBit, Damage::LogCut];
}

pub(super) fn run(order: &Order) -> Result<Verdict, String> {
    let mut plan = Plan::usual(&order.scratch);
    plan.flags.extend([SNAPSHOT_AFTER, SNAPSHOT_INTERVAL].map(str::to_owned));
    let mut lab = Lab::found(&order.binary, &order.scratch, plan)?;
    let ((gaps, backs), line) = under_load(&mut lab, order.seed, |lab, load| {
        let mut chance = Chance(order.seed);
        let (mut gaps, mut backs) = (Gaps::default(), Gaps::default());
        for round in 0..order.n_rounds {
            load.until_written(order.n_writes)?;
            let damage = Damage::ALL[round % Damage::ALL.len()];
            let (gap, back) = damage_one(lab, load, damage, &mut chance)
                .map_err(|why| format!("round {} ({damage:?}): {why}", round + 1))?;
            gaps.add(gap);
            backs.add(back);
            load.check_witnesses(order)?;
        }
        Ok((gaps, backs))
    })?;
    let says = format!(
        "{} times damaged, each refused with file and byte; longest silence of writes {gaps}; voted \
         again on an empty folder after {backs}",
        gaps.len()
    );
    if order.is_too_long(gaps.worst(), GAP_MAX) {
        return Err(format!("{says}: too long, allowed is {GAP_MAX:?}; {line}"));
    }
    Ok(Verdict::Kept(format!("{says}; {line}")))
}

fn damage_one(
    lab: &mut Lab,
    load: &Load,
    damage: Damage,
    chance: &mut Chance,
) -> Result<(Duration, Duration), String> {
    let victim = chance.below(lab.n_servers() as u64) as usize;
    until_snapshot(lab.data(victim))?;
    load.writes.begin(Instant::now());
    lab.kill(victim);
    let (path, offset) = make(damage, lab.data(victim), chance)?;
    let words = refusal(lab, victim)?;
    let names_file = words.contains(&path.display().to_string());
    if !names_file || !words.contains("is damaged at byte") {
        let wanted = format!("{} at byte {offset} was damaged", path.display());
        return Err(format!("{wanted}, and server {} says:\n{words}", victim + 1));
    }
    let told = words.lines().find(|line| line.contains("is damaged at byte")).unwrap_or("");
    println!("server {}, {damage:?} at byte {offset}: {told}", victim + 1);
    let cleared = std::fs::remove_dir_all(lab.data(victim));
    cleared.map_err(|error| error.to_string())?;
    let started_at = Instant::now();
    lab.start_unopened(victim)?;
    lab.until_whole()?;
    Ok((load.writes.longest(), started_at.elapsed()))
}

/// Starts a server that has to refuse, and gives its words.
fn refusal(lab: &mut Lab, victim: usize) -> Result<String, String> {
    lab.launch(victim)?;
    let started_at = Instant::now();
    loop {
        if let Some(status) = lab.ended(victim)? {
            let words = lab.words(victim);
            lab.kill(victim);
            return match status.success() {
                true => Err(format!("it ended as if all were well:\n{words}")),
                false => Ok(words),
            };
        }
        if started_at.elapsed() > REFUSES_WITHIN {
            return Err(format!("it runs on damaged data:\n{}", lab.words(victim)));
        }
        std::thread::sleep(GLANCE);
    }
}

/// Damages a file of a server that does not run; gives the file and the first byte concerned.
fn make(damage: Damage, data: &Path, chance: &mut Chance) -> Result<(PathBuf, u64), String> {
    match damage {
        Damage::LogBit => {
            let path = newest(&data.join("log"))?;
            let written = written_bytes(&path)?;
            let offset = SEGMENT_HEAD_BYTES + chance.below(written - SEGMENT_HEAD_BYTES);
            flip(path, offset, chance)
        }
        Damage::SnapshotBit => {
            let path = newest(&data.join("snapshot"))?;
            let offset = chance.below(length(&path)?);
            flip(path, offset, chance)
        }
        Damage::VoteBit => {
            let slot = chance.below(2) * VOTE_SLOT_DISTANCE;
            flip(data.join("vote"), slot + chance.below(VOTE_SLOT_BYTES), chance)
        }
        Damage::LogCut => {
            let path = newest(&data.join("log"))?;
            let written = written_bytes(&path)?;
            let half = written / 2;
            let mut end = half + chance.below(written - half);
            end += u64::from(end.is_multiple_of(SECTOR_BYTES));
            let file = OpenOptions::new().write(true).open(&path);
            let cut = file.and_then(|file| file.set_len(end));
            cut.map_err(|error| format!("{}: {error}", path.display()))?;
            Ok((path, end))
        }
    }
}

fn flip(path: PathBuf, offset: u64, chance: &mut Chance) -> Result<(PathBuf, u64), String> {
    let flipped = flip_bit(&path, offset, chance.below(8));
    flipped.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((path, offset))
}

fn flip_bit(path: &Path, offset: u64, bit: u64) -> std::io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    byte[0] ^= 1 << bit;
    file.write_all_at(&byte, offset)
}

/// Bytes of a file before the zeros at its end.
fn written_bytes(path: &Path) -> Result<u64, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default();
    Ok(last as u64 + 1)
}

fn length(path: &Path) -> Result<u64, String> {
    let facts = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(facts.len())
}

/// The file of a folder whose name comes last.
fn newest(folder: &Path) -> Result<PathBuf, String> {
    let listed =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let files = listed.filter_map(Result::ok).map(|file| file.path());
    files.max().ok_or_else(|| format!("{} is empty", folder.display()))
}

fn until_snapshot(data: &Path) -> Result<(), String> {
    let folder = data.join("snapshot");
    let started_at = Instant::now();
    while newest(&folder).is_err() {
        if started_at.elapsed() > SNAPSHOT_WITHIN {
            return Err(format!("no snapshot came into {}", folder.display()));
        }
        std::thread::sleep(GLANCE);
    }
    Ok(())
}
