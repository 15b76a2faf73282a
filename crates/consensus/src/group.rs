//! The servers of a group: founding it, adding, promoting and removing them, handing the
//! leadership over, and answering what they say.
//!
//! Who may join, when a follower has caught up, and whether a dead server may go without costing
//! the quorum is decided above; here one change happens at a time, and as one.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::consensus::Consensus;
use crate::engine::message::{Message, StandingAnswer, decode, encode};
use crate::error::ProposeError;
use crate::peers::{Line, Urgency};
use crate::voters::{Server, Voter};

/// How long the next leader may take to show itself.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(2);
/// How long ago a server was heard that is likely to take the leadership.
const HEARD_LATELY: Duration = Duration::from_millis(500);
/// How long a server may take to say where it stands.
const STANDING_PATIENCE: Duration = Duration::from_secs(2);

// ---------------------------------------------------------------- changing

impl Consensus {
    /// Whether this server belongs to a group.
    pub async fn is_member(&self) -> Result<bool, ProposeError> {
        self.engine.is_member().await
    }

    /// Founds a group of these new servers, this one among them. Each of them is asked first, and
    /// one that belongs to a group already, or cannot be reached, stops it.
    ///
    /// Only one of them may do this: by agreement the one with the lowest id.
    ///
    /// # Errors
    /// Says which server stands in the way, and nothing was founded.
    pub async fn found(&self, voters: &[Voter]) -> Result<(), String> {
        let deadline = Instant::now() + STANDING_PATIENCE;
        for voter in voters.iter().filter(|voter| voter.id != self.node()) {
            let standing = encode(&Message::Standing);
            let answer = self.peers.call(voter, Urgency::Urgent, standing, deadline).await;
            let answer = answer.map_err(|error| format!("{} is silent: {error}", voter.address))?;
            let standing: StandingAnswer = decode(&answer).map_err(|error| error.to_string())?;
            if standing.is_member {
                return Err(format!("{} belongs to a group already", voter.address));
            }
        }
        self.engine.tick();
        self.engine.found(voters).await
    }

    /// Adds a server that follows without a vote, or gives one that is there a new address.
    pub async fn put_learner(&self, server: &Voter, deadline: Instant) -> Result<(), ProposeError> {
        self.change(deadline, self.engine.put_learner(server)).await
    }

    /// Gives a server that follows a vote.
    pub async fn promote(&self, id: u64, deadline: Instant) -> Result<(), ProposeError> {
        self.change(deadline, self.engine.promote(BTreeSet::from([id]))).await
    }

    /// Takes a server out of the group. The leader itself can go too: it hands over first.
    pub async fn remove(&self, id: u64, deadline: Instant) -> Result<(), ProposeError> {
        if self.engine.roster().is_alone(id) {
            let why = "the last server that votes cannot be removed".to_owned();
            return Err(ProposeError::Voters(why));
        }
        self.change(deadline, self.engine.remove(BTreeSet::from([id]))).await
    }

    /// Makes one change of the group. While the voters change, this server does not count as the
    /// only one, and it never confirms a read by itself.
    async fn change(
        &self,
        deadline: Instant,
        change: impl Future<Output = Result<u64, ProposeError>>,
    ) -> Result<(), ProposeError> {
        let changing = timeout_at(deadline, self.changing.lock());
        let _one_at_a_time = changing.await.map_err(|_late| ProposeError::Busy)?;
        self.progress.set_alone(false);
        self.engine.tick();
        let changed = timeout_at(deadline, change).await.unwrap_or(Err(ProposeError::Unknown));
        let is_alone = self.engine.roster().is_alone(self.node());
        if changed.is_ok() && is_alone && self.leadership.borrow().is_leader {
            self.progress.set_alone(true);
        }
        changed.map(drop)
    }

    /// Hands the leadership to another voter, by default the one that has most of the log among those
    /// that were heard lately; ready when another leads.
    pub async fn transfer(&self, to: Option<u64>, deadline: Instant) -> Result<(), ProposeError> {
        let own = self.node();
        let servers = self.servers();
        let others = servers.iter().filter(|server| server.is_voter && server.voter.id != own);
        let next = match to {
            Some(id) => others.clone().find(|server| server.voter.id == id),
            None => others.clone().max_by_key(|server| {
                let is_near = server.heard_ago.is_some_and(|ago| ago < HEARD_LATELY);
                (is_near, server.last, server.voter.id)
            }),
        };
        let Some(next) = next else {
            let why = "there is no such voter to lead".to_owned();
            return Err(ProposeError::Voters(why));
        };
        if !self.leadership.borrow().is_leader {
            return Err(ProposeError::NotLeader(self.leadership.borrow().leader.clone()));
        }
        let deadline = deadline.min(Instant::now() + TRANSFER_PATIENCE);
        let mut news = self.leadership.clone();
        self.engine.transfer(next.voter.id).await?;
        let is_handed_over = |now: &crate::Leadership| !now.is_leader && now.leader.is_some();
        match timeout_at(deadline, news.wait_for(is_handed_over)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ProposeError::Stopped),
            Err(_late) => Err(ProposeError::Voters("nobody took the leadership".to_owned())),
        }
    }

    /// The servers of the group; the leader also knows how far each has come.
    #[must_use]
    pub fn servers(&self) -> Vec<Server> {
        self.engine.servers()
    }
}

// ---------------------------------------------------------------- answering

impl Consensus {
    /// Answers a call of another server of the group.
    ///
    /// # Errors
    /// What cannot be understood, or came while this server is stopping. Nothing was touched.
    pub async fn answer(&self, message: &[u8], deadline: Instant) -> io::Result<Bytes> {
        let message: Message = decode(message)?;
        if let Message::Standing = message {
            let is_member = self.is_member().await.map_err(io::Error::other)?;
            return Ok(encode(&StandingAnswer { is_member }));
        }
        match self.engine.answer(message, &self.progress).await? {
            Ok(answer) => Ok(answer),
            Err(other) => self.do_for_follower(other, deadline).await,
        }
    }

    /// Serves a line that another server of the group has opened, until either side ends it.
    ///
    /// # Errors
    /// What cannot be understood, or was broken off. What came whole before has taken effect.
    pub async fn serve_line(&self, first: &[u8], line: Line) -> io::Result<()> {
        match decode(first)? {
            Message::Appends => self.engine.take_appends(line, &self.progress).await,
            Message::Snapshot(ask) => self.engine.take_snapshot(ask, line, &self.arrivals).await,
            other => Err(io::Error::other(format!("{other:?} opens no line"))),
        }
    }
}
