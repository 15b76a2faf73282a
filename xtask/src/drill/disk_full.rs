//! `drill disk-full`: without space writes are refused in words and at once, reads go on, space heals.
//!
//! The data lies on a small tmpfs. What fills it is a file of the drill's own beside the data, so
//! that space can be taken and given back; the server is the same process throughout. Only root
//! may mount, so elsewhere the drill is skipped.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::connection::{Answer, Connection};
use super::fleet::told;
use super::{Order, Verdict};
use crate::conformance::launch::Server;

/// The size of the disk.
const DISK_MIB: usize = 192;
/// How long any write may wait for its answer, granted or not.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// How long the server may take to notice that space is gone, or is back.
const NOTICES_WITHIN: Duration = Duration::from_secs(30);
const PIECE_BYTES: usize = 64 * 1024;

/// A mounted disk; unmounted when dropped.
pub(super) struct Disk(pub(super) PathBuf);

impl Disk {
    pub(super) fn mount(at: PathBuf) -> Result<Self, String> {
        std::fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        let size = format!("size={DISK_MIB}m");
        let out = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&at)
            .output()
            .map_err(|error| error.to_string())?;
        match out.status.success() {
            true => Ok(Self(at)),
            false => Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()),
        }
    }

    /// Takes all space that is left, with a file whose removal gives it back.
    pub(super) fn fill(&self) -> Result<PathBuf, String> {
        let path = self.0.join("ballast");
        let mut file = File::create(&path).map_err(|error| error.to_string())?;
        let piece = [1; PIECE_BYTES];
        for size in [PIECE_BYTES, 1] {
            while file.write(&piece[..size]).is_ok_and(|n_bytes| n_bytes > 0) {}
        }
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that is still ending keeps its files until then.
        let _left_to_the_reader = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

pub(super) fn run(order: &Order) -> Result<Verdict, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Verdict::Skipped("only root may mount a small disk".to_owned()));
    }
    let disk = match Disk::mount(order.scratch.join("disk")) {
        Ok(disk) => disk,
        Err(why) => return Ok(Verdict::Skipped(format!("no disk can be mounted: {why}"))),
    };
    let data = disk.0.join("data").display().to_string();
    let arguments: Vec<String> = [
        "agent",
        "--server",
        "--bootstrap",
        "--bind",
        "127.0.0.1",
        "--node",
        "drill",
        "--data-dir",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([data])
    .collect();
    let mut server = Server::start_with(&order.binary, &arguments, &order.scratch)?;
    let mut times = Vec::new();
    for round in 1..=order.n_rounds.min(3) {
        times.push(once(&disk, &server, round).map_err(|why| format!("round {round}: {why}"))?);
        if !server.is_running() {
            return Err(format!("round {round}: the server has ended"));
        }
    }
    server.kill();
    drop(disk);
    let worst = |pick: fn(&Times) -> Duration| times.iter().map(pick).max().unwrap_or_default();
    let slowest = worst(|times| times.slowest);
    let says = format!(
        "filled and freed {} times; refused after {:?} at worst, no write waited longer than \
         {slowest:?} for its answer; wrote again after {:?} at worst",
        times.len(),
        worst(|times| times.refused_after),
        worst(|times| times.wrote_after),
    );
    if order.is_too_long(slowest, ANSWERS_WITHIN) {
        return Err(format!("{says}: too long, allowed is {ANSWERS_WITHIN:?}"));
    }
    Ok(Verdict::Kept(says))
}

/// How long things took in one round.
struct Times {
    /// From the full disk to the first refusal that names it: the log uses up first what it has.
    refused_after: Duration,
    /// The longest that one write waited for its answer.
    slowest: Duration,
    /// From the space that was freed to the first write.
    wrote_after: Duration,
}

/// Fills the disk, sees writes refused and reads go on, frees it, and sees writes again.
fn once(disk: &Disk, server: &Server, round: usize) -> Result<Times, String> {
    let kept = format!("/v1/kv/kept/{round}");
    until(server, &kept, |answer| answer.status == 200)?;
    let ballast = disk.fill()?;
    let filled_at = Instant::now();
    // What is preallocated may still take writes; those that meet the end of it have no known
    // outcome, and say so. From then on the refusals name the reason.
    let is_refused = |answer: &Answer| answer.status >= 500 && is_about_space(answer);
    let slowest = until(server, "/v1/kv/refused", is_refused)?;
    let refused_after = filled_at.elapsed();
    for path in [kept.as_str(), "/v1/catalog/nodes", "/v1/status/leader"] {
        let answer = connect(server)?.ask("GET", path, b"").map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("GET {path} without space: {}", told(&answer)));
        }
    }
    free(&ballast)?;
    let freed_at = Instant::now();
    let slow_again = until(server, "/v1/kv/again", |answer| answer.status == 200)?;
    let slowest = slowest.max(slow_again);
    Ok(Times { refused_after, slowest, wrote_after: freed_at.elapsed() })
}

fn is_about_space(answer: &Answer) -> bool {
    let says = String::from_utf8_lossy(&answer.body).to_lowercase();
    ["space", "disk"].iter().any(|word| says.contains(word))
}

fn free(ballast: &Path) -> Result<(), String> {
    std::fs::remove_file(ballast).map_err(|error| error.to_string())
}

/// Writes until an answer is as wanted; gives how long the slowest took.
fn until(server: &Server, path: &str, wanted: fn(&Answer) -> bool) -> Result<Duration, String> {
    let value = vec![b'x'; 256 * 1024];
    let started_at = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut connection = connect(server)?;
    loop {
        let asked_at = Instant::now();
        let answer = connection.ask("PUT", path, &value).map_err(|error| error.to_string())?;
        slowest = slowest.max(asked_at.elapsed());
        if wanted(&answer) {
            return Ok(slowest);
        }
        if started_at.elapsed() > NOTICES_WITHIN {
            return Err(format!("PUT {path} still answers {}", told(&answer)));
        }
    }
}

fn connect(server: &Server) -> Result<Connection, String> {
    Connection::open(&server.http).map_err(|error| format!("the server does not listen: {error}"))
}
