//! `muster snapshot`: the whole state as a file, saved, looked at, put back.
//!
//! A snapshot over HTTP is a gzipped tar of `meta.json`, `state.bin` and `SHA256SUMS`. A file is saved
//! aside, verified against its sums and only then given its name, so that a file with that name is
//! always whole. Reading is bounded: sizes are counted as bytes are unpacked, nothing is kept but the
//! two small files.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use flate2::read::GzDecoder;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Failure;
use super::client::Ask;
use super::console::{Console, progress, text};
use super::files::{self, Aside};

/// The longest `meta.json` or `SHA256SUMS` that is read.
const SMALL_BYTES_MAX: u64 = 1024 * 1024;
/// The most files in a snapshot.
const FILES_MAX: usize = 16;
/// The longest snapshot that restore reads; it is sent from memory.
const RESTORE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Save, restore and inspect the whole state.
#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Save the state to a file.
    Save {
        /// The file.
        file: PathBuf,
        /// Add to the file's name: version, dc, node or status, comma separated.
        #[arg(long, default_value = "")]
        append_filename: String,
    },
    /// Replace the whole state by a file's.
    Restore {
        /// The file.
        file: PathBuf,
    },
    /// Verify a file and tell what it holds.
    Inspect {
        /// The file.
        file: PathBuf,
    },
}

impl Snapshot {
    /// Does what was asked.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self {
            Snapshot::Save { file, append_filename } => save(file, &append_filename, console).await,
            Snapshot::Restore { file } => restore(&file, console).await,
            Snapshot::Inspect { file } => inspect(&file, console),
        }
    }
}

async fn save(file: PathBuf, append: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let file = appended(file, append, console).await?;
    let mut aside = Aside::create(&file)?;
    let mut body = console.client.stream(Ask::get("/v1/snapshot")).await?;
    let bar = progress("saving", None);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Failure::new(format!("the snapshot broke off: {error}")))?;
        if let Some(data) = frame.data_ref() {
            aside.write_all(data).map_err(|error| files::failure(&file, &error))?;
            bar.inc(data.len() as u64);
        }
    }
    bar.finish_and_clear();
    aside.sync()?;
    let seen = read(aside.unfinished())?;
    aside.finish()?;
    console.line(format!("Saved and verified snapshot to index {}", text(&seen.meta, "Index")))
}

/// The file's name with what was asked for before its ending.
async fn appended(
    file: PathBuf,
    append: &str,
    console: &mut Console<'_>,
) -> Result<PathBuf, Failure> {
    if append.is_empty() {
        return Ok(file);
    }
    let about = console.client.json(Ask::get("/v1/agent/self")).await?;
    let config = &about["Config"];
    let mut stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    for part in append.split(',') {
        let value = match part {
            "version" => text(config, "Version"),
            "dc" => text(config, "Datacenter"),
            "node" => text(config, "NodeName"),
            "status" if about["Stats"]["consul"]["leader"] == "true" => "leader".into(),
            "status" => "follower".into(),
            part => {
                let what = format!("-append-filename {part:?}: version, dc, node or status");
                return Err(Failure::new(what));
            }
        };
        stem = format!("{stem}-{value}");
    }
    let ending = file.extension().map(|ending| ending.to_string_lossy().into_owned());
    let name = ending.map_or(stem.clone(), |ending| format!("{stem}.{ending}"));
    Ok(file.with_file_name(name))
}

async fn restore(file: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
    // A damaged file is refused here already, before the agent hears of it.
    read(file)?;
    let data = files::read(file, RESTORE_BYTES_MAX)?;
    let bar = progress("restoring", None);
    console.client.done(Ask::put("/v1/snapshot").body(data)).await?;
    bar.finish_and_clear();
    console.line("Restored snapshot")
}

fn inspect(file: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
    let seen = read(file)?;
    if console.is_json() {
        return console.json(&json!({ "Meta": seen.meta, "StateBytes": seen.state_bytes }));
    }
    let shown = [
        ("ID", text(&seen.meta, "ID")),
        ("Size", seen.state_bytes.to_string()),
        ("Index", text(&seen.meta, "Index")),
        ("Term", text(&seen.meta, "Term")),
        ("Version", text(&seen.meta, "Version")),
    ];
    for (name, value) in shown {
        console.line(format!(" {name:<13}{value}"))?;
    }
    Ok(())
}

/// What a snapshot file says of itself, its sums verified.
struct Seen {
    meta: Value,
    state_bytes: u64,
}

fn read(path: &Path) -> Result<Seen, Failure> {
    let shown = path.display();
    let wrong = |what: &str| Failure::new(format!("{shown} is not a whole snapshot: {what}"));
    let mut archive = tar::Archive::new(GzDecoder::new(files::open(path)?));
    let mut meta = Vec::new();
    let mut sums = String::new();
    let mut found: Vec<(String, String)> = Vec::new();
    let mut state_bytes = 0;
    let entries = archive.entries().map_err(|error| wrong(&error.to_string()))?;
    for (n, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|error| wrong(&error.to_string()))?;
        if n >= FILES_MAX {
            return Err(wrong("it holds too many files"));
        }
        let name = entry.path().map(|path| path.display().to_string()).unwrap_or_default();
        let damaged = |error: std::io::Error| wrong(&format!("{name}: {error}"));
        match name.as_str() {
            "meta.json" => {
                (&mut entry).take(SMALL_BYTES_MAX).read_to_end(&mut meta).map_err(damaged)?;
                found.push((name.clone(), hex(&Sha256::digest(&meta))));
            }
            "SHA256SUMS" => {
                (&mut entry).take(SMALL_BYTES_MAX).read_to_string(&mut sums).map_err(damaged)?;
            }
            _ => {
                let mut digest = Sha256::new();
                let length = std::io::copy(&mut entry, &mut digest).map_err(damaged)?;
                if name == "state.bin" {
                    state_bytes = length;
                }
                found.push((name.clone(), hex(&digest.finalize())));
            }
        }
    }
    if !found.iter().any(|(name, _)| name == "state.bin") {
        return Err(wrong("it has no state.bin"));
    }
    for (name, sum) in &found {
        let is_right = sums.lines().any(|line| {
            line.split_whitespace().collect::<Vec<_>>() == [sum.as_str(), name.as_str()]
        });
        if !is_right {
            return Err(wrong(&format!("the sum of {name} does not match")));
        }
    }
    let meta = serde_json::from_slice(&meta).map_err(|_| wrong("meta.json is not JSON"))?;
    Ok(Seen { meta, state_bytes })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
