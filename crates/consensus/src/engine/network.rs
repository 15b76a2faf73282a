//! The engine's messages on their way to a peer.
//!
//! A peer has one client for each urgency: heartbeats and votes are calls that wait for nothing,
//! entries travel on a line that stays open while there is something to send (many may be under
//! way at once), and a snapshot has a line of its own. Whatever goes wrong is "unreachable" to the
//! engine, which pauses and tries again.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use muster_world::{File, Open, World};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError};
use openraft::network::{Backoff, RPCOption, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2, alias};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::applier::SnapshotFile;
use super::log_store::off_runtime;
use super::message::{
    AppendAnswer, AppendAsk, Message, SnapshotAsk, TransferAsk, VoteAnswer, VoteAsk, decode, encode,
};
use super::types::{Peer, RaftVoteOf, Types, from_snapshot_meta, from_vote, to_vote};
use crate::peers::{LineReceiver, LineSender, Peers, Unreachable, Urgency};
use crate::voters::Voter;
use crate::wal::vote::Vote;

/// Bytes of a snapshot in one message.
const SNAPSHOT_BLOCK: usize = 256 << 10;
/// How long a message of a snapshot may take.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(10);
/// How long the peer may take to install a snapshot that it has.
const INSTALL_PATIENCE: Duration = Duration::from_secs(300);
/// The pauses between tries at a peer that cannot be reached.
const PAUSE_FIRST: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Makes the clients.
pub(crate) struct Network {
    peers: Arc<dyn Peers>,
    world: Arc<dyn World>,
}

impl Network {
    pub(crate) fn new(peers: Arc<dyn Peers>, world: Arc<dyn World>) -> Self {
        Network { peers, world }
    }

    fn client(&self, id: u64, peer: &Peer, urgency: Urgency) -> Client {
        let to = Voter { id, address: peer.address.clone() };
        Client { peers: self.peers.clone(), world: self.world.clone(), to, urgency }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Client {
        self.client(target, node, Urgency::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Peer) -> Client {
        self.client(target, node, Urgency::Urgent)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Peer) -> Client {
        self.client(target, node, Urgency::Bulk)
    }
}

/// Speaks to one peer.
pub(crate) struct Client {
    peers: Arc<dyn Peers>,
    world: Arc<dyn World>,
    to: Voter,
    urgency: Urgency,
}

impl Client {
    async fn call<A>(&self, urgency: Urgency, ask: &Message, ttl: Duration) -> io::Result<A>
    where
        A: for<'b> minicbor::Decode<'b, ()>,
    {
        let deadline = Instant::now() + ttl;
        let answer = self.peers.call(&self.to, urgency, encode(ask), deadline).await;
        decode(&answer.map_err(io::Error::other)?)
    }

    /// Sends the blocks of a snapshot and waits until it is installed.
    async fn send_snapshot(&self, vote: Vote, snapshot: RaftSnapshot) -> io::Result<Vote> {
        let meta = from_snapshot_meta(&snapshot.meta);
        let ask = encode(&Message::Snapshot(SnapshotAsk { vote, meta }));
        let soon = || Instant::now() + SNAPSHOT_PATIENCE;
        let line = self.peers.open(&self.to, Urgency::Bulk, ask, soon()).await;
        let mut line = line.map_err(io::Error::other)?;
        let (world, path) = (self.world.clone(), snapshot.snapshot.path);
        let file: Arc<dyn File> =
            off_runtime(&*self.world, move || world.files().open(&path, Open::Read)).await?.into();
        let mut offset = 0;
        loop {
            let block = self.block(file.clone(), offset).await?;
            if block.is_empty() {
                break;
            }
            offset += block.len() as u64;
            in_time(SNAPSHOT_PATIENCE, line.sender.send(block)).await?;
        }
        in_time(SNAPSHOT_PATIENCE, line.sender.end()).await?;
        let answer = in_time(INSTALL_PATIENCE, line.receiver.next()).await?;
        decode(&answer.ok_or_else(|| io::Error::other("the peer did not install the snapshot"))?)
    }

    async fn block(&self, file: Arc<dyn File>, offset: u64) -> io::Result<Bytes> {
        off_runtime(&*self.world, move || {
            let mut block = vec![0; SNAPSHOT_BLOCK];
            let n = file.read_full_at(&mut block, offset)?;
            block.truncate(n);
            Ok(block.into())
        })
        .await
    }
}

type RaftSnapshot = alias::SnapshotOf<Types, SnapshotFile>;

async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, Unreachable>>,
) -> io::Result<T> {
    let done = tokio::time::timeout(patience, work).await;
    done.map_err(io::Error::other)?.map_err(io::Error::other)
}

fn unreachable(error: &(impl std::error::Error + 'static)) -> RPCError<Types> {
    RPCError::Unreachable(openraft::errors::Unreachable::new(error))
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let ask = Message::Append(AppendAsk::new(rpc));
        let answer = self.call::<AppendAnswer>(self.urgency, &ask, option.hard_ttl()).await;
        answer.map(AppendAnswer::into_raft).map_err(|error| unreachable(&error))
    }

    /// The line is opened once there is something to send: where the peer could not be reached
    /// before, the engine pauses in the first request, and without it tries again at once.
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Streamed>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        if self.urgency == Urgency::Urgent {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(async move {
            let Some(first) = input.next().await else {
                let nothing: BoxStream<'s, Streamed> = Box::pin(stream::empty());
                return Ok(nothing);
            };
            let input = stream::iter([first]).chain(input);
            let deadline = Instant::now() + SNAPSHOT_PATIENCE;
            let opening = encode(&Message::Appends);
            let line = self.peers.open(&self.to, self.urgency, opening, deadline).await;
            let line = line.map_err(|error| unreachable(&error))?;
            let pump = Pump(tokio::spawn(pump(input, line.sender)).abort_handle());
            let answers: BoxStream<'s, Streamed> = Box::pin(answers(line.receiver, pump));
            Ok(answers)
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let ask = Message::Vote(VoteAsk::new(&rpc));
        let answer = self.call::<VoteAnswer>(Urgency::Urgent, &ask, option.hard_ttl()).await;
        answer.map(VoteAnswer::into_raft).map_err(|error| unreachable(&error))
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let ask = Message::PreVote(VoteAsk::new(&rpc));
        let answer = self.call::<VoteAnswer>(Urgency::Urgent, &ask, option.hard_ttl()).await;
        answer.map(VoteAnswer::into_raft).map_err(|error| unreachable(&error))
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVoteOf,
        snapshot: RaftSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let index = from_snapshot_meta(&snapshot.meta).last.unwrap_or_default().index;
        tracing::info!(peer = %self.to.address, index, "sends a snapshot");
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(from_vote(&vote), snapshot) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(to_vote(vote))),
                Err(error) => {
                    tracing::warn!(peer = %self.to.address, %error, "the snapshot was not taken");
                    Err(StreamingError::Network(NetworkError::new(&error)))
                }
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let ask = Message::Transfer(TransferAsk::new(&req));
        let taken = self.call::<bool>(Urgency::Urgent, &ask, option.hard_ttl()).await;
        match taken {
            Ok(true) => Ok(Ok(())),
            Ok(false) => Err(unreachable(&io::Error::other("the peer does not take over now"))),
            Err(error) => Err(unreachable(&error)),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let pauses =
            std::iter::successors(Some(PAUSE_FIRST), |pause| Some((*pause * 2).min(PAUSE_MAX)));
        Some(Backoff::new(pauses))
    }
}

// ---------------------------------------------------------------- a line of appends

type Streamed = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// The task that feeds a line; it ends with whoever reads the answers.
struct Pump(AbortHandle);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn pump(
    mut input: impl Stream<Item = AppendEntriesRequest<Types>> + Unpin,
    mut sender: Box<dyn LineSender>,
) {
    while let Some(ask) = input.next().await {
        if sender.send(encode(&AppendAsk::new(ask))).await.is_err() {
            // The other half of the line says why.
            return;
        }
    }
    // Likewise.
    let _ = sender.end().await;
}

fn answers(receiver: Box<dyn LineReceiver>, pump: Pump) -> impl Stream<Item = Streamed> {
    stream::unfold(Some((receiver, pump)), |line| async move {
        let (mut receiver, pump) = line?;
        let answer = match receiver.next().await {
            Ok(None) => return None,
            Ok(Some(bytes)) => decode::<AppendAnswer>(&bytes),
            Err(error) => Err(io::Error::other(error)),
        };
        let answer = answer.and_then(|answer| {
            answer.into_stream().ok_or_else(|| io::Error::other("no answer for a line of appends"))
        });
        Some(match answer {
            Ok(result) => (Ok(result), Some((receiver, pump))),
            Err(error) => (Err(unreachable(&error)), None),
        })
    })
}
