//! `muster debug`: what an agent knows of itself over a while, in one archive for whoever helps.
//!
//! Secrets are not in it: the agent hides them in every answer. The archive is written aside and
//! renamed when it is whole.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Failure;
use super::client::{Ask, Client};
use super::console::{Console, progress, text};
use super::files::{self, Aside};
use crate::config::duration;

/// The most bytes of log that go into an archive.
const LOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most samples of metrics in an archive.
const SAMPLES_MAX: usize = 1000;

/// Collect what an agent knows of itself into an archive.
#[derive(Debug, Args)]
pub struct Debug {
    /// How long to collect.
    #[arg(long, default_value = "2m", value_parser = duration::parse)]
    duration: Duration,
    /// The pause between two samples of metrics; at least 1s.
    #[arg(long, default_value = "30s", value_parser = duration::parse)]
    interval: Duration,
    /// What to collect: agent, host, members, metrics, logs; everything if not given. Repeatable.
    #[arg(long)]
    capture: Vec<String>,
    /// The archive's name without .tar.gz.
    #[arg(long)]
    output: Option<PathBuf>,
}

impl Debug {
    /// Collects and writes.
    pub async fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let client = console.client.clone();
        let host = client.json(Ask::get("/v1/agent/host")).await?;
        let output = self.output.clone().unwrap_or_else(|| {
            PathBuf::from(format!("muster-debug-{}", text(&host, "CollectionTime")))
        });
        let output = PathBuf::from(format!("{}.tar.gz", output.display()));
        let wrong = |error: std::io::Error| files::failure(&output, &error);
        let aside = Aside::create(&output)?;
        let mut archive = tar::Builder::new(GzEncoder::new(aside, Compression::default()));
        let stills = [
            ("agent", "agent.json", "/v1/agent/self"),
            ("host", "host.json", "/v1/agent/host"),
            ("members", "members.json", "/v1/agent/members"),
            ("agent", "raft.json", "/v1/operator/raft/configuration"),
        ];
        for (capture, name, path) in stills {
            if self.wants(capture) {
                let reply = client.send(Ask::get(path)).await?;
                append(&mut archive, name, &reply.body).map_err(wrong)?;
            }
        }
        console.line(format!("Collecting for {}...", duration::show(self.duration)))?;
        let until = Instant::now() + self.duration;
        let bar = progress("collecting", None);
        let (log, samples) = tokio::join!(
            collect_log(&client, until, self.wants("logs")),
            self.collect_metrics(&client, until),
        );
        bar.finish_and_clear();
        append(&mut archive, "consul.log", &log).map_err(wrong)?;
        for (n, sample) in samples.iter().enumerate() {
            append(&mut archive, &format!("metrics/{n:04}.json"), sample).map_err(wrong)?;
        }
        archive.into_inner().and_then(GzEncoder::finish).map_err(wrong)?.finish()?;
        console.line(format!("Saved debug archive: {}", output.display()))
    }

    fn wants(&self, capture: &str) -> bool {
        self.capture.is_empty() || self.capture.iter().any(|wanted| wanted == capture)
    }

    async fn collect_metrics(&self, client: &Client, until: Instant) -> Vec<Vec<u8>> {
        let mut samples = Vec::new();
        if !self.wants("metrics") {
            return samples;
        }
        let mut ticks = interval(self.interval.max(Duration::from_secs(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while samples.len() < SAMPLES_MAX {
            tokio::select! {
                _ = ticks.tick() => {}
                () = sleep_until(until) => break,
            }
            if let Ok(reply) = client.send(Ask::get("/v1/agent/metrics")).await {
                samples.push(reply.body.to_vec());
            }
        }
        samples
    }
}

/// The agent's log until an instant; what cannot be had is left out, with the reason in its place.
async fn collect_log(client: &Client, until: Instant, is_wanted: bool) -> Vec<u8> {
    let mut log = Vec::new();
    if !is_wanted {
        return log;
    }
    let ask = Ask::get("/v1/agent/monitor").with("loglevel", "debug");
    let mut body = match client.stream(ask).await {
        Ok(body) => body,
        Err(failure) => return failure.to_string().into_bytes(),
    };
    while log.len() < LOG_BYTES_MAX {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = sleep_until(until) => break,
        };
        match frame {
            Some(Ok(frame)) => log.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Some(Err(_)) | None => break,
        }
    }
    log
}

fn append(
    archive: &mut tar::Builder<GzEncoder<Aside>>,
    name: &str,
    data: &[u8],
) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, Path::new(name), data)
}
