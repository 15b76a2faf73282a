//! Joins: the first push-pulls, which bring a member into a pool.
//!
//! Each address is tried; those that do not answer are tried again until one has, or all had
//! their attempts. Who refuses, because the pool, the key or the name is wrong, is not tried
//! again: someone has to act first, and the reason says who. A member that is given its own address
//! among others, as where all agents share one configuration, does not count as somebody found.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use thiserror::Error;

use crate::limits::{JOIN_ADDRESSES_MAX, JOINS_MAX};
use crate::moment::Moment;
use crate::port::{JoinResult, Notice, Output, Turn};
use crate::timers::Timer;

use super::Pool;
use super::exchanges::Purpose;
use super::leaves::Phase;

/// The joins under way, by their tokens.
pub(super) type Joins = BTreeMap<u64, Join>;

/// One of them.
#[derive(Debug, Default)]
pub(super) struct Join {
    /// Addresses with no answer so far, and why.
    unanswered: BTreeMap<SocketAddr, String>,
    failures: Vec<(SocketAddr, String)>,
    n_asking: usize,
    n_joined: usize,
    n_rounds: u32,
}

/// Why a join is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JoinError {
    /// This member left.
    #[error("this agent is leaving the pool: start it again to join")]
    Leaving,
    /// Too many at a time.
    #[error("{JOINS_MAX} joins are under way: wait for one of them")]
    TooMany,
    /// Too many addresses.
    #[error("{0} addresses to join; at most {JOIN_ADDRESSES_MAX}: some members are enough")]
    TooManyAddresses(usize),
}

impl Pool {
    /// Joins the pool of which members are at these addresses. What became of it is told by
    /// [`Notice::JoinFinished`] with this token, which must not be that of a join under way.
    ///
    /// # Errors
    /// If this member is leaving, or at a limit.
    pub fn join(
        &mut self,
        addresses: &[SocketAddr],
        token: u64,
        now: Moment,
        out: &mut Vec<Output>,
    ) -> Result<(), JoinError> {
        if self.phase != Phase::Present {
            return Err(JoinError::Leaving);
        }
        if self.joins.len() >= JOINS_MAX || self.joins.contains_key(&token) {
            return Err(JoinError::TooMany);
        }
        if addresses.len() > JOIN_ADDRESSES_MAX {
            return Err(JoinError::TooManyAddresses(addresses.len()));
        }
        self.turn(now, out, |pool, turn| {
            let own = pool.me.address();
            let is_asked = |address: &&SocketAddr| **address != own || addresses.len() == 1;
            let asked = addresses.iter().filter(is_asked);
            let unanswered = asked.map(|address| (*address, String::new())).collect();
            pool.joins.insert(token, Join { unanswered, ..Join::default() });
            pool.join_again(token, turn);
        });
        Ok(())
    }

    /// Tries the addresses that have not answered.
    pub(super) fn join_again(&mut self, token: u64, turn: &mut Turn<'_>) {
        let Some(join) = self.joins.get_mut(&token) else { return };
        join.n_rounds += 1;
        let addresses: Vec<SocketAddr> = join.unanswered.keys().copied().collect();
        for to in addresses {
            let is_begun = self.begin_exchange(to, Purpose::Join(token), turn);
            let Some(join) = self.joins.get_mut(&token) else { return };
            if is_begun {
                join.n_asking += 1;
            } else {
                join.unanswered.insert(to, "too many exchanges are under way".to_owned());
            }
        }
        self.end_join_if_over(token, turn);
    }

    /// An address answered, refused finally, or failed for now.
    pub(super) fn join_answered(
        &mut self,
        token: u64,
        address: SocketAddr,
        outcome: Result<(), (String, bool)>,
        turn: &mut Turn<'_>,
    ) {
        let Some(join) = self.joins.get_mut(&token) else { return };
        join.n_asking = join.n_asking.saturating_sub(1);
        match outcome {
            Ok(()) => {
                join.unanswered.remove(&address);
                join.n_joined += 1;
            }
            Err((reason, true)) => {
                join.unanswered.remove(&address);
                join.failures.push((address, reason));
            }
            Err((reason, false)) => {
                join.unanswered.insert(address, reason);
            }
        }
        self.end_join_if_over(token, turn);
    }

    fn end_join_if_over(&mut self, token: u64, turn: &mut Turn<'_>) {
        let Some(join) = self.joins.get_mut(&token) else { return };
        if join.n_asking > 0 {
            return;
        }
        let is_hopeful = join.n_joined == 0
            && !join.unanswered.is_empty()
            && join.n_rounds < self.settings.join_attempts;
        if is_hopeful {
            let at = turn.now + self.settings.join_retry_interval * join.n_rounds;
            return self.timers.set(at, Timer::JoinAgain(token));
        }
        let Join { unanswered, mut failures, n_joined, .. } = std::mem::take(join);
        self.joins.remove(&token);
        failures.extend(unanswered);
        failures.sort();
        turn.tell(Notice::JoinFinished(JoinResult { token, n_joined, failures }));
    }
}
