//! Whatever only the leader can do, from any server: proposals and read confirmations find their
//! way to it.
//!
//! A server that does not lead sends the wish to the one that does, over [`crate::Peers`], and waits
//! where nobody leads, for an election takes a fraction of a second. It waits for as long as there
//! may be one: once nothing was heard of any leader for [`PATIENCE`] elections, a wish is refused at
//! once, so that a site without a quorum says so instead of hanging.
//!
//! A leader that falls silent without breaking its connections is waited for until another leads:
//! then a read asks that one, and what was proposed has no known outcome, unless the old one still
//! says so within a moment.
//!
//! A confirmation of the leader serves every read that was waiting when it was asked for. What was
//! proposed from here is acknowledged when it is applied *here*: who reads at this server sees it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use crate::consensus::{COMMAND_BYTES_MAX, Consensus, Decided, Leadership};
use crate::engine::message::{Message, decode, encode};
use crate::engine::types::Proposal;
use crate::error::ProposeError;
use crate::peers::Urgency;
use crate::voters::Voter;

/// The pause before a server is asked again that did not lead, unless there is news before.
const RETRY_AFTER: Duration = Duration::from_millis(10);
/// How long an election may take with the usual timing and no bad luck.
const ELECTION: Duration = Duration::from_millis(500);
/// Elections that may fail in a row before there is no leader to be waited for.
const PATIENCE: u32 = 6;
/// How long one that no longer leads may still answer what was proposed while it did.
const AFTERGLOW: Duration = Duration::from_millis(200);

/// What came of asking one server.
enum Tried<T> {
    Done(Result<T, ProposeError>),
    /// It does not lead, or could not be reached and has not been told.
    Elsewhere,
}

/// Confirmations that are shared by all who wait.
#[derive(Default)]
pub(crate) struct Rounds {
    n_arrived: AtomicU64,
    last: Mutex<Round>,
}

/// A confirmation that was asked for after `covers` reads had arrived.
#[derive(Default)]
struct Round {
    covers: u64,
    index: Option<u64>,
}

// ---------------------------------------------------------------- writing

impl Consensus {
    /// Offers a command to the log, wherever the leader is, and waits until it is decided and
    /// applied here.
    pub async fn propose(
        &self,
        command: Bytes,
        deadline: Instant,
    ) -> Result<Decided, ProposeError> {
        let bytes = command.len();
        if bytes > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes, bytes_max: COMMAND_BYTES_MAX });
        }
        self.offer(Proposal::Command(command), deadline).await
    }

    /// Offers a command only if this server leads in this very term: what a leader decided by what
    /// it alone remembers must not reach another leader.
    pub async fn propose_in_term(
        &self,
        command: Bytes,
        term: u64,
        deadline: Instant,
    ) -> Result<Decided, ProposeError> {
        let offered = self.engine.write_in_term(Proposal::Command(command), term);
        timeout_at(deadline, offered).await.unwrap_or(Err(ProposeError::Unknown))
    }

    pub(crate) async fn offer(
        &self,
        proposal: Proposal,
        deadline: Instant,
    ) -> Result<Decided, ProposeError> {
        loop {
            let leader = self.leader_by(deadline).await?;
            let tried = match leader.id == self.node() {
                true => match self.offer_here(proposal.clone(), deadline).await {
                    Err(ProposeError::NotLeader(_)) => Tried::Elsewhere,
                    done => Tried::Done(done),
                },
                false => self.offer_there(&leader, &proposal, deadline).await,
            };
            match tried {
                Tried::Done(done) => return done,
                Tried::Elsewhere => self.pause(deadline).await?,
            }
        }
    }

    async fn offer_there(
        &self,
        leader: &Voter,
        proposal: &Proposal,
        deadline: Instant,
    ) -> Tried<Decided> {
        let message = match proposal {
            Proposal::Command(bytes) => Message::Propose(ByteVec::from(bytes.to_vec())),
            Proposal::Restore(bytes) => Message::Restore(ByteVec::from(bytes.to_vec())),
        };
        let call = self.peers.call(leader, Urgency::Log, encode(&message), deadline);
        let is_out_of_date = async {
            self.superseded(leader).await;
            sleep(AFTERGLOW).await;
        };
        let called = tokio::select! {
            biased;
            called = call => called,
            () = is_out_of_date => return Tried::Done(Err(ProposeError::Unknown)),
        };
        let answer = match called {
            Ok(bytes) => decode::<ProposeAnswer>(&bytes),
            Err(error) if error.may_have_arrived => return Tried::Done(Err(ProposeError::Unknown)),
            Err(_) => return Tried::Elsewhere,
        };
        let decided = match answer {
            Ok(ProposeAnswer::Elsewhere) => return Tried::Elsewhere,
            Ok(ProposeAnswer::Refused(refused)) => return Tried::Done(Err(refused.into())),
            Ok(ProposeAnswer::Decided { index, outcome }) => {
                Decided { index, outcome: Vec::from(outcome).into() }
            }
            Err(error) => {
                tracing::warn!(%error, leader = %leader.address, "the leader is not understood");
                return Tried::Done(Err(ProposeError::Unknown));
            }
        };
        let is_here = self.wait_applied(decided.index, deadline).await;
        Tried::Done(if is_here { Ok(decided) } else { Err(ProposeError::Unknown) })
    }
}

// ---------------------------------------------------------------- reading

impl Consensus {
    /// Confirms with a quorum, by way of the leader, and returns the index that a read must have
    /// seen to be linearizable. Wait for it with [`Consensus::wait_applied`].
    pub async fn confirm(&self, deadline: Instant) -> Result<u64, ProposeError> {
        if let Some(index) = self.confirmed() {
            return Ok(index);
        }
        let arrived = self.rounds.n_arrived.fetch_add(1, Ordering::AcqRel) + 1;
        loop {
            let leader = self.leader_by(deadline).await?;
            let confirmed = timeout_at(deadline, self.confirm_with(&leader, arrived, deadline));
            match confirmed.await {
                Ok(Some(index)) => return Ok(index),
                Ok(None) => self.pause(deadline).await?,
                Err(_late) => return Err(ProposeError::Unknown),
            }
        }
    }

    /// Confirms with a quorum that *this* server leads, and returns the index to read at.
    pub async fn confirm_here(&self, deadline: Instant) -> Result<u64, ProposeError> {
        if let Some(index) = self.confirmed() {
            return Ok(index);
        }
        match timeout_at(deadline, self.engine.confirm()).await {
            Ok(Some(index)) => Ok(index),
            Ok(None) => Err(ProposeError::NotLeader(self.leadership.borrow().leader.clone())),
            Err(_late) => Err(ProposeError::Unknown),
        }
    }

    /// One round for everybody who has arrived; who comes meanwhile waits for the next.
    async fn confirm_with(&self, leader: &Voter, arrived: u64, deadline: Instant) -> Option<u64> {
        if leader.id == self.node() {
            return self.engine.confirm().await;
        }
        let mut last = self.rounds.last.lock().await;
        if last.covers >= arrived && last.index.is_some() {
            return last.index;
        }
        let covers = self.rounds.n_arrived.load(Ordering::Acquire);
        let message = encode(&Message::Confirm);
        let answer = tokio::select! {
            biased;
            answer = self.peers.call(leader, Urgency::Urgent, message, deadline) => answer.ok()?,
            () = self.superseded(leader) => return None,
        };
        let index = decode::<Option<u64>>(&answer).ok()?;
        *last = Round { covers, index };
        index
    }
}

// ---------------------------------------------------------------- finding the leader

impl Consensus {
    /// The leader, if it was heard lately: by this server, or by a quorum if it is this server.
    #[must_use]
    pub fn leader(&self) -> Option<Voter> {
        let leader = self.leadership.borrow().leader.clone()?;
        (self.silence() < ELECTION * self.raft_multiplier * 2).then_some(leader)
    }

    /// Ready when this server knows that another one leads than `leader`. Whoever waits for an answer
    /// of that one waits in vain, or nearly so.
    pub async fn superseded(&self, leader: &Voter) {
        let mut news = self.leadership.clone();
        let is_another = |now: &Leadership| now.leader.as_ref().is_some_and(|l| l.id != leader.id);
        let has_ended = news.wait_for(is_another).await.is_err();
        if has_ended {
            // There is no engine any more, and no other leader to be known.
            std::future::pending().await
        }
    }

    /// How long ago a leader showed that it leads: to this server, or that this server leads, to
    /// itself.
    #[must_use]
    pub fn silence(&self) -> Duration {
        if self.confirmed().is_some() {
            return Duration::ZERO;
        }
        match self.engine.since_quorum() {
            Some(since) => since,
            None => self.progress.silence(),
        }
    }

    /// Waits for a leader for as long as there may be one soon.
    async fn leader_by(&self, deadline: Instant) -> Result<Voter, ProposeError> {
        loop {
            if self.is_stopping() {
                return Err(ProposeError::Stopped);
            }
            let known = self.leadership.borrow().leader.clone();
            if self.silence() > ELECTION * self.raft_multiplier * PATIENCE {
                return Err(ProposeError::NotLeader(None));
            }
            if let Some(leader) = known {
                return Ok(leader);
            }
            self.pause(deadline).await?;
        }
    }

    /// Waits for news of the leadership, or a moment.
    async fn pause(&self, deadline: Instant) -> Result<(), ProposeError> {
        if Instant::now() >= deadline {
            return Err(ProposeError::NotLeader(None));
        }
        let mut news = self.leadership.clone();
        news.mark_unchanged();
        let moment = (Instant::now() + RETRY_AFTER).min(deadline);
        match timeout_at(moment, news.changed()).await {
            // The engine has died, and nothing will ever be heard of any leader.
            Ok(Err(_closed)) => Err(ProposeError::Stopped),
            // Without news a moment has passed, and that is reason enough to look again.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

// ---------------------------------------------------------------- answering those who follow

impl Consensus {
    /// Does for a server of the group what only the leader can do.
    pub(crate) async fn do_for_follower(
        &self,
        message: Message,
        deadline: Instant,
    ) -> io::Result<Bytes> {
        let proposal = match message {
            Message::Confirm => {
                return Ok(encode(&self.confirm_here(deadline).await.ok()));
            }
            Message::Propose(bytes) => Proposal::Command(Vec::from(bytes).into()),
            Message::Restore(bytes) => Proposal::Restore(Vec::from(bytes).into()),
            other => return Err(io::Error::other(format!("{other:?} is no call"))),
        };
        Ok(encode(&match self.offer_here(proposal, deadline).await {
            Ok(Decided { index, outcome }) => {
                ProposeAnswer::Decided { index, outcome: Vec::from(outcome).into() }
            }
            // Who stops has proposed nothing, and another will lead.
            Err(ProposeError::NotLeader(_) | ProposeError::Stopped) => ProposeAnswer::Elsewhere,
            Err(error) => ProposeAnswer::Refused(error.into()),
        }))
    }
}

/// What the leader says to a proposal of another server.
#[derive(Debug, Encode, Decode)]
enum ProposeAnswer {
    #[n(0)]
    Decided {
        #[n(0)]
        index: u64,
        #[n(1)]
        outcome: ByteVec,
    },
    #[n(1)]
    Elsewhere,
    #[n(2)]
    Refused(#[n(0)] Refused),
}

/// A [`ProposeError`] on its way to another server.
#[derive(Debug, Encode, Decode)]
enum Refused {
    #[n(0)]
    TooLarge(#[n(0)] u64, #[n(1)] u64),
    #[n(1)]
    Busy,
    #[n(2)]
    DiskFull(#[n(0)] String, #[n(1)] u64, #[n(2)] u64),
    #[n(3)]
    Unknown,
    #[n(4)]
    Voters(#[n(0)] String),
    #[n(5)]
    Stopped,
    #[n(6)]
    Stalled(#[n(0)] String),
}

impl From<ProposeError> for Refused {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::TooLarge { bytes, bytes_max } => {
                Refused::TooLarge(bytes as u64, bytes_max as u64)
            }
            ProposeError::Busy => Refused::Busy,
            ProposeError::DiskFull { folder, free, reserve } => {
                Refused::DiskFull(folder.to_string_lossy().into_owned(), free, reserve)
            }
            ProposeError::Unknown | ProposeError::NotLeader(_) => Refused::Unknown,
            ProposeError::Stalled { folder } => {
                Refused::Stalled(folder.to_string_lossy().into_owned())
            }
            ProposeError::Voters(why) => Refused::Voters(why),
            ProposeError::Stopped => Refused::Stopped,
        }
    }
}

impl From<Refused> for ProposeError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLarge(bytes, bytes_max) => ProposeError::TooLarge {
                bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
                bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
            },
            Refused::Busy => ProposeError::Busy,
            Refused::DiskFull(folder, free, reserve) => {
                ProposeError::DiskFull { folder: folder.into(), free, reserve }
            }
            Refused::Stalled(folder) => ProposeError::Stalled { folder: folder.into() },
            // The leader stops with the entry under way or not: the follower cannot tell.
            Refused::Unknown | Refused::Stopped => ProposeError::Unknown,
            Refused::Voters(why) => ProposeError::Voters(why),
        }
    }
}
