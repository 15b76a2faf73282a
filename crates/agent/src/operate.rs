//! What operators want of the servers, asked by an agent that is none: who votes and how the servers
//! are, changes of the group, backup and restore.
//!
//! A server is asked for facts ([`ServerFacts`], [`GroupFacts`]), and whoever asked makes of them what
//! operators see, with the names that gossip knows there as well. A backup travels as many items;
//! what is restored too, and nothing is touched before the last of them came.
//!
//! Not here: members, joins and events, which every agent of a pool sees to itself; keys, which only a
//! server is asked for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use minicbor::{Decode, Encode};
use muster_model::coordinate::NodeCoordinate;
use muster_model::{Index, Text};
use muster_registry::cluster::{Datacenter, ServerKey};
use muster_registry::{Call, Freshness, Operator, Refusal, Standing};
use muster_rpc::{Opened, Receiver, Sender};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::agent::Agent;
use crate::helm::ServerFacts;
use crate::wire::{self, Asker, OPERATOR_METHODS, PIECE_BYTES};

/// A wish: [`Operate`], answered by [`Granted`] or a refusal.
pub(crate) const OPERATE: u16 = OPERATOR_METHODS;
/// A backup: an exchange that begins with [`Save`], of [`SavedHead`] or a refusal and then the bytes.
pub(crate) const SAVE: u16 = OPERATOR_METHODS + 1;
/// A restore: an exchange that begins with [`Restore`], of bytes one way and the outcome the other.
pub(crate) const RESTORE: u16 = OPERATOR_METHODS + 2;

/// The longest a wish may take, whatever deadline it came with.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// How long the other side may take for one item.
pub(crate) const ITEM_PATIENCE: Duration = Duration::from_secs(60);
/// Pieces of a snapshot that wait for who takes them.
pub(crate) const PIECES_WAITING_MAX: usize = 4;

/// Whether this is a method of operators.
pub(crate) fn serves(method: u16) -> bool {
    matches!(method, OPERATE | SAVE | RESTORE)
}

// ------------------------------------------------------------------------------------------------
// What is said
// ------------------------------------------------------------------------------------------------

/// A wish of an operator.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct Operate {
    /// Who wishes.
    #[n(0)]
    pub(crate) asker: Asker,
    /// For what.
    #[n(1)]
    pub(crate) wish: Wish,
}

/// What an operator wants.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) enum Wish {
    /// The servers as the leader has them, or as the one that is asked has them.
    #[n(0)]
    Servers {
        /// Whether any server will do.
        #[n(0)]
        is_stale: bool,
    },
    /// A server out of the group.
    #[n(1)]
    RemoveServer {
        /// Whether its id is said, or its address.
        #[n(0)]
        is_id: bool,
        /// Its id or address.
        #[n(1)]
        key: Text,
    },
    /// Another leader: the server with this id, or any.
    #[n(2)]
    Transfer(#[n(0)] Option<Text>),
    /// The datacenters that there are.
    #[n(3)]
    Datacenters,
}

/// What came of it.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) enum Granted {
    /// It is done.
    #[n(0)]
    Done,
    /// The servers.
    #[n(1)]
    Servers(#[n(0)] GroupFacts, #[n(1)] Vec<ServerFacts>),
    /// The datacenters, the nearest first, with where their servers stand.
    #[n(2)]
    Datacenters(#[n(0)] Vec<(Text, Vec<NodeCoordinate>)>),
}

/// How the group stands at one of its servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct GroupFacts {
    /// The leader's address, if there is one.
    #[n(0)]
    pub(crate) leader_address: Option<Text>,
    /// The present term.
    #[n(1)]
    pub(crate) term: u64,
    /// The last index in the log.
    #[n(2)]
    pub(crate) last_index: Index,
    /// The last index that is decided.
    #[n(3)]
    pub(crate) commit_index: Index,
    /// The last index that is in the state.
    #[n(4)]
    pub(crate) applied_index: Index,
    /// The index of the last snapshot.
    #[n(5)]
    pub(crate) snapshot_index: Index,
    /// The index at which the voters last changed.
    #[n(6)]
    pub(crate) voters_index: Index,
}

/// The beginning of a backup.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct Save {
    /// Who wants it.
    #[n(0)]
    pub(crate) asker: Asker,
    /// How fresh it has to be.
    #[cbor(n(1), with = "wire::freshness")]
    pub(crate) freshness: Freshness,
}

/// What comes before the bytes of a backup.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct SavedHead {
    /// The index it stands at.
    #[n(0)]
    pub(crate) index: Index,
    /// How the server stands.
    #[cbor(n(1), with = "wire::standing")]
    pub(crate) standing: Standing,
}

/// The beginning of a restore.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct Restore {
    /// Who wants it.
    #[n(0)]
    pub(crate) asker: Asker,
}

impl Wish {
    /// The wish that a server be removed.
    pub(crate) fn remove(server: ServerKey) -> Wish {
        match server {
            ServerKey::Id(key) => Wish::RemoveServer { is_id: true, key },
            ServerKey::Address(key) => Wish::RemoveServer { is_id: false, key },
        }
    }
}

// ------------------------------------------------------------------------------------------------
// Serving
// ------------------------------------------------------------------------------------------------

/// Serves an agent that asks for something of operators.
pub(crate) async fn serve(agent: Arc<Agent>, opened: Opened) {
    match opened.method {
        SAVE => match muster_model::decode(&opened.body) {
            Ok(save) => serve_save(agent, save, opened).await,
            Err(error) => refuse(opened, &error).await,
        },
        RESTORE => match muster_model::decode(&opened.body) {
            Ok(restore) => serve_restore(agent, restore, opened).await,
            Err(error) => refuse(opened, &error).await,
        },
        _ => match muster_model::decode::<Operate>(&opened.body) {
            Ok(operate) => {
                let deadline = opened.deadline.min(Instant::now() + PATIENCE_MAX);
                let call = operate.asker.call(deadline);
                let granting = timeout_at(deadline, grant(&agent, &call, operate.wish)).await;
                let granted = granting.unwrap_or(Err(Refusal::Late));
                // Whoever no longer waits needs no answer.
                drop(opened.answer(wire::pack(granted)).await);
            }
            Err(error) => refuse(opened, &error).await,
        },
    }
}

async fn refuse(opened: Opened, error: &muster_model::DecodeError) {
    opened.refuse(format!("a server does not understand: {error}").into()).await;
}

async fn grant(agent: &Agent, call: &Call, wish: Wish) -> Result<Granted, Refusal> {
    match wish {
        Wish::Servers { is_stale } => {
            let servers = match is_stale {
                true => agent.own_sight(),
                false => agent.leaders_sight(call).await?,
            };
            Ok(Granted::Servers(agent.group_facts(), servers))
        }
        Wish::RemoveServer { is_id, key } => {
            let server = if is_id { ServerKey::Id(key) } else { ServerKey::Address(key) };
            agent.remove_server(call, server).await.map(|()| Granted::Done)
        }
        Wish::Transfer(to) => agent.transfer_leadership(call, to).await.map(|()| Granted::Done),
        Wish::Datacenters => {
            let known = agent.datacenters(call).await?;
            let told = known.into_iter().map(|Datacenter { name, servers }| (name, servers));
            Ok(Granted::Datacenters(told.collect()))
        }
    }
}

async fn serve_save(agent: Arc<Agent>, save: Save, opened: Opened) {
    let call = save.asker.call(Instant::now() + PATIENCE_MAX);
    let saved = agent.save(&call, save.freshness).await;
    drop(agent);
    let (mut sender, _receiver) = opened.exchange.split();
    let mut saved = match saved {
        Ok(saved) => saved,
        Err(refusal) => {
            let refused = wire::pack::<SavedHead>(Err(refusal));
            // Whoever no longer waits needs no answer.
            return drop(timeout(ITEM_PATIENCE, sender.finish_with(refused)).await);
        }
    };
    let head = SavedHead { index: saved.index, standing: saved.standing };
    if !is_sent(&mut sender, wire::pack(Ok(head))).await {
        return;
    }
    while let Some(block) = saved.blocks.recv().await {
        let is_taken = match block {
            Ok(block) => are_sent(&mut sender, block).await,
            Err(error) => return sender.fail(error.to_string().into()).await,
        };
        if !is_taken {
            return;
        }
    }
    // The connection may be gone; then the backup is cut, which its end mark tells.
    let _ = sender.finish();
}

async fn serve_restore(agent: Arc<Agent>, restore: Restore, opened: Opened) {
    let call = restore.asker.call(Instant::now() + PATIENCE_MAX);
    let (mut sender, receiver) = opened.exchange.split();
    let (pieces, blocks) = mpsc::channel(PIECES_WAITING_MAX);
    let (restored, ()) = tokio::join!(agent.restore(&call, blocks), take_pieces(receiver, pieces));
    // Whoever no longer waits needs no answer.
    let _ = timeout(ITEM_PATIENCE, sender.finish_with(wire::pack(restored))).await;
}

/// Hands on what comes, until it ends, breaks off or nobody takes it any more.
pub(crate) async fn take_pieces(
    mut receiver: Receiver,
    pieces: mpsc::Sender<Result<Bytes, io::Error>>,
) {
    loop {
        let piece = match timeout(ITEM_PATIENCE, receiver.next()).await {
            Ok(Ok(Some(piece))) => Ok(piece),
            Ok(Ok(None)) => return,
            Ok(Err(fault)) => Err(io::Error::other(fault.to_string())),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let is_last = piece.is_err();
        if pieces.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

/// Sends a block in pieces; whether the other side took them in time.
pub(crate) async fn are_sent(sender: &mut Sender, mut block: Bytes) -> bool {
    while !block.is_empty() {
        let piece = block.split_to(block.len().min(PIECE_BYTES));
        if !is_sent(sender, piece).await {
            return false;
        }
    }
    true
}

async fn is_sent(sender: &mut Sender, item: Bytes) -> bool {
    matches!(timeout(ITEM_PATIENCE, sender.send(item)).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wish_arrives_as_it_was() {
        let key = ServerKey::Address("127.0.0.1:8300".into());
        let operate = Operate { asker: Asker::default(), wish: Wish::remove(key) };
        let came: Operate = muster_model::decode(&muster_model::encode(&operate)).unwrap();
        assert!(matches!(came.wish, Wish::RemoveServer { is_id: false, .. }), "{came:?}");
        let group =
            GroupFacts { term: 7, leader_address: Some("a".into()), ..GroupFacts::default() };
        let packed = wire::pack(Ok(Granted::Servers(group.clone(), Vec::new())));
        let Ok(Granted::Servers(came, _)) = wire::unpack(&packed) else { panic!("no servers") };
        assert_eq!(came, group);
        let refused = wire::pack::<SavedHead>(Err(Refusal::NoLeader));
        assert_eq!(wire::unpack::<SavedHead>(&refused).unwrap_err(), Refusal::NoLeader);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = muster_model::decode::<Operate>(&bytes);
            let _ = muster_model::decode::<Save>(&bytes);
            let _ = muster_model::decode::<Restore>(&bytes);
            let _ = wire::unpack::<Granted>(&bytes);
            let _ = wire::unpack::<SavedHead>(&bytes);
        }
    }
}
