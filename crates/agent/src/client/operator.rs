//! What those who run a client need: its own members, logs and numbers, and the servers' answers to
//! what only servers know.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_model::Text;
use muster_registry::cluster::{
    AutopilotView, Datacenter, KeyringReach, KeyringReport, KeyringWish, Member, Pool, RaftView,
    ServerKey,
};
use muster_registry::operator::{HostFacts, LogLine, Metric, Saved, SettingValue};
use muster_registry::{Call, Freshness, Operator, Pending, Refusal};
use muster_rpc::{Fault, Sender};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{timeout, timeout_at};

use super::forward::deadline_of;
use super::running::Client;
use super::{Again, Forward};
use crate::helm::ServerFacts;
use crate::operate::{
    self, Granted, GroupFacts, OPERATE, Operate, PIECES_WAITING_MAX, RESTORE, Restore, SAVE, Save,
    SavedHead, Wish,
};
use crate::operator::{host_facts, members_of, views};
use crate::wire::{self, Asker};

/// How long a restore may take at least: it travels through the log.
const RESTORE_PATIENCE: Duration = Duration::from_secs(330);

impl Operator for Client {
    fn members(&self, pool: Pool) -> Vec<Member> {
        match pool {
            Pool::Lan => members_of(&self.lan),
            Pool::Wan => Vec::new(),
        }
    }

    fn join<'a>(
        &'a self,
        _: &'a Call,
        address: &'a str,
        pool: Pool,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            refuse_wan(pool)?;
            self.lan.join(&[address.to_owned()]).await.map(drop)
        })
    }

    fn force_leave<'a>(
        &'a self,
        _: &'a Call,
        node: &'a str,
        prune: bool,
        pool: Pool,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            refuse_wan(pool)?;
            self.lan.force_leave(node, prune).await
        })
    }

    fn leave<'a>(&'a self, _: &'a Call) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.lan.leave().await;
            self.stop();
            Ok(())
        })
    }

    fn reload<'a>(&'a self, _: &'a Call) -> Pending<'a, Result<Vec<Text>, Refusal>> {
        (self.setup.reload)()
    }

    fn raft<'a>(
        &'a self,
        call: &'a Call,
        freshness: Freshness,
    ) -> Pending<'a, Result<RaftView, Refusal>> {
        Box::pin(async move {
            let (group, servers) = self.servers(call, freshness == Freshness::Stale).await?;
            Ok(views::raft(&self.lan.members().borrow(), &servers, group))
        })
    }

    fn remove_server<'a>(
        &'a self,
        call: &'a Call,
        server: ServerKey,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.operate(call, Wish::remove(server), Again::IfUnserved).await.map(drop)
        })
    }

    fn transfer_leadership<'a>(
        &'a self,
        call: &'a Call,
        to: Option<Text>,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.operate(call, Wish::Transfer(to), Again::IfUnserved).await.map(drop)
        })
    }

    fn autopilot<'a>(&'a self, call: &'a Call) -> Pending<'a, Result<AutopilotView, Refusal>> {
        Box::pin(async move {
            let (_, servers) = self.servers(call, false).await?;
            let wall = self.world.wall_clock();
            Ok(views::autopilot(&self.lan.members().borrow(), &servers, wall))
        })
    }

    fn keyring<'a>(
        &'a self,
        _: &'a Call,
        _: KeyringWish,
        _: KeyringReach,
    ) -> Pending<'a, Result<Vec<KeyringReport>, Refusal>> {
        let why = "the keys of gossip are seen to by servers: ask one of them";
        Box::pin(std::future::ready(Err(Refusal::Unsupported(why.to_owned()))))
    }

    fn datacenters<'a>(&'a self, call: &'a Call) -> Pending<'a, Result<Vec<Datacenter>, Refusal>> {
        Box::pin(async move {
            match self.operate(call, Wish::Datacenters, Again::Always).await? {
                Granted::Datacenters(known) => {
                    let told = known.into_iter();
                    Ok(told.map(|(name, servers)| Datacenter { name, servers }).collect())
                }
                other => Err(unexpected(&other)),
            }
        })
    }

    fn save<'a>(
        &'a self,
        call: &'a Call,
        freshness: Freshness,
    ) -> Pending<'a, Result<Saved, Refusal>> {
        Box::pin(save(self.registry.forward(), call, freshness, self.setup.write_timeout))
    }

    fn restore<'a>(
        &'a self,
        call: &'a Call,
        blocks: mpsc::Receiver<Result<Bytes, io::Error>>,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(restore(self.registry.forward(), call, blocks, self.setup.write_timeout))
    }

    fn log_lines(&self) -> broadcast::Receiver<Arc<LogLine>> {
        self.logs.listen()
    }

    fn metrics(&self) -> Vec<Metric> {
        self.gather_metrics()
    }

    fn host(&self) -> HostFacts {
        host_facts(&*self.world, &self.setup.data_folder)
    }

    fn settings(&self) -> SettingValue {
        self.setup.settings.clone()
    }

    fn uptime(&self) -> Duration {
        self.started_at.elapsed()
    }
}

fn refuse_wan(pool: Pool) -> Result<(), Refusal> {
    let why = "this agent is no server and takes no part in the WAN pool";
    match pool {
        Pool::Lan => Ok(()),
        Pool::Wan => Err(Refusal::Unsupported(why.to_owned())),
    }
}

impl Client {
    async fn operate(&self, call: &Call, wish: Wish, again: Again) -> Result<Granted, Refusal> {
        let deadline = deadline_of(call, self.setup.write_timeout);
        let body = muster_model::encode(&Operate { asker: Asker::of(call), wish });
        let answer = self.registry.forward().call(OPERATE, body, again, deadline).await?;
        wire::unpack(&answer)
    }

    async fn servers(
        &self,
        call: &Call,
        is_stale: bool,
    ) -> Result<(GroupFacts, Vec<ServerFacts>), Refusal> {
        match self.operate(call, Wish::Servers { is_stale }, Again::Always).await? {
            Granted::Servers(group, servers) => Ok((group, servers)),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(granted: &Granted) -> Refusal {
    Refusal::Internal(format!("a server grants something else: {granted:?}"))
}

async fn save(
    forward: &Forward,
    call: &Call,
    freshness: Freshness,
    patience: Duration,
) -> Result<Saved, Refusal> {
    let deadline = deadline_of(call, patience);
    let body = muster_model::encode(&Save { asker: Asker::of(call), freshness });
    let exchange = forward.open(SAVE, body, Again::Always, deadline).await?;
    let (mut sender, mut receiver) = exchange.split();
    sender.finish().map_err(refusal_of)?;
    let first = timeout_at(deadline, receiver.next()).await.map_err(|_| Refusal::Late)?;
    let first = first.map_err(refusal_of)?.ok_or(Refusal::Late)?;
    let head: SavedHead = wire::unpack(&first)?;
    let (pieces, blocks) = mpsc::channel(PIECES_WAITING_MAX);
    tokio::spawn(operate::take_pieces(receiver, pieces));
    Ok(Saved { index: head.index, standing: head.standing, blocks })
}

async fn restore(
    forward: &Forward,
    call: &Call,
    blocks: mpsc::Receiver<Result<Bytes, io::Error>>,
    patience: Duration,
) -> Result<(), Refusal> {
    let deadline = deadline_of(call, patience);
    let body = muster_model::encode(&Restore { asker: Asker::of(call) });
    let exchange = forward.open(RESTORE, body, Again::IfUnserved, deadline).await?;
    let (mut sender, mut receiver) = exchange.split();
    let telling = async {
        match tell(&mut sender, blocks).await {
            Ok(()) => std::future::pending().await,
            Err(refusal) => refusal,
        }
    };
    let told = async {
        let first = receiver.next().await.map_err(refusal_of)?.ok_or(Refusal::Late)?;
        wire::unpack::<()>(&first)
    };
    let restoring = async {
        // It may be refused before everything was told.
        tokio::select! {
            biased;
            told = told => told,
            refusal = telling => Err(refusal),
        }
    };
    timeout(RESTORE_PATIENCE, restoring).await.unwrap_or(Err(Refusal::Late))
}

/// Tells a server what shall be restored. Where that breaks off the exchange is left unfinished, and
/// the server touches nothing.
async fn tell(
    sender: &mut Sender,
    mut blocks: mpsc::Receiver<Result<Bytes, io::Error>>,
) -> Result<(), Refusal> {
    while let Some(block) = blocks.recv().await {
        let block = block.map_err(|error| Refusal::Invalid(error.to_string()))?;
        if !operate::are_sent(sender, block).await {
            return Err(Refusal::Late);
        }
    }
    sender.finish().map_err(refusal_of)
}

/// What a fault means for something that was begun and must not be begun twice.
fn refusal_of(fault: Fault) -> Refusal {
    match fault {
        Fault::Refused(words) => Refusal::Unsupported(String::from_utf8_lossy(&words).into_owned()),
        _ => Refusal::Late,
    }
}
