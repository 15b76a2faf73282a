//! What only the leader can tell or do beyond the log, asked from any server.
//!
//! The leader alone remembers when leases were last renewed and how far each follower has come, and
//! it alone changes who votes. A server that does not lead asks the one that does, and asks again
//! while an election goes on. Before a server is taken into the group, it is asked which cluster
//! its state belongs to ([`Ask::Standing`]): the leader of one cluster must never overwrite the log
//! of another.

use std::time::Duration;

use bytes::Bytes;
use minicbor::{Decode, Encode};
use muster_consensus::{ProposeError, Server, Voter};
use muster_model::{LeaseId, Text};
use muster_registry::{Call, Refusal};
use muster_rpc::{Fault, Lane, Opened};
use tokio::time::{Instant, sleep_until};

use crate::agent::Agent;
use crate::group::{HELM, address_of};

/// The pause before the leader is looked for again.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// What a server is asked.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) enum Ask {
    /// Keep a lease alive.
    #[n(0)]
    Renew(#[n(0)] LeaseId),
    /// Say how the servers are.
    #[n(1)]
    Servers,
    /// Take a server out of the group.
    #[n(2)]
    Remove(#[n(0)] u64),
    /// Hand the leadership to this server, or to any.
    #[n(3)]
    Transfer(#[n(0)] Option<u64>),
    /// Say to which cluster this server belongs. Asked of any server, not of the leader.
    #[n(4)]
    Standing,
}

impl Ask {
    /// What there is to say when a leader gave no answer and another leads: what may be done twice
    /// is asked again.
    fn after_silence(&self) -> Told {
        match self {
            Ask::Renew(_) | Ask::Servers | Ask::Standing => Told::Elsewhere,
            Ask::Remove(_) | Ask::Transfer(_) => Told::Undecided,
        }
    }
}

/// What it says.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) enum Told {
    /// It is done.
    #[n(0)]
    Done,
    /// It does not lead.
    #[n(1)]
    Elsewhere,
    /// It is refused; nothing was done.
    #[n(2)]
    Invalid(#[n(0)] String),
    /// What was asked about is not there.
    #[n(3)]
    Unknown(#[n(0)] String),
    /// It is not known what came of it.
    #[n(4)]
    Undecided,
    /// How the servers are.
    #[n(5)]
    Servers(#[n(0)] Vec<ServerFacts>),
    /// Where it belongs.
    #[n(6)]
    Standing {
        /// Whether it belongs to a group.
        #[n(0)]
        is_member: bool,
        /// The id of the cluster to which its data belongs, if it belongs to one.
        #[n(1)]
        cluster_id: Option<Text>,
    },
}

/// A server as its leader sees it.
#[derive(Debug, Clone, Default, Encode, Decode)]
pub(crate) struct ServerFacts {
    /// Its number and address in the group.
    #[n(0)]
    pub(crate) voter: Voter,
    /// Whether it votes.
    #[n(1)]
    pub(crate) is_voter: bool,
    /// Whether it leads.
    #[n(2)]
    pub(crate) is_leader: bool,
    /// The last index it is known to have; 0 where that is not known.
    #[n(3)]
    pub(crate) last_index: u64,
    /// The term of that entry.
    #[n(4)]
    pub(crate) last_term: u64,
    /// How many microseconds ago it answered the leader.
    #[n(5)]
    pub(crate) heard_ago_us: Option<u64>,
    /// Whether the leader takes it for well.
    #[n(6)]
    pub(crate) is_healthy: bool,
    /// For how many microseconds that has been so.
    #[n(7)]
    pub(crate) stable_for_us: u64,
}

impl Agent {
    /// Asks the leader, wherever it is, and again while there is none, until the deadline.
    pub(crate) async fn ask_leader(&self, ask: Ask, call: &Call) -> Result<Told, Refusal> {
        let deadline = self.deadline(call);
        loop {
            let told = match self.consensus.leader() {
                Some(leader) if leader.id == self.consensus.node() => {
                    self.tell(ask.clone(), deadline).await
                }
                Some(leader) => tokio::select! {
                    biased;
                    told = self.ask_server(&leader, &ask, deadline) => told?,
                    () = self.consensus.superseded(&leader) => ask.after_silence(),
                },
                None => Told::Elsewhere,
            };
            match told {
                Told::Elsewhere => {}
                Told::Invalid(why) => return Err(Refusal::Invalid(why)),
                Told::Unknown(why) => return Err(Refusal::Unknown(why)),
                Told::Undecided => return Err(Refusal::Late),
                told => return Ok(told),
            }
            let again = Instant::now() + RETRY_AFTER;
            if again >= deadline || self.is_stopping() {
                return Err(Refusal::NoLeader);
            }
            sleep_until(again).await;
        }
    }

    /// Asks one server. Where it was not reached it counts as one that does not lead.
    pub(crate) async fn ask_server(
        &self,
        server: &Voter,
        ask: &Ask,
        deadline: Instant,
    ) -> Result<Told, Refusal> {
        let Ok(address) = address_of(server) else { return Ok(Told::Elsewhere) };
        let body = Bytes::from(minicbor::to_vec(ask).expect("writing to a Vec cannot fail"));
        match self.pool.call(address, Lane::Urgent, HELM, body, deadline).await {
            Ok(answer) => minicbor::decode(&answer)
                .map_err(|error| Refusal::Internal(format!("the leader's answer: {error}"))),
            Err(Fault::Refused(words)) => {
                Err(Refusal::Internal(String::from_utf8_lossy(&words).into_owned()))
            }
            Err(fault) if fault.may_have_been_served() => Ok(Told::Undecided),
            Err(_not_served) => Ok(Told::Elsewhere),
        }
    }

    /// Does what this server is asked, if it can.
    async fn tell(&self, ask: Ask, deadline: Instant) -> Told {
        match ask {
            Ask::Renew(id) => match self.renew_as_leader(&id, deadline).await {
                Ok(()) => Told::Done,
                Err(Refusal::NoLeader) => Told::Elsewhere,
                Err(Refusal::Unknown(why)) => Told::Unknown(why),
                Err(Refusal::Late | Refusal::Stopping) => Told::Undecided,
                Err(refusal) => Told::Invalid(refusal.to_string()),
            },
            Ask::Servers => match self.consensus.leadership().borrow().is_leader {
                true => Told::Servers(self.server_facts()),
                false => Told::Elsewhere,
            },
            Ask::Remove(id) => settled(self.consensus.remove(id, deadline).await),
            Ask::Transfer(to) => settled(self.consensus.transfer(to, deadline).await),
            Ask::Standing => Told::Standing {
                is_member: self.consensus.is_member().await.unwrap_or(true),
                cluster_id: self.belongs_to(),
            },
        }
    }

    /// The servers with what this leader knows of them.
    fn server_facts(&self) -> Vec<ServerFacts> {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let describe = |server: Server| {
            let health = self.care.health_of(server.voter.id);
            ServerFacts {
                is_voter: server.is_voter,
                is_leader: server.is_leader,
                last_index: server.last.unwrap_or_default(),
                last_term: server.last_term.unwrap_or_else(|| self.consensus.stats().term),
                heard_ago_us: server.heard_ago.map(micros),
                is_healthy: health.is_healthy,
                stable_for_us: micros(health.since.elapsed()),
                voter: server.voter,
            }
        };
        self.consensus.servers().into_iter().map(describe).collect()
    }
}

fn settled(changed: Result<(), ProposeError>) -> Told {
    match changed {
        Ok(()) => Told::Done,
        Err(ProposeError::NotLeader(_)) => Told::Elsewhere,
        Err(ProposeError::Unknown | ProposeError::Stopped) => Told::Undecided,
        Err(ProposeError::Voters(why)) => Told::Invalid(why),
        Err(other) => Told::Invalid(other.to_string()),
    }
}

/// Answers another server.
pub(crate) async fn serve(agent: &Agent, opened: Opened) {
    let told = match minicbor::decode::<Ask>(&opened.body) {
        Ok(ask) => agent.tell(ask, opened.deadline).await,
        Err(error) => {
            return opened.refuse(format!("not understood: {error}").into()).await;
        }
    };
    let body = minicbor::to_vec(&told).expect("writing to a Vec cannot fail");
    // An error says that nobody waits any more.
    let _ = opened.answer(body.into()).await;
}
