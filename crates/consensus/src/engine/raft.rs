//! The running engine: openraft put together, and its calls and figures in our words.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, Fatal as RaftFatal, RaftError};
use openraft::impls::ProgressResponder;
use openraft::impls::leader_id_std::LeaderId;
use openraft::vote::RaftLeaderId;
use openraft::{ChangeMembers, Instant, Raft, RaftMetrics, ReadPolicy, ServerState};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::applier::Applier;
use super::log_store::LogStore;
use super::network::Network;
use super::settings::configure;
use super::types::{Peer, Proposal, Types, to_roster};
use crate::consensus::{Decided, Leadership, Settings};
use crate::error::{Fatal, OnFatal, ProposeError, StartError};
use crate::voters::{Roster, Server, Voter};

/// How long the only voter may take from the end of the replay to leading.
const FIRST_ELECTION: Duration = Duration::from_secs(30);

/// openraft, running.
pub(crate) struct Engine {
    raft: Raft<Types, Applier>,
}

/// Where the engine stands.
pub(crate) struct Standing {
    pub(crate) term: u64,
    pub(crate) snapshot_index: u64,
    pub(crate) committed_index: u64,
    pub(crate) voters_index: u64,
}

fn engine_error(error: &dyn std::fmt::Display) -> StartError {
    StartError::Engine(error.to_string())
}

fn peer_of(voter: &Voter) -> (u64, Peer) {
    (voter.id, Peer { address: voter.address.clone() })
}

fn is_another_under_way(error: &RaftError<Types, ClientWriteError<Types>>) -> bool {
    use ChangeMembershipError::InProgress;
    matches!(error, RaftError::APIError(ClientWriteError::ChangeMembershipError(InProgress(_))))
}

fn not_written(error: RaftError<Types, ClientWriteError<Types>>) -> ProposeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
            let leader = to.leader_id.zip(to.leader_node);
            let leader = leader.map(|(id, peer)| Voter { id, address: peer.address });
            ProposeError::NotLeader(leader)
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            ProposeError::Voters(error.to_string())
        }
        // The engine stopped, or lost the leadership, with the entry under way: what became of it
        // the log will tell.
        RaftError::APIError(_) | RaftError::Fatal(_) => ProposeError::Unknown,
    }
}

impl Engine {
    /// Builds the engine over what is on disk. It does not stand for election by itself yet.
    pub(crate) async fn build(
        node: u64,
        settings: &Settings,
        network: Network,
        log_store: LogStore,
        applier: Applier,
    ) -> Result<Engine, StartError> {
        let config = configure(settings).map_err(|error| engine_error(&error))?;
        let raft = Raft::new(node, config, network, log_store, applier)
            .await
            .map_err(|error| engine_error(&error))?;
        Ok(Engine { raft })
    }

    pub(super) fn raft(&self) -> &Raft<Types, Applier> {
        &self.raft
    }

    /// Makes a new server found a group of these voters, itself among them.
    pub(crate) async fn found(&self, voters: &[Voter]) -> Result<(), String> {
        let group: BTreeMap<u64, Peer> = voters.iter().map(peer_of).collect();
        self.raft.initialize(group).await.map_err(|error| error.to_string())
    }

    /// Whether this server belongs to a group.
    pub(crate) async fn is_member(&self) -> Result<bool, ProposeError> {
        self.raft.is_initialized().await.map_err(|_| ProposeError::Stopped)
    }

    /// Stands for election at once if nobody else votes, and waits until all that was on disk is
    /// applied: true. With peers, or without a group, starts the clock and leaves the rest to
    /// others: false.
    ///
    /// The only server runs without ticks: it has nobody to send heartbeats to or to hear from.
    pub(crate) async fn begin(&self, last_index: u64) -> Result<bool, StartError> {
        let node = *self.raft.node_id();
        let roster = self
            .raft
            .with_raft_state(|state| to_roster(state.membership_state.effective().membership()))
            .await
            .map_err(|error| engine_error(&error))?;
        if roster.servers.iter().any(|server| server.id != node) || roster.servers.is_empty() {
            self.tick();
        }
        if !roster.is_alone(node) {
            return Ok(false);
        }
        self.raft.trigger().elect(false).await.map_err(|error| engine_error(&error))?;
        let leads = |term: u64, applied: Option<(u64, u64)>| {
            applied.is_some_and(|(of, index)| of == term && index >= last_index)
        };
        self.raft
            .wait(Some(FIRST_ELECTION))
            .metrics(
                |now| {
                    let applied = now.last_applied.as_ref();
                    let applied = applied.map(|id| (id.committed_leader_id().term, id.index()));
                    now.state == ServerState::Leader && leads(now.current_term, applied)
                },
                "leading, with everything on disk applied",
            )
            .await
            .map_err(|error| engine_error(&error))?;
        Ok(true)
    }

    /// Offers an entry to the log and waits until it is applied here.
    pub(crate) async fn write(&self, proposal: Proposal) -> Result<Decided, ProposeError> {
        match self.raft.client_write(proposal).await {
            Ok(written) => Ok(Decided { index: written.log_id.index(), outcome: written.data.0 }),
            Err(error) => Err(not_written(error)),
        }
    }

    /// Offers an entry only if this server leads in this very term.
    pub(crate) async fn write_in_term(
        &self,
        proposal: Proposal,
        term: u64,
    ) -> Result<Decided, ProposeError> {
        let (responder, written) = ProgressResponder::complete_only();
        let leader = LeaderId::new(term, *self.raft.node_id()).to_committed();
        let offered = self.raft.write(proposal).responder(responder).with_leader(leader);
        offered.await.map_err(|_| ProposeError::Stopped)?;
        match written.await {
            Ok(Ok(written)) => {
                Ok(Decided { index: written.log_id.index(), outcome: written.data.0 })
            }
            Ok(Err(error)) => Err(not_written(RaftError::APIError(error))),
            Err(_gone) => Err(ProposeError::Unknown),
        }
    }

    /// Asks a quorum whether this server still leads, and returns the index to read at.
    pub(crate) async fn confirm(&self) -> Option<u64> {
        let confirmed = self.raft.get_read_log_id(ReadPolicy::ReadIndex).await;
        confirmed.ok().map(|(read, _)| read.log_id().index())
    }

    /// Starts the clock of heartbeats and elections.
    pub(crate) fn tick(&self) {
        self.raft.runtime_config().tick(true);
    }

    /// Adds a server that follows without a vote, or gives one that is there another address.
    pub(crate) async fn put_learner(&self, server: &Voter) -> Result<u64, ProposeError> {
        let nodes = BTreeMap::from([peer_of(server)]);
        let is_known = self.roster().servers.iter().any(|known| known.id == server.id);
        let change = match is_known {
            true => ChangeMembers::SetNodes(nodes),
            false => ChangeMembers::AddNodes(nodes),
        };
        self.change(change).await
    }

    /// Gives servers that follow a vote.
    pub(crate) async fn promote(&self, ids: BTreeSet<u64>) -> Result<u64, ProposeError> {
        self.change(ChangeMembers::AddVoterIds(ids)).await
    }

    /// Takes servers out of the group, whether they vote or not.
    pub(crate) async fn remove(&self, ids: BTreeSet<u64>) -> Result<u64, ProposeError> {
        let roster = self.roster();
        let votes = |id: &u64| roster.sets.iter().any(|set| set.contains(id));
        let (voters, learners): (BTreeSet<u64>, BTreeSet<u64>) = ids.into_iter().partition(votes);
        let mut index = 0;
        if !learners.is_empty() {
            index = self.change(ChangeMembers::RemoveNodes(learners)).await?;
        }
        if !voters.is_empty() {
            index = self.change(ChangeMembers::RemoveVoters(voters)).await?;
        }
        Ok(index)
    }

    /// Makes one change. The one before may not be committed yet, which is so for the founding of a
    /// group while its first leader has just been elected: then it waits for that.
    async fn change(&self, change: ChangeMembers<u64, Peer>) -> Result<u64, ProposeError> {
        let mut news = self.raft.metrics();
        loop {
            match self.raft.change_membership(change.clone(), false).await {
                Ok(written) => return Ok(written.log_id.index()),
                Err(error) if is_another_under_way(&error) => {
                    news.changed().await.map_err(|_| ProposeError::Stopped)?;
                }
                Err(error) => return Err(not_written(error)),
            }
        }
    }

    /// Hands the leadership to another voter; ready once it was told.
    pub(crate) async fn transfer(&self, to: u64) -> Result<(), ProposeError> {
        self.raft.trigger().transfer_leader(to).await.map_err(|_| ProposeError::Stopped)
    }

    pub(crate) fn roster(&self) -> Roster {
        let metrics = self.raft.server_metrics();
        let now = metrics.borrow_watched();
        to_roster(now.membership_config.membership())
    }

    /// The servers of the group, with what their leader knows of them.
    pub(crate) fn servers(&self) -> Vec<Server> {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        let roster = to_roster(now.membership_config.membership());
        let own = *self.raft.node_id();
        let describe = |voter: &Voter| {
            let matched = now.replication.as_ref().and_then(|all| all.get(&voter.id));
            let heard = now.heartbeat.as_ref().and_then(|all| all.get(&voter.id));
            let matched = matched.and_then(Option::as_ref);
            let is_leader = now.current_leader == Some(voter.id);
            Server {
                is_voter: roster.sets.iter().any(|set| set.contains(&voter.id)),
                is_leader,
                last: match voter.id == own {
                    true => now.last_log_index,
                    false => matched.map(|id| id.index()),
                },
                last_term: matched.map(|id| id.committed_leader_id().term),
                heard_ago: match voter.id == own {
                    true => Some(Duration::ZERO),
                    false => heard.and_then(Option::as_ref).map(|at| at.elapsed()),
                },
                voter: voter.clone(),
            }
        };
        roster.servers.iter().map(describe).collect()
    }

    /// How long ago this leader last heard from a quorum; nothing where it does not lead, or has
    /// not heard from one since it was elected.
    pub(crate) fn since_quorum(&self) -> Option<Duration> {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        let acked = now.last_quorum_acked.filter(|_| now.state == ServerState::Leader);
        acked.map(|at| at.elapsed())
    }

    /// Writes a snapshot that has at least an index, and waits for it. openraft drops the request
    /// while it is writing one already, so it is asked again when an older one comes out.
    pub(crate) async fn snapshot(&self, index: u64) -> Result<u64, ProposeError> {
        let snapshot_of = |now: &RaftMetrics<Types>| now.snapshot.as_ref().map(|id| id.index());
        loop {
            let known = snapshot_of(&self.raft.metrics().borrow_watched());
            if let Some(written) = known.filter(|written| *written >= index) {
                return Ok(written);
            }
            self.raft.trigger().snapshot().await.map_err(|_| ProposeError::Stopped)?;
            let is_newer = |now: &RaftMetrics<Types>| snapshot_of(now) > known;
            let wait = self.raft.wait(None);
            wait.metrics(is_newer, "a snapshot is written")
                .await
                .map_err(|_| ProposeError::Stopped)?;
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        let snapshot_index = now.snapshot.as_ref().map_or(0, |id| id.index());
        let committed_index = now.local_committed.as_ref().map_or(0, |id| id.index());
        let voters_index = now.membership_config.log_id().as_ref().map_or(0, |id| id.index());
        Standing { term: now.current_term, snapshot_index, committed_index, voters_index }
    }

    pub(crate) async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop in order");
        }
    }

    /// Tells who leads, and that the engine has died.
    pub(crate) fn watch(&self, on_fatal: OnFatal) -> (watch::Receiver<Leadership>, JoinHandle<()>) {
        let (sender, receiver) = watch::channel(self.leadership());
        let raft = self.raft.clone();
        let task = tokio::spawn(async move {
            let mut news = raft.server_metrics();
            let engine = Engine { raft };
            while news.changed().await.is_ok() {
                let leadership = engine.leadership();
                sender.send_if_modified(|known| {
                    let is_news = *known != leadership;
                    *known = leadership;
                    is_news
                });
            }
            engine.report_death(&on_fatal);
        });
        (receiver, task)
    }

    fn leadership(&self) -> Leadership {
        let metrics = self.raft.server_metrics();
        let now = metrics.borrow_watched();
        let roster = to_roster(now.membership_config.membership());
        let is_voter = |id| roster.sets.iter().any(|set| set.contains(&id));
        let leader = now.current_leader;
        Leadership {
            term: now.vote.leader_id.term,
            is_leader: leader == Some(now.id) && now.state == ServerState::Leader,
            leader: roster.servers.iter().find(|server| Some(server.id) == leader).cloned(),
            voters: roster.servers.iter().filter(|server| is_voter(server.id)).cloned().collect(),
        }
    }

    fn report_death(&self, on_fatal: &OnFatal) {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        if let Err(RaftFatal::StorageError(_) | RaftFatal::Panicked) = &now.running_state {
            let why = now.running_state.as_ref().err().map(ToString::to_string);
            on_fatal(Fatal::Engine(why.unwrap_or_default()));
        }
    }
}
