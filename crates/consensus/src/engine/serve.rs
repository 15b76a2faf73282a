//! The engine's answers to what its peers say.
//!
//! Every message of a group arrives here, already known to come from one of its servers. What only
//! a leader can do for a follower (confirm a read, propose) is answered by [`Consensus`] above;
//! what is the engine's is handed to it. A snapshot is written beside the others and checked
//! before the engine hears of it, so a line that breaks off leaves nothing but a file to remove.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use muster_world::{File, Open, World};
use openraft::alias;
use openraft::raft::AppendEntriesRequest;

use super::applier::SnapshotFile;
use super::log_store::off_runtime;
use super::message::{AppendAnswer, AppendAsk, Message, SnapshotAsk, VoteAnswer, decode, encode};
use super::raft::Engine;
use super::types::{Types, from_vote, to_snapshot_meta, to_vote};
use crate::peers::{Line, LineReceiver};
use crate::progress::Progress;
use crate::snapshot;

/// Bytes of a snapshot that is taken from a peer.
const SNAPSHOT_BYTES_MAX: u64 = 8 << 30;

/// Where snapshots of peers arrive.
pub(crate) struct Arrivals {
    world: Arc<dyn World>,
    folder: PathBuf,
    n_arrived: AtomicU64,
}

impl Arrivals {
    pub(crate) fn new(world: Arc<dyn World>, folder: PathBuf) -> Self {
        Arrivals { world, folder, n_arrived: AtomicU64::new(0) }
    }

    fn next_path(&self) -> PathBuf {
        let number = self.n_arrived.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{}{number}", snapshot::ARRIVING))
    }
}

fn stopped(error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("consensus has stopped: {error}"))
}

impl Engine {
    /// Answers a call. What is not the engine's to answer is given back.
    pub(crate) async fn answer(
        &self,
        message: Message,
        progress: &Progress,
    ) -> io::Result<Result<Bytes, Message>> {
        let raft = self.raft();
        Ok(Ok(match message {
            Message::Vote(ask) => {
                let answer = raft.vote(ask.into_raft()).await.map_err(|e| stopped(&e))?;
                encode(&VoteAnswer::new(&answer))
            }
            Message::PreVote(ask) => {
                let answer = raft.pre_vote(ask.into_raft()).await.map_err(|e| stopped(&e))?;
                encode(&VoteAnswer::new(&answer))
            }
            Message::Append(ask) => {
                let ask = ask.into_raft()?;
                let answer = raft.append_entries(ask).await.map_err(|e| stopped(&e))?;
                let answer = AppendAnswer::new(&answer);
                note_contact(progress, &answer);
                encode(&answer)
            }
            Message::Transfer(ask) => {
                let taken = raft.handle_transfer_leader(ask.into_raft()).await;
                encode(&taken.map_err(|e| stopped(&e))?.is_ok())
            }
            other => return Ok(Err(other)),
        }))
    }

    /// Serves a line of appends until either side ends it.
    pub(crate) async fn take_appends(&self, line: Line, progress: &Progress) -> io::Result<()> {
        let Line { mut sender, receiver } = line;
        let asks = Box::pin(asks(receiver));
        let mut answers = Box::pin(self.raft().stream_append(asks));
        while let Some(answer) = answers.next().await {
            let answer = AppendAnswer::of_stream(&answer.map_err(|e| stopped(&e))?);
            note_contact(progress, &answer);
            sender.send(encode(&answer)).await.map_err(io::Error::other)?;
        }
        sender.end().await.map_err(io::Error::other)
    }

    /// Takes a snapshot from a line and has it installed.
    pub(crate) async fn take_snapshot(
        &self,
        ask: SnapshotAsk,
        line: Line,
        arrivals: &Arrivals,
    ) -> io::Result<()> {
        let Line { mut sender, mut receiver } = line;
        let path = arrivals.next_path();
        let taken = self.install(ask, &mut *receiver, arrivals, &path).await;
        let (world, arrived) = (arrivals.world.clone(), path.clone());
        let removed = off_runtime(&*arrivals.world, move || world.files().remove(&arrived)).await;
        if let Err(error) = removed {
            tracing::warn!(%error, path = %path.display(), "an arrived snapshot stays behind");
        }
        sender.send(taken?).await.map_err(io::Error::other)?;
        sender.end().await.map_err(io::Error::other)
    }

    async fn install(
        &self,
        ask: SnapshotAsk,
        receiver: &mut dyn LineReceiver,
        arrivals: &Arrivals,
        path: &Path,
    ) -> io::Result<Bytes> {
        receive_file(receiver, arrivals, path).await?;
        let meta = to_snapshot_meta(&ask.meta)?;
        let data = SnapshotFile { path: path.to_owned() };
        let snapshot = alias::SnapshotOf::<Types, SnapshotFile> { meta, snapshot: data };
        let answer = self.raft().install_full_snapshot(to_vote(ask.vote), snapshot).await;
        Ok(encode(&from_vote(&answer.map_err(|e| stopped(&e))?.vote)))
    }
}

/// Writes what comes over a line into a new file.
async fn receive_file(
    receiver: &mut dyn LineReceiver,
    arrivals: &Arrivals,
    path: &Path,
) -> io::Result<()> {
    let (world, at) = (arrivals.world.clone(), path.to_owned());
    let opened = off_runtime(&*arrivals.world, move || world.files().open(&at, Open::Create));
    let file: Arc<dyn File> = opened.await?.into();
    let mut length = 0;
    while let Some(block) = receiver.next().await.map_err(io::Error::other)? {
        let offset = length;
        length += block.len() as u64;
        if length > SNAPSHOT_BYTES_MAX {
            let why = format!("the snapshot is larger than {SNAPSHOT_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        let file = file.clone();
        off_runtime(&*arrivals.world, move || file.write_all_at(&block, offset)).await?;
    }
    Ok(())
}

/// Requests from a line, until it ends or says something that is none.
fn asks(
    receiver: Box<dyn LineReceiver>,
) -> impl stream::Stream<Item = AppendEntriesRequest<Types>> {
    stream::unfold(receiver, |mut receiver| async move {
        let bytes = match receiver.next().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return None,
            Err(error) => {
                tracing::debug!(%error, "a line of appends broke off");
                return None;
            }
        };
        match decode::<AppendAsk>(&bytes).and_then(AppendAsk::into_raft) {
            Ok(ask) => Some((ask, receiver)),
            Err(error) => {
                tracing::warn!(%error, "a line of appends is not understood");
                None
            }
        }
    })
}

/// Who was told by a leader that it leads, and did not know better, has heard from it.
fn note_contact(progress: &Progress, answer: &AppendAnswer) {
    if !matches!(answer, AppendAnswer::HigherVote(_)) {
        progress.heard_from_leader();
    }
}
