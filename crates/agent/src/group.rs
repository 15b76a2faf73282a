//! The servers of this datacenter among themselves: how consensus reaches its peers over the
//! internal protocol, and who may speak to this server.
//!
//! What consensus says is carried as it is, a call or a line, on a connection of its own urgency.
//! Only a server of this datacenter may bring such messages, and each names the server it is for: an
//! address may have passed to another, which must not answer in its forerunner's name. What a leader
//! is asked for beyond the log is in [`crate::helm`]. The verbs of the door are open to every agent
//! of the datacenter ([`crate::clerk`]), and so is what operators want ([`crate::operate`]).

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use muster_consensus::peers::Pending;
use muster_consensus::{Line, LineReceiver, LineSender, Peers, Unreachable, Urgency, Voter};
use muster_model::limits::COMMAND_BYTES_MAX;
use muster_registry::{Refusal, Registry};
use muster_rpc::{Fault, Handler, Lane, Limits, Opened, Peer, Pool, Receiver, Sender, Serving};
use tokio::time::Instant;

use crate::agent::Agent;
use crate::clerk::Clerk;
use crate::wire::{self, ENVELOPE_BYTES_MAX};
use crate::{helm, operate};

/// A call of consensus.
pub(crate) const CALL: u16 = 1;
/// A line of consensus.
pub(crate) const LINE: u16 = 2;
/// Something that a server is asked beyond the log.
pub(crate) const HELM: u16 = 3;

/// The bounds of the internal protocol: the longest command has room in a body, with what is
/// around it.
pub(crate) fn limits() -> Limits {
    let body_bytes_max = u32::try_from(COMMAND_BYTES_MAX + ENVELOPE_BYTES_MAX)
        .expect("a command has less than 4 GiB");
    Limits { body_bytes_max, ..Limits::default() }
}

// ---------------------------------------------------------------- going out

/// The way to the other servers.
pub(crate) struct Way(pub(crate) Arc<Pool>);

fn lane(urgency: Urgency) -> Lane {
    match urgency {
        Urgency::Urgent => Lane::Urgent,
        Urgency::Log => Lane::Log,
        Urgency::Bulk => Lane::Bulk,
    }
}

/// Where a server listens; its address in the group is always one.
pub(crate) fn address_of(voter: &Voter) -> Result<SocketAddr, Fault> {
    let parsed = voter.address.parse();
    parsed.map_err(|_| Fault::Unreachable(format!("{:?} is no address", voter.address)))
}

/// A message with the number of the server it is for before it.
fn addressed(to: &Voter, message: &[u8]) -> Bytes {
    [&to.id.to_be_bytes(), message].concat().into()
}

/// The message, if it is for this server.
fn for_us(own: u64, body: &Bytes) -> Result<Bytes, String> {
    let Some((number, _)) = body.split_first_chunk::<8>() else {
        return Err("the message names no server".to_owned());
    };
    let wanted = u64::from_be_bytes(*number);
    if wanted != own {
        return Err(format!("this is server {own:016x} and not {wanted:016x}"));
    }
    Ok(body.slice(8..))
}

fn unreachable(fault: Fault) -> Unreachable {
    let may_have_arrived = fault.may_have_been_served();
    let why = match fault {
        Fault::Refused(words) => String::from_utf8_lossy(&words).into_owned(),
        other => other.to_string(),
    };
    Unreachable { why, may_have_arrived }
}

impl Peers for Way {
    fn call<'a>(
        &'a self,
        to: &'a Voter,
        urgency: Urgency,
        message: Bytes,
        deadline: Instant,
    ) -> Pending<'a, Result<Bytes, Unreachable>> {
        Box::pin(async move {
            let address = address_of(to).map_err(unreachable)?;
            let message = addressed(to, &message);
            let called = self.0.call(address, lane(urgency), CALL, message, deadline).await;
            called.map_err(unreachable)
        })
    }

    fn open<'a>(
        &'a self,
        to: &'a Voter,
        urgency: Urgency,
        first: Bytes,
        deadline: Instant,
    ) -> Pending<'a, Result<Line, Unreachable>> {
        Box::pin(async move {
            let address = address_of(to).map_err(unreachable)?;
            let first = addressed(to, &first);
            let opened = self.0.open(address, lane(urgency), LINE, first, deadline).await;
            let (sender, receiver) = opened.map_err(unreachable)?.split();
            Ok(line(sender, receiver))
        })
    }
}

fn line(sender: Sender, receiver: Receiver) -> Line {
    Line { sender: Box::new(Sends(sender)), receiver: Box::new(Receives(receiver)) }
}

struct Sends(Sender);

impl LineSender for Sends {
    fn send(&mut self, message: Bytes) -> Pending<'_, Result<(), Unreachable>> {
        Box::pin(async move { self.0.send(message).await.map_err(unreachable) })
    }

    fn end(&mut self) -> Pending<'_, Result<(), Unreachable>> {
        Box::pin(std::future::ready(self.0.finish().map_err(unreachable)))
    }
}

struct Receives(Receiver);

impl LineReceiver for Receives {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, Unreachable>> {
        Box::pin(async move { self.0.next().await.map_err(unreachable) })
    }
}

// ---------------------------------------------------------------- coming in

/// Serves what other agents ask of this server.
pub(crate) struct Reception {
    datacenter: String,
    open: OnceLock<(Weak<Agent>, Arc<Clerk>)>,
}

impl Reception {
    pub(crate) fn new(datacenter: &str) -> Arc<Reception> {
        Arc::new(Reception { datacenter: datacenter.to_owned(), open: OnceLock::new() })
    }

    /// From now on there is somebody to serve.
    pub(crate) fn open(&self, agent: &Arc<Agent>) {
        self.open.get_or_init(|| {
            let weak = Arc::downgrade(agent);
            let registry: Weak<dyn Registry> = weak.clone();
            (weak, Clerk::new(registry, agent.led_term()))
        });
    }

    /// Nothing is begun for other agents from now on: they go to another server.
    pub(crate) fn close(&self) {
        if let Some(clerk) = self.clerk() {
            clerk.close();
        }
    }

    /// What is done for other agents.
    pub(crate) fn clerk(&self) -> Option<&Arc<Clerk>> {
        self.open.get().map(|(_, clerk)| clerk)
    }
}

impl Handler for Reception {
    fn admit(&self, peer: &Peer) -> Result<(), String> {
        if peer.hello.datacenter == self.datacenter {
            return Ok(());
        }
        Err(format!(
            "this server belongs to datacenter {:?} and the caller says {:?}: use an address of \
             the caller's own datacenter, or set the same datacenter on both",
            self.datacenter, peer.hello.datacenter
        ))
    }

    fn serve(self: Arc<Self>, from: Arc<Peer>, opened: Opened) -> Serving {
        if let Some(clerk) = self.clerk().filter(|_| Clerk::serves(opened.method)) {
            return clerk.clone().serve(opened);
        }
        Box::pin(async move {
            let Some(agent) = self.open.get().and_then(|(agent, _)| agent.upgrade()) else {
                return refuse_at_the_start(opened).await;
            };
            match opened.method {
                CALL | LINE | HELM if !from.hello.is_server => {
                    let why = "only a server of this datacenter may ask for that";
                    opened.refuse(Bytes::from_static(why.as_bytes())).await;
                }
                CALL => answer_call(&agent, opened).await,
                LINE => serve_line(&agent, &from, opened).await,
                HELM => helm::serve(&agent, opened).await,
                method if operate::serves(method) => operate::serve(agent, opened).await,
                other => {
                    let why = format!("method {other} is not known to this version");
                    opened.refuse(why.into()).await;
                }
            }
        })
    }
}

/// Nothing is begun yet: another server may be of use.
async fn refuse_at_the_start(opened: Opened) {
    match Clerk::serves(opened.method) {
        true => drop(opened.answer(wire::pack::<()>(Err(Refusal::NoLeader))).await),
        false => opened.refuse(Bytes::from_static(b"the server is starting")).await,
    }
}

async fn answer_call(agent: &Agent, opened: Opened) {
    let answered = match for_us(agent.consensus.node(), &opened.body) {
        Ok(message) => agent
            .consensus
            .answer(&message, opened.deadline)
            .await
            .map_err(|error| error.to_string()),
        Err(why) => Err(why),
    };
    match answered {
        // An error says that nobody waits any more.
        Ok(answer) => drop(opened.answer(answer).await),
        Err(why) => opened.refuse(why.into()).await,
    }
}

async fn serve_line(agent: &Agent, from: &Peer, opened: Opened) {
    let first = match for_us(agent.consensus.node(), &opened.body) {
        Ok(first) => first,
        Err(why) => return opened.refuse(why.into()).await,
    };
    let (sender, receiver) = opened.exchange.split();
    if let Err(error) = agent.consensus.serve_line(&first, line(sender, receiver)).await {
        tracing::debug!(%from, %error, "a line of consensus was broken off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_for_another_server_is_refused() {
        let to = Voter { id: 7, address: String::new() };
        let message = addressed(&to, b"vote");
        assert_eq!(for_us(7, &message).as_deref(), Ok(&b"vote"[..]));
        assert!(for_us(8, &message).unwrap_err().starts_with("this is server 0000000000000008"));
        assert!(for_us(7, &Bytes::from_static(b"short")).is_err());
    }
}
