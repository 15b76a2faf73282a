//! `muster snapshot`: the whole state as a file, saved, looked at, put back.
//!
//! A file is saved aside, checked whole and only then given its name, so that a file with that name is
//! always whole. What is in it is `muster_agent::backup`'s business.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use http_body_util::BodyExt;
use muster_agent::backup::{self, Header};
use serde_json::json;

use super::Failure;
use super::client::Ask;
use super::console::{Console, progress, text};
use super::files::{self, Aside};

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
    console.line(format!("Saved and verified snapshot to index {}", seen.index))
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
    let counts = seen.counts.iter().map(|(kind, count)| (kind.to_string(), json!(count)));
    if console.is_json() {
        return console.json(&json!({
            "Index": seen.index,
            "Term": seen.term,
            "SavedAt": seen.saved_at,
            "Datacenter": seen.datacenter.as_str(),
            "Version": seen.version.as_str(),
            "Counts": counts.collect::<serde_json::Map<_, _>>(),
        }));
    }
    let about = [
        ("Index", seen.index.to_string()),
        ("Term", seen.term.to_string()),
        ("Datacenter", seen.datacenter.to_string()),
        ("Version", seen.version.to_string()),
    ];
    for (name, value) in about {
        console.line(format!(" {name:<13}{value}"))?;
    }
    for (kind, count) in &seen.counts {
        console.line(format!(" {kind:<13}{count}"))?;
    }
    Ok(())
}

/// What a file says of itself, once all of it was checked.
fn read(path: &Path) -> Result<Header, Failure> {
    let mut file = std::io::BufReader::new(files::open(path)?);
    let wrong = |error| Failure::new(format!("{}: {error}", path.display()));
    backup::inspect(&mut file).map_err(wrong)
}
